"""The names: unique, short, plain, and such that a sentence made of them can only be read one way."""

import re

import pytest

from vlm_history.world.concepts import CATEGORIES, Concept, by_hexcode, canonical, concepts

ALL = concepts()
#: Particles that follow a noun in Korean captions.
PARTICLES = [
    "이",
    "가",
    "은",
    "는",
    "을",
    "를",
    "와",
    "과",
    "의",
    "도",
    "로",
    "으로",
    "에",
    "에서",
    "만",
    "나",
    "이나",
    "랑",
    "이랑",
    "까지",
    "부터",
]
#: Words that the grammars use for themselves.
WORDS_KO = set(
    [
        "한",
        "두",
        "세",
        "네",
        "하나",
        "둘",
        "셋",
        "넷",
        "큰",
        "작은",
        "위",
        "아래",
        "위쪽",
        "아래쪽",
        "왼쪽",
        "오른쪽",
        "옆",
        "그",
        "이",
        "저",
        "있다",
        "무엇",
        "몇",
    ]
)
WORDS_EN = set(
    [
        "a",
        "an",
        "the",
        "of",
        "is",
        "are",
        "one",
        "two",
        "three",
        "four",
        "big",
        "small",
        "left",
        "right",
        "above",
        "below",
        "with",
        "and",
        "to",
        "on",
        "in",
        "there",
    ]
)


def test_there_are_many() -> None:
    assert len(ALL) >= 650
    assert [concept.index for concept in ALL] == list(range(len(ALL)))
    assert len(by_hexcode()) == len(ALL)


@pytest.mark.parametrize("field", ["hexcode", "ko", "en"])
def test_unique(field: str) -> None:
    values = [getattr(concept, field) for concept in ALL]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("concept", ALL, ids=lambda concept: concept.en)
def test_names_are_short_and_plain(concept: Concept) -> None:
    assert re.fullmatch(r"[가-힣]+( [가-힣]+){0,2}", concept.ko)
    assert len(concept.ko.replace(" ", "")) <= 6
    assert re.fullmatch(r"[A-Za-z]+( [A-Za-z]+)?", concept.en)
    assert re.fullmatch(r"[A-Za-z]+( [A-Za-z]+)?", concept.plural)
    assert re.fullmatch(r"[가-힣]{1,2}", concept.counter)
    assert concept.category in CATEGORIES
    assert concept.article in ("a", "an", "")
    assert concept.keywords_en and concept.keywords_ko


def test_a_name_with_a_particle_is_no_other_name() -> None:
    names = {concept.ko for concept in ALL}
    assert not [(name, particle) for name in names for particle in PARTICLES if name + particle in names]


def test_no_name_holds_a_counter_or_a_word_of_the_grammar() -> None:
    counters = {concept.counter for concept in ALL}
    for concept in ALL:
        assert not set(concept.ko.split()) & (counters | WORDS_KO), concept.ko
        assert not set(concept.en.lower().split()) & WORDS_EN, concept.en


def test_no_plural_is_another_name() -> None:
    taken = {concept.en: concept for concept in ALL}
    assert not [concept.en for concept in ALL if taken.get(concept.plural, concept) is not concept]
    assert len({concept.plural for concept in ALL}) == len(ALL)


def test_no_name_is_a_category() -> None:
    for language in ("ko", "en"):
        assert not {getattr(concept, language) for concept in ALL} & {names[language] for names in CATEGORIES.values()}
        assert len({names[language] for names in CATEGORIES.values()}) == len(CATEGORIES)
    assert {concept.category for concept in ALL} == set(CATEGORIES)


@pytest.mark.parametrize(
    ("hexcode", "ko", "en", "plural", "counter", "singular"),
    [
        ("1F43A", "늑대", "wolf", "wolves", "마리", "a wolf"),
        ("1F392", "책가방", "backpack", "backpacks", "개", "a backpack"),
        ("1F333", "나무", "tree", "trees", "그루", "a tree"),
        ("1F697", "자동차", "car", "cars", "대", "a car"),
        ("1F41F", "물고기", "fish", "fish", "마리", "a fish"),
        ("1F401", "생쥐", "mouse", "mice", "마리", "a mouse"),
        ("1F984", "유니콘", "unicorn", "unicorns", "마리", "a unicorn"),
        ("231B", "모래시계", "hourglass", "hourglasses", "개", "an hourglass"),
        ("2602", "우산", "umbrella", "umbrellas", "개", "an umbrella"),
        ("2702", "가위", "scissors", "scissors", "개", "scissors"),
        ("1F350", "서양배", "pear", "pears", "개", "a pear"),
        ("1F330", "알밤", "chestnut", "chestnuts", "개", "a chestnut"),
    ],
)
def test_some_by_hand(hexcode: str, ko: str, en: str, plural: str, counter: str, singular: str) -> None:
    concept = by_hexcode()[canonical(hexcode)]
    assert (concept.ko, concept.en, concept.plural, concept.counter) == (ko, en, plural, counter)
    assert concept.singular == singular


def test_codes_compare_without_case_and_presentation() -> None:
    assert canonical("1F43B-200D-2744-FE0F") == canonical("1f43b-200d-2744") == "1f43b-200d-2744"
    assert by_hexcode()[canonical("1f43b-200d-2744-fe0f")].en == "polar bear"
