"""`e3d preprocess`: films to a dataset."""

from typing import Annotated, Any

import typer

from flows.cli.exit_code import ExitCode
from flows.cli.session import AsJson, Ray, SingleWriter, Store, operating, show, why


def preprocess(
    films: Annotated[
        list[str],
        typer.Argument(help="Films, folders of films, or URLs such as s3://bucket/a.mp4."),
    ],
    store: Store,
    dataset: Annotated[str, typer.Option(help="Name of the dataset that these films make.")],
    recipe: Annotated[str, typer.Option(help="See e3d describe.")] = "default",
    ray: Ray = None,
    max_failures: Annotated[
        int | None,
        typer.Option(min=0, help="More films that fail or are filtered end with exit code 3."),
    ] = None,
    single_writer: SingleWriter = False,
    dry_run: Annotated[
        bool, typer.Option(help="Say what would be computed, and compute nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Turn films into face clips, landmarks, 3DMM coefficients and cameras in Parquet.

    The dataset holds exactly the films given. What the store has already is not computed again: a
    second run computes nothing, a changed film or recipe recomputes what depends on it.
    """
    if dry_run:
        plan = _plan(films, store, recipe)
        show(plan, f"{plan['films']} films; to compute: {plan['to_compute']}", as_json=as_json)
        return
    with operating(store, single_writer=single_writer):
        from flows.preprocess import preprocess_films

        result = preprocess_films(
            films=films, store=store, dataset=dataset, recipe=recipe, ray_address=ray
        )
    show(result, _text(result), as_json=as_json)
    outcomes = result["outcomes"]
    bad = sum(count for name, count in outcomes.items() if name != "ok")
    too_many = max_failures is not None and bad > max_failures
    if too_many or outcomes.get("crashed") or not outcomes.get("ok"):
        raise typer.Exit(ExitCode.FAILURES)


def _plan(films: list[str], store: str, recipe: str) -> dict[str, Any]:
    from pipeline.execute import resolve
    from pipeline.films import find_films, identify_films
    from pipeline.recipes import preprocess_recipe
    from storage.ledger import Ledger
    from storage.store import open_store

    stages = [spec.build() for spec in preprocess_recipe(recipe).stages()]
    items = identify_films(find_films(films))
    _, pending = resolve(Ledger(open_store(store)), stages, items, lambda _event: None)
    return {
        "films": len(items),
        "to_compute": len(pending),
        "pending": [str(item.places["name"]) for item in pending],
    }


def _text(result: dict[str, Any]) -> str:
    lines = [
        f"{film['outcome']:<9} {film['name']}" + (f": {said}" if (said := why(film)) else "")
        for film in result["films"]
    ]
    work = (
        f"computed {result['computed']} stage results, reused {result['reused']}"
        if result["computed"]
        else "nothing to compute: every result was there already"
    )
    counts = ", ".join(f"{count} {name}" for name, count in result["outcomes"].items())
    lines.append(f"dataset {result['dataset']} ({result['key'][:12]}): {counts}; {work}")
    return "\n".join(lines)
