"""Sheets of panels: pixels stay pixels, light shows where a name is likely, what is malformed is refused."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from vlm_history.errors import InputError
from vlm_history.plots import DARK, LIGHT
from vlm_history.plots.architecture import pyramid
from vlm_history.plots.output import render
from vlm_history.plots.sheets import Panel, sheet
from vlm_history.plots.style import Draw, Theme

PICTURE = np.full((8, 8, 3), 200, np.uint8)


def drawn(draw: Draw, theme: Theme = LIGHT) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return np.asarray(Image.open(io.BytesIO(render(draw, theme))).convert("RGBA")).astype(int)


def test_pixels_stay_pixels() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[0, 0] = picture[1, 1] = 255
    made = drawn(sheet([[Panel(picture)]], width=1.0))
    side = len(made)
    assert side == made.shape[1]
    for row, column, wanted in ((0.25, 0.25, 255), (0.25, 0.75, 0), (0.45, 0.45, 255), (0.55, 0.45, 0)):
        assert abs(made[int(row * side), int(column * side), 0] - wanted) < 8


def test_light_falls_where_values_are_high() -> None:
    values = np.array([[0.0, 0.5], [0.0, 0.0]])
    made = drawn(sheet([[Panel(PICTURE, values)]], width=1.0), DARK)
    side = len(made)
    lit, half, hidden = (made[int(y * side), int(x * side), 0] for y, x in ((0.25, 0.75), (0.25, 0.25), (0.75, 0.25)))
    assert lit > 190
    assert half == hidden < 100


def test_signs_have_colours_of_their_own() -> None:
    made = drawn(sheet([[Panel(values=np.array([[-1.0, 1.0]]))]], width=1.0))
    middle = made[len(made) // 2]
    left, right = middle[len(made) // 4], middle[3 * len(made) // 4]
    assert left[2] > left[0] and right[0] > right[2]  # the blue of one era, the red of another


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_titles_labels_and_numbers_have_their_glyphs(theme: Theme) -> None:
    rows = [[Panel(PICTURE, title="고양이 97%"), Panel(values=np.array([[-1, 0, 2]]), written=True)], [Panel(PICTURE)]]
    tall = drawn(sheet(rows, labels=["블록 1\n48×16×16", "twemoji"]), theme)
    assert tall.shape[0] > drawn(sheet(rows[:1]), theme).shape[0]


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(InputError, match="neither"):
        Panel()
    with pytest.raises(InputError, match="at least one row"):
        sheet([])
    with pytest.raises(InputError, match="label for each"):
        sheet([[Panel(PICTURE)]], labels=["a", "b"])


def test_values_that_are_all_zero_are_drawn() -> None:
    drawn(sheet([[Panel(values=np.zeros((4, 4))), Panel(PICTURE, np.zeros((4, 4)))]]))


@pytest.mark.parametrize("language", ["ko", "en"])
def test_a_cnn_that_names(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_HISTORY_LANGUAGE", language)
    grids = [("합성곱", np.random.default_rng(0).random((3, side, side))) for side in (32, 16, 8, 4)]
    shapes = [(1, 3, 64, 64), (1, 24, 32, 32), (1, 48, 16, 16), (1, 96, 8, 8), (1, 256, 4, 4), (1, 4, 4, 686), (1, 686)]
    made = pyramid(PICTURE, grids, np.eye(4), [("고양이", 0.5), ("배드민턴채", 0.1)], shapes, era="connect")
    assert drawn(made).shape[1] > 1000
