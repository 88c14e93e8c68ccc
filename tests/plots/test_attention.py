"""Light on a picture lies where the look does; figures of looks wrap, and draw for light and dark."""

import numpy as np
import pytest

from vlm_history.plots.attention import attender, light, looks, shares, spotlight
from vlm_history.plots.output import render
from vlm_history.plots.style import DARK, LIGHT, Theme

PICTURE = np.full((64, 64, 3), 200, dtype=np.uint8)
LOOK = np.zeros((8, 8), dtype=np.float32)
LOOK[1, 6] = 1.0


def test_light_is_brightest_where_the_look_is() -> None:
    large = light(LOOK, 64)
    assert large.shape == (64, 64) and large.max() == 1.0 and large.min() >= 0.0
    row, column = np.unravel_index(int(large.argmax()), large.shape)
    assert 8 <= row < 16 and 48 <= column < 56
    assert light(np.full((8, 8), 1 / 64), 64) == pytest.approx(1.0)


def test_a_spotlight_shows_the_picture_there_and_shades_the_rest() -> None:
    lit = spotlight(PICTURE, LOOK)
    assert lit.shape == (256, 256, 3) and lit.dtype == np.uint8
    assert lit[12 * 4, 52 * 4].min() > 180 and lit[50 * 4, 10 * 4].max() < 80
    assert (spotlight(PICTURE, np.full((8, 8), 1 / 64)) == 200).all()


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_figure_draws(theme: Theme) -> None:
    shapes = {
        "pixels": (1, 3, 64, 64), "annotations": (1, 8, 8, 32), "projected": (1, 64, 16), "alpha": (1, 64),
        "context": (1, 32), "embedding": (1, 4, 12), "state": (1, 20), "logits": (1, 4, 99),
    }  # fmt: skip
    row = (PICTURE, [("고양이", LOOK), ("cat", None)])
    for draw in (
        looks([row, row], era="connect", labels=("한국어", "English")),
        shares({"ko": {"a": [0.7, 0.1, 0.2]}}, ["one", "two", "three"], era="connect"),
        attender(PICTURE, "a", "cat", LOOK, shapes, era="connect"),
    ):
        assert render(draw, theme)[:4] == b"\x89PNG"


def test_a_long_row_goes_on_below() -> None:
    from io import BytesIO

    from PIL import Image

    def height(words: int) -> int:
        draw = looks([(PICTURE, [("a", LOOK)] * words)], era="connect", columns=4)
        return Image.open(BytesIO(render(draw, LIGHT))).height

    assert height(4) == height(1) and height(5) == pytest.approx(2 * height(4), abs=2)
