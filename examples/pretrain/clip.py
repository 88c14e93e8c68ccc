# %% [markdown] lang="ko"
# # CLIP
#
# 그림과 글을 한 공간에 놓는 2021년의 모델입니다. 이름과 문장을 바꾸어 가며 무엇이 무엇과 가까운지 물어보세요.

# %% [markdown] lang="en"
# # CLIP
#
# The model of 2021 that puts pictures and texts in one space. Change names and sentences, and ask what is near what.

# %% name="setup" tags=["quiet"]
import io
import json
import tarfile
from collections import Counter
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import open_clip
import torch
from PIL import Image
from torch import nn
from transformers import CLIPModel
from transformers.utils import logging

import vlm_history as vlm
from vlm_history import bench, plots
from vlm_history.exam import binding, matching, metrics, naming, report, retrieval
from vlm_history.images import read_images
from vlm_history.plots import Bar, Card, Line, say
from vlm_history.plots.architecture import trace
from vlm_history.plots.matching import atlas, neighbourhoods, similarities, two_towers
from vlm_history.pretrain.clip import CLIP, CLIPConfig
from vlm_history.pretrain.clip_towers import ResNetConfig, TextConfig, ViTConfig
from vlm_history.pretrain.linear_probe import linear_probe
from vlm_history.published.clip import NAMES
from vlm_history.systems import find
from vlm_history.training import shards
from vlm_history.training.experiments import pairing
from vlm_history.training.experiments.pairing import pairer
from vlm_history.training.loop import train
from vlm_history.training.memo import kept
from vlm_history.world.concepts import CATEGORIES
from vlm_history.world.splits import HELD_OUT_ARTIST, SPLITS, TRAIN_ARTISTS

torch.manual_seed(0)
logging.disable_progress_bar()
reader = plots.language()
languages = {"ko": say(ko="한국어", en="Korean"), "en": say(ko="영어", en="English")}


def called(concept, language=reader):
    return naming.name_of(concept, language)


def on_ground(drawing):
    """A drawing (64, 64, 4) on a light ground: (64, 64, 3) bytes."""
    cover = drawing[..., 3:].astype(np.float32) / 255
    return np.uint8(drawing[..., :3] * cover + 236 * (1 - cover))


def count(module):
    return sum(p.numel() for p in module.parameters())


# %% name="load"
world = vlm.World()
model = vlm.load("clip")

print(f"image encoder {count(model.image):>10,}")
print(f"text encoder  {count(model.text):>10,}")

# %% name="sizes" tags=["quiet"]
card = json.loads((find("clip").weights / "card.json").read_text(encoding="utf-8"))
plots.values(
    world=count(model),
    image=count(model.image),
    text=count(model.text),
    names=len(world.concepts),
    scales=model.config.image.scales,
    width=model.config.width,
    tokens=model.config.text.vocabulary,
    scale=float(model.scale().detach()),
    images=card["images"],
    minutes=round(card["seconds"] / 60),
    hardware=card["hardware"],
    batch=card["recipe"]["stages"][-1]["batch_size"],
    artists=len(SPLITS[card["recipe"]["stages"][-1].get("split", "train")][1]),
    cnn_artists=len(TRAIN_ARTISTS),
)

# %% name="architecture" tags=["quiet"]
shown = [
    world.scene(name, artist="noto", background="plain", seed=seed)
    for seed, name in enumerate(("고양이", "사과", "기타", "우산"))
]
words = [called(scene.things[0].concept) for scene in shown]
config = model.config.image
pixels = read_images(world.render(shown), size=config.image_size, mean=config.mean, std=config.std)
ids = model.read(words)
shapes = trace(model, pixels, ids)
with torch.no_grad():
    seen, read = model(pixels, ids)
    cosines = (seen @ read.T).numpy()
grid = next(shapes[name] for name in reversed(shapes) if name.startswith("image.") and len(shapes[name]) == 4)
passed = {"pixels": tuple(pixels.shape), "grid": grid, "image": shapes["image"], "tokens": tuple(ids.shape)}
plots.show(
    two_towers(
        [scene.image() for scene in shown],
        words,
        cosines,
        {**passed, "states": shapes["text.norm"], "text": shapes["text"]},
        era="pretrain",
    ),
    alt=say(
        ko="왼쪽의 그림 넷은 이미지 인코더를, 위의 낱말 넷은 텍스트 인코더를 지나 벡터가 된다. 가운데 행렬은 그 "
        f"코사인이고, 짝이 맞는 대각선이 평균 {cosines.diagonal().mean():.2f}로 가장 크다.",
        en="Four pictures at the left go through the image encoder, four words above through the text encoder. The "
        f"matrix holds the cosines of their vectors; on the diagonal, where they belong together, the mean is "
        f"{cosines.diagonal().mean():.2f}.",
    ),
    caption=say(
        ko="이 책의 모델에 그림 넷과 낱말 넷을 넣은 결과입니다. 테두리를 두른 대각선이 짝이 맞는 칸입니다.",
        en="Four pictures and four words in the model of this book. Framed are those that belong together.",
    ),
)

# %% name="by-hand"
logits = model.scale().detach() * torch.from_numpy(cosines)
right = torch.arange(len(logits))
loss_images = nn.functional.cross_entropy(logits, right)  # along rows: which text?
loss_texts = nn.functional.cross_entropy(logits.T, right)  # along columns: which picture?

print(f"{(loss_images + loss_texts) / 2:.4f}")
print(f"{np.log(len(logits)):.4f}")

# %% name="classify-any"
mine = world.scene("고양이", artist="noto-v1", background="photo", seed=4)
names = {
    "ko": ["고양이", "강아지", "호랑이", "사과", "공중전화"],
    "en": ["cat", "dog", "tiger", "apple", "phone booth"],
}
for language in ("ko", "en"):
    chances = model.classify(mine.image(), names[language], language=language)
    print(" · ".join(f"{name} {chance:.1%}" for name, chance in chances.items()))

plots.picture(mine.image(), alt=mine.caption(reader))

# %% name="naming-sheet"
sheet = world.scenes(12, seed=21, split="test-artist", kind="one")
every = [called(concept) for concept in world.concepts]
cards = []
for scene, chances in zip(sheet, model.classify(world.render(sheet), every, language=reader), strict=True):
    name, chance = next(iter(chances.items()))
    true = called(scene.things[0].concept)
    note = f"{chance:.0%}" if name == true else f"{chance:.0%} · {true}"
    cards.append(Card(scene.image(), alt=true, text=name, note=note, right=name == true))
plots.gallery(cards)

# %% name="sentences"
crowd = world.scene("고양이", number=3, artist="twemoji", background="plain", seed=2)
sentences = {
    "ko": ["고양이 한 마리가 있다", "고양이 두 마리가 있다", "고양이 세 마리가 있다", "고양이 네 마리가 있다"],
    "en": ["there is one cat", "there are two cats", "there are three cats", "there are four cats"],
}
for sentence, chance in model.classify(crowd.image(), sentences[reader], language=reader).items():
    print(f"{chance:6.1%}  {sentence}")

plots.picture(crowd.image(), alt=crowd.caption(reader))

# %% name="encode"
images = model.encode_image([mine.image(), crowd.image()])
texts = model.encode_text(["고양이", "a cat", "사과", "an apple"])

print(tuple(images.shape), tuple(texts.shape))
print((images @ texts.T).numpy().round(2))

# %% name="door" tags=["quiet"]
scene = world.sample(seed=11, split="test", kind="pair")
offered = [each.caption(reader, 0) for each in (scene, *world.scenes(199, seed=1, split="test", kind="pair"))]
place, cosine = model.find_texts(scene.image(), offered, k=1)[0]

plots.picture(
    scene.image(),
    alt=scene.caption(reader),
    caption=say(ko=f"글 {len(offered)}개 가운데 ‘{offered[place]}’", en=f"of {len(offered)} texts, “{offered[place]}”"),
    width=192,
)

# %% name="find"
album = world.scenes(300, seed=3, split="test-artist", kind="pair")
pictures = world.render(album)
asked = album[0].caption(reader)
cards = []
for place, cosine in model.find_images(asked, pictures, k=4):
    scene = album[place]
    cards.append(
        Card(scene.image(), alt=scene.caption(reader, 0), text=scene.caption(reader, 0), note=f"{cosine:.2f}",
             right=place == 0)
    )  # fmt: skip
plots.gallery(cards)

# %% name="asked" tags=["quiet"]
plots.values(asked, text=asked)

# %% name="find-texts"
told = [text for scene in album[:100] for text in (scene.caption("ko", 0), scene.caption("en", 0))]
for place, cosine in model.find_texts(album[5].image(), told, k=4):
    print(f"{cosine:.2f}  {told[place]}")

plots.picture(album[5].image(), alt=album[5].caption(reader))

# %% name="across"
korean, english = (
    model.encode_text([called(concept, language) for concept in world.concepts]) for language in languages
)
nearest = (korean @ english.T).argmax(1)
translated = float((nearest == torch.arange(len(nearest))).float().mean())
for name in ("고양이", "우산", "기타", "사과"):
    place = world.concept(name).index
    print(name, "→", world.concepts[nearest[place]].en)

plots.values(translated=translated)

# %% name="prompts"
asking = {
    "ko": ["{}", "{}가 있다", "{}가 보입니다"],
    "en": ["{}", "a {}", "a picture of a {}", "there is a {}"],
}
looks = world.scenes(300, seed=5, split="test-artist", kind="one")
vectors = model.encode_image(world.render(looks))
truth = torch.tensor([scene.things[0].concept.index for scene in looks])


def right_with(names):
    return float(((vectors @ names.T).argmax(1) == truth).float().mean())


rows, best = [], {}
for language, prompts in asking.items():
    every_name = [called(concept, language) for concept in world.concepts]
    said = [model.encode_names(every_name, [prompt]) for prompt in prompts]
    together = right_with(nn.functional.normalize(sum(said), dim=1))  # as `encode_names` does with several
    scores = dict(zip(prompts, map(right_with, said), strict=True))
    rows += [[f"{languages[language]}: {prompt}", f"{score:.1%}"] for prompt, score in scores.items()]
    rows.append([f"{languages[language]}: {say(ko='모두 함께', en='all together')}", f"{together:.1%}"])
    best |= {f"bare_{language}": scores["{}"], f"together_{language}": together}
plots.table(
    [say(ko="문장", en="prompt"), "top1"],
    rows,
    caption=say(
        ko="처음 보는 작가의 장면 300개, 모든 이름 가운데", en="300 scenes by the unseen artist, among all names"
    ),
    numbers=best,
)


# %% name="shots" tags=["quiet"]
@cache
def few():
    """A hundred things that all artists drew."""
    drawn = [c for c in world.concepts if all(c in world.drawn_by(a) for a in (*TRAIN_ARTISTS, HELD_OUT_ARTIST))]
    return [drawn[i * len(drawn) // 100] for i in range(100)]


cnn = vlm.load("cnn")


@torch.no_grad()
def features(scenes):
    """What each network makes of scenes: vectors of unit length."""
    pictures = world.render(scenes)
    sized = read_images(pictures, size=64, mean=cnn.cnn.config.mean, std=cnn.cnn.config.std)
    grids = torch.cat([cnn.cnn.features(some).amax((2, 3)) for some in sized.split(64)])
    return {"clip": model.encode_image(pictures), "cnn": nn.functional.normalize(grids, dim=1)}


MOST = 8
lots = Random(0)
lessons = [
    world.scene(concept.ko, artist=lots.choice(TRAIN_ARTISTS), seed=1000 * shot + row)
    for shot in range(MOST)
    for row, concept in enumerate(few())
]
exam = [
    world.scene(concept.ko, artist=HELD_OUT_ARTIST, seed=9_000_000 + 100 * turn + row)
    for turn in range(3)
    for row, concept in enumerate(few())
]
taught, tested = features(lessons), features(exam)
labels, answers = torch.arange(100).repeat(MOST), torch.arange(100).repeat(3)

# %% name="probe"
asked_names = model.encode_names([called(concept) for concept in few()], ["{}"])
zero_shot = float(((tested["clip"] @ asked_names.T).argmax(1) == answers).float().mean())
shots = [1, 2, 4, 8]
probed = {}
for network in ("clip", "cnn"):
    scores = []
    for k in shots:
        # vectors of length 1 are short beside a penalty of 1
        head = linear_probe(10 * taught[network][: 100 * k], labels[: 100 * k], classes=100, steps=100)
        scores.append(float((head(10 * tested[network]).argmax(1) == answers).float().mean()))
    probed[network] = scores

title = say(ko="이름 100개, 처음 보는 작가", en="100 names, an artist never seen")
curves = [
    Line(say(ko="CLIP, 선형 탐침", en="CLIP, linear probe"), shots, probed["clip"], era="pretrain"),
    Line(say(ko="CNN, 선형 탐침", en="CNN, linear probe"), shots, probed["cnn"], era="connect"),
    Line(say(ko="CLIP, 제로샷", en="CLIP, zero-shot"), shots, [zero_shot] * len(shots), era="pretrain", dashed=True),
]
plots.show(
    plots.lines(
        {title: curves}, x=say(ko="이름마다 정답을 단 그림", en="labelled pictures a name"), ticks=shots, shares=[title]
    ),
    alt="; ".join(f"{line.label}: " + ", ".join(f"{y:.0%}" for y in line.y) for line in curves),
    numbers={
        "zero_shot": zero_shot,
        **{
            f"{network}_{k}": score
            for network, scores in probed.items()
            for k, score in zip(shots, scores, strict=True)
        },
    },
)

# %% name="kinds"
kinds = list(CATEGORIES)
kind_of = torch.tensor([kinds.index(concept.category) for concept in few()])
head = linear_probe(10 * taught["clip"], kind_of[labels], classes=len(kinds), steps=100)
by_probe = float((head(10 * tested["clip"]).argmax(1) == kind_of[answers]).float().mean())
by_word = {}
for language in languages:
    told = model.encode_text([CATEGORIES[kind][language] for kind in kinds])
    by_word[language] = float(((tested["clip"] @ told.T).argmax(1) == kind_of[answers]).float().mean())
often = Counter(kind_of[labels].tolist()).most_common(1)[0][0]
frequent = float((kind_of[answers] == often).float().mean())

plots.table(
    ["", say(ko="맞은 종류", en="kinds right")],
    [
        [say(ko="가장 흔한 종류", en="most frequent kind"), f"{frequent:.1%}"],
        [say(ko="종류를 글로 묻기, 한국어", en="asked by its word, Korean"), f"{by_word['ko']:.1%}"],
        [say(ko="종류를 글로 묻기, 영어", en="asked by its word, English"), f"{by_word['en']:.1%}"],
        [say(ko="선형 탐침", en="linear probe"), f"{by_probe:.1%}"],
    ],
    caption=say(ko=f"종류 {len(kinds)}가지, 처음 보는 작가", en=f"{len(kinds)} kinds, an artist never seen"),
    numbers={"frequent": frequent, "probe": by_probe, "word_ko": by_word["ko"], "word_en": by_word["en"]},
)

# %% name="exam"
n = 400
systems = {"clip": model, "cnn": cnn}
result = kept(report.run, list(systems), tasks=["naming"], n=n, seed=0)
marks = {name: tasks["naming"] for name, tasks in result["systems"].items()}
ranges = {name: tasks["naming"] for name, tasks in result["intervals"].items()}
titles = {
    "chance": say(ko="아무 이름", en="chance"),
    "hog": say(ko="HOG와 색", en="HOG and colour"),
    "cnn": say(ko="CNN, 이름을 배움", en="CNN, taught names"),
    "clip": say(ko="CLIP, 글을 배움", en="CLIP, taught texts"),
}
eras = {"cnn": "connect", "clip": "pretrain"}
groups = {}
for prefix, where in (
    ("", say(ko="처음 보는 작가", en="unseen artist")),
    ("seen_", say(ko="학습 작가", en="training artists")),
):
    key = f"{prefix}top1_{reader}"
    groups[f"top1 · {where}"] = [
        Bar(title, marks[name][key], *ranges[name][key], era=eras.get(name)) for name, title in titles.items()
    ]
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.1%}" for b in bars) for t, bars in groups.items()),
    caption=say(ko="가는 선은 95 % 구간", en="Thin lines are 95 % intervals"),
    numbers={
        "n": n,
        **{f"{name}_{key}": value for name in ("hog", "cnn", "clip") for key, value in marks[name].items()},
        **{f"{name}_low": ranges[name][f"top1_{reader}"][0] for name in ("hog", "cnn", "clip")},
        **{f"{name}_high": ranges[name][f"top1_{reader}"][1] for name in ("hog", "cnn", "clip")},
    },
)

# %% name="paired" tags=["quiet"]
papers = {paper.prefix: paper for paper in naming.papers(world, n, seed=0) if paper.language == reader}


def verdicts(candidate, paper):
    said = candidate(paper.scenes, reader)
    return np.array([
        world.reader.mentioned(name, reader) == [scene.things[0].concept]
        for name, scene in zip(said, paper.scenes, strict=True)
    ], float)  # fmt: skip


right = {name: verdicts(naming.namer(system, world), papers[""]) for name, system in systems.items()}
right["hog"] = verdicts(naming.hog(world, 0), papers[""])
right["hog_wide"] = verdicts(naming.hog(world, 0, SPLITS["train-all"][1]), papers[""])
titles["hog_wide"] = say(ko="HOG와 색, CLIP이 본 작가 모두", en="HOG and colour, all of CLIP's artists")
rows, numbers = [], {"hog_wide_top1": float(right["hog_wide"].mean())}
for other in ("hog", "hog_wide", "cnn"):
    apart = right["clip"] - right[other]
    low, high = metrics.bootstrap(lambda chosen, apart=apart: float(apart[chosen].mean()), n)
    rows.append([titles[other], f"{apart.mean():+.1%}", f"{low:+.1%} … {high:+.1%}"])
    numbers |= {f"{other}": float(apart.mean()), f"{other}_low": low, f"{other}_high": high}
plots.table(
    [
        say(ko="CLIP과 견준 것", en="CLIP against"),
        say(ko="차이", en="gain"),
        say(ko="95 % 구간", en="95 % interval"),
    ],
    rows,
    caption=say(
        ko=f"처음 보는 작가의 같은 장면 {n}개에서 더 맞힌 몫",
        en=f"More right of the same {n} scenes by the unseen artist",
    ),
    numbers=numbers,
)

# %% name="failures"
wrong = world.scenes(150, seed=12, split="test-artist", kind="one")
cards = []
for scene, chances in zip(wrong, model.classify(world.render(wrong), every, language=reader), strict=True):
    name, chance = next(iter(chances.items()))
    true = scene.things[0].concept
    if name == called(true) or len(cards) == 8:
        continue
    guess = world.concept(name)
    theirs = on_ground(world.sprite(guess, next(a for a in TRAIN_ARTISTS if guess in world.drawn_by(a))))
    cards.append(
        Card(np.concatenate([scene.image(), theirs], axis=1), alt=f"{called(true)}, {name}",
             text=f"{called(true)} → {name}", note=f"{chance:.0%}", right=False)
    )  # fmt: skip
plots.gallery(cards, width=208)

# %% name="map"
groups_shown = ("animal", "bird", "fruit", "vehicle", "clothing", "instrument", "building")
drawn = world.drawn_by(HELD_OUT_ARTIST)
chosen = [c for kind in groups_shown for c in [c for c in drawn if c.category == kind][:14]]
alone = [world.scene(c.ko, artist=HELD_OUT_ARTIST, background="plain", seed=1) for c in chosen]
vectors = model.encode_image(world.render(alone))
points = neighbourhoods(vectors)
sprites = [world.sprite(c, HELD_OUT_ARTIST) for c in chosen]
labels_at = []
for kind in groups_shown:
    own = np.array([c.category == kind for c in chosen])
    x, y = np.median(points[own], axis=0)
    labels_at.append((x, y, CATEGORIES[kind][reader]))
between = vectors @ vectors.T
between.fill_diagonal_(-1)
neighbour = between.argmax(1)
alike = float(np.mean([chosen[i].category == c.category for c, i in zip(chosen, neighbour, strict=True)]))
sizes = Counter(c.category for c in chosen)
lottery = sum(k * (k - 1) for k in sizes.values()) / (len(chosen) * (len(chosen) - 1))
plots.show(
    atlas(points, sprites, names=labels_at),
    alt=say(
        ko=f"물건 그림 {len(chosen)}개를 벡터가 가까운 것끼리 모아 놓은 지도. 종류가 같은 것이 무리를 이룬다.",
        en=f"A map of {len(chosen)} drawings, those with near vectors near each other. Things of a kind gather.",
    ),
    caption=say(
        ko="처음 보는 작가의 그림입니다. 글자는 종류마다 가운데에 적었고, 종류는 모델에게 알려 주지 않았습니다.",
        en="Drawings by the artist never seen. Each kind is written in the middle of its own; the model was told none.",
    ),
    numbers={"alike": alike, "lottery": lottery},
)

# %% name="gap" tags=["quiet"]
scenes = world.scenes(300, seed=9, split="test", kind="one")
seen, read = model.encode_image(world.render(scenes)), model.encode_text([s.caption(reader) for s in scenes])
off = ~torch.eye(len(scenes), dtype=torch.bool)
rows = {
    say(ko="그림과 제 글", en="a picture and its text"): (seen * read).sum(1).mean(),
    say(ko="그림과 남의 글", en="a picture and another's text"): (seen @ read.T)[off].mean(),
    say(ko="그림과 다른 그림", en="two pictures"): (seen @ seen.T)[off].mean(),
    say(ko="글과 다른 글", en="two texts"): (read @ read.T)[off].mean(),
}
plots.table(
    ["", say(ko="평균 코사인", en="mean cosine")],
    [[title, f"{float(value):.2f}".replace("-", "−")] for title, value in rows.items()],
    caption=say(ko="물건 하나의 장면 300개", en="300 scenes of one thing"),
    numbers=dict(zip(("own", "other", "pictures", "texts"), map(float, rows.values()), strict=True)),
)

# %% name="matrix"
pair = world.scene("고양이", "사과", relation="left", artist="noto", background="plain", seed=3)
other = world.scene("자동차", "우산", relation="above", artist="noto", background="plain", seed=4)
four = [pair, binding.exchanged(pair), other, binding.exchanged(other)]
texts = [scene.caption(reader, style=0) for scene in four]
cosines = (model.encode_text(texts) @ model.encode_image(world.render(four)).T).numpy()


def folded(text, longest=17):
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= longest:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


plots.show(
    similarities(
        [scene.image() for scene in four], list(map(folded, texts)), cosines, era="pretrain",
        pairs=[(i, i) for i in range(4)], text_width=1.75, row=0.55,
    ),
    alt="; ".join(f"{text}: " + ", ".join(f"{c:.2f}" for c in row) for text, row in zip(texts, cosines, strict=True)),
    caption=say(
        ko="짝이 맞는 칸에 테두리를 둘렀습니다. 물건이 같으면, 자리를 바꾸어도 코사인이 거의 같습니다.",
        en="Framed are those that belong together. Exchanging the same things hardly changes a cosine.",
    ),
    numbers={
        "things": float(cosines[:2, :2].mean() - cosines[:2, 2:].mean()),
        "places": float((cosines[0, 0] + cosines[1, 1] - cosines[0, 1] - cosines[1, 0]) / 2),
    },
)  # fmt: skip


# %% name="likelihoods"
@torch.no_grad()
def likelihoods(captioner, paper):
    """log p(caption | picture) by a captioner, of both captions for both pictures: (scenes, 2, 2)."""
    words, config = captioner.tokenizer, captioner.cnn.config
    told = np.empty((len(paper.scenes), 2, 2))
    for row, scene in enumerate(paper.scenes):
        pictures = world.render([scene, binding.exchanged(scene)])
        pixels = read_images(pictures, size=config.image_size, mean=config.mean, std=config.std)
        for column, text in enumerate(binding.asked(scene, paper.language)):
            tokens = torch.tensor([words.encode(text, paper.language)] * 2)
            logits = captioner(pixels, tokens[:, :-1])
            log_p = (logits[0] if isinstance(logits, tuple) else logits).log_softmax(-1)
            told[row, :, column] = log_p.gather(2, tokens[:, 1:, None]).sum((1, 2)).numpy()
    return told


# %% name="binding"
sheets = {paper.prefix: paper for paper in matching.papers(world, 150, seed=0) if paper.language == reader}
clip_fits = binding.fits(matching.matcher(model, world), sheets[""])
fits = {
    "show-and-tell": likelihoods(vlm.load("show-and-tell"), sheets[""]),
    "show-attend-and-tell": likelihoods(vlm.load("show-attend-and-tell"), sheets[""]),
    "clip": clip_fits,
}
bound = {name: binding.mark(sheets[""], told) for name, told in fits.items()}
titles_bound = {
    "show-and-tell": "Show and Tell",
    "show-attend-and-tell": "Show, Attend and Tell",
    "clip": "CLIP",
}
groups = {}
for what, title in (
    ("text", say(ko="text · 그림에 맞는 글", en="text · the caption of a picture")),
    ("image", say(ko="image · 글에 맞는 그림", en="image · the picture of a caption")),
):
    chance_bar = Bar(say(ko="제비뽑기", en="chance"), 0.5)
    groups[title] = [
        chance_bar,
        *(Bar(titles_bound[name], *marked[f"{what}_{reader}"], era=find(name).era) for name, marked in bound.items()),
    ]
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.1%}" for b in bars) for t, bars in groups.items()),
    caption=say(
        ko=f"처음 보는 짝, 학습 작가, 장면 {len(clip_fits)}개. 가는 선은 95 % 구간",
        en=f"Pairs never seen, training artists, {len(clip_fits)} scenes. Thin lines are 95 % intervals",
    ),
    numbers={
        f"{name}_{what}".replace("-", "_"): marked[f"{what}_{reader}"][0]
        for name, marked in bound.items()
        for what in ("text", "image", "group")
    },
)

# %% name="shuffled"
sheet = next(p for p in matching.papers(world, 200, seed=0) if not p.prefix and p.language == reader)
reading = matching.matcher(model, world)


def shuffled(scenes, texts, language):
    """The same words in any order."""
    return reading(scenes, [" ".join(Random(text).sample(text.split(), len(text.split()))) for text in texts], language)


ordered, mixed = (retrieval.mark(candidate, sheet) for candidate in (reading, shuffled))
groups = {
    title: [
        Bar(say(ko="제비뽑기", en="chance"), 1 / retrieval.POOL),
        Bar(say(ko="문장 그대로", en="as written"), *ordered[f"{what}_{reader}"], era="pretrain"),
        Bar(say(ko="낱말을 뒤섞음", en="words shuffled"), *mixed[f"{what}_{reader}"], era="pretrain"),
    ]
    for what, title in (
        ("text", say(ko="그림으로 글 찾기", en="a picture's caption")),
        ("image", say(ko="글로 그림 찾기", en="a caption's picture")),
    )
}
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.1%}" for b in bars) for t, bars in groups.items()),
    caption=say(ko="백 개 가운데 하나. 가는 선은 95 % 구간", en="One of a hundred. Thin lines are 95 % intervals"),
    numbers={
        **{f"kept_{what}": ordered[f"{what}_{reader}"][0] for what in ("text", "image")},
        **{f"mixed_{what}": mixed[f"{what}_{reader}"][0] for what in ("text", "image")},
    },
)

# %% name="negatives"
plain = pairing.NEGATIVES["false"].stages[0]
learned = {way: pairer(recipe) for way, recipe in pairing.NEGATIVES.items()}
ways = {
    "disjoint": say(ko="물건이 겹치지 않음", en="no thing shared"),
    "crowded": say(ko="물건이 겹치는 배치", en="things shared"),
    "false": say(ko="거짓 글", en="false texts"),
}
panels = {}
for what, title in (
    ("binding", say(ko="두 글 가운데 맞는 것", en="of two texts the true one")),
    (
        "naming",
        say(ko="이름 대기", en="names right"),
    ),
):
    panels[title] = []
    for way, label in ways.items():
        history = json.loads((learned[way][1] / "card.json").read_text(encoding="utf-8"))["history"]
        panels[title].append(
            Line(
                label,
                [look["step"] for look in history],
                [look[what] for look in history],
                era=None if way == "disjoint" else "pretrain",
                dashed=way == "crowded",
            )
        )
plots.show(
    plots.lines(panels, x=say(ko="가중치를 고친 횟수", en="updates of the weights"), shares=list(panels)),
    alt="; ".join(f"{t}: " + ", ".join(f"{c.label} {c.y[-1]:.0%}" for c in curves) for t, curves in panels.items()),
    caption=say(ko="검증용 짝에서", en="On validation pairs"),
)

# %% name="negatives-test" tags=["quiet"]
LOOKS = 150


def tested_on(clip, corner):
    """What a small CLIP gets right of test scenes: value, low, high."""
    found = {}
    for what, each in pairing.marks(clip, corner, "test", LOOKS).items():
        each = np.array(each)
        found[what] = (each.mean(), *metrics.bootstrap(lambda chosen, e=each: float(e[chosen].mean()), len(each)))
    return found


tests = {way: tested_on(clip, pairing.PLAIN) for way, (clip, _) in learned.items()}
columns = {
    "naming": say(ko="이름", en="names"),
    "retrieval": say(ko="글 찾기", en="captions found"),
    "binding": say(ko="짝짓기", en="binding"),
}


def told_of(found, what):
    value, low, high = found[what]
    return f"{value:.0%} ({low:.0%}–{high:.0%})"


both = ("binding", "naming")
plots.table(
    ["", *(columns[what] for what in both)],
    [[label, *(told_of(tests[way], what) for what in both)] for way, label in ways.items()],
    caption=say(
        ko=f"시험용 짝과 장면 {LOOKS}개, 괄호는 95 % 구간", en=f"Test pairs, {LOOKS} scenes; 95 % intervals in brackets"
    ),
    numbers={
        "things": plain.corner.things,
        "batch": plain.batch_size,
        "among": plain.among,
        **{f"{way}_{what}": tests[way][what][0] for way in ways for what in both},
    },
)

# %% name="scaling"
corner = pairing.SCALING["among"][64].stages[0].corner
small = {what: {size: pairer(recipe)[0] for size, recipe in sizes.items()} for what, sizes in pairing.SCALING.items()}
scaled = {what: {size: tested_on(clip, corner) for size, clip in clips.items()} for what, clips in small.items()}
titles_scaled = {
    "among": say(ko="몇 짝 가운데서 고르나", en="pairs to tell apart"),
    "number": say(ko="서로 다른 짝", en="different pairs to learn from"),
    "width": say(ko="너비", en="width"),
}
groups = {
    titles_scaled[what]: [Bar(f"{size:,}", *found["retrieval"], era="pretrain") for size, found in sizes.items()]
    for what, sizes in scaled.items()
}
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} → {b.value:.0%}" for b in bars) for t, bars in groups.items()),
    caption=say(
        ko="시험용 짝에서 글을 찾은 비율. 가는 선은 95 % 구간. 셋의 맨 아래는 같은 모델",
        en="Captions found on test pairs. Thin lines are 95 % intervals; the lowest of all three is the same model",
    ),
)

# %% name="scaling-table" tags=["quiet"]
rows = [
    [f"{titles_scaled[what]} {size:,}", f"{count(small[what][size]):,}", *(f"{found[w][0]:.0%}" for w in columns)]
    for what, sizes in scaled.items()
    for size, found in sizes.items()
]
largest = pairing.SCALING["among"][64].stages[0]
plots.table(
    ["", say(ko="매개변수", en="parameters"), *columns.values()],
    rows,
    caption=say(ko="작은 CLIP 넷", en="Four small CLIPs"),
    numbers={
        "things": corner.things,
        "pairs": len(pairing.asked(corner, "test", LOOKS)["retrieval"]),
        "steps": largest.steps,
        "batch": largest.batch_size,
        "chance": 1 / len(pairing.asked(corner, "test", LOOKS)["retrieval"]),
        **{
            f"{what}_{size}_{metric}": found[metric][0]
            for what, sizes in scaled.items()
            for size, found in sizes.items()
            for metric in columns
        },
    },
)

# %% name="own-shards"
Path("shards").mkdir(exist_ok=True)
for number in range(2):
    with tarfile.open(f"shards/{number:04d}.tar", "w") as tar:
        for row, scene in enumerate(world.scenes(40, seed=number, kind="pair")):
            picture = io.BytesIO()
            Image.fromarray(scene.image()).save(picture, "PNG")
            broken = picture.getvalue()[:40] if (number, row) == (1, 7) else picture.getvalue()
            for ending, data in (("png", broken), ("txt", scene.caption(reader).encode())):
                file = tarfile.TarInfo(f"{row:06d}.{ending}")
                file.size = len(data)
                tar.addfile(file, io.BytesIO(data))

recipe = shards.recipe("shards/{0000..0001}.tar", steps=8, batch_size=16)
train(recipe, "runs/clip-shards", workers=0, progress_bar=False)
print(shards.skipped(Path("runs/clip-shards")))

# %% name="photograph" tags=["network"]
photo = "photo.jpg"  # any photograph of your own
clip = vlm.published.load("openai/clip-vit-base-patch32")  # fetched once, about 600 MB
for name, chance in clip.classify(photo, ["cat", "dog", "horse"], language="en").items():
    print(f"{chance:6.1%}  {name}")

# %% name="published"
counts = {}
for name in NAMES.values():
    with torch.device("meta"):
        counts[name] = count(CLIP(CLIPConfig.published(name)))

plots.values("\n".join(f"{name:15}{n:>12,}" for name, n in counts.items()), **counts)

# %% name="parity"
text = TextConfig(vocabulary=1000, length=16, width=64, depth=2, heads=4)
small_clips = {
    "ViT": CLIPConfig(ViTConfig(patch=8, width=64, depth=2, heads=4, image_size=64), text, width=32),
    "ResNet": CLIPConfig(ResNetConfig((1, 2, 1, 1), width=16, heads=8, image_size=64), text, width=32),
}
pixels = torch.randn(3, 3, 64, 64)
ids = torch.randint(1, 990, (4, 16))
for row, last in enumerate((15, 9, 5, 2)):
    ids[row, 0], ids[row, last], ids[row, last + 1 :] = 998, 999, 0  # texts of several lengths, padded
gaps = {}
with TemporaryDirectory() as folder, torch.no_grad():
    for kind, library in (("ViT", "transformers"), ("ViT", "open_clip"), ("ResNet", "open_clip")):
        ours, directory = CLIP(small_clips[kind]).eval(), f"{folder}/{kind}-{library}"
        vlm.published.export(ours, directory, library=library)
        if library == "transformers":
            theirs = CLIPModel.from_pretrained(directory).eval()
            logits = theirs(input_ids=ids, pixel_values=pixels, attention_mask=(ids > 0).long()).logits_per_image
        else:
            theirs = open_clip.create_model(f"local-dir:{directory}").eval()
            logits = theirs.get_logits(pixels, ids)[0]
        gaps[f"{kind}, {library}"] = float((ours.logits(pixels, ids) - logits).abs().max())

for name, gap in gaps.items():
    print(f"{name:20} {gap:.1e}")
plots.values(largest=max(gaps.values()))

# %% name="memory"
peaks = kept(bench.memory, width=128, largest=2**28)
print(bench.memory_table(peaks))

# %% name="memory-curve" tags=["quiet"]
title = say(ko="손실과 기울기에 드는 메모리, MiB", en="memory of the loss and its gradients, MiB")
batches = list(map(int, peaks))
measured = {side: [b for b in batches if side in peaks[str(b)]] for side in ("reference", "ours")}
curves = [
    Line(label, measured[side], [peaks[str(b)][side] / 2**20 for b in measured[side]], era=era)
    for side, label, era in (
        ("reference", say(ko="로짓을 모두 둠", en="all logits at once"), None),
        ("ours", say(ko="나누어 계산", en="a few rows at a time"), "pretrain"),
    )
]
plots.show(
    plots.lines({title: curves}, x=say(ko="배치의 짝", en="pairs in the batch"), ticks=batches[1:]),
    alt="; ".join(f"{line.label}: " + ", ".join(f"{y:.0f} MiB" for y in line.y) for line in curves),
    numbers={f"{side}_{b}": peak / 2**20 for b, of_sides in peaks.items() for side, peak in of_sides.items()},
)

# %% name="bench"
timed = bench.run(["clip-loss"], repeats=3)
print(bench.table(timed))
plots.values(ratio=timed["clip-loss"]["ratio"])
