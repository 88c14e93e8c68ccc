"""What training may see, and what is kept from it. The one place where that is decided.

Three things are held out, each for a question that a model could otherwise answer from memory:

- an **artist** (`HELD_OUT_ARTIST`): does it know a cat, or only these drawings of cats?
- **pairs** of concepts: does it compose, or only repeat pairs that it met?
- **knowledge**: facts about some concepts that only text teaches, never a picture.

A second artist and other pairs are kept for validation: whatever we choose (a checkpoint, a threshold, a learning
rate) we choose there, so the held-out score is looked at once and says what it seems to say. CLIP's
shipped weights alone have learned from the validation artist, too, as one does who has few examples. What is chosen
from then on, in CLIP and in all that is built on it, is chosen on the pairs.

Pairs and facts are assigned by a hash of their hexcodes, so they stay where they are when a concept is added.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

TRAIN_ARTISTS = ("twemoji", "noto", "fluent-flat", "fluent-gradient")
VALIDATION_ARTIST = "emojione"
HELD_OUT_ARTIST = "noto-v1"
#: Pre-training on wide data (the second era) sees three more, none of whom drew everything. The pairs stay apart.
WIDE_ARTISTS = (*TRAIN_ARTISTS, "fxemoji", "streamline", "fluent-contrast")
#: Everyone but the held-out artist: for CLIP's last run.
ALL_ARTISTS = (*WIDE_ARTISTS, VALIDATION_ARTIST)

SPLITS: dict[str, tuple[str, tuple[str, ...]]] = {
    "train": ("train", TRAIN_ARTISTS),
    "train-wide": ("train", WIDE_ARTISTS),
    "train-all": ("train", ALL_ARTISTS),
    "validation": ("validation", TRAIN_ARTISTS),
    "validation-artist": ("validation", (VALIDATION_ARTIST,)),
    "test": ("test", TRAIN_ARTISTS),
    "test-artist": ("test", (HELD_OUT_ARTIST,)),
}
"""Split name -> (which pairs of concepts, which artists). Only CLIP reads "train-wide", to choose, and "train-all"."""

# Of every 20 pairs, two are held out and one is for validation.
_PAIR_BUCKETS = 20
_TEST_BUCKETS = (0, 1)
_VALIDATION_BUCKETS = (2,)


def _bucket(key: str, buckets: int) -> int:
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % buckets


@lru_cache(maxsize=1 << 20)
def pair_split(first: str, second: str) -> str:
    """Say to which split a pair of concepts belongs; the order of the two does not matter.

    Args:
        first, second: hexcodes of the two concepts.

    Returns:
        "train", "validation" or "test".
    """
    bucket = _bucket("pair/" + "/".join(sorted((first, second))), _PAIR_BUCKETS)
    if bucket in _TEST_BUCKETS:
        return "test"
    return "validation" if bucket in _VALIDATION_BUCKETS else "train"


@lru_cache(maxsize=4096)
def kept_for_knowledge(hexcode: str) -> bool:
    """Say whether the category of this concept is taught by text alone (one concept in ten)."""
    return _bucket("knowledge/" + hexcode, 10) == 0


@lru_cache(maxsize=4096)
def label_split(hexcode: str) -> str:
    """Say whether text tasks label this concept for training (four in five) or for validation: "train", "validation".

    What text says of it is read all the same: these tasks ask what was learned without labels.
    """
    return "validation" if _bucket("label/" + hexcode, 5) == 0 else "train"
