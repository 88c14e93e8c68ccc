"""Pictures and texts side by side: two towers and what is between them, similarities, and a map of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlm_history.errors import InputError
from vlm_history.plots.architecture import Shape, _arrow, _box, sized
from vlm_history.plots.sheets import Panel, colours, paint
from vlm_history.plots.style import Draw, Theme, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Picture = NDArray[np.uint8]


def _cells(
    axis: Axes, values: NDArray[Any], theme: Theme, era: str, pairs: Sequence[tuple[int, int]], size: float
) -> None:
    """A matrix with its numbers in its cells, those that belong together framed."""
    from matplotlib.patches import Rectangle

    low, high = float(values.min()), float(values.max())
    axis.imshow(values, cmap=colours(theme, era), vmin=low, vmax=high + 1e-9, aspect="auto", interpolation="nearest")
    for (row, column), value in np.ndenumerate(values):
        ink = theme.card if value > low + 0.62 * (high - low) else theme.ink
        text = f"{value:.2f}".replace("-", "−").replace("0.", ".", 1)
        axis.text(column, row, text, ha="center", va="center", color=ink, fontsize=size)
    for row, column in pairs:
        axis.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=theme.ink, linewidth=1.5))
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_visible(False)


def two_towers(
    pictures: Sequence[Picture], words: Sequence[str], cosines: NDArray[Any], shapes: Mapping[str, Shape], *, era: str
) -> Draw:
    """CLIP: a tower that sees, a tower that reads, and the cosines of all their vectors with each other.

    Args:
        pictures: (height, width, 3) bytes each.
        words: the text of each picture; short.
        cosines: (pictures, texts).
        shapes: of pixels, grid and image (vectors), tokens, states and text (vectors), each with its batch.
        era: gives the colour.

    Raises:
        InputError: not a text for each picture.
    """
    if len(pictures) != len(words) or cosines.shape != (len(pictures), len(words)):
        raise InputError(f"expected a text for each picture, got {len(pictures)} pictures and {len(words)} texts")

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        width, height = 5.9, 5.2
        figure = pyplot.figure(figsize=(width, height))
        whole = figure.add_axes((0, 0, 1, 1))
        whole.set_xlim(0, width)
        whole.set_ylim(0, height)
        whole.axis("off")
        colour, n = theme.era[era], len(pictures)
        left, right, bottom, top = 2.62, 5.85, 0.12, 2.97  # of the matrix
        step, side = (top - bottom) / n, min(0.52, (top - bottom) / n - 0.05)

        for row, picture in enumerate(pictures):
            y = top - (row + 0.5) * step
            axis = figure.add_axes(((0.3 - side / 2) / width, (y - side / 2) / height, side / width, side / height))
            paint(axis, Panel(picture), theme, era)
            _arrow(whole, theme, (0.3 + side / 2 + 0.03, y), (0.78, y))
            _arrow(whole, theme, (1.78, y), (left - 0.06, y), f"$I_{row + 1}$", (0, 0.11))
        middle = (top + bottom) / 2
        image = say(ko="이미지\n인코더", en="image\nencoder")
        _box(whole, theme, (1.28, middle), (1.0, top - bottom), f"{image}\n{sized(shapes['grid'])}", colour)
        pixels = say(ko="그림", en="picture")
        whole.text(0.04, top + 0.2, f"{pixels} {sized(shapes['pixels'])}", color=theme.muted, fontsize=9.5)
        whole.text(1.82, bottom - 0.02, sized(shapes["image"]), color=theme.muted, fontsize=9.5, va="bottom")

        across = (right - left) / n
        for column, word in enumerate(words):
            x = left + (column + 0.5) * across
            whole.text(x, 5.02, word, ha="center", va="center", color=theme.ink, fontsize=10.5)
            _arrow(whole, theme, (x, 4.88), (x, 4.62))
            _arrow(whole, theme, (x, 3.78), (x, top + 0.06), f"$T_{column + 1}$", (0.14, 0.05))
        text = say(ko="텍스트 인코더", en="text encoder")
        states = sized(shapes["states"][:1] + shapes["states"][-1:])
        tokens = say(ko="토큰", en="tokens")
        inside = f"{text}\n{sized(shapes['tokens'])} {tokens} → {states}"
        _box(whole, theme, ((left + right) / 2, 4.2), (right - left, 0.82), inside, colour)
        whole.text(left + 0.02, 3.43, sized(shapes["text"]), color=theme.muted, fontsize=9.5, va="center")

        matrix = figure.add_axes((left / width, bottom / height, (right - left) / width, (top - bottom) / height))
        _cells(matrix, cosines, theme, era, [(i, i) for i in range(n)], 11)
        return figure

    return draw


def similarities(
    pictures: Sequence[Picture], texts: Sequence[str], cosines: NDArray[Any], *, era: str,
    pairs: Sequence[tuple[int, int]] = (), text_width: float = 2.2, width: float = 5.8, row: float = 0.42,
) -> Draw:  # fmt: skip
    """How similar texts (rows) are to pictures (columns), the pictures above and the texts at the left.

    Args:
        pictures: (height, width, 3) bytes each.
        texts: at the left; a line break is kept.
        cosines: (texts, pictures).
        era: gives the colour.
        pairs: (text, picture) that belong together, which are framed.
        text_width: of the texts, in inches.
        width: of the whole, in inches.
        row: height of a row, in inches.

    Raises:
        InputError: cosines of another shape.
    """
    if cosines.shape != (len(texts), len(pictures)):
        raise InputError(f"expected cosines {(len(texts), len(pictures))}, got {cosines.shape}")

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        across = (width - text_width) / len(pictures)
        side = min(across - 0.06, 0.9)
        height = side + 0.08 + row * len(texts)
        figure = pyplot.figure(figsize=(width, height))
        for column, picture in enumerate(pictures):
            x = text_width + (column + 0.5) * across - side / 2
            axis = figure.add_axes((x / width, 1 - side / height, side / width, side / height))
            paint(axis, Panel(picture), theme, era)
        matrix = figure.add_axes((text_width / width, 0, 1 - text_width / width, row * len(texts) / height))
        _cells(matrix, cosines, theme, era, pairs, 10 if across > 0.42 else 9.5)
        for line, text in enumerate(texts):
            y = row * (len(texts) - line - 0.5) / height
            figure.text(
                (text_width - 0.1) / width, y, text, ha="right", va="center", color=theme.ink, fontsize=9.5,
                linespacing=1.2,
            )  # fmt: skip
        return figure

    return draw


def neighbourhoods(vectors: Any, *, perplexity: float = 12.0, steps: int = 600, seed: int = 0) -> NDArray[Any]:
    """Points in the plane whose near neighbours are those of the vectors: t-SNE (van der Maaten and Hinton, 2008).

    Args:
        vectors: (points, width), a tensor.
        perplexity: about how many neighbours count.
        steps: of gradient descent.
        seed: of where the points begin.

    Returns:
        (points, 2).
    """
    import torch

    vectors = vectors.detach().double()
    apart = torch.cdist(vectors, vectors).square()
    apart.fill_diagonal_(torch.inf)
    low, high = torch.full((len(apart), 1), 1e-6).double(), torch.full((len(apart), 1), 1e6).double()
    for _ in range(60):  # for each point the sharpness at which so many neighbours count
        sharp = (low * high).sqrt()
        near = (-sharp * apart).softmax(1)
        many = (-(near * near.clamp_min(1e-12).log()).sum(1, keepdim=True)).exp() > perplexity
        low, high = torch.where(many, sharp, low), torch.where(many, high, sharp)
    near = (near + near.T) / (2 * len(near))
    points = 1e-2 * torch.randn(len(near), 2, generator=torch.Generator().manual_seed(seed)).double()
    speed = torch.zeros_like(points)
    with torch.enable_grad():
        for step in range(steps):
            points = points.detach().requires_grad_()
            inverse = 1 / (1 + torch.cdist(points, points).square())
            inverse = inverse * (1 - torch.eye(len(inverse)))
            pull = near * (4 if step < steps // 5 else 1)  # drawn together first, then spread
            loss = -(pull * (inverse / inverse.sum()).clamp_min(1e-12).log()).sum()
            (slope,) = torch.autograd.grad(loss, points)
            speed = (0.5 if step < steps // 5 else 0.8) * speed - len(near) * slope
            points = points.detach() + speed
    placed: NDArray[Any] = (points - points.mean(0)).numpy()
    return placed


def atlas(
    points: NDArray[Any], pictures: Sequence[Picture], *, names: Sequence[tuple[float, float, str]] = (),
    width: float = 5.9, height: float = 5.0, side: float = 0.34,
) -> Draw:  # fmt: skip
    """A map: pictures where their points are.

    Args:
        points: (pictures, 2).
        pictures: (height, width, 3 or 4) bytes each.
        names: (x, y, text) written on the map.
        width, height: of the whole, in inches.
        side: of a picture, in inches.
    """

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        figure = pyplot.figure(figsize=(width, height))
        low, high = points.min(0), points.max(0)

        def place(x: float, y: float) -> tuple[float, float]:
            at = (np.array([x, y]) - low) / (high - low)
            return side / 2 + at[0] * (width - side), side / 2 + at[1] * (height - side)

        for (x, y), picture in zip(points, pictures, strict=True):
            u, v = place(x, y)
            box = ((u - side / 2) / width, (v - side / 2) / height, side / width, side / height)
            axis = figure.add_axes(box)
            axis.imshow(picture, interpolation="nearest")
            axis.axis("off")
        for x, y, text in names:
            u, v = place(x, y)
            figure.text(
                min(max(u / width, 0.08), 0.92), v / height, text, ha="center", va="center", color=theme.ink,
                fontsize=10.5, bbox={"facecolor": theme.card, "edgecolor": "none", "pad": 2.5, "alpha": 0.85}, zorder=9,
            )  # fmt: skip
        return figure

    return draw
