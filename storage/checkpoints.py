"""Checkpoints: groups of tensors as safetensors, and a JSON card that says what they are."""

import json
import uuid
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from storage.identity import JSON, canonical_json, check_name, digest_file

_CARD = "card.json"
_GROUPS = "groups"


class CheckpointError(Exception):
    """A folder holds no whole checkpoint: one sentence that says what is missing or damaged."""


def write_checkpoint(
    folder: Path, tensors: Mapping[str, Mapping[str, torch.Tensor]], card: Mapping[str, JSON]
) -> dict[str, Path]:
    """Write one `<group>.safetensors` per group and card.json; the files by their names.

    The card is written last and lists each group with its sha256, so a folder with a card is whole.
    The same tensors and card give the same bytes. Raises ValueError for an unusable group name or a
    card that has `groups` already, UnstableIdentity for a card that is not plain JSON.
    """
    if _GROUPS in card:
        raise ValueError(f"the card's key {_GROUPS!r} is written by the checkpoint itself")
    canonical_json(dict(card))
    files: dict[str, Path] = {}
    groups: dict[str, JSON] = {}
    for group, members in sorted(tensors.items()):
        path = folder / f"{check_name(group, 'checkpoint group')}.safetensors"
        # A copy of each: views of one storage, as tied weights are, cannot be saved as they are.
        alone = {name: _own_copy(tensor) for name, tensor in members.items()}
        part = _part(path)
        save_file(alone, part)
        part.replace(path)
        files[path.name] = path
        groups[group] = digest_file(path)
    path = folder / _CARD
    part = _part(path)
    part.write_bytes(canonical_json({**card, _GROUPS: groups}))
    part.replace(path)
    return {**files, _CARD: path}


def read_checkpoint(
    folder: Path,
) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, JSON]]:
    """Tensors by group (on the CPU) and the card as it was given to write_checkpoint.

    Raises CheckpointError when the card or a group that it names is absent or damaged.
    """
    path = folder / _CARD
    try:
        card = json.loads(path.read_bytes())
        groups = dict(card.pop(_GROUPS))
    except OSError as error:
        raise CheckpointError(f"{folder} is no checkpoint: {_CARD} cannot be read") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not the card of a checkpoint ({error})") from error
    return {group: _read_group(folder, group, sha256) for group, sha256 in groups.items()}, card


def _read_group(folder: Path, group: str, sha256: str) -> dict[str, torch.Tensor]:
    path = folder / f"{check_name(group, 'checkpoint group')}.safetensors"
    try:
        if digest_file(path) != sha256:
            raise CheckpointError(f"{path} is damaged: its sha256 is not the one on the card")
        tensors: dict[str, torch.Tensor] = load_file(path)
    except OSError as error:
        raise CheckpointError(f"{path}, which the card names, cannot be read") from error
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a safetensors file ({error})") from error
    return tensors


def _own_copy(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().to("cpu", copy=True).contiguous()


def _part(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")
