"""Show and Tell: a CNN's image vector is the first input of an LSTM that tells what it shows.

Vinyals, Toshev, Bengio and Erhan, 2014 (arXiv 1411.4555). Equations and sections are named where the code follows
them. One decoder tells in both languages: its start word says in which.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.connect.cnn import CNNConfig, GoogLeNet, GoogLeNetConfig, ResidualCNN
from vlm_history.connect.lstm import LSTM, State
from vlm_history.errors import InputError
from vlm_history.images import Images, is_single, read_images
from vlm_history.text import SPECIALS, WordTokenizer


@dataclass(frozen=True)
class ShowAndTellConfig:
    """Sizes of a captioner."""

    cnn: CNNConfig | GoogLeNetConfig
    vocabulary: int
    width: int
    dropout: float

    @classmethod
    def world(cls, vocabulary: int) -> ShowAndTellConfig:
        """The size that the world is learned at."""
        return cls(CNNConfig.world(), vocabulary, width=256, dropout=0.1)

    @classmethod
    def published(cls, vocabulary: int) -> ShowAndTellConfig:
        """GoogLeNet, with embeddings and an LSTM of 512 (section 4.2); the words are those that a corpus has five
        times, so their number is the corpus's own."""
        return cls(GoogLeNetConfig(), vocabulary, width=512, dropout=0.5)


class ShowAndTell(nn.Module):
    """p(S | I) = prod_t p(S_t | I, S_0 ... S_{t-1}), equation 2."""

    def __init__(self, config: ShowAndTellConfig, tokenizer: WordTokenizer | None = None) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer or WordTokenizer(SPECIALS)
        self.cnn = ResidualCNN(config.cnn) if isinstance(config.cnn, CNNConfig) else GoogLeNet(config.cnn)
        self.image = nn.Linear(config.cnn.width, config.width)
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.lstm = LSTM(config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.words = nn.Linear(config.width, config.vocabulary)

    def encode(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch width"]:
        """x_{-1} = CNN(I), equation 10: what the LSTM sees first, and sees once."""
        return self.image(F.relu(self.cnn(pixels)))

    def hidden(
        self, vectors: Float[Tensor, "batch width"], tokens: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens width"]:
        """x_t = W_e S_t, equation 11, and the LSTM's output after each word: what the next is chosen from."""
        inputs = torch.cat([vectors[:, None], self.embedding(tokens)], dim=1)
        told: Tensor = self.dropout(self.lstm(self.dropout(inputs)))
        return told[:, 1:]  # nothing is told of the image alone

    def decode(
        self, vectors: Float[Tensor, "batch width"], tokens: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens vocabulary"]:
        """Logits of p_{t+1} = softmax(LSTM(x_t)), equation 12, for a whole sentence."""
        return self.words(self.hidden(vectors, tokens))

    def forward(
        self, pixels: Float[Tensor, "batch 3 rows columns"], tokens: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens vocabulary"]:
        """Logits of the word after each token."""
        return self.decode(self.encode(pixels), tokens)

    def loss(
        self, pixels: Float[Tensor, "batch 3 rows columns"], tokens: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, ""]:
        """L(I, S) = - sum_t log p_t(S_t), equation 13, as the mean over words; padding is left out."""
        logits = self(pixels, tokens[:, :-1])
        return F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=self.tokenizer.pad)

    def _begin(self, images: Images) -> State:
        """The LSTM's state after it has seen the image."""
        config = self.config.cnn
        device = self.embedding.weight.device
        pixels = read_images(images, size=config.image_size, mean=config.mean, std=config.std).to(device)
        training = self.training
        self.eval()  # a picture's caption must not depend on the others in its batch
        vectors = self.encode(pixels)
        self.train(training)
        return self.lstm.cell(vectors, self.lstm.cell.start(vectors))

    def _next(self, tokens: Int[Tensor, " batch"], state: State) -> tuple[Float[Tensor, "batch vocabulary"], State]:
        """log p of the word after each token, and the new state."""
        state = self.lstm.cell(self.embedding(tokens), state)
        return self.words(state[0]).log_softmax(-1), state

    @torch.no_grad()
    def sample(
        self,
        image: Images,
        *,
        language: str = "ko",
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        max_length: int = 24,
    ) -> str | list[str]:
        """Tell what is in a picture by drawing each word from p_{t+1} (section 3.1, Sampling).

        Args:
            image: one image or several, as `vlm_history.images.read_images` takes them.
            language: "ko" or "en".
            temperature: above zero; log p is divided by it, so that below 1 likely words become likelier.
            generator: the source of chance; one seeded with 0 if None.
            max_length: most words of a caption.

        Raises:
            InputError: an unknown language, a temperature that is not above zero, or no image.
        """
        if not temperature > 0:
            raise InputError(f"expected a temperature above 0, got {temperature}; caption() takes the likeliest words")
        generator = generator or torch.Generator().manual_seed(0)
        state = self._begin(image)
        word = torch.full((len(state[0]),), self.tokenizer.start(language), device=state[0].device)
        told = []
        for _ in range(max_length):
            log_p, state = self._next(word, state)
            chances = (log_p / temperature).softmax(-1).cpu()
            word = torch.multinomial(chances, 1, generator=generator)[:, 0].to(word.device)
            told.append(word)
        captions = [self.tokenizer.decode(ids) for ids in torch.stack(told, 1).tolist()]
        return captions[0] if is_single(image) else captions

    @torch.no_grad()
    def caption(self, image: Images, *, language: str = "ko", beam: int = 3, max_length: int = 24) -> str | list[str]:
        """Tell what is in a picture, by beam search.

        The search keeps the `beam` most likely beginnings of each picture's sentence, all pictures in one batch
        (section 3.1, Inference; the paper used 20). Sentences compete by the sum of log p, as in equation 1: there is
        no normalisation by length. A sentence without an end after `max_length` words is cut there. With beam 1 this
        is the greedy choice.

        Args:
            image: one image or several, as `vlm_history.images.read_images` takes them.
            language: "ko" or "en".
            beam: how many beginnings are kept.
            max_length: most words of a caption.

        Returns:
            A caption for one image, a list of them for several.

        Raises:
            InputError: an unknown language, a beam or a length below one, or no image.
        """
        if beam < 1 or max_length < 1:
            raise InputError(f"expected a beam and a max_length of at least 1, got {beam} and {max_length}")
        start, end = self.tokenizer.start(language), self.tokenizer.end
        state = self._begin(image)
        pictures, device = len(state[0]), state[0].device
        first = torch.arange(pictures, device=device)[:, None] * beam  # row of each picture's first beginning
        state = (state[0].repeat_interleave(beam, 0), state[1].repeat_interleave(beam, 0))
        told = torch.full((pictures * beam, 1), start, device=device)
        scores = torch.full((pictures, beam), -torch.inf, device=device)
        scores[:, 0] = 0.0  # at first all beginnings are the same one
        ended = torch.zeros(pictures, beam, dtype=torch.bool, device=device)
        for _ in range(max_length):
            log_p, state = self._next(told[:, -1], state)
            log_p = log_p.view(pictures, beam, -1)
            log_p = log_p.masked_fill(ended[..., None], -torch.inf)
            log_p[..., end] = torch.where(ended, 0.0, log_p[..., end])  # an ended sentence stays as it is
            scores, choice = (scores[..., None] + log_p).flatten(1).topk(beam, dim=1)
            parent, word = choice // log_p.shape[-1], choice % log_p.shape[-1]
            rows = (first + parent).flatten()
            state = (state[0][rows], state[1][rows])
            told = torch.cat([told[rows], word.view(-1, 1)], dim=1)
            ended = ended.gather(1, parent) | (word == end)
            if ended.all():
                break
        best = told.view(pictures, beam, -1)[:, 0, 1:]  # topk sorts: the likeliest comes first
        captions = [self.tokenizer.decode(ids) for ids in best.tolist()]
        return captions[0] if is_single(image) else captions
