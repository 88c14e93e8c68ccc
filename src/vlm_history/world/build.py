"""Make the world's data from what the artists published: `python -m vlm_history.world.build`.

The artwork comes as npm packages of SVG icons (Iconify), names and keywords from emojibase-data, textures from the
photographs that scikit-image ships. Every source is pinned by its sha256, and the same sources give the same files,
byte for byte. Needs the extra `artwork`, and npm unless `--tarballs` names a folder with the packages.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import io
import json
import multiprocessing
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import unicodedata
import zipfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vlm_history.errors import InputError
from vlm_history.world.concepts import CATEGORIES, canonical

HERE = Path(__file__).parent
SIZE = 64
MARGIN = 1  # transparent pixels on each side of the longer edge
RIM = 1  # pixels by which the paper behind black ink is wider than the ink

#: Licences that may not enter the package: share-alike would bind everything built on it.
FORBIDDEN_LICENCE = re.compile(r"-SA\b|-NC\b|-ND\b|GPL", re.IGNORECASE)


@dataclass(frozen=True)
class Source:
    package: str
    version: str
    sha256: str
    licence: str

    @property
    def tarball(self) -> str:
        return f"{self.package.lstrip('@').replace('/', '-')}-{self.version}.tgz"


EMOJIBASE = Source(
    "emojibase-data", "17.0.0", "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a", "MIT"
)
SOURCES = {
    "twemoji": Source(
        "@iconify-json/twemoji",
        "1.2.5",
        "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7",
        "CC-BY-4.0",
    ),
    "noto": Source(
        "@iconify-json/noto",
        "1.2.9",
        "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad",
        "Apache-2.0",
    ),
    "fluent-flat": Source(
        "@iconify-json/fluent-emoji-flat",
        "1.2.6",
        "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175",
        "MIT",
    ),
    "fluent-gradient": Source(
        "@iconify-json/fluent-emoji",
        "1.2.7",
        "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b",
        "MIT",
    ),
    "emojione": Source(
        "@iconify-json/emojione",
        "1.2.3",
        "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e",
        "CC-BY-4.0",
    ),
    "noto-v1": Source(
        "@iconify-json/noto-v1",
        "1.2.5",
        "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37",
        "Apache-2.0",
    ),
    "fxemoji": Source(
        "@iconify-json/fxemoji",
        "1.2.2",
        "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef",
        "Apache-2.0",
    ),
    "streamline": Source(
        "@iconify-json/streamline-emojis",
        "1.2.4",
        "5dac87c876b322500989828c5823143e0100d78881627a2e4081a4b897cbfdbc",
        "CC-BY-4.0",
    ),
    "fluent-contrast": Source(
        "@iconify-json/fluent-emoji-high-contrast",
        "1.2.6",
        "0b92d48c90d2200bd499e3cdd09a127ca6a8c8ddefd34c35eb5a1e4994012ae0",
        "MIT",
    ),
}
#: Those who must have drawn every concept.
COMPLETE = ("twemoji", "noto", "fluent-flat", "fluent-gradient")
#: Sets that ship no table from code to icon name, and whose table to borrow: one drawing, same names.
BORROW = {"fluent-gradient": "fluent-flat", "emojione": "twemoji", "noto-v1": "noto"}
#: Sets that ship no such table and share their names with none that does: what an emoji is called finds its icon.
BY_NAME = ("fxemoji", "streamline")
#: Where the name finds nothing, or not the picture that the other artists draw: (artist, code) -> icon.
NAMED: dict[tuple[str, str], str] = {
    (artist, code): name
    for artist, table in {
        "fxemoji": {
            # the animals: a bare name is the face, `side` the whole animal
            "1f436": "dog",
            "1f415": "dogside",
            "1f431": "cat",
            "1f408": "catside",
            "1f42f": "tiger",
            "1f405": "tigerside",
            "1f437": "pig",
            "1f416": "pigside",
            "1f42d": "mouse",
            "1f401": "mouseside",
            "1f430": "bunny",
            "1f407": "bunnyside",
            "1f432": "dragonhead",
            "1f409": "dragonside",
            "1f406": "leopardside",
            "1f43d": "pigsnout",
            "1f98a": "foxsmiling",
            "1f439": "hampster",
            # names of Mozilla's own
            "1f332": "evergreen",
            "1f342": "fallingleaf",
            "1f343": "leaffluttering",
            "1f336": "chilipepper",
            "1f365": "fishcakeswirl",
            "1f37d": "forkknife",
            "1f30d": "europeafricaglobe",
            "1f3d4": "snowmountains",
            "1f685": "highspeedtrainbulletnose",
            "1f3ce": "racecar",
            "1f570": "manltepiececlock",
            "1f552": "clock3oclock",
            "2600": "sunrays",
            "1f327": "raincloud",
            "1f328": "snowcloud",
            "1f329": "stormcloud",
            "26f1": "beachumbrella",
            "26a1": "bolt",
            "2603": "snowmanwithoutsnow",
            "1f30a": "wave",
            "1f380": "bow",
            "1f381": "present",
            "1f3be": "tennisball",
            "1f004": "mahjong",
            "1f454": "tie",
            "1f455": "mansshirt",
            "1f45a": "womansshirt",
            "1f45b": "pinkwallet",
            "1f45d": "makeupbag",
            "1f45e": "mensshoe",
            "1f45f": "mensrunner",
            "1f460": "heels",
            "1f461": "sandals",
            "1f462": "boot",
            "1f48e": "gem",
            "1f50a": "speaker3soundwaves",
            "1f399": "studiomic",
            "1f4f1": "cellphone",
            "1f4de": "telephonereceiver2",
            "1f4be": "floppydisk2",
            "1f4f9": "handheldvideocamera",
            "1f4fc": "videocasette",
            "1f50d": "leftmagnifyingglass",
            "1f4d4": "notebookdecorativecover",
            "1f4eb": "closedmailboxraised",
            "1f5f3": "ballottboxwithballott",
            "1f58a": "lowerleftpen",
            "1f4c8": "chartupwardstrend",
            "1f4c9": "chartdownwardstrend",
            # the name leads to another picture: a face in sunglasses, a piano, a crane, a folded umbrella, a tower
            "1f576": "darksunglasses",
            "2328": "wiredkeyboard",
            "1f6a7": "constructionsign",
            "1f3d7": "construction",
            "1f302": "umbrella",
            "2602": "umbrellawithraindrops",
            "1f4bb": "oldpersonalcomputer",
            "1f5a5": "personalcomputer",
        },
        "streamline": {
            # of several drawings, the one without a face of its own, and the one nearest to the other artists'
            "1f98a": "fox-face-2",
            "1f348": "melon-2",
            "1f349": "watermelon-2",
            "1f354": "hamburger-2",
            "1f370": "shortcake-2",
            "2615": "hot-beverage-2",
            # names of its own, or of a neighbouring emoji that it draws alike
            "1f42b": "camel",
            "1f40b": "spouting-whale",
            "1f3e0": "house-with-garden",
            "1f3b2": "game-dice",
            "1f392": "school-backpack",
            "1f4eb": "open-mailbox-with-raised-flag",
        },
    }.items()
    for code, name in table.items()
}
#: Sets in black ink with nothing between the lines, which a dark background would swallow: white paper goes behind.
ON_PAPER = ("fluent-contrast",)
#: The last Emoji version that a discontinued set drew. A later concept that finds its name there has found
#: something else (`cricket` is the game in both, and the insect came a version later).
LAST_VERSION = {"emojione": 4, "noto-v1": 4}
#: Pictures that a look at the contact sheet refused: (artist, code) -> why.
REFUSED: dict[tuple[str, str], str] = {
    ("emojione", "1f52b"): "a revolver; the others draw a water gun",
    ("noto-v1", "1f52b"): "a revolver; the others draw a water gun",
    ("noto-v1", "26f0"): "the same drawing as its snowy mountain",
    ("noto-v1", "1f4bb"): "a desktop computer; the others draw a laptop",
    ("fxemoji", "1f52b"): "a revolver; the others draw a water gun",
    ("fxemoji", "1f3c0"): "a ball over its hoop; the others draw the ball alone",
    ("fxemoji", "1f3b2"): "a domino; the others draw a die",
    ("fxemoji", "1fa9f"): "a window on a screen",
    ("fxemoji", "1f411"): "as horned as its ram",
    ("streamline", "1f52b"): "a revolver; the others draw a water gun",
    ("streamline", "1f983"): "the flag of Turkey",
    ("streamline", "1f411"): "as horned as its ram",
    ("streamline", "1f341"): "a leaf of hemp, to look at",
    ("streamline", "1f3a7"): "an earbud; the others draw headphones",
    ("fluent-contrast", "1f34f"): "black ink shows no green",
    ("fluent-contrast", "1f4d5"): "black ink shows no red",
    ("fluent-contrast", "1f4d7"): "black ink shows no green",
    ("fluent-contrast", "1f4d8"): "black ink shows no blue",
    ("fluent-contrast", "1f4d9"): "black ink shows no orange",
}


# --- sources -----------------------------------------------------------------------------------------------------


def obtain(source: Source, folder: Path | None, scratch: Path) -> Path:
    """The tarball of a source, from `folder` or from npm; `InputError` unless its sha256 is the pinned one."""
    if folder is not None:
        path = folder / source.tarball
        if not path.is_file():
            raise InputError(f"{path}: no such file; `npm pack {source.package}@{source.version}` makes it")
    else:
        npm = shutil.which("npm")
        if npm is None:
            raise InputError("npm is not installed; install Node.js, or give --tarballs DIR")
        command = [npm, "pack", f"{source.package}@{source.version}", "--silent", "--pack-destination", str(scratch)]
        done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, check=False)
        path = scratch / source.tarball
        if done.returncode or not path.is_file():
            raise InputError(f"npm pack {source.package}@{source.version} failed: {done.stderr.strip()}")
    got = hashlib.sha256(path.read_bytes()).hexdigest()
    if got != source.sha256:
        raise InputError(
            f"{path.name}: sha256 is {got}, expected {source.sha256}; the file is damaged or not the pinned version"
        )
    return path


def members(tarball: Path, names: Iterable[str]) -> dict[str, Any]:
    """The JSON files `package/NAME` of a tarball; nothing is written to disk."""
    found: dict[str, Any] = {}
    with tarfile.open(tarball) as archive:
        for name in names:
            file = archive.extractfile(f"package/{name}")
            assert file is not None, name
            found[name] = json.load(file)
    return found


class IconSet:
    """One artist's icons, found by name or by code."""

    def __init__(self, icons: dict[str, Any], chars: dict[str, str]):
        self.icons: dict[str, Any] = icons["icons"]
        self.aliases: dict[str, Any] = icons.get("aliases", {})
        self.width: int = icons.get("width", 16)
        self.height: int = icons.get("height", 16)
        self.chars = {canonical(code): name for code, name in chars.items()}

    def __contains__(self, name: str) -> bool:
        return name in self.icons or self.alias(name) in self.icons

    def alias(self, name: str) -> str | None:
        # An alias that mirrors or turns its parent would need drawing differently: none is needed, none is used.
        entry = self.aliases.get(name)
        return entry["parent"] if entry is not None and set(entry) == {"parent"} else None

    def relatives(self, name: str) -> list[str]:
        """A name, what it is an alias of, and what is an alias of either."""
        parent = self.alias(name) or name
        return [name, parent, *sorted(other for other in self.aliases if self.alias(other) == parent)]

    @functools.cached_property
    def plain(self) -> dict[str, str]:
        """Names by their letters alone; of the variants `-1`, `-2`, ... of a drawing the first."""
        first = {letters(name.removesuffix("-1")): name for name in (*self.icons, *self.aliases) if name in self}
        return first | {letters(name): name for name in self.icons}

    def body(self, name: str) -> tuple[str, tuple[float, float, float, float]]:
        """SVG content of an icon and its view box (left, top, width, height)."""
        icon = self.icons.get(name) or self.icons[self.alias(name) or name]
        box = (icon.get("left", 0), icon.get("top", 0), icon.get("width", self.width), icon.get("height", self.height))
        return icon["body"], box


def letters(name: str) -> str:
    """What is left of a name for comparing: lower-case letters and digits."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def called(entry: dict[str, Any]) -> list[str]:
    """What an emojibase entry is called: its label, then the name in Unicode if it is one character.

    The first character of a longer sequence names something else: a black cat begins with a cat.
    """
    code = canonical(entry["hexcode"])
    return [entry["label"]] if "-" in code else [entry["label"], unicodedata.name(chr(int(code, 16)), "")]


def find(artist: str, sets: dict[str, IconSet], entry: dict[str, Any]) -> str | None:
    """The name of the icon with which an artist draws an emojibase entry, or None."""
    code, own = canonical(entry["hexcode"]), sets[artist]
    if (artist, code) in REFUSED or entry["version"] > LAST_VERSION.get(artist, 99):
        return None
    if own.chars:
        name = own.chars.get(code)
        return name if name is not None and name in own else None
    if artist in BY_NAME:
        name = NAMED.get((artist, code)) or next(
            (own.plain[plain] for plain in map(letters, called(entry)) if plain in own.plain), None
        )
        return name if name is not None and name in own else None
    lender = sets.get(BORROW[artist])
    if lender is None or code not in lender.chars:
        return None
    names = lender.relatives(lender.chars[code])
    for name in names:
        if name in own:
            return name
    return None


# --- drawing -----------------------------------------------------------------------------------------------------


def render(body: str, box: tuple[float, float, float, float], size: int) -> np.ndarray:
    """Rasterise the part `box` of an SVG body, centred in a square: uint8 (size, size, 4), straight alpha."""
    import resvg_py

    left, top, width, height = box
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{size}" height="{size}" viewBox="{left:g} {top:g} {width:g} {height:g}">{body}</svg>'
    )
    png = resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size, skip_system_fonts=True)
    rgba = np.array(Image.open(io.BytesIO(png)).convert("RGBA"))
    rgba[rgba[..., 3] == 0] = 0  # colour under full transparency means nothing: one value, so that files repeat
    return rgba


def draw(body: str, box: tuple[float, float, float, float], on_paper: bool = False) -> np.ndarray:
    """An icon cropped to what is visible of it, aspect kept, centred with a margin: uint8 (64, 64, 4)."""
    margin = MARGIN + RIM * on_paper
    left, top, width, height = box
    fine = 128
    side = max(width, height)
    square = (left - (side - width) / 2, top - (side - height) / 2, side, side)
    alpha = render(body, square, fine)[..., 3] > 16
    if not alpha.any():
        raise InputError("an icon came out empty; is resvg-py the pinned version?")
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    scale = side / fine
    top, bottom = square[1] + rows[0] * scale, square[1] + (rows[-1] + 1) * scale
    left, right = square[0] + columns[0] * scale, square[0] + (columns[-1] + 1) * scale
    side = max(bottom - top, right - left) * SIZE / (SIZE - 2 * margin)
    x, y = (left + right - side) / 2, (top + bottom - side) / 2
    square = (round(x, 4), round(y, 4), round(side, 4), round(side, 4))
    picture = render(body, square, SIZE)
    return lay_on_paper(picture, render(body, square, 4 * SIZE)[..., 3]) if on_paper else picture


def lay_on_paper(ink: np.ndarray, outline: np.ndarray) -> np.ndarray:
    """Ink on white paper that is cut out around it, a rim wide, and has no holes: uint8 (64, 64, 4).

    Args:
        ink: the drawing, uint8 (64, 64, 4).
        outline: its alpha in four times the resolution, uint8 (256, 256).
    """
    from skimage.morphology import dilation, disk, flood

    cut = ~flood(dilation(outline >= 128, disk(4 * RIM)), (0, 0), connectivity=1)  # all but what is outside
    paper = Image.new("RGBA", (SIZE, SIZE), "white")
    paper.putalpha(Image.fromarray(cut.astype(np.uint8) * 255).resize((SIZE, SIZE), Image.Resampling.BOX))
    rgba = np.array(Image.alpha_composite(paper, Image.fromarray(ink)))
    rgba[rgba[..., 3] == 0] = 0
    return rgba


def draw_all(icons: list[tuple[str, tuple[float, float, float, float], bool]]) -> np.ndarray:
    """All icons in their order, on every core where there are many: uint8 (N, 64, 64, 4)."""
    if len(icons) < 64:
        return np.stack([draw(*icon) for icon in icons])
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        return np.stack(list(pool.map(_draw, icons, chunksize=16)))


def _draw(icon: tuple[str, tuple[float, float, float, float], bool]) -> np.ndarray:
    return draw(*icon)


# --- textures ----------------------------------------------------------------------------------------------------

#: Photographs in scikit-image that are CC0 or in the public domain: file -> sha256.
PHOTOGRAPHS = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "brick.png": "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
    "camera.png": "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "grass.png": "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
    "gravel.png": "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
    "hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
}
#: name, photograph, left, top, side of the square that is cut out, and a tint for the grey ones.
TILES: tuple[tuple[str, str, int, int, int, tuple[int, int, int] | None], ...] = (
    ("brick-red", "brick.png", 0, 0, 256, (186, 106, 84)),
    ("brick-sand", "brick.png", 200, 150, 300, (206, 178, 140)),
    ("brick-grey", "brick.png", 120, 220, 280, None),
    ("brick-white", "brick.png", 0, 200, 300, (226, 222, 214)),
    ("grass-green", "grass.png", 0, 0, 256, (104, 148, 74)),
    ("grass-spring", "grass.png", 250, 100, 256, (150, 186, 96)),
    ("grass-dry", "grass.png", 60, 250, 256, (190, 172, 108)),
    ("grass-moss", "grass.png", 200, 240, 200, (96, 122, 84)),
    ("gravel-grey", "gravel.png", 0, 0, 256, None),
    ("gravel-sand", "gravel.png", 256, 0, 256, (206, 184, 148)),
    ("gravel-slate", "gravel.png", 0, 256, 256, (122, 134, 148)),
    ("gravel-clay", "gravel.png", 200, 200, 300, (178, 134, 110)),
    ("fur-brow", "chelsea.png", 160, 0, 84, None),
    ("fur-cheek", "chelsea.png", 66, 140, 70, None),
    ("fur-neck", "chelsea.png", 20, 190, 105, None),
    ("wood-left", "coffee.png", 10, 130, 66, None),
    ("wood-right", "coffee.png", 480, 20, 110, None),
    ("wood-bottom", "coffee.png", 0, 290, 90, None),
    ("wood-corner", "coffee.png", 490, 270, 110, None),
    ("wood-edge", "coffee.png", 500, 140, 100, None),
    ("sky-dusk", "rocket.jpg", 120, 0, 120, None),
    ("sky-blue", "rocket.jpg", 380, 0, 120, None),
    ("sky-evening", "rocket.jpg", 210, 150, 90, None),
    ("stars-one", "hubble_deep_field.jpg", 0, 0, 300, None),
    ("stars-two", "hubble_deep_field.jpg", 500, 100, 300, None),
    ("stars-three", "hubble_deep_field.jpg", 200, 520, 340, None),
    ("lawn-near", "camera.png", 400, 410, 100, (132, 156, 104)),
    ("lawn-far", "camera.png", 400, 290, 110, (170, 164, 120)),
    ("lawn-wide", "camera.png", 370, 300, 140, (150, 158, 150)),
    ("cloth-orange", "astronaut.png", 80, 340, 56, None),
    ("studio-grey", "astronaut.png", 70, 0, 84, None),
)


def texture(photograph: np.ndarray, left: int, top: int, side: int, tint: tuple[int, int, int] | None) -> np.ndarray:
    """A background tile: a square of a photograph, downsized, its contrast kept low: uint8 (64, 64, 3)."""
    height, width = photograph.shape[:2]
    if min(left, top) < 0 or left + side > width or top + side > height:
        raise ValueError(f"the square {side} wide at {left}, {top} is not inside the photograph ({width} x {height})")
    cut = Image.fromarray(photograph[top : top + side, left : left + side]).convert("RGB")
    tile = np.asarray(cut.resize((SIZE, SIZE), Image.Resampling.BOX), dtype=np.float64)
    mean = tile.mean(axis=(0, 1))
    if tint is not None:
        tile = tile.mean(axis=2, keepdims=True)
        tile = tile - tile.mean() + np.array(tint, dtype=np.float64)
        mean = np.array(tint, dtype=np.float64)
    spread = float((tile - mean).std())
    tile = mean + (tile - mean) * min(1.0, 22.0 / max(spread, 1e-6))
    return np.clip(np.rint(tile), 0, 255).astype(np.uint8)


def textures() -> dict[str, np.ndarray]:
    import skimage

    folder = Path(skimage.__file__).parent / "data"
    photographs = {}
    for name, expected in PHOTOGRAPHS.items():
        data = (folder / name).read_bytes()
        got = hashlib.sha256(data).hexdigest()
        if got != expected:
            raise InputError(f"scikit-image's {name}: sha256 is {got}, expected {expected}; install scikit-image 0.26")
        photographs[name] = np.asarray(Image.open(io.BytesIO(data)))
    pattern = np.stack([texture(photographs[file], *where) for _, file, *where in TILES])  # type: ignore[arg-type]
    return {"pattern": pattern, "name": np.array([name for name, *_ in TILES])}


# --- names -------------------------------------------------------------------------------------------------------


def plural_of(name: str) -> str:
    """The regular English plural; irregular ones stand in names.toml."""
    if re.search(r"(s|x|z|ch|sh)$", name):
        return name + "es"
    if re.search(r"[^aeiou]y$", name):
        return name[:-1] + "ies"
    return name + "s"


def article_of(name: str) -> str:
    return "an" if name[0].lower() in "aeiou" else "a"


def check_names(table: str, code: str, ko: str, en: str) -> None:
    """Short names of plain letters: up to 6 Korean syllables, up to 2 English words."""
    if not re.fullmatch(r"[가-힣]+( [가-힣]+)*", ko) or len(ko.replace(" ", "")) > 6:
        raise InputError(f"{table}: {code}: {ko!r} must be 1 to 6 Hangul syllables in words apart by one space")
    if not re.fullmatch(r"[A-Za-z]+( [A-Za-z]+)?", en):
        raise InputError(f"{table}: {code}: {en!r} must be one or two words of plain letters")


def read_names(path: Path) -> dict[str, dict[str, str]]:
    """The reviewed table: for each code the names, and what cannot be derived from them."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    rows: dict[str, dict[str, str]] = {}
    for key, section in table.items():
        if key not in CATEGORIES:
            raise InputError(f"{path.name}: [{key}] is none of the categories {', '.join(CATEGORIES)}")
        for code, row in section["names"].items():
            if canonical(code) in rows:
                raise InputError(f"{path.name}: {code} stands there twice")
            ko, en, *rest = row
            check_names(path.name, code, ko, en)
            extra = dict(item.split("=", 1) for item in rest)
            plural = extra.get("plural") or plural_of(en)
            rows[canonical(code)] = {
                "en": en,
                "ko": ko,
                "plural": plural,
                "counter": extra.get("counter") or section["counter"],
                "category": key,
                "article": extra["article"] if "article" in extra else article_of(en),
            }
    for language in ("ko", "en"):
        names = [row[language] for row in rows.values()]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"{path.name}: {', '.join(twice)} names two things in {language!r}")
    return rows


def make_concepts(names: Path, emojibase: dict[str, Any]) -> dict[str, Any]:
    """The content of concepts.json, in emojibase's order."""
    rows = read_names(names)
    english = {canonical(entry["hexcode"]): entry for entry in emojibase["en/data.json"]}
    korean = {canonical(entry["hexcode"]): entry for entry in emojibase["ko/data.json"]}
    if unknown := sorted(set(rows) - set(english)):
        raise InputError(f"{names.name}: no emoji has the code {unknown[0]}")
    concepts = []
    for code, entry in sorted(english.items(), key=lambda item: item[1].get("order", 0)):
        if code in rows:
            row = rows[code]
            keywords = {
                f"keywords_{language}": [
                    word
                    for word in dict.fromkeys([*table[code].get("tags", ()), table[code]["label"]])
                    if word != row[language]
                ]
                or [row[language]]
                for language, table in (("en", english), ("ko", korean))
            }
            concepts.append({"hexcode": entry["hexcode"], **row, **keywords})
    return {"concepts": concepts}


def make_emoji(emojibase: dict[str, Any]) -> list[str]:
    """The content of emoji.json: the code of every emoji, in every skin tone."""
    entries = emojibase["en/data.json"]
    toned = [tone for entry in entries for tone in entry.get("skins", ())]
    return sorted({canonical(entry["hexcode"]) for entry in (*entries, *toned)})


# --- writing -----------------------------------------------------------------------------------------------------


def npz_bytes(arrays: dict[str, np.ndarray]) -> bytes:
    """An npz without the time of day in it: the same arrays give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, member.getvalue(), compresslevel=9)
    return buffer.getvalue()


def digest(arrays: dict[str, np.ndarray]) -> str:
    """sha256 of what a pack holds, whatever compressed it."""
    state = hashlib.sha256()
    for name, array in arrays.items():
        state.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


def write(path: Path, data: bytes) -> None:
    """Write beside, then rename: a half-written file is never seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(data)
    beside.replace(path)


def json_bytes(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def build(
    out: Path, tarballs: Path | None = None, names: Path = HERE / "names.toml", only: int | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """Write concepts.json, emoji.json, artwork/*.npz, textures.npz, manifest.json; `only` takes the first few."""
    with tempfile.TemporaryDirectory() as scratch:
        fetch = functools.partial(obtain, folder=tarballs, scratch=Path(scratch))
        emojibase = members(fetch(EMOJIBASE), ("en/data.json", "ko/data.json"))
        sets = {}
        for artist, source in SOURCES.items():
            if FORBIDDEN_LICENCE.search(source.licence):
                raise InputError(f"{source.package}: {source.licence} may not enter the package")
            read = members(fetch(source), ("icons.json", "chars.json"))
            sets[artist] = IconSet(read["icons.json"], read["chars.json"])

    table = make_concepts(names, emojibase)
    table["concepts"] = table["concepts"][:only]
    entries = {entry["hexcode"]: entry for entry in emojibase["en/data.json"]}
    packs: dict[str, dict[str, np.ndarray]] = {}
    for artist, icons in sets.items():
        bodies, codes = [], []
        taken: dict[str, str] = {}
        for concept in table["concepts"]:
            name = find(artist, sets, entries[concept["hexcode"]])
            if name is not None:
                if name in taken:
                    raise InputError(f"{artist}'s {name} is both {taken[name]} and {concept['en']}; name or refuse one")
                taken[name] = concept["en"]
                bodies.append((*icons.body(name), artist in ON_PAPER))
                codes.append(concept["hexcode"])
            elif artist in COMPLETE:
                raise InputError(f"{artist} has no picture of {concept['hexcode']} ({concept['en']})")
        packs[artist] = {"rgba": draw_all(bodies), "hexcode": np.array(codes)}
    photographs = textures()

    files = {f"artwork/{artist}.npz": npz_bytes(pack) for artist, pack in packs.items()}
    files["textures.npz"] = npz_bytes(photographs)
    files["concepts.json"] = json_bytes(table)
    files["emoji.json"] = (json.dumps(make_emoji(emojibase), separators=(",", ":")) + "\n").encode()
    contents = {f"artwork/{artist}.npz": digest(pack) for artist, pack in packs.items()}
    contents["textures.npz"] = digest(photographs)
    for name in ("concepts.json", "emoji.json"):
        contents[name] = hashlib.sha256(files[name]).hexdigest()
    manifest = {
        "sources": {
            source.package: {"version": source.version, "sha256": source.sha256, "licence": source.licence}
            for source in (*SOURCES.values(), EMOJIBASE)
        },
        "contents": contents,
    }
    files["manifest.json"] = json_bytes(manifest)
    for name, data in files.items():
        write(out / name, data)
    return packs


def contact_sheets(folder: Path, data: Path, font: Path | None) -> None:
    """One row of pictures a concept, an artist a column, its names below: to be looked at by a person."""
    table = json.loads((data / "concepts.json").read_text(encoding="utf-8"))["concepts"]
    packs = {}
    for artist in SOURCES:
        with np.load(data / "artwork" / f"{artist}.npz") as pack:
            packs[artist] = dict(zip(pack["hexcode"].tolist(), pack["rgba"], strict=True))
    letters: Any = ImageFont.truetype(str(font), 13) if font else ImageFont.load_default()
    cell, gap, across, down = SIZE, 4, 5, 10
    wide, high = len(packs) * cell + gap * 4, cell + 22
    folder.mkdir(parents=True, exist_ok=True)
    for page in range(0, len(table), across * down):
        sheet = Image.new("RGB", (across * wide, down * high), "white")
        pen = ImageDraw.Draw(sheet)
        for i, concept in enumerate(table[page : page + across * down]):
            x, y = (i % across) * wide, (i // across) * high
            for column, pack in enumerate(packs.values()):
                if concept["hexcode"] in pack:
                    picture = Image.fromarray(pack[concept["hexcode"]])
                    sheet.paste(picture, (x + column * cell, y), picture)
            english = f"{concept['article']} {concept['en']} / {concept['plural']} · {concept['category']}"
            text = f"{concept['ko']} ({concept['counter']}) · {english}"
            pen.text((x + 2, y + cell + 2), text, fill="black", font=letters)
        sheet.save(folder / f"sheet-{page // (across * down):02d}.png")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m vlm_history.world.build", description="Rebuild the world's data.")
    parser.add_argument("--tarballs", type=Path, metavar="DIR", help="folder with the npm packages (default: npm pack)")
    parser.add_argument("--out", type=Path, metavar="DIR", default=HERE / "data", help="where the data goes")
    parser.add_argument("--contact-sheet", type=Path, metavar="DIR", help="also draw contact sheets there")
    parser.add_argument("--font", type=Path, metavar="FILE", help="a Hangul font for the contact sheets")
    options = parser.parse_args(argv)
    try:
        packs = build(options.out, options.tarballs)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if options.contact_sheet:
        contact_sheets(options.contact_sheet, options.out, options.font)
    for artist, pack in packs.items():
        size = (options.out / "artwork" / f"{artist}.npz").stat().st_size
        print(f"{artist:16} {len(pack['hexcode']):4} pictures {size / 2**20:6.2f} MiB")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
