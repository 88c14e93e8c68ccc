"""The captioning task: two objects and a relation, pairs of objects that training never showed together.

Each system captions the same pictures in each language. A caption is `exact` if the grammar reads it as the fact of
the scene, whichever paraphrase it chose. `object_f1` asks only which objects it names. `bleu4` and `cider` compare
its words with all paraphrases of the true caption. The same is asked on pictures by the held-out artist, under
names that begin with "artist_".
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlm_history.exam import metrics
from vlm_history.world import Scene, World
from vlm_history.world.grammar import LANGUAGES

KIND = "pair"
# Captioned at a time: enough to fill a core, small enough for any memory.
CHUNK = 128

Captioner = Callable[[list[Scene], str], list[str]]
"""Scenes and a language -> a caption each. Only baselines and the oracle look at more than the pictures."""


@dataclass(frozen=True)
class Paper:
    """One sheet of the exam: scenes, and what is true of them in one language."""

    prefix: str
    language: str
    scenes: list[Scene]
    world: World

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """Words of the concepts' names, which a particle must not be cut from."""
        every = [c.ko if self.language == "ko" else c.en for c in self.world.concepts]
        return frozenset(word for name in every for word in name.split())

    def cut(self, caption: str) -> list[str]:
        """A caption as words."""
        return metrics.words(caption, self.language, self.names)

    @functools.cached_property
    def references(self) -> list[list[list[str]]]:
        """For each scene its paraphrases, as words."""
        return [[self.cut(c) for c in scene.captions(self.language)] for scene in self.scenes]

    @functools.cached_property
    def cider(self) -> metrics.CiderD:
        """CIDEr-D over these scenes."""
        return metrics.CiderD(self.references)


def papers(world: World, n: int, seed: int) -> list[Paper]:
    """The sheets: both languages, training artists and held-out artist (a reader's pack has only its own)."""
    parts = [("", "test")] if world.pack is not None else [("", "test"), ("artist_", "test-artist")]
    return [
        Paper(prefix, language, scenes, world)
        for prefix, split in parts
        for scenes in [world.scenes(n, seed=seed, split=split, kind=KIND)]
        for language in LANGUAGES
    ]


def mark(paper: Paper, captions: list[str], seed: int = 0, resamples: int = 1000) -> dict[str, tuple[float, ...]]:
    """Mark one sheet.

    Args:
        paper: the sheet.
        captions: one for each of its scenes.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Returns:
        metric -> (value, low, high), the last two a 95 % bootstrap interval over scenes. All are between 0 and 1
        but for cider (0 to 10).
    """
    reader, language = paper.world.reader, paper.language
    exact, f1, cider, counts = [], [], [], []
    for i, (scene, caption) in enumerate(zip(paper.scenes, captions, strict=True)):
        exact.append(float(reader.parse(caption, language) == scene.fact))
        named = {c.hexcode for c in reader.mentioned(caption, language)}
        f1.append(metrics.object_f1(named, {t.concept.hexcode for t in scene.things}))
        said = paper.cut(caption)
        cider.append(paper.cider.score(said, i))
        counts.append(metrics.bleu_counts(said, paper.references[i]))
    table = np.array(counts)

    def mean_of(values: list[float]) -> Callable[[NDArray[np.intp]], float]:
        array = np.array(values)
        return lambda chosen: float(array[chosen].mean())

    statistics: dict[str, Callable[[NDArray[np.intp]], float]] = {
        "exact": mean_of(exact),
        "object_f1": mean_of(f1),
        "bleu4": lambda chosen: metrics.bleu(table[chosen]),
        "cider": mean_of(cider),
    }
    everything = np.arange(len(captions))
    return {
        f"{paper.prefix}{name}_{language}": (
            statistic(everything),
            *metrics.bootstrap(statistic, len(captions), seed, resamples),
        )
        for name, statistic in statistics.items()
    }


def can_sit(model: Any) -> bool:
    """True for systems that caption."""
    return hasattr(model, "caption")


def captioner(model: Any, world: World, beam: int = 3) -> Captioner:
    """A system as a captioner of scenes: it gets pictures and the language, nothing else."""

    def caption(scenes: list[Scene], language: str) -> list[str]:
        said: list[str] = []
        for start in range(0, len(scenes), CHUNK):
            said += model.caption(world.render(scenes[start : start + CHUNK]), language=language, beam=beam)
        return said

    return caption


def chance(world: World, seed: int) -> Captioner:
    """A caption of the grammar for a random pair of concepts and a random relation."""

    def caption(scenes: list[Scene], language: str) -> list[str]:
        others = world.scenes(len(scenes), seed=seed + 1, split="train", kind=KIND)
        return [other.caption(language) for other in others]

    return caption


@functools.cache
def _most_frequent(looks: int = 5_000) -> dict[str, str]:
    """In each language the caption most often met in so many training scenes; among equals, the first in order."""
    scenes = World().scenes(looks, seed=0, split="train", kind=KIND)
    seen = {language: Counter(scene.caption(language) for scene in scenes) for language in LANGUAGES}
    return {language: min(said, key=lambda c, n=said: (-n[c], c)) for language, said in seen.items()}  # type: ignore[misc]


def most_frequent(world: World, seed: int) -> Captioner:
    """Always the caption that training scenes have most often."""
    return lambda scenes, language: [_most_frequent()[language]] * len(scenes)


def oracle(world: World, seed: int) -> Captioner:
    """The truth, in a random paraphrase: what a perfect system would score. A check of the exam itself."""

    def caption(scenes: list[Scene], language: str) -> list[str]:
        lots = Random(seed)
        return [lots.choice(scene.captions(language)) for scene in scenes]

    return caption


def sit(candidate: Captioner, sheets: list[Paper], seed: int) -> dict[str, tuple[float, ...]]:
    """Let a candidate sit all sheets: metric -> (value, low, high)."""
    marks: dict[str, tuple[float, ...]] = {}
    for paper in sheets:
        marks |= mark(paper, candidate(paper.scenes, paper.language), seed)
    return marks
