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
from vlm_history.connect.decoding import State, beam_search, sample
from vlm_history.connect.lstm import LSTM
from vlm_history.images import Images, is_single, read_images
from vlm_history.text import SPECIALS, WordTokenizer


@dataclass(frozen=True)
class ShowAndTellConfig:
    """Sizes of a captioner.

    Attributes:
        cnn: the one that sees.
        vocabulary: number of words.
        width: of embeddings and LSTM.
        dropout: on what goes into the LSTM and what comes out.
        sharpness: what the LSTM shows is multiplied by it before words are chosen. It shows numbers between -1 and 1,
            and until weights have grown to make up for that, all words are about equally likely; 1 in the paper.
    """

    cnn: CNNConfig | GoogLeNetConfig
    vocabulary: int
    width: int
    dropout: float
    sharpness: float = 1.0

    @classmethod
    def world(cls, vocabulary: int) -> ShowAndTellConfig:
        """The size that the world is learned at."""
        return cls(CNNConfig.world(), vocabulary, width=384, dropout=0.1, sharpness=8.0)

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
        # Batch normalisation came three months later; without it most of the vector is never above zero.
        self.norm = nn.BatchNorm1d(config.cnn.width)
        self.image = nn.Linear(config.cnn.width, config.width)
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.lstm = LSTM(config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.words = nn.Linear(config.width, config.vocabulary)
        with torch.no_grad():  # gates that begin open: the image, seen once, has to live until the last noun
            for gate, opened in ((0, 1.0), (1, 2.0), (3, 2.0)):
                self.lstm.cell.input_bias.view(4, config.width)[gate] += opened

    def encode(self, pixels: Float[Tensor, "batch 3 rows columns"]) -> Float[Tensor, "batch width"]:
        """x_{-1} = CNN(I), equation 10: what the LSTM sees first, and sees once."""
        return self.image(F.relu(self.norm(self.cnn(pixels))))

    def hidden(
        self, vectors: Float[Tensor, "batch width"], tokens: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch tokens width"]:
        """x_t = W_e S_t, equation 11, and the LSTM's output after each word: what the next is chosen from."""
        inputs = torch.cat([vectors[:, None], self.embedding(tokens)], dim=1)
        told: Tensor = self.config.sharpness * self.dropout(self.lstm(self.dropout(inputs)))
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
        h, c = state
        state = self.lstm.cell(self.embedding(tokens), (h, c))
        return self.words(self.config.sharpness * state[0]).log_softmax(-1), state

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
        state = self._begin(image)
        start = torch.full((len(state[0]),), self.tokenizer.start(language), device=state[0].device)
        told = sample(self._next, state, start, temperature=temperature, max_length=max_length, generator=generator)
        captions = [self.tokenizer.decode(ids) for ids in told.tolist()]
        return captions[0] if is_single(image) else captions

    @torch.no_grad()
    def caption(self, image: Images, *, language: str = "ko", beam: int = 3, max_length: int = 24) -> str | list[str]:
        """Tell what is in a picture, by beam search (section 3.1, Inference; see `decoding.beam_search`).

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
        start, end = self.tokenizer.start(language), self.tokenizer.end
        told = beam_search(self._next, self._begin(image), start=start, end=end, beam=beam, max_length=max_length)
        captions = [self.tokenizer.decode(ids) for ids in told.tolist()]
        return captions[0] if is_single(image) else captions
