"""Scenes are values, what they say is true of their pixels, and both languages say the same."""

import hashlib
import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlm_history.errors import InputError
from vlm_history.world import KINDS, World
from vlm_history.world.grammar import CONVERSE, LANGUAGES
from vlm_history.world.scenes import _choose_artist
from vlm_history.world.splits import (
    ALL_ARTISTS,
    HELD_OUT_ARTIST,
    SPLITS,
    TRAIN_ARTISTS,
    VALIDATION_ARTIST,
    WIDE_ARTISTS,
    pair_split,
)

WORLD = World()
seeds = st.integers(min_value=0, max_value=2**40)
kinds = st.sampled_from(KINDS)


@given(seeds, kinds)
@settings(max_examples=50, deadline=None)
def test_a_scene_is_a_value(seed: int, kind: str) -> None:
    scene = WORLD.sample(seed, kind=kind)
    assert scene == WORLD.sample(seed, kind=kind)
    assert scene.image().shape == (64, 64, 3) and scene.image().dtype == np.uint8
    assert (scene.image() == WORLD.sample(seed, kind=kind).image()).all()


OTHERS = tuple(split for split in SPLITS if split not in ("train-wide", "train-all"))


@pytest.mark.parametrize(
    ("some", "expected"),
    [
        (OTHERS, "5edf034b17e8bcc520ecf1813b0328181228b7aec1368c36ef86779f73f5bd9c"),
        (("train-wide",), "195397940120457cd462cb33701327f68fc9e864d135d179e95e91e494fa4fa7"),
        (("train-all",), "830c68d21a9f870fcd4c894e699c7b3d8be6d829933347a6888786f949c42fa0"),
    ],
    ids=["others", "wide", "all"],
)
def test_the_same_pixels_on_any_machine(some: tuple[str, ...], expected: str) -> None:
    """The hashes were taken once; another machine, NumPy or batch size must meet them."""
    scenes = [WORLD.sample(seed, split, kind) for seed in range(4) for split in some for kind in KINDS]
    together = WORLD.render(scenes)
    assert (together == np.stack([scene.image() for scene in scenes])).all()
    assert hashlib.sha256(together.tobytes()).hexdigest() == expected


@given(seeds, kinds, st.sampled_from(sorted(SPLITS)))
@settings(max_examples=200, deadline=None)
def test_captions_are_read_back(seed: int, kind: str, split: str) -> None:
    scene = WORLD.sample(seed, split, kind)
    for language in LANGUAGES:
        said = scene.captions(language)
        assert len(said) >= 4 and len(set(said)) == len(said)
        assert scene.caption(language) in said
        for caption in said:
            assert WORLD.reader.parse(caption, language) == scene.fact, caption
            named = {c.hexcode for c in WORLD.reader.mentioned(caption, language)}
            assert named == {thing.concept.hexcode for thing in scene.things}, caption


@given(seeds, st.sampled_from(["pair", "size"]))
@settings(max_examples=100, deadline=None)
def test_negatives_differ_in_order_only_and_are_false(seed: int, kind: str) -> None:
    scene = WORLD.sample(seed, kind=kind)
    for language in LANGUAGES:
        negatives = scene.negatives(language)
        if len(scene.things) == 1:
            assert negatives == []
            continue
        for true, false in zip(scene.captions(language), negatives, strict=True):
            read = WORLD.reader.parse(false, language)
            assert read is not None and read != scene.fact
            assert {m.hexcode for m in read.mentions} == {m.hexcode for m in scene.fact.mentions}
            if language == "en":
                swap = {"a": "an", "an": "a"}
                words = sorted(w for w in true.split() if w not in swap)
                assert words == sorted(w for w in false.split() if w not in swap) or "are" in (true + false).split()


@given(seeds)
@settings(max_examples=200, deadline=None)
def test_the_relation_told_is_the_one_seen(seed: int) -> None:
    scene = WORLD.sample(seed, kind="pair")
    a, b = scene.things
    across, down = b.x - a.x, b.y - a.y
    seen = {"left": across, "right": -across, "above": down, "below": -down}
    assert scene.relation == max(seen, key=lambda r: seen[r])
    assert seen[scene.relation] >= (a.size + b.size) // 2  # side by side, not one over the other


@given(seeds, kinds)
@settings(max_examples=100, deadline=None)
def test_questions_and_dialogues_tell_the_same_in_both_languages(seed: int, kind: str) -> None:
    scene = WORLD.sample(seed, kind=kind)
    korean, english = scene.questions("ko"), scene.questions("en")
    assert [(q.kind, q.about) for q in korean] == [(q.kind, q.about) for q in english]
    assert korean
    assert len(scene.dialogue("ko")) == len(scene.dialogue("en")) >= 1
    for text in (*[q.text for q in korean], *[q for q, _ in scene.dialogue("ko")]):
        assert text.endswith("?")


@pytest.mark.parametrize(
    ("name", "said"),
    [("scissors", "are scissors"), ("bread", "is bread"), ("lettuce", "is lettuce"), ("cat", "is a cat")],
)
def test_only_names_that_sound_plural_take_a_plural_verb(name: str, said: str) -> None:
    captions = WORLD.scene(name, "spoon", relation="left").captions("en")
    assert f"there {said} to the left of a spoon" in captions
    assert f"on the left there {said} and on the right a spoon" in captions


def test_every_kind_of_question_is_asked() -> None:
    asked = {q.kind for kind in KINDS for seed in range(20) for q in WORLD.sample(seed, kind=kind).questions("ko")}
    assert asked == {"what", "where", "how_many", "yes_no", "category"}
    pairs = [WORLD.sample(seed, kind="pair") for seed in range(50)]
    answers = [q.answer for scene in pairs for q in scene.questions("en") if q.kind == "yes_no"]
    assert answers.count("yes") == answers.count("no")


def test_the_hand_written_scene_says_what_was_asked() -> None:
    scene = WORLD.scene("고양이", "사과", relation="left", artist="twemoji")
    assert "사과 왼쪽에 고양이가 있다" in scene.captions("ko")
    assert "a cat left of an apple" in scene.captions("en")
    assert "an apple right of a cat" in scene.captions("en")
    assert "on the left is a cat and on the right an apple" in scene.captions("en")
    assert "an apple left of a cat" in scene.negatives("en")
    assert WORLD.scene("cat", number=3).caption("en", 0) == "three cats"
    assert WORLD.scene("cat", number=3).caption("ko", 1) == "고양이 세 마리가 있다"


@pytest.mark.parametrize(
    "call",
    [
        lambda: WORLD.sample(0, split="tset"),
        lambda: WORLD.sample(0, kind="triple"),
        lambda: WORLD.scene("고앵이"),
        lambda: WORLD.scene("cat", "apple"),
        lambda: WORLD.scene("cat", relation="left"),
        lambda: WORLD.scene("cat", "apple", relation="beside"),
        lambda: WORLD.scene("cat", number=5),
        lambda: WORLD.scene("cat", artist="picasso"),
        lambda: WORLD.scene("cat", background="sky"),
        lambda: WORLD.sample(0).caption("fr"),
    ],
)
def test_errors_say_what_was_expected(call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=r"expected .*got|expected a relation with"):
        call()


@pytest.mark.parametrize(
    ("split", "artists"), [("train", TRAIN_ARTISTS), ("train-wide", WIDE_ARTISTS), ("train-all", ALL_ARTISTS)]
)
def test_training_never_meets_what_is_held_out(split: str, artists: tuple[str, ...]) -> None:
    assert HELD_OUT_ARTIST not in artists and (split == "train-all" or VALIDATION_ARTIST not in artists)
    for kind in KINDS:
        for scene in WORLD.scenes(300, seed=3, split=split, kind=kind):
            assert scene.artist in artists
            codes = {t.concept.hexcode for t in scene.things}
            codes |= {q.about[0] for q in scene.questions("en") if q.about[-2:] == ("present", "no")}
            assert all(pair_split(a, b) == "train" for a, b in itertools.combinations(codes, 2))


@pytest.mark.parametrize(
    ("split", "pairs", "artists"),
    [
        ("validation", "validation", set(TRAIN_ARTISTS)),
        ("validation-artist", "validation", {VALIDATION_ARTIST}),
        ("train-wide", "train", set(WIDE_ARTISTS)),
        ("train-all", "train", set(ALL_ARTISTS)),
        ("test", "test", set(TRAIN_ARTISTS)),
        ("test-artist", "test", {HELD_OUT_ARTIST}),
    ],
)
def test_each_split_has_its_own_artists_and_pairs(split: str, pairs: str, artists: set[str]) -> None:
    scenes = WORLD.scenes(200, split=split, kind="pair")
    assert {s.artist for s in scenes} == artists
    for scene in scenes:
        assert pair_split(*(t.concept.hexcode for t in scene.things)) == pairs


def test_artists_who_drew_less_are_seen_less() -> None:
    drawn = {artist: len(WORLD.drawn_by(artist)) for artist in WIDE_ARTISTS}
    every = [_choose_artist(drawn, (i + 0.5) / 10_000) for i in range(10_000)]
    vendors = ["twemoji", "noto", "fxemoji", "streamline"]
    whole = len(WORLD.concepts) + sum(drawn[artist] for artist in vendors)  # the finishes of fluent are one
    for artist in vendors:
        assert every.count(artist) / 10_000 == pytest.approx(drawn[artist] / whole, abs=1e-3)
    for artist in ("fluent-flat", "fluent-gradient", "fluent-contrast"):
        assert every.count(artist) / 10_000 == pytest.approx(len(WORLD.concepts) / whole / 3, abs=1e-3)
    assert _choose_artist(drawn, 1 - 2**-53) == "streamline"


def test_pairs_are_split_apart_and_in_the_stated_shares() -> None:
    codes = [c.hexcode for c in WORLD.concepts][:200]
    told = [pair_split(a, b) for a, b in itertools.combinations(codes, 2)]
    assert all(pair_split(b, a) == t for (a, b), t in zip(itertools.combinations(codes, 2), told, strict=True))
    assert abs(told.count("test") / len(told) - 0.10) < 0.01
    assert abs(told.count("validation") / len(told) - 0.05) < 0.01


def test_the_converse_of_a_converse() -> None:
    assert all(CONVERSE[CONVERSE[r]] == r for r in CONVERSE)


@pytest.mark.slow
def test_composition_is_fast_enough_to_feed_training() -> None:
    """At least 2,000 scenes a second on one core (best of several rounds: the machine may be busy)."""
    scenes = WORLD.scenes(512, kind="pair")
    WORLD.render(scenes)
    rates = []
    for _ in range(5):
        start = time.process_time()
        WORLD.render(scenes)
        rates.append(len(scenes) / (time.process_time() - start))
    assert max(rates) >= 2000, f"{max(rates):.0f} scenes a second"
