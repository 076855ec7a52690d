"""README.md and docs/*.md as a reader meets them: blocks, commands, links, table cells."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.main import get_command

from flows.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *(ROOT / "docs" / f"{name}.md" for name in
      ("README", "preprocess", "train", "evaluate", "results", "render", "provenance", "operate",
       "trust")),
]  # fmt: skip
"""In the order of reading: commands of later pages use what earlier ones have made."""

_FENCED = re.compile(
    r"^```(?P<kind>\S*)(?: (?P<file>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """A fenced block; a file's content where its fence names one."""

    page: Path
    line: int
    kind: str
    file: str | None
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """Commands without comments; one that goes on in quotes or after a backslash is one."""
        commands, held = [], ""
        for line in self.text.splitlines():
            held = f"{held}\n{line}" if held else line
            try:
                words = shlex.split(held, comments=True)
            except ValueError:  # quotes are still open
                continue
            if held.endswith("\\"):
                continue
            if words:
                commands.append(re.sub(r"\s+#.*", "", held))
            held = ""
        return commands


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page."""
    text = page.read_text("utf-8")
    return [
        Block(page, text[: found.start()].count("\n") + 1, *found.group("kind", "file", "text"))
        for found in _FENCED.finditer(text)
    ]


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCED.sub("", page.read_text("utf-8"))


def code_spans(page: Path) -> list[str]:
    """What stands between single backticks."""
    return _CODE.findall(prose(page))


def links(page: Path) -> list[str]:
    """Targets of links and pictures that lead to files of the repository."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, as links write them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def subcommand(words: list[str]) -> tuple[Any, list[str]]:
    """The command of `e3d` that the words name, and the words left for it; raises for none."""
    command: Any = get_command(app)
    while words and hasattr(command, "resolve_command"):
        _, command, words = command.resolve_command(command.context_class(command), words)
    return command, words
