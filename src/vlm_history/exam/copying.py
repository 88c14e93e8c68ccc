"""Are drawings copies? For each drawing what of training is most like it, pixel by pixel.

Two things are asked, since who draws well has learned how its artists draw a thing, and still no scene of training
should come back: which whole scene is most like the drawing, and, for each thing in it, which thing of those scenes,
each with what is around it. How near is near, real scenes of held-out pairs tell, which nobody can have copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vlm_history.errors import InputError
from vlm_history.judge import Sighting
from vlm_history.world import Scene
from vlm_history.world.compose import SIDE
from vlm_history.world.scenes import Thing

Pictures = NDArray[np.uint8]

SQUARE = 32
"""Height and width in pixels of what is cut out around a thing; those of a pair are 21 to 28 wide."""
# Compared at a time: a scene is 50 kB of floats.
CHUNK = 512


@dataclass(frozen=True)
class Near:
    """What of training is nearest.

    Attributes:
        scene: the training scene.
        thing: the thing in it, where things were compared, and not whole scenes.
        apart: root mean square difference of pixels, from 0 (a copy) to 255.
    """

    scene: Scene
    thing: Thing | None
    apart: float


def squares(picture: Pictures, centres: Iterable[tuple[float, float]]) -> Pictures:
    """Squares around places of a picture; at the edge they are moved inside.

    Args:
        picture: (64, 64, 3) bytes.
        centres: x and y in pixels.

    Returns:
        (places, 32, 32, 3) bytes.
    """
    corners = [[min(max(round(at) - SQUARE // 2, 0), SIDE - SQUARE) for at in centre] for centre in centres]
    cut = [picture[top : top + SQUARE, left : left + SQUARE] for left, top in corners]
    return np.stack(cut) if cut else np.zeros((0, SQUARE, SQUARE, 3), np.uint8)


def _flat(pictures: Pictures) -> NDArray[np.float32]:
    return pictures.reshape(len(pictures), math.prod(pictures.shape[1:])).astype(np.float32)


class _Nearest:
    """The nearest so far of each of some pictures (N, height, width, 3)."""

    def __init__(self, pictures: Pictures) -> None:
        self.wanted = _flat(pictures)
        self.apart = np.full(len(pictures), np.inf)
        self.which: list[tuple[Scene, Thing | None]] = [None] * len(pictures)  # type: ignore[list-item]  # until one is met

    def meet(self, pictures: Pictures, of: Sequence[tuple[Scene, Thing | None]]) -> None:
        """Compare with some more (M, height, width, 3), and what these are."""
        known = _flat(pictures)
        squared = (self.wanted**2).sum(1)[:, None] + (known**2).sum(1) - 2 * self.wanted @ known.T
        rows = squared.argmin(1)
        # those differences once more, by themselves: of large sums single precision leaves little
        apart = np.sqrt(np.mean((self.wanted - known[rows]) ** 2, axis=1, dtype=np.float64))
        for i in np.flatnonzero(apart < self.apart):
            self.apart[i], self.which[i] = apart[i], of[rows[i]]

    def told(self) -> list[Near]:
        return [Near(*which, float(apart)) for which, apart in zip(self.which, self.apart, strict=True)]


def nearest(
    pictures: Sequence[Pictures], found: Sequence[Sequence[Sighting]], scenes: Sequence[Scene]
) -> list[tuple[Near, list[Near]]]:
    """Look for each drawing, and for each thing in it, through training scenes.

    Args:
        pictures: the drawings, (64, 64, 3) bytes each; at least one.
        found: what the judge finds in each.
        scenes: of training; at least one.

    Returns:
        For each drawing the nearest whole scene, and for each of its things, in their order, the nearest thing.

    Raises:
        InputError: no scenes, no drawings, or drawings of another size.
    """
    sizes = sorted({np.shape(picture) for picture in pictures})
    if not scenes or sizes != [(SIDE, SIDE, 3)]:
        raise InputError(
            f"expected drawings of {SIDE} x {SIDE} pixels and scenes to compare them with, got drawings of "
            f"{', '.join(map(str, sizes)) or 'nothing'} and {len(scenes)} scenes; resize or add some"
        )
    drawn = np.stack(pictures)
    cut = [squares(picture, ((t.x, t.y) for t in things)) for picture, things in zip(drawn, found, strict=True)]
    whole, parts = _Nearest(drawn), _Nearest(np.concatenate(cut))
    for start in range(0, len(scenes), CHUNK):
        some = scenes[start : start + CHUNK]
        known = some[0].world.render(some)
        whole.meet(known, [(scene, None) for scene in some])
        around = [
            squares(picture, ((t.x, t.y) for t in scene.things)) for picture, scene in zip(known, some, strict=True)
        ]
        parts.meet(np.concatenate(around), [(scene, thing) for scene in some for thing in scene.things])
    of_things = iter(parts.told())
    return [(scene, [next(of_things) for _ in things]) for scene, things in zip(whole.told(), found, strict=True)]
