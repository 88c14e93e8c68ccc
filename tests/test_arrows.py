"""Imports run back in time only, and no system knows the world."""

import ast
from pathlib import Path

import pytest

import vlm_history

ROOT = Path(vlm_history.__file__).parent
MODULES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.py"))

# Each part and what it may import; "itself" goes without saying.
BASE = {"errors", "images", "layers", "text", "checkpoints"}
MAY: dict[str, set[str]] = {
    "errors": set(),
    "images": {"errors"},
    "text": {"errors"},
    "layers": {"errors"},
    "checkpoints": {"errors", "text"},
    "world": {"errors"},
    "connect": BASE,
    "pretrain": BASE | {"connect"},
    "converse": BASE | {"connect", "pretrain"},
    "judge": BASE | {"connect"},
    "systems": BASE | {"connect", "pretrain", "converse", "judge"},
    "published": BASE | {"connect", "pretrain", "converse"},
    "training": BASE | {"connect", "pretrain", "converse", "judge", "systems", "published", "world"},
    "exam": BASE | {"connect", "pretrain", "converse", "judge", "systems", "published", "world"},
    "bench": BASE | {"connect", "pretrain", "converse", "systems", "published"},
    "plots": {"errors", "world"},
    "site": set(),
    "__init__": {"errors", "systems", "published", "world"},
    "cli": BASE | {"", "systems", "published", "training", "exam", "bench", "world"},
}


def part_of(module: Path) -> str:
    """world/scenes.py -> world; cli.py -> cli."""
    return module.parts[0].removesuffix(".py")


def imported(module: Path, source: str | None = None) -> set[str]:
    """The parts of this package that a module imports, anywhere in it; "" is the package itself."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source if source is not None else (ROOT / module).read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                folder = ["vlm_history", *module.parent.parts]
                base = ".".join(folder[: len(folder) - node.level + 1])
                stem = f"{base}.{node.module}" if node.module else base
            else:
                stem = node.module or ""
            # `from vlm_history import checkpoints` imports a part, `from vlm_history.text import X` too
            names = [f"{stem}.{alias.name}" for alias in node.names] if stem == "vlm_history" else [stem]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            names = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        for name in names:
            if name == "vlm_history" or name.startswith("vlm_history."):
                rest = name.split(".")[1:]
                is_part = bool(rest) and rest[0] in MAY
                found.add(rest[0] if is_part else "")
    return found


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_run_back_in_time(module: Path) -> None:
    part = part_of(module)
    assert part in MAY, f"{module}: say in this test which parts {part} may import"
    late = imported(module) - MAY[part] - {part}
    assert not late, f"{module} imports {', '.join(sorted(map(repr, late)))}"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import vlm_history.world.scenes", {"world"}),
        ("from vlm_history.world import World", {"world"}),
        ("from vlm_history import checkpoints, __version__", {"checkpoints", ""}),
        ("from .cnn import CNN", {"connect"}),
        ("from ..world import World", {"world"}),
        ("from .. import checkpoints", {"checkpoints"}),
        ("def f():\n    import vlm_history.exam", {"exam"}),
        ("importlib.import_module('vlm_history.world')", {"world"}),
        ("import vlm_history", {""}),
        ("import torch\nfrom pathlib import Path", set()),
    ],
)
def test_the_test_sees_every_way_to_import(source: str, expected: set[str]) -> None:
    assert imported(Path("connect/lstm.py"), source) == expected


def test_no_eager_torch() -> None:
    """Neither the package nor the command line imports torch before it is needed."""
    import subprocess
    import sys

    code = "import sys, vlm_history, vlm_history.cli; vlm_history.systems(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def splits_named(source: str) -> set[str]:
    """The string constants of a source that name a split."""
    from vlm_history.world.splits import HELD_OUT_ARTIST, SPLITS

    constants = {n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant)}
    return {c for c in constants if isinstance(c, str)} & {*SPLITS, HELD_OUT_ARTIST}


@pytest.mark.parametrize("module", [m for m in MODULES if part_of(m) == "training"], ids=str)
def test_no_recipe_names_a_held_out_split(module: Path) -> None:
    named = splits_named((ROOT / module).read_text(encoding="utf-8"))
    # pre-training on wide data begins with CLIP
    wide = {"train-wide", "train-all"} if module.name == "clip.py" else set()
    assert named <= {"train", "validation", "validation-artist"} | wide, module


def test_exam_does_not_read_training_but_for_baselines() -> None:
    assert splits_named((ROOT / "exam" / "captioning.py").read_text(encoding="utf-8")) == {
        "train", "test", "test-artist",
    }  # fmt: skip
