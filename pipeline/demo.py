"""What the demo is made of: its clips, its job, and an honest report of the result."""

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.clock import now
from pipeline.provenance.consent import Use
from pipeline.provenance.consent_registry import find_consent, register_consent
from pipeline.provenance.reference_face import reference_face
from pipeline.recipes import preprocess_recipe
from pipeline.rendering.job import FilmShot, Job, Performance, PortraitShot
from pipeline.reports.page import Film, Picture, Report, Section, Table
from pipeline.reports.training import run_sections
from pipeline.training.runs import find_run
from storage.ledger import Ledger

DATASET = "demo"
RUN = "demo"
JOB = "demo-dub"

CLIPS = {"film": "demo_film", "performance": "demo_performance", "portrait": "demo_portrait"}
"""Assets by the role that they play."""
WEIGHTS = ("face_landmarker", "dlib_resnet", "hed_vgg16")
_PERFORMANCE_START_S = 11.5
"""From here on the performer's hands are off her face."""
_PORTRAIT_S = 4.0
_RECIPE = "dubbing_demo"
_CONSENTS = {"film": "demo-actor", "portrait": "demo-portrait"}

HONEST = (
    "A few minutes of training on two short clips give a small, blurry face on which expressions "
    "can hardly be read; the portrait shows a person whom the network has never seen, and becomes "
    "patches of colour. What this shows is that every part works and fits: frames, size, times "
    "and sound are the film's, the face sits where it was. A sharp face takes the paper's recipe: "
    "export3d_256 on thousands of clips, 310,000 steps, about five days on one A100 "
    "(e3d describe export3d_256)."
)


def demo_job(clips: Mapping[str, str]) -> Job:
    """Return the demo's render job: one dubbed film, one moving portrait."""
    performance = Performance(video=clips["performance"], start_s=_PERFORMANCE_START_S)
    return Job(
        job=JOB,
        run=RUN,
        recipe=_RECIPE,
        shots=[
            FilmShot(
                mode="film",
                id="dubbed-film",
                film=clips["film"],
                consent=_CONSENTS["film"],
                performance=performance,
            ),
            PortraitShot(
                mode="portrait",
                id="moving-portrait",
                portrait=clips["portrait"],
                consent=_CONSENTS["portrait"],
                performance=performance,
                duration_s=_PORTRAIT_S,
            ),
        ],
    )


def register_demo_consents(ledger: Ledger, clips: Mapping[str, str]) -> None:
    """Register consents for the two who are shown, where they lack.

    Nobody was asked: the clips are free to use, and this only shows what a job needs.
    """
    networks = preprocess_recipe(_RECIPE).landmarks.networks
    for role, consent_id in _CONSENTS.items():
        if find_consent(ledger, consent_id) is None:
            register_consent(
                ledger,
                consent_id=consent_id,
                name=f"Whoever the demo's {role} shows",
                uses=tuple(Use),
                until=datetime.date(9999, 12, 31),
                face=reference_face(Path(clips[role]), networks),
                by="e3d demo",
                now=now(),
            )


def demo_report(
    ledger: Ledger,
    dataset: Mapping[str, Any],
    rendered: Mapping[str, Any],
) -> Report:
    """Return one page about the whole demo; it lies beside the delivered films."""
    films = Table(
        ("film", "outcome", "frames"),
        [(film["name"], film["outcome"], json.dumps(film["frames"])) for film in dataset["films"]],
    )
    shots = [
        Section(
            f"Delivered: {shot['shot_id']}",
            f"{shot['frames_rendered']} of {shot['frames_total']} frames rendered. "
            "Above what went in, below what was delivered.",
            pictures=[Picture(ledger.store.get(shot["strip_key"]), "image/jpeg", shot["shot_id"])],
            films=[Film(f"{shot['shot_id']}.mp4", shot["shot_id"])],
        )
        for shot in rendered["shots"]
        if shot["outcome"] == "ok"
    ]
    return Report(
        title="Export3D Pipeline: what the demo made",
        summary=HONEST,
        sections=[
            *shots,
            Section("Dataset", f"Version {dataset['key'][:12]}.", table=films),
            *run_sections(ledger, find_run(ledger, RUN)),
        ],
    )
