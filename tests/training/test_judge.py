"""The judge's recipe: what it reads, that what a cell is to say is what is found again, and that it learns."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import vlm_history as vlm
from vlm_history.connect.cnn import CNNConfig
from vlm_history.errors import InputError
from vlm_history.judge import Judge, JudgeConfig, gather
from vlm_history.systems import available, find, load_from
from vlm_history.training import augment, recipes
from vlm_history.training.loop import train
from vlm_history.training.recipes.cnn import lessons
from vlm_history.training.recipes.judge import FindThings, Scenes, compared, share_out
from vlm_history.training.scenes import pixels_of, world
from vlm_history.world import Scene, drawing
from vlm_history.world.splits import TRAIN_ARTISTS

QUICK = recipes.get("judge", quick=True)
(STAGE,) = QUICK.stages
assert isinstance(STAGE, Scenes)
NAMES = tuple(concept.hexcode for concept in drawing.drawable())


def small(names: tuple[str, ...] = NAMES) -> Judge:
    torch.manual_seed(0)
    return Judge(JudgeConfig(CNNConfig(stem=8, stages=(16, 16, 16), width=32), names)).eval()


def test_it_is_small_and_in_no_list() -> None:
    with torch.device("meta"):
        judge = Judge(JudgeConfig.world(NAMES))
    assert sum(p.numel() for p in judge.parameters()) == 543_893
    assert judge(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 101, 8, 8)
    assert "judge" not in (*vlm.systems(), *available()) and find("judge").where == "judge:Judge"


def test_at_first_nothing_is_found() -> None:
    judge = small()
    pictures = world().render(drawing.scenes(world(), 4))
    assert judge.find(pictures) == [[]] * 4 and len(judge.find(pictures[0])) == 1
    chances = judge(torch.randn(2, 3, 64, 64)).softmax(1)
    assert 0.9 < float(chances[:, -1].mean().detach()) < 0.99
    with pytest.raises(InputError, match="expected"):
        judge.find([])


def test_what_cells_are_to_say_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge whose every cell says what it is to say finds every thing, nothing else, and the centres to a hair."""
    scenes = [world().sample(seed, "train", kind, drawing.EVERYDAY) for seed in range(30) for kind in
              ("one", "pair", "many")]  # fmt: skip
    batch = lessons(scenes)
    module = FindThings(small(), 0.0, 0.0)
    wanted = share_out(batch["places"], module.get_buffer("rows")[batch["concepts"].clamp_min(0)].masked_fill(
        batch["concepts"] < 0, -100), 8, len(NAMES))  # fmt: skip
    assert wanted.shape == (90, 101, 8, 8) and wanted.min() > -1e-6
    torch.testing.assert_close(wanted.sum(1), torch.ones(90, 8, 8))
    torch.testing.assert_close(wanted[:, :-1].sum((1, 2, 3)), torch.tensor([float(len(s.things)) for s in scenes]))
    monkeypatch.setattr(module.model, "forward", lambda pixels: wanted.clamp_min(1e-9).log())
    seen = module.model.find(pixels_of(scenes).permute(0, 2, 3, 1).numpy())
    for scene, found in zip(scenes, seen, strict=True):
        assert [each.chance for each in found] == pytest.approx([1.0] * len(scene.things), abs=1e-4)
        there = {thing.concept.hexcode: (thing.x, thing.y) for thing in scene.things}
        assert {each.name for each in found} == set(there)
        for each in found:
            assert (each.x, each.y) == pytest.approx(there[each.name], abs=1e-2)
    told = compared(scenes, seen)
    assert told["recall"] == told["precision"] == 1 and told["pixels"] < 1e-2


def test_only_what_is_together_adds_up() -> None:
    chances = torch.zeros(1, 2, 8, 8)
    chances[0, 0, 2, 3] = chances[0, 0, 3, 3] = 0.3  # a thing between two cells
    chances[0, 1, 0, 0] = chances[0, 1, 7, 7] = 0.3  # perhaps here, perhaps there
    most, x, y = gather(chances, 64)
    torch.testing.assert_close(most, torch.tensor([[0.6, 0.3]]))
    torch.testing.assert_close((x[0, 0], y[0, 0]), (torch.tensor(28.0), torch.tensor(24.0)))


def test_foreign_things_are_nothing() -> None:
    module = FindThings(small(("1F408", "1F34E")), 0.0, 0.0)
    cat, dog = world().concept("1F408").index, world().concept("1F415").index
    assert module.get_buffer("rows")[[cat, dog]].tolist() == [0, -100]
    scenes = [STAGE.scene(seed) for seed in range(300)]
    foreign = [any(t.concept.hexcode not in drawing.EVERYDAY for t in scene.things) for scene in scenes]
    assert 0.07 < float(np.mean(foreign)) < 0.22
    assert {scene.kind for scene in scenes} == {"one", "pair", "many"}


def test_the_loss_is_the_cross_entropy_of_the_cells() -> None:
    module = FindThings(small(), 0.0, 0.0).eval()
    batch = lessons(drawing.scenes(world(), 3))
    total, weight = module(**batch)
    logits = module.model((batch["pixels"].float() / 255 - 0.5) / 0.25).log_softmax(1).detach()
    expected = 0.0
    for row, scene in enumerate(drawing.scenes(world(), 3)):
        left = torch.ones(8, 8)
        for thing in scene.things:
            for r in range(8):
                for c in range(8):
                    share = max(0, 1 - abs(thing.x - 8 * c - 4) / 8) * max(0, 1 - abs(thing.y - 8 * r - 4) / 8)
                    left[r, c] -= share
                    expected -= share * float(logits[row, NAMES.index(thing.concept.hexcode), r, c])
        expected -= float((left * logits[row, -1]).sum())
    assert weight == 3 and float(total.detach()) == pytest.approx(expected, rel=1e-4)


def test_looks_are_at_validation_scenes_by_training_artists(met: list[Scene]) -> None:
    module = FindThings(small(), 0.5, 0.5).eval()
    scores = replace(STAGE, looks=4).evaluate(module)
    assert {s.split for s in met} == {"validation"} and {s.artist for s in met} <= set(TRAIN_ARTISTS)
    assert {f"{kind}{how}_{metric}" for kind in ("one", "pair") for how in ("", "_degraded")
            for metric in ("recall", "precision", "pixels")} == set(scores)  # fmt: skip


def test_learns_and_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JudgeConfig, "world", lambda names: small(names).config)
    stage = replace(STAGE, steps=20, batch_size=16, warmup=2, evaluate_every=10, looks=4)
    train(replace(QUICK, stages=(stage,)), tmp_path / "judge", workers=0, progress_bar=False)
    card = json.loads((tmp_path / "judge" / "card.json").read_text(encoding="utf-8"))
    assert card["history"][-1]["loss"] < card["history"][0]["loss"]
    judge = load_from(find("judge"), tmp_path / "judge")
    assert isinstance(judge, Judge) and not judge.training and judge.config.names == NAMES
    assert len(judge.find(world().render(drawing.scenes(world(), 2)))) == 2


def pictures() -> torch.Tensor:
    x = torch.zeros(2, 3, 64, 64)
    x[1, :, 30, 40] = 1.0
    return x


def test_blurred() -> None:
    blurred = augment.blur(pictures(), torch.tensor([1.0, 1.5]))
    assert (blurred[0] == 0).all()
    torch.testing.assert_close(blurred[1].sum((1, 2)), torch.ones(3))
    y, x = torch.meshgrid(torch.arange(64.0) - 30, torch.arange(64.0) - 40, indexing="ij")
    bell = torch.exp(-(x**2 + y**2) / (2 * 1.5**2))
    torch.testing.assert_close(blurred[1, 0], bell / bell.sum())
    constant = torch.full((1, 3, 64, 64), 0.7)
    torch.testing.assert_close(augment.blur(constant, torch.tensor([1.5])), constant)


def test_recoded() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 64, 32)
    torch.testing.assert_close(augment.recode(x, torch.tensor([1e-5, 1e-5])), x, atol=1e-3, rtol=0)
    coarse = augment.recode(x, torch.tensor([0.3, 0.3]))
    assert not torch.allclose(coarse, x, atol=0.1)
    torch.testing.assert_close(augment.recode(coarse, torch.tensor([0.3, 0.3])), coarse, atol=1e-4, rtol=0)
    assert (coarse[0, 0, :8, :8].mean() / (0.3 / 8)).frac().abs().sub(0.5).abs() > 0.49  # a mean is a whole multiple
    fine = torch.cos(torch.pi * (torch.arange(64.0) + 0.5))  # the finest wave there is falls away, the coarsest stays
    lost = augment.recode((0.2 * fine).expand(1, 3, 64, 64).contiguous(), torch.tensor([0.3]))
    assert lost.abs().max() < 0.2


def test_degraded_is_by_share() -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 3, 16, 16)
    assert torch.equal(augment.degrade(x, 0.0), x)
    same = (augment.degrade(x, 0.5) == x).flatten(1).all(1).float().mean()
    assert 0.05 < float(same) < 0.22  # one in eight is spared all three
    assert not (augment.degrade(x, 1.0) == x).flatten(1).all(1).any()
