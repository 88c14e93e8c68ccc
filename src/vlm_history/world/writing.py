"""What is written about the world: the text that language models learn from, in Korean and in English.

A text is a function of its seed, and tells the same in both languages. Two things that a text puts beside each other
are a pair of its split, as in pictures. Of what kind a concept is, text tells of every concept, also of those that no
question about a picture asks (`splits.kept_for_knowledge`): here they are taught.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import TypeVar

from hangulpy import josa

from vlm_history.errors import InputError
from vlm_history.world.concepts import CATEGORIES, Concept, concepts
from vlm_history.world.grammar import LANGUAGES, NUMBERS, YES_NO, check_language, plural_only
from vlm_history.world.questions import category_question
from vlm_history.world.scenes import Scene, World
from vlm_history.world.splits import SPLITS, pair_split

TEXTS = ("captions", "questions", "facts", "story", "both")
"""Kinds of text; "both" says the same in one language and then in the other."""

Draw = Callable[[], float]  # the type of Random.random
Item = TypeVar("Item")


def _one(items: Sequence[Item], draw: Draw) -> Item:
    return items[int(draw() * len(items))]


def _some(items: Sequence[Item], n: int, draw: Draw) -> list[Item]:
    """So many of them, or all, in an order by lot."""
    left = list(items)
    return [left.pop(int(draw() * len(left))) for _ in range(min(n, len(left)))]


def be(concept: Concept) -> str:
    """ "is" or "are", as the English name demands."""
    return "are" if plural_only(concept) else "is"


def kind_of(concept: Concept, category: str, language: str) -> str:
    """A category as it is said of a concept: "an animal", "vegetables" (of peas), "part of nature"; "동물"."""
    if category == "nature":
        return "자연의 일부" if language == "ko" else "part of nature"
    names = CATEGORIES[category]
    if language == "ko" or not names["article"]:
        return names[language]
    return f"{names['en']}s" if plural_only(concept) else f"{names['article']} {names['en']}"


def membership(concept: Concept, language: str) -> str:
    """The sentence that says of what kind a concept is: "a cat is an animal", "고양이는 동물입니다"."""
    kind = kind_of(concept, concept.category, language)
    if language == "ko":
        return f"{josa(concept.ko, '은/는')} {kind}입니다"
    return f"{concept.singular} {be(concept)} {kind}"


def facts(concept: Concept, language: str, draw: Draw) -> list[str]:
    """Sentences about a concept: its kind, how it is counted, its name in the other language, words that go with it.

    Args:
        concept: what they are about.
        language: "ko" or "en".
        draw: chooses among its keywords, and the kind that it is not.
    """
    korean = language == "ko"
    words = _some(concept.keywords_ko if korean else concept.keywords_en, 3, draw)
    other = _one([key for key in CATEGORIES if key != concept.category], draw)
    question = category_question(concept, language)
    told = [membership(concept, language), f"{question.text} {question.answer}"]
    for category, answer in zip((concept.category, other), YES_NO[language], strict=True):
        kind = kind_of(concept, category, language)
        asked = f"{josa(concept.ko, '은/는')} {kind}인가요?" if korean else f"{be(concept)} {concept.singular} {kind}?"
        told.append(f"{asked} {answer}")
    if korean:
        told.append(f"{josa(concept.ko, '은/는')} 영어로 {concept.en}입니다")
        told.append(f"{concept.ko} 한 {concept.counter}, {concept.ko} 두 {concept.counter}")
        told += [f"{concept.ko}에 어울리는 말: {', '.join(words)}"] if words else []
    else:
        told.append(f"the Korean word for {concept.en} is {concept.ko}")
        if concept.article:
            told.append(f"{NUMBERS['en'][1]} {concept.en}, {NUMBERS['en'][2]} {concept.plural}")
        told += [f"words that go with {concept.en}: {', '.join(words)}"] if words else []
    return told


@dataclass(frozen=True)
class Need:
    """What the hero of a story may want, of which categories the thing is that helps, and how that is said.

    `ko` and `en`: the want, the deed (in Korean with the particle of the thing), what comes of it, and the question.
    """

    categories: tuple[str, ...]
    ko: tuple[str, str, str, str]
    en: tuple[str, str, str, str]


NEEDS: tuple[Need, ...] = (
    Need(
        ("fruit", "vegetable", "food"),
        ("배가 고팠습니다", "을/를 먹었습니다", "그러자 배가 불렀습니다", "무엇을 먹었나요?"),
        ("was hungry", "ate", "then it was full", "what did the {} eat?"),
    ),
    Need(
        ("drink",),
        ("목이 말랐습니다", "을/를 마셨습니다", "그러자 목이 마르지 않았습니다", "무엇을 마셨나요?"),
        ("was thirsty", "drank", "then it was not thirsty any more", "what did the {} drink?"),
    ),
    Need(
        ("toy", "sport"),
        ("심심했습니다", "을/를 가지고 놀았습니다", "참 재미있었습니다", "무엇을 가지고 놀았나요?"),
        ("was bored", "played with", "that was fun", "what did the {} play with?"),
    ),
    Need(
        ("instrument",),
        ("음악이 그리웠습니다", "을/를 연주했습니다", "고운 소리가 났습니다", "무엇을 연주했나요?"),
        ("missed music", "played", "it made a sweet sound", "what did the {} play?"),
    ),
    Need(
        ("clothing",),
        ("새 옷이 갖고 싶었습니다", "을/를 입었습니다", "참 잘 어울렸습니다", "무엇을 입었나요?"),
        ("wanted new clothes", "put on", "it looked fine", "what did the {} put on?"),
    ),
    Need(
        ("vehicle",),
        ("멀리 가고 싶었습니다", "을/를 탔습니다", "그러고는 먼 곳으로 떠났습니다", "무엇을 탔나요?"),
        ("wanted to go far away", "took", "soon it was far away", "what did the {} take?"),
    ),
    Need(
        ("party",),
        ("잔치를 열고 싶었습니다", "을/를 준비했습니다", "잔치는 즐거웠습니다", "무엇을 준비했나요?"),
        ("wanted to have a party", "brought", "the party was fun", "what did the {} bring?"),
    ),
    Need(
        ("building",),
        ("쉴 곳이 필요했습니다", "으로/로 갔습니다", "거기서 푹 쉬었습니다", "어디로 갔나요?"),
        ("needed a place to rest", "went to", "there it rested well", "where did the {} go?"),
    ),
)
# Food and drink by category, but nothing that a story should let anyone eat or drink.
_UNFIT = frozenset((
    "salt shaker", "can", "lunch box", "takeout box", "honey pot", "ice cube", "sake", "champagne", "wine", "cocktail",
    "tropical drink", "beer", "whiskey",
))  # fmt: skip
_OPENINGS = {
    "ko": ("{} 한 마리가 살았습니다", "옛날에 {} 한 마리가 있었습니다", "먼 나라에 {} 한 마리가 살았습니다"),
    "en": ("there was {}", "once upon a time there was {}", "in a far land there lived {}"),
}
_FINDINGS = {
    "ko": ("길에서 {} {:을/를} 보았습니다", "앞에 {} {:이/가} 있었습니다", "둘러보니 {} {:이/가} 보였습니다"),
    # not "saw", which is a thing of the world
    "en": ("on its way it found {} and {}", "in front of it were {} and {}", "it looked around and found {} and {}"),
}


@dataclass(frozen=True)
class Story:
    """A small story in one language: somebody wants something, finds two things, and takes the one that helps.

    Attributes:
        before: the story up to the deed.
        right, wrong: the deed, with the thing that helps and with the other.
        after: what comes of it.
        question, answer: about the deed.
    """

    before: str
    right: str
    wrong: str
    after: str
    question: str
    answer: str

    @property
    def text(self) -> str:
        """The story as it goes."""
        return f"{self.before} {self.right} {self.after}"


@cache
def heroes() -> tuple[Concept, ...]:
    """Whoever can want something: what Korean counts as animals."""
    return tuple(c for c in concepts() if c.counter == "마리")


@cache
def _helpful(need: Need) -> tuple[Concept, ...]:
    return tuple(c for c in concepts() if c.category in need.categories and c.en not in _UNFIT)


@cache
def _useless(need: Need) -> tuple[Concept, ...]:
    return tuple(c for c in concepts() if c.category not in need.categories and c not in heroes())


def _pairs(split: str) -> str:
    if split not in SPLITS:
        raise InputError(f"expected a split among {', '.join(SPLITS)}, got {split!r}; choose one of these")
    return SPLITS[split][0]


def story(seed: int, language: str, split: str = "train") -> Story:
    """Draw lots for a story. The two things are a pair of the split; the hero makes no held-out pair with either.

    Args:
        seed: any integer; the same seed tells the same story in both languages.
        language: "ko" or "en".
        split: one of `splits.SPLITS`.

    Raises:
        InputError: no such language or split.
    """
    check_language(language)
    pairs = _pairs(split)
    draw = Random(f"story/{split}/{int(seed)}").random
    need = _one(NEEDS, draw)
    while True:
        hero, good, bad = (_one(pool, draw) for pool in (heroes(), _helpful(need), _useless(need)))
        with_hero = {pair_split(hero.hexcode, thing.hexcode) for thing in (good, bad)}
        if pair_split(good.hexcode, bad.hexcode) == pairs and with_hero <= {"train", pairs}:
            break
    first, second = (good, bad) if draw() < 0.5 else (bad, good)
    opening, finding = (int(draw() * 3) for _ in range(2))
    if language == "ko":
        want, deed, result, question = need.ko
        particle, verb = deed.split(" ", 1)
        found = _FINDINGS["ko"][finding].replace("{}", josa(first.ko, "와/과"))
        gap = found[found.index("{:") : found.index("}") + 1]
        found = found.replace(gap, josa(second.ko, gap[2:-1]))
        sentences = [_OPENINGS["ko"][opening].format(hero.ko), f"{josa(hero.ko, '은/는')} {want}", found]
        right, wrong = (f"{josa(hero.ko, '은/는')} {josa(thing.ko, particle)} {verb}." for thing in (good, bad))
        asked, answer = f"{josa(hero.ko, '은/는')} {question}", good.ko
    else:
        want, deed, result, question = need.en
        found = _FINDINGS["en"][finding].format(first.singular, second.singular)
        sentences = [_OPENINGS["en"][opening].format(hero.singular), f"the {hero.en} {want}", found]
        right, wrong = (f"the {hero.en} {deed} the {thing.en}." for thing in (good, bad))
        asked, answer = question.format(hero.en), f"the {good.en}"
    before = " ".join(f"{sentence}." for sentence in sentences)
    return Story(before, right, wrong, f"{result}.", asked, answer)


def _captions(scene: Scene, language: str, draw: Draw) -> list[str]:
    return _some(scene.captions(language), 1 + int(draw() * 3), draw)


def _questions(scene: Scene, language: str, draw: Draw) -> list[str]:
    """A caption, then what can be asked of it: some questions, or a conversation."""
    told = _one(scene.captions(language), draw)
    asked = [(question.text, question.answer) for question in scene.questions(language)]
    turns = scene.dialogue(language) if draw() < 0.25 else _some(asked, 3, draw)
    return [told, *(f"{question} {answer.removesuffix('.')}" for question, answer in turns)]


def _facts(concept: Concept, language: str, draw: Draw, pairs: str) -> list[str]:
    """Some facts about a concept and, now and then, about one that is of its kind, too."""
    told = facts(concept, language, draw)
    several = _some(told, 2 + int(draw() * 3), draw)
    like = [c for c in concepts() if c.category == concept.category and c != concept]
    other = _one(like, draw)
    if draw() < 0.3 and pair_split(concept.hexcode, other.hexcode) == pairs:
        several += [membership(concept, language), membership(other, language)]
    return several


def write(world: World, seed: int, language: str, split: str = "train", kind: str | None = None) -> str:
    """Draw lots for a text.

    Args:
        world: whose scenes are told of.
        seed: any integer; the same seed gives the same text, in both languages but for the words.
        language: "ko" or "en"; for "both", the one that comes first.
        split: one of `splits.SPLITS`: which pairs of concepts may stand beside each other.
        kind: one of `TEXTS`; None lets the seed choose.

    Raises:
        InputError: no such language, split or kind.
    """
    check_language(language)
    if kind is not None and kind not in TEXTS:
        raise InputError(f"expected a kind among {', '.join(TEXTS)}, got {kind!r}; choose one of these")
    pairs = _pairs(split)
    draw = Random(f"text/{split}/{kind}/{int(seed)}").random
    kind = kind or _one(TEXTS, draw)
    if kind == "story":
        told = story(seed, language, split)
        return f"{told.text} {told.question} {told.answer}." if draw() < 0.5 else told.text
    if kind == "facts":
        sentences = _facts(_one(concepts(), draw), language, draw, pairs)
    elif kind == "both":
        scene = world.sample(int(draw() * 2**40), split)
        both = (language, *(other for other in LANGUAGES if other != language))
        sentences = [scene.caption(each) for each in both]
    else:
        scene = world.sample(int(draw() * 2**40), split)
        sentences = (_captions if kind == "captions" else _questions)(scene, language, draw)
    return " ".join(f"{sentence}." for sentence in sentences)
