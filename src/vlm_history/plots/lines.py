"""Curves: how something grows or falls, with intervals where there are any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vlm_history.plots.style import Draw, Theme

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


@dataclass(frozen=True)
class Line:
    """One curve.

    Attributes:
        label: its name; curves of one name are told once in the legend.
        x, y: its points.
        low, high: ends of the interval of each point.
        era: gives its colour; no era is a baseline's grey.
        dashed: to tell apart what shares a colour.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    era: str | None = None
    dashed: bool = False


def lines(
    panels: Mapping[str, Sequence[Line]], *, x: str, ticks: Sequence[float] = (), shares: Sequence[str] = (),
    width: float = 5.6, height: float = 1.75,
) -> Draw:  # fmt: skip
    """Curves in panels, one under the other, over one axis; the legend stands below them.

    Args:
        panels: title -> its curves.
        x: what the axis counts.
        ticks: where it is marked; matplotlib chooses if there are none.
        shares: titles of those panels whose values are shares, from 0 to 1, shown in per cent.
        height: of a panel, in inches.
    """

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot
        from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

        names = list(dict.fromkeys(line.label for panel in panels.values() for line in panel))
        rows = -(-len(names) // 2)
        figure, axes = pyplot.subplots(
            len(panels), 1, figsize=(width, height * len(panels) + 0.5 + 0.24 * rows), layout="constrained",
            sharex=True, squeeze=False,
        )  # fmt: skip
        handles = {}
        for (title, panel), axis in zip(panels.items(), axes[:, 0], strict=True):
            for line in panel:
                colour = theme.era[line.era] if line.era else theme.muted
                marker = _MARKERS[names.index(line.label) % len(_MARKERS)]
                if line.low:
                    axis.vlines(line.x, line.low, line.high, color=colour, linewidth=1.2)
                handles[line.label] = axis.plot(
                    line.x, line.y, color=colour, linewidth=1.7, linestyle=(0, (3, 2)) if line.dashed else "-",
                    marker=marker, markersize=4.5, label=line.label, clip_on=False,
                )[0]  # fmt: skip
            axis.set_title(title, loc="left", fontsize=11, color=theme.ink)
            axis.tick_params(length=0, labelsize=10)
            axis.tick_params(axis="y", labelcolor=theme.muted)
            axis.grid(axis="y", color=theme.rule, linewidth=0.6)
            axis.set_axisbelow(True)
            axis.yaxis.set_major_locator(MaxNLocator(4))
            axis.margins(y=0.12)
            if title in shares:
                axis.set_ylim(bottom=0)
                axis.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        last = axes[-1, 0]
        last.set_xlabel(x, fontsize=10.5)
        last.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        if ticks:
            last.set_xticks(list(ticks))
        figure.legend(
            [handles[name] for name in names], names, loc="outside lower left", ncols=min(2, len(names)), fontsize=10,
            handlelength=2.2, columnspacing=1.4, labelcolor=theme.ink,
        )  # fmt: skip
        return figure

    return draw
