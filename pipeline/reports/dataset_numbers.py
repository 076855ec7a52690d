"""The numbers of a dataset's report as plain values: the page shows these, and `--json` too."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.reports.coverage import percentiles
from pipeline.reports.frame_sample import SCORES
from pipeline.reports.survey import ClipFacts, FilmFacts, Survey

Numbers = dict[str, Any]


def dataset_numbers(survey: Survey) -> Numbers:
    """Return all numbers of the report.

    films, clips and frames are counts by outcome or reason, the most frequent first; frames are
    ticks of films. persons are counted film by film.
    """
    version, films = survey.version, survey.films
    clips = _total(film.clips for film in films)
    sample = survey.sample
    return {
        "dataset": survey.name,
        "key": version.key,
        "recipe": version.kind.recipe,
        "camera_mode": version.kind.camera_mode,
        "face_model": version.kind.widths.face_model,
        "films": _counted(film.entry.outcome for film in films),
        "films_reasons": {
            outcome: _counted(film.entry.reason for film in films if film.entry.outcome == outcome)
            for outcome in ("filtered", "failed", "crashed")
        },
        "films_damaged": sum(_is_damaged(film) for film in films),
        "clips": clips,
        "persons": sum(film.persons for film in films),
        "frames": _total(film.ticks for film in films),
        "frames_of_ok_films": _total(film.ticks for film in films if film.entry.is_ok),
        "hours_ok": sum(film.ok_s for film in films) / 3600,
        "coverage": {
            "films": sample.films,
            "frames": sample.frames,
            "every": sample.stride,
            "percentiles": percentiles(sample),
        },
        "film_rows": [_film_row(film) for film in films],
        "worst_clips": [_clip_row(clip) for clip in survey.worst_clips],
    }


def _film_row(film: FilmFacts) -> Numbers:
    entry = film.entry
    return {
        "source_id": entry.source_id,
        "name": entry.name,
        "outcome": entry.outcome,
        "reason": entry.reason,
        "stage": entry.stage,
        "clips": film.clips.get("ok", 0),
        "clips_of": sum(film.clips.values()),
        "persons": film.persons,
        "frames_ok": film.ticks.get("ok", 0),
        "frames_of": sum(film.ticks.values()),
        "detail": entry.detail,
    }


def _clip_row(clip: ClipFacts) -> Numbers:
    row = clip.row
    return {
        "film": clip.film.name,
        "clip_id": row["clip_id"],
        "person": row["person"],
        "shot": row["shot"],
        "first_frame": row["first_frame"],
        "last_frame": row["last_frame"],
        "first_pts_s": row["first_pts_s"],
        "last_pts_s": row["last_pts_s"],
        "outcome": row["outcome"],
        "reason": row["reason"],
        "frames": clip.frames,
        "lost": clip.lost,
        "lost_by_outcome": _ranked({o: n for o, n in clip.outcomes.items() if o != "ok"}),
        **{f"mean_{score}": clip.mean(score) for score in SCORES},
    }


def _is_damaged(film: FilmFacts) -> bool:
    """A film that is ok has a detail only where decoding stopped at its first damage."""
    return film.entry.is_ok and bool(film.entry.detail)


def _total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return _ranked(total)


def _counted(names: Iterable[str]) -> dict[str, int]:
    return _ranked(Counter(names))


def _ranked(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts above 0: ok first, then the most frequent first, ties by name."""
    order = sorted(counts.items(), key=lambda pair: (pair[0] != "ok", -pair[1], pair[0]))
    return {name: count for name, count in order if count}
