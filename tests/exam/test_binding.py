"""Binding and retrieval: the truth gets full marks, who knows only things or only words half, and nothing is leaked."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.exam.cards import agrees, scores_of
from vlm_history.exam import binding, matching, retrieval
from vlm_history.systems import load
from vlm_history.world import Scene, World
from vlm_history.world.splits import HELD_OUT_ARTIST, TRAIN_ARTISTS, pair_split

N = 60
BINDING = [f"{prefix}{what}_{language}" for prefix in ("", "artist_") for language in ("ko", "en")
           for what in ("text", "image", "group")]  # fmt: skip


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def sheets(world: World) -> list[matching.Paper]:
    return matching.papers(world, N, seed=0)


def values(marks: dict[str, tuple[float, ...]], of: str) -> set[float]:
    return {value for name, (value, _, _) in marks.items() if name.removeprefix("artist_").startswith(of)}


def test_sheets_are_held_out(sheets: list[matching.Paper]) -> None:
    assert [(s.prefix, s.language) for s in sheets] == [("", "ko"), ("", "en"), ("artist_", "ko"), ("artist_", "en")]
    for sheet in sheets:
        for scene in sheet.scenes:
            first, second = (thing.concept.hexcode for thing in scene.things)
            assert scene.kind == "pair" and pair_split(first, second) == "test"
            assert (scene.artist == HELD_OUT_ARTIST) if sheet.prefix else (scene.artist in TRAIN_ARTISTS)


def test_exchanged_is_what_the_negatives_say(sheets: list[matching.Paper]) -> None:
    for scene in sheets[0].scenes:
        other = binding.exchanged(scene)
        assert other.fact != scene.fact and binding.exchanged(other).fact == scene.fact
        assert {thing.concept for thing in other.things} == {thing.concept for thing in scene.things}
        assert not np.array_equal(other.image(), scene.image())
        for language in ("ko", "en"):
            assert other.captions(language) == scene.negatives(language)
            caption, lie = binding.asked(scene, language)
            assert caption in scene.captions(language) and lie in other.captions(language)
            if language == "en":  # the same words but for articles and number
                small = ("a", "an", "is", "are")
                first, second = (sorted(w for w in said.split() if w not in small) for said in (caption, lie))
                assert first == second


def test_truth_gets_full_marks_and_lots_half(world: World, sheets: list[matching.Paper]) -> None:
    assert binding.sit(matching.oracle(world, 0), sheets, 0) == dict.fromkeys(BINDING, (1, 1, 1))
    marks = binding.sit(matching.chance(world, 0), matching.papers(world, 400, seed=0)[:2], 0)
    for name, (value, low, high) in marks.items():
        expected = 1 / 6 if name.startswith("group") else 0.5
        assert low < value < high and abs(value - expected) < 0.06


def test_a_liar_gets_none(world: World, sheets: list[matching.Paper]) -> None:
    truth = matching.oracle(world, 0)
    marks = binding.sit(lambda *asked: -truth(*asked), sheets[:2], 0)
    assert {value for value, _, _ in marks.values()} == {0}


def by_things(scenes: list[Scene], texts: list[str], language: str) -> Any:
    """Counts which things of a picture a text names: a bag of words."""
    read = [set(scenes[0].world.reader.mentioned(text, language)) for text in texts]
    return np.array([[len({t.concept for t in scene.things} & named) for named in read] for scene in scenes], float)


def test_knowing_the_things_is_half_of_binding_and_all_of_retrieval(world: World, sheets: list[matching.Paper]) -> None:
    marks = binding.sit(by_things, sheets, 0)
    assert values(marks, "text") == values(marks, "image") == {0.5} and values(marks, "group") == {0}
    found = retrieval.sit(by_things, matching.papers(world, N, seed=0), 0)
    assert all(value > 0.9 for value, _, _ in found.values())


def test_reading_alone_is_half(sheets: list[matching.Paper]) -> None:
    def by_length(scenes: list[Scene], texts: list[str], language: str) -> Any:
        return np.array([[hash(text) for text in texts]] * len(scenes), float)

    marks = binding.sit(by_length, sheets[:2], 0)
    assert values(marks, "text") == values(marks, "image") == {0.5} and values(marks, "group") == {0}


def test_retrieval_is_always_among_as_many(world: World) -> None:
    scenes = world.scenes(250, seed=1, split="test", kind="pair")
    cut = list(retrieval.pools(scenes))
    assert [(len(pool), own) for pool, own in cut] == [(100, 100), (100, 100), (100, 50)]
    assert [scene for pool, own in cut for scene in pool[:own]] == scenes
    assert all(len({scene.seed for scene in pool}) == len(pool) for pool, _ in cut)
    assert [(len(pool), own) for pool, own in retrieval.pools(scenes[:7])] == [(7, 7)]


def test_retrieval_marks(world: World) -> None:
    sheets = matching.papers(world, 130, seed=0)[:2]
    full = retrieval.sit(matching.oracle(world, 0), sheets, 0)
    assert full == dict.fromkeys(("text_ko", "image_ko", "text_en", "image_en"), (1, 1, 1))
    same = retrieval.sit(lambda scenes, texts, language: np.zeros((len(scenes), len(texts))), sheets, 0)
    assert {value for value, _, _ in same.values()} == {0}
    lots = retrieval.sit(matching.chance(world, 0), sheets, 0)
    assert all(value < 0.1 for value, _, _ in lots.values())


class Encoder:
    """Knows pictures and captions by heart; a scene and what is true of it have one vector."""

    def __init__(self, scenes: list[Scene]) -> None:
        self.seen: list[Any] = []
        self.row: dict[Any, int] = {}
        self.size = len(scenes)
        for row, scene in enumerate(scenes):
            self.row[scene.image().tobytes()] = row
            self.row |= {text: row for language in ("ko", "en") for text in scene.captions(language)}

    def vectors(self, keys: list[Any]) -> torch.Tensor:
        return torch.eye(self.size)[[self.row[key] for key in keys]]

    def encode_image(self, images: Any) -> torch.Tensor:
        self.seen.append(images)
        return self.vectors([image.tobytes() for image in images])

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        return self.vectors(texts)


def test_a_system_gets_pictures_and_texts_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    sheets = matching.papers(world, 6, seed=0)[:2]
    model = Encoder([each for scene in sheets[0].scenes for each in (scene, binding.exchanged(scene))])
    assert matching.can_sit(model) and not matching.can_sit(object())
    monkeypatch.setattr(matching, "CHUNK", 5)
    marks = binding.sit(matching.matcher(model, world), sheets, 0)
    assert {value for value, _, _ in marks.values()} == {1}
    assert [len(x) for x in model.seen] == [5, 5, 2] * 2
    assert all(isinstance(x, np.ndarray) and x.shape[1:] == (64, 64, 3) and x.dtype == np.uint8 for x in model.seen)
    found = retrieval.sit(matching.matcher(model, world), matching.papers(world, 6, seed=0)[:2], 0)
    assert {value for value, _, _ in found.values()} == {1}


def test_the_shipped_card_of_clip_tells_the_truth(world: World) -> None:
    n = 100
    sheets = matching.papers(world, n, scores_of("clip")["seed"])
    for task, sit in (("binding", binding.sit), ("retrieval", retrieval.sit)):
        agrees("clip", task, sit(matching.matcher(load("clip"), world), sheets, 0), n)
