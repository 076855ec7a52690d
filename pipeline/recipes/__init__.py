"""Recipes: named configurations as plain functions. What a command does by default stands here."""

from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import ConfigurationError
from pipeline.recipes.preprocess import PREPROCESS, PreprocessRecipe
from pipeline.recipes.training import ABLATIONS, TRAIN, TrainRecipe

__all__ = [
    "ABLATIONS",
    "PREPROCESS",
    "TRAIN",
    "PreprocessRecipe",
    "TrainRecipe",
    "preprocess_recipe",
    "train_recipe",
]

T = TypeVar("T")


def preprocess_recipe(name: str) -> PreprocessRecipe:
    """Return a recipe by name. Raises ConfigurationError, naming the ones there are."""
    return _find(name, PREPROCESS)()


def train_recipe(name: str) -> TrainRecipe:
    """Return a recipe by name. Raises ConfigurationError, naming the ones there are."""
    return _find(name, TRAIN | ABLATIONS)()


def _find(name: str, recipes: dict[str, Callable[[], T]]) -> Callable[[], T]:
    if name not in recipes:
        raise ConfigurationError(f"recipe is {name!r}; allowed is {', '.join(recipes)}")
    return recipes[name]
