"""CLeBS on made-up persons: it keeps the expression that shows, and forgets the person."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.evaluation.expressions import linear_probe, neighbour_identity
from model.export3d.clebs import LeBS
from model.export3d.config import CLeBSConfig
from model.export3d.sizes import export3d_test
from model.training.clebs import ClebsTrainingConfig, pretrain_clebs
from model.training.data import ArrayFrames, Clip
from model.training.loop import Cadence

SIDE_PX, FRAMES = 32, 60
PERSONS, HELD_OUT = 24, 12
LOOKS = slice(1, 7)
"""Coefficients in which persons differ, as real ones do in a face model's expressions."""
NETWORK = dataclasses.replace(
    export3d_test(),
    clebs=CLeBSConfig(image_px=SIDE_PX, image_channels=8, frames=9, clips=4, min_gap_frames=1),
)
TRAINING = ClebsTrainingConfig(
    steps=200,
    learning_rate=3e-3,
    final_rate=0.1,
    jitter=0,
    cadence=Cadence(metrics_every=100, sample_every=1000, checkpoint_every=1000),
)


def made_clip(person: int) -> Clip:
    """A face of colours of its own, whose mouth opens with the first coefficient.

    The person adds an offset to the coefficients LOOKS; all but the first are noise besides.
    """
    rng = np.random.default_rng([7, person])
    mouth_T = rng.uniform(-1, 1, FRAMES)
    expression_TE = 0.3 * rng.normal(size=(FRAMES, 64))
    expression_TE[:, LOOKS] += rng.normal(size=LOOKS.stop - LOOKS.start)
    expression_TE[:, 0] = mouth_T
    skin, wall = rng.uniform(60, 255, (2, 3))
    return Clip(
        clip_id=str(person),
        person=str(person),
        frames=ArrayFrames(np.stack([face(mouth, skin, wall) for mouth in mouth_T])),
        expression_TE=expression_TE.astype(np.float32),
        camera_T25=np.zeros((FRAMES, 25), np.float32),
        usable_T=np.ones(FRAMES, bool),
    )


def face(mouth: float, skin: NDArray[np.float64], wall: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A picture of a face; its mouth is shut at -1 and wide open at 1."""
    y, x = (np.indices((SIDE_PX, SIDE_PX)) + 0.5) / SIDE_PX - 0.5
    face_HW = (x / 0.4) ** 2 + (y / 0.48) ** 2 < 1
    mouth_HW = (x / 0.2) ** 2 + ((y - 0.15) / (0.12 + 0.1 * mouth)) ** 2 < 1
    picture = np.where(face_HW[..., None], skin, wall).astype(np.uint8)
    picture[mouth_HW] = (30, 10, 10)
    return picture


@dataclasses.dataclass(frozen=True)
class Told:
    """What the codes of persons held out tell."""

    identity: float
    mouth_r: float


@pytest.fixture(scope="module")
def held_out() -> list[Clip]:
    return [made_clip(1000 + person) for person in range(HELD_OUT)]


@pytest.fixture(scope="module")
def learned() -> LeBS:
    state = pretrain_clebs(NETWORK, TRAINING, [made_clip(person) for person in range(PERSONS)])
    lebs = LeBS(NETWORK).freeze()
    lebs.load_state_dict(state.tensors["lebs"])
    return lebs


def told(clips: list[Clip], encoder: LeBS | None) -> Told:
    """Judge the coefficients of clips, encoded where an encoder is given."""
    beta_NE = np.concatenate([clip.expression_TE for clip in clips])
    person_N = np.repeat([clip.person for clip in clips], FRAMES)
    time_s_N = np.tile(np.arange(FRAMES) / 25, len(clips))
    code_ND = beta_NE.astype(np.float64)
    if encoder is not None:
        with torch.inference_mode():
            code_ND = encoder(torch.from_numpy(beta_NE)).double().numpy()
    identity = neighbour_identity(code_ND, person_N, person_N, time_s_N, apart_s=0.2)
    assert identity is not None
    mouth = linear_probe(code_ND, beta_NE[:, 0].astype(np.float64), person_N, person_N)
    return Told(identity.accuracy, mouth.r)


def test_a_trained_code_keeps_the_mouth_and_forgets_the_person(
    learned: LeBS, held_out: list[Clip]
) -> None:
    """On persons that the encoder has never seen; chance is one in twelve."""
    beta, code = told(held_out, None), told(held_out, learned)
    assert beta.identity > 0.9
    assert code.identity < 0.4
    assert code.mouth_r > 0.9


def test_an_untrained_code_does_neither(learned: LeBS, held_out: list[Clip]) -> None:
    """So that the test above is one of training, not of squeezing 64 numbers into ten."""
    torch.manual_seed(0)
    code, untrained = told(held_out, learned), told(held_out, LeBS(NETWORK))
    assert untrained.identity > code.identity + 0.15
    assert untrained.mouth_r < 0.8


def test_images_of_other_moments_teach_no_mouth(held_out: list[Clip]) -> None:
    """The mouth comes out of the images: where they do not fit, it is not learned."""
    clips = [made_clip(person) for person in range(PERSONS)]
    torn = [
        dataclasses.replace(clip, expression_TE=np.roll(clip.expression_TE, 17, axis=0))
        for clip in clips
    ]
    state = pretrain_clebs(NETWORK, dataclasses.replace(TRAINING, steps=60), torn)
    lebs = LeBS(NETWORK).freeze()
    lebs.load_state_dict(state.tensors["lebs"])
    assert told(held_out, lebs).mouth_r < 0.8
