"""Question answering in the manner of 2015: it sees by the image vector of Show and Tell, which stays as it is, and an
LSTM and a classifier learn answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history import checkpoints
from vlm_history.connect.question_answering import QuestionAnswering, QuestionAnsweringConfig
from vlm_history.systems import find
from vlm_history.text import WordTokenizer
from vlm_history.training.experts import expert
from vlm_history.training.recipe import Batch, Recipe, Stage
from vlm_history.training.recipes.show_and_tell import RECIPE as SHOW_AND_TELL
from vlm_history.training.scenes import Mix, normalised, pixels_of, training_scenes, world
from vlm_history.world.grammar import LANGUAGES
from vlm_history.world.questions import Question
from vlm_history.world.scenes import KINDS, Scene

MIX: Mix = (("pair", 0.55), ("one", 0.15), ("count", 0.15), ("many", 0.15))
CORPUS = 10_000
ANSWERS = 2_000
"""How many scenes' questions the words and answers are learned from, and how many answers are kept."""


@cache
def corpus() -> tuple[WordTokenizer, tuple[str, ...]]:
    """The words of the questions and the most frequent answers, of training scenes."""
    asked, answers = [], Counter[str]()
    for number in range(CORPUS):
        scene = world().sample(number, split="train", kind=KINDS[number % len(KINDS)])
        for language in LANGUAGES:
            for question in scene.questions(language):
                asked.append(question.text)
                answers[question.answer] += 1
    kept = sorted(answers, key=lambda answer: (-answers[answer], answer))[:ANSWERS]
    return WordTokenizer.fit(asked), tuple(kept)


def drawn(scene: Scene, several: int) -> list[dict[str, Question]]:
    """Some of a scene's questions, chosen by its seed, the kinds being about equally likely; in both languages."""
    both = {language: scene.questions(language) for language in LANGUAGES}
    kinds: dict[str, list[int]] = {}
    for number, question in enumerate(both["en"]):
        kinds.setdefault(question.kind, []).append(number)
    lots = Random(f"question/{scene.seed}")
    numbers = [lots.choice(kinds[lots.choice(sorted(kinds))]) for _ in range(several)]
    return [{language: both[language][number] for language in LANGUAGES} for number in numbers]


class Answer(nn.Module):
    """The answerer with its loss; each picture's vector serves all questions about it."""

    def __init__(self, model: QuestionAnswering) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor, tokens: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        """Summed loss and the number of questions.

        Args:
            pixels: (B, 3, 64, 64) bytes.
            tokens: (B, questions, T), padded.
            answers: (B, questions) indices; -100 where the answer is none of those it can give.
        """
        self.model.cnn.eval()  # batch norms stay as they are, too
        self.model.norm.eval()
        seen = self.model.see(normalised(pixels, self.model.config.cnn)).repeat_interleave(tokens.shape[1], 0)
        logits = self.model.fuse(seen, self.model.read(tokens.flatten(0, 1)))
        wanted = answers.flatten()
        return F.cross_entropy(logits, wanted, reduction="sum"), (wanted >= 0).sum()


@dataclass(frozen=True)
class Answers(Stage):
    """The only stage.

    Attributes:
        mix: kinds of scenes and their shares.
        several: questions about each picture, asked in both languages.
        looks: validation scenes.
        seer: hash of the recipe of Show and Tell, whose image vector it sees by; none sees by a random one.
    """

    mix: Mix = MIX
    several: int = 3
    looks: int = 512
    seer: str = ""

    def build(self, earlier: nn.Module | None) -> nn.Module:
        """A new answerer on the CNN expert, which no gradient reaches."""
        words, answers = corpus()
        model = QuestionAnswering(QuestionAnsweringConfig.world(len(words), answers), words)
        if self.seer:
            captioner = expert("show-and-tell", self.seer)
            model.cnn.load_state_dict(captioner.cnn.state_dict())
            model.norm.load_state_dict(captioner.norm.state_dict())
        model.cnn.requires_grad_(False)
        model.norm.requires_grad_(False)
        return Answer(model)

    def batch(self, seed: int, index: int, rows: range) -> Batch:
        """Training scenes with questions in both languages."""
        words, known = corpus()
        place = {answer: number for number, answer in enumerate(known)}
        scenes = training_scenes(seed, index, rows, self.batch_size, self.mix)
        asked = [
            [(words.encode(q[it].text, it), place.get(q[it].answer, -100)) for q in of_scene for it in LANGUAGES]
            for of_scene in (drawn(scene, self.several) for scene in scenes)
        ]
        longest = max(len(ids) for of_scene in asked for ids, _ in of_scene)
        tokens = torch.full((len(scenes), len(asked[0]), longest), words.pad)
        for row, of_scene in enumerate(asked):
            for column, (ids, _) in enumerate(of_scene):
                tokens[row, column, : len(ids)] = torch.tensor(ids)
        answers = torch.tensor([[answer for _, answer in of_scene] for of_scene in asked])
        return {"pixels": pixels_of(scenes), "tokens": tokens, "answers": answers}

    def evaluate(self, module: nn.Module) -> dict[str, float]:
        """Right answers to one question for each validation scene, by kind."""
        assert isinstance(module, Answer)
        scenes = world().scenes(self.looks, seed=1, split="validation", kind="pair")
        asked = [drawn(scene, 1)[0] for scene in scenes]
        right: dict[str, list[bool]] = {}
        for language in LANGUAGES:
            questions = [question[language] for question in asked]
            told = module.model.answer(world().render(scenes), [q.text for q in questions], language=language)
            for question, answer in zip(questions, told, strict=True):
                right.setdefault(question.kind, []).append(answer == question.answer)
        return {kind: sum(of_kind) / len(of_kind) for kind, of_kind in sorted(right.items())}

    def save(self, module: nn.Module, directory: Path) -> None:
        """Write the answerer."""
        assert isinstance(module, Answer)
        checkpoints.save(module.model, directory, bits=16, shared={"show-and-tell": find("show-and-tell").weights})


RECIPE = Recipe(
    system="question-answering",
    description="On Show and Tell's image vector an LSTM and a classifier learn answers in Korean and English",
    seed=0,
    stages=(
        Answers(
            "answers", steps=900, batch_size=128, learning_rate=1.5e-3, warmup=50, evaluate_every=150,
            seer=SHOW_AND_TELL.hash,
        ),
    ),
)  # fmt: skip

QUICK = Recipe(
    system="question-answering",
    description="A minute's worth of the recipe",
    seed=0,
    stages=(
        Answers(
            "answers", steps=100, batch_size=64, learning_rate=1e-3, warmup=10, evaluate_every=25, looks=64,
            seer=SHOW_AND_TELL.hash,
        ),
    ),
)  # fmt: skip
