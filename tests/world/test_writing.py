"""The world's text: true, the same in both languages, and silent about held-out pairs."""

from itertools import combinations

import pytest

from vlm_history.errors import InputError
from vlm_history.world import World, concepts
from vlm_history.world.grammar import LANGUAGES, plural_only
from vlm_history.world.splits import kept_for_knowledge, label_split, pair_split
from vlm_history.world.writing import NEEDS, TEXTS, facts, heroes, membership, story, write

WORLD = World()
BY_NAME = {language: {(c.ko if language == "ko" else c.en): c for c in concepts()} for language in LANGUAGES}


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_things_beside_each_other_are_pairs_of_the_split(split: str) -> None:
    """Read off the English text; a question names what may not be there, so only sentences that tell are read."""
    met = set()
    for kind in ("captions", "questions", "story"):
        for seed in range(60):
            text = write(WORLD, seed, "en", split, kind)
            named = {c.hexcode for s in text.split(". ") if "?" not in s for c in WORLD.reader.mentioned(s, "en")}
            kinds = {pair_split(*pair) for pair in combinations(sorted(named), 2)}
            assert kinds <= ({split, "train"} if kind == "story" else {split}), text
            met |= kinds
    assert split in met


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_concepts_of_one_kind_are_compared_if_they_are_a_pair(split: str) -> None:
    said = {membership(c, "ko"): c for c in concepts()}
    compared = 0
    for seed in range(300):
        sentences = write(WORLD, seed, "ko", split, "facts").removesuffix(".").split(". ")
        pair = sorted({said[sentence].hexcode for sentence in sentences if sentence in said})
        if len(pair) == 2:
            compared += 1
            assert pair_split(*pair) == split
    assert compared


def test_both_languages_tell_the_same() -> None:
    for kind in ("captions", "story"):
        for seed in range(40):
            korean, english = (
                {c.hexcode for c in WORLD.reader.mentioned(write(WORLD, seed, language, kind=kind), language)}
                for language in LANGUAGES
            )
            # in Korean a verb may begin as a name does: 말랐습니다 (was dry), 말 (horse)
            assert english and english <= korean and (korean == english or kind == "story")


def test_a_text_is_a_function_of_its_seed() -> None:
    for kind in (None, *TEXTS):
        for language in LANGUAGES:
            texts = [write(WORLD, seed, language, kind=kind) for seed in range(12)]
            assert texts == [write(World(), seed, language, kind=kind) for seed in range(12)]
            assert len(set(texts)) > 9
            assert all(text.endswith(".") and ".." not in text and "  " not in text for text in texts)


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_are_those_of_the_grammar(language: str) -> None:
    for seed in range(60):
        sentences = write(WORLD, seed, language, kind="captions").removesuffix(".").split(". ")
        told = {WORLD.reader.parse(sentence, language) for sentence in sentences}
        assert len(told) == 1 and None not in told
        assert len(set(sentences)) == len(sentences)


def test_both_says_it_twice() -> None:
    for seed in range(20):
        for language, other in (LANGUAGES, LANGUAGES[::-1]):
            first, second = write(WORLD, seed, language, kind="both").removesuffix(".").split(". ")
            assert WORLD.reader.parse(first, language) == WORLD.reader.parse(second, other)


def test_kinds_are_told_of_every_concept() -> None:
    """Also of those that no question about a picture asks: only text teaches them."""
    kept = [c for c in concepts() if kept_for_knowledge(c.hexcode)]
    assert kept
    for concept in kept:
        for language in LANGUAGES:
            assert membership(concept, language) in facts(concept, language, lambda: 0.5)


def test_sentences_about_concepts() -> None:
    def of(name: str, language: str) -> str:
        return membership(WORLD.concept(name), language)

    assert of("cat", "en") == "a cat is an animal"
    assert of("cat", "ko") == "고양이는 동물입니다"
    assert of("bread", "en") == "bread is food"
    assert of("scissors", "en") == "scissors are stationery"
    assert of("gloves", "en") == "gloves are fashion items"
    assert of("tornado", "en") == "a tornado is part of nature"
    assert of("tornado", "ko") == "회오리바람은 자연의 일부입니다"
    told = facts(WORLD.concept("fish"), "en", lambda: 0.0)
    assert {"one fish, two fish", "the Korean word for fish is 물고기", "is a fish a sea creature? yes"} <= set(told)
    told = facts(WORLD.concept("cat"), "ko", lambda: 0.0)
    assert {"고양이 한 마리, 고양이 두 마리", "고양이는 영어로 cat입니다", "고양이는 동물인가요? 네"} <= set(told)
    assert [c.en for c in concepts() if plural_only(c) and c.category == "fruit"] == ["grapes"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_right_deed_helps_and_the_wrong_one_does_not(language: str) -> None:
    needs = set()
    for seed in range(200):
        told = story(seed, language)
        named = [WORLD.reader.mentioned(deed, language) for deed in (told.right, told.wrong)]
        right, wrong = (next(c for c in things if c not in heroes()) for things in named)
        need = next(n for n in NEEDS if (n.ko if language == "ko" else n.en)[0] in told.before)
        needs.add(need)
        assert right.category in need.categories and wrong.category not in need.categories
        name, other = (c.ko if language == "ko" else c.en for c in (right, wrong))
        assert name in told.answer and name in told.before and other in told.before
        assert told.text.startswith(told.before) and told.right in told.text and told.wrong not in told.text
    assert needs == set(NEEDS)


def test_particles_follow_their_words() -> None:
    """What hangulpy writes, read back: no word before a particle that it does not take."""
    stories = " ".join(story(seed, "ko").text for seed in range(200))
    assert "{" not in stories and "/" not in stories
    for concept in heroes():
        ending = (ord(concept.ko[-1]) - ord("가")) % 28
        right, wrong = ("은", "는") if ending else ("는", "은")
        assert f" {concept.ko}{wrong} " not in stories
        if f"{concept.ko} 한 마리" in stories:
            assert f"{concept.ko}{right} " in stories


def test_labels_of_text_tasks_are_split_by_concept() -> None:
    of = [label_split(c.hexcode) for c in concepts()]
    assert set(of) == {"train", "validation"} and 0.7 < of.count("train") / len(of) < 0.9
    taught = {c.category for c in concepts() if label_split(c.hexcode) == "train"}
    assert taught == {c.category for c in concepts()}


def test_what_is_asked_for_is_checked() -> None:
    with pytest.raises(InputError, match="a kind among captions"):
        write(WORLD, 0, "ko", kind="poem")
    with pytest.raises(InputError, match="a split among train"):
        write(WORLD, 0, "ko", split="trian")
    with pytest.raises(InputError, match="a split among train"):
        story(0, "ko", split="trian")
    with pytest.raises(InputError, match='"ko" or "en"'):
        write(WORLD, 0, "fr")
