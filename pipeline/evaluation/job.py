"""Evaluation as a job: a run and a dataset become an item, and the stages that judge it."""

from dataclasses import dataclass, replace

from model.evaluation.protocol import ProtocolConfig
from pipeline import dataset as datasets
from pipeline.dataset import DatasetVersion
from pipeline.errors import ConfigurationError
from pipeline.recipes import PreprocessRecipe, recipe_of_dataset, train_recipe
from pipeline.stage import Item, StageSpec
from pipeline.stages.evaluation import Evaluation, EvaluationConfig
from pipeline.stages.expressions import Expressions, ExpressionsConfig
from pipeline.stages.views import Views, ViewsConfig
from pipeline.training.job import kept_from_training
from pipeline.training.runs import TrainedRun, find_run, newest_weights
from storage.identity import JSON
from storage.ledger import Commit, Ledger

EVALUATIONS = "evaluations"


@dataclass(frozen=True)
class EvaluationPlan:
    """What is judged on what, and by which stages."""

    run: TrainedRun
    dataset_name: str
    dataset: DatasetVersion
    weights: Commit
    stages: tuple[tuple[StageSpec, Item], ...]
    """Each by itself, with what it works on: one that fails keeps no other from its work."""

    @property
    def report_key(self) -> str:
        """Store key of the page."""
        return f"reports/evaluations/{self.run.name}-{self.dataset_name}.html"


def plan_evaluation(
    ledger: Ledger,
    run: str,
    dataset: str | None = None,
    *,
    frames: int | None = None,
    like: str | None = None,
    gpus: float = 0,
) -> EvaluationPlan:
    """Check that run and dataset fit, and return what there is to do.

    Without a dataset it is the run's own, in the version that it was trained on. `frames` is the
    most driving frames of a clip; `like` names a run whose pairs are to be taken. Raises
    ConfigurationError in one sentence where something does not fit.
    """
    found = find_run(ledger, run)
    trained_on = datasets.load_key(ledger, found.dataset_key)
    name = dataset or found.dataset
    version = datasets.load(ledger, dataset) if dataset else trained_on
    datasets.check_same_kind(trained_on, version)
    made_by = recipe_of_dataset(version.kind.recipe)
    same_person = made_by.landmarks.same_person
    weights = newest_weights(ledger, found)
    shown = Item(run, {"weights": weights.key, "dataset": version.key}, {"name": run})
    known = dict.fromkeys([trained_on.key, *found.known])
    further: dict[str, JSON] = {"trained_on": list(known)}
    if like is not None:
        further["pairs"] = _evaluation_of(ledger, like, name, version)
    measured = replace(shown, inputs={**shown.inputs, **further})
    stages = (
        (StageSpec(Evaluation, _config(found, made_by, frames, gpus)), measured),
        (StageSpec(Expressions, ExpressionsConfig(same_person)), shown),
        (StageSpec(Views, ViewsConfig(same_person, gpus=gpus)), shown),
    )
    return EvaluationPlan(found, name, version, weights, stages)


def publish_evaluation(ledger: Ledger, plan: EvaluationPlan, commit: Commit) -> None:
    """Make the newest evaluation of a run on a dataset known, for `like`."""
    known = ledger.latest(EVALUATIONS, plan.run.name) or {}
    newest: dict[str, JSON] = {"key": commit.key, "dataset": plan.dataset.key}
    ledger.publish(EVALUATIONS, plan.run.name, {**known, plan.dataset_name: newest})


def _evaluation_of(ledger: Ledger, run: str, dataset: str, version: DatasetVersion) -> JSON:
    known = ledger.latest(EVALUATIONS, find_run(ledger, run).name) or {}
    match known.get(dataset):
        case {"key": key, "dataset": version.key}:
            return str(key)
    raise ConfigurationError(
        f"run {run!r} has not been evaluated on this version of dataset {dataset!r}: do that first"
    )


def _config(
    run: TrainedRun, made_by: PreprocessRecipe, frames: int | None, gpus: float
) -> EvaluationConfig:
    trained_by = train_recipe(run.recipe).export3d
    protocol = ProtocolConfig() if frames is None else ProtocolConfig(frames_per_clip=frames)
    return EvaluationConfig(
        networks=made_by.landmarks.networks,
        face_model=made_by.face3d.face_model,
        min_score=made_by.landmarks.follow.min_score,
        same_person=made_by.landmarks.same_person,
        holdout=kept_from_training(run),
        protocol=protocol,
        perceptual_blocks=5 if trained_by.perceptual_blocks else 0,
        gpus=gpus,
    )
