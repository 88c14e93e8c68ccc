# %% [markdown] lang="ko"
# # RNN과 LSTM
#
# 그림 없이 말만 배운 모델입니다. 무엇을 기억하고 무엇을 잊는지 재고, 문장을 이어 쓰게 해 봅니다.

# %% [markdown] lang="en"
# # RNN and LSTM
#
# A model that learned words without pictures. Measure what it remembers and what it forgets, and let it go on with
# your sentence.

# %% name="setup" tags=["quiet"]
import json
from collections import Counter
from itertools import combinations

import numpy as np
import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import vlm_history as vlm
from vlm_history import plots
from vlm_history.connect.lstm import LSTM, RNN
from vlm_history.exam.metrics import share
from vlm_history.exam.ngram import NGram
from vlm_history.plots import Bar, Line, say
from vlm_history.plots.architecture import trace
from vlm_history.plots.recurrent import Told, by_word, cells, decay, unrolled
from vlm_history.systems import find
from vlm_history.training.experiments.recall import THINGS, draw, recaller
from vlm_history.training.recipes.lstm import RECIPE
from vlm_history.training.scenes import training_scenes
from vlm_history.world.grammar import Mention, captions, pair_fact
from vlm_history.world.splits import pair_split

torch.manual_seed(0)
reader = plots.language()
languages = {"ko": say(ko="한국어", en="Korean"), "en": say(ko="영어", en="English")}


def shown(tokens):
    """Tokens as figures write them: a particle, which is attached to the word before it, begins with a hyphen."""
    return [model.tokenizer.vocabulary[token].replace("##", "-") for token in tokens]


def power(number):
    """A small number as a page writes it: 2×10⁻⁷."""
    digit, exponent = f"{number:.0e}".split("e")
    return f"{digit}×10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def aloud(blocks):
    """What a figure of numbers, word by word, says to those who cannot see it."""
    return "; ".join(
        f"{title}: " + ", ".join(f"{word} {value:.2f}" for word, value in zip(block.words, values, strict=True))
        for block in blocks
        for title, values in block.columns.items()
    )


# %% name="load"
world = vlm.World()
model = vlm.load("lstm")

print(f"{sum(p.numel() for p in model.parameters()):,}")
for language in ("ko", "en"):
    print(f"{language}:", model.sample(language=language)[0])

# %% name="sizes" tags=["quiet"]
card = json.loads((find("lstm").weights / "card.json").read_text(encoding="utf-8"))
plots.values(
    world=sum(p.numel() for p in model.parameters()),
    vocabulary=len(model.tokenizer),
    width=model.config.width,
    sentences=2 * card["images"],
    minutes=round(card["seconds"] / 60),
    hardware=card["hardware"],
)

# %% name="architecture" tags=["quiet"]
scene = world.scene("고양이", "사과", relation="left", seed=0)
tokens = model.tokenizer.encode(scene.caption(reader, style=0), reader)[:4]
shapes = trace(model, torch.tensor([tokens]))
with torch.no_grad():
    likeliest = model(torch.tensor([tokens]))[0].argmax(-1).tolist()
plots.show(
    unrolled(
        shown(tokens), shown(likeliest),
        {"embedding": shapes["embedding"], "state": shapes["lstm"], "logits": shapes["words"]}, era="connect",
    ),
    alt=say(
        ko="낱말마다 같은 LSTM이 임베딩과 앞의 상태를 받아 다음 낱말의 점수를 내고, 상태를 다음 걸음에 넘긴다.",
        en="At each word the same LSTM takes its embedding and the state before, scores the next word, and hands on "
        "its state.",
    ),
    caption=say(
        ko="아래는 읽은 말, 위는 그다음으로 가장 그럴듯하게 여긴 말입니다. 수는 실제로 지나간 모양입니다.",
        en="Below, the words it reads; above, what it takes for the likeliest next. The numbers are shapes of a real "
        "pass.",
    ),
)  # fmt: skip

# %% name="cells" tags=["quiet"]
plots.show(
    cells(model.config.width, era="connect"),
    alt=say(
        ko="RNN은 상태 전체를 tanh 하나로 고쳐 쓴다. LSTM의 기억 c는 망각 문과의 곱과 새 값의 합만 거쳐 곧게 지나간다.",
        en="An RNN rewrites its whole state by one tanh. An LSTM's memory c runs straight through: a product with "
        "the forget gate, and a sum with what is new.",
    ),
    caption=say(
        ko="굵은 선이 기억의 길입니다. σ는 0에서 1까지의 수를 내는 문이고, ×와 +는 자리마다의 곱과 합입니다.",
        en="The thick line is the road of the memory. σ marks the gates, which give numbers from 0 to 1; × and + go "
        "number by number.",
    ),
)

# %% name="gradients"
steps, width = 60, 64


def reach(network):
    """How much the last state depends on the input so many steps before it; the last input counts 1."""
    inputs = torch.randn(32, steps, width, requires_grad=True)
    last = network(inputs)[:, -1]
    (gradient,) = torch.autograd.grad((last * torch.randn_like(last)).sum(), inputs)
    size = gradient.norm(dim=-1).mean(0).flip(0)
    return (size / size[0]).tolist()


half_open = LSTM(width, width)
with torch.no_grad():
    half_open.cell.input_bias[width : 2 * width] -= 1.0  # take back what LSTMCell adds

measured = {
    "rnn": ("RNN", reach(RNN(width, width))),
    "half": (say(ko="LSTM, 망각 문의 편향 0", en="LSTM, forget bias 0"), reach(half_open)),
    "open": (say(ko="LSTM, 망각 문의 편향 1", en="LSTM, forget bias 1"), reach(LSTM(width, width))),
}
plots.show(
    decay(
        [
            Line(title, range(steps), sizes, era=None if key == "rnn" else "connect", dashed=key == "half")
            for key, (title, sizes) in measured.items()
        ],
        x=say(ko="거슬러 간 걸음 수", en="steps back"),
        y=say(ko="기울기의 크기(마지막 입력을 1로)", en="size of the gradient (the last input's is 1)"),
    ),
    alt="; ".join(f"{title}: 20 {power(sizes[20])}, 50 {power(sizes[50])}" for title, sizes in measured.values()),
    numbers={f"{key}_{k}": power(sizes[k]) for key, (_, sizes) in measured.items() for k in (20, 50)},
)

# %% name="recall-task"
words = [*model.tokenizer.vocabulary, "?"]
for example in draw([3, 0], distance=12, split="validation").tolist():
    print(" ".join(words[token] for token in example))

# %% name="recall"
looks = {network: recaller(network)[1] for network in ("rnn", "lstm")}  # trains ten seconds each, once
curves = [
    Line(
        say(ko=f"{network.upper()}, {step:,}걸음", en=f"{network.upper()}, {step:,} steps"),
        list(recall),
        list(recall.values()),
        era="connect" if network == "lstm" else None,
    )
    for network, step, recall in [("lstm", 250, looks["lstm"][250]), *(("rnn", *look) for look in looks["rnn"].items())]
]
title = say(ko="맞힌 비율", en="recalled")
plots.show(
    plots.lines(
        {title: curves}, x=say(ko="이름과 물음 사이의 낱말 수", en="words between the name and the question"),
        ticks=(1, 10, 20, 40, 80), shares=[title], height=2.9,
    ),
    alt="; ".join(f"{c.label}: " + ", ".join(f"{k} {v:.0%}" for k, v in zip(c.x, c.y, strict=True)) for c in curves),
    caption=say(
        ko="그만큼 배운 뒤에 이름을 맞힌 비율. 점마다 문제 400개이고, 학습에서 가장 먼 거리는 40입니다.",
        en="Share of names recalled after so much training; 400 questions a point. The farthest distance in training "
        "is 40.",
    ),
    numbers={"guess": 1 / THINGS} | {
        f"{network}_{step}_{distance}": value
        for network, of_network in looks.items()
        for step, recall in of_network.items()
        for distance, value in recall.items()
    },
)  # fmt: skip

# %% name="temperatures"
for temperature in (0.3, 1.0, 2.0):
    chance = torch.Generator().manual_seed(1)
    for sentence in model.sample(language=reader, n=4, temperature=temperature, generator=chance):
        print(temperature, sentence)

# %% name="complete"
beginning = say(ko="고양이 왼쪽에", en="there is a cat to the")
for sentence in model.sample(beginning, language=reader, n=5):
    print(sentence)

# %% name="ngrams"
n = 20_000
mix = RECIPE.stages[0].mix  # the kinds of scenes that the LSTM read about
heard = training_scenes(1, 0, range(n), n, mix)
counting = {}
for language in languages:
    corpus = [model.tokenizer.encode(scene.caption(language), language) for scene in heard]
    for name, order, known in (("unigram", 1, n), ("few", 3, n // 10), ("trigram", 3, n)):
        counting[name, language] = NGram(corpus[:known], len(model.tokenizer), order)

# %% name="perplexity"
asked = {
    name: world.scenes(300, seed=3, split=split, kind="pair") for name, split in (("seen", "train"), ("unseen", "test"))
}
things = len(world.concepts)


def log_p(scene, language):
    """log p of a caption, to one who knows the grammar: every pair, relation and wording is as likely as another."""
    wordings = scene.captions(language)
    fact = dict(mix)["pair"] * 2 / (things * (things - 1)) / 4  # A left of B is also B right of A
    return np.log(fact * wordings.count(scene.caption(language)) / len(wordings))


found = {}
for language in languages:
    for name, scenes in asked.items():
        said = [scene.caption(language) for scene in scenes]
        encoded = [model.tokenizer.encode(sentence, language) for sentence in said]
        for kind in ("unigram", "few", "trigram"):
            found[kind, language, name] = counting[kind, language].perplexity(encoded)
        found["lstm", language, name] = model.perplexity(said, language=language)
        surprise = -sum(log_p(scene, language) for scene in scenes)
        found["grammar", language, name] = float(np.exp(surprise / sum(len(tokens) - 1 for tokens in encoded)))

rows = {
    "unigram": say(ko="낱말의 빈도", en="word frequencies"),
    "few": say(ko=f"트라이그램, 문장 {n // 10:,}개", en=f"trigrams of {n // 10:,} sentences"),
    "trigram": say(ko=f"트라이그램, 문장 {n:,}개", en=f"trigrams of {n:,} sentences"),
    "lstm": "LSTM",
    "grammar": say(ko="문법을 다 아는 이", en="who knows the grammar"),
}
plots.table(
    ["", *languages.values()],
    [[title, *(f"{found[row, language, 'unseen']:.2f}" for language in languages)] for row, title in rows.items()],
    caption=say(
        ko=f"낱말마다의 퍼플렉시티. 처음 보는 짝의 장면 {len(said)}개이며, 낮을수록 좋습니다.",
        en=f"Perplexity a word on {len(said)} scenes of unseen pairs; lower is better.",
    ),
    best=[(3, 1), (3, 2)],
    numbers={"captions": n} | {"_".join(which): value for which, value in found.items()},
)

# %% name="agreement"
cat, apple = (Mention(world.concept(name).hexcode) for name in ("고양이", "사과"))


def twins(first, second, language):
    """Two sentences that differ in their words of place alone: left and right, above and below."""
    wording = {"ko": -2, "en": -5}[language]
    facts = [pair_fact(first, relation, second) for relation in ("left", "above")]
    said = [captions(fact, world.reader.names, language)[wording] for fact in facts]
    tokens = [model.tokenizer.encode(sentence, language) for sentence in said]
    differ = [i for i, (one, other) in enumerate(zip(*tokens, strict=True)) if one != other]
    half = len(differ) // 2
    return said, tokens, (differ[half - 1], differ[half])  # the last: where the first place ends, the second begins


print(*twins(cat, apple, reader)[0], sep="\n")
agrees = {(kind, language): [] for language in languages for kind in ("trigram", "lstm")}
for scene in asked["unseen"]:
    pair = [thing.mention for thing in scene.things]
    for language in languages:
        _, tokens, (_, at) = twins(*pair, language)
        for right, wrong in (tokens, tokens[::-1]):
            p = counting["trigram", language].next_word(right[:at])
            agrees["trigram", language].append(p[right[at]] > p[wrong[at]])
            with torch.no_grad():
                logits = model(torch.tensor([right[:at]]))[0, -1]
            agrees["lstm", language].append(bool(logits[right[at]] > logits[wrong[at]]))

groups = {
    title: [
        Bar(say(ko="트라이그램", en="trigrams"), *share(agrees["trigram", language])),
        Bar("LSTM", *share(agrees["lstm", language]), era="connect"),
    ]
    for language, title in languages.items()
}
plots.show(
    plots.bars(groups),
    alt="; ".join(
        f"{title}: " + ", ".join(f"{b.label} {b.value:.1%}" for b in group) for title, group in groups.items()
    ),
    caption=say(
        ko="둘째 물건의 자리를 첫째 물건의 자리에 맞게 말한 비율. 처음 보는 짝의 문장입니다.",
        en="How often the place of the second object agrees with that of the first, in sentences of unseen pairs",
    ),
    numbers={"_".join(key): float(np.mean(values)) for key, values in agrees.items()},
)

# %% name="surprise"
blocks = []
for language in languages:
    said, tokens, _ = twins(cat, apple, language)
    (log_ps,) = model.log_probability(said[:1], language=language)
    both = {
        say(ko="트라이그램", en="trigrams"): counting["trigram", language].log_probability(tokens[0]),
        "LSTM": log_ps,
    }
    blocks.append(Told(shown(tokens[0][1:]), {title: (-np.array(p) / np.log(2)).tolist() for title, p in both.items()}))

plots.show(
    by_word(blocks, era="connect", high=12.0),
    alt=aloud(blocks),
    caption=say(
        ko=f"낱말마다 놀란 정도, -log₂ p 비트. 물건의 이름은 {things}개이므로 {np.log2(things):.1f}비트입니다.",
        en=f"Surprise at each word, -log₂ p bits. One name of {things} is worth {np.log2(things):.1f} bits.",
    ),
)

# %% name="parse"
chance, counted = torch.Generator().manual_seed(2), np.random.default_rng(2)
start, end = model.tokenizer.start(reader), model.tokenizer.end
drawn = [counting["trigram", reader].sample(start, end, counted) for _ in range(500)]
written = {say(ko="트라이그램", en="trigrams"): [model.tokenizer.decode(tokens) for tokens in drawn]}
for temperature in (2.0, 1.0, 0.3):
    title = say(ko=f"LSTM, 온도 {temperature}", en=f"LSTM, temperature {temperature}")
    written[title] = model.sample(language=reader, n=500, temperature=temperature, generator=chance)

bars = [
    Bar(
        title,
        *share([world.reader.parse(sentence, reader) is not None for sentence in said]),
        era="connect" if "LSTM" in title else None,
    )
    for title, said in written.items()
]
plots.show(
    plots.bars({say(ko="문법이 읽는 문장", en="sentences that the grammar reads"): bars}),
    alt=", ".join(f"{bar.label} {bar.value:.1%}" for bar in bars),
    numbers={key: bar.value for key, bar in zip(("trigram", "hot", "plain", "cold"), bars, strict=True)},
)  # fmt: skip

# %% name="failures"
plain = written[say(ko="LSTM, 온도 1.0", en="LSTM, temperature 1.0")]
for sentence in [sentence for sentence in plain if world.reader.parse(sentence, reader) is None][:6]:
    print(sentence)

# %% name="new-pairs"
facts = [
    world.reader.parse(sentence, reader)
    for sentence in model.sample(language=reader, n=3000, generator=torch.Generator().manual_seed(3))
]
told = [fact.mentions for fact in facts if fact is not None and fact.kind == "pair"]
of_told = Counter(pair_split(first.hexcode, second.hexcode) for first, second in told)
of_all = Counter(pair_split(first.hexcode, second.hexcode) for first, second in combinations(world.concepts, 2))
kinds = {
    "train": say(ko="학습에 나온 짝", en="seen in training"),
    "validation": say(ko="검증하려고 뺀 짝", en="kept for validation"),
    "test": say(ko="시험하려고 뺀 짝", en="kept for the exam"),
}
portions = {split: (of_all[split] / of_all.total(), of_told[split] / of_told.total()) for split in kinds}
plots.table(
    ["", say(ko="모든 짝 가운데", en="of all pairs"), say(ko="쓴 문장 가운데", en="of those it wrote")],
    [[title, *(f"{portion:.1%}" for portion in portions[split])] for split, title in kinds.items()],
    caption=say(
        ko=f"온도 1로 쓴 문장 가운데 물건 둘을 말한 {len(told):,}개",
        en=f"{len(told):,} sentences about two objects, written at temperature 1",
    ),
    numbers={"all": portions["test"][0], "written": portions["test"][1], "n": len(told)},
)

# %% name="blind"
guessed = {}
scenes = world.scenes(1000, seed=5, split="test", kind="pair")
for language in languages:
    true = [scene.captions(language)[0] for scene in scenes]
    false = [scene.negatives(language)[0] for scene in scenes]
    scores = [[sum(p) for p in model.log_probability(said, language=language)] for said in (true, false)]
    guessed[language] = share([one > other for one, other in zip(*scores, strict=True)])

print(scenes[0].captions(reader)[0], "/", scenes[0].negatives(reader)[0])
plots.values(
    "\n".join(f"{language} {value:.1%} [{low:.1%}, {high:.1%}]" for language, (value, low, high) in guessed.items()),
    **{language: value for language, (value, _, _) in guessed.items()},
)

# %% name="gates"
titles = [say(ko="입력 i", en="input i"), say(ko="망각 f", en="forget f"), say(ko="출력 o", en="output o")]
blocks = []
for language in languages:
    words, gates = model.gates(twins(cat, apple, language)[0][0], language=language)
    means = gates.mean(-1).tolist()
    blocks.append(Told([word.replace("##", "-") for word in words], dict(zip(titles, means, strict=True))))

plots.show(
    by_word(blocks, era="connect"),
    alt=aloud(blocks),
    caption=say(
        ko=f"기억 {model.config.width}칸의 평균. 0이면 닫힘, 1이면 열림",
        en=f"Means over the {model.config.width} cells; 0 is shut, 1 is open",
    ),
)


# %% name="memory"
@torch.no_grad()
def memory(tokens):
    """What the memory would show if all of it were let out, tanh c, and its forget gates, after each token."""
    h, c = model.lstm.cell.start(torch.zeros(1, 1))
    held, kept = [], []
    for x in model.embedding(torch.tensor(tokens))[:, None].unbind(0):
        kept.append(model.lstm.cell.gates(x, h)[1][0])
        h, c = model.lstm.cell(x, (h, c))
        held.append(c[0].tanh())
    return torch.stack(held), torch.stack(kept)


def between(scenes):
    """The memory just before the second place is said, and the forget gates since the first.

    Both are (scenes, left or above, cells).
    """
    found = []
    for scene in scenes:
        _, tokens, (first, second) = twins(*(thing.mention for thing in scene.things), reader)
        for row in tokens:
            held, kept = memory(row[:second])
            found.append(torch.stack([held[-1], kept[first + 1 :].mean(0)]))
    return torch.stack(found).unflatten(0, (-1, 2)).unbind(2)


seen, _ = between(asked["seen"][:60])
left, above = seen.mean(0)
cell = int(((left - above).abs() / (seen.std(0).sum(0) + 0.05)).argmax())  # where the two lie farthest apart
middle, side = (left + above)[cell] / 2, (left - above)[cell].sign()
unseen, open_between = (values[..., cell] for values in between(asked["unseen"][:100]))
told_apart = ((unseen - middle) * side * torch.tensor([1, -1]) > 0).float().mean()

blocks = []
for tokens in twins(cat, apple, reader)[1]:
    held, kept = memory(tokens[:-1])
    columns = {say(ko="기억 tanh c", en="memory tanh c"): held, say(ko="망각 문 f", en="forget gate f"): kept}
    blocks.append(Told(shown(tokens[:-1]), {title: values[:, cell].tolist() for title, values in columns.items()}))

plots.show(
    by_word(blocks, era="connect", low=-1.0),
    alt=aloud(blocks),
    caption=say(
        ko=f"기억 {model.config.width}칸 가운데 {cell}번째 칸",
        en=f"Cell {cell} of the {model.config.width}",
    ),
    numbers={"told_apart": float(told_apart), "n": unseen.numel(), "open": float(open_between.mean())},
)

# %% name="published"
with torch.device("meta"):
    layer = LSTM(512, 512)
    translator = {
        "8 x LSTM(1000, 1000)": torch.nn.ModuleList(LSTM(1000, 1000) for _ in range(8)),
        "160,000 x 1000": torch.nn.Embedding(160_000, 1000),
        "80,000 x 1000": torch.nn.Embedding(80_000, 1000),
        "1000 x 80,000": torch.nn.Linear(1000, 80_000),
    }

counts = {name: sum(p.numel() for p in part.parameters()) for name, part in translator.items()}
one_layer = sum(p.numel() for p in layer.parameters())
lines = [f"{name:22}{count:>13,}" for name, count in {"LSTM(512, 512)": one_layer, **counts}.items()]
plots.values("\n".join([lines[0], "", *lines[1:], f"{'':22}{sum(counts.values()):>13,}"]), layer=one_layer)

# %% name="parity"
torch.manual_seed(0)
sequence = torch.randn(2, 20, 512)
gaps = {}
for name, ours, theirs in (
    ("rnn", RNN(512, 512), torch.nn.RNN(512, 512, batch_first=True)),
    ("lstm", LSTM(512, 512, fused=False), torch.nn.LSTM(512, 512, batch_first=True)),
):
    vector_to_parameters(parameters_to_vector(theirs.parameters()), ours.parameters())
    with torch.no_grad():
        gaps[name] = float((ours(sequence) - theirs(sequence)[0]).abs().max())

plots.values("\n".join(f"{name:5} {gap:.1e}" for name, gap in gaps.items()), **gaps)
