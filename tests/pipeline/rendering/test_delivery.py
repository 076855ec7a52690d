"""Delivery: signed once, put down once, and done again only where something lacks or differs."""

import datetime
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.films import FilmFile
from pipeline.provenance.certificates import SigningIdentity, signing_identity
from pipeline.provenance.consent import KnownFace, Use
from pipeline.provenance.consent_registry import register_consent
from pipeline.provenance.manifest import SigningError
from pipeline.provenance.signed_delivery import SIGN
from pipeline.recipes import preprocess_recipe
from pipeline.rendering import delivery
from pipeline.rendering.admission import consents_of
from pipeline.rendering.delivery import JOBS, Delivered, deliver
from pipeline.rendering.job import FilmShot, Job, Performance
from pipeline.rendering.plan import RenderPlan, ShotFiles
from pipeline.stage import Item
from pipeline.stages.rendering import DELIVERED, STRIP, THUMBNAIL, RenderConfig
from pipeline.training.runs import TrainedRun
from storage.identity import digest
from storage.ledger import Ledger

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Rendered:
    """A job of two shots that are rendered."""

    ledger: Ledger
    plan: RenderPlan
    items: list[Item]
    identity: SigningIdentity

    def deliver(self, identity: SigningIdentity | None = None) -> Delivered:
        return deliver(
            self.ledger, self.plan, self.items, RenderConfig(), identity or self.identity, NOW
        )


@pytest.fixture
def job(ledger: Ledger, tmp_path: Path) -> Rendered:
    film = tmp_path / "film.mp4"
    with av.open(str(film), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width = video.height = 64
        for _ in range(3):
            black = np.zeros((64, 64, 3), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(black, "rgb24")))
        container.mux(video.encode(None))
    (tmp_path / "strip").write_bytes(b"strip")
    face = KnownFace((1.0, 0.0), {"embedder": "made"})
    register_consent(
        ledger, consent_id="anna", name="Anna", uses=(Use.DUBBING,),
        until=datetime.date(2030, 1, 1), face=face, by="test", now=NOW,
    )  # fmt: skip
    run = TrainedRun("first", "recipe", "people", digest("people"), {"export3d": digest("run")})
    shots = [
        FilmShot(
            mode="film", id=name, film="a.mp4", consent="anna",
            performance=Performance(video="b.mp4"),
        )
        for name in ("one", "two")
    ]  # fmt: skip
    actor, dubber = (FilmFile(name, name, digest(name), 1) for name in ("a.mp4", "b.mp4"))
    plan = RenderPlan(
        job=Job(job="reel", run="first", shots=shots),
        recipe=preprocess_recipe("dubbing"),
        run=run,
        weights=ledger.commit("export3d", digest("run"), outcome="ok", started_at="", seconds=0.0),
        shots=[ShotFiles(shot, actor, dubber, None, shot.id) for shot in shots],
        consents={},
        refused={},
    )
    items = []
    for shot in shots:
        commit = ledger.commit(
            "render-film", digest(shot.id), outcome="ok", started_at="", seconds=1.0,
            files={DELIVERED: film, **dict.fromkeys((STRIP, THUMBNAIL), tmp_path / "strip")},
        )  # fmt: skip
        item = Item(shot.id, {}, {"shot": shot.id, "sources": [actor.sha256, dubber.sha256]})
        items.append(item.after(commit))
    return Rendered(ledger, plan, items, signing_identity(tmp_path / "home", {}))


def objects(ledger: Ledger) -> dict[str, bytes]:
    return {key: ledger.store.get(key) for key in ledger.store.list("")}


def test_what_is_delivered_is_neither_signed_nor_read_nor_written_again(
    job: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = job.deliver()
    assert (first.written, [row["outcome"] for row in first.rows]) == (2, ["ok", "ok"])
    before = objects(job.ledger)
    consents = consents_of(job.ledger, job.plan.job)
    monkeypatch.setattr(delivery, "consents_of", lambda *_: consents)
    monkeypatch.setattr(Ledger, "find", lambda *_: pytest.fail("a record was read"))
    again = job.deliver()
    assert (again.rows, again.written) == (first.rows, 0)
    assert objects(job.ledger) == before


def test_a_file_that_lacks_is_put_down_as_it_was_signed(job: Rendered) -> None:
    first = job.deliver()
    key = first.rows[0]["key"]
    before = job.ledger.store.get(key)
    job.ledger.store.delete(key)
    again = job.deliver()
    assert (again.rows, again.written) == (first.rows, 1)
    assert job.ledger.store.get(key) == before


def test_another_certificate_signs_anew(job: Rendered, tmp_path: Path) -> None:
    first = job.deliver()
    again = job.deliver(signing_identity(tmp_path / "other", {}))
    assert again.written == 2
    assert len(job.ledger.committed(SIGN)) == 4
    for before, after in zip(first.rows, again.rows, strict=True):
        assert after["sha256"] != before["sha256"]


def test_a_shot_that_could_not_be_signed_is_tried_again(
    job: Rendered, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise SigningError("the certificate is refused")

    with monkeypatch.context() as patch:
        patch.setattr(delivery, "signed_delivery", refuse)
        failed = job.deliver()
    assert [row["reason"] for row in failed.rows] == ["not_signed"] * 2
    again = job.deliver()
    assert [row["outcome"] for row in again.rows] == ["ok"] * 2
    assert again.written == 2


def test_jobs_of_an_older_version_are_looked_up_in_the_ledger(job: Rendered) -> None:
    first = job.deliver()
    published = job.ledger.latest(JOBS, "reel")
    assert published is not None
    shots = [{k: v for k, v in row.items() if k != "signed_key"} for row in published["shots"]]
    job.ledger.publish(JOBS, "reel", {**published, "shots": shots})
    again = job.deliver()
    assert (again.rows, again.written) == (first.rows, 0)
