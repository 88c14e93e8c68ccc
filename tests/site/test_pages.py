"""Both languages tell the same: pages, headings, quotes, links. And what pytest-markdown-docs would not see."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from vlm_history.site.quotes import lines_of, quotes_of

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*(?:\{([^{}]*)\})?\s*$")
LINK = re.compile(r"(!?)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+(?:\([^()]*\))?[^()\s]*)\)")


def pages(language: str) -> list[str]:
    folder = DOCS / language
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*.md") if p.name[0] != "_")  # no drafts


def text_of(language: str, page: str) -> str:
    return (DOCS / language / page).read_text(encoding="utf-8")


def front_matter(text: str) -> dict[str, object]:
    match = re.match(r"---\n(.*?)\n---\n", text, flags=re.DOTALL)
    return yaml.safe_load(match[1]) if match else {}


def headings(text: str) -> list[tuple[int, str]]:
    found = []
    for _, line, literal in lines_of(re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)):
        match = None if literal else HEADING.match(line)
        if match:
            anchor = re.search(r"#([\w-]+)", match[3] or "")
            found.append((len(match[1]), anchor[1] if anchor else f"NO ID: {match[2]}"))
    return found


def links(text: str) -> list[str]:
    prose = "\n".join(line for _, line, literal in lines_of(text) if not literal)
    prose = re.sub(r"`[^`]*`", "", prose)
    return sorted(match[2] for match in LINK.finditer(prose))


def code_fences(text: str) -> list[str]:
    return re.findall(r"^```(\S*[^\n]*)$", text, flags=re.MULTILINE)[::2]


def test_same_pages() -> None:
    assert pages("ko") == pages("en")
    assert "index.md" in pages("ko")


@pytest.mark.parametrize("page", sorted({*pages("ko"), *pages("en")}))
class TestPage:
    def test_front_matter(self, page: str) -> None:
        both = [front_matter(text_of(language, page)) for language in ("ko", "en")]
        for matter in both:
            assert matter.get("title") and matter.get("description")
        spoken = {"title", "description", "kicker"}
        ko, en = ({k: v for k, v in matter.items() if k not in spoken} for matter in both)
        assert ko == en
        assert both[0].keys() == both[1].keys()

    def test_headings(self, page: str) -> None:
        ko, en = (headings(text_of(language, page)) for language in ("ko", "en"))
        assert ko == en
        ids = [anchor for _, anchor in ko]
        assert not [i for i in ids if i.startswith("NO ID")], "every heading has an explicit id"
        assert len(set(ids)) == len(ids)
        assert [level for level, _ in ko].count(1) <= 1
        for (before, _), (after, anchor) in pairwise(ko):
            assert after <= before + 1, f"#{anchor} skips a level"

    def test_quotes(self, page: str) -> None:
        ko, en = (quotes_of(text_of(language, page)) for language in ("ko", "en"))
        # Inline quotes follow the order of words; those on a line of their own the order of the page.
        block = re.compile(r"\{\{\s*(value|cite)")
        assert [q for q in ko if not block.match(q)] == [q for q in en if not block.match(q)]
        assert sorted(ko) == sorted(en)

    def test_links(self, page: str) -> None:
        ko, en = (links(text_of(language, page)) for language in ("ko", "en"))
        assert ko == en

    def test_literal_code(self, page: str) -> None:
        ko, en = (code_fences(text_of(language, page)) for language in ("ko", "en"))
        assert ko == en

    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_no_indented_python(self, page: str, language: str) -> None:
        """pytest-markdown-docs passes over fences in admonitions, tabs and lists without a word."""
        for number, line in enumerate(text_of(language, page).split("\n"), start=1):
            assert not re.match(r"^[ \t>]+(```|~~~)\s*\{?\s*\.?py", line), f"{page}:{number}: untested"
            assert not re.match(r"^\s*```python\s+continuation", line), (
                f"{language}/{page}:{number}: write {{.python continuation}}; this breaks rendering"
            )

    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_nothing_inline(self, page: str, language: str) -> None:
        """No styles, scripts or requests to other hosts in pages."""
        text = text_of(language, page)
        assert not re.search(r"<(script|style|iframe)\b|\bstyle=|\bon\w+=\"", text)
        assert not re.search(r"(src|srcset)=\"(https?:)?//", text)
        assert not re.search(r"!\[[^\]]*\]\(https?://", text)


def test_navigation_is_the_same() -> None:
    def targets(items: list[object]) -> list[object]:
        found: list[object] = []
        for item in items:
            value = next(iter(item.values())) if isinstance(item, dict) else item
            found.append(targets(value) if isinstance(value, list) else value)
        return found

    def navigation(name: str) -> list[object]:
        text = (ROOT / name).read_text(encoding="utf-8")
        return targets(yaml.safe_load(text[text.index("\nnav:") :])["nav"])

    ko = navigation("mkdocs.yml")
    assert ko == navigation("mkdocs.en.yml")
    assert "to-come:converse/llava" in str(ko)


def test_timeline_speaks_both_languages() -> None:
    entries = yaml.safe_load((DOCS / "history.yml").read_text(encoding="utf-8"))
    for entry in entries:
        assert entry.keys() >= {"title", "era", "year", "ko", "en"}
        assert entry["era"] in (1, 2, 3)
        if "page" in entry:
            assert (DOCS / "ko" / entry["page"]).exists() and (DOCS / "en" / entry["page"]).exists()
