"""The job file: what is accepted, and that a mistake is named by field and line."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.rendering.job_file import FilmShot, Policy, parse_job, read_job

GOOD = """\
job: reel-7
run: small
shots:
  - id: a
    mode: film
    film: films/in.mp4
    performance:
      video: s3://bucket/dub.mp4
      start_s: 1.5
    policy: hold
  - id: b
    mode: portrait
    portrait: /pictures/face.png
    performance: {video: dub.mp4}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "job.yaml"
    path.write_text(text, "utf-8")
    return path


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    job = read_job(written(tmp_path, GOOD))
    film, portrait = job.shots
    assert isinstance(film, FilmShot)
    assert film.film == str(tmp_path / "films/in.mp4")
    assert film.performance.video == "s3://bucket/dub.mp4"
    assert film.policy is Policy.HOLD
    assert portrait.mode == "portrait"
    assert portrait.portrait == "/pictures/face.png"
    assert job.visible_mark


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("policy: hold", "policy: skip", ["line 10", "shots.0.policy", "'skip'", "'keep'"]),
        ("    film: films/in.mp4\n", "", ["line 4", "shots.0.film", "Field required"]),
        ("start_s: 1.5", "start_s: -1", ["line 9", "shots.0.performance.start_s", "-1"]),
        ("mode: portrait", "mode: poster", ["line 11", "shots.1", "poster"]),
        ("job: reel-7", "job: Reel 7", ["line 1", "job", "'Reel 7'"]),
        ("run: small", "run: small\nfast: yes", ["line 3", "fast"]),
        ("id: b", "id: a", ["'a'", "more than once"]),
        ("shots:", "shots: [", ["not valid YAML"]),
    ],
)
def test_a_mistake_is_named_by_field_and_line(
    tmp_path: Path, old: str, new: str, expected: list[str]
) -> None:
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as caught:
        read_job(path)
    for part in [str(path), *expected]:
        assert part in str(caught.value)


@pytest.mark.parametrize("text", ["", "just words", "- a list"])
def test_a_file_that_is_no_job_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"job\.yaml"):
        read_job(written(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_job(tmp_path / "absent.yaml")


def test_a_job_given_as_values_is_checked_in_the_same_way() -> None:
    shot = {"mode": "film", "id": "a", "film": "a.mp4", "performance": {"video": "b.mp4"}}
    assert parse_job({"job": "j", "run": "r", "shots": [shot]}).shots[0].id == "a"
    with pytest.raises(ConfigurationError, match=r"job: shots\.0\.film"):
        parse_job({"job": "j", "run": "r", "shots": [{**shot, "film": 1}]})
    with pytest.raises(ConfigurationError, match="used more than once"):
        parse_job({"job": "j", "run": "r", "shots": [shot, shot]})
