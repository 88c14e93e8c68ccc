"""The built site: links and anchors lead somewhere, nothing comes from another host, both languages show the same."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytestmark = pytest.mark.browser


class Reading(HTMLParser):
    """Ids, links, loaded resources and images of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.figures = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if attributes.get("id"):
            self.ids.append(str(attributes["id"]))
        if tag == "a" and attributes.get("href"):
            self.links.append(str(attributes["href"]))
        if tag in ("script", "img", "iframe", "source") and attributes.get("src"):
            self.loaded.append(str(attributes["src"]))
        if tag == "link" and attributes.get("rel") not in ("canonical", "prev", "next") and attributes.get("href"):
            self.loaded.append(str(attributes["href"]))
        if tag == "img":
            self.images.append(attributes)
        self.figures += tag == "figure"


@cache
def reading(path: Path) -> Reading:
    read = Reading()
    read.feed(path.read_text(encoding="utf-8"))
    return read


def pages(site: Path) -> Iterator[Path]:
    return (p for p in sorted(site.rglob("*.html")) if p.name != "404.html")


def test_both_languages_have_the_same_pages_and_figures(built: Path) -> None:
    english = built / "en"
    ko = {p.relative_to(built) for p in pages(built) if english not in p.parents}
    en = {p.relative_to(english) for p in pages(english)}
    assert ko == en
    for page in ko:
        assert reading(built / page).figures == reading(english / page).figures, page


def test_links_and_anchors(built: Path) -> None:
    problems = []
    for page in pages(built):
        for link in reading(page).links + reading(page).loaded:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if target.is_dir():
                target = target / "index.html"
            if not target.is_file():
                problems.append(f"{page.relative_to(built)}: {link} leads nowhere")
            elif parts.fragment and target.suffix == ".html":
                ids = reading(target).ids
                if unquote(parts.fragment) not in ids and not parts.fragment.startswith("__"):
                    problems.append(f"{page.relative_to(built)}: {link} has no such anchor")
    assert not problems, "\n".join(problems)


def test_ids_are_unique(built: Path) -> None:
    for page in pages(built):
        ids = reading(page).ids
        twice = {i for i in ids if ids.count(i) > 1}
        assert not twice, f"{page.relative_to(built)}: {twice}"


def test_nothing_is_loaded_from_elsewhere(built: Path) -> None:
    for page in pages(built):
        for address in reading(page).loaded:
            assert not urlsplit(address).netloc, f"{page.relative_to(built)} loads {address}"
    for sheet in built.rglob("*.css"):
        for address in re.findall(r"url\(\s*['\"]?([^'\")]+)", sheet.read_text(encoding="utf-8")):
            assert not urlsplit(address).netloc, f"{sheet.relative_to(built)} loads {address}"
        assert "@import" not in sheet.read_text(encoding="utf-8")


def test_images_have_words_and_a_size(built: Path) -> None:
    for page in pages(built):
        for image in reading(page).images:
            where = f"{page.relative_to(built)}: {image.get('src', '')[:80]}"  # type: ignore[index]
            assert image.get("alt"), where
            if "figures/" in str(image.get("src")):
                assert image.get("width") and image.get("height") and image.get("loading") == "lazy", where


def test_notebooks_are_published_whole(built: Path) -> None:
    for folder in (built / "notebooks", built / "en" / "notebooks"):
        notebooks = sorted(folder.rglob("*.ipynb"))
        assert notebooks
        for path in notebooks:
            notebook = json.loads(path.read_text(encoding="utf-8"))
            code = [c for c in notebook["cells"] if c["cell_type"] == "code"]
            assert any("pip install" in "".join(c["source"]) for c in code)
            assert not [o for c in code for o in c["outputs"] if o["output_type"] == "error"]
            assert path.with_suffix(".py").is_file()
            links = reading(path.parent / "index.html").links
            assert path.name in links and any("colab.research.google.com" in link for link in links)


def test_pages_that_show_outputs_say_when_they_were_made(built: Path) -> None:
    for page in pages(built):
        text = page.read_text(encoding="utf-8")
        if 'class="output"' in text or 'class="drawn' in text:
            assert re.search(r'<aside class="colophon">.*?\d{4}-\d\d-\d\d.*?torch', text, flags=re.DOTALL), page
        assert "{{" not in re.sub(r"<(pre|code|script)\b.*?</\1>", "", text, flags=re.DOTALL), page
        assert not re.search(r"SLOT\d+OF", text), page


def test_chapters_to_come_are_named_and_not_linked(built: Path) -> None:
    to_come = (Path(__file__).parents[2] / "mkdocs.yml").read_text(encoding="utf-8").count("to-come:")
    for page in (built / "index.html", built / "en" / "introduction" / "index.html"):
        text = page.read_text(encoding="utf-8")
        assert text.count("to-come-link") >= to_come
        assert "to-come:" not in text
