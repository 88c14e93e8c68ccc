"""Pictures restyled: other colours, other textures, the same shapes. And pictures moved: seen from elsewhere.

A network that has met four artists knows their colours and their brushes better than the things they drew. Restyled
pictures take that way out from it: colours are mixed by a random matrix, and some pictures are filtered by a random
convolution, which changes texture and keeps shape (RandConv, Xu et al., arXiv 2007.13003). And pictures degraded, as
those are that were kept in few numbers.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

_GROUPS = 8  # as many random filters a batch: one for every picture would convolve ten times slower


def restyle(pixels: Float[Tensor, "batch 3 rows columns"], share: float = 0.5) -> Float[Tensor, "batch 3 rows columns"]:
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


def move(
    pixels: Float[Tensor, "batch 3 rows columns"],
    boxes: Float[Tensor, "batch 3"],
    share: float = 0.8,
    smallest: float = 0.4,
    largest: float = 1.2,
    side: int | None = None,
    bend: float = 0.0,
    turn: float = 0.2,
) -> Float[Tensor, "batch 3 new_rows new_columns"]:
    """Turn, stretch and enlarge the pictures of one thing, from as small as it was to a tight crop of it.

    Pictures of several things stay as they are: what their captions say of left and right would no longer be true.

    Args:
        pixels: of any scale.
        boxes: of the thing its centre x and y, from -1 to 1, and its width as a share of the picture's; 0 where the
            picture shall stay.
        share: of the pictures of one thing that are moved.
        smallest, largest: the least and the most that the thing's width may be of the picture's, afterwards.
        side: height and width in pixels afterwards; as before if None.
        bend: how far the points of a 4 x 4 net over each moved picture are pulled, as a share of half its width (one
            standard deviation): artists do not put the same parts in the same places.
        turn: how far they are turned at most, in radians; they are sheared and stretched by half of it.

    Returns:
        The batch; what lies outside of a picture is its mirror image. Chance is torch's global stream.
    """
    batch, device = len(pixels), pixels.device

    def between(low: float, high: float) -> Tensor:
        return torch.empty(batch, device=device).uniform_(low, high)

    size = boxes[:, 2]
    moved = (size > 0) & (torch.rand(batch, device=device) < share)
    wanted = between(smallest, largest)
    zoom = size.clamp_min(0.1) / wanted  # of the picture's width, how much is seen
    angle, shear, stretch = between(-turn, turn), between(-turn / 2, turn / 2), between(-turn / 2, turn / 2).exp()
    cos, sin = angle.cos(), angle.sin()
    first = torch.stack([stretch * cos, shear - sin], dim=1)
    second = torch.stack([sin, cos / stretch], dim=1)
    linear = zoom[:, None, None] * torch.stack([first, second], dim=1)
    # where the thing's centre comes to lie: anywhere that keeps it inside
    slack = (1 - wanted).clamp_min(0.05)
    centre = torch.stack([between(-1, 1) * slack, between(-1, 1) * slack], dim=1)
    shift = boxes[:, :2] - (linear @ centre[:, :, None])[..., 0]
    matrix = torch.cat([linear, shift[:, :, None]], dim=2)
    stay = torch.eye(2, 3, device=device).expand(batch, -1, -1)
    matrix = torch.where(moved[:, None, None], matrix, stay)
    size_after = [batch, 3, side, side] if side else list(pixels.shape)
    grid = F.affine_grid(matrix, size_after, align_corners=False)
    if bend:
        net = bend * torch.randn(batch, 2, 4, 4, device=device)
        pulled = F.interpolate(net, size_after[2:], mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
        grid = grid + torch.where(moved, zoom, 0.0)[:, None, None, None] * pulled
    return F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)


def cut_out(
    pixels: Float[Tensor, "batch 3 rows columns"], boxes: Float[Tensor, "batch 3"], side: int, width: float = 0.9
) -> Float[Tensor, "batch 3 side side"]:
    """Tight crops of single things, nothing left to chance.

    Args:
        pixels, boxes: as for `move`; every picture has a box.
        side: height and width of the crops in pixels.
        width: of the thing, as a share of the crop's.
    """
    zoom = boxes[:, 2] / width
    still = torch.zeros_like(zoom)
    matrix = torch.stack([zoom, still, boxes[:, 0], still, zoom, boxes[:, 1]], dim=1).unflatten(1, (2, 3))
    grid = F.affine_grid(matrix, [len(pixels), 3, side, side], align_corners=False)
    return F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)


def erase(pixels: Float[Tensor, "batch 3 rows columns"], share: float = 0.5) -> Float[Tensor, "batch 3 rows columns"]:
    """Hide a rectangle of some pictures under one colour: no single part may be all that tells a thing.

    Random erasing (Zhong et al., arXiv 1708.04896).

    Args:
        pixels: normalised to about -2 .. 2.
        share: of the pictures that lose a rectangle, each side of which is 20 to 50 % of the picture's.

    Returns:
        The batch, its other pictures as they were. Chance is torch's global stream.
    """
    batch, _, rows, columns = pixels.shape
    device = pixels.device
    inside = torch.rand(batch, 1, 1, device=device) < share
    for axis, length in ((1, rows), (2, columns)):
        sides = torch.empty(batch, 1, 1, device=device).uniform_(0.2, 0.5) * length
        start = torch.rand(batch, 1, 1, device=device) * (length - sides)
        place = torch.arange(length, device=device).view([-1 if i == axis else 1 for i in range(3)])
        inside = inside & (place >= start) & (place < start + sides)
    return torch.where(inside[:, None], 1.5 * torch.randn(batch, 3, 1, 1, device=device), pixels)


def blur(
    pixels: Float[Tensor, "batch 3 rows columns"], spreads: Float[Tensor, " batch"]
) -> Float[Tensor, "batch 3 rows columns"]:
    """Blur each picture by a Gaussian of its own.

    Args:
        pixels: of any scale.
        spreads: standard deviations, in pixels.
    """

    def weights(length: int) -> Tensor:
        places = torch.arange(length, device=pixels.device, dtype=pixels.dtype)
        return (-0.5 * ((places - places[:, None]) / spreads[:, None, None]) ** 2).softmax(2)[:, None]

    # as two products, since a convolution with kernels of their own would take pictures one by one
    return weights(pixels.shape[2]) @ pixels @ weights(pixels.shape[3]).mT


def recode(
    pixels: Float[Tensor, "batch 3 rows columns"], steps: Float[Tensor, " batch"]
) -> Float[Tensor, "batch 3 rows columns"]:
    """Code each picture as JPEG does: cosines over blocks of 8 x 8 pixels, rounded, the finer ones more coarsely.

    Args:
        pixels: of any scale; height and width are multiples of 8.
        steps: to what multiples of it the coarsest cosine is rounded, in the scale of the pixels; those with u and v
            half waves across and down to multiples of 1 + u + v times it.
    """
    place = torch.arange(8, device=pixels.device, dtype=pixels.dtype)
    cosines = torch.cos(torch.pi / 8 * (place + 0.5) * place[:, None]) / 2  # DCT-II; but for the first row orthonormal
    cosines[0] /= 2**0.5
    blocks = pixels.unflatten(3, (-1, 8)).unflatten(2, (-1, 8)).transpose(3, 4)  # (B, 3, rows / 8, columns / 8, 8, 8)
    multiples = (1 + place + place[:, None]) * steps[:, None, None, None, None, None]
    rounded = (cosines @ blocks @ cosines.T / multiples).round() * multiples
    return (cosines.T @ rounded @ cosines).transpose(3, 4).flatten(4).flatten(2, 3)


def degrade(pixels: Float[Tensor, "batch 3 rows columns"], share: float = 0.5) -> Float[Tensor, "batch 3 rows columns"]:
    """Blur some pictures, code some again and lay noise over some: each by lot, so that some suffer more than one.

    Args:
        pixels: normalised to about -2 .. 2.
        share: of the pictures that are blurred, of those that are coded again, and of those that are noisy.

    Returns:
        The batch, its other pictures as they were. Chance is torch's global stream.
    """
    batch, device = len(pixels), pixels.device

    def between(low: float, high: float) -> Tensor:
        return torch.empty(batch, device=device).uniform_(low, high)

    def some(changed: Tensor, unchanged: Tensor) -> Tensor:
        return torch.where(torch.rand(batch, 1, 1, 1, device=device) < share, changed, unchanged)

    pixels = some(blur(pixels, between(0.4, 1.5)), pixels)
    pixels = some(recode(pixels, between(0.05, 0.3)), pixels)
    return some(pixels + between(0.05, 0.4)[:, None, None, None] * torch.randn_like(pixels), pixels)
