"""Show and Tell: the CNN that has learned to name things is joined to an LSTM, and both learn to tell.

The paper starts from a CNN that was trained on ImageNet and throws its classifier away; so does this recipe with the
`cnn` of this world. What is thrown away is made anew: a vector that keeps what is where, since an LSTM that sees it
once has to find everything in it. While the LSTM knows no word yet the CNN stays as it is (section 4.3.1): the noise
would undo what it has learned. Then the whole is tuned end to end, gently. Every picture comes with one Korean and one
English caption; its vector is computed once for both, since the CNN is most of the work. Which of two things a caption
names first is at first a matter of chance, and what was said is easily said again; while the whole is tuned, captions
begin with the left or the upper thing, and the LSTM learns to begin there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history import checkpoints
from vlm_history.connect.show_and_tell import ShowAndTell, ShowAndTellConfig
from vlm_history.training.experts import expert
from vlm_history.training.names import Naming, NamingStage
from vlm_history.training.recipe import Batch, Recipe, Stage
from vlm_history.training.recipes.cnn import RECIPE as CNN
from vlm_history.training.scenes import (
    Mix,
    caption_batch,
    exactly_right,
    normalised,
    tokenizer,
    world,
)
from vlm_history.world.grammar import LANGUAGES


def begin(cnn: str) -> ShowAndTell:
    """A new captioner; its grid is that of the CNN expert, made by the recipe of this hash, if one is asked for."""
    words = tokenizer()
    model = ShowAndTell(ShowAndTellConfig.world(len(words)), words)
    if cnn:
        kept = {k: v for k, v in expert("cnn", cnn).cnn.state_dict().items() if not k.startswith("project.")}
        model.cnn.load_state_dict(kept, strict=False)
    return model


class KeepPlaces(Naming):
    """The image as the captioner's LSTM keeps it, asked what is at a place; the grid below it stays as it is.

    The LSTM sees the image as it always does. Then its output gate, which in a sentence opens by what was said, opens
    by a place and a language: what it shows has to be the first word of the name of the thing there. So the cell
    learns to keep what is where before it learns any sentence.
    """

    def __init__(self, model: ShowAndTell) -> None:
        super().__init__(model, model.tokenizer)
        self.place = nn.Linear(8, model.config.width)
        self.language = nn.Embedding(len(LANGUAGES), model.config.width)
        model.cnn.requires_grad_(False)
        model.cnn.get_submodule("project").requires_grad_(True)

    def logits(self, pixels: Tensor, places: Tensor) -> Tensor:
        """See `Naming.logits`."""
        model = self.model
        model.cnn.eval()  # the expert's batch norms stay as they are, too
        seen = model.encode(normalised(pixels, model.config.cnn))
        _, kept = model.lstm.cell(seen, model.lstm.cell.start(seen))
        waves = torch.pi * torch.cat([places, 2 * places], dim=2)
        asked = self.place(torch.cat([waves.sin(), waves.cos()], dim=2))[:, :, None] + self.language.weight
        shown = torch.sigmoid(asked) * torch.tanh(kept)[:, None, None]
        logits: Tensor = model.words(model.config.sharpness * model.dropout(shown))
        return logits


@dataclass(frozen=True)
class Vector(NamingStage):
    """Stage one: a vector, and a cell, that keep what is where."""

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new captioner on the CNN expert."""
        return KeepPlaces(begin(self.cnn))


class Tell(nn.Module):
    """Show and Tell with its loss: each picture's vector serves its captions in all languages.

    Args:
        model: the captioner.
        tune: train the CNN, too.
    """

    def __init__(self, model: ShowAndTell, tune: bool) -> None:
        super().__init__()
        self.model, self.tune = model, tune
        model.cnn.requires_grad_(tune)

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and the number of tokens.

        Args:
            pixels: (B, 3, 64, 64) bytes.
            tokens: (B, captions, T), padded.
        """
        pad = self.model.tokenizer.pad
        self.model.cnn.train(self.training and self.tune)  # the expert's batch norms stay as they are, too
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
    """Learning to tell.

    Attributes:
        mix: kinds of scenes and their shares.
        looks: validation scenes in each language.
        cnn: hash of the recipe that made the CNN to start from; none starts from nothing.
        ordered: captions name the left or the upper one of two things first.
        tune: train the CNN, too.
    """

    mix: Mix = (("pair", 0.7), ("one", 0.1), ("many", 0.1), ("count", 0.07), ("size", 0.03))
    looks: int = 256
    cnn: str = ""
    ordered: bool = False
    tune: bool = True

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """What the stage before has trained; in the first a new captioner, on the CNN expert if one is asked for."""
        model = earlier.model if isinstance(earlier, (KeepPlaces, Tell)) else begin(self.cnn)
        return Tell(model, self.tune)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes, each with a Korean and an English caption, chosen by the scene's own seed."""
        return caption_batch(seed, index, rows, self.batch_size, self.mix, self.ordered)

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
        checkpoints.save(module.model, directory, bits=16)


RECIPE = Recipe(
    system="show-and-tell",
    description="A new LSTM learns captions in Korean and English from the CNN expert's vector; then both are tuned",
    seed=0,
    stages=(
        Vector("vector", steps=1500, batch_size=128, learning_rate=2e-3, warmup=50, evaluate_every=250, cnn=CNN.hash),
        Captions(
            "decoder", steps=1200, batch_size=128, learning_rate=2e-3, warmup=50, evaluate_every=200, tune=False,
            mix=(("pair", 0.65), ("one", 0.15), ("many", 0.1), ("count", 0.07), ("size", 0.03)), final=0.1,
        ),
        Captions("whole", steps=1000, batch_size=128, learning_rate=1e-3, warmup=50, evaluate_every=250, ordered=True),
    ),
)  # fmt: skip

QUICK = Recipe(
    system="show-and-tell",
    description="A minute's worth of the recipe: the loss falls, the captions are not yet right",
    seed=0,
    stages=(
        Captions(
            "decoder", steps=160, batch_size=64, learning_rate=3e-3, warmup=10, evaluate_every=40, looks=64,
            cnn=CNN.hash, tune=False,
        ),
    ),
)  # fmt: skip
