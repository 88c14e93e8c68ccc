"""Counting as a language model: interpolated Kneser-Ney, what a network has to beat (Chen and Goodman, 1999).

A trigram model looks at the two words before. Few of them were seen often, so it subtracts a little, D, from every
count and gives what it saves to the model that looks at one word less:

    p(w | h) = max(c(h w) - D, 0) / c(h) + D N(h .) / c(h) p(w | h'),   c(h) = sum over w of c(h w)

h' is h without its first word, and N(h .) is how many different words followed h. Kneser and Ney's thought (1995) is
in the shorter models: there c(h w) is not how often h w occurred but after how many different words. "Francisco" is
frequent, but only after "San", so that it is hardly to be expected elsewhere. Below the shortest model lies the
uniform one, and so no word is impossible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from vlm_history.errors import InputError

Gram = tuple[int, ...]


def discount(counts: Iterable[int]) -> float:
    """D = n1 / (n1 + 2 n2), from how many things were counted once and twice (Chen and Goodman, after Ney et al.).

    One half where nothing was counted once, as in a corpus too small to say.
    """
    times = Counter(counts)
    return times[1] / (times[1] + 2 * times[2]) if times[1] else 0.5


class NGram:
    """An interpolated Kneser-Ney model of sentences of tokens.

    Args:
        sentences: token ids, each sentence with its start word and its end word.
        vocabulary: how many tokens there are, seen or not.
        order: 3 looks at two words before, 1 at none.

    Raises:
        InputError: there is no sentence, or an order below one.
    """

    def __init__(self, sentences: Iterable[Sequence[int]], vocabulary: int, order: int = 3) -> None:
        self.vocabulary, self.order = vocabulary, order
        seen: Counter[Gram] = Counter()
        for sentence in sentences:
            told = self._begun(sentence)
            seen.update(tuple(told[i - order + 1 : i + 1]) for i in range(order, len(told)))
        if order < 1 or not seen:
            raise InputError(f"expected sentences and an order of at least 1, got order {order}, {len(seen)} n-grams")
        # h -> (the words that followed it, their counts less D, c(h), D N(h .))
        self.after: dict[Gram, tuple[NDArray[np.intp], NDArray[np.float64], float, float]] = {}
        for _ in range(order):
            following: dict[Gram, dict[int, int]] = {}
            for gram, count in seen.items():
                following.setdefault(gram[:-1], {})[gram[-1]] = count
            d = discount(seen.values())
            for context, words in following.items():
                counts = np.array(list(words.values()), dtype=float)
                self.after[context] = (np.array(list(words)), counts - d, counts.sum(), d * len(counts))
            seen = Counter(gram[1:] for gram in seen)  # one less word: after how many different words

    def _begun(self, sentence: Sequence[int]) -> list[int]:
        """The sentence with as many start words that its first word has a whole context."""
        return [sentence[0]] * (self.order - 1) + list(sentence)

    def next_word(self, said: Sequence[int]) -> NDArray[np.float64]:
        """p of every token after what was said, which begins with a start word: (vocabulary,), sums to one."""
        told = self._begun(said)
        p = np.full(self.vocabulary, 1 / self.vocabulary)
        for length in range(self.order):  # from the shortest context to the longest that was seen
            context = tuple(told[len(told) - length :])
            if context not in self.after:
                break
            words, counts, total, saved = self.after[context]
            p *= saved / total
            p[words] += counts / total
        return p

    def log_probability(self, sentence: Sequence[int]) -> list[float]:
        """log p of each token of a sentence after its start word, in nats."""
        return [float(np.log(self.next_word(sentence[:i])[sentence[i]])) for i in range(1, len(sentence))]

    def perplexity(self, sentences: Iterable[Sequence[int]]) -> float:
        """exp of the mean surprise a token, the start words not counted."""
        every = [log_p for sentence in sentences for log_p in self.log_probability(sentence)]
        return float(np.exp(-np.mean(every)))

    def sample(self, start: int, end: int, generator: np.random.Generator, max_length: int = 24) -> list[int]:
        """Draw a sentence, from its start word to its end word or to `max_length` tokens after the start."""
        said = [start]
        while said[-1] != end and len(said) <= max_length:
            p = self.next_word(said)
            said.append(int(generator.choice(self.vocabulary, p=p / p.sum())))
        return said
