"""A job whose shots nap instead of being rendered: everything else of it is real."""

import datetime
from pathlib import Path

import av
import numpy as np

from benchmarks.orchestration.stage import Config, SimulatedShot
from pipeline.films import FilmFile
from pipeline.provenance.consent import KnownFace, Use
from pipeline.provenance.consent_registry import find_consent, register_consent
from pipeline.recipes import preprocess_recipe
from pipeline.rendering.job import FilmShot, Job, Performance
from pipeline.rendering.plan import RenderPlan, ShotFiles
from pipeline.stage import Item, StageSpec
from pipeline.stages.rendering import DELIVERED, STRIP, THUMBNAIL
from pipeline.training.runs import TrainedRun
from storage.identity import JSON, digest
from storage.ledger import Ledger

NOW = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)

_FILM_FRAMES, _FILM_PX = 25, 96
_RUN = "simulated"
_CONSENT = "simulated-person"


def stage_spec(seconds: float, cpus: float, film: Path | None = None) -> StageSpec:
    """Return the stage whose shots nap for `seconds` on `cpus` cores and give copies of a film."""
    return StageSpec(SimulatedShot, Config(seconds, cpus, str(film), DELIVERED, (STRIP, THUMBNAIL)))


def write_small_film(path: Path) -> Path:
    """Write one second of noise as H.264, about 200 kB."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        video = container.add_stream("libx264", rate=25)
        video.width = video.height = _FILM_PX
        for _ in range(_FILM_FRAMES):
            picture = rng.integers(0, 256, (_FILM_PX, _FILM_PX, 3), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(video.encode(None))
    return path


def simulated_job(ledger: Ledger, name: str, shots: int) -> tuple[RenderPlan, list[Item]]:
    """Return the plan of a job of so many shots of one film, and an item for each."""
    face = KnownFace((1.0, 0.0), {"embedder": "simulated"})
    if find_consent(ledger, _CONSENT) is None:
        register_consent(
            ledger, consent_id=_CONSENT, name="Nobody", uses=(Use.DUBBING,),
            until=datetime.date(9999, 1, 1), face=face, by="benchmark", now=NOW,
        )  # fmt: skip
    run = TrainedRun(_RUN, "simulated", "simulated", digest("dataset"), {"export3d": digest(_RUN)})
    weights = ledger.commit(
        "export3d", run.keys["export3d"], outcome="ok", started_at="", seconds=0.0
    )
    film, performance = (
        FilmFile(place, place, digest(place), 1) for place in ("actor.mp4", "dubber.mp4")
    )
    wanted = [
        FilmShot(
            mode="film", id=f"shot-{number:05d}", film=film.place, consent=_CONSENT,
            performance=Performance(video=performance.place), start_s=number, end_s=number + 5,
        )
        for number in range(shots)
    ]  # fmt: skip
    plan = RenderPlan(
        job=Job(job=name, run=_RUN, shots=wanted),
        recipe=preprocess_recipe("dubbing"),
        run=run,
        weights=weights,
        shots=[ShotFiles(shot, film, performance, None, shot.id) for shot in wanted],
        consents={},
        refused={},
    )
    return plan, [_item(name, one) for one in plan.shots]


def _item(job: str, one: ShotFiles) -> Item:
    sources = [one.still.sha256, one.performance.sha256]
    places: dict[str, JSON] = {"name": one.of_shot, "shot": one.of_shot, "sources": sources}
    inputs: dict[str, JSON] = {"job": job, "shot": one.shot.model_dump(mode="json")}
    return Item(id=one.of_shot, inputs=inputs, places=places)
