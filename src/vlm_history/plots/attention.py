"""Where a model looked: light on a picture, word by word; and the machine that looks, with its shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlm_history.plots.architecture import Shape, _arrow, _box, sized
from vlm_history.plots.style import Draw, Theme, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Look = NDArray[np.floating[Any]]

_SCALE = 4  # pixels of light for one of the picture
_DARK = 0.2  # what is left of the picture where nobody looks


def light(look: Look, side: int) -> NDArray[np.float64]:
    """A look's grid as smooth light of side x side, 1 at its brightest: enlarged as the paper's figures are."""
    small = Image.fromarray(np.asarray(look, dtype=np.float32))
    large = np.asarray(small.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float64).clip(0)
    return large / max(float(large.max()), 1e-12)


def spotlight(picture: NDArray[np.uint8], look: Look, shade: Sequence[float] = (0.07, 0.07, 0.08)) -> NDArray[np.uint8]:
    """A picture in the light of a look: pixels stay pixels, the light on them is smooth.

    Args:
        picture: (side, side, 3) bytes.
        look: (rows, columns), how much of the look falls where.
        shade: the colour into which the rest sinks, each channel from 0 to 1.

    Returns:
        Bytes, four times as high and wide as the picture.
    """
    large = picture.repeat(_SCALE, 0).repeat(_SCALE, 1).astype(np.float64)
    shown = (_DARK + (1 - _DARK) * light(look, len(large)) ** 0.8)[..., None]
    mixed = large * shown + 255 * np.array(shade) * (1 - shown)
    return mixed.round().clip(0, 255).astype(np.uint8)


def _ground(theme: Theme) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb("#FFFFFF" if theme.name == "light" else "#14181D")
    return red, green, blue


def _lit(axis: Axes, picture: NDArray[np.uint8], look: Look | None, theme: Theme, colour: str) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_color(theme.rule)
    size = len(picture)
    if look is None:
        axis.imshow(picture, extent=(0, size, size, 0), interpolation="nearest")
        return
    axis.imshow(spotlight(picture, look, _ground(theme)), extent=(0, size, size, 0), interpolation="antialiased")
    row, column = np.unravel_index(int(look.argmax()), look.shape)
    down, across = size / look.shape[0], size / look.shape[1]
    axis.plot((column + 0.5) * across, (row + 0.5) * down, "o", mfc="none", mec=colour, ms=7, mew=1.7)


def looks(
    rows: Sequence[tuple[NDArray[np.uint8], Sequence[tuple[str, Look | None]]]], *, era: str, columns: int = 5,
    labels: Sequence[str] = (), width: float = 5.6,
) -> Draw:  # fmt: skip
    """For each word the picture in the light of the look at it; a ring marks where it peaks.

    Args:
        rows: a picture and its words with their looks (None: the picture as it is); a long row goes on below.
        era: gives the colour of the rings.
        columns: how many words stand side by side.
        labels: for each row a heading above it.
        width: in inches.
    """

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        lines = [
            (labels[number] if labels and at == 0 else "", picture, words[at : at + columns])
            for number, (picture, words) in enumerate(rows)
            for at in range(0, len(words), columns)
        ]
        side = (width - 0.08 * (columns - 1)) / columns
        heights = [side + 0.26 + (0.27 if label else 0.0) for label, _, _ in lines]
        figure = pyplot.figure(figsize=(width, sum(heights)))
        top = sum(heights)
        for height, (label, picture, words) in zip(heights, lines, strict=True):
            if label:
                figure.text(0, (top - 0.05) / sum(heights), label, va="top", color=theme.muted, fontsize=10.5)
            for column, (word, look) in enumerate(words):
                left, bottom = column * (side + 0.08), top - height + 0.02
                axis = figure.add_axes(
                    (left / width, bottom / sum(heights), side / width, side / sum(heights))
                )  # fmt: skip
                _lit(axis, picture, look, theme, theme.era[era])
                axis.set_title(word, fontsize=11, color=theme.ink, pad=3)
            top -= height
        return figure

    return draw


def shares(
    groups: Mapping[str, Mapping[str, Sequence[float]]], parts: Sequence[str], *, era: str, width: float = 5.4
) -> Draw:
    """Bars cut into parts that make a whole, in groups; a legend above names the parts.

    Args:
        groups: heading -> (label -> the share of each part, from 0 to 1).
        parts: their names, the one in the colour of the era first.
        era: gives the colour.
    """

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot
        from matplotlib.patches import Patch

        colours = [theme.era[era], theme.neutral, theme.muted, theme.rule][: len(parts)]
        colours[-1] = theme.rule
        heights = [len(group) for group in groups.values()]
        figure, axes = pyplot.subplots(
            len(groups), 1, figsize=(width, 0.36 * sum(heights) + 0.42 * len(groups) + 0.42), layout="constrained",
            gridspec_kw={"height_ratios": heights}, squeeze=False,
        )  # fmt: skip
        for (title, group), axis in zip(groups.items(), axes[:, 0], strict=True):
            for row, values in enumerate(group.values()):
                left = 0.0
                for value, colour in zip(values, colours, strict=True):
                    axis.barh(row, value, left=left, height=0.68, color=colour)
                    if value >= 0.08:
                        ink = theme.ink if colour == theme.rule else ("#FFFFFF" if theme.name == "light" else "#14181D")
                        axis.text(
                            left + value / 2, row, f"{value:.0%}", ha="center", va="center", color=ink, fontsize=10
                        )
                    left += value
            axis.set_yticks(range(len(group)), list(group))
            axis.set_ylim(len(group) - 0.45, -0.55)
            axis.set_xlim(0, 1)
            axis.set_xticks([])
            axis.tick_params(length=0)
            for side in axis.spines.values():
                side.set_visible(False)
            axis.set_title(title, loc="left", fontsize=11, color=theme.ink)
        figure.legend(
            [Patch(color=colour) for colour in colours], parts, loc="outside upper left", ncols=len(parts),
            fontsize=9.5, handlelength=1.0, handleheight=1.0, columnspacing=1.2, borderpad=0.1,
        )  # fmt: skip
        return figure

    return draw


def attender(
    picture: NDArray[np.uint8], word: str, chosen: str, look: Look, shapes: Mapping[str, Shape], *, era: str
) -> Draw:
    """One step of a decoder that looks: from the annotations and the state to a context, and on to a word.

    Args:
        picture: (height, width, 3) bytes.
        word: what is read.
        chosen: what is written.
        look: alpha at this step.
        shapes: of pixels, annotations, projected, alpha, context, embedding, state and logits, each with its batch.
        era: gives the colour.
    """

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        figure, axes = pyplot.subplots(figsize=(5.9, 4.75), layout="constrained")
        axes.set_xlim(0, 11.3)
        axes.set_ylim(-0.1, 9.0)
        axes.set_aspect("equal")
        axes.axis("off")
        colour = theme.era[era]

        def note(x: float, y: float, text: str, align: str = "center") -> None:
            axes.text(x, y, text, ha=align, va="center", color=theme.muted, fontsize=9.5)

        # the picture becomes annotations
        axes.imshow(picture, extent=(0.2, 2.2, 0.0, 2.0), interpolation="nearest", zorder=2)
        _arrow(axes, theme, (1.2, 2.0), (1.2, 2.75), sized(shapes["pixels"]), (0.15, 0), "left")
        _box(axes, theme, (1.2, 3.2), (1.9, 0.9), "CNN", colour)
        _arrow(axes, theme, (1.2, 3.65), (1.2, 4.5))
        rows, columns = look.shape
        side, left, bottom = 2.2, 0.1, 4.5
        axes.imshow(
            picture, extent=(left, left + side, bottom, bottom + side), interpolation="bicubic", alpha=0.35, zorder=2
        )
        for k in range(rows + 1):
            axes.plot([left, left + side], [bottom + k * side / rows] * 2, color=theme.muted, linewidth=0.5, zorder=3)
        for k in range(columns + 1):
            axes.plot(
                [left + k * side / columns] * 2, [bottom, bottom + side], color=theme.muted, linewidth=0.5, zorder=3
            )
        note(1.2, 7.0, f"$a$: {sized(shapes['annotations'])}")

        # the look
        _arrow(axes, theme, (2.3, 5.2), (3.5, 4.1))
        _box(axes, theme, (4.35, 3.6), (1.7, 1.0), r"$f_{\mathrm{att}}$", colour)
        note(2.15, 4.2, sized(shapes["projected"]), "left")
        _arrow(axes, theme, (4.35, 4.1), (4.35, 4.75), sized(shapes["alpha"]), (0.15, -0.02), "left")
        axes.imshow(
            spotlight(picture, look, _ground(theme)), extent=(3.4, 5.3, 4.8, 6.7), interpolation="antialiased", zorder=2
        )
        note(4.35, 7.0, r"$\alpha_t$")
        axes.plot([1.2, 1.2], [7.3, 8.3], color=theme.muted, linewidth=1.1)
        _arrow(axes, theme, (4.35, 7.25), (4.35, 7.85))
        _arrow(axes, theme, (1.2, 8.3), (3.25, 8.3))
        _box(axes, theme, (4.35, 8.3), (2.2, 0.9), r"$\beta_t \sum_i \alpha_{ti}\, a_i$", colour)

        # the state moves on
        _box(axes, theme, (8.1, 3.6), (1.7, 1.0), "LSTM", colour)
        axes.text(6.2, 3.6, "$h_{t-1}$", ha="center", va="center", color=theme.muted, fontsize=10)
        note(6.2, 3.15, sized(shapes["state"][:1] + shapes["state"][-1:]))
        _arrow(axes, theme, (6.65, 3.6), (7.25, 3.6))
        _arrow(axes, theme, (5.75, 3.6), (5.2, 3.6))
        _arrow(axes, theme, (8.95, 3.6), (10.0, 3.6), "$h_t$", (0, 0.32))
        axes.text(8.1, 0.75, word, ha="center", va="center", color=theme.ink, fontsize=10.5)
        note(8.1, 0.2, say(ko="읽는 낱말 $y_{t-1}$", en="reads $y_{t-1}$"))
        _arrow(axes, theme, (8.1, 1.1), (8.1, 1.45))
        _box(axes, theme, (8.1, 1.85), (0.9, 0.8), "$E$", theme.rule)
        width = sized(shapes["embedding"][:1] + shapes["embedding"][-1:])
        _arrow(axes, theme, (8.1, 2.25), (8.1, 3.1), width, (0.12, 0), "left")
        axes.plot([5.45, 7.0], [8.3, 8.3], color=theme.muted, linewidth=1.1)
        axes.plot([7.0, 7.0], [8.3, 4.6], color=theme.muted, linewidth=1.1)
        _arrow(axes, theme, (7.0, 4.6), (7.5, 4.12))
        note(6.25, 8.62, r"$\hat{z}_t$: " + sized(shapes["context"]))
        _arrow(axes, theme, (8.1, 4.1), (8.1, 5.6), "$h_t$", (0.12, 0), "left")
        _arrow(axes, theme, (7.0, 6.05), (7.25, 6.05))
        _box(axes, theme, (8.6, 6.05), (2.7, 0.9), "$L_o, L_h, L_z$", colour)
        axes.plot([8.55, 10.6, 10.6], [1.85, 1.85, 6.05], color=theme.muted, linewidth=1.1)
        _arrow(axes, theme, (10.6, 6.05), (9.95, 6.05))
        logits = sized(shapes["logits"][:1] + shapes["logits"][-1:])
        _arrow(axes, theme, (8.6, 6.5), (8.6, 7.6), logits, (0.12, 0), "left")
        axes.text(8.6, 7.95, chosen, ha="center", va="center", color=colour, fontsize=10.5)
        note(8.6, 8.5, say(ko="쓰는 낱말 $y_t$", en="writes $y_t$"))
        return figure

    return draw
