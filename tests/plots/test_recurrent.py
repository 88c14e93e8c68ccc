"""Figures of recurrent networks can be drawn, in both languages, with every glyph in the font."""

import warnings

import pytest

from vlm_history.plots import DARK, LIGHT, Line
from vlm_history.plots.output import render
from vlm_history.plots.recurrent import Told, by_word, cells, decay, no_picture, unrolled

SHAPES = {"embedding": (1, 4, 192), "state": (1, 4, 192), "logits": (1, 4, 2045)}
WORDS = ["<ko>", "고양이", "-가", "있다"]


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_every_figure_has_its_glyphs(language: str, theme, monkeypatch) -> None:  # type: ignore[no-untyped-def]  # a fixture
    monkeypatch.setenv("VLM_HISTORY_LANGUAGE", language)
    block = Told(WORDS, {"망각 f": [0.1, 0.9, 0.5, 1.0], "tanh c": [-0.7, 0.2, 0.0, -1.0]})
    shrinking = Line("RNN", range(60), [0.3**k for k in range(60)])
    figures = [
        unrolled(WORDS, [*WORDS[1:], "<end>"], SHAPES, era="connect"),
        cells(192, era="connect"),
        by_word([block, block], era="connect", low=-1.0),
        decay([shrinking, Line("LSTM", range(60), [0.8**k for k in range(60)], era="connect")], x="걸음", y="기울기"),
        no_picture(era="connect"),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in figures:
            assert render(figure, theme)
