"""Fine-tuning GPT-1: one more matrix, and each task laid out as a row of tokens, so that nothing else has to change.

Radford, Narasimhan, Salimans and Sutskever, June 2018 (Improving Language Understanding by Generative Pre-Training),
sections 3.2 and 3.3, and figure 1 at the right: the four input transformations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.errors import InputError
from vlm_history.pretrain.gpt1 import GPT

Rows = tuple[tuple[str, ...], ...]
"""What the network reads for one example: rows, each of one text or of two with a delimiter between them."""


def classification(text: str) -> Rows:
    """Start, text, extract."""
    return ((text,),)


def entailment(premise: str, hypothesis: str) -> Rows:
    """Start, premise, delimiter, hypothesis, extract."""
    return ((premise, hypothesis),)


def similarity(one: str, other: str) -> Rows:
    """Neither of two texts comes first, so both orders are read; what is extracted from each is added."""
    return ((one, other), (other, one))


def multiple_choice(context: str, answers: Sequence[str]) -> Rows:
    """A row for each answer, after the context; a softmax chooses among them."""
    return tuple((context, answer) for answer in answers)


class FineTuned(nn.Module):
    """A pre-trained GPT with W_y, which reads labels off the last token of the last block.

    Three tokens are new, start, delimiter and extract: their embeddings begin at random (section 3.3), of usual size.

    Args:
        model: pre-trained; it is changed from now on.
        labels: how many there are to choose from; 1 to choose among the rows of an example (multiple choice).
        dropout: on what is extracted (section 4.1).

    Raises:
        InputError: no label.
    """

    def __init__(self, model: GPT, labels: int, dropout: float = 0.1) -> None:
        super().__init__()
        if labels < 1:
            raise InputError(f"expected at least one label, got {labels}; 1 chooses among the rows of an example")
        words, width = model.config.vocabulary, model.config.width
        known = model.tokens.weight.detach()
        new = torch.empty_like(known[:3]).normal_(0, float(known.std()))
        model.tokens = nn.Embedding.from_pretrained(torch.cat([known, new]), freeze=False)
        model.config = replace(model.config, vocabulary=words + 3)
        self.start, self.delimiter, self.extract = range(words, words + 3)
        self.model, self.labels = model, labels
        self.dropout = nn.Dropout(dropout)
        self.choose = nn.Linear(width, labels)  # W_y
        nn.init.normal_(self.choose.weight, 0, 0.02)
        nn.init.zeros_(self.choose.bias)

    def encode(
        self, examples: Sequence[Rows]
    ) -> tuple[Int[Tensor, "batch rows_each tokens"], Bool[Tensor, "batch rows_each tokens"]]:
        """Examples of one task as tokens, padded at the right, and where there are any.

        Raises:
            InputError: no example, or examples of different numbers of rows.
        """
        counts = sorted({len(rows) for rows in examples})
        if len(counts) != 1:
            raise InputError(f"expected examples of one task, got some of {counts or 'no'} rows; pass those of one")
        words = self.model.words()
        encoded = []
        for rows in examples:
            for first, *second in rows:
                ids = [self.start, *words.encode(first)]
                for text in second:
                    ids += [self.delimiter, *words.encode(text)]
                encoded.append(torch.tensor([*ids, self.extract], device=self.choose.weight.device))
        padded = nn.utils.rnn.pad_sequence(encoded, batch_first=True, padding_value=-1)
        tokens = padded.unflatten(0, (len(examples), counts[0]))
        return tokens.clamp_min(0), tokens >= 0

    def logits(
        self, hidden: Float[Tensor, "rows tokens width"], there: Bool[Tensor, "batch rows_each tokens"]
    ) -> Float[Tensor, "batch labels"]:
        """h_l^m W_y (equation 3): what the last token of each row says of the labels."""
        ends = there.flatten(0, 1).sum(1) - 1
        last = hidden[torch.arange(len(hidden), device=hidden.device), ends]
        scores: Tensor = self.choose(self.dropout(last)).view(*there.shape[:2], self.labels)
        return scores.sum(1) if self.labels > 1 else scores[..., 0]

    def guessing(
        self, hidden: Float[Tensor, "rows tokens width"], tokens: Int[Tensor, "batch rows_each tokens"],
        there: Bool[Tensor, "batch rows_each tokens"],
    ) -> Float[Tensor, " batch"]:  # fmt: skip
        """How badly each example's own text is guessed: -L_1.

        As in its authors' code this is the mean over the tokens, where equation 1 has the sum.
        """
        said = there.flatten(0, 1)[:, 1:]
        logits = hidden[:, :-1][said] @ self.model.tokens.weight.T
        losses = F.cross_entropy(logits, tokens.flatten(0, 1)[:, 1:][said], reduction="none")
        summed = hidden.new_zeros(said.shape).masked_scatter(said, losses).sum(1)
        return (summed / said.sum(1)).view(there.shape[:2]).mean(1)

    def loss(
        self, tokens: Int[Tensor, "batch rows_each tokens"], there: Bool[Tensor, "batch rows_each tokens"],
        labels: Int[Tensor, " batch"], auxiliary: float = 0.5,
    ) -> Float[Tensor, " batch"]:  # fmt: skip
        """-L_3 of each example, with L_3 = L_2 + lambda L_1 (equation 5).

        Args:
            tokens, there: see `encode`.
            labels: the right ones.
            auxiliary: lambda (section 4.1 has 0.5): how much it counts that the text, too, is guessed.
        """
        hidden = self.model.hidden(tokens.flatten(0, 1))  # padding stands behind, where no token sees it
        loss = F.cross_entropy(self.logits(hidden, there), labels, reduction="none")
        return loss + auxiliary * self.guessing(hidden, tokens, there) if auxiliary else loss

    @torch.no_grad()
    def predict(self, examples: Sequence[Rows]) -> list[int]:
        """The likeliest label of each example; for multiple choice, the likeliest of its rows."""
        tokens, there = self.encode(examples)
        return self.logits(self.model.hidden(tokens.flatten(0, 1)), there).argmax(1).tolist()
