"""Byte-pair encoding equals the `tokenizers` library, on the world's text and on whatever Unicode there is."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from vlm_history.errors import InputError
from vlm_history.text import BytePairTokenizer
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


# not lone surrogates, which are no text and which the library cannot be given
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
@settings(max_examples=200, deadline=None)
def test_equals_the_library_on_any_text(ours_text: str) -> None:
    tokenizer = _fitted()
    assert tokenizer.encode(ours_text) == _library().encode(ours_text).ids
    assert tokenizer.decode(tokenizer.encode(ours_text)) == ours_text


_CACHE: dict[str, object] = {}


def _fitted() -> BytePairTokenizer:
    if "ours" not in _CACHE:
        _CACHE["ours"] = BytePairTokenizer.fit(TEXTS, size=500)
        _CACHE["library"] = library(_CACHE["ours"])  # type: ignore[arg-type]
    return _CACHE["ours"]  # type: ignore[return-value]


def _library() -> Tokenizer:
    _fitted()
    return _CACHE["library"]


def test_learns_the_librarys_merges() -> None:
    """Where no two pairs are equally frequent, there is one right answer."""
    texts = ["aaabdaaabac " * 5, "the cat the dog the cat", *TEXTS[:400]]
    ours = BytePairTokenizer.fit(texts, size=330)
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=330, min_frequency=2, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    theirs.train_from_iterator(texts, trainer)
    mine = {a + b for a, b in ours.merges}
    assert len(mine & set(theirs.get_vocab())) >= 0.95 * len(mine)


def test_size_and_specials(ours: BytePairTokenizer) -> None:
    assert len(ours) == 700 and ours.id("<|endoftext|>") == 699
    assert ours.decode([699, *ours.encode("고양이"), 699]) == "고양이"
    assert 699 not in ours.encode("<|endoftext|>")
    with pytest.raises(InputError, match=r"among <\|endoftext\|>"):
        ours.id("<pad>")
    with pytest.raises(InputError, match="at least 257"):
        BytePairTokenizer.fit(TEXTS, size=256, specials=["<|endoftext|>"])
    with pytest.raises(InputError, match="text as str, got int"):
        ours.encode(3)  # type: ignore[arg-type]
    assert len(BytePairTokenizer.fit(["ab"], size=1000)) == 256


def test_saved_and_read_back(ours: BytePairTokenizer, tmp_path: Path) -> None:
    ours.save(tmp_path / "tokenizer.json")
    again = BytePairTokenizer.load(tmp_path / "tokenizer.json")
    assert again.vocabulary == ours.vocabulary and again.encode(TEXTS[3]) == ours.encode(TEXTS[3])


def test_cuts_broken_text_softly(ours: BytePairTokenizer) -> None:
    ids = ours.encode("🍎")
    assert ours.decode(ids[:1]) == "\ufffd" or len(ids) == 1
