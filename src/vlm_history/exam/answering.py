"""The answering task: questions about scenes, on pairs of objects that training never showed together.

Five kinds of question, equally many of each and one a scene: what is there, where it is, how many there are, yes or
no, and of what category a thing is. Marks are the share of right answers by kind, and `all` of them together. The
same is asked on pictures by the held-out artist, under names that begin with "artist_".

`knowledge` asks for the category of things of which no question about a picture ever asked it: one in ten concepts,
which only text tells about. It is not counted in `all`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import count, islice
from random import Random
from typing import Any

from vlm_history.exam import metrics
from vlm_history.world import Fact, Mention, Question, Scene, World
from vlm_history.world.grammar import LANGUAGES, with_article
from vlm_history.world.questions import category_question
from vlm_history.world.splits import kept_for_knowledge

KINDS: dict[str, tuple[str, ...]] = {
    "what": ("pair", "one"),
    "where": ("pair",),
    # of one or two things: how many are there in all; of one to four of a kind: how many of them
    "how_many": ("count", "pair", "count", "one"),
    "yes_no": ("pair", "count", "one"),
    "category": ("pair", "count", "one"),
}
"""Kinds of question, each with the kinds of scene that take turns in being asked about."""
# Looked at together: enough to fill a core, small enough for any memory.
CHUNK = 128
# Scenes of a kind looked through for one that can be asked about; one in ten is the rarest there is.
LOOKS = 1000


@dataclass(frozen=True)
class Item:
    """One question of the exam: its kind (one of `KINDS`, or "knowledge"), its scene, and its words by language."""

    kind: str
    scene: Scene
    asked: dict[str, Question]


Answerer = Callable[[list[Item], str], list[str]]
"""Items and a language -> an answer each. Only baselines and the oracle look at more than pictures and questions."""


@dataclass(frozen=True)
class Paper:
    """One sheet of the exam: questions to be answered in one language."""

    prefix: str
    language: str
    items: list[Item]
    world: World


def draw(world: World, n: int, seed: int, split: str) -> list[Item]:
    """`n` questions, the kinds in turn, each about a scene of its own; then a fifth as many of knowledge.

    A kind that a reader's pack cannot be asked, having no concept for it, is left out.
    """
    lots = Random(f"answering/{split}/{seed}")
    supply = {
        kind: map(partial(world.sample, split=split, kind=kind), count(seed * 1_000_000_000))
        for kind in sorted({kind for kinds in KINDS.values() for kind in kinds})
    }
    items: list[Item | None] = []
    for i in range(n):
        kind = list(KINDS)[i % len(KINDS)]
        turns = KINDS[kind]
        items.append(_ask(kind, supply[turns[i // len(KINDS) % len(turns)]], lots))
    for _ in range(max(1, n // len(KINDS))):
        items.append(_ask_knowledge(supply["one"]))
        if items[-1] is None:
            break
    return [item for item in items if item is not None]


def _ask(kind: str, scenes: Iterator[Scene], lots: Random) -> Item | None:
    """A question of a kind about the next scene of which it can be asked."""
    for scene in islice(scenes, LOOKS):
        questions = {language: scene.questions(language) for language in LANGUAGES}
        rows = [row for row, question in enumerate(questions["ko"]) if question.kind == kind]
        if rows:
            row = rows[int(lots.random() * len(rows))]
            return Item(kind, scene, {language: questions[language][row] for language in LANGUAGES})
    return None


def _ask_knowledge(scenes: Iterator[Scene]) -> Item | None:
    for scene in islice(scenes, LOOKS):
        concept = scene.things[0].concept
        if kept_for_knowledge(concept.hexcode):
            return Item("knowledge", scene, {language: category_question(concept, language) for language in LANGUAGES})
    return None


def papers(world: World, n: int, seed: int) -> list[Paper]:
    """The sheets: both languages, training artists and held-out artist (a reader's pack has only its own)."""
    parts = [("", "test")] if world.pack is not None else [("", "test"), ("artist_", "test-artist")]
    return [
        Paper(prefix, language, items, world)
        for prefix, split in parts
        for items in [draw(world, n, seed, split)]
        for language in LANGUAGES
    ]


def plain(answer: str) -> str:
    """An answer without what does not count: capitals, outer and doubled spaces, the full stop."""
    return " ".join(answer.split()).rstrip(".?! ").lower()


def accepted(item: Item, language: str) -> list[str]:
    """The answer, and what says the same in as few words: "the cat" for "cat", "사과 왼쪽에" for "사과 왼쪽"."""
    answer, about, names = item.asked[language].answer, item.asked[language].about, item.scene.world.reader.names
    if item.kind == "what" and language == "en":
        return [answer, f"the {answer}", with_article(Mention(about[0]), names)]
    if item.kind == "where" and language == "en":
        side = answer.removesuffix(f"the {names[about[2]].en}")
        long = [answer, side + with_article(Mention(about[2]), names)]
        return [*long, *(each.removeprefix("to the ") for each in long)]
    if item.kind == "where":
        return [answer, *(answer + ending for ending in ("에", "에 있다", "에 있습니다"))]
    return [answer]


def is_right(item: Item, said: str, language: str) -> bool:
    """True if an answer is the true one in other words at most.

    Besides what is `accepted`, what and where may be answered by a sentence, if the grammar reads it as the fact.
    """
    if plain(said) in map(plain, accepted(item, language)):
        return True
    if item.kind not in ("what", "where"):
        return False
    facts = [item.scene.fact]
    if item.kind == "what":
        facts.append(Fact("one", (Mention(item.asked[language].about[0]),)))
    return item.scene.world.reader.parse(said.strip().rstrip(".?!"), language) in facts


def mark(paper: Paper, answers: list[str], seed: int = 0, resamples: int = 1000) -> dict[str, tuple[float, ...]]:
    """Mark one sheet.

    Args:
        paper: the sheet.
        answers: one for each of its items.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Returns:
        metric -> (value, low, high), the last two a 95 % bootstrap interval over questions.
    """
    right: dict[str, list[bool]] = {kind: [] for kind in (*KINDS, "all", "knowledge")}
    for item, said in zip(paper.items, answers, strict=True):
        verdict = is_right(item, said, paper.language)
        right[item.kind].append(verdict)
        if item.kind != "knowledge":
            right["all"].append(verdict)
    return {
        f"{paper.prefix}{kind}_{paper.language}": metrics.share(verdicts, seed, resamples)
        for kind, verdicts in right.items()
        if verdicts
    }


def can_sit(model: Any) -> bool:
    """True for systems that answer questions about pictures."""
    return hasattr(model, "answer")


def answerer(model: Any, world: World) -> Answerer:
    """A system as an answerer: it gets pictures, as many questions, and the language, nothing else."""

    def answer(items: list[Item], language: str) -> list[str]:
        said: list[str] = []
        for start in range(0, len(items), CHUNK):
            some = items[start : start + CHUNK]
            pictures = world.render([item.scene for item in some])
            said += model.answer(list(pictures), [item.asked[language].text for item in some], language=language)
        return said

    return answer


@cache
def _training_answers(looks: int = 3_000) -> dict[tuple[str, str], list[str]]:
    """(Kind, language) -> the answers to so many questions about training scenes, as often as they come."""
    found: dict[tuple[str, str], list[str]] = {}
    for item in draw(World(), looks, seed=0, split="train"):
        for language, question in item.asked.items():
            if item.kind != "knowledge":
                found.setdefault((item.kind, language), []).append(question.answer)
    return found


def chance(world: World, seed: int) -> Answerer:
    """The answer to some question of the same kind about a training scene."""

    def answer(items: list[Item], language: str) -> list[str]:
        lots = Random(f"chance/{seed}")
        return [lots.choice(_training_answers()[item.asked[language].kind, language]) for item in items]

    return answer


def most_frequent(world: World, seed: int) -> Answerer:
    """For each kind the answer most often met about training scenes; among equals, the first in order."""

    def answer(items: list[Item], language: str) -> list[str]:
        seen = {kind: Counter(_training_answers()[kind, language]) for kind in KINDS}
        best = {kind: min(said, key=lambda a, n=said: (-n[a], a)) for kind, said in seen.items()}  # type: ignore[misc]
        return [best[item.asked[language].kind] for item in items]

    return answer


def oracle(world: World, seed: int) -> Answerer:
    """The truth: a check of the exam itself."""
    return lambda items, language: [item.asked[language].answer for item in items]


def sit(candidate: Answerer, sheets: list[Paper], seed: int) -> dict[str, tuple[float, ...]]:
    """Let a candidate sit all sheets: metric -> (value, low, high)."""
    marks: dict[str, tuple[float, ...]] = {}
    for paper in sheets:
        marks |= mark(paper, candidate(paper.items, paper.language), seed)
    return marks
