"""What a language model is scored by: perplexity of captions of scenes that training kept out. No picture is asked for,
so it is no task of the exam; the scores stand on the model's card."""

from __future__ import annotations

from typing import Any

from vlm_history.world import World
from vlm_history.world.grammar import LANGUAGES


def perplexities(model: Any, n: int = 1000, seed: int = 0) -> dict[str, float]:
    """Perplexity a token, in each language, of captions of held-out pairs.

    Args:
        model: has `perplexity(sentences, language=...)`.
        n: scenes.
        seed: of the scenes.
    """
    scenes = World().scenes(n, seed=seed, split="test", kind="pair")
    return {
        f"perplexity_{language}": round(model.perplexity([s.caption(language) for s in scenes], language=language), 4)
        for language in LANGUAGES
    }
