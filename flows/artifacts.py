"""What an operator sees of a run in the Prefect UI: a bar, a table of outcomes, a report, links.

Call these inside a synchronous flow or task. Everything is bounded in size and redacted here, once.
"""

import logging
import math
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import httpx
from prefect import artifacts
from prefect.exceptions import PrefectException

from flows.redact import redact

MAX_ROWS = 200
MAX_CELL_CHARS = 300
MAX_REPORT_CHARS = 200_000
MAX_PICTURE_CHARS = 600_000
MAX_PICTURES_CHARS = 3_000_000

_WORST_FIRST = ("crashed", "failed", "filtered", "ok")
_PICTURE = re.compile(r"!\[(?P<caption>[^\]]*)\]\((?P<uri>data:image/[^)\s]+)\)")

_log = logging.getLogger(__name__)


def artifact_key(*parts: str) -> str:
    """Join the parts to a key that Prefect accepts: lower-case letters, digits and dashes alone.

    Raises ValueError when nothing is left.
    """
    key = re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()).strip("-")
    if not key:
        raise ValueError(f"no artifact key can be made of {parts!r}")
    return key


class ProgressArtifact:
    """Per cent done and a line of text, on the page of the run; written at most once per `every_s`.

    The list of a run's artifacts shows descriptions alone, so the per cent stand there as well.
    Progress is for people: a write that the server refuses is logged, and the job goes on.
    """

    def __init__(
        self,
        key: str,
        text: str,
        *,
        every_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create it at 0 %."""
        self._every_s = every_s
        self._clock = clock
        self._text = text
        self._written = _progress(0.0, text)
        percent, description = self._written
        made = artifacts.create_progress_artifact(
            percent, key=artifact_key(key), description=description
        )
        if not isinstance(made, UUID):
            raise TypeError("make a ProgressArtifact in a synchronous flow or task")
        self._id = made
        self._last_s = clock()

    def update(self, fraction: float, text: str | None = None) -> None:
        """Show `fraction` (0 to 1) and what is being done; kept back when it comes too soon.

        The end (1.0) is always written. Any thread may call it, one at a time.
        """
        self._text = self._text if text is None else text
        wanted = _progress(fraction, self._text)
        too_soon = self._clock() - self._last_s < self._every_s
        percent, description = wanted
        if wanted == self._written or (too_soon and percent < 100):
            return
        try:
            artifacts.update_progress_artifact(self._id, percent, description=description)
            self._written = wanted
        except (httpx.HTTPError, PrefectException) as error:
            _log.warning("progress could not be shown: %s", redact(str(error)))
        self._last_s = self._clock()


def create_outcome_table(
    key: str, rows: Sequence[Mapping[str, object]], description: str, *, max_rows: int = MAX_ROWS
) -> None:
    """Show rows that have an `outcome` each, the worst first, and `max_rows` of them at most.

    Columns are those of all rows, in the order in which they first come. The description gets the
    count of every outcome, and how many rows were left out.
    """
    ranked = sorted(rows, key=lambda row: _badness(str(row.get("outcome", ""))))
    counts = Counter(str(row.get("outcome", "")) for row in ranked)
    summary = ", ".join(f"{number} {outcome}" for outcome, number in counts.items())
    lines = [redact(description), f"{len(rows)} rows: {summary or 'none'}."]
    if len(rows) > max_rows:
        lines.append(
            f"The first {max_rows} are shown, {len(rows) - max_rows} are left out; "
            "the whole table is in the store."
        )
    columns = dict.fromkeys(name for row in ranked for name in row)
    shown = [{name: _cell(row.get(name)) for name in columns} for row in ranked[:max_rows]]
    artifacts.create_table_artifact(shown, key=artifact_key(key), description="\n\n".join(lines))


def create_report(key: str, markdown: str, description: str = "") -> None:
    """Show a report whose pictures are data URIs (`![caption](data:image/...)`).

    A picture that is too large, or comes when the room for pictures is used up, is replaced by its
    caption; text that is too long is cut, and says so.
    """
    artifacts.create_markdown_artifact(
        bounded_markdown(markdown), key=artifact_key(key), description=redact(description)
    )


def create_link(key: str, address: str, text: str, description: str = "") -> None:
    """Show a link; credentials in it are taken out, so that it may need a login to open."""
    artifacts.create_link_artifact(
        redact(address),
        link_text=redact(text),
        key=artifact_key(key),
        description=redact(description),
    )


def bounded_markdown(markdown: str) -> str:
    """Return the report redacted, and within the limits that the UI shows without trouble."""
    pieces: list[str] = []
    room = {"text": MAX_REPORT_CHARS, "pictures": MAX_PICTURES_CHARS}

    def add_text(text: str) -> None:
        text = redact(text)
        if len(text) > room["text"]:
            text = text[: room["text"]] + "\n\n*The rest is left out here: it is too long.*\n"
        room["text"] = max(0, room["text"] - len(text))
        pieces.append(text)

    start = 0
    for picture in _PICTURE.finditer(markdown):
        add_text(markdown[start : picture.start()])
        start = picture.end()
        size = len(picture["uri"])
        if size > min(MAX_PICTURE_CHARS, room["pictures"]):
            add_text(f"*Picture left out here, it is too large: {picture['caption']}*")
        else:
            room["pictures"] -= size
            pieces.append(f"![{redact(picture['caption'])}]({picture['uri']})")
    add_text(markdown[start:])
    return "".join(pieces)


def _progress(fraction: float, text: str) -> tuple[float, str]:
    percent = round(100 * min(max(fraction, 0.0), 1.0), 1)
    return percent, f"{percent:.0f} %: {redact(text)}"


def _badness(outcome: str) -> int:
    return _WORST_FIRST.index(outcome) if outcome in _WORST_FIRST else -1


def _cell(value: object) -> str | int | float:
    """A value as the UI's table takes it: a number, or a bounded text on one line."""
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = " ".join(redact("" if value is None else str(value)).split())
    return text if len(text) <= MAX_CELL_CHARS else text[: MAX_CELL_CHARS - 1] + "…"
