"""The small dataset as tables, and stages run by themselves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline import dataset as datasets
from pipeline.dataset import DatasetVersion, FilmEntry
from pipeline.films import identify_films
from pipeline.runners.local import LocalRunner
from pipeline.stage import Item, StageSpec
from storage.ledger import Commit, Ledger
from storage.schemas import clips_schema, frames_schema
from storage.store import open_store
from storage.tables import read_table


@dataclass(frozen=True)
class Small:
    """The small dataset, opened for reading."""

    ledger: Ledger
    version: DatasetVersion
    folder: Path

    def film(self, name: str) -> FilmEntry:
        return next(film for film in self.version.films if film.name == name)

    def commit(self, film: str, stage: str) -> Commit:
        found = self.ledger.find(stage, self.film(film).keys[stage])
        assert found is not None
        return found

    def output(self, film: str, stage: str, name: str) -> Path:
        return self.ledger.fetch(self.commit(film, stage).output(name), self.folder)

    def frames(self, film: str) -> Any:
        schema = frames_schema(self.version.kind.widths)
        table = read_table(self.output(film, "face3d", "frames.parquet"), schema)
        return table.sort_by("frame_index")

    def clips(self, film: str) -> list[dict[str, Any]]:
        schema = clips_schema(self.version.kind.widths)
        return list(read_table(self.output(film, "face3d", "clips.parquet"), schema).to_pylist())


@pytest.fixture
def small(small_store: Path, tmp_path: Path) -> Small:
    ledger = Ledger(open_store(str(small_store)))
    return Small(ledger, datasets.load(ledger, "small"), tmp_path)


@dataclass(frozen=True)
class Bench:
    """A store of one test's own, in which it runs stages over films."""

    store: Path

    @property
    def ledger(self) -> Ledger:
        return Ledger(open_store(str(self.store)))

    def run(
        self, specs: Sequence[StageSpec], *films: Path, between: Callable[[], Any] = lambda: None
    ) -> list[Item]:
        """Take films through stages; `between` happens after they were identified."""
        items = identify_films([str(film) for film in films])
        between()
        return LocalRunner().run(
            specs,
            items,
            store_url=str(self.store),
            run_id="by-hand",
            on_event=lambda _event: None,
        )


@pytest.fixture
def bench(tmp_path: Path, landmarker_task: Path) -> Bench:
    return Bench(tmp_path / "store")
