"""What a render job would do, found out without doing any of it."""

from collections import Counter
from typing import Any

from pipeline.clock import now
from pipeline.execute import resolve
from pipeline.recipes import preprocess_recipe
from pipeline.rendering.job import Job
from pipeline.rendering.plan import RenderPlan, ShotFiles, plan_render
from pipeline.stage import Item
from storage.ledger import Ledger


def forecast(ledger: Ledger, job: Job) -> dict[str, Any]:
    """Return what would become of every shot as far as can be told, and how much is to be prepared.

    A shot is `refused` (its consent does not hold), `unreadable` (a file cannot be read), `failed`
    (a film is known to be of no use), `prepared` (only rendering is left, unless that has been done
    before) or `open`. Whether a face is the consent's is known only when it has been looked at.
    Raises as plan_render does.
    """
    plan = plan_render(ledger, job, preprocess_recipe(job.recipe), now())
    known: dict[Any, Item] = {}
    films = 0
    for stages, items in plan.preparations().values():
        films += len(items)
        done, _ = resolve(ledger, [one.build() for one in stages], items, lambda _: None)
        known |= {item.inputs["film_sha256"]: item for item in done}
    shots = []
    for one in plan.shots:
        state, why = _state(plan, one, known)
        shots.append({"shot_id": one.shot.id, "state": state, "why": why})
    return {
        "job": job.job,
        "weights": plan.weights.key,
        "shots": shots,
        "states": dict(Counter(str(shot["state"]) for shot in shots)),
        "films": films,
        "films_to_prepare": films - len(known),
    }


def _state(plan: RenderPlan, one: ShotFiles, known: dict[Any, Item]) -> tuple[str, str]:
    if refusal := plan.refused.get(one.shot.id):
        return "refused", f"{refusal.reason}: {refusal.sentence}"
    for file in (one.still, one.performance, one.dub):
        if file is None:
            continue
        if file.trouble:
            return "unreadable", f"{file.name}: {file.trouble}"
        if (item := known.get(file.sha256)) and item.ended:
            return "failed", f"{file.name}: {item.ended.reason}"
    if one.still.sha256 in known and one.performance.sha256 in known:
        return "prepared", "its films are pre-processed"
    return "open", "its films have to be pre-processed first"
