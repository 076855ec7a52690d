"""The flow `preprocess`: films in, a dataset version out."""

import uuid
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows import artifacts
from flows.watched import drained, run_stages
from pipeline import dataset as datasets
from pipeline.dataset import DatasetVersion
from pipeline.errors import usable_name
from pipeline.films import find_films, identify_films
from pipeline.recipes import PreprocessRecipe, preprocess_recipe
from pipeline.reports.dataset import dataset_report, report_key
from pipeline.stage import Item
from storage.ledger import Ledger
from storage.store import open_store


@flow(name="preprocess", flow_run_name="preprocess {dataset}", persist_result=False)
def preprocess_films(
    films: list[str],
    store: str,
    dataset: str,
    recipe: str = "default",
    ray_address: str | None = None,
) -> dict[str, Any]:
    """Make `dataset` of exactly these films (files, folders, URLs); what is made already is reused.

    Returns a summary: version, key, counts of outcomes, films.
    """
    usable_name(dataset, "dataset")
    chosen = preprocess_recipe(recipe)
    items = identify(find_films(films))
    done = run_stages(
        f"preprocess {dataset}",
        chosen.stages(),
        items,
        store=store,
        run_id=uuid.uuid4().hex,
        ray_address=ray_address,
    )
    if done.is_cancelled:
        return drained(f"dataset {dataset}")  # type: ignore[no-any-return]
    version = publish(store, dataset, chosen, done.items)
    _show(store, dataset, version)
    return {**summary(dataset, version), "computed": done.computed, "reused": done.reused}


@task(name="identify films", cache_policy=NO_CACHE, persist_result=False)
def identify(places: list[str]) -> list[Item]:
    """Digest every film."""
    return identify_films(places)


@task(name="publish dataset", cache_policy=NO_CACHE, persist_result=False)
def publish(
    store: str, dataset: str, recipe: PreprocessRecipe, items: list[Item]
) -> DatasetVersion:
    """Publish the version that holds these films."""
    last = recipe.stages()[-1].stage_class.name
    ledger = Ledger(open_store(store))
    return datasets.assemble(ledger, dataset, recipe.kind(), items, last)


def summary(dataset: str, version: DatasetVersion) -> dict[str, Any]:
    """Return what a program wants to know of a version."""
    outcomes = [film.outcome for film in version.films]
    return {
        "dataset": dataset,
        "key": version.key,
        "recipe": version.kind.recipe,
        "outcomes": {name: outcomes.count(name) for name in sorted(set(outcomes))},
        "films": [
            {
                "source_id": film.source_id,
                "name": film.name,
                "outcome": film.outcome,
                "stage": film.stage,
                "reason": film.reason,
                "detail": film.detail,
                "frames": film.counts,
            }
            for film in version.films
        ],
    }


def _show(store: str, dataset: str, version: DatasetVersion) -> None:
    rows = summary(dataset, version)["films"]
    for row in rows:
        row["frames"] = ", ".join(f"{count} {name}" for name, count in row["frames"].items())
    artifacts.create_outcome_table(f"{dataset}-films", rows, f"Films of dataset {dataset}")
    ledger = Ledger(open_store(store))
    report = dataset_report(ledger, dataset, version)
    artifacts.create_report(f"{dataset}-report", report.markdown(), f"Report of dataset {dataset}")
    ledger.store.put(report_key(dataset), report.html().encode())
