"""What examples keep: the same call is made once, another call or other code anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vlm_history.training import memo

CALLS: list[Any] = []


def told(what: str, *, times: int = 1) -> dict[str, Any]:
    CALLS.append((what, times))
    return {"told": [what] * times}


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLM_HISTORY_CACHE", str(tmp_path))
    monkeypatch.setattr(memo, "_all", lambda: "as it is")
    CALLS.clear()


def test_the_same_call_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert memo.kept(told, "cat", times=2) == memo.kept(told, "cat", times=2) == {"told": ["cat", "cat"]}
    assert CALLS == [("cat", 2)]
    assert memo.kept(told, "cat") == {"told": ["cat"]}
    assert memo.kept(told, "dog") == {"told": ["dog"]}
    monkeypatch.setattr(memo, "_all", lambda: "changed")
    memo.kept(told, "dog")
    assert CALLS == [("cat", 2), ("cat", 1), ("dog", 1), ("dog", 1)]


def test_what_json_cannot_hold_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        memo.kept(told, {1, 2})
    with pytest.raises(TypeError, match="not JSON serializable"):
        memo.kept(set)
    assert not list(tmp_path.rglob("*.json")) and not list(tmp_path.rglob("*.partial"))


def test_code_and_weights_count_and_pages_do_not() -> None:
    names = {path.relative_to(memo.PACKAGE).as_posix() for path in memo.everything()}
    assert {"exam/report.py", "training/memo.py", "weights/clip/card.json"} <= names
    assert not any(name.startswith(("site/", "plots/")) or "__pycache__" in name for name in names)
