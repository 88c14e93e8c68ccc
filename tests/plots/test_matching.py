"""Figures of what fits: every glyph is there, framed cells are dark on the diagonal, and near points stay near."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from vlm_history.errors import InputError
from vlm_history.plots import DARK, LIGHT
from vlm_history.plots.matching import atlas, neighbourhoods, similarities, two_towers
from vlm_history.plots.output import render
from vlm_history.plots.style import Draw, Theme

PICTURE = np.full((8, 8, 3), 200, np.uint8)
SHAPES = {
    "pixels": (3, 3, 64, 64), "grid": (3, 256, 4, 4), "image": (3, 256), "tokens": (3, 5), "states": (3, 5, 256),
    "text": (3, 256),
}  # fmt: skip


def drawn(draw: Draw, theme: Theme = LIGHT) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return np.asarray(Image.open(io.BytesIO(render(draw, theme))).convert("RGBA")).astype(int)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_two_towers_has_its_glyphs(theme: Theme) -> None:
    cosines = np.eye(3) - 0.1
    made = drawn(two_towers([PICTURE] * 3, ["고양이", "apple", "우산"], cosines, SHAPES, era="pretrain"), theme)
    assert made[..., 3].max() == 255
    with pytest.raises(InputError, match="a text for each picture"):
        two_towers([PICTURE] * 3, ["one"], cosines, SHAPES, era="pretrain")


def test_what_is_similar_is_coloured() -> None:
    made = drawn(similarities([PICTURE] * 2, ["고양이 왼쪽에\n사과", "b"], np.eye(2), era="pretrain", pairs=[(0, 0)]))
    width = made.shape[1]
    left, column = int(width * 2.2 / 5.8), int(width * 1.8 / 5.8)
    upper, lower = (made[-int((row + 0.8) * 0.42 * 192), left + column // 4] for row in (1, 0))
    assert upper[0] < lower[0] or upper[3] != lower[3]
    with pytest.raises(InputError, match="expected cosines"):
        similarities([PICTURE], ["a", "b"], np.eye(2), era="pretrain")


def test_near_points_stay_near() -> None:
    torch.manual_seed(0)
    centres = 4 * torch.randn(3, 16)
    vectors = (centres[:, None] + 0.3 * torch.randn(3, 10, 16)).flatten(0, 1)
    points = neighbourhoods(vectors, perplexity=5, steps=250)
    assert points.shape == (30, 2) and np.isfinite(points).all()
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (apart.argmin(1) // 10 == np.arange(30) // 10).all()
    assert np.allclose(points, neighbourhoods(vectors, perplexity=5, steps=250)), "the same every time"


def test_a_map_shows_its_pictures() -> None:
    points = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.5]])
    made = drawn(atlas(points, [PICTURE] * 3, names=[(1.0, 0.5, "동물")], width=3, height=2))
    assert (made[..., :3] == 200).all(2).sum() > 1000
