"""Stable Diffusion v1 as diffusers names, configures and saves it, and as its authors' single file has it.

A directory of diffusers' holds a folder for each part, with a configuration that is read, and refused where it says
what ours cannot be. The single file holds all parts under the names of the paper's code and no configuration: it is
read as version 1. Weights kept there a second time, averaged (`model_ema`), are left alone, as diffusers does; the
files called "emaonly" have nothing but the average.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

import tokenizers
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from vlm_history.errors import InputError
from vlm_history.pretrain.autoencoder import AutoencoderConfig
from vlm_history.pretrain.clip import CLIPConfig
from vlm_history.pretrain.clip_towers import TextConfig, ViTConfig
from vlm_history.pretrain.samplers import NoiseConfig
from vlm_history.pretrain.stable_diffusion import StableDiffusion, StableDiffusionConfig
from vlm_history.pretrain.unet import UNetConfig
from vlm_history.published import clip, gpt
from vlm_history.published.adapter import Adapter, read_json, read_safetensors
from vlm_history.text import BytePairTokenizer, CLIPTokenizer

NAMES = ("stable-diffusion-v1-5/stable-diffusion-v1-5", "CompVis/stable-diffusion-v1-4")
"""What the hub calls them: one architecture, trained for longer and for less long."""
WEIGHTS = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
}
"""The folders that diffusers keeps the parts in, and what it calls their weights."""
INDEX, SCHEDULER = "model_index.json", "scheduler/scheduler_config.json"
FILES = (INDEX, SCHEDULER, *(f"{part}/{file}" for part, name in WEIGHTS.items() for file in ("config.json", name)))
ORIGINAL = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.transformer.text_model.",
}
"""What stands before the names of each part in the single file."""
_OURS = {"unet": "unet", "vae": "autoencoder", "text_encoder": "text"}

# Names of a residual block, in diffusers, in the authors' U-Net and in their autoencoder.
_BLOCK = ("first_norm", "first", "time", "second_norm", "second", "around")
_BLOCKS = {
    "diffusers": ("norm1", "conv1", "time_emb_proj", "norm2", "conv2", "conv_shortcut"),
    "unet": ("in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3", "skip_connection"),
    "vae": ("norm1", "conv1", "", "norm2", "conv2", "nin_shortcut"),
}
# Both libraries' names of a transformer.
_TRANSFORMER = {
    "norm": "norm", "inputs": "proj_in", "outputs": "proj_out",
    **{ours: f"transformer_blocks.0.{theirs}" for ours, theirs in {
        "around_norm": "norm1", "words_norm": "norm2", "mlp_norm": "norm3", "mlp.widen": "ff.net.0.proj",
        "mlp.narrow": "ff.net.2",
    }.items()},
    **{f"{ours}.{layer}": f"transformer_blocks.0.{theirs}.to_{layer}{'.0' if layer == 'out' else ''}"
       for ours, theirs in {"around": "attn1", "words": "attn2"}.items() for layer in ("q", "k", "v", "out")},
}  # fmt: skip


def _block(ours: str, theirs: str, kind: str) -> dict[str, str]:
    """The modules of a residual block."""
    return {f"{ours}.{one}": f"{theirs}.{other}" for one, other in zip(_BLOCK, _BLOCKS[kind], strict=True) if other}


def unet(config: UNetConfig, original: bool = False) -> Adapter:
    """The names of a U-Net: diffusers', or the authors'."""
    kind = "unet" if original else "diffusers"
    if original:
        modules = {"time.0": "time_embed.0", "time.2": "time_embed.2", "inputs": "input_blocks.0.0"}
        modules |= {"norm": "out.0", "outputs": "out.2"}
        middle = ("middle_block.0", "middle_block.1", "middle_block.2")
    else:
        modules = {"time.0": "time_embedding.linear_1", "time.2": "time_embedding.linear_2", "inputs": "conv_in"}
        modules |= {"norm": "conv_norm_out", "outputs": "conv_out"}
        middle = ("mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1")
    transformers = {"middle.0.transformer": middle[1]}
    modules |= _block("middle.0.block", middle[0], kind) | _block("middle.1.block", middle[2], kind)
    levels, down, up, block = len(config.widths), count(), count(), count()
    for level, attention in enumerate(config.attention):
        for layer in range(config.depth):
            i = next(down)
            name = f"input_blocks.{i + 1}.0" if original else f"down_blocks.{level}.resnets.{layer}"
            modules |= _block(f"down.{i}.block", name, kind)
            if attention:
                name = f"input_blocks.{i + 1}.1" if original else f"down_blocks.{level}.attentions.{layer}"
                transformers[f"down.{i}.transformer"] = name
        if level + 1 < levels:
            i = next(down)
            name = f"input_blocks.{i + 1}.0.op" if original else f"down_blocks.{level}.downsamplers.0.conv"
            modules[f"down.{i}.convolution"] = name
    for level, attention in enumerate(reversed(config.attention)):
        for layer in range(config.depth + 1):
            i, j = next(up), next(block)
            name = f"output_blocks.{j}.0" if original else f"up_blocks.{level}.resnets.{layer}"
            modules |= _block(f"up.{i}.block", name, kind)
            if attention:
                name = f"output_blocks.{j}.1" if original else f"up_blocks.{level}.attentions.{layer}"
                transformers[f"up.{i}.transformer"] = name
        if level + 1 < levels:
            last = f"output_blocks.{j}.{2 if attention else 1}.conv"
            name = last if original else f"up_blocks.{level}.upsamplers.0.conv"
            modules[f"up.{next(up)}.convolution"] = name
    kernels: dict[str, tuple[int, int]] = {}
    for ours, theirs in transformers.items():
        modules |= {f"{ours}.{one}": f"{theirs}.{other}" for one, other in _TRANSFORMER.items()}
        kernels |= {f"{ours}.{side}": (1, 1) for side in ("inputs", "outputs")}
    return Adapter(modules, kernels=kernels)


def vae(config: AutoencoderConfig, original: bool = False) -> Adapter:
    """The names of an autoencoder: diffusers', or the authors', who count the decoder's levels from the finest on."""
    kind, levels = "vae" if original else "diffusers", len(config.widths)
    modules = {"moments": "quant_conv", "latents": "post_quant_conv"}
    kernels: dict[str, tuple[int, int]] = {}
    split: dict[str, tuple[str, ...]] = {}
    for coder, way, other, depth, change in (
        ("encoder", "down", "downsample", "downsamplers.0", config.depth),
        ("decoder", "up", "upsample", "upsamplers.0", config.depth + 1),
    ):
        modules |= {f"{coder}.inputs": f"{coder}.conv_in", f"{coder}.outputs": f"{coder}.conv_out"}
        modules[f"{coder}.norm"] = f"{coder}.{'norm_out' if original else 'conv_norm_out'}"
        middle = f"{coder}.{'mid' if original else 'mid_block'}"
        for number in range(2):
            name = f"{middle}.block_{number + 1}" if original else f"{middle}.resnets.{number}"
            modules |= _block(f"{coder}.middle.{2 * number}", name, kind)
        attention, ours = f"{middle}.{'attn_1' if original else 'attentions.0'}", f"{coder}.middle.1"
        modules[f"{ours}.norm"] = f"{attention}.{'norm' if original else 'group_norm'}"
        modules[f"{ours}.attention.out"] = f"{attention}.{'proj_out' if original else 'to_out.0'}"
        split[f"{ours}.attention.qkv"] = tuple(f"{attention}.{'' if original else 'to_'}{layer}" for layer in "qkv")
        if original:  # there 1x1 convolutions
            kernels |= {f"{ours}.attention.{layer}": (1, 1) for layer in ("qkv", "out")}
        for level in range(levels):
            theirs = level if coder == "encoder" else levels - 1 - level
            place = f"{coder}.{way}.{theirs}" if original else f"{coder}.{way}_blocks.{level}"
            for layer in range(change):
                name = f"{place}.block.{layer}" if original else f"{place}.resnets.{layer}"
                modules |= _block(f"{coder}.levels.{level}.{layer}", name, kind)
            modules[f"{coder}.levels.{level}.{change}.convolution"] = f"{place}.{other if original else depth}.conv"
    return Adapter(modules, kernels=kernels, split=split)


def text_encoder(config: TextConfig) -> Adapter:
    """The names of CLIP's text tower in transformers, without the "text_model." that stands before each in older files
    and in the single one."""
    whole = clip.transformers(CLIPConfig(ViTConfig(32, config.width, 0, 1), config, config.width))

    def own(ours: str) -> bool:
        return ours.startswith("text.") and ours != "text.project"

    def cut(name: str) -> str:
        return name.removeprefix("text.").removeprefix("text_model.")

    return Adapter(
        {cut(ours): cut(theirs) for ours, theirs in whole.ours_to_theirs.items() if own(ours)},
        ignored=("embeddings.position_ids",),
        renamed={cut(ours): cut(theirs) for ours, theirs in whole.renamed.items() if own(ours)},
        split={cut(ours): tuple(map(cut, theirs)) for ours, theirs in whole.split.items() if own(ours)},
    )


def adapters(config: StableDiffusionConfig, original: bool = False) -> dict[str, Adapter]:
    """Of each part, by diffusers' folder."""
    return {
        "unet": unet(config.unet, original),
        "vae": vae(config.autoencoder, original),
        "text_encoder": text_encoder(config.text),
    }


# Our sizes and what diffusers calls them; then what may be set and may not differ.
_UNET = {"channels": "in_channels", "depth": "layers_per_block", "heads": "attention_head_dim",
         "source": "cross_attention_dim", "groups": "norm_num_groups"}  # fmt: skip
_UNET_FIXED = {
    "act_fn": "silu", "center_input_sample": False, "downsample_padding": 1, "flip_sin_to_cos": True, "freq_shift": 0,
    "mid_block_type": "UNetMidBlock2DCrossAttn", "mid_block_scale_factor": 1, "norm_eps": 1e-5,
    "resnet_out_scale_factor": 1.0, "resnet_time_scale_shift": "default", "time_embedding_type": "positional",
    "attention_type": "default", "conv_in_kernel": 3, "conv_out_kernel": 3, "transformer_layers_per_block": 1,
    "addition_embed_type_num_heads": 64,
}  # fmt: skip
_VAE = {"channels": "latent_channels", "depth": "layers_per_block", "groups": "norm_num_groups",
        "scale": "scaling_factor"}  # fmt: skip
_VAE_FIXED = {
    "act_fn": "silu", "in_channels": 3, "out_channels": 3, "use_quant_conv": True, "use_post_quant_conv": True,
    "mid_block_add_attention": True,
}  # fmt: skip
_TEXT = {"vocabulary": "vocab_size", "length": "max_position_embeddings", "width": "hidden_size",
         "depth": "num_hidden_layers", "heads": "num_attention_heads"}  # fmt: skip
_NOISE = {"steps": "num_train_timesteps", "first": "beta_start", "last": "beta_end"}
_SHAPES = {"linear": "linear", "scaled_linear": "scaled_linear", "cosine": "squaredcos_cap_v2"}
_PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction"}
# What says nothing of what is computed, or only of how it is computed.
_SILENT = {"sample_size", "force_upcast", "upcast_attention"}


def _sizes(file: Path, names: Mapping[str, str], defaults: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our sizes from a configuration, and what else it says.

    Raises:
        InputError: it is damaged.
    """
    data = {key: value for key, value in read_json(file).items() if not key.startswith("_") and key not in _SILENT}
    sizes = {ours: data.pop(theirs, getattr(defaults, ours)) for ours, theirs in names.items()}
    wrong = {names[ours]: value for ours, value in sizes.items() if type(value) not in (int, float)}
    _refuse(file, wrong)
    return sizes, data


def _refuse(file: Path, wrong: Mapping[str, Any]) -> None:
    if wrong:
        told = ", ".join(f"{name}={value!r}" for name, value in sorted(wrong.items()))
        raise InputError(f"expected Stable Diffusion as version 1 is, got {told} in {file}; no such part is here")


def _differing(data: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """What is set, and neither off nor as it has to be."""
    return {key: value for key, value in data.items() if (value or key in fixed) and value != fixed.get(key)}


def configuration(directory: Path) -> StableDiffusionConfig:
    """The sizes that diffusers wrote into a directory.

    Raises:
        InputError: a file is missing or damaged, or says what ours cannot be.
    """
    missing = [file for file in FILES if not (directory / file).is_file()]
    if missing:
        raise InputError(f"expected {', '.join(FILES)} in {directory}, but {', '.join(missing)} is missing")
    file = directory / "unet/config.json"
    sizes, rest = _sizes(file, _UNET, UNetConfig())
    widths = tuple(rest.pop("block_out_channels", UNetConfig.widths))
    down, up = rest.pop("down_block_types", None), rest.pop("up_block_types", None)
    attention = UNetConfig.attention if down is None else tuple(kind == "CrossAttnDownBlock2D" for kind in down)
    if (down, up) != (None, None) and (down, up) != _block_types(attention):
        rest |= {"down_block_types": down, "up_block_types": up}
    if rest.pop("out_channels", sizes["channels"]) != sizes["channels"]:
        rest["in_channels"] = sizes["channels"]  # an inpainting model's: the hole comes in as channels
    _refuse(file, _differing(rest, _UNET_FIXED))
    its_unet = UNetConfig(widths=widths, attention=attention, **sizes)
    file = directory / "vae/config.json"
    sizes, rest = _sizes(file, _VAE, AutoencoderConfig())
    widths = tuple(rest.pop("block_out_channels", AutoencoderConfig.widths))
    plain = (["DownEncoderBlock2D"] * len(widths), ["UpDecoderBlock2D"] * len(widths))
    if (rest.pop("down_block_types", plain[0]), rest.pop("up_block_types", plain[1])) != plain:
        rest["down_block_types"] = "others"
    _refuse(file, _differing(rest, _VAE_FIXED))
    side = read_json(directory / "unet/config.json").get("sample_size", 64) * 2 ** (len(widths) - 1)
    its_vae = AutoencoderConfig(widths=widths, image_size=side, **sizes)
    file = directory / "text_encoder/config.json"
    sizes, rest = _sizes(file, _TEXT, TextConfig())
    its_text = TextConfig(**sizes)
    usual = {"intermediate_size": 4 * its_text.width, "layer_norm_eps": 1e-5}
    wrong = {key: rest[key] for key, value in usual.items() if rest.get(key, value) != value}
    activation = rest.get("hidden_act", "quick_gelu")
    if activation not in ("quick_gelu", "gelu"):
        wrong["hidden_act"] = activation
    _refuse(file, wrong)
    file = directory / "tokenizer/tokenizer_config.json"
    tokens = read_json(file).get("model_max_length", its_text.length) if file.is_file() else its_text.length
    return StableDiffusionConfig(
        its_vae, its_unet, its_text, _noise(directory / SCHEDULER), activation == "quick_gelu",
        min(tokens, its_text.length),
    )  # fmt: skip


def _block_types(attention: tuple[bool, ...]) -> tuple[list[str], list[str]]:
    """What diffusers calls the levels of a U-Net, on the way down and on the way up."""
    down = [f"{'CrossAttn' if there else ''}DownBlock2D" for there in attention]
    return down, [f"{'CrossAttn' if there else ''}UpBlock2D" for there in reversed(attention)]


def _noise(file: Path) -> NoiseConfig:
    """The forward process that a scheduler's configuration tells; which scheduler it is does not matter."""
    sizes, rest = _sizes(file, _NOISE, NoiseConfig())
    shape, prediction = rest.get("beta_schedule", "linear"), rest.get("prediction_type", "epsilon")
    wrong = {key: rest[key] for key in ("trained_betas", "rescale_betas_zero_snr", "use_flow_sigmas") if rest.get(key)}
    if shape not in _SHAPES.values():
        wrong["beta_schedule"] = shape
    if prediction not in _PREDICTIONS.values():
        wrong["prediction_type"] = prediction
    _refuse(file, wrong)
    shapes, predictions = ({theirs: ours for ours, theirs in names.items()} for names in (_SHAPES, _PREDICTIONS))
    return NoiseConfig(shape=shapes[shape], prediction=predictions[prediction], **sizes)


def build() -> StableDiffusion:
    """The published architecture: 1,066,235,307 parameters."""
    return StableDiffusion(StableDiffusionConfig.published(), CLIPTokenizer())


def layout(path: Path) -> str | None:
    """Whether a path holds a Stable Diffusion: "diffusers" (a directory), "original" (the single file) or None."""
    if path.is_dir():
        return "diffusers" if (path / INDEX).is_file() else None
    if path.suffix != ".safetensors":
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return "original" if any(name.startswith(ORIGINAL["unet"]) for name in file.keys()) else None  # noqa: SIM118
    except (SafetensorError, OSError):
        return None  # who reads it will say so


def _older(name: str) -> str:
    """A tensor's name as newer versions of the libraries save it."""
    for old, new in {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}.items():
        name = name.replace(f".attentions.0.{old}.", f".attentions.0.{new}.")
    return name.removeprefix("text_model.")


def load(path: Path, layout: str, name: str | None = None) -> StableDiffusion:
    """A Stable Diffusion, from a directory of diffusers', of any size, or from the single file, of version 1.

    Args:
        path: the one or the other.
        layout: which, see there.
        name: one of `NAMES` that it shall be.

    Raises:
        InputError: another architecture than that of `name`, a configuration that ours cannot be, or tensors that do
            not fit.
    """
    if layout == "original":
        return from_original(read_safetensors(path), StableDiffusionConfig.published())
    config = configuration(path)
    if name is not None and config != StableDiffusionConfig.published():
        raise InputError(f"expected the sizes of {name}, got others in {path}: {config}; leave out name=")
    parts = {
        part: {_older(one): tensor for one, tensor in read_safetensors(path / part / file).items()}
        for part, file in WEIGHTS.items()
    }
    return assemble(parts, config, tokenizer=_tokenizer(path, config))


def from_original(tensors: Mapping[str, Tensor], config: StableDiffusionConfig) -> StableDiffusion:
    """A Stable Diffusion of any size, from the tensors of a single file."""
    parts = {
        part: {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for part, prefix in ORIGINAL.items()
    }
    return assemble(parts, config, original=True, tokenizer=_tokenizer(None, config))


def assemble(
    parts: Mapping[str, Mapping[str, Tensor]], config: StableDiffusionConfig, original: bool = False,
    tokenizer: BytePairTokenizer | None = None,
) -> StableDiffusion:  # fmt: skip
    """A Stable Diffusion from the tensors of each part, by diffusers' folders, in its names or the authors'."""
    with torch.device("meta"):
        model = StableDiffusion(config, tokenizer)
    for part, adapter in adapters(config, original).items():
        module = model.get_submodule(_OURS[part])
        module.load_state_dict(adapter.from_published(parts[part], module), assign=True)
    return model.float().eval()  # some are saved in half precision


def _tokenizer(directory: Path | None, config: StableDiffusionConfig) -> BytePairTokenizer | None:
    """CLIP's own for its vocabulary; else the one in the directory, if there is one and ours can be it."""
    if config.text.vocabulary == TextConfig().vocabulary:
        return CLIPTokenizer()
    words = None if directory is None else gpt.read_tokenizer(directory / "tokenizer" / gpt.TOKENIZER)
    return words if isinstance(words, BytePairTokenizer) and len(words) == config.text.vocabulary else None


def to_diffusers(model: StableDiffusion) -> dict[str, tuple[str, dict[str, Tensor], dict[str, Any]]]:
    """What diffusers reads a directory by: for each part's folder the name of its weights, tensors, and JSON files."""
    config, end = model.config, model.config.text.vocabulary - 1
    down, up = _block_types(config.unet.attention)
    levels = len(config.autoencoder.widths)
    activation = "quick_gelu" if config.quick_gelu else "gelu"
    said = {
        "unet": {
            "_class_name": "UNet2DConditionModel",
            **{theirs: getattr(config.unet, ours) for ours, theirs in _UNET.items()},
            **{key: _UNET_FIXED[key] for key in ("act_fn", "flip_sin_to_cos", "freq_shift", "norm_eps")},
            "out_channels": config.unet.channels, "block_out_channels": config.unet.widths,
            "down_block_types": down, "up_block_types": up,
            "sample_size": config.autoencoder.image_size // config.autoencoder.factor,
        },
        "vae": {
            "_class_name": "AutoencoderKL",
            **{theirs: getattr(config.autoencoder, ours) for ours, theirs in _VAE.items()},
            **{key: _VAE_FIXED[key] for key in ("act_fn", "in_channels", "out_channels")},
            "block_out_channels": config.autoencoder.widths, "sample_size": config.autoencoder.image_size,
            "down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels,
        },
        "text_encoder": {
            "model_type": "clip_text_model", "architectures": ["CLIPTextModel"],
            **{theirs: getattr(config.text, ours) for ours, theirs in _TEXT.items()},
            "intermediate_size": 4 * config.text.width, "hidden_act": activation, "layer_norm_eps": 1e-5,
            "projection_dim": config.text.width, "bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end,
        },
    }  # fmt: skip
    parts: dict[str, tuple[str, dict[str, Tensor], dict[str, Any]]] = {}
    for part, adapter in adapters(config).items():
        tensors = adapter.to_published(model.get_submodule(_OURS[part]))
        if part == "text_encoder":
            tensors = {f"text_model.{name}": tensor for name, tensor in tensors.items()}
        parts[part] = (WEIGHTS[part], tensors, {"config.json": said[part]})
    return parts


def scheduler(noise: NoiseConfig) -> dict[str, Any]:
    """A forward process as diffusers' DDIM has it; from its configuration all other schedulers can be made."""
    return {
        "_class_name": "DDIMScheduler", **{theirs: getattr(noise, ours) for ours, theirs in _NOISE.items()},
        "beta_schedule": _SHAPES[noise.shape], "prediction_type": _PREDICTIONS[noise.prediction], "steps_offset": 1,
        "set_alpha_to_one": False, "clip_sample": False,
    }  # fmt: skip


def beside(model: StableDiffusion) -> dict[str, dict[str, Any]]:
    """What else diffusers reads: JSON by folder, "" being the directory itself."""
    words = model.tokenizer
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.30.0", "requires_safety_checker": False,
        "feature_extractor": [None, None], "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"], "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"],
    }  # fmt: skip
    files: dict[str, dict[str, Any]] = {
        "": {INDEX: index},
        "scheduler": {Path(SCHEDULER).name: scheduler(model.config.noise)},
    }
    if words is not None:
        files["tokenizer"] = _tokenizer_files(words, model.config.tokens)
        index["tokenizer"] = ["transformers", files["tokenizer"]["tokenizer_config.json"]["tokenizer_class"]]
    return files


def _tokenizer_files(words: BytePairTokenizer, length: int) -> dict[str, Any]:
    """A tokenizer as transformers reads it, which begins and ends a text as ours is read."""
    if isinstance(words, CLIPTokenizer):
        from transformers import CLIPTokenizer as Theirs

        start, end = "<|startoftext|>", "<|endoftext|>"
        vocabulary = {token: number for number, token in enumerate((*words.vocabulary[:-2], start, end))}
        merges: Any = list(words.merges)  # pairs, which transformers' annotation does not know
        library, kind = Theirs(vocabulary, merges).backend_tokenizer, "CLIPTokenizer"
    else:
        (start, end), kind = words.specials[-2:], "PreTrainedTokenizerFast"
        library = gpt.to_library(words)
        library.post_processor = tokenizers.processors.TemplateProcessing(
            single=f"{start} $A {end}", special_tokens=[(start, words.id(start)), (end, words.id(end))]
        )
    return {
        gpt.TOKENIZER: json.loads(library.to_str()),
        "tokenizer_config.json": {
            "tokenizer_class": kind, "model_max_length": length, "bos_token": start, "eos_token": end, "pad_token": end,
        },
    }  # fmt: skip
