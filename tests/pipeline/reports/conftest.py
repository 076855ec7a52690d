"""A dataset in which something is wrong in every way that a report must show."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import pytest
from small_dataset import decode, make_dataset, write_film

from pipeline import dataset as datasets
from pipeline.dataset import DatasetVersion, FilmEntry
from pipeline.reports.dataset import survey_report
from pipeline.reports.dataset_numbers import dataset_numbers
from pipeline.reports.page import Report
from pipeline.reports.survey import Survey, survey_dataset
from storage.ledger import Ledger
from storage.store import open_store

NAME = "mixed"
BLURRED, PARTLY, LANDSCAPE, TEXT = "blurred.mp4", "<partly> & [so].mp4", "landscape.mp4", "text.mp4"
BLURRED_FRAMES = 12
"""Of the film PARTLY, at its beginning."""


@dataclass(frozen=True)
class Reported:
    """A dataset version with its survey, its numbers and its page."""

    store: Path
    ledger: Ledger
    version: DatasetVersion
    survey: Survey
    numbers: dict[str, Any]
    report: Report

    def film(self, name: str) -> FilmEntry:
        return next(film for film in self.version.films if film.name == name)


def reported(store: Path, name: str) -> Reported:
    ledger = Ledger(open_store(str(store)))
    version = datasets.load(ledger, name)
    survey = survey_dataset(ledger, name, version)
    numbers = dataset_numbers(survey)
    report = survey_report(ledger, survey, numbers)
    return Reported(store, ledger, version, survey, numbers, report)


@pytest.fixture(scope="session")
def mixed_films(
    short_man: Path,
    short_woman: Path,
    short_landscape: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[Path]:
    """Two good films; one blurred, one blurred at its beginning, one without a face, no film."""
    folder = tmp_path_factory.mktemp("report-films")
    frames = decode(short_man)
    blurred = [cv2.GaussianBlur(frame, (0, 0), 5) for frame in frames]
    write_film(blurred, folder / BLURRED)
    write_film([*blurred[:BLURRED_FRAMES], *frames[BLURRED_FRAMES:]], folder / PARTLY)
    (folder / TEXT).write_text("This is no film.\n" * 50)
    return [short_man, short_woman, short_landscape, *sorted(folder.iterdir())]


@pytest.fixture(scope="session")
def mixed(
    small_store: Path, mixed_films: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Reported:
    """The dataset NAME of these films. To be read."""
    store = Path(shutil.copytree(small_store, tmp_path_factory.mktemp("report-store") / "store"))
    make_dataset(mixed_films, store, NAME)
    return reported(store, NAME)
