"""The autoencoder of latent diffusion: pictures as small grids of numbers and back, so that what is dear is small.

Rombach, Blattmann, Lorenz, Esser and Ommer, 2022 (High-Resolution Image Synthesis with Latent Diffusion Models, arXiv
2112.10752), sections 3.1 and appendix G: E encodes, D decodes, and a slight KL term keeps the latents z = E(x) from
growing and from being torn apart. The network is that of VQGAN (Esser et al., arXiv 2012.09841).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.errors import InputError
from vlm_history.layers import SelfAttention

Pixels = Float[Tensor, "batch 3 rows columns"]
Latents = Float[Tensor, "batch channels latent_rows latent_columns"]
Grid = Float[Tensor, "batch channels rows columns"]


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of an autoencoder.

    Attributes:
        widths: channels at each resolution, the finest first; between two of them the grid is halved.
        depth: residual blocks at each resolution; the decoder has one more.
        channels: of the latents.
        groups: of the group normalisations.
        image_size: height and width in pixels that it was trained on; others work, if the latents' grid fits in them.
        scale: what latents are multiplied by, so that their standard deviation is about 1.
        mean, std: with which pixels from 0 to 1 are normalised.
    """

    widths: tuple[int, ...] = (128, 256, 512, 512)
    depth: int = 2
    channels: int = 4
    groups: int = 32
    image_size: int = 512
    scale: float = 0.18215
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    @classmethod
    def published(cls) -> AutoencoderConfig:
        """Stable Diffusion v1: 512 x 512 x 3 pixels as 64 x 64 x 4 latents; 83,653,863 parameters."""
        return cls()

    @classmethod
    def world(cls) -> AutoencoderConfig:
        """64 x 64 x 3 pixels as 8 x 8 x 8 latents, 24 times fewer; the recipe brings these to a deviation of 1."""
        return cls(widths=(16, 32, 64, 96), depth=1, channels=8, groups=4, image_size=64, scale=1.0)

    @property
    def factor(self) -> int:
        """f: how many pixels a latent is high and wide."""
        return 2 ** (len(self.widths) - 1)


class ResidualBlock(nn.Module):
    """Twice normalisation, SiLU and a 3x3 convolution, and a way around; in the U-Net, told the time in between.

    Args:
        inputs, outputs: channels.
        groups, eps: of the normalisations.
        time: width of the vector that tells the time; None: there is none.
    """

    def __init__(self, inputs: int, outputs: int, groups: int, eps: float = 1e-6, time: int | None = None) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(groups, inputs, eps)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.time = nn.Linear(time, outputs) if time else None
        self.second_norm = nn.GroupNorm(groups, outputs, eps)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.around = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(
        self, x: Float[Tensor, "batch inputs rows columns"], time: Float[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch outputs rows columns"]:
        """F(x, time) + x, the x brought to F's channels by a 1x1 convolution; `time` has been through SiLU."""
        inner = self.first(F.silu(self.first_norm(x)))
        if self.time is not None:
            inner = inner + self.time(time)[:, :, None, None]
        return self.second(F.silu(self.second_norm(inner))) + self.around(x)


class GridAttention(nn.Module):
    """Attention between all places of a grid, in one head."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, 1e-6)
        self.attention = SelfAttention(channels, heads=1, causal=False)

    def forward(self, x: Grid) -> Grid:
        """x + Attention(GroupNorm(x))."""
        mixed = self.attention(self.norm(x).flatten(2).transpose(1, 2))
        return x + mixed.transpose(1, 2).unflatten(2, (x.shape[2], x.shape[3]))


class Halve(nn.Module):
    """A convolution with stride 2. The autoencoder pads at the right and below alone, the U-Net all around."""

    def __init__(self, channels: int, around: bool = False) -> None:
        super().__init__()
        self.around = around
        self.convolution = nn.Conv2d(channels, channels, 3, stride=2, padding=1 if around else 0)

    def forward(self, x: Grid) -> Float[Tensor, "batch channels half_rows half_columns"]:
        """Half as many rows and columns."""
        return self.convolution(x if self.around else F.pad(x, (0, 1, 0, 1)))


class Double(nn.Module):
    """Every place becomes four, then a convolution smooths."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Grid) -> Float[Tensor, "batch channels twice_rows twice_columns"]:
        """Twice as many rows and columns."""
        return self.convolution(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Coder(nn.Module):
    """What encoder and decoder are: convolution, blocks and attention at the coarsest grid, and a convolution."""

    def __init__(self, inputs: int, first: int, coarsest: int, last: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.inputs = nn.Conv2d(inputs, first, 3, padding=1)
        self.levels = nn.ModuleList()
        self.middle = nn.ModuleList(
            [
                ResidualBlock(coarsest, coarsest, groups),
                GridAttention(coarsest, groups),
                ResidualBlock(coarsest, coarsest, groups),
            ]
        )
        self.norm = nn.GroupNorm(groups, last, 1e-6)
        self.outputs = nn.Conv2d(last, outputs, 3, padding=1)


class Encoder(Coder):
    """E: pixels -> mean and log variance of each latent."""

    def __init__(self, config: AutoencoderConfig) -> None:
        widths = config.widths
        super().__init__(3, widths[0], widths[-1], widths[-1], 2 * config.channels, config.groups)
        for number, (inputs, outputs) in enumerate(pairwise((widths[0], *widths))):
            level = nn.ModuleList(
                ResidualBlock(outputs if i else inputs, outputs, config.groups) for i in range(config.depth)
            )
            if number + 1 < len(widths):
                level.append(Halve(outputs))
            self.levels.append(level)

    def forward(self, x: Pixels) -> Float[Tensor, "batch moments latent_rows latent_columns"]:
        """Down to the coarsest grid."""
        x = self.inputs(x)
        for level in self.levels:
            assert isinstance(level, nn.ModuleList)
            for part in level:
                x = part(x)
        for part in self.middle:
            x = part(x)
        return self.outputs(F.silu(self.norm(x)))


class Decoder(Coder):
    """D: latents -> pixels."""

    def __init__(self, config: AutoencoderConfig) -> None:
        widths = config.widths[::-1]
        super().__init__(config.channels, widths[0], widths[0], widths[-1], 3, config.groups)
        for number, (inputs, outputs) in enumerate(pairwise((widths[0], *widths))):
            level = nn.ModuleList(
                ResidualBlock(outputs if i else inputs, outputs, config.groups) for i in range(config.depth + 1)
            )
            if number + 1 < len(widths):
                level.append(Double(outputs))
            self.levels.append(level)

    def forward(self, z: Latents) -> Pixels:
        """Up to the finest grid."""
        x = self.inputs(z)
        for part in self.middle:
            x = part(x)
        for level in self.levels:
            assert isinstance(level, nn.ModuleList)
            for part in level:
                x = part(x)
        return self.outputs(F.silu(self.norm(x)))


@dataclass(frozen=True)
class Gaussian:
    """q(z | x): a normal distribution for each latent."""

    mean: Latents
    log_variance: Latents

    def sample(self, epsilon: Latents) -> Latents:
        """mean + std epsilon, for normal epsilon (Kingma and Welling, arXiv 1312.6114, section 2.4)."""
        return self.mean + (self.log_variance / 2).exp() * epsilon

    def divergence(self) -> Float[Tensor, " batch"]:
        """KL(q || N(0, 1)) of each picture, summed over its latents, in nats."""
        return (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance).flatten(1).sum(1) / 2


class Autoencoder(nn.Module):
    """E and D, with a 1x1 convolution on either side of the latents."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.moments = nn.Conv2d(2 * config.channels, 2 * config.channels, 1)
        self.latents = nn.Conv2d(config.channels, config.channels, 1)
        self.decoder = Decoder(config)

    def encode(self, pixels: Pixels) -> Gaussian:
        """Normalised pixels -> q(z | x), not yet scaled.

        Raises:
            InputError: pictures that the grid of latents does not fit in.
        """
        rows, columns = pixels.shape[2:]
        if rows % self.config.factor or columns % self.config.factor:
            raise InputError(
                f"expected pictures whose height and width are multiples of {self.config.factor} pixels, got "
                f"{rows} x {columns}; resize them"
            )
        # channels last is how CPUs convolve fastest
        mean, log_variance = self.moments(self.encoder(pixels.contiguous(memory_format=torch.channels_last))).chunk(
            2, 1
        )
        return Gaussian(mean, log_variance.clamp(-30, 20))

    def decode(self, z: Latents) -> Pixels:
        """Latents, not scaled -> normalised pixels."""
        return self.decoder(self.latents(z.contiguous(memory_format=torch.channels_last)))

    def forward(self, pixels: Pixels, epsilon: Latents | None = None) -> tuple[Pixels, Gaussian]:
        """Pictures as they come back, and q(z | x); z is its mean if no epsilon is given."""
        found = self.encode(pixels)
        return self.decode(found.mean if epsilon is None else found.sample(epsilon)), found

    @torch.no_grad()
    def standardise(self, pixels: Pixels) -> None:
        """Bring each channel of the latents to mean 0 and deviation 1 over these pictures; what is decoded stays.

        Diffusion ends in noise of mean 0 and deviation 1 in every channel, so it had better begin there, too. Where
        the paper multiplies by one number (`scale`), this changes the two 1x1 convolutions.
        """
        mean = self.encode(pixels).mean
        std = mean.std((0, 2, 3)).clamp_min(1e-6)
        mean = mean.mean((0, 2, 3))
        shift, stretch = torch.cat([mean, torch.zeros_like(mean)]), torch.cat([1 / std, torch.ones_like(std)])
        self.moments.weight.mul_(stretch[:, None, None, None])
        self.moments.bias.sub_(shift).mul_(stretch).sub_(torch.cat([torch.zeros_like(std), 2 * std.log()]))  # type: ignore[union-attr]
        self.latents.bias.add_(self.latents.weight[:, :, 0, 0] @ mean)  # type: ignore[union-attr]
        self.latents.weight.mul_(std[None, :, None, None])
