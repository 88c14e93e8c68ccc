"""Figures of architectures, with the shapes that a real forward pass had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlm_history.plots.style import Draw, Theme, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import nn

Shape = tuple[int, ...]


def trace(model: nn.Module, *inputs: Any) -> dict[str, Shape]:
    """Run a model once and note what shape each of its modules returned.

    Args:
        model: any module.
        inputs: what its forward pass takes.

    Returns:
        module name, as in `named_modules`, -> shape of its (first) output.
    """
    import torch

    shapes: dict[str, Shape] = {}

    def note(name: str) -> Any:
        def hook(module: nn.Module, given: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if isinstance(first, torch.Tensor):
                shapes[name] = tuple(first.shape)

        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def sized(shape: Sequence[int]) -> str:
    """A shape without its batch, as a figure writes it."""
    return "×".join(f"{n:,}" for n in shape[1:])


def _box(axes: Axes, theme: Theme, at: tuple[float, float], size: tuple[float, float], text: str, colour: str) -> None:
    from matplotlib.patches import FancyBboxPatch

    (x, y), (width, height) = at, size
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2), width, height, boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=theme.card, edgecolor=colour, linewidth=1.4,
        )
    )  # fmt: skip
    axes.text(x, y, text, ha="center", va="center", color=theme.ink, fontsize=11)


def _arrow(
    axes: Axes, theme: Theme, start: tuple[float, float], end: tuple[float, float], text: str = "",
    offset: tuple[float, float] = (0, 0), align: str = "center",
) -> None:  # fmt: skip
    axes.annotate(
        "", xy=end, xytext=start,
        arrowprops={"arrowstyle": "-|>", "color": theme.muted, "shrinkA": 0, "shrinkB": 0, "linewidth": 1.1},
    )  # fmt: skip
    if text:
        x, y = (start[0] + end[0]) / 2 + offset[0], (start[1] + end[1]) / 2 + offset[1]
        axes.text(x, y, text, ha=align, va="center", color=theme.muted, fontsize=9.5)


def captioner(
    picture: NDArray[np.uint8], words: Sequence[str], chosen: Sequence[str], shapes: Mapping[str, Shape], *, era: str
) -> Draw:
    """A CNN whose vector is the first input of an LSTM, unrolled over the words of a caption.

    Args:
        picture: (height, width, 3) bytes.
        words: what the decoder reads, step by step, its start word first.
        chosen: what it writes after each of them.
        shapes: of pixels, grid, vector, embedding, state and logits, each with its batch.
        era: gives the colour.
    """

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        steps = len(words)
        right = 3.9 + 1.75 * steps
        figure, axes = pyplot.subplots(figsize=(5.9, 4.1), layout="constrained")
        axes.set_xlim(0, right + 0.75)
        axes.set_ylim(-0.4, 7.0)
        axes.axis("off")
        colour = theme.era[era]
        seen = 1.15
        axes.imshow(
            picture, extent=(seen - 0.85, seen + 0.85, -0.3, 1.5), aspect="auto", interpolation="nearest", zorder=2
        )
        _arrow(axes, theme, (seen, 1.5), (seen, 2.35), sized(shapes["pixels"]), (0.15, 0), "left")
        _box(axes, theme, (seen, 3.1), (1.7, 1.5), f"CNN\n{sized(shapes['grid'])}", colour)
        first = 3.4
        axes.plot([seen, seen], [3.85, 4.6], color=theme.muted, linewidth=1.1)
        _arrow(axes, theme, (seen, 4.6), (first - 0.6, 4.6), f"$x_{{-1}}$: {sized(shapes['vector'])}", (0, 0.3))
        columns = [first, *(first + 1.75 * (i + 1) for i in range(steps))]
        for i, x in enumerate(columns):
            _box(axes, theme, (x, 4.6), (1.2, 0.85), "LSTM", colour)
            if i:
                state = sized(shapes["state"][:1] + shapes["state"][-1:]) if i == 1 else ""
                _arrow(axes, theme, (columns[i - 1] + 0.6, 4.6), (x - 0.6, 4.6), state, (0, 0.3))
        for i, (word, next_word) in enumerate(zip(words, chosen, strict=True)):
            x = columns[i + 1]
            size = sized(shapes["embedding"][:1] + shapes["embedding"][-1:]) if i == 0 else ""
            axes.text(x, 1.9, word, ha="center", va="center", color=theme.ink, fontsize=10)
            _arrow(axes, theme, (x, 2.15), (x, 2.55))
            _box(axes, theme, (x, 2.95), (0.85, 0.75), "$W_e$", theme.rule)
            _arrow(axes, theme, (x, 3.33), (x, 4.17), size, (0.1, 0), "left")
            logits = sized(shapes["logits"][:1] + shapes["logits"][-1:]) if i == 0 else ""
            _arrow(axes, theme, (x, 5.03), (x, 6.25), logits, (0.1, 0), "left")
            axes.text(x, 6.55, next_word, ha="center", va="center", color=colour, fontsize=10)
        axes.text(
            first, 6.55, say(ko="쓰는 낱말", en="writes"), ha="center", va="center", color=theme.muted, fontsize=9
        )
        axes.text(
            first, 1.9, say(ko="읽는 낱말", en="reads"), ha="center", va="center", color=theme.muted, fontsize=9.5
        )
        return figure

    return draw


def pyramid(
    picture: NDArray[np.uint8], levels: Sequence[tuple[str, NDArray[Any]]], places: NDArray[Any],
    names: Sequence[tuple[str, float]], shapes: Sequence[Shape], *, era: str,
) -> Draw:  # fmt: skip
    """A CNN that names: grids that grow smaller and deeper, scores at each place of the last, and names.

    Args:
        picture: (height, width, 3) bytes.
        levels: title and feature maps (channels, rows, columns) of each grid; the first three are drawn.
        places: (rows, columns), the probability of the likeliest name at each place.
        names: the likeliest names of the whole picture with their probabilities.
        shapes: of the pixels, of each level, of the scores at all places, and of the scores of the picture, each with
            its batch.
        era: gives the colour.
    """
    from vlm_history.plots.sheets import Panel, colours, paint

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        width, height = 5.9, 4.0
        figure = pyplot.figure(figsize=(width, height))
        whole = figure.add_axes((0, 0, 1, 1))
        whole.set_xlim(0, width)
        whole.set_ylim(0, height)
        whole.axis("off")

        def place(x: float, y: float, side: float) -> Axes:
            return figure.add_axes(((x - side / 2) / width, (y - side / 2) / height, side / width, side / height))

        def words(x: float, y: float, text: str, muted: bool = True) -> None:
            colour = theme.muted if muted else theme.ink
            whole.text(x, y, text, ha="center", va="center", color=colour, fontsize=9.5)

        line, side = 2.9, 1.2
        sides = [side, *np.linspace(0.94, 0.44, len(levels))]
        step = 0.11  # how far the maps behind stand out
        gap = (width - 0.1 - sum(sides) - 2 * step * len(levels)) / len(levels)
        x = 0.05
        centres = []
        for number, wide in enumerate(sides):
            x += wide / 2
            centres.append(x)
            if number == 0:
                paint(place(x, line, wide), Panel(picture), theme, era)
                words(x, line + wide / 2 + 0.2, say(ko="그림", en="picture"), muted=False)
            else:
                title, maps = levels[number - 1]
                for depth in (2, 1, 0):
                    axis = place(x + depth * step, line + depth * step, wide)
                    axis.imshow(maps[depth], cmap=colours(theme, era), vmin=0, interpolation="nearest")
                    axis.set_xticks([])
                    axis.set_yticks([])
                    for edge in axis.spines.values():
                        edge.set_visible(True)
                        edge.set_color(theme.rule)
                words(x + step, line + wide / 2 + 2 * step + 0.2, title, muted=False)
            words(x + (step if number else 0), line - wide / 2 - 0.2, sized(shapes[number]))
            end = x + wide / 2 + (2 * step if number else 0)
            if number < len(levels):
                _arrow(whole, theme, (end + 0.04, line), (end + gap - 0.04, line))
            x = end + gap
        low, seen = 0.85, 4.95
        last = centres[-1] + step
        _arrow(whole, theme, (last, line - sides[-1] / 2 - 0.36), (last, low + 0.72))
        middle = (line - sides[-1] / 2 - 0.36 + low + 0.72) / 2
        scored = say(ko="자리마다 점수", en="scores at each place")
        whole.text(last - 0.1, middle, scored, ha="right", va="center", color=theme.muted, fontsize=9.5)
        paint(place(seen, low, side), Panel(picture, places, limit=1.0), theme, era)
        words(seen, low - side / 2 - 0.16, sized(shapes[-2]))
        _arrow(
            whole, theme, (seen - side / 2 - 0.06, low), (3.0, low),
            say(ko=f"부드러운 최댓값\n{sized(shapes[-1])}", en=f"soft maximum\n{sized(shapes[-1])}"), (0, 0.33),
        )  # fmt: skip
        for row, (name, probability) in enumerate(names):
            y = low + 0.26 * ((len(names) - 1) / 2 - row)
            whole.barh(y, 0.95 * probability, left=1.5, height=0.17, color=theme.era[era])
            whole.text(1.42, y, name, ha="right", va="center", color=theme.ink, fontsize=10)
            end = 1.56 + 0.95 * probability
            whole.text(end, y, f"{probability:.0%}", ha="left", va="center", color=theme.muted, fontsize=9.5)
        return figure

    return draw
