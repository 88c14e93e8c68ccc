"""The recall experiment: what it asks, that it meets nothing held out, and that an LSTM soon remembers."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vlm_history.training import memo
from vlm_history.training.experiments import recall
from vlm_history.training.experiments.recall import DISTANCES, THINGS, Recaller, draw, filler, names, recaller, recipe
from vlm_history.training.scenes import tokenizer, world
from vlm_history.world.splits import pair_split

STAGE = recipe("lstm").stages[0]


def test_a_question_is_a_name_then_other_words_then_a_mark() -> None:
    tokens = draw(list(range(64)), 7, "train")
    assert tokens.shape == (64, 9)
    every = torch.cat([names("ko"), names("en")])
    assert len(every.unique()) == 2 * THINGS
    assert torch.isin(tokens[:, 0], every).all()
    assert (tokens[:, -1] == len(tokenizer())).all()
    assert (tokens[:, :-1] < len(tokenizer())).all()
    assert draw([3], 0, "train").shape == (1, 2)
    # the sentences name the same things, so that the last name read is not the one to say
    assert torch.isin(tokens[:, 1:-1], every).any(1).float().mean() > 0.8


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_sentences_are_of_their_split(language: str, split: str) -> None:
    row = filler(language, split)[:3000].tolist()
    said: list[int] = []
    facts = 0
    for token in row:
        said.append(token)
        if token == tokenizer().end:
            fact = world().reader.parse(tokenizer().decode(said), language)
            assert fact is not None
            assert pair_split(*(mention.hexcode for mention in fact.mentions)) == split
            said, facts = [], facts + 1
    assert facts > 200


def test_a_batch_is_a_function_of_seed_index_and_rows() -> None:
    for index in (0, 5, 11):
        whole, again = (STAGE.batch(3, index, range(8))["tokens"] for _ in range(2))
        assert torch.equal(whole, again)
        assert torch.equal(whole[4:], STAGE.batch(3, index, range(4, 8))["tokens"])
    lengths = {STAGE.batch(0, index, range(1))["tokens"].shape[1] for index in range(200)}
    assert min(lengths) == 3 and 30 < max(lengths) <= 42


@pytest.mark.parametrize("network", ["rnn", "lstm"])
def test_the_loss_is_that_of_the_first_name(network: str) -> None:
    torch.manual_seed(0)
    module = Recaller(network, 16)
    tokens = draw([1, 2, 3], 5, "train")
    with torch.no_grad():
        total, weight = module(tokens)
        log_p = module.answer(tokens).log_softmax(-1)
    assert float(weight) == 3
    assert float(total) == pytest.approx(-sum(float(log_p[i, tokens[i, 0]]) for i in range(3)), rel=1e-5)
    assert 0 <= module.recall(3, n=50) < 0.3


def test_it_is_trained_once_and_remembers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLM_HISTORY_CACHE", str(tmp_path))
    short = replace(recipe("lstm"), stages=(replace(STAGE, steps=120, evaluate_every=60, farthest=4),))  # type: ignore[call-arg]  # a stage of its own
    monkeypatch.setattr(recall, "recipe", lambda network: short)
    module, looks = recaller("lstm")
    assert list(looks) == [60, 120]
    assert set(looks[120]) == set(DISTANCES)
    assert module.recall(2) == pytest.approx(looks[120][2], abs=0.01)
    assert looks[120][2] > max(0.3, looks[60][2])
    monkeypatch.setattr(memo, "train", lambda *_, **__: pytest.fail("trained again"))
    again, _ = recaller("lstm")
    assert torch.equal(again.words.weight, module.words.weight)
