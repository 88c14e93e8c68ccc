"""The artwork: what every artist drew of every concept, as 64 x 64 pictures with an alpha channel.

Nine finishes by seven artists are shipped (see NOTICE for credits and licences). A reader's own pack is read by
`read_pack`, which trusts nothing in the file.
"""

from __future__ import annotations

import functools
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vlm_history.errors import InputError
from vlm_history.world.concepts import by_hexcode, canonical

ARTISTS = (
    "twemoji",
    "noto",
    "fluent-flat",
    "fluent-gradient",
    "emojione",
    "noto-v1",
    "fxemoji",
    "streamline",
    "fluent-contrast",
)

#: Who stands behind a finish: the three Fluent finishes are one drawing, the two Notos are not.
VENDOR = {
    "twemoji": "twemoji",
    "noto": "noto",
    "fluent-flat": "fluent",
    "fluent-gradient": "fluent",
    "emojione": "emojione",
    "noto-v1": "noto-v1",
    "fxemoji": "fxemoji",
    "streamline": "streamline",
    "fluent-contrast": "fluent",
}

#: Height and width of a picture in pixels.
SIZE = 64

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, eq=False)
class Artwork:
    """What one artist drew: picture `rgba[i]` shows the concept whose code is `hexcode[i]`."""

    artist: str
    rgba: np.ndarray  # uint8 (N, 64, 64, 4), straight (not premultiplied) alpha
    hexcode: tuple[str, ...]
    skipped: int = 0  # pictures of emojis that are no concepts of the world

    def __len__(self) -> int:
        return len(self.hexcode)


@functools.cache
def shipped(artist: str) -> Artwork:
    """The pack of one of `ARTISTS` that comes with the package; its array is read-only."""
    if artist not in ARTISTS:
        raise InputError(f"artist must be one of {', '.join(ARTISTS)}; got {artist!r}")
    with np.load(DATA / "artwork" / f"{artist}.npz", allow_pickle=False) as pack:
        rgba, hexcode = pack["rgba"], tuple(str(code) for code in pack["hexcode"])
    rgba.flags.writeable = False
    return Artwork(artist, rgba, hexcode)


def read_pack(path: str | Path) -> Artwork:
    """Read a reader's own pack: an npz with `rgba` uint8 (N, 64, 64, 4) and `hexcode` str (N,).

    Codes are as emojibase writes them, lower or upper case, with or without FE0F; emojis that are no concepts of the
    world are left out. Raises `InputError` when the file is not such a pack, and never unpickles anything.
    """
    path = Path(path)
    what = "an artwork pack is an npz with `rgba` uint8 (N, 64, 64, 4) and `hexcode` str (N,)"

    def refuse(why: str) -> InputError:
        return InputError(f"{path}: {why}; {what}")

    if not path.is_file():
        raise InputError(f"{path}: no such file; {what}")
    if not zipfile.is_zipfile(path):
        raise refuse("not an npz file, or cut short")
    found: dict[str, Any] = {}
    try:
        with np.load(path, allow_pickle=False) as pack:
            for key in ("rgba", "hexcode"):
                if key not in pack.files:
                    raise refuse(f"`{key}` is missing (found: {', '.join(map(repr, pack.files)) or 'nothing'})")
                found[key] = pack[key]
    except InputError:
        raise
    except ValueError as error:
        if "pickle" in str(error).lower() or "object" in str(error).lower():
            raise refuse("it holds pickled Python objects, which are never loaded; save plain arrays") from error
        raise refuse(f"an array in it cannot be read ({error})") from error
    except Exception as error:  # a damaged file makes numpy and zipfile raise almost anything, TokenError included
        raise refuse(f"it is damaged or cut short ({type(error).__name__}: {error})".replace("\n", " ")) from error

    rgba, hexcode = found["rgba"], found["hexcode"]
    if not isinstance(rgba, np.ndarray) or rgba.dtype != np.uint8:
        raise refuse(f"`rgba` must be uint8, got {getattr(rgba, 'dtype', type(rgba).__name__)}")
    if rgba.ndim != 4 or rgba.shape[1:] != (SIZE, SIZE, 4):
        raise refuse(f"`rgba` must have shape (N, {SIZE}, {SIZE}, 4), got {rgba.shape}")
    if not isinstance(hexcode, np.ndarray) or hexcode.dtype.kind != "U":
        raise refuse(f"`hexcode` must hold str, got {getattr(hexcode, 'dtype', type(hexcode).__name__)}")
    if hexcode.shape != (len(rgba),):
        raise refuse(
            f"`hexcode` must have shape ({len(rgba)},) as `rgba` has {len(rgba)} pictures, got {hexcode.shape}"
        )
    if not len(rgba):
        raise refuse("it holds no picture")

    known, emoji = by_hexcode(), _every_emoji()
    codes: list[str] = []
    rows: list[int] = []
    for row, code in enumerate(map(str, hexcode)):
        concept = known.get(canonical(code))
        if concept is not None:
            codes.append(concept.hexcode)
            rows.append(row)
        elif canonical(code) not in emoji:
            raise refuse(f"hexcode {code!r} (row {row}) is no emoji's")
    if not rows:
        raise refuse(f"none of its {len(hexcode)} emojis is one of the world's {len(known)} concepts")
    skipped = len(hexcode) - len(rows)
    rgba = rgba[rows]
    seen: dict[str, int] = {}
    for row, code in enumerate(codes):
        if code in seen:
            raise refuse(f"hexcode {code!r} comes twice (rows {rows[seen[code]]} and {rows[row]})")
        seen[code] = row
    empty = np.flatnonzero(~rgba[..., 3].any(axis=(1, 2)))
    if len(empty):
        raise refuse(f"picture {int(empty[0])} ({codes[int(empty[0])]}) is fully transparent")
    rgba.flags.writeable = False
    return Artwork(path.stem, rgba, tuple(codes), skipped)


@functools.cache
def _every_emoji() -> frozenset[str]:
    """The `canonical` code of every emoji that there is."""
    return frozenset(json.loads((DATA / "emoji.json").read_text(encoding="utf-8")))
