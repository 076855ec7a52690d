import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.evaluation.protocol import (
    ClipFrames,
    Pair,
    ProtocolConfig,
    cross_identity_pairs,
    driving_frames,
    off_axis_rad,
    pairs_as_plain,
    pairs_from_plain,
    same_identity_pairs,
    source_frame,
)
from model.geometry.camera import label_eg3d_orig, label_exact


def labels(pitch_yaw_deg, roll_deg=0.0):
    """Exact camera labels of heads turned so far."""
    angles_T3 = np.deg2rad([[pitch, yaw, roll_deg] for pitch, yaw in pitch_yaw_deg])
    count = len(angles_T3)
    return label_exact(
        angles_T3,
        np.zeros((count, 3)),
        origin_px=np.full((count, 2), 128.0),
        scale_px=np.full(count, 100.0),
        box_centre_px=np.full((count, 2), 130.0),
        box_side_px=np.full(count, 233.0),
    )


def clip(clip_id="a", frames=20, sources=None, driving=None, angles=None):
    camera_T25 = labels(angles or [(0, 0)] * frames)
    every = np.ones(len(camera_T25), bool)
    return ClipFrames(
        clip_id,
        camera_T25,
        every if sources is None else np.isin(np.arange(frames), sources),
        every if driving is None else np.isin(np.arange(frames), driving),
    )


@given(
    st.lists(st.tuples(st.floats(-60, 60), st.floats(-60, 60)), min_size=1, max_size=5),
    st.floats(-30, 30),
)
def test_how_far_a_head_is_turned_is_read_off_its_camera(turned, roll_deg):
    found = np.rad2deg(off_axis_rad(labels(turned, roll_deg)))
    assert found == pytest.approx([max(abs(pitch), abs(yaw)) for pitch, yaw in turned], abs=1e-6)


def test_eg3d_cameras_say_it_too():
    angles = np.deg2rad([[0.0, 20.0, 5.0]])
    label = label_eg3d_orig(angles, np.zeros((1, 3)))
    assert np.rad2deg(off_axis_rad(label)) == pytest.approx([20], abs=1e-6)


def test_the_source_is_the_first_frontal_frame():
    turned = [(30, 0), (0, -9), (0, 0), (5, 5)]
    limit = np.deg2rad(10)
    assert source_frame(clip(frames=4, angles=turned), limit) == 1
    assert source_frame(clip(frames=4, angles=turned, sources=[0, 2, 3]), limit) == 2
    assert source_frame(clip(frames=4, angles=turned, sources=[0]), limit) == 0  # most frontal
    assert source_frame(clip(frames=4, angles=turned, sources=[]), limit) is None


def test_all_frames_but_the_source_drive_where_they_are_few():
    config = ProtocolConfig(frames_per_clip=10)
    assert driving_frames(clip(frames=6), 2, config) == (0, 1, 3, 4, 5)


@given(
    frames=st.integers(1, 120),
    most=st.integers(1, 40),
    stretch=st.integers(1, 12),
    usable=st.randoms(use_true_random=False),
)
def test_driving_frames_are_usable_ones_in_order(frames, most, stretch, usable):
    driving = [frame for frame in range(frames) if usable.random() < 0.8]
    config = ProtocolConfig(frames_per_clip=most, stretch_frames=stretch)
    found = driving_frames(clip(frames=frames, driving=driving), 0, config)
    allowed = [frame for frame in driving if frame != 0]
    assert len(found) <= most
    assert list(found) == sorted(set(found))
    assert set(found) <= set(allowed)
    if len(allowed) > most:
        assert len(found) > most - min(stretch, most)  # whole stretches fill the room
        places = [allowed.index(frame) for frame in found]
        length = min(stretch, most)
        for start in range(0, len(places), length):  # neighbours among the usable frames
            part = places[start : start + length]
            assert part == list(range(part[0], part[0] + length))
    else:
        assert list(found) == allowed


def test_held_out_frames_drive_a_source_that_was_trained_on():
    held_out = clip(frames=10, sources=[0, 1, 2, 3], driving=[7, 8, 9])
    (pair,) = same_identity_pairs([held_out], ProtocolConfig())
    assert pair == Pair("same", "a", 0, "a", (7, 8, 9))


def test_a_clip_without_source_or_driver_gives_no_pair():
    clips = [clip("a", driving=[]), clip("b", sources=[]), clip("c", frames=1), clip("d")]
    pairs = same_identity_pairs(clips, ProtocolConfig())
    assert [pair.driving_clip for pair in pairs] == ["d"]


@settings(deadline=None)
@given(
    persons=st.lists(st.sampled_from("abcdef"), min_size=1, max_size=24), seed=st.integers(0, 99)
)
def test_nobody_drives_a_picture_of_themselves(persons, seed):
    clips = [clip(f"clip{n}", frames=3) for n in range(len(persons))]
    person_of = {one.clip_id: person for one, person in zip(clips, persons, strict=True)}
    config = ProtocolConfig(seed=seed)
    same = same_identity_pairs(clips, config)
    cross = cross_identity_pairs(same, person_of, config)
    assert cross == cross_identity_pairs(same, person_of, config)
    if len(set(persons)) == 1:
        assert cross == []
        return
    assert [pair.driving_clip for pair in cross] == [one.clip_id for one in clips]
    assert all(person_of[pair.driving_clip] != person_of[pair.source_clip] for pair in cross)
    own = {pair.driving_clip: pair for pair in same}
    for pair in cross:
        assert pair.driving_frames == own[pair.driving_clip].driving_frames
        assert pair.source_frame == own[pair.source_clip].source_frame
    if 2 * max(Counter(persons).values()) <= len(persons):
        assert len({pair.source_clip for pair in cross}) == len(clips)  # a permutation


def test_the_seed_draws_the_permutation():
    clips = [clip(f"clip{n}", frames=2) for n in range(12)]
    person_of = {one.clip_id: f"the person of {one.clip_id}" for one in clips}
    same = same_identity_pairs(clips, ProtocolConfig())
    drawn = {
        tuple(p.source_clip for p in cross_identity_pairs(same, person_of, ProtocolConfig(seed=s)))
        for s in range(5)
    }
    assert len(drawn) == 5


def test_pairs_come_back_from_json():
    pairs = [Pair("same", "a", 3, "a", (4, 5)), Pair("cross", "b", 0, "a", (4, 5))]
    assert pairs_from_plain(json.loads(json.dumps(pairs_as_plain(pairs)))) == pairs
    with pytest.raises(ValueError, match="no list of pairs"):
        pairs_from_plain([{"protocol": "same"}])


@pytest.mark.parametrize("field", ["frames_per_clip", "stretch_frames"])
def test_a_protocol_of_no_frames_is_refused(field):
    with pytest.raises(ValueError, match=f"{field} is 0; allowed is 1 or more"):
        ProtocolConfig(**{field: 0})
