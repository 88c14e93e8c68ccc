"""The judge of drawings: which of the things that it knows does a picture show, and where?

It is no part of the history but of the exam, and independent of those whom it marks: it has learned from real scenes
alone, shares no weights with any system, and nobody has learned from it.

As in YOLO (Redmon et al., arXiv 1506.02640) each cell of a grid answers for the things whose centre lies there; here a
centre between cells is shared out among the four around it, as bilinear interpolation would. So the chances of a thing
add up, over neighbouring cells, to how sure it is that the thing is there, and their mean place is its centre: nothing
else has to be predicted, and no overlapping boxes have to be sorted out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.connect.cnn import CNNConfig, ResidualCNN
from vlm_history.images import Images, read_images

SURE = 0.3
"""Chance from which on a thing counts as found. On 2 x 1,024 validation scenes 99 % of the things there have more, and
nothing that is not there has; at 0.5, 97 % would. Of degraded ones, 98 %, and 0.3 % of what is found is not there."""
EMPTY = 0.97
"""The chance of a cell to hold nothing, before anything is learned (arXiv 1708.02002, section 4.1)."""


@dataclass(frozen=True)
class JudgeConfig:
    """Sizes of a judge.

    Attributes:
        cnn: what it sees by; here `width` is that of what it knows of each cell.
        names: of the things that it knows.
    """

    cnn: CNNConfig
    names: tuple[str, ...]

    @classmethod
    def world(cls, names: tuple[str, ...]) -> JudgeConfig:
        """The size that marks the world's drawings."""
        return cls(CNNConfig(stem=24, stages=(48, 96, 144), width=160), names)


@dataclass(frozen=True)
class Sighting:
    """A thing that was found: its name, its centre in pixels of the picture as the judge sees it, and how sure it is,
    from 0 to 1."""

    name: str
    x: float
    y: float
    chance: float


def related(first: Sighting, second: Sighting) -> str:
    """How the first is placed to the second: left, right, above or below, whichever it is more."""
    across, down = second.x - first.x, second.y - first.y
    if abs(across) > abs(down):
        return "left" if across > 0 else "right"
    return "above" if down > 0 else "below"


def judged(found: Sequence[Sighting], wanted: Sequence[str], relation: str | None) -> tuple[float, bool]:
    """Marks for a drawing, as the exam gives them: F1 of the things in it against those wanted, and whether both of two
    are there and placed as they should be.

    Args:
        found: what is in the drawing.
        wanted: names of what was asked for.
        relation: of the first to the second; None where a single thing was asked for.
    """
    seen = {thing.name: thing for thing in found}
    right = len(seen.keys() & set(wanted))
    objects = 2 * right / (len(seen) + len(set(wanted))) if right else 0.0
    there = len(wanted) == 2 and right == 2
    return objects, there and related(seen[wanted[0]], seen[wanted[1]]) == relation


def gather(chances: Float[Tensor, "batch names rows columns"], size: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each thing the 3 x 3 cells that hold most of it.

    Args:
        chances: of each thing, at each cell.
        size: height and width of the picture in pixels.

    Returns:
        The sum of its chances there, and their mean place, x and y in pixels: (batch, names) each.
    """

    def around(x: Tensor) -> Tensor:
        return 9 * F.avg_pool2d(x, 3, stride=1, padding=1).flatten(2)

    rows, columns = chances.shape[2:]
    y, x = (((torch.arange(n, device=chances.device) + 0.5) * size / n) for n in (rows, columns))
    most, at = around(chances).max(2, keepdim=True)
    places = [(around(chances * place).gather(2, at) / most.clamp_min(1e-12))[..., 0] for place in (x, y[:, None])]
    return most[..., 0], places[0], places[1]


class Judge(nn.Module):
    """A small residual network whose last grid is laid over the one before it, and what each cell of that holds."""

    def __init__(self, config: JudgeConfig) -> None:
        super().__init__()
        self.config = config
        self.cnn = ResidualCNN(config.cnn)
        del self.cnn.project  # its image vector is not asked for
        self.cell = nn.Conv2d(sum(config.cnn.stages[-2:]), config.cnn.width, 1)
        self.head = nn.Conv2d(config.cnn.width, len(config.names) + 1, 1)
        assert self.head.bias is not None
        with torch.no_grad():
            self.head.bias[-1] += math.log(len(config.names) * EMPTY / (1 - EMPTY))

    def forward(
        self, pixels: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch names_and_nothing rows columns"]:
        """Normalised pixels -> logits, at each cell, of each thing and, last, of nothing; 8 x 8 cells for 64 x 64."""
        *_, finer, last = self.cnn.levels(pixels)
        grid = torch.cat([finer, F.interpolate(last, scale_factor=2.0, mode="bilinear")], dim=1)
        return self.head(F.relu(self.cell(grid)))

    @torch.no_grad()
    def find(self, images: Images) -> list[list[Sighting]]:
        """Find things; of several of a kind, one.

        Args:
            images: one image or several, as `vlm_history.images.read_images` takes them.

        Returns:
            For each image what it shows, the surest first.

        Raises:
            InputError: no image.
        """
        config = self.config.cnn
        pixels = read_images(images, size=config.image_size, mean=config.mean, std=config.std)
        logits = self(pixels.to(self.head.weight.device))
        told = (part.tolist() for part in gather(logits.softmax(1)[:, :-1], config.image_size))
        seen = []
        for of_image in zip(*told, strict=True):
            every = zip(self.config.names, *of_image, strict=True)
            found = [Sighting(name, x, y, chance) for name, chance, x, y in every if chance >= SURE]
            seen.append(sorted(found, key=lambda thing: -thing.chance))
        return seen
