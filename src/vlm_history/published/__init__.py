"""Published models: the exact architectures, and their weights read from, and written to, other libraries' formats.

published.names()                        what there is
published.build(name)                    the architecture with random weights; nothing is downloaded
published.load(name_or_path)             weights, from a directory, a .safetensors file or the hub
published.export(model, directory)       written so that the library loads them back
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from vlm_history.errors import InputError
from vlm_history.pretrain.clip import CLIP, CLIPConfig
from vlm_history.pretrain.dvae import Decoder, DVAEConfig, Encoder
from vlm_history.pretrain.gpt1 import GPT
from vlm_history.pretrain.stable_diffusion import StableDiffusion
from vlm_history.published import clip, dalle, googlenet, gpt, stable_diffusion, vgg
from vlm_history.published.adapter import Adapter, read_safetensors


@dataclass(frozen=True)
class Published:
    """One published model: how to build it, how each library names its tensors, and its files on the hub, if any."""

    build: Callable[[], nn.Module]
    adapters: dict[str, Adapter]
    hub: tuple[str, ...] = ()


def _clip(name: str) -> Published:
    config = CLIPConfig.published(clip.NAMES[name])
    library = "transformers" if name.startswith("openai/") else "open_clip"
    weights, files = clip.FILES[library]
    adapters = {one: clip.ADAPTERS[one](config) for one in ("transformers", "open_clip") if clip.has(one, config)}
    return Published(lambda: clip.build(name), adapters, (weights, *files(config)))


def _dalle(name: str) -> Published:
    return Published(lambda: dalle.build(name), dalle.adapters(dalle.NAMES[name], DVAEConfig.published()))


_MODELS: dict[str, Published] = {
    "torchvision/googlenet": Published(googlenet.build, {"torchvision": googlenet.TORCHVISION}),
    "torchvision/vgg19": Published(vgg.build, {"torchvision": vgg.TORCHVISION, "timm": vgg.TIMM}),
    **{name: _clip(name) for name in clip.NAMES},
    **{name: Published(partial(kind, config), {}, gpt.FILES) for name, (kind, config) in gpt.NAMES.items()},
    **{name: _dalle(name) for name in dalle.NAMES},
    **{name: Published(stable_diffusion.build, {}, stable_diffusion.FILES) for name in stable_diffusion.NAMES},
}


def names() -> list[str]:
    """Names of the published models."""
    return list(_MODELS)


def _find(name: str) -> Published:
    if name not in _MODELS:
        raise InputError(f"expected a published model among {', '.join(_MODELS)}, got {name!r}; choose one of these")
    return _MODELS[name]


def build(name: str) -> nn.Module:
    """The published architecture with random weights, in evaluation mode.

    Args:
        name: one of `names()`.
    """
    return _find(name).build().eval()


def load(path: str | Path, name: str | None = None) -> nn.Module:
    """Published weights; the configuration beside them, or else the tensors' names, tell what they are.

    Args:
        path: a directory or `.safetensors` file, as the library saves it; or one of `names()`, whose weights are then
            fetched from the hub, where they are there, and kept for the next time.
        name: which of `names()` it is; may be left out while the files tell.

    Raises:
        InputError: no such file, no internet, a pickle, tensors or a configuration that are not those of the model.
    """
    if not Path(path).exists():
        if str(path) not in _MODELS or not _MODELS[str(path)].hub:
            known = " and its weights have to be on this computer" if str(path) in _MODELS else ""
            raise InputError(
                f"expected a directory or a .safetensors file, got {str(path)!r}, which does not exist{known}; "
                "save them with safetensors.torch.save_file(torchvision_model.state_dict(), file)"
            )
        name = name or str(path)
        path = _fetch(str(path))
    candidates = [_find(name)] if name else list(_MODELS.values())
    configuration = clip.configuration(Path(path)) if name is None or name in clip.NAMES else None
    if configuration is not None:
        return clip.load(Path(path), *configuration, name)
    if name is None or name in gpt.NAMES:
        found = gpt.configuration(Path(path))
        if found is not None:
            return gpt.load(Path(path), *found, name)
        if name is not None:
            raise InputError(f"expected a directory with the {gpt.CONFIG} of {name}, got none in {path}; pass another")
    if name is None or name in stable_diffusion.NAMES:
        layout = stable_diffusion.layout(Path(path))
        if layout is not None:
            return stable_diffusion.load(Path(path), layout, name)
        if name is not None:
            raise InputError(
                f"expected {name} as a directory of diffusers' or as the single file of its authors, as safetensors, "
                f"got {path}, which is neither"
            )
    tensors = read_safetensors(path)
    published, adapter = _recognise(tensors, candidates)
    if not name and adapter.share(tensors) < 0.5:
        raise InputError(f"expected the tensors of one of {', '.join(_MODELS)}, got others in {path}; pass name=")
    with torch.device("meta"):
        model = published.build()
    if isinstance(model, CLIP) and not name:
        raise InputError(
            f"expected a configuration beside the weights of a CLIP, got none in {path}: tensors do not tell QuickGELU "
            f"from GELU; if they are OpenAI's, pass name=, one of {', '.join(clip.NAMES)}"
        )
    model.load_state_dict(adapter.from_published(tensors, model), assign=True)
    return model.eval()


def _fetch(name: str) -> Path:
    """The folder of a published model's files, fetched from the hub unless they were before."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, allow_patterns=list(_MODELS[name].hub)))
    except Exception as error:  # its many parts each raise their own
        raise InputError(
            f"expected the weights of {name}, which are not on this computer, and the hub could not be reached "
            f"({type(error).__name__}); connect to the internet, or pass a directory that holds them"
        ) from error
    missing = [file for file in _MODELS[name].hub if not (folder / file).is_file()]
    if missing:
        raise InputError(f"expected {', '.join(missing)} of {name} on the hub, which has no such file; use a directory")
    return folder


def _recognise(tensors: Iterable[str], candidates: Iterable[Published]) -> tuple[Published, Adapter]:
    """The model, and the library's way of naming it, that these names fit best."""
    pairs = ((published, adapter) for published in candidates for adapter in published.adapters.values())
    return max(pairs, key=lambda pair: pair[1].share(tensors))


def export(model: nn.Module, directory: str | Path, library: str = "torchvision") -> Path:
    """Write a model so that another library loads it back.

    Args:
        model: one that `build` or `load` returned, or a CLIP, a GPT, a half of a discrete VAE or a Stable Diffusion of
            any size.
        directory: gets the weights, and what the library reads beside them.
        library: one that has the model: "torchvision", "timm", "transformers", "open_clip", "dall_e" or "diffusers".

    Returns:
        The file of the weights; of a Stable Diffusion, that of the U-Net's.

    Raises:
        InputError: the model is none of the published ones, or the library does not have it.
    """
    directory = Path(directory)
    if isinstance(model, CLIP):
        if library not in clip.FILES:
            raise InputError(f"expected a library that has CLIP, that is {', '.join(clip.FILES)}, got {library!r}")
        adapter, (name, describe) = clip.ADAPTERS[library](model.config), clip.FILES[library]
        return _write(directory, name, adapter.to_published(model), describe(model.config))
    if isinstance(model, GPT):
        if library != "transformers":
            raise InputError(f"expected a library that has GPT, that is transformers, got {library!r}")
        return _write(directory, gpt.WEIGHTS, *gpt.to_transformers(model))
    if isinstance(model, (Encoder, Decoder)):
        has = dalle.adapters(type(model), model.config)
        if library not in has:
            its = f"DALL-E's {type(model).__name__}"
            raise InputError(f"expected a library that has {its}, that is {', '.join(has)}, got {library!r}")
        return _write(directory, "model.safetensors", has[library].to_published(model), dalle.files(model, library))
    if isinstance(model, StableDiffusion):
        if library != "diffusers":
            raise InputError(f"expected a library that has Stable Diffusion, that is diffusers, got {library!r}")
        if model.config.reader:
            raise InputError(
                f"expected a Stable Diffusion whose U-Net is told what the text tower knows, got one with "
                f"{model.config.reader} layers that read on; diffusers has no place for them: keep it as it is"
            )
        for folder, files in stable_diffusion.beside(model).items():
            _describe(directory / folder, files)
        parts = stable_diffusion.to_diffusers(model)
        return {part: _write(directory / part, *what) for part, what in parts.items()}["unet"]
    for published in _MODELS.values():
        with torch.device("meta"):
            known = published.build()
        if type(known) is type(model):
            break
    else:
        raise InputError(f"expected a model of {', '.join(_MODELS)}, got a {type(model).__name__}")
    if library not in published.adapters:
        raise InputError(
            f"expected a library that has {type(model).__name__}, that is {', '.join(published.adapters)}, "
            f"got {library!r}; choose one of these"
        )
    return _write(directory, "model.safetensors", published.adapters[library].to_published(model), {})


def _describe(directory: Path, files: dict[str, Any]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for file, data in files.items():
        (directory / file).write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def _write(directory: Path, name: str, tensors: dict[str, Tensor], files: dict[str, Any]) -> Path:
    _describe(directory, files)
    beside = directory / f"{name}.part"
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, beside, metadata={"format": "pt"})
    return beside.replace(directory / name)
