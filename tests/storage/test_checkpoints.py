"""Checkpoints: tensors and card come back exactly, and a folder that is not whole is refused."""

from pathlib import Path

import pytest
import torch

from storage.checkpoints import CheckpointError, read_checkpoint, write_checkpoint
from storage.identity import UnstableIdentity

CARD = {"recipe": "export3d_test", "step": 7, "camera": "exact", "metrics": {"psnr": 21.5}}


def _tensors() -> dict[str, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(4, 6, generator=generator)
    return {
        "weights": {"a.weight": weight, "a.tied": weight, "a.turned": weight.T},
        "optimizer": {
            "a.weight.step": torch.tensor(7),
            "a.weight.moment": torch.randn(2, generator=generator).bfloat16(),
        },
        "rng": {"torch": generator.get_state()},
        "none": {},
    }


def test_tensors_and_card_come_back(tmp_path: Path) -> None:
    files = write_checkpoint(tmp_path, _tensors(), CARD)
    assert set(files) == {f"{group}.safetensors" for group in _tensors()} | {"card.json"}
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    tensors, card = read_checkpoint(tmp_path)
    assert card == CARD
    assert tensors.keys() == _tensors().keys()
    for group, members in _tensors().items():
        assert tensors[group].keys() == members.keys()
        for name, tensor in members.items():
            torch.testing.assert_close(tensors[group][name], tensor, rtol=0, atol=0)


def test_the_same_state_gives_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = write_checkpoint(tmp_path / "a", _tensors(), CARD)
    turned = {group: dict(reversed(each.items())) for group, each in reversed(_tensors().items())}
    other = write_checkpoint(tmp_path / "b", turned, dict(reversed(CARD.items())))
    for name in one:
        assert one[name].read_bytes() == other[name].read_bytes()


def test_a_gradient_is_not_kept(tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    write_checkpoint(tmp_path, {"weights": {"p": parameter}}, {})
    assert not read_checkpoint(tmp_path)[0]["weights"]["p"].requires_grad


def test_cards_and_names_that_cannot_be_kept_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnstableIdentity, match=r"value\.path"):
        write_checkpoint(tmp_path, {}, {"path": tmp_path})
    with pytest.raises(ValueError, match="groups"):
        write_checkpoint(tmp_path, {}, {"groups": {}})
    with pytest.raises(ValueError, match="checkpoint group"):
        write_checkpoint(tmp_path, {"../x": {}}, {})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        read_checkpoint(tmp_path)
    files = write_checkpoint(tmp_path, _tensors(), CARD)
    optimizer = files["optimizer.safetensors"]
    whole = optimizer.read_bytes()
    optimizer.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors is damaged"):
        read_checkpoint(tmp_path)
    optimizer.unlink()
    with pytest.raises(CheckpointError, match=r"optimizer\.safetensors, which the card names"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("card", [b"", b"[]", b"{}", b'{"groups":7}', b"\xff"])
def test_a_card_that_is_none_is_refused(tmp_path: Path, card: bytes) -> None:
    (tmp_path / "card.json").write_bytes(card)
    with pytest.raises(CheckpointError, match="not the card of a checkpoint"):
        read_checkpoint(tmp_path)
