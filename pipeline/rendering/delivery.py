"""What was rendered becomes signed files under the job's name, and a row for every shot."""

import datetime
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.provenance.certificates import SigningIdentity
from pipeline.provenance.claim import Claim
from pipeline.provenance.manifest import SigningError
from pipeline.provenance.signed_delivery import SIGN, signed_delivery, signed_key
from pipeline.rendering.admission import consents_of, refusal_by_terms
from pipeline.rendering.job import Job
from pipeline.rendering.plan import RenderPlan, ShotFiles
from pipeline.rendering.shots import refused
from pipeline.scratch import scratch_folder
from pipeline.stage import Ended, Item, Outcome
from pipeline.stages.rendering import DELIVERED, STRIP, THUMBNAIL, RenderConfig
from storage.identity import JSON, digest
from storage.ledger import Commit, Ledger, Output
from storage.schemas import renders_schema
from storage.store import Store, open_store
from storage.tables import write_table

JOBS = "jobs"
Row = dict[str, Any]
Report = Callable[[int, int], None]

_FRAME_COUNTS = ("frames_total", "frames_rendered", "frames_kept", "frames_failed")
_SIGNERS = 8  # signing waits for the store longer than it computes


@dataclass(frozen=True)
class Delivered:
    """A job's end.

    rows: of `renders`, in the order of the items. written: files that were not there before.
    """

    rows: list[Row]
    written: int


@dataclass(frozen=True)
class Place:
    """Where a job's files are delivered: below a key of a store."""

    store: Store
    folder: str

    def key(self, name: str) -> str:
        """Return the store's key of a delivered file."""
        return f"{self.folder}/{name}"

    def uri(self, name: str) -> str:
        """Return where people find a delivered file."""
        return self.store.uri(self.key(name))


def delivery_place(ledger: Ledger, job: Job) -> Place:
    """Return where a job's files go: to the job's own address, else to deliver/ in the store."""
    if job.deliver_to is None:
        return Place(ledger.store, f"deliver/{job.job}")
    return Place(open_store(job.deliver_to), job.job)


def deliver(
    ledger: Ledger,
    plan: RenderPlan,
    items: Sequence[Item],
    config: RenderConfig,
    identity: SigningIdentity,
    now: datetime.datetime,
    report: Report = lambda _done, _total: None,
) -> Delivered:
    """Sign what was rendered, put it where the job says, and write the `renders` table.

    Terms of consents are asked once more: one may have been revoked meanwhile. A file that this
    job has delivered already is neither signed nor copied again.
    """
    items = _still_allowed(ledger, plan, items, now)
    shots = {one.of_shot: one for one in plan.shots}
    with scratch_folder() as folder:
        place = delivery_place(ledger, plan.job)
        desk = _Desk(ledger, plan, config, identity, place, folder)
        rows: list[Row] = []
        with ThreadPoolExecutor(_SIGNERS) as signers:
            for row in signers.map(lambda item: desk.row(shots[_shot(item)], item), items):
                rows.append(row)
                report(len(rows), len(items))
        table = folder / "renders.parquet"
        write_table(table, rows, renders_schema())
        place.store.put_file(place.key(table.name), table)
    weights: JSON = {"stage": plan.weights.stage, "key": plan.weights.key}
    shown = [{**row, "signed_key": desk.signed_keys.get(row["shot_id"])} for row in rows]
    made: dict[str, JSON] = {"run": plan.run.name, "weights": weights, "shots": shown}
    ledger.publish(JOBS, plan.job.job, {**made, "job": plan.job.model_dump(mode="json")})
    return Delivered(rows, desk.written)


def _still_allowed(
    ledger: Ledger, plan: RenderPlan, items: Sequence[Item], now: datetime.datetime
) -> list[Item]:
    consents = consents_of(ledger, plan.job)
    shots = {shot.id: shot for shot in plan.job.shots}
    asked = ((item, refusal_by_terms(shots[_shot(item)], consents, now)) for item in items)
    return [refused(item, why) if why and not item.ended else item for item, why in asked]


def _shot(item: Item) -> str:
    """Return the id of the job's shot that an item is, or is a take of."""
    return str(item.places["shot"])


class _Desk:
    """Signs and puts down one shot after the other; knows what lies there already."""

    def __init__(
        self,
        ledger: Ledger,
        plan: RenderPlan,
        config: RenderConfig,
        identity: SigningIdentity,
        place: Place,
        folder: Path,
    ) -> None:
        self._ledger, self._plan, self._config = ledger, plan, config
        self._identity, self._folder = identity, folder
        self._place = place
        self._there = set(place.store.list(place.folder))
        before: Any = ledger.latest(JOBS, plan.job.job) or {"shots": []}
        self._before = {row["shot_id"]: row for row in before["shots"]}
        self._recipe_digest = digest(
            {
                "preprocess": [spec.build().signature for spec in plan.recipe.stages()],
                "render": config.identity(),
            }
        )
        self.written = 0
        self.signed_keys: dict[str, str] = {}
        """Of what is delivered, by shot: ledger keys of the signed films."""

    def row(self, one: ShotFiles, item: Item) -> Row:
        """Deliver a shot that was rendered; return its row either way."""
        tried = next(iter(item.commits.values()), None)
        delivered: dict[str, str | None] = {"key": None, "sha256": None, "manifest": None}
        ended = item.ended
        if tried and not ended:
            try:
                delivered = self._deliver(one, item.id, tried)
            except SigningError as error:
                ended = Ended(SIGN, Outcome.FAILED, "not_signed", str(error))
        counts = tried.counts if tried else {}
        return {
            "job": self._plan.job.job,
            "shot_id": item.id,
            **delivered,
            "consent": one.shot.consent,
            **{name: counts.get(name, 0) for name in _FRAME_COUNTS},
            "outcome": str(ended.outcome if ended else Outcome.OK),
            "reason": ended.reason if ended else "",
            "detail": ended.detail if ended else "",
            "checkpoint_key": self._plan.weights.key,
            "dataset_key": self._plan.run.dataset_key,
            "sources": item.places["sources"],
            "seconds": tried.seconds if tried else 0.0,
            "strip_key": tried.output(STRIP).key if tried and not ended else None,
            "thumbnail_key": tried.output(THUMBNAIL).key if tried and not ended else None,
            "enlargement": tried.info.get("enlargement") if tried else None,
            "network_s": tried.info.get("network_s") if tried else None,
            "av_offset_s": tried.info.get("av_offset_s") if tried else None,
        }

    def _deliver(self, one: ShotFiles, shot: str, rendered: Commit) -> dict[str, str | None]:
        key = self._place.key(f"{shot}.mp4")
        claim = self._claim(one, shot)
        before = self._before.get(shot, {}) if key in self._there else {}
        ledger_key = signed_key(rendered, DELIVERED, claim, self._identity)
        if before.get("signed_key") == ledger_key:  # nothing to ask the store for
            self.signed_keys[shot] = ledger_key
            return {"key": key, "sha256": before["sha256"], "manifest": before["manifest"]}
        folder = self._folder / shot
        folder.mkdir()
        signed = signed_delivery(self._ledger, rendered, DELIVERED, claim, self._identity, folder)
        output = signed.output(DELIVERED)
        if before.get("sha256") != output.sha256:
            self._put(output, key, folder)
        self.signed_keys[shot] = ledger_key
        return {"key": key, "sha256": output.sha256, "manifest": str(signed.info["manifest"])}

    def _put(self, output: Output, key: str, folder: Path) -> None:
        path = self._ledger.fetch(output, folder)
        self._place.store.put_file(key, path)
        path.unlink()
        self.written += 1

    def _claim(self, one: ShotFiles, shot: str) -> Claim:
        plan = self._plan
        return Claim(
            mode=one.shot.mode,
            job=plan.job.job,
            shot=shot,
            still_sha256=one.still.sha256,
            performance_sha256=one.performance.sha256,
            run=plan.run.name,
            weights_key=plan.weights.key,
            dataset_key=plan.run.dataset_key,
            recipe_digest=self._recipe_digest,
            consent=one.shot.consent,
            visible_mark=self._config.visible_mark,
            mark_key=self._config.mark_key,
        )
