"""What a store holds, by name, as plain values."""

from dataclasses import asdict
from typing import Any

from pipeline import dataset as datasets
from pipeline.dataset import DATASETS
from pipeline.errors import ConfigurationError
from pipeline.rendering.delivery import JOBS
from pipeline.stages.training import newest_checkpoint
from pipeline.training.runs import RUNS, find_run, finished
from storage.ledger import Ledger


def overview(ledger: Ledger) -> dict[str, Any]:
    """Return the names of all datasets, runs and jobs."""
    return {kind: ledger.names(kind) for kind in (DATASETS, RUNS, JOBS)}


def of_name(ledger: Ledger, name: str) -> dict[str, Any]:
    """Return what is known of everything with this name. Raises ConfigurationError for nothing."""
    looks = {DATASETS: _dataset, RUNS: _run, JOBS: _job}
    found = {kind: look(ledger, name) for kind, look in looks.items() if name in ledger.names(kind)}
    if not found:
        known = ", ".join(f"{k} {', '.join(v)}" for k, v in overview(ledger).items() if v)
        raise ConfigurationError(
            f"there is nothing named {name!r} in {ledger.store.url}; there is: {known or 'nothing'}"
        )
    return found


def _dataset(ledger: Ledger, name: str) -> dict[str, Any]:
    version = datasets.load(ledger, name)
    outcomes = [film.outcome for film in version.films]
    return {
        "name": name,
        "versions": len(ledger.history(DATASETS, name)),
        "key": version.key,
        "recipe": version.kind.recipe,
        "camera_mode": version.kind.camera_mode,
        "face_model": version.kind.widths.face_model,
        "outcomes": {one: outcomes.count(one) for one in sorted(set(outcomes))},
        "films": [
            {key: value for key, value in asdict(film).items() if key != "keys"}
            for film in version.films
        ],
    }


def _run(ledger: Ledger, name: str) -> dict[str, Any]:
    run = find_run(ledger, name)
    complete = finished(ledger, run)
    stages = {}
    for stage, key in run.keys.items():
        checkpoint = newest_checkpoint(ledger, key)
        stages[stage] = {
            "complete": stage in complete,
            "checkpoint": checkpoint.info["position"] if checkpoint else None,
        }
    facts = {key: value for key, value in asdict(run).items() if key != "keys"}
    return {**facts, "stages": stages}


def _job(ledger: Ledger, name: str) -> dict[str, Any]:
    return dict(ledger.latest(JOBS, name) or {})
