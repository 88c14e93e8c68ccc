"""Curves: what is drawn is what was handed over."""

import io

import numpy as np
from PIL import Image

from vlm_history.plots import DARK, LIGHT, Line, lines
from vlm_history.plots.output import DPI, render
from vlm_history.plots.style import themed

SEEN = (100.0, 200.0, 300.0)
PANELS = {
    "loss": [Line("a", SEEN, (3.0, 2.0, 1.0)), Line("b", SEEN, (2.0, 1.0, 0.5), era="connect", dashed=True)],
    "exact": [
        Line("a", SEEN, (0.0, 0.1, 0.2), low=(0.0, 0.05, 0.1), high=(0.1, 0.15, 0.3)),
        Line("b", SEEN, (0.1, 0.4, 0.6), era="connect", dashed=True),
    ],
}


def test_every_point_is_drawn_and_every_curve_is_named_once() -> None:
    from matplotlib import pyplot

    with themed(LIGHT):
        figure = lines(PANELS, x="pictures", ticks=SEEN, shares=("exact",))(LIGHT)
        drawn = [line.get_xydata() for axis in figure.axes for line in axis.lines]
        expected = [np.column_stack([line.x, line.y]) for panel in PANELS.values() for line in panel]
        assert all(np.array_equal(a, b) for a, b in zip(drawn, expected, strict=True))
        assert [axis.get_title(loc="left") for axis in figure.axes] == ["loss", "exact"]
        (intervals,) = figure.axes[1].collections
        assert [segment[:, 1].tolist() for segment in intervals.get_segments()] == [
            [0.0, 0.1],
            [0.05, 0.15],
            [0.1, 0.3],
        ]
        (legend,) = figure.legends
        assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
        assert figure.axes[1].get_ylim()[0] == 0
        colours = {line.get_color() for line in figure.axes[0].lines}
        assert colours == {LIGHT.muted, LIGHT.era["connect"]}
        pyplot.close(figure)


def test_it_is_as_wide_as_a_phone_shows_well() -> None:
    draw = lines(PANELS, x="pictures")
    for theme in (LIGHT, DARK):
        picture = Image.open(io.BytesIO(render(draw, theme)))
        assert picture.width == round(5.6 * DPI)
