"""The answerer of 2015, held to a slow reference in float64; its recipe, to the questions that it was made of."""

import inspect
from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vlm_history import checkpoints
from vlm_history.connect.cnn import CNNConfig
from vlm_history.connect.question_answering import QuestionAnswering, QuestionAnsweringConfig
from vlm_history.errors import InputError
from vlm_history.text import SPECIALS, WordTokenizer
from vlm_history.training.recipes.question_answering import ANSWERS, RECIPE, Answer, Answers, corpus, drawn
from vlm_history.training.scenes import normalised, training_scenes, world
from vlm_history.world.grammar import LANGUAGES
from vlm_history.world.splits import TRAIN_ARTISTS, kept_for_knowledge, pair_split

WORDS = WordTokenizer((*SPECIALS, "?", "what", "is", "there", "무엇이", "있나요"))
# eight channels or more: backward of fewer, channels last, crashes in torch 2.14 (oneDNN)
CNN = CNNConfig(stem=8, stages=(8, 16, 16), width=10)
CONFIG = QuestionAnsweringConfig(CNN, len(WORDS), ("yes", "no", "네", "고양이", "two"), width=12, dropout=0.5)
PICTURES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
ASKED = ["what is there?", "is?", "there", "what what is is there there?"]


def pixels(count: int) -> torch.Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def model() -> QuestionAnswering:
    torch.manual_seed(0)
    model = QuestionAnswering(CONFIG, WORDS)
    for parameter in model.parameters():  # far from uniform, so that choices are clear
        torch.nn.init.normal_(parameter, 0, 0.5)
    model.eval()
    with torch.no_grad():  # as if it had been trained: what the CNN says is brought to mean 0 and variance 1
        seen = model.cnn(pixels(16))
        model.norm.running_mean.copy_(seen.mean(0))
        model.norm.running_var.copy_(seen.var(0))
    return model


def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def slow(model: QuestionAnswering, vector: NDArray[np.float64], words: list[int]) -> NDArray[np.float64]:
    """Section 4.2 of the paper again, a word and a number at a time: an image vector and a question -> logits."""
    weights = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}

    def layer(name: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array(
            [
                float(np.dot(row, x)) + b
                for row, b in zip(weights[f"{name}.weight"], weights[f"{name}.bias"], strict=True)
            ]
        )

    h, c = np.zeros(CONFIG.width), np.zeros(CONFIG.width)
    for word in words:
        before = (
            weights["lstm.cell.input_weight"] @ weights["embedding.weight"][word] + weights["lstm.cell.input_bias"]
            + weights["lstm.cell.hidden_weight"] @ h + weights["lstm.cell.hidden_bias"]
        )  # fmt: skip
        let_in, keep, new, show = np.split(before, 4)
        c = sigmoid(keep) * c + sigmoid(let_in) * np.tanh(new)
        h = sigmoid(show) * np.tanh(c)
    mean, variance = weights["norm.running_mean"], weights["norm.running_var"]
    even = (vector - mean) / np.sqrt(variance + 1e-5) * weights["norm.weight"] + weights["norm.bias"]
    both = np.tanh(layer("image", np.maximum(even, 0))) * np.tanh(layer("question", h))
    return layer("answers", np.tanh(layer("mixed", both)))


@torch.no_grad()
def test_logits_are_those_of_the_slow_reference(model: QuestionAnswering) -> None:
    images = pixels(4)
    ids = [WORDS.encode(question, "en") for question in ASKED]
    tokens = torch.zeros(4, max(map(len, ids)), dtype=torch.long)
    for row, question in enumerate(ids):
        tokens[row, : len(question)] = torch.tensor(question)
    logits = model(images, tokens)
    for row, question in enumerate(ids):
        vector = model.cnn(images[row : row + 1])[0].double().numpy()
        expected = torch.from_numpy(slow(model, vector, question))
        torch.testing.assert_close(logits[row].double(), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_padding_changes_nothing(model: QuestionAnswering) -> None:
    question = torch.tensor([WORDS.encode(ASKED[0], "en")])
    padded = torch.nn.functional.pad(question, (0, 7), value=WORDS.pad)
    torch.testing.assert_close(model(pixels(1), padded), model(pixels(1), question))


def test_an_answer_does_not_depend_on_its_batch(model: QuestionAnswering) -> None:
    for layer in (model.question, model.mixed, model.answers):  # no favourite among answers
        torch.nn.init.zeros_(layer.bias)
    torch.nn.init.normal_(model.embedding.weight, 0, 2.0)
    model.train()  # it must not matter either that it was being trained
    together = model.answer(PICTURES, ASKED, language="en")
    assert model.training
    alone = [model.answer(p, q, language="en") for p, q in zip(PICTURES, ASKED, strict=True)]
    assert together == alone
    assert model.answer(PICTURES[::-1].copy(), ASKED[::-1], language="en") == together[::-1]
    assert len({*together}) > 1
    assert set(together) <= set(CONFIG.answers)


@torch.no_grad()
def test_it_looks_and_it_reads(model: QuestionAnswering) -> None:
    question = torch.tensor([WORDS.encode(ASKED[0], "en")])
    other = torch.tensor([WORDS.encode(ASKED[1], "en")])
    korean = torch.tensor([[WORDS.start("ko"), *question[0, 1:].tolist()]])
    logits = model(pixels(1), question)
    for images, asked in ((pixels(2)[1:], question), (pixels(1), other), (pixels(1), korean)):
        assert (model(images, asked) - logits).abs().max() > 0.01


@pytest.mark.parametrize(
    ("images", "questions", "options", "says"),
    [
        (PICTURES, ASKED[:3], {}, "3 for 4 images"),
        (PICTURES, ASKED[0], {}, "1 for 4 images"),
        (PICTURES[0], ASKED, {}, "4 for 1 images"),
        (PICTURES[0], [], {}, "0 for 1 images"),
        (PICTURES[0].astype(float), ASKED[0], {}, "uint8"),
        ([], [], {}, "empty list"),
        ("nowhere.png", ASKED[0], {}, "no file"),
        (PICTURES[0], ASKED[0], {"language": "fr"}, '"ko" or "en"'),
    ],
)
def test_bad_input_is_told_plainly(
    model: QuestionAnswering, images: Any, questions: Any, options: dict[str, str], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        model.answer(images, questions, **options)


@pytest.mark.parametrize(("questions", "says"), [(None, "text"), (7, "text"), ([7], "text as str")])
def test_what_is_no_text_is_told_plainly(model: QuestionAnswering, questions: Any, says: str) -> None:
    answer = inspect.unwrap(QuestionAnswering.answer)  # without the checks of shapes and types that tests add
    with pytest.raises(InputError, match=says):
        answer(model, PICTURES[0], questions)


def test_one_picture_and_several(model: QuestionAnswering) -> None:
    assert isinstance(model.answer(PICTURES[0], ASKED[0]), str)
    assert isinstance(model.answer(PICTURES[:1], ASKED[:1]), list)
    # a word that it never learned is read as the unknown one
    assert model.answer(PICTURES[0], "zebra?") == model.answer(PICTURES[0], "okapi?")
    assert model.answer(PICTURES[0], "") in CONFIG.answers


def test_the_gradient_reaches_every_parameter(model: QuestionAnswering) -> None:
    tokens = torch.tensor([WORDS.encode(ASKED[0], "en"), WORDS.encode(ASKED[0], "ko")])
    torch.nn.functional.cross_entropy(model.train()(pixels(2), tokens), torch.tensor([0, 3])).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())


def test_a_folder_holds_the_whole_system(model: QuestionAnswering, tmp_path: Any) -> None:
    checkpoints.save(model, tmp_path / "m")
    again = checkpoints.load(QuestionAnswering, tmp_path / "m").eval()
    assert again.config == CONFIG and again.tokenizer.vocabulary == WORDS.vocabulary
    assert again.answer(PICTURES, ASKED) == model.answer(PICTURES, ASKED)


# The recipe

STAGE = RECIPE.stages[0]
assert isinstance(STAGE, Answers)


def test_words_and_answers_are_of_training_scenes() -> None:
    words, known = corpus()
    assert len(known) == len({*known}) == ANSWERS
    for always in ("네", "아니요", "yes", "no", "two", "두 가지", "animal", "동물"):
        assert always in known
    for concept in world().concepts:  # whatever it is asked about, it can read
        for name, language in ((concept.ko, "ko"), (concept.en, "en")):
            assert words.unknown not in words.encode(name, language), name
    # one can only be certain to find an answer in the list if it is frequent: a place names two things, and is rare
    scenes = world().scenes(200, seed=4, split="train", kind="pair")
    asked = Counter(q.kind for s in scenes for q in s.questions("ko"))
    kept = Counter(q.kind for s in scenes for q in s.questions("ko") if q.answer in known)
    assert kept["yes_no"] == asked["yes_no"] and kept["what"] > 0.9 * asked["what"]
    assert kept["where"] < 0.2 * asked["where"]


def test_questions_drawn_are_the_scenes_own_and_one_fact_in_both_languages() -> None:
    for kind in ("pair", "one", "count", "many", "size"):
        for scene in world().scenes(30, seed=9, split="train", kind=kind):
            chosen = drawn(scene, 4)
            assert chosen == drawn(scene, 4) and len(chosen) == 4
            for question in chosen:
                assert set(question) == set(LANGUAGES)
                for language in LANGUAGES:
                    assert question[language] in scene.questions(language)
                assert question["ko"].about == question["en"].about
                assert question["ko"].kind == question["en"].kind


def test_kinds_are_drawn_about_equally() -> None:
    scenes = world().scenes(400, seed=2, split="train", kind="pair")
    found = Counter(drawn(scene, 1)[0]["en"].kind for scene in scenes)
    kinds = Counter(q.kind for scene in scenes for q in scene.questions("en"))
    assert set(found) == set(kinds)
    # a scene whose two things are kept for knowledge has no question of category
    assert all(0.14 < share / len(scenes) < 0.26 for share in found.values()), found


def test_a_batch_asks_what_its_pictures_answer() -> None:
    words, known = corpus()
    batch = STAGE.batch(3, 5, range(48))
    scenes = training_scenes(3, 5, range(48), STAGE.batch_size, STAGE.mix)
    assert torch.equal(batch["pixels"].permute(0, 2, 3, 1), torch.from_numpy(world().render(scenes)))
    assert batch["tokens"].shape[:2] == batch["answers"].shape == (48, 2 * STAGE.several)
    met = 0
    for scene, tokens, answers in zip(scenes, batch["tokens"], batch["answers"], strict=True):
        shown = {thing.concept.hexcode for thing in scene.things}
        assert scene.split == "train" and scene.artist in TRAIN_ARTISTS
        assert all(pair_split(a, b) == "train" for a, b in combinations(sorted(shown), 2))
        both = [q for of_kind in drawn(scene, STAGE.several) for q in (of_kind["ko"], of_kind["en"])]
        for column, question in enumerate(both):
            language = LANGUAGES[column % 2]
            assert question in scene.questions(language)
            ids = words.encode(question.text, language)
            assert tokens[column, : len(ids)].tolist() == ids
            assert set(tokens[column, len(ids) :].tolist()) <= {words.pad}
            wanted = int(answers[column])
            assert known[wanted] == question.answer if wanted >= 0 else question.answer not in known
            met += wanted >= 0
            if question.kind == "category":
                assert not kept_for_knowledge(question.about[0])
    assert met > 0.8 * batch["answers"].numel()


def test_categories_kept_for_knowledge_are_never_asked() -> None:
    kept = [c for c in world().concepts if kept_for_knowledge(c.hexcode)]
    assert len(kept) > 40
    asked = 0
    for kind in ("one", "pair", "many", "count", "size"):
        for scene in world().scenes(120, seed=6, split="train", kind=kind):
            present = {thing.concept.hexcode for thing in scene.things}
            categories = [q.about[0] for q in scene.questions("en") if q.kind == "category"]
            assert {*categories} == {h for h in present if not kept_for_knowledge(h)}
            asked += len(categories)
    assert asked > 500


def test_the_loss_is_that_of_single_questions() -> None:
    stage = Answers("answers", 1, 4, 1e-3, 1, 1, several=2)
    torch.manual_seed(0)
    module = stage.build(None).eval()
    assert isinstance(module, Answer)
    batch = stage.batch(0, 0, range(4))
    with torch.no_grad():
        total, weight = module(**batch)
        summed, count = 0.0, 0
        for picture, tokens, answers in zip(batch["pixels"], batch["tokens"], batch["answers"], strict=True):
            for question, answer in zip(tokens, answers.tolist(), strict=True):
                if answer >= 0:
                    seen = normalised(picture[None], module.model.config.cnn)
                    trimmed = question[question != module.model.tokenizer.pad][None]
                    summed -= float(module.model(seen, trimmed).log_softmax(-1)[0, answer])
                    count += 1
    assert int(weight) == count
    assert float(total) == pytest.approx(summed, rel=1e-4)


def test_what_sees_stays_as_it_is() -> None:
    module = Answers("answers", 1, 4, 1e-3, 1, 1, several=1).build(None)
    assert isinstance(module, Answer)
    model = module.model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    total, weight = module.train()(**STAGE.batch(0, 0, range(4)))
    (total / weight).backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {name for name in before if not name.startswith(("cnn.", "norm."))}
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
