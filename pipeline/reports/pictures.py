"""Pictures and plots of a run, encoded for a report. Images are uint8 RGB [H, W, 3]."""

import io
from collections.abc import Mapping, Sequence

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt

from pipeline.reports.page import Picture

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

Image = npt.NDArray[np.uint8]


def jpeg(image: Image, caption: str = "", max_width_px: int = 1280) -> Picture:
    """Encode an image as JPEG, shrunk to at most `max_width_px`."""
    shown = image
    if image.shape[1] > max_width_px:
        height = round(image.shape[0] * max_width_px / image.shape[1])
        shown = np.asarray(cv2.resize(image, (max_width_px, height), interpolation=cv2.INTER_AREA))
    done, data = cv2.imencode(".jpg", shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be encoded as JPEG")
    return Picture(data.tobytes(), "image/jpeg", caption)


def strip(images: Sequence[Image], height_px: int = 160) -> Image:
    """Put images side by side at one height."""
    resized = [
        cv2.resize(
            image,
            (max(1, round(image.shape[1] * height_px / image.shape[0])), height_px),
            interpolation=cv2.INTER_AREA if image.shape[0] > height_px else cv2.INTER_CUBIC,
        )
        for image in images
    ]
    return np.hstack(resized).astype(np.uint8)


def stack(rows: Sequence[Image]) -> Image:
    """Put strips under each other, padded with black on the right."""
    width = max(row.shape[1] for row in rows)
    return np.vstack(
        [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows]
    ).astype(np.uint8)


def with_points(image: Image, points_px: npt.NDArray[np.floating]) -> Image:
    """Draw points [K, 2] (x, y in px) into a copy of the image."""
    drawn = image.copy()
    for x, y in points_px:
        cv2.circle(drawn, (round(float(x)), round(float(y))), 1, (80, 255, 80), -1, cv2.LINE_AA)
    return drawn


def spread(count: int, at_most: int) -> list[int]:
    """Return up to `at_most` indices spread evenly over range(count), ends included."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, at_most))})


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    caption: str,
    *,
    x_label: str = "step",
    y_label: str = "",
    marks: Mapping[str, float] | None = None,
) -> Picture:
    """Plot named (x, y) curves; `marks` are named vertical lines, such as the start of a phase."""
    figure, axes = plt.subplots(figsize=(9, 3.2))
    for name, (x, y) in series.items():
        axes.plot(x, y, label=name, linewidth=1.2)
    for name, x_mark in (marks or {}).items():
        axes.axvline(x_mark, color="grey", linewidth=0.8, linestyle=":")
        axes.annotate(name, (x_mark, 1), xycoords=("data", "axes fraction"), fontsize=8)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    if len(series) > 1:
        axes.legend(fontsize=8)
    return _svg(figure, caption)


def scatter(
    points: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    caption: str,
    *,
    x_label: str,
    y_label: str,
) -> Picture:
    """Plot named clouds of points, for example the head poses of each film."""
    figure, axes = plt.subplots(figsize=(5, 4))
    for name, (x, y) in points.items():
        axes.scatter(x, y, s=5, alpha=0.6, label=name)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return _svg(figure, caption)


def _svg(figure: Figure, caption: str) -> Picture:
    out = io.BytesIO()
    figure.tight_layout()
    figure.savefig(out, format="svg", metadata={"Date": None})
    plt.close(figure)
    return Picture(out.getvalue(), "image/svg+xml", caption)
