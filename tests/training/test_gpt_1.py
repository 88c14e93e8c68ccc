"""GPT-1 learns: the world's tokens, rows of text, tasks that keep their splits, and what pre-training is worth."""

import json
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vlm_history.errors import InputError
from vlm_history.pretrain.gpt1 import END, GPT1, GPTConfig
from vlm_history.systems import find, load_from
from vlm_history.training import recipes, text_tasks, texts
from vlm_history.training.experiments import finetuning
from vlm_history.training.experiments.finetuning import DEPTH, FineTuning, Learn, way
from vlm_history.training.loop import train
from vlm_history.training.recipes.gpt_1 import Guess, Reading
from vlm_history.training.scenes import world
from vlm_history.training.text_tasks import TASKS, ZERO_SHOT, zero_shot
from vlm_history.training.texts import reading, unread, vocabulary
from vlm_history.world.concepts import CATEGORIES
from vlm_history.world.grammar import LANGUAGES
from vlm_history.world.splits import label_split, pair_split
from vlm_history.world.writing import write

SMALL = GPTConfig(4_000, length=128, width=16, depth=DEPTH, heads=2, dropout=0.0)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same networks, much narrower."""
    monkeypatch.setattr(GPTConfig, "world", classmethod(lambda cls, vocabulary: replace(SMALL, vocabulary=vocabulary)))


def test_the_vocabulary_reads_training_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def watching(*chosen: Any, **named: Any) -> str:
        asked.append(named["split"])
        return write(*chosen, **named)

    monkeypatch.setattr(texts, "write", watching)
    monkeypatch.setattr(texts, "CORPUS", 200)
    assert len(texts.vocabulary.__wrapped__()) > 1500
    assert len(asked) == 400 and set(asked) == {"train"}


def test_the_vocabulary_is_small_and_says_everything() -> None:
    words = vocabulary()
    assert len(words) == texts.VOCABULARY and words.specials == (END,)
    for language in LANGUAGES:
        for text in unread(10, language):
            ids = words.encode(text)
            assert words.decode(ids) == text and len(ids) < len(text.encode()) / 2
            assert len(ids) < GPTConfig.world(len(words)).length
    whole = [[len(words.encode(f" {name}")) <= len(name.split()) for name in names]
             for names in zip(*((c.ko, c.en) for c in world().concepts), strict=True)]  # fmt: skip
    assert [round(sum(of) / len(of), 1) for of in whole] == [0.5, 0.8]  # as texts.VOCABULARY says


def test_rows_are_texts_one_after_another() -> None:
    words = vocabulary()
    rows = reading(1, 2, range(4), 4, 129, (("story", 0.5), ("both", 0.5)))
    assert rows.shape == (4, 129) and (rows[:, 0] == words.id(END)).all()
    for row in rows.tolist():
        ends = [at for at, token in enumerate(row) if token == words.id(END)]
        assert len(ends) > 1
        for start, end in pairwise(ends):
            assert words.decode(row[start:end]).endswith(".")
    everything = reading(1, 2, range(4), 4, 129, (("story", 1.0),))
    assert any("마리" in words.decode(row) for row in everything.tolist())
    assert any("there" in words.decode(row) for row in everything.tolist())


def test_it_learns_and_is_written(tmp_path: Path, small: None) -> None:
    quick = recipes.get("gpt-1", quick=True)
    stage = replace(quick.stages[0], steps=18, batch_size=4, evaluate_every=6, warmup=2, looks=2)  # type: ignore[call-arg]  # a stage of its own
    train(replace(quick, stages=(stage,)), tmp_path / "out", workers=0, progress_bar=False)
    history = json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))["history"]
    told = {"perplexity_ko", "perplexity_en", *(f"zero_shot_{name}" for name in ZERO_SHOT)}
    assert all(told <= look.keys() for look in history)
    for name in ("loss", "perplexity_ko", "perplexity_en"):
        assert all(later[name] < earlier[name] for earlier, later in pairwise(history)), name
    model = load_from(find("gpt-1"), tmp_path / "out")
    assert isinstance(model, GPT1) and model.words().encode("고양이") == vocabulary().encode("고양이")
    assert model.write("고양이", new=4).startswith("고양이")


def test_the_loss_is_that_of_the_next_token(small: None) -> None:
    stage = recipes.get("gpt-1").stages[0]
    assert isinstance(stage, Reading)
    torch.manual_seed(0)
    module = stage.build(None).eval()
    assert isinstance(module, Guess)
    batch = stage.batch(0, 0, range(2))
    assert batch["tokens"].shape == (2, 129)
    total, weight = module(**batch)
    log_p = module.model(batch["tokens"][:, :-1]).log_softmax(2)
    expected = -sum(log_p[b, t, batch["tokens"][b, t + 1]] for b in range(2) for t in range(128))
    assert weight == 256
    torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-3)


def test_the_network_that_is_trained() -> None:
    config = GPTConfig.world(len(vocabulary()))
    assert config.depth == DEPTH and config.dropout == 0
    with torch.device("meta"):
        assert sum(p.numel() for p in GPT1(config).parameters()) == 3_461_760


def _named(texts_of: tuple[str, ...]) -> set[str]:
    """The concepts that are named, in whatever language."""
    return {c.hexcode for text in texts_of for it in LANGUAGES for c in world().reader.mentioned(text, it)}


@pytest.mark.parametrize("split", ["train", "validation"])
def test_tasks_keep_to_their_split(split: str) -> None:
    for example in TASKS["kind"].examples(60, split):
        (concept,) = world().reader.mentioned(example.rows[0][0], "ko") or world().reader.mentioned(
            example.rows[0][0], "en"
        )
        assert label_split(concept.hexcode) == split
        assert list(CATEGORIES)[example.label] == concept.category
    for name in ("entailment", "similarity"):
        for example in TASKS[name].examples(60, split):
            named = [_named((text,)) for text in example.rows[0]]
            pairs = {pair_split(*pair) for of in named for pair in combinations(sorted(of), 2)}
            assert pairs == {split}
            every = {pair_split(*pair) for pair in combinations(sorted(named[0] | named[1]), 2)}
            assert every <= {split, "train"}


def test_labels_are_true() -> None:
    reader = world().reader

    def parsed(text: str) -> Any:
        return reader.parse(text, "ko") or reader.parse(text, "en")

    labels = set()
    for example in TASKS["entailment"].examples(200, "validation"):
        premise, hypothesis = (parsed(text) for text in example.rows[0])
        labels.add(example.label)
        seen = {m.hexcode for m in premise.mentions}
        if hypothesis is None:  # there is an animal
            kinds = {world().concept(hexcode).category for hexcode in seen}
            said = [
                k
                for k in kinds
                if CATEGORIES[k]["en"] in example.rows[0][1] or CATEGORIES[k]["ko"] in example.rows[0][1]
            ]
            assert bool(said) == (example.label == 0), example
        else:
            told = {m.hexcode for m in hypothesis.mentions}
            follows = hypothesis == premise or (hypothesis.kind == "one" and told <= seen)
            contradicts = hypothesis.kind == "pair" and told == seen and hypothesis != premise
            assert example.label == (0 if follows else 1 if contradicts else 2), example
        assert example.rows[0][0] != example.rows[0][1]
    assert labels == {0, 1, 2}
    for example in TASKS["similarity"].examples(120, "validation"):
        one, other = example.rows[0]
        assert example.rows[1] == (other, one) and one != other
        assert (parsed(one) == parsed(other)) == bool(example.label)
    for example in TASKS["ending"].examples(60, "validation"):
        (context, first), (again, second) = example.rows
        assert context == again and first != second


def test_tasks_are_in_both_languages_and_balanced() -> None:
    for name, task in TASKS.items():
        examples = task.examples(200, "train")
        assert examples[:50] == task.examples(50, "train")
        english = [example.rows[0][0].isascii() for example in examples]
        assert 60 < sum(english) < 140
        if task.chance >= 1 / 3:
            counts = [[e.label for e in examples].count(label) / 200 for label in range(round(1 / task.chance))]
            assert all(abs(share - task.chance) < 0.12 for share in counts), name


class Reader:
    """Finds some texts likely, each after what is given."""

    def __init__(self, likely: set[tuple[str, str]]) -> None:
        self.likely = likely

    def log_probability(self, texts: list[str], given: list[str]) -> list[list[float]]:
        return [[-1.0, -1.0] if pair in self.likely else [-3.0] for pair in zip(given, texts, strict=True)]


def test_zero_shot_asks_for_the_likeliest() -> None:
    right = set()
    for name, draw in ZERO_SHOT.items():
        for number in range(5):
            lots = Random(f"zero-shot/{name}/{number}")
            choice = draw(lots, lots.choice(LANGUAGES))
            right.add((choice.given, choice.options[0]))
    assert zero_shot(Reader(right), 5) == dict.fromkeys(ZERO_SHOT, 1.0)  # type: ignore[arg-type]  # no GPT
    assert zero_shot(Reader(set()), 5) == dict.fromkeys(ZERO_SHOT, 0.0)  # type: ignore[arg-type]  # no GPT


def test_zero_shot_options_are_right_first() -> None:
    reader = world().reader
    for number in range(40):
        lots = Random(number)
        language = lots.choice(LANGUAGES)
        kind = ZERO_SHOT["kind"](lots, language)
        assert len(set(kind.options)) == len(CATEGORIES)
        (concept,) = reader.mentioned(kind.given, language)
        category = (
            "자연" if language == "ko" and concept.category == "nature" else CATEGORIES[concept.category][language]
        )
        assert category in kind.options[0]
        translation = ZERO_SHOT["translation"](lots, language)
        other = next(it for it in LANGUAGES if it != language)
        fact = reader.parse(translation.given.removesuffix("."), other)
        told = [reader.parse(option.strip().removesuffix("."), language) for option in translation.options]
        assert fact is not None and told[0] == fact and told[1] not in (fact, None)
        answer = ZERO_SHOT["answer"](lots, language)
        assert len(answer.options) == 2 and "?" in answer.given


def _stage(recipe: Any, **changed: Any) -> FineTuning:
    stage = recipe.stages[0]
    assert isinstance(stage, FineTuning)
    return replace(stage, **changed)


@pytest.fixture
def expert(monkeypatch: pytest.MonkeyPatch, small: None) -> GPT1:
    """A GPT-1 with random weights, in the place of the shipped one."""
    torch.manual_seed(5)
    model = GPT1(GPTConfig.world(len(vocabulary())), vocabulary()).eval()
    monkeypatch.setattr(finetuning, "expert", lambda name, recipe: model)
    return model


def test_ways_differ_in_what_they_say() -> None:
    hashes = {
        way(task, n, pretrained=ready).hash
        for task in TASKS
        for n in finetuning.LABELLED[::2]
        for ready in (True, False)
    }
    hashes |= {way("kind", layers=n).hash for n in range(DEPTH + 1)} | {way("kind", auxiliary=0.0).hash}
    assert len(hashes) == 16 + DEPTH + 1
    assert way("kind").hash == way("kind", layers=DEPTH).hash
    assert way("kind", pretrained=False).hash == way("kind", pretrained=False, layers=2).hash


@pytest.mark.parametrize("layers", [0, 2, DEPTH])
def test_layers_are_transferred_from_below(layers: int, expert: GPT1) -> None:
    torch.manual_seed(0)
    module = _stage(way("kind", 8, layers=layers)).build(None)
    assert isinstance(module, Learn)
    known, begun = expert.state_dict(), module.model.model.state_dict()
    assert torch.equal(begun["tokens.weight"][:-3], known["tokens.weight"])
    for number in range(DEPTH):
        block = {name: tensor for name, tensor in known.items() if name.startswith(f"blocks.{number}.")}
        assert all(torch.equal(begun[name], tensor) for name, tensor in block.items()) == (number < layers)


def test_without_pretraining_nothing_is_transferred(expert: GPT1) -> None:
    module = _stage(way("kind", 8, pretrained=False)).build(None)
    assert isinstance(module, Learn)
    assert not torch.equal(module.model.model.tokens.weight[:-3], expert.tokens.weight)


def test_every_labelled_example_is_seen_as_often() -> None:
    stage = _stage(way("kind", 24), batch_size=8)
    numbers = [n for index in range(6) for n in stage.batch(3, index, range(8))["numbers"].tolist()]
    assert sorted(numbers) == sorted(2 * list(range(24))) and numbers[:24] != numbers[24:]
    assert stage.batch(3, 1, range(4, 8))["numbers"].tolist() == numbers[12:16]


@pytest.mark.parametrize("task", TASKS)
def test_a_way_is_trained_and_read_off_its_card(
    task: str, expert: GPT1, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VLM_HISTORY_CACHE", str(tmp_path))
    recipe = way(task, 8)
    tiny = replace(recipe, stages=(_stage(recipe, steps=4, batch_size=4, evaluate_every=4, looks=70),))
    reached = finetuning.accuracy(tiny)
    assert 0 <= reached <= 1 and reached == finetuning.accuracy(tiny)
    if task == "kind":
        assert reached < 0.5


def test_another_gpt_is_refused(expert: GPT1) -> None:
    expert.tokenizer = type(vocabulary())([], [END])
    with pytest.raises(InputError, match="the world's tokens"):
        _stage(way("kind", 8)).build(None)


def test_updates_are_read_off_the_card(expert: GPT1, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    looks = [{"step": step, "loss": 1.0, **{f"zero_shot_{name}": 0.5 for name in ZERO_SHOT}} for step in (100, 200)]
    (tmp_path / "card.json").write_text(json.dumps({"history": looks}), encoding="utf-8")
    monkeypatch.setattr(finetuning, "find", lambda name: SimpleNamespace(weights=tmp_path))
    assert finetuning.by_updates() == {name: {100: 0.5, 200: 0.5} for name in ZERO_SHOT}


def test_what_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetuning, "accuracy", lambda recipe: recipe.stages[0])
    layers = finetuning.by_layers()
    assert [stage.layers for stage in layers["kind"]] == [0, *finetuning.LAYERS]  # type: ignore[attr-defined]  # a stage of its own
    assert finetuning.LAYERS[0] == 0 and finetuning.LAYERS[-1] == DEPTH
    assert [bool(stage.gpt) for stage in layers["kind"]] == [False] + [True] * len(finetuning.LAYERS)  # type: ignore[attr-defined]  # a stage of its own
    labels = finetuning.by_labels()
    assert set(labels) == set(TASKS)
    assert [stage.labelled for stage in labels["ending"][False]] == list(finetuning.LABELLED)  # type: ignore[attr-defined]  # a stage of its own
    on, off = finetuning.by_auxiliary()["similarity"]
    assert (on.auxiliary, off.auxiliary) == (0.5, 0.0)  # type: ignore[attr-defined]  # a stage of its own


def test_tasks_are_named_after_the_transformations() -> None:
    assert [len(task.examples(1, "train")[0].rows) for task in TASKS.values()] == [1, 1, 2, 2]
    assert text_tasks.TASKS["ending"].labels == 1
