"""Examples run, are kept while nothing they depend on changes, and stop the build when they raise."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from vlm_history.site import examples
from vlm_history.site.examples import ExampleError, Project, fingerprint, is_fresh, key, main, read, run, run_all


def test_names_and_stems(project: Project) -> None:
    assert project.names() == ["era/first"]
    assert project.find("first") == project.find("era/first") == "era/first"
    with pytest.raises(ExampleError, match="does not exist; there are: era/first"):
        project.find("second")
    other = project.examples / "other"
    other.mkdir()
    shutil.copy(project.script("era/first"), other / "first.py")
    with pytest.raises(ExampleError, match="one of several"):
        project.find("first")


def test_cells_follow_the_language(project: Project) -> None:
    assert read(project, "era/first", "ko").cells[0].source == "# 제목"
    english = read(project, "era/first", "en")
    assert english.cells[0].source == "# A title"
    assert [c.metadata.get("name") for c in english.cells if c.cell_type == "code"] == [
        "say",
        "figure",
        "numbers",
        "silent",
    ]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('# %% name="say"', "two cells are named 'say'"),
        ('# %% name="a cell"', "letters, digits and hyphens"),
        ('# %% [markdown] name="text"', "names are for code cells"),
        ('# %% [markdown] lang="fr"', "expected ko or en"),
    ],
)
def test_malformed_examples(project: Project, line: str, problem: str) -> None:
    script = project.script("era/first")
    script.write_text(script.read_text(encoding="utf-8") + f"\n{line}\n# text\n", encoding="utf-8")
    with pytest.raises(ExampleError, match=problem):
        read(project, "era/first", "ko")


@pytest.mark.slow
def test_runs_once_and_again_when_one_line_of_src_changes(project: Project, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_all(project) == [("era/first", "ko"), ("era/first", "en")]
    notebook = json.loads(project.executed("era/first", "ko").read_text(encoding="utf-8"))
    assert said(notebook) == "hello ko"
    assert notebook["metadata"]["vlm_history"]["versions"]["torch"]
    assert said(json.loads(project.executed("era/first", "en").read_text(encoding="utf-8"))) == "hello en"

    assert run_all(project) == []

    part = project.package / "part.py"
    part.write_text(part.read_text().replace('return "hello"', 'return "goodbye"'))
    assert run_all(project, ["en"]) == [("era/first", "en")]
    assert said(json.loads(project.executed("era/first", "en").read_text(encoding="utf-8"))) == "goodbye en"


def said(notebook: dict[str, list[dict[str, dict[str, str]]]]) -> str:
    cells = {c["metadata"]["name"]: c for c in notebook["cells"] if "name" in c["metadata"]}
    text = cells["say"]["outputs"][0]["text"]  # type: ignore[index]
    return "".join(text).strip()


def test_the_key_holds_what_an_example_depends_on(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fingerprint(project)
    assert fingerprint(project) == first
    assert key(project, "era/first", "ko", first) != key(project, "era/first", "en", first)

    def changed(path: Path, content: str) -> bool:
        before = fingerprint(project)
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return fingerprint(project) != before

    assert changed(project.package / "part.py", "LIMIT = 4\n")
    assert changed(project.package / "weights" / "model.safetensors", "weights")
    assert not changed(project.package / "site" / "quotes.py", "# only pages depend on it\n")

    before = key(project, "era/first", "ko", first)
    script = project.script("era/first")
    script.write_text(script.read_text(encoding="utf-8") + "\n# more\n", encoding="utf-8")
    assert key(project, "era/first", "ko", first) != before

    before = fingerprint(project)
    monkeypatch.setattr(examples.importlib.metadata, "version", lambda name: "0")
    assert fingerprint(project) != before


@pytest.mark.slow
def test_a_raising_cell_stops_everything(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = project.script("era/first")
    script.write_text('# %% name="bad"\nraise ValueError("no such picture")\n')
    shared = fingerprint(project)
    with pytest.raises(ExampleError, match="no such picture"):
        run(project, "era/first", "ko", shared)
    assert not is_fresh(project, "era/first", "ko", shared)

    monkeypatch.setattr(examples, "here", lambda: project)
    assert main(["--language", "en"]) == 1
    assert "examples/era/first.py (en) raised" in capsys.readouterr().err


def test_a_half_written_notebook_is_not_fresh(project: Project) -> None:
    path = project.executed("era/first", "ko")
    path.parent.mkdir(parents=True)
    path.write_text('{"metadata": {"vlm_his')
    assert not is_fresh(project, "era/first", "ko", fingerprint(project))


@pytest.mark.slow
def test_what_needs_the_internet_is_shown_and_not_run(project: Project) -> None:
    script = project.script("era/first")
    far = '\n# %% name="far" tags=["network"]\nraise SystemError("there is no internet here")\n'
    script.write_text(script.read_text(encoding="utf-8") + far, encoding="utf-8")
    cells = json.loads(run(project, "era/first", "en", fingerprint(project)).read_text(encoding="utf-8"))["cells"]
    assert "no internet" in "".join(cells[-1]["source"]) and cells[-1]["outputs"] == []
