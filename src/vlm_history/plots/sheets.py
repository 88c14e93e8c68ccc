"""Sheets of small panels: pictures, numbers in colour, numbers as light on a picture. Pixels stay pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlm_history.errors import InputError
from vlm_history.plots.style import Draw, Theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_GAP = 0.07  # inches between panels
_TITLE = 0.21  # inches above a panel that has a title
_VEIL = 0.8  # how much of a picture is hidden where the light is out


@dataclass(frozen=True)
class Panel:
    """One panel of a sheet: a picture, or numbers, or numbers as light on a picture.

    Attributes:
        picture: (rows, columns, 3) bytes.
        values: (rows, columns). From 0 up: in the colour of the era. Some below 0: in two colours. On a picture: the
            picture shows where they are high, and the highest is framed.
        title: a word above it.
        limit: the value of full colour or full light; the largest there is, if None.
        written: whether the values stand in their cells as whole numbers.
    """

    picture: NDArray[np.uint8] | None = None
    values: NDArray[Any] | None = None
    title: str = ""
    limit: float | None = None
    written: bool = False

    def __post_init__(self) -> None:
        if self.picture is None and self.values is None:
            raise InputError("expected a panel with picture= or values=, got neither")


def colours(theme: Theme, era: str, signed: bool = False) -> Colormap:
    """From the page's ground to the colour of an era; for numbers below 0, on to that of another."""
    from matplotlib.colors import LinearSegmentedColormap

    other = "pretrain" if era != "pretrain" else "connect"
    ends = [theme.era[other], theme.card, theme.era[era]] if signed else [theme.card, theme.era[era]]
    return LinearSegmentedColormap.from_list(f"{theme.name}-{era}", ends)


def paint(axis: Axes, panel: Panel, theme: Theme, era: str) -> None:
    """Draw one panel on its axis."""
    from matplotlib.patches import Rectangle

    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_visible(False)
    if panel.values is None:
        assert panel.picture is not None
        axis.imshow(panel.picture, interpolation="nearest")
        return
    values = np.asarray(panel.values, dtype=np.float64)
    limit = panel.limit or float(np.abs(values).max()) or 1.0
    if panel.picture is None:
        signed = bool((values < 0).any())
        axis.imshow(
            values, cmap=colours(theme, era, signed), vmin=-limit if signed else 0, vmax=limit, interpolation="nearest"
        )
        if panel.written:
            for (row, column), value in np.ndenumerate(values):
                text = f"{value:.0f}".replace("-", "−")
                ink = theme.card if abs(value) > 0.6 * limit else theme.ink
                axis.text(column, row, text, ha="center", va="center", color=ink, fontsize=11)
        return
    rows, columns = values.shape
    axis.imshow(panel.picture, interpolation="nearest", extent=(0, columns, rows, 0))
    veil = np.zeros((rows, columns, 4))
    veil[..., :3] = 0.98 if theme.name == "light" else 0.08
    veil[..., 3] = _VEIL * (1 - np.clip(values / limit, 0, 1))
    axis.imshow(veil, interpolation="nearest", extent=(0, columns, rows, 0))
    row, column = np.unravel_index(int(values.argmax()), values.shape)
    axis.add_patch(Rectangle((float(column), float(row)), 1, 1, fill=False, edgecolor=theme.era[era], linewidth=1.8))


def sheet(
    rows: Sequence[Sequence[Panel]], *, labels: Sequence[str] = (), era: str = "connect", width: float = 5.6,
    label_width: float = 0.85,
) -> Draw:  # fmt: skip
    """Square panels in rows, from the left; the longest row says how large they are.

    Args:
        rows: panels of each row, from the top.
        labels: for each row, what stands left of it; may have two lines.
        era: gives the colour of numbers.
        width: of the whole, in inches.
        label_width: of the labels, in inches.

    Raises:
        InputError: no panel, or not a label for each row.
    """
    if not rows or not all(rows):
        raise InputError("expected at least one row and in each row a panel; got an empty one")
    if labels and len(labels) != len(rows):
        raise InputError(f"expected a label for each of {len(rows)} rows, got {len(labels)}")

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        left = label_width if labels else 0.0
        most = max(len(row) for row in rows)
        side = (width - left - _GAP * (most - 1)) / most
        heads = [_TITLE if any(panel.title for panel in row) else 0.0 for row in rows]
        height = sum(heads) + len(rows) * side + (len(rows) - 1) * _GAP
        figure = pyplot.figure(figsize=(width, height))
        top = height
        for number, (row, head) in enumerate(zip(rows, heads, strict=True)):
            bottom = top - head - side
            for column, panel in enumerate(row):
                x = left + column * (side + _GAP)
                axis = figure.add_axes((x / width, bottom / height, side / width, side / height))
                paint(axis, panel, theme, era)
                if panel.title:
                    axis.set_title(panel.title, fontsize=10, color=theme.ink, pad=3)
            if labels:
                figure.text(
                    0, (bottom + side / 2) / height, labels[number], ha="left", va="center", fontsize=10,
                    color=theme.muted, linespacing=1.35,
                )  # fmt: skip
            top = bottom - _GAP
        return figure

    return draw
