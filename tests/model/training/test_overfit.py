"""The whole training on two small clips: it must learn to move a face, not to copy it."""

import dataclasses

import numpy as np
import pytest

from model.evaluation.baseline import copy_source_psnr
from model.evaluation.metrics import image_metrics
from model.export3d.network import Export3D
from model.export3d.sizes import export3d_test
from model.inference.animator import Animator
from model.training.clebs import ClebsTrainingConfig, pretrain_clebs
from model.training.config import TrainingConfig
from model.training.loop import Cadence
from model.training.trainer import train_export3d

SILENT = Cadence(0, 0, 0)


@pytest.fixture(scope="module")
def animator(clips) -> Animator:
    # CLeBS leaves the scale of its coefficients free; as they come they would hardly be heard.
    size = dataclasses.replace(export3d_test(), standardise_expression=True)
    expression = pretrain_clebs(
        size,
        ClebsTrainingConfig(steps=100, learning_rate=1e-3, allow_fewer=True, cadence=SILENT),
        clips,
    )
    config = TrainingConfig(
        batch=2, reconstruction_steps=300, adversarial_steps=0, learning_rate=2e-3,
        warmup_steps=20, final_rate=0.1, cadence=SILENT, sample_rows=1,
    )  # fmt: skip
    trained = train_export3d(size, config, clips, clebs=expression.tensors["lebs"])
    network = Export3D(size)
    network.load_state_dict(trained.tensors["weights"])
    return Animator(network)


def _animate(animator, source, expression, camera) -> np.ndarray:
    return np.stack(list(animator.portrait(source).animate(expression, camera)))


@pytest.mark.slow
def test_a_trained_network_beats_copying_the_source(animator, clips):
    for clip in clips:
        frames = clip.frames.batch(range(clip.n_frames))
        out = _animate(animator, frames[0], clip.expression_TE[1:], clip.camera_T25[1:])
        gain_db = image_metrics(out, frames[1:])["psnr"].mean()
        gain_db -= copy_source_psnr(frames[0], frames[1:]).mean
        assert gain_db > 1.0, clip.clip_id


@pytest.mark.slow
def test_expression_and_camera_move_what_they_should(animator, clips):
    clip = clips[0]
    frames = clip.frames.batch(range(clip.n_frames))
    # The label's second entry is the sine of the roll, near enough.
    mouth, roll = clip.expression_TE[:, 0], clip.camera_T25[:, 1]
    order = np.argsort(mouth)
    shut, wide = clip.expression_TE[order[[0, -1]]]
    left, right = clip.camera_T25[np.argsort(roll)[[0, -1]]]
    middle = clip.camera_T25[np.argsort(np.abs(roll))[0]]
    expression = np.stack([shut, wide, shut, shut])
    camera = np.stack([middle, middle, left, right])
    out = _animate(animator, frames[0], expression, camera).astype(int)
    opened = np.abs(out[1] - out[0]).mean(axis=-1)
    assert opened[32:58, 22:42].mean() > 4 * opened[:22].mean()
    assert opened[32:58, 22:42].mean() > 10
    assert np.abs(out[2] - out[3]).mean() > 5
