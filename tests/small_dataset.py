"""Short films cut from the demo clips, and the dataset that they make, computed once a session."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import dataset as datasets
from pipeline.films import find_films, identify_films
from pipeline.recipes import preprocess_recipe
from pipeline.runners.local import LocalRunner
from pipeline.stage import Item
from preprocess.media.ffmpeg import find_ffmpeg
from storage.ledger import Ledger
from storage.store import open_store

NAME, RECIPE = "small", "demo"
STAGES = ("ingest", "landmarks", "crop", "face3d")
WOMAN_START_S = 11.5
"""From here on the woman's hands are off her face for more than three seconds."""
_CUT_LIMIT_S = 60.0

Rgb = NDArray[np.uint8]


def cut(film: Path, out: Path, start_s: float, duration_s: float) -> Path:
    """Write a piece of a film, pictures encoded anew, sound copied; the same bytes each time."""
    command = [find_ffmpeg(), "-v", "error", "-ss", str(start_s), "-t", str(duration_s)]
    command += ["-i", film, "-c:v", "libx264", "-crf", "18", "-preset", "veryfast"]
    command += ["-threads", "1", "-c:a", "copy", "-fflags", "+bitexact", "-flags:v", "+bitexact"]
    subprocess.run([*command, "-y", out], check=True, timeout=_CUT_LIMIT_S)
    return out


def write_film(frames: Sequence[Rgb], out: Path, fps: int = 30) -> Path:
    """Write a silent film of these frames."""
    with av.open(str(out), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.codec_context.thread_count = 1
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))
    return out


def decode(film: Path) -> list[Rgb]:
    """All pictures of a film, by PyAV alone."""
    with av.open(str(film)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def touched(film: Path, out: Path) -> Path:
    """A copy that plays the same, with other bytes: an empty box at its end."""
    out.write_bytes(film.read_bytes() + (16).to_bytes(4, "big") + b"free" + bytes(8))
    return out


def make_dataset(films: Sequence[Path], store: Path, name: str = NAME) -> list[Item]:
    """Pre-process films in a plain loop, without Prefect and Ray, and publish the dataset."""
    recipe = preprocess_recipe(RECIPE)
    items = LocalRunner().run(
        recipe.stages(),
        identify_films(find_films([str(film) for film in films])),
        store_url=str(store),
        run_id="made-by-tests",
        on_event=lambda _event: None,
    )
    ledger = Ledger(open_store(str(store)))
    datasets.assemble(ledger, name, recipe.kind(), items, STAGES[-1])
    return items


def dataset_files(store: Path | str, name: str = NAME) -> dict[tuple[str, str, str], bytes]:
    """All that a reader of the newest version gets, by (film or "", stage, file name)."""
    ledger = Ledger(open_store(str(store)))
    version = datasets.load(ledger, name)
    commits = [("", "dataset", version.key)]
    commits += [(film.source_id, *made) for film in version.films for made in film.keys.items()]
    files = {}
    for film, stage, key in commits:
        commit = ledger.find(stage, key)
        assert commit is not None
        for output in commit.outputs:
            files[film, stage, output.name] = ledger.store.get(output.key)
    return files


@pytest.fixture(scope="session")
def short_man(face_film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.5 s of the demo's man: 45 frames at 30 fps, with sound."""
    return cut(face_film, tmp_path_factory.mktemp("films") / "man.mp4", 0, 1.5)


@pytest.fixture(scope="session")
def short_woman(pexels_film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.5 s of the demo's woman at 24000/1001 fps, with sound."""
    return cut(pexels_film, tmp_path_factory.mktemp("films") / "woman.mp4", WOMAN_START_S, 1.5)


@pytest.fixture(scope="session")
def short_landscape(no_face_film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second without a person."""
    return cut(no_face_film, tmp_path_factory.mktemp("films") / "landscape.mp4", 0, 0.5)


@pytest.fixture(scope="session")
def small_store(
    short_man: Path,
    short_woman: Path,
    landmarker_task: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A store with the dataset NAME of man and woman. To be read; to write, take `own_store`."""
    store = tmp_path_factory.mktemp("small-store")
    make_dataset([short_man, short_woman], store)
    return store


@pytest.fixture
def own_store(small_store: Path, tmp_path: Path) -> Path:
    """A copy of `small_store` for one test."""
    return Path(shutil.copytree(small_store, tmp_path / "store"))
