"""Rendering as a job: shots and their films become items; delivered files and a table come out."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.dataset import load_key
from pipeline.errors import ConfigurationError
from pipeline.films import FilmFile, film_item, identify
from pipeline.job_file import FilmShot, Job, PortraitShot
from pipeline.recipes import PreprocessRecipe
from pipeline.stage import Ended, Item, Outcome, StageSpec
from pipeline.stages.render_film import RenderFilm
from pipeline.stages.render_portrait import RenderPortrait
from pipeline.stages.rendering import DELIVERED, STRIP, RenderConfig
from pipeline.trained import TrainedRun, find_run, newest_weights
from storage.ledger import Commit, Ledger
from storage.schemas import renders_schema
from storage.tables import write_table

JOBS = "jobs"
Row = dict[str, Any]


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
    shots: list[ShotFiles]

    def films(self) -> list[Item]:
        """Return an item for each different film that has to be pre-processed."""
        files = [one.performance for one in self.shots]
        files += [one.still for one in self.shots if isinstance(one.shot, FilmShot)]
        return list({film.sha256: film_item(film) for film in files}.values())


def plan_render(ledger: Ledger, job: Job, recipe: PreprocessRecipe) -> RenderPlan:
    """Find the run's weights and identify every file that the job names.

    Raises ConfigurationError where the run does not exist or was trained on another kind of data.
    """
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
    return RenderPlan(job, run, newest_weights(ledger, run), shots)


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

    Returns its rows, each with `detail` (why, for people) and `strip` (store key of the before /
    after picture, or None).
    """
    rows = []
    with tempfile.TemporaryDirectory(prefix="e3d-deliver-") as name:
        folder = Path(name)
        for item in shots:
            row = _render_row(plan, item)
            if item.ended is None:
                row |= _copy(ledger, plan, item, folder)
            rows.append(row)
        rows.sort(key=lambda row: [shot.id for shot in plan.job.shots].index(row["shot_id"]))
        table = folder / "renders.parquet"
        write_table(table, rows, renders_schema())
        ledger.store.put_file(f"{delivery_folder(plan.job)}/renders.parquet", table)
    ledger.publish(JOBS, plan.job.job, {"run": plan.run.name, "shots": rows})
    details = {item.id: item.ended.detail if item.ended else "" for item in shots}
    strips = {item.id: _commit(item).output(STRIP).key for item in shots if item.ended is None}
    return [
        {**row, "detail": details[row["shot_id"]], "strip": strips.get(row["shot_id"])}
        for row in rows
    ]


def delivery_folder(job: Job) -> str:
    """Return the store key below which a job's files are delivered."""
    return f"deliver/{job.job}"


def _shot_item(plan: RenderPlan, one: ShotFiles, films: dict[Any, Item]) -> Item:
    shot = one.shot
    performer = films[one.performance.sha256]
    needed = [("performance", performer)]
    still = {"sha256": one.still.sha256}
    if isinstance(shot, FilmShot):
        needed.insert(0, ("film", films[one.still.sha256]))
    ended = None
    if isinstance(shot, PortraitShot) and one.still.trouble:
        detail = f"{one.still.name}: {one.still.trouble}"
        ended = Ended("identify", Outcome.FAILED, "unreadable", detail)
    for role, film in needed:
        if film.ended and ended is None:
            why = film.ended
            ended = Ended(why.stage, Outcome.FAILED, f"{role}_{why.reason}", why.detail)
    keys = {
        role: {stage: commit.key for stage, commit in film.commits.items()} for role, film in needed
    }
    # Where things lie is no part of a shot's identity: it is the files' content that counts.
    settings = shot.model_dump(mode="json")
    settings["performance"]["video"] = ""
    settings["film" if isinstance(shot, FilmShot) else "portrait"] = ""
    return Item(
        id=shot.id,
        inputs={
            "shot": settings,
            "still": still,
            **keys,
            "checkpoint": {"stage": plan.weights.stage, "key": plan.weights.key},
        },
        places={
            "name": shot.id,
            "performance": one.performance.place,
            ("film" if isinstance(shot, FilmShot) else "portrait"): one.still.place,
            "sources": [one.still.sha256, one.performance.sha256],
        },
        ended=ended,
    )


def _commit(item: Item) -> Commit:
    commits = [item.commits[name] for name in item.commits if name.startswith("render-")]
    return commits[0]


def _render_row(plan: RenderPlan, item: Item) -> Row:
    rendered = next((c for n, c in item.commits.items() if n.startswith("render-")), None)
    counts = rendered.counts if rendered else {}
    ended = item.ended
    return {
        "job": plan.job.job,
        "shot_id": item.id,
        "key": None,
        "sha256": None,
        **{
            name: counts.get(name, 0)
            for name in ("frames_total", "frames_rendered", "frames_kept", "frames_failed")
        },
        "outcome": str(ended.outcome if ended else Outcome.OK),
        "reason": ended.reason if ended else "",
        "checkpoint_key": plan.weights.key,
        "dataset_key": plan.run.dataset_key,
        "sources": item.places["sources"],
    }


def _copy(ledger: Ledger, plan: RenderPlan, item: Item, folder: Path) -> Row:
    """Put the delivered file where people look for it; its bytes are those of the commit."""
    output = _commit(item).output(DELIVERED)
    path = ledger.fetch(output, folder)
    key = f"{delivery_folder(plan.job)}/{item.id}.mp4"
    ledger.store.put_file(key, path)
    path.unlink()
    return {"key": key, "sha256": output.sha256}
