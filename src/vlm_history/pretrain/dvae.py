"""The discrete VAE of DALL-E: a picture as a grid of words, taken from a vocabulary that was learned along with it.

Ramesh, Pavlov, Goh, Gray, Voss, Radford, Chen and Sutskever, 2021 (Zero-Shot Text-to-Image Generation, arXiv
2102.12092), section 2.1 and appendix A, and, where these leave it open, the code that they released. A transformer
that writes words can then write pictures: `dalle` does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.errors import InputError
from vlm_history.images import Images, read_images

EPSILON = 0.1
"""Pixels from 0 to 1 are squeezed into (0.1, 0.9), where the likelihood is finite (equation 3)."""
TOGETHER = 64
"""Pictures that go through the network at a time, so that any number of them fits."""


@dataclass(frozen=True)
class DVAEConfig:
    """Sizes of a discrete VAE.

    Attributes:
        codes: words of its vocabulary.
        widths: channels of the encoder's groups of blocks, each at half the resolution of the one before; the
            decoder's are the same in reverse.
        entry: channels that the decoder begins with.
        blocks: in each group.
        gain: what a block adds is multiplied by it.
        image_size: height and width in pixels.
        narrowing: within a block there are so many times fewer channels.
    """

    codes: int
    widths: tuple[int, ...]
    entry: int
    blocks: int
    gain: float
    image_size: int
    narrowing: int = 4

    @classmethod
    def published(cls) -> DVAEConfig:
        """As released: 256 x 256 pixels, 32 x 32 codes. The gain is 1 / (number of blocks)^2: it begins as small as it
        has to be for a stable beginning (section 2.1), and many updates make up for it."""
        return cls(codes=8192, widths=(256, 512, 1024, 2048), entry=128, blocks=2, gain=1 / 64, image_size=256)

    @classmethod
    def world(cls) -> DVAEConfig:
        """The size that the world is learned at: 64 x 64 pixels, 8 x 8 codes. Most channels are where few places are;
        in an hour no block would outgrow a gain of 1 / 64, nor would so few be unstable without it."""
        return cls(
            codes=2048, widths=(32, 64, 96, 192), entry=64, blocks=1, gain=0.5, image_size=64, narrowing=2
        )  # fmt: skip

    @property
    def side(self) -> int:
        """Rows of the grid of codes, and columns."""
        return self.image_size // 2 ** (len(self.widths) - 1)


def _convolution(inputs: int, outputs: int, kernel: int) -> nn.Conv2d:
    """A convolution that keeps rows and columns, begun as in the released code: signals keep their size."""
    layer = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
    nn.init.normal_(layer.weight, std=(inputs * kernel**2) ** -0.5)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # it has one
    return layer


class Block(nn.Module):
    """A bottleneck of four convolutions, as published a quarter as wide within, and a way around it.

    Args:
        inputs, outputs: channels.
        kernels: of the four.
        gain: of what they add.
        narrowing: see `DVAEConfig`.
    """

    def __init__(
        self, inputs: int, outputs: int, kernels: tuple[int, int, int, int], gain: float, narrowing: int = 4
    ) -> None:
        super().__init__()
        channels = (inputs, *3 * (outputs // narrowing,), outputs)
        self.convolutions = nn.ModuleList(
            _convolution(*ends, kernel) for ends, kernel in zip(pairwise(channels), kernels, strict=True)
        )
        self.around = nn.Identity() if inputs == outputs else _convolution(inputs, outputs, 1)
        self.gain = gain

    def forward(self, x: Float[Tensor, "batch inputs rows columns"]) -> Float[Tensor, "batch outputs rows columns"]:
        """around(x) + gain F(x); each convolution of F follows a ReLU."""
        inner = x
        for convolution in self.convolutions:
            inner = convolution(F.relu(inner))
        return self.around(x) + self.gain * inner


def _groups(
    inputs: int, widths: tuple[int, ...], kernels: tuple[int, int, int, int], config: DVAEConfig
) -> nn.ModuleList:
    """A group of blocks for each width; the first of them changes the number of channels."""
    return nn.ModuleList(
        nn.Sequential(
            *(
                Block(before if i == 0 else after, after, kernels, config.gain, config.narrowing)
                for i in range(config.blocks)
            )
        )
        for before, after in pairwise((inputs, *widths))
    )


class Encoder(nn.Module):
    """Pixels -> for each place of a coarse grid the logits of the codes: 53,786,240 parameters as published."""

    def __init__(self, config: DVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.first = _convolution(3, config.widths[0], 7)
        self.groups = _groups(config.widths[0], config.widths, (3, 3, 3, 1), config)
        self.last = _convolution(config.widths[-1], config.codes, 1)

    def forward(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch codes rows columns"]:
        """The logits of q(z | x).

        Args:
            pixels: within (0.1, 0.9), as `squeeze` makes them.
        """
        return self.last(self.features(pixels))

    def features(self, pixels: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch channels rows columns"]:
        """What the logits are made of."""
        x = self.first(pixels)
        for number, group in enumerate(self.groups):
            x = group(F.max_pool2d(x, 2) if number else x)
        return F.relu(x)


class Decoder(nn.Module):
    """Codes -> the distribution of each pixel: 43,829,766 parameters as published."""

    def __init__(self, config: DVAEConfig) -> None:
        super().__init__()
        self.config = config
        self.first = _convolution(config.codes, config.entry, 1)
        self.groups = _groups(config.entry, config.widths[::-1], (1, 3, 3, 3), config)
        self.last = _convolution(config.widths[0], 6, 1)

    def forward(self, codes: Float[Tensor, "batch codes rows columns"]) -> Float[Tensor, "batch 6 height width"]:
        """mu of red, green and blue, and then ln b of each (appendix A.3).

        Args:
            codes: at each place how much of each there is: one of them whole, or, relaxed, some of all.
        """
        return self.paint(self.first(codes))

    def paint(self, x: Float[Tensor, "batch entry rows columns"]) -> Float[Tensor, "batch 6 height width"]:
        """From what the codes mean."""
        for number, group in enumerate(self.groups):
            x = group(F.interpolate(x, scale_factor=2.0, mode="nearest") if number else x)
        return self.last(F.relu(x))


def squeeze(pixels: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Pixels from 0 to 1 -> from 0.1 to 0.9: phi, equation 3."""
    return (1 - 2 * EPSILON) * pixels + EPSILON


def unsqueeze(pixels: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The way back, to 0 or 1 where it would lead beyond."""
    return ((pixels - EPSILON) / (1 - 2 * EPSILON)).clamp(0, 1)


def bytes_of(painted: Float[Tensor, "batch 6 height width"]) -> NDArray[np.uint8]:
    """What a decoder puts out -> pictures (batch, height, width, 3), the middle of each pixel's distribution."""
    seen = unsqueeze(painted[:, :3].sigmoid())
    return (seen * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def logit_laplace(
    pixels: Float[Tensor, "*shape"], mu: Float[Tensor, "*shape"], log_b: Float[Tensor, "*shape"]
) -> Float[Tensor, "*shape"]:
    """ln f(x | mu, b) of equation 2: the density of the sigmoid of what is distributed as Laplace(mu, b).

    Args:
        pixels: x, within (0, 1), which a Laplace or normal distribution would leave.
        mu, log_b: of each value.
    """
    return -math.log(2) - log_b - (pixels * (1 - pixels)).log() - (pixels.logit() - mu).abs() * (-log_b).exp()


def cosine(begin: float, end: float, updates: int, step: int) -> float:
    """From `begin` at step 0 along half a cosine to `end` at step `updates`, and then level (appendix A.2)."""
    share = min(step, updates) / updates
    return end + (begin - end) * (1 + math.cos(math.pi * share)) / 2


def kl_weight(step: int, updates: int = 5_000, full: float = 6.6) -> float:
    """beta: 0 at first, so that codes come into use before they have to be used evenly."""
    return cosine(0.0, full, updates, step)


def temperature(step: int, updates: int = 150_000, last: float = 1 / 16) -> float:
    """tau of the relaxation. At 1/16 a relaxed code is nearly one code, and the relaxed bound nearly the true one."""
    return cosine(1.0, last, updates, step)


def step_size(step: int, updates: int = 1_200_000, first: float = 1e-4, last: float = 1.25e-6) -> float:
    """Of AdamW."""
    return cosine(first, last, updates, step)


class DVAE(nn.Module):
    """Encoder and decoder with a vocabulary between them.

    Raises:
        InputError: a picture's side that cannot be halved between groups.
    """

    def __init__(self, config: DVAEConfig) -> None:
        super().__init__()
        if config.side * 2 ** (len(config.widths) - 1) != config.image_size:
            raise InputError(
                f"expected an image_size that can be halved {len(config.widths) - 1} times, got {config.image_size}"
            )
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def forward(
        self,
        pixels: Float[Tensor, "batch 3 height width"],
        temperature: float,
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
        """The two terms of the bound (equation 1), relaxed: ln p(x | z) and KL(q(z | x), p(z)), in nats a picture.

        Drawing z from q has no gradient; softmax((logits + g) / tau) has one, and with Gumbel noise g and tau -> 0 it
        draws from q. The prior is uniform over the codes.

        Args:
            pixels: x, within (0.1, 0.9), as `squeeze` makes them.
            temperature: tau.
            generator: the source of chance; torch's own if None.
        """
        logits = self.encoder(pixels).float()
        batch, codes, *sides = logits.shape
        chance = torch.rand(batch, *sides, codes, generator=generator, device=logits.device).movedim(3, 1)
        gumbel = -(-chance.log()).log()
        mu, log_b = self.decoder(((logits + gumbel) / temperature).softmax(1)).float().chunk(2, dim=1)
        log_q = logits.log_softmax(1)
        divergence = log_q.exp() * (log_q + math.log(self.config.codes))
        return logit_laplace(pixels, mu, log_b).sum((1, 2, 3)), divergence.sum((1, 2, 3))

    def loss(
        self,
        pixels: Float[Tensor, "batch 3 height width"],
        temperature: float,
        beta: float,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, ""]:
        """beta KL - ln p(x | z), for each value of each pixel (appendix A.2), averaged over the pictures."""
        likelihood, divergence = self(pixels, temperature, generator)
        return (beta * divergence - likelihood).mean() / pixels[0].numel()

    @torch.no_grad()
    def encode(self, images: Images) -> Int[Tensor, "batch rows columns"]:
        """The likeliest code at each place, without noise (section 2.2).

        Args:
            images: as `vlm_history.images.read_images` takes them, of those that are not square the middle; a float
                tensor is pixels as `squeeze` makes them.

        Raises:
            InputError: no image, or a float tensor of another size.
        """
        side = self.config.image_size
        # phi as a normalisation: (x - mean) / std
        mean, std = -EPSILON / (1 - 2 * EPSILON), 1 / (1 - 2 * EPSILON)
        pixels = read_images(images, size=side, mean=(mean,) * 3, std=(std,) * 3, crop=True)
        if pixels.shape[2:] != (side, side):
            raise InputError(f"expected pictures of {side} x {side} pixels, got {tuple(pixels.shape[2:])}; resize them")
        device = self.encoder.first.weight.device
        return torch.cat([self.encoder(some.to(device)).argmax(1) for some in pixels.split(TOGETHER)])

    @torch.no_grad()
    def decode(self, codes: Int[Tensor, "batch rows columns"]) -> NDArray[np.uint8]:
        """Pictures (batch, height, width, 3), of each pixel the middle of its distribution (appendix A.3).

        Args:
            codes: any grid of them; `rows` and `columns` need not be those it was trained with.

        Raises:
            InputError: no codes, or numbers that are none.
        """
        last = self.config.codes - 1
        if codes.numel() == 0 or int(codes.min()) < 0 or int(codes.max()) > last:
            came = "none" if codes.numel() == 0 else f"some from {int(codes.min())} to {int(codes.max())}"
            raise InputError(f"expected codes from 0 to {last}, got {came}")
        device = self.decoder.first.weight.device
        return np.concatenate([self._pixels(some.to(device)) for some in codes.split(TOGETHER)])

    def _pixels(self, codes: Int[Tensor, "batch rows columns"]) -> NDArray[np.uint8]:
        whole = F.one_hot(codes, self.config.codes).permute(0, 3, 1, 2).to(self.decoder.first.weight.dtype)
        return bytes_of(self.decoder(whole))
