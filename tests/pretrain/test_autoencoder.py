"""The autoencoder is diffusers' `AutoencoderKL`; its latents can be brought to a deviation of 1, and pictures stay."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL

from vlm_history.errors import InputError
from vlm_history.pretrain.autoencoder import Autoencoder, AutoencoderConfig, Gaussian
from vlm_history.published import stable_diffusion

SMALL = AutoencoderConfig(widths=(8, 16, 24), depth=2, channels=3, groups=4, image_size=32, scale=0.3)
SIZES = {
    "small": SMALL,
    "shallow": replace(SMALL, widths=(12, 20), depth=1, groups=2),
    "flat": replace(SMALL, widths=(8,)),
}


def theirs(config: AutoencoderConfig) -> Any:
    levels = len(config.widths)
    return AutoencoderKL(
        block_out_channels=config.widths, layers_per_block=config.depth, latent_channels=config.channels,
        norm_num_groups=config.groups, down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
    )  # fmt: skip


def awake(model: Any) -> Any:
    """Gains and biases at rest would hide a mix-up."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.normal_(0.6, 0.3)
    return model.eval()


def pictures(batch: int, rows: int = 24, columns: int = 32) -> torch.Tensor:
    return torch.randn(batch, 3, rows, columns, generator=torch.Generator().manual_seed(batch))


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_equal_to_diffusers(size: str, batch: int) -> None:
    torch.manual_seed(0)
    config = SIZES[size]
    reference = awake(theirs(config))
    ours = Autoencoder(config).eval()
    ours.load_state_dict(stable_diffusion.vae(config).from_published(reference.state_dict(), ours))
    pixels = pictures(batch)
    found, expected = ours.encode(pixels), reference.encode(pixels).latent_dist
    assert expected.mean.abs().max() > 0.1
    torch.testing.assert_close(found.mean, expected.mean, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.log_variance, expected.logvar, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.divergence(), expected.kl(), atol=1e-3, rtol=1e-4)
    epsilon = torch.randn_like(found.mean)
    torch.testing.assert_close(
        ours(pixels, epsilon)[0], reference.decode(expected.mean + expected.std * epsilon).sample, atol=1e-4, rtol=1e-4
    )


def test_counted_at_published_size() -> None:
    with torch.device("meta"):
        ours, reference = Autoencoder(AutoencoderConfig.published()), theirs(AutoencoderConfig.published())
        stable_diffusion.vae(ours.config).from_published(reference.state_dict(), ours)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in reference.parameters()) == 83_653_863


@torch.no_grad()
def test_standard_latents_are_the_same_pictures() -> None:
    torch.manual_seed(1)
    model = awake(Autoencoder(SMALL))
    pixels = pictures(8)
    before, spread = model(pixels)[0], model.encode(pixels).log_variance
    deviation = model.encode(pixels).mean.std((0, 2, 3))
    model.standardise(pixels)
    found = model.encode(pixels)
    torch.testing.assert_close(found.mean.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.mean.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        found.log_variance, spread - 2 * deviation.log()[None, :, None, None], atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(model(pixels)[0], before, atol=1e-4, rtol=1e-4)


def test_a_standard_normal_has_no_divergence() -> None:
    zeros = torch.zeros(2, 3, 4, 4)
    assert torch.equal(Gaussian(zeros, zeros).divergence(), torch.zeros(2))
    assert torch.equal(Gaussian(zeros, zeros).sample(zeros + 2), zeros + 2)


@torch.no_grad()
def test_the_worlds_size() -> None:
    model = Autoencoder(AutoencoderConfig.world()).eval()
    assert model.config.factor == 8
    assert model.encode(torch.zeros(1, 3, 64, 64)).mean.shape == (1, 8, 8, 8)
    assert sum(p.numel() for p in model.parameters()) < 3_000_000


def test_a_grid_that_does_not_fit_is_told_plainly() -> None:
    with pytest.raises(InputError, match="multiples of 4 pixels, got 24 x 30"):
        Autoencoder(SMALL).encode(pictures(1, 24, 30))
