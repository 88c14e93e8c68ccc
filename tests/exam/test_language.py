"""The card of the language model tells the truth."""

import json

import pytest

from vlm_history.exam.language import perplexities
from vlm_history.systems import find, load


def test_shipped_card_tells_the_truth() -> None:
    system = find("lstm")
    if not system.shipped:
        pytest.skip("no weights shipped yet")
    scores = json.loads((system.weights / "card.json").read_text(encoding="utf-8"))["scores"]
    again = perplexities(load("lstm"), n=200, seed=scores["seed"])
    for language in ("ko", "en"):
        assert again[f"perplexity_{language}"] == pytest.approx(scores[f"perplexity_{language}"], rel=0.05)
