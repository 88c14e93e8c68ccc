"""Names of published tensors <-> ours: tables, not code, and loud where they do not fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

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
    """

    ours_to_theirs: Mapping[str, str]
    ignored: tuple[str, ...] = ()

    def theirs(self, ours: str) -> str:
        """Their name of a tensor of ours."""
        module, _, tensor = ours.rpartition(".")
        return f"{self.ours_to_theirs[module]}.{tensor}"

    def from_published(self, tensors: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Their tensors under our names.

        Raises:
            InputError: a tensor is missing, left over, or of another shape than the model's.
        """
        wanted = {self.theirs(name): (name, value) for name, value in model.state_dict().items()}
        found = {name for name in tensors if not name.startswith(self.ignored or ("\0",))}
        self._refuse("missing", wanted.keys() - found)
        self._refuse("left over", found - wanted.keys())
        self._refuse(
            "of another shape",
            (f"{n} {tuple(tensors[n].shape)} instead of {tuple(v.shape)}" for n, (_, v) in wanted.items()
             if tensors[n].shape != v.shape),
        )  # fmt: skip
        return {ours: tensors[theirs] for theirs, (ours, _) in wanted.items()}

    def to_published(self, model: nn.Module) -> dict[str, Tensor]:
        """Our tensors under their names."""
        return {self.theirs(name): value for name, value in model.state_dict().items()}

    @staticmethod
    def _refuse(what: str, names: Iterable[str]) -> None:
        names = sorted(names)
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise InputError(
                f"expected the published tensors of this network, but {len(names)} are {what}: "
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
