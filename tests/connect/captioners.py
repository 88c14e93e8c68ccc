"""What the tests of both captioners share: a few words, a small CNN, every sentence there is, and bad input."""

import itertools

import numpy as np
import torch

from vlm_history.connect.cnn import CNNConfig
from vlm_history.text import SPECIALS, WordTokenizer

WORDS = WordTokenizer((*SPECIALS, "##가", "cat", "고양이"))
# eight channels or more: backward of fewer, channels last, crashes in torch 2.14 (oneDNN)
CNN = CNNConfig(stem=8, stages=(8, 16, 16), width=10)
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)

BAD_INPUT = [
    (PICTURES[0].astype(float), {}, "uint8"),
    (PICTURES[0][:, :, 0], {}, "uint8"),
    ("nowhere.png", {}, "no file"),
    (__file__, {}, "cannot be read"),
    ([], {}, "empty"),
    (PICTURES[0], {"language": "fr"}, "language"),
    (PICTURES[0], {"beam": 0}, "beam"),
    (PICTURES[0], {"max_length": 0}, "max_length"),
]
"""An image, options, and what the complaint names."""


def pixels(count: int) -> torch.Tensor:
    """Prepared pictures, the same ones every time."""
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def every_sentence(start: int, longest: int) -> list[list[int]]:
    """All that a decoder of `WORDS` can write: sentences that end, and sentences cut off after so many words."""
    words = [word for word in range(len(WORDS)) if word != WORDS.end]
    ended = [[start, *middle, WORDS.end] for n in range(longest) for middle in itertools.product(words, repeat=n)]
    return ended + [[start, *cut] for cut in itertools.product(words, repeat=longest)]
