"""The drawing task: the truth gets full marks, chance next to none, a system sees nothing but captions, and who copies
is found out."""

import ast
import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.exam.cards import agrees, scores_of
from vlm_history.cli import main
from vlm_history.errors import InputError
from vlm_history.exam import copying, drawing
from vlm_history.judge import Sighting, related
from vlm_history.pretrain.dalle import DALLE
from vlm_history.systems import find, load
from vlm_history.world import Scene, World
from vlm_history.world.drawing import EVERYDAY, scenes
from vlm_history.world.splits import SPLITS, TRAIN_ARTISTS, pair_split

N = 48
PLAIN = {f"{metric}_{language}" for metric in ("objects", "relation", "one") for language in ("ko", "en")}


class Knowing:
    """A judge that is told the truth of every picture that it may be shown."""

    def __init__(self) -> None:
        self.truth: dict[bytes, Scene] = {}

    def learn(self, some: list[Scene]) -> list[Any]:
        pictures = list(some[0].world.render(some))
        self.truth |= {picture.tobytes(): scene for picture, scene in zip(pictures, some, strict=True)}
        return pictures

    def find(self, images: Any) -> list[list[Sighting]]:
        return [sightings(self.truth[image.tobytes()]) for image in images]


def sightings(scene: Scene) -> list[Sighting]:
    return [Sighting(thing.concept.hexcode, float(thing.x), float(thing.y), 1.0) for thing in scene.things]


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def judge() -> Knowing:
    return Knowing()


@pytest.fixture(scope="module")
def sheets(world: World, judge: Knowing) -> list[drawing.Paper]:
    return drawing.papers(world, N, 0, judge=judge)  # type: ignore[arg-type]  # judges


def test_sheets_are_held_out_and_of_everyday_things(sheets: list[drawing.Paper]) -> None:
    assert [(s.prefix, s.language, s.candidates) for s in sheets] == [
        ("", "ko", 1), ("", "en", 1), ("reranked_", "ko", 16), ("reranked_", "en", 16),
    ]  # fmt: skip
    for sheet in sheets:
        assert [scene.kind for scene in sheet.scenes] == ["pair"] * N + ["one"] * (N // 4)
        for scene, prompt in zip(sheet.scenes, sheet.prompts, strict=True):
            shown = [thing.concept.hexcode for thing in scene.things]
            assert scene.artist in TRAIN_ARTISTS and set(shown) <= set(EVERYDAY)
            assert len(shown) == 1 or pair_split(*shown) == "test"
            assert scene.world.reader.parse(prompt, sheet.language) == scene.fact


def test_the_task_names_no_other_splits() -> None:
    constants = {n.value for n in ast.walk(ast.parse(Path(drawing.__file__).read_text(encoding="utf-8")))
                 if isinstance(n, ast.Constant) and isinstance(n.value, str)}  # fmt: skip
    assert constants & set(SPLITS) == {"train", "test"}


def test_truth_gets_full_marks_and_chance_next_to_none(
    world: World, judge: Knowing, sheets: list[drawing.Paper]
) -> None:
    judge.learn(sheets[0].scenes)
    assert drawing.sit(drawing.oracle(world, 0), sheets, 0) == dict.fromkeys(PLAIN, (1, 1, 1))
    shown = [world.sample(1_000_000_000 + i, "train", s.kind, EVERYDAY) for i, s in enumerate(sheets[0].scenes)]
    judge.learn(shown)
    marks = drawing.sit(drawing.chance(world, 0), sheets, 0)
    assert set(marks) == PLAIN and all(value < 0.1 for value, _, _ in marks.values())


def test_what_a_drawing_is_marked_by(world: World) -> None:
    scene = world.scene("cat", "apple", relation="left")
    cat, apple = sightings(scene)
    dog = Sighting("1F415", 10.0, 10.0, 0.9)
    assert drawing.as_asked(scene, [apple, cat]) == (1, True)
    assert drawing.as_asked(scene, [cat]) == (pytest.approx(2 / 3), False)
    assert drawing.as_asked(scene, [cat, dog]) == (0.5, False)
    assert drawing.as_asked(scene, [cat, apple, dog]) == (0.8, True)
    assert drawing.as_asked(scene, []) == drawing.as_asked(scene, [dog]) == (0, False)
    exchanged = [replace(cat, x=apple.x, y=apple.y), replace(apple, x=cat.x, y=cat.y)]
    assert drawing.as_asked(scene, exchanged) == (1, False)
    assert drawing.as_asked(scene, [replace(cat, x=30.0, y=10.0), replace(apple, x=34.0, y=50.0)]) == (1, False)
    assert drawing.as_asked(world.scene("cat"), [cat]) == (1, False)


def test_relations_are_those_of_the_world(sheets: list[drawing.Paper]) -> None:
    for scene in sheets[0].scenes[:N]:
        assert related(*sightings(scene)) == scene.relation


class Drawer:
    """Draws the scene of which a caption is, or, of many captions, whatever else is asked of it."""

    def __init__(self, sheets: list[drawing.Paper]) -> None:
        self.known = {p: s for sheet in sheets for p, s in zip(sheet.prompts, sheet.scenes, strict=True)}
        self.asked: list[tuple[int, int, dict[str, Any]]] = []

    def draw(self, prompts: list[str], *, seed: int, **options: Any) -> list[Any]:
        assert all(isinstance(prompt, str) for prompt in prompts)
        self.asked.append((len(prompts), seed, options))
        return [self.known[prompt].image() for prompt in prompts]


def test_a_system_gets_captions_only(world: World, judge: Knowing, sheets: list[drawing.Paper]) -> None:
    judge.learn(sheets[0].scenes)
    model = Drawer(sheets)
    assert drawing.can_sit(model) and not drawing.can_sit(object())
    marks = drawing.sit(drawing.drawer(model, world), sheets, 0)
    # a caption may be that of two scenes by different artists: the things are the same, so the marks are, too
    assert marks == dict.fromkeys(PLAIN, (1, 1, 1))  # and nothing is chosen from, since it is no DALL-E
    groups = len(range(0, N + N // 4, drawing.CHUNK))
    assert len(model.asked) == 2 * groups and all(not options for *_, options in model.asked)
    seeds = sorted({seed for _, seed, _ in model.asked})
    assert len(seeds) == groups and min(np.diff(seeds)) >= drawing.CANDIDATES


class Choosing(DALLE):
    """Is asked as a DALL-E is, and hands on to another drawer."""

    def __init__(self, other: Drawer) -> None:
        torch.nn.Module.__init__(self)
        self.draw = other.draw  # type: ignore[assignment]  # another's method


def test_dall_e_is_drawn_with_and_without_a_choice(world: World, judge: Knowing, sheets: list[drawing.Paper]) -> None:
    judge.learn(sheets[0].scenes)
    model, clip = Drawer(sheets), object()
    marks = drawing.sit(drawing.drawer(Choosing(model), world, chooser=clip), sheets, 0)
    assert set(marks) == PLAIN | {f"reranked_{name}" for name in PLAIN}
    half = len(model.asked) // 2
    assert all(options == {} for *_, options in model.asked[:half])
    assert all(options == {"candidates": 16, "judge": clip} for *_, options in model.asked[half:])
    assert [seed for _, seed, _ in model.asked[:half]] == [seed for _, seed, _ in model.asked[half:]]


def test_it_is_closed_without_a_judge_and_with_a_pack(
    world: World, judge: Knowing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("vlm_history.systems"), "WEIGHTS", tmp_path)
    assert not find("judge").shipped
    with pytest.raises(InputError, match=r"expected weights of the judge.*vlm-history train judge"):
        drawing.papers(world, 4, 0)
    assert drawing.closed(world, judge) is None  # type: ignore[arg-type]  # judges
    pack = tmp_path / "mine.npz"
    concepts = world.drawn_by("noto")[:4]
    np.savez(pack, rgba=np.stack([world.sprite(c, "noto") for c in concepts]), hexcode=[c.hexcode for c in concepts])
    with pytest.raises(InputError, match="no pack of artwork"):
        drawing.papers(World(pack), 4, 0, judge=judge)  # type: ignore[arg-type]  # judges


def test_the_shipped_judge_knows_real_scenes(world: World) -> None:
    card = json.loads((find("judge").weights / "card.json").read_text(encoding="utf-8"))
    told = card["scores"]["systems"]["oracle"]["drawing"]
    assert min(told["objects_ko"], told["objects_en"], told["one_ko"], told["one_en"]) >= 0.95
    marks = drawing.sit(drawing.oracle(world, 0), drawing.papers(world, 100, 0), 0)
    assert marks["objects_ko"] == marks["objects_en"] and abs(marks["objects_en"][0] - told["objects_en"]) < 0.04


@pytest.mark.parametrize(("name", "objects", "relation"), [("dall-e", 0.75, 0.5), ("stable-diffusion", 0.88, 0.68)])
def test_the_shipped_card_tells_the_truth(name: str, objects: float, relation: float, world: World) -> None:
    """Drawing and marking again agrees with the card: for a few of the same sentences, with a choice for fewer."""
    scores = scores_of(name)
    for n, chosen in ((48, False), (12, True)):
        sheets = [paper for paper in drawing.papers(world, n, scores["seed"]) if (paper.candidates > 1) == chosen]
        again = drawing.sit(drawing.drawer(load(name), world), sheets, 0)
        if again or not chosen:  # only DALL-E has CLIP choose
            agrees(name, "drawing", again, n)
    best = "reranked_" if name == "dall-e" else ""
    for language in ("ko", "en"):
        assert scores["systems"][name]["drawing"][f"{best}objects_{language}"] >= objects
        assert scores["systems"][name]["drawing"][f"{best}relation_{language}"] >= relation


def test_the_judge_is_examined_on_real_scenes_alone(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["exam", "judge", "--n", "4"]) == 0
    assert "oracle" in capsys.readouterr().out
    assert main(["exam", "judge", "--n", "4", "--tasks", "naming"]) == 2
    assert "only task of the judge, got naming" in capsys.readouterr().err
    pack = tmp_path / "mine.npz"
    concepts = world.drawn_by("noto")[:4]
    sprites = np.stack([world.sprite(c, "noto") for c in concepts])
    np.savez(pack, rgba=sprites, hexcode=[c.hexcode for c in concepts])
    assert main(["exam", "judge", "--n", "4", "--artwork", str(pack)]) == 2
    assert "no pack of artwork" in capsys.readouterr().err


def test_a_copy_is_found_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "CHUNK", 7)
    known = scenes(world, 40, seed=2, split="train")
    others = scenes(world, 6, seed=0, split="test")
    drawn = [known[11], others[0], known[30], *others[1:]]
    pictures = list(world.render(drawn))
    pictures[2] = np.clip(pictures[2].astype(int) + 3, 0, 255).astype(np.uint8)
    near = copying.nearest(pictures, [sightings(scene) for scene in drawn], known)
    assert len(near) == len(drawn)
    whole, things = near[0]
    assert whole.scene == known[11] and whole.apart == 0 and whole.thing is None
    assert [each.thing for each in things] == list(known[11].things) and {each.apart for each in things} == {0.0}
    whole, _ = near[2]
    assert whole.scene == known[30] and whole.apart == pytest.approx(3, abs=0.3)
    everything = world.render(known).astype(float)
    for picture, scene, (whole, things) in zip(pictures[3:], others[1:], near[3:], strict=True):
        assert len(things) == len(scene.things)
        apart = np.sqrt(((everything - picture) ** 2).mean((1, 2, 3)))
        assert whole.apart == pytest.approx(apart.min()) and whole.scene == known[apart.argmin()]
        assert whole.apart > 10
        for thing in things:
            assert thing.thing in thing.scene.things and thing.apart > 10


def test_copying_at_the_edges(world: World) -> None:
    picture = np.arange(64 * 64 * 3, dtype=np.uint64).astype(np.uint8).reshape(64, 64, 3)
    cut = copying.squares(picture, [(0, 0), (63.9, 63.9), (32, 40)])
    for square, (top, left) in zip(cut, ((0, 0), (32, 32), (24, 16)), strict=True):
        assert (square == picture[top : top + 32, left : left + 32]).all()
    known = scenes(world, 2, split="train")
    assert [things for _, things in copying.nearest([picture, picture], [[], []], known)] == [[], []]
    for wrong in (([picture[:32], picture], [[], []], known), ([picture], [[]], []), ([], [], known)):
        with pytest.raises(InputError, match=r"expected drawings of 64 x 64 .*got"):
            copying.nearest(*wrong)
