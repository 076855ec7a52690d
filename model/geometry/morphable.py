"""Linear (morphable) face models: mean, identity basis, expression basis (Spec 2.2.1).

Shapes: V vertices, I identity and E expression coefficients, L landmarks.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

Array = npt.NDArray[np.float64]


class FaceWidths(NamedTuple):
    """How many coefficients a face model has of each kind; 0 where it has none."""

    face_model: str
    identity: int
    expression: int
    texture: int
    gamma: int


@dataclass(frozen=True, eq=False)
class MorphableFace:
    """Shape = mean + identity basis * a + expression basis * b.

    Unit decimetre; x right in a frontal image, y up, z toward the viewer. Bases are scaled so that
    coefficients have about unit variance. digest is the sha256 of the file, card what its maker
    wrote about it.
    """

    name: str
    digest: str
    mean_V3: Array
    identity_IV3: Array
    expression_EV3: Array
    landmarks68_L: npt.NDArray[np.int64]
    card: Mapping[str, Any]

    @property
    def widths(self) -> FaceWidths:
        """Numbers of coefficients, as tables and networks need them."""
        return FaceWidths(self.name, len(self.identity_IV3), len(self.expression_EV3), 0, 0)

    def shape(self, identity_I: Array, expression_E: Array) -> Array:
        """Vertices [...,V,3] of coefficients [...,I] and [...,E], which broadcast."""
        own = np.tensordot(identity_I, self.identity_IV3, axes=1)
        moved = np.tensordot(expression_E, self.expression_EV3, axes=1)
        vertices: Array = self.mean_V3 + own + moved
        return vertices


def read_morphable(path: Path) -> tuple[MorphableFace, dict[str, Array]]:
    """Read a face model from safetensors, and whatever further tensors its kind keeps beside it.

    Tensors mean, identity, expression, landmarks68; metadata `card`, a JSON object with `name`.
    Raises OSError if the file cannot be read, ValueError if it is no face model.
    """
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    try:
        with safe_open(path, framework="numpy") as file:
            card = json.loads((file.metadata() or {})["card"])
            tensors = {name: np.asarray(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - not a mapping
        own = {
            name: tensors.pop(name) for name in ("mean", "identity", "expression", "landmarks68")
        }
        name = str(card["name"])
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a face model: {error}") from error
    face = MorphableFace(
        name=name,
        digest=digest,
        mean_V3=own["mean"].astype(np.float64),
        identity_IV3=own["identity"].astype(np.float64),
        expression_EV3=own["expression"].astype(np.float64),
        landmarks68_L=own["landmarks68"].astype(np.int64),
        card=card,
    )
    return face, {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
