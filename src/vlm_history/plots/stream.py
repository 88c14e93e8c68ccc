"""DALL-E with its shapes: a picture becomes codes and comes back, and one stream of words and codes is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlm_history.errors import InputError
from vlm_history.plots.architecture import Shape, _arrow, _box, sized
from vlm_history.plots.sheets import Panel, colours, paint
from vlm_history.plots.style import Draw, Theme, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WORDS = 3  # of a text that are shown
_CODES = 3  # of a picture, before the last


def one_stream(
    picture: NDArray[np.uint8], seen: NDArray[np.uint8], codes: NDArray[Any], words: Sequence[str],
    shapes: Mapping[str, Shape], vocabulary: int, depth: int, *, era: str,
) -> Draw:  # fmt: skip
    """Both halves: the discrete VAE above, the transformer over words and codes below.

    Args:
        picture: (height, width, 3) bytes.
        seen: what the decoder makes of its codes.
        codes: (rows, columns) numbers.
        words: tokens of the text, of which the first few are shown.
        shapes: of pixels, logits, decoded, states, text and codes (both logits), each with its batch.
        vocabulary: how many codes there are; a code's share of it is its shade.
        depth: blocks of the transformer.
        era: gives the colour.

    Raises:
        InputError: fewer words or codes than are shown.
    """
    flat = [int(code) for code in codes.flatten()]
    if len(words) < _WORDS or len(flat) <= _CODES:
        raise InputError(f"expected {_WORDS} words and {_CODES + 1} codes at least, got {len(words)} and {len(flat)}")

    def draw(theme: Theme) -> Figure:
        from matplotlib import pyplot

        width, height = 5.9, 5.0
        figure = pyplot.figure(figsize=(width, height))
        whole = figure.add_axes((0, 0, 1, 1))
        whole.set_xlim(0, width)
        whole.set_ylim(0, height)
        whole.axis("off")
        colour, line, side = theme.era[era], 3.95, 0.96
        shade = colours(theme, era)

        def place(x: float) -> Axes:
            return figure.add_axes(((x - side / 2) / width, (line - side / 2) / height, side / width, side / height))

        def below(x: float, name: str, shape: str) -> None:
            whole.text(x, line - side / 2 - 0.15, name, ha="center", va="center", color=theme.ink, fontsize=10)
            whole.text(x, line - side / 2 - 0.36, shape, ha="center", va="center", color=theme.muted, fontsize=9.5)

        left, middle, right = 0.55, width / 2, width - 0.55
        paint(place(left), Panel(picture), theme, era)
        paint(place(middle), Panel(values=codes, limit=vocabulary), theme, era)
        paint(place(right), Panel(seen), theme, era)
        below(left, say(ko="그림", en="picture"), sized(shapes["pixels"]))
        below(middle, say(ko="코드", en="codes"), "×".join(map(str, codes.shape)))
        below(right, "$\\mu$, $\\ln b$", sized(shapes["decoded"]))
        for x, name, what in (
            ((left + middle) / 2, say(ko="인코더", en="encoder"), sized(shapes["logits"])),
            ((middle + right) / 2, say(ko="디코더", en="decoder"), ""),
        ):
            _box(whole, theme, (x, line), (0.84, 0.5), name, colour)
            _arrow(whole, theme, (x - 0.7, line), (x - 0.44, line))
            _arrow(whole, theme, (x + 0.44, line), (x + 0.7, line))
            if what:
                whole.text(x, line - 0.42, what, ha="center", va="center", color=theme.muted, fontsize=9.5)
        whole.text(
            0.05, 4.82, say(ko="먼저 이산 변분 오토인코더", en="first the discrete VAE"), color=theme.muted,
            fontsize=10, va="center",
        )  # fmt: skip
        whole.text(
            0.05,
            2.78,
            say(ko="그다음 트랜스포머", en="then the transformer"),
            color=theme.muted,
            fontsize=10,
            va="center",
        )

        # what is read, and one place on what is to be written
        row: list[tuple[str, float | None]] = [(word, None) for word in words[:_WORDS]]
        row += [("…", None), ("▶", None)]
        row += [(str(code), code / vocabulary) for code in flat[:_CODES]]
        row += [("…", None), (str(flat[-1]), flat[-1] / vocabulary)]
        step = (width - 0.1) / (len(row) - 1)
        for column, (text, much) in enumerate(row):
            x = 0.05 + (column + 0.5) * step
            last = column == len(row) - 1
            next_text, next_much = ("", None) if last else row[column + 1]
            cells = [(0.62, text, much), (2.38, next_text, next_much)]
            if last:  # there is nothing to write after the last code, and so it is not read
                cells = []
            elif next_text == "▶":  # what comes after the text is always the start of the picture
                cells = cells[:1]
            for y, word, share in cells:
                ink = theme.card if share is not None and share > 0.6 else theme.ink
                if word == "…":
                    whole.text(x, y, word, ha="center", va="center", color=theme.muted, fontsize=11)
                    continue
                _token(whole, theme, (x, y), step - 0.06, word, shade(share) if share is not None else None, ink)
            if not last:
                _arrow(whole, theme, (x, 0.78), (x, 1.16))
                if next_text != "▶":
                    _arrow(whole, theme, (x, 1.84), (x, 2.22))
        states = sized(shapes["states"])
        box = f"{say(ko='트랜스포머', en='transformer')} ×{depth}\n{states}"
        _box(whole, theme, (0.05 + (len(row) - 1) * step / 2, 1.5), ((len(row) - 1) * step - 0.08, 0.66), box, colour)
        for first, count, name, shape in (
            (0, _WORDS + 1, say(ko="글의 토큰", en="tokens of text"), sized(shapes["text"])),
            (_WORDS + 1, _CODES + 2, say(ko="그림의 코드", en="codes of the picture"), sized(shapes["codes"])),
        ):
            a, b = 0.05 + first * step + 0.04, 0.05 + (first + count) * step - 0.04
            whole.plot([a, b], [0.36, 0.36], color=theme.rule, linewidth=1.2)
            whole.text(
                (a + b) / 2, 0.17, f"{name} → {shape}", ha="center", va="center", color=theme.muted, fontsize=9.5
            )
        return figure

    return draw


def _token(axes: Axes, theme: Theme, at: tuple[float, float], width: float, text: str, face: Any, ink: str) -> None:
    """A token in its box, its letters as large as fit."""
    from matplotlib.patches import Rectangle

    axes.add_patch(
        Rectangle(
            (at[0] - width / 2, at[1] - 0.15), width, 0.3, facecolor=theme.card if face is None else face,
            edgecolor=theme.rule, linewidth=1.0,
        )
    )  # fmt: skip
    wide = sum(1.0 if letter > "\u1100" else 0.56 for letter in text)  # in heights: Hangul is as wide as it is high
    size = min(10.0, 72 * (width - 0.05) / max(wide, 1e-9))
    axes.text(*at, text, ha="center", va="center_baseline", color=ink, fontsize=size)
