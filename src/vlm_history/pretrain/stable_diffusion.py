"""Stable Diffusion: noise becomes a picture, step by step, and words say which.

Rombach et al., 2022 (High-Resolution Image Synthesis with Latent Diffusion Models, arXiv 2112.10752). Sections and
equations are named where the code follows them. Its parts: CLIP's text tower (`clip_towers`) reads, the U-Net (`unet`)
tells the noise in latents, the autoencoder (`autoencoder`) knows what latents look like, and a sampler (`samplers`)
goes from one to the other. Guidance is Ho and Salimans' (arXiv 2207.12598).

Between the text tower and the U-Net a few layers may read on (`Reader`), which Stable Diffusion itself has not.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from vlm_history.errors import InputError
from vlm_history.images import Images, is_single, read_images
from vlm_history.layers import Activation, PreNormBlock, quick_gelu
from vlm_history.pretrain.autoencoder import Autoencoder, AutoencoderConfig
from vlm_history.pretrain.clip import Texts, read_texts
from vlm_history.pretrain.clip_towers import TextConfig, TextTransformer
from vlm_history.pretrain.samplers import SAMPLERS, Latents, Noise, NoiseConfig
from vlm_history.pretrain.unet import Looks, UNet, UNetConfig, Words
from vlm_history.text import BytePairTokenizer

Picture = NDArray[np.uint8]
"""(height, width, 3) bytes."""
PIXELS = 2**18
"""Of the pictures that are drawn together, so that any number of them fits."""


@dataclass(frozen=True)
class StableDiffusionConfig:
    """Sizes of the parts.

    Attributes:
        autoencoder, unet, text: see there; of the text tower, the U-Net attends to all tokens.
        noise: the forward process.
        quick_gelu: whether the text tower uses QuickGELU, as OpenAI's does; else GELU.
        tokens: how many a text has; what it lacks is filled up with ends, which are attended to as well.
        guidance: how much a prompt counts, if nothing else is said.
        reader: layers that read on, see `Reader`; none in Stable Diffusion.
    """

    autoencoder: AutoencoderConfig
    unet: UNetConfig
    text: TextConfig
    noise: NoiseConfig = NoiseConfig()  # noqa: RUF009  it is frozen
    quick_gelu: bool = True
    tokens: int = 77
    guidance: float = 7.5
    reader: int = 0

    @classmethod
    def published(cls) -> StableDiffusionConfig:
        """Version 1: 512 x 512 pixels, CLIP ViT-L/14's text tower (of 123,060,480 parameters)."""
        return cls(AutoencoderConfig.published(), UNetConfig.published(), TextConfig(width=768, heads=12))

    @classmethod
    def world(cls, text: TextConfig) -> StableDiffusionConfig:
        """64 x 64 pixels, with the text tower of this world's CLIP, and two layers that read on where that stopped; v
        is predicted, which needs fewer steps."""
        return cls(
            AutoencoderConfig.world(), UNetConfig.world(text.width), text, NoiseConfig(prediction="v"),
            quick_gelu=False, tokens=32, guidance=3.0, reader=2,
        )  # fmt: skip


class Reader(nn.Module):
    """Reads on where CLIP's text tower stopped, and learns along with the U-Net.

    CLIP had to tell one picture from others by one vector, for which it hardly matters which word comes first; what
    its text tower knows at a name says little of where that thing is to be drawn. In the paper a transformer learns to
    read along with the U-Net (section 3.3); Stable Diffusion took CLIP's as it was, and later ones put layers between
    that learn (Lumina-Image 2.0's "context refiner", arXiv 2503.21758). Its layers look both ways, and are told anew
    which token comes first.

    Args:
        tokens: of a text.
        width: of the tokens.
        depth, heads: of the transformer; without a layer, what comes in goes out.
        activation: of its MLPs.
    """

    def __init__(self, tokens: int, width: int, depth: int, heads: int, activation: Activation) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(tokens, width)) if depth else None
        self.blocks = nn.ModuleList(PreNormBlock(width, heads, False, activation) for _ in range(depth))
        for block in self.blocks.modules():
            if isinstance(block, PreNormBlock):  # a new reader lets everything through
                for last in (block.attention.out, block.mlp.narrow):
                    nn.init.zeros_(last.weight)
                    nn.init.zeros_(last.bias)

    def forward(self, words: Words) -> Words:
        """What is known at each token, after reading on."""
        if self.positions is None:
            return words
        words = words + self.positions
        for block in self.blocks:
            words = block(words)
        return words


@dataclass(frozen=True)
class Way:
    """How a picture is to be drawn: what `StableDiffusion.draw`, `draw_from` and `inpaint` share, checked."""

    seed: int
    steps: int
    guidance: float
    sampler: str
    avoid: str
    progress: bool

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise InputError(f"expected a sampler among {', '.join(SAMPLERS)}, got {self.sampler!r}")
        if not 0 <= self.guidance < 1e6:  # NaN is refused, too
            raise InputError(
                f"expected a guidance of at least 0 and below 1e6, got {self.guidance}; 1 is none, 3 to 8 are usual"
            )
        if not 0 <= self.seed < 2**62:
            raise InputError(f"expected a seed from 0 to 2^62 - 1, got {self.seed}")


class StableDiffusion(nn.Module):
    """Text -> picture; picture and text -> picture; picture with a hole and text -> whole picture."""

    def __init__(self, config: StableDiffusionConfig, tokenizer: BytePairTokenizer | None = None) -> None:
        super().__init__()
        if tokenizer is not None and len(tokenizer) != config.text.vocabulary:
            raise InputError(
                f"expected a tokenizer of {config.text.vocabulary} tokens, as the configuration says, got one of "
                f"{len(tokenizer)}; make the configuration for this tokenizer"
            )
        parts = (config.autoencoder.channels, config.text.width, config.tokens)
        if parts[:2] != (config.unet.channels, config.unet.source) or not 2 <= config.tokens <= config.text.length:
            raise InputError(
                f"expected parts that fit, got latents of {config.autoencoder.channels} channels for a U-Net of "
                f"{config.unet.channels}, words of {config.text.width} for one of {config.unet.source}, and "
                f"{config.tokens} tokens of at most {config.text.length}"
            )
        self.config = config
        self.tokenizer = tokenizer
        self.noise = Noise(config.noise)
        self.autoencoder = Autoencoder(config.autoencoder)
        self.unet = UNet(config.unet)
        activation = quick_gelu if config.quick_gelu else F.gelu
        self.text = TextTransformer(config.text, config.text.width, activation)
        del self.text.project  # CLIP's way out of it, by one token, is not taken
        self.reader = Reader(config.tokens, config.text.width, config.reader, config.text.heads, activation)

    def forward(
        self, z: Latents, words: Words, times: Int[Tensor, " batch"], epsilon: Latents
    ) -> Float[Tensor, " batch"]:
        """L_LDM of equation 3, of each picture: how far the prediction is from the noise (or v), squared.

        Args:
            z: latents, scaled.
            words: of each picture, see `condition`.
            times: t, from 0 to T - 1; the paper draws it evenly.
            epsilon: normal noise.
        """
        predicted = self.unet(self.noise.add(z, epsilon, times), times, words)
        return (predicted - self.noise.target(z, epsilon, times)).square().flatten(1).mean(1)

    def read(self, texts: Texts) -> Int[Tensor, "batch tokens"]:
        """Texts -> token ids, each filled up with ends.

        Raises:
            InputError: no text, or one that is too long; see `clip.read_texts`.
        """
        end = self.config.text.vocabulary - 1
        ids = read_texts(texts, replace(self.config.text, length=self.config.tokens), self.tokenizer)
        ids = ids.masked_fill((ids == end).cumsum(1) > 0, end)
        return F.pad(ids, (0, self.config.tokens - ids.shape[1]), value=end).to(self.unet.outputs.weight.device)

    def condition(self, texts: Texts) -> Words:
        """tau(y) of section 3.3: what CLIP's text tower, and who reads on, know at each token."""
        return self.reader(self.text.tokens(self.read(texts)))

    def encode(self, images: Images) -> Latents:
        """Pictures -> latents, scaled: the means of q(z | x).

        Args:
            images: one or several, as `vlm_history.images.read_images` takes them; the middle counts.
        """
        config = self.config.autoencoder
        pixels = read_images(images, size=config.image_size, mean=config.mean, std=config.std, crop=True)
        return self.autoencoder.encode(pixels.to(self.unet.outputs.weight.device)).mean * config.scale

    def decode(self, z: Latents) -> list[Picture]:
        """Latents, scaled -> pictures."""
        config = self.config.autoencoder
        mean, std = (torch.tensor(v, device=z.device)[:, None, None] for v in (config.mean, config.std))
        pixels = self.autoencoder.decode(z / config.scale) * std + mean
        return list((255 * pixels.clamp(0, 1)).round().byte().permute(0, 2, 3, 1).cpu().numpy())

    def predict(self, z: Latents, time: int, words: Words, unguided: Words, guidance: float) -> Latents:
        """Classifier-free guidance: from what it would be without the prompt through what it is with it, and on.

        e(unguided) + guidance (e(words) - e(unguided)): equation 6 of Ho and Salimans, whose w is guidance - 1.
        """
        if guidance == 1:
            return self.unet(z, torch.full((len(z),), time, device=z.device), words)
        times = torch.full((2 * len(z),), time, device=z.device)
        without, told = self.unet(torch.cat([z, z]), times, torch.cat([unguided, words])).chunk(2)
        return without + guidance * (told - without)

    @torch.no_grad()
    def draw(
        self, prompt: Texts, *, n: int = 1, seed: int = 0, steps: int = 20,
        guidance: float | None = None, sampler: str = "dpm-solver++", avoid: str = "", return_path: bool = False,
        return_attention: bool = False, progress: bool = False,
    ) -> Any:  # fmt: skip
        """Draw what a text says.

        Args:
            prompt: one text, or several (or token ids); "" draws whatever comes.
            n: pictures of each.
            seed: the k-th picture is the first one with seed + k, whatever else is drawn along with it.
            steps: of the sampler.
            guidance: how much the prompt counts: 1 is no guidance, 0 no prompt; the configuration's if None.
            sampler: "ddpm", "ddim" or "dpm-solver++".
            avoid: what guidance leads away from; "" is a picture of anything.
            return_path: with each picture those that the network saw in the noise, one a step.
            return_attention: with each picture where its words were looked at from: for each word a grid
                (rows, columns), the share of each place's looks, a mean over all steps, layers and heads.
            progress: show a bar.

        Returns:
            For one prompt and n = 1 a picture, bytes (height, width, 3), for one and more a list of them; for several
            prompts a list of what each would get alone. With `return_path` or `return_attention`, instead of each
            picture a tuple that begins with it.

        Raises:
            InputError: no prompt or one that is too long, no picture, an unknown sampler, steps or a guidance that
                cannot be.
        """
        way = Way(seed, steps, self.config.guidance if guidance is None else guidance, sampler, avoid, progress)
        return self._draw(prompt, n, way, path=return_path, attention=return_attention)

    @torch.no_grad()
    def draw_from(
        self, image: Images, prompt: Texts, *, n: int = 1, strength: float = 0.7, seed: int = 0,
        steps: int = 20, guidance: float | None = None, sampler: str = "dpm-solver++", avoid: str = "",
        progress: bool = False,
    ) -> Any:  # fmt: skip
        """Make another picture of a picture: noise is laid over it, and what a text says is seen in that (SDEdit, arXiv
        2108.01073).

        Args:
            image: one image, as `vlm_history.images.read_images` takes it.
            strength: how much noise, above 0 (what is there stays) up to 1 (hardly anything stays): the share of the
                steps that are gone.
            prompt, n, seed, steps, guidance, sampler, avoid, progress: see `draw`, as is what is returned.

        Raises:
            InputError: see `draw`; also no image or several, or a strength that cannot be.
        """
        way = Way(seed, steps, self.config.guidance if guidance is None else guidance, sampler, avoid, progress)
        if not 0 < strength <= 1:
            raise InputError(f"expected a strength above 0 and up to 1, got {strength}")
        return self._draw(prompt, n, way, start=self.encode(_single(image)), strength=strength)

    @torch.no_grad()
    def inpaint(
        self, image: Images, mask: Any, prompt: Texts, *, n: int = 1, seed: int = 0, steps: int = 20,
        guidance: float | None = None, sampler: str = "dpm-solver++", avoid: str = "", progress: bool = False,
    ) -> Any:  # fmt: skip
        """Draw a part of a picture anew, with the same weights: before each step the rest is put back, as noisy as it
        has to be then (as in RePaint, arXiv 2201.09865, equation 8; in latents, arXiv 2206.02779).

        Args:
            image: see `draw_from`.
            mask: booleans or bytes (height, width) of the image's size, or a PIL image: what is not 0 is drawn anew.
            prompt, n, seed, steps, guidance, sampler, avoid, progress: see `draw`, as is what is returned.

        Raises:
            InputError: see `draw`; also no image or several, or a mask of another size.
        """
        way = Way(seed, steps, self.config.guidance if guidance is None else guidance, sampler, avoid, progress)
        config = self.config.autoencoder
        plain: dict[str, Any] = {"size": config.image_size, "mean": (0.0,) * 3, "std": (1.0,) * 3, "crop": True}
        there = read_images(_single(image), **plain)
        hole = read_images(_read_mask(mask, image), **plain)
        # a latent is drawn anew if any of its pixels is
        grid = F.max_pool2d((hole[:, :1] > 0.5).float(), config.factor) > 0
        drawn = self._draw(prompt, n, way, start=self.encode(image), hole=grid)
        again = hole[0].permute(1, 2, 0).numpy() > 0.5
        pixels = (255 * there[0]).round().byte().permute(1, 2, 0).numpy()

        def pasted(drawn: Any) -> Any:
            return np.where(again, drawn, pixels) if isinstance(drawn, np.ndarray) else [pasted(one) for one in drawn]

        return pasted(drawn)

    def _draw(
        self, prompt: Texts, n: int, way: Way, start: Latents | None = None, strength: float = 1.0,
        hole: Bool[Tensor, "1 1 rows columns"] | None = None, path: bool = False, attention: bool = False,
    ) -> Any:  # fmt: skip
        """What the three share: pictures in groups that fit, and what comes with them."""
        if n < 1:
            raise InputError(f"expected at least one picture, got n={n}")
        device, side = self.unet.outputs.weight.device, self.config.autoencoder.image_size
        ids = self.read(prompt).repeat_interleave(n, 0)
        end = self.config.text.vocabulary - 1
        without = self.condition(way.avoid or torch.tensor([[end - 1, end]]))
        drawn: list[Any] = []
        for some in torch.arange(len(ids)).split(max(1, PIXELS // side**2)):
            lots = [torch.Generator().manual_seed(way.seed + number % n) for number in some.tolist()]
            told, looks = ids[some.to(device)], Looks(self.unet)
            with looks if attention else nullcontext():
                z, seen = self.denoise(self.condition(told), without, way, lots, start, strength, hole)
            columns: list[list[Any]] = [self.decode(z)]
            if path:
                columns.append([list(steps) for steps in zip(*map(self.decode, seen), strict=True)])
            if attention:
                columns.append(
                    [self._by_word(*one) for one in zip(told.tolist(), looks.mean()[-len(z) :], strict=True)]
                )
            drawn += zip(*columns, strict=True) if len(columns) > 1 else columns[0]
        if n > 1:
            drawn = [drawn[at : at + n] for at in range(0, len(drawn), n)]
        return drawn[0] if isinstance(prompt, str) else drawn

    def denoise(
        self, words: Words, without: Float[Tensor, "1 tokens source"], way: Way, lots: list[torch.Generator],
        start: Float[Tensor, "1 channels rows columns"] | None = None, strength: float = 1.0,
        hole: Bool[Tensor, "1 1 rows columns"] | None = None,
    ) -> tuple[Latents, list[Tensor]]:  # fmt: skip
        """From noise, or from what `start` and noise make, to latents.

        Args:
            words, without: the prompts, and what guidance leads away from.
            way: see there.
            lots: the chance of each picture.
            start, strength: see `draw_from`.
            hole: where latents are drawn anew; the others are `start`'s.

        Returns:
            The latents, scaled, and z_0 as it was seen at each step.
        """
        config, device = self.config, words.device
        side = config.autoencoder.image_size // config.autoencoder.factor

        def chance() -> Latents:
            each = [torch.randn(config.unet.channels, side, side, generator=lot) for lot in lots]
            return torch.stack(each).to(device)

        sampler = SAMPLERS[way.sampler](self.noise, way.steps)
        first = way.steps - max(1, int(way.steps * strength))
        z = epsilon = chance()

        def noisy(latents: Tensor, time: int) -> Tensor:
            alpha, sigma = self.noise.shares(time)
            return alpha * latents + sigma * epsilon

        if start is not None and hole is None:
            z = noisy(start, sampler.times[first])
        seen: list[Tensor] = []
        for step in tqdm(range(first, way.steps), disable=not way.progress, unit=" steps"):
            time = sampler.times[step]
            if start is not None and hole is not None:
                z = torch.where(hole.to(device), z, noisy(start, time))
            predicted = self.predict(z, time, words, without.expand_as(words), way.guidance)
            z = sampler.step(predicted, step, z, chance() if sampler.uses_chance else None)
            assert sampler.believed is not None
            seen.append(sampler.believed)
        return z, seen

    def _by_word(self, ids: list[int], looks: Float[Tensor, "tokens rows columns"]) -> list[tuple[str, Any]]:
        """The looks at the tokens of each word, summed: tokens are pieces of letters, which nobody can read."""
        assert self.tokenizer is not None
        words, found = self.tokenizer, list[tuple[list[int], Tensor]]()
        for i, grid in zip(ids[1 : ids.index(ids[-1])], looks[1:], strict=False):
            before = words.vocabulary[found[-1][0][-1]] if found else ""
            goes_on = not before.endswith(words.ending) if words.ending else not words.raw([i]).startswith(b" ")
            if found and goes_on:
                found[-1] = ([*found[-1][0], i], found[-1][1] + grid)
            else:
                found.append(([i], grid))
        return [(words.decode(word).strip(), grid.cpu().numpy()) for word, grid in found]


def _single(image: Images) -> Images:
    """One image, or an error."""
    if not is_single(image):
        raise InputError("expected one image, got several, or something else; pass one at a time")
    return image


def _read_mask(mask: Any, image: Images) -> Picture:
    """A mask as a picture of black and white, of the image's size."""
    marked = np.asarray(mask)
    if marked.ndim != 2 or marked.dtype not in (np.bool_, np.uint8):
        raise InputError(
            f"expected a mask as booleans or bytes (height, width), got {marked.dtype} {marked.shape}; what is not 0 "
            "is drawn anew"
        )
    if isinstance(image, (str, Path)):
        with Image.open(image) as opened:
            image = opened.copy()
    size = image.shape[:2] if isinstance(image, np.ndarray) else image.size[::-1]
    if marked.shape != size:
        raise InputError(f"expected a mask of the image's size, {size}, got {marked.shape}; resize it")
    return np.repeat((marked[:, :, None] > 0) * np.uint8(255), 3, axis=2)
