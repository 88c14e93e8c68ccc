"""CLIP in small: what a larger batch, more pairs, a larger model, and hard negatives each are worth.

Section 3 of CLIP's paper counts its gains on the internet; half a minute of one core has sixty things, pictures of 32
pixels and towers a thousand times smaller. All ways read batches of one size and learn for as many steps. They differ
in one number each: how many of its batch a pair is told apart from, how many different pairs there are to learn from,
how wide the model is; and in whether captions that are false of their picture stand among the wrong ones (NegCLIP,
Yuksekgonul et al., arXiv 2210.01936).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history import checkpoints
from vlm_history.pretrain.clip import CLIP, CLIPConfig, nearest
from vlm_history.pretrain.clip_towers import EdgeCNNConfig, TextConfig
from vlm_history.pretrain.contrastive import contrastive_loss
from vlm_history.training.memo import trained
from vlm_history.training.recipe import Batch, Recipe, Stage
from vlm_history.training.recipes.clip import denied, read, tokenizer, told
from vlm_history.training.scenes import pixels_of, world
from vlm_history.world.concepts import Concept
from vlm_history.world.grammar import LANGUAGES, RELATIONS
from vlm_history.world.scenes import Scene
from vlm_history.world.splits import SPLITS, VALIDATION_ARTIST, pair_split

SIDE = 32


@dataclass(frozen=True)
class Corner:
    """A corner of the world, small enough for a minute.

    Attributes:
        things: how many there are.
        alone: share of pictures that show one of them; the others show two and a relation.
        style: which paraphrase is read; None: any.
        relations: of two things.
    """

    things: int
    alone: float
    style: int | None
    relations: tuple[str, ...] = RELATIONS


@cache
def things(number: int) -> tuple[Concept, ...]:
    """So many things, of all kinds; every artist whom this experiment shows drew all of them."""
    artists = (*SPLITS["train"][1], VALIDATION_ARTIST)
    drawn = [c for c in world().concepts if all(c in world().drawn_by(artist) for artist in artists)]
    return tuple(drawn[i * len(drawn) // number] for i in range(number))


@cache
def pairs(number: int, split: str) -> tuple[tuple[Concept, Concept], ...]:
    """Pairs of these things that belong to a split, both ways round."""
    which, some = SPLITS[split][0], things(number)
    return tuple((a, b) for a in some for b in some if a != b and pair_split(a.hexcode, b.hexcode) == which)


def draw(corner: Corner, seed: int, split: str, alone: float) -> Scene:
    """A scene of one or two of the things by an artist of a split: a function of its arguments alone.

    Args:
        corner: where it lies.
        seed: any integer.
        split: whose pairs and artists.
        alone: share of scenes that show one thing.
    """
    lot = Random(f"pairing/{split}/{seed}").random
    artist = SPLITS[split][1][int(lot() * len(SPLITS[split][1]))]
    if lot() < alone:
        return world().scene(things(corner.things)[int(lot() * corner.things)].en, artist=artist, seed=seed)
    every = pairs(corner.things, split)
    first, second = every[int(lot() * len(every))]
    relation = corner.relations[int(lot() * len(corner.relations))]
    return world().scene(first.en, second.en, relation=relation, artist=artist, seed=seed)


def shown(scene: Scene) -> tuple[str, ...]:
    """The things of a scene, whatever their places."""
    return tuple(sorted(thing.concept.hexcode for thing in scene.things))


def true_of(corner: Corner, scene: Scene, language: str) -> str:
    """A text of a scene; half of the time, of a single thing, its name."""
    return told(scene, language) if scene.kind == "one" else scene.caption(language, corner.style)


def false_of(corner: Corner, scene: Scene, language: str) -> str:
    """The same with its things exchanged; nothing, where there are no two."""
    return denied(scene, language) if corner.style is None else (scene.negatives(language) or [""])[corner.style]


def pixels(scenes: list[Scene]) -> Tensor:
    """(scenes, 3, 32, 32), normalised."""
    return F.avg_pool2d((pixels_of(scenes).float() / 255 - 0.5) / 0.25, 64 // SIDE)


@dataclass(frozen=True)
class Album:
    """All that a way learns from: pictures, a text and a lie of each in each language, and what they show."""

    pixels: Tensor
    tokens: Tensor
    lies: Tensor
    shown: tuple[tuple[str, ...], ...]


@cache
def album(corner: Corner, number: int) -> Album:
    """The first `number` training scenes; a smaller album is the beginning of a larger one."""
    scenes = [draw(corner, seed, "train", corner.alone) for seed in range(number)]
    pictures = torch.cat([pixels(scenes[start : start + 500]) for start in range(0, number, 500)])
    texts, lies = (read([[say(corner, s, x) for x in LANGUAGES] for s in scenes]) for say in (true_of, false_of))
    return Album(pictures, texts, lies, tuple(map(shown, scenes)))


class Apart(nn.Module):
    """CLIP with its loss, each pair told apart from so many at a time.

    Args:
        model: the CLIP.
        among: pairs, of which each picture finds its text and each text its picture.
    """

    def __init__(self, model: CLIP, among: int) -> None:
        super().__init__()
        self.model, self.among = model, among

    def forward(self, pixels: Tensor, tokens: Tensor, lies: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Summed loss and its weight; see `recipes.clip.Match`."""
        images, texts = self.model(pixels, tokens.flatten(0, 1))
        wrong = None if lies is None else F.normalize(self.model.text(lies.flatten(0, 1)), dim=1)
        total = torch.zeros(())
        for language in range(tokens.shape[1]):
            said = texts[language :: tokens.shape[1]]
            for start in range(0, len(pixels), self.among):
                some = slice(start, start + self.among)
                false = None
                if lies is not None and wrong is not None:
                    false = wrong[language :: tokens.shape[1]][some][(lies[some, language] > 0).any(1)]
                loss = contrastive_loss(images[some], said[some], self.model.scale(), false)
                total = total + loss * len(images[some])
        return total / tokens.shape[1], torch.tensor(float(len(pixels)))


@dataclass(frozen=True)
class Pairing(Stage):
    """The only stage.

    Attributes:
        among: pairs that each is told apart from, itself included.
        number: different pairs to learn from.
        width: of text and vectors; twice that of the CNN's first block, whose other widths stay.
        heads: of the attention that pools the CNN's grid.
        disjoint: whether what is told apart shares no thing at all, as it hardly ever does on the internet.
        negatives: whether false captions stand among the wrong ones.
        corner: of the world.
        looks: validation scenes of each kind.
    """

    among: int = 64
    number: int = 4000
    width: int = 64
    heads: int = 1
    disjoint: bool = False
    negatives: bool = False
    corner: Corner = Corner(things=60, alone=0.4, style=None)
    looks: int = 128

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new CLIP, a small one."""
        words, width = tokenizer(), self.width
        image = EdgeCNNConfig(16, (width // 2, 64 * self.heads), width, image_size=SIDE)
        text = TextConfig(len(words), length=64, width=width, depth=2, heads=max(1, width // 32))
        config = CLIPConfig(image, text, width, quick_gelu=False, prompts=(("{}",), ("{}",)))
        return Apart(CLIP(config, words), self.among)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Pairs of the album; of those that are told apart no two show the same things, or share any."""
        whole, lot = album(self.corner, self.number), Random(f"batch/{seed}/{index}")
        chosen: list[int] = []
        while len(chosen) < self.batch_size:
            if len(chosen) % self.among == 0:
                taken: set[object] = set()  # by those that the next are told apart from
            row = int(lot.random() * self.number)
            own_things = set(whole.shown[row]) if self.disjoint else {whole.shown[row]}
            if taken.isdisjoint(own_things):
                taken |= own_things
                chosen.append(row)
        own = torch.tensor(chosen[rows.start : rows.stop])
        batch = {"pixels": whole.pixels[own], "tokens": whole.tokens[own]}
        if self.negatives:
            batch["lies"] = whole.lies[own]
        return batch

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """See `marks`, on validation scenes."""
        assert isinstance(module, Apart)
        right = marks(module.model, self.corner, "validation", self.looks)
        return {name: sum(verdicts) / len(verdicts) for name, verdicts in right.items()}

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the CLIP."""
        assert isinstance(module, Apart)
        checkpoints.save(module.model, directory, bits=16)


@cache
def asked(corner: Corner, split: str, looks: int) -> dict[str, list[Scene]]:
    """Scenes that every way is asked about: single things, pairs, and pairs that are unlike each other."""
    unlike: dict[tuple[str, ...], Scene] = {}
    twos = [draw(corner, seed, split, alone=0.0) for seed in range(20 * looks)]
    for scene in twos:
        if len(unlike) < looks:
            unlike.setdefault(shown(scene), scene)
    ones = [draw(corner, seed, split, alone=1.0) for seed in range(looks)]
    return {"naming": ones, "binding": twos[:looks], "retrieval": list(unlike.values())}


@cache
def looked_at(corner: Corner, split: str, looks: int) -> dict[str, Tensor]:
    """The pixels of `asked`."""
    return {name: pixels(scenes) for name, scenes in asked(corner, split, looks).items()}


@torch.no_grad()
def marks(model: CLIP, corner: Corner, split: str, looks: int) -> dict[str, list[float]]:
    """What a CLIP gets right on scenes of a split, one number from 0 to 1 a scene, the mean of both languages.

    Args:
        model: one that `Pairing` made.
        corner: of the world, where it learned.
        split: of `SPLITS`.
        looks: scenes of each kind; of pairs that are unlike each other, as many as there are.

    Returns:
        "naming": one thing, among all names; "retrieval": among the texts of all pairs, the picture's own; "binding":
        of its text and a false one of the same words, the true one.
    """
    scenes = asked(corner, split, looks)
    seen = {name: model.encode_image(pictures) for name, pictures in looked_at(corner, split, looks).items()}
    right = {name: [0.0] * len(some) for name, some in scenes.items()}
    for language in LANGUAGES:
        names = model.encode_text([thing.ko if language == "ko" else thing.en for thing in things(corner.things)])
        true, own = (
            model.encode_text([true_of(corner, scene, language) for scene in scenes[name]])
            for name in ("binding", "retrieval")
        )
        false = model.encode_text([false_of(corner, scene, language) for scene in scenes["binding"]])
        first = [things(corner.things)[found[0][0]] for found in nearest(seen["naming"], names, 1)]
        verdicts = {
            "naming": [name == scene.things[0].concept for name, scene in zip(first, scenes["naming"], strict=True)],
            "binding": ((seen["binding"] * true).sum(1) > (seen["binding"] * false).sum(1)).tolist(),
            "retrieval": [row == found[0][0] for row, found in enumerate(nearest(seen["retrieval"], own, 1))],
        }
        for name, of_scenes in verdicts.items():
            right[name] = [before + now / len(LANGUAGES) for before, now in zip(right[name], of_scenes, strict=True)]
    return right


def way(**options: Any) -> Recipe:
    """One way to learn; everything that is not named is the same for all."""
    usual: dict[str, Any] = {
        "name": "pairs", "steps": 400, "batch_size": 64, "learning_rate": 2e-3, "warmup": 50, "evaluate_every": 100,
    }  # fmt: skip
    return Recipe("pairing", "CLIP in small", 0, (Pairing(**{**usual, **options}),))


SCALING: dict[str, dict[int, Recipe]] = {
    "among": {n: way(among=n) for n in (4, 64)},
    "number": {n: way(number=n) for n in (250, 4000)},
    "width": {n: way(width=n) for n in (16, 64)},
}
"""What is made larger -> how large -> the recipe; the largest of each is the same for all three."""
PLAIN = Corner(things=20, alone=0.2, style=0, relations=("left", "right"))
_PLAIN: dict[str, Any] = {"corner": PLAIN, "heads": 2, "steps": 600, "batch_size": 32, "among": 8}
NEGATIVES: dict[str, Recipe] = {
    "disjoint": way(**_PLAIN, disjoint=True),
    "crowded": way(**{**_PLAIN, "among": 32}),
    "false": way(**_PLAIN, disjoint=True, negatives=True),
}
"""Whether the order is asked for: others' texts are of other things; or, in a crowd, often share one; or there are
texts that are false of the picture.

There are fewer things than in `SCALING`, each said in one way, so that names leave time to learn the order."""


def pairer(recipe: Recipe) -> tuple[CLIP, Path]:
    """The CLIP of a recipe, trained or found trained, and its folder."""
    folder = trained(recipe, workers=0)
    return checkpoints.load(CLIP, folder).eval(), folder
