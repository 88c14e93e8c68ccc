"""GPT-1: it reads the world's text in both languages, token after token, and sees no picture.

As in the paper each row is contiguous text; unlike there, no text is read twice, so nothing is dropped out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history import checkpoints
from vlm_history.pretrain.gpt1 import GPT1, GPTConfig
from vlm_history.training.recipe import Batch, Recipe, Stage
from vlm_history.training.scenes import Mix
from vlm_history.training.text_tasks import zero_shot
from vlm_history.training.texts import reading, unread, vocabulary
from vlm_history.world.grammar import LANGUAGES


class Guess(nn.Module):
    """GPT-1 with its loss."""

    def __init__(self, model: GPT1) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """L_1, summed (equation 1), and the number of tokens guessed.

        Args:
            tokens: (B, T).
        """
        wanted = tokens[:, 1:].flatten()
        loss = F.cross_entropy(self.model(tokens[:, :-1]).flatten(0, 1), wanted, reduction="sum")
        return loss, wanted.new_tensor(len(wanted))


@dataclass(frozen=True)
class Reading(Stage):
    """The only stage.

    Attributes:
        mix: kinds of texts and their shares.
        looks: validation texts of each kind in each language, and questions of each zero-shot task.
    """

    mix: Mix = (("captions", 0.15), ("questions", 0.25), ("facts", 0.3), ("story", 0.2), ("both", 0.1))
    looks: int = 100

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new GPT-1."""
        words = vocabulary()
        return Guess(GPT1(GPTConfig.world(len(words)), words))

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training text, in rows as long as the network can see, and the token after each."""
        length = GPTConfig.world(len(vocabulary())).length + 1
        return {"tokens": reading(seed, index, rows, self.batch_size, length, self.mix)}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Perplexity of validation texts in each language, and what it can do without having been taught to."""
        assert isinstance(module, Guess)
        perplexity = {f"perplexity_{it}": module.model.perplexity(unread(self.looks, it)) for it in LANGUAGES}
        return perplexity | {f"zero_shot_{k}": v for k, v in zero_shot(module.model, self.looks).items()}

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the language model."""
        assert isinstance(module, Guess)
        checkpoints.save(module.model, directory, bits=16)


RECIPE = Recipe(
    system="gpt-1",
    description="A transformer learns the next token of the world's text, in Korean and English, without pictures",
    seed=0,
    stages=(
        Reading(
            "text", steps=1200, batch_size=32, learning_rate=1.5e-3, warmup=120, evaluate_every=100, weight_decay=0.01
        ),
    ),
)  # fmt: skip

QUICK = Recipe(
    system="gpt-1",
    description="A minute's worth of the recipe",
    seed=0,
    stages=(
        Reading(
            "text", steps=80, batch_size=16, learning_rate=1.5e-3, warmup=10, evaluate_every=20, weight_decay=0.01,
            looks=16,
        ),
    ),
)  # fmt: skip
