"""Metrics on cases small enough to work out by hand."""

import math

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU

from vlm_history.exam.metrics import CiderD, bleu, bleu_counts, bootstrap, object_f1, share, words


def test_words_cut_particles_but_no_names() -> None:
    assert words("a cat, left of an apple.", "en") == ["a", "cat", ",", "left", "of", "an", "apple", "."]
    assert words("사과 왼쪽에 고양이가 있다", "ko", {"고양이", "사과"}) == [
        "사과", "왼쪽", "에", "고양이", "가", "있다",
    ]  # fmt: skip
    assert words("왼쪽에는 고양이", "ko", {"고양이"}) == ["왼쪽", "에는", "고양이"]
    # without the names the 이 of 고양이 looks like a particle: candidate and reference are at least cut alike
    assert words("고양이", "ko") == ["고양", "이"]
    assert words("", "ko") == []


@pytest.mark.parametrize(
    ("named", "true", "expected"),
    [("ab", "ab", 1.0), ("a", "ab", 2 / 3), ("ac", "ab", 0.5), ("cd", "ab", 0.0), ("", "ab", 0.0), ("abc", "ab", 0.8)],
)
def test_object_f1(named: str, true: str, expected: float) -> None:
    assert object_f1(named, true) == pytest.approx(expected)


def test_bleu_by_hand() -> None:
    # the cat sat on the mat / the cat sat on a mat: matches 5, 3, 2, 1 of 6, 5, 4, 3; equal lengths
    counts = bleu_counts(["the", "cat", "sat", "on", "the", "mat"], [["the", "cat", "sat", "on", "a", "mat"]])
    assert counts.tolist() == [5, 3, 2, 1, 6, 5, 4, 3, 6, 6]
    assert bleu(counts[None]) == pytest.approx((5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)


def test_bleu_brevity_penalty() -> None:
    counts = bleu_counts(["a", "b", "c", "d"], [["a", "b", "c", "d", "e", "f"]])
    assert bleu(counts[None]) == pytest.approx(math.exp(1 - 6 / 4))


def test_summed_counts_are_corpus_bleu() -> None:
    generator = np.random.default_rng(0)
    said = [generator.choice(list("abcd"), generator.integers(1, 9)).tolist() for _ in range(50)]
    true = [[generator.choice(list("abcd"), 6).tolist() for _ in range(2)] for _ in said]
    ours = bleu(np.array([bleu_counts(s, t) for s, t in zip(said, true, strict=True)]))
    theirs = BLEU(tokenize="none", smooth_method="none").corpus_score(
        [" ".join(s) for s in said], [[" ".join(t[k]) for t in true] for k in range(2)]
    )
    assert ours == pytest.approx(theirs.score / 100)


def test_bleu_of_silence_is_zero() -> None:
    assert bleu(bleu_counts([], [["a"]])[None]) == 0


def test_cider_of_the_only_reference_is_ten() -> None:
    true = [[["a", "cat", "sat", "here"]], [["one", "dog", "ran", "off"]]]
    assert CiderD(true).score(true[0][0], 0) == pytest.approx(10)
    assert CiderD(true).score(true[1][0], 0) == 0
    assert CiderD(true).score([], 0) == 0


def test_cider_by_hand() -> None:
    # Two pictures. "x" is in the references of both: idf 0. The candidate shares "a" and "a b" with its reference.
    scorer = CiderD([[["a", "b", "c", "d"]], [["x", "e", "f", "g"]]])
    idf = math.log(2)
    # 1-grams: candidate (a, b, y), all seen in at most one picture; y, unseen, counts as seen once: idf log 2
    unigrams = 2 * idf**2 / (math.sqrt(3) * idf * math.sqrt(4) * idf)
    bigrams = 1 * idf**2 / (math.sqrt(2) * idf * math.sqrt(3) * idf)
    penalty = math.exp(-(1**2) / (2 * 6**2))
    assert scorer.score(["a", "b", "y"], 0) == pytest.approx(10 * penalty * (unigrams + bigrams) / 4)


def test_cider_clips_repetition() -> None:
    # "a a a b": the count of a is clipped to the reference's 1
    scorer = CiderD([[["a", "b"]], [["c", "d"]]])
    penalty = math.exp(-4 / 72)
    unigrams = (1 * 1 + 1 * 1) / (math.sqrt(3**2 + 1) * math.sqrt(2))
    bigrams = 1 / (math.sqrt(2**2 + 1) * 1)
    assert scorer.score(["a", "a", "a", "b"], 0) == pytest.approx(10 * penalty * (unigrams + bigrams) / 4)


def test_bootstrap_covers_and_repeats() -> None:
    values = np.random.default_rng(1).random(400) < 0.5
    low, high = bootstrap(lambda chosen: float(values[chosen].mean()), 400, seed=3)
    assert low < values.mean() < high
    # normal approximation: 2 * 1.96 * sqrt(0.25 / 400) = 0.098
    assert high - low == pytest.approx(0.098, abs=0.015)
    assert (low, high) == bootstrap(lambda chosen: float(values[chosen].mean()), 400, seed=3)


def test_share_is_the_bootstrap_of_a_mean() -> None:
    right = [True] * 130 + [False] * 270
    marks = np.array(right, dtype=float)
    value, *interval = share(right, seed=3, resamples=20_000)
    assert value == pytest.approx(130 / 400)
    assert interval == pytest.approx(bootstrap(lambda chosen: float(marks[chosen].mean()), 400, 5, 20_000), abs=0.004)
    assert share(right, seed=3) == share(right, seed=3)
    assert share([True] * 5) == (1, 1, 1) and share([False]) == (0, 0, 0)
