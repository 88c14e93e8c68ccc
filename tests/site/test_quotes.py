"""Quotes show what is there, and say where they found nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vlm_history.site.examples import Project
from vlm_history.site.quotes import Book, QuoteError, arguments, expand, fence, quotes_of, source, surname


@pytest.fixture
def book(executed: Project, tmp_path: Path) -> Book:
    return Book(executed, "en", "https://github.com/owner/name", tmp_path)


def page(book: Book, text: str) -> str:
    """A page's HTML slots and Markdown, put together."""
    expanded = expand(book, text, lambda url: f"../{url}", "docs/en/page.md")
    markdown = expanded.markdown
    for name, content in expanded.slots.items():
        markdown = markdown.replace(name, content)
    return markdown


@pytest.mark.slow
def test_a_cell_with_its_output(book: Book) -> None:
    both = page(book, '{{ cell("era/first", "say") }}')
    assert "```python\nimport os" in both and "<pre><code>hello en</code></pre>" in both
    assert "```" not in page(book, '{{ cell("first", "say", show="output") }}')
    assert "<pre>" not in page(book, '{{ cell("first", "say", show="code") }}')
    folded = page(book, '{{ cell("first", "say", fold=True) }}')
    assert folded.index("<summary>") < folded.index("```python") < folded.index("</details>") < folded.index("hello")


@pytest.mark.slow
def test_a_figure_for_light_and_dark(book: Book) -> None:
    shown = page(book, '{{ cell("first", "figure") }}')
    images = re.findall(r'<img class="on-(\w+)" src="\.\./([^"]+)" alt="A colour" width="20" height="10"', shown)
    assert [scheme for scheme, _ in images] == ["light", "dark"]
    assert all((book.figures / url).is_file() for _, url in images)
    assert book.drawn == {url for _, url in images}


@pytest.mark.slow
def test_numbers_and_papers_in_prose(book: Book) -> None:
    text = page(
        book,
        'It gets {{ value("first", "numbers", "exact", format=".1%") }} {{ cite("one2014") }}.\n\n{{ references() }}\n',
    )
    assert "It gets 43.2%" in text
    assert page(book, 'A gain of {{ value("first", "numbers", "gain") }}.').strip() == "A gain of \N{MINUS SIGN}0.003."
    assert '<a class="cite" href="#ref-one2014">One and Two, 2014</a>' in text
    assert '<li id="ref-one2014">Ada One, Ben Two (2014).' in text


def test_organisations_are_cited_whole() -> None:
    assert [surname(author) for author in ("Ada B. One", "Two, Ben", "OpenAI", "{Stability AI}")] == [
        "One", "Two", "OpenAI", "Stability AI",
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("quote", "problem"),
    [
        ('{{ cell("nothing", "say") }}', "example 'nothing' does not exist"),
        ('{{ cell("first", "nothing") }}', "has no cell 'nothing'; it has: say, figure, numbers, silent"),
        ('{{ cell("first", "say", show="all") }}', "expected both, code or output"),
        ('{{ cell("first", "say", wide=True) }}', "takes no wide"),
        ('{{ cell("first") }}', "takes 2 strings"),
        ('{{ cell("first", "silent", show="output") }}', "shows nothing"),
        ('{{ cell("first", open("x")) }}', "cannot read"),
        ('{{ source("part.py", "nothing") }}', "defines no 'nothing'"),
        ('{{ source("nothing.py", "word") }}', "there is no src/vlm_history/nothing.py"),
        ('{{ source("../../examples/era/first.py", "x") }}', "there is no src"),
        ('{{ value("first", "numbers", "bleu") }}', "hands out no 'bleu'; it has: exact, gain"),
        ('{{ value("first", "numbers", "exact", format="d") }}', "does not take the format"),
        ('{{ cite("two2015") }}', "has no 'two2015'"),
        ('{{ cite("one2014") }}', r"has no \{\{ references"),
        ("{{ references() }}", "cites nothing"),
        ("{{ history() }}", "history.yml is missing"),
        ("{{ unknown() }}", "not a quote this site knows"),
        ('in prose {{ cell("first", "say") }}', "not on a line of its own"),
    ],
)
def test_what_is_unknown_stops_the_build(book: Book, quote: str, problem: str) -> None:
    with pytest.raises(QuoteError, match=rf"docs/en/page\.md(:3)?: .*{problem}"):
        page(book, f"# Title\n\n{quote}\n")


def test_source_by_qualified_name(project: Project) -> None:
    assert source(project, "part.py", "LIMIT") == "LIMIT = 3"
    assert source(project, "part.py", "word").startswith('def word():\n    """What it says.')
    assert source(project, "part.py", "word", docstring=False) == 'def word():\n    return "hello"'
    method = source(project, "part.py", "Model.run")
    assert method.startswith("@staticmethod\ndef run(a, b):\n    def inner():")


def test_literal_text_stays(project: Project, tmp_path: Path) -> None:
    book = Book(project, "ko", "", tmp_path)
    text = "```markdown\n{{ cell(1) }}\n```\n\n`{{ x }}` is code."
    assert expand(book, text, str, "page").markdown == text
    text = '{{ cell("a", "b") }}\n```\n{{ no }}\n```\n{{ cite("c") }}'
    assert quotes_of(text) == ['{{ cell("a", "b") }}', '{{ cite("c") }}']


def test_fences_are_longer_than_those_inside() -> None:
    assert fence("x = '''\n````\n'''").startswith("`````python\n")


def test_arguments_are_literals_only() -> None:
    assert arguments("cell", '"a", "b", show="code"') == (["a", "b"], {"show": "code"})
    with pytest.raises(QuoteError):
        arguments("cell", '__import__("os").name, "b"')
