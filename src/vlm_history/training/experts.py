"""Experts that later systems start from: shipped weights, and known to be those of a recipe."""

from __future__ import annotations

import json
from typing import Any

from vlm_history.errors import InputError
from vlm_history.systems import find, load


def expert(name: str, recipe: str) -> Any:
    """Load the shipped weights of a system for another one to start from.

    Args:
        name: the system.
        recipe: hash of the recipe that must have made them.

    Raises:
        InputError: there are none, or another recipe made them.
    """
    system = find(name)
    if not system.shipped:
        raise InputError(
            f"expected weights of {name} in {system.weights}, got none; "
            f"make them with: vlm-history train {name} --out {system.weights}"
        )
    card = json.loads((system.weights / "card.json").read_text(encoding="utf-8"))
    if card["recipe"]["hash"] != recipe:
        raise InputError(
            f"expected weights of {name} by recipe {recipe[:8]}, got those of {card['recipe']['hash'][:8]}; "
            f"make them anew with: vlm-history train {name} --anew --out {system.weights}"
        )
    return load(name)
