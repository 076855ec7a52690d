"""Fit of a clip by Deep3DFaceRecon's network: 257 coefficients of the Basel face model a frame.

The published way (Spec 2.2.1, 2.2.2), with exact warps: the crop is neither cut at whole pixels nor
scaled to a whole width, which moved the face by up to a pixel of 224.

Shapes: T frames, L = 68 landmarks, I = 80 identity, E = 64 expression, X = 80 texture and G = 27
light coefficients, C = 257 in all.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from model.geometry.bfm import LANDMARKS, WIDTHS, split
from model.geometry.camera import EXTRACTOR_PX_PER_DM, project_film
from model.geometry.morphable import MorphableFace
from preprocess.crop import Alignment, CropBoxes, crop_affines, warp_crop
from preprocess.face3d.bfm_files import face_files, read_bfm
from preprocess.face3d.mesh478 import Coefficients
from preprocess.face3d.recon_network import CROP_PX, ReconNetwork, read_recon_network
from preprocess.landmarks.ibug68 import five_of_68

Array = npt.NDArray[np.float64]
Rgb = npt.NDArray[np.uint8]

VERSION = "1"  # of this port: change it whenever the numbers change
_BATCH = 16  # crops in one pass; a fixed number, because the last bits depend on it
_INNER = slice(17, 68)  # without the jaw, whose points in a picture slide as the head turns


@dataclass(frozen=True)
class BfmFiles:
    """The user's own files: the folder of the face model, and the network's `epoch_20.pth`."""

    folder: Path
    checkpoint: Path


@dataclass(frozen=True, eq=False)
class BfmModel:
    """What a fit needs: the network, and the face model at its 68 landmarks alone.

    The whole model, for rendering, is `bfm_files.read_bfm`.
    """

    landmarks: MorphableFace
    network: ReconNetwork


@dataclass(frozen=True, eq=False)
class BfmCoefficients(Coefficients):
    """One clip as `Coefficients`, with albedo (one for the clip) and light (per frame).

    Reprojection is that of the 51 landmarks that are not on the jaw, or of five points where these
    were all that was given.
    """

    texture_X: Array
    gamma_TG: Array


def identity(files: BfmFiles) -> dict[str, str]:
    """Everything that decides the numbers: version of the port, and each file's sha256.

    Raises FileNotFoundError (one sentence) if a file is missing.
    """
    named = {path.name: path for path in face_files(files.folder)}
    named["checkpoint"] = files.checkpoint
    digests = {f"{name} sha256": _sha256(path) for name, path in named.items()}
    return {"face_model": WIDTHS.face_model, "version": VERSION, **digests}


def read_bfm_model(files: BfmFiles, wanted: Mapping[str, str]) -> BfmModel:
    """Read model and network; `wanted` is the `identity` that results are kept under.

    Raises OSError if a file is missing or unreadable, ValueError (one sentence) if one is damaged
    or is another than `wanted` names: workers may see other files under the same paths.
    """
    found = identity(files)
    if found != dict(wanted):
        other = sorted(key for key in found.keys() | wanted if found.get(key) != wanted.get(key))
        raise ValueError(
            f"{files.folder} and {files.checkpoint} are not the files that this job began with: "
            f"{', '.join(other)} differ"
        )
    face = read_bfm(files.folder)
    keypoints = face.landmarks_L
    landmarks = MorphableFace(
        name=WIDTHS.face_model,
        digest=hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest(),
        mean_V3=face.mean_V3[keypoints].double().numpy(),
        identity_IV3=face.identity_IV3[:, keypoints].double().numpy(),
        expression_EV3=face.expression_EV3[:, keypoints].double().numpy(),
        landmarks68_L=np.arange(LANDMARKS),
        card={},
    )
    return BfmModel(landmarks, read_recon_network(files.checkpoint))


def extractor_affines(alignment: Alignment) -> Array:
    """Affines [T,3,3] from film px to the network's 224 px crop: 102 px a decimetre (Spec 2.2.2).

    The alignment's origin comes to (112, 112).
    """
    side_T = CROP_PX / EXTRACTOR_PX_PER_DM * alignment.scale_T
    return crop_affines(CropBoxes(alignment.origin_T2, side_T), CROP_PX)


def regress(network: ReconNetwork, frames: Iterable[Rgb], alignment: Alignment) -> Array:
    """Coefficients [T,257] of film frames [H,W,3], which are read one batch at a time.

    Raises ValueError if there are more or fewer frames than the alignment has.
    """
    device = next(network.parameters()).device
    affines_T33 = extractor_affines(alignment)
    crops = (
        warp_crop(rgb, affine_33, CROP_PX)
        for rgb, affine_33 in zip(frames, affines_T33, strict=True)
    )
    found = []
    while batch := list(islice(crops, _BATCH)):
        pictures_BHW3 = torch.from_numpy(np.stack(batch)).to(device)
        with torch.inference_mode():
            coefficients_BC = network(pictures_BHW3.movedim(-1, 1).float() / 255)
        found.append(coefficients_BC.double().cpu().numpy())
    return np.concatenate(found)


def fit_clip(
    model: BfmModel, frames: Iterable[Rgb], points_TK2: Array, alignment: Alignment
) -> BfmCoefficients:
    """Fit one clip: its frames with a face (at least one), and their landmarks in film px.

    points_TK2 are the iBUG 68, or the five of `align_points` from detectors that have no more; they
    serve to measure, not to fit. alignment is `align_points` of the five, or the smoothed one that
    crop and camera use: the network was trained on crops that were off by far more.

    Identity and albedo belong to the person, while the network sees one frame at a time: each is
    the mean over the clip. As the model is linear that is the mean of the frames' faces, and where
    frames err independently it errs least. Pose, expression and light stay as the network gave
    them. Raises ValueError if frames, landmarks and alignment differ in number, or if the landmarks
    are neither 68 nor five.
    """
    frames_given = len(alignment.scale_T)
    if points_TK2.shape not in ((frames_given, 68, 2), (frames_given, 5, 2)):
        raise ValueError(
            f"an alignment of {frames_given} frames was given, and landmarks of shape "
            f"{points_TK2.shape}: 68 or 5 points (x, y) for each frame are needed"
        )
    coefficients_TC = torch.from_numpy(regress(model.network, frames, alignment))
    groups = [group.numpy() for group in split(coefficients_TC)]
    identity_TI, expression_TE, texture_TX, angles_T3, gamma_TG, translation_T3 = groups
    identity_I = identity_TI.mean(axis=0)
    projected_TL2 = project_film(
        model.landmarks.shape(identity_I, expression_TE),
        angles_T3,
        translation_T3,
        alignment.origin_T2,
        alignment.scale_T,
    )
    if points_TK2.shape[1] == LANDMARKS:
        five_T52, off_TK2 = five_of_68(points_TK2), (projected_TL2 - points_TK2)[:, _INNER]
    else:
        five_T52, off_TK2 = points_TK2, five_of_68(projected_TL2) - points_TK2
    miss_T = np.linalg.norm(off_TK2, axis=-1).mean(axis=-1)
    between_eyes_T = np.linalg.norm(five_T52[:, 0] - five_T52[:, 1], axis=-1)
    return BfmCoefficients(
        identity_I=identity_I,
        expression_TE=expression_TE,
        angles_T3=angles_T3,
        translation_T3=translation_T3,
        reprojection_px_T=miss_T,
        reprojection_iod_T=miss_T / between_eyes_T,
        texture_X=texture_TX.mean(axis=0),
        gamma_TG=gamma_TG,
    )


def _sha256(path: Path) -> str:
    status = path.stat()
    return _sha256_of_state(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=16)
def _sha256_of_state(path: Path, size: int, mtime_ns: int) -> str:  # noqa: ARG001  keys of the cache
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
