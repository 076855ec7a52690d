"""Pictures and plots of a run, encoded for a report. Images are uint8 RGB [H, W, 3].

Figures are made without pyplot, which would keep them for the life of the process.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.reports.page import Picture

Image = npt.NDArray[np.uint8]
Array = npt.NDArray[np.floating]

GREEN, ORANGE, BLUE, RED = "#009e73", "#e69f00", "#0072b2", "#d55e00"
PURPLE, SKY, GREY, BLACK = "#cc79a7", "#56b4e9", "#999999", "#333333"
"""Okabe and Ito's colours: told apart with every kind of colour vision."""


@dataclass(frozen=True, eq=False)
class Histogram:
    """One panel of `histograms`: named values, the first filled, and named limits."""

    x_label: str
    values: Mapping[str, Array]
    colours: Mapping[str, str]
    limits: Mapping[str, float] = field(default_factory=dict)


def jpeg(image: Image, caption: str = "", max_width_px: int = 1280, quality: int = 88) -> Picture:
    """Encode an image as JPEG (`quality` 0 to 100), shrunk to at most `max_width_px`."""
    shown = image
    if image.shape[1] > max_width_px:
        height = round(image.shape[0] * max_width_px / image.shape[1])
        shown = np.asarray(cv2.resize(image, (max_width_px, height), interpolation=cv2.INTER_AREA))
    done, data = cv2.imencode(".jpg", shown[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
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
    figure = Figure(figsize=(9, 3.2), layout="tight")
    axes = figure.subplots()
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
    figure = Figure(figsize=(5, 4), layout="tight")
    axes = figure.subplots()
    for name, (x, y) in points.items():
        axes.scatter(x, y, s=5, alpha=0.6, label=name)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return _svg(figure, caption)


def percent(part: int, whole: int) -> str:
    """Return a share for people, who are told of a small one that it is not nothing."""
    share = 100 * part / whole
    return f"{share:.1f} %" if share >= 0.1 or not part else "< 0.1 %"


def share_bars(
    bars: Mapping[str, Mapping[str, int]], colours: Mapping[str, str], caption: str
) -> Picture:
    """Plot counts by name as one stacked bar each, of full length; each part with its count."""
    figure = Figure(figsize=(9, 0.7 * len(bars) + 0.1), layout="constrained")
    for axes, (title, counts) in zip(
        figure.subplots(len(bars), squeeze=False)[:, 0], bars.items(), strict=True
    ):
        total, left = sum(counts.values()), 0.0
        for name, count in counts.items():
            share = count / total
            label = f"{name} {count:,} ({percent(count, total)})"
            axes.barh(0, share, left=left, color=colours.get(name, GREY), label=label)
            left += share
        axes.set(xlim=(0, 1), yticks=[0], yticklabels=[f"{total:,}\n{title}"], xticks=[])
        axes.spines[:].set_visible(False)
        axes.tick_params(left=False)
        axes.legend(
            fontsize=7.5, ncols=5, loc="upper left", bbox_to_anchor=(0, 0.06), frameon=False,
            borderpad=0, handlelength=1, handleheight=1, columnspacing=1.2,
        )  # fmt: skip
    return _svg(figure, caption)


def histograms(
    panels: Sequence[Histogram], caption: str, *, columns: int = 3, logarithmic: bool = False
) -> Picture:
    """Plot panels of histograms side by side; the rarest 0.2 % at the ends are left out."""
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.1 * columns, 2.6 * rows), layout="constrained")
    all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in all_axes[len(panels) :]:
        axes.set_visible(False)
    for axes, panel in zip(all_axes, panels, strict=False):
        named = {name: one[np.isfinite(one)] for name, one in panel.values.items()}
        ends = _ends(np.concatenate([*named.values()]), list(panel.limits.values()))
        edges = np.linspace(*ends, 41)
        for number, (name, one) in enumerate(named.items()):
            counts, colour = np.histogram(one, edges)[0], panel.colours[name]
            axes.stairs(counts, edges, fill=not number, color=colour, linewidth=1.5, label=name)
        for name, limit in panel.limits.items():
            axes.axvline(limit, color=BLACK, linestyle="--", linewidth=1, label=name)
        if logarithmic:
            axes.set_yscale("log")
            axes.set_ylim(bottom=0.7)
        axes.set_xlabel(panel.x_label, fontsize=8)
        axes.set_ylabel("frames", fontsize=8)
        axes.set_xlim(*ends)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if len(named) + len(panel.limits) > 1:
            axes.legend(
                fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False,
                borderpad=0, handlelength=1.2, columnspacing=1,
            )  # fmt: skip
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    return _svg(figure, caption)


def joint_histogram(
    x: Array,
    y: Array,
    caption: str,
    *,
    labels: tuple[str, str],
    half_ranges: tuple[float, float],
    cell: float,
    x_limits: Sequence[float] = (),
) -> Picture:
    """Plot how often pairs of values occur (colour, logarithmic), with a histogram on each side.

    The axes span their half range either way, in square cells.
    """
    x_edges, y_edges = (np.arange(-half, half + cell / 2, cell) for half in half_ranges)
    counts = np.histogram2d(x, y, (x_edges, y_edges))[0].T
    figure = Figure(figsize=(7.6, 5.2), layout="constrained")
    (above, corner), (joint, beside) = figure.subplots(
        2, 2, sharex="col", sharey="row", width_ratios=(6, 1), height_ratios=(1, 5)
    )
    corner.set_visible(False)
    norm = LogNorm(1, max(float(counts.max()), 2.0))
    shown = np.ma.masked_equal(counts, 0)
    mesh = joint.pcolormesh(x_edges, y_edges, shown, cmap="cividis", norm=norm, rasterized=True)
    for limit in x_limits:
        joint.axvline(limit, color=BLACK, linestyle="--", linewidth=1)
    joint.axhline(0, color=GREY, linewidth=0.5)
    joint.axvline(0, color=GREY, linewidth=0.5)
    joint.set(xlabel=labels[0], ylabel=labels[1])
    above.stairs(np.histogram(x, x_edges)[0], x_edges, fill=True, color=BLUE)
    on_side = np.histogram(y, y_edges)[0]
    beside.stairs(on_side, y_edges, fill=True, color=BLUE, orientation="horizontal")
    above.set_ylabel("frames", fontsize=8)
    beside.set_xlabel("frames", fontsize=8)
    for axes in (above, beside):
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=7)
    figure.colorbar(
        mesh, ax=beside, label="frames in a cell", shrink=0.8, fraction=0.4, format="%d"
    )
    return _svg(figure, caption)


def percentile_bars(values_SE: Array, caption: str, *, x_label: str, y_label: str) -> Picture:
    """Plot for each column its 5th to 95th percentile (thin), its middle half and its median."""
    low, quarter, middle, three_quarters, high = np.percentile(
        values_SE, (5, 25, 50, 75, 95), axis=0
    )
    columns = np.arange(1, values_SE.shape[1] + 1)
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    axes.vlines(columns, low, high, color=BLUE, linewidth=1.5, label="5 % to 95 %")
    axes.vlines(columns, quarter, three_quarters, color=BLUE, linewidth=7, label="25 % to 75 %")
    axes.plot(columns, middle, "o", color="white", markeredgecolor=BLUE, label="median")
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set(xlabel=x_label, ylabel=y_label, xticks=columns)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, ncols=3, loc="upper right")
    return _svg(figure, caption)


def _ends(values: Array, limits: Sequence[float]) -> tuple[float, float]:
    """Return what an axis spans: nearly all values, and the limits with a little room."""
    ends = [*np.percentile(values, (0.1, 99.9)), *limits] if values.size else [*limits, 0.0, 1.0]
    low, high = float(min(ends)), float(max(ends))
    room = 0.04 * (high - low) or max(1e-6, 0.1 * abs(high))
    return low - room if low < 0 or low - room > 0 else 0.0, high + room


def _svg(figure: Figure, caption: str) -> Picture:
    out = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "e3d"}):  # the same plot, the same bytes
        figure.savefig(out, format="svg", metadata={"Date": None})
    return Picture(out.getvalue(), "image/svg+xml", caption)
