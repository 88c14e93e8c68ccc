"""Choosing words: beam search and sampling, for any decoder that tells the next word from a state."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vlm_history.errors import InputError

State = tuple[Tensor, ...]
"""What a decoder carries from word to word; the first axis of each tensor counts sentences."""
Next = Callable[[Int[Tensor, " rows"], State], tuple[Float[Tensor, "rows vocabulary"], State]]
"""The last word of each sentence and the state -> log p of the next word, and the new state."""


def beam_search(
    next_word: Next, state: State, *, start: int, end: int, beam: int, max_length: int
) -> Int[Tensor, "pictures words"]:
    """The likeliest sentences that a beam search finds, all pictures in one batch.

    The search keeps the `beam` most likely beginnings of each picture's sentence (Show and Tell, section 3.1,
    Inference; the paper used 20). Sentences compete by the sum of log p: there is no normalisation by length. A
    sentence without an end after `max_length` words is cut there. With beam 1 this is the greedy choice.

    Args:
        next_word: the decoder.
        state: its state for each picture, before the first word.
        start, end: ids of the words that begin and end a sentence.
        beam: how many beginnings are kept.
        max_length: most words of a sentence.

    Raises:
        InputError: a beam or a length below one.
    """
    if beam < 1 or max_length < 1:
        raise InputError(f"expected a beam and a max_length of at least 1, got {beam} and {max_length}")
    pictures, device = len(state[0]), state[0].device
    first = torch.arange(pictures, device=device)[:, None] * beam  # row of each picture's first beginning
    state = tuple(part.repeat_interleave(beam, 0) for part in state)
    told = torch.full((pictures * beam, 1), start, device=device)
    scores = torch.full((pictures, beam), -torch.inf, device=device)
    scores[:, 0] = 0.0  # at first all beginnings are the same one
    ended = torch.zeros(pictures, beam, dtype=torch.bool, device=device)
    for _ in range(max_length):
        log_p, state = next_word(told[:, -1], state)
        log_p = log_p.view(pictures, beam, -1).masked_fill(ended[..., None], -torch.inf)
        log_p[..., end] = torch.where(ended, 0.0, log_p[..., end])  # an ended sentence stays as it is
        scores, choice = (scores[..., None] + log_p).flatten(1).topk(beam, dim=1)
        parent, word = choice // log_p.shape[-1], choice % log_p.shape[-1]
        rows = (first + parent).flatten()
        state = tuple(part[rows] for part in state)
        told = torch.cat([told[rows], word.view(-1, 1)], dim=1)
        ended = ended.gather(1, parent) | (word == end)
        if ended.all():
            break
    return told.view(pictures, beam, -1)[:, 0, 1:]  # topk sorts: the likeliest comes first


def sample(
    next_word: Next, state: State, words: Int[Tensor, " rows"], *, temperature: float, max_length: int,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "rows words"]:  # fmt: skip
    """Draw each word from the decoder's p (Show and Tell, section 3.1, Sampling).

    Args:
        next_word: the decoder.
        state: its state for each sentence.
        words: the last word of each sentence so far.
        temperature: above zero; log p is divided by it, so that below 1 likely words become likelier.
        max_length: how many words are drawn; what follows the end of a sentence means nothing.
        generator: the source of chance; one seeded with 0 if None.

    Raises:
        InputError: a temperature that is not above zero.
    """
    if not temperature > 0:
        raise InputError(f"expected a temperature above 0, got {temperature}; a beam of 1 takes the likeliest words")
    generator = generator or torch.Generator().manual_seed(0)
    drawn = []
    for _ in range(max_length):
        log_p, state = next_word(words, state)
        chances = (log_p / temperature).softmax(-1).cpu()
        words = torch.multinomial(chances, 1, generator=generator)[:, 0].to(words.device)
        drawn.append(words)
    return torch.stack(drawn, 1)
