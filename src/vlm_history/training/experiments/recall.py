"""How far back does a network remember? It reads a name, then sentences that name other things, and is asked for the
first name.

The task is Hochreiter and Schmidhuber's (1997), who put distractors between what is to be remembered and the moment
when it is asked for; here they are the world's captions, of the same things that are to be remembered.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from pathlib import Path
from random import Random

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.connect.lstm import LSTM, RNN
from vlm_history.training.memo import trained
from vlm_history.training.recipe import Batch, Recipe, Stage, scene_seeds
from vlm_history.training.scenes import tokenizer, world
from vlm_history.world.concepts import Concept
from vlm_history.world.grammar import LANGUAGES, Mention, captions, pair_fact
from vlm_history.world.splits import pair_split

THINGS = 20
"""How many things there are: who guesses is right one time in twenty."""
DISTANCES = (1, 2, 5, 10, 20, 40, 80)
"""Where recall is measured; the last is twice as far as any in training."""


@cache
def things() -> tuple[Concept, ...]:
    """The first concepts whose name is one word in both languages."""
    words = tokenizer()
    single = [c for c in world().concepts if all(len(words.encode(n, "en")) == 3 for n in (c.ko, c.en))]
    return tuple(single[:THINGS])


@cache
def names(language: str) -> Tensor:
    """The token of each thing's name."""
    said = [c.ko if language == "ko" else c.en for c in things()]
    return torch.tensor([tokenizer().encode(name, language)[1] for name in said])


@cache
def filler(language: str, split: str) -> Tensor:
    """Sentence after sentence about two of the things, those pairs that a split may see: one long row of tokens."""
    chance = Random(f"filler/{language}/{split}")
    pairs = [p for p in permutations((c.hexcode for c in things()), 2) if pair_split(*p) == split]
    row: list[int] = []
    while len(row) < 20_000:
        first, second = pairs[int(chance.random() * len(pairs))]
        fact = pair_fact(Mention(first), ("left", "above")[int(chance.random() * 2)], Mention(second))
        said = captions(fact, world().reader.names, language)
        row += tokenizer().encode(said[int(chance.random() * len(said))], language)[1:]
    return torch.tensor(row)


def draw(seeds: list[int], distance: int, split: str) -> Tensor:
    """Some examples, tokens (B, distance + 2): a name, words of other sentences, and a question that no sentence has.

    Args:
        seeds: one for each example.
        distance: how many words stand between the name and the question.
        split: the pairs of things of which the sentences may tell.
    """
    rows = []
    for seed in seeds:
        chance = Random(f"recall/{seed}")
        language = LANGUAGES[int(chance.random() * 2)]
        first = int(chance.random() * THINGS)
        said = filler(language, split)
        start = int(chance.random() * (len(said) - distance))
        rows.append(torch.cat([names(language)[first : first + 1], said[start : start + distance]]))
    return F.pad(torch.stack(rows), (0, 1), value=len(tokenizer()))


class Recaller(nn.Module):
    """A recurrent network that reads words and says one.

    Args:
        network: "rnn" or "lstm".
        width: of embedding and state.
    """

    def __init__(self, network: str, width: int) -> None:
        super().__init__()
        words = len(tokenizer()) + 1
        self.embedding = nn.Embedding(words, width)
        self.network: RNN | LSTM = RNN(width, width) if network == "rnn" else LSTM(width, width)
        self.words = nn.Linear(width, words)

    def answer(self, tokens: Tensor) -> Tensor:
        """Logits of what it says after the last token."""
        logits: Tensor = self.words(self.network(self.embedding(tokens))[:, -1])
        return logits

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and the number of examples."""
        return F.cross_entropy(self.answer(tokens), tokens[:, 0], reduction="sum"), torch.tensor(len(tokens))

    @torch.no_grad()
    def recall(self, distance: int, n: int = 400, split: str = "validation") -> float:
        """The share of names that it recalls after so many other words."""
        tokens = draw([-1 - i for i in range(n)], distance, split)
        return float((self.answer(tokens).argmax(1) == tokens[:, 0]).float().mean())


@dataclass(frozen=True)
class Recall(Stage):
    """The only stage.

    Attributes:
        network: "rnn" or "lstm".
        width: of embedding and state.
        farthest: the largest distance. Each batch has one of its own, near ones more often.
    """

    network: str = "lstm"
    width: int = 64
    farthest: int = 40

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new network."""
        return Recaller(self.network, self.width)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Examples of one distance."""
        distance = int((self.farthest + 1) ** Random(f"distance/{seed}/{index}").random())
        return {"tokens": draw(list(scene_seeds(seed, index, rows, self.batch_size)), distance, "train")}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """The share of names recalled, at each of the distances."""
        assert isinstance(module, Recaller)
        return {str(distance): module.recall(distance) for distance in DISTANCES}

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the weights."""
        directory.mkdir(parents=True, exist_ok=True)
        save_file(module.state_dict(), directory / "model.safetensors")


def recipe(network: str) -> Recipe:
    """Ten seconds of training, the same number of steps for each network, each at the rate that suits it.

    Args:
        network: "rnn" or "lstm".
    """
    stage = Recall(
        "recall", steps=1000, batch_size=64, learning_rate={"rnn": 3e-3, "lstm": 5e-3}[network], warmup=20,
        evaluate_every=250, network=network,
    )  # fmt: skip
    return Recipe(f"recall-{network}", "Say the name that was read first, after other words", seed=0, stages=(stage,))


def recaller(network: str) -> tuple[Recaller, dict[int, dict[int, float]]]:
    """The network, trained or found trained, and what it recalled on the way: steps -> distance -> share."""
    wanted = recipe(network)
    module = wanted.stages[0].build(None)
    assert isinstance(module, Recaller)
    folder = trained(wanted, workers=0)
    module.load_state_dict(load_file(folder / "model.safetensors"))
    history = json.loads((folder / "card.json").read_text(encoding="utf-8"))["history"]
    return module.eval(), {look["step"]: {k: look[str(k)] for k in DISTANCES} for look in history}
