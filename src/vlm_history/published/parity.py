"""Held to the originals: our networks beside those of the libraries, counted at published size and run when small.

Counting needs no memory: both are built on the meta device. Running takes a small configuration of the same
architecture with random weights in which nothing is at rest, copied by the adapters that read published weights, and
a batch of three whose texts are of different lengths, padded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import open_clip
import torch
import torchvision
import transformers
from torch import Tensor, nn

from vlm_history.connect.cnn import VGG, GoogLeNet, GoogLeNetConfig, VGGConfig
from vlm_history.connect.lstm import LSTM
from vlm_history.pretrain.autoencoder import AutoencoderConfig
from vlm_history.pretrain.clip import CLIP, CLIPConfig
from vlm_history.pretrain.clip_towers import ResNetConfig, TextConfig, ViTConfig
from vlm_history.pretrain.dvae import DVAEConfig, Encoder
from vlm_history.pretrain.gpt1 import GPT, GPT1, GPT2, GPTConfig
from vlm_history.pretrain.stable_diffusion import StableDiffusion, StableDiffusionConfig
from vlm_history.pretrain.unet import UNetConfig
from vlm_history.published import build, clip, dalle, googlenet, gpt, names, stable_diffusion, vgg

BATCH = 3
DIFFUSERS = find_spec("diffusers") is not None
"""Without it, Stable Diffusion is left out."""


@dataclass(frozen=True)
class Counted:
    """Parameters of a published model: ours, and the library's."""

    name: str
    library: str
    ours: int
    theirs: int


@dataclass(frozen=True)
class Held:
    """Outputs of a small model beside the library's.

    Attributes:
        architecture, library: whose.
        outputs: what was compared.
        gap: largest absolute difference.
        largest: largest absolute value of the library's.
    """

    architecture: str
    library: str
    outputs: str
    gap: float
    largest: float


def _gpt(kind: Any, config: GPTConfig, **more: Any) -> Any:
    """transformers' GPT of these sizes."""
    model, its_config = {
        GPT1: (transformers.OpenAIGPTLMHeadModel, transformers.OpenAIGPTConfig),
        GPT2: (transformers.GPT2LMHeadModel, transformers.GPT2Config),
    }[kind]
    return model(its_config(**{theirs: getattr(config, ours) for ours, theirs in gpt.SIZES.items()}, **more))


def _codebook(config: DVAEConfig) -> Any:
    """transformers' encoder of these sizes: what FLAVA took over from DALL-E."""
    sizes = dalle.files(Encoder(config), "transformers")["config.json"]
    return transformers.FlavaImageCodebook(transformers.FlavaImageCodebookConfig(**sizes))


def _open_clip(config: CLIPConfig) -> Any:
    return open_clip.CLIP(**clip.to_open_clip(config)["open_clip_config.json"]["model_cfg"])


def diffusers_part(config: StableDiffusionConfig, part: str) -> Any:
    """One of the parts of a Stable Diffusion, by diffusers' folder: diffusers' own, or transformers' text tower."""
    import diffusers

    with torch.device("meta"):
        told = stable_diffusion.to_diffusers(StableDiffusion(config))[part][2]["config.json"]
    if part == "text_encoder":
        return transformers.CLIPTextModel(transformers.CLIPTextConfig.from_dict(told))
    return {"unet": diffusers.UNet2DConditionModel, "vae": diffusers.AutoencoderKL}[part].from_config(told)


def diffusers_parts(config: StableDiffusionConfig) -> dict[str, Any]:
    """All of them."""
    return {part: diffusers_part(config, part) for part in stable_diffusion.WEIGHTS}


def _original(name: str) -> tuple[str, Callable[[], nn.Module]]:
    """The library that a published model comes from, and how to build it there."""
    if name == "openai/dall-e-encoder":
        return "transformers", lambda: _codebook(DVAEConfig.published())
    if name in stable_diffusion.NAMES:
        return "diffusers", lambda: nn.ModuleDict(diffusers_parts(StableDiffusionConfig.published()))
    if name in gpt.NAMES:
        return "transformers", lambda: _gpt(*gpt.NAMES[name])
    if name in clip.NAMES:
        # open_clip's own table of sizes, not one made from ours
        size = clip.NAMES[name].replace("/", "-").replace("@336px", "-336") + "-quickgelu"
        known = open_clip.get_model_config(size)
        assert known is not None, size
        return "open_clip", lambda: open_clip.CLIP(**known)
    theirs = {"torchvision/googlenet": "googlenet", "torchvision/vgg19": "vgg19"}[name]
    more = {"aux_logits": False} if theirs == "googlenet" else {}
    return "torchvision", lambda: torchvision.models.get_model(theirs, init_weights=False, **more)


UNRIVALLED = frozenset({"openai/dall-e-decoder"})
"""What no library has that is installed here."""


def counts() -> Iterator[Counted]:
    """All published models that a library has, too, counted."""
    absent = UNRIVALLED if DIFFUSERS else {*UNRIVALLED, *stable_diffusion.NAMES}
    for name in [name for name in names() if name not in absent]:
        library, original = _original(name)
        with torch.device("meta"):
            both = [sum(p.numel() for p in model.parameters()) for model in (build(name), original())]
        yield Counted(name, library, *both)


def _awake(model: Any) -> Any:
    """Random weights with no gain, bias or running statistic at rest, which would hide a mix-up."""
    for tensor in model.parameters():
        if tensor.ndim == 1:
            tensor.normal_(0.6, 0.3)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]  # it keeps them
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
    return model.eval()


def _gap(architecture: str, library: str, outputs: str, ours: list[Tensor], theirs: list[Tensor]) -> Held:
    pairs = list(zip(ours, theirs, strict=True))
    gap = max(float((one - other).abs().max()) for one, other in pairs)
    return Held(architecture, library, outputs, gap, max(float(other.abs().max()) for _, other in pairs))


def _lstm() -> Held:
    theirs = _awake(nn.LSTM(12, 16, batch_first=True))
    ours = LSTM(12, 16, fused=False)
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(theirs.parameters()), ours.parameters())
    sequence = torch.randn(BATCH, 20, 12)
    return _gap("LSTM", "torch", "states", [ours(sequence)], [theirs(sequence)[0]])


def _googlenet() -> Held:
    theirs = _awake(torchvision.models.googlenet(aux_logits=False, init_weights=False, num_classes=10))
    ours = GoogLeNet(replace(GoogLeNetConfig(), classes=10)).eval()
    ours.load_state_dict(googlenet.TORCHVISION.from_published(theirs.state_dict(), ours))
    pixels = torch.randn(BATCH, 3, 64, 64)
    return _gap("GoogLeNet", "torchvision", "logits", [ours.classify(pixels)], [theirs(pixels)])


def _vgg() -> Held:
    config = VGGConfig(stages=((8,) * 2, (8,) * 2, (12,) * 4, (16,) * 4, (16,) * 4), width=24, classes=10)
    layers = [layer for stage in config.stages for layer in (*stage, "M")]
    with torch.device("meta"):  # its classifier is a wide one, whatever stands below it
        theirs = torchvision.models.VGG(torchvision.models.vgg.make_layers(layers), init_weights=False)
    for place, (inputs, outputs) in {0: (16 * 49, 24), 3: (24, 24), 6: (24, 10)}.items():
        theirs.classifier[place] = nn.Linear(inputs, outputs)
    for tensor in theirs.to_empty(device="cpu").parameters():
        tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5 if tensor.ndim > 1 else 0.1)
    theirs.eval()
    ours = VGG(config).eval()
    ours.load_state_dict(vgg.TORCHVISION.from_published(theirs.state_dict(), ours))
    pixels = torch.randn(BATCH, 3, 64, 64)
    return _gap("VGG-19", "torchvision", "logits", [ours.classify(pixels)], [theirs(pixels)])


def _language(kind: type[GPT], title: str) -> Held:
    config = GPTConfig(vocabulary=61, length=24, width=32, depth=3, heads=4)
    theirs = _awake(_gpt(kind, config, initializer_range=0.1, bos_token_id=None, eos_token_id=None))
    ours = kind(config).eval()
    tensors = {n.removeprefix("transformer."): t for n, t in theirs.state_dict().items() if n != "lm_head.weight"}
    ours.load_state_dict(gpt.transformers(kind, config.depth).from_published(tensors, ours))
    tokens = torch.randint(config.vocabulary, (BATCH, config.length))
    there = torch.arange(config.length) < torch.tensor([[24], [17], [5]])
    told = theirs(tokens, attention_mask=there.long()).logits
    return _gap(title, "transformers", "logits", [ours(tokens, there)[there]], [told[there]])


def _dvae() -> Held:
    config = DVAEConfig(codes=40, widths=(8, 16, 32, 64), entry=8, blocks=2, gain=1 / 64, image_size=32)
    theirs = _awake(_codebook(config))
    for tensor in theirs.parameters():
        if tensor.ndim > 1:
            tensor.normal_(0, 3 * tensor[0].numel() ** -0.5)  # so large that what blocks add, times 1/64, is seen
    ours = Encoder(config).eval()
    ours.load_state_dict(dalle.transformers(config).from_published(theirs.state_dict(), ours))
    pixels = torch.rand(BATCH, 3, config.image_size, config.image_size)
    return _gap("DALL-E, encoder", "transformers", "logits", [ours(pixels)], [theirs(pixels)])


def _clip(image: ViTConfig | ResNetConfig, library: str, title: str) -> Held:
    text = TextConfig(vocabulary=90, length=12, width=32, depth=2, heads=4)
    config = CLIPConfig(image, text, width=24)
    if library == "open_clip":
        theirs = _open_clip(config)
    else:
        theirs = transformers.CLIPModel(
            transformers.CLIPConfig.from_dict(clip.to_transformers(config)["config.json"])
        )  # fmt: skip
    theirs = _awake(theirs)
    theirs.logit_scale.fill_(3.0)
    ours = CLIP(config).eval()
    ours.load_state_dict(clip.ADAPTERS[library](config).from_published(theirs.state_dict(), ours))
    pixels = torch.randn(BATCH, 3, image.image_size, image.image_size)
    end = text.vocabulary - 1
    ids = torch.randint(1, end - 1, (BATCH, text.length))
    for row, length in enumerate((text.length, 7, 3)):
        ids[row, 0], ids[row, length - 1], ids[row, length:] = end - 1, end, 0
    if library == "open_clip":
        told = [theirs.encode_image(pixels), theirs.encode_text(ids), theirs.get_logits(pixels, ids)[0]]
    else:
        there = (ids != 0).long()
        told = [
            theirs.get_image_features(pixels).pooler_output,
            theirs.get_text_features(ids, attention_mask=there).pooler_output,
            theirs(input_ids=ids, pixel_values=pixels, attention_mask=there).logits_per_image,
        ]
    made = [ours.image(pixels), ours.text(ids), ours.logits(pixels, ids)]
    return _gap(title, library, "image and text vectors, logits", made, told)


def _diffusion() -> Held:
    config = StableDiffusionConfig(
        AutoencoderConfig(widths=(8, 16, 24), depth=2, channels=3, groups=4, image_size=32),
        UNetConfig(channels=3, widths=(8, 16, 24), attention=(True, True, False), heads=4, source=20, groups=4),
        TextConfig(vocabulary=90, length=12, width=20, depth=2, heads=4),
        tokens=12,
    )
    theirs = {part: _awake(model) for part, model in diffusers_parts(config).items()}
    ours = stable_diffusion.assemble({part: model.state_dict() for part, model in theirs.items()}, config)
    pixels, z, times = torch.randn(BATCH, 3, 32, 32), torch.randn(BATCH, 3, 8, 8), torch.randint(1000, (BATCH,))
    ids = torch.randint(1, 88, (BATCH, 12))
    for row, length in enumerate((12, 7, 2)):
        ids[row, 0], ids[row, length - 1 :] = 88, 89
    words = theirs["text_encoder"](ids).last_hidden_state
    coded = theirs["vae"].encode(pixels).latent_dist.parameters
    told = [theirs["unet"](z, times, words).sample, coded, theirs["vae"].decode(z).sample, words]
    seen, read = ours.autoencoder.encode(pixels), ours.condition(ids)
    made = [ours.unet(z, times, read), torch.cat([seen.mean, seen.log_variance], 1), ours.autoencoder.decode(z), read]
    return _gap("Stable Diffusion", "diffusers", "noise, latents, pictures, words", made, told)


def held(seed: int = 0) -> Iterator[Held]:
    """All architectures, run beside the library's.

    Args:
        seed: of weights and input; torch's global stream is left as it was.
    """
    vit = ViTConfig(patch=8, width=48, depth=3, heads=4, image_size=32)
    resnet = ResNetConfig((2, 1, 1, 2), width=8, heads=4, image_size=64)
    ways: tuple[Callable[[], Held], ...] = (
        _lstm,
        _googlenet,
        _vgg,
        lambda: _language(GPT1, "GPT-1"),
        lambda: _language(GPT2, "GPT-2"),
        lambda: _clip(vit, "transformers", "CLIP, ViT"),
        lambda: _clip(vit, "open_clip", "CLIP, ViT"),
        lambda: _clip(resnet, "open_clip", "CLIP, ResNet"),
        _dvae,
        *((_diffusion,) if DIFFUSERS else ()),
    )
    for number, way in enumerate(ways):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed + number)
            found = way()
        yield found
