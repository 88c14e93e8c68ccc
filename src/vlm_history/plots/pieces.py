"""Texts in pieces, each in a box of its own: how a tokenizer cuts them, or a number of each as its shade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlm_history.errors import InputError
from vlm_history.plots.style import Draw, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FONT = 11.5
_HEIGHT, _GAP, _INSIDE = 0.29, 0.045, 0.055  # inches: of a box, between boxes, between a box and its words
_HEADING, _BETWEEN = 0.26, 0.13  # inches: of a heading, between texts
_DARKEST = 0.5  # how much of the era's colour the highest number has, so that words stay legible


@dataclass(frozen=True)
class Pieces:
    """A text in pieces.

    Attributes:
        label: stands above it; none if empty.
        pieces: what stands in each box, in the order of reading.
        values: a number for each; its share of the limit is the shade of its box. Without them no box is shaded.

    Raises:
        InputError: no piece, or not a number for each.
    """

    label: str
    pieces: Sequence[str]
    values: Sequence[float] = ()

    def __post_init__(self) -> None:
        if not self.pieces or (self.values and len(self.values) != len(self.pieces)):
            raise InputError(f"expected pieces and as many values or none, got {len(self.pieces)}, {len(self.values)}")


def boxes(texts: Sequence[Pieces], *, era: str, limit: float = 1.0, width: float = 4.8) -> Draw:
    """Texts one under the other; a text that is longer than a line goes on below.

    Args:
        era: gives the colour of the shades.
        limit: the number of the darkest shade.
        width: of the whole, in inches.
    """

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot
        from matplotlib.patches import FancyBboxPatch

        figure = pyplot.figure(figsize=(width, 1.0))
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        placed: list[tuple[float, float, float, str, float]] = []  # left, top, width, words, shade
        headings: list[tuple[float, str]] = []
        top = 0.02
        for text in texts:
            if text.label:
                headings.append((top, text.label))
                top += _HEADING
            left = 0.0
            for number, piece in enumerate(text.pieces):
                words = figure.text(0, 0, piece, fontsize=_FONT)
                wide = words.get_window_extent(renderer).width / figure.dpi + 2 * _INSIDE
                words.remove()
                if left and left + wide > width:
                    left, top = 0.0, top + _HEIGHT + _GAP
                shade = min(1.0, text.values[number] / limit) if text.values else 0.0
                placed.append((left, top, wide, piece, shade))
                left += wide + _GAP
            top += _HEIGHT + _BETWEEN
        height = top - _BETWEEN + 0.02
        figure.set_size_inches(width, height)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.axis("off")
        for above, label in headings:
            axes.text(0, above + 0.09, label, ha="left", va="center", color=theme.muted, fontsize=10.5)
        for left, above, wide, piece, shade in placed:
            style = "round,pad=0,rounding_size=0.04"
            inside = (left + 0.008, above), wide - 0.016, _HEIGHT
            axes.add_patch(FancyBboxPatch(*inside, boxstyle=style, facecolor=theme.card, edgecolor=theme.rule))
            if shade > 0:
                axes.add_patch(
                    FancyBboxPatch(
                        *inside, boxstyle=style, facecolor=theme.era[era], edgecolor="none", alpha=_DARKEST * shade
                    )
                )
            middle = left + wide / 2, above + _HEIGHT / 2
            axes.text(*middle, piece, ha="center", va="center_baseline", color=theme.ink, fontsize=_FONT)
        return figure

    return draw
