"""Who sits `binding` and `retrieval`: whoever can say how well a text fits a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_history.world import Scene, World
from vlm_history.world.grammar import LANGUAGES

KIND = "pair"
# Looked at together: enough to fill a core, small enough for any memory.
CHUNK = 128

Matcher = Callable[[list[Scene], list[str], str], NDArray[np.float64]]
"""Scenes, texts and their language -> how well each text fits each scene: (scenes, texts), higher is better. Only
baselines and the oracle look at more than the pictures."""


@dataclass(frozen=True)
class Paper:
    """One sheet of the exam: scenes of two things that training never showed together, told in one language."""

    prefix: str
    language: str
    scenes: list[Scene]


def papers(world: World, n: int, seed: int) -> list[Paper]:
    """The sheets: both languages, training artists and held-out artist (a reader's pack has only its own)."""
    parts = [("", "test")] if world.pack is not None else [("", "test"), ("artist_", "test-artist")]
    return [
        Paper(prefix, language, scenes)
        for prefix, split in parts
        for scenes in [world.scenes(n, seed=seed, split=split, kind=KIND)]
        for language in LANGUAGES
    ]


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
