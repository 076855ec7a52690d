"""Pictures that are outputs by themselves, as PNG: tables of images, and clouds of points.

Images are uint8 RGB [H, W, 3].
"""

import io
from collections.abc import Mapping, Sequence

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from pipeline.reports.pictures import Array, Image, stack, strip

_FONT, _FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4
_LINE_PX, _MARGIN_PX = 20, 5
_INK = (51, 51, 51)
_MARKERS = "osD^v"


def png(image: Image) -> bytes:
    """Encode an image without loss."""
    done, data = cv2.imencode(".png", image[..., ::-1])
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be encoded as PNG")
    return data.tobytes()


def labelled_grid(
    rows: Mapping[str, Sequence[Image]], columns: Sequence[str], cell_px: int
) -> Image:
    """Put square images into a table with names (ASCII) above its columns and beside its rows."""
    beside = max(_width_px(name) for name in rows) + 2 * _MARGIN_PX
    heads = np.full((_LINE_PX, beside + len(columns) * cell_px, 3), 255, np.uint8)
    for number, name in enumerate(columns):
        left = beside + number * cell_px + (cell_px - _width_px(name)) // 2
        _write(heads, name, (left, _LINE_PX - _MARGIN_PX))
    lines = [heads]
    for name, images in rows.items():
        side = np.full((cell_px, beside, 3), 255, np.uint8)
        _write(side, name, (_MARGIN_PX, cell_px // 2 + _MARGIN_PX))
        lines.append(np.hstack([side, *(strip([image], cell_px) for image in images)]))
    return stack(lines)


def clouds(panels: Mapping[str, Mapping[str, Array]]) -> bytes:
    """Plot clouds of points [N, 2] by name, side by side, without scales.

    A name has the same colour and mark in all panels.
    """
    figure = Figure(figsize=(4.6 * len(panels), 4.9), layout="constrained")
    names = list(dict.fromkeys(name for cloud in panels.values() for name in cloud))
    for axes, (title, cloud) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        for number, name in enumerate(names):
            colour, mark = mpl.colormaps["tab10"](number % 10), _MARKERS[number % len(_MARKERS)]
            x_N, y_N = cloud[name].T
            axes.scatter(x_N, y_N, s=26, color=colour, marker=mark, alpha=0.85, label=name)
        axes.set_title(title, fontsize=10)
        axes.set(xticks=[], yticks=[])
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def _width_px(text: str) -> int:
    return int(cv2.getTextSize(text, _FONT, _FONT_SCALE, 1)[0][0])


def _write(image: Image, text: str, left_bottom_px: tuple[int, int]) -> None:
    cv2.putText(image, text, left_bottom_px, _FONT, _FONT_SCALE, _INK, 1, cv2.LINE_AA)
