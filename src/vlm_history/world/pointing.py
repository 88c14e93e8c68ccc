"""Where a captioner looked, held against where things are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlm_history.world.compose import SIDE

if TYPE_CHECKING:
    from vlm_history.world.scenes import Scene, Thing

Looks = Sequence[tuple[str, NDArray[np.float32]]]
"""For each token of a caption (particles written ##가) how much of the look fell on each cell of a grid."""


def look_for(words: Sequence[str], looks: Looks) -> NDArray[np.float32] | None:
    """The mean look of the first place where these words stand one after the other; None if they nowhere do."""
    tokens = [token for token, _ in looks]
    for at in range(len(tokens) - len(words) + 1):
        if tokens[at : at + len(words)] == list(words):
            mean: NDArray[np.float32] = np.mean([look for _, look in looks[at : at + len(words)]], axis=0)
            return mean
    return None


def peak(look: NDArray[np.float32]) -> tuple[float, float]:
    """The middle of the cell that is looked at most: x and y in pixels of the scene."""
    row, column = np.unravel_index(int(look.argmax()), look.shape)
    return (float(column) + 0.5) * SIDE / look.shape[1], (float(row) + 0.5) * SIDE / look.shape[0]


def inside(thing: Thing, x: float, y: float) -> bool:
    """Whether a point lies on the square that a thing fills."""
    return abs(x - thing.x) <= thing.size / 2 and abs(y - thing.y) <= thing.size / 2


def on_object(scene: Scene, looks: Looks, language: str) -> list[bool]:
    """For each thing that the caption names: did the look at its name peak on it?

    Args:
        scene: what the picture shows.
        looks: the caption, token by token, with its looks.
        language: "ko" or "en".
    """
    found = []
    for thing in scene.things:
        name = thing.concept.ko if language == "ko" else thing.concept.en
        look = look_for(name.split(), looks)
        if look is not None:
            found.append(inside(thing, *peak(look)))
    return found
