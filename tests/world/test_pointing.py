"""Where a look peaks, whose name it belongs to, and whether the thing is there."""

from itertools import pairwise

import numpy as np
import pytest

from vlm_history.world import Scene, World
from vlm_history.world.pointing import Look, caption_of, cells, inside, named, on_object, peak

WORLD = World()


def look_at(x: float, y: float, rows: int = 8, columns: int = 8) -> Look:
    """A look with half of its weight on the cell of a point, the rest spread over all."""
    look = np.full((rows, columns), 0.5 / (rows * columns), dtype=np.float32)
    look[int(y * rows / 64), int(x * columns / 64)] += 0.5
    return look


def told(text: str, looks: dict[int, Look] | None = None) -> list[tuple[str, Look]]:
    """A caption's tokens, given with spaces between them, with looks for some and even ones for the others."""
    even = np.full((8, 8), 1 / 64, dtype=np.float32)
    return [(token, (looks or {}).get(i, even)) for i, token in enumerate(text.split())]


def pair(first: str, second: str, seed: int = 0) -> Scene:
    return WORLD.scene(first, second, relation="left", seed=seed, artist="twemoji")


@pytest.mark.parametrize(
    ("row", "column", "shape", "expected"),
    [(2, 5, (8, 8), (44.0, 20.0)), (0, 0, (14, 14), (64 / 28, 64 / 28)), (3, 1, (4, 8), (12.0, 56.0))],
)
def test_the_peak_is_the_middle_of_its_cell(row, column, shape, expected) -> None:  # type: ignore[no-untyped-def]
    look = np.zeros(shape, dtype=np.float32)
    look[row, column] = 1
    assert peak(look) == pytest.approx(expected)


def test_a_thing_is_the_square_around_its_centre() -> None:
    thing = pair("고양이", "사과").things[0]
    half = thing.size / 2
    assert inside(thing, thing.x, thing.y) and inside(thing, thing.x + half, thing.y - half)
    assert not inside(thing, thing.x + half + 1, thing.y) and not inside(thing, thing.x, thing.y - half - 1)


@pytest.mark.parametrize("shape", [(8, 8), (14, 14), (4, 8)])
def test_cells_are_those_whose_peak_would_be_inside(shape: tuple[int, int]) -> None:
    for thing in pair("고양이", "사과", seed=3).things:
        on = cells(thing, *shape)
        for row, column in np.ndindex(*shape):
            look = np.zeros(shape, dtype=np.float32)
            look[row, column] = 1
            assert on[row, column] == inside(thing, *peak(look))


def test_the_share_of_the_cells_is_about_that_of_the_area() -> None:
    things = [t for scene in WORLD.scenes(200, split="test", kind="pair") for t in scene.things]
    shares = [cells(t, 8, 8).mean() for t in things]
    assert np.mean(shares) == pytest.approx(np.mean([(t.size / 64) ** 2 for t in things]), rel=0.1)


def test_tokens_become_the_sentence() -> None:
    assert caption_of(told("사과 왼쪽 ##에 고양이 ##가 있다 <end>")) == "사과 왼쪽에 고양이가 있다"
    assert caption_of(told("a cat , an apple and a dog <end>")) == "a cat, an apple and a dog"
    assert caption_of(told("<end>")) == ""


def test_names_come_in_order_with_the_mean_look_of_their_words() -> None:
    looks = {1: look_at(4, 4), 6: look_at(60, 4), 7: look_at(60, 60)}
    found = named(told("a cat to the left a hot dog <end>", looks), "en", WORLD.reader)
    assert [(name.concept.en, list(name.span)) for name in found] == [("cat", [1]), ("hot dog", [6, 7])]
    np.testing.assert_array_equal(found[0].look, looks[1])
    np.testing.assert_allclose(found[1].look, (looks[6] + looks[7]) / 2)
    assert found[1].look.sum() == pytest.approx(1)


def test_a_name_inside_another_is_none() -> None:
    def names(text: str, language: str) -> list[str]:
        return [getattr(name.concept, language) for name in named(told(text), language, WORLD.reader)]

    assert names("a hot dog left of a cat <end>", "en") == ["hot dog", "cat"]
    assert names("a hot dog left of a dog <end>", "en") == ["hot dog", "dog"]
    assert names("a dog left of a hot dog <end>", "en") == ["dog", "hot dog"]
    assert names("검은 고양이 왼쪽 ##에 사과 ##가 있다 <end>", "ko") == ["검은 고양이", "사과"]
    assert names("three cats <end>", "en") == ["cat"]
    assert names("is of a <end>", "en") == []


def test_a_look_at_a_name_hits_or_misses() -> None:
    scene = pair("고양이", "사과")
    cat, apple = scene.things
    on_cat, on_apple = look_at(cat.x, cat.y), look_at(apple.x, apple.y)
    korean = "사과 왼쪽 ##에 고양이 ##가 있다 <end>"
    assert on_object(scene, told(korean, {3: on_cat, 0: on_apple}), "ko") == [True, True]
    assert on_object(scene, told(korean, {3: on_cat, 0: on_cat}), "ko") == [True, False]
    english = "a cat left of an apple <end>"
    assert on_object(scene, told(english, {1: on_apple, 5: on_apple}), "en") == [False, True]


def test_what_the_caption_does_not_name_is_not_asked() -> None:
    scene = pair("강아지", "사과")
    dog = scene.things[0]
    wrong = told("a hot dog left of a cat <end>", {2: look_at(dog.x, dog.y)})
    assert on_object(scene, wrong, "en") == []
    assert on_object(scene, told("<end>"), "ko") == []


def test_of_several_of_a_kind_one_is_enough() -> None:
    scene = WORLD.scene("고양이", number=3, artist="twemoji")
    for thing in scene.things:
        assert on_object(scene, told("three cats <end>", {1: look_at(thing.x, thing.y)}), "en") == [True]
    corners = [(1, 1), (63, 1), (1, 63), (63, 63)]
    empty = next(p for p in corners if not any(inside(t, *peak(look_at(*p))) for t in scene.things))
    assert on_object(scene, told("three cats <end>", {1: look_at(*empty)}), "en") == [False]


def test_every_name_of_the_world_is_found_again() -> None:
    """Tokens of a name are its words, which `named` relies on; checked with the tokenizer that captions have."""
    from vlm_history.training.scenes import tokenizer

    words = tokenizer()
    for one, other in pairwise(WORLD.concepts[:60]):
        for language in ("ko", "en"):
            name, second = getattr(one, language), getattr(other, language)
            text = f"{second} 왼쪽에 {name} 있다" if language == "ko" else f"{name} left of {second}"
            ids = words.encode(text, language)[1:]
            found = named(told(" ".join(words.vocabulary[i] for i in ids)), language, WORLD.reader)
            assert {each.concept for each in found} == {one, other}
