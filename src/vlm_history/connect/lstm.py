"""The language expert: long short-term memory."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

State = tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]


class LSTM(nn.Module):
    """One layer of LSTM cells, from the equations; parameters are named and laid out as torch's.

    Args:
        inputs: width of the input.
        hidden: width of the state.
        fused: use torch's kernel, which computes the same faster.
    """

    def __init__(self, inputs: int, hidden: int, fused: bool = True) -> None:
        super().__init__()
        self.kernel = nn.LSTM(inputs, hidden, batch_first=True)
        self.hidden, self.fused = hidden, fused

    def step(self, x: Float[Tensor, "batch inputs"], state: State) -> State:
        """One step: gates i, f, o in (0, 1) decide what enters, what stays and what is shown."""
        h, c = state
        k = self.kernel
        gates = x @ k.weight_ih_l0.T + k.bias_ih_l0 + h @ k.weight_hh_l0.T + k.bias_hh_l0
        i, f, g, o = gates.chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c

    def forward(self, xs: Float[Tensor, "batch steps inputs"]) -> Float[Tensor, "batch steps hidden"]:
        if self.fused:
            out: Tensor = self.kernel(xs)[0]
            return out
        state = (xs.new_zeros(len(xs), self.hidden), xs.new_zeros(len(xs), self.hidden))
        shown = []
        for x in xs.unbind(1):
            state = self.step(x, state)
            shown.append(state[0])
        return torch.stack(shown, 1)
