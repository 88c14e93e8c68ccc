"""Training inside an example, done once: kept by what was trained and by the code that trained it."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path

from vlm_history.training.loop import train
from vlm_history.training.recipe import Recipe

PACKAGE = Path(__file__).parent.parent
# What can change a training: not the site, not the figures, not the exam.
PARTS = ("connect", "pretrain", "converse", "training", "world", "images.py", "judge.py", "layers.py", "text.py",
         "checkpoints.py")  # fmt: skip


@functools.cache
def _code() -> str:
    """A hash of the code that trains."""
    digest = hashlib.sha256()
    for part in PARTS:
        files = sorted((PACKAGE / part).rglob("*.py")) if (PACKAGE / part).is_dir() else [PACKAGE / part]
        for file in files:
            if file.is_file():
                digest.update(file.relative_to(PACKAGE).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def cache() -> Path:
    """Where trainings are kept: `VLM_HISTORY_CACHE`, or build/cache in the current folder."""
    return Path(os.environ.get("VLM_HISTORY_CACHE") or Path("build") / "cache") / "training"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Two notebooks that want the same training: the second waits for the first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def trained(recipe: Recipe, workers: int = 1) -> Path:
    """Train a recipe, or find it trained: the same recipe and the same code train once.

    Args:
        recipe: what to do.
        workers: processes that make batches beside training.

    Returns:
        The folder with weights, configuration and card, whose `seconds` say how long it took when it was done.
    """
    key = hashlib.sha256((recipe.hash + _code()).encode()).hexdigest()[:16]
    folder = cache() / f"{recipe.system}-{key}"
    with _alone(folder):
        if not (folder / "card.json").is_file():
            shutil.rmtree(folder, ignore_errors=True)
            with redirect_stdout(StringIO()):  # a page shows the same whether it was trained now or before
                train(recipe, folder, workers=workers, progress_bar=False)
    return folder
