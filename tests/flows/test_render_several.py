"""Jobs of several: two persons in a film, ranges of a film, its takes, and a matrix of portraits.

Where the pictures count, each film's own faces stand in for those that the tiny network draws.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from small_dataset import decode

from flows.server import PrefectServer
from model.inference.animator import AnimatedPortrait
from pipeline.home import e3d_home
from pipeline.provenance.mark_key import mark_key
from pipeline.stage import Work
from pipeline.stages.render_film import RenderFilm
from pipeline.stages.rendering import RenderConfig
from tests.flows.real_films import (
    encoded,
    film_shot,
    job_of,
    level_errors,
    nearest,
    planned,
    psnr,
    render,
    show_own_crops,
    sound_is_late_s,
    sound_of,
    still,
    with_sound,
    works_of,
)

FPS, AAC_PACKET_S = 30, 1024 / 44100
PAIR_FRAMES, TAKE_FRAMES = 24, 12
RANGES: dict[str, tuple[float, float | None]] = {
    "first": (0.0, 0.4),
    "middle": (0.4, 1.1),
    "last": (1.1, None),
}
"""Of the man's 45 frames: 12, 21 and 12."""


@pytest.fixture(autouse=True)
def _server(prefect_api: PrefectServer) -> None:
    pass


@pytest.fixture(scope="module")
def pair(short_man: Path, short_woman: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The man on the left and the woman on the right, at 30 fps, with his sound."""
    both = zip(decode(short_man), decode(short_woman), strict=False)
    frames = [np.hstack(two) for two in both][:PAIR_FRAMES]
    return with_sound(frames, short_man, tmp_path_factory.mktemp("pair") / "pair.mp4")


def test_of_two_persons_the_one_who_agreed_is_dubbed_and_the_other_left_alone(
    store: Path, pair: Path, short_man: Path, short_woman: Path, tmp_path: Path
) -> None:
    job = job_of(
        "pair",
        film_shot("man", pair, short_woman, "man"),
        film_shot("woman", pair, short_man, "woman"),
        film_shot("nobody", pair, short_woman, "astronaut"),
    )
    rows, faces = render(store, job), planned(store, job, tmp_path / "planned")
    film, again = (np.stack(decode(one)) for one in (pair, encoded(pair, tmp_path / "again.mp4")))
    middle = film.shape[2] // 2
    columns = {"man": slice(middle), "woman": slice(middle, None)}
    for name, other in (("man", "woman"), ("woman", "man")):
        assert rows[name]["outcome"] == "ok", rows[name]
        assert rows[name]["frames_rendered"] == PAIR_FRAMES
        weight_FHW = np.stack([faces[name].weight(f) for f in range(PAIR_FRAMES)])
        assert weight_FHW[:, :, columns[other]].max() == 0
        change_FHWC = level_errors(np.stack(decode(store / rows[name]["key"])), film)
        assert psnr(change_FHWC[weight_FHW == 1]) < 30
        untouched = change_FHWC[:, :, columns[other]]
        encoding = level_errors(again, film)[:, :, columns[other]]
        assert psnr(untouched) >= psnr(encoding) - 0.5
        assert untouched.max() <= encoding.max() + 8
    nobody = rows["nobody"]
    assert (nobody["outcome"], nobody["reason"]) == ("failed", "other_person")
    assert "none of the 2 persons" in nobody["detail"]
    assert (nobody["key"], nobody["frames_rendered"]) == (None, 0)


@pytest.fixture(scope="module")
def reel(short_man: Path, short_woman: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Takes of the man, the woman and the man again, joined hard, with his sound."""
    man, woman = decode(short_man), decode(short_woman)
    frames = man[:TAKE_FRAMES] + woman[:TAKE_FRAMES] + man[TAKE_FRAMES + 3 : 2 * TAKE_FRAMES + 3]
    return with_sound(frames, short_man, tmp_path_factory.mktemp("reel") / "reel.mp4")


Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def pieces(store: Path, short_man: Path, short_woman: Path, reel: Path) -> Rows:
    """Three ranges that make up the man's film, and a film of three takes, by shot."""
    ranges = [
        film_shot(shot, short_man, short_woman, "man", start_s=start_s, end_s=end_s)
        for shot, (start_s, end_s) in RANGES.items()
    ]
    takes = film_shot("reel", reel, short_woman, "man", cuts="auto")
    with pytest.MonkeyPatch.context() as patch:
        show_own_crops(patch)
        return render(store, job_of("pieces", *ranges, takes))


def test_ranges_are_cut_to_the_frame_with_their_sound(
    store: Path, pieces: Rows, short_man: Path
) -> None:
    film, at = decode(short_man), 0
    for shot, (start_s, _) in RANGES.items():
        assert pieces[shot]["outcome"] == "ok", pieces[shot]
        piece = store / str(pieces[shot]["key"])
        pictures = decode(piece)
        assert pieces[shot]["frames_total"] == len(pictures)
        assert at == round(start_s * FPS)
        wanted = list(range(at, at + len(pictures)))
        assert [nearest(picture, film) for picture in pictures] == wanted, shot
        assert abs(sound_is_late_s(piece, short_man, start_s)) <= 0.001, shot
        rate_hz, heard_N = sound_of(piece)
        late_s = len(heard_N) / rate_hz - len(pictures) / FPS
        assert 0 <= late_s <= AAC_PACKET_S, shot
        at += len(pictures)
    assert at == len(film)


def test_a_film_is_divided_at_its_cuts_and_takes_without_the_actor_stay_as_they_are(
    store: Path, pieces: Rows, reel: Path, tmp_path: Path
) -> None:
    takes = {shot: row for shot, row in pieces.items() if shot.startswith("reel")}
    assert list(takes) == ["reel-001", "reel-002", "reel-003"]
    assert [row["outcome"] for row in takes.values()] == ["ok"] * 3, takes
    for what, counts in (
        ("total", [TAKE_FRAMES] * 3),
        ("rendered", [TAKE_FRAMES, 0, TAKE_FRAMES]),
        ("kept", [0, TAKE_FRAMES, 0]),
    ):
        assert [row[f"frames_{what}"] for row in takes.values()] == counts, what
    film, again = decode(reel), decode(encoded(reel, tmp_path / "again.mp4"))
    delivered = [picture for row in takes.values() for picture in decode(store / str(row["key"]))]
    assert [nearest(picture, film) for picture in delivered] == list(range(len(film)))
    second = slice(TAKE_FRAMES, 2 * TAKE_FRAMES)
    kept, encoding = (
        np.stack(list(map(level_errors, pictures[second], film[second])))
        for pictures in (delivered, again)
    )
    assert psnr(kept) >= psnr(encoding) - 1.5
    for number, row in enumerate(takes.values()):
        start_s = number * TAKE_FRAMES / FPS
        assert abs(sound_is_late_s(store / str(row["key"]), reel, start_s)) <= 0.001


@pytest.fixture
def renderer() -> Iterator[RenderFilm]:
    stage = RenderFilm(RenderConfig(visible_mark=False, mark_key=mark_key(e3d_home()).name))
    stage.setup()
    yield stage
    stage.close()


def side_by_side(store: Path, short_man: Path, pair: Path, folder: Path) -> list[Work]:
    """Works for three ranges of the man's film and for a film of another size."""
    ranges = [
        film_shot(shot, short_man, short_man, "man", start_s=start_s, end_s=end_s)
        for shot, (start_s, end_s) in RANGES.items()
    ]
    works = works_of(
        store, job_of("side", *ranges, film_shot("pair", pair, short_man, "man")), folder
    )
    for work in works:
        work.folder.mkdir(parents=True)
    return works


def test_shots_in_work_side_by_side_give_the_same_files(
    store: Path, renderer: RenderFilm, short_man: Path, pair: Path, tmp_path: Path
) -> None:
    alone = [
        renderer.process([work])[0]
        for work in side_by_side(store, short_man, pair, tmp_path / "alone")
    ]
    together = renderer.process(side_by_side(store, short_man, pair, tmp_path / "together"))
    assert [result.outcome for result in together] == ["ok"] * 4
    for result, other in zip(together, alone, strict=True):
        assert result.counts == other.counts
        for name, file in result.files.items():
            assert file.read_bytes() == other.files[name].read_bytes(), (file, name)


def test_an_exception_in_one_shot_ends_those_beside_it_with_the_next_frame(
    store: Path, renderer: RenderFilm, short_man: Path, pair: Path, tmp_path: Path
) -> None:
    seen: list[int] = []

    def fail(done: int, _total: int) -> None:
        if done == 3:
            raise ValueError("no such luck")

    def slow(done: int, _total: int) -> None:
        seen.append(done)
        time.sleep(0.2)

    first, other, *_ = side_by_side(store, short_man, pair, tmp_path)
    with pytest.raises(ValueError, match="no such luck"):
        renderer.process([replace(first, report=fail), replace(other, report=slow)])
    assert len(seen) < 21  # of the 21 frames of that range


@dataclass(frozen=True)
class Asked:
    """What the network was to draw: expressions [T,E] and cameras [T,25] of a shot."""

    exp_TE: NDArray[np.float32]
    camera_T25: NDArray[np.float32]


def listen(patch: pytest.MonkeyPatch) -> list[Asked]:
    """Return a list to which every later call of the animator adds what it is asked for."""
    asked: list[Asked] = []
    animate = AnimatedPortrait.animate

    def listening(portrait: AnimatedPortrait, exp_TE: Any, camera_T25: Any) -> Any:
        asked.append(Asked(np.array(exp_TE), np.array(camera_T25)))
        return animate(portrait, exp_TE, camera_T25)

    patch.setattr(AnimatedPortrait, "animate", listening)
    return asked


def test_a_matrix_of_pictures_and_performances_is_delivered_by_name(
    store: Path, short_man: Path, short_woman: Path, portrait_png: Path, tmp_path: Path
) -> None:
    her = str(still(short_woman, tmp_path / "her.png"))
    grid = {
        "id": "grid",
        "mode": "portrait",
        "duration_s": 0.2,
        "sources": [
            {"id": "astronaut", "portrait": str(portrait_png), "consent": "astronaut"},
            {"id": "her", "portrait": her, "consent": "woman"},
        ],
        "performances": [
            {"id": "man", "video": str(short_man)},
            {"id": "woman", "video": str(short_woman)},
        ],
    }
    around = {**grid, "id": "around", "pose": "orbit", "sources": grid["sources"][:1]}
    with pytest.MonkeyPatch.context() as patch:
        asked_in_order = listen(patch)
        rows = render(store, job_of("matrix", matrix=[grid, around]))
    assert list(rows) == [
        *("grid-astronaut-man", "grid-astronaut-woman", "grid-her-man", "grid-her-woman"),
        *("around-astronaut-man", "around-astronaut-woman"),
    ]
    assert all(row["outcome"] == "ok" for row in rows.values()), rows
    for name, row in rows.items():
        assert row["key"] == f"deliver/matrix/{name}.mp4"
        assert row["consent"] == ("woman" if "her" in name else "astronaut")
        assert len(decode(store / row["key"])) == (6 if name.endswith("-man") else 5)
    pictures = {name: np.stack(decode(store / row["key"])) for name, row in rows.items()}
    asked = dict(zip(rows, asked_in_order, strict=True))
    for performance in ("man", "woman"):
        with_his_pose, with_hers = (f"grid-{who}-{performance}" for who in ("astronaut", "her"))
        turning = f"around-astronaut-{performance}"
        assert np.array_equal(asked[with_his_pose].exp_TE, asked[turning].exp_TE)
        assert np.array_equal(asked[with_his_pose].camera_T25, asked[with_hers].camera_T25)
        assert not np.allclose(
            asked[with_his_pose].camera_T25, asked[turning].camera_T25, atol=0.01
        )
        for other in (with_hers, turning):
            assert not np.array_equal(pictures[with_his_pose], pictures[other])
