"""Every command in README.md and docs/ works as it stands there.

The blocks run in the order of reading, in one folder with two short films and a picture. What
cannot run here is listed in ELSEWHERE by its exact text, with the way it is checked instead.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.recipes import PREPROCESS, TRAIN
from storage import assets
from tests.docs.pages import PAGES, ROOT, Block, blocks, subcommand

_BLOCK_LIMIT_S = 400.0
_SERVER_LIMIT_S = 150.0
_BIN = Path(sys.executable).parent
_BASH = ["bash", "-euo", "pipefail", "-c"]

BLOCKS = [block for page in PAGES for block in blocks(page)]


def said_by(
    command: Sequence[str | Path], folder: Path = ROOT, environment: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_BLOCK_LIMIT_S,
        check=False,
    )


def by_make(command: str) -> None:
    """The target exists, and all that it needs can be made."""
    done = said_by([*shlex.split(command), "-n"])
    assert done.returncode == 0, done.stderr


def by_parsing(command: str) -> None:
    """`e3d` takes the words: command, options, their values, the names of recipes."""
    words = shlex.split(command)
    found, words = subcommand(words[words.index("e3d") + 1 :])
    found.make_context("e3d", list(words))
    if "--recipe" in words:
        assert words[words.index("--recipe") + 1] in PREPROCESS | TRAIN


def by_its_help(command: str) -> None:
    """Another program has this subcommand with these options."""
    words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=.*", word)]
    options = [word.partition("=")[0] for word in words if word.startswith("-")]
    name = [word for word in words[:3] if not word.startswith("-")]
    done = said_by([_BIN / name[0], *name[1:], "--help"])
    assert done.returncode == 0, done.stderr
    assert [one for one in options if one not in done.stdout] == []


def by_the_store(command: str) -> None:
    """These are variables of which the store speaks when they are wrong."""
    told = (ROOT / "storage/s3.py").read_text("utf-8")
    assert all(word.partition("=")[0] in told for word in shlex.split(command)[1:])


ELSEWHERE: dict[str, Callable[[str], None]] = {
    # They run for long, or run this very test.
    "make demo": by_make,
    "make test": by_make,
    # It has no end; the fixture `desk` holds it open meanwhile.
    "e3d ui": by_parsing,
    # It needs a GPU.
    "e3d train --store e3d-store --dataset actors --recipe export3d_256 --run paper --gpus 1": (
        by_parsing
    ),
    "e3d train --store e3d-store --dataset actors --recipe export3d_256 --run paper --workers 8 "
    "--gpus 1": by_parsing,
    # A worker has no end; the deployments themselves are made in this test.
    "prefect worker start --pool e3d": by_its_help,
    # A cluster would be left behind.
    "ray get-auth-token --generate": by_its_help,
    "RAY_AUTH_MODE=token ray start --head --port=6379": by_its_help,
    "RAY_AUTH_MODE=token e3d preprocess films/ --store s3://bucket/e3d --dataset actors "
    "--ray HEAD:6379": by_parsing,
    # Addresses and buckets are the reader's own.
    "export AWS_ENDPOINT_URL_S3=https://s3.example.com AWS_ACCESS_KEY_ID=... "
    "AWS_SECRET_ACCESS_KEY=...": by_the_store,
    "e3d doctor --store s3://bucket/e3d": by_parsing,
    "e3d preprocess s3://films/incoming/ --store s3://bucket/e3d --dataset films "
    "--max-failures 10": by_parsing,
    "e3d render reel.yaml --store s3://bucket/e3d --gpus 1": by_parsing,
}


@dataclass(frozen=True)
class Desk:
    """The reader's folder, and the environment in which the commands run."""

    folder: Path
    environment: dict[str, str]
    api_url: str

    def run(self, block: Block) -> None:
        """Run a block of commands, or of Python; the first command that fails ends it."""
        program = [_BIN / "python", "-c"] if block.kind == "python" else _BASH
        environment = self.environment
        if block.text.startswith("prefect "):  # these are for a server that somebody has set
            environment = environment | {"PREFECT_API_URL": self.api_url}
        done = said_by([*program, block.text], self.folder, environment)
        assert done.returncode == 0, f"{block}\n{block.text}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def desk(
    tmp_path_factory: pytest.TempPathFactory,
    short_man: Path,
    short_woman: Path,
    portrait_png: Path,
    landmarker_task: Path,
    dlib_resnet: Path,
) -> Iterator[Desk]:
    """A folder as the README asks for, and `e3d ui`, whose server all commands share."""
    try:
        assets.fetch("hed_vgg16")
    except assets.AssetError as error:
        pytest.skip(f"asset hed_vgg16 cannot be had here: {error}")
    folder = tmp_path_factory.mktemp("desk")
    (folder / "films").mkdir()
    (folder / "films/actor.mp4").symlink_to(short_man)
    (folder / "films/dubber.mp4").symlink_to(short_woman)
    (folder / "portrait.png").symlink_to(portrait_png)
    (folder / "infra").symlink_to(ROOT / "infra")
    theirs = re.compile(r"(PREFECT|RAY|AWS)_")
    environment = {name: value for name, value in os.environ.items() if not theirs.match(name)}
    environment |= {
        "PATH": f"{_BIN}:{os.environ['PATH']}",
        "E3D_HOME": str(folder / "home"),
        "E3D_CACHE": str(assets.cache_folder().parent),
        "OMP_NUM_THREADS": "1",  # more than one only fight over such small tensors
    }
    with (folder / "ui.log").open("w") as log:
        ui = subprocess.Popen(
            [_BIN / "e3d", "ui"], stdout=log, stderr=log, cwd=folder, env=environment
        )
    try:
        yield Desk(folder, environment, _address_told(folder / "ui.log").replace("/v2", "/api"))
    finally:
        ui.terminate()
        ui.wait(60)


def _address_told(log: Path) -> str:
    deadline_s = time.monotonic() + _SERVER_LIMIT_S
    while time.monotonic() < deadline_s:
        if found := re.search(r"^http://\S+$", log.read_text(), re.MULTILINE):
            return found[0]
        time.sleep(0.2)
    raise TimeoutError(log.read_text())


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_works(desk: Desk, block: Block) -> None:
    if block.kind == "yaml":
        assert block.file is not None
        (desk.folder / block.file).write_text(block.text, "utf-8")
        return
    elsewhere = [command for command in block.commands if command in ELSEWHERE]
    if not elsewhere:
        desk.run(block)
        return
    assert elsewhere == block.commands, "a block runs here as a whole, or is checked as a whole"
    for command in elsewhere:
        ELSEWHERE[command](command)


def test_every_block_says_what_it_is() -> None:
    assert {block.kind for block in BLOCKS} <= {"sh", "python", "yaml"}


def test_what_is_listed_stands_on_a_page() -> None:
    shown = {command for block in BLOCKS if block.kind == "sh" for command in block.commands}
    assert ELSEWHERE.keys() - shown == set()


@pytest.mark.parametrize(
    "wrong", ["e3d train --nonsense", "e3d nonsense", "e3d describe --json x y"]
)
def test_parsing_refuses_what_e3d_refuses(wrong: str) -> None:
    with pytest.raises(Exception, match=r"[Nn]o such|[Uu]nexpected|[Mm]issing"):
        by_parsing(wrong)
