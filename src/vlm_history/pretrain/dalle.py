"""DALL-E: it reads a sentence and writes a picture, word after word, as GPT writes on.

Ramesh, Pavlov, Goh, Gray, Voss, Radford, Chen and Sutskever, 2021 (Zero-Shot Text-to-Image Generation, arXiv
2102.12092). Sections and equations are named where the code follows them. The words of its pictures are the codes of a
discrete VAE (`dvae`), and CLIP says which of its drawings fits best. Classifier-free guidance came after the paper (Ho
and Salimans, arXiv 2207.12598; for a transformer over codes, Gafni et al., arXiv 2203.13131); a guidance of 1 is DALL-E
as it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.errors import InputError
from vlm_history.layers import Cache, PreNormBlock, Step, initialise, quick_gelu
from vlm_history.pretrain.clip import CLIP
from vlm_history.pretrain.dvae import DVAE, DVAEConfig
from vlm_history.text import BytePairTokenizer

Picture = NDArray[np.uint8]
"""(height, width, 3) bytes."""
TEXT_LOSS = 1 / 8
"""The text's share of the loss; pictures are what it is for (section 2.2)."""
TOGETHER = 64
"""Drawings that are made at a time."""


@dataclass(frozen=True)
class DALLEConfig:
    """Sizes of a DALL-E.

    Attributes:
        vae: of the discrete VAE, whose codes it writes.
        vocabulary: tokens of text.
        length: tokens of a text, the padding included.
        width, depth, heads: of the transformer.
        kernel: rows and columns of the last layer's convolutional attention.
        guidance: how much a sentence counts, if nothing else is said.
    """

    vae: DVAEConfig
    vocabulary: int
    length: int
    width: int
    depth: int
    heads: int
    kernel: int = 11
    guidance: float = 1.0

    @classmethod
    def published(cls) -> DALLEConfig:
        """Section 2.2 and appendix B.1: 64 layers with 62 heads of 64. Its weights were never released."""
        return cls(DVAEConfig.published(), vocabulary=16_384, length=256, width=3_968, depth=64, heads=62)

    @classmethod
    def world(cls, vocabulary: int) -> DALLEConfig:
        """The size that the world is learned at, and the guidance that was best on validation sentences."""
        return cls(DVAEConfig.world(), vocabulary, length=20, width=192, depth=6, heads=3, kernel=5, guidance=2.0)


def pad(texts: Sequence[Sequence[int]], config: DALLEConfig) -> Int[Tensor, "batch length"]:
    """Token ids of texts, none longer than `length`, each with the padding of the places that it leaves.

    The last tokens of the table are paddings, an own one for each place (section 2.2).
    """
    padding = range(config.vocabulary, config.vocabulary + config.length)
    return torch.tensor([[*ids, *padding[len(ids) :]] for ids in texts])


def attention_pattern(kind: str, text: int, side: int, kernel: int) -> Bool[Tensor, "tokens tokens"]:
    """Which tokens (columns) each token (rows) sees: figure 11.

    All see the text before them, and themselves. Of the codes of a picture, in the order of reading, a code sees

    - "row": those up to the one above it,
    - "column": those of its own column,
    - "convolutional": those beside and above it within a square of `kernel`; what leaves it on one side comes in on
      the other, a row off, as it does with "row".

    Args:
        kind: one of these.
        text: tokens that come before the picture's.
        side: rows of codes, and columns.
        kernel: odd.
    """
    at = torch.arange(side * side)
    back = at[:, None] - at[None, :]  # how many codes ago
    if kind == "row":
        near = back <= side
    elif kind == "column":
        near = back % side == 0
    else:
        reach = kernel // 2
        near = torch.zeros_like(back, dtype=torch.bool)
        for rows in range(reach + 1):
            near |= (back - rows * side).abs() <= reach
    seen = torch.ones(text + side * side, text + side * side, dtype=torch.bool).tril()
    seen[text:, text:] &= near
    return seen


def layer_kind(layer: int, depth: int) -> str:
    """The pattern of a layer, counted from 1: row, column, row, row and again, and convolutional in the last one."""
    if layer == depth:
        return "convolutional"
    return "column" if (layer - 2) % 4 == 0 else "row"


class Transformer(nn.Module):
    """p(text, codes): one stream, first the text and then the codes of its picture, each token told by those before.

    12,292,812,416 parameters as published, where the paper says 12 billion. It does not say everything: here the
    matrices that choose a token are others than those that tell it, as its "unembeddings" (appendix D) suggest, and
    blocks are those of Child et al. (arXiv 1904.10509), which it names.
    """

    def __init__(self, config: DALLEConfig) -> None:
        super().__init__()
        self.config = config
        side, width = config.vae.side, config.width
        self.text = nn.Embedding(config.vocabulary + config.length, width)
        self.text_positions = nn.Embedding(config.length, width)
        self.start = nn.Embedding(1, width)  # of the picture
        self.codes = nn.Embedding(config.vae.codes, width)
        self.rows = nn.Embedding(side, width)
        self.columns = nn.Embedding(side, width)
        self.blocks = nn.ModuleList(
            # who sees whom the pattern says
            PreNormBlock(width, config.heads, False, quick_gelu)
            for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(width)
        self.text_head = nn.Linear(width, config.vocabulary, bias=False)
        self.code_head = nn.Linear(width, config.vae.codes, bias=False)
        for kind in ("row", "column", "convolutional"):
            pattern = attention_pattern(kind, config.length + 1, side, config.kernel)
            self.register_buffer(kind, pattern, persistent=False)
        initialise(self, config.depth, 0.02 * max(1.0, math.sqrt(768 / width)))

    def patterns(self) -> list[Bool[Tensor, "1 tokens tokens"]]:
        """What the tokens see in each layer."""
        depth = self.config.depth
        return [self.get_buffer(layer_kind(layer, depth))[None] for layer in range(1, depth + 1)]

    def begin(self, text: Int[Tensor, "batch length"]) -> Float[Tensor, "batch tokens width"]:
        """Texts and the start of the picture, as vectors (figure 10)."""
        told = self.text(text) + self.text_positions.weight
        return torch.cat([told, self.start.weight.expand(len(text), 1, -1)], dim=1)

    def go_on(self, codes: Int[Tensor, "batch codes"], first: int = 0) -> Float[Tensor, "batch codes width"]:
        """Codes as vectors: each with its row and its column. `first` is the place of the first of them."""
        side = self.config.vae.side
        places = torch.arange(first, first + codes.shape[1], device=codes.device)
        return self.codes(codes) + self.rows(places // side) + self.columns(places % side)

    def forward(
        self, text: Int[Tensor, "batch length"], codes: Int[Tensor, "batch codes"]
    ) -> tuple[Float[Tensor, "batch later vocabulary"], Float[Tensor, "batch codes vocabulary_of_codes"]]:
        """Logits of each token of the text but the first, and of each code.

        Args:
            text: ids, padded as `pad` does.
            codes: of the whole picture, row by row.
        """
        length = self.config.length
        x = torch.cat([self.begin(text), self.go_on(codes[:, :-1])], dim=1)
        tokens = x.shape[1]
        for block, pattern in zip(self.blocks, self.patterns(), strict=True):
            x = block(x, pattern[:, :tokens, :tokens])
        x = self.norm(x)
        return self.text_head(x[:, : length - 1]), self.code_head(x[:, length:])

    def loss(self, text: Int[Tensor, "batch length"], codes: Int[Tensor, "batch codes"]) -> Float[Tensor, ""]:
        """1/8 of the cross-entropy of the text's tokens and 7/8 of that of the codes, each a mean over its kind.

        What follows a text, padding, need not be guessed; texts may be empty.
        """
        of_text, of_codes = (logits.float() for logits in self(text, codes))
        wanted = text[:, 1:]
        said = wanted < self.config.vocabulary
        text_loss = F.cross_entropy(of_text[said], wanted[said], reduction="sum") / said.sum().clamp_min(1)
        code_loss = F.cross_entropy(of_codes.flatten(0, 1), codes.flatten())
        return TEXT_LOSS * text_loss + (1 - TEXT_LOSS) * code_loss

    @torch.inference_mode()
    def sample(
        self,
        text: Int[Tensor, "batch length"],
        lots: Float[Tensor, "batch codes"] | None = None,
        *,
        guidance: float = 1.0,
        temperature: float = 1.0,
        top: int | None = None,
    ) -> Int[Tensor, "batch codes"]:
        """Write the codes of a picture for each text; every token is computed once.

        Args:
            text: ids, padded as `pad` does.
            lots: numbers from 0 to 1 that decide what is drawn, one for each code, so that a drawing depends on its own
                lots alone; None takes the likeliest code each time.
            guidance: how far to go from what it would write for no text towards, at 1, what it would write for this
                one, and beyond.
            temperature: log p is divided by it.
            top: draw among so many likeliest codes only.
        """
        config, count = self.config, self.config.vae.side**2
        guided = guidance != 1
        rows = torch.cat([text, pad([[]], config).to(text.device).expand_as(text)]) if guided else text
        head = config.width // config.heads
        caches = [Cache(len(rows), config.heads, config.length + count, head, self.start.weight) for _ in self.blocks]
        steps = [Step(block, cache) for block, cache in zip(self.blocks, caches, strict=True)]  # type: ignore[arg-type]  # each is one
        patterns = self.patterns()
        x, tokens = self.begin(rows), config.length + 1
        for block, pattern, cache in zip(self.blocks, patterns, caches, strict=True):
            x = block(x, pattern[:, :tokens, :tokens], cache)
        x = x[:, -1]
        written = text.new_zeros(len(text), count)
        for at in range(count):
            logits = self.code_head(self.norm(x))
            if guided:
                with_text, without = logits.chunk(2)
                logits = without + guidance * (with_text - without)
            lot = None if lots is None else lots[:, at]
            written[:, at] = _choose(logits, lot, temperature, top)
            if at + 1 < count:
                new = written[:, at : at + 1]
                x = self.go_on(torch.cat([new, new]) if guided else new, at)[:, 0]
                for step, pattern in zip(steps, patterns, strict=True):
                    x = step(x, pattern[:, tokens + at, : tokens + at + 1])
        return written


def _choose(logits: Tensor, lot: Tensor | None, temperature: float, top: int | None) -> Tensor:
    """The next code of each drawing: where its lot falls when the probabilities are laid end to end."""
    if lot is None:
        return logits.argmax(1)
    if top is not None and top < logits.shape[1]:
        logits = logits.masked_fill(logits < logits.topk(top).values[:, -1:], -torch.inf)
    logits = logits.double()
    # below zero, so that no temperature is too low to divide by
    ends = ((logits - logits.amax(1, keepdim=True)) / temperature).softmax(1).cumsum(1)
    return torch.searchsorted(ends, lot[:, None].double() * ends[:, -1:], right=True)[:, 0]


class DALLE(nn.Module):
    """The discrete VAE, which was trained first and rests, and the transformer that writes its codes.

    Args:
        config: sizes.
        tokenizer: how it reads; without one there is only its transformer, which takes token ids.

    Raises:
        InputError: a tokenizer of more tokens than the network knows.
    """

    def __init__(self, config: DALLEConfig, tokenizer: BytePairTokenizer | None = None) -> None:
        super().__init__()
        if tokenizer is not None and len(tokenizer) > config.vocabulary:
            raise InputError(
                f"expected a tokenizer of at most {config.vocabulary} tokens, as the configuration says, got one of "
                f"{len(tokenizer)}; make the configuration for this tokenizer"
            )
        self.config = config
        self.tokenizer = tokenizer
        self.vae = DVAE(config.vae).requires_grad_(False)
        self.transformer = Transformer(config)

    def read(self, texts: Sequence[str]) -> Int[Tensor, "batch length"]:
        """Texts in any language -> token ids, in lower case and padded (section 2.2).

        Raises:
            InputError: no tokenizer, no text, or one that is too long.
        """
        if self.tokenizer is None:
            raise InputError("expected a DALL-E with a tokenizer, got one without; give it one when made")
        if not texts or not all(isinstance(text, str) for text in texts):
            raise InputError(f"expected a text as str, or a list of at least one, got {texts!r:.60}")
        read = [self.tokenizer.encode(text.lower()) for text in texts]
        for text, ids in zip(texts, read, strict=True):
            if len(ids) > self.config.length:
                raise InputError(
                    f"expected at most {self.config.length} tokens, got {len(ids)} of {text[:40]!r}; shorten the text"
                )
        return pad(read, self.config).to(self.transformer.start.weight.device)

    def draw(
        self,
        prompt: str | list[str] | tuple[str, ...],
        *,
        n: int = 1,
        seed: int = 0,
        guidance: float | None = None,
        temperature: float = 1.0,
        top: int | None = None,
        candidates: int | None = None,
        judge: CLIP | None = None,
    ) -> Picture | list[Picture] | list[list[Picture]]:
        """Draw what a sentence says, in Korean, English or both.

        Args:
            prompt: a sentence, or several; of an empty one it draws whatever it has seen.
            n: drawings of each sentence.
            seed: the k-th drawing is the first one with seed + k, whatever else is drawn along with it.
            guidance: above 1 a drawing keeps to the sentence more, and differs less from others; the configuration's if
                None.
            temperature: below 1 it draws what is likely; 0 takes the likeliest code each time, and no lots.
            top: draw among so many likeliest codes only.
            candidates: draw so many of each sentence, of which the judge chooses n; n if None.
            judge: a CLIP, which puts drawings in order, those that fit the sentence best first (section 2.6).

        Returns:
            For one sentence and n = 1 a picture (height, width, 3) of bytes, for one and more a list of them; for
            several sentences a list of what each would get alone.

        Raises:
            InputError: no text, one that is too long, numbers out of range, or a choice without a judge.
        """
        prompts = list(prompt) if isinstance(prompt, (list, tuple)) else [prompt]
        text = self.read(prompts)
        made = n if candidates is None else candidates
        guidance = self.config.guidance if guidance is None else guidance
        _check(n, seed, made, guidance, temperature, top)
        if judge is not None and not isinstance(judge, CLIP):
            raise InputError(f'expected a CLIP as judge, got a {type(judge).__name__}; vlm_history.load("clip") is one')
        if made > n and judge is None:
            raise InputError(f"expected a judge to choose {n} of {made} candidates, got none; pass judge= a CLIP")
        count = self.config.vae.side**2
        lots = torch.stack([torch.rand(count, generator=torch.Generator().manual_seed(seed + k)) for k in range(made)])
        lots = lots.repeat(len(prompts), 1).to(text.device)
        rows = text.repeat_interleave(made, 0)
        options = {"guidance": guidance, "temperature": temperature or 1.0, "top": top}
        codes = torch.cat([
            self.transformer.sample(rows[i : i + TOGETHER], lots[i : i + TOGETHER] if temperature else None, **options)  # type: ignore[arg-type]  # by name
            for i in range(0, len(rows), TOGETHER)
        ])  # fmt: skip
        pictures = self.vae.decode(codes.unflatten(1, (-1, self.config.vae.side)))
        drawn: list[list[Picture]] = []
        for sentence, some in zip(prompts, pictures.reshape(len(prompts), made, *pictures.shape[1:]), strict=True):
            order = range(made) if judge is None else rerank(judge, sentence, some)
            drawn.append([some[k] for k in order][:n])
        told = drawn if n > 1 else [of_sentence[0] for of_sentence in drawn]
        return told if isinstance(prompt, (list, tuple)) else told[0]


def rerank(judge: CLIP, text: str, pictures: NDArray[np.uint8]) -> list[int]:
    """Places of pictures (number, height, width, 3), those that fit a text best first: section 2.6."""
    fit = judge.encode_image(pictures) @ judge.encode_text(text)[0]
    order: list[int] = fit.argsort(descending=True, stable=True).tolist()
    return order


def _check(n: int, seed: int, made: int, guidance: float, temperature: float, top: int | None) -> None:
    """Refuse numbers with which nothing can be drawn."""
    wrong = {
        "n of at least 1": n < 1,
        f"candidates of at least n, which is {n}": made < n,
        "a seed from 0 to 2^63 - 1": not 0 <= seed < 2**63 - made,
        "a finite guidance of at least 0 and below 1e6": not 0 <= guidance < 1e6,
        "a finite temperature of at least 0": not 0 <= temperature < math.inf,
        "top of at least 1": top is not None and top < 1,
    }
    for wanted, is_wrong in wrong.items():
        if is_wrong:
            came = f"n={n}, candidates={made}, seed={seed}, guidance={guidance}, temperature={temperature}, top={top}"
            raise InputError(f"expected {wanted}, got {came}")
