"""CLIP's loss is open_clip's; bounded and shared out over processes it is the same, and so are its gradients."""

import os
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from tests.pretrain import shards_of_loss
from vlm_history.errors import InputError
from vlm_history.pretrain.contrastive import bounded_loss, contrastive_loss


def features(batch: int, width: int = 16, double: bool = False) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(batch)
    made = [F.normalize(torch.randn(batch, width, generator=generator), dim=1) for _ in range(2)]
    return [x.to(torch.float64 if double else torch.float32).requires_grad_() for x in [*made, torch.tensor(14.3)]]


def gradients(loss: torch.Tensor, inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    return torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_loss_is_open_clips(batch: int) -> None:
    ours, theirs = features(batch), features(batch)
    value, reference = contrastive_loss(*ours), open_clip.loss.ClipLoss()(*theirs)
    torch.testing.assert_close(value, reference)
    for one, other in zip(gradients(value, ours), gradients(reference, theirs), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_loss_is_what_it_says() -> None:
    """Figure 3 by hand: two pictures, two texts."""
    images, texts = torch.eye(2), torch.tensor([[0.6, 0.8], [0.0, 1.0]])
    logits = [[6.0, 0.0], [8.0, 10.0]]  # logits[i][j] of picture i and text j, scaled by 10
    rows = [torch.tensor(row) for row in logits]
    columns = [torch.tensor(column) for column in zip(*logits, strict=True)]
    expected = sum(torch.logsumexp(x, 0) - x[i] for lines in (rows, columns) for i, x in enumerate(lines)) / 4
    torch.testing.assert_close(contrastive_loss(images, texts, torch.tensor(10.0)), torch.as_tensor(expected))


def test_hard_negatives_stand_in_the_pictures_rows_alone() -> None:
    images, texts, scale = features(6)
    wrong = features(4)[1].detach()
    rows, columns = scale * images @ torch.cat([texts, wrong]).T, scale * texts @ images.T
    expected = (F.cross_entropy(rows, torch.arange(6)) + F.cross_entropy(columns, torch.arange(6))) / 2
    torch.testing.assert_close(contrastive_loss(images, texts, scale, wrong), expected)


@pytest.mark.parametrize("chunk", [1, 5, 12, 100])
def test_bounded_loss_is_the_loss(chunk: int) -> None:
    plain, bounded = features(12, double=True), features(12, double=True)
    value, reference = bounded_loss(*bounded, chunk=chunk), contrastive_loss(*plain)
    torch.testing.assert_close(value, reference)
    for one, other in zip(gradients(3 * value, bounded), gradients(3 * reference, plain), strict=True):
        torch.testing.assert_close(one, other)
    assert torch.autograd.gradcheck(lambda *inputs: bounded_loss(*inputs, chunk=chunk), features(4, 3, double=True))


def test_bounded_loss_keeps_no_logits() -> None:
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        bounded_loss(*features(256, 4), chunk=16)
    assert sum(kept) == 256 * (4 + 4 + 1 + 1) + 1


def test_large_temperature_does_not_overflow() -> None:
    images, texts, _ = features(32)
    scale = torch.tensor(1e4, requires_grad=True)
    value = bounded_loss(images, texts, scale, chunk=8)
    assert value.isfinite() and all(g.isfinite().all() for g in gradients(value, [images, texts, scale]))


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_do_as_one(tmp_path: Path, processes: int) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*launch, shards_of_loss.__file__, str(tmp_path)], env=environment, capture_output=True, text=True,
        check=False, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = load_file(tmp_path / f"{processes}.safetensors")
    towers = shards_of_loss.Towers()
    images, texts = shards_of_loss.batch()
    vectors = F.normalize(images @ towers.image, dim=1), F.normalize(texts @ towers.text, dim=1)
    loss = contrastive_loss(*vectors, towers.log_scale.exp())
    loss.backward()
    torch.testing.assert_close(found["loss"], loss.detach())
    for name, parameter in towers.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad)


def test_bad_input() -> None:
    images, texts, scale = features(4)
    with pytest.raises(InputError, match="chunk of at least 1"):
        bounded_loss(images, texts, scale, chunk=0)
    with pytest.raises(InputError, match="as many images as texts"):
        bounded_loss(images, texts[:3], scale)
