"""The loop: killed anywhere it ends the same, two processes do as one, and nothing half-written is ever seen."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from vlm_history.errors import InputError
from vlm_history.training import loop
from vlm_history.training.loop import train

sys.path.insert(0, str(Path(__file__).parent))
from tests.training.tiny import recipe

TINY = Path(__file__).parent / "tiny.py"


class Killed(BaseException):
    """As abrupt as Ctrl-C."""


def run(
    out: Path, keep: str = "last", kill: tuple[int, int] | None = None, workers: int = 0
) -> dict[str, torch.Tensor]:
    def after(stage: int, step: int) -> None:
        if (stage, step) == kill:
            raise Killed

    train(recipe(keep=keep), out, workers=workers, checkpoint_every=3, progress_bar=False,
          accelerator=Accelerator(cpu=True), after_step=after)  # fmt: skip
    return load_file(out / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    run(out)
    return out


@pytest.mark.parametrize("kill", [(0, 1), (0, 3), (0, 5), (0, 10), (1, 2), (1, 7), (1, 12)])
@pytest.mark.parametrize("keep", ["last", "best"])
def test_killed_and_resumed_ends_bitwise_the_same(
    whole: Path, tmp_path: Path, kill: tuple[int, int], keep: str
) -> None:
    expected = load_file(whole / "model.safetensors") if keep == "last" else run(tmp_path / "best", keep)
    with pytest.raises(Killed):
        run(tmp_path / "killed", keep, kill)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    assert same(run(tmp_path / "killed", keep), expected)
    cards = [json.loads((p / "card.json").read_text()) for p in (whole, tmp_path / "killed")]
    if keep == "last":
        assert cards[0]["history"] == cards[1]["history"]


def test_killed_twice(whole: Path, tmp_path: Path) -> None:
    for kill in ((0, 4), (1, 5)):
        with pytest.raises(Killed):
            run(tmp_path / "out", kill=kill)
    assert same(run(tmp_path / "out"), load_file(whole / "model.safetensors"))


def test_killed_while_writing_a_checkpoint(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    real, calls = loop.save_file, []

    def torn(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        calls.append(path)
        if len(calls) == 3:
            path.write_bytes(b"half of it")
            raise Killed
        real(tensors, path, metadata)

    monkeypatch.setattr(loop, "save_file", torn)
    with pytest.raises(Killed):
        run(out)
    monkeypatch.undo()
    assert (out / "training" / "checkpoint.safetensors.part").read_bytes() == b"half of it"
    assert same(run(out), load_file(whole / "model.safetensors"))


def test_worker_process_makes_the_same_batches(whole: Path, tmp_path: Path) -> None:
    assert same(run(tmp_path / "out", workers=1), load_file(whole / "model.safetensors"))


def test_card_and_clean_up(whole: Path) -> None:
    card = json.loads((whole / "card.json").read_text(encoding="utf-8"))
    assert card["recipe"]["hash"] == recipe().hash
    assert card["steps"] == 22 and card["images"] == 176
    assert card["recipe"]["seed"] == 7 and card["recipe"]["stages"][1]["name"] == "second"
    assert {"python", "torch", "accelerate"} <= card["versions"].keys()
    assert [(h["stage"], h["step"]) for h in card["history"]] == [
        ("first", 4), ("first", 8), ("first", 10), ("second", 4), ("second", 8), ("second", 12),
    ]  # fmt: skip
    assert card["history"][-1]["loss"] < card["history"][0]["loss"]
    assert sorted(p.name for p in whole.iterdir()) == ["card.json", "model.safetensors"]


def test_finished_training_is_not_done_again(whole: Path) -> None:
    before = (whole / "model.safetensors").stat().st_mtime_ns
    run(whole)
    assert (whole / "model.safetensors").stat().st_mtime_ns == before


def test_another_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        run(tmp_path, kill=(0, 5))
    with pytest.raises(InputError, match="holds one of"):
        run(tmp_path, keep="best")
    accelerator = Accelerator(cpu=True)
    train(recipe(keep="best"), tmp_path, resume=False, workers=0, progress_bar=False, accelerator=accelerator)
    with pytest.raises(InputError, match="holds weights of recipe"):
        run(tmp_path, keep="last")


def test_schedule() -> None:
    stage = recipe().stages[0]
    rates = [stage.rate(step) for step in range(stage.steps + 1)]
    assert rates[0] == pytest.approx(0.005)
    assert max(rates) == rates[1] == rates[2] == pytest.approx(0.01)
    assert rates[stage.steps] == pytest.approx(0.01 * 0.02)
    assert rates[2:] == sorted(rates[2:], reverse=True)


def test_hash_follows_every_field() -> None:
    assert recipe().hash == recipe().hash
    assert len({recipe().hash, recipe(dropout=0.2).hash, recipe(keep="best").hash}) == 3


def test_two_gloo_processes_do_as_one(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(TINY)]
    done = subprocess.run(
        [*launch, str(tmp_path / "two")], env=environment, capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    train(recipe(dropout=0), tmp_path / "one", workers=0, progress_bar=False, accelerator=Accelerator(cpu=True))
    one, two = (load_file(tmp_path / n / "model.safetensors") for n in ("one", "two"))
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-5)
    assert json.loads((tmp_path / "two" / "card.json").read_text())["processes"] == 2
