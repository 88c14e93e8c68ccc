"""Experts that were trained apart, then joined: what are they worth, counted in captioned pictures?

Six Show and Tells of one size read the same pictures in the same order. They differ in what they start from, and in
what may still change. A minute of one core is little for a world of hundreds of names, so this one has twenty.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import nn

from vlm_history import checkpoints
from vlm_history.connect.lstm import LanguageModelConfig
from vlm_history.connect.show_and_tell import ShowAndTell, ShowAndTellConfig
from vlm_history.training.experts import expert
from vlm_history.training.recipe import Batch, Recipe, Stage, scene_seeds
from vlm_history.training.recipes.cnn import RECIPE as CNN
from vlm_history.training.recipes.lstm import RECIPE as LSTM
from vlm_history.training.recipes.show_and_tell import Tell
from vlm_history.training.scenes import exactly_right, pixels_of, said_of, tokenizer, world
from vlm_history.world.grammar import LANGUAGES, RELATIONS
from vlm_history.world.scenes import Scene
from vlm_history.world.splits import SPLITS, pair_split

EVERYDAY = (
    "cat", "dog", "rabbit", "elephant", "penguin", "fish", "tree", "sunflower", "apple", "banana", "pizza", "bread",
    "car", "bus", "bicycle", "airplane", "umbrella", "key", "star", "guitar",
)  # fmt: skip
"""The things of this experiment, as English calls them; all training artists drew all of them."""


WRITES = ("embedding", "lstm", "words")
"""The parts that Show and Tell and the language expert have in common."""


@cache
def pairs(split: str) -> tuple[tuple[str, str], ...]:
    """Pairs of everyday things that belong to a split ("train", "validation", ...), both ways round."""
    which = SPLITS[split][0]
    code = {name: world().concept(name).hexcode for name in EVERYDAY}
    return tuple((a, b) for a in EVERYDAY for b in EVERYDAY if a != b and pair_split(code[a], code[b]) == which)


def draw(seed: int, split: str, alone: float = 0.0) -> Scene:
    """Everyday things by an artist of a split: a function of its arguments alone.

    Args:
        seed: any integer.
        split: whose pairs and artists.
        alone: share of scenes that show one thing; the others show two and a relation.
    """
    lot = Random(f"joining/{split}/{seed}").random
    pair = pairs(split)[int(lot() * len(pairs(split)))]
    artist = SPLITS[split][1][int(lot() * len(SPLITS[split][1]))]
    if lot() < alone:
        return world().scene(pair[0], artist=artist, seed=seed)
    return world().scene(*pair, relation=RELATIONS[int(lot() * len(RELATIONS))], artist=artist, seed=seed)


class Join(Tell):
    """Show and Tell with its loss, and a clock: the seconds of CPU that this process had used when it was made."""

    def __init__(self, model: ShowAndTell, tune: bool) -> None:
        super().__init__(model, tune)
        self.begun = time.process_time()


@dataclass(frozen=True)
class Joining(Stage):
    """The only stage.

    Attributes:
        cnn: hash of the recipe that made the CNN expert; none starts from nothing.
        lstm: hash of the recipe that made the language expert; none starts from nothing.
        borrowed: which parts of the language expert are taken.
        frozen: which experts stay as they are: "cnn", "lstm".
        alone: share of pictures of one thing.
        looks: validation scenes in each language.
    """

    cnn: str = ""
    lstm: str = ""
    borrowed: tuple[str, ...] = WRITES
    frozen: tuple[str, ...] = ()
    alone: float = 0.4
    looks: int = 96

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A captioner whose experts sleep where they are to."""
        model = self.begin()
        join = Join(model, "cnn" not in self.frozen)
        model.cnn.get_submodule("project").requires_grad_(True)  # from the grid on, all is new: the joint
        for part in WRITES:
            getattr(model, part).requires_grad_("lstm" not in self.frozen)
        return join

    def begin(self) -> ShowAndTell:
        """A captioner as wide as the language expert, its parts experts where they are asked for."""
        words = tokenizer()
        config = replace(ShowAndTellConfig.world(len(words)), width=LanguageModelConfig.world(len(words)).width)
        model = ShowAndTell(config, words)
        if self.cnn:
            grid = {k: v for k, v in expert("cnn", self.cnn).cnn.state_dict().items() if not k.startswith("project.")}
            model.cnn.load_state_dict(grid, strict=False)
        if self.lstm:
            writer = expert("lstm", self.lstm)
            for part in self.borrowed:
                getattr(model, part).load_state_dict(getattr(writer, part).state_dict())
            with torch.no_grad():
                model.words.weight /= config.sharpness  # the language expert has none, and must say what it said
        return model

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes of everyday things, each with a Korean and an English caption."""
        seeds = scene_seeds(seed, index, rows, self.batch_size)
        scenes = [draw(scene_seed, "train", self.alone) for scene_seed in seeds]
        return {"pixels": pixels_of(scenes), "tokens": said_of(scenes)}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Greedy captions of validation pairs; and the seconds of CPU so far, this look included."""
        assert isinstance(module, Join)
        scores = marks(module.model, [draw(i, "validation") for i in range(self.looks)])
        return {**scores, "cpu": time.process_time() - module.begun}

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the captioner."""
        assert isinstance(module, Join)
        checkpoints.save(module.model, directory, bits=16)


def marks(model: ShowAndTell, scenes: list[Scene]) -> dict[str, float]:
    """How many captions are exactly right, and the F1 of the things that they name: means over both languages."""
    exact, overlap = 0.0, 0.0
    for language in LANGUAGES:
        said = model.caption(world().render(scenes), language=language, beam=1)
        assert isinstance(said, list)
        exact += exactly_right(scenes, said, language) / len(LANGUAGES)
        for caption, scene in zip(said, scenes, strict=True):
            named = {c.hexcode for c in world().reader.mentioned(caption, language)}
            true = {thing.concept.hexcode for thing in scene.things}
            overlap += 2 * len(named & true) / (len(named) + len(true)) / len(said) / len(LANGUAGES)
    return {"exact": exact, "object_f1": overlap}


def _way(description: str, **options: Any) -> Recipe:
    """One way to begin; everything else is the same for all."""
    # Of the rates 5e-4, 1e-3 and 3e-3 this one gave each of them (but for the last, which learns nothing) the best
    # object_f1 on validation pairs, or one within a standard error of it; at 3e-3 tuning the CNN at once did harm.
    stage = Joining("captions", steps=640, batch_size=16, learning_rate=1e-3, warmup=20, evaluate_every=80, **options)
    return Recipe("joining", description, 0, (stage,))


WAYS: dict[str, Recipe] = {
    "nothing": _way("Everything learns from nothing"),
    "cnn-tuned": _way("The CNN expert goes on learning, the rest is new", cnn=CNN.hash),
    "cnn-frozen": _way("The CNN expert stays as it is, the rest is new", cnn=CNN.hash, frozen=("cnn",)),
    "lstm-words": _way(
        "The CNN expert stays; the decoder begins with the words of the language expert, and a new memory",
        cnn=CNN.hash, lstm=LSTM.hash, borrowed=("embedding", "words"), frozen=("cnn",),
    ),
    "lstm-tuned": _way(
        "The CNN expert stays; the decoder begins as the language expert, and goes on learning",
        cnn=CNN.hash, lstm=LSTM.hash, frozen=("cnn",),
    ),
    "lstm-frozen": _way(
        "Both experts stay as they are, only the joint learns",
        cnn=CNN.hash, lstm=LSTM.hash, frozen=("cnn", "lstm"),
    ),
}  # fmt: skip
"""The six, by name."""
