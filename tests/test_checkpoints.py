"""A folder of weights holds what is a system's own; what it shares with another is found there, or missed by name."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from vlm_history import checkpoints
from vlm_history.errors import InputError


@dataclass(frozen=True)
class Config:
    width: int = 3


class Eye(nn.Module):
    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.cnn = nn.Linear(config.width, config.width)


class Captioner(Eye):
    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.words = nn.Linear(config.width, 5)


def both(shelf: Path) -> tuple[Eye, Captioner]:
    eye, captioner = Eye(Config()), Captioner(Config())
    captioner.cnn.load_state_dict(eye.cnn.state_dict())
    checkpoints.save(eye, shelf / "eye", bits=16)
    return eye, captioner


def test_what_is_shared_is_not_stored_again(tmp_path: Path) -> None:
    _, captioner = both(tmp_path)
    with torch.no_grad():
        captioner.cnn.bias += 1  # tuned: no longer the other's
    checkpoints.save(captioner, tmp_path / "captioner", bits=16, shared={"eye": tmp_path / "eye"})
    own = checkpoints._read(tmp_path / "captioner")
    assert sorted(own) == ["cnn.bias", "words.bias", "words.weight"]
    again = checkpoints.load(Captioner, tmp_path / "captioner")
    for name, tensor in captioner.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor.half().float()), name


def test_saved_whole_again_it_needs_no_other(tmp_path: Path) -> None:
    _, captioner = both(tmp_path)
    checkpoints.save(captioner, tmp_path / "captioner", bits=16, shared={"eye": tmp_path / "eye"})
    checkpoints.save(captioner, tmp_path / "captioner", bits=16)
    assert not (tmp_path / "captioner" / "shared.json").exists()
    checkpoints.load(Captioner, tmp_path / "captioner", shelf=tmp_path / "nowhere")


@pytest.mark.parametrize("change", ["gone", "others"])
def test_a_part_that_is_gone_or_changed_is_missed_by_name(tmp_path: Path, change: str) -> None:
    _, captioner = both(tmp_path)
    checkpoints.save(captioner, tmp_path / "captioner", bits=16, shared={"eye": tmp_path / "eye"})
    if change == "gone":
        (tmp_path / "eye" / "model.safetensors").unlink()
    else:
        checkpoints.save(Eye(Config()), tmp_path / "eye", bits=16)
    with pytest.raises(InputError, match=r"weights of eye with which those in .*captioner were trained"):
        checkpoints.load(Captioner, tmp_path / "captioner")


def test_eight_bits_are_within_half_a_step_and_stay_what_they_are(tmp_path: Path) -> None:
    torch.manual_seed(0)
    captioner = Captioner(Config(width=40))
    checkpoints.save(captioner, tmp_path / "captioner", bits=8)
    again = checkpoints.load(Captioner, tmp_path / "captioner")
    steps = captioner.words.weight.abs().amax(1, keepdim=True) / 127
    assert ((again.words.weight - captioner.words.weight).abs() <= 0.501 * steps).all()
    torch.testing.assert_close(again.words.bias, captioner.words.bias, atol=1e-3, rtol=1e-3)
    checkpoints.save(again, tmp_path / "again", bits=8, shared={"captioner": tmp_path / "captioner"})
    assert not checkpoints._read(tmp_path / "again")  # nothing is its own: what was read from 8 bits is theirs exactly
    with pytest.raises(InputError, match="8, 16 or 32"):
        checkpoints.save(captioner, tmp_path / "four", bits=4)


def test_what_must_be_exact_is_not_rounded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    captioner = Captioner(Config(width=40))
    checkpoints.save(captioner, tmp_path / "captioner", bits=8, exact="words.w")
    again = checkpoints.load(Captioner, tmp_path / "captioner")
    assert torch.equal(again.words.weight, captioner.words.weight)
    assert not torch.equal(again.words.bias, captioner.words.bias)
