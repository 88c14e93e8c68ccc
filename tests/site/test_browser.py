"""The site as Chromium shows it: accessible, at home on a phone, silent, and able to find what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

pytestmark = pytest.mark.browser

ROOT = Path(__file__).resolve().parents[2]
# As in a browser that keeps to itself; the sandbox needs rights that a container does not give.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


def addresses() -> list[str]:
    """Every page of both languages, from the sources, so that tests can be named before the site is built."""
    found = []
    for language, prefix in (("ko", ""), ("en", "en/")):
        folder = ROOT / "docs" / language
        for path in sorted(p for p in folder.rglob("*.md") if p.name[0] != "_"):  # drafts are not built
            page = path.relative_to(folder).with_suffix("").as_posix()
            found.append(prefix + ("" if page == "index" else f"{page.removesuffix('/index')}/"))
        scripts = sorted(p.relative_to(ROOT / "examples") for p in (ROOT / "examples").rglob("[!_]*.py"))
        found += [f"{prefix}notebooks/{path.with_suffix('').as_posix()}/" for path in scripts]
    return found


PAGES = addresses()


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.mark.parametrize("page", PAGES)
def test_page(browser: Any, address: str, page: str) -> None:
    """One visit, first light and then dark: the console is silent, no other host is asked, axe finds nothing serious,
    and a phone shows the page without scrolling sideways."""
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(color_scheme="light", viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    said: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    tab.on("pageerror", lambda e: said.append(str(e)))
    tab.on("requestfailed", lambda r: said.append(f"failed: {r.url}"))
    tab.on("response", lambda r: said.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    tab.on("request", lambda r: asked.append(r.url))
    tab.goto(f"{address}/{page}", wait_until="networkidle")
    tab.add_style_tag(content="* { transition: none !important }")  # no colour is read on its way to another
    schemes = ["light", "dark"]
    if "notebooks/" in page:  # the notebooks of both languages have one template: each is looked at in one scheme
        schemes = ["dark" if page.startswith("en/") else "light"]
    for scheme in schemes:
        other = "light" if scheme == "dark" else "dark"
        tab.emulate_media(color_scheme=scheme)
        named = "slate" if scheme == "dark" else "default"
        # on a busy machine the theme's script may come after the network has gone quiet
        tab.wait_for_function("name => document.body.dataset.mdColorScheme === name", arg=named)

        # what was looked at before has only other colours now
        rules = None if scheme == schemes[0] else {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
        grave = [
            f"{v['id']}: {v['help']}: {[n['html'][:160] for n in v['nodes'][:3]]}"
            for v in Axe().run(tab, options=rules).response["violations"]
            if v["impact"] in ("serious", "critical")
        ]
        assert not grave, "\n".join([f"{scheme} {page}", *grave])

        # What is shown follows the scheme.
        assert tab.locator(f"img.on-{other}:visible").count() == 0
    tab.wait_for_load_state("networkidle")
    assert tab.locator(".katex-error").count() == 0
    assert tab.locator(".arithmatex").count() == tab.locator(".arithmatex:has(.katex)").count()

    tab.set_viewport_size({"width": 390, "height": 844})
    width = tab.evaluate(
        """() => {
          const wide = [...document.querySelectorAll('body *')].filter(e => {
            const r = e.getBoundingClientRect();
            if (r.width === 0 || r.right <= 391 || getComputedStyle(e).visibility === 'hidden') return false;
            for (let p = e.parentElement; p && p !== document.body; p = p.parentElement) {
              if (getComputedStyle(p).overflowX !== 'visible') return false;
              if (getComputedStyle(p).position === 'fixed') return false;
            }
            return getComputedStyle(e).position !== 'fixed';
          }).map(e => e.outerHTML.slice(0, 120));
          return [document.documentElement.scrollWidth, wide.slice(0, 3)];
        }"""
    )
    assert width[0] <= 390, width
    assert not said
    hosts = {urlsplit(u).netloc for u in asked if not u.startswith("data:")}
    assert hosts == {urlsplit(address).netloc}
    context.close()


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("", ["이미지", "어텐션", "대조 학습", "캡션", "순환 신경망"]),
        ("en/", ["image", "attention", "contrastive learning", "caption", "recurrent neural network"]),
    ],
)
def test_search_finds(browser: Any, address: str, prefix: str, words: list[str]) -> None:
    context = browser.new_context()
    tab = context.new_page()
    for word in words:
        tab.goto(f"{address}/{prefix}?q={quote(word)}", wait_until="networkidle")
        result = tab.locator(".md-search-result__item").first
        result.wait_for(state="attached", timeout=10_000)
        text = " ".join(tab.locator(".md-search-result__list").all_text_contents())
        for part in word.split():
            assert part.lower() in text.lower(), f"{word}: {text[:200]}"
    context.close()


def test_the_language_switch_leads_to_the_same_page(browser: Any, address: str) -> None:
    context = browser.new_context()
    tab = context.new_page()
    for page in ("", "world/", "connect/", "connect/show_and_tell/"):
        tab.goto(f"{address}/{page}")
        assert tab.evaluate("document.documentElement.lang") == "ko"
        tab.locator(".languages a").click()
        assert tab.url == f"{address}/en/{page}"
        assert tab.evaluate("document.documentElement.lang") == "en"
        tab.locator(".languages a").click()
        assert tab.url == f"{address}/{page}"
    context.close()


def test_keyboard_and_scheme(browser: Any, address: str) -> None:
    """The scheme can be chosen, is kept, and focus is seen."""
    context = browser.new_context(color_scheme="light")
    tab = context.new_page()
    tab.goto(f"{address}/introduction/", wait_until="networkidle")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Tab")
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for _ in range(2):
        tab.locator("form[data-md-component=palette] label:visible").click()
    assert tab.evaluate("document.body.dataset.mdColorScheme") == "slate"
    tab.goto(f"{address}/world/", wait_until="networkidle")
    assert tab.evaluate("document.body.dataset.mdColorScheme") == "slate"
    context.close()
