"""The retrieval task: among a hundred, the caption that belongs to a picture, and the picture that belongs to one.

`text` is the share of pictures whose own caption fits best of a hundred captions, `image` the share of captions whose
own picture does; one in a hundred by chance. Things are pairs that training never showed together. The same is asked
on pictures by the held-out artist, under names that begin with "artist_".

The hundred show different things, so that knowing the things is enough: who is where is what `binding` asks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from vlm_history.exam import metrics
from vlm_history.exam.matching import Matcher, Paper
from vlm_history.world import Scene

POOL = 100
"""How many there are to choose from, so that a score does not depend on how many scenes are asked about."""


def pools(scenes: list[Scene]) -> Iterator[tuple[list[Scene], int]]:
    """Scenes a pool at a time, and how many of them, from the front, are asked about: the last is filled up with those
    of the first. Fewer scenes than `POOL` are one pool."""
    for start in range(0, len(scenes), POOL):
        own = scenes[start : start + POOL]
        yield own + scenes[: min(POOL, len(scenes)) - len(own)], len(own)


def mark(candidate: Matcher, paper: Paper, seed: int = 0, resamples: int = 1000) -> dict[str, tuple[float, ...]]:
    """Ask about one sheet, and mark it.

    Args:
        candidate: who sits.
        paper: the sheet.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Returns:
        metric -> (value, low, high), the last two a 95 % bootstrap interval over scenes.
    """
    right: dict[str, list[bool]] = {"text": [], "image": []}
    for pool, own in pools(paper.scenes):
        fit = candidate(pool, [scene.caption(paper.language) for scene in pool], paper.language)
        for name, told in (("text", fit), ("image", fit.T)):
            # best of all, and alone: who finds no difference has found nothing
            first = (told.argmax(1) == np.arange(len(pool))) & ((told == told.max(1, keepdims=True)).sum(1) == 1)
            right[name] += first[:own].tolist()
    return {f"{paper.prefix}{name}_{paper.language}": metrics.share(of, seed, resamples) for name, of in right.items()}


def sit(candidate: Matcher, sheets: list[Paper], seed: int) -> dict[str, tuple[float, ...]]:
    """Let a candidate sit all sheets: metric -> (value, low, high)."""
    marks: dict[str, tuple[float, ...]] = {}
    for paper in sheets:
        marks |= mark(candidate, paper, seed)
    return marks
