"""Shipped cards are held to their word: the weights are scored again, on fewer of the same scenes."""

import json
from typing import Any

import pytest

from vlm_history.systems import find


def scores_of(name: str) -> dict[str, Any]:
    """What the card of a shipped system says of it; the test is skipped where none is shipped."""
    system = find(name)
    if not system.shipped:
        pytest.skip("no weights shipped yet")
    scores: dict[str, Any] = json.loads((system.weights / "card.json").read_text(encoding="utf-8"))["scores"]
    return scores


def agrees(name: str, task: str, again: dict[str, tuple[float, ...]], n: int) -> None:
    """The marks of a task on `n` scenes are the card's, as far as chance lets them be."""
    scores = scores_of(name)
    assert again
    for metric, (value, *_) in again.items():
        low, high = scores["intervals"][name][task][metric]
        # the card's interval, widened from its n to this one
        slack = (high - low) / 2 * (scores["n"] / n) ** 0.5
        assert abs(value - scores["systems"][name][task][metric]) <= 1.3 * slack + 0.01, metric
