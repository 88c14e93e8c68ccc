"""VGG-19 is torchvision's, and timm's: same numbers of parameters, same outputs, both ways through a file."""

import re
from collections.abc import Callable, Iterator
from math import sqrt
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from timm.layers import ClassifierHead
from timm.models.vgg import ConvMlp
from torch import nn

from vlm_history import published
from vlm_history.connect.cnn import VGG, VGGConfig
from vlm_history.errors import InputError
from vlm_history.published import vgg

NAME = "torchvision/vgg19"
SMALL = VGGConfig(stages=((4,) * 2, (4,) * 2, (6,) * 4, (8,) * 4, (8,) * 4), width=12, classes=10)
BUILD: dict[str, Callable[[], nn.Module]] = {
    "torchvision": lambda: torchvision.models.vgg19(init_weights=False),
    "timm": lambda: timm.create_model("vgg19"),
}
ADAPTERS = {"torchvision": vgg.TORCHVISION, "timm": vgg.TIMM}
LIBRARIES = tuple(BUILD)


def _fill(model: nn.Module, seed: int) -> nn.Module:
    """Random weights under which signals keep their size, and no bias is at rest, which would hide a mix-up."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in model.to_empty(device="cpu").parameters():
            bound = sqrt(6 / tensor[0].numel()) if tensor.ndim > 1 else 0.1
            tensor.uniform_(-bound, bound, generator=generator)
    return model.eval()


def _convolutions(stages: tuple[tuple[int, ...], ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 3
    for stage in stages:
        for width in stage:
            layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
            inputs = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _small(library: str) -> nn.Module:
    """The library's own network with the narrow layers of `SMALL`."""
    outputs, width, classes = SMALL.stages[-1][-1], SMALL.width, SMALL.classes
    with torch.device("meta"):
        model = BUILD[library]()
        model.features = _convolutions(SMALL.stages)
        if library == "timm":
            model.pre_logits = ConvMlp(outputs, width, 7)
            model.head = ClassifierHead(width, classes)
        else:
            sizes = {0: (outputs * 49, width), 3: (width, width), 6: (width, classes)}
            for place, (inputs, out) in sizes.items():
                model.classifier[place] = nn.Linear(inputs, out)
    return _fill(model, seed=2)


def _ours(library: str, theirs: nn.Module) -> VGG:
    ours = VGG(SMALL).eval()
    ours.load_state_dict(ADAPTERS[library].from_published(theirs.state_dict(), ours), assign=True)
    return ours


def _pixels(batch: int, rows: int, columns: int) -> torch.Tensor:
    return torch.randn(batch, 3, rows, columns, generator=torch.Generator().manual_seed(1))


def _assert_equal(ours: torch.Tensor, theirs: torch.Tensor, *, timm: bool = False) -> None:
    largest = theirs.abs().max().item()
    assert largest > 0.1  # else an absolute tolerance would say nothing
    # timm's convolution sums 25,088 products in another order: 1e-5 of the largest output, not of each
    torch.testing.assert_close(ours, theirs, atol=1e-5 * (largest if timm else 1), rtol=1e-5)


@pytest.fixture(scope="module", params=LIBRARIES)
def full(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, nn.Module, VGG]]:
    """A library's VGG-19, and ours with what the library saved."""
    with torch.device("meta"):
        theirs = BUILD[request.param]()
    file = tmp_path_factory.mktemp(request.param) / "model.safetensors"
    save_file(_fill(theirs, seed=0).state_dict(), file)
    ours = published.load(file.parent)
    file.unlink()
    assert isinstance(ours, VGG)
    yield request.param, theirs, ours


def test_parameters_are_those_published() -> None:
    assert NAME in published.names()
    with torch.device("meta"):
        model = published.build(NAME)
    assert sum(p.numel() for p in model.parameters()) == 143_667_240


# batches of one and several, smaller than 7 x 7 places in the last grid, and odd sizes
@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 64, 64), (1, 70, 99)])
@torch.inference_mode()
def test_outputs_are_equal(full: tuple[str, nn.Module, VGG], shape: tuple[int, int, int]) -> None:
    library, theirs, ours = full
    pixels = _pixels(*shape)
    _assert_equal(ours.classify(pixels), theirs(pixels), timm=library == "timm")


@pytest.mark.parametrize("full", ["torchvision"], indirect=True)
@torch.inference_mode()
def test_the_grid_is_that_of_the_last_convolution(full: tuple[str, nn.Module, VGG]) -> None:
    _, theirs, ours = full
    pixels = _pixels(1, 224, 224)
    grid = ours.features(pixels)
    assert grid.shape == (1, 512, 14, 14)
    _assert_equal(grid, theirs.features[:36](pixels))
    assert (grid >= 0).all()  # after its ReLU


@torch.inference_mode()
def test_one_library_reads_what_another_wrote(full: tuple[str, nn.Module, VGG], tmp_path: Path) -> None:
    library, reference, model = full
    other = {"torchvision": "timm", "timm": "torchvision"}[library]
    file = published.export(model, tmp_path, library=other)
    with torch.device("meta"):
        theirs = BUILD[other]()
    theirs.load_state_dict(load_file(file), assign=True)
    _assert_equal(theirs.eval()(_pixels(1, 32, 32)), reference(_pixels(1, 32, 32)), timm=True)
    again = published.load(file).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    file.unlink()


@pytest.mark.parametrize(
    ("library", "shape"),
    [("torchvision", (3, 224, 224)), ("torchvision", (2, 288, 320)), ("timm", (3, 224, 224)), ("timm", (1, 255, 225))],
)
@torch.inference_mode()
def test_narrow_outputs_are_equal_in_double_precision(library: str, shape: tuple[int, int, int]) -> None:
    theirs = _small(library).double()
    ours, pixels = _ours(library, theirs).double(), _pixels(*shape).double()
    torch.testing.assert_close(ours.classify(pixels), theirs(pixels), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("library", LIBRARIES)
def test_narrow_weights_come_back_as_they_were(library: str, tmp_path: Path) -> None:
    theirs = _small(library)
    written = load_file(published.export(_ours(library, theirs), tmp_path, library=library))
    state = theirs.state_dict()
    assert written.keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in written.items())  # equal: of one shape, too


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_does_not_fit_is_refused(library: str, tmp_path: Path) -> None:
    state = _small(library).state_dict()
    head = {"torchvision": "classifier.0.weight", "timm": "pre_logits.fc1.weight"}[library]
    file = tmp_path / "model.safetensors"
    cases = {
        f"1 are missing: {head};": {k: v for k, v in state.items() if k != head},
        "1 are left over: features.36.weight;": {**state, "features.36.weight": torch.zeros(1)},
        "38 are of another shape: ": state,  # narrow where VGG-19 is wide
    }
    for what, tensors in cases.items():
        save_file(tensors, file)
        for name in (None, NAME):
            with pytest.raises(InputError, match=re.escape(what)):
                published.load(file, name)
    with pytest.raises(InputError, match="GoogLeNet"):
        published.load(file, "torchvision/googlenet")


def test_kernels_of_another_form_are_refused() -> None:
    state = _small("timm").state_dict()
    weight = state["pre_logits.fc1.weight"]
    for wrong in (weight.flatten(1), weight.permute(0, 2, 3, 1)):  # as many numbers, but not where they belong
        with pytest.raises(InputError, match=r"another shape: pre_logits\.fc1\.weight"):
            vgg.TIMM.from_published({**state, "pre_logits.fc1.weight": wrong}, VGG(SMALL))


def test_pickles_strangers_and_unknown_libraries_are_refused(tmp_path: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "model.pth")
    with pytest.raises(InputError, match="pickle"):
        published.load(tmp_path / "model.pth")
    save_file({"conv1.weight": torch.zeros(1), "fc.weight": torch.zeros(1)}, tmp_path / "resnet.safetensors")
    with pytest.raises(InputError, match=r"expected the tensors of one of .*torchvision/vgg19"):
        published.load(tmp_path)
    with pytest.raises(InputError, match="torchvision, timm"):
        published.export(VGG(SMALL), tmp_path, library="transformers")
    with pytest.raises(InputError, match="that is torchvision, got 'timm'"):
        published.export(published.build("torchvision/googlenet"), tmp_path, library="timm")
