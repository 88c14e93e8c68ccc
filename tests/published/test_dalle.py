"""DALL-E's two halves under OpenAI's names, and the encoder under transformers': both ways, and nothing else passes."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import FlavaImageCodebook

from vlm_history import published
from vlm_history.errors import InputError
from vlm_history.pretrain.dvae import Decoder, DVAEConfig, Encoder
from vlm_history.published import dalle

SMALL = DVAEConfig(codes=24, widths=(8, 16, 32, 64), entry=12, blocks=2, gain=1 / 64, image_size=32)
ENCODER, DECODER = "openai/dall-e-encoder", "openai/dall-e-decoder"
KINDS: dict[str, type[Encoder] | type[Decoder]] = {ENCODER: Encoder, DECODER: Decoder}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published networks, narrower; their modules are called the same."""
    monkeypatch.setattr(DVAEConfig, "published", classmethod(lambda cls: SMALL))


def awake(kind: type[Encoder] | type[Decoder], config: DVAEConfig = SMALL) -> Encoder | Decoder:
    """Random weights, no bias at rest, and so large that what blocks add is seen in spite of their gain."""
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.normal_(0, 3 * tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.5)
    return model


def names(inside: tuple[str, ...], inputs: list[int], outputs: list[int]) -> set[str]:
    """Tensors of the released package, written down from its code: those of one group after the other."""
    modules = {"blocks.input", "blocks.output.conv"}
    for group, (before, after) in enumerate(zip(inputs, outputs, strict=True), start=1):
        for block in (1, 2):
            modules |= {f"blocks.group_{group}.block_{block}.res_path.{name}" for name in inside}
        if before != after:
            modules.add(f"blocks.group_{group}.block_1.id_path")
    return {f"{module}.{tensor}" for module in modules for tensor in ("w", "b")}


CONVOLUTIONS = ("conv_1", "conv_2", "conv_3", "conv_4")
RELEASED = {
    ENCODER: names(CONVOLUTIONS, [256, 256, 512, 1024], [256, 512, 1024, 2048]),
    DECODER: names(CONVOLUTIONS, [128, 2048, 1024, 512], [2048, 1024, 512, 256]),
}


@pytest.mark.parametrize("name", KINDS)
def test_names_and_shapes_are_those_released(name: str) -> None:
    assert name in published.names()
    with torch.device("meta"):
        model = published.build(name)
    tensors = dalle.dall_e(KINDS[name], DVAEConfig.published()).to_published(model)
    assert set(tensors) == RELEASED[name]
    assert sum(t.numel() for t in tensors.values()) == {ENCODER: 53_786_240, DECODER: 43_829_766}[name]
    ends = {ENCODER: ((256, 3, 7, 7), (8192, 2048, 1, 1)), DECODER: ((128, 8192, 1, 1), (6, 256, 1, 1))}[name]
    assert (tuple(tensors["blocks.input.w"].shape), tuple(tensors["blocks.output.conv.w"].shape)) == ends
    inner = [tuple(tensors[f"blocks.group_4.block_2.res_path.{conv}.w"].shape) for conv in CONVOLUTIONS]
    wide = [(512, 2048, 3, 3), (512, 512, 3, 3), (512, 512, 3, 3), (2048, 512, 1, 1)]
    narrow = [(64, 256, 1, 1), (64, 64, 3, 3), (64, 64, 3, 3), (256, 64, 3, 3)]
    assert inner == (wide if name == ENCODER else narrow)


@pytest.mark.parametrize(("name", "library"), [(ENCODER, "dall_e"), (ENCODER, "transformers"), (DECODER, "dall_e")])
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.usefixtures("small")
@torch.inference_mode()
def test_what_was_written_is_recognised_and_read(name: str, library: str, told: bool, tmp_path: Path) -> None:
    model = awake(KINDS[name])
    file = published.export(model, tmp_path, library=library)
    assert ("blocks.input.w" in load_file(file)) == (library == "dall_e")
    again = published.load(tmp_path, name if told else None)
    assert type(again) is KINDS[name] and not again.training
    state = model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())


@torch.inference_mode()
def test_transformers_reads_the_encoder(tmp_path: Path) -> None:
    ours = awake(Encoder)
    published.export(ours, tmp_path, library="transformers")
    theirs = FlavaImageCodebook.from_pretrained(tmp_path).eval()
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    expected = theirs(pixels)
    assert expected.abs().max() > 1
    torch.testing.assert_close(ours(pixels), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(ours(pixels).argmax(1), theirs.get_codebook_indices(pixels))


@torch.inference_mode()
def test_what_transformers_saves_is_read(small: None, tmp_path: Path) -> None:
    published.export(awake(Encoder), tmp_path / "ours", library="transformers")
    theirs = FlavaImageCodebook.from_pretrained(tmp_path / "ours").eval()
    theirs.save_pretrained(tmp_path / "theirs")
    pixels = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(published.load(tmp_path / "theirs")(pixels), theirs(pixels), atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("small")
def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    file = published.export(awake(Encoder), tmp_path, library="dall_e")
    state = load_file(file)
    wrong = {
        "1 are missing: blocks.input.w;": {k: v for k, v in state.items() if k != "blocks.input.w"},
        "1 are left over: blocks.input.z;": {**state, "blocks.input.z": torch.zeros(1)},
        "1 are of another shape: blocks.input.b (9,)": {**state, "blocks.input.b": torch.zeros(9)},
    }
    for message, tensors in wrong.items():
        save_file(tensors, file)
        with pytest.raises(InputError, match=re.escape(message)):
            published.load(file)
    save_file(state, file)
    with pytest.raises(InputError, match="published tensors of Decoder"):
        published.load(file, DECODER)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read as such"):
        published.load(file)
    save_file({"model.weight": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="pass name="):
        published.load(file)


def test_the_released_pickles_are_refused(tmp_path: Path) -> None:
    torch.save({"blocks.input.w": torch.zeros(1)}, tmp_path / "encoder.pkl")
    with pytest.raises(InputError, match="a pickle can run code"):
        published.load(tmp_path / "encoder.pkl", ENCODER)
    with pytest.raises(InputError, match="which does not exist and its weights have to be on this computer"):
        published.load(DECODER)


def test_only_what_the_libraries_can_be_is_written(tmp_path: Path) -> None:
    for changed in ({"gain": 0.5}, {"widths": (8, 16, 32, 48)}, {"blocks": 1}):
        with pytest.raises(InputError, match="as transformers has them, got"):
            published.export(Encoder(replace(SMALL, **changed)), tmp_path, library="transformers")
    with pytest.raises(InputError, match="as dall_e has them"):
        published.export(Decoder(DVAEConfig.world()), tmp_path, library="dall_e")
    with pytest.raises(InputError, match="that is dall_e, got 'transformers'"):
        published.export(Decoder(SMALL), tmp_path, library="transformers")
    assert not list(tmp_path.iterdir())
