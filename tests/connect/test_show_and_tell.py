"""Show and Tell, held to its equations: an independent slow reference, exhaustive search, autograd."""

import itertools

import pytest
import torch
from PIL import Image

from tests.connect.captioners import BAD_INPUT, CNN, PICTURES, WORDS, every_sentence, pixels
from vlm_history import checkpoints
from vlm_history.connect.show_and_tell import ShowAndTell, ShowAndTellConfig
from vlm_history.errors import InputError

CONFIG = ShowAndTellConfig(CNN, len(WORDS), width=12, dropout=0.5)


@pytest.fixture
def model() -> ShowAndTell:
    torch.manual_seed(0)
    model = ShowAndTell(CONFIG, WORDS)
    for parameter in model.parameters():  # far from uniform, so that choices are clear
        torch.nn.init.normal_(parameter, 0, 0.5)
    return model.eval()


def log_p(model: ShowAndTell, pixels: torch.Tensor, words: list[int]) -> float:
    """Equations 1 and 10 to 12 again, a word at a time, with torch's cell: sum of log p(S_t | I, S_0 ... S_{t-1})."""
    cell = torch.nn.LSTMCell(CONFIG.width, CONFIG.width)
    for theirs, ours in zip(cell.parameters(), model.lstm.cell.parameters(), strict=True):
        theirs.copy_(ours)
    seen = model.cnn(pixels)
    even = (seen - model.norm.running_mean) / (model.norm.running_var + 1e-5).sqrt()  # type: ignore[operator]
    state = cell(model.image(torch.relu(even * model.norm.weight + model.norm.bias)))
    total = 0.0
    for now, after in itertools.pairwise(words):
        state = cell(model.embedding(torch.tensor([now])), state)
        total += float(model.words(CONFIG.sharpness * state[0]).log_softmax(-1)[0, after])
    return total


@torch.no_grad()
def test_the_loss_is_the_negative_log_likelihood(model: ShowAndTell) -> None:
    images = pixels(2)
    sentences = [[4, 6, 2], [3, 7, 5, 2]]
    padded = torch.tensor([[*sentences[0], 0], sentences[1]])
    slow = sum(log_p(model, images[i : i + 1], sentence) for i, sentence in enumerate(sentences))
    assert float(model.loss(images, padded)) == pytest.approx(-slow / 5, abs=1e-5)


@torch.no_grad()
def test_padding_and_batch_change_nothing(model: ShowAndTell) -> None:
    images, tokens = pixels(3), torch.tensor([[4, 6, 6, 6], [3, 7, 5, 7], [3, 5, 5, 5]])
    together = model(images, tokens)
    for i in range(3):
        torch.testing.assert_close(model(images[i : i + 1], tokens[i : i + 1, :2]), together[i : i + 1, :2])


def test_the_image_is_fed_once(model: ShowAndTell) -> None:
    seen = []
    model.cnn.register_forward_hook(lambda *_: seen.append(1))
    inputs = []
    model.lstm.register_forward_hook(lambda _, given, __: inputs.append(given[0]))
    images, tokens = pixels(2), torch.tensor([[4, 6, 6], [3, 7, 5]])
    model(images, tokens)
    assert len(seen) == 1
    assert inputs[0].shape[1] == 1 + 3
    torch.testing.assert_close(inputs[0][:, 1:], model.embedding(tokens))


def test_the_gradient_reaches_the_pixels_and_every_parameter(model: ShowAndTell) -> None:
    images = pixels(2).requires_grad_()
    model.train().loss(images, torch.tensor([[4, 6, 2], [3, 7, 2]])).backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


@torch.no_grad()
def test_beam_one_is_greedy(model: ShowAndTell) -> None:
    images = pixels(3)
    for language in ("ko", "en"):
        said = model.caption(images, language=language, beam=1, max_length=6)
        for i in range(3):
            words = [WORDS.start(language)]
            while len(words) < 7 and words[-1] != WORDS.end:
                words.append(int(model(images[i : i + 1], torch.tensor([words]))[0, -1].argmax()))
            assert said[i] == WORDS.decode(words)


@torch.no_grad()
def test_a_beam_as_wide_as_the_tree_finds_the_best_sentence(model: ShowAndTell) -> None:
    images, longest = pixels(2), 3
    model.words.bias[WORDS.end] += 1.0
    every = every_sentence(WORDS.start("en"), longest)
    for i in range(2):
        best = max(every, key=lambda s: log_p(model, images[i : i + 1], s))
        found = model.caption(images[i : i + 1], language="en", beam=len(WORDS) ** longest, max_length=longest)
        assert found == [WORDS.decode(best)]


@torch.no_grad()
def test_a_wider_beam_is_never_less_likely(model: ShowAndTell) -> None:
    model.words.bias[WORDS.end] += 1.0
    one = model.caption(pixels(1), language="ko", beam=4, max_length=5)
    many = model.caption(pixels(1).expand(3, -1, -1, -1), language="ko", beam=4, max_length=5)
    assert many == [*one] * 3


@torch.no_grad()
def test_sampling_follows_its_generator_and_its_temperature(model: ShowAndTell) -> None:
    def draw(seed: int, temperature: float) -> list[str]:
        generator = torch.Generator().manual_seed(seed)
        return model.sample(pixels(3), language="en", temperature=temperature, generator=generator, max_length=5)

    assert draw(0, 1.0) == draw(0, 1.0)
    assert any(draw(0, 1.0) != draw(seed, 1.0) for seed in range(1, 5))
    assert draw(0, 1e-4) == model.caption(pixels(3), language="en", beam=1, max_length=5)


def test_images_at_the_door(model: ShowAndTell, tmp_path) -> None:  # type: ignore[no-untyped-def]
    Image.fromarray(PICTURES[0]).save(tmp_path / "a.png")
    one = model.caption(PICTURES[0])
    assert isinstance(one, str)
    assert model.caption(Image.fromarray(PICTURES[0])) == model.caption(str(tmp_path / "a.png")) == one
    assert model.caption(PICTURES)[0] == model.caption([PICTURES[0], tmp_path / "a.png"])[1] == one


@pytest.mark.parametrize(("image", "options", "says"), BAD_INPUT)
def test_bad_input_is_told_plainly(model: ShowAndTell, image, options, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=says):
        model.caption(image, **options)


def test_a_folder_holds_the_whole_system(model: ShowAndTell, tmp_path) -> None:  # type: ignore[no-untyped-def]
    checkpoints.save(model, tmp_path / "m")
    again = checkpoints.load(ShowAndTell, tmp_path / "m").eval()
    assert again.config == model.config and again.tokenizer.vocabulary == WORDS.vocabulary
    assert again.caption(PICTURES) == model.caption(PICTURES)
    checkpoints.save(model, tmp_path / "h", bits=16)
    assert (tmp_path / "h/model.safetensors").stat().st_size < (tmp_path / "m/model.safetensors").stat().st_size * 0.6
    assert checkpoints.load(ShowAndTell, tmp_path / "h").image.weight.dtype == torch.float32
    (tmp_path / "m/tokenizer.json").unlink()
    with pytest.raises(InputError, match="missing"):
        checkpoints.load(ShowAndTell, tmp_path / "m")


def test_published_size_is_googlenet_and_512_units() -> None:
    with torch.device("meta"):
        model = ShowAndTell(ShowAndTellConfig.published(1000))
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert sizes["cnn"] == 6_624_904
    assert sizes["lstm"] == 4 * (512 * 512 * 2 + 512 * 2)
    assert sizes["image"] == 1024 * 512 + 512
    assert sizes["embedding"] == 512 * 1000 and sizes["words"] == 512 * 1000 + 1000
