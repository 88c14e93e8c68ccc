"""The naming task: one object, by an artist whom training never met, among all names of the world.

`top1` is the share of pictures whose name comes first, asked in each language. The same is asked on drawings by the
training artists, under names that begin with "seen_": what is lost between the two is what was learned of artists
and not of things.

Who classifies is given all names and its likeliest one counts. Who only captions is right if its caption names this
object and no other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from vlm_history.exam import baselines, metrics
from vlm_history.world import Concept, Scene, World
from vlm_history.world.grammar import LANGUAGES
from vlm_history.world.splits import TRAIN_ARTISTS

KIND = "one"
# Looked at together: enough to fill a core, small enough for any memory.
CHUNK = 128

Namer = Callable[[list[Scene], str], list[str]]
"""Scenes and a language -> a name or a caption each. Only baselines and the oracle look at more than the pictures."""


@dataclass(frozen=True)
class Paper:
    """One sheet of the exam: scenes of one object, to be named in one language."""

    prefix: str
    language: str
    scenes: list[Scene]
    world: World


def papers(world: World, n: int, seed: int) -> list[Paper]:
    """The sheets: both languages, held-out artist and training artists (a reader's pack has only its own)."""
    parts = [("", "test-artist")] if world.pack is not None else [("", "test-artist"), ("seen_", "test")]
    return [
        Paper(prefix, language, scenes, world)
        for prefix, split in parts
        for scenes in [world.scenes(n, seed=seed, split=split, kind=KIND)]
        for language in LANGUAGES
    ]


def name_of(concept: Concept, language: str) -> str:
    """A concept's name in a language."""
    return concept.ko if language == "ko" else concept.en


def mark(paper: Paper, said: list[str], seed: int = 0, resamples: int = 1000) -> dict[str, tuple[float, ...]]:
    """Mark one sheet.

    Args:
        paper: the sheet.
        said: for each of its scenes a name, or a caption.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Returns:
        metric -> (value, low, high), the last two a 95 % bootstrap interval over scenes.
    """
    right = [
        paper.world.reader.mentioned(answer, paper.language) == [scene.things[0].concept]
        for scene, answer in zip(paper.scenes, said, strict=True)
    ]
    return {f"{paper.prefix}top1_{paper.language}": metrics.share(right, seed, resamples)}


def can_sit(model: Any) -> bool:
    """True for systems that classify or caption."""
    return hasattr(model, "classify") or hasattr(model, "caption")


def namer(model: Any, world: World, beam: int = 3) -> Namer:
    """A system as a namer of scenes: it gets pictures, the language, and all names if it can choose among them."""

    def name(scenes: list[Scene], language: str) -> list[str]:
        names = [name_of(concept, language) for concept in world.concepts]
        said: list[str] = []
        for start in range(0, len(scenes), CHUNK):
            pictures = world.render(scenes[start : start + CHUNK])
            if hasattr(model, "classify"):
                said += [next(iter(chances)) for chances in model.classify(pictures, names, language=language)]
            else:
                said += model.caption(pictures, language=language, beam=beam)
        return said

    return name


def chance(world: World, seed: int) -> Namer:
    """Any name."""

    def name(scenes: list[Scene], language: str) -> list[str]:
        lots = Random(f"naming/{seed}")
        return [name_of(lots.choice(world.concepts), language) for _ in scenes]

    return name


def hog(world: World, seed: int, artists: tuple[str, ...] = TRAIN_ARTISTS) -> Namer:
    """The name of the most similar drawing by one of these artists; told where the object is (see `baselines`)."""

    @lru_cache(maxsize=1)  # the next sheet asks for the same pictures in the other language
    def look(scenes: tuple[Scene, ...]) -> list[Concept]:
        return baselines.nearest(baselines.crops(scenes), artists)

    return lambda scenes, language: [name_of(concept, language) for concept in look(tuple(scenes))]


def oracle(world: World, seed: int) -> Namer:
    """The truth: a check of the exam itself."""
    return lambda scenes, language: [name_of(scene.things[0].concept, language) for scene in scenes]


def sit(candidate: Namer, sheets: list[Paper], seed: int) -> dict[str, tuple[float, ...]]:
    """Let a candidate sit all sheets: metric -> (value, low, high)."""
    marks: dict[str, tuple[float, ...]] = {}
    for paper in sheets:
        marks |= mark(paper, candidate(paper.scenes, paper.language), seed)
    return marks
