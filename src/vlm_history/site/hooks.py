"""The MkDocs side: examples are run, quotes expanded, notebooks published. Named under `hooks` in mkdocs.yml."""

from __future__ import annotations

import copy
import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Link, Navigation, Section
from mkdocs.structure.pages import Page
from mkdocs.structure.toc import get_toc
from mkdocs.utils import get_relative_url
from pymdownx.slugs import slugify

from vlm_history.site.examples import ExampleError, Project, run_all
from vlm_history.site.quotes import (
    FIGURE,
    INLINE_IMAGE,
    Book,
    Expanded,
    QuoteError,
    buttons,
    expand,
    joined,
    outlined,
    picture,
)

logger = logging.getLogger("mkdocs.hooks.vlm_history")
TO_COME = "to-come:"
FOLDERS = {"connect": 1, "pretrain": 2, "converse": 3}
INSTALL = {
    "ko": "# 이 노트북을 Colab처럼 vlm_history가 없는 곳에서 열었다면 먼저 설치합니다.",
    "en": "# Where vlm_history is absent, as on Colab, this installs it first.",
}


class State:
    """What one build knows. A build in the same process (mkdocs serve) starts anew."""

    book: Book
    expanded: dict[str, Expanded]


state = State()


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    root = Path(config.config_file_path or "mkdocs.yml").resolve().parent
    language = config.theme["language"]
    project = Project(root)
    try:
        run_all(project, [language])
    except ExampleError as error:
        raise PluginError(str(error)) from error
    state.book = Book(project, language, config.extra["repository"], root / "build" / "publish" / language)
    state.expanded = {}
    return config


@event_priority(100)  # before mkdocs-jupyter looks for notebooks
def on_files(files: Files, config: MkDocsConfig) -> Files:
    book = state.book
    for name in book.project.names():
        _, notebook = book.notebook(name)
        folder, stem = f"notebooks/{name}", name.rsplit("/", 1)[-1]
        write(book.figures / f"{folder}.ipynb", json.dumps(published(notebook), ensure_ascii=False, indent=1) + "\n")
        write(book.figures / folder / f"{stem}.py", book.project.script(name).read_text(encoding="utf-8"))
        for path in (f"{folder}.ipynb", f"{folder}/{stem}.py"):
            files.append(
                File(
                    path,
                    src_dir=str(book.figures),
                    dest_dir=config.site_dir,
                    use_directory_urls=config.use_directory_urls,
                )
            )
    return files


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def published(notebook: Any) -> Any:
    """The notebook that readers open: it installs what it needs, and its pictures have words."""
    notebook = copy.deepcopy(notebook)
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            figure = output.get("data", {}).get(FIGURE)
            if figure:
                output["data"].pop(FIGURE)
                output.setdefault("metadata", {}).setdefault("image/png", {})["alt"] = figure["alt"]
        if "quiet" in cell["metadata"].get("tags", []):
            cell["metadata"].setdefault("jupyter", {})["source_hidden"] = True
    repository = state.book.repository
    install = (
        f"{INSTALL[state.book.language]}\n"
        "import importlib.util\n\n"
        "if importlib.util.find_spec('vlm_history') is None:\n"
        f"    %pip install --quiet git+{repository}"
    )
    cell = {
        "cell_type": "code",
        "execution_count": None,
        "id": "install",
        "metadata": {"tags": ["install"]},
        "outputs": [],
        "source": install,
    }
    first_is_title = notebook["cells"] and notebook["cells"][0]["cell_type"] == "markdown"
    notebook["cells"].insert(1 if first_is_title else 0, cell)
    return notebook


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Chapters to come stand in the navigation without a link; sections learn their era."""

    def walk(items: list[Any]) -> int | None:
        eras = set()
        for item in items:
            era: int | None = None
            if isinstance(item, Section):
                era = walk(item.children)
            elif isinstance(item, Link) and (item.url or "").startswith(TO_COME):
                page = (item.url or "").removeprefix(TO_COME)
                if files.get_file_from_path(f"{page}.md"):
                    raise PluginError(f"nav: {page}.md exists now; write it in place of '{item.url}'")
                item.url = ""
                setattr(item, "to_come", state.book.words["to_come"])  # noqa: B010 (the template reads it)
                era = FOLDERS.get(page.split("/")[0])
            elif isinstance(item, Page):
                era = FOLDERS.get(item.file.src_uri.split("/")[0])
            item.era = era
            eras.add(era)
        return eras.pop() if len(eras) == 1 else None

    walk(nav.items)
    return nav


def linker(page: Page) -> Callable[[str], str]:
    """From a URL below the site's root to one from this page."""
    return lambda url: get_relative_url(url, page.url)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    uri = page.file.src_uri
    if uri.endswith(".ipynb"):
        return markdown
    for required in ("title", "description"):
        if not page.meta.get(required):
            raise PluginError(f"{state.book.language}/{uri}: front matter has no {required}")
    try:
        expanded = expand(state.book, markdown, linker(page), f"docs/{state.book.language}/{uri}")
    except (QuoteError, ExampleError) as error:
        raise PluginError(str(error)) from error
    state.expanded[uri] = expanded
    if page.meta.get("wide"):
        page.meta.setdefault("hide", []).append("toc")
    if expanded.examples:
        page.meta["colophon"] = colophon(expanded.examples)
    return expanded.markdown


def colophon(examples: list[str]) -> dict[str, Any]:
    """With what and when the outputs of a page were made."""
    made = [state.book.notebook(name)[1]["metadata"]["vlm_history"] for name in examples]
    return {"made": max(m["made"] for m in made), "versions": made[0]["versions"], "examples": examples}


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    uri = page.file.src_uri
    if uri.endswith(".ipynb"):
        return notebook_content(html, page)
    for slot, content in state.expanded[uri].slots.items():
        before, found, after = html.partition(f"<p>{slot}</p>")
        html = before + content + after
        if not found:
            raise PluginError(f"{uri}: a quote stands where Markdown makes no paragraph of it (blank lines around?)")
    return html


def notebook_content(html: str, page: Page) -> str:
    """A notebook in the site's own clothes: without the styles and scripts that mkdocs-jupyter brings (650 KB, and
    some from other hosts), with figures that follow light and dark."""
    name = page.file.src_uri.removeprefix("notebooks/").removesuffix(".ipynb")
    book = state.book
    html = re.sub(r"<(style|script)\b[^>]*>.*?</\1>", "", html, flags=re.DOTALL)
    html = re.sub(r"<link\b[^>]*>", "", html)
    for unwanted in (
        r'<div class="zeroclipboard-container">.*?</clipboard-copy>\s*</div>',
        r'<div class="celltoolbar">.*?</div>\s*</div>(?=\s*<div class="CodeMirror)',
        r'<div\b[^>]*class="clipboard-copy-txt"[^>]*>.*?</div>',
    ):
        html = re.sub(unwanted, "", html, flags=re.DOTALL)
    html = html.replace("highlight-ipynb", "highlight")
    figures = {}
    for position, cell in enumerate(book.notebook(name)[1]["cells"]):
        for number, output in enumerate(cell.get("outputs", [])):
            data = output.get("data", {})
            if FIGURE in data:
                stem = f"{name}-{cell['metadata'].get('name', position)}-{number}"
                figures["".join(joined(data["image/png"]).split())] = (stem, data[FIGURE])

    def drawn(match: re.Match[str]) -> str:
        figure = figures.get("".join(match[2].split()))
        return picture(book, *figure, linker(page)) if figure else match[0]

    try:
        html = outlined(book, f"{name}-page", INLINE_IMAGE.sub(drawn, html), linker(page))
    except QuoteError as error:
        raise PluginError(f"examples/{name}.py: {error}; show it through vlm_history.plots") from error
    html = headings(html, page)
    full, notebook = book.notebook(name)
    title = re.search(r"<h1\b[^>]*>.*?</h1>", html, flags=re.DOTALL)
    if not title:
        raise PluginError(f"examples/{name}.py has no title: begin with a Markdown cell '# ...' in {book.language}")
    page.meta["title"] = page.title
    page.meta["description"] = f"{page.title}: {book.words['notebook']}"
    page.meta["search"] = {"exclude": True}
    page.meta["colophon"] = colophon([name])
    page.meta["notebook"] = True
    page.meta.setdefault("era", FOLDERS.get(name.split("/")[0]))
    ways = buttons(book, full, notebook, linker(page), whole=False)
    return html[: title.end()] + ways + html[title.end() :]


def headings(html: str, page: Page) -> str:
    """Headings of a notebook with ids that Hangul survives, and the table of contents made of them."""
    slug, taken = slugify(case="lower"), set[str]()
    tokens: list[Any] = []

    def head(match: re.Match[str]) -> str:
        level, inner = int(match[1]), re.sub(r'<a class="anchor-link".*?</a>', "", match[2], flags=re.DOTALL)
        text = re.sub(r"<[^>]*>", "", inner).strip()
        anchor = wanted = slug(text, "-") or "part"
        while anchor in taken:
            anchor = f"{wanted}-{len(taken)}"
        taken.add(anchor)
        tokens.append({"level": level, "id": anchor, "name": text, "children": []})
        return f'<h{level} id="{anchor}">{inner}</h{level}>'

    html = re.sub(r"<h([1-6])\b[^>]*>(.*?)</h\1>", head, html, flags=re.DOTALL)
    if tokens:
        page.title = tokens[0]["name"]
        top, last = [tokens[0]], tokens[0]
        for token in tokens[1:]:
            if token["level"] <= 2 or last is tokens[0]:
                last = token
                tokens[0]["children"].append(token)
            else:
                last["children"].append(token)
        page.toc = get_toc(top)
    return html


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    kinds = [f"era-{page.meta['era']}"] if page.meta.get("era") else []
    kinds += [k for k in ("wide", "notebook") if page.meta.get(k)]
    return output.replace("<body ", f'<body class="{" ".join(kinds)}" ', 1) if kinds else output


def on_post_build(config: MkDocsConfig) -> None:
    for url in sorted(state.book.drawn):
        target = Path(config.site_dir) / url
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(state.book.figures / url, target)
