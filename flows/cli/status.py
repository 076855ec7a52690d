"""`e3d status`: what a store holds, and how each item ended."""

from typing import Annotated

import typer

from flows.cli.session import AsJson, Store, as_lines, show


def status(
    store: Store,
    name: Annotated[
        str | None, typer.Argument(help="A dataset, run or job; default: a list of all.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show datasets, training runs and render jobs, and the outcome of every film and shot."""
    from pipeline.status import of_name, overview
    from storage.ledger import Ledger
    from storage.store import open_store

    ledger = Ledger(open_store(store))
    found = overview(ledger) if name is None else of_name(ledger, name)
    show(found, as_lines(found), as_json=as_json)
