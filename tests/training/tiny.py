"""A recipe that trains in a second. As a script: train it into a folder, under torchrun or not."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vlm_history.training.loop import train
from vlm_history.training.recipe import Batch, Recipe, Stage, scene_seeds


class Net(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 1))

    def forward(self, inputs: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        return ((self.body(inputs)[:, 0] - targets) ** 2 * weights).sum(), weights.sum()


@dataclass(frozen=True)
class Regress(Stage):
    dropout: float = 0.1

    def build(self, earlier: nn.Module | None) -> nn.Module:
        net = Net(self.dropout)
        if earlier is not None:
            net.load_state_dict(earlier.state_dict())
        return net

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        seeds = list(scene_seeds(seed, index, rows, self.batch_size))
        inputs = torch.stack([torch.randn(4, generator=torch.Generator().manual_seed(s)) for s in seeds])
        # rows weigh differently, so a mean of the processes' means would be wrong
        weights = torch.tensor([1.0 + s % 3 for s in seeds])
        return {"inputs": inputs, "targets": inputs.sum(1).sin(), "weights": weights}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        batch = self.batch(123, 0, range(self.batch_size))
        total, weight = module(**batch)
        return {"fit": -float(total / weight)}

    def save(self, module: nn.Module, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        save_file(module.state_dict(), directory / "model.safetensors")


def recipe(dropout: float = 0.1, keep: str = "last") -> Recipe:
    first = Regress("first", 10, 8, 1e-2, 2, 4, keep=keep, watch="fit", dropout=dropout)
    return Recipe("tiny", "a test", 7, (first, replace(first, name="second", steps=12)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    train(recipe(dropout=0), sys.argv[1], workers=0, progress_bar=False)
