"""Figures of transformers that read on: the decoder with its shapes, what each token sees, how tasks are laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlm_history.errors import InputError
from vlm_history.plots.architecture import Shape, _arrow, _box, sized
from vlm_history.plots.style import Draw, Theme, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def decoder(words: Sequence[str], chosen: Sequence[str], shapes: Mapping[str, Shape], depth: int, *, era: str) -> Draw:
    """A decoder-only transformer over the tokens of a sentence, its blocks normalising after each sum.

    Args:
        words: what it reads.
        chosen: what it expects after each of them.
        shapes: of embedding, attention, widened and logits, each with its batch.
        depth: how many blocks there are.
        era: gives the colour.
    """

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot
        from matplotlib.patches import FancyBboxPatch

        figure, axes = pyplot.subplots(figsize=(5.9, 5.6), layout="constrained")
        step, first, colour = 2.15, 1.6, theme.era[era]
        columns = [first + step * i for i in range(len(words))]
        left, right = first - 0.95, columns[-1] + 0.95
        axes.set_xlim(-0.45, right + 1.35)
        axes.set_ylim(-0.1, 11.6)
        axes.axis("off")
        middle, wide = (left + right) / 2, right - left
        axes.add_patch(
            FancyBboxPatch(
                (left - 0.3, 2.55), wide + 1.1, 6.1, boxstyle="round,pad=0,rounding_size=0.2", facecolor="none",
                edgecolor=theme.rule, linewidth=1.2, linestyle=(0, (4, 3)), zorder=0,
            )
        )  # fmt: skip
        axes.text(right + 0.95, 8.3, f"×{depth}", ha="left", va="center", color=colour, fontsize=12)
        for start, title in ((3.05, say(ko="가린 셀프 어텐션", en="masked self-attention")), (5.85, "")):
            if title:
                _box(axes, theme, (middle, start + 0.6), (wide, 0.8), title, colour)
            _box(axes, theme, (middle, start + 1.95), (wide, 0.62), say(ko="층 정규화", en="layer norm"), theme.rule)
            # the way around: what came in is added
            _line(axes, theme, [(columns[-1], start - 0.2), (right + 0.4, start - 0.2), (right + 0.4, start + 1.95)])
            _arrow(axes, theme, (right + 0.4, start + 1.95), (right + 0.02, start + 1.95))
            axes.text(right + 0.5, start + 1.1, "+", ha="left", va="center", color=theme.ink, fontsize=12)
        for number, (x, word, next_word) in enumerate(zip(columns, words, chosen, strict=True)):
            size = {name: sized((1, shape[-1])) if number == 0 else "" for name, shape in shapes.items()}
            axes.text(x, 0.2, word, ha="center", va="center", color=theme.ink, fontsize=11)
            _arrow(axes, theme, (x, 0.5), (x, 0.95))
            _box(axes, theme, (x, 1.35), (1.55, 0.78), f"$W_e + p_{{{number}}}$", theme.rule)
            _arrow(axes, theme, (x, 1.74), (x, 3.25), size["embedding"], (0.12, -0.35), "left")
            _arrow(axes, theme, (x, 4.05), (x, 4.69), size["attention"], (0.12, 0), "left")
            _arrow(axes, theme, (x, 5.31), (x, 6.05))
            _box(axes, theme, (x, 6.45), (1.3, 0.8), "MLP", colour)
            _arrow(axes, theme, (x, 6.85), (x, 7.49))
            _arrow(axes, theme, (x, 8.11), (x, 9.25))
            _box(axes, theme, (x, 9.62), (1.05, 0.74), "$W_e^{\\top}$", theme.rule)
            _arrow(axes, theme, (x, 9.99), (x, 10.85), size["logits"], (0.12, 0), "left")
            axes.text(x, 11.2, next_word, ha="center", va="center", color=colour, fontsize=11)
        axes.text(
            columns[0] + 0.78, 6.45, sized((1, shapes["widened"][-1])), ha="left", va="center", color=theme.muted,
            fontsize=9.5,
        )  # fmt: skip
        for y, text in ((0.2, say(ko="읽는 말", en="reads")), (11.2, say(ko="다음 말", en="next"))):
            axes.text(-0.4, y, text, ha="left", va="center", color=theme.muted, fontsize=9.5)
        return figure

    return draw


def _line(axes: Axes, theme: Theme, points: Sequence[tuple[float, float]]) -> None:
    axes.plot(*zip(*points, strict=True), color=theme.muted, linewidth=1.1, solid_joinstyle="miter", zorder=1)


@dataclass(frozen=True)
class Seen:
    """What each token of a sentence takes from those before it, and from itself.

    Attributes:
        title: above it.
        words: the tokens.
        shares: (tokens, tokens); each row sums to 1, and is 0 above the diagonal.

    Raises:
        InputError: the shares are of another number of tokens, or some token sees what comes after it.
    """

    title: str
    words: Sequence[str]
    shares: NDArray[np.floating[Any]]

    def __post_init__(self) -> None:
        n = len(self.words)
        if self.shares.shape != (n, n) or np.triu(self.shares, 1).any():
            raise InputError(f"expected shares of {n} x {n} tokens with nothing above the diagonal; check the mask")


def causal(seen: Sequence[Seen], *, era: str, width: float = 5.6) -> Draw:
    """Attention as staircases: a row for each token, its word where the row ends; what comes after is not there.

    Args:
        seen: one under the other.
        era: gives the colour.
        width: of the whole, in inches.
    """

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot
        from matplotlib.patches import Rectangle

        heights = [len(one.words) for one in seen]
        figure, axes = pyplot.subplots(
            len(seen), 1, figsize=(width, 0.27 * sum(heights) + 0.33 * len(seen)), layout="constrained",
            gridspec_kw={"height_ratios": heights}, squeeze=False,
        )  # fmt: skip
        for one, axis in zip(seen, axes[:, 0], strict=True):
            for row, word in enumerate(one.words):
                for column in range(row + 1):
                    corner = (column + 0.04, row + 0.05)
                    axis.add_patch(Rectangle(corner, 0.92, 0.9, facecolor=theme.card, edgecolor="none"))
                    share = float(one.shares[row, column])
                    axis.add_patch(Rectangle(corner, 0.92, 0.9, facecolor=theme.era[era], alpha=share, linewidth=0))
                axis.text(row + 1.12, row + 0.5, word, ha="left", va="center_baseline", color=theme.ink, fontsize=10.5)
            axis.set_xlim(0, len(one.words) + 3.2)  # room for the last word
            axis.set_ylim(len(one.words), 0)
            axis.axis("off")
            axis.set_title(one.title, loc="left", fontsize=10.5, color=theme.muted)
        return figure

    return draw


def transformations(*, era: str) -> Draw:
    """The four input transformations (figure 1 of the paper at the right): each task as rows of tokens."""

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        start, between, extract = say(ko="시작", en="start"), say(ko="구분", en="delim"), say(ko="추출", en="extract")
        text, one, other = say(ko="글", en="text"), say(ko="글 1", en="text 1"), say(ko="글 2", en="text 2")
        context = say(ko="맥락", en="context")
        tasks: dict[str, list[tuple[str, ...]]] = {
            say(ko="분류", en="classification"): [(text,)],
            say(ko="함의", en="entailment"): [(say(ko="전제", en="premise"), say(ko="가설", en="hypothesis"))],
            say(ko="유사도", en="similarity"): [(one, other), (other, one)],
            say(ko="선다형", en="multiple choice"): [
                (context, say(ko=f"답 {n}", en=f"answer {n}")) for n in (1, 2)
            ],
        }  # fmt: skip
        colour, row, gap, head = theme.era[era], 0.62, 0.34, 0.46
        height = sum(head + row * len(rows) + gap for rows in tasks.values())
        figure, axes = pyplot.subplots(figsize=(5.9, 0.72 * height), layout="constrained")
        axes.set_xlim(0, 11.35)
        axes.set_ylim(height - 0.15, 0)
        axes.axis("off")
        y = 0.0
        for title, rows in tasks.items():
            axes.text(0.05, y + 0.22, title, ha="left", va="center", color=theme.muted, fontsize=10)
            y += head
            ends = []
            for texts in rows:
                at = y + row / 2
                x = _cell(axes, theme, 0.05, at, start, 0.95, theme.rule)
                for number, content in enumerate(texts):
                    if number:
                        x = _cell(axes, theme, x, at, between, 0.95, theme.rule)
                    x = _cell(axes, theme, x, at, content, 1.75, theme.ink)
                x = _cell(axes, theme, x, at, extract, 1.15, colour)
                _arrow(axes, theme, (x + 0.03, at), (7.15, at))
                _box(axes, theme, (8.2, at), (2.1, 0.5), "Transformer", colour)
                ends.append(at)
                y += row
            last = sum(ends) / len(ends)
            for at in ends:
                if len(ends) > 1 and title == list(tasks)[2]:
                    _line(axes, theme, [(9.25, at), (9.55, at), (9.55, last)])
                elif len(ends) > 1:
                    _arrow(axes, theme, (9.25, at), (10.05, at))
                    _box(axes, theme, (10.5, at), (0.9, 0.5), "$W_y$", theme.rule)
            if len(ends) == 1:
                _arrow(axes, theme, (9.25, last), (10.05, last))
                _box(axes, theme, (10.5, last), (0.9, 0.5), "$W_y$", theme.rule)
            elif title == list(tasks)[2]:
                axes.text(9.62, last - 0.2, "+", ha="left", va="center", color=theme.ink, fontsize=11)
                _arrow(axes, theme, (9.55, last), (10.05, last))
                _box(axes, theme, (10.5, last), (0.9, 0.5), "$W_y$", theme.rule)
            y += gap
        return figure

    return draw


def _cell(axes: Axes, theme: Theme, x: float, y: float, text: str, width: float, edge: str) -> float:
    """A token or a text of a row; returns where the next one begins."""
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x, y - 0.25), width, 0.5, facecolor=theme.card, edgecolor=edge, linewidth=1.1))
    axes.text(x + width / 2, y, text, ha="center", va="center", color=theme.ink, fontsize=10.5)
    return x + width + 0.06
