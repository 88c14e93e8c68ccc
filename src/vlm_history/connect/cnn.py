"""The vision expert: convolutional neural networks.

All of them are pixels in, a grid of features out. `Classifier` is the expert of this world: a small `ResidualCNN`
(after He et al., arXiv 1512.03385) and a layer that names what its grid shows. `GoogLeNet` (Szegedy et al., arXiv
1409.4842) is the network that Show and Tell joined to its LSTM; it is written here with the batch normalisation that
torchvision's weights have. `VGG` (Simonyan and Zisserman, arXiv 1409.1556) is that of Show, Attend and Tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.errors import InputError
from vlm_history.images import Images, is_single, read_images


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
        return cls(stem=24, stages=(48, 96, 256), width=384)


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
        self.stem: nn.Module = nn.Conv2d(3, config.stem, 4, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(config.stem)
        widths = (config.stem, *config.stages)
        self.blocks = nn.ModuleList(Block(i, o) for i, o in pairwise(widths))
        side = config.image_size >> (1 + len(config.stages))
        self.project = nn.Linear(config.stages[-1] * side * side, config.width)

    def levels(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> list[Tensor]:
        """What each block has made of the picture: finer grids of simpler features first."""
        # channels last is how CPUs convolve fastest (1.3 times here)
        x = F.relu(self.stem_norm(self.stem(pixels.contiguous(memory_format=torch.channels_last))))
        levels = [x]
        for block in self.blocks:
            levels.append(block(levels[-1]))
        return levels[1:]

    def features(
        self, pixels: Float[Tensor, "batch 3 rows columns"]
    ) -> Float[Tensor, "batch channels grid_rows grid_columns"]:
        """The grid: for 64 x 64 pixels, 4 x 4 places."""
        return self.levels(pixels)[-1]

    def pool(self, grid: Float[Tensor, "batch channels grid_rows grid_columns"]) -> Float[Tensor, "batch width"]:
        """Grid -> image vector."""
        return self.project(grid.flatten(1))

    def forward(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch width"]:
        """Normalised pixels -> image vector."""
        return self.pool(self.features(pixels))


@dataclass(frozen=True)
class ClassifierConfig:
    """A CNN and the names that it is to know: for each class the Korean and the English one."""

    cnn: CNNConfig
    names: tuple[tuple[str, str], ...]


class Classifier(nn.Module):
    """The vision expert: which of the things it learned does a picture show?

    It scores every place of the grid by itself, so it can also point at what it names.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.cnn = ResidualCNN(config.cnn)
        self.head = nn.Linear(config.cnn.stages[-1], len(config.names))

    def places(
        self, pixels: Float[Tensor, "batch 3 rows columns"]
    ) -> Float[Tensor, "batch grid_rows grid_columns classes"]:
        """Logits of all classes at each place of the grid."""
        return self.head(self.cnn.features(pixels).permute(0, 2, 3, 1))

    @staticmethod
    def whole(places: Float[Tensor, "batch grid_rows grid_columns classes"]) -> Float[Tensor, "batch classes"]:
        """Logits of a picture: a soft maximum over its places, so that one good look is enough."""
        every = places.flatten(1, 2)
        return every.logsumexp(1) - log(every.shape[1])

    def forward(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch classes"]:
        """Normalised pixels -> logits of the classes."""
        return self.whole(self.places(pixels))

    @torch.no_grad()
    def classify(
        self, image: Images, names: Sequence[str] | None = None, *, language: str = "ko"
    ) -> dict[str, float] | list[dict[str, float]]:
        """Name what a picture shows.

        Args:
            image: one image or several, as `vlm_history.images.read_images` takes them.
            names: choose among these alone; all that it knows if None.
            language: "ko" or "en", the language of the names.

        Returns:
            For each image the names with their probabilities, the likeliest first.

        Raises:
            InputError: an unknown language, a name that it never learned, no name, or no image.
        """
        if language not in ("ko", "en"):
            raise InputError(f'expected language "ko" or "en", got {language!r}; choose one of the two')
        known = {name[("ko", "en").index(language)]: row for row, name in enumerate(self.config.names)}
        wanted = list(known) if names is None else list(names)
        foreign = [name for name in wanted if name not in known]
        if foreign or not wanted:
            raise InputError(
                f"expected names among the {len(known)} that this CNN learned, got {', '.join(foreign) or 'none'}; "
                "a classifier cannot learn a name by being told it"
            )
        config = self.config.cnn
        pixels = read_images(image, size=config.image_size, mean=config.mean, std=config.std)
        logits = self(pixels.to(self.head.weight.device))[:, [known[name] for name in wanted]].cpu()
        told = []
        for chances in logits.softmax(1):
            best, which = chances.sort(descending=True)
            told.append({wanted[row]: chance for row, chance in zip(which.tolist(), best.tolist(), strict=True)})
        return told[0] if is_single(image) else told


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


@dataclass(frozen=True)
class VGGConfig:
    """VGG-19, configuration E of the paper's table 1: channels of the convolutions of each of its five stages.

    `mean` and `std` are those of torchvision's weights.
    """

    stages: tuple[tuple[int, ...], ...] = ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4)
    width: int = 4096
    classes: int = 1000
    image_size: int = 224
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class VGG(nn.Module):
    """3x3 convolutions and nothing else, pooled after each stage; then three layers that read the whole grid."""

    def __init__(self, config: VGGConfig) -> None:
        super().__init__()
        self.config = config
        self.stages = nn.ModuleList()
        inputs = 3
        for stage in config.stages:
            widths = (inputs, *stage)
            self.stages.append(nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in pairwise(widths)))
            inputs = stage[-1]
        self.first = nn.Linear(inputs * 7 * 7, config.width)
        self.second = nn.Linear(config.width, config.width)
        self.classifier = nn.Linear(config.width, config.classes)
        self.dropout = nn.Dropout(0.5)

    def features(
        self, pixels: Float[Tensor, "batch 3 rows columns"]
    ) -> Float[Tensor, "batch channels grid_rows grid_columns"]:
        """The last convolution's grid, before it is pooled: for 224 x 224 pixels, 14 x 14 places of 512 channels.

        Show, Attend and Tell takes its annotations here (section 4.3: "the fourth convolutional layer before max
        pooling" of the last stage).
        """
        x = pixels
        for number, stage in enumerate(self.stages):
            if number:
                x = F.max_pool2d(x, 2)
            assert isinstance(stage, nn.ModuleList)
            for convolution in stage:
                x = F.relu(convolution(x))
        return x

    def forward(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch width"]:
        """Normalised pixels -> image vector, the second of the three last layers."""
        grid = F.adaptive_avg_pool2d(F.max_pool2d(self.features(pixels), 2), 7)
        x = self.dropout(F.relu(self.first(grid.flatten(1))))
        return self.dropout(F.relu(self.second(x)))

    def classify(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch classes"]:
        """Normalised pixels -> logits of the classes it was trained on."""
        return self.classifier(self(pixels))
