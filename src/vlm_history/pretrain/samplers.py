"""Noise and the ways back from it: the forward process, what a network is asked to see in it, and three samplers.

Ho, Jain and Abbeel, 2020 (Denoising Diffusion Probabilistic Models, arXiv 2006.11239); Song, Meng and Ermon, 2020
(DDIM, arXiv 2010.02502); Salimans and Ho, 2022 (v prediction, arXiv 2202.00512); Lu et al., 2022 (DPM-Solver++, arXiv
2211.01095). Equations are named where the code follows them. What is written a-bar in the first is `alpha_bar` here;
alpha and sigma are, as in the last two, the shares of signal and of noise: z_t = alpha z_0 + sigma epsilon.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_history.errors import InputError

Latents = Float[Tensor, "batch channels rows columns"]


@dataclass(frozen=True)
class NoiseConfig:
    """How noise grows over so many steps, and what the network is to predict.

    Attributes:
        steps: T.
        first, last: beta_1 and beta_T; a cosine has its own.
        shape: "linear" (DDPM), "scaled_linear" (linear in the square root of beta: latent diffusion) or "cosine"
            (Nichol and Dhariwal, arXiv 2102.09672, equation 17).
        prediction: "epsilon", the noise; or "v", alpha epsilon - sigma z_0, which asks for the noise where there is
            little of it and for the picture where there is little of that.
    """

    steps: int = 1000
    first: float = 0.00085
    last: float = 0.012
    shape: str = "scaled_linear"
    prediction: str = "epsilon"

    def betas(self) -> Float[Tensor, " steps"]:
        """beta_t: the variance of the noise that step t adds.

        Raises:
            InputError: no step, betas that do not lie between 0 and 1, or an unknown shape or prediction.
        """
        if self.prediction not in ("epsilon", "v"):
            raise InputError(f'expected the prediction "epsilon" or "v", got {self.prediction!r}')
        if self.steps < 1 or not 0 < self.first <= self.last < 1:
            raise InputError(
                f"expected at least 1 step and 0 < first <= last < 1, got {self.steps} steps from {self.first} to "
                f"{self.last}"
            )
        if self.shape == "linear":
            return torch.linspace(self.first, self.last, self.steps, device="cpu")
        if self.shape == "scaled_linear":
            return torch.linspace(self.first**0.5, self.last**0.5, self.steps, device="cpu") ** 2
        if self.shape == "cosine":
            left = [math.cos((i / self.steps + 0.008) / 1.008 * math.pi / 2) ** 2 for i in range(self.steps + 1)]
            return torch.tensor([min(1 - left[i + 1] / left[i], 0.999) for i in range(self.steps)], device="cpu")
        raise InputError(f'expected the shape "linear", "scaled_linear" or "cosine", got {self.shape!r}')


class Noise:
    """The forward process q(z_t | z_0). Time counts from 0, the least noise, to T - 1."""

    def __init__(self, config: NoiseConfig) -> None:
        self.config = config
        self.alpha_bar = (1 - config.betas()).cumprod(0)

    def shares(self, time: int) -> tuple[float, float]:
        """alpha and sigma at a time: of the signal and of the noise; their squares sum to 1."""
        alpha_bar = float(self.alpha_bar[time])
        return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)

    def _each(self, times: Int[Tensor, " batch"]) -> tuple[Tensor, Tensor]:
        alpha_bar = self.alpha_bar.to(times.device)[times, None, None, None]
        return alpha_bar.sqrt(), (1 - alpha_bar).sqrt()

    def add(self, z: Latents, epsilon: Latents, times: Int[Tensor, " batch"]) -> Latents:
        """z_t = alpha z_0 + sigma epsilon (DDPM, equation 4): all steps up to t in one."""
        alpha, sigma = self._each(times)
        return alpha * z + sigma * epsilon

    def target(self, z: Latents, epsilon: Latents, times: Int[Tensor, " batch"]) -> Latents:
        """What the network is to predict from z_t."""
        if self.config.prediction == "epsilon":
            return epsilon
        alpha, sigma = self._each(times)
        return alpha * epsilon - sigma * z

    def read(self, predicted: Latents, z_t: Latents, alpha: float, sigma: float) -> tuple[Latents, Latents]:
        """What was predicted -> z_0 and epsilon, as they are believed to be."""
        if self.config.prediction == "epsilon":
            return (z_t - sigma * predicted) / alpha, predicted
        return alpha * z_t - sigma * predicted, alpha * predicted + sigma * z_t


class Sampler(ABC):
    """A way from noise to latents in so many steps. One for each drawing: it may remember the steps before.

    Attributes:
        times: when the network is asked, from the most noise to the least.
        believed: z_0 as the last step saw it.
        uses_chance: whether a step needs noise.

    Raises:
        InputError: fewer steps than one, or more than there are.
    """

    uses_chance: ClassVar[bool] = False

    def __init__(self, noise: Noise, steps: int) -> None:
        most = noise.config.steps - 1
        if not isinstance(steps, int) or not 1 <= steps <= most:
            raise InputError(f"expected a whole number of steps from 1 to {most}, got {steps!r}; try 20")
        self.noise = noise
        self.times = self._times(steps)
        self.believed: Tensor | None = None

    def _times(self, steps: int) -> list[int]:
        """Every so many, from 1 on: Stable Diffusion's, which never asks at time 0."""
        stride = self.noise.config.steps // steps
        return [number * stride + 1 for number in reversed(range(steps))]

    def next_shares(self, step: int) -> tuple[float, float]:
        """alpha and sigma after a step: no noise after the last."""
        return self.noise.shares(self.times[step + 1]) if step + 1 < len(self.times) else (1.0, 0.0)

    def step(self, predicted: Latents, step: int, z: Latents, chance: Latents | None = None) -> Latents:
        """One step: z with the noise of `times[step]` -> z with less.

        Args:
            predicted: what the network made of z.
            step: which, from 0.
            z: what it saw.
            chance: normal noise, if it uses chance.
        """
        self.believed, epsilon = self.noise.read(predicted, z, *self.noise.shares(self.times[step]))
        return self.less(self.believed, epsilon, step, z, chance)

    @abstractmethod
    def less(self, z_0: Latents, epsilon: Latents, step: int, z: Latents, chance: Latents | None) -> Latents:
        """z with less noise, from z_0 and epsilon as they are believed to be."""


class DDPM(Sampler):
    """The reverse process as it was trained, each step with new noise: good with hundreds of steps."""

    uses_chance = True

    def less(self, z_0: Latents, epsilon: Latents, step: int, z: Latents, chance: Latents | None) -> Latents:
        """Equations 6 and 7: z_{t-1} ~ N(mean of q(z_{t-1} | z_t, z_0), its variance beta-tilde)."""
        (alpha, sigma), (next_alpha, next_sigma) = self.noise.shares(self.times[step]), self.next_shares(step)
        beta = 1 - (alpha / next_alpha) ** 2  # of all the steps that are taken in one
        mean = (next_alpha * beta * z_0 + alpha / next_alpha * next_sigma**2 * z) / sigma**2
        if step + 1 == len(self.times):
            return mean
        assert chance is not None
        return mean + next_sigma / sigma * math.sqrt(beta) * chance


class DDIM(Sampler):
    """Without new noise (equation 12 with sigma = 0): the same seed, the same picture, in tens of steps."""

    def next_shares(self, step: int) -> tuple[float, float]:
        """One stride earlier, even after the last step: Stable Diffusion then keeps the noise of time 0."""
        return self.noise.shares(max(0, self.times[step] - self.noise.config.steps // len(self.times)))

    def less(self, z_0: Latents, epsilon: Latents, step: int, z: Latents, chance: Latents | None) -> Latents:
        """Towards z_0, and as far along epsilon as there is to be noise."""
        alpha, sigma = self.next_shares(step)
        return alpha * z_0 + sigma * epsilon


class DPMSolver(Sampler):
    """DPM-Solver++ (2M), algorithm 2: the step before tells where z_0 is going, so that ten or twenty are enough.

    lambda = log(alpha / sigma) is its time, h the length of a step in it.
    """

    def __init__(self, noise: Noise, steps: int) -> None:
        super().__init__(noise, steps)
        self.before: tuple[Tensor, float] | None = None  # z_0 as the step before believed it, and its h

    def _times(self, steps: int) -> list[int]:
        """Evenly from the most noise on, and not down to the least: the last step goes all the way."""
        last = self.noise.config.steps - 1
        return [round(last * number / steps) for number in range(steps, 0, -1)]

    def less(self, z_0: Latents, epsilon: Latents, step: int, z: Latents, chance: Latents | None) -> Latents:
        """The exact solution for a z_0 that moves on a line (first order, z_0 held still, in the first step)."""
        if step + 1 == len(self.times):
            return z_0  # h is infinite
        (alpha, sigma), (next_alpha, next_sigma) = self.noise.shares(self.times[step]), self.next_shares(step)
        h = math.log(next_alpha / next_sigma) - math.log(alpha / sigma)
        direction = z_0
        if self.before is not None:
            earlier, earlier_h = self.before
            direction = z_0 + h / (2 * earlier_h) * (z_0 - earlier)  # D_i, r_i being earlier_h / h
        self.before = z_0, h
        return next_sigma / sigma * z - next_alpha * math.expm1(-h) * direction


SAMPLERS: dict[str, type[Sampler]] = {"ddpm": DDPM, "ddim": DDIM, "dpm-solver++": DPMSolver}
"""By name."""
