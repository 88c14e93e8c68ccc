"""Tokenizers: between text and the whole numbers that models read.

`WordTokenizer` is that of era 1: one token a word, as in Show and Tell, which kept the words that occur at least five
times in its captions. Korean writes a noun and its particle as one word (고양이 + 가), so a particle is a token of its
own, written `##가`, where what is left without it is a word by itself.

`BytePairTokenizer` is that of era 2 and since: whatever can be written can be read, since the smallest tokens are the
256 bytes, and what is frequent is merged into longer ones (Sennrich et al., arXiv 1508.07909; on bytes, GPT-2, 2019).
`CLIPTokenizer` is the one that OpenAI's CLIP was trained with: a relative of it, for lower-case English.
"""

from __future__ import annotations

import gzip
import html
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from heapq import heapify, heappop, heappush
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import regex

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


def _letters() -> dict[int, str]:
    """A visible letter for each byte, as in GPT-2: printable bytes stand for themselves, others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


_LETTER = _letters()
_BYTE = {letter: byte for byte, letter in _LETTER.items()}
# GPT-2's rule: words with the space before them, numbers, the rest; nothing is merged across these borders.
_WORDS = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+")
# CLIP's: digits one by one, and spaces nowhere.
_CLIP_WORDS = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+", regex.IGNORECASE)
Merge = tuple[str, str]


@runtime_checkable
class Tokenizer(Protocol):
    """What a language model asks of its tokenizer: ours have it, and those that come with published weights."""

    specials: tuple[str, ...]

    def __len__(self) -> int: ...
    def id(self, special: str) -> int: ...
    def encode(self, text: str) -> list[int]: ...
    def decode(self, ids: Iterable[int]) -> str: ...


class BytePairTokenizer:
    """Bytes, merged in the order that was learned.

    Args:
        merges: pairs of tokens, in bytes' letters, the first to be merged first.
        specials: tokens that text cannot write, such as "<|endoftext|>"; their ids come last.
    """

    ending = ""  # what marks the last letter of a word; then each byte has two tokens

    def __init__(self, merges: Sequence[Merge], specials: Sequence[str] = ()) -> None:
        self.merges = tuple((left, right) for left, right in merges)
        self.specials = tuple(specials)
        letters = [letter + ending for ending in dict.fromkeys(("", self.ending)) for letter in _LETTER.values()]
        self.vocabulary = (*letters, *(a + b for a, b in self.merges), *self.specials)
        self._ids = {token: number for number, token in enumerate(self.vocabulary)}
        if len(self._ids) < len(self.vocabulary):
            raise InputError("expected merges and specials that make different tokens, got one token twice")
        self._ranks = {merge: rank for rank, merge in enumerate(self.merges)}
        self._split = lru_cache(maxsize=1 << 16)(self._merged)

    def __len__(self) -> int:
        return len(self.vocabulary)

    def id(self, special: str) -> int:
        """The id of a special token.

        Raises:
            InputError: there is no such token.
        """
        if special not in self.specials:
            raise InputError(f"expected a special token among {', '.join(self.specials) or 'none'}, got {special!r}")
        return self._ids[special]

    def _merged(self, word: str) -> tuple[int, ...]:
        """A word in bytes' letters -> ids: of all pairs in it the one learned first is merged, until none is left."""
        tokens = [*word[:-1], word[-1] + self.ending]
        while len(tokens) > 1:
            first = min(pairwise(tokens), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if first not in self._ranks:
                break
            tokens = _join(tokens, first)
        return tuple(self._ids[token] for token in tokens)

    def encode(self, text: str) -> list[int]:
        """Text -> ids. Special tokens are never read from text."""
        if not isinstance(text, str):
            raise InputError(f"expected text as str, got {type(text).__name__}; pass one text")
        return [i for word in self._words(text) for i in self._split(word)]

    def _words(self, text: str) -> list[str]:
        """A text cut at the borders that no merge crosses, in bytes' letters."""
        return _words(text)

    def raw(self, ids: Iterable[int]) -> bytes:
        """Ids -> bytes, which need not be UTF-8, since a letter may be cut; special tokens are dropped."""
        last = len(self.vocabulary) - len(self.specials)
        return bytes(_BYTE[letter] for i in ids if i < last for letter in self.vocabulary[i])

    def decode(self, ids: Iterable[int]) -> str:
        """Ids -> text; special tokens are dropped, and bytes that are no UTF-8 become U+FFFD."""
        return self.raw(ids).decode("utf-8", errors="replace")

    @classmethod
    def fit(cls, texts: Iterable[str], size: int, specials: Sequence[str] = ()) -> BytePairTokenizer:
        """Learn merges: again and again the most frequent pair of neighbours becomes one token.

        Args:
            texts: the corpus.
            size: of the vocabulary: 256 bytes, the merges and the specials. Fewer, if no pair occurs twice any more.
            specials: see the class.

        Raises:
            InputError: the size leaves no room for the bytes.
        """
        if size < 256 + len(specials):
            raise InputError(f"expected a size of at least {256 + len(specials)}, got {size}: every byte is a token")
        counts = Counter(word for text in texts for word in _words(text))
        words = [(list(word), count) for word, count in counts.items()]
        pairs: Counter[Merge] = Counter()
        places: defaultdict[Merge, set[int]] = defaultdict(set)
        for number, (tokens, count) in enumerate(words):
            for pair in pairwise(tokens):
                pairs[pair] += count
                places[pair].add(number)
        merges: list[Merge] = []
        ids = {letter: number for number, letter in enumerate(_LETTER[byte] for byte in _LETTER)}

        def rank(pair: Merge) -> tuple[int, int, int, Merge]:
            # among equals the pair of the oldest tokens, so that the result does not depend on the order of the texts
            return -pairs[pair], ids[pair[0]], ids[pair[1]], pair

        queue = [rank(pair) for pair in pairs]
        heapify(queue)
        while len(ids) + len(specials) < size and queue:
            negative, _, _, best = heappop(queue)
            if -negative != pairs[best]:  # its count has changed since, and it stands elsewhere in the queue
                continue
            if pairs[best] < 2:
                break
            merges.append(best)
            ids[best[0] + best[1]] = len(ids)
            changed: set[Merge] = set()
            for number in places.pop(best):
                tokens, count = words[number]
                for pair in pairwise(tokens):
                    pairs[pair] -= count
                changed.update(pairwise(tokens))
                tokens[:] = _join(tokens, best)
                for pair in pairwise(tokens):
                    pairs[pair] += count
                    places[pair].add(number)
                changed.update(pairwise(tokens))
            for pair in changed:
                heappush(queue, rank(pair))
        return cls(merges, specials)

    def save(self, path: str | Path) -> None:
        """Write merges and specials as JSON."""
        data = {"merges": self.merges, "specials": self.specials}
        Path(path).write_text(json.dumps(data, ensure_ascii=False, indent=0), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> BytePairTokenizer:
        """Read what `save` wrote."""
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data == CLIPTokenizer.saved:
            return CLIPTokenizer()
        return cls([(left, right) for left, right in data["merges"]], data["specials"])


class CLIPTokenizer(BytePairTokenizer):
    """The tokenizer of OpenAI's CLIP: 49,408 tokens, read from the file that open_clip ships.

    Text is repaired and put into lower case first, and spaces are only borders. Equal to open_clip's, but that here no
    text can write the two tokens that begin and end one.
    """

    ending = "</w>"
    saved: ClassVar = {"published": "clip"}  # its name is enough to have it again

    def __init__(self) -> None:
        package = find_spec("open_clip")
        assert package is not None and package.origin is not None
        file = Path(package.origin).with_name("bpe_simple_vocab_16e6.txt.gz")
        with gzip.open(file, "rt", encoding="utf-8") as opened:
            lines = opened.read().split("\n")[1 : 1 + 49_408 - 2 * 256 - 2]  # the first names the format
        merges = [(left, right) for left, right in (line.split() for line in lines)]
        super().__init__(merges, ("<start_of_text>", "<end_of_text>"))

    def _words(self, text: str) -> list[str]:
        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
        return _letters_of(_CLIP_WORDS.findall(" ".join(text.split()).lower()))

    def decode(self, ids: Iterable[int]) -> str:
        """Ids -> text, in lower case and with a space after every word, also before a comma."""
        return super().decode(ids).replace(self.ending, " ").strip()

    def save(self, path: str | Path) -> None:
        """Write which one it is."""
        Path(path).write_text(json.dumps(self.saved), encoding="utf-8")


def _words(text: str) -> list[str]:
    """A text cut by GPT-2's rule, in bytes' letters."""
    return _letters_of(_WORDS.findall(text))


def _letters_of(words: Iterable[str]) -> list[str]:
    return ["".join(_LETTER[byte] for byte in word.encode("utf-8", "surrogatepass")) for word in words]


def _join(tokens: list[str], pair: Merge) -> list[str]:
    """The tokens with each occurrence of a pair made one, from the left."""
    joined: list[str] = []
    at = 0
    while at < len(tokens):
        if tokens[at : at + 2] == list(pair):
            joined.append(pair[0] + pair[1])
            at += 2
        else:
            joined.append(tokens[at])
            at += 1
    return joined
