"""DALL-E's figure can be drawn in both languages, with every glyph, and says what it cannot show."""

import warnings

import numpy as np
import pytest

from vlm_history.errors import InputError
from vlm_history.plots import DARK, LIGHT
from vlm_history.plots.output import render
from vlm_history.plots.stream import one_stream
from vlm_history.plots.style import Theme

PICTURE = np.full((64, 64, 3), 200, np.uint8)
SHAPES = {
    "pixels": (1, 3, 64, 64), "logits": (1, 1024, 8, 8), "decoded": (1, 6, 64, 64), "states": (1, 96, 192),
    "text": (1, 31, 1024), "codes": (1, 64, 1024),
}  # fmt: skip
WORDS = ["사", "과", "·왼쪽에", "20 ed", "86 a0"]
CODES = np.arange(64).reshape(8, 8) * 16


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_it_has_its_glyphs(language: str, theme: Theme, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_HISTORY_LANGUAGE", language)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert render(one_stream(PICTURE, PICTURE, CODES, WORDS, SHAPES, 1024, 6, era="pretrain"), theme)


def test_too_little_is_refused() -> None:
    for words, codes in ((WORDS[:2], CODES), (WORDS, CODES[:1, :3])):
        with pytest.raises(InputError, match="at least, got"):
            one_stream(PICTURE, PICTURE, codes, words, SHAPES, 1024, 6, era="pretrain")
