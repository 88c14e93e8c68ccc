"""The judge of drawings: say what is where in real scenes, however worn the picture is.

Scenes are of the hundred everyday things of `world.drawing` and, to some part, of all things there are, which are
nothing to the judge unless they are among the hundred: who knows a hundred names only would find one of them in
anything. Half of the pictures are restyled (`augment.restyle`), so that a thing is told by its form and not by its
artist; and many are blurred, coded again or noisy (`augment.degrade`), so that a thing counts that anyone would
recognise, whatever traces the way leaves on which it was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import dist
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn

from vlm_history import checkpoints
from vlm_history.judge import Judge, JudgeConfig, Sighting
from vlm_history.training.augment import degrade, restyle
from vlm_history.training.recipe import Batch, Recipe, Stage, scene_seeds
from vlm_history.training.recipes.cnn import lessons
from vlm_history.training.scenes import Mix, normalised, pixels_of, world
from vlm_history.world import drawing
from vlm_history.world.scenes import Scene

VALIDATION = "validation"
TOGETHER = 128
"""Pictures that are looked at together."""


def share_out(places: Tensor, classes: Tensor, side: int, number: int) -> Tensor:
    """What each cell of a grid is to say: each thing shared out among the four cells around its centre.

    Args:
        places: (B, things, 2) centres, x and y from -1 to 1.
        classes: (B, things) from 0 to `number` - 1; -100 where there is no thing.
        side: rows of the grid, and columns.
        number: of classes.

    Returns:
        (B, number + 1, side, side); at each cell the shares add up to 1, the last being that of nothing.
    """
    cells = torch.arange(side, device=places.device)
    centres = (places + 1) * (side / 2) - 0.5  # in cells; the middles of cells are whole numbers
    across, down = (1 - (centres[..., None] - cells).abs()).clamp_min(0).unbind(2)  # (B, things, side) each
    which = nn.functional.one_hot(classes.clamp_min(0), number) * (classes >= 0)[..., None]
    things = torch.einsum("btn,btr,btc->bnrc", which.to(places.dtype), down, across)
    return torch.cat([things, 1 - things.sum(1, keepdim=True)], dim=1)


class FindThings(nn.Module):
    """The judge with its loss.

    Args:
        model: the judge.
        restyled, degraded: shares of the pictures that are, see `augment`.
    """

    def __init__(self, model: Judge, restyled: float, degraded: float) -> None:
        super().__init__()
        self.model, self.restyled, self.degraded = model, restyled, degraded
        row = {name: number for number, name in enumerate(model.config.names)}
        rows = torch.tensor([row.get(concept.hexcode, -100) for concept in world().concepts])
        self.register_buffer("rows", rows, persistent=False)

    def forward(self, pixels: Tensor, places: Tensor, concepts: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss, the cross-entropy of all cells of a picture, and its weight; see `cnn.lessons`."""
        seen = restyle(normalised(pixels, self.model.config.cnn), self.restyled)
        logits = self.model(degrade(seen, self.degraded))
        known = torch.where(concepts >= 0, self.get_buffer("rows")[concepts.clamp_min(0)], -100)
        wanted = share_out(places, known, logits.shape[3], logits.shape[1] - 1)
        loss = -(wanted * logits.log_softmax(1)).sum()
        return loss, torch.tensor(float(len(pixels)), device=pixels.device)


def compared(scenes: list[Scene], seen: list[list[Sighting]]) -> dict[str, float]:
    """What was found, held against what is there: recall, precision, and the mean distance of centres in pixels."""
    there = right = named = 0
    apart = 0.0
    for scene, found in zip(scenes, seen, strict=True):
        things = {thing.concept.hexcode: thing for thing in scene.things}
        hits = [each for each in found if each.name in things]
        there, named, right = there + len(things), named + len(found), right + len(hits)
        apart += sum(dist((hit.x, hit.y), (things[hit.name].x, things[hit.name].y)) for hit in hits)
    return {"recall": right / there, "precision": right / max(1, named), "pixels": apart / max(1, right)}


@dataclass(frozen=True)
class Scenes(Stage):
    """The only stage.

    Attributes:
        mix: kinds of scenes and their shares.
        foreign: share of scenes of all things there are.
        restyled, degraded: see `FindThings`.
        looks: validation scenes of each kind.
    """

    mix: Mix = (("one", 0.3), ("pair", 0.5), ("many", 0.2))
    foreign: float = 0.15
    restyled: float = 0.5
    degraded: float = 0.4
    looks: int = 512

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new judge."""
        names = tuple(concept.hexcode for concept in drawing.drawable())
        return FindThings(Judge(JudgeConfig.world(names)), self.restyled, self.degraded)

    def scene(self, seed: int) -> Scene:
        """A training scene."""
        lots = Random(f"judge/{seed}")
        kinds, shares = zip(*self.mix, strict=True)
        among = None if lots.random() < self.foreign else drawing.EVERYDAY
        return world().sample(seed, split="train", kind=lots.choices(kinds, shares)[0], among=among)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes."""
        return lessons([self.scene(lot) for lot in scene_seeds(seed, index, rows, self.batch_size)])

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Of validation scenes, pairs and single things, as they are and all of them degraded: the share of the things
        that are found, the share of what is found that is there, and how far from each other centres are in pixels."""
        assert isinstance(module, FindThings)
        scores: dict[str, float] = {}
        device = next(module.parameters()).device
        for kind in drawing.KINDS:
            scenes = drawing.scenes(world(), self.looks, seed=1, split=VALIDATION, kind=kind)
            clear = normalised(pixels_of(scenes).to(device), module.model.config.cnn)
            for name, pixels in ((kind, clear), (f"{kind}_degraded", degrade(clear, 1.0))):
                seen = [found for some in pixels.split(TOGETHER) for found in module.model.find(some)]
                scores |= {f"{name}_{metric}": value for metric, value in compared(scenes, seen).items()}
        return scores

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the judge."""
        assert isinstance(module, FindThings)
        checkpoints.save(module.model, directory, bits=16)


RECIPE = Recipe(
    system="judge",
    description="A small network learns what is where in real scenes, half of them restyled, many of them degraded",
    seed=0,
    stages=(
        Scenes(
            "scenes", steps=3200, batch_size=128, learning_rate=2e-3, warmup=200, evaluate_every=400,
        ),
    ),
)  # fmt: skip

QUICK = Recipe(
    system="judge",
    description="A minute's worth of the recipe",
    seed=0,
    stages=(
        Scenes(
            "scenes", steps=240, batch_size=64, learning_rate=2e-3, warmup=20, evaluate_every=60, looks=128,
        ),
    ),
)  # fmt: skip
