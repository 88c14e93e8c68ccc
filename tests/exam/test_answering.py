"""The answering task: the truth in any of its words, nothing else, and questions about held-out material only."""

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from vlm_history.exam import answering
from vlm_history.exam.answering import Item, Paper
from vlm_history.world import Scene, World
from vlm_history.world.questions import category_question
from vlm_history.world.splits import HELD_OUT_ARTIST, TRAIN_ARTISTS, kept_for_knowledge, pair_split

N = 60


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def sheets(world: World) -> list[Paper]:
    return answering.papers(world, N, seed=0)


def test_sheets_are_held_out(sheets: list[Paper]) -> None:
    assert [(s.prefix, s.language) for s in sheets] == [("", "ko"), ("", "en"), ("artist_", "ko"), ("artist_", "en")]
    for sheet in sheets:
        for item in sheet.items:
            codes = {thing.concept.hexcode for thing in item.scene.things}
            assert all(pair_split(a, b) == "test" for a, b in itertools.combinations(codes, 2))
            artist = item.scene.artist
            assert (artist == HELD_OUT_ARTIST) if sheet.prefix else (artist in TRAIN_ARTISTS)


def test_kinds_are_balanced_and_scenes_mixed(sheets: list[Paper]) -> None:
    for sheet in sheets:
        asked = Counter(item.kind for item in sheet.items)
        assert asked == dict.fromkeys((*answering.KINDS, "knowledge"), N // 5)
        shown = {(item.kind, item.scene.kind) for item in sheet.items if item.kind != "knowledge"}
        assert shown == {(kind, scene) for kind, scenes in answering.KINDS.items() for scene in scenes}
        assert len({(item.scene.kind, item.scene.seed) for item in sheet.items}) == len(sheet.items)


def test_questions_are_those_of_the_scenes(sheets: list[Paper]) -> None:
    for item in sheets[0].items:
        assert item.asked["ko"].about == item.asked["en"].about
        for language, question in item.asked.items():
            concept = item.scene.things[0].concept
            if item.kind == "knowledge":
                assert kept_for_knowledge(concept.hexcode)
                assert question == category_question(concept, language)
                assert question not in item.scene.questions(language)
            else:
                assert question in item.scene.questions(language) and question.kind == item.kind


def test_knowledge_is_asked_as_any_category(world: World) -> None:
    for scene in world.scenes(50, seed=1, kind="pair"):
        for language in ("ko", "en"):
            asked = [q for q in scene.questions(language) if q.kind == "category"]
            concepts = [t.concept for t in scene.things if not kept_for_knowledge(t.concept.hexcode)]
            assert asked == [category_question(concept, language) for concept in concepts]


def test_truth_gets_full_marks_and_nonsense_none(world: World, sheets: list[Paper]) -> None:
    marks = answering.sit(answering.oracle(world, 0), sheets, 0)
    kinds = (*answering.KINDS, "all", "knowledge")
    assert set(marks) == {f"{p}{kind}_{lang}" for p in ("", "artist_") for kind in kinds for lang in ("ko", "en")}
    assert set(marks.values()) == {(1.0, 1.0, 1.0)}
    for nonsense in ("", "ㅋㅋ zzz", "?"):
        wrong = answering.sit(lambda items, language, said=nonsense: [said] * len(items), sheets, 0)
        assert set(wrong.values()) == {(0.0, 0.0, 0.0)}


def item_of(scene: Scene, kind: str, row: int = 0) -> Item:
    asked = {language: [q for q in scene.questions(language) if q.kind == kind][row] for language in ("ko", "en")}
    return Item(kind, scene, asked)


def test_other_words_for_the_same_fact(world: World) -> None:
    pair = world.scene("고양이", "사과", relation="left")
    single = world.scene("미식축구공")
    counted = world.scene("고양이", number=2)
    right = [
        (item_of(pair, "what"), "ko", ["고양이", " 고양이. ", "고양이가 있습니다", "사과 왼쪽에 고양이가 있다"]),
        (item_of(pair, "what"), "en", ["cat", "Cat", "a cat", "the cat.", "there is a cat", "a cat left of an apple"]),
        (item_of(pair, "where"), "ko", ["사과 왼쪽", "사과 왼쪽에", "사과 왼쪽에 있습니다.",
                                        "고양이는 사과 왼쪽에 있습니다."]),
        (item_of(pair, "where"), "en", ["to the left of the apple", "left of the apple", "left of an apple",
                                        "To the left of an apple.", "a cat is to the left of an apple"]),
        (item_of(single, "what"), "en", ["American football", "an american football", "the American football"]),
        (item_of(counted, "how_many"), "ko", ["두 마리"]),
        (item_of(counted, "how_many"), "en", ["two", "Two."]),
    ]  # fmt: skip
    for item, language, answers in right:
        for said in answers:
            assert answering.is_right(item, said, language), said
    wrong = [
        (item_of(pair, "what"), "ko", ["사과", "고양이와 사과", "고양이을", "사과 오른쪽에 고양이가 있다"]),
        (item_of(pair, "what"), "en", ["apple", "an cat", "a cat and an apple", "a cat right of an apple"]),
        (item_of(pair, "where"), "ko", ["사과 오른쪽", "왼쪽", "고양이 왼쪽", "사과 왼쪽에 사과"]),
        (item_of(pair, "where"), "en", ["to the right of the apple", "to the left of the cat", "left", "of the apple"]),
        (item_of(counted, "how_many"), "ko", ["두 개", "세 마리", "둘"]),
        (item_of(pair, "yes_no"), "ko", ["아니요", "고양이"]),
    ]
    for item, language, answers in wrong:
        for said in answers:
            assert not answering.is_right(item, said, language), said


@pytest.mark.parametrize("make", [answering.chance, answering.most_frequent, answering.oracle])
def test_order_does_not_matter(make: Any, world: World, sheets: list[Paper]) -> None:
    sheet = sheets[0]
    answers = make(world, 0)(sheet.items, sheet.language)
    rows = list(range(len(answers)))
    Random(0).shuffle(rows)
    mixed = replace(sheet, items=[sheet.items[row] for row in rows])
    first, second = answering.mark(sheet, answers), answering.mark(mixed, [answers[row] for row in rows])
    assert {name: value for name, (value, _, _) in first.items()} == {n: value for n, (value, _, _) in second.items()}


def test_baselines_know_the_kind_and_nothing_of_the_picture(world: World, sheets: list[Paper]) -> None:
    sheet = sheets[1]
    said = answering.most_frequent(world, 0)(sheet.items, "en")
    assert len({(item.asked["en"].kind, answer) for item, answer in zip(sheet.items, said, strict=True)}) == 5
    for item, answer in zip(sheet.items, said, strict=True):
        assert item.kind != "yes_no" or answer in ("yes", "no")
        assert item.kind != "how_many" or answer in ("one", "two", "three", "four")
    marks = answering.sit(answering.chance(world, 0), sheets, 0)
    assert marks == answering.sit(answering.chance(world, 0), sheets, 0)
    for language in ("ko", "en"):
        assert marks[f"what_{language}"][0] == marks[f"where_{language}"][0] == 0
        assert 0.1 < marks[f"yes_no_{language}"][0] < 0.9


class Answerer:
    """Knows the sheets by heart, and keeps what it was shown."""

    def __init__(self, sheets: list[Paper]) -> None:
        self.known = {
            (item.scene.image().tobytes(), question.text): question.answer
            for sheet in sheets
            for item in sheet.items
            for question in item.asked.values()
        }
        self.seen: list[tuple[Any, Any]] = []

    def answer(self, images: Any, questions: Any, *, language: str) -> list[str]:
        self.seen.append((images, questions))
        return [self.known[image.tobytes(), text] for image, text in zip(images, questions, strict=True)]


def test_a_system_gets_pictures_and_questions_only(
    world: World, sheets: list[Paper], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "CHUNK", 32)
    model = Answerer(sheets)
    assert answering.can_sit(model) and not answering.can_sit(object())
    marks = answering.sit(answering.answerer(model, world), sheets, 0)
    assert set(marks.values()) == {(1.0, 1.0, 1.0)}
    for images, questions in model.seen:
        assert len(images) == len(questions) <= 32
        assert all(isinstance(x, np.ndarray) and x.shape == (64, 64, 3) and x.dtype == np.uint8 for x in images)
        assert all(isinstance(text, str) and text.endswith("?") for text in questions)
    assert sum(len(images) for images, _ in model.seen) == 4 * (N + N // 5)


def test_own_artwork(world: World, tmp_path: Path) -> None:
    """The kinds that a pack cannot be asked have no mark, and nothing hangs."""
    concepts = [c for c in world.drawn_by("noto") if not kept_for_knowledge(c.hexcode)][:20]
    kept = [c for c in world.drawn_by("noto") if kept_for_knowledge(c.hexcode)][:20]
    for drawn, missing in ((concepts, "knowledge"), (kept, "category")):
        pack = tmp_path / "mine.npz"
        np.savez(pack, rgba=np.stack([world.sprite(c, "noto") for c in drawn]), hexcode=[c.hexcode for c in drawn])
        own = World(artwork=pack)
        marks = answering.sit(answering.oracle(own, 0), answering.papers(own, 20, seed=0), 0)
        kinds = {*answering.KINDS, "all", "knowledge"} - {missing}
        assert set(marks) == {f"{kind}_{language}" for kind in kinds for language in ("ko", "en")}


def test_few_scenes(world: World) -> None:
    sheet = answering.papers(world, 2, seed=0)[0]
    assert [item.kind for item in sheet.items] == ["what", "where", "knowledge"]
    assert set(answering.mark(sheet, ["", "", ""])) == {"what_ko", "where_ko", "all_ko", "knowledge_ko"}
