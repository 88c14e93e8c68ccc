"""GPT-1 and GPT-2 are transformers': what it saves we read, what we write it reads, what would differ is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from tokenizers.decoders import BPEDecoder
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Tokenizer,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    PreTrainedTokenizerFast,
)

from vlm_history import published
from vlm_history.errors import InputError
from vlm_history.pretrain.gpt1 import END, GPT, GPT1, GPT2, GPTConfig
from vlm_history.published import gpt
from vlm_history.text import BytePairTokenizer

TEXTS = ["The cat ate the apple, and then it was full.", "고양이가 사과를 먹었습니다. 🍎", "don't!  two  spaces"]
WORDS = BytePairTokenizer.fit(TEXTS * 3, 330, [END])
SIZES = {"vocab_size": len(WORDS), "n_positions": 24, "n_embd": 32, "n_layer": 2, "n_head": 4}
ENDS = {"bos_token_id": None, "eos_token_id": WORDS.id(END)}
CLASSES: dict[str, tuple[type[GPT], Any]] = {
    "openai-gpt": (GPT1, lambda: OpenAIGPTLMHeadModel(OpenAIGPTConfig(**SIZES, initializer_range=0.2))),
    "gpt2": (GPT2, lambda: GPT2LMHeadModel(GPT2Config(**SIZES, **ENDS, initializer_range=0.2))),
}
Saved = tuple[str, torch.nn.Module, Path]


def _filled(model: torch.nn.Module) -> torch.nn.Module:
    for parameter in model.parameters():  # biases and gains at rest would hide a mix-up
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.3)
    return model.eval()


@pytest.fixture(scope="module", params=CLASSES)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """A small random model as transformers saves it, with a tokenizer of its kind."""
    torch.manual_seed(0)
    theirs = _filled(CLASSES[request.param][1]())
    folder = tmp_path_factory.mktemp(request.param)
    theirs.save_pretrained(folder)  # type: ignore[operator]  # transformers types it as a tensor or a module
    GPT2Tokenizer({token: number for number, token in enumerate(WORDS.vocabulary)}, list(WORDS.merges)).save_pretrained(
        folder
    )
    return request.param, theirs, folder


def _tokens() -> torch.Tensor:
    return torch.randint(SIZES["vocab_size"], (3, 9), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_what_transformers_saved_is_read(saved: Saved) -> None:
    kind, theirs, folder = saved
    ours = published.load(folder)
    assert type(ours) is CLASSES[kind][0] and not ours.training
    torch.testing.assert_close(ours(_tokens()), theirs(_tokens()).logits, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_what_we_write_transformers_reads(saved: Saved, tmp_path: Path) -> None:
    _, theirs, folder = saved
    ours = published.load(folder)
    assert isinstance(ours, GPT)
    published.export(ours, tmp_path, library="transformers")
    again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(again) is type(theirs)
    torch.testing.assert_close(again(_tokens()).logits, theirs(_tokens()).logits, atol=1e-6, rtol=1e-6)
    reread = published.load(tmp_path)
    assert reread.config == ours.config
    assert all(torch.equal(a, b) for a, b in zip(reread.parameters(), ours.parameters(), strict=True))
    words = AutoTokenizer.from_pretrained(tmp_path)
    for text in TEXTS:
        assert words(text)["input_ids"] == ours.words().encode(text)


def test_the_worlds_own_size_is_written_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    ours = GPT1(GPTConfig(len(WORDS), length=32, width=16, depth=1, heads=2, dropout=0.0), WORDS).eval()
    published.export(ours, tmp_path, library="transformers")
    theirs, words = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    assert words.eos_token == END and words.eos_token_id == theirs.config.eos_token_id == WORDS.id(END)
    begun = words(END + "The cat", return_tensors="pt")
    written = theirs.generate(**begun, max_new_tokens=8, do_sample=False, pad_token_id=0)
    assert words.decode(written[0], skip_special_tokens=True) == ours.write("The cat", new=8)


def test_gpt2s_tokenizer_is_one_of_ours(saved: Saved) -> None:
    read = gpt.read_tokenizer(saved[2] / gpt.TOKENIZER)
    assert isinstance(read, BytePairTokenizer)
    assert read.vocabulary == WORDS.vocabulary and read.merges == WORDS.merges and read.specials == (END,)


def test_gpt1s_tokenizer_is_the_librarys(tmp_path: Path) -> None:
    """Lower case, and words that end in </w>, as transformers has it."""
    library = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<unk>"))
    library.normalizer = normalizers.BertNormalizer(lowercase=True)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    library.decoder = BPEDecoder(suffix="</w>")
    library.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=120, end_of_word_suffix="</w>", special_tokens=["<unk>"])
    )
    PreTrainedTokenizerFast(tokenizer_object=library, unk_token="<unk>").save_pretrained(tmp_path)
    read = gpt.read_tokenizer(tmp_path / gpt.TOKENIZER)
    assert isinstance(read, gpt.LibraryTokenizer) and read.specials == ("<unk>",)
    assert len(read) == library.get_vocab_size()
    assert read.encode("The cat ate!") == library.encode("The cat ate!").ids
    assert read.decode(read.encode("The cat ate!")) == "the cat ate !"
    with pytest.raises(InputError, match="among <unk>"):
        read.id(END)
    with pytest.raises(InputError, match="text as str"):
        read.encode(3)  # type: ignore[arg-type]  # what is wrong is the point


def _changed(folder: Path, into: Path, **config: Any) -> Path:
    """A copy with another configuration; None takes a key out."""
    data = json.loads((folder / gpt.CONFIG).read_text(encoding="utf-8")) | config
    kept = {key: value for key, value in data.items() if value is not None}
    (into / gpt.CONFIG).write_text(json.dumps(kept), encoding="utf-8")
    (into / gpt.WEIGHTS).write_bytes((folder / gpt.WEIGHTS).read_bytes())
    return into


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"afn": "relu", "activation_function": "relu"}, "='relu'"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings=False"),
        ({"n_inner": 7}, "n_inner=7"),
        ({"n_head": None}, "n_head is missing"),
        ({"n_layer": 3}, "are missing"),
        ({"n_layer": 1}, "are left over"),
        ({"n_positions": 23}, "of another shape"),
    ],
)
def test_what_would_differ_is_refused(saved: Saved, tmp_path: Path, config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        published.load(_changed(saved[2], tmp_path, **config))


@torch.inference_mode()
def test_tensors_as_older_versions_saved_them(saved: Saved, tmp_path: Path) -> None:
    """As on the hub: without the prefix, with masks, and with the embedding twice."""
    kind, theirs, folder = saved
    _changed(folder, tmp_path)
    tensors = {n.removeprefix("transformer."): t for n, t in load_file(folder / gpt.WEIGHTS).items()}
    tensors |= {f"h.{i}.attn.bias": torch.ones(1, 1, 24, 24) for i in range(2)}
    words = tensors["tokens_embed.weight" if kind == "openai-gpt" else "wte.weight"]
    save_file(tensors | {"lm_head.weight": words.clone()}, tmp_path / gpt.WEIGHTS)
    ours = published.load(tmp_path)
    assert isinstance(ours, GPT) and ours.tokenizer is None
    torch.testing.assert_close(ours(_tokens()), theirs(_tokens()).logits, atol=1e-4, rtol=1e-4)
    save_file(tensors | {"lm_head.weight": words + 1}, tmp_path / gpt.WEIGHTS)
    with pytest.raises(InputError, match="two matrices"):
        published.load(tmp_path)


def test_a_name_asks_for_its_sizes(saved: Saved, tmp_path: Path) -> None:
    kind, _, folder = saved
    with pytest.raises(InputError, match=f"expected the sizes of {kind}"):
        published.load(folder, name=kind)
    with pytest.raises(InputError, match=r"config\.json of gpt2"):
        published.load(tmp_path, name="gpt2")
    with pytest.raises(InputError, match="transformers, got 'torchvision'"):
        published.export(published.load(folder), tmp_path)


def test_names_are_built_and_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(gpt.NAMES) <= set(published.names())
    with torch.device("meta"):
        assert sum(p.numel() for p in published.build("openai-gpt").parameters()) == 116_534_784

    def unreachable(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("no connection")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(InputError, match="the weights of openai-gpt, which are not on this computer"):
        published.load("openai-gpt")


def test_a_damaged_tokenizer(tmp_path: Path) -> None:
    (tmp_path / gpt.TOKENIZER).write_text('{"model": 3}', encoding="utf-8")
    with pytest.raises(InputError, match="which the library cannot read"):
        gpt.read_tokenizer(tmp_path / gpt.TOKENIZER)
