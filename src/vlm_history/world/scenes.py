"""The world: it samples scenes, draws them, and knows what is true of each.

A `Scene` is a value. Its seed decides everything in it, by draws of `random.Random.random()` alone (the one stream
that Python promises to keep), so the same seed is the same scene, and the same pixels, on any machine.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vlm_history.errors import InputError
from vlm_history.world import splits
from vlm_history.world.artwork import ARTISTS, DATA, VENDOR, Artwork, read_pack, shipped
from vlm_history.world.compose import (
    MAX_ANGLE,
    PATTERNS,
    SIDE,
    Background,
    Pixels,
    Sprite,
    compose,
    mipmaps,
    pack,
)
from vlm_history.world.concepts import Concept, concepts
from vlm_history.world.grammar import (
    RELATIONS,
    Fact,
    Mention,
    Reader,
    captions,
    check_language,
    pair_fact,
)
from vlm_history.world.questions import Question, dialogue, questions

KINDS = ("one", "size", "pair", "count", "many")
BACKGROUNDS = ("plain", "gradient", "striped", "noise", "photo")

# Widths in pixels. The ranges of small and big do not touch, and unmarked sizes lie where neither is said.
_SIZES = {"one": (26, 46), "pair": (21, 28), "count": (15, 22), "many": (18, 23)}
_MARKED = {"small": (12, 15), "big": (27, 31)}


@dataclass(frozen=True)
class Thing:
    """One object of a scene: its concept, centre (x, y) and width in pixels, turn in degrees.

    `marked` is "big" or "small" in scenes that tell sizes apart, else None.
    """

    concept: Concept
    x: int
    y: int
    size: int
    angle: int
    marked: str | None = None

    @property
    def mention(self) -> Mention:
        """How a caption names it."""
        return Mention(self.concept.hexcode, self.marked)


@dataclass(frozen=True)
class Scene:
    """One to four objects on a background, all by one artist.

    kind "one": one object. "size": one or two, big or small. "pair": two objects and a relation. "count": one to
    four of a kind. "many": three or four different ones. `relation` is that of the first thing to the second.
    """

    kind: str
    things: tuple[Thing, ...]
    relation: str | None
    background: Background
    artist: str
    seed: int
    split: str
    world: World = field(repr=False, compare=False)

    def image(self) -> NDArray[np.uint8]:
        """The picture: (64, 64, 3) bytes."""
        picture: NDArray[np.uint8] = self.world.render([self])[0]
        return picture

    @cached_property
    def fact(self) -> Fact:
        """What a full caption of this scene says."""
        mentions = tuple(t.mention for t in self.things)
        if self.relation:
            return pair_fact(mentions[0], self.relation, mentions[1])
        if self.kind == "count":
            return Fact("count", mentions[:1], None, len(mentions))
        if self.kind == "many":
            return Fact("many", tuple(sorted(mentions, key=lambda m: m.hexcode)))
        return Fact("one", mentions)

    def captions(self, language: str) -> list[str]:
        """All paraphrases of this scene's caption, in a fixed order.

        Args:
            language: "ko" or "en".
        """
        order = [t.mention for t in self.things] if self.kind == "many" else None
        return captions(self.fact, self.world.reader.names, language, order)

    def caption(self, language: str, style: int | None = None) -> str:
        """One caption.

        Args:
            language: "ko" or "en".
            style: which paraphrase (any integer; it wraps around). None: one that the scene's seed chooses.
        """
        said = self.captions(language)
        chosen = int(Random(f"style/{language}/{self.seed}").random() * len(said)) if style is None else style
        return said[chosen % len(said)]

    def negatives(self, language: str) -> list[str]:
        """False captions of the same words: who is where, or who is big, the other way round.

        One for each paraphrase in `captions`; none where a scene has no two things to exchange.
        """
        check_language(language)
        fact = self.fact
        if fact.kind != "pair":
            return []
        first, second = fact.mentions
        swapped = replace(fact, mentions=(replace(second, size=first.size), replace(first, size=second.size)))
        return captions(swapped, self.world.reader.names, language)

    def questions(self, language: str) -> list[Question]:
        """Questions that the picture answers, the same ones in both languages and in the same order."""
        check_language(language)
        return questions(self, language)

    def dialogue(self, language: str) -> list[tuple[str, str]]:
        """A short conversation, (question, answer) a turn, whose later turns refer back to earlier ones."""
        check_language(language)
        return dialogue(self, language)


class World:
    """Real artwork, bilingual names, and the scenes made of them.

    Args:
        artwork: a reader's own pack (npz with `rgba` and `hexcode`); all scenes are then drawn with it.
            None: the artists that come with the package.

    Raises:
        InputError: the pack is malformed.
    """

    def __init__(self, artwork: str | Path | None = None) -> None:
        self.concepts: tuple[Concept, ...] = concepts()
        self.pack: Artwork | None = None if artwork is None else read_pack(artwork)
        self.artists: tuple[str, ...] = ARTISTS if self.pack is None else (self.pack.artist,)
        self.reader = Reader(self.concepts)
        self._by_hexcode = {c.hexcode: c for c in self.concepts}
        self._by_name = {name: c for c in self.concepts for name in (c.ko, c.en)}
        self._works: dict[str, Artwork] = {}
        self._rows: dict[str, dict[str, int]] = {}
        self._drawn: dict[str, tuple[Concept, ...]] = {}
        self._atlas: dict[str, dict[int, Pixels]] = {}

    @cached_property
    def _photos(self) -> Pixels:
        with np.load(DATA / "textures.npz", allow_pickle=False) as file:
            tiles = file["pattern"]
        return pack(np.concatenate([tiles, np.full((*tiles.shape[:3], 1), 255, np.uint8)], axis=3))

    def _open(self, artist: str) -> None:
        """Read an artist's work on first use."""
        if artist in self._works:
            return
        if artist not in self.artists:
            raise InputError(f"expected an artist among {', '.join(self.artists)}, got {artist!r}; choose one of these")
        work = self.pack if self.pack is not None else shipped(artist)
        rows = {hexcode: row for row, hexcode in enumerate(work.hexcode)}
        self._works[artist], self._rows[artist] = work, rows
        self._drawn[artist] = tuple(c for c in self.concepts if c.hexcode in rows)

    def drawn_by(self, artist: str) -> tuple[Concept, ...]:
        """The concepts that an artist has drawn."""
        self._open(artist)
        return self._drawn[artist]

    def sprite(self, concept: Concept, artist: str) -> NDArray[np.uint8]:
        """One drawing as it is in the pack: (64, 64, 4) bytes, straight alpha."""
        self._open(artist)
        picture: NDArray[np.uint8] = self._works[artist].rgba[self._rows[artist][concept.hexcode]]
        return picture

    def concept(self, name: str) -> Concept:
        """Find a concept by its Korean or English name, or by its hexcode.

        Raises:
            InputError: no concept has this name.
        """
        found = self._by_name.get(name) or self._by_hexcode.get(name)
        if found is None:
            near = [n for n in self._by_name if name and (name in n or n in name)][:5]
            hint = f"; near it: {', '.join(near)}" if near else "; World().concepts lists all"
            raise InputError(f"expected the name of a concept in Korean or English, got {name!r}{hint}")
        return found

    def _artists(self, split: str) -> tuple[str, ...]:
        if split not in splits.SPLITS:
            raise InputError(f"expected a split among {', '.join(splits.SPLITS)}, got {split!r}; choose one of these")
        return self.artists if self.pack is not None else splits.SPLITS[split][1]

    def sample(
        self, seed: int, split: str = "train", kind: str | None = None, among: Iterable[str] | None = None
    ) -> Scene:
        """Draw lots for a scene.

        Args:
            seed: any integer; the same seed gives the same scene.
            split: one of `splits.SPLITS`: which artists, and which pairs of concepts, may occur.
            kind: one of `KINDS`; None lets the seed choose.
            among: hexcodes of the concepts that may occur; None for all.

        Raises:
            InputError: no such split or kind, or an artwork pack with too few concepts for it.
        """
        if kind is not None and kind not in KINDS:
            raise InputError(f"expected a kind among {', '.join(KINDS)}, got {kind!r}; choose one of these")
        artists = self._artists(split)
        draw = Random(f"{split}/{kind}/{int(seed)}").random
        kind = kind or KINDS[int(draw() * len(KINDS))]
        artist = _choose_artist({one: len(self.drawn_by(one)) for one in artists}, draw())
        pool = self.drawn_by(artist)
        if among is not None:
            pool = tuple(self._by_hexcode[code] for code in among if code in self._rows[artist])
        wanted = {"one": 1, "pair": 2, "count": 1, "size": 1 + int(draw() * 2), "many": 3 + int(draw() * 2)}[kind]
        chosen = self._choose(pool, wanted, splits.SPLITS[split][0], draw, counted=kind == "count")
        return self._place(kind, chosen, artist, draw, seed=int(seed), split=split)

    def scenes(self, n: int, seed: int = 0, split: str = "train", kind: str | None = None) -> list[Scene]:
        """`n` scenes; the seeds of two calls with different `seed` do not meet (up to a billion scenes each)."""
        return [self.sample(seed * 1_000_000_000 + i, split, kind) for i in range(n)]

    def _choose(self, pool: Sequence[Concept], wanted: int, pairs: str, draw: _Draw, counted: bool) -> list[Concept]:
        """Concepts that differ and, two by two, belong to the split."""
        for _ in range(10_000):
            chosen: list[Concept] = []
            for _ in range(wanted * 40):
                one = pool[int(draw() * len(pool))]
                if counted and not one.article:
                    continue
                # a reader's own pack has its own pairs: all are allowed
                if one not in chosen and all(
                    self.pack is not None or splits.pair_split(one.hexcode, other.hexcode) == pairs for other in chosen
                ):
                    chosen.append(one)
                if len(chosen) == wanted:
                    return chosen
        raise InputError(
            f"expected artwork of at least {wanted} concepts for such a scene, got {len(pool)}; add drawings"
        )

    def scene(
        self,
        *names: str,
        relation: str | None = None,
        number: int = 1,
        artist: str | None = None,
        background: str | None = None,
        seed: int = 0,
    ) -> Scene:
        """Compose a scene by hand.

        Args:
            names: one to four concepts, by Korean or English name. Two need a relation.
            relation: of the first to the second: left, right, above or below.
            number: how many of it, if one concept is named.
            artist: one of `artists`; the first if None.
            background: one of plain, gradient, striped, noise, photo; the seed chooses if None.
            seed: decides what is not said: position, size, turn, colours.

        Raises:
            InputError: an unknown name, relation, artist or background, or numbers that do not fit.
        """
        if not 1 <= len(names) <= 4 or len(set(names)) < len(names):
            raise InputError(f"expected one to four different names, got {names!r}; for several of a kind use number=")
        if (relation is not None) != (len(names) == 2):
            raise InputError(
                "expected a relation with two names and with no other number of them; add or drop relation="
            )
        if relation is not None and relation not in RELATIONS:
            raise InputError(f"expected a relation among {', '.join(RELATIONS)}, got {relation!r}; choose one of these")
        if not 1 <= number <= 4 or (number > 1 and len(names) > 1):
            raise InputError(f"expected a number from 1 to 4, for one name, got {number} for {len(names)} names")
        if background is not None and background not in BACKGROUNDS:
            raise InputError(
                f"expected a background among {', '.join(BACKGROUNDS)}, got {background!r}; choose one of these"
            )
        artist = artist or self.artists[0]
        chosen = [self.concept(name) for name in names]
        missing = [c.en for c in chosen if c not in self.drawn_by(artist)]
        if missing:
            raise InputError(
                f"expected concepts that {artist} has drawn, got {', '.join(missing)}; choose another artist"
            )
        kind = {1: "count" if number > 1 else "one", 2: "pair"}.get(len(chosen), "many")
        draw = Random(f"by hand/{'/'.join(c.hexcode for c in chosen)}/{seed}").random
        return self._place(
            kind,
            chosen,
            artist,
            draw,
            seed=seed,
            split="by hand",
            relation=relation,
            number=number,
            background=background,
        )

    def _place(
        self, kind: str, chosen: list[Concept], artist: str, draw: _Draw, *, seed: int, split: str,
        relation: str | None = None, number: int | None = None, background: str | None = None,
    ) -> Scene:  # fmt: skip
        """Give each object its place, size and turn, and the scene its background."""
        marked: list[str | None] = [None] * len(chosen)
        if kind == "count":
            number = number or 1 + int(draw() * 4)
            chosen, marked = chosen * number, [None] * number
        elif kind == "size":
            first = "big" if draw() < 0.5 else "small"
            marked = list((first, "small" if first == "big" else "big")[: len(chosen)])
        if len(chosen) == 2 and kind in ("pair", "size"):
            relation = relation or RELATIONS[int(draw() * 4)]
        ranges = [_MARKED[m] if m else _SIZES[kind] for m in marked]
        sizes = [low + int(draw() * (high - low + 1)) for low, high in ranges]
        centres = _centres(sizes, relation, draw)
        turns = [int(draw() * (2 * MAX_ANGLE + 1)) - MAX_ANGLE for _ in chosen]
        things = tuple(
            Thing(c, x, y, size, turn, mark)
            for c, (x, y), size, turn, mark in zip(chosen, centres, sizes, turns, marked, strict=True)
        )
        behind = self._background(background or BACKGROUNDS[int(draw() * len(BACKGROUNDS))], draw)
        return Scene(kind, things, relation, behind, artist, seed, split, self)

    def _background(self, kind: str, draw: _Draw) -> Background:
        patterns = len(self._photos) if kind == "photo" else len(PATTERNS[kind])
        pattern = int(draw() * patterns)
        light = 30 + int(draw() * 206)  # a muted colour: one lightness, each channel a little off it
        low = [min(255, max(0, light + int(draw() * 121) - 60)) for _ in range(3)]
        high = [min(255, max(0, c + int(draw() * 81) - 40)) for c in low]
        return Background(kind, pattern, (low[0], low[1], low[2]), (high[0], high[1], high[2]))

    def render(self, scenes: Sequence[Scene]) -> NDArray[np.uint8]:
        """Draw scenes, all together: (scenes, 64, 64, 3) bytes."""
        for artist in {scene.artist for scene in scenes}:
            if artist not in self._atlas:
                self._open(artist)
                self._atlas[artist] = mipmaps(self._works[artist].rgba)
        sprites = []
        for scene in scenes:
            rows = self._rows[scene.artist]
            sprites.append(
                [Sprite(scene.artist, rows[t.concept.hexcode], t.x, t.y, t.size, t.angle) for t in scene.things]
            )
        return compose([scene.background for scene in scenes], sprites, self._atlas, self._photos)


class _Draw(Protocol):  # the type of Random.random
    def __call__(self) -> float: ...


def _choose_artist(drawn: dict[str, int], lot: float) -> str:
    """One artist, each *vendor* by the share of concepts that it drew: the finishes of fluent are one drawing.

    Args:
        drawn: artist -> how many concepts.
        lot: from 0 to 1.
    """
    vendors: dict[str, list[str]] = {}
    for artist in drawn:
        vendors.setdefault(VENDOR.get(artist, artist), []).append(artist)
    groups = list(vendors.values())
    most = max(drawn.values())
    shares = [max(drawn[artist] for artist in group) / most for group in groups]  # 1 for who drew the most
    ends = list(accumulate(shares))
    place = lot * ends[-1]
    which = bisect(ends[:-1], place)
    group, share = groups[which], shares[which]
    return group[min(int((place - (ends[which] - share)) / share * len(group)), len(group) - 1)]


def _centres(sizes: list[int], relation: str | None, draw: _Draw) -> list[tuple[int, int]]:
    """Centres such that objects stay inside and, but for their corners, apart."""

    def within(low: int, high: int) -> int:
        return low + int(draw() * (high - low + 1)) if high > low else (low + high) // 2

    if relation is not None:
        first, second = sizes if relation in ("left", "above") else reversed(sizes)
        slack = SIDE - first - second
        before = int(draw() * (slack + 1)) // 2
        between = int(draw() * (slack - before + 1))
        along = [before + first // 2, before + first + between + second // 2]
        across = [within(s // 2, SIDE - (s + 1) // 2) for s in (first, second)]
        if abs(across[0] - across[1]) >= along[1] - along[0]:  # the relation named must be the one that is seen
            middle = (across[0] + across[1]) // 2
            reach = (along[1] - along[0]) // 3
            across = [min(max(a, middle - reach), middle + reach) for a in across]
        centres = list(zip(along, across, strict=True))
        if relation in ("above", "below"):
            centres = [(x, y) for y, x in centres]
        return centres if relation in ("left", "above") else centres[::-1]
    if len(sizes) == 1:
        return [
            (
                within(sizes[0] // 2, SIDE - (sizes[0] + 1) // 2),
                within(sizes[0] // 2, SIDE - (sizes[0] + 1) // 2),
            )
        ]
    # A quarter of the picture each, left to right; which quarters stay empty is by lot.
    quarters = [(0, 0), (32, 0), (0, 32), (32, 32)]
    while len(quarters) > len(sizes):
        quarters.pop(int(draw() * len(quarters)))
    return [
        (x + within(s // 2, 32 - (s + 1) // 2), y + within(s // 2, 32 - (s + 1) // 2))
        for (x, y), s in zip(quarters, sizes, strict=True)
    ]
