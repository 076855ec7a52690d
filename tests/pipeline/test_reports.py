"""Reports: one page that needs no other file, and that shows text as text."""

import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from pipeline.reports.page import Film, Picture, Report, Section, Table
from pipeline.reports.pictures import (
    Histogram,
    curves,
    histograms,
    joint_histogram,
    jpeg,
    percent,
    percentile_bars,
    scatter,
    share_bars,
    spread,
    stack,
    strip,
    with_points,
)

SCRIPT = "<script>alert('\"&')</script>"
NASTY = SCRIPT + "|new\nline"


def grey(height: int, width: int, value: int = 128) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def report() -> Report:
    return Report(
        title=f"Title {NASTY}",
        summary=NASTY,
        sections=[
            Section(f"Section {NASTY}", NASTY, table=Table(("a", "b"), [(NASTY, 1), ("x", None)])),
            Section("Pictures", pictures=[jpeg(grey(40, 60), NASTY)]),
            Section("Films", films=[Film("shot-a.mp4", NASTY)]),
        ],
    )


class Page(HTMLParser):
    """Tags, addresses and words of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_shows_text_as_text_and_needs_no_other_page() -> None:
    page = Page(report().html())
    assert "script" not in page.tags
    assert sum(SCRIPT in words for words in page.words) >= 6
    others = [address for address in page.addresses if not address.startswith("data:image/")]
    assert set(others) == {"shot-a.mp4"}
    assert page.tags.count("img") == 1


def test_markdown_keeps_every_row_a_row() -> None:
    lines = report().markdown().splitlines()
    head = next(n for n, line in enumerate(lines) if line.startswith("| "))
    rows = lines[head : head + 4]
    assert all(row.startswith("|") and row.endswith("|") for row in rows)
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [3, 3, 3, 3]
    assert "<script>" not in rows[2]


def test_pictures_in_markdown_keep_their_form_whatever_the_film_is_called() -> None:
    picture = jpeg(grey(40, 60), "[2019] a](b\n.mp4")
    markdown = Report("t", "s", [Section("s", pictures=[picture])]).markdown()
    (caption,) = re.findall(r"!\[([^\]]*)\]\(data:image/jpeg;base64,[^)\s]+\)\n", markdown)
    assert caption == "(2019) a)(b .mp4"


def test_pictures_in_the_page_decode() -> None:
    (uri,) = re.findall(r"data:image/jpeg;base64,([A-Za-z0-9+/=]+)", report().html())
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(uri), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape == (40, 60, 3)


def test_jpeg_keeps_colours_and_shrinks_what_is_wide() -> None:
    red = grey(100, 400, 0)
    red[..., 0] = 250
    decoded = cv2.imdecode(np.frombuffer(jpeg(red, max_width_px=200).data, np.uint8), 1)
    assert decoded.shape == (50, 200, 3)
    assert decoded[..., 2].mean() > 240
    assert decoded[..., 0].mean() < 10


def test_strips_and_stacks() -> None:
    row = strip([grey(50, 100), grey(200, 100)], 100)
    assert row.shape == (100, 250, 3)
    both = stack([row, grey(100, 300, 255)])
    assert both.shape == (200, 300, 3)
    assert both[:100, 250:].max() == 0


@pytest.mark.parametrize(
    ("count", "at_most", "wanted"),
    [(1, 6, [0]), (3, 6, [0, 1, 2]), (10, 3, [0, 4, 9]), (472, 2, [0, 471]), (5, 1, [0])],
)
def test_spread_takes_in_the_ends(count: int, at_most: int, wanted: list[int]) -> None:
    assert spread(count, at_most) == wanted


def test_points_are_drawn_into_a_copy() -> None:
    image = grey(20, 20)
    drawn = with_points(image, np.array([[5.0, 6.0], [500.0, 500.0]]))
    assert (image == 128).all()
    assert (drawn[6, 5] != 128).any()


def test_plots_are_pictures_with_their_labels() -> None:
    line = curves({"loss": ([1, 2], [0.5, 0.25])}, "loss", marks={"phase 2": 1.5})
    cloud = scatter({"film": ([0.0], [1.0])}, "poses", x_label="yaw", y_label="pitch")
    for picture in (line, cloud):
        assert picture.media_type == "image/svg+xml"
        assert ElementTree.fromstring(picture.data).tag.endswith("svg")


def coverage_plots() -> list[Picture]:
    values = np.random.default_rng(0).normal(size=200)
    gaps = np.where(values > 1, np.nan, values)
    panel = Histogram("width, px", {"ok": gaps, "none": values[:0]}, {"ok": "red", "none": "blue"})
    limited = Histogram("width, px", {"ok": values[:0]}, {"ok": "red"}, {"at least 3": 3.0})
    return [
        share_bars({"films": {"ok": 3, "odd": 1}, "clips": {"ok": 1}}, {"ok": "green"}, "shares"),
        histograms([panel, limited], "widths"),
        histograms([panel], "widths", logarithmic=True),
        joint_histogram(
            values, values, "poses", labels=("yaw", "pitch"), half_ranges=(4, 4), cell=1
        ),
        percentile_bars(values.reshape(50, 4), "values", x_label="column", y_label="value"),
    ]


def test_coverage_is_plotted_also_of_unknown_and_of_no_values() -> None:
    for picture in coverage_plots():
        assert ElementTree.fromstring(picture.data).tag.endswith("svg")


def test_the_same_plot_has_the_same_bytes() -> None:
    assert coverage_plots() == coverage_plots()


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(1, 3, "33.3 %"), (0, 5, "0.0 %"), (1, 5000, "< 0.1 %"), (5, 5, "100.0 %")],
)
def test_a_small_share_is_told_from_none(part: int, whole: int, said: str) -> None:
    assert percent(part, whole) == said
