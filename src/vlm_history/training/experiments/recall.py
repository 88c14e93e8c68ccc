"""How far back does a network remember? It reads a name, then other sentences, and is asked for the name.

The task is Hochreiter and Schmidhuber's (1997), who put noise between what is to be remembered and the moment when it
is asked for; here the noise is the world's captions.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.connect.lstm import LSTM, RNN
from vlm_history.training.recipe import Batch, Recipe, Stage, scene_seeds
from vlm_history.training.scenes import tokenizer, world
from vlm_history.world.grammar import LANGUAGES

NAMES = 10
"""How many things may be named, in each language: who guesses is right one time in ten."""


@cache
def names() -> dict[str, Tensor]:
    """The tokens of the first concepts whose name is one word in both languages."""
    words = tokenizer()
    encoded = [[words.encode(name, language)[1:-1] for name, language in ((c.ko, "ko"), (c.en, "en"))]
               for c in world().concepts]  # fmt: skip
    single = [both for both in encoded if all(len(ids) == 1 for ids in both)][:NAMES]
    return {language: torch.tensor([both[i][0] for both in single]) for i, language in enumerate(LANGUAGES)}


@cache
def filler(split: str) -> dict[str, Tensor]:
    """A long row of captions of a split, sentence after sentence, in each language."""
    words = tokenizer()
    scenes = world().scenes(2000, seed=2, split=split)
    return {
        language: torch.tensor([i for s in scenes for i in words.encode(s.caption(language), language)[1:]])
        for language in LANGUAGES
    }


def draw(seeds: list[int], distance: int, split: str) -> tuple[Tensor, Tensor]:
    """Some examples: tokens (B, distance + 2), and the name that each begins with (B).

    Args:
        seeds: one for each example.
        distance: how many words stand between the name and the question.
        split: whose captions they are.
    """
    rows = []
    for seed in seeds:
        chance = Random(f"recall/{seed}")
        language = LANGUAGES[int(chance.random() * 2)]
        name = names()[language][int(chance.random() * NAMES)]
        said = filler(split)[language]
        start = int(chance.random() * (len(said) - distance))
        question = torch.tensor([len(tokenizer())])  # a word that no sentence has
        rows.append(torch.cat([name[None], said[start : start + distance], question]))
    tokens = torch.stack(rows)
    return tokens, tokens[:, 0]


class Recaller(nn.Module):
    """A recurrent network that reads words and says one."""

    def __init__(self, network: str, width: int, keep: bool = True) -> None:
        super().__init__()
        words = len(tokenizer()) + 1
        self.embedding = nn.Embedding(words, width)
        self.network: RNN | LSTM = RNN(width, width) if network == "rnn" else LSTM(width, width)
        if isinstance(self.network, LSTM) and not keep:
            with torch.no_grad():
                self.network.cell.input_bias[width : 2 * width] -= 1.0
        self.words = nn.Linear(width, words)

    def answer(self, tokens: Tensor) -> Tensor:
        """Logits of what it says after the last token."""
        logits: Tensor = self.words(self.network(self.embedding(tokens))[:, -1])
        return logits

    def forward(self, tokens: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and the number of examples."""
        return F.cross_entropy(self.answer(tokens), wanted, reduction="sum"), torch.tensor(len(wanted))

    @torch.no_grad()
    def accuracy(self, distance: int, n: int = 500, split: str = "validation") -> float:
        """The share of names that it recalls after so many other words."""
        tokens, wanted = draw([-1 - i for i in range(n)], distance, split)
        return float((self.answer(tokens).argmax(1) == wanted).float().mean())


@dataclass(frozen=True)
class Recall(Stage):
    """The only stage.

    Attributes:
        network: "rnn" or "lstm".
        width: of embedding and state.
        farthest: largest distance; each batch has one of its own.
        keep: whether an LSTM's forget gates begin open.
    """

    network: str = "lstm"
    width: int = 64
    farthest: int = 40
    keep: bool = True

    def build(self, earlier: nn.Module | None) -> nn.Module:
        return Recaller(self.network, self.width, self.keep)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        distance = int(Random(f"distance/{seed}/{index}").random() * (self.farthest + 1))
        tokens, wanted = draw(list(scene_seeds(seed, index, rows, self.batch_size)), distance, "train")
        return {"tokens": tokens, "wanted": wanted}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        assert isinstance(module, Recaller)
        return {f"recall_{k}": module.accuracy(k) for k in (1, 5, 10, 20, 40)}

    def save(self, module: nn.Module, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        save_file(module.state_dict(), directory / "model.safetensors")
