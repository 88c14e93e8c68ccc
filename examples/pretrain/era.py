# %% [markdown] lang="ko"
# # 사전 학습의 혁명: 주장과 실험
#
# 미리 배운 것이 무엇을 벌어 주었는지, 어디에서 멈추는지 세 가지 실험으로 확인합니다. 새로 가르치는 것은 없습니다.

# %% [markdown] lang="en"
# # The pre-training revolution: an argument, with experiments
#
# What pre-training earned, and where it stops: three experiments. Nothing is trained anew.

# %% name="setup" tags=["quiet"]
import json
from random import Random

import numpy as np
import torch
from torch import nn

import vlm_history as vlm
from vlm_history import plots
from vlm_history.exam import answering, metrics
from vlm_history.images import read_images
from vlm_history.plots import Bar, Card, say
from vlm_history.pretrain.gpt1 import END, GPT1
from vlm_history.pretrain.linear_probe import linear_probe
from vlm_history.systems import find
from vlm_history.world import drawing
from vlm_history.world.concepts import CATEGORIES
from vlm_history.world.grammar import LANGUAGES, NUMBERS, WHERE, YES_NO
from vlm_history.world.splits import TRAIN_ARTISTS, label_split

torch.manual_seed(0)
torch.set_grad_enabled(False)
reader = plots.language()
world = vlm.World()


def called(concept, language):
    return concept.ko if language == "ko" else concept.en


def interval(each):
    """The mean of what each got, and its 95 % interval."""
    each = np.asarray(each, float)
    return (float(each.mean()), *metrics.bootstrap(lambda chosen: float(each[chosen].mean()), len(each)))


# %% name="load"
clip, gpt, cnn = vlm.load("clip"), vlm.load("gpt-1"), vlm.load("cnn")
attend = vlm.load("show-attend-and-tell")
answerer = vlm.load("question-answering")
drawers = {name: vlm.load(name) for name in ("dall-e", "stable-diffusion") if find(name).shipped}


# %% name="seeing"
def seen(scenes):
    """What three ways of looking make of scenes: vectors."""
    pictures = world.render(scenes)
    sized = read_images(pictures, size=64, mean=cnn.cnn.config.mean, std=cnn.cnn.config.std)
    named = torch.cat([cnn.cnn.features(some).amax((2, 3)) for some in sized.split(64)])
    pixels = torch.from_numpy(pictures).float().unflatten(1, (16, 4)).unflatten(3, (16, 4)).mean((2, 4)).flatten(1)
    vectors = {"pixels": pixels - pixels.mean(0), "cnn": named, "clip": clip.encode_image(pictures)}
    return {way: 10 * nn.functional.normalize(x, dim=1) for way, x in vectors.items()}


RELATIONS = ("left", "right", "above", "below")
kinds = list(CATEGORIES)
# what is read off, from what kind of scene, and by whom the pictures of the test are drawn
TASKS = {
    "kind": ("one", "test-artist", lambda scene: kinds.index(scene.things[0].concept.category), len(kinds)),
    "number": ("count", "test", lambda scene: len(scene.things) - 1, 4),
    "relation": ("pair", "test", lambda scene: RELATIONS.index(scene.relation), 4),
    "artist": ("one", "test", lambda scene: TRAIN_ARTISTS.index(scene.artist), len(TRAIN_ARTISTS)),
}
LABELLED, ASKED = 300, 200
read_off, lottery = {}, {}
for task, (kind, split, label, classes) in TASKS.items():
    taught = world.scenes(LABELLED, seed=21, split="train", kind=kind)
    tested = world.scenes(ASKED, seed=22, split=split, kind=kind)
    labels, truth = (torch.tensor([label(scene) for scene in some]) for some in (taught, tested))
    lottery[task] = float((truth == labels.mode().values).float().mean())
    before, after = seen(taught), seen(tested)
    for way in before:
        head = linear_probe(before[way], labels, classes=classes, steps=100)
        read_off[task, way] = interval((head(after[way]).argmax(1) == truth).float().numpy())

# %% name="seeing-bars" tags=["quiet"]
ways = {
    "pixels": (say(ko="화소", en="pixels"), None),
    "cnn": (say(ko="CNN, 이름을 배움", en="CNN, taught names"), "connect"),
    "clip": (say(ko="CLIP, 짝을 배움", en="CLIP, taught pairs"), "pretrain"),
}
titles = {
    "kind": say(ko="무슨 종류인가(처음 보는 작가)", en="of what kind (an artist never seen)"),
    "number": say(ko="몇인가", en="how many"),
    "relation": say(ko="어느 쪽인가", en="on which side"),
    "artist": say(ko="누가 그렸나", en="drawn by whom"),
}
groups = {
    title: [
        Bar(say(ko="가장 흔한 답", en="most frequent"), lottery[task]),
        *(Bar(label, *read_off[task, way], era=era) for way, (label, era) in ways.items()),
    ]
    for task, title in titles.items()
}
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.0%}" for b in bars) for t, bars in groups.items()),
    caption=say(
        ko=f"일마다 정답을 단 그림 {LABELLED}장에서 배운 선형 탐침, 처음 보는 그림 {ASKED}장. 가는 선은 95 % 구간",
        en=f"Linear probes taught by {LABELLED} labelled pictures a task, on {ASKED} new ones. Thin lines are 95 % "
        "intervals",
    ),
    numbers={"labelled": LABELLED, "asked": ASKED}
    | {f"{task}_{way}": mark[0] for (task, way), mark in read_off.items()}
    | {f"{task}_frequent": share for task, share in lottery.items()},
)


# %% name="names"
def last_states(model, texts):
    """What a GPT knows after the last token of each text: vectors."""
    words = model.tokenizer
    ids = [[words.id(END), *words.encode(text)] for text in texts]
    states = torch.empty(len(ids), model.config.width)
    for length in {len(each) for each in ids}:  # those as long as each other in one go
        rows = [row for row, each in enumerate(ids) if len(each) == length]
        states[rows] = model.hidden(torch.tensor([ids[row] for row in rows]))[:, -1]
    return states


def standard(vectors, like):
    return (vectors - like.mean(0)) / like.std(0).clamp_min(1e-6)


def ridge(taught, wanted, tested):
    """Linear regression; of the penalties the one that is best on each example left out."""
    bias, mean = taught.mean(0), wanted.mean(0)
    u, s, v = torch.linalg.svd(taught - bias, full_matrices=False)
    best = None
    for penalty in (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0):
        kept = s**2 / (s**2 + penalty)
        missed = (wanted - mean - (u * kept) @ (u.T @ (wanted - mean))) / (1 - (u**2 * kept).sum(1, keepdim=True))
        if best is None or missed.square().sum() < best[0]:
            best = missed.square().sum(), v.T @ ((s / (s**2 + penalty))[:, None] * (u.T @ (wanted - mean)))
    return (tested - bias) @ best[1] + mean


def colour(concept):
    """The mean colour of a thing over the artists who draw it, each channel from 0 to 1."""
    found = []
    for artist in TRAIN_ARTISTS:
        if concept in world.drawn_by(artist):
            sprite = world.sprite(concept, artist).reshape(-1, 4).astype(np.float64) / 255
            found.append((sprite[:, :3] * sprite[:, 3:]).sum(0) / sprite[:, 3].sum())
    return np.mean(found, axis=0)


torch.manual_seed(0)
new = GPT1(gpt.config, gpt.tokenizer).eval()
drawn = [concept for concept in world.concepts if any(concept in world.drawn_by(artist) for artist in TRAIN_ARTISTS)]
colours = torch.tensor(np.array([colour(concept) for concept in drawn])).float()
kind_of = torch.tensor([kinds.index(concept.category) for concept in drawn])
known = torch.tensor([label_split(concept.hexcode) == "train" for concept in drawn])
told = {"kind": {}, "colour": {}}
for reading in ("new", "gpt-1", "clip"):
    hits, residuals = [], []
    for language in LANGUAGES:
        names = [called(concept, language) for concept in drawn]
        vectors = (
            clip.encode_text(names) if reading == "clip" else last_states({"new": new, "gpt-1": gpt}[reading], names)
        )
        x = standard(vectors, vectors[known])
        head = linear_probe(x[known], kind_of[known], classes=len(kinds), penalty=30.0, steps=100)
        hits.append((head(x[~known]).argmax(1) == kind_of[~known]).float().numpy())
        guessed = ridge(x[known], colours[known], x[~known])
        residuals.append((guessed - colours[~known]).square().sum(1).numpy())
    told["kind"][reading] = interval(np.mean(hits, axis=0))
    spread = (colours[~known] - colours[known].mean(0)).square().sum(1).numpy()
    missed = np.mean(residuals, axis=0)
    told["colour"][reading] = (
        float(1 - missed.sum() / spread.sum()),
        *metrics.bootstrap(
            lambda chosen, m=missed, s=spread: float(1 - m[chosen].sum() / s[chosen].sum()), len(missed)
        ),
    )

# %% name="names-table" tags=["quiet"]
readings = {
    "new": say(ko="배우지 않은 GPT-1", en="GPT-1 that learned nothing"),
    "gpt-1": say(ko="GPT-1, 글만 읽음", en="GPT-1, read text alone"),
    "clip": say(ko="CLIP의 텍스트 인코더, 그림과 함께 읽음", en="CLIP's text encoder, read beside pictures"),
}


def spelled(mark, form):
    value, low, high = mark
    return f"{value:{form}} ({low:{form}} – {high:{form}})".replace("-", "−")


plots.table(
    [
        say(ko="이름을 읽은 것", en="who read the names"),
        say(ko="종류를 맞힘", en="kinds right"),
        say(ko="색을 설명한 몫(R²)", en="colour explained (R²)"),
    ],
    [
        [label, spelled(told["kind"][key], ".1%"), spelled(told["colour"][key], ".2f")]
        for key, label in readings.items()
    ],
    caption=say(
        ko=f"이름 {int(known.sum())}개로 배운 탐침, 처음 보는 이름 {int((~known).sum())}개. 두 언어의 평균, "
        "괄호는 95 % 구간",
        en=f"Probes taught by {int(known.sum())} names, on {int((~known).sum())} new ones; means over both languages, "
        "in brackets 95 % intervals",
    ),
    numbers={
        "names": int((~known).sum()),
        **{f"{what}_{key}".replace("-", "_"): mark[0] for what, marks in told.items() for key, mark in marks.items()},
    },
)  # fmt: skip

# %% name="offer"
MOST = 10


def offered(item, language):
    """The right answer among others of its kind, as near to it as can be."""
    question = item.asked[language]
    lots = Random(f"offered/{item.scene.seed}/{question.text}")
    if item.kind == "yes_no":
        return list(YES_NO[language])
    if item.kind == "how_many":
        number = NUMBERS[language][int(question.about[1])]
        return [question.answer.replace(number, other, 1) for other in NUMBERS[language][1:]]
    if item.kind == "where":
        side = WHERE[language][question.about[1]]
        return [question.answer.replace(side, other, 1) for other in WHERE[language].values()]
    if item.kind == "what":
        near = [called(thing.concept, language) for thing in item.scene.things]
        others = [called(concept, language) for concept in world.concepts]
    else:
        near, others = [question.answer], sorted(names[language] for names in CATEGORIES.values())
    pool = [name for name in others if name not in near]
    return [*near, *lots.sample(pool, MOST - len(near))]


n = 200
sheets = [sheet for sheet in answering.papers(world, n, seed=0) if not sheet.prefix]
items = sheets[0].items
choices = {language: [offered(item, language) for item in items] for language in LANGUAGES}
pictures = world.render([item.scene for item in items])
for item in items[:2]:
    print(item.asked[reader].text, "→", " · ".join(offered(item, reader)))

# %% name="ask"
looked = clip.encode_image(pictures)


def by_clip(language, asked):
    """log p of each answer offered, by how well it fits the picture: alone, or after its question."""
    scores = []
    for vector, item, answers in zip(looked, items, choices[language], strict=True):
        texts = [f"{item.asked[language].text} {answer}" if asked else answer for answer in answers]
        scores.append((clip.scale() * clip.encode_text(texts) @ vector).log_softmax(0).numpy())
    return scores


def by_gpt(language, told):
    """log p of each answer offered, as what comes after its question; `told` comes before."""
    given, texts, ends = [], [], []
    for item, before, answers in zip(items, told, choices[language], strict=True):
        question = item.asked[language].text
        given += [f"{before}. {question}" if before else question] * len(answers)
        texts += [f" {answer}." for answer in answers]
        ends.append(len(texts))
    whole = torch.tensor([sum(each) for each in gpt.log_probability(texts, given)])
    return [each.log_softmax(0).numpy() for each in whole.tensor_split(ends[:-1])]


def right(scores, language):
    """Which questions are answered right by the answer of the highest score."""
    said = [answers[int(each.argmax())] for answers, each in zip(choices[language], scores, strict=True)]
    return [answer == item.asked[language].answer for answer, item in zip(said, items, strict=True)]


described = {language: attend.caption(pictures, language=language, beam=1) for language in LANGUAGES}
truth = {language: [item.scene.caption(language, 0) for item in items] for language in LANGUAGES}
results = {
    "chance": [],
    "gpt": [],
    "clip": [],
    "clip_asked": [],
    "both": [],
    "told": [],
    "told_truth": [],
    "answerer": [],
}
for language in LANGUAGES:
    alone, asked = by_clip(language, asked=False), by_clip(language, asked=True)
    blind = by_gpt(language, [""] * len(items))
    results["chance"].append([1 / len(answers) for answers in choices[language]])
    results["gpt"].append(right(blind, language))
    results["clip"].append(right(alone, language))
    results["clip_asked"].append(right(asked, language))
    results["both"].append(right([a + b for a, b in zip(alone, blind, strict=True)], language))
    results["told"].append(right(by_gpt(language, described[language]), language))
    results["told_truth"].append(right(by_gpt(language, truth[language]), language))
    free = answerer.answer(list(pictures), [item.asked[language].text for item in items], language=language)
    results["answerer"].append([answering.is_right(i, said, language) for i, said in zip(items, free, strict=True)])
results = {who: np.array(each, float) for who, each in results.items()}

# %% name="ask-table" tags=["quiet"]
asked_kinds = {
    "what": say(ko="무엇", en="what"),
    "where": say(ko="어디", en="where"),
    "how_many": say(ko="몇", en="how many"),
    "yes_no": say(ko="예/아니요", en="yes or no"),
    "category": say(ko="종류", en="kind"),
    "knowledge": say(ko="지식", en="knowledge"),
}
who = {
    "chance": say(ko="찍기", en="chance"),
    "gpt": say(ko="GPT-1, 그림 없이", en="GPT-1, blind"),
    "clip": say(ko="CLIP, 답만 읽음", en="CLIP, reads the answers"),
    "clip_asked": say(ko="CLIP, 질문과 답을 읽음", en="CLIP, reads question and answer"),
    "both": say(ko="CLIP과 GPT-1을 더함", en="CLIP and GPT-1 added up"),
    "told": say(ko="GPT-1, 캡션을 들음", en="GPT-1, told a caption"),
    "told_truth": say(ko="GPT-1, 사실을 들음", en="GPT-1, told the truth"),
    "answerer": say(ko="2015년의 질의응답(보기 없이)", en="the answerer of 2015 (no choices)"),
}
kind_asked = np.array([item.kind for item in items])
shares = {
    (key, kind): float(marks[:, kind_asked == kind].mean()) for key, marks in results.items() for kind in asked_kinds
}
plots.table(
    [say(ko="누가", en="who"), *asked_kinds.values()],
    [[label, *(f"{shares[key, kind]:.0%}" for kind in asked_kinds)] for key, label in who.items()],
    caption=say(
        ko=f"답하기 시험의 질문 {len(items)}개를 보기와 함께. 두 언어의 평균",
        en=f"{len(items)} questions of the answering task, with choices; means over both languages",
    ),
    numbers={"n": len(items)} | {f"{key}_{kind}": share for (key, kind), share in shares.items()},
)

# %% name="ask-bars" tags=["quiet"]
eras = {"gpt": "pretrain", "clip": "pretrain", "told": "pretrain", "answerer": "connect"}
groups = {
    title: [
        Bar(
            who[key],
            *(interval(results[key][:, kind_asked == kind].mean(0)) if key != "chance" else (shares[key, kind],)),
            era=eras.get(key),
        )
        for key in ("chance", "gpt", "clip", "told", "answerer")
    ]
    for kind, title in asked_kinds.items()
}
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.0%}" for b in bars) for t, bars in groups.items()),
    caption=say(ko="가는 선은 95 % 구간", en="Thin lines are 95 % intervals"),
)

# %% name="told-example" tags=["quiet"]
shown = [row for row, item in enumerate(items) if item.kind == "where"][:4]
plots.gallery(
    [
        Card(
            pictures[row],
            alt=items[row].scene.caption(reader),
            text=items[row].asked[reader].text,
            note=say(ko="들은 말: ", en="told: ") + described[reader][row],
            right=bool(results["told"][LANGUAGES.index(reader), row]),
        )
        for row in shown
    ]
)

# %% name="ask-drawers"
scene = drawing.tidy(world.scene("고양이", "사과", relation="left", artist="noto", seed=3))
questions = {
    "ko": ["사과 왼쪽에 무엇이 있나요?", "고양이가 몇 마리 있나요?", "왜 그런가요?"],
    "en": ["what is to the left of the apple?", "how many cats are there?", "why do you think so?"],
}[reader]
cards = [Card(scene.image(), alt=scene.caption(reader), text=scene.caption(reader, 0))]
for name, drawer in drawers.items():
    cards += [
        Card(picture, alt=f"{find(name).title}: {question}", text=question, note=find(name).title)
        for question, picture in zip(questions, drawer.draw(questions, seed=1), strict=True)
    ]
plots.gallery(cards)

# %% name="systems" tags=["quiet"]
takes = {
    "gpt-1": (say(ko="글", en="text"), say(ko="이어질 글", en="what comes after it")),
    "clip": (say(ko="그림, 글 여럿", en="a picture, several texts"), say(ko="맞는 정도", en="how well each fits")),
    "dall-e": (say(ko="글", en="text"), say(ko="그림", en="a picture")),
    "stable-diffusion": (say(ko="글, 그림", en="text, a picture"), say(ko="그림", en="a picture")),
}
models = {"gpt-1": gpt, "clip": clip, **drawers}
cards_of = {name: json.loads((find(name).weights / "card.json").read_text(encoding="utf-8")) for name in models}
sizes = {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()}
minutes = {name: card["seconds"] * card["threads"] * card.get("processes", 1) / 60 for name, card in cards_of.items()}
plots.table(
    [
        say(ko="모델", en="system"),
        say(ko="받는 것", en="takes"),
        say(ko="주는 것", en="gives"),
        say(ko="매개변수", en="parameters"),
        say(ko="CPU 분", en="CPU minutes"),
    ],
    [[find(name).title, *takes[name], f"{sizes[name]:,}", f"{minutes[name]:.0f}"] for name in models],
    caption=say(
        ko="시간은 그 모델만의 것이고, 딛고 선 모델의 것은 더하지 않았습니다. CPU 분은 걸린 시간에 스레드의 수를 곱한 "
        "것입니다.",
        en="Time is a system's own, without that of what it stands on. CPU minutes are the time it took, times its "
        "threads.",
    ),
    numbers={
        "minutes": sum(minutes.values()),
        **{f"{name}_minutes".replace("-", "_"): value for name, value in minutes.items()},
        **{f"{name}_size".replace("-", "_"): value for name, value in sizes.items()},
    },
)

# %% name="exam" tags=["quiet"]
columns = [
    ("naming", "top1"), ("binding", "text"), ("retrieval", "text"), ("drawing", "objects"), ("drawing", "relation"),
    ("drawing", "reranked_objects"),
]  # fmt: skip
scored = {name: card.get("scores", {}).get("systems", {}).get(name, {}) for name, card in cards_of.items()}


def mean(name, task, metric):
    """A mark of the card, as the mean over languages; nothing if the system cannot sit the task."""
    marks = scored[name].get(task, {})
    found = [marks[f"{metric}_{language}"] for language in LANGUAGES if f"{metric}_{language}" in marks]
    return f"{np.mean(found):.1%}" if found else ""


plots.table(
    [say(ko="모델", en="system"), *(f"{task}: {metric}" for task, metric in columns)],
    [[find(name).title, *(mean(name, *column) for column in columns)] for name in models],
    caption=say(ko="저마다의 성적표에서, 두 언어의 평균", en="From each system's card, means over both languages"),
)
