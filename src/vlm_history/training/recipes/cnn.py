"""The CNN: point at each thing in a picture, and name it.

ImageNet taught the CNNs of 2014 a thousand names. Nobody shipped an ImageNet of this world, but the world knows what
stands where, so every thing in every scene is a lesson. Half of the pictures are restyled (`augment`), so that the
CNN learns things and not artists.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history import checkpoints
from vlm_history.connect.cnn import Classifier, ClassifierConfig, CNNConfig
from vlm_history.training.augment import restyle
from vlm_history.training.recipe import Batch, Recipe, Stage
from vlm_history.training.scenes import Mix, normalised, pixels_of, training_scenes, world
from vlm_history.world.scenes import Scene

MOST_THINGS = 4


def lessons(scenes: list[Scene]) -> Batch:
    """Scenes -> pixels (B, 3, 64, 64) bytes, places (B, things, 2) of centres, x and y from -1 to 1, and concepts
    (B, things), -100 where there is no thing."""
    places = np.zeros((len(scenes), MOST_THINGS, 2), np.float32)
    concepts = np.full((len(scenes), MOST_THINGS), -100)
    for row, scene in enumerate(scenes):
        for column, thing in enumerate(scene.things):
            places[row, column] = thing.x / 32 - 1, thing.y / 32 - 1
            concepts[row, column] = thing.concept.index
    return {"pixels": pixels_of(scenes), "places": torch.from_numpy(places), "concepts": torch.from_numpy(concepts)}


class AskAtPlace(nn.Module):
    """Names the thing at a place from an image vector alone, which therefore has to keep what is where.

    Args:
        width: of the vector.
        classes: number of concepts.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.vector = nn.Linear(width, 2 * width)
        self.place = nn.Linear(8, 2 * width)
        self.names = nn.Linear(2 * width, classes)

    def forward(self, vectors: Tensor, places: Tensor) -> Tensor:
        """Vectors (B, width) and places (B, things, 2), x and y from -1 to 1 -> logits (B, things, concepts)."""
        waves = torch.pi * torch.cat([places, 2 * places], dim=2)
        asked = self.place(torch.cat([waves.sin(), waves.cos()], dim=2))
        return self.names(F.relu(self.vector(vectors)[:, None] * asked))


class NameObjects(nn.Module):
    """The classifier, and a second one that is thrown away afterwards.

    The classifier names things by the grid's features at their place. The second sees only the image vector, and is
    told the place.
    """

    def __init__(self, model: Classifier, smoothing: float, restyled: float) -> None:
        super().__init__()
        self.model = model
        self.smoothing, self.restyled = smoothing, restyled
        self.from_vector = AskAtPlace(model.config.cnn.width, len(model.config.names))

    def logits(self, pixels: Tensor, places: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of all concepts.

        Args:
            pixels: (B, 3, 64, 64), normalised.
            places: (B, things, 2) centres, x and y from -1 to 1.

        Returns:
            At each place, from the grid and from the vector: (B, things, concepts) each; of the whole picture,
            (B, concepts).
        """
        grid = self.model.cnn.features(pixels)
        here = F.grid_sample(grid, places[:, :, None], align_corners=False)[..., 0].transpose(1, 2)
        whole = self.model.whole(self.model.head(grid.permute(0, 2, 3, 1)))
        return self.model.head(here), self.from_vector(F.relu(self.model.cnn.pool(grid)), places), whole

    def forward(self, pixels: Tensor, places: Tensor, concepts: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and its weight.

        Args:
            pixels: (B, 3, 64, 64) bytes.
            places: (B, things, 2) centres, x and y from -1 to 1.
            concepts: (B, things) indices; -100 where there is no thing.
        """
        seen = restyle(normalised(pixels, self.model.config.cnn), self.restyled)
        *at_places, whole = self.logits(seen, places)
        alone = torch.where((concepts >= 0).sum(1) == 1, concepts[:, 0], -100)  # then the whole picture is its picture
        loss = sum(
            F.cross_entropy(scores, wanted, label_smoothing=self.smoothing, reduction="sum")
            for scores, wanted in [*((each.flatten(0, 1), concepts.flatten()) for each in at_places), (whole, alone)]
        )
        return torch.as_tensor(loss), (concepts >= 0).sum()


@dataclass(frozen=True)
class Objects(Stage):
    """The only stage.

    Attributes:
        mix: kinds of scenes and their shares.
        smoothing: of the labels.
        restyled: share of restyled pictures.
    """

    mix: Mix = (("many", 0.45), ("pair", 0.3), ("one", 0.25))
    smoothing: float = 0.1
    restyled: float = 0.5

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new CNN."""
        names = tuple((c.ko, c.en) for c in world().concepts)
        return NameObjects(Classifier(ClassifierConfig(CNNConfig.world(), names)), self.smoothing, self.restyled)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes."""
        return lessons(training_scenes(seed, index, rows, self.batch_size, self.mix))

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Of the things in validation pairs, how many are named right at their place; of single things, how many."""
        assert isinstance(module, NameObjects)
        device = next(module.parameters()).device
        scores = {}
        for name, split, kind in (
            ("pairs", "validation", "pair"),
            ("one", "validation", "one"),
            ("artist", "validation-artist", "one"),
        ):
            batch = lessons(world().scenes(512, seed=1, split=split, kind=kind))
            pixels = normalised(batch["pixels"].to(device), module.model.config.cnn)
            concepts = batch["concepts"]
            *at_places, whole = (x.argmax(-1).cpu() for x in module.logits(pixels, batch["places"].to(device)))
            if kind == "one":
                scores[name] = float((whole == concepts[:, 0]).float().mean())
            else:
                for way, named in zip(("grid", "vector"), at_places, strict=True):
                    scores[f"{name}_{way}"] = float((named == concepts)[concepts >= 0].float().mean())
        return scores

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the classifier."""
        assert isinstance(module, NameObjects)
        checkpoints.save(module.model, directory, bits=16)


RECIPE = Recipe(
    system="cnn",
    description="A small residual network learns to name each thing in a scene, half of the scenes restyled",
    seed=0,
    stages=(
        Objects(
            "objects", steps=6500, batch_size=128, learning_rate=2e-3, warmup=200, evaluate_every=500
        ),
    ),
)  # fmt: skip

QUICK = Recipe(
    system="cnn",
    description="A minute's worth of the recipe",
    seed=0,
    stages=(
        Objects("objects", steps=240, batch_size=64, learning_rate=2e-3, warmup=20, evaluate_every=60),
    ),
)  # fmt: skip
