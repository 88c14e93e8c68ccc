"""Benchmarks: answers are compared before times, sides run in turn, and the command line writes what it measured."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from vlm_history import bench
from vlm_history.cli import main
from vlm_history.errors import InputError
from vlm_history.pretrain.autoencoder import AutoencoderConfig
from vlm_history.pretrain.clip import CLIPConfig
from vlm_history.pretrain.clip_towers import TextConfig, ViTConfig
from vlm_history.pretrain.dalle import DALLEConfig
from vlm_history.pretrain.dvae import DVAEConfig
from vlm_history.pretrain.gpt1 import GPTConfig
from vlm_history.pretrain.samplers import NoiseConfig
from vlm_history.pretrain.stable_diffusion import StableDiffusionConfig
from vlm_history.pretrain.unet import UNetConfig


def sides(ours: float, reference: float, log: list[str] | None = None) -> bench.Sides:
    """Two sides that return a number each, and note when they are called."""

    def side(name: str, value: float) -> Callable[[], torch.Tensor]:
        def call() -> torch.Tensor:
            if log is not None:
                log.append(name)
            return torch.tensor([value])

        return call

    return side("ours", ours), side("reference", reference), bench.apart


def test_both_sides_are_compared_and_then_timed_in_turn() -> None:
    log: list[str] = []
    result = bench.measure(sides(1.0, 1.00001, log), repeats=3, clock=time.perf_counter)
    assert log == ["ours", "reference"] * 4
    assert set(result) == {"ours", "reference", "ratio", "equal"}
    assert result["equal"] == pytest.approx(1e-5, rel=0.05)
    assert result["ratio"] == result["reference"] / result["ours"] > 0


def test_the_median_counts() -> None:
    ticks = iter([0, 1, 10, 14, 20, 22, 30, 38, 40, 49, 50, 56])  # ours 1, 2, 9; the reference 4, 8, 6
    result = bench.measure(sides(1.0, 1.0), repeats=3, clock=lambda: float(next(ticks)))
    assert result == {"ours": 2, "reference": 6, "ratio": 3, "equal": 0}


@pytest.mark.parametrize("wrong", [1.001, float("nan")])
def test_no_time_without_equal_answers(wrong: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench.CASES, "wrong", lambda: sides(1.0, wrong))
    with pytest.raises(bench.NotEqual, match="wrong: answers differ"):
        bench.run(["wrong"], repeats=1)
    with pytest.raises(SystemExit, match="vlm-history: wrong: answers differ"):
        main(["bench", "wrong"])


def test_tuples_are_compared_part_by_part() -> None:
    zero, one = torch.zeros(2), torch.tensor([0.0, 1.0])
    assert bench.apart((zero, zero), (zero, one)) == 1.0
    with pytest.raises(ValueError, match="shorter"):
        bench.apart((zero, zero), (zero,))


def test_the_common_form_is_the_same_decoder() -> None:
    """At a small size, here; `bench` compares at the published one."""
    torch.manual_seed(0)
    ours, reference, _ = bench._attending(features=8, hidden=12, batch=3, words=4)
    with torch.no_grad():
        (logits, alpha), (slow_logits, slow_alpha) = ours(), reference()
    assert logits.shape == (3, 4, 10_000) and alpha.shape == (3, 4, 196)
    torch.testing.assert_close(logits, slow_logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(alpha, slow_alpha, atol=1e-6, rtol=0)


def test_the_loop_is_the_kernel() -> None:
    result = bench.run(["lstm"], repeats=1)["lstm"]
    assert result["equal"] < 1e-5 and result["ours"] > 0


def test_clips_loss_is_open_clips_with_its_gradients() -> None:
    ours, reference, compare = bench._clip_loss(batch=40, width=8)
    assert len(ours()) == 4 and compare(ours(), reference()) < 1e-6


@pytest.mark.parametrize("library", ["open_clip", "transformers"])
@torch.no_grad()
def test_clips_image_vectors_are_the_librarys(library: str) -> None:
    """At a small size, here; `bench` compares at the published one."""
    config = CLIPConfig(ViTConfig(8, 32, 2, 4, 32), TextConfig(90, 12, 16, 1, 2), width=24)
    ours, reference, compare = bench._clip_image(config, library, batch=2)
    assert ours().shape == (2, 24) and compare(ours(), reference()) < 1e-5


def test_bounded_memory_grows_with_the_batch_and_not_with_its_square() -> None:
    half, pairs = 2048, 4096
    peaks = bench.memory([half, pairs], width=64, largest=4 * pairs**2)
    peak = peaks[str(pairs)]
    assert peak["reference"] > 3 * 4 * pairs**2  # all logits, their gradients, and more
    assert peak["ours"] < 3 * peaks[str(half)]["ours"]  # twice as much, where the square would be four times
    assert peak["ours"] < peak["reference"] / 2
    assert set(bench.memory([16], width=8, largest=0)["16"]) == {"ours"}
    assert bench.memory_table({"8": {"ours": 2**20}}).splitlines()[1].split() == ["8", "1", "MiB", "-"]


def test_memory_from_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "memory", lambda tell: {"8": {"ours": 2**20, "reference": 2**21}})
    assert main(["bench", "--memory", "--json", str(tmp_path / "m.json")]) == 0
    assert "2 MiB" in capsys.readouterr().out
    assert json.loads((tmp_path / "m.json").read_text(encoding="utf-8")) == {"8": {"ours": 2**20, "reference": 2**21}}
    assert main(["bench", "lstm", "--memory"]) == 2


@torch.no_grad()
def test_both_write_the_same() -> None:
    """At a small size, here; `bench` compares at those it names."""
    torch.manual_seed(0)
    config = GPTConfig(90, length=24, width=16, depth=2, heads=2)
    for batch in (1, 3):
        ours, reference, compare = bench._writing(config, batch, new=9)
        assert ours().shape == (batch, 17) and compare(ours(), reference()) == 0
    ours, theirs = bench._gpt2(config)
    tokens = torch.randint(90, (2, 5))
    assert torch.equal(ours.generate(tokens, new=9), bench.bare_loop(theirs, tokens, 9))


@torch.no_grad()
def test_both_draw_the_same_codes() -> None:
    """At a small size, here; `bench` compares at the world's."""
    torch.manual_seed(0)
    vae = DVAEConfig(codes=20, widths=(4, 8, 8, 12), entry=6, blocks=1, gain=0.5, image_size=32)
    config = DALLEConfig(vae, vocabulary=30, length=6, width=16, depth=6, heads=2, kernel=3)
    for batch in (1, 3):
        ours, reference, compare = bench._dalle(config, batch)
        assert ours().shape == (batch, 16) and compare(ours(), reference()) == 0
        assert len(set(ours().flatten().tolist())) > 5


@torch.no_grad()
def test_the_unet_and_the_whole_pipeline_are_diffusers() -> None:
    """At a small size, here; `bench` compares at those it names."""
    torch.manual_seed(0)
    config = StableDiffusionConfig(
        AutoencoderConfig(widths=(8, 12), depth=1, channels=2, groups=4, image_size=16),
        UNetConfig(channels=2, widths=(8, 16), attention=(True, False), depth=1, heads=2, source=12, groups=4),
        TextConfig(90, length=10, width=12, depth=1, heads=2),
        NoiseConfig(prediction="v"),
        tokens=10,
    )
    ours, reference, compare = bench._unet(config, side=8)
    assert ours().shape == (1, 2, 8, 8) and compare(ours(), reference()) < 1e-5
    ours, reference, compare = bench._pipeline(config, steps=3)
    assert ours().shape == (1, 3, 16, 16) and compare(ours(), reference()) < 1e-5


def test_without_diffusers_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="expected diffusers to be installed"):
        bench.run(["drawing"])


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads()
    during: list[int] = []

    def case() -> bench.Sides:
        during.append(torch.get_num_threads())
        return sides(1.0, 1.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(bench.CASES, "threads", case)
        bench.run(["threads"], repeats=1, threads=before + 1)
    assert during == [before + 1] and torch.get_num_threads() == before


def test_what_is_asked_for_is_checked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert bench.check([]) == list(bench.CASES)
    assert bench.check(["lstm", "lstm"]) == ["lstm"]
    with pytest.raises(InputError, match="repeat"):
        bench.run(["lstm"], repeats=0)
    assert main(["bench", "gpt-9"]) == 2
    assert "among lstm" in capsys.readouterr().err
    assert main(["bench", "lstm", "--json", str(tmp_path / "no" / "x.json")]) == 2
    assert "folder" in capsys.readouterr().err


def test_each_case_says_what_it_compares() -> None:
    assert all(bench.about(name).endswith(".") and len(bench.about(name)) < 121 for name in bench.CASES)


def test_the_command_line_prints_a_table_and_writes_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "CASES", {"a": lambda: sides(1.0, 1.0), "long-name": lambda: sides(2.0, 2.0)})
    out = tmp_path / "bench.json"
    assert main(["bench", "--json", str(out), "--repeats", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ours", "reference", "ratio", "difference"]
    assert len({len(line) for line in lines}) == 1 and lines[2].startswith("long-name  ")
    results = json.loads(out.read_text(encoding="utf-8"))
    assert list(results) == ["a", "long-name"]
    assert set(results["a"]) == {"ours", "reference", "ratio", "equal"}
