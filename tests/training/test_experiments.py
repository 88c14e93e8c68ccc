"""Experts joined: the small world keeps the splits, experts are what they were, and what is frozen stays."""

import json
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vlm_history import checkpoints
from vlm_history.connect.cnn import CNNConfig, ResidualCNN
from vlm_history.connect.lstm import LanguageModel, LanguageModelConfig
from vlm_history.connect.show_and_tell import ShowAndTell
from vlm_history.training.experiments import joining
from vlm_history.training.experiments.joining import EVERYDAY, WAYS, Join, Joining, draw, marks, pairs
from vlm_history.training.loop import train
from vlm_history.training.scenes import tokenizer, world
from vlm_history.world.grammar import LANGUAGES
from vlm_history.world.splits import SPLITS, TRAIN_ARTISTS, pair_split


@pytest.fixture
def experts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Experts with random weights, in the place of the shipped ones."""
    torch.manual_seed(3)
    words = tokenizer()
    made = {
        "cnn": SimpleNamespace(cnn=ResidualCNN(CNNConfig.world())),
        "lstm": LanguageModel(LanguageModelConfig.world(len(words)), words).eval(),
    }
    monkeypatch.setattr(joining, "expert", lambda name, recipe: made[name])
    return made


def stage_of(name: str) -> Joining:
    stage = WAYS[name].stages[0]
    assert isinstance(stage, Joining)
    return stage


def test_pairs_of_the_small_world_are_those_of_the_world() -> None:
    assert len(set(EVERYDAY)) == len(EVERYDAY)
    drawn = [{c.en for c in world().drawn_by(artist)} for artist in TRAIN_ARTISTS]
    assert all(set(EVERYDAY) <= names for names in drawn)
    found = [set(pairs(split)) for split in ("train", "validation", "test")]
    assert all(found) and not any(a & b for a, b in combinations(found, 2))
    assert set.union(*found) == {(a, b) for a in EVERYDAY for b in EVERYDAY if a != b}
    assert {name for pair in found[0] for name in pair} == set(EVERYDAY), "all things are seen in training"


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_scenes_keep_to_their_split(split: str) -> None:
    for seed in range(60):
        scene = draw(seed, split, alone=0.4)
        assert scene == draw(seed, split, alone=0.4)
        assert scene.artist in SPLITS[split][1]
        shown = [thing.concept for thing in scene.things]
        assert {c.en for c in shown} <= set(EVERYDAY)
        if len(shown) == 2:
            assert scene.relation and pair_split(*(c.hexcode for c in shown)) == split
    kinds = [draw(seed, split, alone=0.4).kind for seed in range(200)]
    assert 0.3 < kinds.count("one") / 200 < 0.5
    assert {draw(seed, split).kind for seed in range(40)} == {"pair"}


def test_all_ways_read_the_same_pictures_and_learn_alike() -> None:
    stages = [stage_of(name) for name in WAYS]
    plain = [replace(stage, cnn="", lstm="", borrowed=(), frozen=()) for stage in stages]
    assert len(set(plain)) == 1
    assert all(len(recipe.stages) == 1 for recipe in WAYS.values())
    assert len({recipe.hash for recipe in WAYS.values()}) == len(WAYS)
    batch = stages[0].batch(5, 7, range(4))
    for stage in stages[1:]:
        assert all(torch.equal(batch[name], tensor) for name, tensor in stage.batch(5, 7, range(4)).items())
    assert torch.equal(stages[0].batch(5, 7, range(2, 4))["pixels"], batch["pixels"][2:])
    words = tokenizer()
    seeds = [joining.scene_seeds(5, 7, range(4), stages[0].batch_size)]
    scenes = [draw(seed, "train", stages[0].alone) for of_batch in seeds for seed in of_batch]
    for scene, of_scene in zip(scenes, batch["tokens"], strict=True):
        for language, tokens in zip(LANGUAGES, of_scene.tolist(), strict=True):
            assert words.decode(tokens) in scene.captions(language)


@pytest.mark.parametrize("name", list(WAYS))
def test_parts_are_experts_and_what_is_frozen_stays(name: str, experts: dict[str, Any]) -> None:
    stage = replace(stage_of(name), batch_size=8)
    torch.manual_seed(0)
    join = stage.build(None)
    assert isinstance(join, Join)
    model = join.model
    grid = experts["cnn"].cnn.state_dict()
    same = all(torch.equal(grid[k], v) for k, v in model.cnn.state_dict().items() if not k.startswith("project."))
    assert same == (name != "nothing")
    before = {k: v.clone() for k, v in model.state_dict().items()}
    total, weight = join.train()(**stage.batch(0, 0, range(8)))
    (total / weight).backward()
    learns = {k for k, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    joint = {"cnn.project.weight", "cnn.project.bias", "image.weight", "image.bias", "norm.weight", "norm.bias"}
    decoder = {k for k, _ in model.named_parameters() if k.startswith(("embedding.", "lstm.", "words."))}
    every = {k for k, _ in model.named_parameters()}
    assert learns == {
        "cnn-frozen": joint | decoder, "lstm-words": joint | decoder, "lstm-tuned": joint | decoder,
        "lstm-frozen": joint,
    }.get(name, every)  # fmt: skip
    moved = {k for k, v in model.state_dict().items() if not torch.equal(before[k], v)}
    norms = {k for k in before if "running" in k or "num_batches" in k}
    assert moved == (norms if not stage.frozen else {k for k in norms if k.startswith("norm.")})


@torch.no_grad()
def test_the_language_expert_says_what_it_said(experts: dict[str, Any]) -> None:
    model = stage_of("lstm-frozen").build(None).get_submodule("model")
    assert isinstance(model, ShowAndTell)
    model.eval()
    tokens = torch.tensor([tokenizer().encode("a cat left of a dog", "en")])
    state = model.lstm.cell.start(torch.zeros(1, model.config.width))
    for column, expected in zip(tokens.unbind(1), experts["lstm"](tokens).log_softmax(-1).unbind(1), strict=True):
        log_p, state = model._next(column, state)
        torch.testing.assert_close(log_p, expected, atol=1e-4, rtol=1e-4)


def test_marks() -> None:
    scenes = [draw(seed, "validation") for seed in range(6)]

    class Liar:
        def caption(self, images: Any, language: str, beam: int) -> list[str]:
            return [scene.captions(language)[0] for scene in scenes[:3]] + ["", scenes[4].things[0].concept.en, "a car"]

    told = marks(Liar(), scenes)  # type: ignore[arg-type]
    assert told["exact"] == pytest.approx(0.5)
    assert 0.5 <= told["object_f1"] < 0.75


def test_it_trains_and_its_clock_runs(tmp_path: Path, experts: dict[str, Any]) -> None:
    recipe = WAYS["lstm-tuned"]
    stage = replace(stage_of("lstm-tuned"), steps=12, batch_size=8, evaluate_every=4, warmup=2, looks=4)
    train(replace(recipe, stages=(stage,)), tmp_path / "out", workers=0, progress_bar=False)
    card = json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    assert [look["step"] for look in card["history"]] == [4, 8, 12]
    assert all(0 < a["cpu"] < b["cpu"] for a, b in pairwise(card["history"]))
    assert card["history"][-1]["loss"] < card["history"][0]["loss"]
    model = checkpoints.load(ShowAndTell, tmp_path / "out")
    assert model.config.width == experts["lstm"].config.width
