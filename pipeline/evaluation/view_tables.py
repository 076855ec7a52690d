"""Tables of pictures that show a trained network at work, and what their rows and columns are.

Shapes: L basis vectors, X columns, H, W, 25 camera label.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from model.evaluation.views import PortraitViews, View
from model.geometry.camera import unpack_label
from model.geometry.orbit import orbit_label
from pipeline.reports.pictures import Image
from pipeline.reports.pixels import labelled_grid, png
from storage.identity import JSON

_OPAQUE = 0.5
"""Alpha from which on a pixel has a depth worth showing."""

Count = Callable[[], None]
"""Called after each view, for progress."""


@dataclass(frozen=True, eq=False)
class Portrait:
    """A portrait, the views of it, and the label of the camera that filmed it."""

    picture: Image
    camera_25: NDArray[np.float64]
    views: PortraitViews


@dataclass(frozen=True, eq=False)
class Table:
    """Square images by row, with the names of the columns (all names in ASCII)."""

    caption: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[Image]]

    def png(self, cell_px: int) -> bytes:
        """Return the table as one PNG, every image `cell_px` on a side."""
        return png(labelled_grid(self.rows, self.columns, cell_px))

    def legend(self) -> JSON:
        """Return caption, rows and columns as plain values."""
        return {"caption": self.caption, "rows": list(self.rows), "columns": list(self.columns)}


def scaled_coefficients(portrait: Portrait, multipliers: Sequence[float], count: Count) -> Table:
    """Show the portrait with one coefficient of its expression after the other times each factor.

    Raises ValueError for a network without a basis.
    """
    own_L = portrait.views.coefficients()
    values_LX = own_L[:, None] * np.array(multipliers, np.float32)
    return Table(
        "One coefficient of the first source's expression is multiplied. At 1 nothing is edited.",
        [f"x {factor:g}" for factor in multipliers],
        _edits(portrait, own_L, values_LX, count),
    )


def shifted_coefficients(portrait: Portrait, shifts_std: Sequence[float], count: Count) -> Table:
    """Show the portrait with one coefficient after the other moved by its stored deviation.

    Raises ValueError for a network without a basis.
    """
    own_L, deviations_L = portrait.views.coefficients(), portrait.views.deviations()
    values_LX = own_L[:, None] + deviations_L[:, None] * np.array(shifts_std, np.float32)
    return Table(
        "One coefficient of the first source's expression is moved, in units of its deviation "
        "over the training set. At 0 nothing is edited.",
        [f"{shift:+g} std" for shift in shifts_std],
        _edits(portrait, own_L, values_LX, count),
    )


def novel_views(
    portraits: Sequence[Portrait],
    yaws_deg: Sequence[float],
    pitches_deg: Sequence[float],
    pivot_3: NDArray[np.float64],
    count: Count,
) -> Table:
    """Show each portrait with its own expression from around the head: the planes are fixed.

    The cameras look at the pivot, in label units.
    """
    rows: dict[str, list[Image]] = {}
    for number, portrait in enumerate(portraits, 1):
        intrinsics_33 = unpack_label(portrait.camera_25)[1]
        for pitch_deg in pitches_deg:
            row = rows[f"{number}: pitch {pitch_deg:g}"] = []
            for yaw_deg in yaws_deg:
                yaw, pitch = np.deg2rad([yaw_deg, pitch_deg])
                label_25 = orbit_label(yaw, pitch, intrinsics_33, pivot_3)
                row.append(portrait.views.seen(label_25).image_HWC)
                count()
    return Table(
        "Source by source, the expression stays and the camera goes around the head, by degrees. "
        "At 0 the face looks into it.",
        [f"yaw {yaw_deg:g}" for yaw_deg in yaws_deg],
        rows,
    )


def depths(portraits: Sequence[Portrait], count: Count) -> Table:
    """Show each portrait beside the network's image, depth (near is bright) and alpha."""
    rows: dict[str, list[Image]] = {}
    for number, portrait in enumerate(portraits, 1):
        view = portrait.views.seen(portrait.camera_25)
        near_HW, alpha_HW = (_grey(values, view) for values in (nearness(view), view.alpha_HW))
        rows[str(number)] = [portrait.picture, view.image_HWC, near_HW, alpha_HW]
        count()
    return Table(
        "Source by source, from the camera that filmed it. Depth goes from the nearest opaque "
        "point (bright) to the farthest (dark); alpha is the share of light that the head stops.",
        ["source", "image", "depth", "alpha"],
        rows,
    )


def nearness(view: View) -> NDArray[np.float32]:
    """Return 1 at the nearest opaque pixel to 0 at the farthest, [H,W]; 0 where nothing is."""
    is_opaque_HW = view.alpha_HW >= _OPAQUE
    near_HW = np.zeros_like(view.depth_HW)
    if is_opaque_HW.any():
        depth = view.depth_HW[is_opaque_HW]
        near_HW[is_opaque_HW] = (depth.max() - depth) / max(float(np.ptp(depth)), 1e-6)
    return near_HW


def _edits(
    portrait: Portrait, own_L: NDArray[np.float32], values_LX: NDArray[np.float32], count: Count
) -> dict[str, list[Image]]:
    """Return a row for each coefficient, with its values from left to right."""
    rows: dict[str, list[Image]] = {}
    for at, values_X in enumerate(values_LX):
        row = rows[f"lambda {at + 1}"] = []
        for value in values_X:
            edited_L = own_L.copy()
            edited_L[at] = value
            row.append(portrait.views.edited(edited_L, portrait.camera_25).image_HWC)
            count()
    return rows


def _grey(values_HW: NDArray[np.float32], view: View) -> Image:
    """Return values from 0 to 1 as a grey image as large as the view's."""
    levels = (255 * values_HW.clip(0, 1)).round().astype(np.uint8)
    side = view.image_HWC.shape[0]
    large = cv2.resize(levels, (side, side), interpolation=cv2.INTER_NEAREST)
    return np.repeat(np.asarray(large, np.uint8)[..., None], 3, axis=2)
