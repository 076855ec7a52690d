"""`e3d report`: the page of a dataset."""

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.session import AsJson, Store, show


def report(
    dataset: Annotated[str, typer.Argument(help="A dataset; e3d status lists them.")],
    store: Store,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page to this file, too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a page on a dataset: counts, poses, expressions, scores, and its worst clips.

    The page goes to reports/datasets/DATASET.html in the store.
    """
    from pipeline import dataset as datasets
    from pipeline.errors import ConfigurationError
    from pipeline.reports.dataset import report_key, survey_report
    from pipeline.reports.dataset_numbers import dataset_numbers
    from pipeline.reports.survey import survey_dataset
    from storage.ledger import Ledger
    from storage.store import open_store

    if out is not None and not out.absolute().parent.is_dir():
        raise ConfigurationError(f"--out is {str(out)!r}; its folder does not exist")
    ledger = Ledger(open_store(store))
    survey = survey_dataset(ledger, dataset, datasets.load(ledger, dataset))
    numbers = dataset_numbers(survey)
    made = survey_report(ledger, survey, numbers)
    page = made.html().encode()
    ledger.store.put(report_key(dataset), page)
    places = {"report": ledger.store.uri(report_key(dataset))}
    if out is not None:
        try:
            out.write_bytes(page)
        except OSError as error:
            raise ConfigurationError(f"--out is {str(out)!r}: {error.strerror}") from error
        places["file"] = str(out.absolute())
    result: dict[str, Any] = {**places, **numbers}
    show(result, "\n".join([made.summary, *(f"report -> {p}" for p in places.values())]),
         as_json=as_json)  # fmt: skip
