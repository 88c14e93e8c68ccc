"""The LSTM: it reads the captions of training scenes, in Korean and English, and never sees a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history import checkpoints
from vlm_history.connect.lstm import LanguageModel, LanguageModelConfig
from vlm_history.training.recipe import Batch, Recipe, Stage
from vlm_history.training.scenes import Mix, said_of, tokenizer, training_scenes, world
from vlm_history.world.grammar import LANGUAGES


class Predict(nn.Module):
    """The language model with its loss."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and the number of tokens.

        Args:
            tokens: (B, sentences, T), padded.
        """
        tokens = tokens.flatten(0, 1)
        wanted = tokens[:, 1:]
        said = wanted != self.model.tokenizer.pad
        return F.cross_entropy(self.model(tokens[:, :-1])[said], wanted[said], reduction="sum"), said.sum()


@dataclass(frozen=True)
class Sentences(Stage):
    """The only stage.

    Attributes:
        mix: kinds of scenes whose captions are read, and their shares.
    """

    mix: Mix = (("pair", 0.5), ("one", 0.15), ("many", 0.15), ("count", 0.1), ("size", 0.1))

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new language model."""
        words = tokenizer()
        return Predict(LanguageModel(LanguageModelConfig.world(len(words)), words))

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Captions of training scenes, one in each language."""
        return {"tokens": said_of(training_scenes(seed, index, rows, self.batch_size, self.mix))}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Perplexity a token of captions of validation pairs, in each language."""
        assert isinstance(module, Predict)
        scenes = world().scenes(512, seed=1, split="validation", kind="pair")
        return {
            f"perplexity_{language}": module.model.perplexity([s.caption(language) for s in scenes], language=language)
            for language in LANGUAGES
        }

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the language model."""
        assert isinstance(module, Predict)
        checkpoints.save(module.model, directory, bits=16)


RECIPE = Recipe(
    system="lstm",
    description="An LSTM learns the next word of captions in Korean and English, without pictures",
    seed=0,
    stages=(
        Sentences("sentences", steps=600, batch_size=128, learning_rate=3e-3, warmup=50, evaluate_every=150),
    ),
)  # fmt: skip

QUICK = Recipe(
    system="lstm",
    description="A minute's worth of the recipe",
    seed=0,
    stages=(
        Sentences("sentences", steps=200, batch_size=64, learning_rate=5e-3, warmup=10, evaluate_every=50),
    ),
)  # fmt: skip
