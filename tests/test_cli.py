"""The command line: bad input is answered in one line, good input with what was asked."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlm_history.cli import main
from vlm_history.systems import available


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run, expect exit code 2 and one line on stderr that is no stack trace."""
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1 and told.err.startswith("vlm-history: "), told.err
    assert "Traceback" not in told.err
    return told.err


def test_missing_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "nope.png" in complaint(capsys, "caption", str(tmp_path / "nope.png"))
    assert "no file" in complaint(capsys, "caption", str(tmp_path))


def test_unknown_system(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "p.png"
    Image.new("RGB", (8, 8)).save(picture)
    assert "there are: cnn" in complaint(capsys, "caption", str(picture), "--system", "gpt-9")
    assert "there are: cnn" in complaint(capsys, "train", "gpt-9")
    assert "there are: cnn" in complaint(capsys, "exam", "gpt-9")


def test_system_without_recipe_or_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "recipe" in complaint(capsys, "train", "llava")
    assert "weights" in complaint(capsys, "exam", "llava")
    assert "model.safetensors" in complaint(capsys, "exam", "show-and-tell", "--weights", str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"no npz", b"PK\x03\x04 truncated"], ids=["empty", "text", "truncated"])
def test_bad_pack(capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes) -> None:
    pack = tmp_path / "pack.npz"
    pack.write_bytes(content)
    assert "pack" in complaint(capsys, "exam", "--artwork", str(pack), "--n", "2")
    assert "pack" in complaint(capsys, "world", "sample", "--artwork", str(pack))


def test_pickle_in_pack(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pack = tmp_path / "pack.npz"
    np.savez(pack, rgba=np.array([{}], dtype=object), hexcode=["1F431"])
    complaint(capsys, "world", "sample", "--artwork", str(pack))


def test_no_such_pack(capsys: pytest.CaptureFixture[str]) -> None:
    assert "nope.npz" in complaint(capsys, "exam", "--artwork", "nope.npz")


def test_nowhere_to_write(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    nowhere = str(tmp_path / "no" / "such" / "x")
    assert "folder" in complaint(capsys, "exam", "--json", nowhere + ".json")
    complaint(capsys, "world", "sample", "--out", nowhere + ".png")
    complaint(capsys, "world", "sample", "--out", str(tmp_path / "x.unknown"))


def test_wrong_kind_and_split(capsys: pytest.CaptureFixture[str]) -> None:
    assert "kind" in complaint(capsys, "world", "sample", "--kind", "five")
    assert "split" in complaint(capsys, "world", "sample", "--split", "tset")


def test_exam_refuses_what_does_not_fit(capsys: pytest.CaptureFixture[str]) -> None:
    complaint(capsys, "exam", "--card")
    complaint(capsys, "exam", "--n", "1")


@pytest.mark.parametrize(
    "arguments", [[], ["dance"], ["caption"], ["exam", "--n", "many"], ["exam", "--n", "0"], ["train"]], ids=" ".join
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_world_sample(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from vlm_history.world import World

    out = tmp_path / "scene.png"
    assert main(["world", "sample", "--seed", "7", "--kind", "pair", "--out", str(out), "--scale", "3"]) == 0
    scene = World().sample(7, kind="pair")
    assert capsys.readouterr().out.splitlines() == [scene.caption("ko"), scene.caption("en")]
    picture = np.asarray(Image.open(out))
    assert picture.shape == (192, 192, 3)
    assert (picture[::3, ::3] == scene.image()).all()


def test_exam_writes_json(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlm_history.exam.report.available", list)
    out = tmp_path / "exam.json"
    assert main(["exam", "--n", "5", "--seed", "2", "--json", str(out)]) == 0
    told = capsys.readouterr().out
    assert "exact_ko" in told and "n = 5" in told
    report = json.loads(out.read_text(encoding="utf-8"))
    assert set(report["systems"]) == {"chance", "most-frequent", "hog", "oracle"}
    assert (report["n"], report["seed"]) == (5, 2)


def test_caption_with_shipped_weights(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    if "show-and-tell" not in available():
        pytest.skip("no weights shipped yet")
    from vlm_history.world import World

    picture = tmp_path / "scene.png"
    Image.fromarray(World().sample(1, kind="one").image()).save(picture)
    assert main(["caption", str(picture), "--language", "en", "--beam", "2"]) == 0
    assert capsys.readouterr().out.strip()
    not_a_picture = tmp_path / "text.png"
    not_a_picture.write_text("not a picture")
    complaint(capsys, "caption", str(not_a_picture))


@pytest.mark.parametrize("library", ["transformers", "open_clip"])
def test_classify_with_a_published_clip_from_a_directory(
    library: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from vlm_history import published
    from vlm_history.pretrain.clip import CLIP, CLIPConfig
    from vlm_history.pretrain.clip_towers import TextConfig, ViTConfig

    config = CLIPConfig(ViTConfig(16, 16, 1, 2, 32), TextConfig(width=16, depth=1, heads=2), width=16)
    published.export(CLIP(config), tmp_path / "model", library=library)
    picture = tmp_path / "photo.jpg"
    Image.new("RGB", (60, 40), "teal").save(picture)
    classify = ["classify", str(picture), "cat", "dog", "--model", str(tmp_path / "model")]
    assert main([*classify, "--prompts", "a photo of a {}.", "a drawing of a {}."]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[1] for line in lines} == {"cat", "dog"} and all("%" in line for line in lines)
    assert main([*classify, "--top", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_classify_refuses_what_it_cannot_do(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    picture = tmp_path / "p.png"
    Image.new("RGB", (8, 8)).save(picture)
    assert "no file" in complaint(capsys, "classify", str(tmp_path / "nope.jpg"), "cat")
    assert "there are: cnn" in complaint(capsys, "classify", str(picture), "cat", "--system", "gpt-9")
    offline = complaint(capsys, "classify", str(picture), "cat", "--model", "openai/clip-vit-base-patch32")
    assert "not on this computer" in offline and "directory" in offline
    assert "directory" in complaint(capsys, "classify", str(picture), "cat", "--model", str(tmp_path / "nowhere"))
    if "cnn" in available():
        assert "--prompts with clip" in complaint(
            capsys, "classify", str(picture), "고양이", "--system", "cnn", "--prompts", "{}"
        )
        assert main(["classify", str(picture), "고양이", "사과", "--system", "cnn"]) == 0
        assert "고양이" in capsys.readouterr().out


def test_help_is_instant() -> None:
    """No heavy import stands between a reader and the help text."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "vlm_history.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "caption" in done.stdout
    assert not any(f" {heavy}\n" in done.stderr for heavy in ("torch", "numpy", "accelerate", "PIL"))
