"""A trained system as a folder: weights (safetensors), configuration, tokenizer, card. Pickle is never read.

What a system has taken over unchanged from another one, as a captioner its frozen CNN, is not stored again: its folder
says in `shared.json` whose it is, by name and by hash.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vlm_history.errors import InputError
from vlm_history.text import BytePairTokenizer, WordTokenizer

System = TypeVar("System", bound=nn.Module)
LARGEST = 7 * 2**20
"""Bytes of a file of weights, so that each stays small enough for a repository."""
SCALE = "/scale"
"""What follows a tensor's name in that of its scales, where it is stored in 8 bits."""


def _tokenizer(system_class: type[nn.Module]) -> type[WordTokenizer] | type[BytePairTokenizer] | None:
    """How a system reads: as those of era 1 by words, as those since by byte pairs, or not at all."""
    hint = typing.get_type_hints(system_class.__init__).get("tokenizer")
    kinds = [kind for kind in (WordTokenizer, BytePairTokenizer) if kind in typing.get_args(hint)]
    return kinds[0] if kinds else None


def config_to_data(config: Any) -> dict[str, Any]:
    """A frozen dataclass, nested or not, as plain data."""
    return dataclasses.asdict(config)


def config_from_data(kind: type, data: dict[str, Any]) -> Any:
    """The way back. Where a field may be one of several dataclasses, its keys tell which.

    Raises:
        InputError: a field is missing or unknown.
    """
    hints = typing.get_type_hints(kind)
    if set(data) != set(hints):
        raise InputError(
            f"expected a configuration of {kind.__name__} with {sorted(hints)}, got {sorted(data)}; "
            "it was saved by another version"
        )
    made = {}
    for name, value in data.items():
        hint = hints[name]
        choices = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
        if isinstance(value, dict):
            records = [c for c in choices if isinstance(c, type) and dataclasses.is_dataclass(c)]
            fitting = [c for c in records if set(typing.get_type_hints(c)) == set(value)]
            value = config_from_data(fitting[0], value) if fitting else value
        elif isinstance(value, list):
            value = tuple(tuple(v) if isinstance(v, list) else v for v in value)
        made[name] = value
    return kind(**made)


def _parts(weights: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """The tensors in as many files as keep each below `LARGEST` bytes, one larger tensor alone in its own."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in weights.items():
        if parts[-1] and size + tensor.nbytes > LARGEST:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += tensor.nbytes
    return parts


def _stored(weights: Mapping[str, Tensor], bits: int, exact: str | None = None) -> dict[str, Tensor]:
    """Tensors as they are stored.

    In 8 bits a row of a matrix is whole numbers from -127 to 127 and their scale, the row's largest weight over 127;
    vectors, which are few, are in half precision, as everything is in 16 bits. What begins with `exact` stays as it is.

    Raises:
        InputError: another number of bits than 8, 16 or 32.
    """
    if bits not in (8, 16, 32):
        raise InputError(f"expected weights of 8, 16 or 32 bits, got {bits}")
    stored = {}
    for name, tensor in weights.items():
        if exact is not None and name.startswith(exact):
            stored[name] = tensor
        elif bits == 8 and tensor.is_floating_point() and tensor.ndim > 1:
            rows = tensor.float().flatten(1)
            scale = rows.abs().amax(1).clamp_min(1e-12) / 127
            stored[name] = (rows / scale[:, None]).round().to(torch.int8).view_as(tensor)
            stored[name + SCALE] = scale
        else:
            stored[name] = tensor.half() if bits < 32 and tensor.is_floating_point() else tensor
    return stored


def _unstored(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The way back: what was stored in 8 bits is in single precision, the rest as it is."""
    weights = {name: tensor for name, tensor in stored.items() if not name.endswith(SCALE)}
    for name, scale in stored.items():
        if name.endswith(SCALE):
            whole = stored[name.removesuffix(SCALE)]
            weights[name.removesuffix(SCALE)] = (whole.flatten(1) * scale[:, None]).view_as(whole)
    return weights


def _read(directory: Path) -> dict[str, Tensor]:
    """All tensors of a folder's own files."""
    try:
        parts = [load_file(path) for path in sorted(directory.glob("model*.safetensors"))]
    except SafetensorError as error:
        raise InputError(f"expected safetensors in {directory}, got a damaged or foreign file ({error})") from error
    return _unstored({name: tensor for part in parts for name, tensor in part.items()})


def _digest(tensors: Mapping[str, Tensor], names: Iterable[str]) -> str:
    """SHA-256 of some tensors: their names, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(names):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save(
    model: Any,
    directory: str | Path,
    card: dict[str, Any] | None = None,
    bits: int = 32,
    shared: Mapping[str, Path] | None = None,
    exact: str | None = None,
) -> Path:
    """Write a system, beside its place first, so that a half-written one is never seen.

    Args:
        model: a module with `config` (a dataclass) and, if it reads or writes words, `tokenizer`.
        directory: where it goes; what was there is replaced.
        card: how the weights were made; an earlier card stays if None.
        bits: of a stored weight: 32, 16 or 8, see `_stored`. Models compute in single precision all the same.
        shared: names and folders of systems of which this one has parts. Tensors that are there, under the same name
            and with the same values, are not stored again.
        exact: tensors whose names begin so are stored as they are, whatever `bits`.
    """
    directory = Path(directory)
    beside = directory.with_name(directory.name + ".part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    weights = {k: v.detach().cpu().contiguous() for k, v in model.state_dict().items()}
    taken = {}
    for name, folder in (shared or {}).items():
        theirs = _read(folder)
        same = sorted(k for k, v in weights.items() if k in theirs and torch.equal(theirs[k], v.to(theirs[k].dtype)))
        if same:
            taken[name] = {"sha256": _digest(theirs, same), "tensors": same}
            weights = {k: v for k, v in weights.items() if k not in same}
    for number, part in enumerate(_parts(_stored(weights, bits, exact)), start=1):
        save_file(part, beside / ("model.safetensors" if number == 1 else f"model-{number}.safetensors"))
    if taken:
        (beside / "shared.json").write_text(json.dumps(taken, indent=1) + "\n", encoding="utf-8")
    (beside / "config.json").write_text(json.dumps(config_to_data(model.config), indent=1) + "\n", encoding="utf-8")
    if getattr(model, "tokenizer", None) is not None:
        model.tokenizer.save(beside / "tokenizer.json")
    if card is not None:
        (beside / "card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    elif (directory / "card.json").exists():
        shutil.copy(directory / "card.json", beside / "card.json")
    directory.mkdir(parents=True, exist_ok=True)
    for old in (*directory.glob("model-*.safetensors"), *directory.glob("shared.json")):
        old.unlink()
    for file in beside.iterdir():
        file.replace(directory / file.name)
    beside.rmdir()
    return directory


def _with_shared(own: dict[str, Tensor], directory: Path, shelf: Path) -> dict[str, Tensor]:
    """A folder's own tensors and those that it shares with others on the shelf."""
    if not (directory / "shared.json").is_file():
        return own
    weights = dict(own)
    for name, part in json.loads((directory / "shared.json").read_text(encoding="utf-8")).items():
        theirs = _read(shelf / name)
        if not set(part["tensors"]) <= set(theirs) or _digest(theirs, part["tensors"]) != part["sha256"]:
            raise InputError(
                f"expected in {shelf / name} the weights of {name} with which those in {directory} were trained, "
                f"got none or others; train this system anew, or bring those of {name} back"
            )
        weights |= {key: theirs[key] for key in part["tensors"]}
    return weights


def load(system_class: type[System], directory: str | Path, shelf: Path | None = None) -> System:
    """Read what `save` wrote.

    Args:
        system_class: its class.
        directory: its folder.
        shelf: where the folders of systems lie with which it shares weights; beside it if None.

    Raises:
        InputError: files are missing, or tensors are missing, left over or of another shape, or what it shares with
            another system is no longer there.
    """
    directory = Path(directory)
    reader = _tokenizer(system_class)
    files = ["model.safetensors", "config.json", *(["tokenizer.json"] if reader else [])]
    missing = [name for name in files if not (directory / name).is_file()]
    if missing:
        raise InputError(f"expected {', '.join(files)} in {directory}, but {', '.join(missing)} is missing")
    words = [reader.load(directory / "tokenizer.json")] if reader else []
    data = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    config_class = typing.get_type_hints(system_class.__init__)["config"]
    model = system_class(config_from_data(config_class, data), *words)
    weights = _with_shared(_read(directory), directory, shelf or directory.parent)
    expected = {k: tuple(v.shape) for k, v in model.state_dict().items()}
    found = {k: tuple(v.shape) for k, v in weights.items()}
    wrong = {k for k in expected.keys() | found.keys() if expected.get(k) != found.get(k)}
    if wrong:
        raise InputError(
            f"expected the tensors of {system_class.__name__}, but these are missing, left over or of another shape: "
            f"{', '.join(sorted(wrong)[:5])}; the folder holds another system, or one of another version"
        )
    model.load_state_dict(weights)  # into the model's own precision
    return model
