"""GPT-1 and GPT-2 are transformers': counts at published size, logits with copied weights, cached writing."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, OpenAIGPTConfig, OpenAIGPTLMHeadModel

from vlm_history import checkpoints
from vlm_history.errors import InputError
from vlm_history.pretrain.gpt1 import END, GPT, GPT1, GPT2, TOGETHER, GPTConfig
from vlm_history.text import BytePairTokenizer

SMALL = GPTConfig(vocabulary=61, length=24, width=32, depth=3, heads=4)
COUNTS = {
    "gpt1": 116_534_784,
    "gpt2_small": 124_439_808,
    "gpt2_medium": 354_823_168,
    "gpt2_large": 774_030_080,
    "gpt2_xl": 1_557_611_200,
}


def copied(reference: torch.nn.Module, ours: GPT, names: dict[str, str]) -> None:
    """Copy their weights into ours, by hand: the adapter is tested elsewhere. Their Conv1D is a transposed Linear."""
    theirs = {k.removeprefix("transformer."): v for k, v in reference.state_dict().items()}
    state = {}
    for name in ours.state_dict():
        parts = name.split(".")
        if parts[0] == "blocks":
            middle = ".".join(parts[2:-1])
            value = theirs[f"h.{parts[1]}.{names[middle]}.{parts[-1]}"]
            state[name] = value.T if value.ndim == 2 else value
        else:
            state[name] = theirs[f"{names[parts[0]]}.{parts[-1]}"]
    ours.load_state_dict(state)


BLOCK = {
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "attention_norm": "ln_1",
    "mlp.widen": "mlp.c_fc",
    "mlp.narrow": "mlp.c_proj",
    "mlp_norm": "ln_2",
}


@pytest.fixture(scope="module", params=["gpt1", "gpt2"])
def pair(request: pytest.FixtureRequest) -> tuple[GPT, torch.nn.Module]:
    torch.manual_seed(0)
    sizes = {"vocab_size": 61, "n_positions": 24, "n_embd": 32, "n_layer": 3, "n_head": 4}
    names = {**BLOCK, "tokens": "tokens_embed", "positions": "positions_embed"}
    if request.param == "gpt1":
        theirs: torch.nn.Module = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**sizes, initializer_range=0.2)).eval()
        ours: GPT = GPT1(SMALL)
    else:
        theirs = GPT2LMHeadModel(GPT2Config(**sizes, initializer_range=0.2)).eval()
        ours = GPT2(SMALL)
        names |= {"tokens": "wte", "positions": "wpe", "norm": "ln_f"}
    for parameter in theirs.parameters():  # biases and gains at rest would hide a mix-up
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    copied(theirs, ours, names)
    return ours.eval(), theirs


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_those_published(name: str) -> None:
    config = getattr(GPTConfig, name)()
    with torch.device("meta"):
        model = (GPT1 if name == "gpt1" else GPT2)(config)
    assert sum(p.numel() for p in model.parameters()) == COUNTS[name]


@pytest.mark.parametrize(("kind", "smaller"), [(GPT1, 1.0), (GPT2, 2.0)])
def test_weights_begin_as_published(kind: type[GPT], smaller: float) -> None:
    torch.manual_seed(0)
    state = kind(GPTConfig(61, length=24, width=768, depth=2, heads=4)).state_dict()
    for name, tensor in state.items():
        if tensor.ndim == 2:
            last = name.endswith(("out.weight", "narrow.weight"))
            assert float(tensor.std()) == pytest.approx(0.02 / (smaller if last else 1), rel=0.02), name
        else:
            assert torch.equal(tensor, torch.full_like(tensor, float("norm" in name and name.endswith("weight")))), name
    narrow = kind(replace(SMALL, width=48)).tokens.weight.detach()
    assert float(narrow.std()) == pytest.approx(0.08, rel=0.05)


@pytest.mark.parametrize("batch", [1, 3])
def test_logits_are_equal(pair: tuple[GPT, torch.nn.Module], batch: int) -> None:
    ours, theirs = pair
    tokens = torch.randint(61, (batch, 17), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-4, rtol=1e-4)


def test_padding_at_the_right_changes_nothing_before_it(pair: tuple[GPT, torch.nn.Module]) -> None:
    ours, theirs = pair
    tokens = torch.randint(61, (3, 12), generator=torch.Generator().manual_seed(2))
    there = torch.arange(12) < torch.tensor([[12], [7], [3]])
    with torch.inference_mode():
        padded = ours(tokens, there)
        reference = theirs(tokens, attention_mask=there.long()).logits
        for row, length in enumerate((12, 7, 3)):
            alone = ours(tokens[row : row + 1, :length])[0]
            torch.testing.assert_close(padded[row, :length], alone, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(padded[row, :length], reference[row, :length], atol=1e-4, rtol=1e-4)


def test_padding_at_the_left_changes_nothing_after_it(pair: tuple[GPT, torch.nn.Module]) -> None:
    ours, _ = pair
    tokens = torch.randint(61, (2, 9), generator=torch.Generator().manual_seed(3))
    there = torch.ones(2, 9, dtype=torch.bool)
    there[1, :4] = False
    with torch.inference_mode():
        torch.testing.assert_close(ours(tokens, there)[1, 4:], ours(tokens[1:, 4:])[0], atol=1e-5, rtol=1e-4)


def test_cached_writing_is_uncached_writing(pair: tuple[GPT, torch.nn.Module]) -> None:
    ours, theirs = pair
    tokens = torch.randint(61, (4, 5), generator=torch.Generator().manual_seed(4))
    written = ours.generate(tokens, new=12)
    slow = tokens
    with torch.inference_mode():
        for _ in range(12):
            slow = torch.cat([slow, ours(slow)[:, -1].argmax(1)[:, None]], dim=1)
            torch.testing.assert_close(ours(slow), theirs(slow).logits, atol=1e-4, rtol=1e-4)
    assert torch.equal(written, slow)
    reference = theirs.generate(  # type: ignore[operator]
        tokens, max_new_tokens=12, do_sample=False, pad_token_id=0, attention_mask=torch.ones_like(tokens)
    )
    assert torch.equal(written, reference)


def test_left_padded_writing_is_that_of_each_alone(pair: tuple[GPT, torch.nn.Module]) -> None:
    ours, _ = pair
    tokens = torch.randint(61, (2, 6), generator=torch.Generator().manual_seed(5))
    there = torch.ones(2, 6, dtype=torch.bool)
    there[0, :3] = False
    both = ours.generate(tokens, new=8, there=there)
    assert torch.equal(both[0, 3:], ours.generate(tokens[:1, 3:], new=8)[0])
    assert torch.equal(both[1], ours.generate(tokens[1:], new=8)[0])


def test_writing_ends_and_draws_by_its_generator(pair: tuple[GPT, torch.nn.Module]) -> None:
    ours, _ = pair
    tokens = torch.randint(61, (2, 3), generator=torch.Generator().manual_seed(6))
    greedy = ours.generate(tokens, new=6)
    end = int(greedy[0, 4])
    stopped = ours.generate(tokens, new=6, end=end)
    assert (stopped[0, 4:] == end).all()

    def draw(seed: int, **options: float) -> torch.Tensor:
        return ours.generate(tokens, new=6, generator=torch.Generator().manual_seed(seed), **options)  # type: ignore[arg-type]

    assert torch.equal(draw(0, temperature=1.0), draw(0, temperature=1.0))
    assert not torch.equal(draw(0, temperature=3.0), draw(1, temperature=3.0))
    assert torch.equal(draw(0, temperature=1.0, top=1), greedy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"new": 0}, "new and top of at least 1"),
        ({"new": 30}, "at most 24 tokens"),
        ({"new": 2, "temperature": -1.0}, "temperature of at least 0"),
        ({"new": 2, "there": torch.tensor([[True, True, False]])}, "padding at the left"),
    ],
)
def test_bad_input(options: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InputError, match=message):
        GPT1(SMALL).generate(torch.zeros(1, 3, dtype=torch.long), **options)
    with pytest.raises(InputError, match="at most 4 tokens, got 5"):
        GPT1(replace(SMALL, length=4))(torch.zeros(1, 5, dtype=torch.long))


@pytest.fixture(scope="module")
def reader() -> GPT1:
    torch.manual_seed(0)
    words = BytePairTokenizer.fit(["고양이가 사과를 먹었습니다. the cat ate the apple."] * 3, 300, [END])
    model = GPT1(GPTConfig(len(words), length=48, width=16, depth=2, heads=2), words)
    torch.nn.init.normal_(model.tokens.weight, 0, 0.5)
    return model.eval()


def test_log_probability_is_what_the_logits_say(reader: GPT1) -> None:
    ids = [reader.words().id(END), *reader.words().encode("the cat"), *reader.words().encode(" ate an apple")]
    with torch.inference_mode():
        log_p = reader(torch.tensor([ids]))[0].log_softmax(1)
    expected = [float(log_p[at, token]) for at, token in enumerate(ids[1:])]
    assert reader.log_probability(["the cat ate an apple"])[0] == pytest.approx(expected, abs=1e-5)
    later = reader.log_probability([" ate an apple"], given=["the cat"])[0]
    assert later == pytest.approx(expected[-len(later) :], abs=1e-5)
    assert len(later) == len(reader.words().encode(" ate an apple"))
    assert reader.perplexity(["the cat ate an apple"]) == pytest.approx(math.exp(-sum(expected) / len(expected)))


def test_a_text_is_as_likely_alone_as_among_others(reader: GPT1) -> None:
    texts = ["the cat", "고양이가 사과를", "a"] * TOGETHER
    together = reader.log_probability(texts)
    for text, log_p in zip(texts[:3], together[-3:], strict=True):
        assert log_p == pytest.approx(reader.log_probability([text])[0], abs=1e-5)


def test_writes_on(reader: GPT1) -> None:
    told = reader.write("the cat", new=9)
    assert told.startswith("the cat") and told == reader.write("the cat", new=9)
    begun = torch.tensor([[reader.words().id(END), *reader.words().encode("the cat")]])
    assert told == reader.words().decode(reader.generate(begun, new=9)[0].tolist())
    assert "<|" not in reader.write(new=9, temperature=2.0, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():  # a model that ends at once
        ending = GPT1(reader.config, reader.words())
        ending.tokens.weight.zero_()
        ending.blocks[-1].mlp_norm.weight.zero_()
        ending.blocks[-1].mlp_norm.bias.fill_(1)
        ending.tokens.weight[reader.words().id(END)] = 1
    assert ending.eval().write("the cat", new=9) == "the cat"


def test_texts_that_cannot_be_read(reader: GPT1) -> None:
    with pytest.raises(InputError, match="a list of texts"):
        reader.log_probability("the cat")
    with pytest.raises(InputError, match="as many that are given"):
        reader.log_probability(["the cat"], given=["a", "b"])
    with pytest.raises(InputError, match="at most 48 tokens"):
        reader.write("ab" * 30)
    with pytest.raises(InputError, match="no tokenizer"):
        GPT1(SMALL).write("the cat")
    with pytest.raises(InputError, match=r"at most 61 tokens, .* got one of 257"):
        GPT1(SMALL, BytePairTokenizer([], [END]))
    with pytest.raises(InputError, match="no token that begins one"):
        GPT1(replace(SMALL, vocabulary=256), BytePairTokenizer([])).write()


def test_saved_with_its_tokenizer(reader: GPT1, tmp_path: Path) -> None:
    again = checkpoints.load(GPT1, checkpoints.save(reader, tmp_path / "gpt")).eval()
    assert again.config == reader.config
    assert again.write("고양이가", new=5) == reader.write("고양이가", new=5)
