"""A lesson before sentences: what is at this place? The answer is the first word of its name, in each language.

A captioner learns it in a tenth of the time that sentences take, and then has only sentences to learn.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.text import WordTokenizer
from vlm_history.training.recipe import Batch, Stage
from vlm_history.training.recipes.cnn import lessons
from vlm_history.training.scenes import Mix, training_scenes, world
from vlm_history.world.grammar import LANGUAGES


class Naming(nn.Module):
    """A captioner that is asked for names; what of it answers, a subclass says.

    Args:
        model: the captioner.
        tokenizer: its words.
    """

    def __init__(self, model: Any, tokenizer: WordTokenizer) -> None:
        super().__init__()
        self.model = model
        firsts = [
            [tokenizer.encode(name, language)[1] for language, name in zip(LANGUAGES, (c.ko, c.en), strict=True)]
            for c in world().concepts
        ]
        self.register_buffer("firsts", torch.tensor(firsts), persistent=False)

    @abstractmethod
    def logits(self, pixels: Tensor, places: Tensor) -> Tensor:
        """Scores of all words at each place, in each language: (B, things, languages, words)."""

    def wanted(self, concepts: Tensor) -> Tensor:
        """First words of the names (B, things, languages); -100 where there is no thing."""
        firsts = self.get_buffer("firsts")[concepts.clamp_min(0)]
        return torch.where(concepts[..., None] >= 0, firsts, -100)

    def forward(self, pixels: Tensor, places: Tensor, concepts: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and its weight; see `cnn.lessons`."""
        wanted = self.wanted(concepts)
        there = wanted >= 0
        loss = F.cross_entropy(self.logits(pixels, places)[there], wanted[there], reduction="sum")
        return loss, there.sum()

    def named_right(self) -> dict[str, float]:
        """Of the things in validation pairs, how many are named right, in each language."""
        batch = lessons(world().scenes(512, seed=1, split="validation", kind="pair"))
        device = self.get_buffer("firsts").device
        named = self.logits(batch["pixels"].to(device), batch["places"].to(device)).argmax(3)
        right = (named == self.wanted(batch["concepts"].to(device)))[batch["concepts"] >= 0].float().mean(0)
        return {f"named_{language}": float(share) for language, share in zip(LANGUAGES, right, strict=True)}


@dataclass(frozen=True)
class NamingStage(Stage):
    """A stage that trains a `Naming`; which one, a subclass builds.

    Attributes:
        mix: kinds of scenes and their shares.
        cnn: hash of the recipe that made the CNN to start from.
    """

    mix: Mix = (("many", 0.3), ("pair", 0.6), ("one", 0.1))
    cnn: str = ""

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes."""
        return lessons(training_scenes(seed, index, rows, self.batch_size, self.mix))

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """See `Naming.named_right`."""
        assert isinstance(module, Naming)
        return module.named_right()
