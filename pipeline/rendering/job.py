"""Rendering as a job: shots and their films become items; delivered files and a table come out."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.dataset import load_key
from pipeline.errors import ConfigurationError
from pipeline.faces.models import FaceModelName
from pipeline.films import FilmFile, film_item, identify
from pipeline.recipes import PreprocessRecipe
from pipeline.rendering.job_file import FilmShot, Job, PortraitShot
from pipeline.stage import Ended, Item, Outcome, StageSpec
from pipeline.stages.render_film import RenderFilm
from pipeline.stages.render_portrait import RenderPortrait
from pipeline.stages.rendering import DELIVERED, STRIP, RenderConfig
from pipeline.training.runs import TrainedRun, find_run, newest_weights
from storage.ledger import Commit, Ledger, Output
from storage.schemas import renders_schema
from storage.tables import write_table

JOBS = "jobs"
Row = dict[str, Any]

_FRAME_COUNTS = ("frames_total", "frames_rendered", "frames_kept", "frames_failed")


@dataclass(frozen=True)
class ShotFiles:
    """The files a shot names, identified by content."""

    shot: FilmShot | PortraitShot
    still: FilmFile
    """The film of the actor, or the portrait."""
    performance: FilmFile


@dataclass(frozen=True)
class RenderPlan:
    """A job with everything it needs found and identified."""

    job: Job
    run: TrainedRun
    weights: Commit
    face_model: FaceModelName
    shots: list[ShotFiles]

    def films(self) -> list[Item]:
        """Return an item for each different film that has to be pre-processed."""
        files = [one.performance for one in self.shots]
        files += [one.still for one in self.shots if isinstance(one.shot, FilmShot)]
        return list({film.sha256: film_item(film) for film in files}.values())


def plan_render(ledger: Ledger, job: Job, recipe: PreprocessRecipe) -> RenderPlan:
    """Find the run's weights and identify every file that the job names.

    Raises ConfigurationError where the run does not exist or was trained on another kind of data,
    and for a recipe that would drop frames of the film.
    """
    if recipe.ingest.fps is not None:
        raise ConfigurationError(
            f"recipe {recipe.name!r} resamples films to {recipe.ingest.fps} fps; rendering needs "
            "one that keeps every frame, such as dubbing"
        )
    run = find_run(ledger, job.run)
    trained_on, kind = load_key(ledger, run.dataset_key).kind, recipe.kind()
    for what in ("camera_mode", "face_model_sha256"):
        if getattr(trained_on, what) != getattr(kind, what):
            raise ConfigurationError(
                f"run {run.name!r} was trained with {what} {getattr(trained_on, what)}; "
                f"recipe {recipe.name!r} gives {getattr(kind, what)}"
            )
    shots = [
        ShotFiles(
            shot=shot,
            still=identify(shot.film if isinstance(shot, FilmShot) else shot.portrait),
            performance=identify(shot.performance.video),
        )
        for shot in job.shots
    ]
    return RenderPlan(job, run, newest_weights(ledger, run), recipe.face3d.face_model, shots)


def shot_stages(config: RenderConfig) -> dict[str, StageSpec]:
    """Return the stage that renders each mode of shot."""
    return {
        "film": StageSpec(RenderFilm, config),
        "portrait": StageSpec(RenderPortrait, config),
    }


def shot_items(plan: RenderPlan, films: Sequence[Item], mode: str) -> list[Item]:
    """Return the items of all shots of a mode, once their films are pre-processed."""
    by_sha256 = {film.inputs["film_sha256"]: film for film in films}
    return [_shot_item(plan, one, by_sha256) for one in plan.shots if one.shot.mode == mode]


def deliver(ledger: Ledger, plan: RenderPlan, shots: Sequence[Item]) -> list[Row]:
    """Copy what was rendered to deliver/<job>/ and write the `renders` table.

    Returns its rows in the order of the job, each with `detail` (why, for people) and `strip`
    (store key of the before / after picture, or None).
    """
    target = delivery_folder(plan.job)
    items = {item.id: item for item in shots}
    ordered = [items[shot.id] for shot in plan.job.shots]
    rows = [_render_row(plan, item) for item in ordered]
    with tempfile.TemporaryDirectory(prefix="e3d-deliver-") as name:
        folder = Path(name)
        for row, item in zip(rows, ordered, strict=True):
            if rendered := _rendered(item):
                row["key"] = f"{target}/{item.id}.mp4"
                row["sha256"] = _copy(ledger, rendered.output(DELIVERED), row["key"], folder)
        table = folder / "renders.parquet"
        write_table(table, rows, renders_schema())
        ledger.store.put_file(f"{target}/renders.parquet", table)
    ledger.publish(JOBS, plan.job.job, {"run": plan.run.name, "shots": rows})
    return [
        {
            **row,
            "detail": item.ended.detail if item.ended else "",
            "strip": rendered.output(STRIP).key if (rendered := _rendered(item)) else None,
        }
        for row, item in zip(rows, ordered, strict=True)
    ]


def delivery_folder(job: Job) -> str:
    """Return the store key below which a job's files are delivered."""
    return f"deliver/{job.job}"


def _shot_item(plan: RenderPlan, one: ShotFiles, films: dict[Any, Item]) -> Item:
    shot = one.shot
    role = "film" if isinstance(shot, FilmShot) else "portrait"
    needed = {"performance": films[one.performance.sha256]}
    if role == "film":
        needed["film"] = films[one.still.sha256]
    # Where files lie is no part of a shot's identity: their content is.
    performance = shot.performance.model_copy(update={"video": ""})
    settings = shot.model_copy(update={role: "", "performance": performance})
    return Item(
        id=shot.id,
        inputs={
            "shot": settings.model_dump(mode="json"),
            "still_sha256": one.still.sha256,
            "checkpoint": {"stage": plan.weights.stage, "key": plan.weights.key},
            **{
                name: {stage: commit.key for stage, commit in film.commits.items()}
                for name, film in needed.items()
            },
        },
        places={
            "name": shot.id,
            role: one.still.place,
            "performance": one.performance.place,
            "face_model": str(plan.face_model),
            "sources": [one.still.sha256, one.performance.sha256],
        },
        ended=_unready(one, needed),
    )


def _unready(one: ShotFiles, needed: dict[str, Item]) -> Ended | None:
    """Return why a shot cannot even be tried; None when it can."""
    for name, film in needed.items():
        if film.ended:
            why = film.ended
            return Ended(why.stage, Outcome.FAILED, f"{name}_{why.reason}", why.detail)
    if one.still.trouble:
        return Ended("identify", Outcome.FAILED, "unreadable", one.still.trouble)
    return None


def _rendered(item: Item) -> Commit | None:
    """Return the commit with the shot's delivered file, if it got so far."""
    return None if item.ended else next(iter(item.commits.values()))


def _render_row(plan: RenderPlan, item: Item) -> Row:
    tried = next(iter(item.commits.values()), None)
    counts = tried.counts if tried else {}
    return {
        "job": plan.job.job,
        "shot_id": item.id,
        "key": None,
        "sha256": None,
        **{name: counts.get(name, 0) for name in _FRAME_COUNTS},
        "outcome": str(item.ended.outcome if item.ended else Outcome.OK),
        "reason": item.ended.reason if item.ended else "",
        "checkpoint_key": plan.weights.key,
        "dataset_key": plan.run.dataset_key,
        "sources": item.places["sources"],
    }


def _copy(ledger: Ledger, output: Output, key: str, folder: Path) -> str:
    """Put a delivered file where people look for it; return its sha256."""
    path = ledger.fetch(output, folder)
    ledger.store.put_file(key, path)
    path.unlink()
    return output.sha256
