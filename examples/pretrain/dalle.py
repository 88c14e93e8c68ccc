# %% [markdown] lang="ko"
# # DALL-E
#
# 글을 읽고 그림을 한 칸씩 이어 쓰는 2021년의 모델입니다. 문장과 씨앗을 바꾸어 가며 그려 보세요.

# %% [markdown] lang="en"
# # DALL-E
#
# The model of 2021 that reads a text and goes on with a picture, piece by piece. Change the sentence and the seed.

# %% name="setup" tags=["quiet"]
import json
from collections import Counter
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch.nn import functional as F
from transformers import FlavaImageCodebook
from transformers.utils import logging

import vlm_history as vlm
from vlm_history import plots
from vlm_history.exam import copying, metrics
from vlm_history.exam import drawing as task
from vlm_history.plots import Bar, Card, Line, say
from vlm_history.plots.architecture import trace
from vlm_history.plots.sheets import Panel, sheet
from vlm_history.plots.stream import one_stream
from vlm_history.pretrain.dalle import DALLEConfig, Transformer, attention_pattern, layer_kind, rerank
from vlm_history.pretrain.dvae import Decoder, DVAEConfig, Encoder, kl_weight, squeeze, temperature
from vlm_history.systems import find
from vlm_history.training.recipes.dall_e import RECIPE
from vlm_history.training.scenes import tidy_looks, tidy_scenes
from vlm_history.world import drawing
from vlm_history.world.splits import TRAIN_ARTISTS

torch.manual_seed(0)
logging.disable_progress_bar()
reader = plots.language()
languages = {"ko": say(ko="한국어", en="Korean"), "en": say(ko="영어", en="English")}


def count(module):
    return sum(p.numel() for p in module.parameters())


def shown(token):
    """A token as figures write it: a space as a dot, bytes that are no letter by themselves as numbers."""
    words = model.tokenizer
    text = words.decode([token])
    whole = text.isprintable() and "\ufffd" not in text
    return text.replace(" ", "·") if whole else words.raw([token]).hex(" ")


# %% name="load"
world = vlm.World()
model = vlm.load("dall-e")

print(f"discrete VAE {count(model.vae):>9,}")
print(f"transformer  {count(model.transformer):>9,}")

# %% name="sizes" tags=["quiet"]
card = json.loads((find("dall-e").weights / "card.json").read_text(encoding="utf-8"))
config = model.config
side, places = config.vae.side, config.vae.side**2
stages = {stage["name"]: stage for stage in card["recipe"]["stages"]}
plots.values(
    world=count(model),
    vae=count(model.vae),
    transformer=count(model.transformer),
    codes=config.vae.codes,
    side=side,
    places=places,
    pixels=config.vae.image_size,
    shrink=3 * config.vae.image_size**2 // places,
    bits=places * int(np.log2(config.vae.codes)),
    raw_bits=8 * 3 * config.vae.image_size**2,
    vocabulary=config.vocabulary,
    length=config.length,
    things=len(drawing.drawable()),
    artists=len(TRAIN_ARTISTS),
    images=card["images"],
    minutes=round(card["seconds"] / 60),
    hardware=card["hardware"],
    numbers=stages["vocabulary"]["numbers"],
    pieces=stages["vocabulary"]["collected"] * places,
    vocabulary_steps=stages["vocabulary"]["steps"],
    vocabulary_batch=stages["vocabulary"]["batch_size"],
    steps=stages["stream"]["steps"],
    batch=stages["stream"]["batch_size"],
    dropped=stages["stream"]["dropped"],
)

# %% name="architecture" tags=["quiet"]
scene = drawing.tidy(world.scene("고양이", "사과", relation="left", artist="noto", seed=2))
codes = model.vae.encode(scene.image())
seen = model.vae.decode(codes)[0]
pixels = squeeze(torch.from_numpy(scene.image()).permute(2, 0, 1)[None].float() / 255)
whole_codes = F.one_hot(codes, config.vae.codes).permute(0, 3, 1, 2).float()
text = model.read([scene.caption(reader, 0)])
with torch.no_grad():
    of_text, of_codes = model.transformer(text, codes.flatten(1))
shapes = {
    "pixels": tuple(pixels.shape),
    "logits": tuple(model.vae.encoder(pixels).shape),
    "decoded": tuple(model.vae.decoder(whole_codes).shape),
    "states": trace(model.transformer, text, codes.flatten(1))["norm"],
    "text": tuple(of_text.shape),
    "codes": tuple(of_codes.shape),
}
words = [shown(token) for token in model.tokenizer.encode(scene.caption(reader, 0))]
plots.show(
    one_stream(scene.image(), seen, codes[0].numpy(), words, shapes, config.vae.codes, config.depth, era="pretrain"),
    alt=say(
        ko=f"위: 그림이 인코더를 지나 {side}×{side}개의 코드가 되고, 디코더를 지나 다시 그림이 된다. 아래: 글의 토큰 "
        "다음에 그림의 시작, 그다음에 코드가 한 줄로 들어가고, 트랜스포머는 자리마다 다음 것을 쓴다.",
        en=f"Above, a picture goes through the encoder and becomes {side}×{side} codes, and through the decoder a "
        "picture again. Below, tokens of text, the start of the picture and the codes go in as one row, and the "
        "transformer writes the next at each place.",
    ),
    caption=say(
        ko="이 책의 모델에 장면 하나를 넣은 결과입니다. 코드의 번호를 짙기로 나타냈습니다. 번호가 가깝다고 모양이 "
        "닮은 것은 아닙니다. 글이 남긴 자리는 채움 토큰이 채웁니다.",
        en="A scene in the model of this book. A code's shade is its number; near numbers need not look alike. "
        "Places that the text leaves are filled with padding.",
    ),
)

# %% name="relaxed"
chances = torch.tensor([0.50, 0.25, 0.15, 0.07, 0.03])  # q of five codes at one place
noise = -(-torch.rand(3, 5, generator=torch.Generator().manual_seed(3)).log()).log()  # three draws of Gumbel noise
for tau in (1.0, 0.25, 1 / 16):
    relaxed = ((chances.log() + noise) / tau).softmax(1)
    print(f"tau {tau:<6}", *(" ".join(f"{share:.2f}" for share in draw) for draw in relaxed.tolist()), sep="   ")

# %% name="schedules" tags=["quiet"]
updates = [*range(0, 5_000, 1_250), 5_000, *range(10_000, 200_001, 10_000)]
panels = {
    say(ko="온도 τ", en="temperature τ"): [Line("τ", updates, [temperature(step) for step in updates], era="pretrain")],
    say(ko="KL의 무게 β", en="weight of the KL, β"): [
        Line("β", updates, [kl_weight(step) for step in updates], era="pretrain", dashed=True)
    ],
}
plots.show(
    plots.lines(panels, x=say(ko="논문에서 가중치를 고친 횟수", en="updates, in the paper"), height=1.3),
    alt=say(
        ko=f"온도는 1에서 시작해 15만 번에 걸쳐 {temperature(150_000)}로 내려가고, KL의 무게는 5천 번에 걸쳐 0에서 "
        f"{kl_weight(5_000):.1f}까지 오른다.",
        en=f"The temperature falls from 1 to {temperature(150_000)} over 150,000 updates; the weight of the KL rises "
        f"from 0 to {kl_weight(5_000):.1f} within 5,000.",
    ),
)

# %% name="patterns"
kinds = {
    "row": say(ko="행", en="row"),
    "column": say(ko="열", en="column"),
    "convolutional": say(ko="합성곱", en="convolutional"),
}
length, reading = config.length, 4 * side + 3  # the code in the fifth row, fourth from the left
masks = {kind: attention_pattern(kind, length + 1, side, config.kernel) for kind in kinds}
whole = [Panel(values=mask.numpy() * 0.55, limit=1.0, title=kinds[kind]) for kind, mask in masks.items()]
ones = []
for mask in masks.values():
    sees = mask[length + 1 + reading, length + 1 :].float() * 0.55
    sees[reading] = 1.0  # itself
    ones.append(Panel(values=sees.reshape(side, side).numpy(), limit=1.0))
numbers = {f"sees_{kind}": int(mask[length + 1 + reading, length + 1 :].sum()) for kind, mask in masks.items()}
order = [layer_kind(layer, config.depth) for layer in range(1, config.depth + 1)]
plots.show(
    sheet(
        [whole, ones],
        labels=[say(ko="모든\n토큰", en="all\ntokens"), say(ko="코드\n하나", en="one\ncode")],
        era="pretrain", label_width=0.62,
    ),
    alt="; ".join(
        say(
            ko=f"{kinds[kind]}: 코드 하나가 앞의 코드 {numbers[f'sees_{kind}']}개를 본다",
            en=f"{kinds[kind]}: a code sees {numbers[f'sees_{kind}']} codes, itself included",
        )
        for kind in kinds
    ),
    caption=say(
        ko="위: 가로줄의 토큰이 보는 세로줄의 토큰. 왼쪽 위의 세모는 글이 글을, 왼쪽 아래의 네모는 그림이 글을 보는 "
        "것입니다. 아래: 다섯째 줄 넷째 코드(가장 짙은 칸)가 보는 코드.",
        en="Above, what each token (row) sees (columns): at the top left text sees text, below it the picture sees all "
        "of the text. Below, what the fourth code of the fifth row (darkest) sees of the picture.",
    ),
    numbers={
        **numbers, "reach": config.kernel,
        "layers": " · ".join(kinds[kind] for kind in order),
        "rows": order.count("row"), "columns": order.count("column"),
    },
)  # fmt: skip

# %% name="draw"
prompts = {"ko": "기타 왼쪽에 토끼가 있다", "en": "a rabbit to the left of a guitar"}
cards = []
for prompt in prompts.values():
    for seed, picture in enumerate(model.draw(prompt, n=4, seed=0)):
        cards.append(Card(picture, alt=prompt, text=prompt, note=f"seed {seed}"))

plots.gallery(cards)

# %% name="mine"
mine = say(ko="펭귄 위에 집이 있다", en="a house above a penguin")
plots.gallery([Card(picture, alt=mine, text=mine) for picture in model.draw(mine, n=4, seed=10)])

# %% name="exchanged"
orders = say(
    ko=("기타 왼쪽에 토끼가 있다", "토끼 왼쪽에 기타가 있다"),
    en=("a rabbit to the left of a guitar", "a guitar to the left of a rabbit"),
)
cards = [
    Card(picture, alt=prompt, text=prompt, note=f"seed {seed}")
    for prompt in orders
    for seed, picture in enumerate(model.draw(prompt, n=4, seed=20), start=20)
]
plots.gallery(cards)

# %% name="cold"
cards = [
    Card(picture, alt=mine, text=f"temperature {heat}")
    for heat in (0.0, 0.5, 1.0, 1.5)
    for picture in model.draw(mine, n=3, seed=30, temperature=heat)
]
plots.gallery(cards, width=112)

# %% name="alike"
one = model.draw(prompts["ko"], seed=5)
same = model.draw([prompts["en"], prompts["ko"]], n=2, seed=4)[1][1]  # the second of two of the second sentence
print(np.array_equal(one, same))

# %% name="read"
for prompt in (*prompts.values(), say(ko="스케이트보드를 타는 공룡", en="a dinosaur on a skateboard")):
    tokens = model.tokenizer.encode(prompt)
    print(len(tokens), " | ".join(map(shown, tokens)))

# %% name="unknown"
strange = say(ko="스케이트보드를 타는 공룡", en="a dinosaur on a skateboard")
cards = [Card(picture, alt=strange, text=strange) for picture in model.draw(strange, n=3, seed=0)]
cards += [
    Card(picture, alt=say(ko="빈 글로 그린 그림", en="drawn of no text"), text=say(ko="(빈 글)", en="(no text)"))
    for picture in model.draw("", n=3, seed=0)
]
plots.gallery(cards)

# %% name="door" tags=["quiet"]
plots.picture(
    model.draw(prompts[reader], candidates=16, judge=vlm.load("clip")),
    alt=prompts[reader],
    caption=say(ko=f"‘{prompts[reader]}’", en=f"“{prompts[reader]}”"),
    width=192,
)

# %% name="reconstruct"
looks = tidy_looks(256, seed=3, split="test")
pictures = world.render(looks)
codes = model.vae.encode(pictures)
again = model.vae.decode(codes)
error = ((again.astype(float) - pictures) ** 2).mean((1, 2, 3))
flat_error = ((pictures - pictures.mean((1, 2), keepdims=True)) ** 2).mean((1, 2, 3))  # one colour a picture
often = Counter(codes.flatten().tolist())
share = np.array(list(often.values())) / codes.numel()
rows = [[Panel(pictures[i]) for i in range(7)], [Panel(again[i]) for i in range(7)]]
plots.show(
    sheet(
        rows, labels=[say(ko="장면", en="scene"), say(ko="코드에서", en="from its\ncodes")], era="pretrain",
        label_width=0.72,
    ),
    alt=say(
        ko="장면 일곱 개와, 저마다의 코드 64개에서 되살린 그림",
        en="Seven scenes, and what comes back from the 64 codes of each",
    ),
    numbers={
        "n": len(looks),
        "psnr": float(10 * np.log10(255**2 / error.mean())),
        "flat_psnr": float(10 * np.log10(255**2 / flat_error.mean())),
        "used": len(often),
        "bits": float(-(share * np.log2(share)).sum()),
        "most_bits": float(np.log2(config.vae.codes)),
    },
)  # fmt: skip

# %% name="codebook"
patch = config.vae.image_size // side
cells = pictures.reshape(len(looks), side, patch, side, patch, 3)
inked = cells.min((2, 4, 5)) < 200  # where there is more than paper
common = [code for code, _ in Counter(codes[torch.from_numpy(inked)].tolist()).most_common(10)]
rows = [[Panel(model.vae.decode(torch.full((1, 3, 3), code))[0]) for code in common]]
padded = np.pad(pictures, ((0, 0), (patch, patch), (patch, patch), (0, 0)), mode="edge")
for turn in range(3):
    row = []
    for code in common:
        where = (codes == code).nonzero().tolist()
        picture, down, across = where[(turn * len(where)) // 3]
        top, left = down * patch, across * patch
        row.append(Panel(padded[picture, top : top + 3 * patch, left : left + 3 * patch]))
    rows.append(row)
plots.show(
    sheet(
        rows,
        labels=[say(ko="코드\n3×3개", en="3×3 of\nthe code"), *[say(ko="장면\n속에서", en="in a\nscene")] * 3],
        era="pretrain", label_width=0.68,
    ),
    alt=say(
        ko="종이만 있지 않은 곳에 가장 자주 나오는 코드 열 개. 위는 그 코드만 아홉 개 늘어놓아 그린 것, 아래는 그 "
        "코드가 나온 장면의 조각",
        en="The ten codes most frequent where there is more than paper: above, nine of the same code drawn; below, "
        "pieces of scenes where it occurs",
    ),
    caption=say(
        ko=f"장면 {len(looks)}개에서 종이만 있지 않은 곳에 가장 자주 나온 코드입니다. 조각은 코드의 자리(가운데 "
        f"{patch}×{patch}화소)와 그 둘레입니다.",
        en=f"The codes most frequent in {len(looks)} scenes where there is more than paper. Pieces show a code's own "
        f"{patch}×{patch} pixels, in the middle, and what is around them.",
    ),
)  # fmt: skip

# %% name="change"
first, second = (drawing.tidy(world.scene(name, artist="noto", seed=seed)) for name, seed in (("사과", 1), ("버스", 2)))
here, there = model.vae.encode([first.image(), second.image()])
changed = here.clone()
changed[side // 2, side // 2] = there[side // 2, side // 2]
halves = torch.cat([here[:, : side // 2], there[:, side // 2 :]], dim=1)
plain, one_off, other, joined = model.vae.decode(torch.stack([here, changed, there, halves]))
moved = np.abs(one_off.astype(int) - plain).max(2)
plots.show(
    sheet(
        [[
            Panel(plain, title="A"), Panel(other, title="B"),
            Panel(one_off, title=say(ko="A, 하나 바꿈", en="A, one off")),
            Panel(values=moved, limit=255.0, title=say(ko="바뀐 화소", en="what moved")),
            Panel(joined, title=say(ko="A와 B 반씩", en="half A, half B")),
        ]],
        era="pretrain",
    ),
    alt=say(
        ko="A의 코드 하나를 B의 것으로 바꾼 그림과 바뀐 화소, A의 왼쪽 절반과 B의 오른쪽 절반을 이은 그림",
        en="A picture in which one code of A was replaced by B's, the pixels that moved, and the left half of A's "
        "codes joined to the right half of B's",
    ),
    numbers={
        "moved": float((moved > 8).mean()),
        "own": 1 / places,
    },
)  # fmt: skip


# %% name="frequencies"
def energy(residues):
    """Mean energy of pictures (N, 64, 64, 3) by how many waves go across: (32,)."""
    spectrum = np.abs(np.fft.fft2(residues, axes=(1, 2))) ** 2
    waves = np.fft.fftfreq(residues.shape[1]) * residues.shape[1]
    radius = np.hypot(waves[:, None], waves[None]).round().astype(int)
    return np.array([spectrum[:, radius == r].mean() for r in range(1, 33)])


centred = pictures - pictures.mean((1, 2), keepdims=True)
lost = energy(again.astype(float) - pictures) / energy(centred.astype(float))
waves = list(range(1, 33))
title = say(ko="그림의 힘에 견준 오차의 힘", en="energy of the error, as a share of the picture's")
plots.show(
    plots.lines(
        {title: [Line(say(ko="되살린 그림", en="from its codes"), waves, lost.tolist(), era="pretrain")]},
        x=say(ko="그림을 가로지르는 물결의 수", en="waves across the picture"), shares=[title],
    ),
    alt="; ".join(f"{r}: {lost[r - 1]:.0%}" for r in (1, 2, 4, 8, 16, 32)),
    caption=say(
        ko="왼쪽은 큰 형태, 오른쪽은 잔무늬입니다. 100 %면 하나도 맞지 않은 것과 같습니다.",
        en="At the left large forms, at the right fine detail. At 100 % one might as well have drawn nothing of it.",
    ),
    numbers={"coarse": float(lost[1]), "middle": float(lost[7]), "fine": float(lost[23])},
)  # fmt: skip

# %% name="surprise"
asked = tidy_looks(128, seed=4, split="test", kind="pair")
with torch.no_grad():
    written = model.vae.encode(world.render(asked)).flatten(1)
    nats = {}
    for name, said in {
        **{language: [scene.caption(language) for scene in asked] for language in languages},
        "untold": [""] * len(asked),
    }.items():
        parts = zip(model.read(said).split(64), written.split(64), strict=True)
        logits = torch.cat([model.transformer(*part)[1] for part in parts])
        nats[name] = F.cross_entropy(logits.mT, written, reduction="none").reshape(-1, side, side).numpy()

bits = {name: each / np.log(2) for name, each in nats.items()}
helped = bits["untold"] - bits[reader]  # what the sentence tells of each code
most = float(max(bits[name].mean(0).max() for name in ("untold", reader)))
mean = [
    Panel(values=bits["untold"].mean(0), limit=most, title=say(ko="글 없이", en="untold"), written=True),
    Panel(values=bits[reader].mean(0), limit=most, title=say(ko="글을 읽고", en="told"), written=True),
]
lit = [Panel(world.render(asked[i : i + 1])[0], np.clip(helped[i], 0, None), limit=4.0) for i in range(4)]
plots.show(
    sheet([mean], era="pretrain", width=4.4),
    alt="; ".join(
        f"{panel.title}: " + " / ".join(" ".join(f"{x:.0f}" for x in row) for row in panel.values) for panel in mean
    ),
    caption=say(
        ko=f"코드마다의 놀라움, 비트. 학습에 없던 짝의 장면 {len(asked)}개의 평균이고, 쓰는 순서는 왼쪽 위부터입니다.",
        en=f"Surprise at each code, in bits: the mean of {len(asked)} scenes of pairs not in training. Writing begins "
        "at the top left.",
    ),
    numbers={
        "n": len(asked),
        **{f"{name}_code": float(each.mean()) for name, each in bits.items()},
        **{f"{name}_picture": float(each.sum((1, 2)).mean()) for name, each in bits.items()},
        **{f"told_{language}": float((bits["untold"] - bits[language]).sum((1, 2)).mean()) for language in languages},
    },
)  # fmt: skip

# %% name="where-told" tags=["quiet"]
plots.show(
    sheet([lit], era="pretrain"),
    alt=say(
        ko="글을 읽어 놀라움이 줄어든 곳이 밝은 장면 넷", en="Four scenes, light where the text took surprise away"
    ),
    caption="; ".join(scene.caption(reader) for scene in asked[:4]),
)

# %% name="learning" tags=["quiet"]
history = [look for look in card["history"] if look["stage"] == "stream"]
curves = {
    "nats_untold": Line(say(ko="글 없이", en="untold"), [], [], dashed=True),
    "nats_ko": Line(say(ko="한국어를 읽고", en="told in Korean"), [], [], era="pretrain"),
    "nats_en": Line(say(ko="영어를 읽고", en="told in English"), [], [], era="pretrain", dashed=True),
}
title = say(ko="코드마다의 놀라움, 비트", en="surprise at a code, in bits")
drawn_curves = [
    Line(line.label, [look["step"] for look in history], [look[key] / np.log(2) for look in history], era=line.era,
         dashed=line.dashed)
    for key, line in curves.items()
]  # fmt: skip
plots.show(
    plots.lines({title: drawn_curves}, x=say(ko="가중치를 고친 횟수", en="updates of the weights")),
    alt="; ".join(f"{line.label}: {line.y[0]:.2f} → {line.y[-1]:.2f}" for line in drawn_curves),
    caption=say(ko="검증용 장면에서", en="On validation scenes"),
    numbers={"updates": history[-1]["step"]},
)

# %% name="candidates"
PROMPTS, MOST = 64, 16
clip, judge = vlm.load("clip"), vlm.load("judge")
sheet_of_pairs = drawing.scenes(world, PROMPTS, seed=0, split="test", kind="pair")
said = [scene.caption(reader) for scene in sheet_of_pairs]


def draw_all(n, guidance=1.0, prompts=said):
    """Drawings of all sentences, n of each; eight sentences at a time, each time with other lots."""
    drawn = []
    for start in range(0, len(prompts), 8):
        drawn += model.draw(prompts[start : start + 8], n=n, seed=1000 * start, guidance=guidance)
    return drawn


def marked(scenes, drawn):
    """`objects` and `relation` of one drawing of each scene."""
    return np.array(
        [task.as_asked(scene, found) for scene, found in zip(scenes, judge.find(drawn), strict=True)], float
    )


candidates = draw_all(MOST)
fits = [
    clip.encode_image(np.stack(some)) @ clip.encode_text(text)[0] for text, some in zip(said, candidates, strict=True)
]
marks_of = np.stack([marked([scene] * MOST, some) for scene, some in zip(sheet_of_pairs, candidates, strict=True)])

# %% name="reranked"
chosen = {k: np.array([int(fit[:k].argmax()) for fit in fits]) for k in (1, 4, 16)}
found = {f"{k}": marks_of[np.arange(PROMPTS), best] for k, best in chosen.items()}
found["judge"] = marks_of[np.arange(PROMPTS), marks_of.sum(2).argmax(1)]  # nobody could choose better
labels = {
    "1": say(ko="하나만 그림", en="one drawing"),
    "4": say(ko="넷에서 CLIP이 고름", en="CLIP's choice of 4"),
    "16": say(ko="열여섯에서 CLIP이 고름", en="CLIP's choice of 16"),
    "judge": say(ko="열여섯에서 심판이 고름", en="the judge's choice of 16"),
}


def spread(points):
    return (float(points.mean()), *metrics.bootstrap(lambda rows: float(points[rows].mean()), len(points)))


bars = {
    name: [
        Bar(labels[key], *spread(points[:, column]), era=None if key == "judge" else "pretrain")
        for key, points in found.items()
    ]
    for column, name in enumerate(("objects", "relation"))
}
gains = found["16"] - found["1"]
plots.show(
    plots.bars(bars),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.1%}" for b in group) for t, group in bars.items()),
    caption=say(
        ko=f"학습에 없던 짝의 문장 {PROMPTS}개. 가는 선은 95 % 구간",
        en=f"{PROMPTS} sentences about pairs not in training. Thin lines are 95 % intervals",
    ),
    numbers={
        "n": PROMPTS, "most": MOST,
        **{f"{name}_{key}": spread(points[:, column])[0]
           for key, points in found.items() for column, name in enumerate(("objects", "relation"))},
        **{f"gain_{name}{end}": value
           for column, name in enumerate(("objects", "relation"))
           for end, value in zip(("", "_low", "_high"), spread(gains[:, column]), strict=True)},
    },
)  # fmt: skip

# %% name="order-of-clip"
row = int(marks_of[:, :, 0].std(1).argmax())  # where the candidates differ most
ranked = rerank(clip, said[row], np.stack(candidates[row]))
cards = [
    Card(candidates[row][k], alt=said[row], note=f"{float(fits[row][k]):.2f}",
         text=f"objects {marks_of[row, k, 0]:.2f}", right=bool(marks_of[row, k, 0] == 1))
    for k in ranked
]  # fmt: skip
plots.gallery(cards, width=96)

# %% name="asked-of-clip" tags=["quiet"]
plots.values(said[row], text=said[row])

# %% name="guidance"
strengths = (1.0, 2.0, 4.0)
few, scenes_few = said[:32], sheet_of_pairs[:32]
guided = {
    strength: [some[:4] for some in candidates[:32]] if strength == 1 else draw_all(4, strength, few)
    for strength in strengths
}
scores, apart = {}, {}
for strength, drawn in guided.items():
    scores[strength] = np.stack(
        [marked([scene] * 4, some) for scene, some in zip(scenes_few, drawn, strict=True)]
    ).mean(1)
    far = np.stack([np.stack(some).astype(float) for some in drawn])  # sentences, 4, 64, 64, 3
    pairs = [((far[:, i] - far[:, j]) ** 2).mean((1, 2, 3)) ** 0.5 for i in range(4) for j in range(i)]
    apart[strength] = float(np.mean(pairs))
bars = {
    name: [
        Bar(say(ko=f"유도 {strength:.0f}", en=f"guidance {strength:.0f}"), *spread(points[:, column]),
            era=None if strength == 1 else "pretrain")
        for strength, points in scores.items()
    ]
    for column, name in enumerate(("objects", "relation"))
}  # fmt: skip
plots.show(
    plots.bars(bars),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.1%}" for b in group) for t, group in bars.items()),
    caption=say(
        ko=f"문장 {len(few)}개를 넷씩 그려 고르지 않은 것. 가는 선은 95 % 구간",
        en=f"Four drawings of each of {len(few)} sentences, none chosen. Thin lines are 95 % intervals",
    ),
    numbers={
        "n": len(few),
        **{f"apart_{strength:.0f}": value for strength, value in apart.items()},
        **{f"{name}_{strength:.0f}": float(points[:, column].mean())
           for strength, points in scores.items() for column, name in enumerate(("objects", "relation"))},
    },
)  # fmt: skip

# %% name="guidance-sheet" tags=["quiet"]
plots.show(
    sheet(
        [[Panel(picture) for at in (0, 1) for picture in drawn[at][:3]] for drawn in guided.values()],
        labels=[say(ko=f"유도 {strength:.0f}", en=f"guidance\n{strength:.0f}") for strength in guided],
        era="pretrain", label_width=0.75,
    ),
    alt=say(
        ko=f"‘{few[0]}’와 ‘{few[1]}’를 유도 1, 2, 4로 세 장씩 그린 것. 같은 세로줄은 같은 씨앗이다.",
        en=f"“{few[0]}” and “{few[1]}”, three drawings each with guidance 1, 2 and 4; a column shares its seed.",
    ),
    caption=f"{few[0]} · {few[1]}",
)  # fmt: skip

# %% name="failures"
cards = []
for prompt, some, marks in zip(said, candidates, marks_of, strict=True):
    if marks[0].min() == 1 or len(cards) == 8:
        continue
    things = judge.find(some[0])[0]
    names = [getattr(world.concept(thing.name), reader) for thing in things]
    note = ", ".join(names) or say(ko="아무것도", en="nothing")
    if marks[0, 0] == 1:
        note = say(ko=f"{note} (자리가 다름)", en=f"{note} (misplaced)")
    cards.append(Card(some[0], alt=f"{prompt}: {note}", text=prompt, note=note, right=False))
plots.gallery(cards or [Card(candidates[0][0], alt=said[0], text=said[0], right=True)])

# %% name="copies"
number, stage = next((i, stage) for i, stage in enumerate(RECIPE.stages) if stage.name == "stream")
seed = int(np.random.SeedSequence((RECIPE.seed, number)).generate_state(1)[0])  # of its batches, as `loop` makes it
KNOWN = 3_000
last = [  # the last scenes that it learned from
    scene
    for index in range(stage.steps - -(-KNOWN // stage.batch_size), stage.steps)
    for scene in tidy_scenes(seed, index, range(stage.batch_size), stage.batch_size, stage.mix)
]
mine_all = [some[0] for some in candidates[:40]]
real = list(world.render(tidy_looks(40, seed=7, split="test", kind="pair")))
near = {name: copying.nearest(some, judge.find(some), last) for name, some in (("drawn", mine_all), ("real", real))}
medians = {
    f"{name}_{part}": float(np.median(apart or [np.nan]))
    for name, of in near.items()
    for part, apart in (
        ("scene", [whole.apart for whole, _ in of]),
        ("thing", [thing.apart for _, things in of for thing in things]),
    )
}
closest = sorted(range(len(mine_all)), key=lambda i: near["drawn"][i][0].apart)[:6]
plots.show(
    sheet(
        [
            [Panel(mine_all[i]) for i in closest],
            [Panel(near["drawn"][i][0].scene.image(), title=f"{near['drawn'][i][0].apart:.0f}") for i in closest],
        ],
        labels=[say(ko="그린 것", en="drawn"), say(ko="가장 닮은\n학습 장면", en="nearest\nin training")],
        era="pretrain", label_width=0.85,
    ),
    alt=say(
        ko="학습 장면과 가장 닮은 그림 여섯과 그 장면. 화소의 차이: ",
        en="The six drawings nearest to scenes of training, and those scenes. Differences of pixels: ",
    )
    + ", ".join(f"{near['drawn'][i][0].apart:.0f}" for i in closest),
    caption=say(
        ko=f"그림 {len(mine_all)}장 가운데 학습 장면 {len(last):,}개와 가장 가까운 여섯. 수는 화소 차이의 "
        "제곱평균제곱근(0이면 베낀 것)",
        en=f"Of {len(mine_all)} drawings the six nearest to any of {len(last):,} scenes of training. Numbers are root "
        "mean square differences of pixels (0 is a copy)",
    ),
    numbers={"known": len(last), "n": len(mine_all), **medians, "least": near["drawn"][closest[0]][0].apart},
)  # fmt: skip

# %% name="exam" tags=["quiet"]
scores = card["scores"]
names = {
    "chance": say(ko="다른 문장의 장면", en="another sentence's scene"),
    "dall-e": "DALL-E",
    "reranked": say(ko="CLIP이 열여섯에서 고름", en="CLIP's choice of 16"),
    "oracle": say(ko="바로 그 장면", en="the scene itself"),
}
titles = {
    "objects": say(ko="objects · 두 물건", en="objects · of two things"),
    "relation": say(ko="relation · 두 물건의 자리", en="relation · who is where"),
    "one": say(ko="one · 물건 하나", en="one · a single thing"),
}
bars, numbers = {title: [] for title in titles.values()}, {"n": scores["n"], "ones": max(1, scores["n"] // 4)}
for name, label in names.items():
    system, prefix = ("dall-e", "reranked_") if name == "reranked" else (name, "")
    values, ranges = (scores[part][system]["drawing"] for part in ("systems", "intervals"))
    for metric, title in titles.items():
        for language in languages:
            numbers[f"{name.replace('-', '_')}_{metric}_{language}"] = values[f"{prefix}{metric}_{language}"]
        key = f"{prefix}{metric}_{reader}"
        bars[title].append(Bar(label, values[key], *ranges[key], era=find(system).era if system == "dall-e" else None))
plots.show(
    plots.bars(bars),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.1%}" for b in group) for t, group in bars.items()),
    caption=say(
        ko=f"두 물건의 문장 {numbers['n']:,}개와 한 물건의 문장 {numbers['ones']}개. 가는 선은 95 % 구간",
        en=f"{numbers['n']:,} sentences of two things and {numbers['ones']} of one. Thin lines are 95 % intervals",
    ),
    numbers=numbers,
)

# %% name="published"
published = DALLEConfig.published()
with torch.device("meta"):
    counts = {
        "encoder": count(Encoder(published.vae)),
        "decoder": count(Decoder(published.vae)),
        "transformer": count(Transformer(published)),
    }

plots.values("\n".join(f"{name:12}{n:>15,}" for name, n in counts.items()), **counts)

# %% name="parity"
tiny = DVAEConfig(codes=40, widths=(8, 16, 32, 64), entry=8, blocks=2, gain=1 / 64, image_size=32)
ours = Encoder(tiny).eval()
with torch.no_grad():
    for tensor in ours.parameters():  # so large that what blocks add, times 1/64, is seen
        tensor.normal_(0, 3 * tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.5)
with TemporaryDirectory() as folder, torch.no_grad():
    vlm.published.export(ours, folder, library="transformers")
    theirs = FlavaImageCodebook.from_pretrained(folder).eval()
    pixels = torch.rand(3, 3, 32, 32)
    gap = float((ours(pixels) - theirs(pixels)).abs().max())
    same = bool((ours(pixels).argmax(1) == theirs.get_codebook_indices(pixels)).all())

print(f"{gap:.1e}", same)
plots.values(gap=gap)
