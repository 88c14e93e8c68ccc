"""The table of systems, and what `load` says when it cannot."""

import re
from pathlib import Path

import pytest

import vlm_history as vlm
from vlm_history.systems import TABLE, available, find

NAMES = [
    "cnn",
    "lstm",
    "show-and-tell",
    "show-attend-and-tell",
    "gpt-1",
    "clip",
    "dall-e",
    "stable-diffusion",
    "gpt-3",
    "chatgpt",
    "flamingo",
    "blip-2",
    "llava",
]


def test_names_in_the_order_of_the_story() -> None:
    assert vlm.systems() == NAMES
    assert [s.era for s in TABLE] == ["connect"] * 4 + ["pretrain"] * 4 + ["converse"] * 5
    eras = [[s.year for s in TABLE if s.era == era] for era in ("connect", "pretrain")]
    assert all(years == sorted(years) for years in eras)
    assert len({s.where for s in TABLE}) == len(TABLE)


def test_importing_the_table_does_not_hide_the_function() -> None:
    import vlm_history.systems  # noqa: F401

    assert callable(vlm.systems)


def test_the_world_is_there_and_an_unknown_name_is_not() -> None:
    assert vlm.World.__name__ == "World"
    assert {"World", "load", "systems"} <= set(dir(vlm))
    with pytest.raises(AttributeError, match="no attribute 'wrold'"):
        _ = vlm.wrold


def test_unknown_system() -> None:
    with pytest.raises(vlm.InputError, match="show-and-tell"):
        vlm.load("show-and-tel")


def test_no_weights_yet() -> None:
    missing = [name for name in NAMES if name not in available()]
    for name in missing[:1]:
        with pytest.raises(vlm.InputError, match="available: "):
            vlm.load(name)


@pytest.mark.parametrize("name", available())
def test_shipped_systems_load_in_eval_mode(name: str) -> None:
    model = vlm.load(name)
    assert not model.training
    files = {p.name for p in find(name).weights.iterdir()}
    assert {"model.safetensors", "config.json", "card.json"} <= files
    assert not any(re.search(r"\.(bin|pt|pth|pkl)$", f) for f in files)


def test_classes_exist_where_modules_exist() -> None:
    from importlib import import_module

    root = Path(vlm.__file__).parent
    for system in TABLE:
        module, _, name = system.where.partition(":")
        if (root / (module.replace(".", "/") + ".py")).exists():
            assert hasattr(import_module(f"vlm_history.{module}"), name), system
