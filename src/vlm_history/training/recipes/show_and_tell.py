"""Show and Tell: the CNN that has learned to name things is joined to an LSTM, and both learn to tell.

The paper starts from a CNN that was trained on ImageNet and throws its classifier away; so does this recipe with the
`cnn` of this world. The whole is then trained end to end on captions, as section 4.3.1 of the paper does at its end.
Every picture comes with one Korean and one English caption; its vector is computed once for both, since the CNN is
most of the work.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history import checkpoints
from vlm_history.connect.show_and_tell import ShowAndTell, ShowAndTellConfig
from vlm_history.training.experts import expert
from vlm_history.training.recipe import Batch, Recipe, Stage
from vlm_history.training.recipes.cnn import RECIPE as CNN
from vlm_history.training.scenes import Mix, caption_batch, exactly_right, normalised, tokenizer, world
from vlm_history.world.grammar import LANGUAGES


class Tell(nn.Module):
    """Show and Tell with its loss: each picture's vector serves its captions in all languages."""

    def __init__(self, model: ShowAndTell) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and the number of tokens.

        Args:
            pixels: (B, 3, 64, 64) bytes.
            tokens: (B, captions, T), padded.
        """
        pad = self.model.tokenizer.pad
        each = tokens.shape[1]
        vectors = self.model.encode(normalised(pixels, self.model.cnn.config)).repeat_interleave(each, 0)
        tokens = tokens.flatten(0, 1)
        wanted = tokens[:, 1:]
        said = wanted != pad  # half of a batch is padding: words are chosen only where there are any
        logits = self.model.words(self.model.hidden(vectors, tokens[:, :-1])[said])
        loss = F.cross_entropy(logits, wanted[said], reduction="sum")
        return loss, said.sum()


@dataclass(frozen=True)
class Captions(Stage):
    """The only stage: the whole learns to tell.

    Attributes:
        mix: kinds of scenes and their shares.
        looks: validation scenes in each language.
        cnn: hash of the recipe that made the CNN to start from; none starts from nothing.
    """

    mix: Mix = (("pair", 0.7), ("one", 0.1), ("many", 0.1), ("count", 0.07), ("size", 0.03))
    looks: int = 256
    cnn: str = ""

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new decoder; the CNN is the expert, if one is asked for."""
        words = tokenizer()
        model = ShowAndTell(ShowAndTellConfig.world(len(words)), words)
        if self.cnn:
            model.cnn.load_state_dict(expert("cnn", self.cnn).cnn.state_dict())
        return Tell(model)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes, each with a Korean and an English caption, chosen by the scene's own seed."""
        return caption_batch(seed, index, rows, self.batch_size, self.mix)

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Greedy captions of validation pairs: how many are exactly right, in each language."""
        assert isinstance(module, Tell)
        scenes = world().scenes(self.looks, seed=1, split="validation", kind="pair")
        pictures: Any = world().render(scenes)
        scores = {}
        for language in LANGUAGES:
            said = module.model.caption(pictures, language=language, beam=1)
            assert isinstance(said, list)
            scores[f"exact_{language}"] = exactly_right(scenes, said, language)
        scores["exact"] = sum(scores.values()) / len(scores)
        return scores

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the captioner."""
        assert isinstance(module, Tell)
        checkpoints.save(module.model, directory, half=True)


RECIPE = Recipe(
    system="show-and-tell",
    description="The CNN expert and a new LSTM learn captions in Korean and English end to end",
    seed=0,
    stages=(
        Captions(
            "captions", steps=3000, batch_size=128, learning_rate=1.5e-3, warmup=100, evaluate_every=500, cnn=CNN.hash
        ),
    ),
)  # fmt: skip

QUICK = Recipe(
    system="show-and-tell",
    description="A minute's worth of the recipe: the loss falls, the captions are not yet right",
    seed=0,
    stages=(
        Captions(
            "captions", steps=120, batch_size=64, learning_rate=2e-3, warmup=10, evaluate_every=30, looks=64,
            cnn=CNN.hash,
        ),
    ),
)  # fmt: skip
