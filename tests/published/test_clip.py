"""CLIP is open_clip's and transformers': same vectors and logits with copied weights, both ways through a directory."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import CLIPConfig as TheirConfig
from transformers import CLIPImageProcessor, CLIPModel

from vlm_history import published
from vlm_history.errors import InputError
from vlm_history.pretrain.clip import CLIP, CLIPConfig
from vlm_history.pretrain.clip_towers import ResNetConfig, TextConfig, ViTConfig
from vlm_history.published import clip

TEXT = TextConfig(vocabulary=90, length=12, width=32, depth=2, heads=4)
VIT = CLIPConfig(ViTConfig(patch=8, width=48, depth=3, heads=4, image_size=32), TEXT, width=24)
RESNET = CLIPConfig(ResNetConfig((2, 1, 1, 2), width=8, heads=4, image_size=64), TEXT, width=24)
KINDS = [("transformers", VIT), ("open_clip", VIT), ("open_clip", RESNET)]
IDS = [f"{library}-{type(config.image).__name__}" for library, config in KINDS]
MODEL = "openai/clip-vit-base-patch32"


def _theirs(library: str, config: CLIPConfig) -> Any:
    if library == "transformers":
        return CLIPModel(TheirConfig.from_dict(clip.to_transformers(config)["config.json"]))
    return open_clip.CLIP(**clip.to_open_clip(config)["open_clip_config.json"]["model_cfg"])


def _filled(model: Any) -> Any:
    """Random weights with nothing at rest, which would hide a mix-up."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.normal_(0.6, 0.3)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        model.logit_scale.fill_(3.0)
    return model.eval()


def _save(theirs: Any, library: str, config: CLIPConfig, directory: Path) -> None:
    """As the library itself saves it."""
    if library == "transformers":
        theirs.save_pretrained(directory)
        return
    directory.mkdir()
    model = clip.to_open_clip(config)["open_clip_config.json"]["model_cfg"]
    open_clip.factory.set_model_preprocess_cfg(
        theirs, open_clip.transform.PreprocessCfg(config.image.image_size).__dict__
    )
    save_config_for_hf(theirs, directory / "open_clip_config.json", model)
    save_file(theirs.state_dict(), directory / "open_clip_model.safetensors")


def _inputs(config: CLIPConfig, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels, and texts of several lengths."""
    generator = torch.Generator().manual_seed(batch)
    side, end = config.image.image_size, TEXT.vocabulary - 1
    pixels = torch.randn(batch, 3, side, side, generator=generator)
    ids = torch.randint(1, end - 1, (batch, TEXT.length), generator=generator)
    for row, length in enumerate(range(TEXT.length, TEXT.length - 4 * batch, -4)):
        ids[row, 0], ids[row, length - 1], ids[row, length:] = end - 1, end, 0
    return pixels, ids


def _logits(theirs: Any, library: str, pixels: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Their image vectors and text vectors, not of unit length, and logits."""
    if library == "open_clip":
        return theirs.encode_image(pixels), theirs.encode_text(ids), theirs.get_logits(pixels, ids)[0]
    there = (ids != 0).long()
    logits = theirs(input_ids=ids, pixel_values=pixels, attention_mask=there).logits_per_image
    texts = theirs.get_text_features(ids, attention_mask=there).pooler_output
    return theirs.get_image_features(pixels).pooler_output, texts, logits


@pytest.fixture(scope="module", params=KINDS, ids=IDS)
def saved(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, CLIPConfig, Any, Path]:
    library, config = request.param
    theirs = _filled(_theirs(library, config))
    directory = tmp_path_factory.mktemp(library) / "model"
    _save(theirs, library, config, directory)
    return library, config, theirs, directory


@pytest.mark.parametrize("batch", [1, 3])
@torch.inference_mode()
def test_vectors_and_logits_are_equal(saved: tuple[str, CLIPConfig, Any, Path], batch: int) -> None:
    library, config, theirs, directory = saved
    ours = published.load(directory)
    assert isinstance(ours, CLIP) and ours.config == config
    pixels, ids = _inputs(config, batch)
    images, texts, logits = _logits(theirs, library, pixels, ids)
    assert images.abs().max() > 0.1 and texts.abs().max() > 0.1
    torch.testing.assert_close(ours.image(pixels), images, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.text(ids), texts, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.logits(pixels, ids), logits, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_the_other_activation_is_another_model(saved: tuple[str, CLIPConfig, Any, Path]) -> None:
    library, config, theirs, _ = saved
    gelu = _theirs(library, replace(config, quick_gelu=False))
    gelu.load_state_dict(theirs.state_dict())
    ours = CLIP(replace(config, quick_gelu=False)).eval()
    ours.load_state_dict(clip.ADAPTERS[library](config).from_published(theirs.state_dict(), ours))
    pixels, ids = _inputs(config, 2)
    images, texts, logits = _logits(gelu.eval(), library, pixels, ids)
    torch.testing.assert_close(ours.image(pixels), images, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.text(ids), texts, atol=1e-4, rtol=1e-4)
    assert (logits - _logits(theirs, library, pixels, ids)[2]).abs().max() > 1e-3  # told apart at this size


@pytest.mark.parametrize(("library", "config"), KINDS, ids=IDS)
@torch.inference_mode()
def test_what_is_exported_loads_back(library: str, config: CLIPConfig, tmp_path: Path) -> None:
    torch.manual_seed(1)
    ours = CLIP(config).eval()
    published.export(ours, tmp_path, library=library)
    if library == "transformers":
        theirs: Any = CLIPModel.from_pretrained(tmp_path).eval()
        processor = CLIPImageProcessor.from_pretrained(tmp_path)
        picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
        vector = theirs.get_image_features(processor(picture, return_tensors="pt")["pixel_values"]).pooler_output
        torch.testing.assert_close(ours.encode_image(picture), vector / vector.norm(), atol=1e-3, rtol=1e-2)
    else:
        theirs = open_clip.create_model(f"local-dir:{tmp_path}").eval()
    pixels, ids = _inputs(config, 2)
    torch.testing.assert_close(ours.logits(pixels, ids), _logits(theirs, library, pixels, ids)[2], atol=1e-4, rtol=1e-4)
    again = published.load(tmp_path)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in ours.state_dict().items())


def test_the_table_knows_every_published_model() -> None:
    assert {MODEL, "openai/clip-vit-large-patch14-336", "timm/resnet50_clip.openai"} <= set(published.names())
    with torch.device("meta"):
        model = published.build("timm/resnet101_clip.openai")
    assert sum(p.numel() for p in model.parameters()) == 119_688_033
    assert isinstance(model, CLIP) and len(model.tokenizer or ()) == 49_408


@pytest.mark.parametrize("name", clip.NAMES)
def test_published_names_and_shapes_are_the_librarys(name: str) -> None:
    config = CLIPConfig.published(clip.NAMES[name])
    with torch.device("meta"):
        ours = CLIP(config)
        for library in ("transformers", "open_clip"):
            if clip.has(library, config):
                state = _theirs(library, config).state_dict()
                clip.ADAPTERS[library](config).from_published(state, ours)


def _edit(file: Path, *keys: str, value: Any) -> None:
    data = json.loads(file.read_text(encoding="utf-8"))
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    file.write_text(json.dumps(data), encoding="utf-8")


def test_the_wrong_activation_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    files = clip.to_transformers(CLIPConfig.published("ViT-B/32"))
    file.write_text(json.dumps(files["config.json"]), encoding="utf-8")
    for tower in ("text_config", "vision_config"):
        _edit(file, tower, "hidden_act", value="gelu")
    with pytest.raises(InputError, match="expected QuickGELU, which openai/clip-vit-base-patch32 was trained with"):
        published.load(tmp_path, MODEL)
    _edit(file, "text_config", "hidden_act", value="quick_gelu")
    with pytest.raises(InputError, match=r"vision\.hidden_act='gelu'"):  # one tower each: no such CLIP was published
        published.load(tmp_path)


def test_a_configuration_that_is_not_clips_is_refused(tmp_path: Path) -> None:
    published.export(CLIP(VIT), tmp_path, library="transformers")
    with pytest.raises(InputError, match="expected the sizes of openai"):
        published.load(tmp_path, MODEL)
    _edit(tmp_path / "config.json", "text_config", "layer_norm_eps", value=1e-6)
    with pytest.raises(InputError, match=r"text\.layer_norm_eps=1e-06"):
        published.load(tmp_path)
    published.export(CLIP(VIT), tmp_path / "other", library="open_clip")
    file = tmp_path / "other" / "open_clip_config.json"
    _edit(file, "model_cfg", "vision_cfg", "ls_init_value", value=0.1)
    with pytest.raises(InputError, match=r"vision_cfg\.ls_init_value=0\.1"):
        published.load(tmp_path / "other")
    file.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="as open_clip writes it"):
        published.load(tmp_path / "other")
    file.write_text("no JSON", encoding="utf-8")
    with pytest.raises(InputError, match="expected JSON"):
        published.load(tmp_path / "other")


def test_weights_alone_do_not_tell_the_activation(tmp_path: Path) -> None:
    config = CLIPConfig.published("ViT-B/32")
    with torch.device("meta"):
        names = clip.open_clip(config).to_published(CLIP(config))
    file = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(1) for name in names}, file)
    with pytest.raises(InputError, match="do not tell QuickGELU from GELU"):
        published.load(file)
    with pytest.raises(InputError, match="of another shape"):  # named, it is read as what it shall be
        published.load(file, MODEL)


def test_tensors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    file = published.export(CLIP(VIT), tmp_path, library="transformers")
    tensors = load_file(file)
    name = "vision_model.encoder.layers.2.self_attn.k_proj.weight"
    for what, changed in {
        f"1 are missing: {name}": {k: v for k, v in tensors.items() if k != name},
        "1 are left over: adapter.weight": {**tensors, "adapter.weight": torch.zeros(1)},
        "1 are of another shape: logit_scale": {**tensors, "logit_scale": torch.zeros(1)},
    }.items():
        save_file(changed, file)
        with pytest.raises(InputError, match=what):
            published.load(tmp_path)
    save_file({**tensors, "text_model.embeddings.position_ids": torch.arange(12)[None]}, file)
    published.load(tmp_path)  # older files have it, and it says nothing


def test_a_tower_of_this_world_is_no_other_librarys(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="got EdgeCNNConfig"):
        published.export(CLIP(CLIPConfig.world(300)), tmp_path, library="open_clip")
    with pytest.raises(InputError, match="got ResNetConfig"):
        published.export(CLIP(RESNET), tmp_path, library="transformers")
    with pytest.raises(InputError, match="transformers, open_clip, got 'torchvision'"):
        published.export(CLIP(VIT), tmp_path)


def test_without_internet_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="not on this computer, and the hub could not be reached") as told:
        published.load(MODEL)
    assert "\n" not in str(told.value)
