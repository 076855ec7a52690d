"""Films as people name them: found, told apart by content, and refused in one sentence."""

import os
from hashlib import sha256
from pathlib import Path

import fsspec
import pytest

from pipeline.errors import ConfigurationError
from pipeline.films import find_films, identify, identify_films, local_film, unusable
from pipeline.stage import Outcome
from preprocess.media.errors import FilmReason, UnusableFilm

ODD_NAMES = [
    "quo'te\"d.mp4",
    "two\nlines.mp4",
    "ünï çødé 片.mp4",
    "a::b.mp4",
    "s*r [0-9] {a,b}?.mp4",
    "%41#b.mp4",
    " leading space.mp4",
    "-rf.mp4",
    "~.mp4",
    "no extension",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_is_only_a_name(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(b"a film")
    (place,) = find_films([str(path)])
    film = identify(place)
    assert (film.name, film.size, film.trouble) == (name, 6, "")
    assert film.sha256 == sha256(b"a film").hexdigest()
    assert local_film(place, tmp_path / "scratch").read_bytes() == b"a film"


def test_a_name_that_is_not_unicode_is_shown_as_well_as_can_be(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    path.write_bytes(b"a film")
    film = identify(find_films([str(path)])[0])
    assert film.name == "caf?.mp4"
    assert film.sha256 == sha256(b"a film").hexdigest()
    path.unlink()
    assert identify(str(path)).trouble


def test_a_folder_stands_for_the_files_in_it(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.mp4", ".hidden.mp4"):
        (tmp_path / name).write_text(name)
    (tmp_path / "below").mkdir()
    (tmp_path / "below/c.mp4").write_text("c")
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nowhere")
    assert find_films([str(tmp_path)]) == [str(tmp_path / "a.mp4"), str(tmp_path / "b.mp4")]


def test_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.mp4").write_text("a")
    monkeypatch.chdir(tmp_path)
    assert find_films(["a.mp4"]) == [str(tmp_path / "a.mp4")]


def test_a_url_with_a_slash_at_its_end_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in/below").mkdir(parents=True)
    for name in ("in/b.mp4", "in/a.mp4", "in/.hidden", "in/below/c.mp4"):
        (tmp_path / name).write_text(name)
    places = find_films([f"file://{tmp_path}/in/"])
    assert places == [f"file://{tmp_path}/in/{name}" for name in ("a.mp4", "b.mp4")]
    assert [identify(place).name for place in places] == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["absent.mp4"], "there is no film or folder 'absent.mp4'"),
        ([""], "there is no film or folder ''"),
        (["x" * 300], "File name too long"),
        (["a\0b"], "there is no film or folder"),
        ([], "no films in an empty list"),
        (["gone://bucket/a.mp4"], "Protocol not known"),
        (["file:///no/such/folder/"], "No such file"),
    ],
)
def test_what_is_not_there_is_one_sentence(
    given: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=said) as caught:
        find_films(given)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_has_no_films(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no films in"):
        find_films([str(tmp_path)])


def test_a_pipe_is_no_film_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(ConfigurationError, match="there is no film"):
        find_films([str(tmp_path / "pipe.mp4")])
    assert identify(str(tmp_path / "pipe.mp4")).trouble == "it is not an ordinary file"


def test_the_same_bytes_under_two_names_are_one_film(tmp_path: Path) -> None:
    for name, data in (("a.mp4", "same"), ("b.mp4", "other"), ("c.mp4", "same")):
        (tmp_path / name).write_text(data)
    seen = []
    items = identify_films(find_films([str(tmp_path)]), lambda *step: seen.append(step))
    assert [item.places["name"] for item in items] == ["a.mp4", "b.mp4"]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_identity_is_the_content_and_not_the_place(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/a.mp4").write_text("same")
    (tmp_path / "b.mp4").write_text("same")
    one, two = (
        identify_films([str(path)])[0] for path in (tmp_path / "a/a.mp4", tmp_path / "b.mp4")
    )
    assert (one.id, one.inputs) == (two.id, two.inputs)
    assert one.places != two.places


def test_a_film_that_cannot_be_read_is_a_failed_item_with_the_reason(tmp_path: Path) -> None:
    (item,) = identify_films([str(tmp_path / "gone.mp4")])
    assert item.ended is not None
    assert (item.ended.outcome, item.ended.reason) == (Outcome.FAILED, "unreadable")
    assert item.ended.detail == "gone.mp4: No such file or directory"


def test_neither_name_nor_trouble_holds_what_a_url_may_hide() -> None:
    film = identify("http://someone:word@127.0.0.1:9/reel%207.mp4?X-Amz-Signature=abcdef")
    assert film.name == "reel 7.mp4"
    assert film.trouble
    assert "word" not in film.trouble
    assert "abcdef" not in film.trouble


def test_a_url_is_copied_where_it_can_be_read(tmp_path: Path) -> None:
    with fsspec.open("memory://films/a.mp4", "wb") as film:
        film.write(b"a film")
    local = local_film("memory://films/a.mp4", tmp_path / "scratch")
    assert local.read_bytes() == b"a film"
    with pytest.raises(UnusableFilm) as caught:
        local_film("memory://films/gone.mp4", tmp_path / "scratch")
    assert caught.value.reason is FilmReason.VANISHED


@pytest.mark.parametrize(
    ("reason", "outcome"),
    [
        (FilmReason.NOT_MEDIA, Outcome.FAILED),
        (FilmReason.EMPTY, Outcome.FAILED),
        (FilmReason.VANISHED, Outcome.CRASHED),
        (FilmReason.UNREADABLE, Outcome.CRASHED),
    ],
)
def test_only_what_the_bytes_tell_is_remembered(reason: FilmReason, outcome: Outcome) -> None:
    result = unusable(UnusableFilm(reason, "why"))
    assert (result.outcome, result.reason, result.detail) == (outcome, str(reason), "why")
