"""From scenes to pixels: many scenes at once, in whole numbers only.

The same scene gives the same pixels on any machine. Floating point would not promise that (vector units round and
order sums differently), so sprites are turned, scaled and blended in fixed point. A pixel is one `uint32` that
holds four bytes (red, green, blue, alpha); two of its channels are interpolated by one multiplication.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SIDE = 64
"""Height and width of a scene in pixels."""

Pixels = NDArray[np.uint32]
_EVEN = np.uint32(0x00FF00FF)
_ODD = np.uint32(0xFF00FF00)
_BYTE, _TWO, _THREE = np.uint32(8), np.uint32(16), np.uint32(24)
_ONE = np.uint32(256)

# A sprite up to `size` pixels is read from the mip level of that many source pixels and, turned by at most
# MAX_ANGLE, fits a patch of `patch` pixels: size * (cos 15 + sin 15) + 2.
_BUCKETS = ((16, 16, 22), (24, 32, 32), (32, 32, 42), (48, 64, 62))  # (largest size, mip level, patch)
MAX_SIZE = _BUCKETS[-1][0]
MAX_ANGLE = 15
_MARGIN = 32  # canvas margin, so that a patch that leaves the picture needs no clipping


@dataclass(frozen=True)
class Sprite:
    """One drawing in a scene: which picture, where its centre is, how wide and how turned (degrees)."""

    artist: str
    row: int
    x: int
    y: int
    size: int
    angle: int


@dataclass(frozen=True)
class Background:
    """What is behind the objects.

    kind is plain, gradient, striped, noise or photo; `pattern` chooses among the patterns of that kind;
    `low` and `high` are the two RGB colours that a pattern runs between (a photograph keeps its own).
    """

    kind: str
    pattern: int
    low: tuple[int, int, int]
    high: tuple[int, int, int]


def pack(rgba: NDArray[np.uint8]) -> Pixels:
    """(..., 4) bytes -> (...) packed pixels, the same on little and big endian machines."""
    wide = rgba.astype(np.uint32)
    return wide[..., 0] | wide[..., 1] << _BYTE | wide[..., 2] << _TWO | wide[..., 3] << _THREE


def mix(a: Pixels, b: Pixels, weight: Pixels) -> Pixels:
    """a + (b - a) * weight / 256 in each of the four channels; weight runs from 0 to 256."""
    rest = _ONE - weight
    even = (((a & _EVEN) * rest + (b & _EVEN) * weight) >> _BYTE) & _EVEN
    odd = (((a >> _BYTE) & _EVEN) * rest + ((b >> _BYTE) & _EVEN) * weight) & _ODD
    return even | odd


def mipmaps(rgba: NDArray[np.uint8]) -> dict[int, Pixels]:
    """Premultiply by alpha and halve twice.

    Args:
        rgba: (N, 64, 64, 4) straight alpha.

    Returns:
        level -> (N, level + 2, level + 2) packed pixels with a transparent rim of one pixel.
    """
    wide = rgba.astype(np.uint16)
    wide[..., :3] = (wide[..., :3] * wide[..., 3:] + 127) // 255
    levels: dict[int, Pixels] = {}
    side = SIDE
    while side >= 16:
        levels[side] = np.pad(pack(wide.astype(np.uint8)), ((0, 0), (1, 1), (1, 1)))
        n = len(wide)
        wide = ((wide.reshape(n, side // 2, 2, side // 2, 2, 4).sum((2, 4), dtype=np.uint16) + 2) // 4).astype(
            np.uint16
        )
        side //= 2
    return levels


def _patterns() -> dict[str, Pixels]:
    """Kind -> (patterns, 64, 64) weights from 0 to 256 between a background's two colours."""
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.int64)
    ramps = [x, y, (x + y) // 2, (x + SIDE - 1 - y) // 2, np.maximum(abs(2 * x - 63), abs(2 * y - 63))]
    gradient = [ramp * 256 // 63 for ramp in ramps]
    striped = [((axis // width) % 2) * 256 for axis in (x, y, x + y, x - y + SIDE) for width in (3, 5, 8)]
    # random_raw is the one stream of NumPy that is promised never to change.
    noise = [(np.random.PCG64(k).random_raw(SIDE * SIDE) % 257).astype(np.int64).reshape(SIDE, SIDE) for k in range(16)]
    coarse = [
        np.kron(
            (np.random.PCG64(100 + k).random_raw(256) % 257).astype(np.int64).reshape(16, 16),
            np.ones((4, 4), int),
        )
        for k in range(8)
    ]
    kinds = {"plain": [0 * x], "gradient": gradient, "striped": striped, "noise": noise + coarse}
    return {kind: np.stack(maps).astype(np.uint32) for kind, maps in kinds.items()}


PATTERNS = _patterns()


def _rgb(colours: Sequence[tuple[int, int, int]]) -> Pixels:
    table = np.array(colours, dtype=np.uint32)
    packed = table[:, 0] | table[:, 1] << _BYTE | table[:, 2] << _TWO
    return packed[:, None, None]


def _paint_backgrounds(canvas: Pixels, backgrounds: Sequence[Background], photos: Pixels) -> None:
    rows: dict[str, list[int]] = {}
    for i, background in enumerate(backgrounds):
        rows.setdefault(background.kind, []).append(i)
    inside = slice(_MARGIN, _MARGIN + SIDE)
    for kind, members in rows.items():
        chosen = [backgrounds[i] for i in members]
        which = np.array([b.pattern for b in chosen])
        if kind == "photo":
            painted = photos[which]
        else:
            painted = mix(_rgb([b.low for b in chosen]), _rgb([b.high for b in chosen]), PATTERNS[kind][which])
        canvas[np.array(members), inside, inside] = painted


def _paint_sprites(
    canvas: Pixels, where: NDArray[np.int64], sprites: Sequence[Sprite], rows: NDArray[np.int64],
    level: Pixels, patch: int,
) -> None:  # fmt: skip
    """Paint sprite i on canvas where[i]: look up, for each pixel of its patch, where that pixel comes from."""
    side = level.shape[1] - 2
    across, down = [], []
    for sprite in sprites:
        turn = math.radians(sprite.angle)
        step = side / sprite.size * 32768  # source pixels for half a canvas pixel, 16 bits of fraction
        across.append(round(math.cos(turn) * step))
        down.append(round(math.sin(turn) * step))
    c = np.array(across, dtype=np.int32)[:, None, None]
    s = np.array(down, dtype=np.int32)[:, None, None]
    half = np.arange(patch, dtype=np.int32) * 2 - (patch - 1)  # half pixels from the centre
    dx, dy = half[None, None, :], half[None, :, None]
    # + side / 2 to the picture's middle, + 1 for the rim, - 1/2 since a pixel's value sits at its centre
    origin = np.int32((side << 15) + (1 << 15))
    limit = np.int32((side << 16) + (1 << 16) - 1)
    u = np.clip(c * dx + s * dy + origin, 0, limit)
    v = np.clip(c * dy - s * dx + origin, 0, limit)
    row_length = side + 2
    flat = level.reshape(-1)
    at = (rows.astype(np.int32) * (row_length * row_length))[:, None, None] + (v >> 16) * row_length + (u >> 16)
    u_weight = ((u >> 8) & 255).astype(np.uint32)
    v_weight = ((v >> 8) & 255).astype(np.uint32)
    top = mix(flat.take(at), flat.take(at + 1), u_weight)
    at += row_length
    source = mix(top, mix(flat.take(at), flat.take(at + 1), u_weight), v_weight)

    alpha = source >> _THREE
    cover = alpha + (alpha >> np.uint32(7))  # 0..256, full at 255
    width = canvas.shape[1]
    left = np.array([s.x for s in sprites], dtype=np.int64) - patch // 2 + _MARGIN
    upper = np.array([s.y for s in sprites], dtype=np.int64) - patch // 2 + _MARGIN
    steps = np.arange(patch)
    start = where * (width * width) + upper * width + left
    target = start[:, None, None] + steps[:, None] * width + steps[None, :]
    pixels = canvas.reshape(-1)
    below = mix(pixels.take(target), np.zeros((), np.uint32), cover)
    # rounding down in `below` leaves room for the sum: no channel can overflow into its neighbour
    pixels[target] = below + source


def compose(
    backgrounds: Sequence[Background],
    sprites: Sequence[Sequence[Sprite]],
    atlas: dict[str, dict[int, Pixels]],
    photos: Pixels,
) -> NDArray[np.uint8]:
    """Draw scenes, all together.

    Args:
        backgrounds: one for each scene.
        sprites: for each scene its sprites, painted in their order.
        atlas: artist -> mip level -> packed sprites, from `mipmaps`.
        photos: (P, 64, 64) packed photographic textures.

    Returns:
        (scenes, 64, 64, 3) bytes.
    """
    n = len(backgrounds)
    side = SIDE + 2 * _MARGIN
    canvas = np.zeros((n, side, side), dtype=np.uint32)
    _paint_backgrounds(canvas, backgrounds, photos)
    for slot in range(max((len(s) for s in sprites), default=0)):
        groups: dict[tuple[str, int], list[tuple[int, Sprite]]] = {}
        for i, scene in enumerate(sprites):
            if slot < len(scene):
                sprite = scene[slot]
                bucket = next(b for b, (largest, _, _) in enumerate(_BUCKETS) if sprite.size <= largest)
                groups.setdefault((sprite.artist, bucket), []).append((i, sprite))
        for (artist, bucket), members in groups.items():
            _, level, patch = _BUCKETS[bucket]
            where = np.array([i for i, _ in members], dtype=np.int64)
            chosen = [sprite for _, sprite in members]
            rows = np.array([sprite.row for sprite in chosen], dtype=np.int64)
            _paint_sprites(canvas, where, chosen, rows, atlas[artist][level], patch)
    inside = canvas[:, _MARGIN : _MARGIN + SIDE, _MARGIN : _MARGIN + SIDE]
    return np.stack([inside & 255, inside >> _BYTE & np.uint32(255), inside >> _TWO & np.uint32(255)], -1).astype(
        np.uint8
    )
