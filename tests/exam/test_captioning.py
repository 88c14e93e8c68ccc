"""The captioning task: the truth gets full marks, baselines next to none, and a system sees nothing but pictures."""

from typing import Any

import numpy as np
import pytest

from tests.exam.cards import agrees, scores_of
from vlm_history.exam import captioning
from vlm_history.systems import load
from vlm_history.world import World
from vlm_history.world.splits import HELD_OUT_ARTIST, TRAIN_ARTISTS, pair_split


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def sheets(world: World) -> list[captioning.Paper]:
    return captioning.papers(world, 60, seed=0)


def test_sheets_are_held_out(sheets: list[captioning.Paper]) -> None:
    assert [(s.prefix, s.language) for s in sheets] == [("", "ko"), ("", "en"), ("artist_", "ko"), ("artist_", "en")]
    for sheet in sheets:
        for scene in sheet.scenes:
            first, second = (t.concept.hexcode for t in scene.things)
            assert pair_split(first, second) == "test"
            assert (scene.artist == HELD_OUT_ARTIST) if sheet.prefix else (scene.artist in TRAIN_ARTISTS)


def test_truth_gets_full_marks(world: World, sheets: list[captioning.Paper]) -> None:
    marks = captioning.sit(captioning.oracle(world, 0), sheets, 0)
    for name, (value, low, high) in marks.items():
        if "cider" not in name:
            assert (value, low, high) == pytest.approx((1, 1, 1)), name
        else:
            assert value > 3


def test_every_paraphrase_is_exact(world: World) -> None:
    for scene in world.scenes(300, seed=5, split="test", kind="pair"):
        for language in ("ko", "en"):
            for caption in scene.captions(language):
                assert world.reader.parse(caption, language) == scene.fact, caption


def test_wrong_relation_is_not_exact_but_names_its_objects(world: World, sheets: list[captioning.Paper]) -> None:
    marks = captioning.sit(lambda scenes, language: [s.negatives(language)[0] for s in scenes], sheets, 0)
    for language in ("ko", "en"):
        assert marks[f"exact_{language}"][0] == 0
        assert marks[f"object_f1_{language}"][0] == pytest.approx(1)


def test_nonsense_scores_zero(sheets: list[captioning.Paper]) -> None:
    for caption in ("", "ㅋㅋ zzz", "있다 있다 있다"):
        marks = captioning.sit(lambda scenes, language, said=caption: [said] * len(scenes), sheets[:1], 0)
        assert marks["exact_ko"][0] == marks["object_f1_ko"][0] == 0


def test_a_system_gets_pictures_only(world: World, sheets: list[captioning.Paper]) -> None:
    class Model:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def caption(self, image: Any, *, language: str, beam: int) -> list[str]:
            self.seen.append(image)
            return ["a cat"] * len(image)

    model = Model()
    assert captioning.can_sit(model) and not captioning.can_sit(object())
    marks = captioning.sit(captioning.captioner(model, world), sheets[:2], 0)
    assert all(isinstance(x, np.ndarray) and x.shape == (60, 64, 64, 3) and x.dtype == np.uint8 for x in model.seen)
    assert marks["exact_en"][0] == 0


@pytest.mark.parametrize(("name", "exact", "f1"), [("show-and-tell", 0.40, 0.75), ("show-attend-and-tell", 0.65, 0.90)])
def test_shipped_card_tells_the_truth(name: str, exact: float, f1: float, world: World) -> None:
    """Scoring the shipped weights again, on a few of the same scenes, agrees with the card."""
    scores = scores_of(name)
    n = 100
    sheets = captioning.papers(world, n, scores["seed"])
    marks = captioning.sit(captioning.captioner(load(name), world, beam=scores["beam"]), sheets, 0)
    shares = {metric: told for metric, told in marks.items() if "exact" in metric or "object_f1" in metric}
    agrees(name, "captioning", shares, n)
    for language in ("ko", "en"):
        assert scores["systems"][name]["captioning"][f"exact_{language}"] >= exact
        assert scores["systems"][name]["captioning"][f"object_f1_{language}"] >= f1
