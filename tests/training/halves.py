"""What bfloat16 may change of a lesson, and what it may not."""

from typing import Any

import torch

from vlm_history.training.recipe import Batch


def check_half(module: Any, batch: Batch) -> None:
    """In bfloat16 loss and gradients are nearly what they are in float32, and stay float32 themselves."""
    losses, gradients = [], []
    for half in (False, True):
        module.train().in_half = half
        module.zero_grad()
        torch.manual_seed(1)
        loss, weight = module(**batch)
        (loss / weight).backward()
        losses.append(loss.detach() / weight)
        gradients.append(torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None]))
    assert losses[0] != losses[1] and losses[1].dtype == gradients[1].dtype == torch.float32
    torch.testing.assert_close(losses[1], losses[0], rtol=0.01, atol=0.01)
    assert torch.cosine_similarity(*gradients, dim=0) > 0.98
