from collections.abc import Sequence

import numpy as np
import pytest

from preprocess.landmarks.backend import FaceObservation
from preprocess.outcomes import FrameOutcome
from preprocess.people.follow import Sighting, Tick
from preprocess.people.spans import SpanConfig, SpanReason, cut_spans


def _face(side: float) -> FaceObservation:
    box = np.array([100, 100, 100 + side, 100 + side])
    return FaceObservation(box, np.zeros((5, 2)), np.zeros((68, 2)), None, 1.0)


LARGE, SMALL = _face(100), _face(30)


def _ticks(frames: Sequence[dict[int, FaceObservation]]) -> list[Tick]:
    """Ticks from, per frame, the face of each track."""
    nothing = (Sighting(FrameOutcome.NO_FACE),)
    return [
        Tick(
            index,
            tuple(Sighting(FrameOutcome.OK, track, face) for track, face in faces.items())
            or nothing,
        )
        for index, faces in enumerate(frames)
    ]


def _spans(
    frames: Sequence[dict[int, FaceObservation]], **config: float
) -> list[tuple[int, int, int, str]]:
    chosen = {"min_frames": 3, "max_gap_ticks": 2, "min_face_px": 50} | config
    found = cut_spans(_ticks(frames), SpanConfig(**chosen))  # type: ignore[arg-type]
    return [(span.track, span.first_tick, span.last_tick, str(span.reason)) for span in found]


A, B, S, BOTH = {0: LARGE}, {1: LARGE}, {0: SMALL}, {0: LARGE, 1: LARGE}
NONE: dict[int, FaceObservation] = {}


@pytest.mark.parametrize(
    ("frames", "spans"),
    [
        ([], []),
        ([NONE] * 9, []),
        ([A] * 4, [(0, 0, 3, "")]),
        ([NONE, A, A, A, NONE], [(0, 1, 3, "")]),
        ([A, A, NONE, NONE, A, A], [(0, 0, 5, "")]),
        ([A] * 3 + [NONE] * 3 + [A] * 3, [(0, 0, 2, ""), (0, 6, 8, "")]),
        ([A] * 3 + [B] * 4, [(0, 0, 2, ""), (1, 3, 6, "")]),
        ([A] * 2 + [BOTH] * 3 + [B] * 4, [(0, 0, 4, ""), (1, 2, 8, "")]),
        ([A] * 2, [(0, 0, 1, "too_short")]),
        ([A, NONE, A], [(0, 0, 2, "too_short")]),
        ([S] * 5, [(0, 0, 4, "face_too_small")]),
        ([S] * 2, [(0, 0, 1, "too_short")]),
    ],
)
def test_where_spans_are_cut(
    frames: list[dict[int, FaceObservation]], spans: list[tuple[int, int, int, str]]
) -> None:
    assert _spans(frames) == spans


def test_spans_are_bounded() -> None:
    expected = [(0, 0, 9, ""), (0, 10, 19, ""), (0, 20, 24, "")]
    assert _spans([A] * 25, max_frames=10) == expected


def test_spans_come_out_as_soon_as_they_end() -> None:
    given = iter(_ticks([A] * 4 + [NONE] * 4 + [A] * 99))
    first = next(cut_spans(given, SpanConfig(min_frames=3, max_gap_ticks=2)))
    assert first.last_tick == 3
    assert next(given).index == 8


def test_a_span_knows_its_faces() -> None:
    span = next(cut_spans(_ticks([A, NONE, A]), SpanConfig(min_frames=1)))
    assert span.reason is SpanReason.FACE_TOO_SMALL
    assert not span.is_ok
    assert [index for index, _ in span.faces] == [0, 2]


@pytest.mark.parametrize(
    "wrong", [{"max_gap_ticks": -1}, {"min_frames": 0}, {"max_frames": 10}, {"min_face_px": -5}]
)
def test_config_says_which_field_is_wrong(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SpanConfig(**wrong)  # type: ignore[arg-type]
