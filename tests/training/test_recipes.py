"""The recipes: what they read, that batches are a function of their seed, that they learn, what they start from."""

import json
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from vlm_history.errors import InputError
from vlm_history.systems import find, load_from
from vlm_history.training import recipes
from vlm_history.training import scenes as scenes_module
from vlm_history.training.experts import expert
from vlm_history.training.loop import train
from vlm_history.training.recipes.clip import Pairs
from vlm_history.training.recipes.show_and_tell import Captions, Vector
from vlm_history.training.scenes import tokenizer, training_scenes, world
from vlm_history.world import Scene
from vlm_history.world.splits import HELD_OUT_ARTIST, SPLITS, VALIDATION_ARTIST, pair_split

STAGES = [stage for name in recipes.names() for quick in (False, True) for stage in recipes.get(name, quick).stages]


@pytest.mark.parametrize("stage", STAGES, ids=lambda s: f"{s.name}-{s.steps}")
def test_batches_meet_nothing_held_out(stage: Any, met: list[Scene]) -> None:
    for index in (0, 17, stage.steps - 1):
        stage.batch(5, index, range(stage.batch_size))
    assert len(met) >= 3 * stage.batch_size  # more where words are learned from scenes, too
    for scene in met:
        assert scene.split in ("train", "train-all") and scene.artist in SPLITS[scene.split][1]
        assert scene.artist != HELD_OUT_ARTIST
        # only CLIP, once all is chosen, learns from the validation artist
        assert scene.artist != VALIDATION_ARTIST or (scene.split == "train-all" and isinstance(stage, Pairs))
        shown = sorted({t.concept.hexcode for t in scene.things})
        assert all(pair_split(a, b) == "train" for a, b in combinations(shown, 2))


def test_vocabulary_reads_no_held_out_pair_and_says_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    real = scenes_module.captions

    def watching(fact: Any, names: Any, language: str) -> list[str]:
        read.append(fact)
        return real(fact, names, language)

    tokenizer.cache_clear()
    monkeypatch.setattr(scenes_module, "captions", watching)
    words = tokenizer()
    for fact in read:
        assert all(pair_split(a.hexcode, b.hexcode) == "train" for a, b in combinations(fact.mentions, 2))
    for kind in ("one", "pair", "count", "many", "size"):
        for scene in world().scenes(40, seed=8, split="test", kind=kind):
            for language in ("ko", "en"):
                for caption in scene.captions(language):
                    ids = words.encode(caption, language)
                    assert words.unknown not in ids
                    assert words.decode(ids) == caption


@pytest.mark.parametrize("stage", STAGES, ids=lambda s: f"{s.name}-{s.steps}")
def test_a_batch_is_a_function_of_seed_index_and_rows(stage: Any) -> None:
    whole, again = stage.batch(3, 11, range(8)), stage.batch(3, 11, range(8))
    part = stage.batch(3, 11, range(4, 8))
    other = stage.batch(3, 12, range(8))
    for name in whole:
        assert torch.equal(whole[name], again[name])
        held = part[name]
        # captions of a part may be padded less
        cut = whole[name][4:][..., : held.shape[-1]] if name == "tokens" else whole[name][4:]
        assert torch.equal(cut, held)
    assert any(whole[name].shape != other[name].shape or not torch.equal(whole[name], other[name]) for name in whole)


def test_seeds_of_scenes_do_not_meet() -> None:
    seeds = [[s.seed for s in training_scenes(1, index, range(16), 16, (("pair", 1.0),))] for index in (0, 1, 2)]
    assert len({s for of_batch in seeds for s in of_batch}) == 48
    with pytest.raises(InputError, match="batch size"):
        training_scenes(1, 0, range(17), 16, (("pair", 1.0),))


def test_captions_stage_starts_from_the_expert() -> None:
    stage = recipes.get("show-and-tell").stages[0]
    assert isinstance(stage, Vector)
    if not find("cnn").shipped:
        with pytest.raises(InputError, match="vlm-history train cnn"):
            stage.build(None)
        return
    cnn = expert("cnn", stage.cnn).cnn.state_dict()
    begun = stage.build(None).get_submodule("model.cnn").state_dict()
    grid = {name: tensor for name, tensor in cnn.items() if not name.startswith("project.")}
    assert grid and all(torch.equal(begun[name], tensor) for name, tensor in grid.items())
    with pytest.raises(InputError, match="by recipe 0123"):
        expert("cnn", "0123")


def test_loss_is_that_of_the_model() -> None:
    """One vector for both languages, and words chosen only where there are any, is the plain loss."""
    stage = Captions("captions", 1, 4, 1e-3, 1, 1)
    torch.manual_seed(0)
    module = stage.build(None).eval()
    batch = stage.batch(0, 0, range(4))
    total, weight = module(**batch)
    model = module.get_submodule("model")
    pixels = scenes_module.normalised(batch["pixels"], model.cnn.config)  # type: ignore[union-attr, arg-type]  # a captioner
    twice = pixels.repeat_interleave(2, 0)
    plain = model.loss(twice, batch["tokens"].flatten(0, 1))  # type: ignore[operator]  # a captioner
    torch.testing.assert_close(total / weight, plain, rtol=1e-4, atol=1e-4)


def test_learns_and_is_written(tmp_path: Path) -> None:
    quick = recipes.get("show-and-tell", quick=True)
    stage = replace(quick.stages[0], steps=24, batch_size=16, evaluate_every=8, warmup=4, looks=4, cnn="")  # type: ignore[call-arg]  # a stage of its own
    tiny = replace(quick, stages=(stage,))
    train(tiny, tmp_path / "out", workers=0, progress_bar=False)
    card = json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    seen = [look["loss"] for look in card["history"]]
    assert all(later < earlier for earlier, later in pairwise(seen)), seen
    assert seen[-1] < 0.8 * seen[0], seen
    model = load_from(find("show-and-tell"), tmp_path / "out")
    scenes = world().scenes(2, split="validation", kind="pair")
    assert all(isinstance(c, str) for c in model.caption(world().render(scenes), language="en", beam=2))


def test_unknown_recipe() -> None:
    assert "show-and-tell" in recipes.names()
    with pytest.raises(InputError, match="show-and-tell"):
        recipes.get("show-and-tel")


@pytest.mark.parametrize("name", recipes.names())
def test_shipped_weights_come_from_this_recipe(name: str) -> None:
    system = find(name)
    if not system.shipped:
        pytest.skip("no weights shipped yet")
    card = json.loads((system.weights / "card.json").read_text(encoding="utf-8"))
    assert card["recipe"]["hash"] == recipes.get(name).hash
    assert {"steps", "images", "seconds", "hardware", "versions", "history", "scores"} <= card.keys()
