"""The drawing task: draw what a sentence says, of two everyday things that training never showed together.

Drawings are marked by a judge (`vlm_history.judge`), who has learned from real scenes what is where in a picture and is
no part of any system. Its marks are those of captioning the other way round: there a caption is held against what the
picture shows, here a drawing against what the sentence says.

- `objects` is the F1 of the things that the judge finds in a drawing against those that were asked for, as
  captioning's `object_f1` is. The mere share of the things asked for would be had in full by drawing everything.
- `relation` is the share of drawings in which the judge finds both things, and their centres as they were asked for:
  as scenes are made, one thing is left of another if it is more to the left of it than above or below it. What else is
  there is not counted again.
- `one` is `objects` where a single thing was asked for; there are a quarter as many of these prompts.

The prompts are captions of real scenes, and the oracle draws these scenes: where it has less than full marks, it was
the judge who erred. Chance draws real scenes of other prompts. Under names that begin with "reranked_" are the marks of
those who let CLIP choose among several drawings of each prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from vlm_history.errors import InputError
from vlm_history.exam import metrics
from vlm_history.judge import Judge, Sighting, judged
from vlm_history.pretrain.dalle import DALLE
from vlm_history.systems import find, load
from vlm_history.world import Scene, World, drawing
from vlm_history.world.grammar import LANGUAGES

Picture = NDArray[np.uint8]

CANDIDATES = 16
"""Drawings of a prompt among which CLIP chooses."""
# Drawn together: enough to fill a core. Each such group has other lots, since of one seed all begin alike.
CHUNK = 16
# Looked at together by the judge.
LOOKS = 128

Drawer = Callable[[list[Scene], str, int], list[Picture] | None]
"""Scenes, a language and how many drawings of each to choose from -> a picture for each scene's caption; None from who
cannot choose. Only baselines and the oracle look at more than the captions."""


@dataclass(frozen=True)
class Paper:
    """One sheet of the exam: scenes to be drawn from their captions in one language, who marks the drawings, and how
    many drawings of each there are to choose from."""

    prefix: str
    language: str
    scenes: list[Scene]
    judge: Judge
    candidates: int = 1

    @cached_property
    def prompts(self) -> list[str]:
        """What is to be drawn."""
        return [scene.caption(self.language) for scene in self.scenes]


def closed(world: World, judge: Judge | None = None) -> str | None:
    """Why the task cannot be sat, as an error says it; None if it can."""
    system = find("judge")
    if judge is None and not system.shipped:
        return (
            f"expected weights of the judge of drawings in {system.weights}, got none; "
            f"make them with: vlm-history train judge --out {system.weights}"
        )
    if world.pack is not None:
        return "expected no pack of artwork with the drawing task, whose systems draw as they learned to; leave one out"
    return None


def papers(world: World, n: int, seed: int, judge: Judge | None = None) -> list[Paper]:
    """The sheets: both languages, without and with a choice.

    Args:
        world: where the prompts come from.
        n: prompts of two things; there are a quarter as many of one.
        seed: of the scenes.
        judge: who marks; the shipped one if None.

    Raises:
        InputError: the task is `closed`.
    """
    if (why := closed(world, judge)) is not None:
        raise InputError(why)
    judge = load("judge") if judge is None else judge
    scenes = [
        scene
        for kind, number in (("pair", n), ("one", max(1, n // 4)))
        for scene in drawing.scenes(world, number, seed=seed, split="test", kind=kind)
    ]
    sheets = (("", 1), ("reranked_", CANDIDATES))
    return [Paper(prefix, it, scenes, judge, candidates) for prefix, candidates in sheets for it in LANGUAGES]


def as_asked(scene: Scene, found: list[Sighting]) -> tuple[float, bool]:
    """`objects` and `relation` of one drawing; of a single thing there is no relation.

    Args:
        scene: what was asked for.
        found: what the judge finds in the drawing.
    """
    return judged(found, [thing.concept.hexcode for thing in scene.things], scene.relation)


def mark(paper: Paper, drawn: list[Picture], seed: int = 0, resamples: int = 1000) -> dict[str, tuple[float, ...]]:
    """Mark one sheet.

    Args:
        paper: the sheet.
        drawn: a picture for each of its scenes.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Returns:
        metric -> (value, low, high), the last two a 95 % bootstrap interval over prompts.
    """
    groups = [drawn[start : start + LOOKS] for start in range(0, len(drawn), LOOKS)]
    seen = [found for some in groups for found in paper.judge.find(some)]
    marks = [(scene.kind, *as_asked(scene, found)) for scene, found in zip(paper.scenes, seen, strict=True)]
    points = {
        "objects": [objects for kind, objects, _ in marks if kind == "pair"],
        "relation": [float(right) for kind, _, right in marks if kind == "pair"],
        "one": [objects for kind, objects, _ in marks if kind == "one"],
    }

    def interval(of_scenes: NDArray[np.float64]) -> tuple[float, float]:
        return metrics.bootstrap(lambda chosen: float(of_scenes[chosen].mean()), len(of_scenes), seed, resamples)

    return {
        f"{paper.prefix}{name}_{paper.language}": (float(np.mean(values)), *interval(np.array(values)))
        for name, values in points.items()
    }


def can_sit(model: Any) -> bool:
    """True for systems that draw."""
    return hasattr(model, "draw")


def drawer(model: Any, world: World, chooser: Any = None) -> Drawer:
    """A system as a drawer: it gets the captions, and draws as it does if nothing else is said.

    Args:
        model: the system.
        world: what the captions tell of.
        chooser: the CLIP that chooses where there is a choice; the shipped one if None and it is there. Of the systems,
            only DALL-E draws so (section 2.6 of its paper).
    """

    def draw(scenes: list[Scene], language: str, candidates: int = 1) -> list[Picture] | None:
        options: dict[str, Any] = {}
        if candidates > 1:
            if not isinstance(model, DALLE) or (chooser is None and not find("clip").shipped):
                return None
            options = {"candidates": candidates, "judge": load("clip") if chooser is None else chooser}
        pictures: list[Picture] = []
        # a drawing's seed is its group's plus its number among the candidates: no two groups may share one
        for start in tqdm(range(0, len(scenes), CHUNK), unit_scale=CHUNK, unit=" drawings", disable=None):
            prompts = [scene.caption(language) for scene in scenes[start : start + CHUNK]]
            pictures += model.draw(prompts, seed=start * CANDIDATES, **options)
        return pictures

    return draw


def chance(world: World, seed: int) -> Drawer:
    """A real scene of as many other things."""

    def draw(scenes: list[Scene], language: str, candidates: int = 1) -> list[Picture] | None:
        first = (seed + 1) * 1_000_000_000
        others = [drawing.sample(world, first + i, "train", scene.kind) for i, scene in enumerate(scenes)]
        return list(world.render(others)) if candidates == 1 else None

    return draw


def oracle(world: World, seed: int) -> Drawer:
    """The real scenes that the captions tell of: what a perfect drawer would score, and so how good the judge is."""

    def draw(scenes: list[Scene], language: str, candidates: int = 1) -> list[Picture] | None:
        return list(world.render(scenes)) if candidates == 1 else None

    return draw


def sit(candidate: Drawer, sheets: list[Paper], seed: int) -> dict[str, tuple[float, ...]]:
    """Let a candidate sit all sheets that it can: metric -> (value, low, high)."""
    marks: dict[str, tuple[float, ...]] = {}
    for paper in sheets:
        drawn = candidate(paper.scenes, paper.language, paper.candidates)
        if drawn is not None:
            marks |= mark(paper, drawn, seed)
    return marks
