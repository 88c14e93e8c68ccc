"""Pieces of pictures, and the few numbers that tell most of a piece: both of those that draw begin from these."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cut(pixels: Tensor, side: int) -> Tensor:
    """Pictures (B, 3, height, width) -> their pieces (B, places, 3 x side x side), row by row."""
    return F.unfold(pixels, side, stride=side).transpose(1, 2)


def principal_axes(points: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The principal components of some points.

    Args:
        points: (n, width), of mean 0.
        number: how many axes.

    Returns:
        Axes (width, number) of length 1, from the one along which points lie farthest apart on, and how far apart they
        lie along each: deviations (number,).
    """
    values, vectors = torch.linalg.eigh(points.T @ points / len(points))  # from the least to the largest
    return vectors.flip(1)[:, :number], values.flip(0)[:number].clamp_min(0).sqrt()
