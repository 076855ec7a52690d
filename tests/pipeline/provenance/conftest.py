"""A small film with sound as delivery writes it, and who signs it."""

from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.provenance.certificates import SigningIdentity, signing_identity
from pipeline.provenance.claim import Claim
from pipeline.provenance.consent import KnownFace
from preprocess.media.decode import frame_times
from preprocess.media.deliver import write_film
from preprocess.media.probe import probe_film

FPS, FRAMES, SIZE_PX, RATE_HZ = 25, 12, 64, 48000


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64x64, 12 frames, a tone: H.264 and AAC in an mp4 with its index first."""
    folder = tmp_path_factory.mktemp("film")
    original = folder / "original.mp4"
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (FRAMES, SIZE_PX, SIZE_PX, 3), np.uint8)
    with av.open(str(original), "w") as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width = video.height = SIZE_PX
        sound = container.add_stream("aac", rate=RATE_HZ, layout="mono")
        for picture in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(video.encode(None))
        times_s = np.arange(FRAMES * RATE_HZ // FPS) / RATE_HZ
        tone = (0.3 * np.sin(2 * np.pi * 440 * times_s)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tone[None], "fltp", "mono")
        frame.sample_rate = RATE_HZ
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    delivered = folder / "delivered.mp4"
    _, pts = frame_times(original)
    write_film(delivered, pictures, original=probe_film(original), pts=pts, audio_from=original)
    return delivered


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> SigningIdentity:
    """A development certificate."""
    return signing_identity(tmp_path_factory.mktemp("home"), {})


@pytest.fixture(scope="session")
def claim() -> Claim:
    """Of a dubbed shot, with a consent and both marks."""
    return Claim(
        mode="film",
        job="reel-7",
        shot="shot-010",
        still_sha256="a" * 64,
        performance_sha256="b" * 64,
        run="first",
        weights_key="c" * 64,
        dataset_key="d" * 64,
        recipe_digest="e" * 64,
        consent="anna-2026",
        visible_mark=True,
        mark_key="0123456789ab",
    )


@pytest.fixture
def face() -> KnownFace:
    """A face in a space of four dimensions."""
    return KnownFace((0.5, 0.5, 0.5, 0.5), {"embedder": "arcface", "weights_sha256": "12345678"})
