"""The report: everyone sits what they can, beside the baselines, and the same exam gives the same numbers."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vlm_history.cli import main
from vlm_history.errors import InputError
from vlm_history.exam import captioning, naming, report
from vlm_history.judge import Sighting
from vlm_history.world import World
from vlm_history.world.drawing import drawable


class Speaker:
    """Sits all that asks for words."""

    def caption(self, images: Any, *, language: str, beam: int) -> list[str]:
        return ["a cat"] * len(images)

    def answer(self, images: Any, questions: Any, *, language: str) -> list[str]:
        return ["yes"] * len(questions)


class Matcher:
    """Sits all that asks what fits, and finds no difference."""

    def encode_image(self, images: Any) -> torch.Tensor:
        return torch.ones(len(images), 2)

    def encode_text(self, texts: Any) -> torch.Tensor:
        return torch.ones(len(texts), 2)


class Writer:
    """Sees no pictures at all."""


class Drawer:
    """Draws the same for everything."""

    def draw(self, prompts: Any, *, seed: int) -> list[Any]:
        return [np.zeros((64, 64, 3), np.uint8)] * len(prompts)


class Judge:
    """Finds the first of the hundred in every picture."""

    def find(self, images: Any) -> list[list[Sighting]]:
        return [[Sighting(drawn.hexcode, 32.0, 32.0, 1.0)] for drawn in drawable()[:1]] * len(images)


OPEN = ["naming", "captioning", "binding", "retrieval", "answering"]
"""The tasks that need no judge."""


WORLD = World()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest neighbour has tests of its own: a guess stands in for it. Captions are resampled less often. There is
    no judge of drawings."""
    monkeypatch.setattr(report, "World", lambda artwork=None: WORLD if artwork is None else World(artwork))
    monkeypatch.setattr(captioning, "mark", partial(captioning.mark, resamples=20))
    monkeypatch.setitem(report.TASKS["naming"].baselines, "hog", naming.chance)  # type: ignore[arg-type]
    monkeypatch.setattr(report, "available", list)
    closed = replace(report.TASKS["drawing"], closed=lambda world: "expected a judge, got none")
    monkeypatch.setitem(report.TASKS, "drawing", closed)


def test_has_the_shape_of_the_design(tmp_path: Path) -> None:
    results = report.run(["chance"], n=20, seed=4)
    assert {"systems", "intervals", "artwork", "seed", "n"} <= set(results)
    assert (results["seed"], results["n"], results["artwork"]) == (4, 20, None)
    assert {name: set(tasks) for name, tasks in results["systems"].items()} == {
        "chance": {"naming", "captioning", "binding", "retrieval", "answering"},
        "most-frequent": {"captioning", "answering"},
        "hog": {"naming"},
        "oracle": {"naming", "captioning", "binding", "retrieval", "answering"},
    }
    for name, tasks in results["systems"].items():
        for task, marks in tasks.items():
            for metric, value in marks.items():
                low, high = results["intervals"][name][task][metric]
                assert low <= value <= high
            assert set(marks) == {p + c for p in report.TASKS[task].sheets for part in report.TASKS[task].columns
                                  for c in part}  # fmt: skip
    marks = results["systems"]["chance"]["captioning"]
    for metric in ("exact", "object_f1", "bleu4", "cider"):
        assert {f"{metric}_ko", f"{metric}_en", f"artist_{metric}_ko", f"artist_{metric}_en"} <= set(marks)
    assert marks["exact_ko"] < 0.1
    report.write_json(results, tmp_path / "exam.json")
    assert json.loads((tmp_path / "exam.json").read_text(encoding="utf-8")) == results
    assert results == report.run(["chance"], n=20, seed=4)


def test_everyone_sits_what_they_can() -> None:
    told: list[str] = []
    models = {"llava": Speaker(), "gpt-1": Writer()}
    results = report.run(["gpt-1", "llava"], n=4, models=models, tell=told.append)
    assert set(results["systems"]["llava"]) == {"naming", "captioning", "answering"}
    assert results["systems"]["gpt-1"] == {} == results["intervals"]["gpt-1"]
    assert any("gpt-1: can sit none" in line for line in told)
    assert results["systems"]["llava"]["captioning"]["exact_en"] == 0

    alone = report.run(["gpt-1"], n=4, models=models)
    assert alone["systems"] == {"gpt-1": {}}
    assert "nothing here that they can sit" in report.table(alone)


def test_only_the_tasks_asked_for() -> None:
    results = report.run(["llava"], tasks=["answering", "naming"], n=4, models={"llava": Speaker()})
    assert list(results["systems"]["llava"]) == ["naming", "answering"]
    assert list(results["systems"]) == ["chance", "most-frequent", "hog", "oracle", "llava"]
    results = report.run(["clip"], n=4, models={"clip": Matcher()})
    assert list(results["systems"]["clip"]) == ["binding", "retrieval"]
    assert results["systems"]["clip"]["binding"]["text_ko"] == 0.5
    results = report.run(["llava"], tasks=["captioning"], n=4, models={"llava": Speaker()})
    assert {name: list(tasks) for name, tasks in results["systems"].items()} == {
        name: ["captioning"] for name in ("chance", "most-frequent", "oracle", "llava")
    }


def test_table_has_a_block_a_task() -> None:
    results = report.run(n=20, seed=4, models={"llava": Speaker(), "clip": Matcher(), "gpt-1": Writer()})
    text = report.table(results)
    assert "n = 20" in text and "seed 4" in text
    blocks = text.split("\n\n")
    for task in OPEN:
        assert sum(block.startswith(f"{task}: ") for block in blocks) == 1
    captioning = text[text.index("captioning:") : text.index("answering:")]
    assert "oracle" in captioning and "hog" not in captioning
    assert any(line.startswith("gpt-1") and set(line.removeprefix("gpt-1")) == {" ", "-"} for line in text.split("\n"))
    assert all(len(line) < 120 for line in text.split("\n"))


def test_card_holds_all_tasks(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text('{"system": "llava"}', encoding="utf-8")
    results = report.run(["llava", "gpt-1"], n=4, models={"llava": Speaker(), "gpt-1": Writer()})
    report.write_card(results, "llava", tmp_path)
    card = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    assert card["system"] == "llava"
    scores = card["scores"]
    assert (scores["n"], scores["seed"], scores["beam"]) == (4, 0, 3)
    assert set(scores["systems"]) == set(scores["intervals"]) == {*report.BASELINES, "llava"}
    assert scores["systems"]["llava"] == results["systems"]["llava"]

    lone = report.run(["gpt-1"], n=4, models={"gpt-1": Writer()})
    report.write_card(lone, "gpt-1", tmp_path)
    assert json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))["scores"]["systems"] == {"gpt-1": {}}


def test_own_artwork(tmp_path: Path) -> None:
    concepts = WORLD.drawn_by("noto")[:20]
    pack = tmp_path / "mine.npz"
    np.savez(pack, rgba=np.stack([WORLD.sprite(c, "noto") for c in concepts]), hexcode=[c.hexcode for c in concepts])
    results = report.run(["chance"], artwork=pack, n=10)
    assert results["artwork"] == str(pack)
    for marks in results["systems"]["oracle"].values():
        assert not any(name.startswith(("artist_", "seen_")) for name in marks)
    assert results["systems"]["oracle"]["captioning"]["exact_en"] == 1
    text = report.table(results)
    assert "artist of the pack" in text and "never seen" not in text


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="at least 2"):
        report.run(n=1)
    with pytest.raises(InputError, match=f"expected tasks among {', '.join(report.TASKS)}, got 'dancing'"):
        report.run(tasks=["naming", "dancing"], n=2)
    with pytest.raises(InputError, match="there are: cnn"):
        report.run(["gpt-9"], n=2)


def test_drawing_is_sat_where_there_is_a_judge(tmp_path: Path) -> None:
    told: list[str] = []
    models = {"dall-e": Drawer(), "llava": Speaker()}
    results = report.run(n=4, models=models, tell=told.append)
    assert results["systems"]["dall-e"] == {}
    assert set(results["systems"]["llava"]) == {"naming", "captioning", "answering"}
    assert any("drawing is left out: expected a judge" in line for line in told)
    with pytest.raises(InputError, match="expected a judge"):
        report.run(["dall-e"], tasks=["drawing"], n=4, models=models)

    results = report.run(["dall-e"], n=4, models=models, judge=Judge())  # type: ignore[arg-type]  # judges
    assert {name: list(sat) for name, sat in results["systems"].items()} == {
        name: ["drawing"] for name in ("chance", "oracle", "dall-e")
    }
    assert set(results["systems"]["dall-e"]["drawing"]) == {
        f"{metric}_{language}" for metric in ("objects", "relation", "one") for language in ("ko", "en")
    }
    text = report.table(results)
    assert "objects_ko" in text and "one_en" in text and "CLIP's choice" not in text
    (tmp_path / "card.json").write_text("{}", encoding="utf-8")
    report.write_card(report.judged(Judge(), n=4), "judge", tmp_path)  # type: ignore[arg-type]  # judges
    scores = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))["scores"]
    assert set(scores["systems"]) == set(scores["intervals"]) == {"chance", "oracle"}


def test_the_command_line_chooses_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "exam.json"
    assert main(["exam", "--n", "4", "--json", str(out), "--tasks", "naming", "answering"]) == 0
    told = capsys.readouterr().out
    assert "top1_ko" in told and "where_en" in told and "captioning" not in told
    assert set(json.loads(out.read_text(encoding="utf-8"))["systems"]["oracle"]) == {"naming", "answering"}
    assert main(["exam", "--tasks", "dancing"]) == 2
    assert "got 'dancing'" in capsys.readouterr().err
