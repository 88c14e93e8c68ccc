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
