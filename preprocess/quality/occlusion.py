"""How much of a face something lies over: hands, microphones, hair blown across.

Each crop is resampled into one small map of the face with the help of its mesh, so that the same
texel shows the same piece of skin in all frames. What a clip's frames show there most of the time
is taken as the face. A frame is occluded where it leaves the band in which skin, registration and
light usually vary. Lips and eyes are left out, since they change by themselves.

This is a comparison of a clip with itself. It cannot know an occluder that stays for more than half
of the clip, and it overlooks one that hardly differs from the skin behind it.

Shapes: T frames, N texels, V mesh points, K channels (luminance, red-green, blue-green).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import median_filter
from scipy.spatial import Delaunay

Array = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Rgb = npt.NDArray[np.uint8]

MAP_PX = 48  # a texel is about 3 px of a 256 px crop, less than half of a finger

_IRISES = 10  # the mesh's last points lie in the eyes and belong to no triangle of the skin
_AXIS_DM = 0.9  # the map unrolls a cylinder about an axis this far behind the model's origin
_OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
         152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67,
         109)  # fmt: skip
_LIPS = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146)
_EYES = (
    (33, 246, 161, 160, 159, 158, 157, 173, 133, 155, 154, 153, 145, 144, 163, 7),
    (263, 466, 388, 387, 386, 385, 384, 398, 362, 382, 381, 380, 374, 373, 390, 249),
)
# Outlines are grown or shrunk about their middles by these factors (across, down): hair and
# background shine through at the rim, folds and lashes lie about lips and eyes.
_OVAL_ZOOM = (0.8, 0.85)
_LIPS_ZOOM = (1.35, 1.35)
_EYES_ZOOM = (1.6, 1.6)

# Added to 8-bit levels before the logarithm, so that noise in the dark counts little.
_DARK_LEVEL = 16
_DARK_COLOUR = 32
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_LIGHT_ROUNDS = 3
_LIGHT_HUBER = 0.08  # log units; a residual beyond it is a thing, not light
_DEVIATIONS = 3.0  # median absolute deviations that belong to the usual
_SLACK_K = np.array([0.08, 0.04, 0.04], np.float32)  # log units granted beyond that
_UNIT_K = np.array([0.1, 0.05, 0.05], np.float32)  # log units of excess that count as one
_MOST = 2.0  # a texel's excess is cut here, so that a speck cannot stand for a patch
_COVERED = 0.5  # mean excess of a patch of 3 x 3 texels that counts as covered
_SURE_PRESENCE = 1 / (1 + np.exp(-12.0))  # hands over nose and mouth push the mesh network below it
_FEWEST_SURE = 0.1  # part of the clip; with fewer sure frames, all are compared with
_MIN_FACING = 0.5  # cosine to the viewer; texels turned farther away are smeared
_STRETCH_FRAMES = 5  # a glitch of one or two frames is no occluder


@dataclass(frozen=True, eq=False)
class FaceMap:
    """Where the texels lie on the mesh.

    vertex_N3 and weight_N3 are the corners of a texel's triangle and its place in it; row_N and
    column_N its place in the map.
    """

    vertex_N3: npt.NDArray[np.int64]
    weight_N3: Floats
    row_N: npt.NDArray[np.int64]
    column_N: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FaceColours:
    """What a clip shows on the map: 8-bit RGB [T,N,3], cosines to the viewer [T,N]."""

    rgb_TN3: Rgb
    facing_TN: Floats


def face_map(mean_V3: Array) -> FaceMap:
    """Lay the map over a mean mesh [478,3] in dm (x right, y up, z toward the viewer)."""
    around = np.arctan2(mean_V3[:, 0], mean_V3[:, 2] + _AXIS_DM)
    flat_V2 = np.stack([around, -mean_V3[:, 1]], axis=1)
    low, high = flat_V2.min(axis=0), flat_V2.max(axis=0)
    flat_V2 = (flat_V2 - low) / (high - low) * MAP_PX
    triangles = Delaunay(flat_V2[:-_IRISES])
    inside = _outline(flat_V2, _OVAL, _OVAL_ZOOM) & ~_outline(flat_V2, _LIPS, _LIPS_ZOOM)
    for eye in _EYES:
        inside &= ~_outline(flat_V2, eye, _EYES_ZOOM)
    row_N, column_N = np.nonzero(inside)
    points_N2 = np.stack([column_N, row_N], axis=1) + 0.5
    triangle_N = triangles.find_simplex(points_N2)
    affine_N32 = triangles.transform[triangle_N]
    first_N2 = np.einsum("nij,nj->ni", affine_N32[:, :2], points_N2 - affine_N32[:, 2])
    weight_N3 = np.c_[first_N2, 1 - first_N2.sum(axis=1)].astype(np.float32)
    vertex_N3 = triangles.simplices[triangle_N].astype(np.int64)
    return FaceMap(vertex_N3, weight_N3, row_N, column_N)


def sample_face(crop_HW3: Rgb, mesh_V3: Array, texels: FaceMap) -> tuple[Rgb, Floats]:
    """Read one crop at the texels: colours [N,3] and cosines to the viewer [N].

    mesh_V3 in px of the crop (a square), z on the scale of x. About 0.3 ms for 256 px.
    """
    corners_N33 = mesh_V3[texels.vertex_N3].astype(np.float32)
    places_N3 = np.einsum("nk,nkc->nc", texels.weight_N3, corners_N33)
    block = max(1, round(crop_HW3.shape[0] / 85))  # the face fills about half of the crop
    even_HW3 = cv2.blur(crop_HW3, (block, block))
    x_1N, y_1N = places_N3.T[:2, None] - np.float32(0.5)
    colours = cv2.remap(even_HW3, x_1N, y_1N, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    normal_N3 = np.cross(
        corners_N33[:, 1] - corners_N33[:, 0], corners_N33[:, 2] - corners_N33[:, 0]
    )
    length_N = np.maximum(np.linalg.norm(normal_N3, axis=1), 1e-6)
    return np.asarray(colours[0], np.uint8), np.abs(normal_N3[:, 2]) / length_N


def sample_clip(crops_THW3: Rgb, meshes_TV3: Array, texels: FaceMap) -> FaceColours:
    """Read all crops of a clip; meshes in px of the crops."""
    rgb_TN3 = np.zeros((len(crops_THW3), len(texels.row_N), 3), np.uint8)
    facing_TN = np.zeros(rgb_TN3.shape[:2], np.float32)
    for t, (crop, mesh) in enumerate(zip(crops_THW3, meshes_TV3, strict=True)):
        rgb_TN3[t], facing_TN[t] = sample_face(crop, mesh, texels)
    return FaceColours(rgb_TN3, facing_TN)


def occlusion(clip: FaceColours, presence_T: Array, texels: FaceMap) -> Array:
    """Part of the visible skin that is covered, 0 to 1, per frame [T] of one clip.

    `presence_T` is the mesh network's own score: where it is a little unsure already, a frame takes
    no part in what the face is taken to look like. The result is an underestimate: only what stands
    out from the skin counts, a finger's shadow more than the finger. Frames must be neighbours in
    time. A clip of one frame has nothing to be compared with, and gets 0.
    """
    if len(clip.rgb_TN3) == 0:
        return np.zeros(0)
    seen_TN = clip.facing_TN > _MIN_FACING
    sure_T = presence_T >= _SURE_PRESENCE
    if sure_T.mean() < _FEWEST_SURE:
        sure_T = np.ones_like(sure_T)
    judged_TN = seen_TN & sure_T[:, None]
    values_TNK = _log_colours(clip.rgb_TN3)
    usual_NK = _median(values_TNK, judged_TN)
    values_TNK = usual_NK + _without_light(values_TNK - usual_NK, seen_TN, texels)
    usual_NK = _median(values_TNK, judged_TN)
    spread_NK = _DEVIATIONS * _median(np.abs(values_TNK - usual_NK), judged_TN)
    # Extremes of the neighbourhood: landmarks are off by a texel now and then.
    low_NK = _neighbourhood(usual_NK - spread_NK, texels, cv2.erode, np.inf) - _SLACK_K
    high_NK = _neighbourhood(usual_NK + spread_NK, texels, cv2.dilate, -np.inf) + _SLACK_K
    excess_TNK = np.maximum(np.maximum(values_TNK - high_NK, low_NK - values_TNK), 0)
    excess_TN = np.minimum((excess_TNK / _UNIT_K).sum(axis=-1), _MOST) * seen_TN
    covered_TN = (_patch_means(excess_TN, texels) > _COVERED) & seen_TN
    part_T = covered_TN.sum(axis=1) / np.maximum(seen_TN.sum(axis=1), 1)
    return np.asarray(median_filter(part_T, _STRETCH_FRAMES, mode="nearest"), np.float64)


def _outline(
    flat_V2: Array, vertices: tuple[int, ...], zoom: tuple[float, float]
) -> npt.NDArray[np.bool_]:
    """Texels [H,W] whose larger part lies in a polygon of vertices, zoomed about its middle."""
    corners = flat_V2[list(vertices)]
    middle = corners.mean(axis=0)
    finer = 8
    canvas = np.zeros((MAP_PX * finer, MAP_PX * finer), np.float32)
    zoomed = (middle + (corners - middle) * zoom) * finer
    cv2.fillPoly(canvas, [np.round(zoomed).astype(np.int32)], 1.0)
    blocks = canvas.reshape(MAP_PX, finer, MAP_PX, finer).mean(axis=(1, 3))
    return np.asarray(blocks > 0.5)


def _log_colours(rgb_TN3: Rgb) -> Floats:
    """Log luminance and two log colour ratios [T,N,K], in which light is additive."""
    levels = rgb_TN3.astype(np.float32)
    red, green, blue = np.moveaxis(np.log(levels + _DARK_COLOUR), -1, 0)
    luminance = np.log(levels @ _LUMA + _DARK_LEVEL)
    return np.stack([luminance, red - green, blue - green], axis=-1).astype(np.float32)


def _median(values_TNK: Floats, seen_TN: npt.NDArray[np.bool_]) -> Floats:
    """Median over the frames in which a texel is seen [N,K]; 0 where it never is."""
    ordered = np.sort(np.where(seen_TN[..., None], values_TNK, np.float32(np.inf)), axis=0)
    middle_N = np.maximum(seen_TN.sum(axis=0) - 1, 0) // 2
    found = np.take_along_axis(ordered, middle_N[None, :, None], axis=0)[0]
    return np.where(np.isfinite(found), found, np.float32(0))


def _without_light(values_TNK: Floats, seen_TN: npt.NDArray[np.bool_], texels: FaceMap) -> Floats:
    """Take a quadratic over the map out of each frame and channel, robustly (Huber's weights)."""
    x = (texels.column_N / MAP_PX * 2 - 1).astype(np.float32)
    y = (texels.row_N / MAP_PX * 2 - 1).astype(np.float32)
    terms_NJ = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)
    pairs_NJJ = (terms_NJ[:, :, None] * terms_NJ[:, None]).reshape(len(x), -1)
    count = terms_NJ.shape[1]
    left = np.empty_like(values_TNK)
    for k in range(values_TNK.shape[-1]):
        values_TN = values_TNK[..., k]
        weight_TN = seen_TN.astype(np.float32)
        for _ in range(_LIGHT_ROUNDS):
            gram = (weight_TN @ pairs_NJJ).reshape(-1, count, count)
            gram += 1e-2 * np.eye(count, dtype=np.float32)  # a frame may show next to nothing
            right = ((weight_TN * values_TN) @ terms_NJ)[..., None]
            left[..., k] = values_TN - np.linalg.solve(gram, right)[..., 0] @ terms_NJ.T
            size_TN = np.maximum(np.abs(left[..., k]), np.float32(1e-6))
            weight_TN = np.where(seen_TN, np.minimum(1, _LIGHT_HUBER / size_TN), np.float32(0))
    return left


def _neighbourhood(
    values_NK: Floats, texels: FaceMap, extreme: Callable[..., Any], empty: float
) -> Floats:
    """Erosion or dilation of a map by 3 x 3 texels."""
    picture = np.full((MAP_PX, MAP_PX, values_NK.shape[1]), empty, np.float32)
    picture[texels.row_N, texels.column_N] = values_NK
    reached = extreme(picture, np.ones((3, 3), np.uint8))
    return np.asarray(reached[texels.row_N, texels.column_N], np.float32)


def _patch_means(values_TN: Floats, texels: FaceMap) -> Floats:
    """Means over 3 x 3 texels; what is not on the map counts as 0."""
    means_TN = np.empty_like(values_TN)
    picture = np.zeros((MAP_PX, MAP_PX), np.float32)
    for t, values_N in enumerate(values_TN):
        picture[texels.row_N, texels.column_N] = values_N
        means_TN[t] = cv2.blur(picture, (3, 3))[texels.row_N, texels.column_N]
    return means_TN
