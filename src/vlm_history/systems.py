"""The table of systems: what each is called, when it came, which class it is and where its shipped weights lie."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from vlm_history.errors import InputError

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class System:
    """One system of the history.

    Attributes:
        name: how the interface calls it.
        title: how a reader calls it.
        era: "connect", "pretrain" or "converse".
        year: when its paper appeared.
        paper: authors and title.
        where: "module:class", inside this package.
    """

    name: str
    title: str
    era: str
    year: int
    paper: str
    where: str

    @property
    def weights(self) -> Path:
        """The folder of its shipped weights, which need not exist yet."""
        return WEIGHTS / self.name

    @property
    def shipped(self) -> bool:
        """True if weights for it are shipped."""
        return (self.weights / "model.safetensors").is_file()


TABLE: tuple[System, ...] = (
    System(
        "cnn", "CNN", "connect", 1989,
        "LeCun et al., Backpropagation applied to handwritten zip code recognition", "connect.cnn:Classifier",
    ),
    System(
        "lstm", "LSTM", "connect", 1997, "Hochreiter and Schmidhuber, Long short-term memory",
        "connect.lstm:LanguageModel",
    ),
    System(
        "show-and-tell", "Show and Tell", "connect", 2014,
        "Vinyals et al., Show and tell: a neural image caption generator", "connect.show_and_tell:ShowAndTell",
    ),
    System(
        "show-attend-and-tell", "Show, Attend and Tell", "connect", 2015,
        "Xu et al., Show, attend and tell: neural image caption generation with visual attention",
        "connect.show_attend_and_tell:ShowAttendAndTell",
    ),
    System(
        "gpt-1", "GPT-1", "pretrain", 2018,
        "Radford et al., Improving language understanding by generative pre-training", "pretrain.gpt1:GPT1",
    ),
    System(
        "clip", "CLIP", "pretrain", 2021,
        "Radford et al., Learning transferable visual models from natural language supervision", "pretrain.clip:CLIP",
    ),
    System(
        "dall-e", "DALL-E", "pretrain", 2021,
        "Ramesh et al., Zero-shot text-to-image generation", "pretrain.dalle:DALLE",
    ),
    System(
        "stable-diffusion", "Stable Diffusion", "pretrain", 2022,
        "Rombach et al., High-resolution image synthesis with latent diffusion models",
        "pretrain.stable_diffusion:StableDiffusion",
    ),
    System(
        "gpt-3", "GPT-3", "converse", 2020,
        "Brown et al., Language models are few-shot learners", "converse.gpt3:GPT3",
    ),
    System(
        "chatgpt", "ChatGPT", "converse", 2022,
        "Ouyang et al., Training language models to follow instructions with human feedback",
        "converse.chatgpt:ChatGPT",
    ),
    System(
        "flamingo", "Flamingo", "converse", 2022,
        "Alayrac et al., Flamingo: a visual language model for few-shot learning", "converse.flamingo:Flamingo",
    ),
    System(
        "blip-2", "BLIP-2", "converse", 2023,
        "Li et al., BLIP-2: bootstrapping language-image pre-training with frozen image encoders "
        "and large language models",
        "converse.blip2:BLIP2",
    ),
    System("llava", "LLaVA", "converse", 2023, "Liu et al., Visual instruction tuning", "converse.llava:LLaVA"),
)  # fmt: skip
"""In historical order within their eras, as the story tells them."""

ASIDE: tuple[System, ...] = (
    System(
        "show-attend-and-tell-hard", "Show, Attend and Tell (hard attention)", "connect", 2015,
        "Xu et al., Show, attend and tell: neural image caption generation with visual attention",
        "connect.show_attend_and_tell:ShowAttendAndTell",
    ),
    System(
        "question-answering", "CNN + LSTM question answering", "connect", 2015,
        "Antol et al., VQA: visual question answering", "connect.question_answering:QuestionAnswering",
    ),
)  # fmt: skip
"""What a chapter compares itself with: `load` opens them, `systems` does not list them."""

JUDGE = System(
    "judge", "the judge of drawings", "pretrain", 2016,
    "after Redmon et al., You only look once: unified, real-time object detection", "judge:Judge",
)  # fmt: skip
"""Who marks drawings: `load` opens it, but it sits no exam and is in no list."""


def systems() -> list[str]:
    """Return the names of all systems, in the order of the story.

    Returns:
        "cnn", "lstm", "show-and-tell" ... "llava"; `load` opens those whose weights are shipped.
    """
    return [system.name for system in TABLE]


def find(name: str) -> System:
    """Return the row of the table for a name, or raise `InputError` naming the names there are."""
    for system in (*TABLE, *ASIDE, JUDGE):
        if system.name == name:
            return system
    raise InputError(f"expected the name of a system, got {name!r}; there are: {', '.join(systems())}")


def available() -> list[str]:
    """Return the names of the systems whose weights are shipped."""
    return [system.name for system in (*TABLE, *ASIDE) if system.shipped]


def load(name: str, device: str = "cpu") -> Any:
    """Load a system with its shipped weights, ready to use.

    Args:
        name: one of `systems()`.
        device: where it shall run, as torch names devices.

    Returns:
        The model, in eval mode.

    Raises:
        InputError: no such system, or no weights shipped for it.
    """
    system = find(name)
    if not system.shipped:
        raise InputError(
            f"expected a system with shipped weights, got {name!r}, which has none yet; "
            f"available: {', '.join(available()) or 'none'}"
        )
    return load_from(system, system.weights).to(device)


def load_from(system: System, directory: Path) -> Any:
    """Load a system from a folder that training wrote."""
    from vlm_history import checkpoints

    module, _, name = system.where.partition(":")
    system_class = getattr(import_module(f"vlm_history.{module}"), name)
    return checkpoints.load(system_class, directory, shelf=WEIGHTS).eval()
