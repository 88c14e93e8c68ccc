"""Long work inside an example, done once for both languages: kept by what was asked and by the code that did it."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from vlm_history.training.loop import train
from vlm_history.training.recipe import Recipe

PACKAGE = Path(__file__).parent.parent
# What can change a training: not the site, not the figures, not the exam.
PARTS = ("connect", "pretrain", "converse", "training", "world", "images.py", "judge.py", "layers.py", "text.py",
         "checkpoints.py")  # fmt: skip


def _hash(files: Iterable[Path]) -> str:
    """Of what is in files, with their names."""
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(file.relative_to(PACKAGE).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


@functools.cache
def _code() -> str:
    """A hash of the code that trains."""
    parts = (PACKAGE / part for part in PARTS)
    return _hash(file for part in parts for file in (sorted(part.rglob("*.py")) if part.is_dir() else [part]))


def everything() -> list[Path]:
    """All code, data and weights, but for what only pages need."""
    aside = {PACKAGE / "site", PACKAGE / "plots"}
    files = sorted(it for it in PACKAGE.rglob("*") if it.is_file() and "__pycache__" not in it.parts)
    return [it for it in files if not aside & set(it.parents)]


@functools.cache
def _all() -> str:
    return _hash(everything())


def cache() -> Path:
    """Where trainings are kept, results beside them: `VLM_HISTORY_CACHE`, or build/cache in the current folder."""
    return Path(os.environ.get("VLM_HISTORY_CACHE") or Path("build") / "cache") / "training"


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Two notebooks that want the same: the second waits for the first."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(place.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def kept(function: Callable[..., Any], *arguments: Any, **settings: Any) -> Any:
    """Call a function of this package, or find what it returned: the same call with the same code and weights is made
    once.

    Args:
        function: one that answers the same each time.
        arguments: for it, as JSON can hold them.
        settings: by name, likewise.

    Returns:
        What it returned, as JSON holds it: without tuples, keys as texts.

    Raises:
        TypeError: what it is given, or what it returned, is nothing that JSON can hold.
    """
    called = [function.__module__, function.__qualname__, arguments, settings, _all(), torch.__version__]
    key = hashlib.sha256(json.dumps(called, sort_keys=True).encode()).hexdigest()[:16]
    file = cache().parent / "results" / f"{function.__name__}-{key}.json"
    with _alone(file):
        if not file.is_file():
            beside = file.with_suffix(".partial")
            result = json.dumps(function(*arguments, **settings))
            beside.write_text(result, encoding="utf-8")
            beside.replace(file)
    return json.loads(file.read_text(encoding="utf-8"))


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
