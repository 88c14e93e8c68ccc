"""What pre-training is worth: one network is taught the same tasks from few labels, after pre-training and without.

Radford et al., June 2018, sections 4 and 5: four tasks, one for each input transformation, by the number of labelled
examples; how many layers are transferred (figure 2 at the left); what the auxiliary objective adds (table 5). What a
network can do without labels (figure 2 at the right) was asked all through its pre-training, and stands on its card.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn

from vlm_history.errors import InputError
from vlm_history.pretrain.finetuning import FineTuned
from vlm_history.pretrain.gpt1 import GPT1, GPTConfig
from vlm_history.systems import find
from vlm_history.training.experts import expert
from vlm_history.training.memo import trained
from vlm_history.training.recipe import Batch, Recipe, Stage
from vlm_history.training.recipes.gpt_1 import RECIPE as GPT_1
from vlm_history.training.text_tasks import TASKS, ZERO_SHOT, Example
from vlm_history.training.texts import vocabulary

LABELLED = (16, 128, 1024)
"""Numbers of labelled examples; from each as many batches are drawn."""
DEPTH = GPTConfig.world(0).depth
"""Layers that are transferred unless it is said otherwise: all."""
LAYERS = tuple(range(0, DEPTH + 1, 2))
"""Layers that are transferred where it is asked how many it takes; none are the embeddings alone."""
# Validation examples looked at together.
CHUNK = 64


class Learn(nn.Module):
    """A GPT-1 with a task on top, and the labelled examples that it is taught by."""

    def __init__(self, model: FineTuned, examples: list[Example], auxiliary: float) -> None:
        super().__init__()
        self.model, self.examples, self.auxiliary = model, examples, auxiliary

    def forward(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss (equation 5) and the number of examples.

        Args:
            numbers: (B,) which of the labelled examples.
        """
        some = [self.examples[number] for number in numbers.tolist()]
        tokens, there = self.model.encode([example.rows for example in some])
        labels = torch.tensor([example.label for example in some], device=tokens.device)
        return self.model.loss(tokens, there, labels, self.auxiliary).sum(), numbers.new_tensor(len(numbers))


@cache
def _order(seed: int, epoch: int, examples: int) -> list[int]:
    return Random(f"order/{seed}/{epoch}").sample(range(examples), examples)


@dataclass(frozen=True)
class FineTuning(Stage):
    """The only stage.

    Attributes:
        task: one of `TASKS`.
        labelled: number of labelled examples.
        gpt: hash of the recipe that pre-trained; none starts from nothing.
        layers: how many blocks are transferred, from below, with the embeddings.
        auxiliary: lambda of equation 5.
        dropout: in the network. Section 4.1 has 0.1 and takes many more steps than there are here.
        looks: validation examples.
    """

    task: str = ""
    labelled: int = 0
    gpt: str = ""
    layers: int = DEPTH
    auxiliary: float = 0.5
    dropout: float = 0.0
    looks: int = 240

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A network, pre-trained as far as it is asked for."""
        task = TASKS[self.task]
        words = vocabulary()
        model = GPT1(replace(GPTConfig.world(len(words)), dropout=self.dropout), words)
        if self.gpt:
            known = expert("gpt-1", self.gpt)
            if known.tokenizer.vocabulary != words.vocabulary:
                raise InputError("expected GPT-1 to read by the world's tokens, got others; make its weights anew")
            above = tuple(f"blocks.{number}." for number in range(self.layers, model.config.depth))
            taken = {name: tensor for name, tensor in known.state_dict().items() if not name.startswith(above)}
            model.load_state_dict(taken, strict=False)
        examples = task.examples(self.labelled, "train")
        return Learn(FineTuned(model, task.labels), examples, self.auxiliary)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Which labelled examples come now: all of them, in an order by lot, then all of them again."""
        places = [divmod(index * self.batch_size + row, self.labelled) for row in rows]
        return {"numbers": torch.tensor([_order(seed, epoch, self.labelled)[place] for epoch, place in places])}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Accuracy on validation examples."""
        assert isinstance(module, Learn)
        examples = TASKS[self.task].examples(self.looks, "validation")
        right = 0
        for first in range(0, len(examples), CHUNK):
            some = examples[first : first + CHUNK]
            told = module.model.predict([example.rows for example in some])
            right += sum(label == example.label for label, example in zip(told, some, strict=True))
        return {"accuracy": right / len(examples)}

    def save(self, module: nn.Module, directory: Path) -> None:
        """Nothing: what counts is the accuracy, and that is on the card."""


def way(
    task: str, labelled: int = LABELLED[-1], *, pretrained: bool = True, layers: int = DEPTH, auxiliary: float = 0.5
) -> Recipe:
    """One fine-tuning; but for what is said here they are all alike, save that who knows nothing learns faster.

    Args:
        task, labelled, layers, auxiliary: see `FineTuning`.
        pretrained: whether it starts from the shipped GPT-1, or from nothing.
    """
    stage = FineTuning(
        task, steps=100, batch_size=8, learning_rate=5e-4 if pretrained else 1.5e-3, warmup=10, evaluate_every=100,
        weight_decay=0.01, task=task, labelled=labelled, gpt=GPT_1.hash if pretrained else "",
        layers=layers if pretrained else 0, auxiliary=auxiliary,
    )  # fmt: skip
    return Recipe("finetuning", f"GPT-1 learns {task} from {labelled} labelled examples", seed=0, stages=(stage,))


def accuracy(recipe: Recipe) -> float:
    """The accuracy of a `way` on validation examples: trained, or found trained."""
    card = json.loads((trained(recipe, workers=0) / "card.json").read_text(encoding="utf-8"))
    return float(card["history"][-1]["accuracy"])


def by_labels() -> dict[str, dict[bool, list[float]]]:
    """Task -> pre-trained or not -> accuracy at each of `LABELLED`."""
    return {
        task: {ready: [accuracy(way(task, n, pretrained=ready)) for n in LABELLED] for ready in (True, False)}
        for task in TASKS
    }


def by_layers(tasks: tuple[str, ...] = ("kind", "entailment")) -> dict[str, list[float]]:
    """Task -> accuracy with nothing transferred, then with the embeddings and as many layers as `LAYERS` says."""
    return {
        task: [accuracy(way(task, pretrained=False)), *(accuracy(way(task, layers=n)) for n in LAYERS)]
        for task in tasks
    }


def by_auxiliary() -> dict[str, tuple[float, float]]:
    """Task -> accuracy with and without the auxiliary objective."""
    return {task: (accuracy(way(task)), accuracy(way(task, auxiliary=0.0))) for task in TASKS}


def by_updates() -> dict[str, dict[int, float]]:
    """Zero-shot task -> updates of pre-training so far -> accuracy, of the shipped GPT-1.

    Raises:
        InputError: there are no shipped weights, or another recipe made them.
    """
    expert("gpt-1", GPT_1.hash)
    history = json.loads((find("gpt-1").weights / "card.json").read_text(encoding="utf-8"))["history"]
    return {name: {look["step"]: look[f"zero_shot_{name}"] for look in history} for name in ZERO_SHOT}
