"""Answering questions about pictures, as in 2015: a CNN and an LSTM meet in a classifier of answers.

Antol, Agrawal, Lu, Mitchell, Batra, Zitnick and Parikh (arXiv 1505.00468), the model "deeper LSTM Q + norm I" of
section 4.2, with an LSTM of one layer. It does not write its answer: it picks one of those that were most frequent in
training, so what was never an answer can never be one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.connect.cnn import CNNConfig, ResidualCNN
from vlm_history.connect.lstm import LSTM
from vlm_history.errors import InputError
from vlm_history.images import Images, is_single, read_images
from vlm_history.text import SPECIALS, WordTokenizer


@dataclass(frozen=True)
class QuestionAnsweringConfig:
    """Sizes, and the answers that it can give, in whichever language they are."""

    cnn: CNNConfig
    vocabulary: int
    answers: tuple[str, ...]
    width: int
    dropout: float

    @classmethod
    def world(cls, vocabulary: int, answers: Sequence[str]) -> QuestionAnsweringConfig:
        """The size that the world is learned at."""
        return cls(CNNConfig.world(), vocabulary, tuple(answers), width=384, dropout=0.2)


class QuestionAnswering(nn.Module):
    """softmax over answers of MLP(image * question)."""

    def __init__(self, config: QuestionAnsweringConfig, tokenizer: WordTokenizer | None = None) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer or WordTokenizer(SPECIALS)
        self.cnn = ResidualCNN(config.cnn)
        self.norm = nn.BatchNorm1d(config.cnn.width)  # in the place of the paper's "norm I", the vector at length one
        self.image = nn.Linear(config.cnn.width, config.width)
        self.embedding = nn.Embedding(config.vocabulary, config.width // 2)
        self.lstm = LSTM(config.width // 2, config.width)
        self.question = nn.Linear(config.width, config.width)
        self.mixed = nn.Linear(config.width, 2 * config.width)
        self.answers = nn.Linear(2 * config.width, len(config.answers))
        self.dropout = nn.Dropout(config.dropout)

    def see(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch width"]:
        """The image vector in the common space."""
        return torch.tanh(self.image(F.relu(self.norm(self.cnn(pixels)))))

    def read(self, tokens: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch width"]:
        """The LSTM's state after the question's last word, in the common space; padding follows the last word."""
        last = (tokens != self.tokenizer.pad).sum(1) - 1
        states = self.lstm(self.dropout(self.embedding(tokens)))
        return torch.tanh(self.question(states[torch.arange(len(tokens), device=tokens.device), last]))

    def fuse(
        self, seen: Float[Tensor, "batch width"], asked: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch answers"]:
        """Logits of the answers: both multiplied, number by number, then two layers."""
        return self.answers(self.dropout(torch.tanh(self.mixed(self.dropout(seen * asked)))))

    def forward(
        self, pixels: Float[Tensor, "batch 3 rows columns"], tokens: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch answers"]:
        """Logits of the answers to a question for each picture."""
        return self.fuse(self.see(pixels), self.read(tokens))

    @torch.no_grad()
    def answer(self, images: Images, questions: str | Sequence[str], *, language: str = "ko") -> str | list[str]:
        """Answer questions, each about its own picture.

        Args:
            images: one image or several, as `vlm_history.images.read_images` takes them.
            questions: as many questions; one, as str, for one image.
            language: "ko" or "en".

        Raises:
            InputError: an unknown language, other numbers of images and questions, no image, or no text.
        """
        single = is_single(images)
        asked = [questions] if isinstance(questions, str) else questions
        if not isinstance(asked, Sequence):
            raise InputError(f"expected questions as text, got {type(questions).__name__}; pass one str for each image")
        config = self.config.cnn
        pixels = read_images(images, size=config.image_size, mean=config.mean, std=config.std)
        if len(asked) != len(pixels):
            raise InputError(f"expected one question for each image, got {len(asked)} for {len(pixels)} images")
        device = self.embedding.weight.device
        ids = [torch.tensor(self.tokenizer.encode(question, language)) for question in asked]
        tokens = nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=self.tokenizer.pad).to(device)
        training = self.training
        self.eval()  # an answer must not depend on the other questions in its batch
        chosen = self(pixels.to(device), tokens).argmax(1).tolist()
        self.train(training)
        told = [self.config.answers[i] for i in chosen]
        return told[0] if single else told
