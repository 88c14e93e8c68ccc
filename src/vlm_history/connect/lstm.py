"""The language expert: long short-term memory (Hochreiter and Schmidhuber, 1997; Gers et al., 2000).

A plain recurrent network rewrites its whole state at every word, and forgets. An LSTM carries a cell c beside what it
shows, h, and changes it through gates: numbers from 0 to 1, learned, that let in, keep and show.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vlm_history.connect.decoding import State as Carried
from vlm_history.connect.decoding import sample
from vlm_history.errors import InputError
from vlm_history.text import SPECIALS, WordTokenizer

State = tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]
"""What the cell shows, h, and what it keeps, c."""


class RNN(nn.Module):
    """What came before: h_t = tanh(W x_t + U h_{t-1} + b), the whole state rewritten at every step (Elman, 1990).

    Args:
        inputs: width of the input.
        hidden: width of the state.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        reach = 1 / math.sqrt(hidden)
        self.input_weight = nn.Parameter(torch.empty(hidden, inputs).uniform_(-reach, reach))
        self.hidden_weight = nn.Parameter(torch.empty(hidden, hidden).uniform_(-reach, reach))
        self.input_bias = nn.Parameter(torch.empty(hidden).uniform_(-reach, reach))
        self.hidden_bias = nn.Parameter(torch.empty(hidden).uniform_(-reach, reach))

    def forward(self, xs: Float[Tensor, "batch steps inputs"]) -> Float[Tensor, "batch steps hidden"]:
        """The state after each input."""
        fed = xs @ self.input_weight.T + self.input_bias + self.hidden_bias
        h = fed.new_zeros(fed.shape[0], fed.shape[2])
        states = []
        for x in fed.unbind(1):
            h = torch.tanh(x + h @ self.hidden_weight.T)
            states.append(h)
        return torch.stack(states, dim=1)


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

    def gates(
        self, x: Float[Tensor, "batch inputs"], h: Float[Tensor, "batch hidden"]
    ) -> tuple[Float[Tensor, "batch hidden"], ...]:
        """How far each gate is open, i, f and o, and what is offered to the cell, g: in the order i, f, g, o."""
        before = x @ self.input_weight.T + self.input_bias + h @ self.hidden_weight.T + self.hidden_bias
        let_in, keep, new, show = before.chunk(4, dim=1)
        return torch.sigmoid(let_in), torch.sigmoid(keep), torch.tanh(new), torch.sigmoid(show)

    def forward(self, x: Float[Tensor, "batch inputs"], state: State) -> State:
        """The state after one more input."""
        h, c = state
        let_in, keep, new, show = self.gates(x, h)
        c = keep * c + let_in * new
        return show * torch.tanh(c), c


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


@dataclass(frozen=True)
class LanguageModelConfig:
    """Sizes of a recurrent language model."""

    vocabulary: int
    width: int
    dropout: float

    @classmethod
    def world(cls, vocabulary: int) -> LanguageModelConfig:
        """The size that the world's sentences are learned at."""
        return cls(vocabulary, width=192, dropout=0.1)


class LanguageModel(nn.Module):
    """The language expert: p(S) = prod_t p(S_t | S_0 ... S_{t-1}), with an LSTM that remembers what was said.

    One model writes both languages: its start word says in which (Mikolov et al., 2010, with an LSTM in the place of
    the plain recurrent network, as Sundermeyer et al., 2012).
    """

    def __init__(self, config: LanguageModelConfig, tokenizer: WordTokenizer | None = None) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer or WordTokenizer(SPECIALS)
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.lstm = LSTM(config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.words = nn.Linear(config.width, config.vocabulary)

    def forward(self, tokens: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens vocabulary"]:
        """Logits of the word after each token."""
        told: Tensor = self.dropout(self.lstm(self.dropout(self.embedding(tokens))))
        return self.words(told)

    def _encoded(self, sentences: Sequence[str], language: str) -> Int[Tensor, "batch tokens"]:
        if isinstance(sentences, str) or not sentences:
            raise InputError(f"expected a list of sentences, got {sentences!r}; put one sentence in a list")
        ids = [torch.tensor(self.tokenizer.encode(sentence, language)) for sentence in sentences]
        padded = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=self.tokenizer.pad)
        return padded.to(self.embedding.weight.device)

    @torch.no_grad()
    def log_probability(self, sentences: Sequence[str], *, language: str = "ko") -> list[list[float]]:
        """log p of each word of each sentence, its end included, in nats.

        Args:
            sentences: in one language.
            language: "ko" or "en".

        Raises:
            InputError: an unknown language, or no list of sentences.
        """
        tokens = self._encoded(sentences, language)
        wanted = tokens[:, 1:]
        log_p = self(tokens[:, :-1]).log_softmax(-1).gather(2, wanted[..., None])[..., 0]
        return [row[said].tolist() for row, said in zip(log_p, wanted != self.tokenizer.pad, strict=True)]

    def perplexity(self, sentences: Sequence[str], *, language: str = "ko") -> float:
        """exp of the mean surprise a word: among how many equally likely words it is torn, on average.

        Args:
            sentences: in one language.
            language: "ko" or "en".
        """
        every = [log_p for sentence in self.log_probability(sentences, language=language) for log_p in sentence]
        return math.exp(-sum(every) / len(every))

    def _next(self, tokens: Int[Tensor, " batch"], state: Carried) -> tuple[Float[Tensor, "batch vocabulary"], Carried]:
        h, c = state
        state = self.lstm.cell(self.embedding(tokens), (h, c))
        return self.words(state[0]).log_softmax(-1), state

    @torch.no_grad()
    def sample(
        self,
        beginning: str = "",
        *,
        language: str = "ko",
        n: int = 1,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        max_length: int = 24,
    ) -> list[str]:
        """Write sentences.

        Args:
            beginning: words that each sentence begins with.
            language: "ko" or "en".
            n: how many.
            temperature: above zero; below 1 it plays safe, above 1 it dares.
            generator: the source of chance; one seeded with 0 if None.
            max_length: most words written after the beginning.

        Raises:
            InputError: an unknown language, a temperature that is not above zero, or n below one.
        """
        if n < 1:
            raise InputError(f"expected n of at least 1, got {n}")
        begun = self.tokenizer.encode(beginning, language)[:-1]
        state: Carried = self.lstm.cell.start(self.embedding.weight.new_zeros(n, self.config.width))
        rows = torch.tensor(begun, device=self.embedding.weight.device).expand(n, -1)
        for word in rows[:, :-1].unbind(1):
            _, state = self._next(word, state)
        drawn = sample(
            self._next, state, rows[:, -1], temperature=temperature, max_length=max_length, generator=generator
        )  # fmt: skip
        return [self.tokenizer.decode([*begun, *ids]) for ids in drawn.tolist()]

    @torch.no_grad()
    def gates(self, sentence: str, *, language: str = "ko") -> tuple[list[str], Float[Tensor, "gates words hidden"]]:
        """How far the gates i, f and o open at each word of a sentence.

        Args:
            sentence: one sentence.
            language: "ko" or "en".

        Returns:
            The words that are read, and three tables of numbers from 0 to 1.
        """
        tokens = self._encoded([sentence], language)[0, :-1]
        h, c = self.lstm.cell.start(self.embedding.weight[:1])
        opened = []
        for x in self.embedding(tokens)[:, None].unbind(0):
            let_in, keep, _, show = self.lstm.cell.gates(x, h)
            opened.append(torch.cat([let_in, keep, show]))
            h, c = self.lstm.cell(x, (h, c))
        return [self.tokenizer.vocabulary[int(i)] for i in tokens], torch.stack(opened, dim=1)
