"""Latent diffusion: between pixels and latents, into noise and back, told by words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlm_history.errors import InputError
from vlm_history.plots.architecture import Shape, _arrow, _box, sized
from vlm_history.plots.sheets import Panel, paint
from vlm_history.plots.style import Draw, Theme, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Picture = NDArray[np.uint8]

_WIDEST = 2.5  # of the latents' standard deviations: what has full colour


def as_colours(latents: NDArray[Any]) -> Picture:
    """Three channels of latents as red, green and blue, 0 in the middle.

    Args:
        latents: (channels, rows, columns), of deviation 1; the first three channels are shown.

    Raises:
        InputError: fewer than three channels.
    """
    if latents.ndim != 3 or len(latents) < 3:
        raise InputError(f"expected latents (channels, rows, columns) of at least 3 channels, got {latents.shape}")
    shown = np.clip(latents[:3] / _WIDEST, -1, 1).transpose(1, 2, 0)
    return np.round(127.5 * (shown + 1)).astype(np.uint8)


def latent_diffusion(
    pictures: tuple[Picture, Picture], latents: tuple[NDArray[Any], NDArray[Any], NDArray[Any]], prompt: str,
    shapes: Mapping[str, Shape], *, era: str,
) -> Draw:  # fmt: skip
    """Figure 3 of the paper, drawn anew: above a picture on its way into noise, below noise on its way to a picture.

    Args:
        pictures: what goes in and what comes out, (height, width, 3) bytes each.
        latents: z_0, z_t and z_0 as the U-Net believes it, (channels, rows, columns) each.
        prompt: what the U-Net is told; short.
        shapes: of pixels, latents, the U-Net's finest and coarsest grid, tokens and words, each with its batch.
        era: gives the colour.
    """
    z, noisy, believed = (as_colours(each) for each in latents)

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        width, height = 5.9, 4.75
        figure = pyplot.figure(figsize=(width, height))
        whole = figure.add_axes((0, 0, 1, 1))
        whole.set_xlim(0, width)
        whole.set_ylim(0, height)
        whole.axis("off")
        colour, side = theme.era[era], 0.84

        def place(x: float, y: float, picture: Picture, above: str, below: str = "") -> None:
            axis: Axes = figure.add_axes(((x - side / 2) / width, (y - side / 2) / height, side / width, side / height))
            paint(axis, Panel(picture), theme, era)
            whole.text(x, y + side / 2 + 0.13, above, ha="center", va="center", color=theme.ink, fontsize=10.5)
            whole.text(x, y - side / 2 - 0.13, below, ha="center", va="center", color=theme.muted, fontsize=9.5)

        def path(*points: tuple[float, float]) -> None:
            """A way around corners, an arrow at its end."""
            across, up = zip(*points[:-1], strict=True)
            whole.plot(across, up, color=theme.muted, linewidth=1.1)
            _arrow(whole, theme, points[-2], points[-1])

        pixels = say(ko="화소", en="pixels")
        whole.text(1.05, 4.6, pixels, ha="center", va="center", color=theme.muted, fontsize=10)
        latent = say(ko="잠재 벡터", en="latents")
        whole.text(4.0, 4.6, latent, ha="center", va="center", color=theme.muted, fontsize=10)
        whole.plot([2.05, 2.05], [1.1, 4.7], color=theme.rule, linewidth=1.1, linestyle=(0, (3, 3)))

        into, back, tower = 3.62, 1.82, 0.42
        # into noise
        place(0.5, into, pictures[0], "$x$", sized(shapes["pixels"]))
        _arrow(whole, theme, (0.96, into), (1.26, into))
        _box(whole, theme, (1.52, into), (0.5, 0.84), r"$\mathcal{E}$", colour)
        _arrow(whole, theme, (1.79, into), (2.26, into))
        place(2.72, into, z, "$z_0$", sized(shapes["latents"]))
        _arrow(whole, theme, (3.18, into), (3.44, into))
        _box(whole, theme, (4.08, into), (1.26, 0.62), r"$\alpha_t z_0 + \sigma_t \epsilon$", theme.rule)
        _arrow(whole, theme, (4.73, into), (4.99, into))
        place(5.43, into, noisy, "$z_t$")

        # and back, step by step
        path((5.6, into - 0.46), (5.6, back + 0.53))
        grids = f"{sized(shapes['finest'])} → {sized(shapes['coarsest'])}"
        _box(whole, theme, (4.58, back), (2.5, 1.02), f"U-Net\n{grids}", colour)
        _arrow(whole, theme, (3.32, back), (3.16, back))
        place(2.72, back, believed, r"$\hat{z}_0$")
        path((2.72, back + 0.72), (2.72, 2.72), (5.18, 2.72), (5.18, into - 0.46))
        again = say(ko="걸음마다 되풀이: $z_{t-1}$", en="at each step: $z_{t-1}$")
        whole.text(4.0, 2.86, again, ha="center", va="center", color=theme.muted, fontsize=9.5)
        _arrow(whole, theme, (2.28, back), (1.79, back))
        _box(whole, theme, (1.52, back), (0.5, 0.84), r"$\mathcal{D}$", colour)
        _arrow(whole, theme, (1.26, back), (0.96, back))
        place(0.5, back, pictures[1], r"$\tilde{x}$")

        # and the words
        read = say(ko="텍스트 인코더", en="text encoder")
        tokens = say(ko="토큰", en="tokens")
        inside = f"{read}\n{sized(shapes['tokens'])} {tokens} → {sized(shapes['words'])}"
        _box(whole, theme, (4.58, tower), (2.5, 0.74), inside, colour)
        whole.text(3.02, tower, prompt, ha="right", va="center", color=theme.ink, fontsize=10.5)
        _arrow(whole, theme, (3.06, tower), (3.32, tower))
        attention = say(ko="교차 어텐션", en="cross-attention")
        _arrow(whole, theme, (4.58, tower + 0.38), (4.58, back - 0.52), attention, (0.1, 0), "left")
        return figure

    return draw
