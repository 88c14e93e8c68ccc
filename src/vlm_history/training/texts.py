"""What language models learn from: the world's text in rows of tokens, and the tokens themselves."""

from __future__ import annotations

from functools import cache
from random import Random

import torch
from torch import Tensor

from vlm_history.pretrain.gpt1 import END
from vlm_history.text import BytePairTokenizer
from vlm_history.training.recipe import scene_seeds
from vlm_history.training.scenes import Mix, world
from vlm_history.world.grammar import LANGUAGES
from vlm_history.world.writing import TEXTS, write

VOCABULARY = 4_000
"""Tokens of the world: with so many, four names out of five are whole words in English, and half of them in Korean;
the others are read in pieces."""
CORPUS = 6_000
"""Texts in each language that the tokens are learned from."""


@cache
def vocabulary() -> BytePairTokenizer:
    """The byte pairs of the world, in both languages, learned from training texts and from every name."""
    texts = [write(world(), seed, language, split="train") for seed in range(CORPUS) for language in LANGUAGES]
    names = [f" {name}" for concept in world().concepts for name in (concept.ko, concept.en)]
    return BytePairTokenizer.fit([*texts, *names], VOCABULARY, [END])


def reading(seed: int, index: int, rows: range, batch_size: int, length: int, mix: Mix) -> Tensor:
    """Rows of training text for a batch, text after text, each after an end: tokens (rows, length).

    Args:
        seed, index, rows, batch_size: see `recipe.scene_seeds`.
        length: tokens a row; its last text is cut there.
        mix: kinds of texts and their shares.
    """
    words, (kinds, shares) = vocabulary(), zip(*mix, strict=True)
    read = []
    for row_seed in scene_seeds(seed, index, rows, batch_size):
        lots, ids = Random(f"reading/{row_seed}"), list[int]()
        while len(ids) < length:
            kind, language = lots.choices(kinds, shares)[0], lots.choice(LANGUAGES)
            text = write(world(), lots.getrandbits(48), language, split="train", kind=kind)
            ids += [words.id(END), *words.encode(text)]
        read.append(ids[:length])
    return torch.tensor(read)


def unread(n: int, language: str) -> list[str]:
    """Texts in one language about pairs of the validation split, so many of each kind that is in one language."""
    kinds = [kind for kind in TEXTS if kind != "both"]
    return [write(world(), seed, language, split="validation", kind=kind) for kind in kinds for seed in range(n)]
