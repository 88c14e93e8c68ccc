"""CLIP in small: scenes keep to their split, all ways differ in one number, and the loss is what it says."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vlm_history import checkpoints
from vlm_history.pretrain.clip import CLIP
from vlm_history.pretrain.contrastive import contrastive_loss
from vlm_history.training.experiments import pairing
from vlm_history.training.experiments.pairing import (
    NEGATIVES,
    PLAIN,
    SCALING,
    Apart,
    Corner,
    Pairing,
    album,
    asked,
    draw,
    false_of,
    marks,
    shown,
    things,
    true_of,
)
from vlm_history.training.loop import train
from vlm_history.training.recipes.clip import tokenizer
from vlm_history.training.scenes import world
from vlm_history.world.grammar import LANGUAGES, Fact, Mention
from vlm_history.world.scenes import Scene
from vlm_history.world.splits import SPLITS, pair_split


def stage_of(recipe: object) -> Pairing:
    stage = recipe.stages[0]  # type: ignore[attr-defined]  # a stage of its own
    assert isinstance(stage, Pairing)
    return stage


CORNER = Corner(things=30, alone=0.4, style=None)
SMALL = replace(stage_of(NEGATIVES["false"]), number=60, batch_size=16, among=4, looks=6, corner=CORNER)


def test_scenes_keep_to_their_split() -> None:
    some = things(CORNER.things)
    assert len(set(some)) == CORNER.things
    for split in ("train", "validation", "validation-artist"):
        for seed in range(40):
            scene = draw(CORNER, seed, split, alone=0.4)
            assert scene == draw(CORNER, seed, split, alone=0.4) and scene.artist in SPLITS[split][1]
            concepts = [thing.concept for thing in scene.things]
            assert set(concepts) <= set(some)
            if len(concepts) == 2:
                assert pair_split(*(c.hexcode for c in concepts)) == SPLITS[split][0]
    found = asked(CORNER, "validation", 12)
    assert {len(scene.things) for scene in found["naming"]} == {1}
    assert {len(scene.things) for scene in found["binding"] + found["retrieval"]} == {2}
    assert len({shown(scene) for scene in found["retrieval"]}) == len(found["retrieval"]) == 12


def test_one_style_is_one_sentence() -> None:
    for seed in range(8):
        scene = draw(PLAIN, seed, "train", alone=0.0)
        for language in LANGUAGES:
            true, false = true_of(PLAIN, scene, language), false_of(PLAIN, scene, language)
            assert true == scene.captions(language)[0] and false == scene.negatives(language)[0] != true
            assert true_of(CORNER, scene, language) in scene.captions(language)
    assert false_of(PLAIN, draw(PLAIN, 0, "train", alone=1.0), "ko") == ""


def test_ways_differ_in_one_number_and_share_the_largest() -> None:
    largest = {recipes[max(recipes)].hash: recipes[max(recipes)] for recipes in SCALING.values()}
    assert len(largest) == 1
    plain = stage_of(next(iter(largest.values())))
    for what, recipes in SCALING.items():
        for size, recipe in recipes.items():
            assert getattr(stage_of(recipe), what) == size
            assert replace(stage_of(recipe), **{what: getattr(plain, what)}) == plain
    apart, crowded, false = (stage_of(NEGATIVES[name]) for name in ("disjoint", "crowded", "false"))
    assert replace(false, negatives=False) == apart == replace(crowded, disjoint=True, among=apart.among)


def test_batches_hold_what_the_album_holds() -> None:
    whole, words = album(CORNER, 60), tokenizer()
    batch = SMALL.batch(3, 5, range(16))
    assert torch.equal(SMALL.batch(3, 5, range(4, 9))["lies"], batch["lies"][4:9])
    rows = [next(i for i in range(60) if torch.equal(whole.pixels[i], picture)) for picture in batch["pixels"]]
    for start in range(0, 16, 4):
        taken = [thing for row in rows[start : start + 4] for thing in whole.shown[row]]
        assert len(set(taken)) == len(taken), "who is told apart shares no thing"
    crowd = replace(SMALL, disjoint=False, among=16).batch(3, 5, range(16))
    found = [next(i for i in range(60) if torch.equal(whole.pixels[i], picture)) for picture in crowd["pixels"]]
    assert len({whole.shown[row] for row in found}) == 16
    for row, said, lies in zip(rows, batch["tokens"], batch["lies"], strict=True):
        scene = draw(CORNER, row, "train", CORNER.alone)
        for language, text, lie in zip(LANGUAGES, said.tolist(), lies.tolist(), strict=True):
            concept = scene.things[0].concept
            true = [*scene.captions(language), concept.ko, concept.en]
            assert words.decode([i for i in text if i][1:-1]) in true
            assert (words.decode([i for i in lie if i][1:-1]) in scene.negatives(language)) == (scene.kind == "pair")
    assert torch.equal(album(CORNER, 30).pixels, whole.pixels[:30]), "a smaller album begins a larger one"


def test_each_is_told_apart_from_so_many() -> None:
    torch.manual_seed(0)
    batch = SMALL.batch(0, 0, range(16))
    apart = replace(SMALL, among=8).build(None).eval()
    assert isinstance(apart, Apart)
    with torch.no_grad():
        total, weight = apart(batch["pixels"], batch["tokens"])
        expected = []
        for some in (slice(0, 8), slice(8, 16)):
            for language in (0, 1):
                vectors = apart.model(batch["pixels"][some], batch["tokens"][some, language])
                expected.append(contrastive_loss(*vectors, apart.model.scale()))
        torch.testing.assert_close(total / weight, torch.stack(expected).mean(), atol=1e-5, rtol=1e-5)
        apart.among = 16
        assert apart(**batch)[0] > apart(batch["pixels"], batch["tokens"])[0] > total


class Knows:
    """Has one vector for each fact, and for what states it."""

    def __init__(self) -> None:
        self.rows: dict[object, int] = {}
        self.single = {name: Fact("one", (Mention(c.hexcode),)) for c in things(CORNER.things) for name in (c.ko, c.en)}

    def vectors(self, facts: list[object]) -> torch.Tensor:
        return torch.eye(400)[[self.rows.setdefault(fact, len(self.rows)) for fact in facts]]

    def encode_image(self, scenes: list[Scene]) -> torch.Tensor:
        return self.vectors([scene.fact for scene in scenes])

    def encode_text(self, texts: list[str]) -> torch.Tensor:
        read = [[self.single.get(text), *(world().reader.parse(text, x) for x in LANGUAGES)] for text in texts]
        return self.vectors([next(fact for fact in of_text if fact is not None) for of_text in read])


def test_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "looked_at", asked)
    right = marks(Knows(), CORNER, "validation", 12)  # type: ignore[arg-type]
    assert right == {"naming": [1.0] * 12, "retrieval": [1.0] * 12, "binding": [1.0] * 12}


def test_it_trains(tmp_path: Path) -> None:
    stage = replace(SMALL, steps=12, evaluate_every=6, warmup=2)
    train(replace(NEGATIVES["false"], stages=(stage,)), tmp_path / "out", workers=0, progress_bar=False)
    model = checkpoints.load(CLIP, tmp_path / "out")
    assert {name: len(right) for name, right in marks(model, CORNER, "validation", 5).items()} == {
        "naming": 5, "retrieval": 5, "binding": 5,
    }  # fmt: skip
