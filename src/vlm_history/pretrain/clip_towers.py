"""The two towers of CLIP: what sees, of which the paper tries two kinds, and what reads.

Radford et al., 2021 (arXiv 2103.00020), section 2.4 and, for sizes, tables 19 and 20. All end in vectors of one width
that are not yet of unit length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.connect.cnn import CNNConfig, ResidualCNN
from vlm_history.errors import InputError
from vlm_history.layers import Activation, CrossAttention, PreNormBlock

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pixels of CLIP's own training pictures."""


@dataclass(frozen=True)
class ViTConfig:
    """A vision transformer: pictures are cut into squares of `patch` pixels."""

    patch: int
    width: int
    depth: int
    heads: int
    image_size: int = 224
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD


@dataclass(frozen=True)
class ResNetConfig:
    """CLIP's modified ResNet: blocks of each of its four stages; the first of them ends with 4 x `width` channels."""

    stages: tuple[int, int, int, int]
    width: int
    heads: int
    image_size: int = 224
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD


@dataclass(frozen=True)
class TextConfig:
    """The text transformer. The last two tokens of the vocabulary begin and end a text of at most `length` tokens."""

    vocabulary: int = 49_408
    length: int = 77
    width: int = 512
    depth: int = 12
    heads: int = 8


def _blocks(width: int, depth: int, heads: int, causal: bool, activation: Activation) -> nn.ModuleList:
    """A stack of blocks, begun as in OpenAI's code: what each adds is the smaller, the deeper the stack."""
    blocks = nn.ModuleList()
    for _ in range(depth):
        block = PreNormBlock(width, heads, causal, activation)
        nn.init.normal_(block.attention.qkv.weight, std=width**-0.5)
        nn.init.normal_(block.attention.out.weight, std=(2 * width * depth) ** -0.5)
        nn.init.normal_(block.mlp.widen.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(block.mlp.narrow.weight, std=(2 * width * depth) ** -0.5)
        blocks.append(block)
    return blocks


def _first_token(block: nn.Module, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch width"]:
    """What a block makes of the first token. Where nobody reads the others any more, most of its work is for nothing:
    of the last block of ViT-B/32 that is four fifths."""
    assert isinstance(block, PreNormBlock)
    attention, width = block.attention, x.shape[2]
    weight, bias = attention.qkv.weight, attention.qkv.bias
    normed = block.attention_norm(x)
    q = F.linear(normed[:, :1], weight[:width], bias[:width])
    k, v = F.linear(normed, weight[width:], bias[width:]).chunk(2, dim=2)
    heads = (part.unflatten(2, (attention.heads, -1)).transpose(1, 2) for part in (q, k, v))
    mixed = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(1)
    first = x[:, 0] + attention.out(mixed)
    return first + block.mlp(block.mlp_norm(first))


class VisionTransformer(nn.Module):
    """A transformer over squares of the picture, and one token more that gathers what they say (section 2.4)."""

    def __init__(self, config: ViTConfig, width: int, activation: Activation) -> None:
        super().__init__()
        self.config = config
        spread = config.width**-0.5
        self.patches = nn.Conv2d(3, config.width, config.patch, config.patch, bias=False)
        self.gatherer = nn.Parameter(spread * torch.randn(config.width))
        self.positions = nn.Parameter(spread * torch.randn(1 + (config.image_size // config.patch) ** 2, config.width))
        self.norm_before = nn.LayerNorm(config.width)  # "an additional layer normalization" that is CLIP's own
        self.blocks = _blocks(config.width, config.depth, config.heads, False, activation)
        self.norm_after = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, width, bias=False)

    def tokens(
        self, pixels: Float[Tensor, "batch 3 rows columns"], blocks: int | None = None
    ) -> Float[Tensor, "batch tokens channels"]:
        """The gathering token and one for each square, row by row, after so many blocks (all if None).

        Raises:
            InputError: pictures of another size than there are positions for.
        """
        side = self.config.image_size
        if pixels.shape[2:] != (side, side):
            raise InputError(f"expected pictures of {side} x {side} pixels, got {tuple(pixels.shape[2:])}; resize them")
        squares = self.patches(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.gatherer.expand(len(pixels), 1, -1), squares], dim=1) + self.positions
        x = self.norm_before(x)
        for block in self.blocks[:blocks]:
            x = block(x)
        return x

    def forward(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch width"]:
        """Normalised pixels -> image vectors, not yet of unit length."""
        before_last = self.tokens(pixels, len(self.blocks) - 1)
        return self.project(self.norm_after(_first_token(self.blocks[-1], before_last)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a way around; strides are averages, so that nothing is skipped (section 2.4).

    Args:
        inputs: channels that come in.
        channels: of the 3x3 convolution; four times as many come out.
        stride: 1, or 2 to halve the grid.
    """

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, channels, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)
        self.shrink = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.third = nn.Conv2d(channels, 4 * channels, 1, bias=False)
        self.third_norm = nn.BatchNorm2d(4 * channels)
        same = stride == 1 and inputs == 4 * channels
        self.around = nn.Identity() if same else nn.Conv2d(inputs, 4 * channels, 1, bias=False)
        self.around_norm = nn.Identity() if same else nn.BatchNorm2d(4 * channels)
        nn.init.zeros_(self.third_norm.weight)  # at the start a block lets everything through

    def forward(self, x: Float[Tensor, "batch inputs rows columns"]) -> Float[Tensor, "batch outputs half quarter"]:
        """relu(F(x) + x)."""
        inner = F.relu(self.first_norm(self.first(x)))
        inner = self.shrink(F.relu(self.second_norm(self.second(inner))))
        return F.relu(self.third_norm(self.third(inner)) + self.around_norm(self.around(self.shrink(x))))


class AttentionPool(nn.Module):
    """The mean of all places asks every place, where other ResNets stop at the mean (section 2.4).

    Args:
        places: rows times columns of the grid.
        channels: of the grid.
        heads: of the attention.
        width: of what comes out.
    """

    def __init__(self, places: int, channels: int, heads: int, width: int) -> None:
        super().__init__()
        self.positions = nn.Parameter(channels**-0.5 * torch.randn(1 + places, channels))
        self.attention = CrossAttention(channels, channels, heads, out_width=width)

    def forward(self, grid: Float[Tensor, "batch channels rows columns"]) -> Float[Tensor, "batch width"]:
        """Grid -> image vectors; a grid of another size than there are positions for gets averages of them."""
        places = grid.flatten(2).transpose(1, 2)
        positions: Tensor = self.positions
        if places.shape[1] != len(positions) - 1:
            side = math.isqrt(len(positions) - 1)
            laid = positions[1:].T.unflatten(1, (side, side))
            laid = F.adaptive_avg_pool2d(laid, (grid.shape[2], grid.shape[3])).flatten(1).T
            positions = torch.cat([positions[:1], laid])
        x = torch.cat([places.mean(1, keepdim=True), places], dim=1) + positions
        return self.attention(x[:, :1], x)[:, 0]


class ModifiedResNet(nn.Module):
    """The ResNet of section 2.4: three convolutions to begin with, averages for strides, attention to end with."""

    def __init__(self, config: ResNetConfig, width: int) -> None:
        super().__init__()
        self.config = config
        widths = (3, config.width // 2, config.width // 2, config.width)
        self.stem = nn.ModuleList(
            nn.Conv2d(i, o, 3, stride=2 if i == 3 else 1, padding=1, bias=False) for i, o in pairwise(widths)
        )
        self.stem_norms = nn.ModuleList(nn.BatchNorm2d(o) for o in widths[1:])
        self.stages = nn.ModuleList()
        inputs = config.width
        for number, blocks in enumerate(config.stages):
            channels = config.width << number
            strides = [1 if number == 0 else 2] + [1] * (blocks - 1)
            self.stages.append(
                nn.Sequential(*(Bottleneck(4 * channels if i else inputs, channels, s) for i, s in enumerate(strides)))
            )
            inputs = 4 * channels
        self.pool = AttentionPool((config.image_size // 32) ** 2, inputs, config.heads, width)

    def features(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch channels grid grid"]:
        """The grid: for 224 x 224 pixels, 7 x 7 places.

        Raises:
            InputError: pictures of another size than there are positions for.
        """
        side = self.config.image_size
        if pixels.shape[2:] != (side, side):
            raise InputError(f"expected pictures of {side} x {side} pixels, got {tuple(pixels.shape[2:])}; resize them")
        x = pixels
        for convolution, norm in zip(self.stem, self.stem_norms, strict=True):
            x = F.relu(norm(convolution(x)))
        x = F.avg_pool2d(x, 2)
        for stage in self.stages:
            x = stage(x)
        return x

    def forward(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch width"]:
        """Normalised pixels -> image vectors, not yet of unit length."""
        return self.pool(self.features(pixels))


class Orientations(nn.Module):
    """Edges by their orientation, whatever their contrast, and coarse colour, at half the resolution.

    What stays of a thing when another hand draws it are its outlines. So the first layer is that of the years before
    networks learned their own: histograms of oriented gradients (Dalal and Triggs, 2005, section 6), in cells of 2 x 2
    pixels and with one normalisation instead of four. Nothing in it is learned. What lines one artist draws inside of a
    form another leaves out, so edges can also be found in coarser pictures, where only the form is left.

    Args:
        scales: how often they are found, each time in a picture of half the resolution.
        orientations: of edges, between which the half turn is divided.
        sharpness: how little an edge counts for its neighbouring orientations.
    """

    def __init__(self, scales: int = 1, orientations: int = 8, sharpness: int = 3) -> None:
        super().__init__()
        self.scales, self.sharpness = scales, sharpness
        self.channels = scales * orientations + 3
        angles = torch.arange(orientations) * (math.pi / orientations)
        # of doubled angles: an edge and its half turn are one orientation
        self.register_buffer("directions", torch.stack([(2 * angles).cos(), (2 * angles).sin()]), persistent=False)

    def forward(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch channels half quarter"]:
        """Normalised pixels -> orientations, finer ones first, and then red, green and blue."""
        half = F.avg_pool2d(pixels, 2)
        found = [self.edges(pixels, 2)]
        for scale in range(1, self.scales):
            coarse = F.interpolate(F.avg_pool2d(pixels, 2**scale), size=half.shape[2:], mode="bilinear")
            found.append(self.edges(coarse, 1))
        return torch.cat([*found, half / 2], dim=1)

    def edges(
        self, pixels: Float[Tensor, "batch 3 rows columns"], cell: int
    ) -> Float[Tensor, "batch orientations cell_rows cell_columns"]:
        """How much of an edge there is in each cell of so many pixels a side, by orientation."""
        around = F.pad(pixels, (1, 1, 1, 1), mode="replicate")
        across = around[:, :, 1:-1, 2:] - around[:, :, 1:-1, :-2]
        down = around[:, :, 2:, 1:-1] - around[:, :, :-2, 1:-1]
        # of the three colours the strongest, at each pixel; max also says where, ten times as fast as argmax
        energy, strongest = (across.square() + down.square()).max(1, keepdim=True)
        across, down = across.gather(1, strongest), down.gather(1, strongest)
        # cosine and sine of twice the angle
        squared = energy + 1e-6
        doubled = (across.square() - down.square()) / squared, 2 * across * down / squared
        cosines, sines = self.get_buffer("directions")[:, :, None, None]
        alike = F.relu(doubled[0] * cosines + doubled[1] * sines)
        cells = F.avg_pool2d(squared.sqrt() * alike**self.sharpness, cell)
        near = F.avg_pool2d(F.pad(F.avg_pool2d(energy, cell), (3, 3, 3, 3), mode="replicate"), 7, stride=1)
        return (cells / (near + 0.02).sqrt()).clamp(max=2)


@dataclass(frozen=True)
class EdgeCNNConfig(CNNConfig):
    """Sizes of a CNN of this world that begins with `Orientations`.

    Attributes:
        scales: see `Orientations`.
    """

    scales: int = 1


class PooledCNN(nn.Module):
    """The CNN of this world, which begins with `Orientations`, under CLIP's attention pooling."""

    def __init__(self, config: EdgeCNNConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.cnn = ResidualCNN(config)
        del self.cnn.project  # attention pools in its place
        edges = Orientations(config.scales)
        self.cnn.stem = nn.Sequential(edges, nn.Conv2d(edges.channels, config.stem, 3, padding=1, bias=False))
        side = config.image_size >> (1 + len(config.stages))
        self.pool = AttentionPool(side**2, config.stages[-1], config.stages[-1] // 64, width)

    def forward(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch width"]:
        """Normalised pixels -> image vectors, not yet of unit length."""
        return self.pool(self.cnn.features(pixels))


class TextTransformer(nn.Module):
    """A transformer that reads from left to right; at the token that ends a text it has read all of it."""

    def __init__(self, config: TextConfig, width: int, activation: Activation) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Parameter(0.01 * torch.randn(config.length, config.width))
        self.blocks = _blocks(config.width, config.depth, config.heads, True, activation)
        self.norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, width, bias=False)
        nn.init.normal_(self.words.weight, std=0.02)

    def tokens(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens channels"]:
        """What is known at each token of what came before it: padding at the right changes nothing."""
        x = self.words(ids) + self.positions[: ids.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch width"]:
        """Token ids -> text vectors, not yet of unit length; what follows the first end of text does not count."""
        ends = (ids == self.config.vocabulary - 1).int().argmax(1)
        return self.project(self.tokens(ids)[torch.arange(len(ids), device=ids.device), ends])
