"""Pictures restyled: other colours, other textures, the same shapes.

A network that has met four artists knows their colours and their brushes better than the things they drew. Restyled
pictures take that way out from it: colours are mixed by a random matrix, and some pictures are filtered by a random
convolution, which changes texture and keeps shape (RandConv, Xu et al., arXiv 2007.13003).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

_GROUPS = 8  # as many random filters a batch: one for every picture would convolve ten times slower


def restyle(
    pixels: Float[Tensor, "batch 3 rows columns"], share: float = 0.5
) -> Float[Tensor, "batch 3 rows columns"]:
    """Restyle some pictures of a batch.

    Args:
        pixels: normalised to about -2 .. 2.
        share: of the pictures that are restyled, in colour, half of them in texture, too.

    Returns:
        The batch, its other pictures as they were. Chance is torch's global stream.
    """
    batch, device = len(pixels), pixels.device
    chosen = torch.rand(batch, 1, 1, 1, device=device) < share
    mixing = torch.eye(3, device=device) + 0.25 * torch.randn(batch, 3, 3, device=device)
    contrast = torch.empty(batch, 1, 1, device=device).uniform_(0.6, 1.3)
    light = 0.3 * torch.randn(batch, 3, 1, device=device)
    coloured = (contrast * (mixing @ pixels.flatten(2)) + light).view_as(pixels)

    parts = []
    for part in coloured.chunk(_GROUPS):
        size = (3, 5)[int(torch.randint(2, ()))]
        kernel = torch.randn(3, 3, size, size, device=device) / (3 * size * size) ** 0.5
        filtered = F.conv2d(F.pad(part, (size // 2,) * 4, mode="reflect"), kernel)
        spread = filtered.std((2, 3), keepdim=True) + 0.1
        parts.append(filtered / spread * (part.std((2, 3), keepdim=True) + 0.1))
    weight = torch.rand(batch, 1, 1, 1, device=device)
    textured = weight * torch.cat(parts) + (1 - weight) * coloured
    coarse = torch.rand(batch, 1, 1, 1, device=device) < 0.5
    return torch.where(chosen, torch.where(coarse, textured, coloured), pixels)
