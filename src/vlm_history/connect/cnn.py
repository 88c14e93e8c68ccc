"""The vision expert: convolutional neural networks.

Two of them, both pixels in, vector out. `GoogLeNet` (Szegedy et al., arXiv 1409.4842) is the one that Show and Tell
joined to its LSTM; it is written here with the batch normalisation that torchvision's weights have. `ResidualCNN`
(after He et al., arXiv 1512.03385) is the small one that learns the world.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class CNNConfig:
    """Sizes of a residual network.

    Attributes:
        stem: channels after the first convolution.
        stages: channels of each stage; each halves the grid.
        width: length of the image vector.
        image_size: height and width in pixels.
        mean, std: with which pixels from 0 to 1 are normalised.
    """

    stem: int
    stages: tuple[int, ...]
    width: int
    image_size: int = 64
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)

    @classmethod
    def world(cls) -> CNNConfig:
        """The size that the world is learned at."""
        return cls(stem=24, stages=(48, 96, 192), width=384)


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

    def forward(self, x: Float[Tensor, "batch inputs rows columns"]) -> Float[Tensor, "batch outputs half quarter"]:
        """relu(F(x) + x), the x brought to F's shape by a 1x1 convolution."""
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(inner)) + self.around_norm(self.around(x)))


class ResidualCNN(nn.Module):
    """A small residual network: pixels -> a grid of features -> one vector that still knows what was where.

    Where ImageNet networks average the grid away, this one reads it whole: a picture of the world is told by who is
    left of whom.
    """

    def __init__(self, config: CNNConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Conv2d(3, config.stem, 4, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(config.stem)
        widths = (config.stem, *config.stages)
        self.blocks = nn.ModuleList(Block(i, o) for i, o in pairwise(widths))
        side = config.image_size >> (1 + len(config.stages))
        self.project = nn.Linear(config.stages[-1] * side * side, config.width)

    def features(
        self, pixels: Float[Tensor, "batch 3 rows columns"]
    ) -> Float[Tensor, "batch channels grid_rows grid_columns"]:
        """The grid: for 64 x 64 pixels, 4 x 4 places."""
        # channels last is how CPUs convolve fastest (1.3 times here)
        x = F.relu(self.stem_norm(self.stem(pixels.contiguous(memory_format=torch.channels_last))))
        for block in self.blocks:
            x = block(x)
        return x

    def pool(self, grid: Float[Tensor, "batch channels grid_rows grid_columns"]) -> Float[Tensor, "batch width"]:
        """Grid -> image vector."""
        return self.project(grid.flatten(1))

    def forward(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch width"]:
        """Normalised pixels -> image vector."""
        return self.pool(self.features(pixels))


@dataclass(frozen=True)
class GoogLeNetConfig:
    """GoogLeNet as published: a vector of 1,024, and 1,000 classes of ImageNet.

    `mean` and `std` bring pixels to -1 .. 1, which is what torchvision's `transform_input=True` makes of pixels
    normalised as for its other networks.
    """

    width: int = 1024
    classes: int = 1000
    image_size: int = 224
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)


class Convolution(nn.Module):
    """Convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(
        self, x: Float[Tensor, "batch inputs rows columns"]
    ) -> Float[Tensor, "batch outputs new_rows new_columns"]:
        """The three in turn."""
        return F.relu(self.norm(self.conv(x)))


class Inception(nn.Module):
    """Looks at several scales at once (arXiv 1409.4842, figure 2b); 1x1 convolutions keep the larger ones cheap.

    The branch that the paper draws with 5x5 convolutions has 3x3 in torchvision's network, and so in its weights.
    """

    def __init__(self, inputs: int, one: int, three_in: int, three: int, five_in: int, five: int, pooled: int) -> None:
        super().__init__()
        self.one = Convolution(inputs, one, 1)
        self.three = nn.Sequential(Convolution(inputs, three_in, 1), Convolution(three_in, three, 3))
        self.five = nn.Sequential(Convolution(inputs, five_in, 1), Convolution(five_in, five, 3))
        self.pooled = Convolution(inputs, pooled, 1)

    def forward(self, x: Float[Tensor, "batch inputs rows columns"]) -> Float[Tensor, "batch outputs rows columns"]:
        """The branches side by side, along the channels."""
        pooled = F.max_pool2d(x, 3, stride=1, padding=1, ceil_mode=True)
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pooled(pooled)], dim=1)


# Table 1 of the paper: inputs, 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection. None is a pooling step.
INCEPTIONS: tuple[tuple[int, int, int, int, int, int, int] | None, ...] = (
    (192, 64, 96, 128, 16, 32, 32),
    (256, 128, 128, 192, 32, 96, 64),
    None,
    (480, 192, 96, 208, 16, 48, 64),
    (512, 160, 112, 224, 24, 64, 64),
    (512, 128, 128, 256, 24, 64, 64),
    (512, 112, 144, 288, 32, 64, 64),
    (528, 256, 160, 320, 32, 128, 128),
    None,
    (832, 256, 160, 320, 32, 128, 128),
    (832, 384, 192, 384, 48, 128, 128),
)


class GoogLeNet(nn.Module):
    """GoogLeNet (Inception v1) without its two auxiliary classifiers, which only training used."""

    def __init__(self, config: GoogLeNetConfig) -> None:
        super().__init__()
        self.config = config
        self.first = Convolution(3, 64, 7, stride=2)
        self.second = Convolution(64, 64, 1)
        self.third = Convolution(64, 192, 3)
        self.inceptions = nn.ModuleList(Inception(*widths) for widths in INCEPTIONS if widths)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(config.width, config.classes)

    def features(
        self, pixels: Float[Tensor, "batch 3 rows columns"]
    ) -> Float[Tensor, "batch channels grid_rows grid_columns"]:
        """The grid: for 224 x 224 pixels, 7 x 7 places of 1,024 channels."""
        x = F.max_pool2d(self.first(pixels), 3, stride=2, ceil_mode=True)
        x = F.max_pool2d(self.third(self.second(x)), 3, stride=2, ceil_mode=True)
        inceptions = iter(self.inceptions)
        for place, widths in enumerate(INCEPTIONS):
            if widths is None:
                x = F.max_pool2d(x, 3 if place == 2 else 2, stride=2, ceil_mode=True)
            else:
                x = next(inceptions)(x)
        return x

    def pool(self, grid: Float[Tensor, "batch channels grid_rows grid_columns"]) -> Float[Tensor, "batch channels"]:
        """Grid -> image vector, by the mean over all places."""
        return grid.mean((2, 3))

    def forward(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch width"]:
        """Normalised pixels -> image vector."""
        return self.pool(self.features(pixels))

    def classify(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch classes"]:
        """Normalised pixels -> logits of the classes it was trained on."""
        return self.classifier(self.dropout(self(pixels)))
