"""Show, Attend and Tell: the CNN expert stays as it is, and a decoder learns where to look and what to say.

As in the paper, the CNN is not tuned (section 4.3: "without finetuning"). The words that name what an annotation shows
are learned first, in a minute; where to look, and how to make sentences of it, comes from
captions alone. Every picture comes with one Korean and one English caption. Whether a caption begins with the one thing
or with the other is a matter of chance, so a first look lies on both, and what was said is said again; the last round's
captions begin with the left or the upper thing, and the look learns to begin there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history import checkpoints
from vlm_history.connect.show_attend_and_tell import (
    ShowAttendAndTell,
    ShowAttendAndTellConfig,
    doubly_stochastic,
    reinforce,
)
from vlm_history.systems import find
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
from vlm_history.world.pointing import on_object


class NameAnnotations(Naming):
    """The output layer, asked what is at a place: the first word of its name, from the annotation there alone.

    There is no sentence yet and no state, and where to look is not asked: f_att has no part in it.
    """

    def __init__(self, model: ShowAttendAndTell) -> None:
        super().__init__(model, model.tokenizer)

    def logits(self, pixels: Tensor, places: Tensor) -> Tensor:
        """See `Naming.logits`."""
        model = self.model
        model.cnn.eval()  # the expert's batch norms stay as they are
        grid = model.annotate(normalised(pixels, model.config.cnn)).permute(0, 3, 1, 2)
        here = F.grid_sample(grid, places[:, :, None], align_corners=False)[..., 0].transpose(1, 2)[:, :, None]
        starts = torch.tensor([model.tokenizer.start(language) for language in LANGUAGES], device=here.device)
        still = here.new_zeros(model.config.hidden)
        logits: Tensor = model.words(model.before_words(model.embedding(starts), still, here))
        return logits


class Attend(nn.Module):
    """The captioner with its loss; each picture's annotations serve its captions in all languages.

    Args:
        model: the captioner.
        even: lambda of equation 14, how much uneven looks cost.
        hard: draw places, and learn from how well the sentence went (section 4.1).
        reward, entropy: lambda_r and lambda_e there.
    """

    baseline: Tensor

    def __init__(self, model: ShowAttendAndTell, even: float, hard: bool, reward: float, entropy: float) -> None:
        super().__init__()
        self.model = model
        self.even, self.hard, self.reward, self.entropy = even, hard, reward, entropy
        self.register_buffer("baseline", torch.zeros(()))

    def forward(self, pixels: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and the number of tokens.

        Args:
            pixels: (B, 3, 64, 64) bytes.
            tokens: (B, captions, T), padded.
        """
        model = self.model
        model.cnn.eval()  # the expert's batch norms stay as they are, too
        grid = model.annotate(normalised(pixels, model.config.cnn))
        annotations = grid.flatten(1, 2).repeat_interleave(tokens.shape[1], 0)
        tokens = tokens.flatten(0, 1)
        wanted = tokens[:, 1:]
        said = wanted != model.tokenizer.pad
        # half of the time sampling is replaced by its expectation, which steadies the gradient (section 4.1)
        hard = self.hard and bool(torch.rand(()) < 0.5)
        chosen_from, alpha, looked = model.decode(annotations, tokens[:, :-1], hard)
        losses = F.cross_entropy(model.words(chosen_from[said]), wanted[said], reduction="none")
        loss = losses.sum() + self.even * doubly_stochastic(alpha, said.float()).sum()
        if self.hard:
            log_p = -losses.new_zeros(said.shape).masked_scatter(said, losses.detach()).sum(1)
            if hard:
                extra = reinforce(
                    log_p, alpha, looked, said.float(), float(self.baseline), self.reward, self.entropy
                )  # fmt: skip
                loss = loss + extra.sum()
            self.baseline.lerp_(log_p.mean(), 0.1)  # b_k = 0.9 b_{k-1} + 0.1 log p
        return loss, said.sum()


def begin(cnn: str) -> ShowAttendAndTell:
    """A new decoder on the CNN expert made by the recipe of this hash, which no gradient reaches."""
    words = tokenizer()
    model = ShowAttendAndTell(ShowAttendAndTellConfig.world(len(words)), words)
    if cnn:
        model.cnn.load_state_dict(expert("cnn", cnn).cnn.state_dict())
        model.cnn.requires_grad_(False)
    return model


@dataclass(frozen=True)
class Names(NamingStage):
    """Stage one: the names of what annotations show."""

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new decoder on the CNN expert."""
        return NameAnnotations(begin(self.cnn))


@dataclass(frozen=True)
class Attending(Stage):
    """Sentences, and where to look for each word.

    Attributes:
        mix: kinds of scenes and their shares.
        looks: validation scenes in each language.
        cnn: hash of the recipe that made the CNN, where this is the first stage.
        soft: hash of the recipe that made the captioner to go on from, where this is the first stage.
        ordered: captions name the left or the upper one of two things first.
        even, hard, reward, entropy: see `Attend`.
    """

    mix: Mix = (("pair", 0.6), ("one", 0.1), ("many", 0.2), ("count", 0.07), ("size", 0.03))
    looks: int = 256
    cnn: str = ""
    soft: str = ""
    ordered: bool = False
    even: float = 0.01
    hard: bool = False
    reward: float = 0.0
    entropy: float = 0.0

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """What the stage before has trained; in the first the captioner to go on from, or a new decoder."""
        if isinstance(earlier, (NameAnnotations, Attend)):
            model = earlier.model
        else:
            model = expert("show-attend-and-tell", self.soft) if self.soft else begin(self.cnn)
        model.cnn.requires_grad_(False)
        return Attend(model, self.even, self.hard, self.reward, self.entropy)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes, each with a Korean and an English caption, chosen by the scene's own seed."""
        return caption_batch(seed, index, rows, self.batch_size, self.mix, self.ordered)

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Greedy captions of validation pairs: how many are exactly right, and how many nouns are looked at."""
        assert isinstance(module, Attend)
        scenes = world().scenes(self.looks, seed=1, split="validation", kind="pair")
        pictures: Any = world().render(scenes)
        scores = {}
        for language in LANGUAGES:
            told = module.model.caption(pictures, language=language, beam=1, return_attention=True)
            scores[f"exact_{language}"] = exactly_right(scenes, [caption for caption, _ in told], language)
            seen = [
                hit for scene, (_, looks) in zip(scenes, told, strict=True) for hit in on_object(scene, looks, language)
            ]
            scores[f"looks_{language}"] = sum(seen) / max(1, len(seen))
        scores["exact"] = (scores["exact_ko"] + scores["exact_en"]) / 2
        return scores

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the captioner."""
        assert isinstance(module, Attend)
        checkpoints.save(module.model, directory, bits=16, shared={"cnn": find("cnn").weights})


RECIPE = Recipe(
    system="show-attend-and-tell",
    description="On the CNN expert a decoder with soft attention learns captions in Korean and English",
    seed=0,
    stages=(
        Names("names", steps=400, batch_size=128, learning_rate=2e-3, warmup=50, evaluate_every=100, cnn=CNN.hash),
        Attending("captions", steps=900, batch_size=128, learning_rate=2e-3, warmup=50, evaluate_every=150),
        Attending(
            "ordered", steps=900, batch_size=128, learning_rate=1.5e-3, warmup=50, evaluate_every=150, ordered=True
        ),
    ),
)  # fmt: skip

QUICK = Recipe(
    system="show-attend-and-tell",
    description="A minute's worth of the recipe",
    seed=0,
    stages=(
        Attending(
            "captions", steps=120, batch_size=64, learning_rate=2e-3, warmup=10, evaluate_every=30, looks=64,
            cnn=CNN.hash,
        ),
    ),
)  # fmt: skip
