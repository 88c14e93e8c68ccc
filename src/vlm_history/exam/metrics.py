"""Caption metrics, each as a value or counts a scene, so that any of them can be resampled.

- `words`: how a caption is cut into words before any of them are counted.
- `object_f1`, exactness: what is right of the facts (see `captioning`).
- `bleu_counts`, `bleu`: BLEU-4 (Papineni et al., 2002), counted and computed by sacrebleu.
- `CiderD`: CIDEr-D (Vedantam et al., arXiv 1411.5726, section 4). The usual package for it was last released in
  2020 and brings a compiled dependency for a few lines of arithmetic; here they are written out instead.
- `bootstrap`: 95 % intervals by resampling scenes (Efron and Tibshirani's percentile interval).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU

# Longest first: 에는 before 는.
PARTICLES = ("에는", "으로", "이", "가", "은", "는", "을", "를", "와", "과", "의", "도", "로", "에")
_PIECE = re.compile(r"[^\s,.?!]+|[,.?!]")


def words(caption: str, language: str, names: Collection[str] = ()) -> list[str]:
    """Cut a caption into words.

    English: at spaces and punctuation. Korean: likewise, and a particle becomes a word of its own unless the whole
    is a word of a name (고양이 stays whole, 고양이가 becomes 고양이 가), so that a right noun with a wrong
    particle is half right. Candidates and references are cut alike.

    Args:
        caption: one sentence.
        language: "ko" or "en".
        names: words that must stay whole, such as those of the concepts' names.
    """
    pieces = _PIECE.findall(caption)
    if language != "ko":
        return pieces
    cut: list[str] = []
    for piece in pieces:
        ending = next((p for p in PARTICLES if piece.endswith(p) and len(piece) > len(p)), None)
        if ending is None or piece in names:
            cut.append(piece)
        else:
            cut += [piece.removesuffix(ending), ending]
    return cut


def object_f1(named: Collection[str], true: Collection[str]) -> float:
    """F1 of the objects that a caption names against those in the picture; 0 if it names none."""
    right = len(set(named) & set(true))
    return 2 * right / (len(set(named)) + len(set(true))) if right else 0.0


_BLEU = BLEU(tokenize="none", smooth_method="none", effective_order=True)


def bleu_counts(candidate: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.int64]:
    """What BLEU-4 needs of one caption: 4 matches, 4 totals, its length, the length of the closest reference."""
    if not candidate:
        shortest = min((len(r) for r in references), default=0)
        return np.array([0] * 8 + [0, shortest])
    score = _BLEU.sentence_score(" ".join(candidate), [" ".join(r) for r in references])
    return np.array([*score.counts, *score.totals, score.sys_len, score.ref_len])


def bleu(counts: NDArray[np.int64]) -> float:
    """Corpus BLEU-4, from 0 to 1, of summed counts (scenes, 10)."""
    total = [int(x) for x in counts.sum(0)]
    score = BLEU.compute_bleu(total[:4], total[4:8], total[8], total[9], smooth_method="none", max_ngram_order=4)
    return float(score.score) / 100


def ngrams(sentence: Sequence[str], longest: int = 4) -> list[Counter[tuple[str, ...]]]:
    """Counts of the n-grams of a sentence, for n from 1 to `longest`."""
    return [Counter(tuple(sentence[i : i + n]) for i in range(len(sentence) - n + 1)) for n in range(1, longest + 1)]


class CiderD:
    """CIDEr-D: how much of what is special in the references a caption says.

    Equations 1 to 4 of the paper: n-grams weighted by tf-idf, the cosine of candidate and reference with the
    candidate's weights clipped to the reference's, times a Gaussian penalty on the difference of lengths
    (sigma 6); mean over n = 1..4 and over references; times 10, as is usual. Document frequencies are those of
    the references given here.

    Args:
        references: for each picture its reference captions, cut into words.
    """

    SIGMA = 6.0

    def __init__(self, references: Sequence[Sequence[Sequence[str]]]) -> None:
        self.references = references
        self.seen_in: Counter[tuple[str, ...]] = Counter()
        for of_picture in references:
            self.seen_in.update({gram for r in of_picture for counts in ngrams(r) for gram in counts})
        self.pictures = math.log(max(1, len(references)))

    def _vector(self, sentence: Sequence[str]) -> tuple[list[dict[tuple[str, ...], float]], list[float]]:
        """tf-idf of a sentence, and its norm, for each n."""
        vectors = [
            {gram: n * (self.pictures - math.log(max(1, self.seen_in[gram]))) for gram, n in counts.items()}
            for counts in ngrams(sentence)
        ]
        return vectors, [math.sqrt(sum(w * w for w in vector.values())) for vector in vectors]

    def score(self, candidate: Sequence[str], picture: int) -> float:
        """The score of one caption for one picture, from 0 to 10."""
        of_candidate, candidate_norms = self._vector(candidate)
        total = 0.0
        for reference in self.references[picture]:
            of_reference, reference_norms = self._vector(reference)
            penalty = math.exp(-((len(candidate) - len(reference)) ** 2) / (2 * self.SIGMA**2))
            for c, r, c_norm, r_norm in zip(of_candidate, of_reference, candidate_norms, reference_norms, strict=True):
                if c_norm and r_norm:
                    common = sum(min(weight, r[gram]) * r[gram] for gram, weight in c.items() if gram in r)
                    total += penalty * common / (c_norm * r_norm)
        return 10 * total / (4 * len(self.references[picture]))


def bootstrap(
    statistic: Callable[[NDArray[np.intp]], float], n: int, seed: int = 0, resamples: int = 1000
) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic over scenes.

    Args:
        statistic: from indices of scenes (which may repeat) to the value.
        n: how many scenes there are.
        seed: of the resampling.
        resamples: how many.
    """
    generator = np.random.default_rng(seed)
    values = [statistic(generator.integers(0, n, n)) for _ in range(resamples)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def share(right: Sequence[bool], seed: int = 0, resamples: int = 1000) -> tuple[float, float, float]:
    """The share of right answers, and its 95 % bootstrap interval: (value, low, high).

    How many of n answers drawn again are right is binomial, so that their number is drawn and not each of them.
    """
    value, n = float(np.mean(right)), len(right)
    low, high = np.percentile(np.random.default_rng(seed).binomial(n, value, resamples) / n, [2.5, 97.5])
    return value, float(low), float(high)
