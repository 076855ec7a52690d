"""Rebuild the shipped face model (python -m preprocess.face3d.build --help).

Only statistics of geometry over many persons are written, no picture and no single mesh. The same
films give the same file.
"""

import argparse
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from preprocess.face3d.learn import NAME, LeftOut, check_left_out, learn
from preprocess.face3d.mesh478 import Mesh478
from preprocess.landmarks.backend import Rgb
from preprocess.landmarks.blazeface import BlazeFace
from preprocess.landmarks.mediapipe import MediapipeLandmarks
from preprocess.media.decode import decode_film
from preprocess.media.errors import UnusableFilm
from preprocess.people.follow import FollowConfig, Follower

Array = npt.NDArray[np.float64]

_log = logging.getLogger(__name__)
_STEP_S = 0.08  # 12.5 frames a second: neighbours in time say the same twice
_MAX_FRAMES = 400  # of one film, so that a long one does not outweigh its person's others


def main(arguments: Sequence[str] | None = None) -> None:
    """Learn the model from films, measure it on left-out persons, write it."""
    parser = argparse.ArgumentParser(prog="python -m preprocess.face3d.build", description=__doc__)
    parser.add_argument(
        "films", nargs="*", type=Path, metavar="FILM", help="films of one person each"
    )
    parser.add_argument(
        "--same-person", nargs="+", type=Path, action="append", default=[], metavar="FILM",
        help="films that show one person; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--portrait", nargs="+", type=Path, default=[], metavar="PICTURE",
        help="pictures of one further person each; they add to identity only",
    )  # fmt: skip
    parser.add_argument("--landmarker", type=Path, required=True, help="face_landmarker_v2.task")
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        weights = hashlib.sha256(given.landmarker.read_bytes()).hexdigest()
        networks = (
            BlazeFace(given.landmarker, weights),
            MediapipeLandmarks(given.landmarker, weights),
        )
        groups = [[film] for film in given.films] + given.same_person
        persons = [
            np.concatenate([_meshes(film, _sampled(film), *networks) for film in group])
            for group in groups
        ]
        persons += [_meshes(path, iter([_picture(path)]), *networks) for path in given.portrait]
        model, left_out = learn(persons), check_left_out(persons)
        given.out.write_bytes(pack(model, left_out, persons, networks[1].identity()))
    except (OSError, ValueError, UnusableFilm) as error:
        parser.error(str(error))
    _log.info("%s: %d persons, %s", given.out, len(persons), left_out)


def pack(
    model: Mesh478, left_out: LeftOut, persons: Sequence[Array], landmarks: dict[str, str]
) -> bytes:
    """Serialise the model; the same model gives the same bytes.

    All metadata is one JSON string, because safetensors writes several entries in any order; it
    also writes the memory of an array as it lies, so that each must be contiguous.
    """
    face = model.face
    card = {
        "name": NAME,
        "unit": "decimetre",
        "persons": len(persons),
        "persons_filmed": sum(len(person) > 1 for person in persons),
        "frames": sum(len(person) for person in persons),
        "noise_dm": _rounded(model.noise_dm),
        "left_out": {key: _rounded(value) for key, value in asdict(left_out).items()},
        "landmarks": landmarks,
    }
    tensors: dict[str, npt.NDArray[np.generic]] = {
        "mean": face.mean_V3.astype(np.float32),
        "identity": face.identity_IV3.astype(np.float16),
        "expression": face.expression_EV3.astype(np.float16),
        "weight": model.weight_V.astype(np.float32),
        "landmarks68": face.landmarks68_L.astype(np.int32),
    }
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    return save(tensors, metadata={"card": json.dumps(card, sort_keys=True)})


def _meshes(
    path: Path, frames: Iterator[Rgb], detector: BlazeFace, landmarks: MediapipeLandmarks
) -> Array:
    """Meshes [T,V,3] of the largest face; ValueError if there is none."""
    follower = Follower([detector], landmarks, None, FollowConfig(max_faces=1))
    faces = [tick.sightings[0].face for tick in follower.follow(frames, repeat(0))]
    meshes = [face.mesh_px for face in faces if face and face.mesh_px is not None]
    if not meshes:
        raise ValueError(f"no face was found in {path}")
    _log.info("%s: %d frames", path.name, len(meshes))
    return np.stack(meshes)


def _sampled(film: Path) -> Iterator[Rgb]:
    due_s = -np.inf
    frames = 0
    for frame in decode_film(film):
        if frame.pts_s >= due_s:
            yield frame.rgb
            due_s = frame.pts_s + _STEP_S - 1e-3
            frames += 1
        if frames == _MAX_FRAMES:
            return


def _picture(path: Path) -> Rgb:
    bgr = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ValueError(f"{path} is not a picture")
    return np.asarray(bgr[..., ::-1], np.uint8)


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.4g}")


if __name__ == "__main__":
    main()
