"""The concepts: everything that can stand in a scene, with its names in Korean and English.

Names, counters, plurals and categories are reviewed by hand in `names.toml`; keywords come from emojibase (CLDR).
`python -m vlm_history.world.build` writes both to `data/concepts.json`, which is what is read here.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "data"

#: Category key -> its name in each language and its English article: {"animal": {"ko": "동물", "en": "animal", ...}}.
CATEGORIES: dict[str, dict[str, str]] = {
    key: {"ko": ko, "en": en, "article": article}
    for key, ko, en, article in (
        ("animal", "동물", "animal", "an"),
        ("bird", "새", "bird", "a"),
        ("bug", "벌레", "bug", "a"),
        ("sea", "바다 동물", "sea creature", "a"),
        ("plant", "식물", "plant", "a"),
        ("fruit", "과일", "fruit", "a"),
        ("vegetable", "채소", "vegetable", "a"),
        ("food", "음식", "food", ""),
        ("drink", "음료", "drink", "a"),
        ("vehicle", "탈것", "vehicle", "a"),
        ("building", "건축물", "structure", "a"),
        ("nature", "자연", "nature", ""),
        ("instrument", "악기", "musical instrument", "a"),
        ("sport", "운동 용품", "sports gear", ""),
        ("toy", "놀잇감", "toy", "a"),
        ("party", "파티 용품", "party item", "a"),
        ("clothing", "옷", "clothing", ""),
        ("fashion", "패션 소품", "fashion item", "a"),
        ("device", "기기", "device", "a"),
        ("stationery", "문구", "stationery", ""),
        ("tool", "도구", "tool", "a"),
        ("household", "생활용품", "household item", "a"),
    )
}


@dataclass(frozen=True)
class Concept:
    """One nameable thing. Names are unique within a language; `index` is its place in `concepts()`."""

    index: int
    hexcode: str  # as emojibase writes it: upper case, with FE0F where the emoji has it
    en: str
    ko: str
    plural: str  # English plural; equal to `en` for fish, sheep, scissors, ...
    counter: str  # Korean counter: 마리, 대, 권, 송이, 개, ...
    category: str  # a key of CATEGORIES
    keywords_en: tuple[str, ...]
    keywords_ko: tuple[str, ...]
    article: str  # "a", "an", or "" for names that are plural only (scissors) or take none (rice)

    @property
    def singular(self) -> str:
        """The English name with its article: "an apple", "scissors"."""
        return f"{self.article} {self.en}".strip()


def canonical(hexcode: str) -> str:
    """A code for comparing: lower case, without the presentation selector FE0F."""
    return "-".join(part for part in hexcode.strip().lower().split("-") if part != "fe0f")


def _read() -> dict[str, Any]:
    data: dict[str, Any] = json.loads((DATA / "concepts.json").read_text(encoding="utf-8"))
    return data


@functools.cache
def concepts() -> tuple[Concept, ...]:
    """Every concept, in a fixed order."""
    found = []
    for index, row in enumerate(_read()["concepts"]):
        row["keywords_en"], row["keywords_ko"] = tuple(row["keywords_en"]), tuple(row["keywords_ko"])
        found.append(Concept(index=index, **row))
    return tuple(found)


@functools.cache
def by_hexcode() -> dict[str, Concept]:
    """Concepts by their `canonical` code."""
    return {canonical(concept.hexcode): concept for concept in concepts()}
