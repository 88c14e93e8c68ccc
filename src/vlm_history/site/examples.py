"""Run the examples as notebooks, once a language, and keep what they made.

python -m vlm_history.site.examples            runs what is out of date, two at a time
python -m vlm_history.site.examples --list     says what would run
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LANGUAGES = ("ko", "en")
#: The packages whose versions can change what an example prints or draws.
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "matplotlib", "transformers", "open_clip_torch", "hangulpy")
#: Those that a page names below its outputs.
NAMED = ("torch", "numpy", "matplotlib")
#: Raised by hand when the way examples are run changes what they leave behind.
FORMAT = 1
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9-]*")


class ExampleError(Exception):
    """An example is malformed, raised, or is asked for something it does not have."""


@dataclass(frozen=True)
class Project:
    """Where things lie. Tests make one of their own."""

    root: Path

    @property
    def examples(self) -> Path:
        return self.root / "examples"

    @property
    def package(self) -> Path:
        return self.root / "src" / "vlm_history"

    @property
    def notebooks(self) -> Path:
        return self.root / "build" / "notebooks"

    def names(self) -> list[str]:
        """Every example, as `connect/show_and_tell`."""
        paths = sorted(self.examples.rglob("*.py")) if self.examples.exists() else []
        return [p.relative_to(self.examples).with_suffix("").as_posix() for p in paths if p.name[0] not in "_."]

    def find(self, name: str) -> str:
        """The full name of an example called by its full name or by a stem that is unique."""
        names = self.names()
        if name in names:
            return name
        matches = [n for n in names if n.rsplit("/", 1)[-1] == name]
        if len(matches) == 1:
            return matches[0]
        known = ", ".join(names) or "none at all"
        problem = f"is one of several: {', '.join(matches)}" if matches else f"does not exist; there are: {known}"
        raise ExampleError(f"example {name!r} {problem}")

    def script(self, name: str) -> Path:
        return self.examples / f"{name}.py"

    def executed(self, name: str, language: str) -> Path:
        return self.notebooks / language / f"{name}.ipynb"


def here() -> Project:
    """The project this file is part of (an editable install)."""
    return Project(Path(__file__).resolve().parents[3])


# What an example depends on


def fingerprint(project: Project) -> str:
    """A digest of everything that all examples share: code, data, weights, installed versions."""
    digest = hashlib.sha256(f"format {FORMAT}, python {platform.python_version()}\n".encode())
    for name in PACKAGES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = "absent"
        digest.update(f"{name} {version}\n".encode())
    site = project.package / "site"
    for path in sorted(project.package.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and site not in path.parents:
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(project.package).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def key(project: Project, name: str, language: str, shared: str) -> str:
    """The key under which an executed example is kept."""
    script = project.script(name).read_bytes()
    return hashlib.sha256(b"\n".join([shared.encode(), language.encode(), name.encode(), script])).hexdigest()


def is_fresh(project: Project, name: str, language: str, shared: str) -> bool:
    path = project.executed(name, language)
    if not path.exists():
        return False
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))["metadata"]["vlm_history"]["key"]
    except (json.JSONDecodeError, KeyError):  # half-written or of another time
        return False
    return bool(kept == key(project, name, language, shared))


# Reading and running


def read(project: Project, name: str, language: str) -> Any:
    """The example as a notebook in one language, its cell names checked."""
    import jupytext

    notebook = jupytext.read(project.script(name), fmt="py:percent")
    kept: list[Any] = []
    names: set[str] = set()
    for position, cell in enumerate(notebook.cells, start=1):
        spoken = cell.metadata.get("lang")
        if spoken is not None and spoken not in LANGUAGES:
            raise ExampleError(f"examples/{name}.py: cell {position} has lang={spoken!r}, expected ko or en")
        called = cell.metadata.get("name")
        if called is not None:
            if cell.cell_type != "code" or not NAME.fullmatch(called):
                raise ExampleError(
                    f"examples/{name}.py: cell {position} is named {called!r}; "
                    "names are for code cells and made of letters, digits and hyphens"
                )
            if called in names:
                raise ExampleError(f"examples/{name}.py: two cells are named {called!r}")
            names.add(called)
        if spoken in (None, language) and cell.source.strip():
            # Ids that depend on nothing but the place keep the notebook the same from run to run.
            cell["id"] = f"cell-{len(kept)}"
            kept.append(cell)
    notebook.cells = kept
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def run(project: Project, name: str, language: str, shared: str, timeout: int = 1200) -> Path:
    """Execute one example in one language and write the notebook. Raises ExampleError if a cell raises."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    notebook = read(project, name, language)
    started = time.perf_counter()
    environment = os.environ | {
        "VLM_HISTORY_LANGUAGE": language,
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "PYTHONHASHSEED": "0",
        "PYTHONWARNINGS": "ignore:IProgress not found",  # of tqdm, which would like a widget for its bar
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),  # two examples run side by side
        "VLM_HISTORY_CACHE": str(project.root / "build" / "cache"),  # trainings that examples do once
        "PYTHONPATH": os.pathsep.join(p for p in (str(project.root / "src"), os.environ.get("PYTHONPATH", "")) if p),
    }
    with tempfile.TemporaryDirectory(prefix="vlm-history-example-") as empty:
        # a cell that needs the internet is shown, not run: the site is built without
        client = NotebookClient(
            notebook, timeout=timeout, kernel_name="python3", allow_errors=False, skip_cells_with_tag="network"
        )
        client.extra_arguments = ["--IPKernelApp.log_level=40"]  # its warnings are about connections, not examples
        try:
            client.execute(cwd=empty, env=environment)
        except CellExecutionError as error:
            raise ExampleError(f"examples/{name}.py ({language}) raised:\n{plain(str(error))}") from error
        except (CellTimeoutError, DeadKernelError) as error:
            raise ExampleError(f"examples/{name}.py ({language}) did not finish: {error}") from error
    seconds = {}
    for number, cell in enumerate(notebook.cells):
        times = cell.metadata.pop("execution", {})  # times of day, which would differ on every run
        if "shell.execute_reply" in times:
            began, ended = (datetime.fromisoformat(times[at]) for at in ("iopub.execute_input", "shell.execute_reply"))
            seconds[cell.metadata.get("name", str(number))] = round((ended - began).total_seconds(), 1)
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                print(f"examples/{name}.py ({language}) stderr: {output['text']}", file=sys.stderr)
    notebook.metadata["vlm_history"] = {
        "key": key(project, name, language, shared),
        "language": language,
        "made": datetime.now(UTC).strftime("%Y-%m-%d"),
        "seconds": round(time.perf_counter() - started, 1),
        "cells": seconds,
        "versions": {"python": platform.python_version()} | {n: installed(n) for n in NAMED},
    }
    import nbformat

    path = project.executed(name, language)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".partial")
    beside.write_text(nbformat.writes(notebook), encoding="utf-8")
    beside.replace(path)
    return path


def installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def plain(text: str) -> str:
    """Without the colours that tracebacks carry."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def run_all(
    project: Project, languages: Iterable[str] = LANGUAGES, names: Sequence[str] | None = None, workers: int = 2
) -> list[tuple[str, str]]:
    """Run whatever is out of date, at most `workers` at a time. Returns what ran; raises on the first failure."""
    shared = fingerprint(project)
    names = project.names() if names is None else [project.find(n) for n in names]
    # one language after the other: what the first has trained, the second finds
    stale = [(n, lang) for lang in languages for n in names if not is_fresh(project, n, lang, shared)]

    def one(job: tuple[str, str]) -> None:
        made = json.loads(run(project, *job, shared).read_text(encoding="utf-8"))["metadata"]["vlm_history"]
        longest = sorted(made["cells"].items(), key=lambda cell: -cell[1])[:3]
        most = ", ".join(f"{cell} {seconds:.0f}" for cell, seconds in longest)
        print(f"ran examples/{job[0]}.py ({job[1]}) in {made['seconds']:.1f} s, most of it in {most}", flush=True)

    # Kernels are processes of their own: threads here only wait for them.
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        for future in [pool.submit(one, job) for job in stale]:
            future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return stale


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m vlm_history.site.examples", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="examples to run, all when left out")
    parser.add_argument("--list", action="store_true", help="say what is out of date and stop")
    parser.add_argument("--language", choices=LANGUAGES, action="append")
    options = parser.parse_args(arguments)
    project, languages = here(), tuple(options.language or LANGUAGES)
    try:
        if options.list:
            shared = fingerprint(project)
            for name in options.names or project.names():
                for language in languages:
                    state = "fresh" if is_fresh(project, project.find(name), language, shared) else "out of date"
                    print(f"{name} ({language}): {state}")
        else:
            run_all(project, languages, options.names or None)
    except ExampleError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
