"""Shards of a reader's own: read as streams, shared out, shuffled; what is broken is skipped and counted."""

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import DataLoader

from vlm_history.cli import main
from vlm_history.errors import InputError
from vlm_history.pretrain.clip import CLIPConfig
from vlm_history.systems import find, load_from
from vlm_history.text import CLIPTokenizer
from vlm_history.training import shards
from vlm_history.training.scenes import world
from vlm_history.training.shards import Broken, Stream, expand, picture, samples


def _png(pixels: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format="PNG")
    return data.getvalue()


def _write(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def _sample(number: int, text: str | None = None) -> dict[str, bytes]:
    scene = world().sample(number, kind="one")
    said = scene.caption("en") if text is None else text
    return {f"{number:04d}.png": _png(scene.image()), f"{number:04d}.txt": said.encode()}


def _shards(folder: Path, n: int = 4, each: int = 6) -> str:
    """Shards of the world: sample i of shard s is scene s * each + i."""
    for shard in range(n):
        files: dict[str, bytes] = {}
        for i in range(each):
            files |= _sample(shard * each + i)
        _write(folder / f"{shard:04d}.tar", files)
    return str(folder / f"{{0000..{n - 1:04d}}}.tar")


WORDS = CLIPTokenizer()


def _stream(
    files: list[Path], share: int, process: tuple[int, int] = (0, 1), seed: int = 0, shuffle: int = 4
) -> Stream:
    return Stream(files, CLIPConfig.world(len(WORDS)), WORDS, share, process, seed, shuffle)


def _texts(batches: Iterable[Any], n: int) -> list[str]:
    """What the texts of so many batches are, each up to its end."""
    taken = [batch["tokens"][:, 0].tolist() for batch, _ in zip(batches, range(n), strict=False)]
    return [WORDS.decode(row[: row.index(len(WORDS) - 1)]) for rows in taken for row in rows]


def _said(number: int) -> str:
    """What a sample's text is when CLIP's tokenizer has read it: in lower case."""
    return WORDS.decode(WORDS.encode(world().sample(number, kind="one").caption("en")))


def test_patterns_name_shards(tmp_path: Path) -> None:
    pattern = _shards(tmp_path, n=3, each=1)
    assert [path.name for path in expand(pattern)] == ["0000.tar", "0001.tar", "0002.tar"]
    assert expand(str(tmp_path / "000[12]?.tar".replace("[12]", ""))) == expand(pattern)
    assert expand(str(tmp_path / "0001.tar")) == [tmp_path / "0001.tar"]
    for wrong in (str(tmp_path / "{0000..0003}.tar"), str(tmp_path / "*.zip"), "nowhere.tar"):
        with pytest.raises(InputError, match="expected shards that exist"):
            expand(wrong)


def test_samples_are_files_that_share_a_name(tmp_path: Path) -> None:
    files = {
        "a/1.jpg": b"one",
        "a/1.txt": b"uno",
        "b/1.TXT": b"due",
        "b/1.JPEG": b"two",
        "b/1.json": b"{}",
        "c.txt": b"",
    }
    assert list(samples(_write(tmp_path / "s.tar", files))) == [(b"one", b"uno"), (b"two", b"due"), None]
    assert list(samples(_write(tmp_path / "empty.tar", {}))) == []


def test_a_torn_shard_gives_what_it_has(tmp_path: Path) -> None:
    whole = _write(tmp_path / "s.tar", {f"{i}{e}": bytes(3000) for i in range(4) for e in (".png", ".txt")})
    (tmp_path / "torn.tar").write_bytes(whole.read_bytes()[:12_000])
    found = []
    with pytest.raises(Broken, match="torn"):
        found.extend(samples(tmp_path / "torn.tar"))
    (tmp_path / "none.tar").write_bytes(b"this is no tar file" * 100)
    with pytest.raises(Broken, match="none"):
        list(samples(tmp_path / "none.tar"))


def test_pictures_are_square_by_lot() -> None:
    from random import Random

    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, :, 0] = np.arange(60) * 4
    cut = [picture(_png(wide), 20, Random(seed)) for seed in range(20)]
    lefts = {int(c[0, 0, 0]) // 4 for c in cut if c is not None and c.shape == (20, 20, 3)}
    assert len(lefts) > 8 and min(lefts) >= 0 and max(lefts) <= 40


def test_every_sample_comes_once_a_round_and_in_another_order(tmp_path: Path) -> None:
    files = expand(_shards(tmp_path))
    said = sorted(map(_said, range(24)))
    rounds = [_texts(_stream(files, 8, seed=seed, shuffle=10), 6) for seed in (0, 0, 1)]
    assert rounds[0] == rounds[1] != rounds[2]
    assert sorted(rounds[0][:24]) == sorted(rounds[0][24:]) == said and rounds[0][:24] != rounds[0][24:]


def test_processes_and_workers_have_shards_of_their_own(tmp_path: Path) -> None:
    files = expand(_shards(tmp_path))
    halves = [set(_texts(_stream(files, 6, (process, 2)), 2)) for process in (0, 1)]
    every = set(map(_said, range(24)))
    assert halves[0] | halves[1] == every
    assert set(_texts(DataLoader(_stream(files, 6), batch_size=None, num_workers=2), 4)) == every


def test_what_is_broken_is_skipped_and_counted(tmp_path: Path) -> None:
    files = {**_sample(0), **_sample(1), "0002.png": b"no picture", "0002.txt": b"a lie", "0003.txt": b"alone"}
    files |= {"0004.png": _sample(4)["0004.png"], "0004.txt": b"\xff\xfe\x00"}
    files |= {"0005.png": _sample(5)["0005.png"][:60], "0005.txt": b"half a picture"}
    files |= {"0006.png": _sample(6)["0006.png"], "0006.txt": b"  "}
    paths = [_write(tmp_path / "good.tar", files), tmp_path / "bad.tar"]
    paths[1].write_bytes(b"no tar" * 500)
    batches = iter(_stream(paths, 2, shuffle=1))
    first, second = next(batches), next(batches)
    counted = dict(zip(shards.SKIPPED, (first["skipped"] + second["skipped"]).tolist(), strict=True))
    whole = {"shards": 1, "incomplete": 1, "pictures": 2, "texts": 2}
    assert all(n <= counted[what] <= 2 * n for what, n in whole.items()), counted  # in one round and a part of the next
    assert list(_stream([paths[1]], 2)) == []


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards.CLIPConfig, "world", classmethod(lambda cls, vocabulary: _tiny(vocabulary)))


def _tiny(vocabulary: int) -> CLIPConfig:
    from vlm_history.pretrain.clip_towers import EdgeCNNConfig, TextConfig

    return CLIPConfig(EdgeCNNConfig(8, (8, 64), 16), TextConfig(vocabulary, 64, 16, 1, 2), width=16)


def test_a_clip_is_trained_on_shards(tiny: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pattern = _shards(tmp_path)
    (tmp_path / "0003.tar").write_bytes((tmp_path / "0003.tar").read_bytes()[:9000])
    out = tmp_path / "out"
    arguments = ["train", "clip", "--data", pattern, "--steps", "8", "--batch", "6", "--workers", "2"]
    assert main([*arguments, "--out", str(out)]) == 0
    assert "broken shards" in capsys.readouterr().out
    card = json.loads((out / "card.json").read_text(encoding="utf-8"))
    assert card["steps"] == 8 and card["recipe"]["stages"][0]["data"] == pattern
    assert card["history"][-1]["skipped_shards"] >= 1
    model = load_from(find("clip"), out)
    assert model.classify(world().sample(0).image(), ["a cat", "an apple"], language="en")


def test_bad_requests_are_told_plainly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pattern = _shards(tmp_path, n=1, each=1)
    for arguments, says in (
        (["show-and-tell", "--data", pattern], "with clip"),
        (["clip", "--data", "nowhere/{0..3}.tar"], "shards that exist"),
        (["clip", "--data", pattern, "--size", "ViT-B/33"], "ViT-B/32"),
        (["clip", "--data", str(_write(tmp_path / "x.tar", {"0.txt": b"alone"}))], "of the same names"),
    ):
        assert main(["train", *arguments, "--out", str(tmp_path / "out")]) == 2
        assert says in capsys.readouterr().err


def test_two_processes_train_together(tmp_path: Path) -> None:
    pattern = _shards(tmp_path, n=2, each=4)
    (tmp_path / "0001.tar").write_bytes((tmp_path / "0001.tar").read_bytes()[:9000])
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, torch\n"
        "torch.set_num_threads(1)\n"
        "from tests.training.test_shards import _tiny\n"
        "from vlm_history.training import shards\n"
        "from vlm_history.training.loop import train\n"
        "shards.CLIPConfig.world = classmethod(lambda cls, vocabulary: _tiny(vocabulary))\n"
        "train(shards.recipe(sys.argv[1], steps=4, batch_size=4), sys.argv[2], workers=0, progress_bar=False)\n",
        encoding="utf-8",
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(root)}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(
        [*launch, pattern, str(tmp_path / "out")], env=environment, capture_output=True, text=True, check=False,
        timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    card = json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    assert card["processes"] == 2 and card["history"][-1]["skipped_shards"] >= 1
