"""Half precision, where a recipe asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def bfloat16(device: torch.device, on: bool = True) -> Iterator[None]:
    """Within it networks compute in bfloat16, which CPUs and GPUs that have it do up to twice as fast.

    Weights stay in float32 and so do their gradients (mixed precision, arXiv 1710.03740; numbers of 16 bits with the
    range of float32 need no scaled loss, arXiv 1905.12322). What a loss is made of had better be float32 as well:
    that is for who enters.

    Args:
        device: where they compute.
        on: False changes nothing.
    """
    # attention as two products: on CPUs the way back through the fused one gains nothing from bfloat16
    products = sdpa_kernel(SDPBackend.MATH) if on and device.type == "cpu" else nullcontext()
    with torch.autocast(device.type, torch.bfloat16, enabled=on), products:
        yield
