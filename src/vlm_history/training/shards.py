"""A reader's own pictures and texts, in WebDataset shards: CLIP trained on what does not fit into memory.

A shard is a tar file. A sample is the files in a row that share a name up to its first dot: one picture (jpg, jpeg,
png or webp) and one text (txt, UTF-8). Shards are read as streams, front to back, by several workers of each process,
each of which has shards of its own; samples are shuffled as they pass. What cannot be read is skipped and counted, and
the counts are told with the loss.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor, distributed, nn
from torch.utils.data import IterableDataset, get_worker_info

from vlm_history import checkpoints
from vlm_history.errors import InputError
from vlm_history.pretrain.clip import CLIP, CLIPConfig, read_texts
from vlm_history.text import CLIPTokenizer
from vlm_history.training.recipe import Batch, Recipe, Stage
from vlm_history.training.recipes.clip import Match

PICTURES = (".jpg", ".jpeg", ".png", ".webp")
SKIPPED = ("shards", "incomplete", "pictures", "texts")
"""What is counted: shards that break off, samples without a picture or a text, pictures and texts that are none."""
Sample = tuple[bytes, bytes]


class Broken(Exception):
    """A shard that cannot be read any further."""


def expand(pattern: str) -> list[Path]:
    """The shards that a pattern names.

    Args:
        pattern: a path in which {0000..0009} stands for the numbers between, with as many digits, and * and ? for any
            letters of a file's name.

    Raises:
        InputError: a shard that does not exist, or none.
    """
    found = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if found:
        first, last = found.groups()
        numbers = [f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)]
        return [path for n in numbers for path in expand(pattern[: found.start()] + n + pattern[found.end() :])]
    path = Path(pattern)
    paths = sorted(path.parent.glob(path.name)) if set("*?") & set(path.name) else [path]
    missing = [str(path) for path in paths if not path.is_file()]
    if missing or not paths:
        raise InputError(f"expected shards that exist, got {missing[0] if missing else pattern!r}; check --data")
    return paths


def samples(shard: Path) -> Iterator[Sample | None]:
    """The samples of a shard: picture and text as bytes; None for one that lacks either.

    Raises:
        Broken: it is no tar file from here on; what came before counts.
    """
    name, parts = None, dict[str, bytes]()

    def sample() -> Sample | None:
        picture = next((parts[ending] for ending in PICTURES if ending in parts), None)
        return (picture, parts[".txt"]) if picture is not None and ".txt" in parts else None

    try:
        with tarfile.open(shard, mode="r|*") as tar:
            for member in tar:
                file = tar.extractfile(member) if member.isfile() else None
                if file is None:
                    continue
                folder, _, base = member.name.rpartition("/")
                stem, dot, ending = base.partition(".")
                if (folder, stem) != name and parts:
                    yield sample()
                    parts = {}
                name = (folder, stem)
                parts[(dot + ending).lower()] = file.read()
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise Broken(f"{shard}: {error}") from error
    if parts:
        yield sample()


def picture(data: bytes, size: int, draw: Random) -> np.ndarray | None:
    """A picture's bytes -> (size, size, 3): the shorter side made so long, and a square of it by lot (section 2.3).
    None, if they are no picture."""
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.draft("RGB", (size, size))  # a JPEG is decoded no larger than it is needed
            image = opened.convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    short = min(image.size)
    image = image.resize((size * image.width // short, size * image.height // short), Image.Resampling.BICUBIC)
    left, upper = draw.randint(0, image.width - size), draw.randint(0, image.height - size)
    return np.asarray(image.crop((left, upper, left + size, upper + size)))


def text(data: bytes) -> str | None:
    """A text's bytes -> text in one line; None, if they are no UTF-8, or blank."""
    try:
        return " ".join(data.decode("utf-8").split()) or None
    except UnicodeDecodeError:
        return None


def any_good(shard: Path) -> bool:
    """Whether a shard has a picture with a text that both can be read."""
    try:
        return any(s and picture(s[0], 8, Random(0)) is not None and text(s[1]) for s in samples(shard))
    except Broken:
        return False


class Stream(IterableDataset[Batch]):
    """Batches without end from shards, this process's share of each.

    Args:
        shards: all there are.
        config: of the CLIP: how large pictures are, and how long texts may be.
        tokenizer: its own.
        share: samples of a batch.
        process: this process's number, and how many there are; each has shards of its own.
        seed: of the order.
        shuffle: samples that wait, of which the next is drawn by lot.
    """

    def __init__(
        self, shards: list[Path], config: CLIPConfig, tokenizer: CLIPTokenizer, share: int, process: tuple[int, int],
        seed: int, shuffle: int,
    ) -> None:  # fmt: skip
        self.shards, self.config, self.tokenizer = shards, config, tokenizer
        self.share, self.process, self.seed, self.shuffle = share, process, seed, shuffle

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        own = self.shards[self.process[0] :: self.process[1]][worker::workers]
        if not own:  # more workers than shards: the others do the work
            return
        skipped = torch.zeros(len(SKIPPED), dtype=torch.long)
        kept: list[tuple[np.ndarray, Tensor]] = []
        for sample in self._shuffled(own, Random(f"{self.seed}/{self.process[0]}/{worker}"), skipped):
            kept.append(sample)
            if len(kept) == self.share:
                texts = nn.utils.rnn.pad_sequence([text for _, text in kept], batch_first=True)
                pixels = torch.from_numpy(np.stack([pixels for pixels, _ in kept])).permute(0, 3, 1, 2)
                yield {"pixels": pixels, "tokens": texts[:, None], "skipped": skipped.clone()}
                skipped.zero_()
                kept = []

    def _shuffled(self, shards: list[Path], draw: Random, skipped: Tensor) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Samples, again and again: the shards in another order each time, and what is read waits for its lot. None,
        if a whole round has brought none."""
        size = self.config.image.image_size
        waiting: list[Sample] = []
        for _ in count():
            read = 0
            for shard in draw.sample(shards, len(shards)):
                for sample in self._whole(shard, skipped):
                    waiting.append(sample)
                    if len(waiting) < self.shuffle:
                        continue
                    at = draw.randrange(len(waiting))
                    waiting[at], waiting[-1] = waiting[-1], waiting[at]
                    made = self._made(waiting.pop(), size, draw, skipped)
                    if made is not None:
                        read += 1
                        yield made
            draw.shuffle(waiting)  # what still waits is told before the next round begins
            for sample in waiting:
                made = self._made(sample, size, draw, skipped)
                if made is not None:
                    read += 1
                    yield made
            waiting = []
            if not read:  # not again and again in vain; other workers may have better shards
                return

    def _whole(self, shard: Path, skipped: Tensor) -> Iterator[Sample]:
        try:
            for sample in samples(shard):
                if sample is None:
                    skipped[SKIPPED.index("incomplete")] += 1
                else:
                    yield sample
        except Broken:
            skipped[SKIPPED.index("shards")] += 1

    def _made(self, sample: Sample, size: int, draw: Random, skipped: Tensor) -> tuple[np.ndarray, Tensor] | None:
        """Picture and token ids; None, counted, if one cannot be read."""
        pixels, said = picture(sample[0], size, draw), text(sample[1])
        if pixels is None or said is None:
            skipped[SKIPPED.index("texts" if said is None else "pictures")] += 1
            return None
        return pixels, read_texts(said, self.config.text, self.tokenizer, cut=True)[0]


class Counted(Match):
    """CLIP with its loss, and what was skipped on the way."""

    def __init__(self, model: CLIP) -> None:
        super().__init__(model)
        self.register_buffer("skipped", torch.zeros(len(SKIPPED), dtype=torch.long))

    def forward(  # type: ignore[override]  # its batches hold one thing more
        self, pixels: Tensor, tokens: Tensor, skipped: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Summed loss and its weight; see `Match`. `skipped` counts since the last batch."""
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(skipped)
        self.get_buffer("skipped").add_(skipped)
        return super().forward(pixels, tokens)


@dataclass(frozen=True)
class Shards(Stage):
    """The only stage.

    Attributes:
        data: the shards, as `expand` takes them.
        size: "world", or one of CLIP's published sizes.
        shuffle: samples of each worker that wait for their lot.
    """

    data: str = ""
    size: str = "world"
    shuffle: int = 2000

    def config(self, vocabulary: int) -> CLIPConfig:
        """Of the CLIP that is trained."""
        return CLIPConfig.world(vocabulary) if self.size == "world" else CLIPConfig.published(self.size)

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new CLIP, with CLIP's own tokenizer."""
        words = CLIPTokenizer()
        return Counted(CLIP(self.config(len(words)), words))

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """A stream has no batch of a number."""
        raise NotImplementedError

    def stream(self, seed: int, start: int, rows: range) -> Stream:
        """Batches from the shards; resumed training goes on with another order.

        Raises:
            InputError: fewer shards than processes.
        """
        shards, processes = expand(self.data), self.batch_size // len(rows)
        if len(shards) < processes:
            raise InputError(
                f"expected at least as many shards as processes, got {len(shards)} for {processes}; split them, or "
                "start fewer processes"
            )
        words = CLIPTokenizer()
        process = (rows.start // len(rows), processes)
        return Stream(shards, self.config(len(words)), words, len(rows), process, seed + start, self.shuffle)

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """The temperature, and what was skipped until now."""
        assert isinstance(module, Counted)
        skipped = dict(zip(SKIPPED, module.get_buffer("skipped").tolist(), strict=True))
        return {"scale": float(module.model.scale()), **{f"skipped_{what}": float(n) for what, n in skipped.items()}}

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the CLIP."""
        assert isinstance(module, Counted)
        checkpoints.save(module.model, directory)


def skipped(directory: Path) -> str:
    """What training left out, in words, from the card that it wrote."""
    last = json.loads((directory / "card.json").read_text(encoding="utf-8"))["history"][-1]
    counts = {what: round(last[f"skipped_{what}"]) for what in SKIPPED}
    if not any(counts.values()):
        return "nothing was skipped"
    meant = ("broken shards", "samples without a picture or a text", "unreadable pictures", "unreadable texts")
    return "skipped, each time they came: " + ", ".join(
        f"{n} {words}" for n, words in zip(counts.values(), meant, strict=True)
    )


def recipe(data: str, *, size: str = "world", steps: int = 10_000, batch_size: int = 256, seed: int = 0) -> Recipe:
    """CLIP on a reader's own shards, with the learning rate of the paper's smaller models (tables 19 and 20).

    Args:
        data: the shards, as `expand` takes them.
        size: "world", or one of CLIP's published sizes.
        steps: weight updates.
        batch_size: samples a step, over all processes together.
        seed: of weights and order.

    Raises:
        InputError: no such shard, none with anything in it, or no such size.
    """
    if not any(map(any_good, expand(data))):
        raise InputError(
            f"expected pictures ({', '.join(PICTURES)}) with texts (.txt, UTF-8) of the same names in {data}, got none"
        )
    if size != "world":
        CLIPConfig.published(size)
    stage = Shards(
        "shards", steps, batch_size, 5e-4, warmup=min(2000, steps // 5), evaluate_every=max(1, min(500, steps // 4)),
        weight_decay=0.2, data=data, size=size,
    )  # fmt: skip
    return Recipe("clip", f"CLIP ({size}) learns from {data}", seed, (stage,))
