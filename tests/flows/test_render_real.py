"""Films of real persons, dubbed: what is delivered is the film but for the face of the one meant.

The network is tiny and all but untrained: whatever it draws, nothing outside the face may change.
Where the pasted face lies is measured with each film's own faces in place of drawn ones.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from small_dataset import cut, decode

from flows.server import PrefectServer
from pipeline.faces.backends import FROM_PYPI, OpenNetworks, open_networks
from pipeline.faces.largest_face import largest_face
from preprocess.boxes import longer_side
from preprocess.landmarks.backend import Points
from preprocess.media.verify import verify_delivery
from tests.flows.consents import agree
from tests.flows.real_films import (
    Face,
    Frames,
    encoded,
    film_shot,
    job_of,
    level_errors,
    planned,
    psnr,
    render,
    show_own_crops,
    sound_of,
    unrendered,
)

STRANGERS = {
    "liveportrait_d12": 2.0,
    "sadtalker_WDA_AlexandriaOcasioCortez_000": 1.0,
    "tpsmm_driving": 1.0,
}
"""Further clips, where there are any, and where to cut a second out of them."""
PACKET = 1152
"""Most samples of a packet of sound, which is the least that can be left away."""
NEAR_PX = 8
"""As far as a block of the codec carries a change over the edge of the face."""
NOSE_BRIDGE = slice(27, 31)
NOSE_RIDGE = slice(28, 31)
"""The same without its root, which frowns move."""
BROWS = slice(17, 27)
FOREHEAD = (103, 67, 109, 10, 338, 297, 332)
"""The edge of the mesh from temple to temple."""


@pytest.fixture(autouse=True)
def _server(prefect_api: PrefectServer) -> None:
    pass


@pytest.fixture(scope="module")
def networks(landmarker_task: Path) -> Iterator[OpenNetworks]:
    """The finder of faces, and MediaPipe's mesh."""
    with contextlib.closing(open_networks(FROM_PYPI)) as opened:
        yield opened


@dataclass(frozen=True)
class Dub:
    """A shot of a whole film, what was delivered for it, and the film merely encoded anew."""

    shot: dict[str, Any]
    film: Path
    delivered: Path
    row: dict[str, Any]
    again: Path
    face: Face

    def pictures(self) -> tuple[list[Frames], list[Frames], list[Frames]]:
        """Return the pictures of the film, of what was delivered, of the film encoded anew."""
        return decode(self.film), decode(self.delivered), decode(self.again)


def dubs_of(store: Path, shots: dict[str, tuple[Path, Path]], folder: Path) -> dict[str, Dub]:
    """Dub films, each by its own performance, with the consent that has the shot's name."""
    named = {name: film_shot(name, *films, consent=name) for name, films in shots.items()}
    job = job_of("dubs", *named.values())
    rows, faces = render(store, job), planned(store, job, folder / "planned")
    return {
        name: Dub(
            shot=named[name],
            film=shots[name][0],
            delivered=store / str(row["key"]),
            row=row,
            again=encoded(shots[name][0], folder / f"{name}.mp4"),
            face=faces[name],
        )
        for name, row in rows.items()
    }


@pytest.fixture(scope="module")
def demo_dubs(
    store: Path, short_man: Path, short_woman: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Dub]:
    """The man with the woman's expressions, and the woman with his."""
    shots = {"man": (short_man, short_woman), "woman": (short_woman, short_man)}
    return dubs_of(store, shots, tmp_path_factory.mktemp("demo-dubs"))


def strangers_in(shared_data: Path, folder: Path) -> dict[str, Path]:
    """A second of each of some further clips."""
    cuts = {}
    for clip, start_s in STRANGERS.items():
        film, name = shared_data / "videos" / f"{clip}.mp4", clip.split("_")[0]
        if not film.is_file():
            pytest.skip(f"the folder of further test clips has no {film.name}")
        cuts[name] = cut(film, folder / f"{name}.mp4", start_s, 1.0)
    return cuts


@pytest.fixture(scope="module")
def stranger_dubs(
    store: Path, short_woman: Path, shared_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Dub]:
    """Further persons with the woman's expressions."""
    films = strangers_in(shared_data, tmp_path_factory.mktemp("strangers"))
    for name, film in films.items():
        agree(store, name, film)
    shots = {name: (film, short_woman) for name, film in films.items()}
    return dubs_of(store, shots, tmp_path_factory.mktemp("stranger-dubs"))


@pytest.fixture(params=["demo_dubs", "stranger_dubs"])
def dubs(request: pytest.FixtureRequest) -> dict[str, Dub]:
    found: dict[str, Dub] = request.getfixturevalue(request.param)
    return found


def form_of(film: Path) -> dict[str, Any]:
    """What a player goes by, read by PyAV alone; times count from the first picture."""
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        stamps = [
            (frame.pts * frame.time_base, frame.is_corrupt) for frame in container.decode(stream)
        ]
        context = stream.codec_context
        return {
            "times_s": [float(at_s - stamps[0][0]) for at_s, _ in stamps],
            "corrupt": sum(corrupt for _, corrupt in stamps),
            "rate": stream.average_rate,
            "size": (stream.width, stream.height, context.sample_aspect_ratio or 1),
            "colour": (context.color_primaries, context.color_trc, context.colorspace),
            # A range that is not told is the limited one.
            "range": context.color_range or 1,
        }


def test_what_is_delivered_plays_as_the_film_does(dubs: dict[str, Dub]) -> None:
    for name, dub in dubs.items():
        assert dub.row["outcome"] == "ok", (name, dub.row)
        assert verify_delivery(dub.film, dub.delivered, audio_expected=True) == (), name
        film, delivered = form_of(dub.film), form_of(dub.delivered)
        assert delivered.pop("times_s") == pytest.approx(film.pop("times_s"), abs=1e-4), name
        assert delivered == film, name
        assert delivered["corrupt"] == 0
        counted = [dub.row[f"frames_{what}"] for what in ("total", "rendered", "kept")]
        frames = len(decode(dub.film))
        assert counted == [frames, int(dub.face.plan.render_F.sum()), frames - counted[1]], name
        assert counted[1] > 0.9 * frames, name


def test_the_sound_is_the_films_sample_for_sample(dubs: dict[str, Dub]) -> None:
    for name, dub in dubs.items():
        (rate_hz, given_N), (delivered_hz, heard_N) = sound_of(dub.film), sound_of(dub.delivered)
        assert delivered_hz == rate_hz
        # Sound that goes on after the last picture may end with it.
        pictures_N = len(decode(dub.film)) / float(form_of(dub.film)["rate"]) * rate_hz
        assert min(len(given_N), pictures_N) - PACKET <= len(heard_N) <= len(given_N), name
        assert np.array_equal(heard_N, given_N[: len(heard_N)]), name


def test_outside_the_face_the_pictures_differ_by_encoding_alone(dubs: dict[str, Dub]) -> None:
    for name, dub in dubs.items():
        changed, untouched, face = [], [], []
        for f, (film, delivered, again) in enumerate(zip(*dub.pictures(), strict=True)):
            weight_HW = dub.face.weight(f)
            near_HW = cv2.dilate(weight_HW, np.ones((2 * NEAR_PX + 1,) * 2, np.uint8))
            changed.append(level_errors(delivered, film)[near_HW == 0])
            untouched.append(level_errors(again, film)[near_HW == 0])
            face.append(level_errors(delivered, film)[weight_HW == 1])
            assert np.mean(near_HW == 0) > 0.4, name
        outside, encoding = np.concatenate(changed), np.concatenate(untouched)
        assert psnr(outside) >= psnr(encoding) - 1, name
        assert np.quantile(outside, 0.999) <= np.quantile(encoding, 0.999) + 2, name
        assert psnr(np.concatenate(face)) < 30, name


def test_the_face_is_put_where_it_was(
    store: Path, dubs: dict[str, Dub], networks: OpenNetworks, tmp_path: Path
) -> None:
    copy = unrendered(store, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        show_own_crops(patch)
        rows = render(copy, job_of("own", *(dub.shot for dub in dubs.values())))
    for name, dub in dubs.items():
        assert rows[name]["frames_rendered"] == dub.row["frames_rendered"], rows[name]
        before, after = decode(dub.film), decode(copy / str(rows[name]["key"]))
        weights = [dub.face.weight(f) for f in range(len(before))]
        errors = map(level_errors, after, before)
        inside = [error[w > 0] for error, w in zip(errors, weights, strict=True)]
        moved = [
            np.linalg.norm(landmarks(after[f], networks) - landmarks(before[f], networks), axis=1)
            / face_px(before[f], networks)
            for f in range(0, len(before), 6)
        ]
        assert np.max(moved) < 0.02, name
        assert psnr(np.concatenate(inside)) > 30, name


def test_cameras_see_the_nose_where_the_film_shows_it(dubs: dict[str, Dub]) -> None:
    for name, dub in dubs.items():
        assert np.max(ridge_errors(dub.face)) < 0.02, name


def ridge_errors(face: Face) -> NDArray[np.float64]:
    """How far [3,F] a fixed point of the head, seen by each frame's camera, is from a landmark.

    In sizes of the face. The fixed point is the one that fits the landmark best over the shot.
    """
    rows, size_px = face.plan.actor.at(np.flatnonzero(face.plan.render_F)), face.crops.size_px
    labels_F25 = rows.camera_N25.astype(np.float64)
    from_world_F34 = np.linalg.inv(labels_F25[:, :16].reshape(-1, 4, 4))[:, :3]
    projection_F34 = labels_F25[:, 16:].reshape(-1, 3, 3) @ from_world_F34
    film_px_F = np.ptp(rows.landmarks_NK2, axis=1).max(axis=1)
    errors = []
    for points_F2 in np.moveaxis(rows.landmarks_NK2[:, NOSE_RIDGE].astype(np.float64), 1, 0):
        points_F3 = np.c_[points_F2, np.ones(len(rows))]
        seen_F2 = np.einsum("fij,fj->fi", rows.affine_N33[:, :2], points_F3) / size_px
        # Two equations a frame that are linear in the point: projection is a ratio of two of them.
        linear_X4 = np.concatenate(
            [projection_F34[:, axis] - seen_F2[:, [axis]] * projection_F34[:, 2] for axis in (0, 1)]
        )
        point_3 = np.linalg.lstsq(linear_X4[:, :3], -linear_X4[:, 3], rcond=None)[0]
        projected_F3 = projection_F34 @ np.append(point_3, 1)
        apart_F2 = projected_F3[:, :2] / projected_F3[:, 2:] - seen_F2
        film_px = np.linalg.norm(apart_F2, axis=1) * size_px / rows.affine_N33[:, 0, 0]
        errors.append(film_px / film_px_F)
    return np.array(errors)


def face_px(frame: Frames, networks: OpenNetworks) -> float:
    """The longer side of the only face."""
    face = largest_face(frame, networks)
    assert face is not None
    return float(longer_side(face.box_xyxy_px))


def landmarks(frame: Frames, networks: OpenNetworks) -> Points:
    """Points [21,2] of the only face on what a mouth does not move: nose, brows, forehead."""
    face = largest_face(frame, networks)
    assert face is not None
    assert face.landmarks68_px is not None
    assert face.mesh_px is not None
    mesh_V2 = face.mesh_px[:, :2]
    still_22 = [face.landmarks68_px[NOSE_BRIDGE], face.landmarks68_px[BROWS]]
    return np.concatenate([*still_22, mesh_V2[list(FOREHEAD)]])
