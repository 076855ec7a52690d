"""Networks of a MediaPipe bundle, run by LiteRT on one thread."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert.interpreter import Interpreter

from preprocess.weights import check_digest


class Network:
    """One tflite network with one input: array [H,W,3] in, its outputs in order out."""

    def __init__(self, content: bytes) -> None:
        self._interpreter: Any = Interpreter(model_content=content, num_threads=1)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = [each["index"] for each in self._interpreter.get_output_details()]

    def __call__(self, picture: npt.NDArray[np.float32]) -> list[npt.NDArray[np.float32]]:
        """Run the network once."""
        self._interpreter.set_tensor(self._input, picture[None])
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


def network_of(bundle: Path, sha256: str, member: str) -> Network:
    """Load one network of a bundle (a zip of tflite files).

    Raises OSError if the file cannot be read, ValueError if it is another file than its digest
    says.
    """
    return Network(read_member(bundle, sha256, member))


def read_member(bundle: Path, sha256: str, member: str) -> bytes:
    """Return one tflite file of a bundle; raises as `network_of`."""
    check_digest(bundle, sha256)
    with zipfile.ZipFile(bundle) as members:
        return members.read(member)
