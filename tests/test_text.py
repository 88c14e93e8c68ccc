"""Byte-pair encoding equals the `tokenizers` library, on the world's text and on whatever Unicode there is."""

import json
from functools import cache
from pathlib import Path

import open_clip
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from vlm_history.errors import InputError
from vlm_history.text import BytePairTokenizer, CLIPTokenizer
from vlm_history.world import World

TEXTS = [
    caption
    for seed in range(150)
    for scene in [World().sample(seed)]
    for language in ("ko", "en")
    for caption in scene.captions(language)
]


def library(ours: BytePairTokenizer) -> Tokenizer:
    """The library's tokenizer with our merges."""
    letters = ours.vocabulary[: len(ours.vocabulary) - len(ours.specials)]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(letters)}, [tuple(m) for m in ours.merges]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@pytest.fixture(scope="module")
def ours() -> BytePairTokenizer:
    return BytePairTokenizer.fit(TEXTS, size=700, specials=["<|endoftext|>"])


ODD = [
       "", " ", "  두  칸 ", "🐈‍⬛와 사과🍎", "a\u0301e\u0301", "\u200b\ufeff", "ㅋㅋㅋ 100%!?", "don't\n\n\tIt's",
       "𝔘𝔫𝔦", "\x00\x7f",
]  # fmt: skip


@pytest.mark.parametrize("text", [*TEXTS[::97], *ODD])
def test_equals_the_library(ours: BytePairTokenizer, text: str) -> None:
    theirs = library(ours)
    assert ours.encode(text) == theirs.encode(text).ids
    assert ours.decode(ours.encode(text)) == text


@cache
def fitted() -> tuple[BytePairTokenizer, Tokenizer]:
    tokenizer = BytePairTokenizer.fit(TEXTS, size=500)
    return tokenizer, library(tokenizer)


# not lone surrogates, which are no text and which the library cannot be given
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@settings(max_examples=200, deadline=None)
def test_equals_the_library_on_any_text(text: str) -> None:
    tokenizer, theirs = fitted()
    assert tokenizer.encode(text) == theirs.encode(text).ids
    assert tokenizer.decode(tokenizer.encode(text)) == text


def learned(texts: list[str], size: int) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """The merges that the library learns, in their order, and its vocabulary."""
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    theirs.train_from_iterator(texts, trainer)
    merges = json.loads(theirs.to_str())["model"]["merges"]
    return [(left, right) for left, right in merges], theirs.get_vocab()


def test_learns_the_librarys_merges() -> None:
    ours = BytePairTokenizer.fit(TEXTS, size=900)
    merges, vocabulary = learned(TEXTS, 900)
    assert len(merges) == 900 - 256
    assert list(ours.merges) == merges
    assert {token: number for number, token in enumerate(ours.vocabulary)} == vocabulary


# few letters, so that pairs overlap ("aaa"), are equally frequent, and run out
@given(st.lists(st.text("ab 가나", max_size=12), max_size=6))
@settings(max_examples=100, deadline=None)
def test_learns_the_librarys_merges_of_any_text(texts: list[str]) -> None:
    assert list(BytePairTokenizer.fit(texts, size=290).merges) == learned(texts, 290)[0]


def test_the_order_of_the_texts_does_not_matter() -> None:
    assert BytePairTokenizer.fit(reversed(TEXTS), size=400).merges == BytePairTokenizer.fit(TEXTS, size=400).merges


def test_size_and_specials(ours: BytePairTokenizer) -> None:
    assert len(ours) == 700 and ours.id("<|endoftext|>") == 699
    assert ours.decode([699, *ours.encode("고양이"), 699]) == "고양이"
    assert 699 not in ours.encode("<|endoftext|>")
    with pytest.raises(InputError, match=r"among <\|endoftext\|>"):
        ours.id("<pad>")
    with pytest.raises(InputError, match="at least 257"):
        BytePairTokenizer.fit(TEXTS, size=256, specials=["<|endoftext|>"])
    with pytest.raises(InputError, match="text as str, got int"):
        ours.encode(3)  # type: ignore[arg-type]  # what is wrong is the point
    assert len(BytePairTokenizer.fit(["ab"], size=1000)) == 256


def test_saved_and_read_back(ours: BytePairTokenizer, tmp_path: Path) -> None:
    ours.save(tmp_path / "tokenizer.json")
    again = BytePairTokenizer.load(tmp_path / "tokenizer.json")
    assert again.vocabulary == ours.vocabulary and again.encode(TEXTS[3]) == ours.encode(TEXTS[3])


def test_cuts_broken_text_softly(ours: BytePairTokenizer) -> None:
    ids = ours.encode("🍎")
    assert ours.decode(ids[:1]) == "\ufffd" or len(ids) == 1
    assert b"".join(ours.raw([i]) for i in ids) == ours.raw(ids)
    assert ours.raw(ids).decode() == ours.decode(ids) and ours.raw([ours.id(ours.specials[0])]) == b""


@cache
def clips() -> tuple[CLIPTokenizer, open_clip.SimpleTokenizer]:
    return CLIPTokenizer(), open_clip.SimpleTokenizer()


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@settings(max_examples=200, deadline=None)
def test_clips_tokenizer_is_open_clips_on_any_text(text: str) -> None:
    ours, theirs = clips()
    assert ours.encode(text) == theirs.encode(text)


PHOTOS = ["A photo of a Cat.", "it's 42 DOGS &amp; they\u2019re fine!!", "schÃ¶n", "a&amp;amp;b", "'\u017f \u0130"]


@pytest.mark.parametrize("text", [*PHOTOS, *TEXTS[::97], *ODD])
def test_clips_tokenizer_is_open_clips(text: str) -> None:
    ours, theirs = clips()
    assert ours.encode(text) == theirs.encode(text)
    assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text)).strip()


def test_clips_tokenizer_has_its_size_and_comes_back(tmp_path: Path) -> None:
    ours, theirs = clips()
    assert len(ours) == theirs.vocab_size == 49_408
    assert [ours.id(special) for special in ours.specials] == [theirs.sot_token_id, theirs.eot_token_id]
    assert 49_406 not in ours.encode("<start_of_text>")  # no text can write it; in open_clip this one can
    ours.save(tmp_path / "tokenizer.json")
    assert isinstance(BytePairTokenizer.load(tmp_path / "tokenizer.json"), CLIPTokenizer)
