"""Report of a dataset version: what became of its films, what it covers, and how it looks."""

from collections.abc import Iterator, Mapping

from pipeline.dataset import DatasetVersion
from pipeline.reports.contact_sheet import COLOURS, clip_picture, film_picture
from pipeline.reports.coverage import (
    LABELS,
    Limits,
    expression_pictures,
    limits_of,
    pose_pictures,
    score_picture,
)
from pipeline.reports.dataset_numbers import Numbers, dataset_numbers
from pipeline.reports.page import Picture, Report, Section, Table
from pipeline.reports.pictures import percent, share_bars
from pipeline.reports.survey import Survey, survey_dataset
from storage.ledger import Ledger

_FILM_ROWS = 200
_FILMS_WITHOUT_CLIPS = 8
_CONTACT_SHEET_BYTES = 1_500_000
"""With the plots and in base64 the page stays below 3 MB."""


def dataset_report(ledger: Ledger, name: str, version: DatasetVersion) -> Report:
    """Return the report of a version. Raises StoreError where the store lost a part of it."""
    survey = survey_dataset(ledger, name, version)
    return survey_report(ledger, survey, dataset_numbers(survey))


def report_key(name: str) -> str:
    """Return the key of the page in the store."""
    return f"reports/datasets/{name}.html"


def survey_report(ledger: Ledger, survey: Survey, numbers: Numbers) -> Report:
    """Return the report of a survey, whose numbers are given."""
    limits = limits_of(survey.version.kind.recipe)
    return Report(
        title=f"Dataset {survey.name}",
        summary="\n".join([*_verdict(numbers), _what_it_is(numbers)]),
        sections=[
            _counts(numbers),
            _films(numbers),
            *(_coverage(survey, numbers, limits) if survey.sample.frames else []),
            *_contact_sheet(ledger, survey, numbers),
            *_films_without_clips(ledger, survey),
        ],
    )


def _what_it_is(numbers: Numbers) -> str:
    return (
        f"Recipe {numbers['recipe']}, camera {numbers['camera_mode']}, face model "
        f"{numbers['face_model']}. Version {numbers['key'][:12]}."
    )


def _verdict(numbers: Numbers) -> Iterator[str]:
    """Say in a few sentences what there is, and what is wrong."""
    films, clips, frames = numbers["films"], numbers["clips"], numbers["frames_of_ok_films"]
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(films.items()))
    yield (
        f"{_number(sum(films.values()), 'film')}: {outcomes}. {_length(numbers['hours_ok'])} of "
        f"good footage in {_number(clips.get('ok', 0), 'clip')} of "
        f"{_number(numbers['persons'], 'person')}."
    )
    wrong = [
        f"{_part(reasons, films, 'film')} {outcome}: {_listed(reasons)}."
        for outcome, reasons in numbers["films_reasons"].items()
        if reasons
    ]
    if damaged := numbers["films_damaged"]:
        wrong.append(f"{_number(damaged, 'film')} damaged, used up to the damage.")
    if bad := _not_ok(clips):
        wrong.append(f"{_part(bad, clips, 'clip')} filtered: {_listed(bad)}.")
    if lost := _not_ok(frames):
        share = percent(sum(lost.values()), sum(frames.values()))
        wrong.append(f"Of the frames of good films {share} not ok: {_listed(lost)}.")
    yield " ".join(wrong) or "Nothing was lost: every film, clip and frame is ok."


def _counts(numbers: Numbers) -> Section:
    kinds = ("films", "clips", "frames")
    rows = [
        (kind, name, count, percent(count, sum(numbers[kind].values())))
        for kind in kinds
        for name, count in numbers[kind].items()
    ]
    bars = {kind: numbers[kind] for kind in kinds if numbers[kind]}
    return Section(
        "Counts",
        "Frames are ticks of films; one with several faces counts as the best of them. Clips that "
        "are too short or too small were not cut out. Persons are told apart film by film, and "
        "one who is in two films counts twice.",
        table=Table(("what", "outcome or reason", "count", "share"), rows),
        pictures=[share_bars(bars, COLOURS, "Films by outcome, clips and frames")],
    )


def _films(numbers: Numbers) -> Section:
    films = numbers["film_rows"]
    rows = [
        (
            film["name"],
            film["outcome"],
            film["reason"],
            film["stage"],
            f"{film['clips']}/{film['clips_of']}",
            film["persons"],
            f"{film['frames_ok']}/{film['frames_of']}",
            film["detail"],
        )
        for film in films[:_FILM_ROWS]
    ]
    left_out = len(films) - len(rows)
    said = f" {left_out} films, the best ones, are left out here." if left_out else ""
    columns = (
        "film",
        "outcome",
        "reason",
        "last stage",
        "ok clips",
        "persons",
        "ok frames",
        "detail",
    )
    return Section("Films", f"The worst first.{said}", table=Table(columns, rows))


def _coverage(survey: Survey, numbers: Numbers, limits: Limits) -> list[Section]:
    sample = survey.sample
    ok_films = numbers["films"].get("ok", 0)
    of_all = "All" if sample.stride == 1 else f"One in {sample.stride} of the"
    read = f"{of_all} ok frames of {sample.films} of {ok_films} films: {sample.frames:,} frames."
    rows = [
        (
            LABELS[measure],
            *(f"{values[name]:.3g}" for name in ("p5", "p50", "p95")),
            ", ".join(limits.of(measure)),
        )
        for measure, values in numbers["coverage"]["percentiles"].items()
    ]
    return [
        Section(
            "Coverage",
            f"{read} Nine tenths of them lie between the first and the last column. The limits "
            "are those of the recipe.",
            table=Table(("measure", "5 %", "median", "95 %", "limits"), rows),
        ),
        Section(
            "Poses",
            "What a network has not seen it will not draw: an empty region is a pose that is not "
            "in the films. Dashed are the limits of the recipe.",
            pictures=pose_pictures(sample, limits),
        ),
        Section(
            "Expressions",
            "Coefficients of the face model, and openings measured on the landmarks; a speaker's "
            "mouth opens and shuts, and eyes that never shut are missing blinks.",
            pictures=expression_pictures(sample, limits),
        ),
        Section(
            "Scores",
            "Of all frames in clips, their number on a logarithmic scale. The neighbours of an "
            "occluded frame are rejected with it.",
            pictures=[score_picture(sample, limits)],
        ),
    ]


def _contact_sheet(ledger: Ledger, survey: Survey, numbers: Numbers) -> list[Section]:
    pictures: list[Picture] = []
    for place, row in enumerate(numbers["worst_clips"]):
        if sum(len(picture.data) for picture in pictures) > _CONTACT_SHEET_BYTES:
            break
        caption = f"{place + 1}. {_clip_caption(row)}"
        pictures.append(clip_picture(ledger, survey.version, survey.worst_clips[place], caption))
    if not pictures:
        return []
    legend = "orange occluded, blue out of range or clip filtered, red low confidence"
    return [
        Section(
            "Crops",
            f"The {len(pictures)} worst clips, a few of a film at most: those that lose most "
            "frames first, then by reprojection, occlusion and sharpness. Landmarks should sit on "
            f"the face, and the nose near the centre. A coloured frame was rejected ({legend}). "
            "Below stand the film's tick and the reason, and a line of all frames of the clip, "
            "green where they are ok, with a notch for each that is shown. On the left the film "
            "with the box of the crop.",
            pictures=pictures,
        )
    ]


def _films_without_clips(ledger: Ledger, survey: Survey) -> list[Section]:
    """Show films that were decoded and gave no clip."""
    pictures: list[Picture] = []
    for film in survey.films:
        entry = film.entry
        if entry.stage in {"landmarks", "crop"} and len(pictures) < _FILMS_WITHOUT_CLIPS:
            reasons = _listed(film.clips) if film.clips else entry.reason
            picture = film_picture(ledger, entry, f"{entry.name}: {entry.outcome}, {reasons}")
            pictures += [] if picture is None else [picture]
    if not pictures:
        return []
    text = "A frame of each film of which no clip could be cut, with the faces that were found."
    return [Section("Films without clips", text, pictures=pictures)]


def _clip_caption(row: Numbers) -> str:
    ended = f"filtered, {row['reason']}" if row["reason"] else "kept"
    lost = f"{row['lost']} of {row['frames']} frames not ok"
    if row["lost_by_outcome"]:
        lost += f": {_listed(row['lost_by_outcome'])}"
    means = {
        "reprojection": (row["mean_reprojection_iod"], ".4f"),
        "occlusion": (row["mean_occlusion"], ".3f"),
        "sharpness": (row["mean_sharpness"], ".0f"),
    }
    known = [f"{name} {value:{form}}" for name, (value, form) in means.items() if value is not None]
    scores = ", ".join(known)
    where = f"ticks {row['first_frame']} to {row['last_frame']}"
    if row["last_pts_s"] > row["first_pts_s"]:
        where += f" ({row['first_pts_s']:.1f} s to {row['last_pts_s']:.1f} s)"
    said = f"{row['film']}, person {row['person']}, shot {row['shot']}, {where}: {ended}; {lost}"
    return f"{said}; mean {scores}." if scores else f"{said}."


def _length(hours: float) -> str:
    return f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _part(counts: Mapping[str, int], whole: Mapping[str, int], what: str) -> str:
    return f"{sum(counts.values())} of {_number(sum(whole.values()), what)}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.items())


def _not_ok(counts: Mapping[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if name != "ok"}
