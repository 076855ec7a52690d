"""The job file: what is accepted, and that a mistake is named by field and line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from pipeline.rendering.job import Cuts, FilmShot, Job, Policy, PortraitShot, Pose
from pipeline.rendering.job_file import parse_job, read_job

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


MATRICES = """\
job: grid
run: small
matrix:
  - id: moving
    mode: portrait
    pose: orbit
    duration_s: 2.5
    sources:
      - {id: anna, portrait: anna.png, consent: anna-2026}
      - {id: bert, portrait: /pictures/bert.png}
    performances:
      - {id: calm, video: calm.mp4}
      - {id: loud, video: s3://bucket/loud.mp4, start_s: 3}
  - id: dub
    mode: film
    policy: hold
    audio: performance
    sources:
      - id: scene7
        film: films/7.mp4
        consent: anna-2026
    performances:
      - id: calm
        video: calm.mp4
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


def test_a_shot_is_a_whole_film_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    (whole, _) = read_job(written(tmp_path, GOOD)).shots
    assert isinstance(whole, FilmShot)
    assert (whole.start_s, whole.end_s, whole.cuts, whole.consent) == (0, None, Cuts.NONE, None)
    said = "    policy: hold\n    start_s: 2\n    end_s: 4.5\n    cuts: auto\n    consent: anna\n"
    (part, _) = read_job(written(tmp_path, GOOD.replace("    policy: hold\n", said))).shots
    assert isinstance(part, FilmShot)
    assert (part.start_s, part.end_s, part.cuts, part.consent) == (2, 4.5, Cuts.AUTO, "anna")


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
        (
            "policy: hold",
            "start_s: 3\n    end_s: 2",
            ["line 4", "shots.0", "end_s 2 must be later than start_s 3"],
        ),
        ("policy: hold", "start_s: 3\n    end_s: 3", ["shots.0", "must be later than start_s 3"]),
        ("policy: hold", "end_s: 0", ["line 10", "shots.0.end_s", "greater than 0"]),
        ("policy: hold", "cuts: some", ["line 10", "shots.0.cuts", "'some'", "'auto'"]),
        ("policy: hold", "pose: orbit", ["line 10", "shots.0.pose", "not permitted"]),
        ("policy: hold", "consent: Anna B.", ["line 10", "shots.0.consent", "'Anna B.'"]),
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


def test_a_matrix_is_every_source_with_every_performance(tmp_path: Path) -> None:
    job = read_job(written(tmp_path, MATRICES))
    assert [shot.id for shot in job.shots] == [
        "moving-anna-calm",
        "moving-anna-loud",
        "moving-bert-calm",
        "moving-bert-loud",
        "dub-scene7-calm",
    ]
    assert job.matrix == []
    *portraits, film = job.shots
    assert all(isinstance(shot, PortraitShot) for shot in portraits)
    assert isinstance(film, FilmShot)
    assert [shot.consent for shot in portraits] == ["anna-2026", "anna-2026", None, None]
    assert (film.consent, film.policy, film.audio) == ("anna-2026", Policy.HOLD, "performance")
    assert film.film == str(tmp_path / "films/7.mp4")
    for shot in portraits:
        assert isinstance(shot, PortraitShot)
        assert (shot.pose, shot.duration_s) == (Pose.ORBIT, 2.5)
        source = "/pictures/bert.png" if "bert" in shot.id else str(tmp_path / "anna.png")
        assert shot.portrait == source
        calm = (str(tmp_path / "calm.mp4"), 0.0)
        wanted = ("s3://bucket/loud.mp4", 3.0) if "loud" in shot.id else calm
        assert (shot.performance.video, shot.performance.start_s) == wanted


def test_a_matrix_says_what_its_shots_written_out_say(tmp_path: Path) -> None:
    short = read_job(written(tmp_path, MATRICES))
    assert parse_job(short.model_dump(mode="json")) == short


def test_shots_and_matrices_make_one_job(tmp_path: Path) -> None:
    both = GOOD + MATRICES[MATRICES.index("matrix:") :]
    job = read_job(written(tmp_path, both))
    assert [shot.id for shot in job.shots][:3] == ["a", "b", "moving-anna-calm"]
    assert len(job.shots) == 7


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("id: bert", "id: anna", ["'moving-anna-calm'", "more than once"]),
        ("id: loud", "id: calm", ["'moving-anna-calm'", "more than once"]),
        ("    pose: orbit\n", "    pose: around\n", ["line 6", "matrix.0.pose", "'around'"]),
        ("policy: hold", "policy: skip", ["line 16", "matrix.1.policy", "'skip'"]),
        (
            "        film: films/7.mp4\n",
            "",
            ["line 19", "matrix.1.sources.0.film", "Field required"],
        ),
        ("duration_s: 2.5", "duration_s: 0", ["line 7", "matrix.0.duration_s", "greater than 0"]),
        ("start_s: 3", "start_s: -3", ["line 13", "matrix.0.performances.1.start_s", "-3"]),
        ("    mode: film", "    mode: movie", ["line 14", "matrix.1", "movie"]),
        ("    audio: performance", "    end_s: 3", ["line 17", "matrix.1.end_s", "not permitted"]),
    ],
)
def test_a_mistake_in_a_matrix_is_named_by_field_and_line(
    tmp_path: Path, old: str, new: str, expected: list[str]
) -> None:
    assert old in MATRICES
    path = written(tmp_path, MATRICES.replace(old, new, 1))
    with pytest.raises(ConfigurationError) as caught:
        read_job(path)
    for part in [str(path), *expected]:
        assert part in str(caught.value)


def test_a_shot_must_not_have_the_id_of_one_that_a_matrix_makes(tmp_path: Path) -> None:
    both = GOOD.replace("id: b", "id: dub-scene7-calm") + MATRICES[MATRICES.index("matrix:") :]
    with pytest.raises(ConfigurationError, match="'dub-scene7-calm' is used more than once"):
        read_job(written(tmp_path, both))


@pytest.mark.parametrize("taken", ["reel-001", "reel-017", "reel-1204"])
def test_a_shot_must_not_have_the_id_of_a_take_of_another(taken: str) -> None:
    shot = {"mode": "film", "film": "a.mp4", "performance": {"video": "b.mp4"}}
    reel, other = {**shot, "id": "reel", "cuts": "auto"}, {**shot, "id": taken}
    with pytest.raises(ConfigurationError, match=taken):
        parse_job({"job": "j", "run": "r", "shots": [reel, other]})
    apart = [{**reel, "cuts": "none"}, other]
    assert len(parse_job({"job": "j", "run": "r", "shots": apart}).shots) == 2


@pytest.mark.parametrize("what", ["sources", "performances"])
def test_a_matrix_without_sources_or_performances_is_refused(tmp_path: Path, what: str) -> None:
    some = {"sources": "[{id: a, film: a.mp4}]", "performances": "[{id: b, video: b.mp4}]"}
    lines = [f"    {name}: {'[]' if name == what else given}" for name, given in some.items()]
    head = ["job: j", "run: r", "matrix:", "  - id: dub", "    mode: film"]
    path = written(tmp_path, "\n".join([*head, *lines]))
    with pytest.raises(ConfigurationError) as caught:
        read_job(path)
    line = 6 if what == "sources" else 7
    assert f"{path}, line {line}: matrix.0.{what}" in str(caught.value)


@pytest.mark.parametrize("text", ["", "shots: []", "matrix: []", "shots: []\nmatrix: []"])
def test_a_job_of_nothing_is_refused(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, f"job: j\nrun: r\n{text}\n")
    with pytest.raises(ConfigurationError, match="nothing to render"):
        read_job(path)


def test_the_ids_that_a_matrix_makes_are_ids_too() -> None:
    long = "x" * 30
    matrix = {
        "id": long,
        "mode": "film",
        "sources": [{"id": long, "film": "a.mp4"}],
        "performances": [{"id": long, "video": "b.mp4"}],
    }
    with pytest.raises(ConfigurationError, match=f"{long}-{long}"):
        parse_job({"job": "j", "run": "r", "matrix": [matrix]})


names = st.text("abcdefgh", min_size=1, max_size=3)


@given(
    sources=st.lists(names, min_size=1, max_size=4, unique=True),
    performances=st.lists(names, min_size=1, max_size=4, unique=True),
)
def test_a_matrix_has_sources_times_performances_shots_each_once(
    sources: list[str], performances: list[str]
) -> None:
    matrix = {
        "id": "grid",
        "mode": "portrait",
        "sources": [{"id": one, "portrait": f"{one}.png"} for one in sources],
        "performances": [{"id": one, "video": f"{one}.mp4"} for one in performances],
    }
    job: Job = parse_job({"job": "j", "run": "r", "matrix": [matrix]})
    made = [
        (shot.id, shot.portrait, shot.performance.video)
        for shot in job.shots
        if isinstance(shot, PortraitShot)
    ]
    wanted = [
        (f"grid-{source}-{performance}", f"{source}.png", f"{performance}.mp4")
        for source in sources
        for performance in performances
    ]
    assert made == wanted
