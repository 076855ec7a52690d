import numpy as np
import pytest
import torch
from torch import nn

from model.training.expression_loss import ExpressionLoss, MeshReading
from pipeline.faces.expression_loss import open_expression_loss
from storage import assets

VERTICES, COEFFICIENTS = 30, 4
RNG = np.random.default_rng(0)
MEAN_V3 = RNG.normal(size=(VERTICES, 3)) * (1.0, 1.2, 0.5)
WEIGHT_V = np.r_[np.ones(20), np.full(10, 1e-6)]
"""The last ten vertices move under expression, so the others alone tell how the head is turned."""
BASIS_KV3 = np.zeros((COEFFICIENTS, VERTICES, 3))
BASIS_KV3[:, 20:] = RNG.normal(size=(COEFFICIENTS, 10, 3)) * 0.05
READING = MeshReading(
    mean_V3=MEAN_V3,
    weight_V=WEIGHT_V,
    readout_KD=np.linalg.pinv(BASIS_KV3.reshape(COEFFICIENTS, -1)).T,
    eyes=(0, 1),
    identities=1,
)


class Meshes(nn.Module):
    """A network that gives set meshes: one for pictures brighter than grey, one for the others."""

    def __init__(self, dark_V3, bright_V3) -> None:
        super().__init__()
        self.mesh_2D = torch.tensor(np.stack([dark_V3, bright_V3]), dtype=torch.float32).flatten(1)

    def forward(self, picture_BCHW):
        brightness_B1 = picture_BCHW.mean(dim=(1, 2, 3))[:, None]
        return [torch.lerp(self.mesh_2D[:1], self.mesh_2D[1:], brightness_B1)]


def in_picture(shape_V3, *, turn_rad=0.3, px_per_dm=60.0, at=(128.0, 120.0, 5.0)):
    """Turn a shape about the vertical, and place it in a picture of 256 px."""
    cos, sin = np.cos(turn_rad), np.sin(turn_rad)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    return (shape_V3 @ turn.T) * px_per_dm * (1, -1, -1) + at


def loss_between(one_V3, other_V3) -> torch.Tensor:
    dark, bright = -torch.ones(2, 3, 32, 32), torch.ones(2, 3, 32, 32)
    return ExpressionLoss(Meshes(one_V3, other_V3), READING)(dark, bright)


def test_a_coefficient_more_is_its_difference_whatever_the_pose():
    moved = MEAN_V3 + 0.8 * BASIS_KV3[2]
    for turn_rad in (-0.5, 0.0, 0.4):
        loss = loss_between(
            in_picture(MEAN_V3, turn_rad=turn_rad), in_picture(moved, turn_rad=turn_rad)
        )
        assert float(loss) == pytest.approx(0.8 / COEFFICIENTS, rel=0.02)


def test_of_two_persons_only_the_expressions_are_compared():
    here = in_picture(MEAN_V3)
    for coefficient, share in ((0, 0.0), (3, 0.5 / (COEFFICIENTS - 1))):
        meshes = Meshes(here, in_picture(MEAN_V3 + 0.5 * BASIS_KV3[coefficient]))
        dark, bright = -torch.ones(2, 3, 32, 32), torch.ones(2, 3, 32, 32)
        loss = ExpressionLoss(meshes, READING)(dark, bright, same_person=False)
        assert float(loss) == pytest.approx(share, rel=0.03, abs=4e-3)


def test_shift_size_and_a_small_turn_of_the_head_do_not_count():
    here = in_picture(MEAN_V3)
    assert float(loss_between(here, here)) == pytest.approx(0, abs=1e-4)
    shifted = in_picture(MEAN_V3, at=(131, 118, 5), px_per_dm=61.5)
    assert float(loss_between(here, shifted)) < 2e-3
    turned = in_picture(MEAN_V3, turn_rad=0.32)
    blinked = in_picture(MEAN_V3 + 0.2 * BASIS_KV3[0])
    assert float(loss_between(here, turned)) < 0.3 * float(loss_between(here, blinked))


def test_gradients_reach_the_first_picture_alone():
    network = Meshes(in_picture(MEAN_V3), in_picture(MEAN_V3 + BASIS_KV3[1]))
    image = torch.full((1, 3, 16, 16), -0.5, requires_grad=True)
    target = torch.zeros(1, 3, 16, 16, requires_grad=True)
    ExpressionLoss(network, READING)(image, target).backward()
    assert image.grad.abs().sum() > 0
    assert target.grad is None


@pytest.fixture(scope="module")
def real_loss():
    try:
        assets.fetch("face_landmarker")
    except assets.AssetError as error:
        pytest.skip(f"face_landmarker cannot be had here: {error}")
    return open_expression_loss()


@pytest.fixture(scope="module")
def portrait(portrait_png):
    from skimage.io import imread

    picture = imread(portrait_png)[:220, 110:330, :3].astype(np.float32) / 127.5 - 1
    image = torch.from_numpy(picture).permute(2, 0, 1)[None]
    return torch.nn.functional.interpolate(image, (128, 128), mode="bilinear", antialias=True)


def test_a_mouth_painted_over_counts_more_than_a_hat(real_loss, portrait):
    def painted(top, bottom, left, right):
        changed = portrait.clone()
        changed[..., top:bottom, left:right] = changed[..., top : top + 1, left : left + 1]
        return float(real_loss(changed, portrait))

    assert float(real_loss(portrait, portrait)) < 1e-4
    hat, mouth = painted(0, 12, 0, 128), painted(84, 100, 48, 80)
    assert mouth > 3 * hat


def test_steps_downhill_bring_the_expression_nearer(real_loss, portrait):
    soft = torch.nn.functional.avg_pool2d(portrait, 5, 1, 2, count_include_pad=False)
    image = soft.clone().requires_grad_()
    before = float(real_loss(image, portrait))
    optimizer = torch.optim.Adam([image], lr=0.01)
    for _ in range(8):
        optimizer.zero_grad()
        real_loss(image, portrait).backward()
        optimizer.step()
    assert float(real_loss(image, portrait)) < 0.5 * before
