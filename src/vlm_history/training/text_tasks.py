"""What a language model can be taught with few examples, or asked without any: tasks made from the world's text.

Four to be fine-tuned on, one for each of the paper's input transformations. None is about held-out things: training
examples name pairs, or label concepts, of the split "train", and those that accuracy is measured on of "validation".

| task | question | labels |
|---|---|---|
| kind | of what kind is the thing in this caption? Measured on things that were never labelled | 22 |
| entailment | does the second sentence follow from the first, contradict it, or neither? | 3 |
| similarity | do two sentences, in one language or in both, say the same? | 2 |
| ending | which of two deeds belongs to this story? | 2 |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import NamedTuple

from hangulpy import josa

from vlm_history.pretrain.finetuning import Rows, classification, entailment, multiple_choice, similarity
from vlm_history.pretrain.gpt1 import GPT
from vlm_history.training.scenes import world
from vlm_history.world.concepts import CATEGORIES, Concept
from vlm_history.world.grammar import LANGUAGES, RELATIONS, YES_NO, Fact, Mention, captions, pair_fact
from vlm_history.world.splits import label_split, pair_split
from vlm_history.world.writing import be, kind_of, membership, story


class Example(NamedTuple):
    """One example: what is read, and the number of the right label."""

    rows: Rows
    label: int


@dataclass(frozen=True)
class Task:
    """A task to be fine-tuned on.

    Attributes:
        draw: (lots, language, split) -> an example; the split is "train" or "validation".
        labels: how many there are; 1 where the rows of an example are what is chosen from.
        chance: the accuracy of guessing.
    """

    draw: Callable[[Random, str, str], Example]
    labels: int
    chance: float

    def examples(self, n: int, split: str) -> list[Example]:
        """The first `n` examples of a split, the languages by lot."""
        drawn = []
        for number in range(n):
            lots = Random(f"{self.draw.__name__}/{split}/{number}")
            drawn.append(self.draw(lots, lots.choice(LANGUAGES), split))
        return drawn


# Categories that a reader would not keep apart: a chicken is a bird here, and an animal to anybody.
_NEAR = (
    {"animal", "bird", "bug", "sea"},
    {"plant", "fruit", "vegetable", "food", "drink"},
    {"clothing", "fashion"},
    {"toy", "sport", "party"},
    {"tool", "device", "household", "stationery"},
)


def _say(fact: Fact, language: str, lots: Random, but: str = "") -> str:
    """One of the fact's captions, other than one that is said already."""
    return lots.choice([said for said in captions(fact, world().reader.names, language) if said != but])


def _there_is(concept: Concept, language: str, lots: Random) -> str:
    return _say(Fact("one", (Mention(concept.hexcode),)), language, lots)


def _there_is_some(concept: Concept, language: str) -> str:
    """What follows from there being a cat: "there is an animal", "동물이 있다"."""
    kind = kind_of(concept, concept.category, language)
    return f"{josa(kind, '이/가')} 있다" if language == "ko" else f"there {be(concept)} {kind}"


@cache
def _labelled(split: str) -> tuple[Concept, ...]:
    return tuple(c for c in world().concepts if label_split(c.hexcode) == split)


def _two(lots: Random, split: str) -> tuple[Concept, Concept]:
    """Two concepts that are a pair of the split."""
    while True:
        one, other = lots.sample(world().concepts, 2)
        if pair_split(one.hexcode, other.hexcode) == split:
            return one, other


def _third(lots: Random, split: str, one: Concept, other: Concept) -> Concept:
    """A concept that is a pair of the split with the first, and held out with neither."""
    while True:
        third = lots.choice(world().concepts)
        pairs = [pair_split(known.hexcode, third.hexcode) for known in (one, other)]
        if third not in (one, other) and pairs[0] == split and pairs[1] in ("train", split):
            return third


def _beside(lots: Random, one: Concept, other: Concept) -> Fact:
    return pair_fact(Mention(one.hexcode), lots.choice(RELATIONS), Mention(other.hexcode))


def _swapped(fact: Fact) -> Fact:
    """The same words, and another fact: who is where, the other way round."""
    return replace(fact, mentions=fact.mentions[::-1])


def _kind(lots: Random, language: str, split: str) -> Example:
    concept = lots.choice(_labelled(split))
    return Example(classification(_there_is(concept, language, lots)), list(CATEGORIES).index(concept.category))


def _entailment(lots: Random, language: str, split: str) -> Example:
    """0: it follows; 1: it is contradicted; 2: it may be so or not."""
    one, other = _two(lots, split)
    third = _third(lots, split, one, other)
    fact, label = _beside(lots, one, other), lots.randrange(3)
    premise = _say(fact, language, lots)
    if label == 0:
        seen = lots.choice((one, other))
        told = [_say(fact, language, lots, but=premise), _there_is(seen, language, lots)]
        told += [_there_is_some(seen, language)] if seen.category != "nature" else []
    elif label == 1:
        told = [_say(_swapped(fact), language, lots)]
    else:
        told = [_say(_beside(lots, one, third), language, lots), _there_is(third, language, lots)]
        near = next((group for group in _NEAR if third.category in group), {third.category})
        if third.category != "nature" and not near & {one.category, other.category}:
            told.append(_there_is_some(third, language))
    return Example(entailment(premise, lots.choice(told)), label)


def _similarity(lots: Random, language: str, split: str) -> Example:
    """1: both say the same; 0: who is where is the other way round, or one of them is another."""
    one, other = _two(lots, split)
    fact, label = _beside(lots, one, other), lots.randrange(2)
    said = _say(fact, language, lots)
    meant = fact
    if label == 0 and lots.random() < 0.5:
        meant = _swapped(fact)
    elif label == 0:
        third = _third(lots, split, one, other)
        kept = [Mention(third.hexcode) if m.hexcode == other.hexcode else m for m in fact.mentions]
        meant = replace(fact, mentions=tuple(kept))
    return Example(similarity(said, _say(meant, lots.choice(LANGUAGES), lots, but=said)), label)


def _ending(lots: Random, language: str, split: str) -> Example:
    told, right = story(lots.getrandbits(40), language, split), lots.randrange(2)
    return Example(multiple_choice(told.before, (told.wrong, told.right) if right else (told.right, told.wrong)), right)


TASKS: dict[str, Task] = {
    "kind": Task(_kind, len(CATEGORIES), 1 / len(CATEGORIES)),
    "entailment": Task(_entailment, 3, 1 / 3),
    "similarity": Task(_similarity, 2, 1 / 2),
    "ending": Task(_ending, 1, 1 / 2),
}
"""By name, in the order of section 3.3."""


class Choice(NamedTuple):
    """A question for a model that was taught no task: which of these goes on from there? The first one does."""

    given: str
    options: tuple[str, ...]


def _which_kind(lots: Random, language: str) -> Choice:
    concept = lots.choice(world().concepts)
    others = [key for key in CATEGORIES if key != concept.category]
    told = [membership(replace(concept, category=key), language) for key in (concept.category, *others)]
    given = josa(concept.ko, "은/는") if language == "ko" else f"{concept.singular} {be(concept)}"
    return Choice(given, tuple(f"{sentence.removeprefix(given)}." for sentence in told))


def _which_ending(lots: Random, language: str) -> Choice:
    told = story(lots.getrandbits(40), language, "validation")
    return Choice(told.before, (f" {told.right}", f" {told.wrong}"))


def _which_answer(lots: Random, language: str) -> Choice:
    scene = world().sample(lots.getrandbits(40), split="validation", kind="pair")
    asked = lots.choice([q for q in scene.questions(language) if q.kind == "yes_no" and "present" not in q.about])
    wrong = next(answer for answer in YES_NO[language] if answer != asked.answer)
    return Choice(f"{scene.caption(language)}. {asked.text}", (f" {asked.answer}.", f" {wrong}."))


def _which_translation(lots: Random, language: str) -> Choice:
    scene = world().sample(lots.getrandbits(40), split="validation", kind="pair")
    before = next(other for other in LANGUAGES if other != language)
    right, wrong = lots.choice(list(zip(scene.captions(language), scene.negatives(language), strict=True)))
    return Choice(f"{scene.caption(before)}.", (f" {right}.", f" {wrong}."))


ZERO_SHOT: dict[str, Callable[[Random, str], Choice]] = {
    "kind": _which_kind,
    "ending": _which_ending,
    "answer": _which_answer,
    "translation": _which_translation,
}
"""What can be asked of a model that only reads on (section 5, figure 2 at the right), all on validation pairs: of what
kind a thing is (22 to choose from), how a story goes on, yes or no to a question about a caption, and which of two
captions says the same in the other language (2 each)."""


def zero_shot(model: GPT, n: int) -> dict[str, float]:
    """Accuracy on each of `ZERO_SHOT`, on `n` questions: the option of the highest mean log p a token is the answer."""
    accuracy = {}
    for name, draw in ZERO_SHOT.items():
        choices = []
        for number in range(n):
            lots = Random(f"zero-shot/{name}/{number}")
            choices.append(draw(lots, lots.choice(LANGUAGES)))
        told = model.log_probability(
            [option for choice in choices for option in choice.options],
            given=[choice.given for choice in choices for _ in choice.options],
        )
        means = [sum(log_p) / len(log_p) for log_p in told]
        right, at = 0, 0
        for choice in choices:
            first, *others = means[at : at + len(choice.options)]
            right += first > max(others)
            at += len(choice.options)
        accuracy[name] = right / n
    return accuracy
