# %% [markdown] lang="ko"
# # 연결의 시작: 주장과 실험
#
# 따로 기른 전문가를 이으면 무엇이 되고 무엇이 안 되는지, 세 가지 실험으로 확인합니다.
# 첫 실험은 모델 다섯을 새로 가르치므로 처음 돌릴 때 몇 분이 걸립니다.

# %% [markdown] lang="en"
# # The beginnings of connection: an argument, with experiments
#
# What comes of experts that were raised apart and joined, and what does not: three experiments.
# The first trains five models, so it takes some minutes when it is run for the first time.

# %% name="setup" tags=["quiet"]
import json

import numpy as np
import torch

import vlm_history as vlm
from vlm_history import checkpoints, plots
from vlm_history.connect.show_and_tell import ShowAndTell
from vlm_history.errors import InputError
from vlm_history.exam import answering, metrics
from vlm_history.images import read_images
from vlm_history.plots import Bar, Card, Line, say
from vlm_history.systems import find
from vlm_history.training.experiments import joining
from vlm_history.training.memo import trained
from vlm_history.training.recipes.question_answering import corpus
from vlm_history.world.grammar import LANGUAGES

torch.manual_seed(0)
reader = plots.language()
world = vlm.World()
spoken = {"ko": say(ko="한국어", en="Korean"), "en": say(ko="영어", en="English")}

# %% name="load"
names = ["cnn", "lstm", "show-and-tell", "show-attend-and-tell", "question-answering"]
models = {name: vlm.load(name) for name in names}
cards = {name: json.loads((find(name).weights / "card.json").read_text(encoding="utf-8")) for name in names}
titles = {name: find(name).title for name in names} | {
    "question-answering": say(ko="질의응답(CNN+LSTM)", en="question answering (CNN + LSTM)")
}


# %% name="marks" tags=["quiet"]
def interval(each):
    """The mean of what each scene got, and its 95 % interval."""
    each = np.asarray(each, float)
    return (each.mean(), *metrics.bootstrap(lambda chosen: float(each[chosen].mean()), len(each)))


def marks(captioner, scenes, beam=3):
    """object_f1 and exact: a scene counts once, as the mean over both languages."""
    pictures, each = world.render(scenes), {"object_f1": [], "exact": []}
    for language in LANGUAGES:
        said = captioner.caption(pictures, language=language, beam=beam)
        named = [{c.hexcode for c in world.reader.mentioned(caption, language)} for caption in said]
        true = [{thing.concept.hexcode for thing in scene.things} for scene in scenes]
        each["object_f1"].append([metrics.object_f1(a, b) for a, b in zip(named, true, strict=True)])
        each["exact"].append(
            [world.reader.parse(caption, language) == scene.fact for caption, scene in zip(said, scenes, strict=True)]
        )
    return {metric: interval(np.mean(values, axis=0)) for metric, values in each.items()}


def told(mark):
    """A mark with its interval, as a table says it."""
    share, low, high = (100 * part for part in mark)
    return f"{share:.1f}% ({low:.0f}–{high:.0f})"


# %% name="small-world" tags=["quiet"]
plots.gallery(
    [
        Card(scene.image(), alt=scene.caption(reader), text=scene.caption(reader))
        for scene in (joining.draw(seed, "train", alone=0.4) for seed in range(4))
    ]
)

# %% name="joining"
folders = {name: trained(recipe, workers=0) for name, recipe in joining.WAYS.items()}

# %% name="seeing" tags=["quiet"]
ways = {
    "nothing": say(ko="맨바닥에서", en="from nothing"),
    "cnn-tuned": say(ko="CNN 이어 배움", en="CNN goes on"),
    "cnn-frozen": say(ko="CNN 얼림", en="CNN frozen"),
    "lstm-words": say(ko="낱말은 전문가", en="the expert's words"),
    "lstm-tuned": say(ko="LSTM 이어 배움", en="LSTM goes on"),
    "lstm-frozen": say(ko="LSTM도 얼림", en="LSTM frozen, too"),
}
drawn = {
    "nothing": {},
    "cnn-tuned": {"era": "pretrain", "dashed": True},
    "cnn-frozen": {"era": "connect"},
    "lstm-words": {"era": "converse"},
    "lstm-tuned": {"era": "converse", "dashed": True},
    "lstm-frozen": {"dashed": True},
}
size = joining.WAYS["nothing"].stages[0].batch_size
looks = {}
for name, folder in folders.items():
    history = json.loads((folder / "card.json").read_text(encoding="utf-8"))["history"]
    looks[name] = [{"pictures": row["step"] * size, **row} for row in history]


def curves(names, numbers=None):
    """Loss and scores of some of the ways, against the pictures seen."""
    panels = {"loss": say(ko="손실(낱말마다)", en="loss a word"), "object_f1": "object_f1", "exact": "exact"}
    last = "; ".join(
        f"{ways[name]}: " + ", ".join(f"{metric} {looks[name][-1][metric]:.2f}" for metric in panels) for name in names
    )
    return plots.show(
        plots.lines(
            {
                title: [
                    Line(ways[n], [r["pictures"] for r in looks[n]], [r[metric] for r in looks[n]], **drawn[n])
                    for n in names
                ]
                for metric, title in panels.items()
            },
            x=say(ko="설명이 달린 그림", en="captioned pictures"),
            shares=("object_f1", "exact"),
        ),
        alt=say(ko="본 그림에 따라 달라지는 세 점수. 마지막은 ", en="Three scores against pictures seen. At the end, ")
        + last,
        caption=say(
            ko="손실은 배우는 그림에서, 나머지 둘은 검증용 짝에서 쟀습니다.",
            en="The loss is that of the pictures learned from; the other two are measured on pairs for validation.",
        ),
        numbers=numbers,
    )


curves(["nothing", "cnn-tuned", "cnn-frozen"])

# %% name="writing" tags=["quiet"]
writing = ["cnn-frozen", "lstm-words", "lstm-tuned", "lstm-frozen"]
curves(
    writing,
    {
        f"{when}_{name}".replace("-", "_"): looks[name][row]["loss"]
        for name in writing
        for when, row in (("first", 0), ("last", -1))
    },
)

# %% name="joined" tags=["quiet"]
n = 200
papers = [joining.draw(seed, "test") for seed in range(n)]
pairs = len(joining.pairs("test")) // 2
rows, numbers = [], {"pictures": looks["nothing"][-1]["pictures"], "names": len(joining.EVERYDAY), "pairs": pairs}
for name, folder in folders.items():
    scored = marks(checkpoints.load(ShowAndTell, folder).eval(), papers, beam=1)
    minutes = looks[name][-1]["cpu"] / 60
    rows.append([ways[name], *map(told, scored.values()), f"{minutes:.1f}"])
    key = name.replace("-", "_")
    numbers |= {f"{key}_{metric}": mark[0] for metric, mark in scored.items()} | {f"{key}_minutes": minutes}
plots.table(
    [say(ko="시작", en="begins"), "object_f1", "exact", say(ko="CPU 분", en="CPU minutes")],
    rows,
    caption=say(
        ko=f"시험용 짝 {pairs}쌍의 그림 {n}장. 두 언어의 평균, 괄호 안은 95 % 구간",
        en=f"{n} pictures of {pairs} test pairs: means over both languages, in brackets 95 % intervals",
    ),
    numbers=numbers,
)


# %% name="mixes" tags=["quiet"]
def crowded(name):
    """The share of three or four things among the pictures from which a captioner learned to tell."""
    told = [stage for stage in cards[name]["recipe"]["stages"] if stage["kind"] in ("Captions", "Attending")]
    seen = [stage["steps"] * stage["batch_size"] for stage in told]
    return sum(n * dict(map(tuple, stage["mix"]))["many"] for n, stage in zip(seen, told, strict=True)) / sum(seen)


# %% name="crowd"
crowds = {
    1: world.scenes(n, seed=13, split="test", kind="one"),
    2: world.scenes(n, seed=13, split="test", kind="pair"),
}
many = world.scenes(4 * n, seed=13, split="test", kind="many")
crowds |= {k: [scene for scene in many if len(scene.things) == k][:n] for k in (3, 4)}

lookers = ("show-and-tell", "show-attend-and-tell")
found = {(name, k): marks(models[name], scenes) for name in lookers for k, scenes in crowds.items()}

# %% name="grid" tags=["quiet"]
plots.show(
    plots.lines(
        {
            metric: [
                Line(
                    titles[name],
                    list(crowds),
                    *([found[name, k][metric][i] for k in crowds] for i in range(3)),
                    era="connect",
                    dashed=name == "show-and-tell",
                )
                for name in lookers
            ]
            for metric in ("object_f1", "exact")
        },
        x=say(ko="물건의 수", en="number of objects"),
        ticks=list(crowds),
        shares=("object_f1", "exact"),
    ),
    alt="; ".join(
        f"{metric}, {titles[name]}: " + ", ".join(f"{k}: {found[name, k][metric][0]:.0%}" for k in crowds)
        for metric in ("object_f1", "exact")
        for name in lookers
    ),
    caption=say(
        ko=f"처음 보는 짝으로 된 장면, 수마다 {n}장. 두 언어의 평균, 세로줄은 95 % 구간",
        en=f"Scenes of pairs never seen together, {n} of each. Means over both languages, bars are 95 % intervals",
    ),
    numbers={
        f"{name}_{k}_{metric}".replace("-", "_"): mark[0]
        for (name, k), scored in found.items()
        for metric, mark in scored.items()
    },
)

# %% name="crowd-table" tags=["quiet"]
plots.table(
    ["", *(say(ko=f"{k}개", en=str(k)) for k in crowds)],
    [
        [f"{titles[name]}, {metric}", *(told(found[name, k][metric]) for k in crowds)]
        for metric in ("object_f1", "exact")
        for name in lookers
    ],
    caption=say(ko="물건의 수와 점수(95 % 구간)", en="Scores by the number of objects (95 % intervals)"),
    numbers={f"many_{name}".replace("-", "_"): crowded(name) for name in lookers},
)

# %% name="ask"
scene = world.sample(seed=0, split="test", kind="pair")
questions = [q.text for q in scene.questions(reader) if q.kind in ("what", "where", "how_many")][:4]

for question in questions:
    print(question)
    for name in ("show-and-tell", "show-attend-and-tell"):
        print(f"   {titles[name]}:", models[name].caption(scene.image(), language=reader))
    name = "question-answering"
    print(f"   {titles[name]}:", models[name].answer(scene.image(), question, language=reader))

plots.picture(scene.image(), alt=scene.caption(reader))


# %% name="prompted"
class Deaf:
    """A captioner in the answerer's chair: whatever it is asked, it describes the picture."""

    def __init__(self, captioner):
        self.captioner = captioner

    def answer(self, images, questions, language):
        return self.captioner.caption(images, language=language)


class Prompted(Deaf):
    """The question is laid in its mouth: it takes it for the beginning of its own sentence, and goes on."""

    def answer(self, images, questions, language):
        model, tokenizer = self.captioner, self.captioner.tokenizer
        config = model.cnn.config
        with torch.no_grad():
            vectors = model.encode(read_images(images, size=config.image_size, mean=config.mean, std=config.std))
            begun = [tokenizer.encode(question, language)[:-1] for question in questions]
            said = [list(tokens) for tokens in begun]
            for _ in range(10):
                padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(tokens) for tokens in said], batch_first=True)
                last = torch.tensor([len(tokens) - 1 for tokens in said])
                hidden = model.hidden(vectors, padded)[torch.arange(len(said)), last]
                for tokens, word in zip(said, model.words(hidden).argmax(1).tolist(), strict=True):
                    tokens.append(word)
        return [tokenizer.decode(tokens[len(b) :]) for tokens, b in zip(said, begun, strict=True)]


prompted = Prompted(models["show-and-tell"])
words = models["show-and-tell"].tokenizer
for language in LANGUAGES:
    asked = [question.text for question in scene.questions(language) if question.kind != "category"][1:6]
    said = prompted.answer([scene.image()] * len(asked), asked, language)
    for question, answer in zip(asked, said, strict=True):
        print(words.decode(words.encode(question, language)), "→", answer or "·")

# %% name="new-word"
pet = {"ko": "모모", "en": "Momo"}[reader]
cat = {"ko": "고양이", "en": "cat"}[reader]
try:
    models["cnn"].classify(scene.image(), [cat, pet], language=reader)
except InputError as error:
    print(error)

for word in (cat, pet):
    print(word, "→", words.decode(words.encode(word, reader)))

# %% name="instruction"
asked = {"ko": "왼쪽에 있는 것만 말해", "en": "say only what is on the left"}[reader]
beside = [s for s in world.scenes(3 * n, seed=17, split="test", kind="pair") if s.relation in ("left", "right")][:100]
pictures = list(world.render(beside))
lefts = [s.things[0 if s.relation == "left" else 1].concept for s in beside]
obeyed = {}
for title, candidate in (
    ("Show and Tell", Deaf(models["show-and-tell"])),
    ("Show, Attend and Tell", Deaf(models["show-attend-and-tell"])),
    (say(ko="Show and Tell, 지시를 입에 넣음", en="Show and Tell, told in its mouth"), prompted),
    (titles["question-answering"], models["question-answering"]),
):
    said = candidate.answer(pictures, [asked] * len(pictures), language=reader)
    named = [world.reader.mentioned(answer, reader) for answer in said]
    obeyed[title] = (said[0], np.mean([n == [left] for n, left in zip(named, lefts, strict=True)]))
plots.table(
    [
        say(ko="모델", en="system"),
        say(ko="첫 그림에 한 말", en="said of the first picture"),
        say(ko="왼쪽 것만 말한 비율", en="named only the left thing"),
    ],
    [[title, said, f"{share:.0%}"] for title, (said, share) in obeyed.items()],
    caption=say(
        ko=f"지시 “{asked}”, 그림 {len(pictures)}장", en=f"The instruction “{asked}”, {len(pictures)} pictures"
    ),
    numbers={f"obeyed_{i}": float(share) for i, (_, share) in enumerate(obeyed.values())},
)


# %% name="answering"
class Blind(Deaf):
    """The answerer is shown the picture of another question."""

    def answer(self, images, questions, language):
        return self.captioner.answer(np.roll(np.stack(images), 1, axis=0), questions, language=language)


sheets = [sheet for sheet in answering.papers(world, 500, seed=0) if not sheet.prefix]
kind_of = np.array([item.kind for item in sheets[0].items])


def sit(candidate):
    """Whether each question is answered right: (languages, questions)."""
    return np.array(
        [
            [
                answering.is_right(item, said, sheet.language)
                for item, said in zip(sheet.items, candidate(sheet.items, sheet.language), strict=True)
            ]
            for sheet in sheets
        ]
    )


answerer = models["question-answering"]
results = {
    "frequent": sit(answering.most_frequent(world, 0)),
    "caption": sit(answering.answerer(Deaf(models["show-and-tell"]), world)),
    "prompted": sit(answering.answerer(prompted, world)),
    "answerer": sit(answering.answerer(answerer, world)),
    "blind": sit(answering.answerer(Blind(answerer), world)),
}

# %% name="answers" tags=["quiet"]
kinds = {
    "what": say(ko="무엇", en="what"),
    "where": say(ko="어디", en="where"),
    "how_many": say(ko="몇", en="how many"),
    "yes_no": say(ko="예/아니요", en="yes or no"),
    "category": say(ko="종류", en="category"),
    "all": say(ko="모두", en="all"),
    "knowledge": say(ko="지식", en="knowledge"),
}
who = {
    "frequent": say(ko="가장 흔한 답", en="most frequent answer"),
    "caption": say(ko="Show and Tell의 캡션", en="Show and Tell's caption"),
    "prompted": say(ko="질문을 입에 넣은 Show and Tell", en="Show and Tell, asked in its mouth"),
    "answerer": titles["question-answering"],
    "blind": say(ko="질의응답, 다른 그림", en="question answering, another picture"),
}
chosen = {kind: kind_of == kind if kind != "all" else kind_of != "knowledge" for kind in kinds}
shares = {(key, kind): right[:, rows].mean() for key, right in results.items() for kind, rows in chosen.items()}
plots.table(
    [say(ko="누가", en="who"), *kinds.values()],
    [[title, *(f"{shares[key, kind]:.1%}" for kind in kinds)] for key, title in who.items()],
    caption=say(
        ko=f"답하기 시험, 질문 {len(kind_of)}개. 두 언어의 평균",
        en=f"The answering task, {len(kind_of)} questions; means over both languages",
    ),
    numbers={f"{key}_{kind}": share for (key, kind), share in shares.items()}
    | {
        f"prompted_where_{sheet.language}": results["prompted"][row, chosen["where"]].mean()
        for row, sheet in enumerate(sheets)
    },
)

# %% name="answer-bars" tags=["quiet"]
groups = {
    title: [
        Bar(who["frequent"], shares["frequent", kind]),
        Bar(
            say(ko="질의응답", en="question answering"),
            *interval(results["answerer"][:, chosen[kind]].mean(0)),
            era="connect",
        ),
    ]
    for kind, title in kinds.items()
}
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.0%}" for b in bars) for t, bars in groups.items()),
    caption=say(
        ko="질문의 종류마다 맞힌 비율. 가는 선은 95 % 구간", en="Right answers by kind. Thin lines are 95 % intervals"
    ),
)

# %% name="list"
_, known = corpus()
wanted = [item.asked[sheet.language] for sheet in sheets for item in sheet.items if item.kind != "knowledge"]
listed = {kind: np.mean([q.answer in known for q in wanted if q.kind == kind]) for kind in answering.KINDS}

plots.values("\n".join(f"{kind:9} {share:.1%}" for kind, share in listed.items()), answers=len(known), **listed)

# %% name="turns" tags=["quiet"]
talks = world.scenes(n, seed=19, split="test", kind="pair")
shares = {}
for language in LANGUAGES:
    pictures = list(world.render(talks))
    last = [scene.dialogue(language)[-1][0] for scene in talks]
    whole = [scene.questions(language)[2] for scene in talks]
    for key, asked in (("alone", last), ("whole", [q.text for q in whole])):
        said = models["question-answering"].answer(pictures, asked, language=language)
        shares[f"{key}_{language}"] = float(np.mean([a == q.answer for a, q in zip(said, whole, strict=True)]))
first = talks[0].dialogue(reader)
plots.table(
    [say(ko="물음", en="question"), say(ko="보기", en="example"), *spoken.values()],
    [
        [
            say(ko="앞말에 기댄 물음", en="leaning on what was said"),
            first[-1][0],
            *(f"{shares[f'alone_{x}']:.1%}" for x in LANGUAGES),
        ],
        [
            say(ko="온전한 물음", en="in full"),
            talks[0].questions(reader)[2].text,
            *(f"{shares[f'whole_{x}']:.1%}" for x in LANGUAGES),
        ],
    ],
    caption=say(ko=f"같은 것을 두 가지로 묻다, 그림 {n}장", en=f"The same, asked in two ways of {n} pictures"),
    numbers=shares,
)

# %% name="why"
why = {
    "ko": ["왜 그렇게 생각하나요?", "무엇을 보고 알았나요?", "확실한가요?"],
    "en": ["why do you think so?", "how do you know?", "are you sure?"],
}[reader]
for question in why:
    print(question, "→", models["question-answering"].answer(scene.image(), question, language=reader))

# %% name="systems" tags=["quiet"]
takes = {
    "cnn": (say(ko="그림", en="picture"), say(ko="이름", en="name")),
    "lstm": (say(ko="쓰던 문장", en="begun sentence"), say(ko="다음 낱말", en="next word")),
    "show-and-tell": (say(ko="그림", en="picture"), say(ko="문장", en="sentence")),
    "show-attend-and-tell": (say(ko="그림", en="picture"), say(ko="문장, 본 자리", en="sentence, where it looked")),
    "question-answering": (say(ko="그림, 질문", en="picture, question"), say(ko="목록의 답", en="answer of a list")),
}
sizes = {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()}
minutes = {name: card["seconds"] * card["threads"] / 60 for name, card in cards.items()}
plots.table(
    [
        say(ko="모델", en="system"),
        say(ko="받는 것", en="takes"),
        say(ko="주는 것", en="gives"),
        say(ko="매개변수", en="parameters"),
        say(ko="본 그림", en="pictures"),
        say(ko="CPU 분", en="CPU minutes"),
    ],
    [
        [
            titles[name],
            *takes[name],
            f"{sizes[name]:,}",
            "0" if name == "lstm" else f"{cards[name]['images']:,}",
            f"{minutes[name]:.0f}",
        ]
        for name in names
    ],
    caption=say(
        ko="본 그림과 시간은 그 모델만의 것이고, 딛고 선 모델의 것은 더하지 않았습니다. "
        "CPU 분은 걸린 시간에 스레드의 수를 곱한 것입니다.",
        en="Pictures and time are a system's own, without those of what it stands on. "
        "CPU minutes are the time it took, times its threads.",
    ),
    numbers={
        **{f"{name}_minutes".replace("-", "_"): value for name, value in minutes.items()},
        **{f"{name}_pictures".replace("-", "_"): cards[name]["images"] for name in names},
        **{f"{name}_size".replace("-", "_"): value for name, value in sizes.items()},
        "minutes": sum(minutes.values()),
        **{
            f"exact_{row['stage']}": row["exact"] for row in cards["show-and-tell"]["history"] if "exact" in row
        },  # of each stage the last look
        "hardware": cards["cnn"]["hardware"],
    },
)

# %% name="exam" tags=["quiet"]
columns = [
    ("naming", "top1"), ("naming", "seen_top1"), ("captioning", "object_f1"), ("captioning", "exact"),
    ("captioning", "artist_exact"), ("answering", "all"),
]  # fmt: skip
scored = {name: card["scores"].get("systems", {}).get(name, {}) for name, card in cards.items()}


def mean(name, task, metric):
    """A mark of the card, as the mean over languages; nothing if the system cannot sit the task."""
    marks = scored[name].get(task)
    return None if marks is None else float(np.mean([marks[f"{metric}_{language}"] for language in LANGUAGES]))


table = {name: [mean(name, *column) for column in columns] for name in names}
plots.table(
    [
        say(ko="모델", en="system"),
        say(ko="이름, 처음 보는 작가", en="naming, unseen artist"),
        say(ko="이름, 아는 작가", en="naming, known artists"),
        "object_f1",
        "exact",
        say(ko="exact, 처음 보는 작가", en="exact, unseen artist"),
        say(ko="답하기", en="answering"),
    ],
    [[titles[name], *("" if mark is None else f"{mark:.1%}" for mark in marks)] for name, marks in table.items()],
    caption=say(
        ko=f"시험 점수, 두 언어의 평균 (문제지마다 장면 {cards['cnn']['scores']['n']:,}개)",
        en=f"Marks of the exam, means over both languages ({cards['cnn']['scores']['n']:,} scenes a sheet)",
    ),
)
