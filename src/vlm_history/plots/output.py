"""What a cell shows: a figure for light and dark pages, a gallery of pictures with words, numbers that prose quotes."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlm_history.errors import InputError
from vlm_history.plots.style import DARK, LIGHT, Draw, Theme, language, themed

FIGURE = "application/vnd.vlm-history.figure+json"
VALUES = "application/vnd.vlm-history.values+json"
DPI = 192  # two pixels of the file for one of the page

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Shown:
    """Something that a notebook displays, in every form that it has."""

    bundle: Mapping[str, Any]

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return dict(self.bundle)


def compressed(image: Image.Image) -> bytes:
    """PNG with a palette of 256 colours, where that is smaller."""
    forms = []
    for candidate in (image, image.quantize(256, method=Image.Quantize.FASTOCTREE)):
        buffer = io.BytesIO()
        candidate.save(buffer, "PNG", optimize=True)
        forms.append(buffer.getvalue())
    return min(forms, key=len)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def render(draw: Draw, theme: Theme) -> bytes:
    """Draw a figure in a theme's colours: the bytes of a PNG at two pixels for one of the page."""
    from matplotlib import pyplot

    with themed(theme):
        figure = draw(theme)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=DPI)
        pyplot.close(figure)
    return compressed(Image.open(buffer).convert("RGBA"))


def show(
    draw: Draw, *, alt: str, caption: str | None = None, wide: bool = False,
    numbers: Mapping[str, float | int | str] | None = None,
) -> Shown:  # fmt: skip
    """Show a figure on light and dark pages.

    Args:
        draw: makes the figure in the colours that it is handed; called once for each theme.
        alt: what the figure tells a reader who cannot see it, in the reader's language.
        caption: a sentence below the figure.
        wide: whether the figure may be wider than the text.
        numbers: values that the prose around the cell quotes.

    Raises:
        InputError: the alternative text is empty.
    """
    if not alt.strip():
        raise InputError("a figure needs alternative text (alt=...): say what it shows")
    light, dark = render(draw, LIGHT), render(draw, DARK)
    figure = {"light": _text(light), "dark": _text(dark), "alt": alt, "caption": caption, "wide": wide}
    on_white = Image.open(io.BytesIO(light)).convert("RGBA")
    page = Image.new("RGBA", on_white.size, "white")
    page.alpha_composite(on_white)
    bundle = {FIGURE: figure, "image/png": _text(compressed(page.convert("RGB"))), "text/plain": alt}
    if numbers is not None:
        bundle[VALUES] = dict(values(**numbers).bundle[VALUES])
    return Shown(bundle)


def picture(image: Picture, *, alt: str, caption: str | None = None, width: int = 256) -> Shown:
    """Show one small picture, its pixels as they are, `width` pixels wide on the page."""
    if not alt.strip():
        raise InputError("a picture needs alternative text (alt=...): say what it shows")
    data = _text(png(image))
    figure = {"light": data, "dark": data, "alt": alt, "caption": caption, "width": width, "pixelated": True}
    factor = max(1, width // image.shape[1])
    large = np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)
    return Shown({FIGURE: figure, "image/png": _text(png(large)), "text/plain": alt})


def values(text: str = "", /, **numbers: float | int | str) -> Shown:
    """Hand numbers to the prose around a cell, so that no page writes a number that can grow stale."""
    plain = {key: item.item() if isinstance(item, np.generic) else item for key, item in numbers.items()}
    json.dumps(plain)
    return Shown({VALUES: plain, "text/plain": text})


def png(image: Picture) -> bytes:
    """An image (height, width, 3) as the bytes of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(image, dtype=np.uint8)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


@dataclass(frozen=True)
class Card:
    """One picture of a gallery: what it shows (`alt`), the words below it, and whether they are right."""

    image: Picture
    alt: str
    text: str = ""
    note: str = ""
    right: bool | None = None


def _marked(card: Card) -> Iterator[str]:
    words = {True: ("right", "맞음", "right", "○"), False: ("wrong", "틀림", "wrong", "×")}
    if card.text:
        if card.right is None:
            yield f"<span>{html.escape(card.text)}</span>"
        else:
            kind, ko, en, sign = words[card.right]
            spoken = ko if language() == "ko" else en
            yield (
                f'<span class="{kind}"><span role="img" aria-label="{spoken}">{sign}</span> '
                f"{html.escape(card.text)}</span>"
            )
    if card.note:
        yield f"<small>{html.escape(card.note)}</small>"


def gallery(cards: Sequence[Card], *, width: int = 144) -> Shown:
    """Show pictures side by side, each with its words below as real text; they wrap on a narrow page.

    Raises:
        InputError: there is no card, or one has no alternative text.
    """
    if not cards or any(not card.alt.strip() for card in cards):
        raise InputError("a gallery needs at least one card, and each card alternative text (Card(alt=...))")
    rows = []
    for card in cards:
        caption = "<br>".join(_marked(card))
        height = round(width * card.image.shape[0] / card.image.shape[1])
        rows.append(
            f'<figure style="margin:0;width:{width}px"><img src="data:image/png;base64,{_text(png(card.image))}" '
            f'alt="{html.escape(card.alt)}" width="{width}" height="{height}" '
            f'style="image-rendering:pixelated;border-radius:6px">'
            + (f"<figcaption>{caption}</figcaption>" if caption else "")
            + "</figure>"
        )
    body = (
        '<div class="gallery" style="display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start">'
        + "".join(rows)
        + "</div>"
    )
    plain = "\n".join(f"{card.alt}: {card.text}" if card.text else card.alt for card in cards)
    return Shown({"text/html": body, "text/plain": plain})


def _heading(scope: str, title: str) -> str:
    """The head of a column or of a row. A name with a hyphen, as DALL-E, stays on one line."""
    whole = ' class="whole"' if "-" in title and " " not in title else ""
    return f'<th scope="{scope}"{whole}>{html.escape(title)}</th>'


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, best: Sequence[tuple[int, int]] = (),
    numbers: Mapping[str, float | int | str] | None = None,
) -> Shown:  # fmt: skip
    """Show a table of results; the first cell of a row names it. An empty cell stays empty: it was not asked.

    Args:
        best: (row, column) of the cells to set off.
        numbers: values that the prose around the cell quotes.
    """
    parts = [f'<table class="exam"><caption>{html.escape(caption)}</caption><thead><tr>']
    parts += [_heading("col", title) for title in head]
    parts.append("</tr></thead><tbody>")
    for r, row in enumerate(rows):
        parts.append("<tr>" + _heading("row", row[0]))
        for c, cell in enumerate(row[1:], start=1):
            kind = ' class="best"' if (r, c) in best else "" if cell else ' class="empty"'
            parts.append(f"<td{kind}>{html.escape(cell)}</td>")
        parts.append("</tr>")
    parts.append("</tbody></table>")
    plain = "\n".join("\t".join(row) for row in [head, *rows])
    bundle: dict[str, Any] = {"text/html": "".join(parts), "text/plain": plain}
    if numbers is not None:
        bundle[VALUES] = dict(values(**numbers).bundle[VALUES])
    return Shown(bundle)
