"""Stable Diffusion's recipe: what is said of a picture, what rests and what learns, and that both stages learn."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.halves import check_half
from vlm_history.pretrain.autoencoder import AutoencoderConfig
from vlm_history.pretrain.stable_diffusion import StableDiffusion
from vlm_history.pretrain.unet import UNetConfig
from vlm_history.systems import find, load, load_from
from vlm_history.training import recipes
from vlm_history.training.loop import train
from vlm_history.training.recipes.clip import RECIPE as CLIPS
from vlm_history.training.recipes.clip import tokenizer
from vlm_history.training.recipes.stable_diffusion import (
    SIDES,
    Denoise,
    Latents,
    Pictures,
    Reconstruct,
    astray,
    cells,
    learning,
    named,
    normalised,
    read,
    sides,
    told,
    windowed,
)
from vlm_history.training.scenes import pixels_of, world
from vlm_history.world import drawing
from vlm_history.world.grammar import LANGUAGES

QUICK = recipes.get("stable-diffusion", quick=True)
WINDOWS, PICTURES, THINGS, LATENTS = QUICK.stages
assert isinstance(WINDOWS, Pictures) and isinstance(PICTURES, Pictures)
assert isinstance(THINGS, Latents) and isinstance(LATENTS, Latents)
WINDOWS = replace(WINDOWS, steps=6, batch_size=4, warmup=1, evaluate_every=3, looks=4, collected=16)
PICTURES = replace(PICTURES, steps=6, batch_size=4, warmup=1, evaluate_every=3, looks=4)
THINGS = replace(THINGS, steps=8, batch_size=8, warmup=1, evaluate_every=4, looks=4, pictures=16, reader="")
LATENTS = replace(LATENTS, steps=8, batch_size=8, warmup=1, evaluate_every=4, looks=4, pictures=16, reader="")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same networks, much narrower."""
    coder = replace(AutoencoderConfig.world(), widths=(8, 8, 8, 16))
    monkeypatch.setattr(AutoencoderConfig, "world", classmethod(lambda cls: coder))
    unet = replace(UNetConfig.world(1), widths=(16, 32), heads=2, groups=8)
    monkeypatch.setattr(UNetConfig, "world", classmethod(lambda cls, source: replace(unet, source=source)))


def test_everyday_things_are_told_in_both_languages_or_not_at_all() -> None:
    (scene,) = drawing.scenes(world(), 1, split="train", kind="pair")
    said = [told(scene, seed, 0.1) for seed in range(300)]
    captions = {it: set(scene.captions(it)) for it in LANGUAGES}
    assert 15 < said.count("") < 50 and set(said) <= captions["ko"] | captions["en"] | {""}
    assert all(len(captions[it] & set(said)) > len(captions[it]) // 2 for it in LANGUAGES)
    for scene in [LATENTS.scene(number) for number in range(16)]:
        assert scene.kind in drawing.KINDS and all(t.concept.hexcode in drawing.EVERYDAY for t in scene.things)


def test_every_sentence_of_a_drawing_fits() -> None:
    words = tokenizer()
    for scene in drawing.scenes(world(), 40, seed=4, split="train"):
        for language in LANGUAGES:
            ids = read(scene.captions(language))
            assert ids.shape[1] <= 24  # of 32: there is room for words that are read in pieces
            for row, text in zip(ids.tolist(), scene.captions(language), strict=True):
                assert words.decode(row[: row.index(len(words) - 1)]) == text


def test_the_network_that_is_trained_starts_from_clip() -> None:
    assert [
        stage.reader for stage in (*recipes.get("stable-diffusion").stages, *QUICK.stages) if isinstance(stage, Latents)
    ] == [CLIPS.hash] * 4
    assert LATENTS.batch(1, 2, range(8))["rows"].max() < 16


def what_learns(module: torch.nn.Module) -> set[str]:
    return {name.removeprefix("model.").split(".")[0] for name, p in module.named_parameters() if p.requires_grad}


def test_unet_and_reader_learn_and_their_average_follows(small: None) -> None:
    torch.manual_seed(0)
    assert what_learns(THINGS.build(PICTURES.build(None))) == {"unet"}
    module = LATENTS.build(PICTURES.build(None))
    assert isinstance(module, Denoise) and what_learns(module) == {"unet", "reader", "side"}
    batch = LATENTS.batch(0, 0, range(8))
    total, weight = module.eval()(**batch)
    assert weight == 8 and 0.1 < float(total.detach() / weight) < 3
    assert module.latents is not None and module.latents.shape == (16, 8, 8, 8)
    seen = module.latents.float()
    torch.testing.assert_close(seen.std((0, 2, 3)), torch.ones(8), atol=0.01, rtol=0)
    assert int(module.get_buffer("updates")) == 0  # not while it is looked at
    with torch.no_grad():
        for parameter in learning(module.model).parameters():
            parameter.add_(1.0)
    module.train()(**batch)
    apart = [a - b for a, b in zip(learning(module.model).parameters(), module.average.parameters(), strict=True)]
    assert all(torch.allclose(gap, torch.full_like(gap, 1 / 11), atol=1e-5) for gap in apart)


def test_things_lie_where_latents_do(small: None) -> None:
    torch.manual_seed(0)
    module = LATENTS.build(PICTURES.build(None))
    assert isinstance(module, Denoise)
    side = module.model.config.autoencoder.factor
    for scene in [LATENTS.scene(number) for number in range(16)]:
        assert all((place - thing.size // 2) % side == 0 for thing in scene.things for place in (thing.x, thing.y))


@pytest.mark.skipif(not find("stable-diffusion").shipped, reason="no weights of Stable Diffusion shipped yet")
@torch.no_grad()
def test_a_thing_has_nearly_the_same_latents_wherever_it_lies() -> None:
    model = load("stable-diffusion")
    scenes = [drawing.tidy(it, 8) for it in drawing.scenes(world(), 8, seed=3, split="test", kind="one")]
    for shift, least, most in ((16, 0.0, 0.1), (4, 0.5, 2.0)):
        apart = []
        for scene in scenes:
            (thing,) = scene.things
            seen = [replace(scene, things=(replace(thing, x=at, y=28),)).image() for at in (28, 28 + shift)]
            here, there = (
                model.encode(picture)[0][:, 2:5, left : left + 3]
                for picture, left in zip(seen, (2, 2 + shift // 8), strict=True)
            )
            apart.append(float((here - there).square().mean().sqrt() / here.std()))
        assert least <= sum(apart) / len(apart) <= most, shift


def test_times_are_drawn_about_the_middle(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    module = replace(LATENTS, pointed=0.0).build(PICTURES.build(None))
    assert isinstance(module, Denoise)
    met: list[int] = []

    def watch(z: torch.Tensor, words: torch.Tensor, times: torch.Tensor, epsilon: torch.Tensor) -> torch.Tensor:
        met.extend(times.tolist())
        return z.flatten(1).mean(1)

    monkeypatch.setattr(module.model, "forward", watch)
    batch = LATENTS.batch(0, 0, range(8))
    for _ in range(100):
        module.eval()(**batch)
    assert min(met) >= 0 and max(met) <= 999
    inner = sum(250 <= time < 750 for time in met) / len(met)
    assert 0.68 < inner < 0.78  # 0.5 if they were even; 0.728 of a normal logit lie between -1.1 and 1.1
    assert 450 < sum(met) / len(met) < 550


def test_names_are_found_where_the_text_has_them() -> None:
    words = tokenizer()
    for scene in drawing.scenes(world(), 60, seed=6, split="train", kind="pair"):
        for language in LANGUAGES:
            text = scene.caption(language)
            (ids,), marked = read([text]).tolist(), named(text, scene)
            assert marked.shape == (2, 32) and not (marked[0] & marked[1]).any()
            for row, thing in zip(marked, scene.things, strict=True):
                (tokens,) = row.nonzero(as_tuple=True)
                name = getattr(thing.concept, language).encode()
                assert name in words.raw([ids[i] for i in tokens.tolist()])
                assert torch.equal(tokens, torch.arange(int(tokens[0]), int(tokens[-1]) + 1))
        assert not named("", scene).any()


def test_a_name_within_a_name_is_not_meant() -> None:
    scene = world().scene("해바라기", "태양", relation="left", seed=1)
    long, short = named(scene.caption("en", 0), scene)
    assert "sunflower" in scene.caption("en", 0) and int(long.sum()) >= 1 and int(short.nonzero()[0]) > int(
        long.nonzero()[-1]
    )  # fmt: skip


def test_sides_and_cells_are_those_of_the_scene() -> None:
    assert sides(drawing.scenes(world(), 1, seed=6, kind="one")[0]) == (-1, -1)
    for scene in [drawing.tidy(it, 8) for it in drawing.scenes(world(), 60, seed=6, kind="pair")]:
        first, second = sides(scene)
        assert SIDES[first] == scene.relation and {first, second} in ({0, 1}, {2, 3})
        covered = cells(scene)
        assert covered.shape == (2, 8, 8) and covered.flatten(1).sum(1).tolist() == [9, 9]
        assert not (covered[0] & covered[1]).any()
        ink = (pixels_of([scene])[0] < 250).any(0).unflatten(1, (8, 8)).unflatten(0, (8, 8)).any(3).any(1)
        assert not (ink & ~covered.any(0)).any()


def test_what_goes_astray_and_what_is_misread() -> None:
    names = torch.zeros(1, 2, 4, dtype=torch.bool)
    names[0, 0, 1] = names[0, 1, 2] = True
    places = torch.zeros(1, 2, 4, 4, dtype=torch.bool)
    places[0, 0, :2, :2] = places[0, 1, 2:, 2:] = True
    even = torch.full((1, 4, 4, 4), 0.25)
    torch.testing.assert_close(astray([even], names, places), torch.tensor(0.75**2))
    led = even.clone()
    led[0, 1] = 0.25 * places[0, 0]
    torch.testing.assert_close(astray([even, led], names, places), torch.tensor((3 * 0.75**2) / 4))
    names[0, 1] = False  # of what is not told nothing is asked
    torch.testing.assert_close(astray([led], names, places), torch.tensor(0.0))
    # on a coarser grid a thing is wherever a part of it is
    assert astray([led[:, :, ::2, ::2]], names | True, places) < 0.75**2
    assert astray([even], names & False, places) == 0


def test_the_reader_is_asked_on_which_side_things_are(small: None) -> None:
    torch.manual_seed(0)
    module = replace(LATENTS, mix=(("pair", 1.0),), dropped=0.5).build(PICTURES.build(None))
    assert isinstance(module, Denoise) and module.side is not None
    words = torch.randn(2, 32, module.side.in_features)
    names = torch.zeros(2, 2, 32, dtype=torch.bool)
    names[0, 0, 3:5] = names[0, 1, 7] = True  # the second text is left out
    lost = module.misread(words, names, torch.tensor([[0, 1], [2, 3]]))
    at = torch.stack([words[0, 3:5].mean(0), words[0, 7]])
    torch.testing.assert_close(lost, torch.nn.functional.cross_entropy(module.side(at), torch.tensor([0, 1])))
    assert module.misread(words, names, torch.full((2, 2), -1)) == 0


def test_half_precision_changes_little(small: None) -> None:
    for stage in (WINDOWS, PICTURES, THINGS, LATENTS):
        torch.manual_seed(0)
        check_half(stage.build(None), stage.batch(0, 0, range(4)))


def test_the_loss_of_the_autoencoder(small: None) -> None:
    torch.manual_seed(0)
    module = PICTURES.build(None)
    assert isinstance(module, Reconstruct)
    batch = PICTURES.batch(0, 0, range(4))
    torch.manual_seed(1)
    total, weight = module(**batch)
    torch.manual_seed(1)
    x = batch["pixels"].float() / 127.5 - 1
    found = module.model.encode(x)
    again = module.model.decode(found.sample(torch.randn_like(found.mean)))
    expected = (again - x).abs().mean() * 4 + PICTURES.kl * found.divergence().sum() / (3 * 64 * 64)
    assert weight == 4
    torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-5)


def test_a_window_shows_a_thing_in_full_and_lies_where_pieces_meet() -> None:
    scenes = [drawing.tidy(scene) for scene in drawing.scenes(world(), 60, seed=3, split="train")]
    whole = windowed(scenes, None)
    assert torch.equal(whole, pixels_of(scenes))
    windows = windowed(scenes, 32)
    assert windows.shape == (60, 3, 32, 32) and torch.equal(windows, windowed(scenes, 32))
    starts = range(0, 33, 8)
    for scene, picture, window in zip(scenes, whole, windows, strict=True):
        places = [
            (row, column)
            for row in starts
            for column in starts
            if torch.equal(picture[:, row : row + 32, column : column + 32], window)
        ]
        assert any(
            column <= thing.x - 12 and thing.x + 12 <= column + 32 and row <= thing.y - 12 and thing.y + 12 <= row + 32
            for row, column in places
            for thing in scene.things
        )


def test_scenes_are_learned_by_the_average_of_what_things_taught(small: None) -> None:
    torch.manual_seed(0)
    module = THINGS.build(PICTURES.build(None))
    assert isinstance(module, Denoise) and all(len(THINGS.scene(number).things) == 1 for number in range(16))
    module.train()(**THINGS.batch(0, 0, range(8)))
    assert module.latents is not None and module.latents.shape == (16, 8, 4, 4)
    with torch.no_grad():
        for parameter in module.average.parameters():
            parameter.add_(1.0)
    averaged = [parameter.clone() for parameter in module.average.parameters()]
    later = LATENTS.build(module)
    assert isinstance(later, Denoise) and later.latents is None and int(later.get_buffer("updates")) == 0
    for parameter, wanted in zip(learning(later.model).parameters(), averaged, strict=True):
        assert torch.equal(parameter, wanted) and parameter.requires_grad
    assert not any(parameter.requires_grad for parameter in later.model.autoencoder.parameters())


def test_an_anchored_latent_tells_its_piece_in_principal_components(small: None) -> None:
    torch.manual_seed(0)
    module = WINDOWS.build(None)
    assert isinstance(module, Reconstruct)
    batch = WINDOWS.batch(0, 0, range(4))
    assert batch["pixels"].shape == (4, 3, 32, 32)
    torch.manual_seed(1)
    total, _ = module(**batch)
    everything = normalised(pixels_of(WINDOWS.scenes()))
    numbers = module.numbers(everything)
    assert numbers.shape == (16, 8, 8, 8)
    flat = numbers.transpose(0, 1).flatten(1).double()
    torch.testing.assert_close(torch.cov(flat, correction=0), torch.eye(8, dtype=torch.float64), atol=1e-3, rtol=0)
    # the piece that a place shows, as no other axes tell it better
    piece = everything[3, :, 40:48, 16:24].flatten()
    torch.testing.assert_close(numbers[3, :, 5, 2], (piece - module.origin) @ module.axes)
    # to be off by them counts as the recipe says
    torch.manual_seed(1)
    free = Reconstruct(module.model, WINDOWS.kl)(**batch)[0]
    found = module.model.encode(normalised(batch["pixels"])).mean
    off = (found - module.numbers(normalised(batch["pixels"]))).square().mean()
    torch.testing.assert_close(total - free, WINDOWS.anchor * 4 * off, rtol=1e-3, atol=1e-4)
    # from the windows the next stage goes on
    later = PICTURES.build(module)
    assert isinstance(later, Reconstruct) and later.model is module.model and not later.anchor


def test_learns_and_is_written(tmp_path: Path, small: None) -> None:
    train(replace(QUICK, stages=(WINDOWS, PICTURES, THINGS, LATENTS)), tmp_path / "out", workers=0, progress_bar=False)
    looks = json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))["history"]
    assert {"psnr", "nats"} <= looks[0].keys() and {"loss_ko", "loss_en", "loss_untold"} <= looks[-1].keys()
    for name in ("windows", "pictures", "things", "latents"):
        losses = [look["loss"] for look in looks if look["stage"] == name]
        assert losses[-1] < losses[0], name
    model = load_from(find("stable-diffusion"), tmp_path / "out")
    assert isinstance(model, StableDiffusion)
    for picture in model.draw(["사과 왼쪽에 고양이가 있다", "a cat left of an apple"], steps=2):
        assert picture.shape == (64, 64, 3)


@pytest.mark.skipif(not find("clip").shipped, reason="no weights of CLIP shipped yet")
def test_the_text_tower_is_clips_and_is_not_stored_again(tmp_path: Path, small: None) -> None:
    stage = replace(
        LATENTS, reader=json.loads((find("clip").weights / "card.json").read_text())["recipe"]["hash"], drawn=2
    )
    module = stage.build(PICTURES.build(None))
    assert isinstance(module, Denoise) and {"objects_ko", "relation_en"} <= stage.evaluate(module).keys()
    stage.save(module, tmp_path / "out")
    shared = json.loads((tmp_path / "out" / "shared.json").read_text(encoding="utf-8"))
    assert set(shared["clip"]["tensors"]) == {f"text.{name}" for name in module.model.text.state_dict()}
    assert isinstance(load_from(find("stable-diffusion"), tmp_path / "out"), StableDiffusion)
