"""The whole network: shapes, conditioning, running mean, determinism."""

import dataclasses

import pytest
import torch

from model.export3d.clebs import LeBS
from model.export3d.network import Export3D


def test_shapes(tiny_config, build, inputs):
    network = build(tiny_config)
    with torch.no_grad():
        tokens = network.encode_source(inputs[0])
        planes = network.planes(tokens, inputs[1])
        seen = network(*inputs)
    assert tokens.tokens_BNC.shape == (2, 9, 32)
    assert tokens.detail_BCHW is None
    assert planes.shape == (2, 3, 4, 24, 24)
    assert seen.image_BCHW.shape == (2, 3, 48, 48)
    assert seen.raw_BCHW.shape == (2, 3, 12, 12)
    assert seen.depth_B1HW.shape == seen.alpha_B1HW.shape == (2, 1, 12, 12)
    assert seen.generated_BPCHW.shape == planes.shape


@pytest.mark.parametrize(
    "changes",
    [
        {"highres_skip": True},
        {"coordinate_grid": False},
        {"attention_reduction": 1},
        {"attention_reduction": 3},
        {"blur": "gaussian", "blur_sigma_px": 1.5},
        {"sigma_form": "one_plus"},
        {"feature_channels": 3},
        {"depth_range": "auto"},
        {"samples_fine": 0},
        {"expression": "e2e"},
        {"expression": "direct"},
        {"standardise_expression": True},
        {"conditioning": "cross_attention", "cross_attention_tokens": "basis"},
        {"conditioning": "cross_attention", "cross_attention_tokens": "1"},
        {"conditioning": "cross_attention", "cross_attention_tokens": "64"},
        {"conditioning": "cross_attention", "cross_attention_tokens": "1", "expression": "direct"},
    ],
    ids=lambda changes: " ".join(f"{name}={value}" for name, value in changes.items()),
)
def test_every_choice_renders_learns_and_follows_the_expression(
    tiny_config, build, inputs, changes
):
    network = build(dataclasses.replace(tiny_config, **changes))
    source, exp, camera = inputs
    seen = network(source, exp, camera)
    assert seen.image_BCHW.shape == (2, 3, 48, 48)
    with torch.no_grad():
        other = network(source, 9 * exp, camera)
    change = (seen.generated_BPCHW - other.generated_BPCHW).abs().amax(dim=(1, 2, 3, 4))
    assert (change > 1e-4 * seen.generated_BPCHW.abs().max()).all()
    assert not torch.equal(seen.image_BCHW, other.image_BCHW)
    network.train()(source, exp, camera).image_BCHW.square().sum().backward()
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_paper_expression_encoder_is_frozen_and_loads_what_clebs_trained(tiny_config):
    trained = LeBS(tiny_config)
    trained.measure(torch.randn(9, 64))
    network = Export3D(tiny_config)
    network.condition.encoder.load_state_dict(trained.freeze().state_dict())
    exp = torch.randn(2, 64)
    assert torch.equal(network.condition(exp).squeeze(1), trained(exp))
    assert not any(p.requires_grad for p in network.condition.parameters())


def test_end_to_end_expression_reaches_its_weights(tiny_config, build, inputs):
    network = build(dataclasses.replace(tiny_config, expression="e2e"))
    network(*inputs).image_BCHW.square().sum().backward()
    encoder = network.condition.encoder
    assert encoder.weight_DL.grad.abs().sum() > 0
    assert encoder.outer.weight.grad.abs().sum() > 0


def test_standardised_expression_ignores_the_scale_of_lambda(tiny_config, build):
    network = build(dataclasses.replace(tiny_config, standardise_expression=True))
    encoder = network.condition.encoder
    exp_KE = torch.randn(50, 64)
    encoder.measure(exp_KE)
    before = network.condition(exp_KE)
    with torch.no_grad():
        encoder.outer.weight.mul_(7)
        encoder.outer.bias.mul_(7)
    assert not torch.allclose(network.condition(exp_KE), before)
    encoder.measure(exp_KE)
    torch.testing.assert_close(network.condition(exp_KE), before, atol=1e-4, rtol=1e-4)


def test_camera_moves_the_picture_but_not_the_planes(tiny_config, build, inputs):
    network = build(tiny_config)
    source, exp, camera = inputs
    moved = camera.clone()
    moved[:, 16 + 2] += 0.2  # principal point
    with torch.no_grad():
        here, there = network(source, exp, camera), network(source, exp, moved)
    assert torch.equal(here.generated_BPCHW, there.generated_BPCHW)
    assert not torch.allclose(here.raw_BCHW, there.raw_BCHW, atol=1e-3)


def test_eval_is_bit_identical_and_training_is_random(tiny_config, build, inputs):
    network = build(tiny_config)
    with torch.no_grad():
        torch.manual_seed(5)
        first = network(*inputs).image_BCHW
        torch.manual_seed(6)
        assert torch.equal(network(*inputs).image_BCHW, first)
        assert not torch.equal(network.train()(*inputs).image_BCHW, first)


def test_running_mean_after_k_constant_steps(tiny_config):
    config = dataclasses.replace(tiny_config, plane_mean_decay=0.9)
    network = Export3D(config).train()
    torch.manual_seed(0)
    batch = torch.randn(5, 3, 4, 24, 24, requires_grad=True)
    for _ in range(7):
        network.update_plane_mean(batch)
    expected = (1 - 0.9**7) * batch.detach().mean(dim=0)
    torch.testing.assert_close(network.plane_mean_PCHW, expected)
    assert network.plane_mean_PCHW.dtype == torch.float32
    assert not network.plane_mean_PCHW.requires_grad


def test_planes_are_raw_planes_plus_the_mean_of_the_steps_before(tiny_config, build, inputs):
    network = build(tiny_config).train()
    source, exp, _ = inputs
    with torch.no_grad():
        tokens = network.encode_source(source)
        raw = network.generate(tokens, exp)
        assert torch.equal(network.planes(tokens, exp), raw)  # the first step adds nothing
        network.update_plane_mean(raw)
        mean = network.plane_mean_PCHW.clone()
        assert mean.abs().max() > 0
        torch.testing.assert_close(network.planes(tokens, exp), raw + mean)
        seen = network(*inputs)
        torch.testing.assert_close(seen.generated_BPCHW, raw)  # without the mean in it
        assert torch.equal(network.plane_mean_PCHW, mean)  # a forward alone does not move it


def test_running_mean_is_untouched_in_eval_and_comes_back_from_a_checkpoint(
    tiny_config, build, inputs
):
    network = build(tiny_config).train()
    network.update_plane_mean(torch.randn(2, 3, 4, 24, 24))
    network.eval()
    mean = network.plane_mean_PCHW.clone()
    with torch.no_grad():
        image = network(*inputs).image_BCHW
    with pytest.raises(RuntimeError, match="train mode only"):
        network.update_plane_mean(torch.randn(2, 3, 4, 24, 24))
    assert torch.equal(network.plane_mean_PCHW, mean)
    fresh = Export3D(tiny_config).eval()
    fresh.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(fresh(*inputs).image_BCHW, image)


def test_no_running_mean_where_none_is_wanted(tiny_config):
    network = Export3D(dataclasses.replace(tiny_config, plane_mean="none")).train()
    network.update_plane_mean(torch.ones(2, 3, 4, 24, 24))
    assert not network.plane_mean_PCHW.any()


def test_running_mean_is_over_all_processes(tiny_config, monkeypatch):
    network = Export3D(dataclasses.replace(tiny_config, plane_mean_decay=0.5)).train()
    distributed = "model.export3d.network.distributed"
    monkeypatch.setattr(f"{distributed}.is_initialized", lambda: True)
    monkeypatch.setattr(f"{distributed}.get_world_size", lambda: 4)
    # Three other processes saw planes of 5.
    monkeypatch.setattr(f"{distributed}.all_reduce", lambda tensor: tensor.add_(15))
    network.update_plane_mean(torch.ones(2, 3, 4, 24, 24))
    torch.testing.assert_close(network.plane_mean_PCHW, torch.full((3, 4, 24, 24), 0.5 * 16 / 4))


def test_a_source_of_another_size_is_refused(tiny_config, build):
    with pytest.raises(ValueError, match=r"\[B, 3, 48, 48\], not \[1, 3, 64, 64\]"):
        build(tiny_config).encode_source(torch.zeros(1, 3, 64, 64))
