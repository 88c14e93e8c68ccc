"""Fine-tuning: how tasks are laid out, that the heads are transformers', and equation 5 by a slow reference."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import OpenAIGPTConfig, OpenAIGPTDoubleHeadsModel, OpenAIGPTForSequenceClassification

from vlm_history.errors import InputError
from vlm_history.pretrain.finetuning import (
    FineTuned,
    Rows,
    classification,
    entailment,
    multiple_choice,
    similarity,
)
from vlm_history.pretrain.gpt1 import END, GPT1, GPTConfig
from vlm_history.published import gpt
from vlm_history.text import BytePairTokenizer

WORDS = BytePairTokenizer.fit(["the cat ate the apple", "고양이가 사과를 먹었습니다"] * 3, 290, [END])
CONFIG = GPTConfig(len(WORDS), length=40, width=32, depth=2, heads=4, dropout=0.0)
TEXTS = ["the cat", "고양이가 사과를", "a", "the apple ate it"]


def tuned(labels: int, seed: int = 0) -> FineTuned:
    torch.manual_seed(seed)
    model = FineTuned(GPT1(CONFIG, WORDS), labels).eval()
    for parameter in model.parameters():  # nothing at rest, which would hide a mix-up
        torch.nn.init.normal_(parameter, 0.5 if parameter.ndim == 1 else 0, 0.3)
    return model


def test_tasks_are_laid_out_as_in_figure_1() -> None:
    model = tuned(3)
    start, delimiter, extract = len(WORDS), len(WORDS) + 1, len(WORDS) + 2
    a, b = WORDS.encode("the cat"), WORDS.encode("사과")
    expected: dict[Rows, list[list[int]]] = {
        classification("the cat"): [[start, *a, extract]],
        entailment("the cat", "사과"): [[start, *a, delimiter, *b, extract]],
        similarity("the cat", "사과"): [[start, *a, delimiter, *b, extract], [start, *b, delimiter, *a, extract]],
        multiple_choice("the cat", ["사과", "the cat", ""]): [
            [start, *a, delimiter, *b, extract], [start, *a, delimiter, *a, extract], [start, *a, delimiter, extract],
        ],
    }  # fmt: skip
    for rows, ids in expected.items():
        tokens, there = model.encode([rows, rows])
        assert tokens.shape == there.shape == (2, len(ids), max(map(len, ids)))
        for row, mask, wanted in zip(tokens[1], there[1], ids, strict=True):
            assert row[mask].tolist() == wanted and mask[: len(wanted)].all()


def test_three_tokens_are_new_and_the_others_what_they_were() -> None:
    torch.manual_seed(0)
    model = GPT1(CONFIG, WORDS)
    before = model.tokens.weight.detach().clone()
    after = FineTuned(model, 2)
    assert after.model.config.vocabulary == len(WORDS) + 3 == len(model.tokens.weight)
    assert torch.equal(model.tokens.weight[:-3], before) and model.tokens.weight.requires_grad
    assert float(model.tokens.weight[-3:].detach().std()) == pytest.approx(float(before.std()), rel=0.3)
    with pytest.raises(InputError, match="at least one label"):
        FineTuned(GPT1(CONFIG, WORDS), 0)


def _theirs(kind: Any, ours: FineTuned, **options: Any) -> Any:
    """A model of transformers' with the weights of ours below its head."""
    config = {theirs: getattr(ours.model.config, name) for name, theirs in gpt.SIZES.items()}
    model = kind(OpenAIGPTConfig(**config, **options)).eval()
    model.transformer.load_state_dict(gpt.transformers(GPT1, CONFIG.depth).to_published(ours.model))
    return model


@torch.inference_mode()
def test_labels_are_read_off_as_transformers_does() -> None:
    ours = tuned(3)
    theirs = _theirs(OpenAIGPTForSequenceClassification, ours, num_labels=3, pad_token_id=0)
    theirs.score.weight.copy_(ours.choose.weight)
    for rows in ([classification(text) for text in TEXTS], [entailment(text, "a cat") for text in TEXTS]):
        tokens, there = ours.encode(rows)
        logits = ours.logits(ours.model.hidden(tokens.flatten(0, 1)), there)
        reference = theirs(tokens[:, 0]).logits + ours.choose.bias  # finds the end by its padding, which is token 0
        torch.testing.assert_close(logits, reference, atol=1e-4, rtol=1e-4)
        assert ours.predict(rows) == reference.argmax(1).tolist()


@torch.inference_mode()
def test_answers_are_chosen_as_transformers_does() -> None:
    ours = tuned(1)
    theirs = _theirs(OpenAIGPTDoubleHeadsModel, ours, num_labels=1)
    theirs.multiple_choice_head.summary.weight.copy_(ours.choose.weight)
    theirs.multiple_choice_head.summary.bias.copy_(ours.choose.bias)
    rows = [multiple_choice(text, ["사과를 먹었습니다", "a", "the cat"]) for text in TEXTS]
    tokens, there = ours.encode(rows)
    reference = theirs(tokens, mc_token_ids=there.sum(2) - 1).mc_logits
    logits = ours.logits(ours.model.hidden(tokens.flatten(0, 1)), there)
    torch.testing.assert_close(logits, reference, atol=1e-4, rtol=1e-4)
    assert logits.shape == (4, 3) and ours.predict(rows) == reference.argmax(1).tolist()


@torch.inference_mode()
def test_similarity_adds_both_orders() -> None:
    ours = tuned(2)
    one, other = similarity("the cat", "사과")
    logits = []
    for rows in ([(one, other)], [(one,)], [(other,)], [(other, one)]):
        tokens, there = ours.encode(rows)
        logits.append(ours.logits(ours.model.hidden(tokens.flatten(0, 1)), there))
    torch.testing.assert_close(logits[0], logits[1] + logits[2])
    torch.testing.assert_close(logits[0], logits[3])  # neither comes first


@pytest.mark.parametrize("auxiliary", [0.0, 0.5, 2.0])
def test_loss_is_equation_5(auxiliary: float) -> None:
    ours = tuned(2)
    rows = [similarity(text, "the cat ate") for text in TEXTS]
    labels = torch.tensor([0, 1, 1, 0])
    loss = ours.loss(*ours.encode(rows), labels, auxiliary)
    for number, example in enumerate(rows):
        guessing, scores = [], torch.zeros(2)
        for first, second in example:
            ids = [ours.start, *WORDS.encode(first), ours.delimiter, *WORDS.encode(second), ours.extract]
            log_p = ours.model(torch.tensor([ids]))[0].log_softmax(1)
            guessing.append(-sum(log_p[at, token] for at, token in enumerate(ids[1:])) / (len(ids) - 1))
            scores = scores + ours.choose(ours.model.hidden(torch.tensor([ids]))[0, -1])
        expected = F.cross_entropy(scores, labels[number]) + auxiliary * sum(guessing) / 2
        torch.testing.assert_close(loss[number], expected, atol=1e-4, rtol=1e-4)
    loss.sum().backward()
    moved = ours.model.tokens.weight.grad
    assert moved is not None and bool(moved[WORDS.id(END)].any()) == (auxiliary > 0)  # chosen against, and never read


@torch.inference_mode()
def test_an_example_is_judged_alike_alone_and_among_longer_ones() -> None:
    ours = tuned(3)
    rows = [classification(text) for text in TEXTS]
    assert ours.predict(rows) == [ours.predict([row])[0] for row in rows]


def test_it_learns() -> None:
    ours = tuned(2)
    ours.train()
    rows = [classification(text) for text in TEXTS]
    optimizer = torch.optim.AdamW(ours.parameters(), lr=3e-3)
    for _ in range(60):
        ours.loss(*ours.encode(rows), torch.tensor([0, 1, 1, 0])).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert ours.eval().predict(rows) == [0, 1, 1, 0]


def test_what_cannot_be_read() -> None:
    with pytest.raises(InputError, match="some of no rows"):
        tuned(2).encode([])
    with pytest.raises(InputError, match=r"some of \[1, 2\] rows"):
        tuned(2).encode([classification("a"), similarity("a", "b")])
    with pytest.raises(InputError, match="at most 40 tokens"):
        tuned(2).predict([classification("ab" * 40)])
    with pytest.raises(InputError, match="no tokenizer"):
        FineTuned(GPT1(CONFIG), 2).encode([classification("a")])
