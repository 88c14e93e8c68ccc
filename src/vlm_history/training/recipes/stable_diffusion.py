"""Stable Diffusion: first an autoencoder, then, in its latents, the way from noise to what a sentence says.

All stages see the hundred everyday things of `world.drawing`, alone and in pairs, tidy.

The autoencoder has two stages. It begins with windows of a quarter of a picture, in which there is always a thing, and
ends with whole pictures, of which most is paper. At first its latents are also held near the principal components of
the pieces that they stand for, so that it need not find out by itself what a grid of numbers is good for.

The paper's autoencoder is also held to the features of a classifier and to an adversary, which keep the texture of
photographs crisp; a drawing is flat colour and edges, which an absolute difference keeps by itself, and either of them
would cost as much as the autoencoder once more. The KL term counts for more than there (section 3.1), where it only
keeps latents from growing: what they keep, the U-Net has to learn. In trials of four to five minutes on a core,
weighted .001, .05 and .15, it left a picture 2,350, 870 and 500 nats, and of the things in such validation pictures
the judge found .85, .87 and .85. A U-Net over latents of 2,640 nats drew .2 to .3 of what validation sentences ask for
(`objects`) after 250,000 pictures. Last of all latents are brought to mean 0 and deviation 1 in windows of things.

Then the autoencoder rests and the U-Net is trained, in two stages as well: with windows of single things, a quarter of
the work and no doubt which word is meant, and then with scenes as a whole. Such a network is at home on grids of any
size; Stable Diffusion, too, learned from pictures of 256 x 256 pixels before those of 512 x 512. Pictures are encoded
once, before a stage begins, since to draw and to encode a picture again and again takes half as long as to learn from
it; sentences are chosen anew each time, in Korean or in English by lot, and one in ten is left out, so that a drawing
can be guided (Ho and Salimans, arXiv 2207.12598). What is kept is a moving average of the weights (DDPM, arXiv
2006.11239, appendix B).

Four things decide how far two hours go:

- Things lie where latents do, 8 pixels apart. Moved by that much, its latents stay the
  same but for .04 of their deviation; moved by 4 pixels, they differ by 1.2 of it.
- Times are not drawn evenly but about the middle (Esser et al., arXiv 2403.03206, section 3.1): their logit is normal.
  In trials of three minutes on a core, of 57,600 windows, the judge found .60 of single things that validation
  sentences asked for when times were even, .60, .69, .76 and .79 when the mean of the logit was .7, .3, 0 and -.4
  (guidance 2, without which it was .27, .38, .43, .50 and .50). Before, with things 4 pixels apart and even times, it
  had taken 448,000 windows to .62.
- CLIP's text tower reads, as it was trained, and scenes are learned along with two layers that read on. It never had
  to know which of two things is where, and what it knows at a name hardly tells: a U-Net that had nothing else drew
  both things at their places in .03 of scenes.
- While it learns, the reader is asked at each name on which side its thing is, and the grid whether it looks at a name
  from where its thing is. In a trial of 70,000 scenes without either, `relation` was .04, and a linear probe read from
  the reader little more than whether two things are beside or above one another.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from vlm_history import checkpoints
from vlm_history.judge import judged
from vlm_history.pretrain.autoencoder import Autoencoder, AutoencoderConfig, Gaussian
from vlm_history.pretrain.clip import CLIP, CLIPConfig, read_texts
from vlm_history.pretrain.clip_towers import TextConfig
from vlm_history.pretrain.stable_diffusion import StableDiffusion, StableDiffusionConfig
from vlm_history.pretrain.unet import Looks, Words
from vlm_history.systems import find, load
from vlm_history.training.experts import expert
from vlm_history.training.pieces import cut, principal_axes
from vlm_history.training.precision import bfloat16
from vlm_history.training.recipe import Batch, Recipe, Stage, scene_seeds
from vlm_history.training.recipes.clip import RECIPE as CLIPS
from vlm_history.training.recipes.clip import tokenizer
from vlm_history.training.scenes import Mix, pixels_of, tidy_looks, tidy_scenes
from vlm_history.world.grammar import LANGUAGES
from vlm_history.world.scenes import Scene

VALIDATION = "validation"
TOGETHER = 128
"""Pictures that are encoded at a time."""
REMEMBERED = 8_192
"""Texts that need not be read again; of single things there are some 900."""


def normalised(pixels: Tensor) -> Tensor:
    """Bytes -> from -1 to 1, as the autoencoder wants them."""
    return pixels.float() / 127.5 - 1


class Reconstruct(nn.Module):
    """The autoencoder with its loss.

    Args:
        model: the autoencoder.
        kl: weight of a nat of KL beside a value of a pixel, from -1 to 1, that is off by 1.
        anchor: how much it counts by how much the means of latents, squared, are off the numbers of their pieces: see
            `collect`. 0: not at all.
        scenes: what pieces are cut from, when they are first asked for.
        half: whether the network computes in bfloat16, see `precision`; chance and the loss stay in float32.
    """

    origin: Tensor
    axes: Tensor

    def __init__(
        self, model: Autoencoder, kl: float, anchor: float = 0.0, scenes: Callable[[], list[Scene]] | None = None,
        half: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.kl, self.anchor, self.scenes, self.in_half = model, kl, anchor, scenes, half
        values = 3 * model.config.factor**2
        self.register_buffer("origin", torch.zeros(values))
        self.register_buffer("axes", torch.zeros(values, model.config.channels))

    @torch.no_grad()
    def collect(self) -> None:
        """Find the axes by which a piece is told in as many numbers as a latent has channels, each of deviation 1,
        unless they are known."""
        if self.axes.any():
            return
        assert self.scenes is not None
        pixels = normalised(pixels_of(self.scenes()).to(self.axes.device))
        pieces = cut(pixels, self.model.config.factor).flatten(0, 1)
        self.origin.copy_(pieces.mean(0))
        axes, deviations = principal_axes(pieces - self.origin, self.axes.shape[1])
        self.axes.copy_(axes / deviations)

    def numbers(self, x: Tensor) -> Tensor:
        """Normalised pixels -> the numbers of their pieces, as a grid of latents is."""
        side = self.model.config.factor
        numbers = (cut(x, side) - self.origin) @ self.axes
        return numbers.mT.unflatten(2, (x.shape[2] // side, x.shape[3] // side))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss, a mean over the values of each picture, and its weight.

        Args:
            pixels: (B, 3, height, width) bytes.
        """
        x = normalised(pixels)
        with bfloat16(x.device, self.in_half):
            found = self.model.encode(x)
            found = Gaussian(found.mean.float(), found.log_variance.float())
            again = self.model.decode(found.sample(torch.randn_like(found.mean)))
        each = (again.float() - x).abs().flatten(1).mean(1) + self.kl * found.divergence() / x[0].numel()
        if self.anchor:
            self.collect()
            each = each + self.anchor * (found.mean - self.numbers(x)).square().flatten(1).mean(1)
        return each.sum(), torch.tensor(float(len(x)), device=x.device)


def windowed(scenes: list[Scene], side: int | None) -> Tensor:
    """Pictures of scenes (scenes, 3, 64, 64), or of each a window that shows one of its things in full (scenes, 3,
    side, side): bytes.

    The corners of a window are where pieces of the picture meet, so that a latent sees what it would in the whole.
    """
    pixels = pixels_of(scenes)
    if side is None:
        return pixels
    starts = range(0, pixels.shape[2] - side + 1, AutoencoderConfig.world().factor)
    windows = []
    for picture, scene in zip(pixels, scenes, strict=True):
        lots = Random(f"window/{scene.seed}")
        thing = lots.choice(scene.things)
        row, column = (
            lots.choice([it for it in starts if it + thing.size / 2 <= centre <= it + side - thing.size / 2])
            for centre in (thing.y, thing.x)
        )
        windows.append(picture[:, row : row + side, column : column + side])
    return torch.stack(windows)


@dataclass(frozen=True)
class Pictures(Stage):
    """The first two stages: windows of pictures, and pictures as a whole.

    Attributes:
        mix: kinds of scenes and their shares.
        kl, anchor, half: see `Reconstruct`.
        window: pixels of the windows that are looked at, in rows and in columns; None: whole pictures.
        collected: pictures that pieces are cut from.
        looks: validation scenes.
    """

    mix: Mix = (("one", 0.5), ("pair", 0.5))
    kl: float = 0.1
    anchor: float = 0.0
    window: int | None = None
    collected: int = 2048
    half: bool = False
    looks: int = 256

    def scenes(self) -> list[Scene]:
        """What the pieces are cut from."""
        return tidy_scenes(0, 0, range(self.collected), self.collected, self.mix)

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """The autoencoder of the stage before; a new one, if there was none."""
        model = earlier.model if isinstance(earlier, Reconstruct) else Autoencoder(AutoencoderConfig.world())
        return Reconstruct(model, self.kl, self.anchor, self.scenes, self.half)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes."""
        return {"pixels": windowed(tidy_scenes(seed, index, rows, self.batch_size, self.mix), self.window)}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Of validation scenes: peak signal to noise ratio in decibels, by the mean of q(z | x), and the nats of KL of
        a picture."""
        assert isinstance(module, Reconstruct)
        x = normalised(pixels_of(tidy_looks(self.looks, 1, VALIDATION)))
        error, nats = [], []
        for some in x.to(next(module.parameters()).device).split(TOGETHER):
            again, found = module.model(some)
            error.append((again.clamp(-1, 1) - some).square().flatten(1).mean(1) / 4)
            nats.append(found.divergence())
        return {"psnr": -10 * math.log10(float(torch.cat(error).mean())), "nats": float(torch.cat(nats).mean())}


def told(scene: Scene, seed: int, dropped: float) -> str:
    """What is said of a scene this time: a caption in one of the languages or, this share of the time, nothing."""
    lots = Random(f"told/{seed}")
    return "" if lots.random() < dropped else scene.caption(lots.choice(LANGUAGES), style=lots.getrandbits(16))


@cache
def text_config() -> TextConfig:
    """The text tower of this world's CLIP."""
    return CLIPConfig.world(len(tokenizer())).text


def read(texts: list[str]) -> Tensor:
    """Texts -> padded token ids (texts, length)."""
    config = StableDiffusionConfig.world(text_config())
    return read_texts(texts, TextConfig(config.text.vocabulary, config.tokens), tokenizer())


SIDES = ("left", "right", "above", "below")
"""On which of its sides of the other a thing is."""


def sides(scene: Scene) -> tuple[int, int]:
    """The number, in `SIDES`, of the side on which each thing of a pair is; -1 where there is no pair."""
    if scene.relation is None:
        return -1, -1
    first = SIDES.index(scene.relation)
    return first, first ^ 1  # opposites are neighbours there


def named(text: str, scene: Scene) -> Bool[Tensor, "2 tokens"]:
    """Which of the tokens that `read` makes of a text name the first and the second of a scene's things."""
    words, said = tokenizer(), text.encode()
    ids = words.encode(text)
    ends = [len(words.raw(ids[:number])) for number in range(len(ids) + 1)]  # in bytes: a letter may be cut
    found = torch.zeros(2, StableDiffusionConfig.world(text_config()).tokens, dtype=torch.bool)
    names = [
        (getattr(thing.concept, language).encode(), row)
        for row, thing in enumerate(scene.things)
        for language in LANGUAGES
    ]
    for name, row in sorted(names, key=lambda it: -len(it[0])):  # "palm tree" before "tree"
        start, length = said.find(name), len(name)
        if start >= 0:
            said = said[:start] + b" " * length + said[start + length :]
            for token in range(len(ids)):
                found[row, token + 1] |= ends[token] < start + length and ends[token + 1] > start
    return found


def cells(scene: Scene) -> Bool[Tensor, "2 rows columns"]:
    """Which latents of a picture the first and the second of its things lie on."""
    coder = AutoencoderConfig.world()
    covered = torch.zeros(2, coder.image_size // coder.factor, coder.image_size // coder.factor, dtype=torch.bool)
    for row, thing in zip(covered, scene.things, strict=False):
        top, left = (int(centre - thing.size / 2) // coder.factor for centre in (thing.y, thing.x))
        bottom, right = (-int(-(centre + thing.size / 2) // coder.factor) for centre in (thing.y, thing.x))
        row[top:bottom, left:right] = True
    return covered


def astray(
    looks: list[Float[Tensor, "batch tokens rows columns"]], named: Bool[Tensor, "batch 2 tokens"],
    cells: Bool[Tensor, "batch 2 rows columns"],
) -> Float[Tensor, ""]:  # fmt: skip
    """How much of the looks at the names of things comes from where these are not, squared: a mean over things and
    layers (the token loss of TokenCompose, arXiv 2312.03626).

    Args:
        looks: of each layer of a U-Net, see `unet.Looks`.
        named: the tokens of each thing's name; none where nothing is told of it.
        cells: where each thing is.
    """
    there = named.any(2)
    lost = []
    for grid in looks:
        at_name = torch.einsum("btrc,bnt->bnrc", grid.float(), named.float())
        where = F.adaptive_max_pool2d(cells.float(), grid.shape[2:])
        inside = (at_name * where).sum((2, 3)) / at_name.sum((2, 3)).clamp_min(1e-6)
        lost.append(((1 - inside).square() * there).sum() / there.sum().clamp_min(1))
    return torch.stack(lost).mean()


def begin(reader: str) -> StableDiffusion:
    """A new Stable Diffusion; its text tower is that of the CLIP that the recipe of this hash made, if one is asked
    for."""
    made = expert("clip", reader) if reader else CLIP(CLIPConfig.world(len(tokenizer())), tokenizer())
    model = StableDiffusion(StableDiffusionConfig.world(made.config.text), made.tokenizer)
    model.text.load_state_dict({k: v for k, v in made.text.state_dict().items() if not k.startswith("project.")})
    return model


PARTS = ("unet", "reader")
"""What of a Stable Diffusion learns in the last two stages."""


def learning(model: StableDiffusion) -> nn.ModuleList:
    """Its `PARTS`."""
    return nn.ModuleList(model.get_submodule(name) for name in PARTS)


def put(model: StableDiffusion, parts: nn.ModuleList) -> None:
    """Have it use these `PARTS`."""
    for name, part in zip(PARTS, parts, strict=True):
        model.add_module(name, part)


class Denoise(nn.Module):
    """Stable Diffusion with its loss; autoencoder and text tower rest.

    Args:
        model: the Stable Diffusion.
        pictures: the scenes that are learned from, by stage.
        decay: of the moving average of the weights of what learns.
        half: as of `Reconstruct`.
    """

    def __init__(self, model: StableDiffusion, pictures: Latents, decay: float, half: bool = False) -> None:
        super().__init__()
        self.in_half = half
        self.model, self.pictures, self.decay = model.requires_grad_(False), pictures, decay
        self.average = copy.deepcopy(learning(model))
        model.unet.requires_grad_(True)
        model.reader.requires_grad_(pictures.reads)
        self.side = nn.Linear(model.config.text.width, len(SIDES)) if pictures.asked else None
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))
        self.latents: Tensor | None = None
        self.known: dict[tuple[int, ...], Tensor] = {}

    @torch.no_grad()
    def read(self, tokens: Int[Tensor, "batch length"]) -> Words:
        """What the text tower knows at each token; a text that was read of late is not read again."""
        ids = self.model.read(tokens)
        texts = [tuple(row) for row in ids.tolist()]
        if len(self.known) > REMEMBERED:
            self.known.clear()
        new = {text: row for row, text in enumerate(texts) if text not in self.known}
        if new:
            self.known |= zip(new, self.model.text.tokens(ids[list(new.values())]), strict=True)
        return torch.stack([self.known[text] for text in texts])

    def encode(self, device: torch.device) -> Tensor:
        """The latents of all pictures, encoded when they are first asked for: by then the weights are there."""
        if self.latents is None:
            number = self.pictures.pictures
            processes = PartialState()
            # each process encodes its share; all get as many, the last one some twice, so that they can be gathered
            with processes.split_between_processes(list(range(number)), apply_padding=True) as share:
                encoded = []
                bar = {"desc": "encoding", "unit": " images", "unit_scale": TOGETHER * processes.num_processes}
                for some in tqdm(torch.tensor(share).split(TOGETHER), disable=not processes.is_main_process, **bar):
                    pixels = windowed([self.pictures.scene(one) for one in some.tolist()], self.pictures.window)
                    encoded.append(self.model.encode(normalised(pixels).to(device)).half())
            self.latents = gather(torch.cat(encoded))[:number]
        return self.latents

    @torch.no_grad()
    def follow(self) -> None:
        """Move the average towards the weights; at first faster, so that it forgets what they began as."""
        updates = self.get_buffer("updates")
        updates += 1
        kept = min(self.decay, float(updates) / (float(updates) + 10))
        for average, now in zip(self.average.parameters(), learning(self.model).parameters(), strict=True):
            average.lerp_(now, 1 - kept)

    def misread(
        self, words: Words, named: Bool[Tensor, "batch 2 tokens"], sides: Int[Tensor, "batch 2"]
    ) -> Float[Tensor, ""]:
        """How surely a layer on what is known at each thing's name does not tell its side: cross-entropy."""
        assert self.side is not None
        there = named.any(2) & (sides >= 0)
        shares = named.float() / named.sum(2, keepdim=True).clamp_min(1)
        told = self.side(shares @ words.float()).flatten(0, 1)
        each = F.cross_entropy(told, sides.clamp_min(0).flatten(), reduction="none").view_as(sides)
        return (each * there).sum() / there.sum().clamp_min(1)

    def forward(
        self, rows: Tensor, tokens: Tensor, named: Tensor | None = None, cells: Tensor | None = None,
        sides: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Summed loss and its weight.

        Args:
            rows: (B,) which pictures.
            tokens: (B, length), padded.
            named, cells, sides: see the functions of these names, where the stage asks for them.
        """
        if self.training:
            self.follow()
        words = self.read(tokens)
        with torch.no_grad():
            z = self.encode(rows.device)[rows].float()
        middle, spread = self.pictures.times
        shares = torch.sigmoid(middle + spread * torch.randn(len(z), device=z.device))
        times = (shares * self.model.config.noise.steps).long().clamp_max(self.model.config.noise.steps - 1)
        looks = Looks(self.model.unet)
        with bfloat16(z.device, self.in_half), looks if self.pictures.pointed else nullcontext():
            if self.pictures.reads:  # until then words go through the reader unchanged
                words = self.model.reader(words)
            loss = self.model(z, words, times, torch.randn_like(z)).mean()
        if self.pictures.pointed:
            assert named is not None and cells is not None
            loss = loss + self.pictures.pointed * astray(looks.seen, named, cells)
        if self.pictures.asked:
            assert named is not None and sides is not None
            loss = loss + self.pictures.asked * self.misread(words, named, sides)
        return len(z) * loss, torch.tensor(float(len(z)), device=z.device)


@dataclass(frozen=True)
class Latents(Stage):
    """The last two stages: single things in windows, and scenes as a whole.

    Attributes:
        mix: kinds of scenes and their shares.
        pictures: how many there are.
        window: see `Pictures`; with one, each scene must be of one thing, or its text would tell what is not there.
        step: of the places of things, see `tidy`: where latents lie on them, a thing has the same latents everywhere.
        reader: hash of the recipe that made the CLIP whose text tower reads; none: one that has learned nothing.
        reads: whether the layers that read on learn, too.
        dropped: share of the sentences that are left out.
        times: how noisy a picture is that is learned from: the mean and the deviation of the logit of t / T.
        pointed: how much it counts where names are looked at from, see `astray`.
        asked: how much it counts on which side of the other each thing is read to be, see `Denoise.misread`.
        decay, half: see `Denoise`.
        looks: validation scenes.
        drawn: how many of them are drawn, in each language.
    """

    mix: Mix = (("one", 0.2), ("pair", 0.8))
    pictures: int = 65_536
    window: int | None = None
    step: int = 8
    reads: bool = True
    reader: str = ""
    dropped: float = 0.1
    times: tuple[float, float] = (0.0, 1.0)
    pointed: float = 0.0
    asked: float = 0.0
    decay: float = 0.9995
    half: bool = False
    looks: int = 256
    drawn: int = 64

    def scene(self, number: int) -> Scene:
        """One of the pictures."""
        (scene,) = tidy_scenes(0, 0, range(number, number + 1), self.pictures, self.mix, self.step)
        return scene

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new U-Net over the latents of the stage before; or the one that it has trained, its average."""
        if isinstance(earlier, Denoise):
            learning(earlier.model).load_state_dict(earlier.average.state_dict())
            return Denoise(earlier.model, self, self.decay, self.half)
        model = begin(self.reader)
        if isinstance(earlier, Reconstruct):
            model.autoencoder.load_state_dict(earlier.model.state_dict())
            some = [self.scene(number) for number in range(min(1024, self.pictures))]
            model.autoencoder.standardise(normalised(windowed(some, self.window)))
        return Denoise(model, self, self.decay, self.half)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Some of the pictures, with a sentence each."""
        lots = list(scene_seeds(seed, index, rows, self.batch_size))
        numbers = [Random(f"picture/{lot}").randrange(self.pictures) for lot in lots]
        scenes = [self.scene(number) for number in numbers]
        texts = [told(scene, lot, self.dropped) for scene, lot in zip(scenes, lots, strict=True)]
        batch = {"rows": torch.tensor(numbers), "tokens": read(texts)}
        if self.pointed or self.asked:
            batch |= {
                "named": torch.stack([named(text, scene) for text, scene in zip(texts, scenes, strict=True)]),
                "cells": torch.stack([cells(scene) for scene in scenes]),
                "sides": torch.tensor([sides(scene) for scene in scenes]),
            }
        return batch

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Of validation scenes, by the averaged weights: the loss, told in each language and not told, all with the
        same noise; and marks for drawings of pairs, see `_judged`."""
        assert isinstance(module, Denoise)
        model, now = module.model, learning(module.model)
        put(model, module.average)
        device = model.unet.outputs.weight.device
        lots = torch.Generator().manual_seed(0)
        scenes = tidy_looks(self.looks, 1, VALIDATION, None if self.window is None else "one", self.step)
        pixels = normalised(windowed(scenes, self.window))
        z = torch.cat([model.encode(some.to(device)) for some in pixels.split(TOGETHER)])
        epsilon = torch.randn(z.shape, generator=lots).to(device)
        times = torch.randint(model.config.noise.steps, (len(z),), generator=lots).to(device)
        scores: dict[str, float] = {}
        texts = {it: [scene.caption(it) for scene in scenes] for it in LANGUAGES} | {"untold": [""] * len(scenes)}
        for name, said in texts.items():
            parts = zip(z.split(TOGETHER), read(said).to(device).split(TOGETHER), times.split(TOGETHER),
                        epsilon.split(TOGETHER), strict=True)  # fmt: skip
            losses = [model(some, model.condition(ids), when, noise) for some, ids, when, noise in parts]
            scores[f"loss_{name}"] = float(torch.cat(losses).mean())
        if self.drawn and self.window is None and find("judge").shipped:
            scores |= self._judged(model)
        put(model, now)
        return scores

    def _judged(self, model: StableDiffusion) -> dict[str, float]:
        """The exam's marks for drawings of validation pairs: they show its progress, and decide nothing."""
        judge, pairs = load("judge"), tidy_looks(self.drawn, 2, VALIDATION, "pair")
        scores: dict[str, float] = {}
        for language in LANGUAGES:
            seen = judge.find(model.draw([scene.caption(language) for scene in pairs], steps=10))
            marks = [
                judged(found, [thing.concept.hexcode for thing in scene.things], scene.relation)
                for scene, found in zip(pairs, seen, strict=True)
            ]
            scores |= {
                f"{name}_{language}": float(np.mean(each))
                for name, each in zip(("objects", "relation"), zip(*marks, strict=True), strict=True)
            }
        return scores

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the Stable Diffusion with the averages of what learned; the text tower stays CLIP's."""
        assert isinstance(module, Denoise)
        module.follow()
        learning(module.model).load_state_dict(module.average.state_dict())
        shared = {"clip": find("clip").weights} if self.reader else None
        checkpoints.save(module.model, directory, bits=8, shared=shared)


RECIPE = Recipe(
    system="stable-diffusion",
    description="An autoencoder learns to keep pictures in few numbers, then a U-Net to find these in noise by a text",
    seed=0,
    stages=(
        Pictures(
            "windows", steps=4000, batch_size=16, learning_rate=2e-3, warmup=100, evaluate_every=500,
            weight_decay=1e-4, betas=(0.9, 0.99), anchor=0.1, window=32,
        ),
        Pictures(
            "pictures", steps=500, batch_size=8, learning_rate=5e-4, warmup=30, evaluate_every=250,
            weight_decay=1e-4, betas=(0.9, 0.99),
        ),
        Latents(
            "things", steps=6000, batch_size=64, learning_rate=2e-3, warmup=300, evaluate_every=1000,
            weight_decay=0.01, betas=(0.9, 0.99), reader=CLIPS.hash, mix=(("one", 1.0),), window=32, reads=False,
            pictures=32_768, times=(-0.4, 1.0),
        ),
        Latents(
            "latents", steps=10_000, batch_size=64, learning_rate=1.5e-3, warmup=300, evaluate_every=2000,
            weight_decay=0.01, betas=(0.9, 0.99), reader=CLIPS.hash, pointed=0.05, asked=0.1, half=True,
        ),
    ),
)  # fmt: skip

QUICK = Recipe(
    system="stable-diffusion",
    description="A few minutes' worth of the recipe",
    seed=0,
    stages=(
        Pictures(
            "windows", steps=160, batch_size=16, learning_rate=2e-3, warmup=10, evaluate_every=40,
            weight_decay=1e-4, betas=(0.9, 0.99), anchor=0.1, window=32, collected=512, looks=32,
        ),
        Pictures(
            "pictures", steps=40, batch_size=8, learning_rate=1e-3, warmup=10, evaluate_every=20,
            weight_decay=1e-4, betas=(0.9, 0.99), looks=32,
        ),
        Latents(
            "things", steps=120, batch_size=32, learning_rate=1e-3, warmup=10, evaluate_every=40, weight_decay=0.01,
            betas=(0.9, 0.99), reader=CLIPS.hash, mix=(("one", 1.0),), window=32, reads=False, pictures=1024,
            decay=0.98, looks=32,
        ),
        Latents(
            "latents", steps=120, batch_size=32, learning_rate=1e-3, warmup=10, evaluate_every=40,
            weight_decay=0.01, betas=(0.9, 0.99), reader=CLIPS.hash, pointed=0.05, asked=0.1, pictures=1024,
            decay=0.98, looks=32, drawn=8,
        ),
    ),
)  # fmt: skip
