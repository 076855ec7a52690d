"""Recipes: named configurations as plain functions. What a command does by default stands here."""

from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import ConfigurationError
from pipeline.recipes.ablations import ABLATIONS
from pipeline.recipes.preprocess import PREPROCESS, PreprocessRecipe
from pipeline.recipes.training import TRAIN, TrainRecipe

__all__ = [
    "ABLATIONS",
    "PREPROCESS",
    "TRAIN",
    "PreprocessRecipe",
    "TrainRecipe",
    "preprocess_recipe",
    "recipe_of_dataset",
    "train_recipe",
]

T = TypeVar("T")


def preprocess_recipe(name: str) -> PreprocessRecipe:
    """Return a recipe by name. Raises ConfigurationError, naming the ones there are."""
    return _find(name, PREPROCESS)()


def recipe_of_dataset(name: str) -> PreprocessRecipe:
    """Return the recipe that a dataset says it was made by, for its networks.

    Raises ConfigurationError where that recipe is not here, as for a dataset of another version.
    """
    if name not in PREPROCESS:
        raise ConfigurationError(
            f"the dataset was made by recipe {name!r}, which is not here: its networks are not "
            f"known; here are {', '.join(PREPROCESS)}"
        )
    return PREPROCESS[name]()


def train_recipe(name: str) -> TrainRecipe:
    """Return a recipe by name. Raises ConfigurationError, naming the ones there are."""
    return _find(name, TRAIN | ABLATIONS)()


def _find(name: str, recipes: dict[str, Callable[[], T]]) -> Callable[[], T]:
    if name not in recipes:
        raise ConfigurationError(f"recipe is {name!r}; allowed is {', '.join(recipes)}")
    return recipes[name]
