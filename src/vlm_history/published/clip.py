"""CLIP as open_clip and as transformers name it and configure it. Only open_clip has the modified ResNet.

Weights do not tell QuickGELU from GELU, and the wrong one gives vectors that look well and mean less. So a CLIP is
read with the configuration beside its weights, and whatever that says and ours cannot be is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from vlm_history.errors import InputError
from vlm_history.pretrain.clip import CLIP, CLIPConfig
from vlm_history.pretrain.clip_towers import ResNetConfig, TextConfig, ViTConfig
from vlm_history.published.adapter import Adapter, read_json, read_safetensors
from vlm_history.text import CLIPTokenizer

NAMES = {
    "openai/clip-vit-base-patch32": "ViT-B/32",
    "openai/clip-vit-base-patch16": "ViT-B/16",
    "openai/clip-vit-large-patch14": "ViT-L/14",
    "openai/clip-vit-large-patch14-336": "ViT-L/14@336px",
    "timm/resnet50_clip.openai": "RN50",
    "timm/resnet101_clip.openai": "RN101",
}
"""Where the published models are, and what the paper calls them. The first four are as transformers, the last two as
open_clip saves them."""

_OPEN_CLIP_BLOCK = {
    "attention.out": "attn.out_proj",
    "attention_norm": "ln_1",
    "mlp.widen": "mlp.c_fc",
    "mlp.narrow": "mlp.c_proj",
    "mlp_norm": "ln_2",
}
_TRANSFORMERS_BLOCK = {
    "attention.out": "self_attn.out_proj",
    "attention_norm": "layer_norm1",
    "mlp.widen": "mlp.fc1",
    "mlp.narrow": "mlp.fc2",
    "mlp_norm": "layer_norm2",
}
_BOTTLENECK = {
    "first": "conv1",
    "first_norm": "bn1",
    "second": "conv2",
    "second_norm": "bn2",
    "third": "conv3",
    "third_norm": "bn3",
    "around": "downsample.0",
    "around_norm": "downsample.1",
}
_POOL = {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": "c_proj"}


def _stack(ours: str, theirs: str, depth: int, block: Mapping[str, str]) -> dict[str, str]:
    """The modules of a stack of blocks."""
    return {f"{ours}.{i}.{a}": f"{theirs}.{i}.{b}" for i in range(depth) for a, b in block.items()}


def open_clip(config: CLIPConfig) -> Adapter:
    """open_clip's names: the original code's, in which some parameters belong to no layer."""
    stacks = {"text": ("transformer.resblocks", config.text.depth)}
    modules = {"text.words": "token_embedding", "text.norm": "ln_final"}
    renamed = {"text.positions": "positional_embedding", "text.project.weight": "text_projection"}
    transposed = {"text.project"}
    if isinstance(config.image, ViTConfig):
        stacks["image"] = ("visual.transformer.resblocks", config.image.depth)
        modules |= {"image.patches": "visual.conv1", "image.norm_before": "visual.ln_pre"}
        modules |= {"image.norm_after": "visual.ln_post"}
        renamed |= {"image.gatherer": "visual.class_embedding", "image.project.weight": "visual.proj"}
        renamed |= {"image.positions": "visual.positional_embedding"}
        transposed |= {"image.project"}
    elif isinstance(config.image, ResNetConfig):
        modules |= {f"image.stem.{i}": f"visual.conv{i + 1}" for i in range(3)}
        modules |= {f"image.stem_norms.{i}": f"visual.bn{i + 1}" for i in range(3)}
        for stage, blocks in enumerate(config.image.stages):
            modules |= _stack(f"image.stages.{stage}", f"visual.layer{stage + 1}", blocks, _BOTTLENECK)
        modules |= {f"image.pool.attention.{a}": f"visual.attnpool.{b}" for a, b in _POOL.items()}
        renamed |= {"image.pool.positions": "visual.attnpool.positional_embedding"}
    else:
        raise _no_other_has(config)
    for tower, (theirs, depth) in stacks.items():
        modules |= _stack(f"{tower}.blocks", theirs, depth, _OPEN_CLIP_BLOCK)
        for i in range(depth):
            for tensor in ("weight", "bias"):
                renamed[f"{tower}.blocks.{i}.attention.qkv.{tensor}"] = f"{theirs}.{i}.attn.in_proj_{tensor}"
    return Adapter(modules, transposed=frozenset(transposed), renamed={**renamed, "log_scale": "logit_scale"})


def transformers(config: CLIPConfig) -> Adapter:
    """transformers' names: every parameter in a layer, and queries, keys and values apart."""
    if not isinstance(config.image, ViTConfig):
        raise _no_other_has(config)
    modules = {
        "text.words": "text_model.embeddings.token_embedding",
        "text.norm": "text_model.final_layer_norm",
        "text.project": "text_projection",
        "image.patches": "vision_model.embeddings.patch_embedding",
        "image.norm_before": "vision_model.pre_layrnorm",  # so it is spelt
        "image.norm_after": "vision_model.post_layernorm",
        "image.project": "visual_projection",
    }
    split = {}
    for ours, theirs, depth in (
        ("text", "text_model", config.text.depth),
        ("image", "vision_model", config.image.depth),
    ):
        modules |= _stack(f"{ours}.blocks", f"{theirs}.encoder.layers", depth, _TRANSFORMERS_BLOCK)
        for i in range(depth):
            parts = [f"{theirs}.encoder.layers.{i}.self_attn.{part}_proj" for part in "qkv"]
            split[f"{ours}.blocks.{i}.attention.qkv"] = tuple(parts)
    return Adapter(
        modules,
        ignored=("text_model.embeddings.position_ids", "vision_model.embeddings.position_ids"),
        renamed={
            "log_scale": "logit_scale",
            "text.positions": "text_model.embeddings.position_embedding.weight",
            "image.positions": "vision_model.embeddings.position_embedding.weight",
            "image.gatherer": "vision_model.embeddings.class_embedding",
        },
        split=split,
    )


def _no_other_has(config: CLIPConfig) -> InputError:
    has = "open_clip has ViT and ModifiedResNet, transformers ViT alone"
    return InputError(f"expected an image tower that the library has ({has}), got {type(config.image).__name__}")


def has(library: str, config: CLIPConfig) -> bool:
    """Whether a library has such a CLIP."""
    return isinstance(config.image, ViTConfig) or (library == "open_clip" and isinstance(config.image, ResNetConfig))


ADAPTERS = {"transformers": transformers, "open_clip": open_clip}


def _refuse(wrong: Mapping[str, Any]) -> None:
    if wrong:
        told = ", ".join(f"{name}={value!r}" for name, value in sorted(wrong.items()))
        raise InputError(f"expected a CLIP as it was published, got one with {told}; no such part is here")


def from_open_clip(data: Mapping[str, Any]) -> CLIPConfig:
    """Sizes from what open_clip writes into `open_clip_config.json`.

    Raises:
        InputError: parts that a CLIP as published has not.
    """
    given, pixels = dict(data["model_cfg"]), dict(data.get("preprocess_cfg") or {})
    image, text = dict(given.pop("vision_cfg")), dict(given.pop("text_cfg"))
    width, quick = int(given.pop("embed_dim")), bool(given.pop("quick_gelu", False))
    sizes: dict[str, Any] = {
        "image_size": int(image.pop("image_size", 224)),
        **{key: tuple(pixels[key]) for key in ("mean", "std") if key in pixels},
    }
    layers, channels = image.pop("layers", 12), int(image.pop("width", 768))
    head, patch = int(image.pop("head_width", 64)), image.pop("patch_size", 16)
    tower: ViTConfig | ResNetConfig
    if isinstance(layers, (list, tuple)):
        tower = ResNetConfig((layers[0], layers[1], layers[2], layers[3]), channels, channels * 32 // head, **sizes)
    else:
        tower = ViTConfig(int(patch), channels, int(layers), channels // head, **sizes)
    reader = TextConfig(
        text.pop("vocab_size", 49408), text.pop("context_length", 77), text.pop("width", 512), text.pop("layers", 12),
        text.pop("heads", 8),
    )  # fmt: skip
    usual = {"mlp_ratio": 4.0, "pool_type": "argmax", "proj_type": "linear"}
    _refuse({
        f"{part}.{key}": value
        for part, rest in (("model_cfg", given), ("vision_cfg", image), ("text_cfg", text))
        for key, value in rest.items()
        if value and value != usual.get(key)
    })  # fmt: skip
    return CLIPConfig(tower, reader, width, quick)


def from_transformers(data: Mapping[str, Any], pixels: Mapping[str, Any] | None = None) -> CLIPConfig:
    """Sizes from what transformers writes into `config.json` and, of the pixels, `preprocessor_config.json`.

    Raises:
        InputError: parts that a CLIP as published has not.
    """
    from transformers import CLIPConfig as TheirConfig

    try:
        theirs: Any = TheirConfig.from_dict(dict(data))
    except Exception as error:  # its checks are many, and each raises its own
        raise InputError(f"expected a configuration that transformers reads, got one it refuses: {error}") from error
    text, image = theirs.text_config, theirs.vision_config
    wrong: dict[str, Any] = {}
    for part, given in (("text", text), ("vision", image)):
        usual = {"intermediate_size": 4 * given.hidden_size, "layer_norm_eps": 1e-5, "hidden_act": text.hidden_act}
        wrong |= {f"{part}.{key}": getattr(given, key) for key, value in usual.items() if getattr(given, key) != value}
    if text.hidden_act not in ("quick_gelu", "gelu"):
        wrong["text.hidden_act"] = text.hidden_act
    if image.num_channels != 3:
        wrong["vision.num_channels"] = image.num_channels
    if text.eos_token_id not in (text.vocab_size - 1, 2):  # 2 is what older files have; it means the last one, too
        wrong["text.eos_token_id"] = text.eos_token_id
    _refuse(wrong)
    keys = {"mean": "image_mean", "std": "image_std"}
    sizes = {ours: tuple(pixels[key]) for ours, key in keys.items() if pixels and key in pixels}
    return CLIPConfig(
        ViTConfig(
            image.patch_size, image.hidden_size, image.num_hidden_layers, image.num_attention_heads, image.image_size,
            **sizes,
        ),
        TextConfig(
            text.vocab_size, text.max_position_embeddings, text.hidden_size, text.num_hidden_layers,
            text.num_attention_heads,
        ),
        theirs.projection_dim,
        text.hidden_act == "quick_gelu",
    )  # fmt: skip


def to_open_clip(config: CLIPConfig) -> dict[str, Any]:
    """The files, but for the weights, that open_clip reads a directory by: name -> JSON."""
    image = config.image
    if not has("open_clip", config):
        raise _no_other_has(config)
    vision: dict[str, Any] = {"image_size": image.image_size, "width": image.width}
    if isinstance(image, ViTConfig):
        vision |= {"layers": image.depth, "patch_size": image.patch, "head_width": image.width // image.heads}
    else:
        assert isinstance(image, ResNetConfig)
        vision |= {"layers": list(image.stages), "patch_size": None, "head_width": image.width * 32 // image.heads}
    text = {
        "context_length": config.text.length, "vocab_size": config.text.vocabulary, "width": config.text.width,
        "heads": config.text.heads, "layers": config.text.depth,
    }  # fmt: skip
    model = {"embed_dim": config.width, "quick_gelu": config.quick_gelu, "vision_cfg": vision, "text_cfg": text}
    pixels = {"mean": list(image.mean), "std": list(image.std), "interpolation": "bicubic", "resize_mode": "shortest"}
    return {"open_clip_config.json": {"model_cfg": model, "preprocess_cfg": pixels}}


def to_transformers(config: CLIPConfig) -> dict[str, Any]:
    """The files, but for the weights, that transformers reads a directory by: name -> JSON."""
    image, text = config.image, config.text
    if not isinstance(image, ViTConfig):
        raise _no_other_has(config)
    activation = "quick_gelu" if config.quick_gelu else "gelu"

    def tower(width: int, depth: int, heads: int) -> dict[str, Any]:
        return {
            "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": depth,
            "num_attention_heads": heads, "hidden_act": activation, "layer_norm_eps": 1e-5,
            "projection_dim": config.width,
        }  # fmt: skip

    end = text.vocabulary - 1
    reads = {"vocab_size": text.vocabulary, "max_position_embeddings": text.length, "eos_token_id": end}
    reads |= {"bos_token_id": end - 1, "pad_token_id": end}
    sees = {"image_size": image.image_size, "patch_size": image.patch, "num_channels": 3}
    square = {"height": image.image_size, "width": image.image_size}
    return {
        "config.json": {
            "model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": config.width,
            "text_config": {**tower(text.width, text.depth, text.heads), **reads},
            "vision_config": {**tower(image.width, image.depth, image.heads), **sees},
        },
        "preprocessor_config.json": {
            "image_processor_type": "CLIPImageProcessor", "do_resize": True, "resample": 3,
            "size": {"shortest_edge": image.image_size}, "do_center_crop": True, "crop_size": square,
            "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
            "image_mean": list(image.mean), "image_std": list(image.std), "do_convert_rgb": True,
        },
    }  # fmt: skip


FILES = {
    "transformers": ("model.safetensors", to_transformers),
    "open_clip": ("open_clip_model.safetensors", to_open_clip),
}
"""For each library what it calls the weights, and the files beside them."""


def build(name: str) -> CLIP:
    """The published architecture of one of `NAMES`."""
    return CLIP(CLIPConfig.published(NAMES[name]), CLIPTokenizer())


def configuration(directory: Path) -> tuple[str, CLIPConfig] | None:
    """The library that wrote a directory, and the sizes of its CLIP; None if it holds none, or tells no sizes."""
    file = directory / "open_clip_config.json"
    if file.is_file():
        try:
            return "open_clip", from_open_clip(read_json(file))
        except (KeyError, TypeError) as error:
            raise InputError(f"expected a configuration as open_clip writes it, got {file} ({error!r})") from error
    file, pixels = directory / "config.json", directory / "preprocessor_config.json"
    if file.is_file() and read_json(file).get("model_type") == "clip":
        return "transformers", from_transformers(read_json(file), read_json(pixels) if pixels.is_file() else None)
    return None


def load(directory: Path, library: str, config: CLIPConfig, name: str | None = None) -> CLIP:
    """A CLIP of any size, from a directory that `configuration` can read.

    Args:
        directory, library, config: see `configuration`.
        name: one of `NAMES` that it shall be.

    Raises:
        InputError: another architecture than that of `name`, another activation above all, or tensors that do not fit.
    """
    if name is not None:
        wanted = CLIPConfig.published(NAMES[name])
        if config.quick_gelu != wanted.quick_gelu:
            raise InputError(
                f"expected QuickGELU, which {name} was trained with, but the configuration in {directory} says GELU; "
                "these weights are another model's, or the configuration is wrong"
            )
        same_pixels = replace(config.image, mean=wanted.image.mean, std=wanted.image.std)
        if replace(config, image=same_pixels) != wanted:
            raise InputError(f"expected the sizes of {name}, got others in {directory}: {config}; leave out name=")
    file = directory / FILES[library][0]
    tensors = read_safetensors(file if file.is_file() else directory)
    tokenizer = CLIPTokenizer() if config.text.vocabulary == TextConfig().vocabulary else None
    with torch.device("meta"):
        model = CLIP(config, tokenizer)
    model.load_state_dict(ADAPTERS[library](config).from_published(tensors, model), assign=True)
    return model.eval()
