"""Show, Attend and Tell, held to its equations: a slow reference over places, every sentence, REINFORCE enumerated."""

import itertools
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from tests.connect.captioners import BAD_INPUT, CNN, PICTURES, WORDS, every_sentence, pixels
from vlm_history import checkpoints
from vlm_history.connect import show_attend_and_tell as module
from vlm_history.connect.cnn import CNNConfig, VGGConfig
from vlm_history.connect.show_attend_and_tell import (
    ShowAttendAndTell,
    ShowAttendAndTellConfig,
    doubly_stochastic,
    hard_look,
    reinforce,
    soft_look,
)
from vlm_history.errors import InputError

CONFIG = ShowAttendAndTellConfig(CNN, len(WORDS), width=7, hidden=9, attention=5, dropout=0.5)
VGG = VGGConfig(stages=((8,), (8,), (8,), (8,), (12,)), width=8, classes=3, image_size=48)


def unlike(config: ShowAttendAndTellConfig) -> ShowAttendAndTell:
    """A model far from uniform, so that looks and words are clear."""
    torch.manual_seed(0)
    model = ShowAttendAndTell(config, WORDS)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    torch.nn.init.normal_(model.attend_score.weight, 0, 3.0)
    return model.eval()


@pytest.fixture
def model() -> ShowAttendAndTell:
    return unlike(CONFIG)


Told = tuple[list[np.ndarray], list[np.ndarray]]


def slowly(model: ShowAttendAndTell, places: np.ndarray, words: list[int], where: list[int] | None = None) -> Told:
    """The paper's equations again, in double precision, a word and a place at a time: log p and alpha at each word.

    Args:
        places: the annotations a_1 ... a_L of one picture.
        words: what is read, its start word first.
        where: the place drawn for each word, for hard attention.
    """
    w = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return w[f"{name}.weight"] @ x + w.get(f"{name}.bias", 0.0)

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    mean = sum(places) / len(places)
    h, c = np.tanh(linear("first_hidden", mean)), np.tanh(linear("first_cell", mean))  # section 3.1.2
    told, looks = [], []
    for step, word in enumerate(words):
        y = w["embedding.weight"][word]
        state = linear("attend_state", h)
        e = [linear("attend_score", np.tanh(linear("attend_place", a) + state))[0] for a in places]  # (4)
        total = sum(math.exp(score) for score in e)
        alpha = [math.exp(score) / total for score in e]  # (5)
        # (6), by (13) or by (9)
        z = sum(share * a for share, a in zip(alpha, places, strict=True)) if where is None else places[where[step]]
        z = sigmoid(linear("gate", h))[0] * z  # section 4.2.1
        affine = w["cell.input_weight"] @ np.concatenate([y, z]) + w["cell.input_bias"]
        affine = affine + w["cell.hidden_weight"] @ h + w["cell.hidden_bias"]
        i, f, g, o = np.split(affine, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)  # (1), (2)
        h = sigmoid(o) * np.tanh(c)  # (3)
        logits = linear("words", y + linear("from_hidden", h) + linear("from_context", z))  # (7)
        told.append(logits - logits.max() - math.log(np.exp(logits - logits.max()).sum()))
        looks.append(np.array(alpha))
    return told, looks


def places_of(model: ShowAttendAndTell, image: Tensor) -> np.ndarray:
    with torch.no_grad():
        return model.annotate(image[None]).flatten(1, 2)[0].double().numpy()


def log_p(model: ShowAttendAndTell, image: Tensor, sentence: list[int]) -> float:
    """log p of a sentence, its start word first."""
    told, _ = slowly(model, places_of(model, image), sentence[:-1])
    return sum(at[word] for at, word in zip(told, sentence[1:], strict=True))


@torch.no_grad()
def test_the_equations_for_a_batch_with_padding(model: ShowAttendAndTell) -> None:
    images = pixels(3)
    sentences = [[4, 6, 5], [3, 7, 5, 6, 7], [3]]
    padded = torch.tensor([s + [WORDS.pad] * (5 - len(s)) for s in sentences])
    logits, alpha = model(images, padded)
    assert logits.shape == (3, 5, len(WORDS)) and alpha.shape == (3, 5, 64)
    for row, sentence in enumerate(sentences):
        told, looks = slowly(model, places_of(model, images[row]), sentence)
        steps = len(sentence)
        np.testing.assert_allclose(logits[row].log_softmax(-1)[:steps].numpy(), told, atol=2e-5)
        np.testing.assert_allclose(alpha[row, :steps].numpy(), looks, atol=2e-6)
        assert alpha[row].max() > 2 / 64, "nothing is looked at: the test would see no mistake in alpha"


@torch.no_grad()
def test_the_equations_in_double_precision(model: ShowAttendAndTell) -> None:
    image, sentence = pixels(1)[0], [3, 7, 5, 6]
    places = places_of(model, image)
    double = model.double()
    chosen_from, alpha, where = double.decode(torch.from_numpy(places)[None], torch.tensor([sentence]))
    told, looks = slowly(double, places, sentence)
    np.testing.assert_allclose(double.words(chosen_from)[0].log_softmax(-1).numpy(), told, atol=1e-12)
    np.testing.assert_allclose(alpha[0].numpy(), looks, atol=1e-14)
    assert torch.equal(where, alpha)


@torch.no_grad()
def test_hard_attention_sees_the_place_that_was_drawn(model: ShowAttendAndTell) -> None:
    image, sentence = pixels(1)[0], [4, 5, 6]
    places, double = places_of(model, image), model.double()
    torch.manual_seed(3)
    chosen_from, alpha, where = double.decode(torch.from_numpy(places)[None], torch.tensor([sentence]), hard=True)
    drawn = where[0].argmax(1).tolist()
    assert torch.equal(where, F.one_hot(where.argmax(2), 64).to(where))
    told, looks = slowly(double, places, sentence, drawn)
    np.testing.assert_allclose(double.words(chosen_from)[0].log_softmax(-1).numpy(), told, atol=1e-12)
    np.testing.assert_allclose(alpha[0].numpy(), looks, atol=1e-14)


@torch.no_grad()
def test_padding_and_batch_change_nothing(model: ShowAttendAndTell) -> None:
    images, tokens = pixels(3), torch.tensor([[4, 6, 6, 6], [3, 7, 5, 7], [3, 5, 5, 5]])
    together, looks = model(images, tokens)
    for i in range(3):
        alone, look = model(images[i : i + 1], tokens[i : i + 1, :2])
        torch.testing.assert_close(alone, together[i : i + 1, :2])
        torch.testing.assert_close(look, looks[i : i + 1, :2])


@torch.no_grad()
def test_annotations_are_the_fine_grid_and_the_coarse_one_over_it_and_their_place() -> None:
    model = ShowAttendAndTell(CONFIG, WORDS).eval()
    images = pixels(2)
    grid = model.annotate(images)
    assert grid.shape == (2, 8, 8, 16 + 16)
    *_, fine, coarse = model.cnn.levels(images)  # type: ignore[operator]
    # between the middles of four coarse cells the nearest one weighs 3/4 x 3/4
    here = coarse[:, :, 1:3, 1:3]
    weights = torch.tensor([0.75, 0.25])
    over = torch.einsum("bcij,i,j->bc", here, weights, weights)
    raw = torch.cat([fine[:, :, 3, 3], over], dim=1)
    normalised = (raw - raw.mean(1, keepdim=True)) / (raw.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    assert model.places is not None
    expected = normalised + model.places[3, 3]
    torch.testing.assert_close(grid[:, 3, 3], expected, atol=1e-5, rtol=1e-5)


def test_a_look_blends_or_draws() -> None:
    chances = torch.tensor([[0.2, 0.5, 0.3]]).expand(20_000, -1)
    annotations = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [5.0, 5.0]]]).expand(20_000, -1, -1)
    blend, same = soft_look(chances, annotations)
    assert same is chances
    torch.testing.assert_close(blend[0], torch.tensor([0.2 + 1.5, 0.5 + 1.5]))
    torch.manual_seed(0)
    seen, drawn = hard_look(chances, annotations)
    assert torch.equal(drawn.sum(1), torch.ones(20_000)) and set(drawn.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(drawn.mean(0), chances[0], atol=0.01, rtol=0)
    assert torch.equal(seen, annotations[torch.arange(20_000), drawn.argmax(1)])
    torch.testing.assert_close(seen.mean(0), blend[0], atol=0.05, rtol=0)  # equation 13: the expectation is the blend


def test_a_sure_look_is_the_same_soft_or_hard(model: ShowAttendAndTell) -> None:
    torch.nn.init.constant_(model.attend_score.weight, 0.0)
    annotations = torch.randn(2, 1, 32)  # with one place there is nothing to choose
    tokens = torch.tensor([[3, 6], [4, 7]])
    for soft, hard in zip(model.decode(annotations, tokens), model.decode(annotations, tokens, hard=True), strict=True):
        torch.testing.assert_close(soft, hard)


def test_doubly_stochastic_by_hand() -> None:
    alpha = torch.tensor([[[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    both, first = torch.ones(2, 2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # sums over words: 0.7, 0.8, 0.5 and 1, 1, 0; of the first word alone: 0.5, 0.5, 0 and 1, 0, 0
    torch.testing.assert_close(doubly_stochastic(alpha, both), torch.tensor([0.09 + 0.04 + 0.25, 1.0]))
    torch.testing.assert_close(doubly_stochastic(alpha, first), torch.tensor([0.25 + 0.25 + 1.0, 2.0]))
    even = torch.full((1, 3, 3), 1 / 3)
    torch.testing.assert_close(doubly_stochastic(even, torch.ones(1, 3)), torch.zeros(1))


PLACES, STEPS = 3, 2
TINY = ShowAttendAndTellConfig(CNNConfig(8, (2, 2), 4), len(WORDS), width=3, hidden=4, attention=3, dropout=0.0)
READ, WRITTEN = torch.tensor([[4, 6]]), torch.tensor([[6, 2]])


def tiny() -> tuple[ShowAttendAndTell, Tensor, list[Tensor]]:
    """A model in double precision, the annotations of three places, and the parameters of the decoder."""
    model = unlike(TINY).double()
    annotations = torch.randn(1, PLACES, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    return model, annotations, [p for name, p in model.named_parameters() if not name.startswith(("cnn", "norm"))]


def told(model: ShowAttendAndTell, chosen_from: Tensor, said: Tensor) -> Tensor:
    """log p(y | s, a) of each sentence, of the words that count."""
    written = WRITTEN.expand(len(chosen_from), -1)[..., None]
    return (model.words(chosen_from).log_softmax(-1).gather(2, written)[..., 0] * said).sum(1)


def forced(model: ShowAttendAndTell, annotations: Tensor, where: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Decode with the places given that are otherwise drawn."""
    lots = iter(where)

    def look(chances: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        place = next(lots)
        return seen[:, place], F.one_hot(torch.tensor([place]), PLACES).to(chances)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "hard_look", look)
        return model.decode(annotations, READ, hard=True)


def gradient(loss: Tensor, parameters: list[Tensor]) -> list[Tensor]:
    found = torch.autograd.grad(loss, parameters, allow_unused=True, retain_graph=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]


def exactly(
    model: ShowAttendAndTell, annotations: Tensor, said: Tensor, reward: float, entropy: float
) -> tuple[Tensor, list[tuple[Tensor, tuple[Tensor, Tensor, Tensor], Tensor]]]:
    """A loss whose gradient is that of section 4.1 without any drawing: all places that might be drawn, one by one.

    Equation 11 is the product rule on L_s = sum_s p(s | a) log p(y | s, a); lambda_r weighs its second part.
    """
    every, loss = [], torch.zeros((), dtype=torch.float64)
    for where in itertools.product(range(PLACES), repeat=STEPS):
        chosen_from, alpha, looked = forced(model, annotations, where)
        log_p = told(model, chosen_from, said)
        p = alpha[0, range(STEPS), where].prod()
        uncertain = (-(alpha * alpha.log()).sum(2) * said).sum()
        loss = loss - (p.detach() * log_p + reward * p * log_p.detach() + entropy * p.detach() * uncertain).sum()
        every.append((p.detach(), (log_p, alpha, looked), said))
    return loss, every


@pytest.mark.parametrize("baseline", [0.0, -3.7])
@pytest.mark.parametrize(("reward", "entropy"), [(1.0, 0.0), (0.1, 0.01)])
@pytest.mark.parametrize("said", [[1.0, 1.0], [1.0, 0.0]], ids=["both words", "one word and padding"])
def test_reinforce_is_right_on_average(said: list[float], reward: float, entropy: float, baseline: float) -> None:
    """Equation 12 on average is equation 11, whatever the baseline; the average is over all draws there are."""
    model, annotations, parameters = tiny()
    exact, every = exactly(model, annotations, torch.tensor([said], dtype=torch.float64), reward, entropy)
    assert float(sum(p for p, _, _ in every)) == pytest.approx(1.0)
    average = torch.zeros((), dtype=torch.float64)
    for p, (log_p, alpha, looked), counts in every:
        average = average + (p * (-log_p + reinforce(log_p, alpha, looked, counts, baseline, reward, entropy))).sum()
    wanted, found = gradient(exact, parameters), gradient(average, parameters)
    for one, other in zip(wanted, found, strict=True):
        torch.testing.assert_close(other, one, atol=1e-12, rtol=1e-9)
    attend = [p is model.attend_place.weight for p in parameters].index(True)
    assert wanted[attend].abs().max() > 1e-3 * reward, "attention learns nothing here: the test would see no mistake"


def test_many_draws_come_to_the_exact_gradient() -> None:
    """The same with lots really drawn, 10,000 of them, within their own standard error."""
    model, annotations, parameters = tiny()
    one = torch.ones(1, STEPS, dtype=torch.float64)
    exact = torch.cat([g.flatten() for g in gradient(exactly(model, annotations, one, 1.0, 0.01)[0], parameters)])
    torch.manual_seed(0)
    many, rows = one.expand(500, -1), []
    for _ in range(20):
        chosen_from, alpha, looked = model.decode(annotations.expand(500, -1, -1), READ.expand(500, -1), hard=True)
        log_p = told(model, chosen_from, many)
        loss = (-log_p + reinforce(log_p, alpha, looked, many, float(log_p.detach().mean()), 1.0, 0.01)).mean()
        rows.append(torch.cat([g.flatten() for g in gradient(loss, parameters)]))
    drawn = torch.stack(rows)
    error = drawn.std(0) / len(rows) ** 0.5
    assert ((drawn.mean(0) - exact).abs() <= 5 * error + 1e-9).all()
    assert error.max() < 0.1 * exact.abs().max(), "the draws tell too little"


def test_the_gradient_reaches_the_pixels_and_every_parameter(model: ShowAttendAndTell) -> None:
    images = pixels(2).requires_grad_()
    logits, alpha = model.train()(images, torch.tensor([[4, 6], [3, 7]]))
    (logits.square().sum() + doubly_stochastic(alpha, torch.ones(2, 2)).sum()).backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert without == {"cnn.project.weight", "cnn.project.bias"}  # Show and Tell's vector, which nothing here reads
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@torch.no_grad()
def test_beam_one_is_greedy(model: ShowAttendAndTell) -> None:
    images = pixels(3)
    for language in ("ko", "en"):
        said = model.caption(images, language=language, beam=1, max_length=6)
        for i in range(3):
            words = [WORDS.start(language)]
            while len(words) < 7 and words[-1] != WORDS.end:
                words.append(int(model(images[i : i + 1], torch.tensor([words]))[0][0, -1].argmax()))
            assert said[i] == WORDS.decode(words)


@torch.no_grad()
def test_a_beam_as_wide_as_the_tree_finds_the_best_sentence(model: ShowAttendAndTell) -> None:
    images, longest = pixels(2), 2
    model.words.bias[WORDS.end] += 1.0
    every = every_sentence(WORDS.start("en"), longest)
    for i in range(2):
        best = max(every, key=lambda s: log_p(model, images[i], s))
        found = model.caption(images[i : i + 1], language="en", beam=len(WORDS) ** longest, max_length=longest)
        assert found == [WORDS.decode(best)]


@torch.no_grad()
def test_a_caption_and_its_looks_do_not_depend_on_their_batch(model: ShowAttendAndTell) -> None:
    images = pixels(3)
    model.train()  # as it is while a recipe evaluates
    together = model.caption(images, language="ko", beam=2, max_length=5, return_attention=True)
    assert model.training and all(part.training for part in model.modules())
    for i in range(3):
        ((alone, looks),) = model.caption(images[i : i + 1], language="ko", beam=2, max_length=5, return_attention=True)
        assert alone == together[i][0]
        for (token, look), (same, other) in zip(looks, together[i][1], strict=True):
            assert token == same
            np.testing.assert_allclose(look, other, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("ends", [-20.0, 1.0, 20.0], ids=["never", "sometimes", "at once"])
def test_every_token_has_its_look(model: ShowAttendAndTell, ends: float) -> None:
    model.words.bias[WORDS.end] += ends
    images, longest = pixels(3), 5
    for i, (caption, looks) in enumerate(
        model.caption(images, language="en", beam=3, max_length=longest, return_attention=True)
    ):
        assert caption == model.caption(images[i : i + 1], language="en", beam=3, max_length=longest)[0]
        ids = [WORDS.vocabulary.index(token) for token, _ in looks]
        assert WORDS.decode(ids) == caption
        assert ids.index(WORDS.end) == len(ids) - 1 if WORDS.end in ids else len(ids) == longest
        _, alphas = slowly(model, places_of(model, images[i]), [WORDS.start("en"), *ids[:-1]])
        for (_, look), alpha in zip(looks, alphas, strict=True):
            assert look.shape == (8, 8) and look.sum() == pytest.approx(1.0, abs=1e-5)
            np.testing.assert_allclose(look.flatten(), alpha, atol=2e-6)


def test_images_at_the_door(model: ShowAttendAndTell, tmp_path) -> None:  # type: ignore[no-untyped-def]
    Image.fromarray(PICTURES[0]).save(tmp_path / "a.png")
    one = model.caption(PICTURES[0])
    assert isinstance(one, str)
    assert model.caption(Image.fromarray(PICTURES[0])) == model.caption(str(tmp_path / "a.png")) == one
    assert model.caption(PICTURES)[0] == model.caption([PICTURES[0], tmp_path / "a.png"])[1] == one
    caption, looks = model.caption(PICTURES[0], return_attention=True)
    assert caption == one and looks[0][1].shape == (8, 8)


@pytest.mark.parametrize(("image", "options", "says"), BAD_INPUT)
def test_bad_input_is_told_plainly(model: ShowAttendAndTell, image, options, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=says):
        model.caption(image, **options)


@pytest.mark.parametrize("config", [CONFIG, ShowAttendAndTellConfig(VGG, len(WORDS), 7, 9, 5, 0.5)], ids=["CNN", "VGG"])
def test_a_folder_holds_the_whole_system(config, tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = unlike(config)
    checkpoints.save(model, tmp_path / "m")
    again = checkpoints.load(ShowAttendAndTell, tmp_path / "m").eval()
    assert again.config == model.config and again.tokenizer.vocabulary == WORDS.vocabulary
    assert again.caption(PICTURES) == model.caption(PICTURES)


def test_annotations_of_vgg_are_its_last_grid_before_pooling() -> None:
    model = unlike(ShowAttendAndTellConfig(VGG, len(WORDS), 7, 9, 5, 0.5))
    _, looks = model.caption(PICTURES[0], return_attention=True, max_length=3)
    assert all(look.shape == (3, 3) for _, look in looks)  # 48 pixels, halved four times
    grid = model.annotate(torch.randn(2, 3, 48, 48))
    assert grid.shape == (2, 3, 3, 12) and grid.min() >= 0  # nothing normalises what a ReLU has made


def test_published_size_is_vgg_and_1800_units() -> None:
    with torch.device("meta"):
        model = ShowAttendAndTell(ShowAttendAndTellConfig.published())
        pictures = torch.empty(1, 3, 224, 224)
        assert model.annotate(pictures).shape == (1, 14, 14, 512)
        logits, alpha = model(pictures, torch.zeros(1, 4, dtype=torch.int64))
    assert logits.shape == (1, 4, 10_000) and alpha.shape == (1, 4, 196)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    n, m, d, k = 1800, 512, 512, 10_000
    assert sizes == {
        "cnn": 143_667_240,
        "norm": 0,
        "first_cell": (d + 1) * n,
        "first_hidden": (d + 1) * n,
        "attend_place": (d + 1) * 512,
        "attend_state": (n + 1) * 512,
        "attend_score": 512 + 1,
        "gate": n + 1,
        "embedding": k * m,
        "cell": 4 * n * (m + d + n + 2),
        "from_hidden": (n + 1) * m,
        "from_context": d * m,
        "words": (m + 1) * k,
        "dropout": 0,
    }
