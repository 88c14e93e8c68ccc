"""What recipes share: training scenes, the words of the world, pixels as networks want them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from random import Random

import torch
from torch import Tensor

from vlm_history.connect.cnn import CNNConfig, GoogLeNetConfig, VGGConfig
from vlm_history.text import WordTokenizer
from vlm_history.training.recipe import Batch, scene_seeds
from vlm_history.world import World, drawing
from vlm_history.world.grammar import LANGUAGES, SIZES, Fact, Mention, captions, pair_fact
from vlm_history.world.scenes import Scene
from vlm_history.world.splits import pair_split

Mix = tuple[tuple[str, float], ...]
"""Kinds of scenes and their shares."""


@cache
def world() -> World:
    """The world, once in each process."""
    return World()


def training_scenes(
    seed: int, index: int, rows: range, batch_size: int, mix: Mix, among: Iterable[str] | None = None
) -> list[Scene]:
    """Scenes for some rows of a batch, all from the split "train"; `among`: see `World.sample`."""
    kinds, shares = zip(*mix, strict=True)
    scenes = []
    for scene_seed in scene_seeds(seed, index, rows, batch_size):
        kind = Random(f"kind/{scene_seed}").choices(kinds, shares)[0]
        scenes.append(world().sample(scene_seed, split="train", kind=kind, among=among))
    return scenes


def tidy_scenes(
    seed: int, index: int, rows: range, batch_size: int, mix: Mix, step: int = drawing.STEP
) -> list[Scene]:  # fmt: skip
    """What those that draw learn from: as `training_scenes`, of the hundred everyday things, and tidy."""
    return [drawing.tidy(it, step) for it in training_scenes(seed, index, rows, batch_size, mix, drawing.EVERYDAY)]


def tidy_looks(
    number: int, seed: int, split: str, kind: str | None = None, step: int = drawing.STEP
) -> list[Scene]:  # fmt: skip
    """Tidy scenes of a split, to look at; see `drawing.scenes`."""
    return [drawing.tidy(scene, step) for scene in drawing.scenes(world(), number, seed, split, kind)]


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


def normalised(pixels: Tensor, config: CNNConfig | GoogLeNetConfig | VGGConfig) -> Tensor:
    """Bytes -> what the CNN wants."""
    mean = torch.tensor(config.mean, device=pixels.device)[:, None, None]
    std = torch.tensor(config.std, device=pixels.device)[:, None, None]
    return (pixels.float() / 255 - mean) / std


def in_reading_order(scene: Scene, language: str) -> str:
    """A caption, chosen by the scene's seed, that names the left or the upper one of two things first."""
    if scene.kind != "pair":
        return scene.caption(language)
    said = captions(scene.fact, world().reader.names, language, leading=scene.fact.mentions[0])
    return Random(f"reading order/{language}/{scene.seed}").choice(said)


def said_of(scenes: list[Scene], ordered: bool = False) -> Tensor:
    """For each scene a Korean and an English caption, chosen by its seed: tokens (B, 2, T), padded.

    Args:
        scenes: what is told.
        ordered: the left or the upper one of two things is named first.
    """
    words, say = tokenizer(), in_reading_order if ordered else Scene.caption
    encoded = [[words.encode(say(scene, each), each) for each in LANGUAGES] for scene in scenes]
    longest = max(len(said) for of_scene in encoded for said in of_scene)
    tokens = torch.full((len(scenes), len(LANGUAGES), longest), words.pad)
    for row, of_scene in enumerate(encoded):
        for column, said in enumerate(of_scene):
            tokens[row, column, : len(said)] = torch.tensor(said)
    return tokens


def caption_batch(seed: int, index: int, rows: range, batch_size: int, mix: Mix, ordered: bool = False) -> Batch:
    """Pictures (B, 3, 64, 64) with a Korean and an English caption each (B, 2, T); see `said_of`."""
    scenes = training_scenes(seed, index, rows, batch_size, mix)
    return {"pixels": pixels_of(scenes), "tokens": said_of(scenes, ordered)}


def exactly_right(scenes: list[Scene], captions: list[str], language: str) -> float:
    """The share of captions that the grammar reads as the fact of their scene."""
    right = [
        world().reader.parse(caption, language) == scene.fact for caption, scene in zip(captions, scenes, strict=True)
    ]
    return sum(right) / len(right)
