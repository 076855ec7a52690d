"""The Basel face model 2009 in its published files (Spec 2.2.1).

Either the file that Deep3DFaceRecon makes of it, or what that is made of: the model itself (53490
vertices), the expressions of Guo et al. (53215 of these vertices), and three tables that say which
35709 vertices are kept and how they are joined. Numbers of vertices are taken from the files, so
that another crop of the model reads as well.

Shapes: N vertices of the model, M of the expressions, V kept, F triangles, P principal directions.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from model.geometry.bfm import LANDMARKS, WIDTHS, BfmFace
from preprocess.face3d.mat_file import read_mat

Numbers = npt.NDArray[Any]
Index = npt.NDArray[np.int64]

CONVERTED = "BFM_model_front.mat"
MODEL = "01_MorphableModel.mat"
EXPRESSIONS = "Exp_Pca.bin"
EXPRESSION_SPREAD = "std_exp.txt"
KEPT_OF_EXPRESSIONS = "BFM_front_idx.mat"
EXPRESSIONS_OF_MODEL = "BFM_exp_idx.mat"
JOINS = "facemodel_info.mat"
ORIGINALS = (
    MODEL,
    EXPRESSIONS,
    EXPRESSION_SPREAD,
    KEPT_OF_EXPRESSIONS,
    EXPRESSIONS_OF_MODEL,
    JOINS,
)

_UNITS_PER_DM = 1e5  # the model is in micrometres
_WHITE = 255


def face_files(folder: Path) -> tuple[Path, ...]:
    """Files of the face model in a folder: the converted one, else the six originals.

    Raises FileNotFoundError with a sentence that says which are missing.
    """
    if (folder / CONVERTED).is_file():
        return (folder / CONVERTED,)
    missing = [name for name in ORIGINALS if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder} has no {CONVERTED}, and lacks what it is made of: {', '.join(missing)}"
        )
    return tuple(folder / name for name in ORIGINALS)


def read_bfm(folder: Path) -> BfmFace:
    """Read the face model; its mean vertex is moved to the origin.

    Raises OSError if a file is missing or cannot be read, ValueError (one sentence, names the file)
    if one is damaged or does not fit the others.
    """
    files = face_files(folder)
    return _read_converted(*files) if len(files) == 1 else _read_originals(*files)


def _read_converted(path: Path) -> BfmFace:
    names = ("meanshape", "idBase", "exBase", "meantex", "texBase", "tri", "keypoints")
    found = _load(path, names)
    vertices = found["meanshape"].size // 3
    rows = {"idBase": WIDTHS.identity, "exBase": WIDTHS.expression, "texBase": WIDTHS.texture}
    bases = {
        name: _shaped(path, name, found[name], (3 * vertices, width)).reshape(vertices, 3, width)
        for name, width in rows.items()
    }
    return _face(
        path,
        found,
        mean_V3=_shaped(path, "meanshape", found["meanshape"], (vertices, 3)),
        identity=bases["idBase"],
        expression=bases["exBase"],
        colour_V3=_shaped(path, "meantex", found["meantex"], (vertices, 3)),
        texture=bases["texBase"],
    )


def _read_originals(
    model: Path, expressions: Path, spread: Path, kept: Path, expression_index: Path, joins: Path
) -> BfmFace:
    expression_M3P = _expressions(expressions, spread)
    kept_V = _index(kept, "idx", _load(kept, ["idx"])["idx"], len(expression_M3P))
    trimmed = _load(expression_index, ["trimIndex"])["trimIndex"]
    mean, identity = _principal(model, "shape", WIDTHS.identity)
    trimmed_M = _index(expression_index, "trimIndex", trimmed, len(mean))
    if len(trimmed_M) != len(expression_M3P):
        raise ValueError(
            f"{expression_index} names {len(trimmed_M)} vertices, but {expressions} has "
            f"{len(expression_M3P)}: they do not belong together"
        )
    model_V = trimmed_M[kept_V]
    mean, identity = mean[model_V], identity[model_V]
    colour, texture = _principal(model, "tex", WIDTHS.texture)
    return _face(
        joins,
        _load(joins, ["tri", "keypoints"]),
        mean_V3=mean / _UNITS_PER_DM,
        identity=identity / _UNITS_PER_DM,
        expression=expression_M3P[kept_V] / _UNITS_PER_DM,
        colour_V3=colour[model_V],
        texture=texture[model_V],
    )


def _principal(path: Path, kind: str, width: int) -> tuple[Numbers, Numbers]:
    """Mean [N,3] and directions [N,3,width] of standard length, in the model's own units."""
    mean, directions, spread = (f"{kind}{part}" for part in ("MU", "PC", "EV"))
    found = _load(path, [mean, directions, spread])
    vertices, count = found[mean].size // 3, found[spread].size
    if count < width:
        raise ValueError(f"{path}: {spread} has {count} numbers, at least {width} are needed")
    basis = _shaped(path, directions, found[directions], (3 * vertices, count))[:, :width]
    basis = basis * found[spread].reshape(-1)[:width]
    return (
        _shaped(path, mean, found[mean], (vertices, 3)),
        basis.reshape(vertices, 3, width),
    )


def _expressions(path: Path, spread: Path) -> Numbers:
    """Directions [M,3,64] of standard length.

    The file is a count P, the mean of M vertices (unused: the model's own mean stands), and P
    directions, as little-endian int32 and float32.
    """
    content = path.read_bytes()
    words, left = divmod(len(content), 4)
    count = int.from_bytes(content[:4], "little", signed=True)
    size, uneven = divmod(words - 1, 3 * (1 + max(count, 0)))
    if count < WIDTHS.expression or left or uneven or size < 1:
        raise ValueError(f"{path} is not the published file of expressions: its length is wrong")
    try:
        spread_P = np.array(spread.read_text(encoding="ascii").split(), np.float32)
    except ValueError as error:
        raise ValueError(f"{spread} is not a row of numbers: {error}") from error
    _shaped(spread, "the row", spread_P, (count,))
    directions = np.frombuffer(content, "<f4", offset=4 * (1 + 3 * size)).reshape(count, -1)
    directions = directions[: WIDTHS.expression] * spread_P[: WIDTHS.expression, None]
    if not np.isfinite(directions).all():
        raise ValueError(f"{path} and {spread} give numbers that are not finite")
    return directions.T.reshape(size, 3, WIDTHS.expression)


def _face(
    joins: Path,
    found: Mapping[str, Numbers],
    *,
    mean_V3: Numbers,
    identity: Numbers,
    expression: Numbers,
    colour_V3: Numbers,
    texture: Numbers,
) -> BfmFace:
    """Put together what both kinds of files give; bases come as [V,3,width]."""
    vertices = len(mean_V3)
    triangles = _index(joins, "tri", found["tri"], vertices)
    if found["tri"].ndim != 2 or found["tri"].shape[1] != 3:
        raise ValueError(f"{joins}: tri is {found['tri'].shape}, not three corners a triangle")
    landmarks = _index(joins, "keypoints", found["keypoints"], vertices)
    return BfmFace(
        mean_V3=_tensor(mean_V3 - mean_V3.mean(axis=0, dtype=np.float64)),
        identity_IV3=_tensor(np.moveaxis(identity, -1, 0)),
        expression_EV3=_tensor(np.moveaxis(expression, -1, 0)),
        albedo_V3=_tensor(colour_V3 / _WHITE),
        texture_XV3=_tensor(np.moveaxis(texture, -1, 0) / _WHITE),
        triangles_F3=torch.from_numpy(triangles.reshape(-1, 3)),
        landmarks_L=torch.from_numpy(_shaped(joins, "keypoints", landmarks, (LANDMARKS,))),
    )


def _load(path: Path, names: Sequence[str]) -> dict[str, Numbers]:
    found = read_mat(path, names)
    for name, values in found.items():
        if values.size == 0 or not np.isfinite(values).all():
            raise ValueError(f"{path} is damaged: {name} is empty or not finite")
    return found


def _shaped(path: Path, name: str, values: Numbers, shape: tuple[int, ...]) -> Numbers:
    """Values in a shape that they have already, or that a vector of them can take."""
    flat = max(values.shape) == values.size == np.prod(shape)
    if not flat and values.shape != shape:
        raise ValueError(f"{path}: {name} is {values.shape}, but {shape} is needed")
    return values.reshape(shape)


def _index(path: Path, name: str, values: Numbers, count: int) -> Index:
    """Flat indices from 0 of ones from 1; ValueError unless each is whole and at most `count`."""
    flat = values.reshape(-1)
    if (flat < 1).any() or (flat > count).any() or (flat != np.floor(flat)).any():
        raise ValueError(f"{path}: {name} names a vertex that is none of 1 to {count}")
    return flat.astype(np.int64) - 1


def _tensor(values: Numbers) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
