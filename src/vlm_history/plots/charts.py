"""Charts that more than one chapter draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vlm_history.plots.style import Draw, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Bar:
    """A score between 0 and 1 with its interval; `era` gives its colour, no era is a baseline's grey."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    era: str | None = None


def bars(groups: Mapping[str, Sequence[Bar]], *, width: float = 5.4) -> Draw:
    """Horizontal bars in groups, one under the other, each with its value and its 95 % interval."""

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        heights = [len(group) for group in groups.values()]
        figure, axes = pyplot.subplots(
            len(groups), 1, figsize=(width, 0.34 * sum(heights) + 0.45 * len(groups) + 0.1), layout="constrained",
            gridspec_kw={"height_ratios": heights}, squeeze=False,
        )  # fmt: skip
        for (title, group), axis in zip(groups.items(), axes[:, 0], strict=True):
            at = np.arange(len(group))
            colours = [theme.era[bar.era] if bar.era else theme.muted for bar in group]
            axis.barh(at, [bar.value for bar in group], color=colours, height=0.62)
            for row, bar in enumerate(group):
                edge = bar.value
                if bar.low is not None and bar.high is not None:
                    edge = max(bar.high, bar.value)
                    axis.plot([bar.low, bar.high], [row, row], color=theme.ink, linewidth=1.4)
                axis.text(edge + 0.015, row, f"{bar.value:.1%}", va="center", color=theme.ink)
            axis.set_yticks(at, [bar.label for bar in group])
            axis.set_ylim(len(group) - 0.45, -0.55)
            axis.set_xlim(0, 1.1)
            axis.set_xticks([])
            axis.tick_params(length=0)
            axis.spines["bottom"].set_visible(False)
            axis.set_title(title, loc="left", fontsize=11, color=theme.ink)
        return figure

    return draw


def word_table(steps: Sequence[tuple[str, Sequence[tuple[str, float]]]], *, era: str, width: float = 5.4) -> Draw:
    """For each word that a decoder wrote, the words it weighed, with their probabilities.

    Args:
        steps: (the word written, its best candidates with probabilities, most probable first).
    """

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot
        from matplotlib.colors import to_rgb

        columns = max(len(candidates) for _, candidates in steps)
        figure, axis = pyplot.subplots(figsize=(width, 0.44 * len(steps) + 0.3), layout="constrained")
        colour = to_rgb(theme.era[era])
        for row, (chosen, candidates) in enumerate(steps):
            for column, (word, probability) in enumerate(candidates):
                axis.barh(row, 0.94 * probability, left=column, height=0.86, color=(*colour, 0.35))
                ink = theme.ink if word == chosen else theme.muted
                axis.text(column + 0.03, row, word, va="center", color=ink, fontsize=10)
                axis.text(
                    column + 0.92, row, f"{probability:.0%}", va="center", ha="right", color=theme.muted, fontsize=9
                )
        axis.set_xlim(0, columns)
        axis.set_ylim(len(steps) - 0.5, -0.5)
        axis.set_yticks(range(len(steps)), [str(i + 1) for i in range(len(steps))], color=theme.muted, fontsize=9)
        axis.set_xticks([])
        axis.tick_params(length=0)
        for side in axis.spines.values():
            side.set_visible(False)
        return figure

    return draw
