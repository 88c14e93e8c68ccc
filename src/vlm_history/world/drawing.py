"""What systems that draw are asked for: a hundred everyday things, one alone or two and where they are.

To draw is harder than to recognise, and every thing has to be met often before its form can be told from its
artists. So the second era draws a hundred things, chosen by hand: of every day, unlike each other at the size of a
scene's objects, and drawn by every artist of the training, validation and test splits. Pairs stay in their splits.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from random import Random

from vlm_history.errors import InputError
from vlm_history.world.compose import SIDE, Background
from vlm_history.world.concepts import Concept, concepts
from vlm_history.world.scenes import Scene, World

EVERYDAY: dict[str, str] = {
    # animals
    "1F408": "cat", "1F415": "dog", "1F407": "rabbit", "1F43C": "panda", "1F416": "pig", "1F418": "elephant",
    "1F412": "monkey", "1F40E": "horse", "1F981": "lion", "1F98A": "fox", "1F438": "frog", "1F422": "turtle",
    "1F40D": "snake", "1F424": "chick", "1F427": "penguin", "1F989": "owl", "1F986": "duck", "1F413": "rooster",
    "1F40B": "whale", "1F419": "octopus", "1F41F": "fish", "1F98B": "butterfly", "1F41D": "bee", "1F41E": "ladybug",
    "1F40C": "snail",
    # plants
    "1F339": "rose", "1F33B": "sunflower", "1F333": "tree", "1F334": "palm tree", "1F335": "cactus",
    "1F341": "maple leaf", "1F340": "lucky clover", "1F344": "toadstool", "1F34E": "apple", "1F34C": "banana",
    "1F347": "grapes", "1F349": "watermelon", "1F353": "strawberry", "1F34B": "lemon", "1F34D": "pineapple",
    "1F351": "peach", "1F352": "cherry", "1F955": "carrot", "1F33D": "corn", "1F346": "eggplant",
    # food
    "1F35E": "bread", "1F354": "hamburger", "1F355": "pizza", "1F373": "fried egg", "1F359": "rice ball",
    "1F9C0": "cheese", "1F368": "ice cream", "1F369": "donut", "1F382": "birthday cake", "1F36D": "lollipop",
    "2615": "coffee", "1F95B": "milk",
    # on the way
    "1F68C": "bus", "1F697": "car", "1F692": "fire truck", "1F682": "locomotive", "1F6B2": "bicycle",
    "2708": "airplane", "1F680": "rocket", "26F5": "sailboat", "1F3E0": "house", "1F3F0": "castle", "26FA": "tent",
    # in the sky
    "2600": "sun", "1F319": "crescent moon", "2B50": "star", "2601": "cloud", "1F308": "rainbow",
    "2603": "snowman", "1F525": "flame",
    # at home
    "1F455": "shirt", "1F456": "jeans", "1F457": "dress", "1F45F": "sneaker", "1F453": "glasses", "1F451": "crown",
    "2602": "umbrella", "1F514": "bell", "1F511": "key", "1F528": "hammer", "270F": "pencil", "2702": "scissors",
    "23F0": "alarm clock", "1F4A1": "light bulb", "1F4F7": "camera", "1F4FA": "television",
    # at play
    "1F3B8": "guitar", "1F941": "drum", "26BD": "soccer ball", "1F3C0": "basketball", "1F3C6": "trophy",
    "1F388": "balloon", "1F381": "gift", "1F384": "Christmas tree", "2665": "heart",
}  # fmt: skip
"""Hexcode -> English name, for who reads this list; `concepts` has the names in both languages."""

SIZE, STEP = 24, 4
"""Width of a tidy thing, and how far apart its places are, in pixels: see `tidy`."""
PAPER = Background("plain", 0, (255, 255, 255), (255, 255, 255))
"""What tidy things lie on."""
KINDS = ("one", "pair")
"""The kinds of scenes that are drawn: one thing, and two with a relation."""


@functools.cache
def drawable() -> tuple[Concept, ...]:
    """The hundred concepts, in the order of `concepts()`."""
    return tuple(concept for concept in concepts() if concept.hexcode in EVERYDAY)


def sample(world: World, seed: int, split: str = "train", kind: str | None = None) -> Scene:
    """Draw lots for a scene of everyday things.

    Args:
        world: draws it.
        seed: any integer; the same seed gives the same scene.
        split: one of `splits.SPLITS`: which artists, and which pairs of concepts, may occur.
        kind: "one" or "pair"; None lets the seed choose, each half of the time.

    Raises:
        InputError: no such split or kind, or an artwork pack with too few everyday things.
    """
    if kind is None:
        kind = KINDS[int(Random(f"drawing/{int(seed)}").random() * len(KINDS))]
    elif kind not in KINDS:
        raise InputError(f"expected a kind among {', '.join(KINDS)}, got {kind!r}; choose one of these")
    return world.sample(seed, split, kind, among=EVERYDAY)


def scenes(world: World, n: int, seed: int = 0, split: str = "train", kind: str | None = None) -> list[Scene]:
    """`n` scenes of everyday things; as with `World.scenes`, those of two calls with different `seed` do not meet."""
    return [sample(world, seed * 1_000_000_000 + i, split, kind) for i in range(n)]


def tidy(scene: Scene, step: int = STEP) -> Scene:
    """The same scene as those that draw learn it: on white paper, its things upright, of one size, at places of a grid.

    A text says what is where, and nothing of grounds, sizes and turns; what a small model that draws spends on them it
    lacks for the things. No two overlap, and the relation stays the one that is seen.

    Args:
        scene: of everyday things, or of others.
        step: how far apart the places of the grid are, in pixels; it divides `SIZE` and what the paper has beside it.

    Raises:
        InputError: another step.
    """
    if step < 1 or SIZE % step or (SIDE - SIZE) % step:
        raise InputError(f"expected a step that divides {SIZE} and {SIDE - SIZE}, got {step}; take 4 or 8")
    low, high = SIZE // 2, SIDE - SIZE // 2

    def near(centre: int) -> int:
        return min(max(low + step * round((centre - low) / step), low), high)

    places = [[near(thing.x), near(thing.y)] for thing in scene.things]
    if scene.relation is not None:
        along = 0 if scene.relation in ("left", "right") else 1
        before, after = places if scene.relation in ("left", "above") else places[::-1]
        while after[along] - before[along] < SIZE:
            if after[along] < high:
                after[along] += step
            else:
                before[along] -= step
        across = 1 - along
        while abs(after[across] - before[across]) >= after[along] - before[along]:
            after[across] += step if after[across] < before[across] else -step
    things = (replace(thing, x=x, y=y, size=SIZE, angle=0) for thing, (x, y) in zip(scene.things, places, strict=True))
    return replace(scene, things=tuple(things), background=PAPER)
