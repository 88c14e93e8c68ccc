"""The binding task: two pictures of the same two things, exchanged, and a caption of each. Which fits which?

The captions have the same words in another order, and the pictures the same things in each other's places, as in
Winoground (Thrush et al., arXiv 2204.03162). So whoever knows only which things there are, or only which words, is
right half of the time: `text` is the share of pictures of which the right caption fits better than the other, and
`image` the share of captions of which the right picture does; who finds no difference has half a point. `group` is the
share of fours of which all is right: one in six by chance, none by knowing only things or words. (Winoground counts
two pictures, or two captions, as one and calls it right if both are, so that chance there is a quarter.)

Things are pairs that training never showed together. The same is asked on pictures by the held-out artist, under names
that begin with "artist_".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vlm_history.exam import metrics
from vlm_history.exam.matching import Matcher, Paper
from vlm_history.world import Scene


def exchanged(scene: Scene) -> Scene:
    """The same scene with its two things in each other's places: what its `negatives` say is true of it."""
    first, second = scene.things
    return replace(scene, things=(replace(first, concept=second.concept), replace(second, concept=first.concept)))


def asked(scene: Scene, language: str) -> tuple[str, str]:
    """A caption of the scene, and of the same scene exchanged in the same style."""
    caption = scene.caption(language)
    return caption, scene.negatives(language)[scene.captions(language).index(caption)]


def fits(candidate: Matcher, paper: Paper) -> NDArray[np.float64]:
    """How well captions fit pictures: (scenes, 2 pictures, 2 captions); those on the diagonal belong together."""
    pictures = [each for scene in paper.scenes for each in (scene, exchanged(scene))]
    texts = [text for scene in paper.scenes for text in asked(scene, paper.language)]
    every = candidate(pictures, texts, paper.language)
    own = np.arange(len(pictures)).reshape(-1, 2)
    chosen: NDArray[np.float64] = every[own[:, :, None], own[:, None, :]]
    return chosen


def mark(paper: Paper, told: NDArray[np.float64], seed: int = 0, resamples: int = 1000) -> dict[str, tuple[float, ...]]:
    """Mark one sheet.

    Args:
        paper: the sheet.
        told: see `fits`.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Returns:
        metric -> (value, low, high), the last two a 95 % bootstrap interval over scenes.
    """
    right = np.diagonal(told, axis1=1, axis2=2)  # (scenes, 2)
    by_picture, by_text = (np.sign(right - np.diagonal(x, axis1=1, axis2=2)) for x in (told[:, :, ::-1], told[:, ::-1]))
    points = {
        "text": (by_picture.mean(1) + 1) / 2,
        "image": (by_text.mean(1) + 1) / 2,
        "group": ((by_picture > 0) & (by_text > 0)).all(1).astype(float),
    }

    def interval(of_scenes: NDArray[np.float64]) -> tuple[float, float]:
        return metrics.bootstrap(lambda chosen: float(of_scenes[chosen].mean()), len(of_scenes), seed, resamples)

    return {
        f"{paper.prefix}{name}_{paper.language}": (float(of_scenes.mean()), *interval(of_scenes))
        for name, of_scenes in points.items()
    }


def sit(candidate: Matcher, sheets: list[Paper], seed: int) -> dict[str, tuple[float, ...]]:
    """Let a candidate sit all sheets: metric -> (value, low, high)."""
    marks: dict[str, tuple[float, ...]] = {}
    for paper in sheets:
        marks |= mark(paper, fits(candidate, paper), seed)
    return marks
