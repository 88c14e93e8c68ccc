"""Figures of transformers and of texts in pieces can be drawn, in both languages, with every glyph in the font."""

import warnings

import numpy as np
import pytest

from vlm_history.errors import InputError
from vlm_history.plots import DARK, LIGHT
from vlm_history.plots.output import render
from vlm_history.plots.pieces import Pieces, boxes
from vlm_history.plots.style import Theme, themed
from vlm_history.plots.transformer import Seen, causal, decoder, transformations

SHAPES = {"embedding": (1, 4, 192), "attention": (1, 4, 192), "widened": (1, 4, 768), "logits": (1, 4, 4000)}
WORDS = ["사과", "·왼쪽에", "·고양이가", "·있다"]


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_every_figure_has_its_glyphs(language: str, theme: Theme, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_HISTORY_LANGUAGE", language)
    shares = np.tril(np.ones((4, 4))) / np.arange(1, 5)[:, None]
    figures = [
        decoder(WORDS, [*WORDS[1:], "."], SHAPES, 6, era="pretrain"),
        causal([Seen("1", WORDS, shares), Seen("2", WORDS[:2], shares[:2, :2])], era="pretrain"),
        transformations(era="pretrain"),
        boxes([Pieces("", WORDS), Pieces("비트", WORDS * 6, [0.0, 3.0, 12.0, 40.0] * 6)], era="pretrain", limit=12.0),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in figures:
            assert render(figure, theme)


def test_a_long_text_goes_on_below() -> None:
    from matplotlib import pyplot

    with themed(LIGHT):
        one, eight = (boxes([Pieces("", WORDS * n)], era="pretrain")(LIGHT).get_size_inches() for n in (1, 8))
    assert one[0] == eight[0] == 4.8
    assert 2 * one[1] < eight[1] < 8 * one[1]
    pyplot.close("all")


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(InputError, match="as many values"):
        Pieces("", WORDS, [0.5])
    with pytest.raises(InputError, match="nothing above the diagonal"):
        Seen("", WORDS, np.full((4, 4), 0.25))
    with pytest.raises(InputError, match="2 x 2 tokens"):
        Seen("", WORDS[:2], np.eye(3))
