"""Stable Diffusion is diffusers': what it saves we read, what we write it reads, what would differ is refused; and the
authors' single file is read, too."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast
from transformers import CLIPTokenizer as TheirTokenizer

from tests.pretrain.test_autoencoder import awake
from vlm_history import published
from vlm_history.errors import InputError
from vlm_history.pretrain.samplers import NoiseConfig
from vlm_history.pretrain.stable_diffusion import StableDiffusion, StableDiffusionConfig
from vlm_history.published import gpt, stable_diffusion
from vlm_history.text import BytePairTokenizer, CLIPTokenizer

WORDS = BytePairTokenizer.fit(["고양이 사과 a cat an apple"] * 3, size=290, specials=["<start>", "<end>"])
NAME = "CompVis/stable-diffusion-v1-4"


def their_parts() -> dict[str, Any]:
    """Small parts of the libraries' own making, with nothing at rest."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=3, out_channels=3, block_out_channels=(8, 16), layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        attention_head_dim=2, cross_attention_dim=12, norm_num_groups=4,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 12), layers_per_block=1, latent_channels=3, norm_num_groups=4, sample_size=16,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, scaling_factor=0.3,
    )  # fmt: skip
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(WORDS), hidden_size=12, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
            max_position_embeddings=20, bos_token_id=len(WORDS) - 2, eos_token_id=len(WORDS) - 1, pad_token_id=1,
        )
    )  # fmt: skip
    return {"unet": awake(unet), "vae": awake(vae), "text_encoder": awake(text)}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """A pipeline as diffusers saves it, with version 1's scheduler."""
    parts, folder = their_parts(), tmp_path_factory.mktemp("diffusers") / "model"
    scheduler = PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1,
        set_alpha_to_one=False,
    )  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=gpt.to_library(WORDS), bos_token="<start>", eos_token="<end>", pad_token="<end>",
        model_max_length=18,
    )  # fmt: skip
    pipeline: Any = StableDiffusionPipeline(
        **parts, tokenizer=tokenizer, scheduler=scheduler, safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder)
    return parts, folder


def _same(ours: StableDiffusion, parts: dict[str, Any]) -> None:
    """All outputs of all parts, for a batch."""
    generator = torch.Generator().manual_seed(1)
    z, pixels = torch.randn(2, 3, 8, 8, generator=generator), torch.randn(2, 3, 16, 16, generator=generator)
    ids, times = ours.read(["a cat", "고양이"]), torch.tensor([3, 800])
    words = parts["text_encoder"](ids).last_hidden_state
    torch.testing.assert_close(ours.condition(ids), words, atol=1e-4, rtol=1e-4)
    expected = parts["unet"](z, times, words).sample
    torch.testing.assert_close(ours.unet(z, times, words), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        ours.encode(pixels), parts["vae"].encode(pixels).latent_dist.mean * 0.3, atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(ours.autoencoder.decode(z), parts["vae"].decode(z).sample, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_what_diffusers_saved_is_read(saved: tuple[dict[str, Any], Path]) -> None:
    parts, folder = saved
    ours = published.load(folder)
    assert isinstance(ours, StableDiffusion) and not ours.training
    assert ours.config.noise == NoiseConfig() and ours.config.quick_gelu and ours.config.tokens == 18
    assert ours.config.autoencoder.image_size == 16 and ours.config.unet.attention == (True, False)
    assert isinstance(ours.tokenizer, BytePairTokenizer) and ours.tokenizer.vocabulary == WORDS.vocabulary
    _same(ours, parts)
    assert ours.draw("a cat", steps=2).shape == (16, 16, 3)


@torch.no_grad()
def test_what_we_write_diffusers_reads(saved: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    parts, folder = saved
    ours = published.load(folder)
    assert isinstance(ours, StableDiffusion)
    ours.config = replace(ours.config, noise=NoiseConfig(prediction="v"))
    assert (
        published.export(ours, tmp_path, library="diffusers") == tmp_path / "unet/diffusion_pytorch_model.safetensors"
    )
    pipeline: Any = StableDiffusionPipeline.from_pretrained(tmp_path)
    _same(ours, {part: getattr(pipeline, part).eval() for part in parts})
    assert pipeline.scheduler.config.prediction_type == "v_prediction" and not pipeline.scheduler.config.clip_sample
    for text in ("", "a cat", "고양이 and an apple"):
        told = pipeline.tokenizer(text, padding="max_length", truncation=True, return_tensors="pt", max_length=18)
        assert torch.equal(told.input_ids, ours.read(text))
    again = published.load(tmp_path)
    assert isinstance(again, StableDiffusion) and again.config == ours.config
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), ours.parameters(), strict=True))
    with pytest.raises(InputError, match="that is diffusers, got 'transformers'"):
        published.export(ours, tmp_path, library="transformers")
    reading = StableDiffusion(replace(ours.config, reader=1))
    with pytest.raises(InputError, match="got one with 1 layers that read on"):
        published.export(reading, tmp_path / "reading", library="diffusers")
    assert not (tmp_path / "reading").exists()


@torch.no_grad()
def test_older_files_have_older_names(saved: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    """As those of version 1 on the hub: the autoencoder's attention, and a prefix and positions in the text tower."""
    parts, folder = saved
    shutil.copytree(folder, tmp_path / "old")
    file = tmp_path / "old/vae/diffusion_pytorch_model.safetensors"
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(file)
    for new, old in older.items():
        tensors = {name.replace(f"attentions.0.{new}.", f"attentions.0.{old}."): t for name, t in tensors.items()}
    assert any("proj_attn" in name for name in tensors)
    save_file(tensors, file)
    file = tmp_path / "old/text_encoder/model.safetensors"
    tensors = {f"text_model.{name.removeprefix('text_model.')}": t.half() for name, t in load_file(file).items()}
    save_file({**tensors, "text_model.embeddings.position_ids": torch.arange(20)[None]}, file)
    ours = published.load(tmp_path / "old")
    assert isinstance(ours, StableDiffusion)
    z = torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(ours.autoencoder.decode(z), parts["vae"].decode(z).sample, atol=1e-4, rtol=1e-4)
    assert ours.text.words.weight.dtype == torch.float32


def _original(model: StableDiffusion) -> dict[str, torch.Tensor]:
    """A model in the names of the authors' file, with what else that has."""
    parts = stable_diffusion.adapters(model.config, original=True)
    modules = {"unet": model.unet, "vae": model.autoencoder, "text_encoder": model.text}
    tensors = {
        f"{stable_diffusion.ORIGINAL[part]}{name}": tensor.contiguous()
        for part, adapter in parts.items()
        for name, tensor in adapter.to_published(modules[part]).items()
    }
    return {**tensors, "alphas_cumprod": torch.ones(1000), "model_ema.decay": torch.ones(())}


def _converted(config: StableDiffusionConfig, tensors: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """What diffusers' own conversion makes of the authors' names."""
    unet = {"layers_per_block": config.unet.depth}
    levels = ["DownEncoderBlock2D"] * len(config.autoencoder.widths)
    return {
        "unet": convert_ldm_unet_checkpoint(dict(tensors), unet),
        "vae": convert_ldm_vae_checkpoint(dict(tensors), {"down_block_types": levels, "up_block_types": levels}),
    }


@torch.no_grad()
def test_the_single_file_is_read(saved: tuple[dict[str, Any], Path]) -> None:
    parts, folder = saved
    ours = published.load(folder)
    assert isinstance(ours, StableDiffusion)
    tensors = _original(ours)
    for part, converted in _converted(ours.config, tensors).items():
        expected = parts[part].state_dict()
        assert converted.keys() == expected.keys()
        assert all(torch.equal(converted[name], tensor) for name, tensor in expected.items())
    again = stable_diffusion.from_original(tensors, ours.config)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), ours.parameters(), strict=True))
    with pytest.raises(InputError, match=r"1 are missing: out\.2\.bias"):
        stable_diffusion.from_original({k: v for k, v in tensors.items() if not k.endswith(".out.2.bias")}, ours.config)


def test_the_single_file_is_told_from_others(tmp_path: Path) -> None:
    save_file({"model.diffusion_model.out.2.bias": torch.zeros(4)}, tmp_path / "v1.safetensors")
    assert stable_diffusion.layout(tmp_path / "v1.safetensors") == "original"
    with pytest.raises(InputError, match="are missing"):
        published.load(tmp_path / "v1.safetensors")
    save_file({"x": torch.zeros(4)}, tmp_path / "other.safetensors")
    assert stable_diffusion.layout(tmp_path / "other.safetensors") is None
    with pytest.raises(InputError, match="which is neither"):
        published.load(tmp_path / "other.safetensors", NAME)
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    assert stable_diffusion.layout(tmp_path / "broken.safetensors") is None


def test_published_names_and_shapes_are_diffusers() -> None:
    """At full size, nothing in memory: ours, the authors' and diffusers' names of the same tensors."""
    assert {NAME, "stable-diffusion-v1-5/stable-diffusion-v1-5"} <= set(published.names())
    with torch.device("meta"):
        ours = published.build(NAME)
        assert isinstance(ours, StableDiffusion)
        converted = _converted(ours.config, _original(ours))
        config = stable_diffusion.to_diffusers(ours)
        reference = {
            "unet": UNet2DConditionModel.from_config(config["unet"][2]["config.json"]).state_dict(),
            "vae": AutoencoderKL.from_config(config["vae"][2]["config.json"]).state_dict(),
        }
    for part, expected in reference.items():
        assert {k: v.shape for k, v in converted[part].items()} == {k: v.shape for k, v in expected.items()}
        assert {k: v.shape for k, v in config[part][1].items()} == {k: v.shape for k, v in expected.items()}


def test_clips_own_tokenizer_is_written_too(tmp_path: Path) -> None:
    words = CLIPTokenizer()
    for file, data in stable_diffusion._tokenizer_files(words, 77).items():
        (tmp_path / file).write_text(json.dumps(data), encoding="utf-8")
    theirs: Any = TheirTokenizer.from_pretrained(tmp_path)
    for text in ("a photo of a cat, 2 apples!", "Don't", "고양이"):
        told = theirs(text, padding="max_length", max_length=77).input_ids
        ids = [49406, *words.encode(text), 49407]
        assert told == ids + [49407] * (77 - len(ids))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("unet/config.json", {"act_fn": "gelu"}, "act_fn='gelu'"),
        ("unet/config.json", {"use_linear_projection": True}, "use_linear_projection=True"),
        ("unet/config.json", {"attention_head_dim": [5, 10]}, r"attention_head_dim=\[5, 10\]"),
        ("unet/config.json", {"in_channels": 9}, "in_channels=9"),
        ("unet/config.json", {"up_block_types": ["UpBlock2D", "UpBlock2D"]}, "up_block_types"),
        ("unet/config.json", {"flip_sin_to_cos": False}, "flip_sin_to_cos=False"),
        ("unet/config.json", {"layers_per_block": 1}, "are left over"),
        ("unet/config.json", {"norm_eps": 1e-6}, "norm_eps=1e-06"),
        ("vae/config.json", {"use_quant_conv": False}, "use_quant_conv=False"),
        ("vae/config.json", {"shift_factor": 0.1}, "shift_factor=0.1"),
        ("vae/config.json", {"block_out_channels": [8, 16]}, "of another shape"),
        ("text_encoder/config.json", {"hidden_act": "relu"}, "hidden_act='relu'"),
        ("text_encoder/config.json", {"layer_norm_eps": 1e-6}, "layer_norm_eps=1e-06"),
        (stable_diffusion.SCHEDULER, {"prediction_type": "sample"}, "prediction_type='sample'"),
        (stable_diffusion.SCHEDULER, {"beta_schedule": "sigmoid"}, "beta_schedule='sigmoid'"),
        (stable_diffusion.SCHEDULER, {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr=True"),
    ],
)
def test_what_would_differ_is_refused(
    saved: tuple[dict[str, Any], Path], tmp_path: Path, file: str, change: dict[str, Any], message: str
) -> None:
    shutil.copytree(saved[1], tmp_path / "other")
    path = tmp_path / "other" / file
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        published.load(tmp_path / "other")


def test_what_is_missing_or_of_another_size_is_told(saved: tuple[dict[str, Any], Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected the sizes of CompVis"):
        published.load(saved[1], NAME)
    shutil.copytree(saved[1], tmp_path / "other")
    (tmp_path / "other/vae/config.json").write_text("no JSON", encoding="utf-8")
    with pytest.raises(InputError, match="expected JSON"):
        published.load(tmp_path / "other")
    (tmp_path / "other/vae/config.json").unlink()
    with pytest.raises(InputError, match=r"vae/config\.json is missing"):
        published.load(tmp_path / "other")


def test_without_internet_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="the hub could not be reached"):
        published.load(NAME)
