"""Published models: the exact architectures, and their weights read from, and written to, other libraries' formats.

published.names()                        what there is
published.build(name)                    the architecture with random weights; nothing is downloaded
published.load(name_or_path)             weights, from a directory or .safetensors file
published.export(model, directory)       written so that the library loads them back
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from vlm_history.errors import InputError
from vlm_history.published import googlenet, vgg
from vlm_history.published.adapter import Adapter, read_safetensors


@dataclass(frozen=True)
class Published:
    """One published model: how to build it, and how each library names its tensors."""

    build: Callable[[], nn.Module]
    adapters: dict[str, Adapter]


_MODELS: dict[str, Published] = {
    "torchvision/googlenet": Published(googlenet.build, {"torchvision": googlenet.TORCHVISION}),
    "torchvision/vgg19": Published(vgg.build, {"torchvision": vgg.TORCHVISION, "timm": vgg.TIMM}),
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
    """Published weights from this computer; the tensors' names tell which library wrote them.

    Args:
        path: a directory or `.safetensors` file, as the library saves it.
        name: which of `names()` it is; may be left out while the tensors' names tell.

    Raises:
        InputError: no such file, a pickle, or tensors that are not those of the model.
    """
    if not Path(path).exists():
        known = " and its weights have to be on this computer" if str(path) in _MODELS else ""
        raise InputError(
            f"expected a directory or a .safetensors file, got {str(path)!r}, which does not exist{known}; "
            "save them with safetensors.torch.save_file(torchvision_model.state_dict(), file)"
        )
    candidates = [_find(name)] if name else list(_MODELS.values())
    tensors = read_safetensors(path)
    published, adapter = _recognise(tensors, candidates)
    if not name and adapter.share(tensors) < 0.5:
        raise InputError(f"expected the tensors of one of {', '.join(_MODELS)}, got others in {path}; pass name=")
    with torch.device("meta"):
        model = published.build()
    model.load_state_dict(adapter.from_published(tensors, model), assign=True)
    return model.eval()


def _recognise(tensors: Iterable[str], candidates: Iterable[Published]) -> tuple[Published, Adapter]:
    """The model, and the library's way of naming it, that these names fit best."""
    pairs = ((published, adapter) for published in candidates for adapter in published.adapters.values())
    return max(pairs, key=lambda pair: pair[1].share(tensors))


def export(model: nn.Module, directory: str | Path, library: str = "torchvision") -> Path:
    """Write a model so that another library loads it back.

    Args:
        model: one that `build` or `load` returned.
        directory: gets `model.safetensors`.
        library: "torchvision" or, where it has the model, "timm".

    Returns:
        The file.

    Raises:
        InputError: the model is none of the published ones, or the library does not have it.
    """
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
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.detach().contiguous() for k, v in published.adapters[library].to_published(model).items()}
    beside = directory / "model.safetensors.part"
    save_file(tensors, beside, metadata={"format": "pt"})
    return beside.replace(directory / "model.safetensors")
