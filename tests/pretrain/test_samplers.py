"""Samplers are diffusers' schedulers, step by step; the forward process and both predictions agree with theirs."""

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler

from vlm_history.errors import InputError
from vlm_history.pretrain.samplers import DDPM, SAMPLERS, Noise, NoiseConfig, Sampler

V1: dict[str, Any] = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
}
SHAPES = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}
PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction"}


def theirs(name: str, prediction: str, steps: int) -> Any:
    options = V1 | {"prediction_type": PREDICTIONS[prediction]}
    if name == "ddpm":
        made: Any = DDPMScheduler(**options, clip_sample=False)
    elif name == "ddim":
        made = DDIMScheduler(**options, clip_sample=False, set_alpha_to_one=False)
    else:
        made = DPMSolverMultistepScheduler(**options)
    made.set_timesteps(steps)
    return made


def random(seed: int) -> torch.Tensor:
    return torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("steps", [1, 2, 7, 20, 50, 333])
@pytest.mark.parametrize("name", SAMPLERS)
def test_every_step_is_diffusers(name: str, steps: int, prediction: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = theirs(name, prediction, steps)
    ours = SAMPLERS[name](Noise(NoiseConfig(prediction=prediction)), steps)
    assert ours.times == reference.timesteps.tolist()
    z = random(0)
    for step, time in enumerate(ours.times):
        # a network that sees what it is shown, so that errors would add up, and is not linear
        predicted, chance = torch.tanh(z + random(1)) + 0.3 * random(2), random(1000 + step)
        monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, c=chance, **__: c)
        expected = reference.step(predicted, time, z).prev_sample
        found = ours.step(predicted, step, z, chance)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
        z = expected
    assert ours.believed is not None and ours.believed.shape == z.shape


@pytest.mark.parametrize("shape", SHAPES)
def test_noise_grows_as_theirs(shape: str) -> None:
    reference = DDPMScheduler(**V1 | {"beta_schedule": SHAPES[shape]})
    noise = Noise(NoiseConfig(shape=shape))
    torch.testing.assert_close(noise.alpha_bar, reference.alphas_cumprod, atol=1e-7, rtol=1e-5)
    z, epsilon, times = random(0), random(1), torch.tensor([3, 999])
    torch.testing.assert_close(noise.add(z, epsilon, times), reference.add_noise(z, epsilon, times))
    assert torch.equal(noise.target(z, epsilon, times), epsilon)
    v = Noise(NoiseConfig(shape=shape, prediction="v")).target(z, epsilon, times)
    torch.testing.assert_close(v, reference.get_velocity(z, epsilon, times))


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_what_was_mixed_is_read_back(prediction: str) -> None:
    noise = Noise(NoiseConfig(prediction=prediction))
    z, epsilon = random(0), random(1)
    for time in (1, 500, 900):
        times = torch.full((2,), time)
        read = noise.read(noise.target(z, epsilon, times), noise.add(z, epsilon, times), *noise.shares(time))
        torch.testing.assert_close(read, (z, epsilon), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_network_that_knows_leads_home(name: str) -> None:
    """If z_0 is always seen right, all samplers end there; DDIM but for the noise of time 0, as Stable Diffusion's."""
    noise = Noise(NoiseConfig())
    sampler, home, z = SAMPLERS[name](noise, 20), random(0), random(1)
    for step, time in enumerate(sampler.times):
        alpha, sigma = noise.shares(time)
        z = sampler.step((z - alpha * home) / sigma, step, z, random(step))
    torch.testing.assert_close(z, home, atol=0.15 if name == "ddim" else 1e-4, rtol=0)


@pytest.mark.parametrize("steps", [0, -3, 1000])
def test_steps_that_cannot_be_are_refused(steps: int) -> None:
    with pytest.raises(InputError, match="whole number of steps from 1 to 999"):
        DDPM(Noise(NoiseConfig()), steps)


@pytest.mark.parametrize(
    "wrong", [{"shape": "sine"}, {"prediction": "x"}, {"steps": 0}, {"first": 0.0}, {"first": 0.1}, {"last": 1.0}]
)
def test_a_process_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="expected"):
        Noise(NoiseConfig(**wrong))


def test_a_sampler_is_asked_for_less() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Sampler(Noise(NoiseConfig()), 3)  # type: ignore[abstract]
