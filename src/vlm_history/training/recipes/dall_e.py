"""DALL-E: first a vocabulary for pictures, then how a sentence goes on in it, in Korean and in English.

Both stages see the hundred everyday things of `world.drawing`, alone and in pairs, on white paper. The paper's
vocabulary learned for three million updates. Here, within some thousands from a random beginning, most of it never came
into use, and nearly nothing could be recognised in what came back. So its codes are cut out of pictures: they are the
means of pieces (k-means, as in SoundStream, arXiv 2107.03312), which an encoder learns to find and a decoder to paint.
From there, too, some hundreds of updates by the paper's loss brought back less and not more; thousands may do better.
`Codebook` is that training, which no recipe has as a stage.

In the second stage each picture is told in one of the two languages, by lot, and one in ten is not told at all, so that
a drawing can be guided (Ho and Salimans, arXiv 2207.12598).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from vlm_history import checkpoints
from vlm_history.errors import InputError
from vlm_history.pretrain.dalle import DALLE, DALLEConfig, pad
from vlm_history.pretrain.dvae import (
    DVAE,
    DVAEConfig,
    kl_weight,
    squeeze,
    temperature,
)
from vlm_history.text import BytePairTokenizer
from vlm_history.training.pieces import cut, principal_axes
from vlm_history.training.precision import bfloat16
from vlm_history.training.recipe import Batch, Recipe, Stage
from vlm_history.training.scenes import Mix, pixels_of, tidy_looks, tidy_scenes, world
from vlm_history.world import drawing
from vlm_history.world.grammar import LANGUAGES, RELATIONS, Fact, Mention, captions, pair_fact
from vlm_history.world.scenes import Scene
from vlm_history.world.splits import pair_split

VOCABULARY = 1_536
"""Tokens of text: with so many, nearly all that is drawn has a Korean token of its own, and an English name has few."""
VALIDATION = "validation"
MEASURED = 128
"""Pictures that the likelihood's b is measured on."""


@cache
def tokenizer() -> BytePairTokenizer:
    """Byte pairs of what is said of everyday things, alone and in pairs that training may see, in lower case."""
    names = {c.hexcode: c for c in drawing.drawable()}
    facts = [Fact("one", (Mention(hexcode),)) for hexcode in names]
    lots = Random("pairs")
    for first, second in combinations(names, 2):
        if pair_split(first, second) == "train" and lots.random() < 0.3:  # so many say all there is to say
            facts.append(pair_fact(Mention(first), lots.choice(RELATIONS), Mention(second)))
    said = [text.lower() for fact in facts for language in LANGUAGES for text in captions(fact, names, language)]
    return BytePairTokenizer.fit(said, VOCABULARY)


def squeezed(pixels: Tensor) -> Tensor:
    """Bytes -> from 0.1 to 0.9, channels last, which is how CPUs convolve fastest."""
    return squeeze(pixels.float() / 255).contiguous(memory_format=torch.channels_last)


class Pieces(nn.Module):
    """A vocabulary cut out of pictures, and the discrete VAE while it learns to read and to write it.

    Pictures are cut into pieces, one for each place, and each is told by a few numbers, its principal components.
    K-means finds as many means of such numbers as there are codes. The encoder learns to see the numbers of each place,
    the decoder to paint the whole from what the codes mean.

    Args:
        model: the discrete VAE; what reads and writes its codes rests.
        numbers: how many.
        scenes: what pieces are cut from, when they are first asked for.
        half: whether the network computes in bfloat16, see `precision`; the loss stays in float32.
    """

    origin: Tensor
    axes: Tensor
    means: Tensor

    def __init__(self, model: DVAE, numbers: int, scenes: Callable[[], list[Scene]], half: bool = False) -> None:
        super().__init__()
        config = model.config
        self.model, self.scenes, self.in_half = model, scenes, half
        model.encoder.last.requires_grad_(False)
        model.decoder.first.requires_grad_(False)
        self.side = config.image_size // config.side
        """Pixels of a piece, in rows and in columns."""
        self.write = nn.Conv2d(config.widths[-1], numbers, 1)
        self.read = nn.Conv2d(numbers, config.entry, 1, bias=False)
        nn.init.normal_(self.read.weight, std=numbers**-0.5)
        self.register_buffer("origin", torch.zeros(3 * self.side**2))
        self.register_buffer("axes", torch.zeros(3 * self.side**2, numbers))
        self.register_buffer("means", torch.zeros(config.codes, numbers))

    def cut(self, pixels: Tensor) -> Tensor:
        """Bytes (B, 3, height, width) -> pieces (B, places, 3 x side x side), from 0 to 1."""
        return cut(pixels.float() / 255, self.side)

    @torch.no_grad()
    def collect(self) -> None:
        """Find the axes, of which the first has deviation 1, and the means, unless they are known."""
        if self.axes.any():
            return
        pixels = pixels_of(self.scenes()).to(self.axes.device)
        pieces = torch.cat([self.cut(some) for some in pixels.split(64)]).flatten(0, 1)
        empty = pieces.amax(1) == pieces.amin(1)
        self.origin.copy_(pieces.mean(0))
        pieces -= self.origin
        axes, deviations = principal_axes(pieces, self.axes.shape[1])
        self.axes.copy_(axes / deviations[0])
        points = pieces @ self.axes
        # one that is empty stands for all, or most means would be it
        self.means.copy_(k_means(torch.cat([points[~empty], points[empty][:1]]), len(self.means)))

    def numbers(self, pixels: Tensor) -> Tensor:
        """Bytes (B, 3, height, width) -> the numbers of its pieces (B, places, numbers)."""
        return (self.cut(pixels) - self.origin) @ self.axes

    def seen(self, x: Tensor) -> Tensor:
        """Squeezed pixels -> what the encoder takes these numbers for."""
        return self.write(self.model.encoder.features(x)).flatten(2).transpose(1, 2)

    def painted(self, numbers: Tensor) -> Tensor:
        """(B, places, numbers) -> mu of each pixel."""
        side = self.model.config.side
        return self.model.decoder.paint(self.read(numbers.transpose(1, 2).unflatten(2, (side, side))))[:, :3]

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and its weight. Encoder and decoder have a part of the loss each: by how much numbers are off,
        squared, and by how much a value of a pixel, so that a code is painted as the mean of what it stands for.

        The paper's likelihood would soon be for the most part about empty paper, which it can be sure of; recognised
        are the things that lie on it. The decoder paints half of the pictures from the codes that the encoder would
        choose as yet.

        Args:
            pixels: (B, 3, 64, 64) bytes.
        """
        self.collect()
        x = squeezed(pixels)
        numbers = self.numbers(pixels)
        with bfloat16(x.device, self.in_half):
            seen = self.seen(x).float()
            own = torch.arange(len(x), device=x.device) % 2 == 1
            told = torch.where(own[:, None, None], seen.detach(), numbers)
            mu = self.painted(self.means[nearest(told.flatten(0, 1), self.means)].view_as(told)).float()
        wrong = (seen - numbers).square().sum(2).mean() + (mu.sigmoid() - x).square().mean()
        weight = torch.tensor(float(len(x)), device=x.device)
        return wrong * weight, weight

    @torch.no_grad()
    def coin(self, sharpness: float) -> None:
        """Give the discrete VAE its codes.

        A code's logit is -s times the squared distance of its mean from the numbers, which is linear in the features
        but for a part that all codes share; and the decoder paints a code as it would paint its mean. Of the
        likelihood's two numbers the decoder has learned mu. Its b is the same for all pixels of a colour, the one
        under which pictures are likeliest: how far they are from mu on average.

        Args:
            sharpness: how far the logits of a mean and of the one next to it lie apart, on average.
        """
        self.collect()
        apart = torch.cat([torch.cdist(some, self.means).square().topk(2, largest=False).values[:, 1]
                           for some in self.means.split(1024)])  # fmt: skip
        s = sharpness / float(apart.mean())
        encoder, decoder, last = self.model.encoder.last, self.model.decoder.first, self.model.decoder.last
        weight, bias = self.write.weight[:, :, 0, 0], self.write.bias
        assert bias is not None and encoder.bias is not None and decoder.bias is not None and last.bias is not None
        encoder.weight.copy_((2 * s * self.means @ weight)[:, :, None, None])
        encoder.bias.copy_(s * (2 * self.means @ bias - self.means.square().sum(1)))
        decoder.weight.copy_((self.read.weight[:, :, 0, 0] @ self.means.T)[:, :, None, None])
        decoder.bias.zero_()
        x = squeezed(pixels_of(self.scenes()[:MEASURED]).to(self.axes.device))
        seen = self.seen(x)
        mu = self.painted(self.means[nearest(seen.flatten(0, 1), self.means)].view_as(seen))
        last.weight[3:].zero_()
        last.bias[3:].copy_((x.logit() - mu).abs().mean((0, 2, 3)).log())


def nearest(points: Tensor, means: Tensor) -> Tensor:
    """For each point (n, width) the number of the mean nearest to it."""
    lengths = means.square().sum(1)
    return torch.cat([(some @ (2 * means.T) - lengths).argmax(1) for some in points.split(4096)])


def k_means(points: Tensor, number: int, rounds: int = 12) -> Tensor:
    """Means (number, width) of so many groups of points (n, width), each the nearest to its points (Lloyd's method).

    Raises:
        InputError: fewer points than means.
    """
    if len(points) < number:
        raise InputError(f"expected at least {number} points, got {len(points)}; pass more pictures")
    lots = torch.Generator().manual_seed(0)
    means = points[torch.randperm(len(points), generator=lots)[:number].to(points.device)]
    for _ in tqdm(range(rounds), desc="k-means", leave=False):
        group = nearest(points, means)
        counts = torch.bincount(group, minlength=number)[:, None]
        sums = torch.zeros_like(means).index_add_(0, group, points)
        elsewhere = points[torch.randperm(len(points), generator=lots)[:number].to(points.device)]
        means = torch.where(counts > 0, sums / counts.clamp_min(1), elsewhere)  # none stays without points
    return means


def psnr(pictures: NDArray[np.uint8], again: NDArray[np.uint8]) -> float:
    """Peak signal to noise ratio in decibels."""
    return 10 * math.log10(255**2 / float(((again.astype(np.float64) - pictures) ** 2).mean()))


@dataclass(frozen=True)
class Vocabulary(Stage):
    """The first stage.

    Attributes:
        mix: kinds of scenes and their shares.
        numbers, half: see `Pieces`.
        collected: pictures that its pieces are cut from.
        looks: validation scenes.
    """

    mix: Mix = (("one", 0.5), ("pair", 0.5))
    numbers: int = 24
    collected: int = 6_144
    half: bool = False
    looks: int = 256

    def scenes(self) -> list[Scene]:
        """What the pieces are cut from."""
        return tidy_scenes(0, 0, range(self.collected), self.collected, self.mix)

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new discrete VAE."""
        return Pieces(DVAE(DVAEConfig.world()), self.numbers, self.scenes, self.half)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes."""
        scenes = tidy_scenes(seed, index, rows, self.batch_size, self.mix)
        return {"pixels": pixels_of(scenes)}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Of validation scenes the peak signal to noise ratio, in decibels, and how often the encoder finds the code of
        a piece."""
        assert isinstance(module, Pieces)
        module.coin(1.0)
        scenes = tidy_looks(self.looks, 1, VALIDATION)
        pictures, pixels = world().render(scenes), pixels_of(scenes).to(module.axes.device)
        codes = module.model.encode(pictures)
        right = nearest(module.numbers(pixels).flatten(0, 1), module.means)
        found = float((codes.flatten() == right).float().mean())
        return {"psnr": psnr(pictures, module.model.decode(codes)), "found": found}


class Compress(nn.Module):
    """The discrete VAE with its loss.

    Args:
        model: the discrete VAE.
        cooling: updates until the temperature is at its last.
        warming: updates until the KL weight is full.
        beta: that weight.
        half: whether the network computes in bfloat16, see `precision`; chance and the loss stay in float32.
    """

    def __init__(self, model: DVAE, cooling: int, warming: int, beta: float, half: bool = False) -> None:
        super().__init__()
        self.model = model
        self.cooling, self.warming, self.beta, self.in_half = cooling, warming, beta, half

    def forward(self, pixels: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and its weight.

        Args:
            pixels: (B, 3, 64, 64) bytes.
            steps: (B,) updates so far, the same for all.
        """
        step = int(steps[0])
        with bfloat16(pixels.device, self.in_half):
            loss = self.model.loss(
                squeezed(pixels),
                temperature(step, self.cooling),
                kl_weight(step, self.warming, self.beta),
            )
        weight = torch.tensor(float(len(pixels)), device=pixels.device)
        return loss * weight, weight


@dataclass(frozen=True)
class Codebook(Stage):
    """The paper's training, from a new discrete VAE or from one whose codes are `Pieces`: it may stand between the
    stages of a recipe, or before the second in the place of the first.

    Attributes:
        mix: kinds of scenes and their shares.
        cooling, warming, beta, half: see `Compress`.
        sharpness: see `Pieces.coin`.
        looks: validation scenes.
    """

    mix: Mix = (("one", 0.5), ("pair", 0.5))
    half: bool = False
    cooling: int = 150_000
    warming: int = 5_000
    beta: float = 6.6
    sharpness: float = 3.0
    looks: int = 256

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """The discrete VAE of the stage before, with codes; a new one, if there was none."""
        if isinstance(earlier, Pieces):
            earlier.coin(self.sharpness)
            model = earlier.model.requires_grad_(True)
        else:
            model = DVAE(DVAEConfig.world())
        return Compress(model, self.cooling, self.warming, self.beta, self.half)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes, and the step that they are for."""
        scenes = tidy_scenes(seed, index, rows, self.batch_size, self.mix)
        return {"pixels": pixels_of(scenes), "steps": torch.full((len(scenes),), index)}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Of validation scenes: peak signal to noise ratio in decibels, the bits of an average code, and how many codes
        occur."""
        assert isinstance(module, Compress)
        pictures = world().render(tidy_looks(self.looks, 1, VALIDATION))
        codes = module.model.encode(pictures)
        counts = torch.bincount(codes.flatten().cpu(), minlength=module.model.config.codes)
        share = counts[counts > 0] / counts.sum()
        return {
            "psnr": psnr(pictures, module.model.decode(codes)),
            "bits": float(-(share * share.log2()).sum()),
            "codes": float(len(share)),
        }


def told(scene: Scene, dropped: float) -> str:
    """One caption of a scene, in one of the languages, or, this share of the time, nothing."""
    lots = Random(f"told/{scene.seed}")
    return "" if lots.random() < dropped else scene.caption(lots.choice(LANGUAGES))


def read(texts: list[str]) -> Tensor:
    """Texts -> padded token ids (texts, length)."""
    words = tokenizer()
    return pad([words.encode(text.lower()) for text in texts], DALLEConfig.world(len(words)))


class Write(nn.Module):
    """DALL-E with its loss; its discrete VAE rests.

    Args:
        model: the DALL-E.
        half: as of `Compress`.
    """

    def __init__(self, model: DALLE, half: bool = False) -> None:
        super().__init__()
        self.model, self.in_half = model, half

    def codes(self, pixels: Tensor) -> Tensor:
        """(B, 3, 64, 64) bytes -> (B, places), the likeliest codes (section 2.2)."""
        with torch.no_grad():
            return self.model.vae.encoder(squeezed(pixels)).argmax(1).flatten(1)

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and its weight.

        Args:
            pixels: (B, 3, 64, 64) bytes.
            tokens: (B, length), padded.
        """
        codes = self.codes(pixels)
        with bfloat16(pixels.device, self.in_half):
            loss = self.model.transformer.loss(tokens, codes)
        weight = torch.tensor(float(len(pixels)), device=pixels.device)
        return loss * weight, weight


@dataclass(frozen=True)
class Stream(Stage):
    """The second stage.

    Attributes:
        mix: kinds of scenes and their shares.
        dropped: share of the pictures that are not told.
        half: see `Write`.
        looks: validation scenes.
    """

    mix: Mix = (("one", 0.4), ("pair", 0.6))
    dropped: float = 0.1
    half: bool = False
    looks: int = 256

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new transformer over the codes of the stage before."""
        words = tokenizer()
        model = DALLE(DALLEConfig.world(len(words)), words)
        if isinstance(earlier, Pieces):
            earlier.coin(1.0)
        if isinstance(earlier, (Pieces, Compress)):
            model.vae.load_state_dict(earlier.model.state_dict())
        return Write(model, self.half)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes with a text each."""
        scenes = tidy_scenes(seed, index, rows, self.batch_size, self.mix)
        return {"pixels": pixels_of(scenes), "tokens": read([told(scene, self.dropped) for scene in scenes])}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Nats of a code of validation scenes, told in each language and not told: what it knows of a picture, and how
        much of that it was told."""
        assert isinstance(module, Write)
        scenes = tidy_looks(self.looks, 1, VALIDATION)
        device = module.model.transformer.start.weight.device
        codes = module.codes(pixels_of(scenes).to(device))
        texts = {it: [scene.caption(it) for scene in scenes] for it in LANGUAGES} | {"untold": [""] * len(scenes)}
        scores = {}
        for name, said in texts.items():
            rows = zip(read(said).to(device).split(64), codes.split(64), strict=True)
            logits = torch.cat([module.model.transformer(*some)[1] for some in rows])
            scores[f"nats_{name}"] = float(F.cross_entropy(logits.flatten(0, 1), codes.flatten()))
        return scores

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the DALL-E. Many codes mean nearly empty paper, and which of them the encoder chooses hangs on little:
        it is kept as it was when the transformer learned from it."""
        assert isinstance(module, Write)
        checkpoints.save(module.model, directory, bits=8, exact="vae.encoder.")


RECIPE = Recipe(
    system="dall-e",
    description="A discrete VAE learns a vocabulary for pictures, then a transformer to go on from a sentence with it",
    seed=0,
    stages=(
        Vocabulary(
            "vocabulary", steps=3000, batch_size=16, learning_rate=1e-3, warmup=300, evaluate_every=300,
            weight_decay=1e-4, betas=(0.9, 0.999), half=True,
        ),
        Stream(
            "stream", steps=7000, batch_size=32, learning_rate=1e-3, warmup=300, evaluate_every=1000,
            weight_decay=0.045, betas=(0.9, 0.96), half=True,
        ),
    ),
)  # fmt: skip

QUICK = Recipe(
    system="dall-e",
    description="A minute's worth of the recipe",
    seed=0,
    stages=(
        Vocabulary(
            "vocabulary", steps=80, batch_size=32, learning_rate=2e-3, warmup=10, evaluate_every=20,
            weight_decay=1e-4, betas=(0.9, 0.999), collected=512, looks=32,
        ),
        Stream(
            "stream", steps=60, batch_size=32, learning_rate=1e-3, warmup=10, evaluate_every=20,
            weight_decay=0.045, betas=(0.9, 0.96), looks=32,
        ),
    ),
)  # fmt: skip
