"""bfloat16 changes a picture by its rounding and nothing else."""

import dataclasses

import pytest
import torch
from torch import nn

from model.export3d.network import Export3D
from model.export3d.sizes import export3d_test
from model.precision import arithmetic

CPU = torch.device("cpu")
FRONTAL = torch.tensor(
    [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 2.7, 0, 0, 0, 1, 4.2647, 0, 0.5, 0, 4.2647, 0.5, 0, 0, 1.0]
)


@pytest.fixture
def network() -> Export3D:
    torch.manual_seed(0)
    network = Export3D(dataclasses.replace(export3d_test(), expression="e2e")).eval()
    for parameter in network.parameters():  # away from its quiet beginning
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.05)
    return network


def _look(network: Export3D, precision: str):
    torch.manual_seed(1)
    source_BCHW = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad(), arithmetic(CPU, precision):  # type: ignore[arg-type]
        return network(source_BCHW, torch.randn(2, 64), FRONTAL.expand(2, 25))


def test_bf16_rounds_but_does_not_change(network) -> None:
    exact, rounded = _look(network, "float32"), _look(network, "bf16")
    for name in ("image_BCHW", "raw_BCHW", "depth_B1HW", "generated_BPCHW"):
        a, b = getattr(exact, name), getattr(rounded, name)
        assert not torch.equal(a, b), f"{name}: bf16 did nothing"
        assert (a - b).abs().max() < 0.05 * a.abs().max().clamp_min(1), name


def test_expression_and_volume_stay_in_float32(network) -> None:
    seen = _look(network, "bf16")
    assert seen.generated_BPCHW.dtype == torch.float32
    assert seen.raw_BCHW.dtype == torch.float32
    exp_BE = torch.randn(2, 64)
    with torch.no_grad():
        exact = network.condition(exp_BE)
        planes = network.generate(network.encode_source(torch.zeros(2, 3, 64, 64)), exp_BE)
        heard = []
        network.condition.register_forward_hook(lambda _m, _i, out: heard.append(out))
        with arithmetic(CPU, "bf16"):
            volume = network.render(planes, FRONTAL.expand(2, 25))
            network.generate(network.encode_source(torch.zeros(2, 3, 64, 64)), exp_BE)
        assert torch.equal(heard[0], exact)
        plain = network.render(planes, FRONTAL.expand(2, 25))
    assert torch.equal(volume.raw_BCHW, plain.raw_BCHW)
    assert torch.equal(volume.depth_B1HW, plain.depth_B1HW)
