"""The cards of the language models tell the truth."""

import pytest

from tests.exam.cards import scores_of
from vlm_history.exam.language import perplexities
from vlm_history.systems import load
from vlm_history.training.text_tasks import zero_shot
from vlm_history.training.texts import unread


def test_the_card_of_the_lstm_tells_the_truth() -> None:
    scores = scores_of("lstm")
    again = perplexities(load("lstm"), n=200, seed=scores["seed"])
    for language in ("ko", "en"):
        assert again[f"perplexity_{language}"] == pytest.approx(scores[f"perplexity_{language}"], rel=0.05)


def test_the_card_of_gpt_1_tells_the_truth() -> None:
    scores = scores_of("gpt-1")
    model = load("gpt-1")
    for language in ("ko", "en"):
        assert model.perplexity(unread(30, language)) == pytest.approx(scores[f"perplexity_{language}"], rel=0.1)
    asked = zero_shot(model, 40)
    for name in ("kind", "ending"):
        assert asked[name] == pytest.approx(scores[f"zero_shot_{name}"], abs=0.15)
