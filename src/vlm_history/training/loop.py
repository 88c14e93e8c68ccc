"""The one training loop, through Accelerate: any recipe, one process or several, CPU or GPU.

It can be killed at any moment. Everything random in step i (scenes, captions, dropout) is a function of the recipe's
seed and of i, so what a checkpoint has to hold is only the weights, the optimiser's moments and the step; a resumed
run then ends with the same weights as one that was never stopped. A checkpoint is written beside the last one and
renamed into its place: a half-written one is never seen.
"""

from __future__ import annotations

import json
import os
import platform
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from vlm_history.errors import InputError
from vlm_history.training.recipe import Batch, Recipe, Stage

WORK = "training"
"""Folder, inside the output folder, that holds the checkpoint while training runs."""


@dataclass
class Progress:
    """Where training stands, apart from tensors: what a checkpoint keeps as JSON."""

    recipe: str
    stage: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float | None = None
    losses: tuple[float, int] = (0.0, 0)  # their sum and number since the last look
    history: list[dict[str, Any]] = field(default_factory=list)


class Batches(Dataset[Batch]):
    """The batches of a stage from one step on, this process's rows of each; made in a worker, beside training."""

    def __init__(self, stage: Stage, seed: int, start: int, rows: range) -> None:
        self.stage, self.seed, self.start, self.rows = stage, seed, start, rows

    def __len__(self) -> int:
        return self.stage.steps - self.start

    def __getitem__(self, index: int) -> Batch:
        return self.stage.batch(self.seed, self.start + index, self.rows)


def _mix(*numbers: int) -> int:
    """One seed out of several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def seed_everything(*numbers: int) -> None:
    """Seed Python, NumPy and torch from a few numbers, such as (seed, stage, step, process)."""
    mixed = _mix(*numbers)
    random.seed(mixed)
    np.random.seed(mixed)  # noqa: NPY002  libraries that use the old global stream must be the same too
    torch.manual_seed(mixed)


def _groups(module: nn.Module, stage: Stage) -> list[dict[str, Any]]:
    """Decay matrices, leave biases and gains alone."""
    trained = [p for p in module.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": stage.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]


def _tensors(module: nn.Module, optimizer: torch.optim.Optimizer, best: dict[str, Tensor]) -> dict[str, Tensor]:
    tensors = {f"model/{k}": v for k, v in module.state_dict().items()}
    for group in optimizer.state_dict()["state"].items():
        index, state = group
        tensors |= {f"optimizer/{index}/{k}": torch.as_tensor(v) for k, v in state.items()}
    tensors |= {f"best/{k}": v for k, v in best.items()}
    # safetensors refuses tensors that share memory (tied weights): each gets its own
    return {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}


def _write(path: Path, tensors: dict[str, Tensor], progress: Progress) -> None:
    """Write beside, flush to disk, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    save_file(tensors, beside, metadata={"progress": json.dumps(vars(progress))})
    with beside.open("rb") as file:
        os.fsync(file.fileno())
    beside.replace(path)


def _read_progress(path: Path) -> Progress:
    with safe_open(path, framework="pt") as file:
        return Progress(**json.loads(file.metadata()["progress"]))


def _read_tensors(path: Path, prefix: str) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {k.removeprefix(prefix): file.get_tensor(k) for k in file.keys() if k.startswith(prefix)}  # noqa: SIM118


def _restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, key = name.partition("/")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def hardware() -> str:
    """The machine in a few words, for the card."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = models[0] if models else name
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{name}, {os.cpu_count()} cores{gpu}"


def train(
    recipe: Recipe,
    out_dir: str | Path,
    *,
    resume: bool = True,
    workers: int = 1,
    checkpoint_every: int = 200,
    progress_bar: bool = True,
    accelerator: Accelerator | None = None,
    after_step: Callable[[int, int], None] | None = None,
) -> Path:
    """Train a recipe to its end and write the system.

    Args:
        recipe: what to do.
        out_dir: gets `model.safetensors`, `config.json`, `tokenizer.json` and `card.json`; while training runs, its
            folder `training` holds the checkpoint.
        resume: go on from that checkpoint if there is one; False starts anew.
        workers: processes that make batches beside each training process; 0 makes them in between.
        checkpoint_every: steps.
        progress_bar: show loss, images a second and time left.
        accelerator: an Accelerate set-up of one's own; the default obeys `accelerate launch` and torchrun (which is
            the one for several processes on CPUs).
        after_step: called with (stage, steps done) after each step, once its checkpoint is written.

    Returns:
        `out_dir`.

    Raises:
        InputError: the folder holds the training of another recipe, or a batch cannot be shared out evenly.
    """
    out = Path(out_dir)
    # Accelerate joins processes on CPUs only if told that there is nothing else
    accelerator = accelerator or Accelerator(cpu=not torch.accelerator.is_available())
    state = out / WORK / "checkpoint.safetensors"
    if not resume and accelerator.is_main_process:
        shutil.rmtree(out / WORK, ignore_errors=True)
        (out / "card.json").unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    card = _finished(out)
    if card is not None and not state.exists():
        if card["recipe"]["hash"] == recipe.hash:
            return out
        raise InputError(
            f"expected a folder for recipe {recipe.hash[:8]}, but {out} holds weights of recipe "
            f"{card['recipe']['hash'][:8]}; choose another folder, or start anew (--anew)"
        )
    progress = _read_progress(state) if state.exists() else Progress(recipe.hash)
    if progress.recipe != recipe.hash:
        raise InputError(
            f"expected a checkpoint of recipe {recipe.hash[:8]}, but {out} holds one of "
            f"{progress.recipe[:8]}; choose another folder, or start anew (--anew)"
        )
    module: nn.Module | None = None
    for number, stage in enumerate(recipe.stages):
        seed_everything(recipe.seed, number)
        module = stage.build(module)
        if number < progress.stage:
            # only its shape is needed: the checkpoint of the later stage holds its weights
            continue
        run = _Run(recipe, number, stage, progress, state, accelerator, checkpoint_every, after_step)
        module = run(module, workers, progress_bar)
        progress.stage, progress.step, progress.best = number + 1, 0, None
    assert module is not None
    if accelerator.is_main_process:
        recipe.stages[-1].save(module.eval(), out)
        _write_card(out, recipe, progress, accelerator.num_processes)
        shutil.rmtree(out / WORK)
    accelerator.wait_for_everyone()
    return out


def _finished(out: Path) -> dict[str, Any] | None:
    card = out / "card.json"
    return json.loads(card.read_text(encoding="utf-8")) if card.exists() else None


class _Run:
    """The training of one stage."""

    def __init__(
        self,
        recipe: Recipe,
        number: int,
        stage: Stage,
        progress: Progress,
        state: Path,
        accelerator: Accelerator,
        checkpoint_every: int,
        after_step: Callable[[int, int], None] | None,
    ) -> None:
        self.recipe, self.number, self.stage, self.progress = recipe, number, stage, progress
        self.state, self.accelerator = state, accelerator
        self.checkpoint_every, self.after_step = checkpoint_every, after_step
        self.best: dict[str, Tensor] = {}

    def __call__(self, module: nn.Module, workers: int, progress_bar: bool) -> nn.Module:
        stage, progress, accelerator = self.stage, self.progress, self.accelerator
        processes = accelerator.num_processes
        if stage.batch_size % processes:
            raise InputError(
                f"expected a number of processes that divides the batch of {stage.batch_size} evenly, got {processes}"
            )
        share = stage.batch_size // processes
        rows = range(accelerator.process_index * share, (accelerator.process_index + 1) * share)
        seed = _mix(self.recipe.seed, self.number)
        module.to(accelerator.device)
        resumed = self.state.exists() and _read_progress(self.state).stage == self.number
        if resumed:
            module.load_state_dict(_read_tensors(self.state, "model/"))
            self.best = _read_tensors(self.state, "best/")
        wrapped = accelerator.prepare_model(module)
        fused = accelerator.device.type in ("cpu", "cuda")
        optimizer = torch.optim.AdamW(_groups(module, stage), lr=stage.learning_rate, betas=stage.betas, fused=fused)
        if resumed:
            _restore_optimizer(optimizer, _read_tensors(self.state, "optimizer/"))
        optimizer = accelerator.prepare_optimizer(optimizer)
        stream = stage.stream(seed, progress.step, rows)
        batches = DataLoader(
            stream or Batches(stage, seed, progress.step, rows), batch_size=None, num_workers=workers,
            prefetch_factor=8 if workers else None,
        )  # fmt: skip
        bar = tqdm(
            total=stage.steps * stage.batch_size, initial=progress.step * stage.batch_size, unit=" images",
            unit_scale=True, desc=stage.name, dynamic_ncols=True,
            disable=not (progress_bar and accelerator.is_main_process),
        )  # fmt: skip
        shown = 0.0
        started = time.monotonic() - progress.seconds
        for step, batch in enumerate(islice(batches, stage.steps - progress.step), progress.step):
            seed_everything(self.recipe.seed, self.number, step, accelerator.process_index)
            for group in optimizer.param_groups:
                group["lr"] = stage.rate(step)
            wrapped.train()
            total, weight = wrapped(**{k: v.to(accelerator.device, non_blocking=True) for k, v in batch.items()})
            whole, tokens = accelerator.reduce(torch.stack([total.detach(), weight.detach()]), "sum")
            # gradients are averaged over processes; this makes the average that of the whole batch
            accelerator.backward(total * (processes / tokens))
            accelerator.clip_grad_norm_(wrapped.parameters(), stage.clip)
            optimizer.step()
            optimizer.zero_grad()
            loss = float(whole / tokens)
            progress.losses = (progress.losses[0] + loss, progress.losses[1] + 1)
            shown = 0.98 * shown + 0.02 * loss if shown else loss
            bar.update(stage.batch_size)
            bar.set_postfix(loss=f"{shown:.3f}", refresh=False)
            done = step + 1
            progress.step, progress.seconds = done, time.monotonic() - started
            look = done % stage.evaluate_every == 0 or done == stage.steps
            if look:
                self._evaluate(module, bar)
            if look or done % self.checkpoint_every == 0:
                self._checkpoint(module, optimizer)
            if self.after_step is not None:
                self.after_step(self.number, done)
        bar.close()
        if progress.step < stage.steps:
            raise InputError(f"expected data for {stage.steps} steps, got it for {progress.step}; check what was read")
        if stage.keep == "best" and self.best:
            module.load_state_dict(self.best)
        return module

    def _evaluate(self, module: nn.Module, bar: tqdm[Any]) -> None:
        stage, progress = self.stage, self.progress
        loss = progress.losses[0] / max(1, progress.losses[1])
        progress.losses = (0.0, 0)
        scores: dict[str, float] = {}
        if self.accelerator.is_main_process:
            module.eval()
            with torch.inference_mode():
                scores = stage.evaluate(module)
            module.train()
            progress.history.append({"stage": stage.name, "step": progress.step, "loss": loss, **scores})
            told = "  ".join(f"{k} {v:.3f}" for k, v in {"loss": loss, **scores}.items())
            bar.write(f"{stage.name} {progress.step:>6}  {told}")
        if stage.keep == "best" and self.accelerator.is_main_process:
            score = scores[stage.watch]
            if progress.best is None or score > progress.best:
                progress.best = score
                self.best = {k: v.detach().cpu().clone() for k, v in module.state_dict().items()}
        self.accelerator.wait_for_everyone()

    def _checkpoint(self, module: nn.Module, optimizer: Any) -> None:
        if self.accelerator.is_main_process:
            inner = getattr(optimizer, "optimizer", optimizer)
            _write(self.state, _tensors(module, inner, self.best), self.progress)
        self.accelerator.wait_for_everyone()


def _write_card(out: Path, recipe: Recipe, progress: Progress, processes: int) -> None:
    card = {
        "system": recipe.system,
        "recipe": {"hash": recipe.hash, **recipe.fields()},
        "steps": sum(stage.steps for stage in recipe.stages),
        "images": sum(stage.steps * stage.batch_size for stage in recipe.stages),
        "seconds": round(progress.seconds),
        "hardware": hardware(),
        "processes": processes,
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("vlm-history", "torch", "accelerate", "numpy")},
        },
        "history": progress.history,
    }
    write_json(out / "card.json", card)


def write_json(path: Path, data: object) -> None:
    """Write JSON beside, then rename."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)
