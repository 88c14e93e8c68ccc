"""Figures of recurrent networks: the cell, the network unrolled, its numbers word by word, gradients through time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlm_history.plots.architecture import Shape, _arrow, _box, sized
from vlm_history.plots.lines import Line
from vlm_history.plots.style import Draw, Theme, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float]


def _width(shape: Shape) -> str:
    """The last axis alone: what one step has."""
    return sized((1, shape[-1]))


def unrolled(words: Sequence[str], chosen: Sequence[str], shapes: Mapping[str, Shape], *, era: str) -> Draw:
    """A recurrent language model over the words of a sentence: the same cell at each, its state handed on.

    Args:
        words: what it reads, step by step, its start word first.
        chosen: what it expects after each of them.
        shapes: of embedding, state and logits, each with its batch.
        era: gives the colour.
    """

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        step, colour = 2.15, theme.era[era]
        figure, axes = pyplot.subplots(figsize=(5.9, 3.3), layout="constrained")
        axes.set_xlim(-0.2, 0.95 + step * len(words))
        axes.set_ylim(0.55, 6.55)
        axes.axis("off")
        for i, (word, next_word) in enumerate(zip(words, chosen, strict=True)):
            x = 1.9 + step * i
            sizes = {name: _width(shape) if i == 0 else "" for name, shape in shapes.items()}
            axes.text(x, 0.85, word, ha="center", va="center", color=theme.ink, fontsize=11)
            _arrow(axes, theme, (x, 1.12), (x, 1.6))
            _box(axes, theme, (x, 1.98), (1.0, 0.76), "$W_e$", theme.rule)
            _arrow(axes, theme, (x, 2.36), (x, 3.3), sizes["embedding"], (0.12, 0), "left")
            _box(axes, theme, (x, 3.75), (1.25, 0.9), "LSTM", colour)
            if i:
                label = f"$h, c$\n{_width(shapes['state'])}" if i == 1 else ""
                _arrow(axes, theme, (x - step + 0.63, 3.75), (x - 0.63, 3.75), label, (0, 0.5))
            _arrow(axes, theme, (x, 4.2), (x, 5.9), sizes["logits"], (0.12, 0), "left")
            axes.text(x, 6.2, next_word, ha="center", va="center", color=colour, fontsize=11)
        for y, text in ((0.85, say(ko="읽는 말", en="reads")), (6.2, say(ko="다음 말", en="next"))):
            axes.text(-0.15, y, text, ha="left", va="center", color=theme.muted, fontsize=9.5)
        return figure

    return draw


def cells(width: int, *, era: str) -> Draw:
    """One step of a plain recurrent network above, of an LSTM below: what is rewritten, and what is carried on.

    Args:
        width: of input and state, as it stands on the wires.
        era: gives the colour of the memory's road.
    """

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        figure, (above, below) = pyplot.subplots(
            2, 1, figsize=(5.9, 5.4), layout="constrained", gridspec_kw={"height_ratios": [1, 1.9]}
        )
        colour = theme.era[era]
        for axis, title, height in ((above, "RNN", 3.0), (below, "LSTM", 5.7)):
            axis.set_xlim(-0.75, 10.6)
            axis.set_ylim(-0.25, height)
            axis.axis("off")
            axis.set_title(title, loc="left", fontsize=11, color=theme.ink)
            _frame(axis, theme, (1.2, 0.55), (7.9, height - 0.75))

        middle = 1.65
        _path(above, [(0.5, middle), (4.5, middle)], theme.muted, arrow=True)
        _path(above, [(2.4, 0.0), (2.4, middle)], theme.muted)
        _box(above, theme, (5.4, middle), (1.8, 0.9), "tanh", colour)
        _path(above, [(6.3, middle), (9.6, middle)], theme.muted, arrow=True)
        _label(above, theme, (0.45, middle), f"$h_{{t-1}}$\n{width}", "right")
        _label(above, theme, (2.55, 0.05), f"$x_t$  {width}", "left")
        _label(above, theme, (9.7, middle), "$h_t$", "left")

        top, low, gate, product = 4.75, 1.05, 2.05, 3.4
        # the road of the memory: one product and one sum
        for start, end in ((0.5, 2.55), (3.05, 4.9), (5.4, 9.6)):
            _path(below, [(start, top), (end, top)], colour, arrow=True, weight=2.4)
        _node(below, theme, (2.8, top), "×", colour)
        _node(below, theme, (5.15, top), "+", colour)
        _label(below, theme, (0.45, top), f"$c_{{t-1}}$\n{width}", "right")
        _label(below, theme, (9.7, top), "$c_t$", "left")
        # what the gates read
        _path(below, [(0.5, low), (6.9, low)], theme.muted)
        _path(below, [(2.1, 0.0), (2.1, low)], theme.muted)
        _label(below, theme, (0.45, low), f"$h_{{t-1}}$\n{width}", "right")
        _label(below, theme, (2.25, 0.05), f"$x_t$  {width}", "left")
        for x, sign, name in ((2.8, "σ", "$f_t$"), (4.3, "σ", "$i_t$"), (5.6, "tanh", "$g_t$"), (6.9, "σ", "$o_t$")):
            _path(below, [(x, low), (x, gate - 0.36)], theme.muted, arrow=True)
            _box(below, theme, (x, gate), (1.08, 0.72), sign, colour)
            _label(below, theme, (x - 0.1, gate + 0.62), name, "right")
        _path(below, [(2.8, gate + 0.36), (2.8, top - 0.25)], theme.muted, arrow=True)
        _path(below, [(4.3, gate + 0.36), (4.3, product), (4.7, product)], theme.muted, arrow=True)
        _path(below, [(5.6, gate + 0.36), (5.6, product), (5.4, product)], theme.muted)
        _node(below, theme, (5.0, product), "×", theme.muted)
        _path(below, [(5.0, product + 0.25), (5.0, top - 0.24)], theme.muted, arrow=True)
        # what is shown
        _path(below, [(8.1, top), (8.1, 4.3)], theme.muted)
        _box(below, theme, (8.1, 3.95), (1.08, 0.7), "tanh", theme.rule)
        _path(below, [(8.1, 3.6), (8.1, 3.2)], theme.muted)
        _path(below, [(6.9, gate + 0.36), (6.9, 2.95), (7.85, 2.95)], theme.muted, arrow=True)
        _node(below, theme, (8.1, 2.95), "×", theme.muted)
        _path(below, [(8.1, 2.7), (8.1, low), (9.6, low)], theme.muted, arrow=True)
        _label(below, theme, (9.7, low), "$h_t$", "left")
        return figure

    return draw


def _path(axes: Axes, points: Sequence[Point], colour: str, *, arrow: bool = False, weight: float = 1.1) -> None:
    """A wire along some points."""
    xs, ys = zip(*points, strict=True)
    axes.plot(xs, ys, color=colour, linewidth=weight, solid_joinstyle="miter", zorder=1)
    if arrow:
        axes.annotate(
            "", xy=points[-1], xytext=points[-2],
            arrowprops={"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0, "linewidth": weight},
        )  # fmt: skip


def _node(axes: Axes, theme: Theme, at: Point, sign: str, colour: str) -> None:
    """A sum or a product of what comes in, number by number."""
    axes.plot(
        *at, "o", markersize=15, markerfacecolor=theme.card, markeredgecolor=colour, markeredgewidth=1.4, zorder=2
    )
    axes.text(*at, sign, ha="center", va="center_baseline", color=theme.ink, fontsize=12, zorder=3)


def _label(axes: Axes, theme: Theme, at: Point, text: str, align: str) -> None:
    axes.text(*at, text, ha=align, va="center", color=theme.ink, fontsize=10, linespacing=1.3)


def _frame(axes: Axes, theme: Theme, corner: Point, size: Point) -> None:
    from matplotlib.patches import FancyBboxPatch

    axes.add_patch(
        FancyBboxPatch(
            corner, *size, boxstyle="round,pad=0,rounding_size=0.2", facecolor="none", edgecolor=theme.rule,
            linewidth=1.2, linestyle=(0, (4, 3)), zorder=0,
        )
    )  # fmt: skip


@dataclass(frozen=True)
class Told:
    """A sentence, word by word, with numbers at each word.

    Attributes:
        words: one a row, from top to bottom.
        columns: title -> a number for each word.
    """

    words: Sequence[str]
    columns: Mapping[str, Sequence[float]]


def by_word(sentences: Sequence[Told], *, era: str, low: float = 0.0, high: float = 1.0, width: float = 5.4) -> Draw:
    """Numbers of each word of some sentences, as bars; the sentences stand one under the other.

    Args:
        sentences: all with the same columns.
        low, high: the ends of every bar's scale; bars start at 0.
    """

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        titles = list(sentences[0].columns)
        heights = [len(told.words) for told in sentences]
        figure, axes = pyplot.subplots(
            len(sentences), len(titles), figsize=(width, 0.27 * sum(heights) + 0.3 * len(sentences) + 0.25),
            layout="constrained", gridspec_kw={"height_ratios": heights}, squeeze=False,
        )  # fmt: skip
        reach = high - low
        for row, told in enumerate(sentences):
            at = range(len(told.words))
            for axis, title in zip(axes[row], titles, strict=True):
                values = told.columns[title]
                axis.axvspan(low, high, color=theme.card, linewidth=0)
                axis.barh(at, values, height=0.66, color=theme.era[era])
                axis.axvline(0, color=theme.muted, linewidth=0.8)
                for place, value in zip(at, values, strict=True):
                    axis.text(
                        high + 0.04 * reach, place, f"{value:z.2f}".replace("-", "−"), va="center", fontsize=9.5,
                        color=theme.muted,
                    )  # fmt: skip
                axis.set_xlim(low, high + 0.3 * reach)
                axis.set_ylim(len(told.words) - 0.4, -0.6)
                axis.set_xticks([])
                axis.set_yticks([])
                for side in axis.spines.values():
                    side.set_visible(False)
                if row == 0:
                    axis.set_title(title, loc="left", fontsize=10.5, color=theme.ink)
            axes[row, 0].set_yticks(list(at), list(told.words), fontsize=10.5)
            axes[row, 0].tick_params(length=0)
        return figure

    return draw


def decay(curves: Sequence[Line], *, x: str, y: str, width: float = 5.6, height: float = 3.0) -> Draw:
    """Curves over distance on a scale of powers of ten: what is a straight line there shrinks by a fixed factor a step.

    Args:
        curves: label, colour and points of each.
        x, y: what the axes count.
    """

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        figure, axis = pyplot.subplots(figsize=(width, height), layout="constrained")
        for curve in curves:
            axis.plot(
                curve.x, curve.y, color=theme.era[curve.era] if curve.era else theme.muted, linewidth=1.8,
                linestyle=(0, (3, 2)) if curve.dashed else "-", label=curve.label,
            )  # fmt: skip
        axis.set_yscale("log")
        axis.set_xlabel(x, fontsize=10.5)
        axis.set_title(y, loc="left", fontsize=11, color=theme.ink)
        axis.tick_params(length=0, labelsize=10)
        axis.tick_params(axis="y", labelcolor=theme.muted, which="both")
        axis.minorticks_off()
        axis.grid(axis="y", color=theme.rule, linewidth=0.6)
        axis.set_axisbelow(True)
        axis.margins(x=0.01)
        figure.legend(loc="outside lower left", ncols=1, fontsize=10, handlelength=2.2, labelcolor=theme.ink)
        return figure

    return draw


def no_picture(*, era: str) -> Draw:
    """A card as large as a small picture, with a speech bubble in its place: words without a picture."""

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot
        from matplotlib.patches import FancyBboxPatch, Polygon

        figure = pyplot.figure(figsize=(2.0, 2.0))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.axis("off")
        colour = theme.era[era]

        def block(x: float, y: float, width: float, height: float, corner: float, face: str, edge: str) -> None:
            style = f"round,pad=0,rounding_size={corner}"
            axes.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=face, edgecolor=edge))

        block(0.01, 0.01, 0.98, 0.98, 0.04, theme.card, theme.rule)
        axes.add_patch(Polygon([(0.3, 0.4), (0.27, 0.2), (0.48, 0.4)], facecolor=colour, edgecolor="none"))
        block(0.17, 0.36, 0.66, 0.42, 0.1, colour, "none")
        for y, widths in ((0.63, (0.16, 0.25)), (0.48, (0.22, 0.1, 0.1))):  # words
            x = 0.25
            for width in widths:
                block(x, y, width, 0.06, 0.03, theme.card, "none")
                x += width + 0.04
        return figure

    return draw
