"""The recurrent networks held to torch's, and the language model to the definition of what it promises."""

import itertools
import math

import pytest
import torch

from vlm_history import checkpoints
from vlm_history.connect.lstm import LSTM, RNN, LanguageModel, LanguageModelConfig, LSTMCell
from vlm_history.errors import InputError
from vlm_history.text import SPECIALS, WordTokenizer

WORDS = WordTokenizer((*SPECIALS, "##가", "cat", "sees", "고양이", "본다"))
CONFIG = LanguageModelConfig(len(WORDS), width=12, dropout=0.5)


@pytest.fixture
def model() -> LanguageModel:
    torch.manual_seed(0)
    model = LanguageModel(CONFIG, WORDS)
    for parameter in model.parameters():  # far from uniform, so that choices are clear
        torch.nn.init.normal_(parameter, 0, 0.5)
    return model.eval()


def same_gradients(ours: torch.nn.Module, theirs: torch.nn.Module, xs: torch.Tensor) -> None:
    """Outputs to 1e-6, and the gradients of a weighted sum of them."""
    xs.requires_grad_()
    out, reference = ours(xs), theirs(xs)[0]
    torch.testing.assert_close(out, reference, atol=1e-6, rtol=0)
    weights = torch.randn_like(out)
    ours_gradients = torch.autograd.grad((out * weights).sum(), [xs, *ours.parameters()])
    theirs_gradients = torch.autograd.grad((reference * weights).sum(), [xs, *theirs.parameters()])
    for a, b in zip(ours_gradients, theirs_gradients, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("fused", [False, True])
def test_the_lstm_is_torchs(batch: int, fused: bool) -> None:
    torch.manual_seed(0)
    ours, kernel = LSTM(5, 7, fused=fused), torch.nn.LSTM(5, 7, batch_first=True)
    kernel.load_state_dict(dict(zip(kernel.state_dict(), ours.cell.state_dict().values(), strict=True)))
    same_gradients(ours, kernel, torch.randn(batch, 6, 5))


@pytest.mark.parametrize("batch", [1, 4])
def test_the_rnn_is_torchs(batch: int) -> None:
    torch.manual_seed(0)
    ours, kernel = RNN(5, 7), torch.nn.RNN(5, 7, batch_first=True)
    kernel.load_state_dict(dict(zip(kernel.state_dict(), ours.state_dict().values(), strict=True)))
    same_gradients(ours, kernel, torch.randn(batch, 6, 5))


@torch.no_grad()
def test_the_kernel_equals_the_loop() -> None:
    torch.manual_seed(0)
    fused, loop = LSTM(5, 7, fused=True), LSTM(5, 7, fused=False)
    loop.load_state_dict(fused.state_dict())
    xs = torch.randn(3, 40, 5)
    torch.testing.assert_close(fused(xs), loop(xs), atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_step_is_the_five_equations() -> None:
    torch.manual_seed(0)
    cell = LSTMCell(3, 4)
    x, h, c = torch.randn(2, 3), torch.randn(2, 4), torch.randn(2, 4)
    w, u = cell.input_weight.view(4, 4, 3), cell.hidden_weight.view(4, 4, 4)
    b = (cell.input_bias + cell.hidden_bias).view(4, 4)
    i, f, g, o = (torch.einsum("hx,bx->bh", w[k], x) + torch.einsum("hg,bg->bh", u[k], h) + b[k] for k in range(4))
    new_c = 1 / (1 + (-f).exp()) * c + 1 / (1 + (-i).exp()) * g.tanh()
    new_h = 1 / (1 + (-o).exp()) * new_c.tanh()
    for ours, expected in zip(cell(x, (h, c)), (new_h, new_c), strict=True):
        torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_a_cell_begins_by_keeping() -> None:
    """The forget gate's bias is one above the others'; the other gates' are left as torch draws them."""
    torch.manual_seed(0)
    cell = LSTMCell(3, 2000)
    mean = (cell.input_bias + cell.hidden_bias).view(4, 2000).mean(1)
    torch.testing.assert_close(mean, torch.tensor([0.0, 1.0, 0.0, 0.0]), atol=2e-3, rtol=0)


@torch.no_grad()
def test_an_open_forget_gate_and_a_shut_input_gate_keep_the_cell() -> None:
    cell = LSTMCell(3, 4)
    cell.input_bias[:4], cell.input_bias[4:8] = -100.0, 100.0
    state = (torch.zeros(2, 4), torch.randn(2, 4))
    kept = state[1].clone()
    for _ in range(200):
        state = cell(torch.randn(2, 3), state)
    assert torch.equal(state[1], kept)


def slow_log_probability(model: LanguageModel, tokens: list[int]) -> list[float]:
    """The definition, a word at a time, with torch's cell."""
    cell = torch.nn.LSTMCell(CONFIG.width, CONFIG.width)
    for theirs, ours in zip(cell.parameters(), model.lstm.cell.parameters(), strict=True):
        theirs.data.copy_(ours)
    state, found = None, []
    for now, after in itertools.pairwise(tokens):
        state = cell(model.embedding(torch.tensor([now])), state)
        found.append(float(model.words(state[0]).log_softmax(-1)[0, after]))
    return found


@torch.no_grad()
def test_log_probability_is_that_of_each_word_and_the_end(model: LanguageModel) -> None:
    for language, sentence in (("ko", "고양이가 본다"), ("en", "cat sees cat")):
        tokens = WORDS.encode(sentence, language)
        (found,) = model.log_probability([sentence], language=language)
        assert found == pytest.approx(slow_log_probability(model, tokens), abs=1e-5)
        assert len(found) == len(tokens) - 1


@torch.no_grad()
def test_padding_does_not_change_log_probability(model: LanguageModel) -> None:
    sentences = ["고양이가 본다", "본다", "고양이 고양이 고양이가 고양이가 본다"]
    together = model.log_probability(sentences, language="ko")
    for sentence, found in zip(sentences, together, strict=True):
        assert found == pytest.approx(model.log_probability([sentence], language="ko")[0], abs=1e-6)


@torch.no_grad()
def test_the_probabilities_of_all_sentences_sum_to_one(model: LanguageModel) -> None:
    """Every sentence of one word, and all that is longer."""
    start = WORDS.start("en")
    p = model(torch.tensor([[start, word] for word in range(len(WORDS))])).softmax(-1)
    first = p[0, 0]
    ended = float((first * p[:, 1, WORDS.end]).sum())
    longer = float((first * (1 - p[:, 1, WORDS.end])).sum())
    assert ended + longer == pytest.approx(1, abs=1e-6)
    told = sum(math.exp(sum(slow_log_probability(model, [start, word, WORDS.end]))) for word in range(len(WORDS)))
    assert told == pytest.approx(ended, abs=1e-6)


@torch.no_grad()
def test_the_perplexity_of_a_uniform_model_is_its_vocabulary(model: LanguageModel) -> None:
    for parameter in model.words.parameters():
        parameter.zero_()
    assert model.perplexity(["cat sees cat", "cat"], language="en") == pytest.approx(len(WORDS), rel=1e-5)


@torch.no_grad()
def test_perplexity_is_a_mean_over_words_not_sentences(model: LanguageModel) -> None:
    sentences = ["cat", "cat sees cat sees cat"]
    every = [log_p for of_one in model.log_probability(sentences, language="en") for log_p in of_one]
    assert len(every) == 2 + 6
    assert model.perplexity(sentences, language="en") == pytest.approx(math.exp(-sum(every) / 8), rel=1e-6)


def test_samples_follow_their_generator_and_their_language(model: LanguageModel) -> None:
    def draw(seed: int, language: str = "en") -> list[str]:
        return model.sample(language=language, n=6, generator=torch.Generator().manual_seed(seed), max_length=6)

    assert draw(0) == draw(0)
    assert any(draw(0) != draw(seed) for seed in range(1, 5))
    assert draw(0) != draw(0, "ko")
    assert model.sample(language="en", n=3) == model.sample(
        language="en", n=3, generator=torch.Generator().manual_seed(0)
    )


@torch.no_grad()
def test_samples_have_the_models_frequencies(model: LanguageModel) -> None:
    p = model(torch.tensor([[WORDS.start("ko")]]))[0, 0].softmax(-1)
    drawn = model.sample(language="ko", n=4000, max_length=1, generator=torch.Generator().manual_seed(1))
    for word in ("cat", "고양이"):
        token = WORDS.encode(word, "en")[1]
        share = sum(sentence == word for sentence in drawn) / 4000
        assert share == pytest.approx(float(p[token]), abs=0.03)


@torch.no_grad()
def test_cold_samples_are_greedy_and_go_on_from_their_beginning(model: LanguageModel) -> None:
    (said,) = model.sample("cat sees", language="en", temperature=1e-4, max_length=3)
    tokens = WORDS.encode("cat sees", "en")[:-1]
    for _ in range(3):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    assert said == WORDS.decode(tokens)
    assert said.startswith("cat sees")


@torch.no_grad()
def test_gates_are_those_of_the_pass(model: LanguageModel) -> None:
    words, gates = model.gates("고양이가 본다", language="ko")
    assert words == ["<ko>", "고양이", "##가", "본다"]
    assert gates.shape == (3, 4, CONFIG.width)
    assert (gates > 0).all() and (gates < 1).all()
    state = model.lstm.cell.start(torch.zeros(1, CONFIG.width))
    for step, x in enumerate(model.embedding(torch.tensor(WORDS.encode("고양이가 본다", "ko")[:-1]))):
        i, f, _, o = model.lstm.cell.gates(x[None], state[0])
        torch.testing.assert_close(gates[:, step], torch.cat([i, f, o]))
        state = model.lstm.cell(x[None], state)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: m.log_probability("cat"), "list of sentences"),
        (lambda m: m.log_probability([]), "list of sentences"),
        (lambda m: m.log_probability(["cat"], language="fr"), "language"),
        (lambda m: m.sample(language="fr"), "language"),
        (lambda m: m.sample(n=0), "n of at least 1"),
        (lambda m: m.sample(temperature=0.0), "temperature"),
        (lambda m: m.gates("cat", language="fr"), "language"),
    ],
)
def test_bad_input_is_told_plainly(model: LanguageModel, call, says) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match=says):
        call(model)


def test_a_folder_holds_the_whole_system(model: LanguageModel, tmp_path) -> None:  # type: ignore[no-untyped-def]
    checkpoints.save(model, tmp_path / "m")
    again = checkpoints.load(LanguageModel, tmp_path / "m").eval()
    assert again.config == model.config and again.tokenizer.vocabulary == WORDS.vocabulary
    assert again.log_probability(["cat sees cat"], language="en") == model.log_probability(
        ["cat sees cat"], language="en"
    )


def test_the_translator_of_2014_has_384_million_parameters() -> None:
    """Sutskever et al., section 3.4: four layers of 1,000 cells on each side, 160,000 and 80,000 words."""
    with torch.device("meta"):
        layers = [LSTM(1000, 1000) for _ in range(8)]
        embeddings = [torch.nn.Embedding(words, 1000) for words in (160_000, 80_000)]
        words = torch.nn.Linear(1000, 80_000)
    recurrent = sum(p.numel() for layer in layers for p in layer.parameters())
    assert round(recurrent / 1e6) == 64
    assert round((recurrent + sum(p.numel() for part in (*embeddings, words) for p in part.parameters())) / 1e6) == 384
