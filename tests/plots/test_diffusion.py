"""The figure of latent diffusion: every glyph is there, and latents are shown as colours."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from vlm_history.errors import InputError
from vlm_history.plots import DARK, LIGHT
from vlm_history.plots.diffusion import as_colours, latent_diffusion
from vlm_history.plots.output import render
from vlm_history.plots.style import Theme

PICTURE = np.full((8, 8, 3), 200, np.uint8)
SHAPES = {
    "pixels": (1, 3, 64, 64), "latents": (1, 8, 8, 8), "finest": (1, 64, 8, 8), "coarsest": (1, 128, 4, 4),
    "tokens": (1, 32), "words": (1, 32, 192),
}  # fmt: skip


@pytest.mark.parametrize("theme", [LIGHT, DARK])
@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_glyph_is_there(theme: Theme, language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_HISTORY_LANGUAGE", language)
    z = np.zeros((8, 8, 8))
    prompt = {"ko": "사과 왼쪽에 고양이가 있다", "en": "a cat left of an apple"}[language]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of a glyph that its fonts lack
        drawing = render(latent_diffusion((PICTURE, PICTURE), (z, z, z), prompt, SHAPES, era="pretrain"), theme)
    made = np.asarray(Image.open(io.BytesIO(drawing)).convert("RGBA"))
    assert made[..., 3].max() == 255


def test_latents_as_colours() -> None:
    latents = np.stack([np.full((2, 2), value) for value in (-9.0, 0.0, 9.0, 1.0)])
    shown = as_colours(latents)
    assert shown.shape == (2, 2, 3) and shown.dtype == np.uint8
    assert shown[0, 0].tolist() == [0, 128, 255]
    with pytest.raises(InputError, match="at least 3 channels"):
        as_colours(latents[:2])
