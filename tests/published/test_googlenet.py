"""GoogLeNet is torchvision's: same numbers of parameters, same outputs, both ways through a file."""

from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from vlm_history import published
from vlm_history.errors import InputError

NAME = "torchvision/googlenet"


@pytest.fixture(scope="module")
def reference() -> torch.nn.Module:
    torch.manual_seed(0)
    model = torchvision.models.GoogLeNet(aux_logits=True, transform_input=True, init_weights=False)
    for module in model.modules():  # batch norms at rest would hide a mix-up
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    return model.eval()


def test_parameters_are_those_published() -> None:
    with torch.device("meta"):
        model = published.build(NAME)
    assert sum(p.numel() for p in model.parameters()) == 6_624_904


@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_are_equal(reference: torch.nn.Module, tmp_path: Path, batch: int) -> None:
    save_file(reference.state_dict(), tmp_path / "model.safetensors")
    model = published.load(tmp_path)
    pixels = torch.rand(batch, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        theirs = reference((pixels - mean[:, None, None]) / std[:, None, None])
        ours = model.classify((pixels - 0.5) / 0.5)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_exported_weights_load_back(reference: torch.nn.Module, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = published.build(NAME)
    file = published.export(model, tmp_path)
    theirs = torchvision.models.GoogLeNet(aux_logits=False, transform_input=False, init_weights=False).eval()
    theirs.load_state_dict(published.read_safetensors(file))
    pixels = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model.classify(pixels), theirs(pixels), atol=1e-5, rtol=1e-5)


def test_what_does_not_fit_is_refused(reference: torch.nn.Module, tmp_path: Path) -> None:
    state = {k: v for k, v in reference.state_dict().items() if not k.startswith("aux")}
    file = tmp_path / "model.safetensors"
    cases = {
        "missing": {k: v for k, v in state.items() if k != "conv1.conv.weight"},
        "left over": {**state, "conv9.conv.weight": torch.zeros(1)},
        "another shape": {**state, "fc.weight": torch.zeros(10, 1024)},
    }
    for what, tensors in cases.items():
        save_file(tensors, file)
        with pytest.raises(InputError, match=what):
            published.load(file)
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(InputError, match="pickle"):
        published.load(tmp_path / "model.pth")
    file.write_bytes(b"not safetensors")
    with pytest.raises(InputError, match="cannot be read"):
        published.load(file)
    with pytest.raises(InputError, match="does not exist"):
        published.load(tmp_path / "nothing")
    with pytest.raises(InputError, match="published model"):
        published.build("openai/nothing")
