"""The vision expert: convolutional neural networks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class CNNConfig:
    """Widths of the stem and of each stage, and of the picture's vector."""

    stem: int
    stages: tuple[int, ...]
    width: int
    image_size: int = 64
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)

    @classmethod
    def world(cls) -> CNNConfig:
        """The size that the world is learned at."""
        return cls(stem=24, stages=(48, 96, 192), width=256)


class Block(nn.Module):
    """Two 3x3 convolutions and a way around them (arXiv 1512.03385, figure 2); the first halves the grid."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.around = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
        self.around_norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs half_height half_width"]:
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(inner)) + self.around_norm(self.around(x)))


class ResidualCNN(nn.Module):
    """A small residual network: pixels -> a grid of features -> one vector that still knows what was where."""

    def __init__(self, config: CNNConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Conv2d(3, config.stem, 4, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(config.stem)
        widths = (config.stem, *config.stages)
        self.blocks = nn.ModuleList(Block(i, o) for i, o in zip(widths[:-1], widths[1:], strict=True))
        side = config.image_size >> (1 + len(config.stages))
        self.project = nn.Linear(config.stages[-1] * side * side, config.width)

    def features(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels rows columns"]:
        x = F.relu(self.stem_norm(self.stem(pixels.contiguous(memory_format=torch.channels_last))))
        for block in self.blocks:
            x = block(x)
        return x

    def pool(self, grid: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch width"]:
        return self.project(grid.flatten(1))

    def forward(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch width"]:
        return self.pool(self.features(pixels))
