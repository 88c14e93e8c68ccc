"""The U-Net is diffusers' `UNet2DConditionModel`; its looks at the words are those that it used."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch.nn import functional as F

from tests.pretrain.test_autoencoder import awake
from vlm_history.errors import InputError
from vlm_history.pretrain.unet import Looks, UNet, UNetConfig, tell_time
from vlm_history.published import stable_diffusion

SMALL = UNetConfig(
    channels=3, widths=(8, 16, 24), attention=(True, True, False), depth=2, heads=4, source=10, groups=4
)  # fmt: skip
SIZES = {
    "small": SMALL,
    "shallow": replace(SMALL, widths=(12, 20), attention=(True, True), depth=1, heads=2, groups=2),
    "seldom": replace(SMALL, attention=(False, True, True), depth=1),
}


def theirs(config: UNetConfig) -> Any:
    return UNet2DConditionModel(
        in_channels=config.channels, out_channels=config.channels, block_out_channels=config.widths,
        down_block_types=[f"{'CrossAttn' if there else ''}DownBlock2D" for there in config.attention],
        up_block_types=[f"{'CrossAttn' if there else ''}UpBlock2D" for there in reversed(config.attention)],
        layers_per_block=config.depth, attention_head_dim=config.heads, cross_attention_dim=config.source,
        norm_num_groups=config.groups,
    )  # fmt: skip


def inputs(config: UNetConfig, batch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents that are no square, times, and words."""
    generator = torch.Generator().manual_seed(batch)
    z = torch.randn(batch, config.channels, 8, 12, generator=generator)
    words = torch.randn(batch, 7, config.source, generator=generator)
    return z, torch.randint(1000, (batch,), generator=generator), words


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_equal_to_diffusers(size: str, batch: int) -> None:
    torch.manual_seed(0)
    config = SIZES[size]
    reference = awake(theirs(config))
    ours = UNet(config).eval()
    ours.load_state_dict(stable_diffusion.unet(config).from_published(reference.state_dict(), ours))
    z, times, words = inputs(config, batch)
    expected = reference(z, times, words).sample
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(ours(z, times, words), expected, atol=1e-4, rtol=1e-4)
    assert (ours(z, times, words.flip(2)) - expected).abs().max() > 1e-3  # the words count
    assert (ours(z, (times + 500) % 1000, words) - expected).abs().max() > 1e-3  # and so does the time


def test_counted_at_published_size() -> None:
    config = UNetConfig.published()
    with torch.device("meta"):
        ours, reference = UNet(config), theirs(config)
        stable_diffusion.unet(config).from_published(reference.state_dict(), ours)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in reference.parameters()) == 859_520_964


def test_time_is_told_in_waves() -> None:
    told = tell_time(torch.tensor([0, 3]), 6)
    assert told.shape == (2, 6) and told[0].tolist() == [1, 1, 1, 0, 0, 0]
    assert told[1].tolist() == pytest.approx(
        [math.cos(3 / 10_000 ** (i / 3)) for i in range(3)] + [math.sin(3 / 10_000 ** (i / 3)) for i in range(3)]
    )


@torch.no_grad()
def test_looks_are_those_that_were_used() -> None:
    torch.manual_seed(2)
    config = replace(SIZES["shallow"], attention=(True, False))
    model = awake(UNet(config))
    z, times, words = inputs(config, 2)
    z = z[..., :8]
    used: list[torch.Tensor] = []
    real = F.scaled_dot_product_attention

    def watched(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, **options: Any) -> torch.Tensor:
        if k.shape[2] == 7:  # of the words
            used.append(real(q, k, torch.eye(7).expand(*k.shape[:2], 7, 7)).mean(1))
        return real(q, k, v, **options)

    with pytest.MonkeyPatch.context() as patch, Looks(model) as looks:
        patch.setattr(F, "scaled_dot_product_attention", watched)
        model(z, times, words)
    assert len(used) == len(looks.seen) == 4  # two layers up, one down, one in the middle
    for shares, grid in zip(used, looks.seen, strict=True):
        torch.testing.assert_close(grid.flatten(2).mT, shares, atol=1e-5, rtol=1e-5)
    mean = looks.mean()
    assert mean.shape == (2, 7, 8, 8)
    torch.testing.assert_close(mean.sum(1), torch.ones(2, 8, 8))
    model(z, times, words)
    assert len(looks.seen) == 4  # it no longer looks


def test_the_worlds_size() -> None:
    with torch.device("meta"):
        model = UNet(UNetConfig.world(192))
    assert 3_000_000 < sum(p.numel() for p in model.parameters()) < 6_000_000


def test_what_does_not_fit_is_told_plainly() -> None:
    z, times, words = inputs(SMALL, 1)
    with pytest.raises(InputError, match=r"multiples of 4, got \(3, 8, 10\)"):
        UNet(SMALL)(z[..., :10], times, words)
    with pytest.raises(InputError, match="3 channels"):
        UNet(SMALL)(z[:, :2], times, words)
    with pytest.raises(InputError, match="each of 3 resolutions"):
        UNet(replace(SMALL, attention=(True,)))
