"""Experts that were trained apart, then joined: what are they worth, counted in captioned pictures?

Five Show and Tells of one size read the same pictures in the same order. They differ in what they start from, and in
what may still change. A minute of one core is little for a world of hundreds of names, so this one has twenty.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random

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
    """Show and Tell with its loss, and a clock that began when it was made."""

    def __init__(self, model: ShowAndTell, tune: bool) -> None:
        super().__init__(model, tune)
        self.begun = time.process_time()


@dataclass(frozen=True)
class Joining(Stage):
    """The only stage.

    Attributes:
        cnn: hash of the recipe that made the CNN expert; none starts from nothing.
        lstm: hash of the recipe that made the language expert; none starts from nothing.
        tune: whether the experts go on learning.
        alone: share of pictures of one thing.
        looks: validation scenes in each language.
    """

    cnn: str = ""
    lstm: str = ""
    tune: bool = True
    alone: float = 0.4
    looks: int = 96

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A captioner as wide as the language expert; its parts are experts where experts are asked for."""
        words = tokenizer()
        config = replace(ShowAndTellConfig.world(len(words)), width=LanguageModelConfig.world(len(words)).width)
        model = ShowAndTell(config, words)
        if self.cnn:
            grid = {k: v for k, v in expert("cnn", self.cnn).cnn.state_dict().items() if not k.startswith("project.")}
            model.cnn.load_state_dict(grid, strict=False)
        join = Join(model, self.tune)
        model.cnn.get_submodule("project").requires_grad_(True)  # from the grid on, all is new: the joint
        if self.lstm:
            writer = expert("lstm", self.lstm)
            for part in ("embedding", "lstm", "words"):
                getattr(model, part).load_state_dict(getattr(writer, part).state_dict())
                getattr(model, part).requires_grad_(self.tune)
            with torch.no_grad():
                model.words.weight /= config.sharpness  # the language expert has none, and must say what it said
        return join

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
        checkpoints.save(module.model, directory, half=True)


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


def _way(name: str, description: str, cnn: str = "", lstm: str = "", tune: bool = True) -> Recipe:
    """One way to begin; everything else is the same for all."""
    stage = Joining(
        name, steps=800, batch_size=16, learning_rate=3e-3, warmup=20, evaluate_every=100, cnn=cnn, lstm=lstm, tune=tune
    )
    return Recipe("joining", description, 0, (stage,))


WAYS: dict[str, Recipe] = {
    "nothing": _way("nothing", "Everything learns from nothing"),
    "cnn-frozen": _way("cnn-frozen", "The CNN expert stays as it is, the rest is new", CNN.hash, tune=False),
    "cnn-tuned": _way("cnn-tuned", "The CNN expert goes on learning, the rest is new", CNN.hash),
    "both-frozen": _way("both-frozen", "Both experts stay as they are, the joint is new", CNN.hash, LSTM.hash, False),
    "both-tuned": _way("both-tuned", "Both experts go on learning, the joint is new", CNN.hash, LSTM.hash),
}
"""The five, by name."""
