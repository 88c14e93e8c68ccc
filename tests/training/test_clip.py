"""CLIP's recipe: what is asked of a batch, what moves and what stays, and that it learns."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vlm_history.systems import find, load_from
from vlm_history.training import recipes
from vlm_history.training.augment import move
from vlm_history.training.loop import train
from vlm_history.training.recipes.clip import (
    Match,
    Pairs,
    box,
    denied,
    read,
    tokenizer,
    told,
    unlike_scenes,
)
from vlm_history.training.scenes import world
from vlm_history.world.grammar import LANGUAGES
from vlm_history.world.splits import TRAIN_ARTISTS

STAGE = recipes.get("clip").stages[-1]
assert isinstance(STAGE, Pairs)


def test_no_two_pictures_of_a_batch_show_the_same() -> None:
    mix = (("one", 0.7), ("pair", 0.3))
    scenes = unlike_scenes(4, 7, range(300), 300, mix, "train")
    shown = [tuple(sorted(t.concept.hexcode for t in s.things)) for s in scenes]
    assert len(set(shown)) == 300
    assert {s.artist for s in scenes} == set(TRAIN_ARTISTS) and {s.split for s in scenes} == {"train"}
    assert unlike_scenes(4, 7, range(200, 300), 300, mix, "train") == scenes[200:]


def test_every_text_fits_and_is_read_back() -> None:
    words = tokenizer()
    length = 64
    for kind in ("one", "pair", "many", "count", "size"):
        for scene in world().scenes(15, seed=3, split="train", kind=kind):
            for language in LANGUAGES:
                for text in [told(scene, language), *scene.captions(language), *scene.negatives(language)]:
                    ids = words.encode(text)
                    assert len(ids) + 2 <= length and words.decode(ids) == text
    tokens = read([["고양이", ""], ["a cat", "an apple on the left"]])
    assert not tokens[0, 1].any() and int(tokens.max()) == len(words) - 1


def test_texts_are_names_and_captions_and_lies_are_false() -> None:
    ones = world().scenes(60, seed=5, split="train", kind="one")
    bare = [told(scene, "en") == scene.things[0].concept.en for scene in ones]
    assert 0.3 < sum(bare) / len(bare) < 0.9
    for scene in world().scenes(20, seed=5, split="train", kind="pair"):
        assert denied(scene, "ko") not in scene.captions("ko")
        assert box(scene) == (0, 0, 0)
    assert denied(ones[0], "ko") == ""


def test_what_has_a_box_is_moved_and_stays_in_sight() -> None:
    torch.manual_seed(0)
    pixels = torch.zeros(64, 3, 64, 64)
    pixels[:, :, 36:52, 8:24] = 1.0  # a square of 16, its centre at (16, 44)
    boxes = torch.tensor([[16 / 32 - 1, 44 / 32 - 1, 16 / 64]]).repeat(64, 1)
    boxes[::2] = 0
    moved = move(pixels, boxes, share=1.0, largest=0.9)
    assert torch.allclose(moved[::2], pixels[::2], atol=1e-5)
    seen = moved[1::2, 0].mean((1, 2))
    assert (seen > 0.1).all() and seen.std() > 0.05  # larger than 16 x 16 of 64 x 64, and not all alike
    assert not torch.equal(moved[1], moved[3])


def test_the_centre_of_what_is_moved_is_never_lost() -> None:
    torch.manual_seed(1)
    pixels = torch.zeros(200, 3, 64, 64)
    pixels[:, :, 12:16, 50:54] = 1.0  # a dot in the thing's centre, (52, 14)
    boxes = torch.tensor([[52 / 32 - 1, 14 / 32 - 1, 0.3]]).repeat(200, 1)
    moved = move(pixels, boxes, share=1.0, largest=0.95)[:, 0]
    assert (moved.amax((1, 2)) > 0.5).all()  # it is never lost


def test_hard_negatives_make_a_picture_of_two_harder() -> None:
    stage = replace(STAGE, batch_size=8, negatives=True, mix=(("pair", 1.0),))
    batch = stage.batch(0, 0, range(8))
    torch.manual_seed(0)
    module = stage.build(None).eval()
    assert isinstance(module, Match)
    module.moved = module.restyled = 0.0
    with torch.no_grad():
        with_lies, weight = module(**batch)
        without, _ = module(**{name: value for name, value in batch.items() if name != "lies"})
        one_language, _ = module(batch["pixels"], batch["tokens"][:, :1])
        other, _ = module(batch["pixels"], batch["tokens"][:, 1:])
    assert weight == 8 and with_lies > without
    torch.testing.assert_close(without, (one_language + other) / 2)


def test_learns_and_is_written(tmp_path: Path) -> None:
    quick = recipes.get("clip", quick=True)
    stage = replace(quick.stages[0], steps=16, batch_size=16, evaluate_every=8, warmup=2, looks=8)  # type: ignore[call-arg]
    train(replace(quick, stages=(stage,)), tmp_path / "out", workers=0, progress_bar=False)
    card = json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    looks = card["history"]
    assert looks[-1]["loss"] < looks[0]["loss"]
    assert {"naming", "naming_ko", "text_en", "picture_ko", "binding_en"} <= looks[-1].keys()
    model = load_from(find("clip"), tmp_path / "out")
    pictures = world().render(world().scenes(2, split="train", kind="one"))
    assert all(set(chances) == {"사과", "고양이"} for chances in model.classify(pictures, ["사과", "고양이"]))


def test_the_exam_can_ask_a_clip_for_names() -> None:
    from vlm_history.exam import naming

    torch.manual_seed(0)
    module = STAGE.build(None)
    assert isinstance(module, Match) and naming.can_sit(module.model)
    sheets = naming.papers(world(), 3, seed=0)
    marks = naming.sit(naming.namer(module.model, world()), sheets[:2], 0)
    assert set(marks) == {"top1_ko", "top1_en"}


@pytest.mark.parametrize("name", ["RECIPE", "QUICK"])
def test_choices_are_made_on_the_validation_artist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = replace(recipes.get("clip", name == "QUICK").stages[0], looks=2)  # type: ignore[call-arg]
    asked: list[str] = []
    real = type(world()).scenes
    monkeypatch.setattr(
        type(world()), "scenes", lambda self, *a, split, **k: asked.append(split) or real(self, *a, split=split, **k)
    )
    stage.evaluate(stage.build(None))
    assert set(asked) == {"validation-artist"} and recipes.get("clip").stages[-1].watch == "naming"
