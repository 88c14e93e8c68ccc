"""GPT-1: a transformer that has read a lot of text, guessing the next word, can then be taught much with few examples.

Radford, Narasimhan, Salimans and Sutskever, June 2018 (Improving Language Understanding by Generative Pre-Training).
Sections and equations are named where the code follows them. It learned from text alone. `GPT2` is the form that came
after (Radford et al., 2019), and, with more of everything, GPT-3: normalisation goes before each part. What it is
taught with few examples stands in `finetuning`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.errors import InputError
from vlm_history.layers import Block, Cache, PostNormBlock, PreNormBlock, Step, gelu_tanh, initialise
from vlm_history.text import BytePairTokenizer, Tokenizer

END = "<|endoftext|>"
"""Stands between texts (GPT-2): what comes after it has nothing to do with what came before."""
TOGETHER = 16
"""Texts that are read at a time."""


@dataclass(frozen=True)
class GPTConfig:
    """Sizes of a GPT: `length` is the most tokens that it can see, for each of which it has learned a position."""

    vocabulary: int
    length: int
    width: int
    depth: int
    heads: int
    eps: float = 1e-5
    dropout: float = 0.1

    @classmethod
    def gpt1(cls) -> GPTConfig:
        """Section 4.1: 12 layers of 768 with 12 heads, 512 positions; 40,000 merges and the letters they start from."""
        return cls(vocabulary=40_478, length=512, width=768, depth=12, heads=12)

    @classmethod
    def world(cls, vocabulary: int) -> GPTConfig:
        """The size that the world's text is learned at: new text all the time, so there is nothing to drop out."""
        return cls(vocabulary, length=128, width=192, depth=6, heads=6, dropout=0.0)

    @classmethod
    def gpt2_small(cls) -> GPTConfig:
        """117M in the paper's count, 124M in ours."""
        return cls(vocabulary=50_257, length=1024, width=768, depth=12, heads=12)

    @classmethod
    def gpt2_medium(cls) -> GPTConfig:
        """345M in the paper's count."""
        return cls(vocabulary=50_257, length=1024, width=1024, depth=24, heads=16)

    @classmethod
    def gpt2_large(cls) -> GPTConfig:
        """762M in the paper's count."""
        return cls(vocabulary=50_257, length=1024, width=1280, depth=36, heads=20)

    @classmethod
    def gpt2_xl(cls) -> GPTConfig:
        """1,542M in the paper's count: the one called GPT-2."""
        return cls(vocabulary=50_257, length=1024, width=1600, depth=48, heads=25)


class GPT(nn.Module):
    """What GPT-1 and GPT-2 share; they differ in their blocks, and in what comes after the last.

    Args:
        config: its sizes.
        tokenizer: how it reads and writes; without one it takes and gives token ids.

    Raises:
        InputError: a tokenizer of more tokens than the network knows.
    """

    block: ClassVar[type[Block]]

    def __init__(self, config: GPTConfig, tokenizer: BytePairTokenizer | None = None) -> None:
        super().__init__()
        self.config = config
        if tokenizer is not None and len(tokenizer) > config.vocabulary:
            raise InputError(
                f"expected a tokenizer of at most {config.vocabulary} tokens, as the configuration says, got one of "
                f"{len(tokenizer)}; make the configuration for this tokenizer"
            )
        self.tokenizer: Tokenizer | None = tokenizer
        self.tokens = nn.Embedding(config.vocabulary, config.width)  # W_e, which also chooses words
        self.positions = nn.Embedding(config.length, config.width)  # W_p
        self.blocks = nn.ModuleList(
            self.block(config.width, config.heads, True, gelu_tanh, config.eps, config.dropout)
            for _ in range(config.depth)
        )
        self.norm: nn.Module = nn.Identity()
        self.dropout = nn.Dropout(config.dropout)
        # 0.02 as published; a narrower network keeps the size of its signals, without which small ones hardly begin
        spread = 0.02 * max(1.0, math.sqrt(768 / config.width))
        initialise(self, config.depth if self.block is PreNormBlock else None, spread)

    def hidden(
        self,
        tokens: Int[Tensor, "batch tokens"],
        there: Bool[Tensor, "batch keys"] | None = None,
        caches: list[Cache] | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        """h_0 = U W_e + W_p, then h_l = block(h_{l-1}) (equation 2): what is known after each token.

        Args:
            tokens: ids; with caches, only the new ones.
            there: False at padding, for all tokens so far; a token's position counts those there are before it.
            caches: one for each block; each call adds to them.

        Raises:
            InputError: more tokens than there are positions.
        """
        seen = caches[0].length if caches else 0
        end = seen + tokens.shape[1]
        if end > self.config.length:
            raise InputError(f"expected at most {self.config.length} tokens, got {end}; shorten them")
        if there is None:
            places = self.positions.weight[seen:end]
        else:
            places = self.positions((there.cumsum(1) - 1).clamp_min(0)[:, seen:])
        x = self.dropout(self.tokens(tokens) + places)
        for number, block in enumerate(self.blocks):
            x = block(x, there, caches[number] if caches else None)
        return self.norm(x)

    def step(
        self, tokens: Int[Tensor, " batch"], there: Bool[Tensor, "batch keys"] | None, steps: list[Step]
    ) -> Float[Tensor, "batch width"]:
        """`hidden` of one more token of each text, in eval mode: faster, and the same."""
        if there is None:
            places = self.positions.weight[steps[0].cache.length]
        else:
            places = self.positions.weight[there.sum(1) - 1]
        x = F.embedding(tokens, self.tokens.weight) + places
        for step in steps:
            x = step(x, there)
        return self.norm(x)

    def forward(
        self, tokens: Int[Tensor, "batch tokens"], there: Bool[Tensor, "batch tokens"] | None = None
    ) -> Float[Tensor, "batch tokens vocabulary"]:
        """Logits of the token after each: P(u) = softmax(h_n W_e^T), equation 2."""
        return self.hidden(tokens, there) @ self.tokens.weight.T

    def caches(self, batch: int, length: int) -> list[Cache]:
        """Empty caches for `length` tokens."""
        width = self.config.width // self.config.heads
        return [Cache(batch, self.config.heads, length, width, self.tokens.weight) for _ in range(self.config.depth)]

    @torch.inference_mode()
    def generate(
        self,
        tokens: Int[Tensor, "batch tokens"],
        *,
        new: int,
        there: Bool[Tensor, "batch tokens"] | None = None,
        end: int | None = None,
        temperature: float = 0.0,
        top: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Int[Tensor, "batch tokens_and_new"]:
        """Write on.

        Args:
            tokens: what is there to begin with; padded at the left if lengths differ.
            new: most tokens to write.
            there: False at padding.
            end: a sentence that has written this token writes nothing but it any more.
            temperature: 0 takes the likeliest token; above 0 draws from p, log p divided by it.
            top: draw among so many likeliest tokens only.
            generator: the source of chance.

        Raises:
            InputError: no token to begin with, padding at the right, a negative temperature, or too many tokens.
        """
        batch, begun = tokens.shape
        if begun == 0 or new < 1 or temperature < 0 or (top is not None and top < 1):
            raise InputError(
                "expected a token to begin with, new and top of at least 1 and a temperature of at least 0, got "
                f"{begun} tokens, new={new}, top={top}, temperature={temperature}"
            )
        if begun + new > self.config.length:
            raise InputError(f"expected at most {self.config.length} tokens, got {begun} + {new}; shorten them")
        if there is not None and not bool(there[:, -1].all()):
            raise InputError("expected padding at the left, where writing goes on at the right; got it at the right")
        written = torch.cat([tokens, tokens.new_zeros(batch, new)], dim=1)
        if there is not None:
            there = torch.cat([there, there.new_ones(batch, new)], dim=1)
        caches = self.caches(batch, begun + new)
        steps = [Step(block, cache) for block, cache in zip(self.blocks, caches, strict=True)]  # type: ignore[arg-type]  # each is one
        ended = torch.zeros(batch, dtype=torch.bool, device=tokens.device)
        head = self.tokens.weight.T
        last = self.hidden(tokens, None if there is None else there[:, :begun], caches)[:, -1]
        for at in range(begun, begun + new):
            chosen = _choose(last @ head, temperature, top, generator)
            if end is not None:
                chosen = torch.where(ended, end, chosen)
                ended |= chosen == end
            written.select(1, at).copy_(chosen)
            if end is not None and bool(ended.all()):
                return written[:, : at + 1]
            if at + 1 < begun + new:
                last = self.step(chosen, None if there is None else there[:, : at + 1], steps)
        return written

    def words(self) -> Tokenizer:
        """Its tokenizer.

        Raises:
            InputError: it has none.
        """
        if self.tokenizer is None:
            raise InputError("expected token ids, since this GPT has no tokenizer, got text; give it one when made")
        return self.tokenizer

    def _begin(self, text: str) -> list[int]:
        """The tokens of a text, after the end of another if there is a token for that."""
        words = self.words()
        ids = [*([words.id(END)] if END in words.specials else []), *words.encode(text)]
        if not ids:
            raise InputError("expected a text to begin with, since this tokenizer has no token that begins one, got ''")
        return ids

    def write(
        self,
        beginning: str = "",
        *,
        new: int = 64,
        temperature: float = 0.0,
        top: int | None = None,
        generator: torch.Generator | None = None,
    ) -> str:
        """Write on, up to the end of the text.

        Args:
            beginning: what the text begins with.
            new, temperature, top, generator: see `generate`.

        Returns:
            The whole text, its beginning included.

        Raises:
            InputError: no tokenizer, nothing to begin with where there is no token for that, or too much to write.
        """
        words = self.words()
        begun = torch.tensor([self._begin(beginning)], device=self.tokens.weight.device)
        end = words.id(END) if END in words.specials else None
        written = self.generate(begun, new=new, end=end, temperature=temperature, top=top, generator=generator)
        return words.decode(written[0].tolist())

    @torch.inference_mode()
    def log_probability(self, texts: Sequence[str], given: Sequence[str] | None = None) -> list[list[float]]:
        """log p of each token of each text, in nats.

        Args:
            texts: some texts.
            given: for each what stands before it, which is read and not scored; None: nothing does.

        Raises:
            InputError: no tokenizer, no list of texts, or a text that is longer than the network can see.
        """
        if isinstance(texts, str) or (given is not None and len(given) != len(texts)):
            raise InputError(f"expected a list of texts, and as many that are given, got {texts!r} and {given!r}")
        before = [self._begin(text) for text in given or [""] * len(texts)]
        after = [self.words().encode(text) for text in texts]
        told: list[list[float]] = []
        for first in range(0, len(texts), TOGETHER):
            pairs = list(zip(before, after, strict=True))[first : first + TOGETHER]
            rows = [torch.tensor([*one, *other], device=self.tokens.weight.device) for one, other in pairs]
            tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True)  # padding after a token changes nothing at it
            log_p = self(tokens[:, :-1]).log_softmax(-1).gather(2, tokens[:, 1:, None])[..., 0]
            told += [
                row[len(one) - 1 : len(one) + len(other) - 1].tolist()
                for row, (one, other) in zip(log_p, pairs, strict=True)
            ]
        return told

    def perplexity(self, texts: Sequence[str]) -> float:
        """exp of the mean surprise a token: among how many equally likely tokens it is torn, on average."""
        every = [log_p for text in self.log_probability(texts) for log_p in text]
        return math.exp(-sum(every) / len(every))


def _choose(logits: Tensor, temperature: float, top: int | None, generator: torch.Generator | None) -> Tensor:
    """The next token of each sentence."""
    if temperature == 0:
        return logits.argmax(1)
    if top is not None and top < logits.shape[1]:
        logits = logits.masked_fill(logits < logits.topk(top).values[:, -1:], -torch.inf)
    return torch.multinomial((logits / temperature).softmax(1), 1, generator=generator)[:, 0]


class GPT1(GPT):
    """GPT-1: 116,534,784 parameters as published."""

    block = PostNormBlock


class GPT2(GPT):
    """GPT-2: normalisation before each part, and once more after the last block."""

    block = PreNormBlock

    def __init__(self, config: GPTConfig, tokenizer: BytePairTokenizer | None = None) -> None:
        super().__init__(config, tokenizer)
        self.norm = nn.LayerNorm(config.width, eps=config.eps)
