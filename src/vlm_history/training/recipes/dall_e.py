"""DALL-E: first a vocabulary for pictures, then how a sentence goes on in it, in Korean and in English.

Both stages see the hundred everyday things of `world.drawing`, alone and in pairs. The schedules of the first are
those of the paper's appendix A.2, over fewer updates. In the second each picture is told in one of the two languages,
by lot, and one in ten is not told at all, so that a drawing can be guided (Ho and Salimans, arXiv 2207.12598).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history import checkpoints
from vlm_history.pretrain.dalle import DALLE, DALLEConfig, pad
from vlm_history.pretrain.dvae import DVAE, DVAEConfig, kl_weight, squeeze, temperature
from vlm_history.text import BytePairTokenizer
from vlm_history.training.precision import bfloat16
from vlm_history.training.recipe import Batch, Recipe, Stage
from vlm_history.training.scenes import Mix, pixels_of, training_scenes, world
from vlm_history.world import drawing
from vlm_history.world.grammar import LANGUAGES, RELATIONS, Fact, Mention, captions, pair_fact
from vlm_history.world.scenes import Scene
from vlm_history.world.splits import pair_split

VOCABULARY = 1_536
"""Tokens of text: with so many, nearly all that is drawn has a Korean token of its own, and an English name has few."""
VALIDATION = "validation"


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
        self.cooling, self.warming, self.beta, self.half = cooling, warming, beta, half

    def forward(self, pixels: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and its weight.

        Args:
            pixels: (B, 3, 64, 64) bytes.
            steps: (B,) updates so far, the same for all.
        """
        step = int(steps[0])
        with bfloat16(pixels.device, self.half):
            loss = self.model.loss(
                squeeze(pixels.float() / 255),
                temperature(step, self.cooling),
                kl_weight(step, self.warming, self.beta),
            )
        weight = torch.tensor(float(len(pixels)), device=pixels.device)
        return loss * weight, weight


@dataclass(frozen=True)
class Codebook(Stage):
    """The first stage.

    Attributes:
        mix: kinds of scenes and their shares.
        cooling, warming, beta, half: see `Compress`.
        looks: validation scenes.
    """

    mix: Mix = (("one", 0.5), ("pair", 0.5))
    half: bool = False
    cooling: int = 150_000
    warming: int = 5_000
    beta: float = 6.6
    looks: int = 256

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new discrete VAE."""
        return Compress(DVAE(DVAEConfig.world()), self.cooling, self.warming, self.beta, self.half)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes, and the step that they are for."""
        scenes = training_scenes(seed, index, rows, self.batch_size, self.mix, drawing.EVERYDAY)
        return {"pixels": pixels_of(scenes), "steps": torch.full((len(scenes),), index)}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Of validation scenes: peak signal to noise ratio in decibels, the bits of an average code, and how many codes
        occur."""
        assert isinstance(module, Compress)
        pictures = world().render(drawing.scenes(world(), self.looks, seed=1, split=VALIDATION))
        codes = module.model.encode(pictures)
        error = (module.model.decode(codes).astype(np.float64) - pictures) ** 2
        counts = torch.bincount(codes.flatten().cpu(), minlength=module.model.config.codes)
        share = counts[counts > 0] / counts.sum()
        return {
            "psnr": 10 * math.log10(255**2 / float(error.mean())),
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
        self.model, self.half = model, half

    def codes(self, pixels: Tensor) -> Tensor:
        """(B, 3, 64, 64) bytes -> (B, places), the likeliest codes (section 2.2)."""
        with torch.no_grad():
            return self.model.vae.encoder(squeeze(pixels.float() / 255)).argmax(1).flatten(1)

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and its weight.

        Args:
            pixels: (B, 3, 64, 64) bytes.
            tokens: (B, length), padded.
        """
        codes = self.codes(pixels)
        with bfloat16(pixels.device, self.half):
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
        if isinstance(earlier, Compress):
            model.vae.load_state_dict(earlier.model.state_dict())
        return Write(model, self.half)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes with a text each."""
        scenes = training_scenes(seed, index, rows, self.batch_size, self.mix, drawing.EVERYDAY)
        return {"pixels": pixels_of(scenes), "tokens": read([told(scene, self.dropped) for scene in scenes])}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Nats of a code of validation scenes, told in each language and not told: what it knows of a picture, and how
        much of that it was told."""
        assert isinstance(module, Write)
        scenes = drawing.scenes(world(), self.looks, seed=1, split=VALIDATION)
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
        """Write the DALL-E."""
        assert isinstance(module, Write)
        checkpoints.save(module.model, directory, bits=16)


RECIPE = Recipe(
    system="dall-e",
    description="A discrete VAE learns a vocabulary for pictures, then a transformer to go on from a sentence with it",
    seed=0,
    stages=(
        Codebook(
            "codebook", steps=3000, batch_size=32, learning_rate=1e-3, warmup=100, evaluate_every=500,
            weight_decay=1e-4, betas=(0.9, 0.999), final=0.0125, cooling=1500, warming=300,
        ),
        Stream(
            "stream", steps=6000, batch_size=32, learning_rate=1e-3, warmup=300, evaluate_every=500,
            weight_decay=0.045, betas=(0.9, 0.96),
        ),
    ),
)  # fmt: skip

QUICK = Recipe(
    system="dall-e",
    description="A minute's worth of the recipe",
    seed=0,
    stages=(
        Codebook(
            "codebook", steps=80, batch_size=32, learning_rate=2e-3, warmup=10, evaluate_every=20,
            weight_decay=1e-4, betas=(0.9, 0.999), final=0.0125, cooling=60, warming=20, looks=32,
        ),
        Stream(
            "stream", steps=60, batch_size=32, learning_rate=1e-3, warmup=10, evaluate_every=20,
            weight_decay=0.045, betas=(0.9, 0.96), looks=32,
        ),
    ),
)  # fmt: skip
