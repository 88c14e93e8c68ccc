"""Stable Diffusion: counts, whole pipelines beside diffusers', and what is drawn from texts, pictures and holes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image

from tests.pretrain.test_autoencoder import awake
from vlm_history import checkpoints
from vlm_history.errors import InputError
from vlm_history.pretrain.autoencoder import AutoencoderConfig
from vlm_history.pretrain.clip_towers import TextConfig
from vlm_history.pretrain.samplers import SAMPLERS, NoiseConfig
from vlm_history.pretrain.stable_diffusion import StableDiffusion, StableDiffusionConfig
from vlm_history.pretrain.unet import UNetConfig
from vlm_history.published import parity, stable_diffusion
from vlm_history.text import BytePairTokenizer

TOKENIZER = BytePairTokenizer.fit(["고양이 사과 a cat an apple"] * 3, size=290, specials=["<start>", "<end>"])
CONFIG = StableDiffusionConfig(
    AutoencoderConfig(widths=(8, 12), depth=1, channels=2, groups=4, image_size=16, scale=0.5),
    UNetConfig(channels=2, widths=(8, 16), attention=(True, True), depth=1, heads=2, source=12, groups=4),
    TextConfig(len(TOKENIZER), length=40, width=12, depth=1, heads=2),
    NoiseConfig(prediction="v"),
    quick_gelu=False,
    tokens=24,
    guidance=3.0,
)


def model() -> StableDiffusion:
    torch.manual_seed(0)
    made = StableDiffusion(CONFIG, TOKENIZER).eval()
    with torch.no_grad():  # so that words and places show in a network that has learned nothing
        for parameter in made.unet.parameters():
            if parameter.ndim > 1:
                parameter.mul_(1.5)
    return made


def picture(seed: int = 0, rows: int = 16, columns: int = 16) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), np.uint8)


def test_parameters_are_those_published() -> None:
    with torch.device("meta"):
        made = StableDiffusion(StableDiffusionConfig.published())
    parts = {name: sum(p.numel() for p in part.parameters()) for name, part in made.named_children()}
    assert parts == {"autoencoder": 83_653_863, "unet": 859_520_964, "text": 123_060_480, "reader": 0}


@pytest.mark.parametrize("guidance", [1.0, 7.5])
@pytest.mark.parametrize("sampler", ["ddim", "dpm-solver++"])
@torch.no_grad()
def test_the_whole_pipeline_is_diffusers(sampler: str, guidance: float) -> None:
    torch.manual_seed(0)
    config = replace(CONFIG, noise=NoiseConfig(), quick_gelu=True)
    theirs = {part: awake(each) for part, each in parity.diffusers_parts(config).items()}
    ours = stable_diffusion.assemble(
        {part: each.state_dict() for part, each in theirs.items()}, config, tokenizer=TOKENIZER
    )
    options = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    scheduler = (
        DDIMScheduler(**options, clip_sample=False, set_alpha_to_one=False)
        if sampler == "ddim"
        else DPMSolverMultistepScheduler(**options)
    )
    pipeline: Any = StableDiffusionPipeline(
        **theirs, tokenizer=None, scheduler=scheduler, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    seeds = [5, 6]
    noise = torch.stack([torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(seed)) for seed in seeds])
    drawn = pipeline(
        prompt_embeds=theirs["text_encoder"](ours.read("a cat")).last_hidden_state,
        negative_prompt_embeds=theirs["text_encoder"](ours.read("")).last_hidden_state,
        num_images_per_prompt=2, num_inference_steps=6, guidance_scale=guidance, latents=noise, output_type="np",
        height=16, width=16,
    ).images  # fmt: skip
    made = np.stack(ours.draw("a cat", n=2, seed=5, steps=6, sampler=sampler, guidance=guidance))
    assert drawn.std() > 0.05
    assert np.abs(made - 255 * drawn).max() <= 0.51  # rounded to bytes


def test_a_picture_depends_on_its_text_and_its_seed_alone() -> None:
    made = model()
    two = made.draw("고양이", n=2, seed=3, steps=3)
    assert len(two) == 2 and two[0].shape == (16, 16, 3) and two[0].dtype == np.uint8
    one = made.draw("고양이", seed=4, steps=3)
    assert np.abs(one.astype(int) - two[1]).max() <= 1
    both = made.draw(["apple", "고양이"], n=2, seed=3, steps=3)
    assert [len(of) for of in both] == [2, 2]
    assert np.abs(both[1][1].astype(int) - one).max() <= 1
    (alone,) = made.draw(["고양이"], seed=4, steps=3)
    assert np.array_equal(alone, one)
    for other in (made.draw("apple", seed=4, steps=3), made.draw("고양이", seed=5, steps=3)):
        assert not np.array_equal(other, one)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_and_chance_is_left_alone(sampler: str) -> None:
    made = model()
    torch.manual_seed(7)
    expected = torch.randn(3)
    torch.manual_seed(7)
    first = made.draw("a cat", steps=3, sampler=sampler)
    assert torch.equal(torch.randn(3), expected)
    assert np.array_equal(made.draw("a cat", steps=3, sampler=sampler), first)


@torch.no_grad()
def test_guidance_goes_on_from_one_through_the_other() -> None:
    made = model()
    z = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    told, untold = made.condition("a cat"), made.condition("")
    without, with_it = (made.predict(z, 400, words, untold, 1.0) for words in (untold, told))
    assert not torch.allclose(without, with_it, atol=1e-5)
    for guidance in (0.0, 1.0, 2.5):
        expected = without + guidance * (with_it - without)
        torch.testing.assert_close(made.predict(z, 400, told, untold, guidance), expected, atol=1e-4, rtol=1e-4)
    told_nothing = made.draw("", steps=2)
    assert np.array_equal(made.draw("a cat", steps=2, guidance=0.0), told_nothing)
    assert not np.array_equal(made.draw("a cat", steps=2, avoid="apple"), made.draw("a cat", steps=2))


@torch.no_grad()
def test_a_new_reader_lets_everything_through_and_then_knows_what_comes_first() -> None:
    torch.manual_seed(0)
    made = StableDiffusion(replace(CONFIG, reader=2), TOKENIZER).eval()
    ids = made.read(["a cat", "an apple"])
    known = made.text.tokens(ids)
    assert torch.equal(made.condition(ids), known)
    for parameter in made.reader.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    read = made.condition(ids)
    assert read.shape == known.shape and not torch.allclose(read, known, atol=1e-3)
    torch.testing.assert_close(made.condition(ids[1:]), read[1:], atol=1e-5, rtol=1e-5)
    # its layers look both ways, and see which token comes first
    other = known.clone()
    other[:, -1, 0] += 5
    assert not torch.allclose(made.reader(other)[:, 0], read[:, 0], atol=1e-4)
    turned = made.reader(known.flip(1)).flip(1)
    assert not torch.allclose(turned, read, atol=1e-3)
    assert made.draw("a cat", steps=2).shape == (16, 16, 3)


def test_texts_are_filled_up_with_ends() -> None:
    made, end = model(), len(TOKENIZER) - 1
    ids = made.read(["", "a cat"])
    assert ids.shape == (2, 24)
    assert ids[0].tolist() == [end - 1, *[end] * 23]
    said = TOKENIZER.encode("a cat")
    assert ids[1].tolist() == [end - 1, *said, *[end] * (23 - len(said))]
    assert torch.equal(made.read(torch.tensor([[end - 1, *said, end, 0, 0]])), ids[1:])


def test_the_path_and_the_looks_come_with_the_picture() -> None:
    made = model()
    drawn, path = made.draw("고양이", steps=4, return_path=True)
    assert np.array_equal(drawn, made.draw("고양이", steps=4)) and len(path) == 4
    assert np.array_equal(path[-1], drawn)  # DPM-Solver++ ends at what it believes
    ((drawn, path, looks),) = made.draw(["a 고양이 cat"], steps=2, return_path=True, return_attention=True)
    assert [word for word, _ in looks] == ["a", "고양이", "cat"] and len(path) == 2
    assert all(grid.shape == (8, 8) and 0 < grid.sum() < 64 for _, grid in looks)


def test_from_a_picture_by_strength() -> None:
    made, image = model(), picture()
    one = made.draw_from(image, "a cat", strength=0.5, steps=4, seed=2)
    assert one.shape == (16, 16, 3) and np.array_equal(
        one, made.draw_from(image, "a cat", strength=0.5, steps=4, seed=2)
    )
    two = made.draw_from(Image.fromarray(image), "a cat", n=2, strength=0.5, steps=4, seed=1)
    assert np.abs(two[1].astype(int) - one).max() <= 1
    assert not np.array_equal(one, made.draw_from(image, "a cat", strength=1.0, steps=4, seed=2))
    assert made.draw_from(picture(1, 40, 30), "a cat", strength=0.01, steps=4).shape == (16, 16, 3)  # a step at least


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_hole_is_filled_and_the_rest_stays(sampler: str, tmp_path: Path) -> None:
    made, image = model(), picture()
    mask = np.zeros((16, 16), bool)
    mask[3:9, 4:16] = True
    drawn = made.inpaint(image, mask, "apple", steps=3, sampler=sampler)
    assert np.array_equal(drawn[~mask], image[~mask]) and not np.array_equal(drawn[mask], image[mask])
    two = made.inpaint(image, Image.fromarray(mask), ["apple", "고양이"], steps=3, sampler=sampler)
    assert np.abs(two[0].astype(int) - drawn).max() <= 1
    assert np.array_equal(made.inpaint(image, np.zeros((16, 16), np.uint8), "apple", steps=3), image)
    Image.fromarray(picture(2, 20, 32)).save(tmp_path / "wide.png")
    wide = np.zeros((20, 32), np.uint8)
    wide[:, :16] = 255
    assert made.inpaint(tmp_path / "wide.png", wide, "apple", steps=2, n=2)[1].shape == (16, 16, 3)


def test_a_folder_holds_the_whole_system(tmp_path: Path) -> None:
    made = model()
    checkpoints.save(made, tmp_path / "m")
    again = checkpoints.load(StableDiffusion, tmp_path / "m").eval()
    assert again.config == made.config
    assert np.array_equal(again.draw("고양이", steps=2), made.draw("고양이", steps=2))


def test_a_corrupt_or_foreign_folder_is_told_plainly(tmp_path: Path) -> None:
    made = model()
    checkpoints.save(made, tmp_path / "m")
    data = json.loads((tmp_path / "m" / "config.json").read_text(encoding="utf-8"))
    (tmp_path / "m" / "config.json").write_text(json.dumps(data | {"steps": 3}), encoding="utf-8")
    with pytest.raises(InputError, match="saved by another version"):
        checkpoints.load(StableDiffusion, tmp_path / "m")
    other = data | {"unet": data["unet"] | {"widths": [8, 24]}}
    (tmp_path / "m" / "config.json").write_text(json.dumps(other), encoding="utf-8")
    with pytest.raises(InputError, match="of another shape"):
        checkpoints.load(StableDiffusion, tmp_path / "m")
    (tmp_path / "m" / "config.json").write_text(json.dumps(data), encoding="utf-8")
    (tmp_path / "m" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="damaged or foreign file"):
        checkpoints.load(StableDiffusion, tmp_path / "m")


def test_odd_texts_are_drawn_all_the_same() -> None:
    drawn = model().draw(["", "zxqv ☃", "사과 left of a 고양이", "  "], steps=1)
    assert all(one.shape == (16, 16, 3) for one in drawn)


MASK = np.ones((16, 16), bool)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: m.draw("cat " * 40), "at most 24 tokens"),
        (lambda m: m.draw([]), "at least one text"),
        (lambda m: m.draw("cat", n=0), "at least one picture"),
        (lambda m: m.draw("cat", steps=0), "steps from 1 to 999"),
        (lambda m: m.draw("cat", steps=-4), "steps from 1 to 999"),
        (lambda m: m.draw("cat", steps=1000), "steps from 1 to 999"),
        (lambda m: m.draw("cat", guidance=float("nan")), "guidance of at least 0"),
        (lambda m: m.draw("cat", guidance=1e308), "below 1e6"),
        (lambda m: m.draw("cat", seed=2**64), "a seed from 0"),
        (lambda m: m.draw("cat", guidance=float("inf")), "guidance of at least 0"),
        (lambda m: m.draw("cat", guidance=-1.0), "guidance of at least 0"),
        (lambda m: m.draw("cat", sampler="euler"), "ddpm, ddim, dpm-solver"),
        (lambda m: m.draw("cat", avoid="cat " * 40), "at most 24 tokens"),
        (lambda m: m.draw_from(picture(), "cat", strength=0.0), "strength above 0"),
        (lambda m: m.draw_from(picture(), "cat", strength=float("nan")), "strength above 0"),
        (lambda m: m.draw_from([picture()], "cat"), "one image, got several"),
        (lambda m: m.draw_from("nowhere.png", "cat"), "there is no file"),
        (lambda m: m.inpaint(picture(), MASK[:8], "cat"), r"the image's size, \(16, 16\), got \(8, 16\)"),
        (lambda m: m.inpaint(picture(), MASK * 1.0, "cat"), "booleans or bytes"),
        (lambda m: m.inpaint(picture(), picture(), "cat"), "booleans or bytes"),
        (lambda m: m.inpaint("nowhere.png", MASK, "cat"), "there is no file"),
        (lambda m: StableDiffusion(m.config).draw("cat"), "no tokenizer"),
        (lambda m: StableDiffusion(replace(m.config, text=TextConfig()), TOKENIZER), "tokenizer of 49408 tokens"),
        (lambda m: StableDiffusion(replace(m.config, tokens=41)), "41 tokens of at most 40"),
        (lambda m: StableDiffusion(replace(m.config, unet=replace(m.config.unet, channels=3))), "parts that fit"),
        (lambda m: StableDiffusion(replace(m.config, noise=NoiseConfig(shape="sine"))), "expected the shape"),
    ],
)
def test_bad_input_is_told_plainly(call: Callable[[StableDiffusion], object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        call(model())


def test_the_worlds_size() -> None:
    made = StableDiffusion(StableDiffusionConfig.world(TextConfig(300, 64, 192, 2, 4)))
    assert sum(p.numel() for p in made.parameters()) < 8_000_000
    (drawn,) = made.draw(torch.tensor([[298, 5, 299]]), steps=1)  # ids, as texts may be
    assert drawn.shape == (64, 64, 3)
