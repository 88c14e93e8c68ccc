"""Images at the door: whatever a reader has, as normalised pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from vlm_history.errors import InputError

Images = Any
"""One image or several: uint8 arrays (H, W, 3), PIL images, paths; (B, H, W, 3) bytes; (B, 3, H, W) prepared floats."""

_WANTED = "expected an image as uint8 array (height, width, 3), PIL image or path"


def is_single(images: Images) -> bool:
    """True for one image, False for several."""
    if isinstance(images, (np.ndarray, Tensor)):
        return images.ndim == 3
    return isinstance(images, (str, Path, Image.Image))


def _one(image: Any, size: int, crop: bool) -> np.ndarray:
    if isinstance(image, (str, Path)):
        path = Path(image)
        if not path.is_file():
            raise InputError(f"{_WANTED}, got the path {str(path)!r}, where there is no file; check the path")
        try:
            with Image.open(path) as opened:
                image = opened.convert("RGB")
        except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"{_WANTED}, got the file {str(path)!r}, which cannot be read as one ({error})") from error
    if isinstance(image, Image.Image):
        image = np.asarray(image.convert("RGB"))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        came = f"{image.dtype} array {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"{_WANTED}, got {came}; convert it, e.g. with numpy.asarray(PIL_image.convert('RGB'))")
    if 0 in image.shape:
        raise InputError(f"{_WANTED}, got an empty one {image.shape}")
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    if not crop:
        return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))
    short = min(height, width)
    wide, high = size * width // short, size * height // short  # the shorter one is as long as it shall be
    resized = np.asarray(Image.fromarray(image).resize((wide, high), Image.Resampling.BICUBIC))
    left, upper = round((wide - size) / 2), round((high - size) / 2)
    return resized[upper : upper + size, left : left + size]


def read_images(
    images: Images, *, size: int, mean: Sequence[float], std: Sequence[float], crop: bool = False
) -> Float[Tensor, "batch 3 height width"]:
    """Whatever is given -> normalised pixels.

    Args:
        images: see `Images`; a prepared float tensor (batch, 3, height, width) passes as it is.
        size: height and width to which images are resized.
        mean, std: of each channel, for pixels from 0 to 1.
        crop: cut out the middle of an image that is not square; else it is squeezed.

    Raises:
        InputError: not an image, or none.
    """
    if isinstance(images, Tensor):
        if images.is_floating_point() and images.ndim == 4 and images.shape[1] == 3 and len(images):
            return images
        raise InputError(
            f"expected a float tensor (batch, 3, height, width), got {images.dtype} {tuple(images.shape)}; "
            "for bytes pass a numpy array (height, width, 3)"
        )
    if is_single(images):
        images = [images]
    try:
        several = list(images)
    except TypeError:
        raise InputError(f"{_WANTED}, got {type(images).__name__}") from None
    if not several:
        raise InputError(f"{_WANTED}, got an empty list; pass at least one")
    pixels = torch.from_numpy(np.stack([_one(image, size, crop) for image in several])).permute(0, 3, 1, 2)
    mean_, std_ = (torch.tensor(v, dtype=torch.float32)[:, None, None] for v in (mean, std))
    return (pixels.float() / 255 - mean_) / std_
