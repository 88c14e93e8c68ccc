"""Quotes in pages: cells and their outputs, code of `src`, numbers, papers. No MkDocs here."""

from __future__ import annotations

import ast
import base64
import hashlib
import html
import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from vlm_history.site.examples import ExampleError, Project

FIGURE = "application/vnd.vlm-history.figure+json"
VALUES = "application/vnd.vlm-history.values+json"
ERAS = (1, 2, 3)

WORDS = {
    "ko": {
        "output": "실행 결과",
        "code": "코드 보기",
        "notebook": "노트북 전체 보기",
        "download": "노트북 내려받기",
        "script": "스크립트 내려받기",
        "colab": "Colab에서 열기",
        "seconds": "CPU 코어 하나로 약 {n}초",
        "to_come": "준비 중",
        "history": "비전-언어 모델의 역사",
        "and": "·",
        "others": "{first} 외",
    },
    "en": {
        "output": "Output",
        "code": "Show the code",
        "notebook": "Read the whole notebook",
        "download": "Download the notebook",
        "script": "Download the script",
        "colab": "Open in Colab",
        "seconds": "about {n} s on one CPU core",
        "to_come": "to come",
        "history": "The history of vision-language models",
        "and": " and ",
        "others": "{first} et al.",
    },
}


class QuoteError(Exception):
    """A page quotes what does not exist, or quotes it wrongly."""


@dataclass
class Book:
    """One language of the site: what quotes are read from."""

    project: Project
    language: str
    repository: str  # https://github.com/owner/name
    figures: Path  # the folder that figures of outputs are written to
    notebooks: dict[str, Any] = field(default_factory=dict)
    drawn: set[str] = field(default_factory=set)  # the figures that pages show, as URLs from the site's root

    @property
    def words(self) -> dict[str, str]:
        return WORDS[self.language]

    def notebook(self, name: str) -> tuple[str, Any]:
        """An executed example: its full name and the notebook."""
        try:
            full = self.project.find(name)
        except ExampleError as error:
            raise QuoteError(str(error)) from error
        if full not in self.notebooks:
            path = self.project.executed(full, self.language)
            if not path.exists():
                raise QuoteError(f"example {full!r} has not been run in {self.language}")
            self.notebooks[full] = json.loads(path.read_text(encoding="utf-8"))
        return full, self.notebooks[full]

    def cell(self, name: str, called: str) -> tuple[str, Any]:
        full, notebook = self.notebook(name)
        cells = {c["metadata"]["name"]: c for c in notebook["cells"] if "name" in c["metadata"]}
        if called not in cells:
            raise QuoteError(f"example {full!r} has no cell {called!r}; it has: {', '.join(cells) or 'no named cell'}")
        return full, cells[called]


@lru_cache
def table(path: Path, _changed: float) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def read_table(path: Path) -> Any:
    return table(path, path.stat().st_mtime) if path.exists() else None


# Outputs


def joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)


def png_size(content: bytes) -> tuple[int, int]:
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        raise QuoteError("a figure says it is PNG and is not")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def svg_size(text: str) -> tuple[int, int]:
    box = re.search(r'viewBox="\s*[-\d.]+[\s,]+[-\d.]+[\s,]+([\d.]+)[\s,]+([\d.]+)"', text)
    if not box:
        raise QuoteError("an SVG figure has no viewBox")
    return round(float(box[1])), round(float(box[2]))


def picture(book: Book, stem: str, figure: dict[str, Any], link: Callable[[str], str]) -> str:
    """A figure as HTML, its light and dark drawing written as files."""
    alt = (figure.get("alt") or "").strip()
    if not alt:
        raise QuoteError("a figure has no alternative text (alt)")
    svg = figure.get("format") == "svg"
    images = []
    for scheme in ("light", "dark"):
        content = figure[scheme].encode() if svg else base64.b64decode(figure[scheme])
        width, height = svg_size(figure[scheme]) if svg else png_size(content)
        shown = round(figure.get("width") or (width if svg else width / 2))
        height = round(height * shown / width)
        url = keep(book, f"{stem}-{scheme}", content, "svg" if svg else "png")
        pixelated = " pixelated" if figure.get("pixelated") else ""
        images.append(
            f'<img class="on-{scheme}{pixelated}" src="{link(url)}" alt="{html.escape(alt)}" '
            f'width="{shown}" height="{height}" loading="lazy" decoding="async">'
        )
    caption = figure.get("caption")
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    wide = " wide" if figure.get("wide") else ""
    return f'<figure class="drawn{wide}">{"".join(images)}{below}</figure>'


INLINE_IMAGE = re.compile(r'<img\b[^>]*\bsrc="data:image/(png|svg\+xml|jpeg);base64,([^"]*)"[^>]*>')


def outlined(book: Book, stem: str, markup: str, link: Callable[[str], str]) -> str:
    """HTML of an output in the site's clothes: inline pictures become files, inline styles go."""

    def file(match: re.Match[str]) -> str:
        tag = match[0]
        alt = re.search(r'\balt="([^"]+)"', tag)
        if not alt:
            raise QuoteError("a picture has no alternative text (alt)")
        content = base64.b64decode(match[2])
        ending = {"svg+xml": "svg", "jpeg": "jpg"}.get(match[1], match[1])
        url = keep(book, stem, content, ending)
        size = " ".join(re.findall(r'\b(?:width|height)="\d+"', tag))
        crisp = ' class="pixelated"' if "pixelated" in tag else ""
        return f'<img{crisp} src="{link(url)}" alt="{alt[1]}" {size} loading="lazy" decoding="async">'

    return re.sub(r'(<[^>]*?)\s+style="[^"]*"', r"\1", INLINE_IMAGE.sub(file, markup))


def keep(book: Book, stem: str, content: bytes, ending: str) -> str:
    """Write a picture beside the pages, named by its content; returns its URL from the site's root."""
    url = f"figures/{stem}.{hashlib.sha256(content).hexdigest()[:8]}.{ending}"
    book.drawn.add(url)
    path = book.figures / url
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return url


def output(book: Book, stem: str, cell: Any, link: Callable[[str], str]) -> str:
    """All that a cell printed, displayed and drew, as HTML."""
    parts: list[str] = []
    for number, entry in enumerate(cell.get("outputs", [])):
        kind = entry["output_type"]
        if kind == "stream":
            if entry["name"] == "stderr":
                raise QuoteError(f"a quoted cell wrote to stderr: {joined(entry['text']).strip()[:200]}")
            parts.append(text_output(joined(entry["text"])))
            continue
        if kind == "error":
            raise QuoteError("a quoted cell raised")
        data = entry["data"]
        if FIGURE in data:
            parts.append(picture(book, f"{stem}-{number}", data[FIGURE], link))
        elif "text/html" in data:
            markup = outlined(book, f"{stem}-{number}", joined(data["text/html"]), link)
            parts.append(f'<div class="scroll">{markup}</div>')
        elif "image/png" in data or "image/svg+xml" in data:
            raise QuoteError("a bare image has no alternative text: show it through vlm_history.plots")
        else:
            parts.append(text_output(joined(data.get("text/plain", ""))))
    inside = "".join(parts)
    return f'<div class="output">{inside}</div>' if inside else ""


def text_output(text: str) -> str:
    text = text.rstrip("\n")
    return f"<pre><code>{html.escape(text)}</code></pre>" if text.strip() else ""


def values(cell: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for entry in cell.get("outputs", []):
        found |= entry.get("data", {}).get(VALUES, {})
    return found


# Source


def source(project: Project, path: str, name: str, docstring: bool = True) -> str:
    """The code of a class, function, method or constant, found by its qualified name."""
    file = project.package / path
    if not file.is_file() or project.package.resolve() not in file.resolve().parents:
        raise QuoteError(f"there is no src/vlm_history/{path}")
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines()
    scope: list[ast.stmt] = ast.parse(text).body
    node: ast.stmt | None = None
    for part in name.split("."):
        node = next((n for n in scope if part in defined(n)), None)
        if node is None:
            raise QuoteError(f"src/vlm_history/{path} defines no {name!r}")
        scope = getattr(node, "body", [])
    assert node is not None
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(d.lineno for d in decorators)]) - 1
    taken = set(range(first, node.end_lineno or node.lineno))
    if not docstring:
        for inner in ast.walk(node):
            body = getattr(inner, "body", None)
            if isinstance(inner, ast.FunctionDef | ast.ClassDef) and body and is_text(body[0]) and len(body) > 1:
                gone = set(range(body[0].lineno - 1, body[0].end_lineno or body[0].lineno))
                after = max(gone) + 1
                if after < len(lines) and not lines[after].strip():
                    gone.add(after)
                taken -= gone
    kept = [lines[i] for i in sorted(taken)]
    indent = len(kept[0]) - len(kept[0].lstrip())
    return "\n".join(line[indent:] if not line[:indent].strip() else line for line in kept)


def defined(node: ast.stmt) -> set[str]:
    """The names that a statement gives."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return {t.id for t in targets if isinstance(t, ast.Name)}


def is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def fence(code: str, title: str | None = None) -> str:
    """Python in a fence longer than any inside it."""
    marks = "`" * max(3, *(len(m) + 1 for m in re.findall(r"`{3,}", code)), 3)
    head = f'{{ .python title="{title}" }}' if title else "python"
    return f"{marks}{head}\n{code}\n{marks}"


# Papers


def reference(project: Project, key: str) -> dict[str, Any]:
    papers = read_table(project.root / "docs" / "references.yml") or {}
    if key not in papers:
        raise QuoteError(f"docs/references.yml has no {key!r}")
    paper = papers[key]
    missing = {"authors", "year", "title", "url"} - set(paper)
    if missing:
        raise QuoteError(f"docs/references.yml: {key} lacks {', '.join(sorted(missing))}")
    return dict(paper)


def surname(author: str) -> str:
    """The name that an author is cited by; in braces, as in BibTeX, that of an organisation stays whole."""
    if author.startswith("{"):
        return author.strip("{}")
    return author.split(",")[0] if "," in author else author.split()[-1]


def short_authors(paper: dict[str, Any], words: dict[str, str]) -> str:
    names = [surname(str(author)) for author in paper["authors"]]
    if len(names) == 1:
        return names[0]
    if len(names) == 2:
        return f"{names[0]}{words['and']}{names[1]}"
    return words["others"].format(first=names[0])


# A page


BLOCK = re.compile(r"^\{\{\s*(cell|source|notebook|history|references)\s*\((.*)\)\s*\}\}\s*$")
INLINE = re.compile(r"\{\{\s*(value|cite)\s*\(([^{}]*)\)\s*\}\}")
FENCE = re.compile(r"^(`{3,}|~{3,})")
TYPES: dict[str, tuple[tuple[str, ...], dict[str, type]]] = {
    "cell": (("example", "name"), {"show": str, "fold": bool}),
    "source": (("path", "name"), {"docstring": bool}),
    "notebook": (("example",), {}),
    "history": ((), {"era": int}),
    "references": ((), {}),
    "value": (("example", "name", "key"), {"format": str}),
    "cite": (("key",), {}),
}


def arguments(kind: str, text: str) -> tuple[list[str], dict[str, Any]]:
    """The arguments of a quote: literals only, checked against what the quote takes."""
    positional, named = TYPES[kind]
    try:
        call = ast.parse(f"{kind}({text})", mode="eval").body
        assert isinstance(call, ast.Call)
        given = [ast.literal_eval(a) for a in call.args]
        options = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError, AssertionError) as error:
        raise QuoteError(f"cannot read {{{{ {kind}({text}) }}}}") from error
    if len(given) != len(positional) or not all(isinstance(a, str) for a in given):
        raise QuoteError(f"{kind} takes {len(positional)} strings ({', '.join(positional) or 'none'}): {text!r}")
    for option, value in options.items():
        if option not in named or not isinstance(value, named[option]):
            raise QuoteError(f"{kind} takes no {option}={value!r}")
    return given, options


@dataclass
class Expanded:
    """A page after its quotes: Markdown with slots, the HTML for each slot, what it quoted."""

    markdown: str
    slots: dict[str, str]
    examples: list[str]
    quotes: list[str]


def quotes_of(markdown: str) -> list[str]:
    """Every quote of a page as written, in order (for comparing languages)."""
    found = []
    for _, line, literal in lines_of(markdown):
        if not literal:
            found += [m.group(0) for m in re.finditer(r"\{\{.*?\}\}", line)]
    return [re.sub(r"\s+", " ", q) for q in found]


def lines_of(markdown: str) -> list[tuple[int, str, bool]]:
    """Lines with their number, and whether they stand inside a fence."""
    result, open_fence = [], ""
    for number, line in enumerate(markdown.split("\n"), start=1):
        match = FENCE.match(line.lstrip())
        literal = bool(open_fence) or bool(match)
        if match:
            mark = match[1]
            if not open_fence:
                open_fence = mark
            elif mark[0] == open_fence[0] and len(mark) >= len(open_fence) and line.strip() == mark:
                open_fence = ""
        result.append((number, line, literal))
    return result


def expand(book: Book, markdown: str, link: Callable[[str], str], where: str) -> Expanded:
    """Replace the quotes of a page. `link` turns a URL from the site's root into one from this page."""
    slots: dict[str, str] = {}
    examples: list[str] = []
    cited: list[str] = []

    def slot(content: str) -> str:
        name = f"SLOT{len(slots)}OF{hashlib.sha256(where.encode()).hexdigest()[:8]}"
        slots[name] = content
        return f"\n{name}\n"

    def used(name: str) -> None:
        if name not in examples:
            examples.append(name)

    def block(kind: str, text: str) -> str:
        given, options = arguments(kind, text)
        if kind == "cell":
            full, cell = book.cell(given[0], given[1])
            used(full)
            show = options.get("show", "both")
            if show not in ("both", "code", "output"):
                raise QuoteError(f"show={show!r}: expected both, code or output")
            code = fence(joined(cell["source"])) if show != "output" else ""
            if code and options.get("fold"):
                summary = f"<summary>{book.words['code']}</summary>"
                code = f'<details class="code" markdown>\n{summary}\n\n{code}\n\n</details>'
            shown = output(book, f"{full}-{given[1]}", cell, link) if show != "code" else ""
            if show == "output" and not shown:
                raise QuoteError(f"cell {given[1]!r} of {full!r} shows nothing")
            return code + ("\n" + slot(shown) if shown else "")
        if kind == "source":
            code = source(book.project, given[0], given[1], options.get("docstring", True))
            return fence(code, title=f"src/vlm_history/{given[0]}")
        if kind == "notebook":
            full, notebook = book.notebook(given[0])
            used(full)
            return slot(buttons(book, full, notebook, link, whole=True))
        if kind == "history":
            return slot(history(book, options.get("era"), link, used))
        return slot(bibliography(book, cited))

    def inline(match: re.Match[str]) -> str:
        given, options = arguments(match[1], match[2])
        if match[1] == "value":
            full, cell = book.cell(given[0], given[1])
            used(full)
            known = values(cell)
            if given[2] not in known:
                raise QuoteError(f"cell {given[1]!r} of {full!r} hands out no {given[2]!r}; it has: {', '.join(known)}")
            try:
                written = format(known[given[2]], options.get("format", ""))
            except ValueError as error:
                raise QuoteError(f"{given[2]} = {known[given[2]]!r} does not take the format {options}") from error
            return written if isinstance(known[given[2]], str) else written.replace("-", "\N{MINUS SIGN}")
        paper = reference(book.project, given[0])
        if given[0] not in cited:
            cited.append(given[0])
        text = f"{short_authors(paper, book.words)}, {paper['year']}"
        return f'<a class="cite" href="#ref-{given[0]}">{html.escape(text)}</a>'

    references_asked = False
    out = []
    for number, line, literal in lines_of(markdown):
        if literal:
            out.append(line)
            continue
        try:
            match = BLOCK.match(line)
            if match:
                if match[1] == "references":
                    references_asked = True
                out.append(block(match[1], match[2]))
                continue
            line = INLINE.sub(inline, line)
            bare = re.sub(r"`[^`]*`", "", line)
            if "{{" in bare:
                raise QuoteError(f"not a quote this site knows, or not on a line of its own: {bare.strip()}")
            out.append(line)
        except QuoteError as error:
            raise QuoteError(f"{where}:{number}: {error}") from error
    if cited and not references_asked:
        raise QuoteError(f"{where}: cites papers and has no {{{{ references() }}}}")
    return Expanded("\n".join(out), slots, examples, quotes_of(markdown))


def buttons(book: Book, name: str, notebook: Any, link: Callable[[str], str], whole: bool) -> str:
    """The ways to a notebook."""
    words, file = book.words, name.rsplit("/", 1)[-1]
    folder = f"notebooks/{name}/"
    colab = book.repository.replace("https://github.com/", "https://colab.research.google.com/github/")
    prefix = "" if book.language == "ko" else f"{book.language}/"
    ways = []
    if whole:
        ways.append(f'<a class="way main" href="{link(folder)}">{words["notebook"]}</a>')
    ways.append(f'<a class="way" href="{link(folder + file + ".ipynb")}" download>{words["download"]}</a>')
    ways.append(f'<a class="way" href="{link(folder + file + ".py")}" download>{words["script"]}</a>')
    if colab:
        ways.append(
            f'<a class="way" href="{colab}/blob/gh-pages/{prefix}{folder}{file}.ipynb" rel="noopener">'
            f"{words['colab']}</a>"
        )
    seconds = max(1, round(notebook["metadata"]["vlm_history"]["seconds"]))
    took = f'<span class="took">{words["seconds"].format(n=seconds)}</span>'
    return f'<p class="ways">{" ".join(ways)} {took}</p>'


def bibliography(book: Book, cited: list[str]) -> str:
    if not cited:
        raise QuoteError("references() on a page that cites nothing above it")
    entries = []
    papers = {key: reference(book.project, key) for key in cited}
    for key, paper in sorted(papers.items(), key=lambda kp: (kp[1]["year"], kp[0])):
        authors = [html.escape(str(author).strip("{}")) for author in paper["authors"]]
        people = ", ".join(authors) if len(authors) <= 6 else f"{', '.join(authors[:5])}, …"
        venue = f" {html.escape(str(paper['venue']))}." if paper.get("venue") else ""
        entries.append(
            f'<li id="ref-{key}">{people} ({paper["year"]}). '
            f'<a href="{html.escape(paper["url"])}"><cite>{html.escape(paper["title"])}</cite></a>.{venue}</li>'
        )
    return f'<ul class="references" lang="en">{"".join(entries)}</ul>'


def history(book: Book, era: int | None, link: Callable[[str], str], used: Callable[[str], None]) -> str:
    """The timeline: every system in its year, what it does in its picture, a door where a chapter stands."""
    entries = read_table(book.project.root / "docs" / "history.yml")
    if not entries:
        raise QuoteError("docs/history.yml is missing or empty")
    items = []
    for entry in entries:
        if era is not None and entry["era"] != era:
            continue
        title, text = html.escape(entry["title"]), html.escape(entry[book.language])
        page = entry.get("page")
        if page:
            url = re.sub(r"(?:index)?\.md$", "", page)
            heading = f'<a href="{link(url if url.endswith("/") or not url else url + "/")}">{title}</a>'
        else:
            heading = f'{title} <span class="to-come">{book.words["to_come"]}</span>'
        shown = ""
        if entry.get("cell"):
            full, cell = book.cell(*entry["cell"])
            used(full)
            figures = [o["data"][FIGURE] for o in cell.get("outputs", []) if FIGURE in o.get("data", {})]
            if not figures:
                raise QuoteError(f"docs/history.yml: cell {entry['cell']} draws no figure")
            shown = picture(book, f"{full}-{entry['cell'][1]}-0", figures[0], link)
        waiting = "" if page else " waiting"
        items.append(
            f'<li class="era-{entry["era"]}{waiting}"><p class="year">{entry["year"]}</p>'
            f'<p class="name">{heading}</p>{shown}<p class="what">{text}</p></li>'
        )
    if not items:
        raise QuoteError(f"docs/history.yml has nothing of era {era}")
    return f'<ol class="history" aria-label="{book.words["history"]}">{"".join(items)}</ol>'
