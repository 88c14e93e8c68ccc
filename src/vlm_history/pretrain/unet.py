"""The U-Net of latent diffusion: it looks at noisy latents, reads what they shall become, and tells the noise.

Rombach et al., 2022 (arXiv 2112.10752), section 3.3 and appendix E: a U-Net (Ronneberger et al., arXiv 1505.04597) of
residual blocks that are told the time, and of transformers in which every place of the grid looks at the others and
then at the words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.errors import InputError
from vlm_history.layers import CrossAttention
from vlm_history.pretrain.autoencoder import Double, Grid, Halve, ResidualBlock

Words = Float[Tensor, "batch tokens source"]


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of a U-Net.

    Attributes:
        channels: of the latents.
        widths: channels at each resolution, the finest first; between two of them the grid is halved.
        attention: at which resolutions there are transformers.
        depth: residual blocks at each resolution on the way down; one more on the way up.
        heads: of the attention; they divide each width.
        source: width of what is attended to, the words.
        groups: of the group normalisations.
    """

    channels: int = 4
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    attention: tuple[bool, ...] = (True, True, True, False)
    depth: int = 2
    heads: int = 8
    source: int = 768
    groups: int = 32

    @classmethod
    def published(cls) -> UNetConfig:
        """Stable Diffusion v1: 859,520,964 parameters."""
        return cls()

    @classmethod
    def world(cls, source: int) -> UNetConfig:
        """The size that the world is drawn with, on grids of 8 x 8 and 4 x 4."""
        return cls(channels=8, widths=(64, 128), attention=(True, True), depth=1, heads=4, source=source, groups=16)


def tell_time(times: Int[Tensor, " batch"], width: int) -> Float[Tensor, "batch width"]:
    """Times as waves, cosines and then sines, of wavelengths from 2 pi to 10,000 times that (as the transformer's)."""
    half = width // 2
    rates = torch.exp(-math.log(10_000) / half * torch.arange(half, device=times.device))
    angles = times[:, None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class GatedMLP(nn.Module):
    """GEGLU (Shazeer, arXiv 2002.05202): half of the hidden layer decides how much of the other half goes on."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.widen = nn.Linear(width, 8 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, x: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch tokens width"]:
        """narrow(a GELU(b)), with a and b of the widened x."""
        a, b = self.widen(x).chunk(2, dim=2)
        return self.narrow(a * F.gelu(b))


class SpatialTransformer(nn.Module):
    """A transformer block over the places of a grid (appendix E.2.1, table 16): look around, look at the words, think.

    Equation 4: Q comes from the grid, K and V from the words tau(y).
    """

    def __init__(self, channels: int, heads: int, source: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, 1e-6)
        self.inputs = nn.Linear(channels, channels)  # a 1x1 convolution
        self.around_norm = nn.LayerNorm(channels)
        self.around = CrossAttention(channels, channels, heads, bias=False)  # of the places to each other
        self.words_norm = nn.LayerNorm(channels)
        self.words = CrossAttention(channels, source, heads, bias=False)
        self.mlp_norm = nn.LayerNorm(channels)
        self.mlp = GatedMLP(channels)
        self.outputs = nn.Linear(channels, channels)

    def forward(self, x: Grid, words: Words) -> Grid:
        """x + what its places have found."""
        places = self.inputs(self.norm(x).flatten(2).transpose(1, 2))
        normed = self.around_norm(places)
        places = places + self.around(normed, normed)
        places = places + self.words(self.words_norm(places), words)
        places = places + self.mlp(self.mlp_norm(places))
        return x + self.outputs(places).transpose(1, 2).unflatten(2, (x.shape[2], x.shape[3]))


class Layer(nn.Module):
    """A residual block and, at some resolutions, a transformer."""

    def __init__(self, config: UNetConfig, inputs: int, outputs: int, attention: bool) -> None:
        super().__init__()
        self.block = ResidualBlock(inputs, outputs, config.groups, eps=1e-5, time=4 * config.widths[0])
        self.transformer = (
            SpatialTransformer(outputs, config.heads, config.source, config.groups) if attention else None
        )

    def forward(
        self, x: Float[Tensor, "batch inputs rows columns"], time: Float[Tensor, "batch time"], words: Words
    ) -> Float[Tensor, "batch outputs rows columns"]:
        """One, then the other."""
        x = self.block(x, time)
        return x if self.transformer is None else self.transformer(x, words)


class UNet(nn.Module):
    """epsilon_theta(z_t, t, tau(y)): down to the coarsest grid and up again, with all that was seen on the way down."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        if len(config.attention) != len(config.widths):
            raise InputError(
                f"expected attention to be said of each of {len(config.widths)} resolutions, got {config.attention}"
            )
        self.config = config
        widths, first = config.widths, config.widths[0]
        self.time = nn.Sequential(nn.Linear(first, 4 * first), nn.SiLU(), nn.Linear(4 * first, 4 * first))
        self.inputs = nn.Conv2d(config.channels, first, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        seen, x = [first], first  # channels of what is kept on the way down, and of what goes on
        for number, (width, attention) in enumerate(zip(widths, config.attention, strict=True)):
            for _ in range(config.depth):
                self.down.append(Layer(config, x, width, attention))
                x = width
                seen.append(x)
            if number + 1 < len(widths):
                self.down.append(Halve(x, around=True))
                seen.append(x)
        self.middle = nn.ModuleList([Layer(config, x, x, True), Layer(config, x, x, False)])
        for number in reversed(range(len(widths))):
            for _ in range(config.depth + 1):
                self.up.append(Layer(config, x + seen.pop(), widths[number], config.attention[number]))
                x = widths[number]
            if number:
                self.up.append(Double(x))
        self.norm = nn.GroupNorm(config.groups, first, 1e-5)
        self.outputs = nn.Conv2d(first, config.channels, 3, padding=1)

    def forward(self, z: Grid, times: Int[Tensor, " batch"], words: Words) -> Grid:
        """What the noise in z is (or v, if it was trained so).

        Args:
            z: noisy latents; height and width can be halved as often as there are resolutions.
            times: t of each, from 0.
            words: tau(y), what they shall become.

        Raises:
            InputError: a grid of another number of channels, or one that cannot be halved so often.
        """
        halvings = 2 ** (len(self.config.widths) - 1)
        if z.shape[1] != self.config.channels or z.shape[2] % halvings or z.shape[3] % halvings:
            raise InputError(
                f"expected latents of {self.config.channels} channels, height and width multiples of {halvings}, got "
                f"{tuple(z.shape[1:])}; pass pictures of another size"
            )
        time = F.silu(self.time(tell_time(times, self.config.widths[0])))
        # not channels last, which the autoencoder gives and has: with many channels on a small grid, CPUs lose by it
        x = self.inputs(z.contiguous())
        seen = [x]
        for part in self.down:
            x = part(x, time, words) if isinstance(part, Layer) else part(x)
            seen.append(x)
        for part in self.middle:
            x = part(x, time, words)
        for part in self.up:
            x = part(torch.cat([x, seen.pop()], dim=1), time, words) if isinstance(part, Layer) else part(x)
        return self.outputs(F.silu(self.norm(x)))


class Looks:
    """While it is entered, a U-Net's looks at the words are written down (as in DAAM, arXiv 2210.04885)."""

    def __init__(self, unet: UNet) -> None:
        self.unet = unet
        self.seen: list[Tensor] = []

    def __enter__(self) -> Looks:
        parts = [part.words for part in self.unet.modules() if isinstance(part, SpatialTransformer)]
        self.hooks = [part.register_forward_hook(self._see) for part in parts]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self.hooks:
            hook.remove()

    def _see(self, attention: CrossAttention, given: tuple[Tensor, Tensor], _: Tensor) -> None:
        """softmax(Q K^T / sqrt(d)) of equation 4 once more, a mean over heads: (batch, tokens, rows, columns)."""
        q, k = (
            layer(x).unflatten(2, (attention.heads, -1)).transpose(1, 2)
            for layer, x in zip((attention.q, attention.k), given, strict=True)
        )
        shares = (q @ k.mT / math.sqrt(q.shape[3])).softmax(3).mean(1).mT
        side = math.isqrt(shares.shape[2])
        self.seen.append(shares.unflatten(2, (side, side)))

    def mean(self) -> Float[Tensor, "batch tokens rows columns"]:
        """Over all layers and steps, on the finest grid; at each place the looks at all tokens sum to 1."""
        side = max(grid.shape[3] for grid in self.seen)
        return torch.stack([F.interpolate(grid, (side, side), mode="bilinear") for grid in self.seen]).mean(0)
