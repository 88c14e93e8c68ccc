"""The naming task and its baseline: the truth gets full marks, HOG is HOG, and its gallery holds nothing held out."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.exam.cards import agrees, scores_of
from vlm_history.exam import baselines, metrics, naming
from vlm_history.systems import load
from vlm_history.world import World, scenes
from vlm_history.world.artwork import shipped
from vlm_history.world.splits import HELD_OUT_ARTIST, TRAIN_ARTISTS, VALIDATION_ARTIST

N = 40


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def sheets(world: World) -> list[naming.Paper]:
    return naming.papers(world, N, seed=0)


@pytest.fixture(scope="module")
def opened() -> Iterator[set[str]]:
    """The artists whose work was opened to make the gallery."""
    seen: set[str] = set()
    baselines.gallery.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes, "shipped", lambda artist: seen.add(artist) or shipped(artist))
        baselines.gallery()
    yield seen


def test_sheets_are_held_out(sheets: list[naming.Paper]) -> None:
    assert [(s.prefix, s.language) for s in sheets] == [("", "ko"), ("", "en"), ("seen_", "ko"), ("seen_", "en")]
    for sheet in sheets:
        for scene in sheet.scenes:
            assert scene.kind == "one" and len(scene.things) == 1
            assert (scene.artist in TRAIN_ARTISTS) if sheet.prefix else (scene.artist == HELD_OUT_ARTIST)


def test_truth_gets_full_marks_and_nonsense_none(world: World, sheets: list[naming.Paper]) -> None:
    marks = naming.sit(naming.oracle(world, 0), sheets, 0)
    assert marks == dict.fromkeys(("top1_ko", "top1_en", "seen_top1_ko", "seen_top1_en"), (1, 1, 1))
    for nonsense in ("", "ㅋㅋ zzz", "이름 name"):
        wrong = naming.sit(lambda scenes, language, said=nonsense: [said] * len(scenes), sheets, 0)
        assert all(value == 0 for value, _, _ in wrong.values())
    assert all(value < 0.2 for value, _, _ in naming.sit(naming.chance(world, 0), sheets, 0).values())


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_name_is_read_as_itself(world: World, language: str) -> None:
    names = [naming.name_of(concept, language) for concept in world.concepts]
    assert len(set(names)) == len(names)
    for concept, name in zip(world.concepts, names, strict=True):
        assert world.reader.mentioned(name, language) == [concept]


class Eyes:
    """Knows the pictures of the sheets by heart, and keeps what it was shown."""

    def __init__(self, sheets: list[naming.Paper]) -> None:
        self.known = {s.image().tobytes(): s.things[0].concept for sheet in sheets for s in sheet.scenes}
        self.seen: list[Any] = []
        self.names: list[Sequence[str]] = []

    def look(self, images: Any, language: str) -> list[str]:
        self.seen.append(images)
        return [naming.name_of(self.known[image.tobytes()], language) for image in images]


class Namer(Eyes):
    """Puts the right name at a place of its list."""

    place = 0

    def classify(self, images: Any, names: Sequence[str], *, language: str) -> list[dict[str, float]]:
        self.names.append(names)
        told = []
        for name in self.look(images, language):
            others = [other for other in names if other != name]
            others.insert(self.place, name)
            told.append({other: 1 / (2 + row) for row, other in enumerate(others)})
        return told


class Captioner(Eyes):
    """Says a sentence about each picture."""

    def __init__(self, sheets: list[naming.Paper], ko: str = "여기 {}", en: str = "a picture of a {}") -> None:
        super().__init__(sheets)
        self.sentence = {"ko": ko, "en": en}

    def caption(self, images: Any, *, language: str, beam: int) -> list[str]:
        return [self.sentence[language].format(name) for name in self.look(images, language)]


def sat(model: Any, sheets: list[naming.Paper]) -> set[float]:
    assert naming.can_sit(model)
    marks = naming.sit(naming.namer(model, sheets[0].world), sheets, 0)
    return {value for value, _, _ in marks.values()}


def test_a_classifier_sits_by_its_first_name(world: World, sheets: list[naming.Paper]) -> None:
    model = Namer(sheets)
    assert sat(model, sheets) == {1}
    assert all(isinstance(x, np.ndarray) and x.shape == (N, 64, 64, 3) and x.dtype == np.uint8 for x in model.seen)
    for names, language in zip(model.names, ("ko", "en", "ko", "en"), strict=True):
        assert list(names) == [naming.name_of(concept, language) for concept in world.concepts]
    model.place = 1
    assert sat(model, sheets) == {0}
    assert not naming.can_sit(object())


def test_a_captioner_sits_by_naming_this_and_nothing_else(sheets: list[naming.Paper]) -> None:
    assert sat(Captioner(sheets), sheets) == {1}
    assert sat(Captioner(sheets, "{}와 고양이와 사과", "a {}, a cat and an apple"), sheets) == {0}


def test_many_pictures_come_in_batches(sheets: list[naming.Paper], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(naming, "CHUNK", 7)
    model = Namer(sheets)
    assert sat(model, sheets[:1]) == {1}
    assert [len(x) for x in model.seen] == [7] * 5 + [5]


def test_own_artwork(world: World, tmp_path: Path, opened: set[str]) -> None:
    concepts = world.drawn_by(VALIDATION_ARTIST)[:20]
    pack = tmp_path / "mine.npz"
    np.savez(
        pack, rgba=np.stack([world.sprite(c, VALIDATION_ARTIST) for c in concepts]),
        hexcode=[c.hexcode for c in concepts],
    )  # fmt: skip
    sheets = naming.papers(World(artwork=pack), 5, seed=0)
    assert [(sheet.prefix, sheet.language) for sheet in sheets] == [("", "ko"), ("", "en")]
    assert {scene.artist for sheet in sheets for scene in sheet.scenes} == {"mine"}
    assert set(naming.sit(naming.hog(sheets[0].world, 0), sheets, 0)) == {"top1_ko", "top1_en"}


def test_hog_equals_scikit_image(world: World) -> None:
    feature = pytest.importorskip("skimage.feature")
    noise = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    flat = np.full((1, 64, 64, 3), 90, np.uint8)
    for pictures in (world.render(world.scenes(12, seed=2)), noise, flat, noise[:, :24, :40], noise[..., :1]):
        settings = {"orientations": 9, "pixels_per_cell": (8, 8), "cells_per_block": (2, 2), "block_norm": "L2-Hys"}
        theirs = np.stack([feature.hog(picture, channel_axis=-1, **settings) for picture in pictures])
        assert np.abs(baselines.hog(pictures) - theirs).max() < 1e-6


def test_gallery_holds_training_artists_only(opened: set[str]) -> None:
    assert opened == set(TRAIN_ARTISTS)
    assert not opened & {VALIDATION_ARTIST, HELD_OUT_ARTIST}
    concepts, known = baselines.gallery()
    assert len(concepts) == len(known) == sum(len(shipped(artist)) for artist in TRAIN_ARTISTS)
    assert known.shape[1] == 1764 + 192


def test_nearest_finds_what_is_in_the_gallery(opened: set[str]) -> None:
    drawn, pictures = baselines.drawings("noto")
    assert baselines.nearest(pictures[:100]) == list(drawn[:100])


def test_crop_is_the_object(world: World) -> None:
    """On a ground like the gallery's and not turned, a thing cut out of a scene looks like the drawing in it."""
    drawn, pictures = baselines.drawings(TRAIN_ARTISTS[0])
    for row in range(0, 60, 10):
        by_hand = (world.scene(drawn[row].en, background="plain", seed=seed) for seed in range(1000))
        scene = next(
            s for s in by_hand if abs(s.things[0].angle) < 2 and max(abs(c - 128) for c in s.background.low) < 50
        )
        apart = np.abs(baselines.crops([scene])[0].astype(float) - pictures[row]).mean()
        assert apart < np.abs(baselines.crops([scene])[0].astype(float) - pictures[row + 1]).mean()


def test_hog_names_some_of_the_held_out_artist(world: World, sheets: list[naming.Paper], opened: set[str]) -> None:
    marks = naming.sit(naming.hog(world, 0), sheets, 0)
    assert marks["top1_ko"] == marks["top1_en"]
    assert 0.15 < marks["top1_ko"][0] < 0.6 < marks["seen_top1_ko"][0]
    assert baselines.on_clean_drawings() == pytest.approx(0.514, abs=0.005)


@pytest.mark.parametrize(("name", "least"), [("cnn", 0.45), ("clip", 0.60)])
def test_the_shipped_card_tells_the_truth(name: str, least: float, world: World) -> None:
    scores = scores_of(name)
    n = 200
    agrees(name, "naming", naming.sit(naming.namer(load(name), world), naming.papers(world, n, scores["seed"]), 0), n)
    for language in ("ko", "en"):
        assert scores["systems"][name]["naming"][f"top1_{language}"] >= least


@pytest.mark.parametrize("language", ["ko", "en"])
def test_clip_is_above_hog_and_not_by_chance(language: str, world: World, opened: set[str]) -> None:
    scores_of("clip")
    sheet = next(s for s in naming.papers(world, 200, seed=0) if not s.prefix and s.language == language)

    truth = [naming.name_of(scene.things[0].concept, language) for scene in sheet.scenes]
    namers = naming.namer(load("clip"), world), naming.hog(world, 0)
    ours, hog = (np.array(namer(sheet.scenes, language)) == np.array(truth) for namer in namers)
    apart = ours.astype(float) - hog
    low, _ = metrics.bootstrap(lambda chosen: float(apart[chosen].mean()), len(apart))
    assert low > 0
