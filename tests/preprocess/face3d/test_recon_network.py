"""The network's wiring, sizes and names; what its reader takes and refuses."""

import os
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_bfm import made_network, save_checkpoint
from torch.nn import functional

from preprocess.face3d.recon_network import ReconNetwork, read_recon_network

BLOCKS = {1: 3, 2: 4, 3: 6, 4: 3}
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
HEADS = (80, 64, 80, 3, 27, 2, 1)


@pytest.fixture(scope="module")
def network():
    return made_network()


@pytest.fixture(scope="module")
def checkpoint(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("recon") / "epoch_20.pth"
    save_checkpoint(path, network)
    yield path
    path.unlink()  # 96 MB


@pytest.fixture(scope="module")
def pictures():
    return torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def published_names():
    """Names of torchvision's ResNet-50 below `backbone`, and of the heads."""
    names = ["backbone.conv1.weight", *(f"backbone.bn1.{part}" for part in NORM)]
    for layer, blocks in BLOCKS.items():
        for block in range(blocks):
            inside = f"backbone.layer{layer}.{block}"
            for number in (1, 2, 3):
                names.append(f"{inside}.conv{number}.weight")
                names += [f"{inside}.bn{number}.{part}" for part in NORM]
            if block == 0:
                names.append(f"{inside}.downsample.0.weight")
                names += [f"{inside}.downsample.1.{part}" for part in NORM]
    for head in range(7):
        names += [f"final_layers.{head}.weight", f"final_layers.{head}.bias"]
    return names


def by_hand(state, x):
    """The same function from tensors by name, stage by stage; returns the sizes it met too."""

    def convolve(name, x, stride=1, padding=0):
        return functional.conv2d(x, state[f"{name}.weight"], stride=stride, padding=padding)

    def normalise(name, x):
        mean, variance, weight, bias = (
            state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / torch.sqrt(variance + 1e-5) * weight + bias

    sizes = []
    x = normalise("backbone.bn1", convolve("backbone.conv1", x, 2, 3)).clamp_min(0)
    sizes.append(tuple(x.shape[1:]))
    x = functional.max_pool2d(x, 3, 2, 1)
    for layer, blocks in BLOCKS.items():
        for block in range(blocks):
            inside = f"backbone.layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            y = normalise(f"{inside}.bn1", convolve(f"{inside}.conv1", x)).clamp_min(0)
            y = normalise(f"{inside}.bn2", convolve(f"{inside}.conv2", y, stride, 1)).clamp_min(0)
            y = normalise(f"{inside}.bn3", convolve(f"{inside}.conv3", y))
            if block == 0:
                x = convolve(f"{inside}.downsample.0", x, stride)
                x = normalise(f"{inside}.downsample.1", x)
            x = (x + y).clamp_min(0)
        sizes.append(tuple(x.shape[1:]))
    features = x.mean(dim=(2, 3))
    heads = [
        features @ state[f"final_layers.{head}.weight"][..., 0, 0].T
        + state[f"final_layers.{head}.bias"]
        for head in range(7)
    ]
    return torch.cat(heads, dim=1), sizes


def test_it_has_the_published_number_of_parameters():
    """torchvision's ResNet-50 has 25,557,032, of which 2,049,000 are its classifier."""
    with torch.device("meta"):
        network = ReconNetwork()
    trunk = sum(parameter.numel() for parameter in network.backbone.parameters())
    heads = [sum(p.numel() for p in head.parameters()) for head in network.final_layers]
    assert trunk == 25_557_032 - 2_049_000
    assert heads == [2049 * width for width in HEADS]
    assert sum(HEADS) == 257


def test_its_tensors_have_the_published_names(network):
    assert sorted(network.state_dict()) == sorted(published_names())


def test_it_computes_what_its_tensors_say(network, pictures):
    with torch.inference_mode():
        found = network(pictures)
        expected, sizes = by_hand(network.state_dict(), pictures)
    assert sizes == [(64, 112, 112), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    assert found.shape == (2, 257)
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, atol=2e-4 * float(expected.abs().max()))


def test_an_untrained_one_finds_the_mean_face():
    """Its heads start at zero (Spec 2.2.1)."""
    heads = ReconNetwork().final_layers
    assert all((parameter == 0).all() for parameter in heads.parameters())


def test_a_checkpoint_is_read_for_evaluation(network, checkpoint, pictures):
    found = read_recon_network(checkpoint)
    assert not found.training
    assert not any(parameter.requires_grad for parameter in found.parameters())
    with torch.inference_mode():
        np.testing.assert_array_equal(found(pictures), network(pictures))


def test_half_precision_is_raised_and_the_older_file_format_read(network, tmp_path, pictures):
    path = tmp_path / "epoch_20.pth"
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    torch.save({"net_recon": halves}, path, _use_new_zipfile_serialization=False)
    with torch.inference_mode():
        assert read_recon_network(path)(pictures).dtype == torch.float32
    path.unlink()


def hollow(state):
    """Tensors of the same names and shapes that hold one number each, to keep files small."""
    return {name: torch.zeros(()).expand(tensor.shape) for name, tensor in state.items()}


def without(state, name):
    return {key: tensor for key, tensor in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: {"net_recon": without(s, "backbone.bn1.bias")}, "1 tensors .*backbone.bn1.bias"),
        (lambda s: {"net_recon": {**s, "fc.weight": torch.ones(1)}}, "1 tensors .*'fc.weight'"),
        (lambda s: {"net_recon": {**s, 3: "three"}}, "1 tensors .* is 3"),
        (
            lambda s: {"net_recon": {**s, "final_layers.3.bias": torch.ones(6)}},
            "1 tensors .*final_layers.3.bias",
        ),
        (lambda s: {"net_recon": {**s, "final_layers.3.bias": [0, 0, 0]}}, "final_layers.3.bias"),
        (
            lambda s: {"net_recon": {**s, "final_layers.3.bias": torch.full((3,), torch.nan)}},
            "not finite",
        ),
        (lambda s: s, "no tensors under 'net_recon'"),
        (lambda s: {"net_recon": None}, "no tensors under 'net_recon'"),
        (lambda s: [s["final_layers.3.bias"]], "no tensors under 'net_recon'"),
    ],
    ids=["lacks", "more", "odd name", "shape", "no tensor", "nan", "bare", "none", "list"],
)
def test_another_checkpoint_is_refused_in_one_sentence(network, tmp_path, change, complaint):
    path = tmp_path / "epoch_20.pth"
    torch.save(change(hollow(network.state_dict())), path)
    with pytest.raises(ValueError, match=complaint) as caught:
        read_recon_network(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


class Trap:
    """What a poisoned checkpoint does: run a command when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def bare_pickle(content, path):
    path.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("write", [torch.save, bare_pickle])
def test_nothing_in_a_file_is_executed(tmp_path, write):
    sprung, path = tmp_path / "sprung", tmp_path / "epoch_20.pth"
    write({"net_recon": Trap(sprung)}, path)
    with pytest.raises(ValueError, match="holds more than tensors"):
        read_recon_network(path)
    assert not sprung.exists()


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 no archive", b"\x80\x02 no pickle", b"<html></html>", b"\0" * 99]
)
def test_another_kind_of_file_is_refused(tmp_path, content):
    path = tmp_path / "epoch_20.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is no torch file") as caught:
        read_recon_network(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", [0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(checkpoint, tmp_path, part):
    path = tmp_path / "epoch_20.pth"
    content = checkpoint.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match="is no torch file"):
        read_recon_network(path)
    path.unlink()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(deadline=None, max_examples=150)
@given(data=st.data(), zipped=st.booleans())
def test_a_damaged_file_is_refused_in_one_sentence(tmp_path_factory, data, zipped):
    path = tmp_path_factory.getbasetemp() / "damaged.pth"
    small = {"net_recon": {"weight": torch.ones(3, 4), "n": torch.tensor(3)}}
    torch.save(small, path, _use_new_zipfile_serialization=zipped)
    content = bytearray(path.read_bytes())
    content = content[: data.draw(st.integers(0, len(content)))]
    for _ in range(data.draw(st.integers(0, 4)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged\.pth") as caught:
        read_recon_network(path)
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="absent"):
        read_recon_network(tmp_path / "absent")
