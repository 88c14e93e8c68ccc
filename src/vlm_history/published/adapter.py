"""Names of published tensors <-> ours: tables, not code, and loud where they do not fit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from vlm_history.errors import InputError


@dataclass(frozen=True)
class Adapter:
    """How one library names the tensors of one network.

    Attributes:
        ours_to_theirs: for each module of ours the name of theirs; a tensor's own name (weight, bias, ...) follows.
        ignored: beginnings of their names that our network has no use for.
        kernels: our linear layers that are convolutions of theirs, with the kernel's rows and columns: the same
            numbers in the same order, as (outputs, inputs, rows, columns).
        transposed: our linear layers whose weight they keep as (inputs, outputs).
        renamed: tensors of ours whose own name is another there, with their full name.
        split: our linear layers that are several of theirs, each with its part of the outputs.
    """

    ours_to_theirs: Mapping[str, str]
    ignored: tuple[str, ...] = ()
    kernels: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    transposed: frozenset[str] = frozenset()
    renamed: Mapping[str, str] = field(default_factory=dict)
    split: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def theirs(self, ours: str) -> tuple[str, ...]:
        """Their names of a tensor of ours: several where they keep it in parts."""
        if ours in self.renamed:
            return (self.renamed[ours],)
        module, _, tensor = ours.rpartition(".")
        modules = self.split.get(module) or (self.ours_to_theirs[module],)
        return tuple(f"{theirs}.{tensor}" for theirs in modules)

    def parts(self, ours: str, value: Tensor) -> dict[str, Tensor]:
        """What they make of a tensor of ours: name -> tensor."""
        names = self.theirs(ours)
        shaped = self.shaped(ours, value)
        return dict(zip(names, shaped.chunk(len(names)) if len(names) > 1 else (shaped,), strict=True))

    def shaped(self, ours: str, value: Tensor) -> Tensor:
        """A tensor of ours in their shape."""
        module, _, tensor = ours.rpartition(".")
        if tensor == "weight" and module in self.transposed:
            return value.T
        kernel = self.kernels.get(module) if tensor == "weight" else None
        return value.unflatten(1, (-1, *kernel)) if kernel else value

    def unshaped(self, ours: str, value: Tensor, shape: torch.Size) -> Tensor:
        """A tensor of theirs in our shape."""
        module, _, tensor = ours.rpartition(".")
        if tensor == "weight" and module in self.transposed:
            # the longer side stays together in memory: a product with one row, as in writing, is a quarter faster so
            return value.T if value.shape[1] >= value.shape[0] else value.T.contiguous()
        return value.reshape(shape)

    def share(self, tensors: Iterable[str]) -> float:
        """How many of their modules own one of these tensors, from 0 (none) to 1 (all)."""
        modules = {*self.ours_to_theirs.values(), *(part for parts in self.split.values() for part in parts)}
        return len(modules & {name.rpartition(".")[0] for name in tensors}) / len(modules)

    def from_published(self, tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Their tensors under our names.

        Raises:
            InputError: a tensor is missing, left over, or of another shape than the model's.
        """
        state = model.state_dict()
        wanted = {name: part.shape for ours, value in state.items() for name, part in self.parts(ours, value).items()}
        found = {name for name in tensors if not name.startswith(self.ignored or ("\0",))}
        network = type(model).__name__
        self._refuse(network, "missing", wanted.keys() - found)
        self._refuse(network, "left over", found - wanted.keys())
        self._refuse(
            network,
            "of another shape",
            (f"{name} {tuple(tensors[name].shape)} instead of {tuple(shape)}" for name, shape in wanted.items()
             if tensors[name].shape != shape),
        )  # fmt: skip
        whole = {}
        for ours, value in state.items():
            parts = [tensors[name] for name in self.theirs(ours)]
            whole[ours] = self.unshaped(ours, torch.cat(parts) if len(parts) > 1 else parts[0], value.shape)
        return whole

    def to_published(self, model: nn.Module) -> dict[str, Tensor]:
        """Our tensors under their names and in their shapes."""
        state = model.state_dict()
        return {name: part for ours, value in state.items() for name, part in self.parts(ours, value).items()}

    @staticmethod
    def _refuse(network: str, what: str, names: Iterable[str]) -> None:
        names = sorted(names)
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise InputError(
                f"expected the published tensors of {network}, but {len(names)} are {what}: "
                f"{', '.join(names[:5])}{more}; these weights belong to another network"
            )


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Tensors of a `.safetensors` file, or of the one in a directory.

    Raises:
        InputError: there is none, it is damaged, or it is a pickle, which is never read.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        if len(files) != 1:
            raise InputError(f"expected one .safetensors file in {path}, got {len(files)}; name the file itself")
        path = files[0]
    if not path.is_file():
        raise InputError(f"expected a .safetensors file or a directory with one, got {path}, which does not exist")
    if path.suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl"):
        raise InputError(
            f"expected safetensors, got {path.name}: a pickle can run code when it is read; convert it with "
            "safetensors.torch.save_file where you trust it"
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"expected safetensors, got {path}, which cannot be read as such ({error})") from error


def read_json(file: Path) -> dict[str, Any]:
    """A configuration.

    Raises:
        InputError: it is damaged.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"expected JSON, got {file}, which cannot be read as such ({error})") from error
    if not isinstance(data, dict):
        raise InputError(f"expected a configuration in {file}, got a {type(data).__name__}")
    return data
