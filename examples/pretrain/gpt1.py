# %% [markdown] lang="ko"
# # GPT-1
#
# 글만 읽고 배운 2018년의 모델입니다. 글을 잘라 보고, 이어 쓰게 하고, 정답 몇 개로 새 일을 가르칩니다.

# %% [markdown] lang="en"
# # GPT-1
#
# The model of 2018 that learned from text alone. See how it cuts a text, let it go on writing, and teach it something
# new with a few labels.

# %% name="setup" tags=["quiet"]
import json
import re
import textwrap
import time
from itertools import pairwise
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import torch
from hangulpy import josa
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
)
from transformers.utils.logging import disable_progress_bar

import vlm_history as vlm
from vlm_history import bench, plots
from vlm_history.exam.metrics import share
from vlm_history.exam.ngram import NGram
from vlm_history.plots import Bar, Line, say
from vlm_history.plots.architecture import trace
from vlm_history.plots.pieces import Pieces, boxes
from vlm_history.plots.transformer import Seen, causal, decoder, transformations
from vlm_history.pretrain.finetuning import FineTuned, classification
from vlm_history.pretrain.gpt1 import END, GPT1, GPT2, GPTConfig
from vlm_history.systems import find
from vlm_history.training.experiments.finetuning import (
    LABELLED,
    LAYERS,
    by_auxiliary,
    by_labels,
    by_layers,
    by_updates,
    way,
)
from vlm_history.training.recipes.gpt_1 import RECIPE
from vlm_history.training.text_tasks import TASKS, ZERO_SHOT
from vlm_history.training.texts import unread
from vlm_history.world.concepts import CATEGORIES
from vlm_history.world.questions import category_question
from vlm_history.world.writing import TEXTS, story, write

torch.manual_seed(0)
disable_progress_bar()
reader = plots.language()
languages = {"ko": say(ko="한국어", en="Korean"), "en": say(ko="영어", en="English")}


def shown(token):
    """A token as figures write it: a space as a dot, bytes that are no letter by themselves as numbers."""
    if token == words.id(END):
        return "<end>"
    text = words.decode([token])
    whole = text.isprintable() and "\ufffd" not in text
    return text.replace(" ", "·") if whole else words.raw([token]).hex(" ")


def folded(text):
    """A text in lines short enough for a page."""
    latin = np.mean([letter.isascii() for letter in text])
    return textwrap.fill(text, 66 if latin > 0.7 else 38, subsequent_indent="    ")  # Hangul is wider


# %% name="load"
world = vlm.World()
model = vlm.load("gpt-1")
words = model.tokenizer

told = [folded(model.write(beginning)) for beginning in ("옛날에", "once upon a time")]
print(f"{sum(p.numel() for p in model.parameters()):,}", *told, sep="\n")

# %% name="sizes" tags=["quiet"]
card = json.loads((find("gpt-1").weights / "card.json").read_text(encoding="utf-8"))
length = model.config.length
plots.values(
    world=sum(p.numel() for p in model.parameters()),
    vocabulary=len(words),
    merges=len(words.merges),
    length=length,
    read=round(card["images"] * length / 1e6, 1),
    minutes=round(card["seconds"] / 60),
    hardware=card["hardware"],
    **{f"share_{kind}": part for kind, part in RECIPE.stages[0].mix},
)

# %% name="texts"
for kind in TEXTS:
    print(folded(f"{kind}: {write(world, 8, reader, kind=kind)}"))

# %% name="architecture" tags=["quiet"]
scene = world.scene("고양이", "사과", relation="left", seed=0)
tokens = words.encode(scene.caption(reader, style=0))[:4]
shapes = trace(model, torch.tensor([tokens]))
with torch.no_grad():
    likeliest = model(torch.tensor([tokens]))[0].argmax(-1).tolist()
passed = {
    "embedding": shapes["tokens"],
    "attention": shapes["blocks.0.attention"],
    "widened": shapes["blocks.0.mlp.widen"],
    "logits": (1, len(tokens), len(words)),
}
plots.show(
    decoder([shown(t) for t in tokens], [shown(t) for t in likeliest], passed, model.config.depth, era="pretrain"),
    alt=say(
        ko="토큰마다 임베딩과 자리 벡터를 더하고, 가린 셀프 어텐션과 MLP를 여섯 번 거쳐 다음 토큰의 점수를 낸다. "
        "어텐션과 MLP의 결과는 들어온 것에 더해지고, 더한 다음 층 정규화를 거친다.",
        en="Each token's embedding and position go through six blocks of masked self-attention and MLP to scores of "
        "the next token. What attention and MLP give is added to what came in, and each sum is normalised.",
    ),
    caption=say(
        ko="아래는 읽은 토큰, 위는 그다음으로 가장 그럴듯하게 여긴 토큰입니다. 가운뎃점은 빈칸이고, 수는 실제로 지나간 "
        "모양입니다.",
        en="Below, the tokens it reads; above, what it takes for the likeliest next. A dot is a space; the numbers are "
        "shapes of a real pass.",
    ),
)

# %% name="cut"
caption = {language: scene.caption(language, style=0) for language in languages}
for language, text in caption.items():
    ids = words.encode(text)
    print(f"{language}: {len(text.encode())} bytes, {len(ids)} tokens {ids}")

# %% name="pieces" tags=["quiet"]
unknown = say(ko="처음 보는 낱말", en="words never seen")
novel = {unknown: say(ko="공룡이 스케이트보드를 탄다 🦖", en="a dinosaur rides a skateboard 🦖")}
cut = {title: [shown(t) for t in words.encode(text)] for title, text in (
    *((languages[language], text) for language, text in caption.items()), *novel.items()
)}  # fmt: skip
plots.show(
    boxes([Pieces(title, pieces) for title, pieces in cut.items()], era="pretrain"),
    alt="; ".join(f"{title}: {' | '.join(pieces)}" for title, pieces in cut.items()),
    caption=say(
        ko="상자 하나가 토큰 하나입니다. 가운뎃점은 빈칸이고, 한 글자가 못 되는 조각은 바이트를 16진수로 적었습니다.",
        en="Each box is a token. A dot is a space; pieces that make no letter are written as bytes, in hexadecimal.",
    ),
)

# %% name="merges" tags=["quiet"]
ranks = {merge: rank for rank, merge in enumerate(words.merges, start=1)}
ids_of = {token: number for number, token in enumerate(words.vocabulary)}
tokens = list("".join(words.vocabulary[i] for i in words.encode(say(ko=" 토끼", en=" rabbit"))))  # its bytes
rows = [Pieces(say(ko="바이트", en="bytes"), [shown(ids_of[token]) for token in tokens])]
while known := [pair for pair in pairwise(tokens) if pair in ranks]:
    first = min(known, key=ranks.__getitem__)  # of all pairs in it the one learned first
    at = list(pairwise(tokens)).index(first)
    tokens[at : at + 2] = ["".join(first)]
    title = say(ko=f"{ranks[first]:,}번째로 배운 병합", en=f"merge number {ranks[first]:,}")
    rows.append(Pieces(title, [shown(ids_of[token]) for token in tokens]))

plots.show(
    boxes(rows, era="pretrain"),
    alt="; ".join(f"{row.label}: {' | '.join(row.pieces)}" for row in rows),
)

# %% name="rate" tags=["quiet"]
long = {language: unread(25, language) for language in languages}
sizes = {
    language: (
        sum(len(text.encode()) for text in texts),
        sum(len(text) for text in texts),
        sum(len(words.encode(text)) for text in texts),
    )
    for language, texts in long.items()
}
names = {language: [getattr(concept, language) for concept in world.concepts] for language in languages}
whole = {language: np.mean([len(words.encode(f" {name}")) == 1 for name in of]) for language, of in names.items()}
plots.values(
    **{f"bytes_{language}": count / tokens for language, (count, _, tokens) in sizes.items()},
    **{f"letters_{language}": letters / tokens for language, (_, letters, tokens) in sizes.items()},
    **{f"whole_{language}": float(part) for language, part in whole.items()},
)


# %% name="attention"
@torch.no_grad()
def attention(tokens):
    """How each token shares out its attention among those before it and itself: (blocks, heads, tokens, tokens)."""
    later = torch.ones(len(tokens), len(tokens), dtype=torch.bool).triu(1)
    x, shares = model.tokens.weight[tokens] + model.positions.weight[: len(tokens)], []
    for block in model.blocks:
        q, k, _ = block.attention.qkv(x).unflatten(1, (3, block.attention.heads, -1)).permute(1, 2, 0, 3)
        scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(later, -torch.inf)
        shares.append(scores.softmax(-1))
        x = block(x[None])[0]
    return torch.stack(shares)


text = say(
    ko="고양이 오른쪽에 사과가 있다. 왼쪽에는 고양이가,",
    en="there is an apple to the right of a cat. on the left is",
)
tokens = [words.id(END), *words.encode(text)]
shares = attention(tokens)
back = torch.arange(len(tokens))[:, None] - torch.arange(len(tokens))
heads = {
    say(ko="바로 앞을 보는 머리", en="a head that looks at the token before"): (shares * (back == 1)).sum((2, 3)),
    # its first token apart, where attention goes that wants nothing
    say(ko="멀리 보는 머리", en="a head that looks far back"): (shares * back)[..., 1:].sum((2, 3)),
}
seen = []
for title, much in heads.items():
    block, head = divmod(int(much.argmax()), shares.shape[1])
    where = say(ko=f"{block + 1}층 {head + 1}번", en=f"layer {block + 1}, head {head + 1}")
    seen.append(Seen(f"{title} ({where})", [shown(t) for t in tokens], shares[block, head].numpy()))

plots.show(
    causal(seen, era="pretrain"),
    alt="; ".join(
        f"{one.title}: " + ", ".join(
            f"{word} → {one.words[int(row.argmax())]} {row.max():.0%}"
            for word, row in zip(one.words, one.shares, strict=True)
        )
        for one in seen
    ),
    caption=say(
        ko="한 줄이 한 토큰입니다. 줄의 칸은 앞선 토큰들과 자기 자신이고, 짙을수록 많이 봅니다. 세로줄의 주인은 "
        "그 줄이 시작하는 계단에 적힌 토큰입니다.",
        en="A row for each token: its cells are the tokens before it and itself, darker where it looks more. A column "
        "belongs to the token that stands on the stair where it begins.",
    ),
    numbers={"heads": model.config.heads, "depth": model.config.depth},
)  # fmt: skip

# %% name="transformations" tags=["quiet"]
plots.show(
    transformations(era="pretrain"),
    alt=say(
        ko="네 과제를 토큰의 줄로 바꾼 모양. 분류는 시작, 글, 추출. 함의는 시작, 전제, 구분, 가설, 추출. 유사도는 "
        "두 글을 두 순서로 읽어 더한다. 선다형은 답마다 맥락, 구분, 답의 한 줄을 읽는다.",
        en="Four tasks as rows of tokens. Classification: start, text, extract. Entailment: start, premise, delimiter, "
        "hypothesis, extract. Similarity reads two texts in both orders and adds. Multiple choice reads a row of "
        "context, delimiter and answer for each answer.",
    ),
    caption=say(
        ko="논문의 그림 1 오른쪽을 다시 그린 것입니다. 트랜스포머는 모두 같은 것이고, 새것은 토큰 셋과 행렬뿐입니다.",
        en="The right half of the paper's figure 1, drawn anew. All transformers are the same one; three tokens and "
        "the matrix are new.",
    ),
)

# %% name="tasks"
for name, task in TASKS.items():
    example = task.examples(3, "train")[2]
    print(name, *(folded(" + ".join(row)) for row in example.rows), f"→ {example.label}", sep="\n  ")

# %% name="write"
told = []
for temperature in (0.0, 0.7, 1.2):
    chance = torch.Generator().manual_seed(2)
    text = model.write(say(ko="옛날에", en="once upon a time"), temperature=temperature, generator=chance)
    told.append(folded(f"{temperature} {text}"))

print(*told, sep="\n")

# %% name="complete"
beginning = say(
    ko="옛날에 고양이 한 마리가 있었습니다. 고양이는 배가 고팠습니다.",
    en="once upon a time there was a cat. the cat was hungry.",
)
chance = torch.Generator().manual_seed(0)
told = [model.write(beginning, temperature=0.7, generator=chance) for _ in range(3)]
print(*map(folded, told), sep="\n")

# %% name="ask"
asked = say(
    ko=("고양이는 어떤 종류인가요?", "고양이는 동물인가요?", "고양이는 영어로",
        "사과 왼쪽에 고양이가 있다. 고양이는 어디에 있나요?"),
    en=("what kind of thing is the cat?", "is a cat an animal?", "the Korean word for cat is",
        "there is a cat to the left of an apple. where is the cat?"),
)  # fmt: skip
told = [model.write(question, new=12) for question in asked]
print(*map(folded, told), sep="\n")

# %% name="next" tags=["quiet"]
beginning = say(
    ko="옛날에 고양이 한 마리가 있었습니다. 고양이는 목이 말랐습니다. 둘러보니",
    en="once upon a time there was a cat. the cat was thirsty. it looked around and found",
)
begun = [words.id(END), *words.encode(beginning)]
tokens, weighed = list(begun), []
while len(tokens) < len(begun) + 12 and (len(tokens) == len(begun) or tokens[-1] != words.id(END)):
    with torch.no_grad():
        probabilities = model(torch.tensor([tokens]))[0, -1].softmax(0)
    best, which = probabilities.topk(3)
    weighed.append((shown(int(which[0])), [(shown(int(i)), float(p)) for i, p in zip(which, best, strict=True)]))
    tokens.append(int(which[0]))

plots.show(
    plots.word_table(weighed, era="pretrain"),
    alt=" / ".join(f"{word} {candidates[0][1]:.0%}" for word, candidates in weighed),
    caption=f"{beginning} …",
)

# %% name="learn"
pupil = FineTuned(vlm.load("gpt-1"), labels=len(CATEGORIES)).train()
lessons = TASKS["kind"].examples(1024, "train")
optimizer, losses = torch.optim.AdamW(pupil.parameters(), lr=5e-4), []
for step in range(80):
    some = [lessons[number % len(lessons)] for number in range(16 * step, 16 * step + 16)]
    tokens, there = pupil.encode([example.rows for example in some])
    loss = pupil.loss(tokens, there, torch.tensor([example.label for example in some])).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

pupil = pupil.eval()
for step in range(0, 80, 20):
    print(f"{step:2}-{step + 19}  {np.mean(losses[step : step + 20]):.2f}")

# %% name="yours"
kinds = [names[reader] for names in CATEGORIES.values()]
for sentence in say(
    ko=("고래가 있다", "바이올린 하나가 보인다", "고래가 바이올린을 켠다"),
    en=("there is a whale", "a picture of a violin", "a whale plays the violin"),
):
    print(sentence, "→", kinds[pupil.predict([classification(sentence)])[0]])

# %% name="learned" tags=["quiet"]
asked = TASKS["kind"].examples(400, "validation")
said = pupil.predict([example.rows for example in asked])
wrong = [
    (example.rows[0][0], kinds[label], kinds[example.label])
    for example, label in zip(asked, said, strict=True)
    if label != example.label and example.rows[0][0].isascii() is (reader == "en")
]
rate, low, high = share([example.label == label for example, label in zip(asked, said, strict=True)])
plots.table(
    [say(ko="글", en="text"), say(ko="답", en="answer"), say(ko="정답", en="truth")],
    [list(row) for row in list(dict.fromkeys(wrong))[:8]],
    caption=say(
        ko=f"정답을 배운 적 없는 물건 {len(asked)}개에서 틀린 것 가운데 몇 개",
        en=f"Some of the wrong answers to {len(asked)} texts about things that were never labelled",
    ),
    numbers={"rate": rate, "low": low, "high": high, "n": len(asked), "labels": len(lessons), "kinds": len(kinds)},
)

# %% name="by-labels"
found = by_labels()  # trains some twenty networks of a few seconds each, once
tasks = {
    "kind": say(ko="종류: 분류", en="kind: classification"),
    "entailment": say(ko="함의", en="entailment"),
    "similarity": say(ko="유사도", en="similarity"),
    "ending": say(ko="결말: 선다형", en="ending: multiple choice"),
}
stage = way("kind").stages[0]
n = stage.looks


def measured(rate, asked):
    """An accuracy and its 95 % interval."""
    return share([True] * round(asked * rate) + [False] * round(asked * (1 - rate)))


def spread(rates):
    """Accuracies with the ends of their 95 % intervals, as a `Line` takes them."""
    told = [measured(rate, n) for rate in rates]
    return {"y": [x for x, _, _ in told], "low": [x for _, x, _ in told], "high": [x for _, _, x in told]}


guess = say(ko="찍기", en="guessing")
panels = {
    title: [
        Line(say(ko="사전 학습 뒤에", en="after pre-training"), LABELLED, **spread(found[name][True]), era="pretrain"),
        Line(say(ko="맨바닥에서", en="from nothing"), LABELLED, **spread(found[name][False])),
        Line(guess, LABELLED, [TASKS[name].chance] * len(LABELLED), dashed=True),
    ]
    for name, title in tasks.items()
}
plots.show(
    plots.lines(
        panels, x=say(ko="정답이 달린 예의 수", en="labelled examples"), ticks=LABELLED, shares=list(panels),
        height=1.35,
    ),
    alt="; ".join(
        f"{title}: " + ", ".join(f"{line.label} " + " ".join(f"{y:.0%}" for y in line.y) for line in panel)
        for title, panel in panels.items()
    ),
    caption=say(
        ko=f"과제마다 처음 보는 예 {n}개를 맞힌 비율. 세로줄은 95 % 구간입니다.",
        en=f"Share right of {n} unseen examples of each task. Upright strokes are 95 % intervals.",
    ),
    numbers={"n": n, "steps": stage.steps, "batch": stage.batch_size} | {
        f"{name}_{'ready' if ready else 'new'}_{labels}": rate
        for name, ways in found.items()
        for ready, rates in ways.items()
        for labels, rate in zip(LABELLED, rates, strict=True)
    },
)  # fmt: skip

# %% name="by-layers"
transferred = by_layers()
panels = {
    tasks[name]: [
        Line(say(ko="옮긴 층", en="layers transferred"), LAYERS, **spread(rates[1:]), era="pretrain"),
        Line(say(ko="맨바닥에서", en="from nothing"), LAYERS, [rates[0]] * len(LAYERS), dashed=True),
    ]
    for name, rates in transferred.items()
}
plots.show(
    plots.lines(
        panels, x=say(ko="아래에서부터 옮긴 층의 수 (0: 임베딩만)", en="blocks transferred (0: embeddings alone)"),
        ticks=LAYERS, shares=list(panels), height=1.5,
    ),
    alt="; ".join(
        f"{title}: " + ", ".join(f"{line.label} " + " ".join(f"{y:.0%}" for y in line.y) for line in panel)
        for title, panel in panels.items()
    ),
    numbers={f"{name}_{layers}": rate for name, rates in transferred.items()
             for layers, rate in zip(("new", *LAYERS), rates, strict=True)},
)  # fmt: skip

# %% name="by-auxiliary"
both = by_auxiliary()
groups = {
    tasks[name]: [
        Bar(title, *measured(rate, n), era=era)
        for title, rate, era in zip(("λ = 0.5", "λ = 0"), rates, ("pretrain", None), strict=True)
    ]
    for name, rates in both.items()
}
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.1%}" for b in bars) for t, bars in groups.items()),
    numbers={f"{name}_on": on for name, (on, _) in both.items()}
    | {f"{name}_off": off for name, (_, off) in both.items()},
)

# %% name="choices"
for name, draw in ZERO_SHOT.items():
    choice = draw(Random(8), reader)
    print(folded(f"{name}: {choice.given} …"), *(f"  … {option.strip()}" for option in choice.options[:3]), sep="\n")

# %% name="by-updates"
during = by_updates()
looks = RECIPE.stages[0].looks
chances = {"kind": 1 / len(CATEGORIES), "ending": 1 / 2, "answer": 1 / 2, "translation": 1 / 2}
titles = {
    "kind": say(ko="종류: 22가지 가운데", en="kind: one of 22"),
    "ending": say(ko="이야기의 결말: 둘 가운데", en="the ending of a story: one of two"),
    "answer": say(ko="예/아니요", en="yes or no"),
    "translation": say(ko="번역: 둘 가운데", en="translation: one of two"),
}
panels = {
    titles[name]: [
        Line("GPT-1", list(rates), list(rates.values()), era="pretrain"),
        Line(guess, [min(rates), max(rates)], [chances[name]] * 2, dashed=True),
    ]
    for name, rates in during.items()
}
last = {name: measured(rates[max(rates)], looks) for name, rates in during.items()}
plots.show(
    plots.lines(
        panels, x=say(ko="사전 학습의 걸음 수", en="updates of pre-training"), shares=list(panels), height=1.25
    ),
    alt="; ".join(
        f"{titles[name]}: " + ", ".join(f"{step} {rate:.0%}" for step, rate in rates.items())
        for name, rates in during.items()
    ),
    caption=say(
        ko=f"정답을 하나도 가르치지 않고 물은 것. 점마다 물음 {looks}개입니다.",
        en=f"Asked without a single label; {looks} questions a point.",
    ),
    numbers={"looks": looks, "steps": max(during["kind"])}
    | {name: rate for name, (rate, _, _) in last.items()}
    | {f"{name}_low": low for name, (_, low, _) in last.items()}
    | {f"{name}_high": high for name, (_, _, high) in last.items()}
    | {f"{name}_first": rates[min(rates)] for name, rates in during.items()},
)

# %% name="ngrams"
mix, lots = RECIPE.stages[0].mix, Random(0)
heard = 20_000
corpus = []
for number in range(heard):
    kind, language = lots.choices(*zip(*mix, strict=True))[0], lots.choice(list(languages))
    corpus.append([words.id(END), *words.encode(write(world, number, language, kind=kind)), words.id(END)])

trigrams = NGram(corpus, len(words))

# %% name="perplexity"
kinds_of_text = {
    "captions": say(ko="캡션", en="captions"),
    "questions": say(ko="물음과 답", en="questions and answers"),
    "facts": say(ko="물건에 대한 사실", en="facts about things"),
    "story": say(ko="이야기", en="stories"),
}
per_kind = 25
found = {}
for language in languages:
    papers = unread(per_kind, language)
    for number, kind in enumerate(kinds_of_text):
        texts = papers[number * per_kind : (number + 1) * per_kind]
        found["gpt", language, kind] = model.perplexity(texts)
        encoded = [[words.id(END), *words.encode(text)] for text in texts]
        found["trigram", language, kind] = trigrams.perplexity(encoded)

counters = {"trigram": say(ko="트라이그램", en="trigrams"), "gpt": "GPT-1"}
plots.table(
    ["", *counters.values()],
    [
        [f"{title}, {spoken}", *(f"{found[name, language, kind]:.1f}" for name in counters)]
        for kind, title in kinds_of_text.items()
        for language, spoken in languages.items()
    ],
    caption=say(
        ko=f"토큰마다의 퍼플렉시티. 읽은 적 없는 글 {per_kind}편씩이며, 낮을수록 좋습니다.",
        en=f"Perplexity a token on {per_kind} unread texts of each kind; lower is better.",
    ),
    numbers={"heard": heard} | {"_".join(key): value for key, value in found.items()},
)


# %% name="captions"
expert = vlm.load("lstm")
asked = world.scenes(200, seed=3, split="test", kind="pair")
things = len(world.concepts)


def grammar(scene, language, pairs):
    """Bits of a caption, to one who knows the grammar: `pairs` is how often what is read is one of two things."""
    wordings = scene.captions(language)
    fact = pairs * 2 / (things * (things - 1)) / 4  # A left of B is also B right of A
    return -np.log2(fact * wordings.count(scene.caption(language)) / len(wordings))


# The LSTM is told the language and reads captions alone. To GPT-1 anything may come: here are its chances that a text
# begins with a caption, of a pair, in this language.
begins = sum(part for kind, part in mix if kind in ("captions", "questions", "both"))
chances_of_a_pair = {"lstm": 0.5, "gpt": begins / 5 / 2}
bits = {}
for language in languages:
    said = [scene.caption(language) for scene in asked]
    bits["lstm", language] = -sum(sum(p) for p in expert.log_probability(said, language=language)) / np.log(2)
    bits["gpt", language] = -sum(sum(p) for p in model.log_probability([f"{one}." for one in said])) / np.log(2)
    for name, pairs in chances_of_a_pair.items():
        bits[f"{name}-grammar", language] = sum(grammar(scene, language, pairs) for scene in asked)

bits = {key: total / len(asked) for key, total in bits.items()}
over = {(row, language): bits[row, language] - bits[f"{row}-grammar", language]
        for row in ("lstm", "gpt") for language in languages}  # fmt: skip
titles = {"lstm": "LSTM", "gpt": "GPT-1"}
plots.table(
    ["", say(ko="놀라움", en="surprise"), say(ko="문법을 다 아는 이", en="who knows the grammar"),
     say(ko="차이", en="difference")],
    [
        [f"{titles[row]}, {languages[language]}",
         *(f"{number:.1f}" for number in (bits[row, language], bits[f"{row}-grammar", language], more))]
        for (row, language), more in over.items()
    ],
    caption=say(
        ko=f"캡션 하나의 놀라움, 비트. 처음 보는 짝의 장면 {len(asked)}개입니다.",
        en=f"Surprise at a caption, in bits, over {len(asked)} scenes of unseen pairs.",
    ),
    numbers={f"{row}_{language}": bits[row, language] for row, language in over}
    | {f"{row}_over_{language}": more for (row, language), more in over.items()}
    | {"anything": float(np.log2(chances_of_a_pair["lstm"] / chances_of_a_pair["gpt"]))},
)  # fmt: skip


# %% name="again"
def in_words(ids, surprises):
    """Surprises at tokens, summed up to those at words: a word begins with a space."""
    told = []
    for token, surprise in zip(ids, surprises, strict=True):
        if not told or words.vocabulary[token].startswith("Ġ"):
            told.append([[], 0.0])
        told[-1][0].append(token)
        told[-1][1] += surprise
    return [words.decode(tokens).strip() for tokens, _ in told], [surprise for _, surprise in told]


def surprises(text):
    """The words of a text, and for each model its surprise at each of them, in bits."""
    ids = [words.id(END), *words.encode(text)]
    log_ps = {"trigram": trigrams.log_probability(ids), "gpt": model.log_probability([text])[0]}
    told = {name: in_words(ids[1:], [-p / np.log(2) for p in log_p]) for name, log_p in log_ps.items()}
    return told["gpt"][0], {name: of for name, (_, of) in told.items()}


at_names = {(name, language, nth): [] for name in counters for language in languages for nth in range(3)}
for seed in range(60):
    for language in languages:
        told = story(seed, language, "validation")
        text = f"{told.text} {told.question} {told.answer}."
        name = told.answer.removeprefix("the ")
        places = [match.span() for match in re.finditer(re.escape(name), text)]
        if len(places) != 3:  # part of another word
            continue
        _, of_models = surprises(text)
        for model_name, of in of_models.items():
            for nth, (start, end) in enumerate(places):
                spanned = slice(text[:start].count(" "), text[:end].count(" ") + 1)
                at_names[model_name, language, nth].append(sum(of[spanned]))

mentions = [
    say(ko="눈에 띌 때", en="when it is seen"),
    say(ko="고를 때", en="when it is taken"),
    say(ko="답할 때", en="in the answer"),
]
means = {key: float(np.mean(values)) for key, values in at_names.items()}
plots.table(
    ["", *counters.values()],
    [
        [f"{title}, {spoken}", *(f"{means[name, language, nth]:.1f}" for name in counters)]
        for nth, title in enumerate(mentions)
        for language, spoken in languages.items()
    ],
    caption=say(
        ko=f"쓸모 있는 물건의 이름에 놀란 정도, 비트. 이름 {things}개 가운데 하나는 {np.log2(things):.1f}비트입니다.",
        en=f"Surprise at the name of the thing that helps, in bits. A name of {things} is worth {np.log2(things):.1f}.",
    ),
    numbers={f"{name}_{language}_{nth}": value for (name, language, nth), value in means.items()}
    | {"name": float(np.log2(things)), "n": len(at_names["gpt", "ko", 0])},
)  # fmt: skip

# %% name="story" tags=["quiet"]
told = story(14, reader, "validation")
text = f"{told.text} {told.question} {told.answer}."
read, of_models = surprises(text)
titles_of = {"trigram": say(ko="트라이그램이 놀란 정도", en="how surprised the trigrams were"),
             "gpt": say(ko="GPT-1이 놀란 정도", en="how surprised GPT-1 was")}  # fmt: skip

asked = f"{told.text} {told.question}" + say(ko="", en=" the")  # up to the name
ids = [words.id(END), *words.encode(asked)]
shares = attention(ids)[:, :, -1]
wanted = words.encode(f" {told.answer}")[-1 if reader == "en" else 0]
places = [at for at, token in enumerate(ids) if token == wanted]
looks_at = shares[..., places].sum(-1)
block, head = divmod(int(looks_at.argmax()), looks_at.shape[1])
where = say(
    ko=f"답하기 직전에 {block + 1}층 {head + 1}번 머리가 본 곳",
    en=f"where head {head + 1} of layer {block + 1} looks just before the answer",
)
blocks = [Pieces(title, read, [value / 12 for value in of_models[name]]) for name, title in titles_of.items()]
looked, weights = in_words(ids[1:], shares[block, head, 1:].tolist())
blocks.append(Pieces(where, looked, weights))
plots.show(
    boxes(blocks, era="pretrain"),
    alt="; ".join(
        f"{one.label}: " + ", ".join(f"{word} {value:.2f}" for word, value in zip(one.pieces, one.values, strict=True))
        for one in blocks
    ),
    caption=say(
        ko="위의 둘은 짙을수록 더 놀란 낱말이고, 12비트에서 가장 짙습니다. 아래는 짙을수록 더 많이 본 낱말입니다.",
        en="Above, the darker a word the greater the surprise, up to 12 bits; below, the more it is looked at.",
    ),
    numbers={"block": block + 1, "head": head + 1, "share": float(looks_at.max())},
)


# %% name="knows"
def go_on(beginnings, new=10):
    """What the model writes after each beginning, up to the end of the text."""
    rows = [torch.tensor([words.id(END), *words.encode(beginning)]) for beginning in beginnings]
    padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1, padding_side="left")
    written = model.generate(padded.clamp_min(0), there=padded >= 0, new=new, end=words.id(END))
    return [words.decode(row[padded.shape[1] :].tolist()).strip() for row in written]


some = Random(1).sample(world.concepts, 200)
questions = {language: [category_question(concept, language) for concept in some] for language in languages}
answers = {language: go_on([question.text for question in of]) for language, of in questions.items()}
right = {
    language: [said.startswith(f"{q.answer}.") for q, said in zip(questions[language], answers[language], strict=True)]
    for language in languages
}
said = {
    "ko": go_on([f"the Korean word for {concept.en} is" for concept in some]),
    "en": go_on([f"{josa(concept.ko, '은/는')} 영어로" for concept in some]),
}
right |= {
    f"to_{language}": [answer.startswith(getattr(c, language)) for c, answer in zip(some, said[language], strict=True)]
    for language in languages
}
titles = {
    "ko": say(ko="종류, 한국어로", en="kind, in Korean"),
    "en": say(ko="종류, 영어로", en="kind, in English"),
    "to_ko": say(ko="영어 이름을 한국어로", en="English name into Korean"),
    "to_en": say(ko="한국어 이름을 영어로", en="Korean name into English"),
}
told = {key: share(of) for key, of in right.items()}
plots.show(
    plots.bars({say(ko="맞게 이어 쓴 비율", en="went on rightly"): [
        Bar(title, *told[key], era="pretrain") for key, title in titles.items()
    ]}),
    alt=", ".join(f"{title} {told[key][0]:.1%}" for key, title in titles.items()),
    caption=say(ko=f"물건 {len(some)}가지", en=f"{len(some)} things"),
    numbers={"n": len(some)} | {key: value for key, (value, _, _) in told.items()},
)  # fmt: skip

# %% name="mistakes"
wrong = [
    f"{question.text} {said.split('.')[0]} ({question.answer})"
    for question, said, ok in zip(questions[reader], answers[reader], right[reader], strict=True)
    if not ok
]
print(*wrong[:8], sep="\n")

# %% name="nonsense"
chance = torch.Generator().manual_seed(5)
told = [model.write(temperature=1.0, generator=chance) for _ in range(5)]
print(*map(folded, told), sep="\n")

# %% name="blind"
scenes = world.scenes(500, seed=5, split="test", kind="pair")
guessed = {}
for language in languages:
    scores = [
        [sum(p) for p in model.log_probability([f"{sentence}." for sentence in said])]
        for said in ([s.captions(language)[0] for s in scenes], [s.negatives(language)[0] for s in scenes])
    ]
    guessed[language] = share([one > other for one, other in zip(*scores, strict=True)])

print(scenes[0].captions(reader)[0], "/", scenes[0].negatives(reader)[0])
plots.values(
    "\n".join(f"{language} {value:.1%} [{low:.1%}, {high:.1%}]" for language, (value, low, high) in guessed.items()),
    n=len(scenes), **{language: value for language, (value, _, _) in guessed.items()},
)  # fmt: skip


# %% name="cache"
@torch.inference_mode()
def from_scratch(tokens, new):
    """Write the likeliest tokens, and read everything again for each."""
    for _ in range(new):
        tokens = torch.cat([tokens, model(tokens)[:, -1].argmax(1)[:, None]], dim=1)
    return tokens


begun = torch.tensor([[words.id(END), *words.encode(say(ko="옛날에", en="once upon a time"))]])
ways = {"cached": lambda new: model.generate(begun, new=new), "again": lambda new: from_scratch(begun, new)}
seconds = {how: {} for how in ways}
equal = True
for new in (8, 16, 32, 64, 112):
    written = {}
    for how, go in ways.items():
        runs = []
        for _ in range(3):
            started = time.thread_time()
            written[how] = go(new)
            runs.append(time.thread_time() - started)
        seconds[how][new] = min(runs)
    equal &= torch.equal(written["cached"], written["again"])

print(equal)
title = say(ko="밀리초", en="milliseconds")
curves = [
    Line(label, list(seconds[how]), [1000 * s for s in seconds[how].values()], era=era)
    for how, label, era in (
        ("cached", say(ko="캐시를 두고", en="with a cache"), "pretrain"),
        ("again", say(ko="처음부터 다시", en="all over again"), None),
    )
]
plots.show(
    plots.lines({title: curves}, x=say(ko="쓴 토큰의 수", en="tokens written"), height=2.4),
    alt="; ".join(f"{c.label}: " + ", ".join(f"{x} {y:.0f}" for x, y in zip(c.x, c.y, strict=True)) for c in curves),
    numbers={"ratio": seconds["again"][112] / seconds["cached"][112], "equal": str(equal)},
)

# %% name="bench"
times = bench.run(["gpt-writing", "gpt-writing-32"], repeats=3)
plots.values(
    bench.table(times),
    ratio=times["gpt-writing"]["ratio"],
    ratio_32=times["gpt-writing-32"]["ratio"],
    gap=max(result["equal"] for result in times.values()),
)

# %% name="published"
with torch.device("meta"):
    published = {
        "GPT-1": GPT1(GPTConfig.gpt1()),
        "GPT-2": GPT2(GPTConfig.gpt2_small()),
        "GPT-2 medium": GPT2(GPTConfig.gpt2_medium()),
        "GPT-2 large": GPT2(GPTConfig.gpt2_large()),
        "GPT-2 XL": GPT2(GPTConfig.gpt2_xl()),
    }

counts = {name: sum(p.numel() for p in part.parameters()) for name, part in published.items()}
for name, count in counts.items():
    print(f"{name:13} {count:>13,}")

# %% name="published-sizes" tags=["quiet"]
parts = {name: sum(p.numel() for p in part.parameters()) for name, part in published["GPT-1"].named_children()}
plots.values(all=counts["GPT-1"], blocks=parts["blocks"], tokens=parts["tokens"], **{
    name.split()[-1].lower(): counts[name] for name in counts if " " in name
}, small=counts["GPT-2"])  # fmt: skip

# %% name="parity"
sizes = {"vocab_size": 500, "n_positions": 32, "n_embd": 48, "n_layer": 3, "n_head": 4}
gaps = {}
for name, theirs in (
    ("gpt-1", OpenAIGPTLMHeadModel(OpenAIGPTConfig(**sizes))),
    ("gpt-2", GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=None, eos_token_id=None))),
):
    for parameter in theirs.parameters():  # gains and biases, too: at rest they would hide a mix-up
        torch.nn.init.normal_(parameter, 0.0, 0.2)
    with TemporaryDirectory() as folder:
        theirs.eval().save_pretrained(folder)
        ours = vlm.published.load(folder)
    tokens = torch.randint(500, (3, 20))
    there = torch.arange(20) < torch.tensor([[20], [13], [7]])  # padded at the right
    with torch.no_grad():
        apart = ours(tokens, there) - theirs(tokens, attention_mask=there.long()).logits
    gaps[name] = float(apart[there].abs().max())

with TemporaryDirectory() as folder:  # and the other way: the model of this book, read by transformers
    vlm.published.export(model, folder, library="transformers")
    theirs = AutoModelForCausalLM.from_pretrained(folder)
with torch.no_grad():
    gaps["world"] = float((model(begun) - theirs(begun).logits).abs().max())

plots.values("\n".join(f"{name:6} {gap:.1e}" for name, gap in gaps.items()), **gaps)
