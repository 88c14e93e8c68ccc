"""Who sits `binding` and `retrieval`: whoever can say how well a text fits a picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_history.world import Scene, World

# Looked at together: enough to fill a core, small enough for any memory.
CHUNK = 128

Matcher = Callable[[list[Scene], list[str], str], NDArray[np.float64]]
"""Scenes, texts and their language -> how well each text fits each scene: (scenes, texts), higher is better. Only
baselines and the oracle look at more than the pictures."""


def can_sit(model: Any) -> bool:
    """True for systems that make vectors of pictures and of texts that can be compared."""
    return hasattr(model, "encode_image") and hasattr(model, "encode_text")


def matcher(model: Any, world: World) -> Matcher:
    """A system as a matcher: it gets pictures and texts, each by itself; the cosine says how well they fit."""

    def fit(scenes: list[Scene], texts: list[str], language: str) -> NDArray[np.float64]:
        seen = [
            model.encode_image(world.render(scenes[start : start + CHUNK])).cpu().numpy()
            for start in range(0, len(scenes), CHUNK)
        ]
        fits: NDArray[np.float64] = np.concatenate(seen) @ model.encode_text(texts).cpu().numpy().T
        return fits

    return fit


def chance(world: World, seed: int) -> Matcher:
    """Lots."""
    lots = np.random.default_rng([seed, 0])
    return lambda scenes, texts, language: lots.random((len(scenes), len(texts)))


def oracle(world: World, seed: int) -> Matcher:
    """The truth: a check of the exam itself."""

    def fit(scenes: list[Scene], texts: list[str], language: str) -> NDArray[np.float64]:
        true = [set(scene.captions(language)) for scene in scenes]
        return np.array([[float(text in captions) for text in texts] for captions in true])

    return fit
