"""CLIP: pictures and sentences as points of one space, near each other where they belong together.

Radford, Kim, Hallacy, Ramesh, Goh, Agarwal, Sastry, Askell, Mishkin, Clark, Krueger and Sutskever, 2021 (Learning
Transferable Visual Models From Natural Language Supervision, arXiv 2103.00020). Sections and figures are named where
the code follows them. Its towers are in `clip_towers`, its loss in `contrastive`. Nothing here was taught a class: a
class is a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.errors import InputError
from vlm_history.images import Images, is_single, read_images
from vlm_history.layers import quick_gelu
from vlm_history.pretrain.clip_towers import (
    EdgeCNNConfig,
    ModifiedResNet,
    PooledCNN,
    ResNetConfig,
    TextConfig,
    TextTransformer,
    VisionTransformer,
    ViTConfig,
)
from vlm_history.text import BytePairTokenizer

Texts = Any
"""A text (str) or several, or token ids (batch, tokens) that begin and end as the tokenizer would have it."""
LOGIT_100 = math.log(100)
"""The highest temperature: section 2.5 keeps logits from being scaled by more than 100."""
TOGETHER = 64
"""Pictures that go through the network at a time, so that any number of them fits."""


@dataclass(frozen=True)
class CLIPConfig:
    """Sizes of a CLIP.

    Attributes:
        image: of the tower that sees.
        text: of the tower that reads.
        width: of the space that both meet in.
        quick_gelu: whether the transformers use QuickGELU, as OpenAI's weights do; else GELU, as most others since.
        prompts: for Korean and for English, the sentences that a name is put into when it is asked for.
    """

    image: ViTConfig | ResNetConfig | EdgeCNNConfig
    text: TextConfig
    width: int
    quick_gelu: bool = True
    prompts: tuple[tuple[str, ...], tuple[str, ...]] = (("{}",), ("a photo of a {}.",))

    @classmethod
    def published(cls, name: str) -> CLIPConfig:
        """The models of tables 19 and 20: ViT-B/32, ViT-B/16, ViT-L/14, ViT-L/14@336px, RN50 and RN101.

        Raises:
            InputError: no such model.
        """
        known = {
            "ViT-B/32": cls(ViTConfig(32, 768, 12, 12), TextConfig(), 512),
            "ViT-B/16": cls(ViTConfig(16, 768, 12, 12), TextConfig(), 512),
            "ViT-L/14": cls(ViTConfig(14, 1024, 24, 16), TextConfig(width=768, heads=12), 768),
            "ViT-L/14@336px": cls(ViTConfig(14, 1024, 24, 16, 336), TextConfig(width=768, heads=12), 768),
            "RN50": cls(ResNetConfig((3, 4, 6, 3), 64, 32), TextConfig(), 1024),
            "RN101": cls(ResNetConfig((3, 4, 23, 3), 64, 32), TextConfig(), 512),
        }
        if name not in known:
            raise InputError(f"expected a published CLIP among {', '.join(known)}, got {name!r}; choose one of these")
        return known[name]

    @classmethod
    def world(cls, vocabulary: int) -> CLIPConfig:
        """The size that the world is learned at: a wider CNN of this world sees; names are asked for as they are."""
        image = EdgeCNNConfig(stem=32, stages=(64, 128, 384), width=256, scales=4)
        text = TextConfig(vocabulary, length=64, width=192, depth=2, heads=4)
        return cls(image, text, width=256, quick_gelu=False, prompts=(("{}",), ("{}",)))


def read_texts(
    texts: Texts, config: TextConfig, tokenizer: BytePairTokenizer | None, cut: bool = False
) -> Int[Tensor, "batch tokens"]:
    """Texts -> token ids, padded with zeros to the longest.

    Args:
        texts: see `Texts`.
        config: how many tokens a text may have, and which of them there are.
        tokenizer: of this vocabulary.
        cut: shorten what is too long (its end stays the end) instead of refusing it.

    Raises:
        InputError: no text, one that is too long, ids that are none or have no end, or text without a tokenizer.
    """
    length, end = config.length, config.vocabulary - 1
    if isinstance(texts, Tensor):
        fits = not texts.is_floating_point() and texts.ndim == 2 and 0 < texts.shape[1] <= length and len(texts)
        if fits and int(texts.min()) >= 0 and int(texts.max()) <= end and bool((texts == end).any(1).all()):
            return texts
        raise InputError(
            f"expected token ids (batch, at most {length}) from 0 to {end}, {end} at the end of each text, got "
            f"{texts.dtype} {tuple(texts.shape)}; pass texts as str to have them made"
        )
    if tokenizer is None:
        raise InputError("expected token ids, since this CLIP has no tokenizer, got text; give it one when made")
    several = [texts] if isinstance(texts, str) else list(texts)
    if not several:
        raise InputError("expected at least one text, got none")
    read = [[end - 1, *tokenizer.encode(text), end] for text in several]
    for text, ids in zip(several, read, strict=True):
        if len(ids) > length and not cut:
            raise InputError(f"expected at most {length} tokens, got {len(ids)} of {text[:40]!r}; shorten the text")
    read = [ids if len(ids) <= length else [*ids[: length - 1], end] for ids in read]
    padded = torch.zeros(len(read), max(map(len, read)), dtype=torch.long)
    for row, ids in zip(padded, read, strict=True):
        row[: len(ids)] = torch.tensor(ids)
    return padded


class CLIP(nn.Module):
    """Both towers, and the temperature between them."""

    def __init__(self, config: CLIPConfig, tokenizer: BytePairTokenizer | None = None) -> None:
        super().__init__()
        if tokenizer is not None and len(tokenizer) != config.text.vocabulary:
            raise InputError(
                f"expected a tokenizer of {config.text.vocabulary} tokens, as the configuration says, got one of "
                f"{len(tokenizer)}; make the configuration for this tokenizer"
            )
        self.config = config
        self.tokenizer = tokenizer
        activation = quick_gelu if config.quick_gelu else F.gelu
        if isinstance(config.image, ViTConfig):
            self.image: nn.Module = VisionTransformer(config.image, config.width, activation)
        elif isinstance(config.image, ResNetConfig):
            self.image = ModifiedResNet(config.image, config.width)
        else:
            self.image = PooledCNN(config.image, config.width)
        self.text = TextTransformer(config.text, config.width, activation)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))  # t of figure 3, begun as in section 2.5

    def scale(self) -> Float[Tensor, ""]:
        """exp(t), at most 100: what cosines are multiplied by to be logits."""
        if self.training:  # t itself is clipped, not only its use: beyond the border it would get no gradient back
            with torch.no_grad():
                self.log_scale.clamp_(max=LOGIT_100)
        return self.log_scale.exp()

    def forward(
        self, pixels: Float[Tensor, "images 3 rows columns"], ids: Int[Tensor, "texts tokens"]
    ) -> tuple[Float[Tensor, "images width"], Float[Tensor, "texts width"]]:
        """Image and text vectors of unit length: I_e and T_e of figure 3."""
        return F.normalize(self.image(pixels), dim=1), F.normalize(self.text(ids), dim=1)

    def logits(
        self, pixels: Float[Tensor, "images 3 rows columns"], ids: Int[Tensor, "texts tokens"]
    ) -> Float[Tensor, "images texts"]:
        """How well each text fits each picture: I_e T_e^T exp(t)."""
        images, texts = self(pixels, ids)
        return self.scale() * images @ texts.T

    def read(self, texts: Texts) -> Int[Tensor, "batch tokens"]:
        """Texts -> token ids, on the model's device; see `read_texts`."""
        return read_texts(texts, self.config.text, self.tokenizer).to(self.log_scale.device)

    @torch.no_grad()
    def encode_image(self, images: Images) -> Float[Tensor, "images width"]:
        """Vectors of unit length, so that a product of two is the cosine between them.

        Args:
            images: one image or several, as `vlm_history.images.read_images` takes them; of one that is not square,
                the middle counts.
        """
        config = self.config.image
        pixels = read_images(images, size=config.image_size, mean=config.mean, std=config.std, crop=True)
        training = self.training
        self.eval()
        device = self.log_scale.device
        vectors = [F.normalize(self.image(some.to(device)), dim=1) for some in pixels.split(TOGETHER)]
        self.train(training)
        return torch.cat(vectors)

    @torch.no_grad()
    def encode_text(self, texts: Texts) -> Float[Tensor, "texts width"]:
        """Vectors of unit length; see `read_texts` for what texts may be."""
        training = self.training
        self.eval()
        vectors = [F.normalize(self.text(some), dim=1) for some in self.read(texts).split(16 * TOGETHER)]
        self.train(training)
        return torch.cat(vectors)

    def encode_names(self, names: Sequence[str], prompts: Sequence[str]) -> Float[Tensor, "names width"]:
        """One vector for each name: the mean of its vectors in several prompts (section 3.1.4).

        Args:
            names: what is asked for.
            prompts: sentences with {} for the name.

        Raises:
            InputError: no name, or no prompt, or one without {}.
        """
        if isinstance(names, str) or not names or isinstance(prompts, str) or not prompts:
            raise InputError(
                f"expected a list of names and a list of prompts, at least one of each, got {names!r} and {prompts!r}"
            )
        wrong = [prompt for prompt in prompts if "{}" not in prompt]
        if wrong:
            raise InputError(f"expected prompts with {{}} where the name goes, got {wrong[0]!r}")
        said = self.encode_text([prompt.replace("{}", name) for name in names for prompt in prompts])
        return F.normalize(said.unflatten(0, (len(names), len(prompts))).mean(1), dim=1)

    @torch.no_grad()
    def classify(
        self, image: Images, names: Sequence[str], *, language: str = "ko", prompts: Sequence[str] | None = None
    ) -> dict[str, float] | list[dict[str, float]]:
        """Which of these names fits a picture best? Any names will do: none of them was ever a class.

        Args:
            image: one image or several, as `encode_image` takes them.
            names: what it may be, each once.
            language: "ko" or "en": which of the configuration's prompts the names are put into.
            prompts: others instead, with {} for the name; several are an ensemble.

        Returns:
            For each image the names with their probabilities, the likeliest first.

        Raises:
            InputError: an unknown language, no name or one twice, a prompt without {}, or no image.
        """
        if language not in ("ko", "en"):
            raise InputError(f'expected language "ko" or "en", got {language!r}; choose one of the two')
        if len(set(names)) < len(names):
            raise InputError(f"expected each name once, got {len(names) - len(set(names))} of them again")
        asked = self.encode_names(names, prompts or self.config.prompts[("ko", "en").index(language)])
        logits = self.scale() * self.encode_image(image) @ asked.T
        told = []
        for chances in logits.softmax(1).cpu():
            best, which = chances.sort(descending=True)
            told.append({names[row]: chance for row, chance in zip(which.tolist(), best.tolist(), strict=True)})
        return told[0] if is_single(image) else told

    def find_images(self, text: str, images: Images, k: int = 5) -> list[tuple[int, float]]:
        """The k images that fit a text best: their places among those given, and the cosines, the best first."""
        return nearest(self.encode_text(text), self.encode_image(images), k)[0]

    def find_texts(self, image: Images, texts: Sequence[str], k: int = 5) -> list[tuple[int, float]]:
        """The k texts, in whatever language, that fit an image best: their places, and the cosines, the best first."""
        return nearest(self.encode_image(image), self.encode_text(texts), k)[0]


def nearest(
    asked: Float[Tensor, "queries width"], there: Float[Tensor, "gallery width"], k: int
) -> list[list[tuple[int, float]]]:
    """For each vector the k of a gallery with the largest cosine, the best first.

    Args:
        asked, there: of unit length.
        k: how many; all if there are fewer.

    Raises:
        InputError: k below one.
    """
    if k < 1:
        raise InputError(f"expected k of at least 1, got {k}")
    best, which = (asked @ there.T).topk(min(k, len(there)), dim=1)
    return [list(zip(w, b, strict=True)) for w, b in zip(which.tolist(), best.tolist(), strict=True)]
