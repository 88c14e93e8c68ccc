"""DALL-E's recipe: what is said of a picture, what rests in the second stage, and that both learn."""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.halves import check_half
from vlm_history.errors import InputError
from vlm_history.pretrain.dalle import DALLE, DALLEConfig
from vlm_history.pretrain.dvae import DVAE, DVAEConfig, kl_weight, logit_laplace, squeeze, temperature
from vlm_history.systems import find, load_from
from vlm_history.training import recipes
from vlm_history.training.loop import train
from vlm_history.training.recipes import dall_e
from vlm_history.training.recipes.dall_e import (
    Codebook,
    Compress,
    Pieces,
    Stream,
    Vocabulary,
    Write,
    k_means,
    nearest,
    read,
    squeezed,
    tokenizer,
    told,
)
from vlm_history.training.scenes import pixels_of, tidy_looks, tidy_scenes, world
from vlm_history.world import drawing
from vlm_history.world.grammar import LANGUAGES
from vlm_history.world.splits import TRAIN_ARTISTS, pair_split

RECIPE, QUICK = (recipes.get("dall-e", quick) for quick in (False, True))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same networks, much narrower."""
    vae = replace(DVAEConfig.world(), codes=32, widths=(4, 8, 12, 16), entry=8)
    monkeypatch.setattr(DVAEConfig, "world", classmethod(lambda cls: vae))
    sizes = {"length": 32, "width": 32, "depth": 2, "heads": 2, "kernel": 3}
    monkeypatch.setattr(
        DALLEConfig, "world", classmethod(lambda cls, vocabulary: DALLEConfig(vae, vocabulary, **sizes))
    )


CODEBOOK = Codebook(
    "codebook", steps=80, batch_size=32, learning_rate=2e-3, warmup=10, weight_decay=1e-4, betas=(0.9, 0.999),
    final=0.0125, cooling=60, warming=20, evaluate_every=20, looks=32,
)  # fmt: skip
"""The paper's training, which no recipe has as a stage."""


def stages(recipe: Any = QUICK, **changed: Any) -> tuple[Vocabulary, Stream]:
    first, second = (replace(stage, **changed) for stage in recipe.stages)
    assert isinstance(first, Vocabulary) and isinstance(second, Stream)
    return first, second


def test_the_vocabulary_reads_no_held_out_pair_and_says_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    facts: list[Any] = []
    real = dall_e.captions

    def watching(fact: Any, names: Any, language: str) -> list[str]:
        facts.append(fact)
        return real(fact, names, language)

    monkeypatch.setattr(dall_e, "captions", watching)
    words = tokenizer.__wrapped__()
    assert len(words) == dall_e.VOCABULARY
    for fact in facts:
        codes = [mention.hexcode for mention in fact.mentions]
        assert set(codes) <= set(drawing.EVERYDAY)
        assert all(pair_split(a, b) == "train" for a, b in combinations(codes, 2))
    longest = DALLEConfig.world(len(words)).length
    for scene in drawing.scenes(world(), 100, seed=8, split="validation"):
        for language in LANGUAGES:
            for caption in scene.captions(language):
                ids = words.encode(caption.lower())
                assert words.decode(ids) == caption.lower() and len(ids) <= 0.75 * longest


def test_pictures_are_told_in_one_language_and_some_not_at_all() -> None:
    scenes = tidy_scenes(0, 0, range(400), 400, stages(RECIPE)[1].mix)
    assert {thing.concept.hexcode for scene in scenes for thing in scene.things} <= set(drawing.EVERYDAY)
    assert {scene.artist for scene in scenes} == set(TRAIN_ARTISTS) and {scene.kind for scene in scenes} == {
        "one",
        "pair",
    }
    texts = [told(scene, 0.1) for scene in scenes]
    assert texts == [told(scene, 0.1) for scene in scenes]
    for scene, text in zip(scenes, texts, strict=True):
        assert text == "" or text in [scene.caption(language) for language in LANGUAGES]
    assert 20 <= texts.count("") <= 65
    korean = sum(any("가" <= letter <= "힣" for letter in text) for text in texts)
    assert 140 <= korean <= 230
    words = len(tokenizer())
    padded = read(["", "a cat", "고양이"])
    length = DALLEConfig.world(words).length
    assert padded.shape == (3, length) and padded[0].tolist() == list(range(words, words + length))
    assert torch.equal(read(["A CAT"]), read(["a cat"]))


def test_schedules_follow_the_step_of_the_batch(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = replace(CODEBOOK, cooling=8, warming=4, beta=2.0)
    module = stage.build(None)
    asked: list[tuple[float, float]] = []

    def watching(self: DVAE, pixels: torch.Tensor, tau: float, beta: float) -> torch.Tensor:
        asked.append((tau, beta))
        return torch.zeros(())

    monkeypatch.setattr(DVAE, "loss", watching)
    for index in (0, 3, 20):
        batch = stage.batch(0, index, range(2))
        assert batch["steps"].tolist() == [index, index]
        module(**batch)
    assert asked == [(temperature(step, 8), kl_weight(step, 4, 2.0)) for step in (0, 3, 20)]
    assert asked[0] == (1, 0) and asked[2] == pytest.approx((1 / 16, 2.0))


def test_half_precision_changes_little(small: None) -> None:
    for stage in (*stages(), CODEBOOK):
        torch.manual_seed(0)
        check_half(stage.build(None), stage.batch(0, 60, range(8)))


def test_the_recipe_is_the_paper_s_but_for_its_length() -> None:
    _, stream = stages(RECIPE)
    assert (stream.betas, stream.weight_decay, stream.dropped) == ((0.9, 0.96), 4.5e-2, 0.1)
    assert (CODEBOOK.beta, Codebook.warming, Codebook.cooling) == (6.6, 5_000, 150_000)


@pytest.fixture
def pieces(small: None) -> Pieces:
    torch.manual_seed(0)
    made = replace(stages()[0], collected=8, numbers=6).build(None)
    assert isinstance(made, Pieces)
    made.collect()
    return made


def test_pieces_are_told_by_their_principal_components(pieces: Pieces) -> None:
    stage = stages()[0]
    pixels = pixels_of(replace(stage, collected=8).scenes())
    cut = pieces.cut(pixels)
    assert cut.shape == (8, 64, 192)
    # the piece in row 1 and column 2, colour by colour
    assert torch.equal(cut[3, 10], pixels[3, :, 8:16, 16:24].flatten() / 255)
    flat = cut.flatten(0, 1)
    _, s, v = torch.linalg.svd(flat - flat.mean(0), full_matrices=False)
    numbers = pieces.numbers(pixels).flatten(0, 1)
    first = (flat - flat.mean(0)) @ v[:6].T * len(flat) ** 0.5 / s[0]
    torch.testing.assert_close(numbers.abs(), first.abs(), atol=2e-4, rtol=1e-3)  # an axis has no sign of its own
    assert float(numbers.square().mean(0)[0]) == pytest.approx(1, abs=1e-3)


def test_encoder_and_decoder_learn_a_part_of_the_loss_each(pieces: Pieces) -> None:
    pixels = stages()[0].batch(0, 0, range(4))["pixels"]
    x = squeeze(pixels.float() / 255)
    numbers = pieces.numbers(pixels)
    with torch.no_grad():
        seen = pieces.seen(x)
        told = torch.stack([numbers[0], seen[1], numbers[2], seen[3]])  # half from the codes that the encoder chooses
        means = pieces.means[torch.cdist(told, pieces.means.expand(4, -1, -1)).argmin(2)]
        painted = pieces.painted(means).sigmoid()
    total, weight = pieces(pixels)
    expected = (seen - numbers).square().sum(2).mean() + (painted - x).square().mean()
    torch.testing.assert_close(total / weight, expected)
    total.backward()
    without = {name for name, p in pieces.named_parameters() if p.grad is None}
    assert without == {f"model.{part}.{it}" for part in ("encoder.last", "decoder.first") for it in ("weight", "bias")}
    numbers_only = [p.grad.clone() for p in pieces.model.encoder.groups.parameters() if p.grad is not None]
    pieces.zero_grad()
    (4 * (pieces.seen(x) - numbers).square().sum(2).mean()).backward()
    again = [p.grad for p in pieces.model.encoder.groups.parameters() if p.grad is not None]
    for one, other in zip(numbers_only, again, strict=True):
        torch.testing.assert_close(one, other)


def test_codes_begin_as_means_of_pieces(pieces: Pieces) -> None:
    x = squeeze(stages()[0].batch(0, 0, range(8))["pixels"].float() / 255)
    with torch.no_grad():
        seen = pieces.seen(x)
        expected = pieces.painted(pieces.means[torch.cdist(seen.flatten(0, 1), pieces.means).argmin(1)].view_as(seen))
    module = CODEBOOK.build(pieces)
    assert isinstance(module, Compress) and all(p.requires_grad for p in module.parameters())
    vae = module.model
    with torch.no_grad():
        logits = vae.encoder(x)
        codes = logits.argmax(1)
        painted = vae.decoder(torch.nn.functional.one_hot(codes, 32).permute(0, 3, 1, 2).float())[:, :3]
    # each place has the code whose mean is nearest, and the decoder paints it as it would paint that mean
    assert torch.equal(codes.flatten(), torch.cdist(seen.flatten(0, 1), pieces.means).argmin(1))
    torch.testing.assert_close(painted, expected)
    # the logits are those of distances: a mean's own and that of the mean next to it lie `sharpness` apart on average
    distances = torch.cdist(seen.flatten(0, 1), pieces.means).square()
    by_distance = logits.permute(0, 2, 3, 1).flatten(0, 2)
    s = (by_distance[:, 0] - by_distance[:, 1]) / (distances[:, 1] - distances[:, 0])
    between = torch.cdist(pieces.means, pieces.means).square().fill_diagonal_(float("inf")).amin(1)
    torch.testing.assert_close(s, torch.full_like(s, CODEBOOK.sharpness / float(between.mean())), rtol=1e-2, atol=0)


def test_pictures_are_likeliest_with_the_b_of_each_colour(pieces: Pieces) -> None:
    write = stages()[1].build(pieces)
    assert isinstance(write, Write)
    vae, x = write.model.vae, squeezed(pixels_of(pieces.scenes()))
    codes = vae.encoder(x).argmax(1)
    mu, log_b = vae.decoder(torch.nn.functional.one_hot(codes, 32).permute(0, 3, 1, 2).float()).chunk(2, 1)
    assert torch.equal(log_b, log_b[:1, :, :1, :1].expand_as(log_b))
    likely = logit_laplace(x, mu, log_b).mean((0, 2, 3))
    for change in (-0.05, 0.05):
        assert (logit_laplace(x, mu, log_b + change).mean((0, 2, 3)) < likely).all()


def test_a_vocabulary_is_learned(pieces: Pieces) -> None:
    stage = stages()[0]
    optimizer = torch.optim.AdamW([p for p in pieces.train().parameters() if p.requires_grad], lr=5e-3)
    batch = stage.batch(0, 0, range(8))
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        total, weight = pieces(**batch)
        (total / weight).backward()
        optimizer.step()
        losses.append(float(total.detach() / weight))
    assert losses[-1] < 0.75 * losses[0]


def test_means_are_of_the_points_nearest_to_them() -> None:
    lots = torch.Generator().manual_seed(3)
    centres = 10 * torch.randn(6, 4, generator=lots)
    points = centres.repeat_interleave(30, 0) + 0.1 * torch.randn(180, 4, generator=lots)
    means = k_means(points, 12)
    group = torch.cdist(points, means).argmin(1)
    assert torch.equal(nearest(points, means), group)
    for number in group.unique():
        torch.testing.assert_close(means[number], points[group == number].mean(0))
    assert float(torch.cdist(points, means).amin(1).max()) < 1
    with pytest.raises(InputError, match="expected at least 12 points, got 5"):
        k_means(points[:5], 12)


def test_the_stream_has_the_codes_of_the_stage_before(small: None) -> None:
    second = stages()[1]
    torch.manual_seed(0)
    compressed = CODEBOOK.build(None)
    assert isinstance(compressed, Compress)
    module = second.build(compressed)
    assert isinstance(module, Write)
    for name, value in compressed.model.state_dict().items():
        assert torch.equal(module.model.vae.state_dict()[name], value), name
    batch = second.batch(0, 0, range(4))
    pictures = batch["pixels"].permute(0, 2, 3, 1).numpy()
    assert torch.equal(module.codes(batch["pixels"]), compressed.model.encode(pictures).flatten(1))
    total, weight = module(**batch)
    assert float(weight) == 4
    expected = module.model.transformer.loss(batch["tokens"], module.codes(batch["pixels"]))
    torch.testing.assert_close(total, 4 * expected)
    total.backward()
    assert all(p.grad is None for p in module.model.vae.parameters())
    assert all(p.grad is not None for p in module.model.transformer.parameters())


def test_learns_and_is_written(small: None, tmp_path: Path) -> None:
    sizes: dict[str, Any] = {"steps": 16, "batch_size": 8, "evaluate_every": 8, "warmup": 2, "looks": 4}
    train(replace(QUICK, stages=stages(**sizes)), tmp_path / "out", workers=0, progress_bar=False)
    card = json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    names = ("vocabulary", "stream")
    looks = {name: [look for look in card["history"] if look["stage"] == name] for name in names}
    for history in looks.values():
        assert history[-1]["loss"] < history[0]["loss"]
    assert {"psnr", "found"} <= looks["vocabulary"][0].keys()
    assert {"nats_ko", "nats_en", "nats_untold"} <= looks["stream"][0].keys()
    model = load_from(find("dall-e"), tmp_path / "out")
    assert isinstance(model, DALLE)
    drawn: Any = model.draw("사과 왼쪽에 고양이가 있다", n=2, seed=0, guidance=2.0)
    assert [picture.shape for picture in drawn] == [(64, 64, 3)] * 2


def test_a_perfect_vae_has_no_error(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = replace(CODEBOOK, looks=4)
    module = stage.build(None)
    pictures = world().render(tidy_looks(4, 1, "validation"))
    monkeypatch.setattr(DVAE, "encode", lambda self, images: torch.arange(64).reshape(1, 8, 8) % 16)
    shifted = np.where(pictures > 127, pictures - 10, pictures + 10).astype(np.uint8)
    monkeypatch.setattr(DVAE, "decode", lambda self, codes: shifted)
    scores = stage.evaluate(module)
    assert scores["psnr"] == pytest.approx(20 * np.log10(25.5))
    assert scores["codes"] == 16 and scores["bits"] == pytest.approx(4)


@pytest.mark.parametrize("recipe", [RECIPE, QUICK], ids=["whole", "quick"])
def test_choices_are_made_on_the_validation_split(recipe: Any, small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = drawing.sample

    def watching(world: Any, seed: int, split: str = "train", *others: Any) -> Any:
        asked.append(split)
        return real(world, seed, split, *others)

    monkeypatch.setattr(drawing, "sample", watching)
    module = None
    first, second = stages(recipe, looks=2)
    for stage in (first, replace(CODEBOOK, looks=2), second):
        module = stage.build(module)
        asked.clear()
        with torch.inference_mode():
            stage.evaluate(module)
        assert asked == ["validation"] * 2


def test_pixels_are_squeezed_alike_in_training_and_use(small: None) -> None:
    torch.manual_seed(0)
    module = stages()[1].build(None)
    assert isinstance(module, Write)
    pixels = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    expected = module.model.vae.encode(squeeze(pixels.float() / 255)).flatten(1)
    assert torch.equal(module.codes(pixels), expected)
