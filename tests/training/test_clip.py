"""CLIP's recipe: what is asked of a batch, what moves and what stays, and that it learns."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.halves import check_half
from vlm_history.errors import InputError
from vlm_history.pretrain.clip import CLIP, CLIPConfig
from vlm_history.pretrain.clip_towers import TextConfig, ViTConfig
from vlm_history.systems import find, load_from
from vlm_history.training import recipes
from vlm_history.training.augment import cut_out, erase, move
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


def test_a_bent_picture_is_near_itself() -> None:
    torch.manual_seed(0)
    pixels = torch.nn.functional.interpolate(torch.randn(8, 3, 4, 4), (64, 64), mode="bicubic")
    boxes = torch.tensor([[0.1, -0.1, 0.5]]).repeat(8, 1)
    boxes[0] = 0
    torch.manual_seed(1)
    straight = move(pixels, boxes, share=1.0, side=32)
    torch.manual_seed(1)
    bent = move(pixels, boxes, share=1.0, side=32, bend=0.02)
    assert bent.shape == (8, 3, 32, 32) and torch.equal(straight[0], bent[0])
    assert 0 < (straight - bent)[1:].abs().mean() < 0.2 * pixels.std()


def test_crops_are_tight() -> None:
    pixels = torch.zeros(1, 3, 64, 64)
    pixels[:, :, 10:30, 40:60] = 1.0
    crop = cut_out(pixels, torch.tensor([[50 / 32 - 1, 20 / 32 - 1, 20 / 64]]), side=40, width=0.5)
    assert crop[0, 0, 11:29, 11:29].min() > 0.99 and crop[0, 0, :9].max() < 0.01
    assert abs(float(crop[0, 0].mean()) - 0.25) < 0.03


def test_what_is_erased_is_a_part_of_some() -> None:
    torch.manual_seed(0)
    pixels = torch.full((400, 3, 32, 32), 7.0)
    hidden = (erase(pixels, 0.5) != 7).all(1).float().mean((1, 2))
    assert 0.4 < float((hidden > 0).float().mean()) < 0.6
    assert float(hidden[hidden > 0].min()) > 0.02 and float(hidden.max()) < 0.3


def test_texts_are_read_alike_in_groups() -> None:
    torch.manual_seed(0)
    module = STAGE.build(None).eval()
    assert isinstance(module, Match)
    tokens = read([["고양이"], ["a cat is to the left of an apple"], ["사과"], ["an apple"], ["a big cat"]]).flatten(
        0, 1
    )
    with torch.no_grad():
        alone = torch.nn.functional.normalize(module.model.text(tokens), dim=1)
        torch.testing.assert_close(module.texts(tokens), alone)


def test_hard_negatives_make_a_picture_of_two_harder() -> None:
    stage = replace(STAGE, batch_size=8, negatives=True, bilingual=True, mix=(("pair", 1.0),))
    batch = stage.batch(0, 0, range(8))
    torch.manual_seed(0)
    module = stage.build(None).eval()
    assert isinstance(module, Match)
    module.moved = module.restyled = module.erased = 0.0
    with torch.no_grad():
        with_lies, weight = module(**batch)
        without, _ = module(**{name: value for name, value in batch.items() if name != "lies"})
        one_language, _ = module(batch["pixels"], batch["tokens"][:, :1])
        other, _ = module(batch["pixels"], batch["tokens"][:, 1:])
    assert weight == 8 and with_lies > without
    torch.testing.assert_close(without, (one_language + other) / 2)


def test_what_is_locked_stays_as_it_is() -> None:
    stage = replace(STAGE, batch_size=8, locked=True)  # a stage of its own
    torch.manual_seed(0)
    module = stage.build(None).train()
    assert isinstance(module, Match)
    cnn = module.cnn()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.1)
    loss, weight = module(**stage.batch(0, 0, range(8)))
    (loss / weight).backward()
    optimizer.step()
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and not any(name.startswith("model.image.cnn.") for name in changed)
    assert any(name.startswith("model.image.pool.") for name in changed)
    assert any(name.startswith("model.text.") for name in changed) and not cnn.training
    again = replace(STAGE, locked=False).build(module)
    assert all(p.requires_grad for p in again.parameters()) and again.train() is again
    assert isinstance(again, Match) and again.cnn().training


def test_half_precision_changes_little() -> None:
    stage = replace(STAGE, batch_size=8, locked=False)  # a stage of its own
    torch.manual_seed(0)
    check_half(stage.build(None), stage.batch(0, 0, range(8)))


def test_only_a_cnn_can_be_locked() -> None:
    config = CLIPConfig(
        ViTConfig(width=32, depth=1, heads=2, patch=16, image_size=32),
        TextConfig(64, length=8, width=32, depth=1, heads=2),
        width=16,
    )
    with pytest.raises(InputError, match="expected a CNN to lock, got VisionTransformer"):
        Match(CLIP(config), locked=True)


def test_learns_and_is_written(tmp_path: Path) -> None:
    quick = recipes.get("clip", quick=True)
    stage = replace(quick.stages[0], steps=16, batch_size=16, evaluate_every=8, warmup=2, looks=8)  # type: ignore[call-arg]  # a stage of its own
    train(replace(quick, stages=(stage,)), tmp_path / "out", workers=0, progress_bar=False)
    card = json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    looks = card["history"]
    assert looks[-1]["loss"] < looks[0]["loss"]
    assert {"naming", "naming_ko", "naming_en"} <= looks[-1].keys()
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


@pytest.mark.parametrize(("learned", "looked"), [("train-wide", "validation-artist"), ("train-all", "validation")])
def test_looks_are_at_the_validation_artist_unless_that_one_teaches(
    learned: str, looked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = replace(STAGE, crop=32, looks=2, split=learned)
    asked: list[str] = []
    real = type(world()).scenes
    monkeypatch.setattr(
        type(world()), "scenes", lambda self, *a, split, **k: asked.append(split) or real(self, *a, split=split, **k)
    )
    stage.evaluate(stage.build(None))
    assert set(asked) == {looked}


def test_the_last_run_chooses_no_checkpoint() -> None:
    """It learns from the validation artist, so a look says little of artists never seen."""
    for stage in recipes.get("clip").stages:
        assert isinstance(stage, Pairs) and stage.split == "train-all" and stage.keep == "last"
