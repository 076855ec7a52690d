"""The paper's ablations, as changes of the recipes of whole runs."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from pipeline.recipes.training import TRAIN, TrainRecipe

_WITHOUT_CLEBS: dict[str, dict[str, Any]] = {
    "direct": {"expression": "direct"},
    "e2e_5": {"expression": "e2e", "basis_vectors": 5},
    "e2e_10": {"expression": "e2e", "basis_vectors": 10},
    "e2e_25": {"expression": "e2e", "basis_vectors": 25},
}
_CROSS_ATTENTION: dict[str, dict[str, Any]] = {
    "attend_1": {"conditioning": "cross_attention", "cross_attention_tokens": "1"},
    "attend_basis": {"conditioning": "cross_attention", "cross_attention_tokens": "basis"},
    "attend_64": {"conditioning": "cross_attention", "cross_attention_tokens": "64"},
}


def _ablation(base: str, what: str) -> TrainRecipe:
    recipe = TRAIN[base]()
    name = f"{base}_{what}"
    if what in _WITHOUT_CLEBS:
        # There are no statistics of lambda to standardise by before the run itself.
        changes = {**_WITHOUT_CLEBS[what], "standardise_expression": False}
        network = replace(recipe.export3d.network, **changes)
        return replace(
            recipe, name=name, clebs=None, export3d=replace(recipe.export3d, network=network)
        )
    network = replace(recipe.export3d.network, **_CROSS_ATTENTION[what])
    # The encoder does not see how its code is used: the stage `clebs` is the base's own.
    return replace(recipe, name=name, export3d=replace(recipe.export3d, network=network))


ABLATIONS: dict[str, Callable[[], TrainRecipe]] = {
    f"{base}_{what}": partial(_ablation, base, what)
    for base in ("export3d_256", "export3d_128")
    for what in (*_WITHOUT_CLEBS, *_CROSS_ATTENTION)
}
"""Experiments of Export3D tables 3 and 4 (Spec 2.9), at the paper's size and at the small one."""
