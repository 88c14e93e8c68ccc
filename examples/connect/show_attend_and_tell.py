# %% [markdown] lang="ko"
# # Show, Attend and Tell
#
# 2015년의 모델은 낱말마다 그림의 다른 곳을 봅니다. 어디를 보는지 그림 위에 비춰 봅니다. 이름과 관계를 바꾸어 보세요.

# %% [markdown] lang="en"
# # Show, Attend and Tell
#
# The model of 2015 looks at another part of the picture for every word. See where. Change the names and relations.

# %% name="setup" tags=["quiet"]
import json

import numpy as np
import torch

import vlm_history as vlm
from vlm_history import bench, plots
from vlm_history.connect.cnn import VGGConfig
from vlm_history.connect.show_attend_and_tell import ShowAttendAndTell, ShowAttendAndTellConfig, soft_look
from vlm_history.exam import metrics, report
from vlm_history.images import read_images
from vlm_history.plots import Bar, Card, say
from vlm_history.plots.architecture import trace
from vlm_history.plots.attention import attender, looks, shares, spotlight
from vlm_history.systems import find
from vlm_history.training.memo import kept
from vlm_history.world.pointing import cells, inside, named, on_object, peak

torch.manual_seed(0)
reader = plots.language()
LANGUAGES = {"ko": "한국어", "en": "English"}


def shown(token):
    """A token as a figure writes it."""
    return say(ko="(끝)", en="(end)") if token == "<end>" else token.replace("##", "-")


def name_of(concept, language=reader):
    return concept.ko if language == "ko" else concept.en


def pixels_of(pictures):
    config = model.cnn.config
    return read_images(pictures, size=config.image_size, mean=config.mean, std=config.std)


def spread(look):
    """Over how many cells a look is spread: exp of its entropy, 1 for a single cell, 64 for all evenly."""
    return float(np.exp(-(look * np.log(np.maximum(look, 1e-12))).sum()))


# %% name="load"
world = vlm.World()
model = vlm.load("show-attend-and-tell")

print(f"{sum(p.numel() for p in model.parameters()):,}")

# %% name="sizes" tags=["quiet"]
card = json.loads((find("show-attend-and-tell").weights / "card.json").read_text(encoding="utf-8"))
plots.values(
    world=sum(p.numel() for p in model.parameters()),
    learned=sum(p.numel() for name, p in model.named_parameters() if not name.startswith("cnn.")),
    vocabulary=len(model.tokenizer),
    images=card["images"],
    minutes=round(card["seconds"] / 60),
    hardware=card["hardware"],
    before=[look["exact"] for look in card["history"] if look["stage"] == "captions"][-1],
    after=card["history"][-1]["exact"],
)

# %% name="caption-one"
scene = world.sample(seed=0, split="test", kind="pair")
told = {language: model.caption(scene.image(), language=language, return_attention=True) for language in LANGUAGES}
for language, (caption, _) in told.items():
    print(f"{language}: {caption}")

plots.picture(scene.image(), alt=scene.caption(reader))

# %% name="where"
rows = [(scene.image(), [(shown(token), look) for token, look in told[language][1]]) for language in LANGUAGES]
where = [
    f"{name_of(name.concept)}: "
    + (
        say(ko="그 물건을 본다", en="it looks at that object")
        if any(t.concept == name.concept and inside(t, *peak(name.look)) for t in scene.things)
        else say(ko="다른 곳을 본다", en="it looks elsewhere")
    )
    for name in named(told[reader][1], reader, world.reader)
]
plots.show(
    looks(rows, era="connect", labels=list(LANGUAGES.values())),
    alt=say(ko="낱말마다 본 곳을 밝힌 그림. ", en="For each word the picture, lit where it looked: ")
    + ", ".join(where),
    caption=say(
        ko="밝은 곳이 그 낱말을 쓸 때 본 곳이고, 고리는 가장 많이 본 칸입니다.",
        en="It looked where the picture is lit, and most at the cell with the ring.",
    ),
)

# %% name="your-scene"
mine = world.scene("고양이", "사과", relation="left", artist="twemoji", background="plain", seed=1)
row, said = [("", None)], []
for thing in mine.things:
    for language in LANGUAGES:
        caption, seen = model.caption(mine.image(), language=language, return_attention=True)
        row += [(name_of(n.concept, language), n.look) for n in named(seen, language, world.reader)
                if n.concept == thing.concept]  # fmt: skip
        said.append(caption)

plots.show(
    looks([(mine.image(), row)], era="connect"),
    alt=mine.caption(reader) + ": " + ", ".join(word for word, _ in row[1:]),
    caption=" · ".join(dict.fromkeys(said)),
)

# %% name="architecture" tags=["quiet"]
caption, seen = told[reader]
at = named(seen, reader, world.reader)[0].span.start  # the word that names the first object
tokens = [model.tokenizer.start(reader), *(model.tokenizer.vocabulary.index(token) for token, _ in seen)]
shapes = trace(model, pixels_of(scene.image()), torch.tensor([tokens[: at + 1]]))
annotations = shapes["norm"]
plots.show(
    attender(
        scene.image(),
        shown(model.tokenizer.vocabulary[tokens[at]]),
        shown(seen[at][0]),
        seen[at][1],
        {
            "pixels": tuple(pixels_of(scene.image()).shape),
            "annotations": annotations,
            "projected": shapes["attend_place"],
            "alpha": shapes["attend_place"][:2],
            "context": (1, annotations[-1]),
            "embedding": shapes["embedding"],
            "state": shapes["cell"],
            "logits": shapes["words"],
        },
        era="connect",
    ),
    alt=say(
        ko="CNN이 그림을 격자 칸마다 벡터 하나로 바꾼다. 앞선 상태와 칸들로 어디를 볼지 정하고, 본 것을 섞은 벡터가 "
        "앞 낱말과 함께 LSTM으로 들어가 다음 낱말이 나온다.",
        en="The CNN makes a vector for each cell of a grid. From the state before and the cells it is decided where to "
        "look; what is seen, blended into one vector, goes with the last word into the LSTM, and a word comes out.",
    ),
    caption=say(
        ko="한 걸음. 수는 실제로 지나간 모양이고, 밝은 곳은 이 걸음에서 실제로 본 곳입니다.",
        en="One step. The numbers are shapes that passed, and the light is where it really looked at this step.",
    ),
)

# %% name="tell"
n = 200
scenes = world.scenes(n, seed=17, split="test", kind="pair")
pictures = world.render(scenes)
told = {language: model.caption(pictures, language=language, return_attention=True) for language in LANGUAGES}

# %% name="pointing"
groups, numbers = {}, {"n": n}
for language, title in LANGUAGES.items():
    hits, chances = [], []
    for scene, (_, seen) in zip(scenes, told[language], strict=True):
        hits += on_object(scene, seen, language)
        spoken = {name.concept for name in named(seen, language, world.reader)}
        chances += [cells(thing, 8, 8).mean() for thing in scene.things if thing.concept in spoken]
    numbers |= {f"hit_{language}": np.mean(hits), f"chance_{language}": np.mean(chances)}
    numbers[f"names_{language}"] = len(hits)
    groups[title] = [
        Bar(say(ko="모델이 본 칸", en="where it looked"), *metrics.share(hits), era="connect"),
        Bar(say(ko="아무 칸이나", en="any cell"), float(np.mean(chances))),
    ]
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.1%}" for b in bars) for t, bars in groups.items()),
    caption=say(
        ko="이름을 쓸 때 가장 많이 본 칸이 그 물건 위에 있는 비율. 가는 선은 95 % 구간",
        en="How often the cell looked at most lies on the object named. Thin lines are 95 % intervals",
    ),
    numbers=numbers,
)

# %% name="both-languages"
same, apart, across = [], [], []
for number, scene in enumerate(scenes):
    found = {
        language: {name.concept: name.look for name in named(told[language][number][1], language, world.reader)}
        for language in LANGUAGES
    }
    common = [t for t in scene.things if all(t.concept in found[language] for language in LANGUAGES)]
    for thing in common:
        one, other = (peak(found[language][thing.concept]) for language in LANGUAGES)
        same.append(inside(thing, *one) and inside(thing, *other))
        apart.append(float(np.hypot(one[0] - other[0], one[1] - other[1])))
    if len(common) == 2:
        one, other = peak(found["ko"][common[0].concept]), peak(found["en"][common[1].concept])
        across.append(float(np.hypot(one[0] - other[0], one[1] - other[1])))

plots.table(
    [say(ko="두 언어의 시선", en="looks of the two languages"), ""],
    [
        [say(ko="같은 이름: 둘 다 그 물건 위", en="same name: both on the object"), f"{np.mean(same):.1%}"],
        [say(ko="같은 이름: 두 봉우리의 거리", en="same name: peaks apart by"), f"{np.mean(apart):.1f} px"],
        [say(ko="다른 이름: 두 봉우리의 거리", en="different names: peaks apart by"), f"{np.mean(across):.1f} px"],
    ],
    caption=say(
        ko=f"두 언어가 함께 이름을 부른 물건 {len(same)}개. 그림의 한 변은 64픽셀",
        en=f"{len(same)} objects named in both languages; a picture is 64 pixels wide",
    ),
    numbers={"same": np.mean(same), "apart": np.mean(apart), "across": np.mean(across), "objects": len(same)},
)

# %% name="kinds"
RELATIONS = {"left", "right", "above", "below", "top", "bottom"} | {
    side + ending for side in ("왼쪽", "오른쪽", "위", "아래") for ending in ("", "에", "에는")
}
KINDS = {
    "noun": say(ko="물건의 이름", en="names of objects"),
    "relation": say(ko="위치를 말하는 낱말", en="words of relation"),
    "other": say(ko="그 밖의 낱말", en="all other words"),
}


def kind_of(seen, language):
    """For each token its kind, and the concept that it belongs to, if it names one."""
    owner = {i: name.concept for name in named(seen, language, world.reader) for i in name.span}
    return [
        ("noun" if i in owner else "relation" if token in RELATIONS else "other", owner.get(i))
        for i, (token, _) in enumerate(seen)
    ]


groups, numbers = {}, {}
area = float(np.mean([np.any([cells(t, 8, 8) for t in scene.things], axis=0).mean() for scene in scenes]))
for language, title in LANGUAGES.items():
    falls = {kind: [] for kind in KINDS}
    for scene, (_, seen) in zip(scenes, told[language], strict=True):
        on = {thing.concept: cells(thing, 8, 8) for thing in scene.things}
        things = np.any(list(on.values()), axis=0)
        for (_, look), (kind, concept) in zip(seen, kind_of(seen, language), strict=True):
            if kind != "noun" or concept in on:  # a name of something that is not there looks at nothing of its own
                hit = float(look[on[concept]].sum()) if concept else 0.0
                falls[kind].append((hit, float(look[things].sum()) - hit, float(look[~things].sum())))
    groups[title] = {KINDS[kind]: np.mean(part, axis=0).tolist() for kind, part in falls.items()}
    groups[title][say(ko="(넓이)", en="(area)")] = [area / 2, area / 2, 1 - area]
    numbers |= {f"{kind}_{language}": 1 - np.mean(part, axis=0)[2] for kind, part in falls.items()}
parts = [
    say(ko="그 이름의 물건", en="the object named"),
    say(ko="다른 물건", en="another object"),
    say(ko="배경", en="ground"),
]
plots.show(
    shares(groups, parts, era="connect"),
    alt="; ".join(
        f"{title}: " + ", ".join(f"{kind} {parts[0]} {v[0]:.0%}, {parts[1]} {v[1]:.0%}" for kind, v in rows.items())
        for title, rows in groups.items()
    ),
    caption=say(ko="시선 α가 어디에 떨어지는가, 낱말의 종류별로", en="What the looks α fall on, by kind of word"),
    numbers=numbers | {"area": area},
)

# %% name="gate"
ids = {token: i for i, token in enumerate(model.tokenizer.vocabulary)}
opened = []
hook = model.gate.register_forward_hook(lambda gate, given, out: opened.append(torch.sigmoid(out)))
measured = {kind: [] for kind in KINDS}
for picture, (_, seen) in zip(pictures, told[reader], strict=True):
    opened.clear()
    read = [model.tokenizer.start(reader), *(ids[token] for token, _ in seen[:-1])]
    with torch.no_grad():
        model(pixels_of(picture), torch.tensor([read]))
    for gate, (_, look), (kind, _) in zip(opened, seen, kind_of(seen, reader), strict=True):
        measured[kind].append((float(gate), spread(look)))
hook.remove()
means = {kind: np.mean(values, axis=0) for kind, values in measured.items()}
plots.table(
    ["", "β", say(ko="보는 칸의 수", en="cells looked at")],
    [[KINDS[kind], f"{beta:.2f}", f"{number:.1f}"] for kind, (beta, number) in means.items()],
    caption=say(
        ko="β는 그림을 얼마나 받아들이는지, 칸의 수는 시선이 몇 칸에 고루 퍼진 것과 같은지",
        en="β is how much of the picture is let in; the look is as spread as an even one over so many cells",
    ),
    numbers={f"beta_{kind}": v[0] for kind, v in means.items()} | {f"cells_{kind}": v[1] for kind, v in means.items()},
)

# %% name="exam"
before = vlm.load("show-and-tell")
result = kept(report.run, ["show-and-tell", "show-attend-and-tell"], tasks=["captioning"], n=n, seed=0)
marks = {name: tasks["captioning"] for name, tasks in result["systems"].items()}
ranges = {name: tasks.get("captioning", {}) for name, tasks in result["intervals"].items()}
titles = {
    "chance": say(ko="아무 문장", en="chance"),
    "show-and-tell": "Show and Tell",
    "show-attend-and-tell": "Show, Attend and Tell",
}
groups = {}
for prefix, place in (
    ("", say(ko="학습에 나온 작가", en="training artists")),
    ("artist_", say(ko="처음 보는 작가", en="unseen artist")),
):
    for metric in ("exact", "object_f1"):
        key = f"{prefix}{metric}_{reader}"
        groups[f"{metric} · {place}"] = [
            Bar(title, marks[name][key], *(ranges[name][key] if name != "chance" else (None, None)),
                era="connect" if name == "show-attend-and-tell" else None)
            for name, title in titles.items()
        ]  # fmt: skip
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.1%}" for b in bars) for t, bars in groups.items()),
    caption=say(ko="가는 선은 95 % 구간", en="Thin lines are 95 % intervals"),
    numbers={"n": n}
    | marks["show-attend-and-tell"]
    | {f"before_{key}": value for key, value in marks["show-and-tell"].items()},
)

# %% name="paired"
KINDS_OF_SCENES = {
    "one": say(ko="물건 하나", en="one object"),
    "pair": say(ko="물건 둘", en="two objects"),
    "many": say(ko="물건 셋 또는 넷", en="three or four objects"),
}
groups, rows, numbers = {}, [], {}
for kind, title in KINDS_OF_SCENES.items():
    papers = world.scenes(n, seed=13, split="test", kind=kind)
    drawn = world.render(papers)
    scores = {}
    for name, captioner in (("show-and-tell", before), ("show-attend-and-tell", model)):
        answers = captioner.caption(drawn, language=reader)
        scores[name] = np.array([
            (world.reader.parse(answer, reader) == paper.fact,
             metrics.object_f1({c.hexcode for c in world.reader.mentioned(answer, reader)},
                               {t.concept.hexcode for t in paper.things}))
            for answer, paper in zip(answers, papers, strict=True)
        ], dtype=float)  # fmt: skip
    groups[title] = []
    for name, score in scores.items():
        f1 = score[:, 1]
        interval = metrics.bootstrap(lambda chosen, f1=f1: float(f1[chosen].mean()), n)
        era = "connect" if name == "show-attend-and-tell" else None
        groups[title].append(Bar(titles[name], float(f1.mean()), *interval, era=era))
    row = [title]
    for column, metric in enumerate(("exact", "object_f1")):
        gain = scores["show-attend-and-tell"][:, column] - scores["show-and-tell"][:, column]
        low, high = metrics.bootstrap(lambda chosen, gain=gain: float(gain[chosen].mean()), n)
        row.append(f"{gain.mean():+.1%} [{low:+.1%}, {high:+.1%}]".replace("-", "−"))
        numbers |= {f"{metric}_{kind}": gain.mean(), f"{metric}_{kind}_low": low, f"{metric}_{kind}_high": high}
    rows.append(row)
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.1%}" for b in bars) for t, bars in groups.items()),
    caption="object_f1",
    numbers=numbers,
)

# %% name="difference" tags=["quiet"]
plots.table(
    ["", "exact", "object_f1"],
    rows,
    caption=say(
        ko=f"Show, Attend and Tell에서 Show and Tell을 뺀 차이와 95 % 구간. 같은 장면 {n}개씩을 짝지어 뽑았다",
        en=f"Show, Attend and Tell minus Show and Tell, 95 % intervals of the paired difference, {n} scenes each",
    ),
)

# %% name="soft-hard"
hard_name = "show-attend-and-tell-hard"
hard = vlm.load(hard_name)
rows, numbers = [], {}
for name, title, captioner in (
    ("soft", say(ko="부드러운 어텐션", en="soft attention"), model),
    ("hard", say(ko="단단한 어텐션", en="hard attention"), hard),
):
    row = {}
    for language in LANGUAGES:
        spoken = told[language]
        if captioner is hard:
            spoken = hard.caption(pictures, language=language, return_attention=True)
        right = [world.reader.parse(c, language) == s.fact for s, (c, _) in zip(scenes, spoken, strict=True)]
        hits = [hit for s, (_, seen) in zip(scenes, spoken, strict=True) for hit in on_object(s, seen, language)]
        wide = [spread(each.look) for _, seen in spoken for each in named(seen, language, world.reader)]
        row |= {f"exact_{language}": np.mean(right), f"hit_{language}": np.mean(hits)}
        row[f"cells_{language}"] = np.mean(wide)
    numbers |= {f"{name}_{key}": value for key, value in row.items()}
    shown_row = [f"{row[f'{metric}_{language}']:.1%}" for metric in ("exact", "hit") for language in LANGUAGES]
    rows.append([title, *shown_row, f"{(row['cells_ko'] + row['cells_en']) / 2:.1f}"])
on = say(ko="물건 위", en="on object")
plots.table(
    ["", "exact ko", "exact en", f"{on} ko", f"{on} en", say(ko="칸", en="cells")],
    rows,
    caption=say(
        ko=f"처음 보는 짝 {n}장면. 칸은 이름을 쓸 때 시선이 퍼진 칸의 수",
        en=f"{n} scenes of pairs never seen; cells: over how many the look at a name is spread",
    ),
    numbers=numbers | {"steps": json.loads((find(hard_name).weights / "card.json").read_text())["steps"]},
)

# %% name="soft-hard-looks"
scene = scenes[0]
sentence = scene.caption(reader, style=0)
tokens = torch.tensor([model.tokenizer.encode(sentence, reader)])
words = [shown(model.tokenizer.vocabulary[i]) for i in tokens[0, 1:]]
rows = []
for captioner in (model, hard):
    with torch.no_grad():
        _, alpha = captioner(pixels_of(scene.image()), tokens[:, :-1])
    rows.append((scene.image(), list(zip(words[:5], alpha[0].view(-1, 8, 8).numpy(), strict=False))))
labels = [
    say(ko="부드러운 어텐션: 모든 칸을 섞으며 배웠다", en="soft: learned by blending all cells"),
    say(ko="단단한 어텐션: 한 칸씩 뽑으며 배웠다", en="hard: learned by drawing one cell"),
]
plots.show(
    looks(rows, era="connect", labels=labels),
    alt=say(ko="같은 문장을 쓸 때 두 모델이 본 곳: ", en="Where both look for the same sentence: ") + sentence,
    caption=sentence,
)

# %% name="failures"
cards, reasons = [], {"missed": 0, "other": 0, "ground": 0}
for scene, picture, (_, seen) in zip(scenes, pictures, told[reader], strict=True):
    names = named(seen, reader, world.reader)
    spoken = {name.concept for name in names}
    for name in names:
        if name.concept in {thing.concept for thing in scene.things}:
            continue
        under = [thing.concept for thing in scene.things if inside(thing, *peak(name.look))]
        missed = [concept for concept in under if concept not in spoken]
        reasons["missed" if missed else "other" if under else "ground"] += 1
        wrong = name_of(name.concept)
        cards.append(
            Card(
                spotlight(picture, name.look),
                alt=say(ko=f"‘{wrong}’라는 낱말을 쓸 때 본 곳", en=f"where it looked for “{wrong}”"),
                text=wrong,
                note=name_of(under[0]) if under else say(ko="배경", en="ground"),
                right=False,
            )
        )
plots.gallery(cards[:4])

# %% name="reasons" tags=["quiet"]
REASONS = {
    "missed": say(ko="이름을 놓친 바로 그 물건 위", en="on the very object that it misnamed"),
    "other": say(ko="다른 물건 위", en="on another object"),
    "ground": say(ko="배경 위", en="on the ground"),
}
plots.table(
    [say(ko="틀린 이름을 쓸 때 본 곳", en="where it looked for a wrong name"), ""],
    [[title, str(reasons[kind])] for kind, title in REASONS.items()],
    caption=say(ko=f"장면 {n}개에서 틀린 이름 {len(cards)}개", en=f"{len(cards)} wrong names in {n} scenes"),
    numbers=reasons | {"all": len(cards)},
)


# %% name="force"
@torch.no_grad()
def next_word(annotations, words, look=None):
    """The word after some others; for it the decoder is made to look where it is told."""
    h, c = model.start(annotations)
    projected = model.attend_place(annotations)
    for step, word in enumerate(model.embedding(torch.tensor([words])).unbind(1), start=1):
        alpha = model.chances(projected, h) if look is None or step < len(words) else look
        context = torch.sigmoid(model.gate(h)) * soft_look(alpha, annotations)[0]
        h, c = model.cell(torch.cat([word, context], dim=1), (h, c))
    return model.tokenizer.vocabulary[int(model.words(model.before_words(word, h, context)).argmax())]


# %% name="forced"
LOOKS = {
    "own": say(ko="저 스스로 본 곳", en="its own look"),
    "thing": say(ko="그 물건", en="the object"),
    "other": say(ko="다른 물건", en="the other object"),
    "ground": say(ko="배경", en="the ground"),
    "all": say(ko="모든 칸 고루", en="all cells evenly"),
}
counts = {kind: [0, 0, 0] for kind in LOOKS}
for scene, picture, (caption, seen) in zip(scenes, pictures, told[reader], strict=True):
    if world.reader.parse(caption, reader) != scene.fact:
        continue
    with torch.no_grad():
        annotations = model.annotate(pixels_of(picture)).flatten(1, 2)
    first = {thing.concept: name_of(thing.concept).split()[0] for thing in scene.things}
    for thing, other in (scene.things, scene.things[::-1]):
        span = next(name.span for name in named(seen, reader, world.reader) if name.concept == thing.concept)
        words = [model.tokenizer.start(reader), *(ids[token] for token, _ in seen[: span.start])]
        on, beside = cells(thing, 8, 8), cells(other, 8, 8)
        masks = {"own": None, "thing": on & ~beside, "other": beside & ~on, "ground": ~(on | beside), "all": on | ~on}
        for kind, mask in masks.items():
            look = None if mask is None else torch.from_numpy(mask / mask.sum()).float().view(1, -1)
            word = next_word(annotations, words, look)
            counts[kind][0 if word == first[thing.concept] else 1 if word == first[other.concept] else 2] += 1
asked = sum(counts["own"])
spoken = {LOOKS[kind]: [count / asked for count in three] for kind, three in counts.items()}
parts = [
    say(ko="그 물건의 이름", en="the object’s name"),
    say(ko="다른 물건의 이름", en="the other’s name"),
    say(ko="엉뚱한 낱말", en="another word"),
]
plots.show(
    shares({say(ko="어디를 보게 하면 무슨 낱말을 쓰는가", en="Made to look there, which word does it write?"): spoken},
           parts, era="connect"),
    alt="; ".join(f"{kind}: " + ", ".join(f"{p} {v:.0%}" for p, v in zip(parts, values, strict=True))
                  for kind, values in spoken.items()),
    caption=say(ko=f"바르게 설명한 장면의 이름 {asked}개", en=f"{asked} names in scenes it described rightly"),
    numbers={"asked": asked} | {f"{kind}_{part}": three[i] / asked for kind, three in counts.items()
                                for i, part in enumerate(("thing", "other", "else"))},
)  # fmt: skip


# %% name="reach"
def reach(layers):
    """How many pixels a cell has seen, in each direction: (kernel, stride) of each layer, from the picture up."""
    seen, step = 1, 1
    for kernel, stride in layers:
        seen, step = seen + (kernel - 1) * step, step * stride
    return seen


block = [(3, 2), (3, 1)]
vgg = [layer for stage in VGGConfig().stages for layer in [*((3, 1) for _ in stage), (2, 2)]][:-1]
seen = {"8 x 8": reach([(4, 2), *block * 2]), "4 x 4": reach([(4, 2), *block * 3]), "VGG-19": reach(vgg)}
plots.values("\n".join(f"{name:7} {pixels:4}" for name, pixels in seen.items()),
             fine=seen["8 x 8"], coarse=seen["4 x 4"], vgg=seen["VGG-19"])  # fmt: skip

# %% name="published"
with torch.device("meta"):
    published = ShowAttendAndTell(ShowAttendAndTellConfig.published())
    logits, alpha = published(torch.empty(1, 3, 224, 224), torch.zeros(1, 9, dtype=torch.int64))

counts = {name: sum(p.numel() for p in part.parameters()) for name, part in published.named_children()}
for name, count in counts.items():
    if count:
        print(f"{name:13} {count:>12,}")
print(f"{'':13} {sum(counts.values()):>12,}")
print(f"α {tuple(alpha.shape)}, words {tuple(logits.shape)}")

# %% name="published-sizes" tags=["quiet"]
whole = sum(counts.values())
plots.values(all=whole, cnn=counts["cnn"], decoder=whole - counts["cnn"], places=alpha.shape[2])

# %% name="bench"
times = bench.run(["show-attend-and-tell", "show-attend-and-tell-1800"], repeats=3)
plots.values(
    bench.table(times),
    ratio=times["show-attend-and-tell"]["ratio"],
    ratio_1800=times["show-attend-and-tell-1800"]["ratio"],
    gap=max(result["equal"] for result in times.values()),
)
