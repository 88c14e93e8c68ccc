"""A small project of its own for the runner and the quotes, and the built site for everything else."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from vlm_history.site.examples import Project, run_all

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "site"
LANGUAGES = ("ko", "en")

EXAMPLE = """
# %% [markdown] lang="ko"
# # 제목

# %% [markdown] lang="en"
# # A title

# %% name="say"
import os
from vlm_history.part import word

print(word(), os.environ["VLM_HISTORY_LANGUAGE"])

# %% name="figure"
import base64, io
from PIL import Image


class Figure:
    def _repr_mimebundle_(self, include=None, exclude=None):
        def png(colour):
            target = io.BytesIO()
            Image.new("RGB", (40, 20), colour).save(target, "PNG")
            return base64.b64encode(target.getvalue()).decode()

        figure = {"light": png("red"), "dark": png("blue"), "alt": "A colour"}
        return {"image/png": png("red"), "text/plain": "", "application/vnd.vlm-history.figure+json": figure}


Figure()

# %% name="numbers"
class Values:
    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"application/vnd.vlm-history.values+json": {"exact": 0.4321, "gain": -0.003}, "text/plain": ""}


Values()

# %% name="silent"
x = 1
"""

PART = '''"""A part."""

LIMIT = 3


def word():
    """What it says.

    Two lines of it.
    """
    return "hello"


class Model:
    """A model."""

    @staticmethod
    def run(a, b):
        def inner():
            return a

        return inner() + b
'''


def make_project(tmp_path: Path) -> Project:
    """A project with one module and one example. It shares only `vlm_history.site` with this one."""
    package = tmp_path / "src" / "vlm_history"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "part.py").write_text(PART)
    (tmp_path / "examples" / "era").mkdir(parents=True)
    (tmp_path / "examples" / "era" / "first.py").write_text(EXAMPLE.lstrip(), encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "references.yml").write_text(
        "one2014: {authors: [Ada One, Ben Two], year: 2014, title: A paper, url: 'https://example.org/a'}\n"
    )
    return Project(tmp_path)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path)


@pytest.fixture(scope="session")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The small project after its example has run, for tests that only read it."""
    project = make_project(tmp_path_factory.mktemp("project"))
    run_all(project, ["en"])
    return project


@pytest.fixture(scope="session")
def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium: `make browser` installs it")


@pytest.fixture(scope="session")
def built() -> Path:
    if not (SITE / "en" / "index.html").exists():
        pytest.skip("the site is not built: `make site`")
    return SITE


@pytest.fixture(scope="session")
def address(built: Path) -> Iterator[str]:
    """The built site on a port of this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(built)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
