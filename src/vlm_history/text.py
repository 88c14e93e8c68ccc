"""Tokenizers: between text and the whole numbers that models read.

`WordTokenizer` is that of era 1: one token a word, as in Show and Tell, which kept the words that occur at least five
times in its captions. Korean writes a noun and its particle as one word (고양이 + 가), so a particle is a token of its
own, written `##가`, where what is left without it is a word by itself.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from vlm_history.errors import InputError

SPECIALS = ("<pad>", "<unk>", "<end>", "<ko>", "<en>")
PARTICLES = tuple(
    ["에서는", "으로", "에는", "에서", "이", "가", "은", "는", "을", "를", "와", "과", "의", "도", "로", "에", "만"]
)
"""Korean particles (josa) that are split off, longest first."""

_PIECES = re.compile(r"[,.?!]|[^\s,.?!]+")


class WordTokenizer:
    """Words and, in Korean, particles.

    Args:
        vocabulary: all tokens; the first five are `SPECIALS`.
    """

    def __init__(self, vocabulary: Sequence[str]) -> None:
        if tuple(vocabulary[: len(SPECIALS)]) != SPECIALS:
            raise InputError(f"expected a vocabulary that begins with {SPECIALS}, got {tuple(vocabulary[:5])}")
        self.vocabulary = tuple(vocabulary)
        self._ids = {token: i for i, token in enumerate(self.vocabulary)}
        self.pad, self.unknown, self.end = 0, 1, 2

    def __len__(self) -> int:
        return len(self.vocabulary)

    def start(self, language: str) -> int:
        """The start word of a language: "ko" or "en"."""
        if language not in ("ko", "en"):
            raise InputError(f'expected language "ko" or "en", got {language!r}; choose one of the two')
        return self._ids[f"<{language}>"]

    @classmethod
    def fit(cls, sentences: Iterable[str], minimum: int = 5) -> WordTokenizer:
        """Learn the words of a corpus.

        Args:
            sentences: the corpus.
            minimum: how often a word has to occur to be kept (five in the paper).
        """
        counts = Counter(piece for sentence in sentences for piece in _PIECES.findall(sentence))
        kept: Counter[str] = Counter()
        for word, count in counts.items():
            for token in _split(word, counts):
                kept[token] += count
        words = sorted(token for token, count in kept.items() if count >= minimum)
        return cls((*SPECIALS, *words))

    def _word(self, word: str) -> list[int]:
        """A word whole if it is known, else as stem and particle, else as the unknown word."""
        if word in self._ids:
            return [self._ids[word]]
        for particle in PARTICLES:
            stem, rest = self._ids.get(word.removesuffix(particle)), self._ids.get("##" + particle)
            if word.endswith(particle) and stem is not None and rest is not None:
                return [stem, rest]
        return [self.unknown]

    def encode(self, text: str, language: str) -> list[int]:
        """Text -> start word of the language, its tokens, end word."""
        if not isinstance(text, str):
            raise InputError(f"expected text as str, got {type(text).__name__}; pass one sentence")
        ids = [i for word in _PIECES.findall(text) for i in self._word(word)]
        return [self.start(language), *ids, self.end]

    def decode(self, ids: Iterable[int]) -> str:
        """Tokens -> text; start words and padding are dropped, and what follows the end word."""
        text = ""
        for i in ids:
            if i == self.end:
                break
            token = self.vocabulary[i]
            if token in ("<pad>", "<ko>", "<en>"):
                continue
            if token.startswith("##"):
                text += token[2:]
            elif token in ",.?!" and text:
                text += token
            else:
                text += " " + token if text else token
        return text

    def save(self, path: str | Path) -> None:
        """Write the vocabulary as JSON."""
        Path(path).write_text(json.dumps({"words": self.vocabulary}, ensure_ascii=False, indent=0), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> WordTokenizer:
        """Read what `save` wrote."""
        return cls(json.loads(Path(path).read_text(encoding="utf-8"))["words"])


def _split(word: str, counts: Counter[str]) -> tuple[str, ...]:
    for particle in PARTICLES:
        if word.endswith(particle) and counts[word.removesuffix(particle)]:
            return word.removesuffix(particle), "##" + particle
    return (word,)
