"""The linear probe: what a layer of logistic regression can read off features that stay as they are."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.errors import InputError


def linear_probe(
    features: Float[Tensor, "batch width"], labels: Int[Tensor, " batch"], classes: int, penalty: float = 1.0,
    steps: int = 1000,
) -> nn.Linear:  # fmt: skip
    """Logistic regression on features that stay as they are, by L-BFGS (section 3.2 and appendix A.3).

    Args:
        features: of the training pictures.
        labels: their classes, from 0.
        classes: how many there are.
        penalty: half of it times the squared norm of the weights is added to the summed loss, as scikit-learn's 1 / C.
        steps: of L-BFGS, at most.

    Returns:
        features -> logits.

    Raises:
        InputError: labels that are no class, or as many labels as features are not there.
    """
    if len(labels) != len(features) or not len(labels) or int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise InputError(
            f"expected a label from 0 to {classes - 1} for each of {len(features)} features, got {len(labels)} labels"
        )
    head = nn.Linear(features.shape[1], classes, device=features.device)
    for parameter in head.parameters():
        nn.init.zeros_(parameter)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=steps, line_search_fn="strong_wolfe")
    features = features.detach().clone()  # features made under inference mode take no part in a gradient

    def loss() -> Any:
        optimizer.zero_grad()
        total = F.cross_entropy(head(features), labels) + penalty / 2 / len(labels) * head.weight.square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        optimizer.step(loss)
    return head.requires_grad_(False)
