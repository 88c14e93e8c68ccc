"""CLIP: counts at published size, what the towers promise, and what is done with both."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from vlm_history import checkpoints
from vlm_history.errors import InputError
from vlm_history.images import read_images
from vlm_history.pretrain.clip import CLIP, CLIPConfig, nearest, read_texts
from vlm_history.pretrain.clip_towers import MEAN, STD, EdgeCNNConfig, Orientations, ResNetConfig, TextConfig, ViTConfig
from vlm_history.pretrain.linear_probe import linear_probe
from vlm_history.text import BytePairTokenizer

COUNTS = {
    "ViT-B/32": 151_277_313,
    "ViT-B/16": 149_620_737,
    "ViT-L/14": 427_616_513,
    "ViT-L/14@336px": 427_944_193,
    "RN50": 102_007_137,
    "RN101": 119_688_033,
}
TOKENIZER = BytePairTokenizer.fit(["고양이 사과 a cat an apple"] * 3, size=290, specials=["<start>", "<end>"])
TEXT = TextConfig(len(TOKENIZER), length=40, width=24, depth=2, heads=3)
TOWERS = {
    "vit": ViTConfig(patch=8, width=32, depth=2, heads=4, image_size=32),
    "resnet": ResNetConfig((1, 1, 1, 1), width=8, heads=4, image_size=64),
    "cnn": EdgeCNNConfig(stem=8, stages=(8, 64), width=16, image_size=32),
}


def clip(tower: str = "vit") -> CLIP:
    torch.manual_seed(0)
    return CLIP(CLIPConfig(TOWERS[tower], TEXT, width=20, prompts=(("{}",), ("{}",))), TOKENIZER).eval()


@pytest.mark.parametrize("name", COUNTS)
def test_parameters_are_those_published(name: str) -> None:
    with torch.device("meta"):
        model = CLIP(CLIPConfig.published(name))
    assert sum(p.numel() for p in model.parameters()) == COUNTS[name]
    assert model.config.quick_gelu
    with pytest.raises(InputError, match="ViT-B/32"):
        CLIPConfig.published("ViT-B/33")


@pytest.mark.parametrize("tower", TOWERS)
def test_vectors_have_unit_length_and_do_not_depend_on_the_batch(tower: str) -> None:
    model = clip(tower).train()
    side = model.config.image.image_size
    pictures = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), np.uint8)
    images = model.encode_image(pictures)
    texts = model.encode_text(["고양이", "a cat and an apple", "x"])
    assert images.shape == texts.shape == (3, 20) and model.training
    torch.testing.assert_close(images.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(model.encode_image(pictures[1])[0], images[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(model.encode_text("고양이")[0], texts[0], atol=1e-5, rtol=1e-4)
    model.eval()
    pixels = read_images(pictures, size=side, mean=model.config.image.mean, std=model.config.image.std)
    logits = model.logits(pixels, model.read(["고양이", "x"]))
    torch.testing.assert_close(logits, images @ texts[[0, 2]].T / 0.07, atol=1e-4, rtol=1e-4)


def test_the_last_block_is_the_whole_one_for_the_first_token() -> None:
    model = clip()
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = model.image.project(model.image.norm_after(model.image.tokens(pixels)[:, 0]))
        torch.testing.assert_close(model.image(pixels), whole, atol=1e-5, rtol=1e-5)


def test_a_text_is_read_up_to_its_first_end() -> None:
    model = clip()
    end = TEXT.vocabulary - 1
    with torch.no_grad():
        once = model.text(torch.tensor([[end - 1, 5, 9, end]]))
        more = model.text(torch.tensor([[end - 1, 5, 9, end, 0, 0], [end - 1, 5, 9, end, end, end]]))
    torch.testing.assert_close(more, once.expand(2, -1), atol=1e-6, rtol=1e-5)


def test_temperature_stops_at_100_and_can_come_back() -> None:
    model = clip().train()
    assert model.scale().item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        model.log_scale.fill_(9.0)
    model.scale().backward()
    assert model.scale().item() == pytest.approx(100)
    assert float(model.log_scale.grad) == pytest.approx(100)


def test_classify_is_a_softmax_over_prompts_ensembled() -> None:
    model = clip()
    pictures = np.random.default_rng(1).integers(0, 256, (2, 40, 56, 3), np.uint8)
    names = ["cat", "apple", "고양이"]
    told = model.classify(pictures, names, prompts=["{}", "a {}"])
    assert [set(chances) for chances in told] == [set(names)] * 2
    vectors = [F.normalize((model.encode_text(n) + model.encode_text(f"a {n}"))[0], dim=0) for n in names]
    chances = (model.encode_image(pictures) @ torch.stack(vectors).T / 0.07).softmax(1)
    for row, found in zip(chances, told, strict=True):
        assert [found[name] for name in names] == pytest.approx(row.tolist(), rel=1e-3)
        assert list(found.values()) == sorted(found.values(), reverse=True)
    assert model.classify(pictures[0], names, language="en") == model.classify([pictures[0]], names, language="en")[0]


def test_retrieval_goes_both_ways() -> None:
    model = clip()
    pictures = np.random.default_rng(2).integers(0, 256, (4, 32, 32, 3), np.uint8)
    texts = ["cat", "사과", "an apple"]
    cosines = model.encode_image(pictures) @ model.encode_text(texts).T
    found = model.find_images("사과", pictures, k=2)
    assert [place for place, _ in found] == cosines[:, 1].argsort(descending=True)[:2].tolist()
    found = model.find_texts(pictures[3], texts)
    assert [place for place, _ in found] == cosines[3].argsort(descending=True).tolist()
    assert [cosine for _, cosine in found] == pytest.approx(cosines[3].sort(descending=True).values.tolist(), abs=1e-5)


def test_linear_probe_is_the_best_there_is() -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(90, 6), torch.arange(90) % 3
    features[:, :3] += F.one_hot(labels, 3)
    head = linear_probe(features, labels, classes=3, penalty=0.5)

    def slope(weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        loss = F.cross_entropy(features @ weight.T + bias, labels, reduction="sum") + 0.25 * weight.square().sum()
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, [weight, bias])])

    found = slope(head.weight.clone().requires_grad_(), head.bias.clone().requires_grad_())
    assert found.abs().max() < 0.02  # where a convex loss has no slope, it is least
    assert (head(features).argmax(1) == labels).float().mean() > 0.6
    with pytest.raises(InputError, match="label from 0 to 2"):
        linear_probe(features, labels + 1, classes=3)


@pytest.mark.parametrize("shape", [(224, 224), (300, 400), (517, 233), (64, 97)])
def test_pictures_are_cut_as_open_clip_cuts_them(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(3).integers(0, 256, (*shape, 3), np.uint8)
    theirs = open_clip.image_transform(224, is_train=False, mean=MEAN, std=STD)(Image.fromarray(picture))
    ours = read_images(picture, size=224, mean=MEAN, std=STD, crop=True)[0]
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("tower", TOWERS)
def test_a_folder_holds_the_whole_system(tower: str, tmp_path: Path) -> None:
    model = clip(tower)
    checkpoints.save(model, tmp_path / "m")
    again = checkpoints.load(CLIP, tmp_path / "m").eval()
    assert again.config == model.config
    torch.testing.assert_close(again.encode_text("고양이"), model.encode_text("고양이"))


def test_the_worlds_size() -> None:
    model = CLIP(CLIPConfig.world(2000))
    assert sum(p.numel() for p in model.parameters()) < 6_000_000
    assert model.encode_image(np.zeros((64, 64, 3), np.uint8)).shape == (1, 256)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda m: m.encode_text([]), "at least one text"),
        (lambda m: m.encode_text("cat " * 40), "at most 40 tokens"),
        (lambda m: m.encode_text(torch.zeros(1, 3, dtype=torch.long)), "at the end of each text"),
        (lambda m: m.encode_text(torch.full((1, 41), TEXT.vocabulary - 1)), "at most 40"),
        (lambda m: m.encode_text([3]), "text as str"),
        (lambda m: m.encode_image(torch.zeros(1, 3, 16, 16)), "32 x 32 pixels"),
        (lambda m: m.classify(np.zeros((8, 8, 3), np.uint8), []), "at least one of each"),
        (lambda m: m.classify(np.zeros((8, 8, 3), np.uint8), "cat"), "list of names"),
        (lambda m: m.classify(np.zeros((8, 8, 3), np.uint8), ["cat", "cat"]), "each name once"),
        (lambda m: m.classify(np.zeros((8, 8, 3), np.uint8), ["cat"], language="fr"), "language"),
        (lambda m: m.classify(np.zeros((8, 8, 3), np.uint8), ["cat"], prompts=["a photo"]), "where the name goes"),
        (lambda m: CLIP(m.config).encode_text("cat"), "no tokenizer"),
        (lambda m: CLIP(replace(m.config, text=TextConfig()), TOKENIZER), "tokenizer of 49408 tokens"),
        (lambda m: nearest(torch.eye(2), torch.eye(2), k=0), "k of at least 1"),
    ],
)
def test_bad_input_is_told_plainly(call: Callable[[CLIP], object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        call(clip())


def test_long_texts_are_cut_where_that_is_asked_for() -> None:
    ids = read_texts("cat " * 40, TEXT, TOKENIZER, cut=True)
    assert ids.shape == (1, 40) and int(ids[0, -1]) == TEXT.vocabulary - 1


def test_orientations_are_those_of_edges_whatever_the_contrast() -> None:
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    edges = Orientations()
    for which, slope in ((0, columns), (4, rows), (2, rows + columns), (6, rows - columns)):
        stripes = (slope / 3).sin().expand(1, 3, 32, 32)
        seen = edges(stripes)
        assert seen.shape == (1, 11, 16, 16)
        strength = seen[0, :8, 2:-2, 2:-2].mean((1, 2))
        assert int(strength.argmax()) == which
        faint = edges(0.4 * stripes + 0.3)[0, :8, 2:-2, 2:-2].mean((1, 2))
        torch.testing.assert_close(faint, strength, rtol=0.25, atol=0.01)
    flat = edges(torch.full((1, 3, 8, 8), 0.5))
    assert flat[:, :8].max() < 0.05 and torch.allclose(flat[:, 8:], torch.tensor(0.25))


def test_coarse_scales_see_the_form_and_not_the_lines_in_it() -> None:
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    form = (columns < 32).float()  # its edge stands upright
    lines = 0.3 * torch.where(rows % 2 < 1, 1.0, -1.0)
    pixels = (form + lines).expand(1, 3, 64, 64)
    two = Orientations(scales=2)
    seen = two(pixels)
    assert seen.shape == (1, two.channels, 32, 32) and two.channels == 19
    torch.testing.assert_close(seen[:, [*range(8), 16, 17, 18]], Orientations()(pixels), atol=0, rtol=0)
    coarse = seen[0, 8:16]
    assert int(coarse[:, 4:-4, 14:18].sum((1, 2)).argmax()) == 0 and float(coarse[:, 4:-4, 4:12].max()) < 0.05
