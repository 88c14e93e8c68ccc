"""Show and Tell: first the CNN learns to name objects, then CNN and LSTM learn to tell.

The paper starts from a CNN that was trained on ImageNet and throws its classifier away. Nobody shipped an ImageNet
of this world, so stage one makes up for it: point at each thing in a picture and name it. Stage two trains the whole
end to end on captions, as section 4.3.1 of the paper does at its end. Every picture comes with one Korean and one
English caption; its vector is computed once for both, since the CNN is most of the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history import checkpoints
from vlm_history.connect.cnn import CNNConfig, GoogLeNetConfig, ResidualCNN
from vlm_history.connect.show_and_tell import ShowAndTell, ShowAndTellConfig
from vlm_history.text import WordTokenizer
from vlm_history.training.recipe import Batch, Recipe, Stage, scene_seeds
from vlm_history.world import World
from vlm_history.world.grammar import LANGUAGES, SIZES, Fact, Mention, captions, pair_fact
from vlm_history.world.scenes import Scene
from vlm_history.world.splits import pair_split

Mix = tuple[tuple[str, float], ...]
"""Kinds of scenes and their shares."""

MOST_THINGS = 4


@cache
def world() -> World:
    """The world, once in each process."""
    return World()


def training_scenes(seed: int, index: int, rows: range, batch_size: int, mix: Mix) -> list[Scene]:
    """Scenes for some rows of a batch, all from the split "train"."""
    kinds, shares = zip(*mix, strict=True)
    scenes = []
    for scene_seed in scene_seeds(seed, index, rows, batch_size):
        kind = Random(f"kind/{scene_seed}").choices(kinds, shares)[0]
        scenes.append(world().sample(scene_seed, split="train", kind=kind))
    return scenes


@cache
def tokenizer() -> WordTokenizer:
    """The words of the world, in both languages: every name, alone, counted and in a pair that training may see."""
    names = {c.hexcode: c for c in world().concepts}
    facts = []
    for concept in world().concepts:
        facts += [Fact("one", (Mention(concept.hexcode, size),)) for size in (None, *SIZES)]
        facts += [Fact("count", (Mention(concept.hexcode),), None, n) for n in (1, 2, 3, 4) if concept.article]
    for first, second in pairwise(names):
        if pair_split(first, second) == "train":
            facts += [pair_fact(Mention(first), relation, Mention(second)) for relation in ("left", "above")]
    for trio in zip(names, list(names)[1:], list(names)[2:], strict=False):
        if all(pair_split(a, b) == "train" for a, b in (trio[:2], trio[1:], trio[::2])):
            facts.append(Fact("many", tuple(Mention(h) for h in trio)))
    return WordTokenizer.fit(
        [said for fact in facts for language in LANGUAGES for said in captions(fact, names, language)], minimum=5
    )


def pixels_of(scenes: list[Scene]) -> Tensor:
    """(scenes, 3, 64, 64) bytes; four times cheaper to hand over than floats."""
    return torch.from_numpy(world().render(scenes)).permute(0, 3, 1, 2)


def normalised(pixels: Tensor, config: CNNConfig | GoogLeNetConfig) -> Tensor:
    """Bytes -> what the CNN wants."""
    mean = torch.tensor(config.mean, device=pixels.device)[:, None, None]
    std = torch.tensor(config.std, device=pixels.device)[:, None, None]
    return (pixels.float() / 255 - mean) / std


class NameObjects(nn.Module):
    """A CNN with two classifiers that are thrown away afterwards: each names the thing at a place.

    One sees the grid's features there. The other sees only the image vector and is told the place, so the vector must
    keep what is where: an LSTM that sees the vector once will have to find everything in it.
    """

    def __init__(self, cnn: ResidualCNN, concepts: int, smoothing: float) -> None:
        super().__init__()
        self.cnn = cnn
        self.smoothing = smoothing
        width = cnn.config.width
        self.from_grid = nn.Linear(cnn.config.stages[-1], concepts)
        self.vector = nn.Linear(width, 2 * width)
        self.place = nn.Linear(8, 2 * width)
        self.from_vector = nn.Linear(2 * width, concepts)

    def logits(self, pixels: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of all concepts at each place, from the grid and from the vector: two of (B, things, concepts)."""
        grid = self.cnn.features(normalised(pixels, self.cnn.config))
        here = F.grid_sample(grid, places[:, :, None], align_corners=False)[..., 0].transpose(1, 2)
        waves = torch.pi * torch.cat([places, 2 * places], dim=2)
        asked = self.place(torch.cat([waves.sin(), waves.cos()], dim=2))
        known = self.vector(F.relu(self.cnn.pool(grid)))
        return self.from_grid(here), self.from_vector(F.relu(known[:, None] * asked))

    def forward(self, pixels: Tensor, places: Tensor, concepts: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and its weight.

        Args:
            pixels: (B, 3, 64, 64) bytes.
            places: (B, things, 2) centres, x and y from -1 to 1.
            concepts: (B, things) indices; -100 where there is no thing.
        """
        both = self.logits(pixels, places)
        wanted = concepts.flatten()
        loss = sum(
            F.cross_entropy(scores.flatten(0, 1), wanted, label_smoothing=self.smoothing, reduction="sum")
            for scores in both
        )
        return torch.as_tensor(loss), (concepts >= 0).sum()


@dataclass(frozen=True)
class Objects(Stage):
    """Stage one: the CNN learns objects."""

    mix: Mix = (("many", 0.5), ("pair", 0.3), ("one", 0.2))
    smoothing: float = 0.1

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new CNN."""
        return NameObjects(ResidualCNN(CNNConfig.world()), len(world().concepts), self.smoothing)

    def collate(self, scenes: list[Scene]) -> Batch:
        """Scenes -> pixels, places, concepts."""
        places = np.zeros((len(scenes), MOST_THINGS, 2), np.float32)
        concepts = np.full((len(scenes), MOST_THINGS), -100)
        for row, scene in enumerate(scenes):
            for column, thing in enumerate(scene.things):
                places[row, column] = thing.x / 32 - 1, thing.y / 32 - 1
                concepts[row, column] = thing.concept.index
        return {
            "pixels": pixels_of(scenes),
            "places": torch.from_numpy(places),
            "concepts": torch.from_numpy(concepts),
        }

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes."""
        return self.collate(training_scenes(seed, index, rows, self.batch_size, self.mix))

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Of the things in validation pairs, how many are named right at their place."""
        assert isinstance(module, NameObjects)
        batch = self.collate(world().scenes(512, seed=1, split="validation", kind="pair"))
        device = next(module.parameters()).device
        there = batch["concepts"] >= 0
        right = [
            float((logits.argmax(2).cpu() == batch["concepts"])[there].float().mean())
            for logits in module.logits(batch["pixels"].to(device), batch["places"].to(device))
        ]
        return {"from_grid": right[0], "from_vector": right[1]}


class Tell(nn.Module):
    """Show and Tell with its loss: each picture's vector serves its captions in all languages."""

    def __init__(self, model: ShowAndTell) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and the number of tokens.

        Args:
            pixels: (B, 3, 64, 64) bytes.
            tokens: (B, captions, T), padded.
        """
        pad = self.model.tokenizer.pad
        each = tokens.shape[1]
        vectors = self.model.encode(normalised(pixels, self.model.cnn.config)).repeat_interleave(each, 0)
        tokens = tokens.flatten(0, 1)
        wanted = tokens[:, 1:]
        said = wanted != pad  # half of a batch is padding: words are chosen only where there are any
        logits = self.model.words(self.model.hidden(vectors, tokens[:, :-1])[said])
        loss = F.cross_entropy(logits, wanted[said], reduction="sum")
        return loss, said.sum()


@dataclass(frozen=True)
class Captions(Stage):
    """Stage two: the whole learns to tell."""

    mix: Mix = (("pair", 0.7), ("one", 0.1), ("many", 0.1), ("count", 0.07), ("size", 0.03))
    looks: int = 256

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new decoder; the CNN is the one that stage one trained, if there was one."""
        words = tokenizer()
        model = ShowAndTell(ShowAndTellConfig.world(len(words)), words)
        if isinstance(earlier, NameObjects):
            model.cnn.load_state_dict(earlier.cnn.state_dict())
        return Tell(model)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes, each with a Korean and an English caption, chosen by the scene's own seed."""
        scenes = training_scenes(seed, index, rows, self.batch_size, self.mix)
        encoded = [[tokenizer().encode(scene.caption(each), each) for each in LANGUAGES] for scene in scenes]
        longest = max(len(said) for of_scene in encoded for said in of_scene)
        tokens = torch.full((len(scenes), len(LANGUAGES), longest), tokenizer().pad)
        for row, of_scene in enumerate(encoded):
            for column, said in enumerate(of_scene):
                tokens[row, column, : len(said)] = torch.tensor(said)
        return {"pixels": pixels_of(scenes), "tokens": tokens}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Greedy captions of validation pairs: how many are exactly right, in each language."""
        assert isinstance(module, Tell)
        scenes = world().scenes(self.looks, seed=1, split="validation", kind="pair")
        pictures: Any = world().render(scenes)
        scores = {}
        for language in LANGUAGES:
            said = module.model.caption(pictures, language=language, beam=1)
            right = [
                world().reader.parse(caption, language) == scene.fact
                for caption, scene in zip(said, scenes, strict=True)
            ]
            scores[f"exact_{language}"] = sum(right) / len(right)
        scores["exact"] = sum(scores.values()) / len(scores)
        return scores

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the captioner."""
        assert isinstance(module, Tell)
        checkpoints.save(module.model, directory)


RECIPE = Recipe(
    system="show-and-tell",
    description="The CNN learns to name objects, then CNN and LSTM learn captions in Korean and English end to end",
    seed=0,
    stages=(
        Objects(
            "objects", steps=3000, batch_size=128, learning_rate=2e-3, warmup=100, evaluate_every=250
        ),
        Captions(
            "captions", steps=3600, batch_size=128, learning_rate=1.5e-3, warmup=100, evaluate_every=300
        ),
    ),
)  # fmt: skip

QUICK = Recipe(
    system="show-and-tell",
    description="A minute's worth of the recipe: the loss falls, the captions are not yet right",
    seed=0,
    stages=(
        Captions(
            "captions", steps=120, batch_size=64, learning_rate=2e-3, warmup=10, evaluate_every=30, looks=64
        ),
    ),
)  # fmt: skip
