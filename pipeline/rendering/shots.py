"""Shots as items: each with the stage that renders it, or the reason why it is not rendered."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.faces.backends import networks_identity
from pipeline.provenance.consent import KnownFace, Refusal
from pipeline.provenance.film_faces import faces_of_film
from pipeline.rendering.admission import find_person
from pipeline.rendering.job import Cuts, FilmShot, Shot
from pipeline.rendering.plan import RenderPlan, ShotFiles
from pipeline.scratch import scratch_folder
from pipeline.stage import Ended, Item, Outcome, StageSpec
from pipeline.stages.ingest import TICKS
from pipeline.stages.portrait import EMBEDDING, Portrait
from pipeline.stages.render_film import RenderFilm
from pipeline.stages.render_portrait import RenderPortrait
from pipeline.stages.rendering import RenderConfig
from storage.ledger import Commit, Ledger
from storage.schemas import ticks_schema
from storage.tables import read_table

CONSENT = "consent"
"""The stage that ends a shot which no consent covers."""


def shot_stages(config: RenderConfig) -> dict[str, StageSpec]:
    """Return the stage that renders each mode of shot."""
    return {
        "film": StageSpec(RenderFilm, config),
        "portrait": StageSpec(RenderPortrait, config),
    }


def shot_items(ledger: Ledger, plan: RenderPlan, done: Sequence[Item]) -> dict[str, list[Item]]:
    """Return an item for every shot of the job by its mode, in the job's order.

    done: what came of `plan.films()` and `plan.portraits()`. Items that have ended say why.
    """
    by_sha256 = {item.inputs["film_sha256"]: item for item in done}
    items: dict[str, list[Item]] = {"film": [], "portrait": []}
    with scratch_folder() as folder:
        faces = _KnownFaces(ledger, plan, folder)
        for one in plan.shots:
            is_refused = one.of_shot in plan.refused
            pieces = [one] if is_refused else _pieces(ledger, one, by_sha256, folder)
            for piece in pieces:
                items[one.shot.mode].append(_shot_item(plan, piece, by_sha256, faces))
    return items


def _pieces(
    ledger: Ledger, one: ShotFiles, done: Mapping[Any, Item], folder: Path
) -> list[ShotFiles]:
    """Return the shot, or where the film's cuts are to divide it, every take as a shot."""
    shot = one.shot
    film = done.get(one.still.sha256)
    if not isinstance(shot, FilmShot) or shot.cuts is Cuts.NONE or film is None or film.ended:
        return [one]
    takes = takes_of_film(ledger, film.commits["ingest"], folder)
    inside = [
        (max(start_s, shot.start_s), min(end_s, shot.end_s or np.inf))
        for start_s, end_s in takes
        if end_s > shot.start_s and start_s < (shot.end_s or np.inf)
    ]
    pieces = [
        replace(one, shot=_take(shot, number, start_s, end_s))
        for number, (start_s, end_s) in enumerate(inside, start=1)
    ]
    return pieces or [one]  # the shot itself then says that nothing of the film lies in it


def _take(shot: FilmShot, number: int, start_s: float, end_s: float) -> FilmShot:
    """Return a take of a shot; performance and dub go on through all of them."""
    later_s = start_s - shot.start_s
    moved = {
        name: part.model_copy(update={"start_s": part.start_s + later_s})
        for name, part in (("performance", shot.performance), ("dub", shot.dub))
        if part is not None
    }
    return shot.model_copy(
        update={
            "id": f"{shot.id}-{number:03d}",
            "start_s": start_s,
            "end_s": None if np.isinf(end_s) else end_s,
            **moved,
        }
    )


def takes_of_film(ledger: Ledger, ingest: Commit, folder: Path) -> list[tuple[float, float]]:
    """Return start and end of each take between a film's cuts, in seconds after its first picture.

    ingest: the film's commit of that stage; the last take ends with the film, at infinity. folder:
    for a copy of a table.
    """
    path = ledger.fetch(ingest.output(TICKS), folder)
    table = read_table(path, ticks_schema())
    path.unlink()
    pts_s, shot = table["pts_s"].to_numpy(), table["shot"].to_numpy()
    first = np.flatnonzero(np.diff(shot, prepend=shot[0] - 1))
    starts_s = (pts_s[first] - pts_s[0]).tolist()
    return list(zip(starts_s, [*starts_s[1:], np.inf], strict=True))


def _shot_item(
    plan: RenderPlan, one: ShotFiles, done: Mapping[Any, Item], faces: "_KnownFaces"
) -> Item:
    shot = one.shot
    item = Item(
        id=shot.id,
        inputs={},
        places={
            "name": shot.id,
            "shot": one.of_shot,
            "length_s": 0.0,
            "sources": [file.sha256 for file in (one.still, one.performance, one.dub) if file],
        },
    )
    if refusal := plan.refused.get(one.of_shot):
        return refused(item, refusal)
    role = "film" if isinstance(shot, FilmShot) else "portrait"
    needed = {role: done[one.still.sha256], "performance": done[one.performance.sha256]}
    if ended := _unready(needed):
        return _ended(item, ended)
    if one.dub and one.dub.trouble:
        why = f"{one.dub.name}: {one.dub.trouble}"
        return _ended(item, Ended("identify", Outcome.FAILED, "unreadable", why))
    assert shot.consent is not None  # noqa: S101  else it were refused
    consent = plan.consents[shot.consent]
    person = find_person(consent, faces.of(needed[role]), plan.recipe.landmarks.same_person)
    if isinstance(person, Refusal):
        return refused(item, person)
    # Where files lie is no part of a shot's identity, nor is who allowed it: their content is.
    performance = shot.performance.model_copy(update={"video": ""})
    nowhere: dict[str, Any] = {role: "", "consent": None, "performance": performance}
    if isinstance(shot, FilmShot) and shot.dub:
        nowhere["dub"] = shot.dub.model_copy(update={"file": ""})
    settings = shot.model_copy(update=nowhere)
    keys: dict[str, Any] = {
        name: {stage: commit.key for stage, commit in found.commits.items()}
        for name, found in needed.items()
    }
    return Item(
        id=shot.id,
        inputs={
            "shot": settings.model_dump(mode="json"),
            "still_sha256": one.still.sha256,
            "dub_sha256": one.dub.sha256 if one.dub else None,
            "checkpoint": {"stage": plan.weights.stage, "key": plan.weights.key},
            "person": person,
            "camera_mode": str(plan.recipe.kind().camera_mode),
            **keys,
        },
        places={
            **item.places,
            "length_s": _length_s(shot, needed),
            role: one.still.place,
            "performance": one.performance.place,
            "dub": one.dub.place if one.dub else None,
            "face_model": str(plan.recipe.face3d.face_model),
        },
    )


def in_order(plan: RenderPlan, items: Sequence[Item]) -> list[Item]:
    """Return items in the order of the job's shots, takes of one film in that of the film."""
    order = {shot.id: number for number, shot in enumerate(plan.job.shots)}

    def place(item: Item) -> tuple[int, int, str]:
        # Takes are numbered with three digits, where there are a thousand with four.
        return order[str(item.places["shot"])], len(item.id), item.id

    return sorted(items, key=place)


def longest_first(items: Sequence[Item]) -> list[Item]:
    """Return items in the order to render them in: a long one begun last would be waited for."""
    return sorted(items, key=lambda item: -float(str(item.places["length_s"])))


def _length_s(shot: Shot, needed: Mapping[str, Item]) -> float:
    """Return about how long what is delivered will be."""
    if isinstance(shot, FilmShot):
        film, start_s, end_s = needed["film"], shot.start_s, shot.end_s
    else:
        film, start_s = needed["performance"], shot.performance.start_s
        end_s = None if shot.duration_s is None else start_s + shot.duration_s
    known: Any = film.commits["ingest"].info["duration_s"]
    whole_s = float(known or 0)
    return max(0.0, (whole_s if end_s is None else min(end_s, whole_s)) - start_s)


def refused(item: Item, refusal: Refusal) -> Item:
    """Return the shot as ended by a consent that does not cover it."""
    return _ended(item, Ended(CONSENT, Outcome.FAILED, str(refusal.reason), refusal.sentence))


def _ended(item: Item, ended: Ended) -> Item:
    return Item(id=item.id, inputs=item.inputs, places=item.places, ended=ended)


def _unready(needed: Mapping[str, Item]) -> Ended | None:
    """Return why a shot cannot even be tried; None when it can."""
    for name, item in needed.items():
        if why := item.ended:
            reason = why.reason if name == "portrait" else f"{name}_{why.reason}"
            return Ended(why.stage, Outcome.FAILED, reason, why.detail)
    return None


class _KnownFaces:
    """Whose faces are in a film or picture; read once, for many shots may be of one film."""

    def __init__(self, ledger: Ledger, plan: RenderPlan, folder: Path) -> None:
        network: Any = networks_identity(plan.recipe.landmarks.networks)
        self._network: dict[str, str] | None = network["embedding"]
        self._ledger, self._folder = ledger, folder
        self._known: dict[str, dict[int, KnownFace]] = {}

    def of(self, item: Item) -> dict[int, KnownFace]:
        """Return the faces by person; that of a picture is person 0."""
        if item.id not in self._known:
            commits = item.commits
            self._known[item.id] = (
                self._of_picture(commits[Portrait.name])
                if Portrait.name in commits
                else faces_of_film(self._ledger, commits["landmarks"], self._network, self._folder)
            )
        return self._known[item.id]

    def _of_picture(self, portrait: Commit) -> dict[int, KnownFace]:
        embedding = json.loads(self._ledger.store.get(portrait.output(EMBEDDING).key))
        if embedding is None or self._network is None:
            return {}
        return {0: KnownFace(tuple(embedding), self._network)}
