"""A hundred everyday things: the same as the world's concepts, drawn by all, and held-out pairs stay out."""

import itertools
from collections import Counter

import pytest

from vlm_history.errors import InputError
from vlm_history.judge import Sighting, related
from vlm_history.world import World, drawing
from vlm_history.world.splits import HELD_OUT_ARTIST, SPLITS, TRAIN_ARTISTS, VALIDATION_ARTIST, pair_split

WORLD = World()


def test_a_hundred_concepts_that_every_artist_drew() -> None:
    things = drawing.drawable()
    assert len(things) == len(drawing.EVERYDAY) == 100
    assert {c.hexcode: c.en for c in things} == drawing.EVERYDAY
    for artist in (*TRAIN_ARTISTS, VALIDATION_ARTIST, HELD_OUT_ARTIST):
        assert set(things) <= set(WORLD.drawn_by(artist)), artist


@pytest.mark.parametrize("split", sorted(SPLITS))
def test_scenes_stay_in_their_split_and_among_the_hundred(split: str) -> None:
    pairs, artists = SPLITS[split]
    met = drawing.scenes(WORLD, 200, seed=4, split=split)
    assert {scene.artist for scene in met} <= set(artists)
    for scene in met:
        codes = [thing.concept.hexcode for thing in scene.things]
        assert set(codes) <= set(drawing.EVERYDAY)
        assert scene.kind == ("one", "pair")[len(codes) - 1] and (scene.relation is None) == (len(codes) == 1)
        assert all(pair_split(*both) == pairs for both in itertools.combinations(codes, 2))
    assert 60 <= Counter(scene.kind for scene in met)["pair"] <= 140


def test_every_split_has_pairs_enough() -> None:
    told = Counter(pair_split(a, b) for a, b in itertools.combinations(drawing.EVERYDAY, 2))
    assert told.total() == 4950
    assert told["test"] > 400 and told["validation"] > 200


def test_a_scene_is_a_value() -> None:
    assert drawing.sample(WORLD, 7) == drawing.sample(WORLD, 7)
    assert drawing.sample(WORLD, 7, kind="pair") != drawing.sample(WORLD, 8, kind="pair")


@pytest.mark.parametrize("step", [drawing.STEP, 8])
def test_tidy_scenes_say_the_same(step: int) -> None:
    low, high = drawing.SIZE // 2, 64 - drawing.SIZE // 2
    for scene in drawing.scenes(WORLD, 400, seed=5):
        tidy = drawing.tidy(scene, step)
        assert tidy.fact == scene.fact and tidy.caption("ko") == scene.caption("ko") and tidy.artist == scene.artist
        for thing in tidy.things:
            assert (thing.size, thing.angle) == (drawing.SIZE, 0)
            assert all(low <= place <= high and (place - low) % step == 0 for place in (thing.x, thing.y))
        if len(tidy.things) == 2:
            first, second = (Sighting(it.concept.hexcode, float(it.x), float(it.y), 1.0) for it in tidy.things)
            assert related(first, second) == scene.relation
            across, down = abs(first.x - second.x), abs(first.y - second.y)
            assert max(across, down) >= drawing.SIZE and across != down  # none lies on another
        assert drawing.tidy(tidy, step) == tidy
    pictures = WORLD.render([drawing.tidy(scene) for scene in drawing.scenes(WORLD, 20, seed=5)])
    assert (pictures[:, 0, 0] == 255).all(1).sum() > 15  # in a corner there is seldom a thing


@pytest.mark.parametrize("wrong", [{"kind": "many"}, {"split": "tset"}])
def test_errors_say_what_was_expected(wrong: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"expected .*got"):
        drawing.sample(WORLD, 0, **wrong)
