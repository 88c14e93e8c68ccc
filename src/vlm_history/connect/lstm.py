"""The language expert: long short-term memory (Hochreiter and Schmidhuber, 1997; Gers et al., 2000).

A plain recurrent network rewrites its whole state at every word, and forgets. An LSTM carries a cell c beside what it
shows, h, and changes it through gates: numbers from 0 to 1, learned, that let in, keep and show.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

State = tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]
"""What the cell shows, h, and what it keeps, c."""


class LSTMCell(nn.Module):
    """One step, from its equations (Show and Tell, arXiv 1411.4555, equations 4 to 9).

    The four matrices of each kind lie above one another in the order i, f, g, o, and there are two biases where one
    would do: so are torch's, and weights can be exchanged.

    Args:
        inputs: width of the input.
        hidden: width of the state.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        reach = 1 / math.sqrt(hidden)
        self.input_weight = nn.Parameter(torch.empty(4 * hidden, inputs).uniform_(-reach, reach))
        self.hidden_weight = nn.Parameter(torch.empty(4 * hidden, hidden).uniform_(-reach, reach))
        self.input_bias = nn.Parameter(torch.empty(4 * hidden).uniform_(-reach, reach))
        self.hidden_bias = nn.Parameter(torch.empty(4 * hidden).uniform_(-reach, reach))
        with torch.no_grad():  # a cell that begins by keeping learns what is far apart (Jozefowicz et al., 2015)
            self.input_bias[hidden : 2 * hidden] += 1.0

    def start(self, like: Float[Tensor, "batch inputs"]) -> State:
        """A state of zeros for a batch."""
        return like.new_zeros(len(like), self.hidden), like.new_zeros(len(like), self.hidden)

    def forward(self, x: Float[Tensor, "batch inputs"], state: State) -> State:
        """The state after one more input."""
        h, c = state
        gates = x @ self.input_weight.T + self.input_bias + h @ self.hidden_weight.T + self.hidden_bias
        let_in, keep, new, show = gates.chunk(4, dim=1)  # i, f, g, o
        c = torch.sigmoid(keep) * c + torch.sigmoid(let_in) * torch.tanh(new)
        return torch.sigmoid(show) * torch.tanh(c), c


class LSTM(nn.Module):
    """A cell applied to a sequence.

    Args:
        inputs: width of the input.
        hidden: width of the state.
        fused: use torch's kernel, which computes the same with the same parameters, faster; False loops over the cell.
    """

    def __init__(self, inputs: int, hidden: int, fused: bool = True) -> None:
        super().__init__()
        self.cell = LSTMCell(inputs, hidden)
        self.fused = fused

    def forward(self, xs: Float[Tensor, "batch steps inputs"]) -> Float[Tensor, "batch steps hidden"]:
        """What the cell shows after each input."""
        state = self.cell.start(xs[:, 0])
        if self.fused:
            weights = tuple(self.cell.parameters())  # in torch's own order
            layers, dropout, two_ways, batch_first = 1, 0.0, False, True
            start = (state[0][None], state[1][None])
            return torch.lstm(xs, start, weights, True, layers, dropout, self.training, two_ways, batch_first)[0]
        shown = []
        for x in xs.unbind(1):
            state = self.cell(x, state)
            shown.append(state[0])
        return torch.stack(shown, dim=1)
