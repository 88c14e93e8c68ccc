"""The captioning task: the truth gets full marks, baselines next to none, and a system sees nothing but pictures."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vlm_history.errors import InputError
from vlm_history.exam import captioning, report
from vlm_history.systems import available, load
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


def test_a_system_gets_pictures_only(world: World) -> None:
    class Model:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def caption(self, image: Any, *, language: str, beam: int) -> list[str]:
            self.seen.append(image)
            return ["a cat"] * len(image)

    model = Model()
    results = report.run(["show-and-tell"], n=3, models={"show-and-tell": model})
    assert all(isinstance(x, np.ndarray) and x.shape == (3, 64, 64, 3) and x.dtype == np.uint8 for x in model.seen)
    assert results["systems"]["show-and-tell"]["captioning"]["exact_en"] == 0


def test_report_has_the_shape_of_the_design(tmp_path: Path) -> None:
    results = report.run(["chance"], n=20, seed=4)
    assert {"systems", "intervals", "artwork", "seed", "n"} <= set(results)
    assert (results["seed"], results["n"], results["artwork"]) == (4, 20, None)
    marks = results["systems"]["chance"]["captioning"]
    for metric in ("exact", "object_f1", "bleu4", "cider"):
        for name in (f"{metric}_ko", f"{metric}_en", f"artist_{metric}_ko", f"artist_{metric}_en"):
            low, high = results["intervals"]["chance"]["captioning"][name]
            assert low <= marks[name] <= high
    assert marks["exact_ko"] < 0.1
    report.write_json(results, tmp_path / "exam.json")
    assert json.loads((tmp_path / "exam.json").read_text(encoding="utf-8")) == results
    assert results == report.run(["chance"], n=20, seed=4)
    text = report.table(results)
    assert "n = 20" in text and "seed 4" in text and "oracle" in text


def test_own_artwork(world: World, tmp_path: Path) -> None:
    concepts = world.drawn_by("noto")[:20]
    pack = tmp_path / "mine.npz"
    np.savez(pack, rgba=np.stack([world.sprite(c, "noto") for c in concepts]), hexcode=[c.hexcode for c in concepts])
    results = report.run(["chance"], artwork=pack, n=5)
    assert results["artwork"] == str(pack)
    assert not any(name.startswith("artist_") for name in results["systems"]["oracle"]["captioning"])
    assert results["systems"]["oracle"]["captioning"]["exact_en"] == 1
    assert "artist of the pack" in report.table(results)


def test_bad_n_is_refused() -> None:
    with pytest.raises(InputError, match="at least 2"):
        report.run(n=1)


@pytest.mark.parametrize("name", ["show-and-tell"])
def test_shipped_card_tells_the_truth(name: str, world: World) -> None:
    """Scoring the shipped weights again, on a few of the same scenes, agrees with the card."""
    if name not in available():
        pytest.skip("no weights shipped yet")
    from vlm_history.systems import find

    card = json.loads((find(name).weights / "card.json").read_text(encoding="utf-8"))
    scores = card["scores"]
    n = 100
    sheets = captioning.papers(world, n, scores["seed"])
    marks = captioning.sit(captioning.captioner(load(name), world, beam=scores["beam"]), sheets, 0)
    for metric in ("exact", "object_f1"):
        for prefix in ("", "artist_"):
            for language in ("ko", "en"):
                key = f"{prefix}{metric}_{language}"
                told = scores["systems"][name]["captioning"][key]
                low, high = scores["intervals"][name]["captioning"][key]
                # the card's interval, widened from its n to this one
                slack = (high - low) / 2 * (scores["n"] / n) ** 0.5
                assert abs(marks[key][0] - told) <= 1.3 * slack + 0.01, key
    # what was asked of these weights
    for language in ("ko", "en"):
        assert scores["systems"][name]["captioning"][f"exact_{language}"] >= 0.40
        assert scores["systems"][name]["captioning"][f"object_f1_{language}"] >= 0.75
