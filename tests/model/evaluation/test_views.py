"""Views of one portrait: the unedited one, edits, other cameras."""

import dataclasses

import numpy as np
import pytest
import torch

from model.evaluation.views import PortraitViews
from model.export3d.config import Export3DConfig
from model.export3d.network import Export3D
from model.export3d.sizes import export3d_test
from model.geometry.orbit import PIVOT_EXACT, orbit_label
from model.training.data import resize_antialiased, to_bytes, to_signed

INTRINSICS = np.array([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]])
FRONTAL = orbit_label(0.0, 0.0, INTRINSICS, PIVOT_EXACT)


def made_network(config: Export3DConfig) -> Export3D:
    """A network whose conditional layers are as large as if training had moved them."""
    torch.manual_seed(0)
    network = Export3D(config)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    network.plane_mean_PCHW.normal_(std=0.3)
    return network


@pytest.fixture(scope="module")
def portrait():
    return np.random.default_rng(0).integers(0, 256, (100, 100, 3), np.uint8)


@pytest.fixture(scope="module")
def exp():
    return np.random.default_rng(1).normal(size=64).astype(np.float32)


@pytest.fixture(scope="module")
def views(portrait, exp):
    return PortraitViews(made_network(export3d_test()), portrait, exp)


def test_an_unedited_portrait_is_what_the_network_makes_of_it(views, portrait, exp):
    """Byte for byte: looked at, not edited, and multiplied by 1."""
    network = made_network(export3d_test()).eval()
    source_BCHW = resize_antialiased(to_signed(portrait[None]), 64)
    with torch.inference_mode():
        made = network(source_BCHW, torch.tensor(exp)[None], torch.tensor(FRONTAL)[None].float())
    expected = to_bytes(made.image_BCHW)[0]
    assert np.array_equal(views.seen(FRONTAL).image_HWC, expected)
    assert np.array_equal(views.edited(views.coefficients(), FRONTAL).image_HWC, expected)
    assert np.array_equal(views.edited(1 * views.coefficients(), FRONTAL).image_HWC, expected)


def test_every_coefficient_changes_the_picture_in_its_own_way(views):
    own = views.coefficients()
    assert own.shape == views.deviations().shape == (10,)
    seen = set()
    for at in range(10):
        edited = own.copy()
        edited[at] += 20
        seen.add(views.edited(edited, FRONTAL).image_HWC.tobytes())
    seen.add(views.seen(FRONTAL).image_HWC.tobytes())
    assert len(seen) == 11


def test_views_are_of_the_camera_and_of_nothing_before_them(views):
    first = views.seen(FRONTAL)
    aside = views.seen(orbit_label(0.4, 0.0, INTRINSICS, PIVOT_EXACT))
    again = views.seen(FRONTAL)
    assert np.array_equal(first.image_HWC, again.image_HWC)
    assert not np.array_equal(first.image_HWC, aside.image_HWC)
    assert first.depth_HW.shape == first.alpha_HW.shape == (16, 16)
    assert ((first.alpha_HW >= 0) & (first.alpha_HW <= 1)).all()


def test_a_network_without_a_basis_is_only_looked_at(portrait, exp):
    config = dataclasses.replace(export3d_test(), expression="direct")
    views = PortraitViews(made_network(config), portrait, exp)
    assert not views.has_basis
    assert views.seen(FRONTAL).image_HWC.shape == (64, 64, 3)
    with pytest.raises(ValueError, match="no basis"):
        views.coefficients()
