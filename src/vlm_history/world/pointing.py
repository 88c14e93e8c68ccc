"""Where a captioner looked, held against where things are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vlm_history.world.compose import SIDE

if TYPE_CHECKING:
    from vlm_history.world.concepts import Concept
    from vlm_history.world.grammar import Reader
    from vlm_history.world.scenes import Scene, Thing

Look = NDArray[np.float32]
"""How much of a look falls on each cell of a grid (rows, columns)."""
Looks = Sequence[tuple[str, Look]]
"""For each token of a caption (particles written ##가, the end <end>) where the captioner looked for it."""


@dataclass(frozen=True)
class Named:
    """A concept that a caption names: at which of its tokens, and the mean look at them."""

    concept: Concept
    span: range
    look: Look


def caption_of(looks: Looks) -> str:
    """The tokens as a sentence."""
    pieces = [token for token, _ in looks if not token.startswith("<")]
    spaced = [token.removeprefix("##") if token[:2] == "##" or token in ",.?!" else f" {token}" for token in pieces]
    return "".join(spaced).strip()


def named(looks: Looks, language: str, reader: Reader) -> list[Named]:
    """The concepts that a caption names, each once and in order.

    A name inside another one is none: "hot dog" names no dog.
    """
    tokens = [token for token, _ in looks]
    taken: set[int] = set()
    found: dict[str, Named] = {}
    forms = [
        (name.split(), concept)
        for concept in reader.mentioned(caption_of(looks), language)
        for name in ((concept.ko,) if language == "ko" else (concept.en, concept.plural))
    ]
    for words, concept in sorted(forms, key=lambda form: -len(form[0])):
        for at in range(len(tokens) - len(words) + 1):
            span = range(at, at + len(words))
            if tokens[at : at + len(words)] == words and taken.isdisjoint(span):
                taken.update(span)
                found.setdefault(concept.hexcode, Named(concept, span, np.mean([looks[i][1] for i in span], axis=0)))
                break
    return sorted(found.values(), key=lambda name: name.span.start)


def peak(look: Look) -> tuple[float, float]:
    """The middle of the cell that is looked at most: x and y in pixels of the scene."""
    row, column = np.unravel_index(int(look.argmax()), look.shape)
    return (float(column) + 0.5) * SIDE / look.shape[1], (float(row) + 0.5) * SIDE / look.shape[0]


def inside(thing: Thing, x: float, y: float) -> bool:
    """Whether a point lies on the square that a thing fills."""
    return abs(x - thing.x) <= thing.size / 2 and abs(y - thing.y) <= thing.size / 2


def cells(thing: Thing, rows: int, columns: int) -> NDArray[np.bool_]:
    """The cells of a grid whose middle lies on a thing; their share is what a look without aim would hit."""
    xs, ys = (np.arange(columns) + 0.5) * SIDE / columns, (np.arange(rows) + 0.5) * SIDE / rows
    across, down = np.abs(xs - thing.x) <= thing.size / 2, np.abs(ys - thing.y) <= thing.size / 2
    on: NDArray[np.bool_] = down[:, None] & across
    return on


def on_object(scene: Scene, looks: Looks, language: str) -> list[bool]:
    """For each thing that the caption names: did the look at its name peak on it?

    Args:
        scene: what the picture shows.
        looks: the caption, token by token, with its looks.
        language: "ko" or "en".
    """
    told = {name.concept.hexcode: name.look for name in named(looks, language, scene.world.reader)}
    hits: dict[str, bool] = {}
    for thing in scene.things:  # of several of a kind, one is enough
        if thing.concept.hexcode in told:
            hit = inside(thing, *peak(told[thing.concept.hexcode]))
            hits[thing.concept.hexcode] = hits.get(thing.concept.hexcode, False) or hit
    return list(hits.values())
