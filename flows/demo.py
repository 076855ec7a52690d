"""The flow `demo`: the whole house once, on two short clips: dataset, training, a delivered dub."""

from typing import Any

from prefect import flow

from flows import artifacts
from flows.preprocess import preprocess_films
from flows.render import render_film
from flows.train import train_network
from pipeline.demo import DATASET, RUN, demo_job, demo_report, register_demo_consents
from pipeline.runners.one_connection import one_connection
from storage.ledger import Ledger
from storage.store import open_store


@flow(name="demo", persist_result=False)
def run_demo(
    store: str,
    clips: dict[str, str],
    recipe: str,
    steps: int | None = None,
    ray_address: str | None = None,
) -> dict[str, Any]:
    """Pre-process, train and render the demo's clips (places by role); return all summaries."""
    films = [clips["film"], clips["performance"]]
    with one_connection():
        dataset = preprocess_films(films, store, DATASET, "demo", ray_address)
        register_demo_consents(Ledger(open_store(store)), clips)
        trained = train_network(store, DATASET, recipe, RUN, steps, ray_address)
        rendered = render_film(demo_job(clips).model_dump(mode="json"), store, ray_address)
    ledger = Ledger(open_store(store))
    report = demo_report(ledger, dataset, rendered)
    ledger.store.put(f"deliver/{rendered['job']}/demo.html", report.html().encode())
    artifacts.create_report("demo-report", report.markdown(), "What the demo made")
    return {
        "dataset": dataset,
        "training": trained,
        "render": rendered,
        "report": ledger.store.uri(f"deliver/{rendered['job']}/demo.html"),
    }
