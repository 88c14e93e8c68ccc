"""Figures speak the reader's language, have alternative text, and come in a light and a dark form."""

from __future__ import annotations

import base64
import io
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from vlm_history import plots
from vlm_history.errors import InputError
from vlm_history.plots import DARK, LIGHT, Bar, Card
from vlm_history.plots.architecture import captioner, sized, trace
from vlm_history.plots.output import FIGURE, VALUES, render

PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture(params=["ko", "en"])
def language(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("VLM_HISTORY_LANGUAGE", request.param)
    return str(request.param)


def test_language_is_the_readers(language: str) -> None:
    assert plots.language() == language
    assert plots.say(ko="고양이", en="cat") == {"ko": "고양이", "en": "cat"}[language]


def test_without_a_wish_the_system_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VLM_HISTORY_LANGUAGE", raising=False)
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")
    assert plots.language() == "ko"
    monkeypatch.setenv("LC_ALL", "C")
    assert plots.language() == "en"


def test_another_language_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_HISTORY_LANGUAGE", "fr")
    with pytest.raises(InputError, match="ko or en"):
        plots.language()


def decoded(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text))).convert("RGBA")


BARS = plots.bars({"정확도 exact": [Bar("고양이", 0.5, 0.4, 0.6, "connect"), Bar("아무 문장", 0.01)]})


def test_a_figure_is_drawn_for_light_and_dark() -> None:
    bundle = plots.show(BARS, alt="두 막대", caption="설명", numbers={"share": np.float64(0.5)})._repr_mimebundle_()
    light, dark = (decoded(bundle[FIGURE][theme]) for theme in ("light", "dark"))
    assert light.size == dark.size
    assert light.tobytes() != dark.tobytes()
    assert light.getpixel((0, 0))[3] == 0  # type: ignore[index]
    assert min(decoded(bundle["image/png"]).getpixel((0, 0))) > 250  # type: ignore[arg-type]
    assert bundle[VALUES] == {"share": 0.5}
    assert bundle[FIGURE]["alt"] == "두 막대"


def test_hangul_has_its_glyphs() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        render(BARS, LIGHT)
        render(plots.word_table([("고양이", [("고양이", 0.7), ("##가", 0.3)])], era="connect"), DARK)


@pytest.mark.parametrize("alt", ["", "  "])
def test_what_says_nothing_to_the_blind_is_refused(alt: str) -> None:
    for shown in (
        lambda: plots.show(BARS, alt=alt),
        lambda: plots.picture(PICTURE, alt=alt),
        lambda: plots.gallery([Card(PICTURE, alt=alt)]),
    ):
        with pytest.raises(InputError):
            shown()
    with pytest.raises(InputError):
        plots.gallery([])


def test_a_picture_keeps_its_pixels() -> None:
    bundle = plots.picture(PICTURE, alt="잡음", width=128)._repr_mimebundle_()
    assert np.array_equal(np.asarray(decoded(bundle[FIGURE]["light"]))[..., :3], PICTURE)
    assert decoded(bundle["image/png"]).size == (128, 128)


def test_a_gallery_escapes_and_marks(language: str) -> None:
    shown = plots.gallery([Card(PICTURE, alt='"<b>"', text="<i>", note="&", right=False)])._repr_mimebundle_()
    page = shown["text/html"]
    assert "<b>" not in page and "<i>" not in page and "&lt;i&gt;" in page
    assert {"ko": "틀림", "en": "wrong"}[language] in page


def test_a_name_with_a_hyphen_stays_on_one_line() -> None:
    shown = plots.table(["", "GPT-1", "top-1 of all"], [["DALL-E", "1", "2"], ["CNN", "3", "4"]], caption="marks")
    table = str(shown.bundle["text/html"])
    assert table.count('class="whole"') == 2
    assert '<th scope="col" class="whole">GPT-1</th>' in table and '<th scope="row" class="whole">DALL-E</th>' in table


def test_a_table_names_its_rows_and_hands_out_numbers() -> None:
    bundle = plots.table(
        ["모델", "점수"], [["가", "1"], ["나", ""]], caption="표", numbers={"a": 1}
    )._repr_mimebundle_()
    assert bundle["text/html"].count('scope="row"') == 2
    assert 'class="empty"' in bundle["text/html"]
    assert bundle[VALUES] == {"a": 1}


def test_values_must_be_plain() -> None:
    with pytest.raises(TypeError):
        plots.values(a=torch.zeros(2))  # type: ignore[arg-type]


def test_shapes_are_those_of_a_real_pass() -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3), torch.nn.Flatten(), torch.nn.Linear(5 * 36, 7))
    shapes = trace(model, torch.zeros(2, 3, 8, 8))
    assert shapes == {"0": (2, 5, 6, 6), "1": (2, 180), "2": (2, 7)}
    assert sized(shapes["0"]) == "5×6×6"
    assert not any(module._forward_hooks for module in model.modules())


def test_the_architecture_can_be_drawn(language: str) -> None:
    shapes = {
        "pixels": (1, 3, 64, 64), "grid": (1, 192, 4, 4), "vector": (1, 256), "embedding": (1, 3, 256),
        "state": (1, 4, 256), "logits": (1, 3, 2045),
    }  # fmt: skip
    assert render(captioner(PICTURE, ["<ko>", "고양이"], ["고양이", "##가"], shapes, era="connect"), DARK)
