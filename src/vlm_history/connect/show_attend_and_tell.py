"""Show, Attend and Tell: for every word the decoder looks at the picture again, and chooses where.

Xu, Ba, Kiros, Cho, Courville, Salakhutdinov, Zemel and Bengio, 2015 (arXiv 1502.03044). Equations and sections are
named where the code follows them. Soft attention blends all places; hard attention looks at one, drawn by lot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from vlm_history.connect.cnn import VGG, CNNConfig, ResidualCNN, VGGConfig
from vlm_history.connect.decoding import State, beam_search
from vlm_history.connect.lstm import LSTMCell
from vlm_history.images import Images, is_single, read_images
from vlm_history.text import SPECIALS, WordTokenizer

Looks = Float[Tensor, "batch steps places"]
"""alpha: for each word how much of the look falls on each place."""


@dataclass(frozen=True)
class ShowAttendAndTellConfig:
    """Sizes of a captioner.

    Attributes:
        cnn: where the annotations come from.
        vocabulary: number of words, K.
        width: of the word embeddings, m.
        hidden: of the LSTM, n.
        attention: of the hidden layer of f_att.
        dropout: on embeddings and before the words.
    """

    cnn: CNNConfig | VGGConfig
    vocabulary: int
    width: int
    hidden: int
    attention: int
    dropout: float

    @classmethod
    def world(cls, vocabulary: int) -> ShowAttendAndTellConfig:
        """The size that the world is learned at."""
        return cls(CNNConfig.world(), vocabulary, width=192, hidden=256, attention=128, dropout=0.1)

    @classmethod
    def published(cls, vocabulary: int = 10_000) -> ShowAttendAndTellConfig:
        """VGG-19 and, as in the authors' code for COCO, embeddings of 512 and an LSTM of 1,800 (the paper names
        10,000 words, and no other size)."""
        return cls(VGGConfig(), vocabulary, width=512, hidden=1800, attention=512, dropout=0.5)


def soft_look(chances: Float[Tensor, "batch places"], annotations: Float[Tensor, "batch places features"]) -> Any:
    """phi of equation 13: the expected annotation, sum_i alpha_i a_i; it has a gradient everywhere."""
    return torch.bmm(chances[:, None], annotations)[:, 0], chances


def hard_look(chances: Float[Tensor, "batch places"], annotations: Float[Tensor, "batch places features"]) -> Any:
    """Equations 8 and 9: one place, s ~ Multinoulli(alpha), and the annotation there. Returns it and s, one-hot."""
    place = torch.multinomial(chances, 1)
    drawn = torch.zeros_like(chances).scatter_(1, place, 1.0)
    return torch.bmm(drawn[:, None], annotations)[:, 0], drawn


class ShowAttendAndTell(nn.Module):
    """p(y | a), a word at a time, from the annotations a of a picture."""

    def __init__(self, config: ShowAttendAndTellConfig, tokenizer: WordTokenizer | None = None) -> None:
        super().__init__()
        self.config = config
        self.tokenizer = tokenizer or WordTokenizer(SPECIALS)
        small = isinstance(config.cnn, CNNConfig)
        self.cnn = ResidualCNN(config.cnn) if isinstance(config.cnn, CNNConfig) else VGG(config.cnn)
        features = sum(config.cnn.stages[-2:]) if isinstance(config.cnn, CNNConfig) else config.cnn.stages[-1][-1]
        self.norm = nn.LayerNorm(features) if small else nn.Identity()
        # At world size a vector is learned for each place, so that an annotation tells where it is from.
        side = config.cnn.image_size // 2 ** len(config.cnn.stages)
        self.places = nn.Parameter(0.2 * torch.randn(side, side, features)) if small else None
        self.first_cell = nn.Linear(features, config.hidden)  # f_init,c
        self.first_hidden = nn.Linear(features, config.hidden)  # f_init,h
        self.attend_place = nn.Linear(features, config.attention)  # the three of f_att
        self.attend_state = nn.Linear(config.hidden, config.attention)
        self.attend_score = nn.Linear(config.attention, 1)
        self.gate = nn.Linear(config.hidden, 1)  # f_beta
        self.embedding = nn.Embedding(config.vocabulary, config.width)  # E
        self.cell = LSTMCell(config.width + features, config.hidden)
        self.from_hidden = nn.Linear(config.hidden, config.width)  # L_h
        self.from_context = nn.Linear(features, config.width, bias=False)  # L_z
        self.words = nn.Linear(config.width, config.vocabulary)  # L_o
        self.dropout = nn.Dropout(config.dropout)
        with torch.no_grad():  # looks that begin by preferring some places, and that count
            self.attend_score.weight.mul_(6)
            self.gate.bias.add_(2)

    def annotate(
        self, pixels: Float[Tensor, "batch 3 rows columns"]
    ) -> Float[Tensor, "batch grid_rows grid_columns features"]:
        """a = {a_1 ... a_L} (section 3.1.1): a vector for each place, from a convolutional layer.

        VGG-19 has 14 x 14 places. The small CNN's last grid, 4 x 4, is laid over the one before it, 8 x 8: what is
        there from the one, where exactly from the other (hypercolumns, arXiv 1411.5752).
        """
        if isinstance(self.cnn, VGG):
            grid = self.cnn.features(pixels)
        else:
            *_, finer, last = self.cnn.levels(pixels)
            grid = torch.cat([finer, F.interpolate(last, scale_factor=2.0, mode="bilinear")], dim=1)
        grid = self.norm(grid.permute(0, 2, 3, 1))
        return grid if self.places is None else grid + self.places

    def start(self, annotations: Float[Tensor, "batch places features"]) -> tuple[Tensor, Tensor]:
        """h_0 and c_0 from the mean annotation (section 3.1.2)."""
        mean = annotations.mean(1)
        return torch.tanh(self.first_hidden(mean)), torch.tanh(self.first_cell(mean))

    def chances(
        self, projected: Float[Tensor, "batch places attention"], h: Float[Tensor, "batch hidden"]
    ) -> Float[Tensor, "batch places"]:
        """alpha_t = softmax(f_att(a_i, h_{t-1})), equations 4 and 5, with f_att(a, h) = w tanh(U a + W h).

        The annotations' part, U a, comes in already made.
        """
        # w tanh(x) is 2 w sigmoid(2 x) less the sum of w, which is the same for all places, so the softmax does not
        # see it; and on CPUs the sigmoid is three times as fast
        inner = torch.sigmoid((projected + self.attend_state(h)[:, None]).mul_(2))
        return F.linear(inner, 2 * self.attend_score.weight, self.attend_score.bias)[..., 0].softmax(1)

    def step(
        self, word: Tensor, h: Tensor, c: Tensor, annotations: Tensor, projected: Tensor, hard: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """One word: look, then move the LSTM on (equations 1 to 3). Returns h, c, z, alpha, and where it looked."""
        chances = self.chances(projected, h)
        context, looked = (hard_look if hard else soft_look)(chances, annotations)
        context = torch.sigmoid(self.gate(h)) * context  # beta_t of section 4.2.1: how much the picture matters now
        h, c = self.cell(torch.cat([word, context], dim=1), (h, c))
        return h, c, context, chances, looked

    def before_words(self, word: Tensor, h: Tensor, context: Tensor) -> Tensor:
        """The deep output layer, equation 7, up to L_o; its authors' code has a tanh here, the paper has none."""
        return self.dropout(word + self.from_hidden(h) + self.from_context(context))

    def decode(
        self, annotations: Float[Tensor, "batch places features"], tokens: Int[Tensor, "batch steps"],
        hard: bool = False,
    ) -> tuple[Float[Tensor, "batch steps width"], Looks, Looks]:  # fmt: skip
        """A whole sentence: what the words are chosen from, alpha, and where it looked (alpha itself, if soft).

        What does not change from word to word is computed once, outside the loop: the annotations' part of f_att, and
        afterwards, for all words together, the output layer. That is what makes it fast.
        """
        h, c = self.start(annotations)
        projected = self.attend_place(annotations)
        embedded = self.dropout(self.embedding(tokens))
        steps = []
        for word in embedded.unbind(1):
            h, c, context, chances, looked = self.step(word, h, c, annotations, projected, hard)
            steps.append((h, context, chances, looked))
        hidden, contexts, every, where = (torch.stack(part, dim=1) for part in zip(*steps, strict=True))
        return self.before_words(embedded, hidden, contexts), every, where

    def forward(
        self, pixels: Float[Tensor, "batch 3 rows columns"], tokens: Int[Tensor, "batch steps"]
    ) -> tuple[Float[Tensor, "batch steps vocabulary"], Looks]:
        """Logits of the word after each token, and where it looked for it."""
        chosen_from, alpha, _ = self.decode(self.annotate(pixels).flatten(1, 2), tokens)
        return self.words(chosen_from), alpha

    def _read(self, images: Images) -> Float[Tensor, "batch grid_rows grid_columns features"]:
        config = self.config.cnn
        pixels = read_images(images, size=config.image_size, mean=config.mean, std=config.std)
        return self.annotate(pixels.to(self.embedding.weight.device))

    def _next(self, tokens: Int[Tensor, " rows"], state: State) -> tuple[Float[Tensor, "rows vocabulary"], State]:
        """log p of the word after each token, and the new state."""
        h, c, annotations, projected = state
        word = self.embedding(tokens)
        h, c, context, _, _ = self.step(word, h, c, annotations, projected, hard=False)
        return self.words(self.before_words(word, h, context)).log_softmax(-1), (h, c, annotations, projected)

    @torch.no_grad()
    def caption(
        self, image: Images, *, language: str = "ko", beam: int = 3, max_length: int = 24,
        return_attention: bool = False,
    ) -> Any:  # fmt: skip
        """Tell what is in a picture, by beam search (see `decoding.beam_search`).

        The look is always the expected annotation here, also if the model learned with hard attention: a caption has
        no chance in it.

        Args:
            image: one image or several, as `vlm_history.images.read_images` takes them.
            language: "ko" or "en".
            beam: how many beginnings are kept.
            max_length: most words of a caption.
            return_attention: also tell where it looked.

        Returns:
            A caption for one image, a list of them for several. With `return_attention`, instead of each caption the
            caption and its looks: for each token (as the tokenizer writes it, the end included) a grid
            (grid_rows, grid_columns) that sums to 1.

        Raises:
            InputError: an unknown language, a beam or a length below one, or no image.
        """
        start, end = self.tokenizer.start(language), self.tokenizer.end
        training = self.training
        self.eval()  # a picture's caption must not depend on the others in its batch
        grid = self._read(image)
        annotations = grid.flatten(1, 2)
        state = (*self.start(annotations), annotations, self.attend_place(annotations))
        told = beam_search(self._next, state, start=start, end=end, beam=beam, max_length=max_length)
        captions: list[Any] = [self.tokenizer.decode(ids) for ids in told.tolist()]
        if return_attention:
            read = torch.cat([torch.full_like(told[:, :1], start), told[:, :-1]], dim=1)
            _, alphas, _ = self.decode(annotations, read)
            captions = [
                (caption, self._looks(ids, alpha.view(-1, *grid.shape[1:3])))
                for caption, ids, alpha in zip(captions, told.tolist(), alphas.cpu(), strict=True)
            ]
        self.train(training)
        return captions[0] if is_single(image) else captions

    def _looks(self, ids: list[int], alpha: Float[Tensor, "words rows columns"]) -> list[tuple[str, Any]]:
        """The tokens up to the end, each with where the decoder looked for it."""
        length = ids.index(self.tokenizer.end) + 1 if self.tokenizer.end in ids else len(ids)
        return [(self.tokenizer.vocabulary[i], look.numpy()) for i, look in zip(ids[:length], alpha, strict=False)]


def doubly_stochastic(alpha: Looks, said: Float[Tensor, "batch steps"]) -> Float[Tensor, " batch"]:
    """sum_i (1 - sum_t alpha_ti)^2 of equation 14: over a sentence each place should be looked at about equally."""
    return ((1 - (alpha * said[..., None]).sum(1)) ** 2).sum(1)


def reinforce(
    log_p: Float[Tensor, " batch"], alpha: Looks, looked: Looks, said: Float[Tensor, "batch steps"],
    baseline: float, reward_weight: float, entropy_weight: float,
) -> Float[Tensor, " batch"]:  # fmt: skip
    """What is added to -log p for hard attention: its gradient is that of section 4.1.

    lambda_r (log p(y | s, a) - b) d log p(s | a) + lambda_e d H[s], with log p(y | s, a) as the reward of the places
    that were drawn, and b its moving average.

    Args:
        log_p: of each sentence.
        alpha: chances of the places.
        looked: the places drawn, one-hot; where a sentence used the expectation, alpha itself: then only H counts.
        said: 1 where there is a word, 0 at padding.
        baseline: b.
        reward_weight: lambda_r.
        entropy_weight: lambda_e.
    """
    log_alpha = alpha.clamp_min(1e-8).log()
    drawn = (looked.detach() == 1).to(alpha.dtype)
    log_drawn = ((drawn * log_alpha).sum(2) * said).sum(1)
    entropy = (-(alpha * log_alpha).sum(2) * said).sum(1)
    return -reward_weight * (log_p.detach() - baseline) * log_drawn - entropy_weight * entropy
