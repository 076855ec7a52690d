"""A job with all that it needs found and identified, and what of it may be rendered at all."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from pipeline.dataset import load_key
from pipeline.errors import ConfigurationError
from pipeline.films import FilmFile, film_item, identify
from pipeline.provenance.consent import Consent, Refusal
from pipeline.recipes import PreprocessRecipe
from pipeline.rendering.admission import consents_of, refusal_by_terms
from pipeline.rendering.job import FilmShot, Job, PortraitShot
from pipeline.stage import Item, StageSpec
from pipeline.stages.portrait import Portrait, PortraitConfig
from pipeline.training.runs import WEIGHT_STAGES, TrainedRun, find_run, newest_weights
from storage.ledger import Commit, Ledger


@dataclass(frozen=True)
class ShotFiles:
    """The files a shot names, identified by content."""

    shot: FilmShot | PortraitShot
    still: FilmFile
    """The film of the actor, or the portrait."""
    performance: FilmFile
    dub: FilmFile | None
    """The sound file, where there is one."""
    of_shot: str
    """Id of the job's shot, of which this may be one take."""


@dataclass(frozen=True)
class RenderPlan:
    """A job with everything it needs found and identified."""

    job: Job
    recipe: PreprocessRecipe
    run: TrainedRun
    weights: Commit
    shots: list[ShotFiles]
    consents: Mapping[str, Consent]
    """By id; of those that the job names the ones that there are."""
    refused: Mapping[str, Refusal]
    """By shot: those that no consent covers, whatever their pictures show."""

    @cached_property
    def admitted(self) -> list[ShotFiles]:
        """The shots for which something may be computed."""
        return [one for one in self.shots if one.shot.id not in self.refused]

    def preparations(self) -> dict[str, tuple[list[StageSpec], list[Item]]]:
        """Return what has to be done before any shot, by name: the stages, and their items."""
        faces = StageSpec(Portrait, PortraitConfig(self.recipe.landmarks.networks))
        return {
            "films": (self.recipe.stages(), self.films()),
            "portraits": ([faces], self.portraits()),
        }

    def films(self) -> list[Item]:
        """Return an item for each different film that has to be pre-processed."""
        files = [one.performance for one in self.admitted]
        files += [one.still for one in self.admitted if isinstance(one.shot, FilmShot)]
        return list({film.sha256: film_item(film) for film in files}.values())

    def portraits(self) -> list[Item]:
        """Return an item for each different picture that is to move."""
        files = [one.still for one in self.admitted if isinstance(one.shot, PortraitShot)]
        return list({picture.sha256: film_item(picture) for picture in files}.values())


def plan_render(
    ledger: Ledger,
    job: Job,
    recipe: PreprocessRecipe,
    now: datetime.datetime,
    weights: Commit | None = None,
) -> RenderPlan:
    """Find the run's weights and the consents, and identify every file that the job names.

    weights: those to render with; without them the run's newest.
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
    consents = consents_of(ledger, job)
    refusals = {shot.id: refusal_by_terms(shot, consents, now) for shot in job.shots}
    return RenderPlan(
        job=job,
        recipe=recipe,
        run=run,
        weights=weights or _weights(ledger, run, job.checkpoint),
        shots=_identified(job),
        consents=consents,
        refused={shot: refusal for shot, refusal in refusals.items() if refusal},
    )


def _weights(ledger: Ledger, run: TrainedRun, checkpoint: str | None) -> Commit:
    """Return the weights that a job names, or the run's newest."""
    if checkpoint is None:
        return newest_weights(ledger, run)
    for stage in WEIGHT_STAGES:
        if found := ledger.find(stage, checkpoint):
            return found
    raise ConfigurationError(f"checkpoint {checkpoint!r} is not in {ledger.store.url}")


def _identified(job: Job) -> list[ShotFiles]:
    """Read every file once, however many shots name it."""
    known: dict[str, FilmFile] = {}

    def read(place: str) -> FilmFile:
        if place not in known:
            known[place] = identify(place)
        return known[place]

    return [
        ShotFiles(
            shot=shot,
            still=read(shot.film if isinstance(shot, FilmShot) else shot.portrait),
            performance=read(shot.performance.video),
            dub=read(shot.dub.file) if isinstance(shot, FilmShot) and shot.dub else None,
            of_shot=shot.id,
        )
        for shot in job.shots
    ]
