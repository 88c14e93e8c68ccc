"""What the site needs: run the examples, quote their cells.

Examples
--------
`examples/<era>/<chapter>.py` is a percent-format script (jupytext). It runs as a notebook once a language, with
`VLM_HISTORY_LANGUAGE` set to `ko` or `en`, in an empty working directory. A cell that raises stops the build.

    # %% [markdown] lang="ko"          shown in the Korean notebook only (without lang: in both)
    # %% name="caption-one"            a cell that pages can quote: letters, digits, hyphens
    # %% name="setup" tags=["quiet"]   its code is folded away in the published notebook

Results are kept under `build/notebooks` by a key over the example, `src/`, the shipped data and weights, the
language and the installed versions (`examples.py`).

Quotes
------
Block quotes stand on a line of their own at column 0, with blank lines around:

    {{ cell("connect/show_and_tell", "caption-one") }}                 code and what it really printed and drew
    {{ cell("connect/show_and_tell", "caption-one", show="output") }}  or show="code"
    {{ cell("connect/show_and_tell", "caption-one", fold=True) }}      the code folded behind a summary
    {{ source("connect/show_and_tell.py", "ShowAndTell.forward") }}    a class, function, method or constant of src
    {{ source("connect/show_and_tell.py", "ShowAndTell", docstring=False) }}
    {{ notebook("connect/show_and_tell") }}                            the whole notebook, its downloads, Colab
    {{ history() }}  {{ history(era=1) }}                              the timeline of `docs/history.yml`
    {{ references() }}                                                 what this page cited

Inline quotes stand anywhere in prose:

    {{ value("exam", "rows", "exact_ko", format=".0%") }}              a number that a cell handed out
    {{ cite("vinyals2015") }}                                          a key of `docs/references.yml`

The name of an example may be its stem alone while that is unique. Whatever is unknown stops the build, with page
and line.

Outputs, best first
-------------------
1. `application/vnd.vlm-history.figure+json`: `{"light", "dark", "alt", "caption", "wide", "width", "pixelated",
   "format"}`; light and dark are base64 PNG (or SVG text with `"format": "svg"`), drawn at twice the width shown.
2. `application/vnd.vlm-history.values+json`: what `{{ value(...) }}` reads; shown as its `text/html` or `text/plain`.
3. `text/html` (tables), 4. `text/plain` and what was printed. A bare `image/png` is refused: it has no words for those
   who cannot see it. So is anything on stderr.

Front matter of a page
----------------------
`title` and `description` (both required), `era` (1, 2, 3), `kicker` (a line above the title), `wide` (no table of
contents). Headings carry explicit ids, the same in both languages: `## 생각 {#idea}`.

A chapter not yet written stands in the navigation as `- Title: to-come:era/chapter` and is shown without a link; the
build refuses the entry once the page exists.
"""
