"""Bad configuration: one line that says which field, what was given, what is allowed."""

import dataclasses

import pytest

from model.export3d.config import CLeBSConfig, Export3DConfig
from model.export3d.sizes import export3d_256, export3d_demo, export3d_test


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_px": 100}, "image_px is 100; allowed is a multiple of 16"),
        ({"hidden": 1000}, "hidden is 1000; allowed is a multiple of 16"),
        ({"hidden": 1040, "heads": 3}, "hidden is 1040; allowed is a multiple of 48"),
        ({"blocks": 0}, "blocks is 0; allowed is at least 1"),
        ({"attention_reduction": 5}, "attention_reduction is 5; allowed is a divisor of the 64"),
        ({"blur": "box"}, "blur is 'box'; allowed is 'binomial' or 'gaussian'"),
        ({"blur_sigma_px": 0}, "blur_sigma_px is 0; allowed is above 0"),
        ({"sigma_form": "exp"}, "sigma_form is 'exp'"),
        ({"basis_vectors": 300}, "basis_vectors is 300; allowed is at most 256"),
        ({"expression": "none"}, "expression is 'none'"),
        ({"conditioning": "film"}, "conditioning is 'film'"),
        ({"cross_attention_tokens": "2"}, "cross_attention_tokens is '2'"),
        (
            {"expression": "direct", "standardise_expression": True},
            "standardise_expression is True",
        ),
        (
            {"expression": "direct", "conditioning": "cross_attention"},
            "cross_attention_tokens is 'basis'; allowed is '1' or '64'",
        ),
        ({"raw_px": 32}, "superres_channels is .*; allowed is as many widths as doublings"),
        ({"feature_channels": 2}, "feature_channels is 2; allowed is at least 3"),
        ({"near": 4.0}, "near is 4.0; allowed is between 0 and far 3.3"),
        ({"depth_range": "wide"}, "depth_range is 'wide'"),
        ({"samples_coarse": 1}, "samples_coarse is 1; allowed is at least 2"),
        ({"samples_fine": -1}, "samples_fine is -1; allowed is 0 or more"),
        ({"box_size": 0}, "box_size is 0; allowed is above 0"),
        ({"plane_mean": "ema"}, "plane_mean is 'ema'"),
        ({"plane_mean_decay": 1}, "plane_mean_decay is 1; allowed is between 0 and 1"),
    ],
)
def test_network(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        Export3DConfig(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 1}, "clebs.frames is 1; allowed is at least 2"),
        ({"clips": 0}, "clebs.clips is 0; allowed is at least 1"),
        ({"tau": 0}, "clebs.tau is 0; allowed is above 0"),
        ({"denominator": "infonce"}, "clebs.denominator is 'infonce'"),
    ],
)
def test_contrast(changes, message):
    with pytest.raises(ValueError, match=message):
        CLeBSConfig(**changes)


@pytest.mark.parametrize("size", [export3d_256, export3d_demo, export3d_test])
def test_sizes_are_plain_values(size):
    values = dataclasses.asdict(size())
    flat = [*(values.pop("clebs")).values(), *values.values()]
    assert all(isinstance(value, (bool, int, float, str, tuple)) for value in flat)
    assert size() == size()


def test_defaults_are_the_papers():
    config = export3d_256()
    assert (config.image_px, config.plane_px, config.raw_px) == (256, 128, 64)
    assert (config.hidden, config.expression_width, config.heads) == (1024, 256, 4)
    assert (config.basis_vectors, config.clebs.tau, config.clebs.frames) == (10, 0.07, 33)
    assert config.plane_mean_decay == 0.998
