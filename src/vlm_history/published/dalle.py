"""DALL-E's discrete VAE as OpenAI's package `dall_e` names it and, its encoder, as transformers does for FLAVA.

The two encoders are one network: FLAVA took it over, to make its codebook. The decoder only OpenAI has. They released
both as pickles, which are not read here: save their `state_dict()` as safetensors where you trust them. The transformer
was never released. Tensors tell neither the gain of the blocks nor their order, so only networks with the published
gain are written.
"""

from __future__ import annotations

from typing import Any

from vlm_history.errors import InputError
from vlm_history.pretrain.dvae import Decoder, DVAEConfig, Encoder
from vlm_history.published.adapter import Adapter

# The decoder comes first: it has a module for each of the encoder's, and one more. So its tensors fit both, those of
# the encoder fit the encoder best.
NAMES: dict[str, type[Encoder] | type[Decoder]] = {"openai/dall-e-decoder": Decoder, "openai/dall-e-encoder": Encoder}
"""What they are called here; no hub has them as safetensors."""


def _modules(kind: type[Encoder] | type[Decoder], config: DVAEConfig, group: str, path: str) -> dict[str, str]:
    """Our modules -> theirs, whose names have something more after the group and before the convolutions."""
    modules = {"first": "blocks.input", "last": "blocks.output.conv"}
    entry, widths = (config.widths[0], config.widths) if kind is Encoder else (config.entry, config.widths[::-1])
    inputs = (entry, *widths)
    for i, width in enumerate(widths):
        for j in range(config.blocks):
            ours, theirs = f"groups.{i}.{j}", f"blocks.group_{i + 1}.{group}block_{j + 1}"
            modules |= {f"{ours}.convolutions.{k}": f"{theirs}.res_path.{path}conv_{k + 1}" for k in range(4)}
            if j == 0 and inputs[i] != width:
                modules[f"{ours}.around"] = f"{theirs}.id_path"
    return modules


def dall_e(kind: type[Encoder] | type[Decoder], config: DVAEConfig) -> Adapter:
    """OpenAI's names: a weight is w, a bias b."""
    modules = _modules(kind, config, "", "")
    tensors = {"weight": "w", "bias": "b"}
    renamed = {f"{a}.{ours}": f"{b}.{theirs}" for a, b in modules.items() for ours, theirs in tensors.items()}
    return Adapter(modules, renamed=renamed)


def transformers(config: DVAEConfig) -> Adapter:
    """transformers' names of the encoder, which is its FlavaImageCodebook."""
    return Adapter(_modules(Encoder, config, "group.", "path."))


def adapters(kind: type[Encoder] | type[Decoder], config: DVAEConfig) -> dict[str, Adapter]:
    """The libraries that have a network, and how each names it."""
    both = {"dall_e": dall_e(kind, config)}
    return {**both, "transformers": transformers(config)} if kind is Encoder else both


def files(model: Encoder | Decoder, library: str) -> dict[str, Any]:
    """What the library reads beside the weights: name -> JSON.

    Raises:
        InputError: sizes, or a gain, that the library's network cannot have.
    """
    config = model.config
    width = config.widths[0]
    usual = (width, 2 * width, 4 * width, 8 * width)
    if config.widths != usual or config.gain != 1 / (4 * config.blocks) ** 2:
        raise InputError(
            f"expected widths {usual} and a gain of {1 / (4 * config.blocks) ** 2}, as {library} has them, got "
            f"{config.widths} and {config.gain}; its network would give something else with these weights"
        )
    if library != "transformers":
        return {}
    sizes = {"hidden_size": width, "vocab_size": config.codes, "num_blocks_per_group": config.blocks}
    return {
        "config.json": {
            "model_type": "flava_image_codebook", "architectures": ["FlavaImageCodebook"], "num_groups": 4,
            "input_channels": 3, **sizes,
        },
    }  # fmt: skip


def build(name: str) -> Encoder | Decoder:
    """The published architecture of one of `NAMES`."""
    return NAMES[name](DVAEConfig.published())
