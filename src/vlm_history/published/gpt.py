"""GPT-1 and GPT-2 as transformers names and saves them: a configuration, tensors, and the tokenizer.

Weights do not tell how many heads they belong to, nor which activation, so a GPT is read with the configuration beside
its weights, and whatever that says and ours cannot be is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import tokenizers
import torch
from torch import Tensor

from vlm_history.errors import InputError
from vlm_history.pretrain.gpt1 import END, GPT, GPT1, GPT2, GPTConfig
from vlm_history.published.adapter import Adapter, read_json, read_safetensors
from vlm_history.text import BytePairTokenizer, Tokenizer

NAMES: dict[str, tuple[type[GPT], GPTConfig]] = {
    "openai-gpt": (GPT1, GPTConfig.gpt1()),
    "gpt2": (GPT2, GPTConfig.gpt2_small()),
    "gpt2-medium": (GPT2, GPTConfig.gpt2_medium()),
    "gpt2-large": (GPT2, GPTConfig.gpt2_large()),
    "gpt2-xl": (GPT2, GPTConfig.gpt2_xl()),
}
"""What the hub calls them."""
WEIGHTS, CONFIG, TOKENIZER = FILES = ("model.safetensors", "config.json", "tokenizer.json")
"""What transformers writes into a directory."""

_TYPES: dict[str, type[GPT]] = {"openai-gpt": GPT1, "gpt2": GPT2}
_AROUND = {
    GPT1: {"tokens": "tokens_embed", "positions": "positions_embed"},
    GPT2: {"tokens": "wte", "positions": "wpe", "norm": "ln_f"},
}
_BLOCK = {
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "attention_norm": "ln_1",
    "mlp.widen": "mlp.c_fc",
    "mlp.narrow": "mlp.c_proj",
    "mlp_norm": "ln_2",
}
SIZES = {"vocabulary": "vocab_size", "length": "n_positions", "width": "n_embd", "depth": "n_layer", "heads": "n_head"}
"""What they call our sizes."""
# What may be set and may not differ: value for value what ours are. (GPT-1's "gelu" is the tanh approximation there.)
_FIXED: dict[str, dict[str, tuple[Any, ...]]] = {
    "openai-gpt": {"afn": ("gelu",), "tie_word_embeddings": (True,)},
    "gpt2": {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "tie_word_embeddings": (True,),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
    },
}


def transformers(kind: type[GPT], depth: int) -> Adapter:
    """Their names, without the "transformer." that stands before each where a head is saved along."""
    blocks = {f"blocks.{i}.{ours}": f"h.{i}.{theirs}" for i in range(depth) for ours, theirs in _BLOCK.items()}
    return Adapter(
        {**_AROUND[kind], **blocks},
        ignored=tuple(f"h.{i}.attn.{mask}" for i in range(depth) for mask in ("bias", "masked_bias")),
        transposed=frozenset(name for name in blocks if not name.endswith("norm")),
    )


def configuration(directory: Path) -> tuple[type[GPT], GPTConfig] | None:
    """Which GPT a directory holds, and its sizes; None if it holds none.

    Raises:
        InputError: a size is missing, or one that ours cannot be.
    """
    file = directory / CONFIG
    data = read_json(file) if file.is_file() else {}
    if data.get("model_type") not in _TYPES:
        return None
    missing = [theirs for theirs in SIZES.values() if theirs not in data]
    if missing:
        raise InputError(f"expected the sizes of a GPT in {file}, but {', '.join(missing)} is missing")
    fixed = _FIXED[data["model_type"]] | {"n_inner": (None, 4 * data["n_embd"])}
    wrong = {key: data[key] for key, allowed in fixed.items() if data.get(key, allowed[0]) not in allowed}
    if wrong:
        told = ", ".join(f"{key}={value!r}" for key, value in sorted(wrong.items()))
        raise InputError(f"expected a GPT as it was published, got one with {told} in {file}; no such part is here")
    sizes = {ours: int(data[theirs]) for ours, theirs in SIZES.items()}
    eps, dropout = data.get("layer_norm_epsilon", 1e-5), data.get("resid_pdrop", 0.1)
    return _TYPES[data["model_type"]], GPTConfig(**sizes, eps=eps, dropout=dropout)


def load(directory: Path, kind: type[GPT], config: GPTConfig, name: str | None = None) -> GPT:
    """A GPT of any size, from a directory that `configuration` can read; with its tokenizer, if that is there.

    Args:
        directory, kind, config: see `configuration`.
        name: one of `NAMES` that it shall be.

    Raises:
        InputError: another architecture than that of `name`, or tensors that do not fit.
    """
    if name is not None:
        wanted, sizes = NAMES[name]
        if wanted is not kind or replace(sizes, dropout=config.dropout) != config:
            raise InputError(f"expected the sizes of {name}, got others in {directory}: {config}; leave out name=")
    tensors = {n.removeprefix("transformer."): t for n, t in read_safetensors(directory / WEIGHTS).items()}
    chooses = tensors.pop("lm_head.weight", None)  # saved by some versions, though it is the embedding
    if chooses is not None and not torch.equal(chooses, tensors.get(f"{_AROUND[kind]['tokens']}.weight", chooses)):
        raise InputError(f"expected words to be chosen by their embeddings, got two matrices in {directory / WEIGHTS}")
    with torch.device("meta"):
        model = kind(config)
    model.load_state_dict(transformers(kind, config.depth).from_published(tensors, model), assign=True)
    model.tokenizer = read_tokenizer(directory / TOKENIZER)
    return model.eval()


def to_transformers(model: GPT) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What transformers reads a directory by: tensors, and the files of JSON beside them."""
    kind = next(kind for kind in (GPT1, GPT2) if isinstance(model, kind))
    model_type = next(name for name, each in _TYPES.items() if each is kind)
    tensors = transformers(kind, model.config.depth).to_published(model)
    rates = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), model.config.dropout)
    words = model.tokenizer
    end = words.id(END) if words is not None and END in words.specials else None
    config = {
        "model_type": model_type,
        "architectures": ["OpenAIGPTLMHeadModel" if kind is GPT1 else "GPT2LMHeadModel"],
        **{theirs: getattr(model.config, ours) for ours, theirs in SIZES.items()},
        **{key: allowed[0] for key, allowed in _FIXED[model_type].items()},
        "layer_norm_epsilon": model.config.eps,
        **rates,
        "bos_token_id": end,
        "eos_token_id": end,
    }
    files: dict[str, Any] = {CONFIG: config}
    if words is not None:
        files[TOKENIZER] = json.loads(to_library(words).to_str())
        files["tokenizer_config.json"] = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": end and END}
    return {f"transformer.{name}": tensor for name, tensor in tensors.items()}, files


class LibraryTokenizer:
    """A tokenizer of the tokenizers library, to be used as ours are: GPT-1's, whose words end in a token of their own.

    Args:
        wrapped: the tokenizer.
    """

    def __init__(self, wrapped: tokenizers.Tokenizer) -> None:
        self.wrapped = wrapped
        self.specials = tuple(t.content for t in wrapped.get_added_tokens_decoder().values() if t.special)

    def __len__(self) -> int:
        return self.wrapped.get_vocab_size()

    def id(self, special: str) -> int:
        """The id of a special token.

        Raises:
            InputError: there is no such token.
        """
        found = self.wrapped.token_to_id(special)
        if found is None:
            raise InputError(f"expected a special token among {', '.join(self.specials) or 'none'}, got {special!r}")
        return found

    def encode(self, text: str) -> list[int]:
        """Text -> ids."""
        if not isinstance(text, str):
            raise InputError(f"expected text as str, got {type(text).__name__}; pass one text")
        return self.wrapped.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Iterable[int]) -> str:
        """Ids -> text; special tokens are dropped."""
        return self.wrapped.decode(list(ids), skip_special_tokens=True)


def read_tokenizer(file: Path) -> Tokenizer | None:
    """The tokenizer in a file of the tokenizers library: one of ours if it is one on bytes; None if there is no file.

    Raises:
        InputError: the file is damaged.
    """
    if not file.is_file():
        return None
    data = read_json(file)
    try:
        library = tokenizers.Tokenizer.from_str(json.dumps(data))
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"expected a tokenizer in {file}, which the library cannot read ({error})") from error
    words = LibraryTokenizer(library)
    on_bytes = (data.get("pre_tokenizer") or {}).get("type") == "ByteLevel"
    if on_bytes and data["model"]["type"] == "BPE" and not data["pre_tokenizer"]["add_prefix_space"]:
        merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in data["model"]["merges"]]
        ours = BytePairTokenizer([(left, right) for left, right in merges], words.specials)
        if library.get_vocab() == {token: number for number, token in enumerate(ours.vocabulary)}:
            return ours
    return words


def to_library(words: Tokenizer) -> tokenizers.Tokenizer:
    """The tokenizers library's form of a tokenizer."""
    if isinstance(words, LibraryTokenizer):
        return words.wrapped
    assert isinstance(words, BytePairTokenizer)
    plain = words.vocabulary[: len(words) - len(words.specials)]
    vocabulary = {token: number for number, token in enumerate(plain)}
    library = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, list(words.merges)))
    library.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    library.decoder = tokenizers.decoders.ByteLevel()
    library.add_special_tokens(list(words.specials))
    return library
