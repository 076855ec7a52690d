"""What the pages tell about names, codes and places is what the code has."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from typer.main import get_command

from flows.cli.exit_code import ExitCode
from flows.cli.main import app
from model.export3d.describe import describe
from pipeline.provenance.consent import RefusalReason
from pipeline.recipes import ABLATIONS, PREPROCESS, TRAIN
from pipeline.rendering.job import Dub, FilmShot, Job, Performance, Policy, PortraitShot
from preprocess.media.errors import FilmReason
from preprocess.outcomes import FrameOutcome
from preprocess.people.spans import SpanReason
from storage.schemas import FaceWidths, frames_schema
from tests.docs.pages import PAGES, ROOT, anchors, code_spans, links, subcommand

PACKAGES = ("flows", "pipeline", "preprocess", "model", "storage")
README, INDEX, PREPROCESSING, TRAINING, _, RESULTS, RENDERING, PROVENANCE, OPERATION, TRUST = PAGES
ALL_PAGES = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md"]


def named(page: Path) -> set[str]:
    """Return what stands in backticks on a page."""
    return set(code_spans(page))


def test_all_pages_are_read_and_in_the_index() -> None:
    assert {README, *(ROOT / "docs").glob("*.md")} == set(PAGES)
    linked = set(links(INDEX))
    assert {page.name for page in PAGES if page not in (README, INDEX)} <= linked


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), link
        assert not anchor or anchor in anchors(file), link


@pytest.mark.parametrize("page", ALL_PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_exist(page: Path) -> None:
    for span in code_spans(page):
        if not span.startswith("e3d "):
            continue
        command, words = subcommand(span.split()[1:])
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        used = {word for word in words if word.startswith("--")}
        assert used <= known, span


def test_all_commands_and_exit_codes_are_told() -> None:
    commands = {f"e3d {name}" for name in get_command(app).commands}
    assert commands <= named(README)
    table = README.read_text("utf-8").split("| exit code |")[1].split("\n\n")[0]
    told = {int(code) for row in table.splitlines()[2:] for code in row.split("|")[1].split(",")}
    assert told == {0, *map(int, ExitCode)}


def test_variables_told_are_those_that_are_read() -> None:
    sources = [path for room in PACKAGES for path in (ROOT / room).rglob("*.py")]
    read = {name for path in sources for name in re.findall(r'"(E3D_[A-Z_]+)"', path.read_text())}
    told = {
        span
        for span in named(OPERATION) | named(PROVENANCE)
        if re.fullmatch(r"E3D_[A-Z]+(_[A-Z]+)*", span)
    }
    assert told == read - {"E3D_RUN_COOKIE"}  # that one is between a command and its children


def test_all_recipes_are_told() -> None:
    assert PREPROCESS.keys() <= named(PREPROCESSING)
    small = {name for name in ABLATIONS if name.startswith("export3d_128")}
    assert TRAIN.keys() | small <= named(TRAINING)


@pytest.mark.parametrize("name", TRAIN)
def test_sizes_and_steps_of_training_recipes_are_told(name: str) -> None:
    recipe = TRAIN[name]()
    row = re.search(rf"^\| `{name}` .*$", TRAINING.read_text("utf-8"), re.MULTILINE)
    assert row is not None
    _, _, picture, parameters, clebs, export3d, *_ = map(str.strip, row[0].split("|"))
    training = recipe.export3d.training
    assert picture == f"{recipe.export3d.network.image_px} px"
    assert parameters.startswith(f"{describe(recipe.export3d.network).parameters / 1e6:.2f} M")
    assert recipe.clebs is not None
    assert clebs == f"{recipe.clebs.training.steps:,}"
    assert export3d.startswith(
        f"{training.reconstruction_steps:,} and {training.adversarial_steps:,}"
    )
    assert export3d.endswith(f"batch {training.batch}")


def test_all_outcomes_and_reasons_are_told() -> None:
    films = {str(reason) for reason in (*FilmReason, *SpanReason) if reason}
    # Sound is asked for only where there is some.
    assert films - {"no_audio"} <= named(PREPROCESSING)
    assert set(map(str, FrameOutcome)) <= named(PREPROCESSING)


def test_all_columns_of_frames_are_told() -> None:
    columns = frames_schema(FaceWidths("mesh478", 40, 64, 0, 0)).names
    assert set(columns) <= named(PREPROCESSING)


def test_all_fields_of_the_job_file_are_told() -> None:
    fields = {*Job.model_fields, *FilmShot.model_fields, *PortraitShot.model_fields}
    fields |= {f"performance.{name}" for name in Performance.model_fields}
    fields |= {f"dub.{name}" for name in Dub.model_fields}
    assert fields - {"performance", "dub"} <= named(RENDERING)
    assert set(map(str, Policy)) <= named(RENDERING)


def test_all_refusals_are_told() -> None:
    assert set(map(str, RefusalReason)) <= named(PROVENANCE)


def test_the_picture_is_whole() -> None:
    picture = ElementTree.parse(ROOT / "docs/pictures/house.svg").getroot()
    text = " ".join(picture.itertext())
    assert all(stage in text for stage in ("ingest", "landmarks", "crop", "face3d", "CLeBS"))
