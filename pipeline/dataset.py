"""Datasets: named, numbered versions that list exactly which commits of which films they hold.

A version's key follows from its films' keys, so the same films under the same recipe give the same
version, wherever and however often it is made.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.clock import utc_now
from pipeline.errors import ConfigurationError, usable_name
from pipeline.scratch import scratch_folder
from pipeline.stage import Ended, Item, Outcome
from storage.identity import digest
from storage.ledger import Commit, Ledger
from storage.schemas import (
    FaceWidths,
    outcomes_schema,
    sources_schema,
)
from storage.tables import write_table

DATASETS = "datasets"
_STAGE = "dataset"


@dataclass(frozen=True)
class FilmEntry:
    """One film of a dataset version: how it ended, and the keys of its commits by stage."""

    source_id: str
    name: str
    outcome: str
    stage: str
    reason: str
    detail: str
    keys: dict[str, str]
    counts: dict[str, int]

    @property
    def is_ok(self) -> bool:
        """Whether its frames belong to the dataset."""
        return self.outcome == Outcome.OK


@dataclass(frozen=True)
class DatasetKind:
    """What all films of a dataset have in common, because a network trained on it does."""

    recipe: str
    camera_mode: str
    face_model_sha256: str
    widths: FaceWidths


@dataclass(frozen=True)
class DatasetVersion:
    """One version of a dataset."""

    key: str
    kind: DatasetKind
    films: tuple[FilmEntry, ...]

    @property
    def ok_films(self) -> list[FilmEntry]:
        """The films that give frames."""
        return [film for film in self.films if film.is_ok]


def check_same_kind(trained_on: DatasetVersion, dataset: DatasetVersion) -> None:
    """Raise ConfigurationError where a network of the one dataset cannot work on the other."""
    wanted, given = trained_on.kind, dataset.kind
    for what, had, has in (
        ("cameras", wanted.camera_mode, given.camera_mode),
        ("face model", wanted.widths.face_model, given.widths.face_model),
        ("coefficients", wanted.widths.expression, given.widths.expression),
        ("files of the face model", wanted.face_model_sha256[:12], given.face_model_sha256[:12]),
    ):
        if had != has:
            raise ConfigurationError(
                f"the dataset is of another kind than the run's: {what} {has} (recipe "
                f"{given.recipe!r}); the run was trained on {what} {had} (recipe {wanted.recipe!r})"
            )
    if not dataset.ok_films:
        raise ConfigurationError("the dataset has no usable film; see e3d status")


def assemble(
    ledger: Ledger, name: str, kind: DatasetKind, items: Sequence[Item], last_stage: str
) -> DatasetVersion:
    """Write the version that holds these films, and publish it under `name`.

    Films are listed in the order of their digests: that of the command line does not matter.
    """
    ordered = sorted(items, key=lambda item: item.id)
    films = tuple(_entry(item, last_stage) for item in ordered)
    key = digest(
        {
            "kind": asdict(kind),
            "films": [[film.source_id, film.outcome, sorted(film.keys.items())] for film in films],
        }
    )
    commit = ledger.find(_STAGE, key)
    if commit is None:
        with scratch_folder() as folder:
            commit = _commit_tables(ledger, key, folder, kind, ordered, films)
    ledger.publish(DATASETS, name, {"key": key})
    return _version(commit)


def load(ledger: Ledger, name: str) -> DatasetVersion:
    """Return the newest version of a dataset. Raises ConfigurationError, naming those there are."""
    newest = ledger.latest(DATASETS, usable_name(name, "dataset"))
    if newest is None:
        known = ", ".join(ledger.names(DATASETS)) or "none yet"
        raise ConfigurationError(
            f"there is no dataset {name!r} in {ledger.store.url}; there is: {known}"
        )
    return load_key(ledger, str(newest["key"]))


def load_key(ledger: Ledger, key: str) -> DatasetVersion:
    """Return the dataset version with this key. Raises ConfigurationError."""
    commit = ledger.find(_STAGE, key)
    if commit is None:
        raise ConfigurationError(f"the dataset version {key} is not in {ledger.store.url}")
    return _version(commit)


def _entry(item: Item, last_stage: str) -> FilmEntry:
    ended = item.ended or Ended(last_stage, Outcome.OK, "")
    counts = item.commits[ended.stage].counts if ended.stage in item.commits else {}
    damage = str(item.commits["ingest"].info.get("damage", "")) if "ingest" in item.commits else ""
    return FilmEntry(
        source_id=item.id,
        name=str(item.places["name"]),
        outcome=str(ended.outcome),
        stage=ended.stage,
        reason=ended.reason,
        detail=ended.detail or damage,
        keys={stage: commit.key for stage, commit in item.commits.items()},
        counts=dict(counts),
    )


def _commit_tables(
    ledger: Ledger,
    key: str,
    folder: Path,
    kind: DatasetKind,
    items: Sequence[Item],
    films: Sequence[FilmEntry],
) -> Commit:
    files = {"sources.parquet": folder / "sources.parquet", "outcomes.parquet": folder / "out"}
    pairs = list(zip(items, films, strict=True))
    write_table(
        files["sources.parquet"], _columns(_source_row(*pair) for pair in pairs), sources_schema()
    )
    write_table(
        files["outcomes.parquet"],
        _columns(_outcome_row(*pair) for pair in pairs),
        outcomes_schema(),
    )
    outcomes = [film.outcome for film in films]
    return ledger.commit(
        _STAGE,
        key,
        outcome=str(Outcome.OK),
        files=files,
        counts={str(outcome): outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        parents=[film.keys[film.stage] for film in films if film.stage in film.keys],
        info={"kind": asdict(kind), "films": [asdict(film) for film in films]},
        started_at=utc_now(),
        seconds=0.0,
    )


def _source_row(item: Item, film: FilmEntry) -> dict[str, Any]:
    probed = item.commits["ingest"].info if "ingest" in item.commits else {}
    facts = ("container", "codec", "width", "height", "fps", "duration_s")
    return {
        "source_id": film.source_id,
        "sha256": None if film.reason == "unreadable" else item.inputs["film_sha256"],
        "name": film.name,
        "bytes": item.places["bytes"],
        **{fact: probed.get(fact) for fact in (*facts, "frames_in", "frames_out", "has_audio")},
        "outcome": film.outcome,
        "reason": film.reason,
    }


def _outcome_row(item: Item, film: FilmEntry) -> dict[str, Any]:
    # No time here: two runs of one dataset have the same tables, byte for byte.
    row = {field: getattr(film, field) for field in ("stage", "outcome", "reason", "detail")}
    return {"item_id": item.id, **row, "counts": film.counts, "seconds": None}


def _columns(rows: Iterable[dict[str, Any]]) -> dict[str, list[Any]]:
    listed = list(rows)
    return {name: [row[name] for row in listed] for name in listed[0]}


def _version(commit: Commit) -> DatasetVersion:
    manifest: Any = commit.info
    kind = manifest["kind"]
    return DatasetVersion(
        key=commit.key,
        kind=DatasetKind(**{**kind, "widths": FaceWidths(**kind["widths"])}),
        films=tuple(FilmEntry(**film) for film in manifest["films"]),
    )
