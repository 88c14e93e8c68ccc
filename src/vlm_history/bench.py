"""Side by side with the reference, in one run: are the answers equal, and which is faster?

A case is a function that makes both sides ready and returns them with a way to compare their answers. Both get the
same weights and the same input. They run in one process and in turn, so that whatever else the machine does meets
both; the median of the repeats counts. With one thread it is the thread's own time that is taken, which other
programs disturb least. A case whose answers differ raises: then no time means anything.

To add one, write such a function, with a docstring whose first line says what is compared, and enter it in `CASES`.
What CLIP's loss takes of memory is measured apart, by `memory`.
"""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.connect.cnn import VGGConfig
from vlm_history.connect.lstm import LSTM
from vlm_history.connect.show_attend_and_tell import ShowAttendAndTell, ShowAttendAndTellConfig
from vlm_history.errors import InputError
from vlm_history.pretrain.clip import CLIP, CLIPConfig
from vlm_history.pretrain.clip_towers import TextConfig
from vlm_history.pretrain.contrastive import bounded_loss, contrastive_loss
from vlm_history.pretrain.dalle import DALLEConfig, Transformer, pad
from vlm_history.pretrain.gpt1 import GPT2, GPTConfig
from vlm_history.pretrain.stable_diffusion import StableDiffusionConfig, Way
from vlm_history.pretrain.unet import UNet
from vlm_history.published import clip, gpt, stable_diffusion

Sides = tuple[Callable[[], Any], Callable[[], Any], Callable[[Any, Any], float]]
"""Ours, the reference, and the greatest difference between what they return."""
Results = dict[str, dict[str, float]]

TOLERANCE = 1e-4


class NotEqual(Exception):
    """The two sides of a case gave different answers."""


def apart(ours: Any, reference: Any) -> float:
    """The greatest absolute difference between two tensors, or between tensors of two tuples."""
    if isinstance(ours, Tensor):
        return float((ours - reference).abs().max())
    return max(apart(one, other) for one, other in zip(ours, reference, strict=True))


def lstm() -> Sides:
    """The LSTM of Show and Tell (512 wide, 16 sentences of 20 words): torch's kernel / a loop over our cell."""
    fused, loop = LSTM(512, 512).eval(), LSTM(512, 512, fused=False).eval()
    loop.load_state_dict(fused.state_dict())
    words = torch.randn(16, 20, 512)
    return lambda: fused(words), lambda: loop(words), apart


def step_by_step(
    model: ShowAttendAndTell, cell: nn.LSTMCell, annotations: Tensor, tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """The decoder as most public code has it: all that belongs to a word is computed at that word.

    The authors' own Theano code of 2015 did not do so; it projected the annotations once, and chose all words late.
    """
    h, c = model.start(annotations)
    logits = annotations.new_zeros(*tokens.shape, model.config.vocabulary)
    looks = annotations.new_zeros(*tokens.shape, annotations.shape[1])
    for step in range(tokens.shape[1]):
        word = model.embedding(tokens[:, step])
        projected = model.attend_place(annotations)  # the same at every word
        scores = model.attend_score(torch.tanh(projected + model.attend_state(h).unsqueeze(1))).squeeze(2)
        alpha = scores.softmax(1)
        context = (alpha.unsqueeze(2) * annotations).sum(1)
        context = torch.sigmoid(model.gate(h)) * context
        h, c = cell(torch.cat([word, context], 1), (h, c))
        chosen_from = word + model.from_hidden(h) + model.from_context(context)
        logits[:, step] = model.words(chosen_from)
        looks[:, step] = alpha
    return logits, looks


def _attending(features: int, hidden: int, batch: int = 16, words: int = 20) -> Sides:
    # a decoder of this size on a CNN of none: annotations come in as they are
    cnn = VGGConfig(stages=((1,), (1,), (1,), (1,), (features,)), width=1, classes=1)
    config = ShowAttendAndTellConfig.published()
    config = ShowAttendAndTellConfig(cnn, config.vocabulary, config.width, hidden, config.attention, config.dropout)
    model = ShowAttendAndTell(config).eval()
    cell = nn.LSTMCell(config.width + features, hidden)
    names = [name for name, _ in cell.named_parameters()]
    cell.load_state_dict(dict(zip(names, model.cell.state_dict().values(), strict=True)))
    annotations = torch.randn(batch, 14 * 14, features).relu()
    tokens = torch.randint(config.vocabulary, (batch, words))

    def ours() -> tuple[Tensor, Tensor]:
        chosen_from, alpha, _ = model.decode(annotations, tokens)
        return model.words(chosen_from), alpha

    return ours, lambda: step_by_step(model, cell, annotations, tokens), apart


def show_attend_and_tell() -> Sides:
    """Decoder of 512 on ResNet-101's 14 x 14 x 2,048, as in common public code: projected once / at every word."""
    return _attending(features=2048, hidden=512)


def show_attend_and_tell_1800() -> Sides:
    """Decoder of 1,800 on VGG-19's 14 x 14 x 512, as the authors had it for COCO: projected once / at every word."""
    return _attending(features=512, hidden=1800)


Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def _pairs(batch: int, width: int) -> list[Tensor]:
    """Image and text vectors of unit length, and the temperature that CLIP begins with."""
    vectors = [F.normalize(torch.randn(batch, width), dim=1) for _ in range(2)]
    return [x.requires_grad_() for x in (*vectors, torch.tensor(1 / 0.07))]


@torch.enable_grad()
def _with_gradients(loss: Loss, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    value = loss(*inputs)
    return value.detach(), *torch.autograd.grad(value, inputs)


def _clip_loss(batch: int, width: int) -> Sides:
    from open_clip.loss import ClipLoss

    inputs, reference = _pairs(batch, width), ClipLoss()
    return lambda: _with_gradients(contrastive_loss, inputs), lambda: _with_gradients(reference, inputs), apart


def clip_loss() -> Sides:
    """CLIP's loss and its gradients, 2,048 pairs of 512: one product of all with all / two, as open_clip has it."""
    return _clip_loss(2048, 512)


def _clip_image(config: CLIPConfig, library: str, batch: int = 4) -> Sides:
    ours = CLIP(config).eval()
    tensors = clip.ADAPTERS[library](config).to_published(ours)
    if library == "transformers":
        from transformers import CLIPConfig as TheirConfig
        from transformers import CLIPModel

        theirs: Any = CLIPModel(TheirConfig.from_dict(clip.to_transformers(config)["config.json"]))
    else:
        import open_clip

        theirs = open_clip.CLIP(**clip.to_open_clip(config)["open_clip_config.json"]["model_cfg"])
    theirs.load_state_dict(tensors, assign=True)
    theirs.eval()
    pixels = torch.randn(batch, 3, config.image.image_size, config.image.image_size)
    if library == "transformers":
        return lambda: ours.image(pixels), lambda: theirs.get_image_features(pixels).pooler_output, apart
    return lambda: ours.image(pixels), lambda: theirs.encode_image(pixels), apart


def clip_image() -> Sides:
    """Four pictures through CLIP ViT-B/32: ours / open_clip's."""
    return _clip_image(CLIPConfig.published("ViT-B/32"), "open_clip")


def clip_image_transformers() -> Sides:
    """Four pictures through CLIP ViT-B/32: ours / transformers'."""
    return _clip_image(CLIPConfig.published("ViT-B/32"), "transformers")


def _gpt2(config: GPTConfig) -> tuple[GPT2, Any]:
    """A GPT-2 of transformers' with random weights, and ours with the same, as `published.load` reads them."""
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {theirs: getattr(config, ours) for ours, theirs in gpt.SIZES.items()}
    theirs: Any = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=None, eos_token_id=None)).eval()
    ours = GPT2(config).eval()
    tensors = theirs.transformer.state_dict()
    ours.load_state_dict(gpt.transformers(GPT2, config.depth).from_published(tensors, ours), assign=True)
    return ours, theirs


def bare_loop(model: Any, tokens: Tensor, new: int) -> Tensor:
    """The likeliest tokens by a model of transformers' and its cache, without all that its `generate` looks after."""
    written, fed, cache = [tokens], tokens, None
    for _ in range(new):
        told = model(fed, past_key_values=cache, use_cache=True)
        fed, cache = told.logits[:, -1:].argmax(2), told.past_key_values
        written.append(fed)
    return torch.cat(written, dim=1)


def _writing(config: GPTConfig, batch: int, new: int) -> Sides:
    ours, theirs = _gpt2(config)
    tokens = torch.randint(config.vocabulary, (batch, 8))
    options = {"attention_mask": torch.ones_like(tokens), "pad_token_id": 0, "do_sample": False, "max_new_tokens": new}
    return lambda: ours.generate(tokens, new=new), lambda: theirs.generate(tokens, **options), apart


def gpt_writing() -> Sides:
    """A GPT of 4 layers of 128 writes 64 tokens: ours / transformers' `generate`, both with a cache."""
    return _writing(GPTConfig(4_000, length=128, width=128, depth=4, heads=4), batch=1, new=64)


def gpt_writing_32() -> Sides:
    """A GPT of 4 layers of 128 writes 64 tokens in each of 32 texts: ours / transformers' `generate`."""
    return _writing(GPTConfig(4_000, length=128, width=128, depth=4, heads=4), batch=32, new=64)


def gpt_2_writing() -> Sides:
    """GPT-2 of 124M writes 16 tokens: ours / a bare loop over transformers' model with its cache."""
    ours, theirs = _gpt2(GPTConfig.gpt2_small())
    tokens = torch.randint(ours.config.vocabulary, (1, 8))
    return lambda: ours.generate(tokens, new=16), lambda: bare_loop(theirs, tokens, 16), apart


def write_uncached(model: Transformer, text: Tensor, lots: Tensor) -> Tensor:
    """The codes that DALL-E's transformer draws with these lots, all that came before computed anew for each."""
    codes = text.new_zeros(len(text), 0)
    for at in range(lots.shape[1]):
        x = torch.cat([model.begin(text), model.go_on(codes)], dim=1)
        for block, pattern in zip(model.blocks, model.patterns(), strict=True):
            x = block(x, pattern[:, : x.shape[1], : x.shape[1]])
        ends = model.code_head(model.norm(x[:, -1])).double().softmax(1).cumsum(1)
        chosen = torch.searchsorted(ends, lots[:, at : at + 1].double() * ends[:, -1:], right=True)
        codes = torch.cat([codes, chosen], dim=1)
    return codes


def _dalle(config: DALLEConfig, batch: int) -> Sides:
    model = Transformer(config).eval()
    text = pad(torch.randint(config.vocabulary, (batch, config.length // 2)).tolist(), config)
    lots = torch.rand(batch, config.vae.side**2)
    return lambda: model.sample(text, lots), lambda: write_uncached(model, text, lots), apart


def dalle_drawing() -> Sides:
    """This world's DALL-E writes the 64 codes of a picture: with a cache / all computed anew for each code.

    No library at hand has DALL-E's transformer, and its authors did not release it. The reference is therefore no
    other implementation: it is a bare loop of this project's over the same blocks, so that what is compared is the
    cache alone. That the blocks are right other tests say.
    """
    return _dalle(DALLEConfig.world(1_536), batch=1)


def _need_diffusers() -> None:
    if find_spec("diffusers") is None:
        raise InputError("expected diffusers to be installed, which this is compared with; pip install diffusers")


def _unet(config: StableDiffusionConfig, side: int) -> Sides:
    _need_diffusers()
    from vlm_history.published.parity import diffusers_part

    theirs = diffusers_part(config, "unet").eval()
    with torch.device("meta"):
        ours = UNet(config.unet).eval()
    tensors = stable_diffusion.unet(config.unet).from_published(theirs.state_dict(), ours)
    ours.load_state_dict(tensors, assign=True)
    z, times = torch.randn(1, config.unet.channels, side, side), torch.tensor([500])
    words = torch.randn(1, config.tokens, config.unet.source)
    return lambda: ours(z, times, words), lambda: theirs(z, times, words).sample, apart


def unet_step() -> Sides:
    """A step of Stable Diffusion v1's U-Net, for 256 x 256 pixels: ours / diffusers'."""
    return _unet(StableDiffusionConfig.published(), side=32)


def _pipeline(config: StableDiffusionConfig, steps: int) -> Sides:
    """Both from token ids and the same noise to pixels from 0 to 1."""
    _need_diffusers()
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    from vlm_history.published.parity import diffusers_parts

    theirs = {part: model.eval() for part, model in diffusers_parts(config).items()}
    ours = stable_diffusion.assemble({part: model.state_dict() for part, model in theirs.items()}, config)
    told = config.noise
    scheduler = DPMSolverMultistepScheduler(
        told.steps, told.first, told.last, told.shape,
        prediction_type="v_prediction" if told.prediction == "v" else "epsilon",
    )  # fmt: skip
    pipeline: Any = StableDiffusionPipeline(
        **theirs, tokenizer=None, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    end = config.text.vocabulary - 1
    ids, none = (ours.read(torch.tensor([[end - 1, *said, end]])) for said in ([5, 8, 13], []))
    side, pixels = config.autoencoder.image_size // config.autoencoder.factor, config.autoencoder.image_size
    noise = torch.randn(1, config.unet.channels, side, side, generator=torch.Generator().manual_seed(0))
    way = Way(0, steps, config.guidance, "dpm-solver++", "", False)

    def draw() -> Tensor:
        words, without = ours.text.tokens(ids), ours.text.tokens(none)
        z, _ = ours.denoise(words, without, way, [torch.Generator().manual_seed(0)])
        return (ours.autoencoder.decode(z / config.autoencoder.scale) / 2 + 0.5).clamp(0, 1)

    def draw_theirs() -> Tensor:
        words, without = (theirs["text_encoder"](x).last_hidden_state for x in (ids, none))
        drawn: Tensor = pipeline(
            prompt_embeds=words, negative_prompt_embeds=without, num_inference_steps=steps, latents=noise,
            guidance_scale=config.guidance, output_type="pt", height=pixels, width=pixels,
        ).images  # fmt: skip
        return drawn

    return draw, draw_theirs, apart


def drawing() -> Sides:
    """This world's Stable Diffusion draws in 20 steps of DPM-Solver++, from token ids to pixels: ours / diffusers'.

    It does without the layers that read on, which diffusers has not.
    """
    sizes = StableDiffusionConfig.world(TextConfig(3_000, length=64, width=192, depth=2, heads=4))
    return _pipeline(replace(sizes, reader=0), steps=20)


CASES: dict[str, Callable[[], Sides]] = {
    "lstm": lstm,
    "show-attend-and-tell": show_attend_and_tell,
    "show-attend-and-tell-1800": show_attend_and_tell_1800,
    "gpt-writing": gpt_writing,
    "gpt-writing-32": gpt_writing_32,
    "gpt-2-writing": gpt_2_writing,
    "clip-loss": clip_loss,
    "clip-image": clip_image,
    "clip-image-transformers": clip_image_transformers,
    "dalle-drawing": dalle_drawing,
    "unet-step": unet_step,
    "drawing": drawing,
}
"""Name -> what makes its two sides ready."""


def check(names: Sequence[str]) -> list[str]:
    """Return the names, or all there are for none, or raise `InputError` if there is no such case."""
    for name in names:
        if name not in CASES:
            raise InputError(f"expected benchmarks among {', '.join(CASES)}, got {name!r}; choose of these")
    return list(dict.fromkeys(names)) or list(CASES)


def about(name: str) -> str:
    """What a case compares."""
    return (CASES[name].__doc__ or name).strip().splitlines()[0]


def measure(sides: Sides, repeats: int, clock: Callable[[], float] = time.thread_time) -> dict[str, float]:
    """Compare the answers of both sides, then time them in turn.

    Args:
        sides: see `Sides`.
        repeats: how often each is timed; the median counts.
        clock: in seconds. That of the thread stands still while other programs have the processor.

    Raises:
        NotEqual: the answers differ by more than `TOLERANCE`.
    """
    ours, reference, compare = sides
    gap = compare(ours(), reference())
    if not gap <= TOLERANCE:  # so that nan is no answer either
        raise NotEqual(f"answers differ by {gap:.1e}, more than {TOLERANCE:.0e}")
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for side, taken in zip((ours, reference), seconds, strict=True):
            started = clock()
            side()
            taken.append(clock() - started)
    fast, slow = map(statistics.median, seconds)
    return {"ours": fast, "reference": slow, "ratio": slow / fast, "equal": gap}


@torch.no_grad()
def run(
    names: Sequence[str] = (), *, repeats: int = 5, threads: int = 1, tell: Callable[[str], None] = lambda text: None
) -> Results:
    """Run benchmarks.

    Args:
        names: of `CASES`; none means all.
        repeats: how often each side is timed.
        threads: how many threads torch may use meanwhile.
        tell: is told what is going on.

    Returns:
        {name: {"ours": seconds, "reference": seconds, "ratio": reference / ours, "equal": greatest difference}}.

    Raises:
        InputError: an unknown name, or less than one repeat or thread.
        NotEqual: a case's two sides gave different answers.
    """
    if repeats < 1 or threads < 1:
        raise InputError(f"expected at least 1 repeat and 1 thread, got {repeats} and {threads}")
    chosen = check(names)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    results: Results = {}
    try:
        for name in chosen:
            tell(f"{name}: {about(name)}")
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                sides = CASES[name]()
            try:
                # the clock of one thread does not see the others
                results[name] = measure(sides, repeats, time.thread_time if threads == 1 else time.perf_counter)
            except NotEqual as error:
                raise NotEqual(f"{name}: {error}") from None
    finally:
        torch.set_num_threads(before)
    return results


def table(results: Results) -> str:
    """The results as aligned text."""
    rows = [["", "ours", "reference", "ratio", "difference"]]
    for name, result in results.items():
        times = [f"{1000 * result[side]:.1f} ms" for side in ("ours", "reference")]
        rows.append([name, *times, f"{result['ratio']:.2f}", f"{result['equal']:.1e}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows)


def write_json(results: Mapping[str, Any], path: str | Path) -> None:
    """Write the results beside, then rename."""
    path = Path(path)
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


LOSSES: dict[str, Loss] = {"ours": bounded_loss, "reference": contrastive_loss}
"""CLIP's loss in bounded memory, and as it is usually written, with all logits at once."""


_M_MMAP_THRESHOLD = -3  # malloc.h: blocks from this size on are mapped, and unmapped once they are freed


def _peak(side: str, batch: int, width: int) -> int:
    """Bytes that the loss and its gradients take at their peak, beyond what the vectors take."""
    # what glibc gets back it may keep, and then it would count
    if os.name == "posix" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, 2**18)
    inputs = _pairs(batch, width)
    _with_gradients(LOSSES[side], _pairs(8, width))  # what the libraries keep for themselves is theirs
    process, ended = psutil.Process(), threading.Event()
    most = before = process.memory_info().rss

    def watch() -> None:
        nonlocal most
        while not ended.wait(0.001):
            most = max(most, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _with_gradients(LOSSES[side], inputs)
    ended.set()
    watcher.join()
    return most - before


def memory(
    batches: Sequence[int] = (1024, 2048, 4096, 8192, 16384), *, width: int = 512, largest: int = 2**30,
    tell: Callable[[str], None] = lambda text: None,
) -> dict[str, dict[str, int]]:  # fmt: skip
    """The peak memory of CLIP's loss by the number of pairs, each measured in a process of its own.

    Args:
        batches: numbers of pairs.
        width: of the vectors.
        largest: bytes; where all logits take more, the usual form is left out.
        tell: is told what is going on.

    Returns:
        {pairs: {"ours": bytes, "reference": bytes}}.
    """
    peaks: dict[str, dict[str, int]] = {}
    for batch in batches:
        sides = [side for side in LOSSES if side == "ours" or 4 * batch**2 <= largest]
        tell(f"memory of the loss of {batch} pairs: {', '.join(sides)}")
        peaks[str(batch)] = {}
        for side in sides:
            # each in a new one: what a process frees it may keep for itself
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                peaks[str(batch)][side] = pool.apply(_peak, (side, batch, width))
    return peaks


def memory_table(peaks: dict[str, dict[str, int]]) -> str:
    """The peaks as aligned text."""
    rows = [["pairs", "in bounded memory", "all logits at once"]]
    for batch, peak in peaks.items():
        rows.append([batch, *(f"{peak[side] / 2**20:.0f} MiB" if side in peak else "-" for side in LOSSES)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.rjust, row, widths)) for row in rows)
