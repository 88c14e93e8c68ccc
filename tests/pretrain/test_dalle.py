"""DALL-E: who sees whom, what is learned, that cached drawing is uncached drawing, and what is asked of a prompt."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vlm_history import checkpoints
from vlm_history.errors import InputError
from vlm_history.pretrain import dalle
from vlm_history.pretrain.clip import CLIP, CLIPConfig
from vlm_history.pretrain.clip_towers import EdgeCNNConfig, TextConfig
from vlm_history.pretrain.dalle import DALLE, DALLEConfig, Transformer, attention_pattern, layer_kind, pad, rerank
from vlm_history.pretrain.dvae import DVAEConfig
from vlm_history.text import BytePairTokenizer

TEXTS = ["사과 왼쪽에 고양이가 있다", "a cat to the left of an apple", "고양이", "an apple"] * 3
WORDS = BytePairTokenizer.fit(TEXTS, 320)
VAE = DVAEConfig(codes=20, widths=(4, 8, 8, 12), entry=6, blocks=1, gain=0.5, image_size=32)
SMALL = DALLEConfig(VAE, vocabulary=len(WORDS), length=16, width=32, depth=6, heads=2, kernel=3)
PROMPT = "사과 왼쪽에 고양이가 있다"


@pytest.fixture(scope="module")
def system() -> DALLE:
    torch.manual_seed(0)
    model = DALLE(SMALL, WORDS)
    with torch.no_grad():
        for name, parameter in model.transformer.named_parameters():  # nothing at rest, and codes that differ
            if parameter.ndim > 1:
                parameter.normal_(0, 1.0 if name.startswith(("text.", "codes", "rows", "columns")) else 0.3)
            else:
                parameter.normal_(1.0 if name.endswith("norm.weight") else 0.0, 0.2)
    return model.eval()


@pytest.fixture(scope="module")
def judge() -> CLIP:
    torch.manual_seed(1)
    words = BytePairTokenizer.fit(TEXTS, 320, ("<start>", "<end>"))
    text = TextConfig(len(words), length=24, width=16, depth=1, heads=2)
    return CLIP(CLIPConfig(EdgeCNNConfig(8, (8, 64), 12, image_size=32), text, 12, quick_gelu=False), words).eval()


def lots(batch: int, seed: int = 0) -> Tensor:
    return torch.rand(batch, 16, generator=torch.Generator().manual_seed(seed))


def test_parameters_at_published_size() -> None:
    with torch.device("meta"):
        model = Transformer(DALLEConfig.published())
    count = sum(p.numel() for p in model.parameters())
    assert count == 12_292_812_416 and f"{count:,}" in str(Transformer.__doc__)
    assert round(count / 1e9) == 12  # the paper's "12 billion"
    assert DALLEConfig.published().width == 62 * 64


def slowly(kind: str, text: int, side: int, kernel: int) -> list[list[bool]]:
    """Figure 11, told place by place. What leaves the picture at the side comes in a row lower, as its caption says."""
    size = text + side * side
    seen = [[False] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            if j < text or i == j:
                seen[i][j] = True
                continue
            here, there = divmod(i - text, side), divmod(j - text, side)
            if kind == "row":
                seen[i][j] = there[0] == here[0] or (there[0] == here[0] - 1 and there[1] >= here[1])
            elif kind == "column":
                seen[i][j] = there[1] == here[1]
            else:
                reach = range(-(kernel // 2), kernel // 2 + 1)
                wrapped = {(here[0] + up) * side + here[1] + along for up in reach for along in reach}
                seen[i][j] = j - text in wrapped
    return seen


@pytest.mark.parametrize("kind", ["row", "column", "convolutional"])
@pytest.mark.parametrize(("text", "side", "kernel"), [(6, 4, 3), (3, 5, 5), (1, 8, 5), (2, 3, 11)])
def test_patterns_are_those_of_the_figure(kind: str, text: int, side: int, kernel: int) -> None:
    assert attention_pattern(kind, text, side, kernel).tolist() == slowly(kind, text, side, kernel)


def test_layers_are_row_column_row_row_and_the_last_convolutional() -> None:
    kinds = [layer_kind(layer, 64) for layer in range(1, 65)]
    assert kinds[:8] == ["row", "column", "row", "row"] * 2 and kinds[63] == "convolutional"
    assert kinds.count("column") == 16 and kinds.count("convolutional") == 1
    assert [layer_kind(layer, 6) for layer in range(1, 7)] == ["row", "column", "row", "row", "row", "convolutional"]
    assert [kind.shape for kind in Transformer(SMALL).patterns()] == [(1, 17 + 16, 17 + 16)] * 6


@pytest.mark.parametrize("depth", [1, 2, 6])
def test_a_code_is_told_by_what_it_sees_alone(depth: int) -> None:
    """Whatever changes, logits change exactly where the patterns of all layers let it through."""
    torch.manual_seed(0)
    model = Transformer(replace(SMALL, depth=depth)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3 if parameter.ndim > 1 else 0.5)
    reach = torch.eye(SMALL.length + 17, dtype=torch.bool)
    for pattern in model.patterns():
        reach = (pattern[0].float() @ reach.float()) > 0
    text, codes = pad([WORDS.encode("an apple")], SMALL), torch.arange(16)[None] % 20
    with torch.inference_mode():
        _, before = model(text, codes)
        for place in range(15):
            other = codes.clone()
            other[0, place] = 19
            changed = (model(text, other)[1] - before).abs().amax(2)[0] > 1e-9
            # the logits of a code stand at the token before it; the first code's at the picture's start
            expected = reach[SMALL.length : SMALL.length + 16, SMALL.length + 1 + place]
            assert changed.tolist() == expected.tolist(), place
            assert torch.equal(model(text, other)[0], model(text, codes)[0])  # no text sees its picture
        assert ((model(pad([[3]], SMALL), codes)[1] - before).abs().amax(2) > 1e-9).all()


def test_each_place_has_its_own_padding() -> None:
    padded = pad([[5, 6], []], SMALL)
    first = SMALL.vocabulary
    assert padded[0].tolist() == [5, 6, *range(first + 2, first + 16)]
    assert padded[1].tolist() == list(range(first, first + 16))
    model = Transformer(SMALL)
    assert len(model.text.weight) == SMALL.vocabulary + SMALL.length
    model.loss(padded, torch.zeros(2, 16, dtype=torch.long)).backward()
    assert model.text.weight.grad is not None
    touched = model.text.weight.grad.abs().sum(1).nonzero()[:, 0].tolist()
    assert touched == [5, 6, *range(first, first + 16)]


def test_codes_are_told_with_row_and_column(system: DALLE) -> None:
    model = system.transformer
    with torch.inference_mode():
        told = model.go_on(torch.tensor([[7, 9]]), first=5)[0]  # the places (1, 1) and (1, 2) of 4 x 4
        expected = model.codes.weight[9] + model.rows.weight[1] + model.columns.weight[2]
        torch.testing.assert_close(told[1], expected)
        begun = model.begin(pad([[4]], SMALL))
        torch.testing.assert_close(begun[0, 0], model.text.weight[4] + model.text_positions.weight[0])
        torch.testing.assert_close(begun[0, -1], model.start.weight[0])


def test_an_eighth_of_the_loss_is_the_texts(system: DALLE) -> None:
    texts = [WORDS.encode("a cat"), WORDS.encode("사과 왼쪽에 고양이가 있다"), []]
    codes = torch.randint(20, (3, 16), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        of_text, of_codes = system.transformer(pad(texts, SMALL), codes)
        assert of_text.shape == (3, 15, len(WORDS)) and of_codes.shape == (3, 16, 20)
        surprise = [
            -float(of_text[row, at - 1].log_softmax(0)[token])
            for row, ids in enumerate(texts)
            for at, token in enumerate(ids)
            if at
        ]
        expected = sum(surprise) / len(surprise) / 8 + 7 / 8 * float(F.cross_entropy(of_codes.transpose(1, 2), codes))
        assert float(system.transformer.loss(pad(texts, SMALL), codes)) == pytest.approx(expected, rel=1e-5)
        untold = float(system.transformer.loss(pad([[]], SMALL), codes[2:]))
        assert untold == pytest.approx(7 / 8 * float(F.cross_entropy(of_codes[2], codes[2])), rel=1e-5)


def uncached(model: Transformer, text: Tensor, chance: Tensor | None, guidance: float, top: int | None) -> Tensor:
    """The same codes, the whole computed anew for each of them."""
    codes = torch.zeros(len(text), 16, dtype=torch.long)
    for at in range(16):
        logits = model(text, codes)[1][:, at]
        if guidance != 1:
            without = model(pad([[]] * len(text), SMALL), codes)[1][:, at]
            logits = without + guidance * (logits - without)
        if top is not None:
            least = logits.sort(1, descending=True).values[:, top - 1]
            logits = torch.where(logits < least[:, None], -torch.inf, logits)
        for row in range(len(text)):
            if chance is None:
                codes[row, at] = logits[row].argmax()
                continue
            total, lot = 0.0, float(chance[row, at])
            for code, p in enumerate(logits[row].double().softmax(0).tolist()):
                total += p
                if lot < total:
                    codes[row, at] = code
                    break
    return codes


@pytest.mark.parametrize("guidance", [1.0, 0.0, 2.5])
@pytest.mark.parametrize(("drawn", "top"), [(False, None), (True, None), (True, 3)])
@torch.inference_mode()
def test_cached_drawing_is_uncached_drawing(system: DALLE, guidance: float, drawn: bool, top: int | None) -> None:
    text = system.read(["고양이", "a cat to the left of an apple", ""])
    chance = lots(3) if drawn else None
    found = system.transformer.sample(text, chance, guidance=guidance, top=top)
    assert torch.equal(found, uncached(system.transformer, text, chance, guidance, top))
    assert len(set(found.flatten().tolist())) > (5 if drawn and top is None else 1)
    if guidance == 0:  # nothing of the text is left
        again = system.transformer.sample(pad([[]] * 3, SMALL), chance, top=top)
        assert torch.equal(found, again)


def test_what_is_chosen_is_chosen_as_often_as_it_is_likely() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().repeat(20_000, 1)
    even = (torch.arange(20_000) + 0.5) / 20_000

    def shares(**options: float | int | None) -> list[float]:
        chosen = dalle._choose(logits, even, **{"temperature": 1.0, "top": None, **options})  # type: ignore[arg-type]  # by name
        return (torch.bincount(chosen, minlength=4) / 20_000).tolist()

    assert shares() == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=1e-3)
    assert shares(top=2) == pytest.approx([0.625, 0.375, 0, 0], abs=1e-3)
    cold = torch.tensor([0.5, 0.3, 0.15, 0.05]) ** 2
    assert shares(temperature=0.5) == pytest.approx((cold / cold.sum()).tolist(), abs=1e-3)
    highest = torch.full((1,), 1 - 2**-24)  # the largest lot there is
    assert int(dalle._choose(torch.tensor([[0.0, 0.0, -torch.inf]]), highest, 1.0, None)) == 1


def test_a_drawing_is_that_of_its_seed_whatever_else_is_drawn(system: DALLE) -> None:
    one = system.draw(PROMPT, seed=5)
    assert isinstance(one, np.ndarray) and one.shape == (32, 32, 3) and one.dtype == np.uint8
    several = system.draw(PROMPT, n=3, seed=4)
    assert isinstance(several, list) and len(several) == 3
    np.testing.assert_array_equal(several[1], one)
    assert not np.array_equal(several[0], one)
    both = system.draw(["a cat", PROMPT], seed=5)
    assert isinstance(both, list) and len(both) == 2
    np.testing.assert_array_equal(both[1], one)
    nested = system.draw(("a cat", PROMPT), n=3, seed=4)
    np.testing.assert_array_equal(nested[1][1], one)
    assert isinstance(system.draw([PROMPT]), list)
    many = system.draw(PROMPT, n=dalle.TOGETHER + 2, seed=5)  # more than go at a time
    np.testing.assert_array_equal(many[0], one)


def test_the_likeliest_needs_no_lots(system: DALLE) -> None:
    first = system.draw(PROMPT, temperature=0.0, seed=1)
    np.testing.assert_array_equal(first, system.draw(PROMPT, temperature=0.0, seed=2))
    np.testing.assert_array_equal(first, system.draw(PROMPT, top=1, seed=3))
    np.testing.assert_array_equal(first, system.draw(PROMPT, temperature=1e-320, seed=3))
    assert system.draw(PROMPT, guidance=999_999.0).shape == (32, 32, 3)  # type: ignore[union-attr]  # a picture
    assert not np.array_equal(first, system.draw(PROMPT, temperature=0.0, guidance=3.0))


@pytest.mark.parametrize(
    "prompt", ["", "  ", "고양이 cat 왼쪽 of 사과", "zyx ⟨?⟩", "🍎", "AN APPLE", "\u200b", "한\n줄"],
)  # fmt: skip
def test_any_short_prompt_is_drawn(system: DALLE, prompt: str) -> None:
    drawn = system.draw(prompt, guidance=2.0)
    assert isinstance(drawn, np.ndarray) and drawn.shape == (32, 32, 3)
    np.testing.assert_array_equal(system.draw(prompt.upper()), system.draw(prompt.lower()))


def test_the_judge_chooses(system: DALLE, judge: CLIP) -> None:
    all_of_them: Any = system.draw(PROMPT, n=6, seed=2)
    fit = (judge.encode_image(np.stack(all_of_them)) @ judge.encode_text(PROMPT)[0]).tolist()
    order = sorted(range(6), key=lambda k: -fit[k])
    assert rerank(judge, PROMPT, np.stack(all_of_them)) == order and order != list(range(6))
    best = system.draw(PROMPT, n=2, seed=2, candidates=6, judge=judge)
    for drawn, k in zip(best, order, strict=False):
        np.testing.assert_array_equal(drawn, all_of_them[k])
    np.testing.assert_array_equal(system.draw(PROMPT, seed=2, candidates=6, judge=judge), best[0])
    ordered = system.draw(PROMPT, n=6, seed=2, judge=judge)
    np.testing.assert_array_equal(ordered[0], best[0])
    each = system.draw([PROMPT, "a cat"], seed=2, candidates=6, judge=judge)
    np.testing.assert_array_equal(each[0], best[0])


@pytest.mark.parametrize(
    ("prompt", "options", "message"),
    [
        (PROMPT, {"n": 0}, "n of at least 1"),
        (PROMPT, {"n": -2}, "n of at least 1"),
        (PROMPT, {"guidance": math.nan}, "finite guidance of at least 0"),
        (PROMPT, {"guidance": math.inf}, "finite guidance"),
        (PROMPT, {"guidance": -1.0}, "finite guidance"),
        (PROMPT, {"guidance": 1e308}, "below 1e6"),
        (PROMPT, {"temperature": math.nan}, "finite temperature"),
        (PROMPT, {"temperature": -0.5}, "finite temperature"),
        (PROMPT, {"top": 0}, "top of at least 1"),
        (PROMPT, {"seed": -1}, "a seed from 0"),
        (PROMPT, {"seed": 2**63}, "a seed from 0"),
        (PROMPT, {"n": 4, "candidates": 3}, "candidates of at least n, which is 4"),
        (PROMPT, {"candidates": 4}, "a judge to choose 1 of 4"),
        ("고양이 " * 40, {}, "at most 16 tokens, got"),
        (["a cat", "very " * 300], {}, "at most 16 tokens, got .* of 'very very"),
        ([], {}, "at least one"),
    ],
)
def test_what_cannot_be_drawn(system: DALLE, prompt: str | list[str], options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        system.draw(prompt, **options)  # type: ignore[arg-type]  # by name


def test_a_tokenizer_is_needed_and_has_to_fit(system: DALLE) -> None:
    with pytest.raises(InputError, match="expected a DALL-E with a tokenizer"):
        DALLE(SMALL).draw(PROMPT)
    with pytest.raises(InputError, match="at most 100 tokens"):
        DALLE(replace(SMALL, vocabulary=100), WORDS)


def test_the_vae_rests(system: DALLE) -> None:
    model = DALLE(SMALL, WORDS)
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"transformer"}


def test_saved_and_loaded_it_draws_the_same(system: DALLE, tmp_path: Path) -> None:
    folder = checkpoints.save(system, tmp_path / "dall-e")
    again = checkpoints.load(DALLE, folder).eval()
    assert again.config == SMALL and again.tokenizer is not None
    np.testing.assert_array_equal(again.draw(PROMPT, seed=3), system.draw(PROMPT, seed=3))
    state = again.state_dict()
    assert "transformer.row" not in state  # patterns are made, not kept


def test_foreign_and_corrupt_checkpoints_are_refused(system: DALLE, judge: CLIP, tmp_path: Path) -> None:
    foreign = checkpoints.save(judge, tmp_path / "clip")
    with pytest.raises(InputError, match="configuration of DALLEConfig"):
        checkpoints.load(DALLE, foreign)
    larger = checkpoints.save(DALLE(replace(SMALL, width=40), WORDS), tmp_path / "larger")
    folder = checkpoints.save(system, tmp_path / "dall-e")
    (larger / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(InputError, match="of another shape"):
        checkpoints.load(DALLE, larger)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="damaged or foreign"):
        checkpoints.load(DALLE, folder)
    weights.unlink()
    with pytest.raises(InputError, match=r"model\.safetensors is missing"):
        checkpoints.load(DALLE, folder)
