"""The discrete VAE: FLAVA's encoder is its encoder, a slow reference its decoder, and its loss is the paper's."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Laplace, SigmoidTransform, TransformedDistribution
from transformers import FlavaImageCodebook, FlavaImageCodebookConfig

from vlm_history.errors import InputError
from vlm_history.pretrain import dvae
from vlm_history.pretrain.dvae import DVAE, Decoder, DVAEConfig, Encoder
from vlm_history.published.dalle import dall_e

SMALL = DVAEConfig(codes=24, widths=(8, 16, 32, 64), entry=12, blocks=2, gain=1 / 64, image_size=32)


def awake(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights so large that what blocks add is seen in spite of their gain, and no bias at rest."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.parameters():
            spread = 3 * tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.5
            tensor.normal_(0, spread, generator=generator)
    return model.eval()


def uniform(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_parameters_are_those_published() -> None:
    config = DVAEConfig.published()
    assert config.side == 32 and DVAEConfig.world().side == 8
    with torch.device("meta"):
        counts = [sum(p.numel() for p in part(config).parameters()) for part in (Encoder, Decoder)]
    assert counts == [53_786_240, 43_829_766]


@pytest.mark.parametrize("batch", [1, 3])
@torch.inference_mode()
def test_the_encoder_is_flavas(batch: int) -> None:
    theirs = awake(FlavaImageCodebook(FlavaImageCodebookConfig(hidden_size=8, vocab_size=24, num_blocks_per_group=2)))
    named = dict(theirs.named_parameters())
    ours = Encoder(SMALL).eval()
    for name, parameter in ours.named_parameters():  # by hand: the adapter is tested elsewhere
        *parts, tensor = name.split(".")
        if parts[0] == "groups":
            inside = "id_path" if parts[3] == "around" else f"res_path.path.conv_{int(parts[4]) + 1}"
            there = f"blocks.group_{int(parts[1]) + 1}.group.block_{int(parts[2]) + 1}.{inside}"
        else:
            there = {"first": "blocks.input", "last": "blocks.output.conv"}[parts[0]]
        parameter.copy_(named.pop(f"{there}.{tensor}"))
    assert not named
    pixels = uniform(batch, 3, 32, 48)
    expected = theirs(pixels)
    assert expected.abs().max() > 1
    torch.testing.assert_close(ours(pixels), expected, atol=1e-4, rtol=1e-4)


def slow_convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A sum over the places of the kernel, each a product of matrices."""
    kernel = weight.shape[2]
    _, _, rows, columns = x.shape
    framed = x.new_zeros(len(x), x.shape[1], rows + kernel - 1, columns + kernel - 1)
    middle = kernel // 2
    framed[:, :, middle : middle + rows, middle : middle + columns] = x
    out = bias[None, :, None, None].expand(len(x), -1, rows, columns).clone()
    for dy in range(kernel):
        for dx in range(kernel):
            out += torch.einsum("bihw,oi->bohw", framed[:, :, dy : dy + rows, dx : dx + columns], weight[:, :, dy, dx])
    return out


def slow_decoder(codes: Tensor, tensors: dict[str, Tensor], layers: int) -> Tensor:
    """The released decoder, told again from its names: what follows is nowhere taken from ours."""

    def convolved(x: Tensor, name: str) -> Tensor:
        return slow_convolution(x, tensors[f"{name}.w"], tensors[f"{name}.b"])

    x = convolved(codes, "blocks.input")
    for group in (1, 2, 3, 4):
        for block in (1, 2):
            name = f"blocks.group_{group}.block_{block}"
            inner = x
            for number in (1, 2, 3, 4):
                inner = convolved(inner.clamp_min(0), f"{name}.res_path.conv_{number}")
            x = (convolved(x, f"{name}.id_path") if f"{name}.id_path.w" in tensors else x) + inner / layers**2
        if group < 4:
            x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    return convolved(x.clamp_min(0), "blocks.output.conv")


@torch.inference_mode()
def test_the_decoder_is_the_slow_one() -> None:
    ours = awake(Decoder(SMALL)).double()  # its output is large; in fp32 machines differ by more than what is asked
    codes = uniform(2, 24, 3, 4).double()
    tensors = {name: tensor.double() for name, tensor in dall_e(Decoder, SMALL).to_published(ours).items()}
    expected = slow_decoder(codes, tensors, layers=8)
    assert expected.shape == (2, 6, 24, 32) and expected.abs().max() > 1
    torch.testing.assert_close(ours(codes), expected, atol=1e-4, rtol=1e-4)


def test_weights_begin_as_published() -> None:
    torch.manual_seed(0)
    for part in (Encoder(DVAEConfig.world()), Decoder(DVAEConfig.world())):
        for name, tensor in part.named_parameters():
            if tensor.ndim == 1:
                assert not tensor.any(), name
            elif tensor.numel() > 2_000:
                assert float(tensor.detach().std()) == pytest.approx(tensor[0].numel() ** -0.5, rel=0.1), name


def test_the_likelihood_is_a_density_on_the_open_interval() -> None:
    mu, log_b = torch.tensor([-1.0, 0.0, 2.0]), torch.tensor([-1.5, 0.3, 0.0])
    x = uniform(50, 3) * 0.8 + 0.1
    sure = TransformedDistribution(Laplace(mu, log_b.exp()), SigmoidTransform())
    found = dvae.logit_laplace(x, mu.expand(50, 3), log_b.expand(50, 3))
    torch.testing.assert_close(found, sure.log_prob(x), atol=1e-4, rtol=1e-4)
    fine = (torch.arange(200_000, dtype=torch.double) + 0.5) / 200_000
    density = dvae.logit_laplace(fine, torch.full_like(fine, 0.5), torch.full_like(fine, -1.0)).exp()
    assert float(density.mean()) == pytest.approx(1, abs=1e-3)


def test_pixels_are_squeezed_and_brought_back() -> None:
    pixels = torch.tensor([0.0, 0.25, 1.0])
    torch.testing.assert_close(dvae.squeeze(pixels), torch.tensor([0.1, 0.3, 0.9]))
    torch.testing.assert_close(dvae.unsqueeze(dvae.squeeze(pixels)), pixels)
    assert dvae.unsqueeze(torch.tensor([0.01, 0.99])).tolist() == [0, 1]


def test_schedules_are_those_of_the_appendix() -> None:
    assert dvae.kl_weight(0) == 0 and dvae.kl_weight(5_000) == dvae.kl_weight(9_999) == pytest.approx(6.6)
    assert dvae.temperature(0) == 1 and dvae.temperature(150_000) == dvae.temperature(10**7) == pytest.approx(1 / 16)
    assert dvae.step_size(0) == pytest.approx(1e-4) and dvae.step_size(1_200_000) == pytest.approx(1.25e-6)
    assert dvae.temperature(75_000) == pytest.approx((1 + 1 / 16) / 2)  # half a cosine: half-way at half time
    assert dvae.temperature(15_000) > 1 - 15 / 16 * 0.1  # and slow at first, where a straight line diverged
    cooling = [dvae.temperature(step, updates=100) for step in range(110)]
    assert all(earlier >= later for earlier, later in pairwise(cooling))


class Caught(torch.nn.Module):
    """Stands in for the decoder, and keeps what it is given."""

    def forward(self, codes: Tensor) -> Tensor:
        self.codes = codes
        return torch.zeros(len(codes), 6, codes.shape[2] * 8, codes.shape[3] * 8)


def test_relaxed_codes_are_drawn_from_q() -> None:
    model = DVAE(replace(SMALL, codes=3))
    chances = torch.tensor([0.6, 0.3, 0.1])
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
        model.encoder.last.bias.copy_(chances.log())  # type: ignore[union-attr]  # it has one
    caught = Caught()
    model.decoder = caught  # type: ignore[assignment]  # a stand-in
    pixels = torch.full((60, 3, 32, 32), 0.5)
    model(pixels, 1 / 16, torch.Generator().manual_seed(0))
    assert caught.codes.sum(1).allclose(torch.ones(()))
    assert float((caught.codes.max(1).values > 0.95).float().mean()) > 0.8  # nearly one code
    share = torch.bincount(caught.codes.argmax(1).flatten(), minlength=3) / caught.codes[:, 0].numel()
    torch.testing.assert_close(share, chances, atol=0.05, rtol=0)
    _, divergence = model(pixels, 1.0)
    expected = 16 * float((chances * (chances * 3).log()).sum())
    torch.testing.assert_close(divergence, torch.full((60,), expected), atol=1e-3, rtol=1e-3)


def test_divergence_is_between_nothing_and_all_codes_known() -> None:
    model = DVAE(SMALL)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
        assert float(model(uniform(1, 3, 32, 32), 1.0)[1]) == pytest.approx(0, abs=1e-4)
        model.encoder.last.bias[0] = 50  # type: ignore[index]  # it has one
        assert float(model(uniform(1, 3, 32, 32), 1.0)[1]) == pytest.approx(16 * math.log(24), rel=1e-3)


def test_the_loss_is_for_each_value_and_teaches_both_halves() -> None:
    torch.manual_seed(0)
    model = DVAE(SMALL)
    pixels = dvae.squeeze(uniform(4, 3, 32, 32))
    likelihood, divergence = model(pixels, 0.5, torch.Generator().manual_seed(3))
    loss = model.loss(pixels, 0.5, 6.6, torch.Generator().manual_seed(3))
    expected = (6.6 * divergence - likelihood).mean() / (3 * 32 * 32)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
    assert model.encoder.first.weight.grad is not None and model.encoder.first.weight.grad.abs().max() > 0


def test_it_learns_a_few_pictures() -> None:
    torch.manual_seed(0)
    model = DVAE(replace(SMALL, gain=0.5, blocks=1))
    flat = uniform(8, 3, 4, 4)
    pixels = dvae.squeeze(flat.repeat_interleave(8, 2).repeat_interleave(8, 3))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for step in range(40):
        loss = model.loss(pixels, dvae.temperature(step, 30), dvae.kl_weight(step, 30, 0.5))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1, losses


def test_pictures_become_codes_and_codes_pictures() -> None:
    torch.manual_seed(0)
    model = DVAE(SMALL)
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    codes = model.encode(picture)
    assert codes.shape == (1, 4, 4) and codes.dtype == torch.long
    prepared = dvae.squeeze(torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255)
    assert torch.equal(codes, model.encode(prepared))
    assert torch.equal(codes, model.encoder(prepared).argmax(1))
    seen = model.decode(codes)
    assert seen.shape == (1, 32, 32, 3) and seen.dtype == np.uint8
    assert model.encode([picture] * 70).shape == (70, 4, 4)  # more than go at a time
    assert model.encode(picture[:20, :30]).shape == (1, 4, 4)  # resized
    assert model.decode(torch.zeros(2, 2, 3, dtype=torch.long)).shape == (2, 16, 24, 3)


def test_mu_is_what_is_seen() -> None:
    model = DVAE(SMALL)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.zero_()
        grey = torch.tensor([0.3, 0.5, 0.05]).logit()
        model.decoder.last.bias[:3] = grey  # type: ignore[index]  # it has one
        model.decoder.last.bias[3:] = 7  # type: ignore[index]  # ln b is not looked at
    seen = model.decode(torch.zeros(1, 1, 1, dtype=torch.long))
    assert seen[0, 0, 0].tolist() == [64, 128, 0]


def test_bad_input() -> None:
    model = DVAE(SMALL)
    with pytest.raises(InputError, match="halved 3 times, got 36"):
        DVAE(replace(SMALL, image_size=36))
    with pytest.raises(InputError, match="32 x 32 pixels, got"):
        model.encode(torch.zeros(1, 3, 64, 64))
    with pytest.raises(InputError, match="expected an image"):
        model.encode("nowhere.png")
    for wrong in (torch.tensor([[[24]]]), torch.tensor([[[-1]]]), torch.zeros(0, 2, 2, dtype=torch.long)):
        with pytest.raises(InputError, match="codes from 0 to 23"):
            model.decode(wrong)
