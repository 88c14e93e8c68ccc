"""The recipes: how the shipped weights were made. One file a system, found by the system's name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from vlm_history.errors import InputError
from vlm_history.training.recipe import Recipe


def names() -> list[str]:
    """Return the systems that have a recipe."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(path.stem.replace("_", "-") for path in files if path.stem != "__init__")


def get(system: str, quick: bool = False) -> Recipe:
    """Return the recipe of a system.

    Args:
        system: its name, as `vlm_history.systems()` gives it.
        quick: the short one, which shows learning in a minute or so, instead of the one that made the weights.
    """
    if system not in names():
        raise InputError(f"expected a system with a recipe, got {system!r}; there are: {', '.join(names())}")
    module = import_module(f"{__name__}.{system.replace('-', '_')}")
    recipe: Recipe = module.QUICK if quick else module.RECIPE
    return recipe
