import itertools

import numpy as np
import pytest

from preprocess.landmarks.backend import FaceObservation
from preprocess.outcomes import FrameOutcome
from preprocess.tracks import SpanReason, Tick, TrackConfig, cut_spans, follow_person

OK = FrameOutcome.OK
PICTURE = np.zeros((200, 300, 3), np.uint8)


def _face(x=100.0, y=100.0, side=100.0, score=1.0):
    box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2])
    return FaceObservation(box, np.zeros((5, 2)), np.zeros((68, 2)), None, score)


class Script:
    """Backend that plays back, per frame, what detection and tracking give."""

    name = "script"

    def __init__(self, detected, tracked):
        self.detected, self.tracked = detected, tracked
        self.frame = -1
        self.calls = []

    def play(self, count, damaged=()):
        for self.frame in range(count):
            yield None if self.frame in damaged else PICTURE

    def identity(self):
        return {"backend": self.name}

    def detect(self, rgb):
        self.calls.append((self.frame, "detect"))
        return self.detected[self.frame]

    def track(self, rgb, previous):
        self.calls.append((self.frame, "track"))
        return self.tracked[self.frame]

    def close(self):
        pass


def _run(backend, count, **config):
    return list(follow_person(backend.play(count), backend, TrackConfig(**config)))


def test_the_largest_face_is_followed_and_sought_again_when_lost():
    small, large, again = _face(side=40), _face(side=90), _face(side=70)
    backend = Script(
        detected=[[], [small, large], None, [], [again]], tracked=[None, None, large, None, None]
    )
    ticks = _run(backend, 5)
    assert [tick.index for tick in ticks] == [0, 1, 2, 3, 4]
    assert [tick.outcome for tick in ticks] == ["no_face", "ok", "ok", "no_face", "ok"]
    assert [tick.face for tick in ticks] == [None, large, large, None, again]
    assert backend.calls == [
        (0, "detect"),
        (1, "detect"),
        (2, "track"),
        (3, "track"),
        (3, "detect"),
        (4, "detect"),
    ]


@pytest.mark.parametrize(
    ("face", "outcome"),
    [
        (_face(score=0.2), "low_confidence"),
        (_face(x=-20.0), "out_of_range"),
        (_face(y=230.0), "out_of_range"),
        (_face(x=20.0), "ok"),
    ],
)
def test_a_face_that_cannot_be_used_is_an_outcome(face, outcome):
    ticks = _run(Script([[face]], [None]), 1)
    assert ticks[0].outcome == outcome
    assert (ticks[0].face is face) == (outcome == "ok")


def test_a_damaged_frame_is_counted_and_tracking_goes_on():
    backend = Script([[_face()], None, None], [None, None, _face()])
    ticks = list(follow_person(backend.play(3, damaged=[1]), backend, TrackConfig()))
    assert [tick.outcome for tick in ticks] == ["ok", "decode_error", "ok"]
    assert backend.calls == [(0, "detect"), (2, "track")]


def test_frames_are_taken_one_by_one_and_progress_is_told():
    backend = Script([[_face()]] * 10**6, [_face()] * 10**6)
    done = []
    endless = follow_person(backend.play(10**6), backend, TrackConfig(), done.append)
    first = list(itertools.islice(endless, 3))
    assert len(first) == 3
    assert backend.frame == 2
    next(endless)
    assert done == [1, 2, 3]


# spans


def _ticks(faces):
    return [
        Tick(index, OK if face else FrameOutcome.NO_FACE, face) for index, face in enumerate(faces)
    ]


def _spans(faces, **config):
    chosen = {"min_frames": 3, "max_gap_ticks": 2, "min_face_px": 50} | config
    found = list(cut_spans(_ticks(faces), TrackConfig(**chosen)))
    return [(span.first_tick, span.last_tick, str(span.reason)) for span in found]


HERE, THERE, SMALL = _face(x=100), _face(x=220), _face(side=30)


@pytest.mark.parametrize(
    ("faces", "spans"),
    [
        ([], []),
        ([None] * 9, []),
        ([HERE] * 4, [(0, 3, "")]),
        ([None, HERE, HERE, HERE, None], [(1, 3, "")]),
        ([HERE, HERE, None, None, HERE, HERE], [(0, 5, "")]),
        ([HERE] * 3 + [None] * 3 + [HERE] * 3, [(0, 2, ""), (6, 8, "")]),
        ([HERE] * 3 + [THERE] * 4, [(0, 2, ""), (3, 6, "")]),
        ([HERE] * 3 + [None, None] + [THERE] * 3, [(0, 2, ""), (5, 7, "")]),
        ([HERE] * 2, [(0, 1, "too_short")]),
        ([HERE, None, HERE], [(0, 2, "too_short")]),
        ([SMALL] * 5, [(0, 4, "face_too_small")]),
        ([SMALL] * 2, [(0, 1, "too_short")]),
    ],
)
def test_where_spans_are_cut(faces, spans):
    assert _spans(faces) == spans


def test_spans_are_bounded():
    assert _spans([HERE] * 25, max_frames=10) == [(0, 9, ""), (10, 19, ""), (20, 24, "")]


def test_a_slow_walk_through_the_frame_is_one_span():
    assert _spans([_face(x=50.0 + 5 * step) for step in range(40)]) == [(0, 39, "")]


def test_spans_come_out_as_soon_as_they_end():
    given = iter(_ticks([HERE] * 4 + [None] * 3 + [HERE] * 99))
    first = next(cut_spans(given, TrackConfig(min_frames=3, max_gap_ticks=2)))
    assert first.last_tick == 3
    assert next(given).index == 7


def test_a_span_knows_its_faces():
    span = next(cut_spans(_ticks([HERE, None, HERE]), TrackConfig(min_frames=1)))
    assert span.reason is SpanReason.FACE_TOO_SMALL
    assert not span.ok
    assert [index for index, _ in span.faces] == [0, 2]
    assert len(span.ticks) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_score": -0.1},
        {"max_gap_ticks": -1},
        {"min_frames": 0},
        {"max_frames": 10},
        {"min_face_px": -5},
    ],
)
def test_config_says_which_field_is_wrong(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        TrackConfig(**wrong)
