"""CLIP's loss: of all pairs of a picture and a text in a batch, which are those that belong together?

`contrastive_loss` is figure 3 of the paper (arXiv 2103.00020). `bounded_loss` is the same number with the same
gradients, in memory that grows with the batch and not with its square, and over several processes if there are any.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, distributed
from torch.nn import functional as F

from vlm_history.errors import InputError


def contrastive_loss(
    images: Float[Tensor, "batch width"],
    texts: Float[Tensor, "batch width"],
    scale: Float[Tensor, ""],
    wrong: Float[Tensor, "wrong width"] | None = None,
) -> Float[Tensor, ""]:
    """The mean of two cross entropies: which text belongs to a picture, and which picture to a text.

    Args:
        images, texts: of unit length; row i of one belongs to row i of the other.
        scale: what cosines are multiplied by, exp(t).
        wrong: texts that belong to no picture of the batch, which every picture has to tell from its own: hard
            negatives, as in NegCLIP (Yuksekgonul et al., arXiv 2210.01936).
    """
    logits = scale * images @ texts.T  # read along its rows and along its columns: the texts' side costs no second one
    right = torch.arange(len(logits), device=logits.device)
    rows = logits if wrong is None else torch.cat([logits, scale * images @ wrong.T], dim=1)
    return (F.cross_entropy(rows, right) + F.cross_entropy(logits.T, right)) / 2


def bounded_loss(
    images: Float[Tensor, "images width"],
    texts: Float[Tensor, "texts width"],
    scale: Float[Tensor, ""],
    chunk: int = 512,
) -> Float[Tensor, ""]:
    """`contrastive_loss` of a batch whose logits are never all in memory, and which may lie on several processes.

    Logits are made a few rows at a time and thrown away; what is kept is one sum for each row and each column. The
    backward pass makes them again. Where torch.distributed runs, each process holds its own rows of the batch, as many
    as any other, and makes only the logits of its own pictures (section 2.5 shards them likewise).

    Args:
        images, texts, scale: as for `contrastive_loss`; this process's rows.
        chunk: rows of logits at a time.

    Returns:
        This process's share: the mean over processes is the loss of the whole batch. Gradients are those of the sum
        over processes, of which averaging gradients over processes (as DistributedDataParallel does) makes the loss's.

    Raises:
        InputError: chunk below one, or not as many images as texts.
    """
    if chunk < 1 or images.shape != texts.shape:
        raise InputError(
            "expected a chunk of at least 1 and as many images as texts, of one width, got "
            f"chunk={chunk}, images {tuple(images.shape)} and texts {tuple(texts.shape)}"
        )
    return _Bounded.apply(images, texts, scale, chunk)


def _processes() -> tuple[int, int]:
    """This process's number, and how many there are."""
    there = distributed.is_available() and distributed.is_initialized()
    return (distributed.get_rank(), distributed.get_world_size()) if there else (0, 1)


def _gathered(own: Tensor) -> Tensor:
    """The rows of all processes, in their order."""
    if _processes()[1] == 1:
        return own
    parts = [torch.empty_like(own) for _ in range(_processes()[1])]
    distributed.all_gather(parts, own.contiguous())
    return torch.cat(parts)


class _Bounded(torch.autograd.Function):
    """With L the logits: loss = mean over i of (log sum_j exp L_ij + log sum_j exp L_ji) / 2 - L_ii, and

    dloss / dL_ij = (softmax of row i at j + softmax of column j at i) / 2 - [i = j], over the batch.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, texts: Tensor, scale: Tensor, chunk: int) -> Tensor:
        every = _gathered(texts)
        own = slice(_processes()[0] * len(images), (_processes()[0] + 1) * len(images))
        rows = images.new_empty(len(images))
        columns = images.new_full((len(every),), -torch.inf)
        for at in range(0, len(images), chunk):
            logits = scale * images[at : at + chunk] @ every.T  # (chunk, batch)
            rows[at : at + chunk] = logits.logsumexp(1)
            columns = torch.logaddexp(columns, logits.logsumexp(0))
        columns = _gathered(columns[None]).logsumexp(0)  # each process has summed over its own pictures
        ctx.save_for_backward(images, every, scale, rows, columns)
        ctx.chunk, ctx.own = chunk, own
        return ((rows + columns[own]) / 2 - scale * (images * texts).sum(1)).mean()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        images, every, scale, rows, columns = ctx.saved_tensors
        for_images, for_every = torch.empty_like(images), torch.zeros_like(every)
        for_scale = torch.zeros_like(scale)
        for at in range(0, len(images), ctx.chunk):
            some = images[at : at + ctx.chunk]
            logits = scale * some @ every.T
            slope = (logits - rows[at : at + ctx.chunk, None]).exp_()
            slope.add_(logits.sub_(columns).exp_()).div_(2)
            slope.diagonal(ctx.own.start + at).sub_(1)
            slope.mul_(gradients[0] / len(images))
            pulled = slope @ every
            for_images[at : at + ctx.chunk] = scale * pulled
            for_every += slope.T @ (scale * some)
            for_scale += (pulled * some).sum()  # as the logits are scale times some times every
        if _processes()[1] > 1:  # what every process's pictures ask of these texts
            distributed.all_reduce(for_every)
        return for_images, for_every[ctx.own], for_scale, None
