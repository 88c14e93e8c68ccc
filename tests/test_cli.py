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
    "arguments",
    [[], ["dance"], ["caption"], ["draw"], ["exam", "--n", "many"], ["exam", "--n", "0"], ["train"]],
    ids=" ".join,
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


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a small DALL-E and Stable Diffusion, as training saves them, and of the latter as diffusers does."""
    import torch

    from tests.pretrain.test_dalle import SMALL, WORDS
    from tests.pretrain.test_stable_diffusion import model
    from vlm_history import checkpoints, published
    from vlm_history.pretrain.dalle import DALLE

    folder, diffusion = tmp_path_factory.mktemp("small"), model()
    torch.manual_seed(0)
    checkpoints.save(DALLE(SMALL, WORDS), folder / "dall-e")
    checkpoints.save(diffusion, folder / "stable-diffusion")
    published.export(diffusion, folder / "diffusers", library="diffusers")
    return {path.name: path for path in folder.iterdir()}


def drawn_by(small: dict[str, Path], system: str) -> list[str]:
    """The command line as far as the model."""
    chosen = ["--model", system, "--weights", str(small[system])]
    return ["draw", "고양이 a cat", *(["--model", str(small[system])] if system == "diffusers" else chosen)]


@pytest.mark.parametrize(
    ("system", "options", "side"),
    [
        ("dall-e", [], 32),
        ("stable-diffusion", ["--steps", "2", "--sampler", "ddim"], 16),
        ("diffusers", ["--steps", "2"], 16),
    ],
)
def test_a_picture_is_drawn(
    system: str, options: list[str], side: int, small: dict[str, Path], capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:  # fmt: skip
    draw = [*drawn_by(small, system), *options, "--guidance", "2"]
    one, again, other, several = (tmp_path / name for name in ("one.png", "again.PNG", "other.png", "several.png"))
    for file, seed in ((one, "3"), (again, "3"), (other, "4")):
        assert main([*draw, "--seed", seed, "--out", str(file)]) == 0
        assert capsys.readouterr() == (f"{file}\n", "")
    with Image.open(one) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (side, side))
    assert one.read_bytes() == again.read_bytes() != other.read_bytes()
    assert main([*draw, "--seed", "3", "--n", "2", "--out", str(several)]) == 0
    numbered = [tmp_path / "several-1.png", tmp_path / "several-2.png"]
    assert capsys.readouterr().out.split() == [str(file) for file in numbered]
    for file, same in zip(numbered, (one, other), strict=True):
        assert np.abs(np.asarray(Image.open(file)).astype(int) - np.asarray(Image.open(same))).max() <= 1
    assert main([*draw, "--out", str(tmp_path / "p.jpg")]) == 0
    assert Image.open(tmp_path / "p.jpg").format == "JPEG"
    assert sorted(tmp_path.iterdir()) == sorted([one, again, other, *numbered, tmp_path / "p.jpg"])  # no half ones


def test_it_is_picture_png_here_if_nothing_is_said(
    small: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(drawn_by(small, "dall-e")) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]


def test_from_a_picture_and_into_a_hole(small: dict[str, Path], tmp_path: Path) -> None:
    draw = [*drawn_by(small, "stable-diffusion"), "--steps", "3"]
    image, mask, out = (tmp_path / name for name in ("image.png", "mask.png", "out.png"))
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    hole = np.zeros((16, 16), np.uint8)
    hole[:, 8:] = 255
    hole[:, :8] = 3  # black enough
    Image.fromarray(pixels).save(image)
    Image.fromarray(hole).convert("RGB").save(mask)
    assert main([*draw, "--from", str(image), "--strength", "0.4", "--out", str(out)]) == 0
    gently = np.asarray(Image.open(out))
    assert main([*draw, "--from", str(image), "--out", str(out)]) == 0
    assert gently.shape == (16, 16, 3) and not np.array_equal(gently, np.asarray(Image.open(out)))
    assert main([*draw, "--from", str(image), "--mask", str(mask), "--out", str(out)]) == 0
    filled = np.asarray(Image.open(out))
    assert np.array_equal(filled[:, :8], pixels[:, :8]) and not np.array_equal(filled[:, 8:], pixels[:, 8:])


@pytest.mark.parametrize("system", ["dall-e", "stable-diffusion"])
def test_draw_refuses_what_it_cannot_do(
    system: str, small: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "picture.png"
    draw = [*drawn_by(small, system), "--out", str(out)]

    def refused(*options: str) -> str:
        return complaint(capsys, *draw, *options)

    assert "tokens" in complaint(capsys, "draw", "고양이 " * 99, *draw[2:])
    assert "UTF-8" in complaint(capsys, "draw", "caf\udce9", *draw[2:])
    for guidance in ("nan", "inf", "-1"):
        assert "guidance" in refused("--guidance", guidance)
    assert "seed" in refused("--seed", "-1") and "seed" in refused("--seed", str(2**64))
    assert "which is a folder" in refused("--out", str(tmp_path))
    (tmp_path / "taken-2.png").mkdir()
    assert "taken-2.png, which is a folder" in refused("--n", "2", "--out", str(tmp_path / "taken.png"))
    for name in ("p", "p.unknown", "p.psd", "p.xbm", ".png"):
        assert "let it end with .png" in refused("--out", str(tmp_path / name))
    assert "make the folder first" in refused("--out", str(tmp_path / "no" / "p.png"))
    assert "make the folder first" in refused("--out", str(small[system] / "config.json" / "p.png"))
    assert "can be written" in refused("--out", str(tmp_path / f"{'long' * 99}.png"))
    assert "model.safetensors" in refused("--weights", str(tmp_path))
    assert "configuration" in refused("--weights", str(small["stable-diffusion" if system == "dall-e" else "dall-e"]))
    assert not out.exists() and [file.name for file in tmp_path.iterdir()] == ["taken-2.png"]


def test_draw_refuses_what_only_diffusion_has(
    small: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out, image, dark = (str(tmp_path / name) for name in ("picture.png", "image.png", "dark.png"))
    Image.new("RGB", (16, 16), "teal").save(image)
    Image.new("L", (16, 16)).save(dark)
    (tmp_path / "text.png").write_text("not a picture")

    def refused(system: str, *options: str) -> str:
        return complaint(capsys, *drawn_by(small, system), "--out", out, *options)

    assert "--steps with stable-diffusion" in refused("dall-e", "--steps", "5")
    assert "--sampler with stable-diffusion" in refused("dall-e", "--sampler", "ddim")
    assert "--from with stable-diffusion" in refused("dall-e", "--from", image)
    for steps in ("0", "-3", "1000"):
        assert "steps from 1 to 999" in refused("stable-diffusion", "--steps", steps)
    assert "ddpm, ddim, dpm-solver++" in refused("stable-diffusion", "--sampler", "euler")
    for strength in ("0", "1.5", "nan"):
        assert "strength above 0" in refused("stable-diffusion", "--from", image, "--strength", strength)
    assert "pass it with --from" in refused("stable-diffusion", "--strength", "0.5")
    assert "pass it with --from" in refused("stable-diffusion", "--mask", image)
    assert "drop one" in refused("stable-diffusion", "--from", image, "--mask", image, "--strength", "0.5")
    assert "no file" in refused("stable-diffusion", "--from", str(tmp_path / "nope.png"))
    assert "no file" in refused("stable-diffusion", "--from", "long" * 99)
    assert "no file" in refused("stable-diffusion", "--from", image, "--mask", str(tmp_path))
    assert "cannot be read" in refused("stable-diffusion", "--from", str(tmp_path / "text.png"))
    assert "cannot be read" in refused("stable-diffusion", "--from", image, "--mask", str(tmp_path / "text.png"))
    assert "all dark" in refused("stable-diffusion", "--from", image, "--mask", dark)
    Image.new("L", (8, 16), 255).save(tmp_path / "narrow.png")
    assert "image's size" in refused("stable-diffusion", "--from", image, "--mask", str(tmp_path / "narrow.png"))
    assert "for both; name another" in refused("stable-diffusion", "--from", image, "--out", image)
    assert not Path(out).exists()


def test_draw_needs_what_draws(
    small: dict[str, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["vlm_history.systems"], "WEIGHTS", tmp_path)  # the package has a function so called
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    draw = ("draw", "고양이", "--out", str(tmp_path / "p.png"), "--model")
    for system in ("dall-e", "stable-diffusion"):
        told = complaint(capsys, *draw, system)
        assert f"vlm-history train {system}" in told and f"--weights runs/{system}" in told
    assert "a system that draws, got 'clip'" in complaint(capsys, *draw, "clip")
    for nothing in ("gpt-9", str(tmp_path / "nowhere"), "long" * 99):
        assert "CompVis/stable-diffusion-v1-4 or a directory" in complaint(capsys, *draw, nothing)
    assert "not on this computer" in complaint(capsys, *draw, "CompVis/stable-diffusion-v1-4")
    assert "drop one" in complaint(capsys, *draw, str(small["diffusers"]), "--weights", str(small["dall-e"]))
    complaint(capsys, *draw, str(tmp_path))  # nothing is in there
    complaint(capsys, *draw, str(small["dall-e"]))  # ours, which --weights takes


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
