"""What every figure shares: the reader's language, a font that has Hangul, and colours for light and dark."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Any

from vlm_history.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LANGUAGES = ("ko", "en")
FONT = "Pretendard"


@dataclass(frozen=True)
class Theme:
    """The colours of a figure on a light or a dark page, the page's own; the page itself shows through.

    `era` maps connect, pretrain and converse to their colours, the same that the pages carry.
    """

    name: str
    ink: str
    muted: str
    rule: str
    card: str
    neutral: str
    good: str
    bad: str
    era: dict[str, str]


LIGHT = Theme(
    "light", ink="#211D18", muted="#5F574C", rule="#DDD3C0", card="#F3EDE0", neutral="#6B5524",
    good="#2F6B3A", bad="#A32638", era={"connect": "#A2401C", "pretrain": "#1F5F7F", "converse": "#6D3D8C"},
)  # fmt: skip
DARK = Theme(
    "dark", ink="#E9E4D9", muted="#AEA698", rule="#323944", card="#1C2128", neutral="#D8BE85",
    good="#86C995", bad="#F2919B", era={"connect": "#F09A6F", "pretrain": "#7FC1DE", "converse": "#CDA8EC"},
)  # fmt: skip


def language() -> str:
    """The language that figures speak: `VLM_HISTORY_LANGUAGE`, or the system's where that is unset.

    Raises:
        InputError: the variable names a language that figures do not have.
    """
    chosen = os.environ.get("VLM_HISTORY_LANGUAGE", "").strip().lower()
    if not chosen:
        system = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
        return "ko" if system.lower().startswith("ko") else "en"
    if chosen not in LANGUAGES:
        raise InputError(f"VLM_HISTORY_LANGUAGE is ko or en, not {chosen!r}; set it to one of the two, or unset it")
    return chosen


def say(*, ko: str, en: str) -> str:
    """Return the text in the reader's language."""
    return ko if language() == "ko" else en


@lru_cache(maxsize=1)
def _register_font() -> None:
    from matplotlib import font_manager

    with as_file(files("vlm_history.plots") / "fonts" / "Pretendard-Regular.otf") as path:
        font_manager.fontManager.addfont(str(path))


@contextmanager
def themed(theme: Theme) -> Iterator[None]:
    """Inside, matplotlib draws with this theme's colours and with a font that has Hangul."""
    import matplotlib

    _register_font()
    settings: Any = {
        "font.family": [FONT, "DejaVu Sans"],
        "font.size": 11,
        "axes.unicode_minus": False,
        "text.color": theme.ink,
        "axes.labelcolor": theme.muted,
        "axes.edgecolor": theme.rule,
        "axes.titlecolor": theme.ink,
        "xtick.color": theme.muted,
        "ytick.color": theme.ink,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "legend.frameon": False,
    }
    with matplotlib.rc_context(settings):
        yield


Draw = Callable[[Theme], "Figure"]
