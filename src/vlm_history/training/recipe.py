"""What a recipe is: data, and the few functions that bring a system and the world together.

A recipe is a row of stages, each trained to its end before the next begins: Show and Tell first teaches its CNN to
name objects, then teaches the whole to tell. A stage is a frozen dataclass of numbers with four methods; the loop
knows nothing else of it.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import IterableDataset

from vlm_history.errors import InputError

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Stage(ABC):
    """One stage of training.

    Attributes:
        name: what the progress bar calls it.
        steps: number of weight updates.
        batch_size: scenes a step, over all processes together.
        learning_rate: at the top, after `warmup` steps; it then falls as a cosine to `final` times it.
        weight_decay: of AdamW, on matrices only.
        clip: largest norm of the gradient.
        evaluate_every: steps between two looks at the validation split.
        keep: "last", or "best" by the validation metric `watch` (higher is better).
    """

    name: str
    steps: int
    batch_size: int
    learning_rate: float
    warmup: int
    evaluate_every: int
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.98)
    final: float = 0.02
    clip: float = 1.0
    keep: str = "last"
    watch: str = ""

    def rate(self, step: int) -> float:
        """The learning rate of a step: a linear rise, then half a cosine."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        progress = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (self.final + (1 - self.final) * (1 + math.cos(math.pi * progress)) / 2)

    @abstractmethod
    def build(self, earlier: nn.Module | None) -> nn.Module:
        """Make the module to train: its forward takes a batch by name and returns (summed loss, its weight).

        Args:
            earlier: what the stage before has trained; None in the first.
        """

    @abstractmethod
    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Make rows `rows` of batch `index`: a function of its arguments alone, so that training can resume."""

    def stream(self, seed: int, start: int, rows: range) -> IterableDataset[Batch] | None:
        """Rows `rows` of all batches from `start` on, where data cannot be read by number and `batch` is not asked.

        None: there is no stream. Training that resumes ends the same only without one.
        """
        return None

    @abstractmethod
    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Score the module on the validation split."""

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the system that is inside the module; only the last stage is asked to."""
        raise NotImplementedError


@dataclass(frozen=True)
class Recipe:
    """How a system's weights are made.

    Attributes:
        system: its name in the table of systems.
        description: one line on what is done.
        seed: of weights, batches and dropout.
        stages: one after the other.
    """

    system: str
    description: str
    seed: int
    stages: tuple[Stage, ...]

    def fields(self) -> dict[str, Any]:
        """The recipe as plain data, as the card keeps it."""
        stages = [{"kind": type(stage).__name__, **asdict(stage)} for stage in self.stages]
        return {"system": self.system, "description": self.description, "seed": self.seed, "stages": stages}

    @property
    def hash(self) -> str:
        """sha256 over the recipe's fields: the same recipe, the same hash."""
        text = json.dumps(self.fields(), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def scene_seeds(seed: int, index: int, rows: range, batch_size: int) -> Iterator[int]:
    """Seeds of the scenes of a batch: no two scenes of one stage share one."""
    if rows.stop > batch_size:
        raise InputError(f"expected rows below the batch size {batch_size}, got {rows}")
    for row in rows:
        yield (seed % 2**22) * 2**40 + index * batch_size + row
