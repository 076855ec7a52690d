"""Following faces through a scripted world: who is where is known, so is every right answer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.boxes import box_iou
from preprocess.landmarks.backend import Detection, FaceObservation
from preprocess.people.follow import FollowConfig, Follower, Tick

PICTURE = np.zeros((400, 600, 3), np.uint8)


@dataclass(frozen=True)
class Actor:
    """A face at a place; `who` decides its embedding."""

    who: int
    x: float
    y: float = 200.0
    side: float = 100.0
    score: float = 1.0

    @property
    def box(self) -> np.ndarray:
        half = self.side / 2
        return np.array([self.x - half, self.y - half, self.x + half, self.y + half])


@dataclass
class World:
    """Detector, landmark backend and embedder at once; sees the faces of the frame at hand."""

    frames: Sequence[Sequence[Actor]]
    blind: frozenset[int] = frozenset()
    """Frames in which the landmarks lose their face."""
    least_px: float = 0
    """Smaller faces are not detected."""
    now: int = -1
    calls: list[tuple[int, str]] = field(default_factory=list)
    name: str = "world"

    def play(self) -> Iterator[np.ndarray]:
        for now in range(len(self.frames)):
            self.now = now
            yield PICTURE

    def identity(self) -> dict[str, str]:
        return {}

    def close(self) -> None:
        pass

    def find(self, rgb: np.ndarray) -> list[Detection]:
        self.calls.append((self.now, "find"))
        found = [actor for actor in self.frames[self.now] if actor.side >= self.least_px]
        return [Detection(actor.box, actor.box.reshape(2, 2), 1.0) for actor in found]

    def observe(self, rgb: np.ndarray, found: Detection) -> FaceObservation:
        (actor,) = [a for a in self.frames[self.now] if (a.box == found.box_xyxy_px).all()]
        return _seen(actor)

    def track(self, rgb: np.ndarray, previous: FaceObservation) -> FaceObservation | None:
        if self.now in self.blind:
            return None
        ious = [float(box_iou(previous.box_xyxy_px, a.box)) for a in self.frames[self.now]]
        if not ious or max(ious) == 0:
            return None
        return _seen(self.frames[self.now][int(np.argmax(ious))])

    def embed(self, rgb: np.ndarray, points5_px: np.ndarray) -> np.ndarray:
        self.calls.append((self.now, "embed"))
        who = int(points5_px[0, 0])
        return np.eye(8)[who]


def _seen(actor: Actor) -> FaceObservation:
    points = np.full((5, 2), float(actor.who))  # carries who it is to embed()
    return FaceObservation(actor.box, points, np.zeros((68, 2)), None, actor.score)


def follow(
    world: World, shots: Sequence[int] | None = None, *, embed: bool = True, **config: float
) -> tuple[list[Tick], Follower]:
    follower = Follower([world], world, world if embed else None, FollowConfig(**config))  # type: ignore[arg-type]
    ticks = list(follower.follow(world.play(), shots or [0] * len(world.frames)))
    return ticks, follower


def tracks(ticks: Sequence[Tick]) -> list[list[int | None]]:
    return [[sighting.track for sighting in tick.sightings] for tick in ticks]


def test_one_face_is_one_track_and_detection_is_rare() -> None:
    world = World([[Actor(0, 200 + 3 * t)] for t in range(20)])
    ticks, follower = follow(world, detect_every_ticks=8)
    assert tracks(ticks) == [[0]] * 20
    assert [tick.outcome for tick in ticks] == ["ok"] * 20
    assert [frame for frame, what in world.calls if what == "find"] == [0, 8, 16]
    (track,) = follower.tracks
    assert (track.first_tick, track.last_tick, track.frames) == (0, 19, 20)
    np.testing.assert_allclose(track.embedding_D, np.eye(8)[0])


def test_two_faces_are_two_tracks_and_a_third_is_found_at_the_next_search() -> None:
    pair = [Actor(0, 100), Actor(1, 300)]
    world = World([pair] * 3 + [[*pair, Actor(2, 500)]] * 13)
    ticks, _ = follow(world, detect_every_ticks=8)
    assert tracks(ticks) == [[0, 1]] * 8 + [[0, 1, 2]] * 8


def test_a_cut_ends_every_track() -> None:
    world = World([[Actor(0, 200)]] * 10)
    ticks, follower = follow(world, [0] * 4 + [1] * 6)
    assert tracks(ticks) == [[0]] * 4 + [[1]] * 6
    assert [track.shot for track in follower.tracks] == [0, 1]


def test_a_face_that_jumps_is_another_track_without_a_search_interval() -> None:
    world = World([[Actor(0, 100)]] * 3 + [[Actor(0, 400)]] * 3)
    ticks, _ = follow(world)
    assert tracks(ticks) == [[0]] * 3 + [[1]] * 3


def test_another_person_at_the_same_place_is_another_track() -> None:
    frames = [[Actor(0, 200)]] * 5 + [[Actor(1, 230)]] * 5  # IoU 0.54: suspicious
    assert tracks(follow(World(frames))[0]) == [[0]] * 5 + [[1]] * 5
    assert tracks(follow(World(frames), embed=False)[0]) == [[0]] * 10


def test_a_slow_change_of_person_is_noticed_at_the_next_embedding() -> None:
    frames = [[Actor(0, 200)]] * 5 + [[Actor(1, 200)]] * 15
    ticks, _ = follow(World(frames), embed_every_ticks=10)
    assert tracks(ticks) == [[0]] * 10 + [[1]] * 10


@pytest.mark.parametrize(("gap", "expected"), [(5, 0), (6, 1)])
def test_a_face_gone_for_a_moment_goes_on(gap: int, expected: int) -> None:
    frames = [[Actor(0, 200)]] * 3 + [[]] * gap + [[Actor(0, 210)]] * 3
    ticks, _ = follow(World(frames), max_gap_ticks=5)
    assert tracks(ticks) == [[0]] * 3 + [[None]] * gap + [[expected]] * 3
    assert [tick.outcome for tick in ticks[3 : 3 + gap]] == ["no_face"] * gap


def test_lost_landmarks_are_found_again_by_the_detector_in_the_same_frame() -> None:
    world = World([[Actor(0, 200)]] * 10, blind=frozenset({4}))
    assert tracks(follow(world)[0]) == [[0]] * 10
    assert (4, "find") in world.calls


@pytest.mark.parametrize(
    ("actor", "outcome"),
    [
        (Actor(0, 200, score=0.2), "low_confidence"),
        (Actor(0, -20), "out_of_range"),
        (Actor(0, 200, y=430), "out_of_range"),
        (Actor(0, 200, side=30), "out_of_range"),
        (Actor(0, 20), "ok"),
    ],
)
def test_a_face_that_cannot_be_used_is_an_outcome(actor: Actor, outcome: str) -> None:
    (tick,), _ = follow(World([[actor]]))
    assert tick.outcome == outcome
    assert (tick.sightings[0].track is not None) == (outcome == "ok")


def test_beside_a_face_that_can_be_used_others_do_not_count() -> None:
    ticks, _ = follow(World([[Actor(0, 200), Actor(1, 400, score=0.1)]]))
    assert [[s.outcome for s in tick.sightings] for tick in ticks] == [["ok"]]


def test_of_a_crowd_the_largest_are_followed() -> None:
    crowd = [Actor(n, 60 + 100 * n, side=50 + 5 * n) for n in range(5)]
    _, follower = follow(World([crowd]), max_faces=2)
    assert sorted(track.face.box_xyxy_px[0] for track in follower.tracks) == [
        crowd[3].box[0],
        crowd[4].box[0],
    ]


def test_further_detectors_look_only_at_intervals() -> None:
    frames = [[Actor(0, 100, side=60)]] * 20
    near, far = World(frames, least_px=80), World(frames)
    follower = Follower([near, far], far, None, FollowConfig(detect_every_ticks=8))
    for _ in follower.follow(zip_play(near, far), [0] * 20):
        pass
    assert [frame for frame, _ in far.calls] == [0, 8, 16]
    assert len(follower.tracks) == 1


def zip_play(*worlds: World) -> Iterator[np.ndarray]:
    for pictures in zip(*(world.play() for world in worlds), strict=True):
        yield pictures[0]


def test_frames_are_taken_one_by_one_and_progress_is_told() -> None:
    world, done = World([[Actor(0, 200)]] * 10), []
    ticks = Follower([world], world, None, FollowConfig()).follow(
        world.play(), [0] * 10, done.append
    )
    next(ticks)
    next(ticks)
    assert world.now == 1
    assert done == [1]


@given(st.data())
def test_whatever_happens_no_track_mixes_persons_and_no_frame_is_lost(data: st.DataObject) -> None:
    """Faces come, go, walk and change places at random."""
    places = [100.0, 250.0, 400.0, 550.0]
    frames = []
    for _ in range(data.draw(st.integers(1, 30))):
        people = data.draw(st.permutations(range(4)))
        visible = data.draw(st.integers(0, 4))
        frames.append(
            [Actor(who, x) for who, x in list(zip(people, places, strict=True))[:visible]]
        )
    shots = np.cumsum(
        data.draw(st.lists(st.booleans(), min_size=len(frames), max_size=len(frames)))
    )
    ticks, follower = follow(World(frames), shots.tolist(), embed_every_ticks=1)
    assert [tick.index for tick in ticks] == list(range(len(frames)))
    who_of: dict[int, set[int]] = {}
    for tick in ticks:
        seen = [s.track for s in tick.sightings if s.track is not None]
        assert len(seen) == len(set(seen)) <= len(frames[tick.index])
        for sighting in tick.sightings:
            if sighting.track is not None and sighting.face is not None:
                who_of.setdefault(sighting.track, set()).add(int(sighting.face.points5_px[0, 0]))
                assert follower.tracks[sighting.track].shot == shots[tick.index]
    assert all(len(who) == 1 for who in who_of.values())
    frames_of = [
        sum(s.track == t.number for tick in ticks for s in tick.sightings) for t in follower.tracks
    ]
    assert frames_of == [track.frames for track in follower.tracks]


@pytest.mark.parametrize(
    "wrong",
    [{"min_score": -0.1}, {"max_gap_ticks": -1}, {"detect_every_ticks": 0}, {"max_faces": 0}],
)
def test_config_says_which_field_is_wrong(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        FollowConfig(**wrong)  # type: ignore[arg-type]
