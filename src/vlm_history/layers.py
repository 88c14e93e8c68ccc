"""The parts that all later systems share: attention with its cache, and the layers around it.

Vaswani et al., 2017 (arXiv 1706.03762), in the two orders that history knows: GPT-1 normalises after each sum, as the
paper does (`PostNormBlock`); everything since normalises before (`PreNormBlock`, GPT-2).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

Activation = Callable[[Tensor], Tensor]


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU by its tanh approximation, as in the code of GPT-1 and GPT-2 (Hendrycks and Gimpel, arXiv 1606.08415)."""
    return F.gelu(x, approximate="tanh")


def quick_gelu(x: Tensor) -> Tensor:
    """x sigmoid(1.702 x): the approximation that OpenAI's CLIP was trained with. It is not GELU."""
    return x * torch.sigmoid(1.702 * x)


class Cache:
    """Keys and values of the tokens so far, so that each new token is computed once.

    Room for all tokens is taken at the start: growing by `cat` would copy everything at every step.

    Args:
        batch, heads, length, width: of the keys of one attention; length is the most tokens it will see.
        like: gives device and precision.
    """

    def __init__(self, batch: int, heads: int, length: int, width: int, like: Tensor) -> None:
        self.room = like.new_empty(batch, 2, heads, length, width)
        self.length = 0

    def add(self, keys_and_values: Float[Tensor, "batch 2 heads tokens width"]) -> tuple[Tensor, ...]:
        """Append those of new tokens; return the keys so far and the values so far."""
        tokens = keys_and_values.shape[3]
        self.room.narrow(3, self.length, tokens).copy_(keys_and_values)
        self.length += tokens
        return self.room.narrow(3, 0, self.length).unbind(1)


class SelfAttention(nn.Module):
    """softmax(Q K^T / sqrt(d)) V in several heads (section 3.2).

    Args:
        width: of the tokens.
        heads: their number; divides width.
        causal: whether a token sees only those before it, and itself.
        bias: whether the four projections have biases.
        dropout: on the weights of the mixture.
    """

    def __init__(self, width: int, heads: int, causal: bool, bias: bool = True, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads, self.causal, self.dropout = heads, causal, dropout
        self.qkv = nn.Linear(width, 3 * width, bias=bias)  # the three side by side: one multiplication
        self.out = nn.Linear(width, width, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"],
        there: Bool[Tensor, "batch keys"] | Bool[Tensor, "batch tokens keys"] | None = None,
        cache: Cache | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        """Mix what the tokens say.

        Args:
            x: the tokens; with a cache, only the new ones.
            there: False at padding, for all keys up to the last of x, or for each token of x False at what it does not
                see; None if there is nothing of that. A batch of one stands for all.
            cache: of this attention.
        """
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads).permute(0, 2, 3, 1, 4)
        q, k, v = qkv.unbind(1)
        if cache is not None:
            k, v = cache.add(qkv.narrow(1, 1, 2))
        mask = None if there is None else there[:, None, None] if there.ndim == 2 else there[:, None]
        causal = self.causal and tokens > 1
        if causal and (mask is not None or k.shape[2] > tokens):
            # is_causal alone would let the first new token see only the first key
            earlier = torch.ones(tokens, k.shape[2], dtype=torch.bool, device=x.device).tril(k.shape[2] - tokens)
            mask = earlier if mask is None else mask & earlier
            causal = False
        dropout = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=causal)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class CrossAttention(nn.Module):
    """Tokens ask, others answer: queries from x, keys and values from what is attended to.

    Args:
        width: of x.
        source_width: of what is attended to.
        heads: their number; divides width.
        bias: whether queries, keys and values have biases; the last projection always has one.
        out_width: of what comes out; that of x if None.
    """

    def __init__(
        self, width: int, source_width: int, heads: int, bias: bool = True, out_width: int | None = None
    ) -> None:
        super().__init__()
        self.heads = heads
        self.q = nn.Linear(width, width, bias=bias)
        self.k = nn.Linear(source_width, width, bias=bias)
        self.v = nn.Linear(source_width, width, bias=bias)
        self.out = nn.Linear(width, out_width or width)

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"],
        source: Float[Tensor, "batch keys source_width"],
        there: Bool[Tensor, "batch keys"] | None = None,
    ) -> Float[Tensor, "batch tokens out_width"]:
        """What each token finds in the source; `there` is False at its padding."""
        batch, tokens, width = x.shape
        q, k, v = (
            part.view(batch, -1, self.heads, width // self.heads).transpose(1, 2)
            for part in (self.q(x), self.k(source), self.v(source))
        )
        mask = None if there is None else there[:, None, None]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


class MLP(nn.Module):
    """Two layers at every token by itself (section 3.3).

    Args:
        width: of the tokens.
        hidden: of the layer between.
        activation: what follows the first layer.
    """

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.widen = nn.Linear(width, hidden)
        self.narrow = nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Float[Tensor, "... width"]) -> Float[Tensor, "... width"]:
        """narrow(activation(widen(x)))."""
        return self.narrow(self.activation(self.widen(x)))


class Block(nn.Module):
    """What both kinds of block are made of.

    Args:
        width: of the tokens.
        heads: of the attention.
        causal: see `SelfAttention`.
        activation: of the MLP, whose hidden layer is four times as wide.
        eps: of the normalisations.
        dropout: on what attention and MLP add, and on the weights of attention.
    """

    def __init__(
        self, width: int, heads: int, causal: bool, activation: Activation, eps: float = 1e-5, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, causal, dropout=dropout)
        self.attention_norm = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, 4 * width, activation)
        self.mlp_norm = nn.LayerNorm(width, eps=eps)
        self.dropout = nn.Dropout(dropout)

    def dropped(self, x: Tensor) -> Tensor:
        """Dropout in training; else not even the call, which counts where tokens come one at a time."""
        return self.dropout(x) if self.training else x


class PostNormBlock(Block):
    """LayerNorm(x + Sublayer(x)), as in 2017, and in GPT-1."""

    def forward(
        self, x: Float[Tensor, "batch tokens width"], there: Tensor | None = None, cache: Cache | None = None
    ) -> Float[Tensor, "batch tokens width"]:
        """Attention, then MLP; see `SelfAttention.forward`."""
        x = self.attention_norm(x + self.dropped(self.attention(x, there, cache)))
        return self.mlp_norm(x + self.dropped(self.mlp(x)))


class PreNormBlock(Block):
    """x + Sublayer(LayerNorm(x)): the way through is never normalised, so that deep stacks train (GPT-2)."""

    def forward(
        self, x: Float[Tensor, "batch tokens width"], there: Tensor | None = None, cache: Cache | None = None
    ) -> Float[Tensor, "batch tokens width"]:
        """Attention, then MLP; see `SelfAttention.forward`."""
        x = x + self.dropped(self.attention(self.attention_norm(x), there, cache))
        return x + self.dropped(self.mlp(self.mlp_norm(x)))


def _affine(x: Tensor, bias: Tensor, turned: Tensor) -> Tensor:
    """x W^T + b, W^T made beforehand."""
    return torch.addmm(bias, x, turned)


class Step:
    """A block at work on one new token of each text, without its modules.

    Where tokens come one at a time, to call a module costs as much as a small product, and a block has eight. So its
    weights are looked up and turned once, and what is computed is the block's own sums, in eval mode: a test holds them
    together.

    Args:
        block: of either kind. A change of its weights in place is seen, another tensor in their place is not.
        cache: of its attention.
    """

    def __init__(self, block: Block, cache: Cache) -> None:
        attention, mlp = block.attention, block.mlp
        self.norm_first, self.heads, self.cache = isinstance(block, PreNormBlock), attention.heads, cache
        self.activation = mlp.activation
        self.qkv, self.out, self.widen, self.narrow = (
            (layer.bias, layer.weight.T) for layer in (attention.qkv, attention.out, mlp.widen, mlp.narrow)
        )
        self.attention_norm, self.mlp_norm = (
            (norm.normalized_shape, norm.weight, norm.bias, norm.eps) for norm in (block.attention_norm, block.mlp_norm)
        )

    def attend(self, x: Tensor, there: Tensor | None) -> Tensor:
        """`SelfAttention.forward`: a last token sees all, so there is no causal mask."""
        batch, width = x.shape
        qkv = _affine(x, *self.qkv).view(batch, 3, self.heads, 1, width // self.heads)
        k, v = self.cache.add(qkv.narrow(1, 1, 2))
        mask = None if there is None else there[:, None, None]
        return _affine(F.scaled_dot_product_attention(qkv.select(1, 0), k, v, mask).view(batch, width), *self.out)

    def think(self, x: Tensor) -> Tensor:
        """`MLP.forward`."""
        return _affine(self.activation(_affine(x, *self.widen)), *self.narrow)

    def __call__(
        self, x: Float[Tensor, "batch width"], there: Bool[Tensor, "batch keys"] | None = None
    ) -> Float[Tensor, "batch width"]:
        """The block's `forward`, for one token."""
        if self.norm_first:
            x = x + self.attend(torch.layer_norm(x, *self.attention_norm), there)
            return x + self.think(torch.layer_norm(x, *self.mlp_norm))
        x = torch.layer_norm(x + self.attend(x, there), *self.attention_norm)
        return torch.layer_norm(x + self.think(x), *self.mlp_norm)


def initialise(module: nn.Module, depth: int | None = None, spread: float = 0.02) -> None:
    """Weights from N(0, 0.02), biases zero (GPT-1, section 4.1).

    Args:
        module: a model of blocks.
        depth: number of blocks, where they normalise first: what these add to what goes through unnormalised is made
            smaller by 1 / sqrt(2 depth) (GPT-2). Where blocks normalise after, this would only hush them.
        spread: standard deviation.
    """
    smaller = 1.0 if depth is None else math.sqrt(2 * depth)
    for name, parameter in module.named_parameters():
        if parameter.ndim >= 2:
            last = name.endswith(("out.weight", "narrow.weight"))
            nn.init.normal_(parameter, 0, spread / smaller if last else spread)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
