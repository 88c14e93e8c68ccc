"""The n-gram model: it is a distribution, a case counted by hand, and it knows Francisco."""

from fractions import Fraction

import numpy as np
import pytest

from vlm_history.errors import InputError
from vlm_history.exam.ngram import NGram, discount

START, END, A, B, C = range(5)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_probabilities_sum_to_one_after_anything(order: int) -> None:
    chance = np.random.default_rng(0)
    corpus = [[START, *chance.integers(2, 9, chance.integers(1, 8)), END] for _ in range(40)]
    model = NGram(corpus, vocabulary=12, order=order)
    for said in ([START], [START, A], [START, A, B, C], [START, 10, 11], [START, A, 11], [START, 11, A]):
        p = model.next_word(said)
        assert p.shape == (12,)
        assert p.sum() == pytest.approx(1, abs=1e-12)
        assert (p > 0).all()


def test_a_case_counted_by_hand() -> None:
    """Bigrams of `a b`, `a c`, `a b`: s a 3, a b 2, b e 2, a c 1, c e 1, so n1 = 2, n2 = 2, D = 2 / 6 = 1/3.

    Before each word came so many different ones: a 1, b 1, c 1, e 2: n1 = 3, n2 = 1, D = 3/5, of 5 in all.
    """
    model = NGram([[START, A, B, END], [START, A, C, END], [START, A, B, END]], vocabulary=5, order=2)
    d, low = Fraction(1, 3), Fraction(3, 5)
    kept = low * 4 / 5 * Fraction(1, 5)  # four words have counts; the uniform model has five words
    unigram = {START: kept, END: (2 - low) / 5 + kept, **dict.fromkeys((A, B, C), (1 - low) / 5 + kept)}
    after_a = {w: max(c - d, 0) / 3 + d * 2 / 3 * unigram[w] for w, c in {START: 0, END: 0, A: 0, B: 2, C: 1}.items()}
    assert sum(after_a.values()) == 1
    np.testing.assert_allclose(model.next_word([START, A]), [float(after_a[w]) for w in range(5)])
    # after a word that began nothing, the shorter model speaks
    np.testing.assert_allclose(model.next_word([START, END]), [float(unigram[w]) for w in range(5)])
    log_p = model.log_probability([START, A, C, END])
    assert len(log_p) == 3
    assert np.exp(log_p[1]) == pytest.approx(float(after_a[C]))
    assert model.perplexity([[START, A, C, END]]) == pytest.approx(np.exp(-np.mean(log_p)))


def test_francisco_is_frequent_but_not_expected() -> None:
    san, francisco, dog, the, my, a, old = range(2, 9)
    corpus = [[START, san, francisco, END]] * 9 + [[START, w, dog, END] for w in (the, my, a)]
    p = NGram(corpus, vocabulary=9, order=2).next_word([START, old])
    assert p[dog] > p[francisco]
    counted = NGram(corpus, vocabulary=9, order=1).next_word([START])
    assert counted[francisco] > counted[dog]


def test_a_longer_context_is_used_where_it_was_seen() -> None:
    left, right = [START, A, C, B, END], [START, B, C, A, END]
    corpus = [left, right] * 5
    assert NGram(corpus, 5, order=3).next_word([START, A, C])[B] > 0.9
    assert NGram(corpus, 5, order=2).next_word([START, A, C])[B] == pytest.approx(0.5, abs=0.1)


def test_samples_follow_their_generator_and_end() -> None:
    model = NGram([[START, A, B, END], [START, B, C, END]], vocabulary=5)
    draws = [model.sample(START, END, np.random.default_rng(seed)) for seed in (0, 0, 1, 2, 3, 4)]
    assert draws[0] == draws[1]
    assert len({tuple(d) for d in draws}) > 1
    for said in draws:
        assert said[0] == START and len(said) <= 25
        assert END not in said[:-1]
    assert len(model.sample(START, END, np.random.default_rng(0), max_length=1)) == 2


def test_discounts() -> None:
    assert discount([1, 1, 1, 2, 5]) == pytest.approx(3 / 5)
    assert discount([1, 1]) == 1
    assert discount([2, 3]) == 0.5


def test_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="sentences"):
        NGram([], vocabulary=5)
    with pytest.raises(InputError, match="order"):
        NGram([[START, END]], vocabulary=5, order=0)
