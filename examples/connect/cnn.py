# %% [markdown] lang="ko"
# # CNN
#
# 창 하나를 그림 위로 미끄러뜨리는 일에서 시작해, 물건의 이름을 대는 신경망까지 갑니다. 이름과 작가를 바꾸어 보세요.

# %% [markdown] lang="en"
# # CNN
#
# From one window that slides over a picture to a network that names things. Change the names and the artists in it.

# %% name="setup" tags=["quiet"]
import json
from dataclasses import replace
from random import Random
from tempfile import TemporaryDirectory

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torchvision.models import googlenet, vgg19

import vlm_history as vlm
from vlm_history import plots
from vlm_history.errors import InputError
from vlm_history.exam import baselines, report
from vlm_history.images import read_images
from vlm_history.plots import Bar, Card, Line, say
from vlm_history.plots.architecture import pyramid, sized
from vlm_history.plots.sheets import Panel, sheet
from vlm_history.systems import find
from vlm_history.training.augment import restyle
from vlm_history.training.memo import kept
from vlm_history.world.splits import HELD_OUT_ARTIST, TRAIN_ARTISTS, VALIDATION_ARTIST

torch.manual_seed(0)
reader = plots.language()


def called(concept):
    return concept.ko if reader == "ko" else concept.en


def on_ground(drawing):
    """A drawing (64, 64, 4) on a light ground: (64, 64, 3) bytes."""
    cover = drawing[..., 3:].astype(np.float32) / 255
    return np.uint8(drawing[..., :3] * cover + 236 * (1 - cover))


# %% name="load"
world = vlm.World()
model = vlm.load("cnn")

print(f"{sum(p.numel() for p in model.parameters()):,}")

# %% name="sizes" tags=["quiet"]
card = json.loads((find("cnn").weights / "card.json").read_text(encoding="utf-8"))
config = model.cnn.config
half = config.image_size // 2
parts = (say(ko="합성곱", en="convolution"), *(f"{say(ko='블록', en='block')} {i}" for i in (1, 2, 3)))


def look(images):
    """Pictures as the CNN wants them: (pictures, 3, 64, 64), normalised."""
    return read_images(images, size=config.image_size, mean=config.mean, std=config.std)


@torch.no_grad()
def grids(view):
    """The grids of the first convolution and of the three blocks."""
    return [F.relu(model.cnn.stem_norm(model.cnn.stem(view))), *model.cnn.levels(view)]


plots.values(
    world=sum(p.numel() for p in model.parameters()),
    names=len(model.config.names),
    images=card["images"],
    minutes=round(card["seconds"] / 60),
    hardware=card["hardware"],
    stem=model.cnn.stem.weight.numel(),
    unshared=model.cnn.stem.weight.numel() * half**2,
    full=(3 * config.image_size**2) * (config.stem * half**2),
)

# %% name="name-it"
mine = world.scene("고양이", artist="noto", background="photo", seed=4)
for language in ("ko", "en"):
    chances = model.classify(mine.image(), language=language)
    likeliest = list(chances.items())[:4]
    print(" · ".join(f"{name} {chance:.1%}" for name, chance in likeliest))

plots.picture(mine.image(), alt=mine.caption(reader))

# %% name="choose"
few = {
    "ko": ["강아지", "호랑이", "검은 고양이"],
    "en": ["dog", "tiger", "black cat"],
}
chances = model.classify(mine.image(), few[reader], language=reader)
for name, chance in chances.items():
    print(f"{chance:6.1%}  {name}")

# %% name="foreign"
few = {"ko": ["고양이", "공중전화"], "en": ["cat", "phone booth"]}
try:
    model.classify(mine.image(), few[reader], language=reader)
except InputError as error:
    print(str(error).replace("; ", ";\n"))

# %% name="empty" tags=["quiet"]
nothing = replace(mine, things=()).image()
name, chance = next(iter(model.classify(nothing, language=reader).items()))
plots.values(f"{name} {chance:.0%}", name=name, chance=chance)


# %% name="slide"
def slide(picture, window, step=1):
    """The sum of the window times what lies below it, at every place."""
    size = window.shape[-1]
    rows, columns = ((n - size) // step + 1 for n in picture.shape[1:])
    seen = np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            top, left = row * step, column * step
            below = picture[:, top : top + size, left : left + size]
            seen[row, column] = (below * window).sum()
    return seen


upright = np.array([[[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]])
level = upright.transpose(0, 2, 1)
house = on_ground(world.sprite(world.concept("집"), "twemoji"))
grey = house.mean(2)[None] / 255

# %% name="edges"
pixels = look(house)
learned = model.cnn.stem.weight.detach()
chosen = int(model.cnn.stem(pixels)[0].std((1, 2)).argmax())
window = learned[chosen].numpy()


def as_colours(weights):
    """Weights (3, rows, columns) around zero as a picture: grey is zero."""
    return np.uint8((weights / np.abs(weights).max() / 2 + 0.5).transpose(1, 2, 0) * 255)


shown = np.repeat(np.uint8(grey[0] * 255)[:, :, None], 3, axis=2)
titles = (say(ko="그림", en="picture"), say(ko="창", en="window"), say(ko="미끄러뜨린 결과", en="after sliding"))
rows = [
    [Panel(shown), Panel(values=upright[0], written=True), Panel(values=slide(grey, upright))],
    [Panel(shown), Panel(values=level[0], written=True), Panel(values=slide(grey, level))],
    [Panel(house), Panel(as_colours(window)), Panel(values=slide(pixels[0].numpy(), window, step=2))],
]
rows[0] = [replace(panel, title=title) for panel, title in zip(rows[0], titles, strict=True)]
plots.show(
    sheet(
        rows,
        labels=[
            say(ko="세로 모서리", en="upright\nedges"),
            say(ko="가로 모서리", en="level\nedges"),
            say(ko="모델이\n배운 창", en="learned by\nthe model"),
        ],
        label_width=0.95,
        width=5.2,
    ),
    alt=say(
        ko="집 그림 위로 창 셋을 미끄러뜨린 결과. 첫 창은 세로 모서리에서, 둘째 창은 가로 모서리에서 크게 나온다.",
        en="A house and what three windows make of it: one is large at upright edges, one at level edges.",
    ),
    caption=say(
        ko="두 색은 서로 반대되는 부호입니다. 배운 창은 색을 함께 보므로 색으로 그렸습니다.",
        en="The two colours are opposite signs. The learned window looks at colours, so it is drawn in them.",
    ),
)

# %% name="same-as-conv2d"
by_hand = slide(pixels[0].numpy(), window, step=2)
by_torch = F.conv2d(pixels, learned[chosen][None], stride=2)[0, 0]

print(f"{np.abs(by_hand - by_torch.numpy()).max():.1e}")

# %% name="architecture" tags=["quiet"]
view = look(mine.image())
levels = grids(view)
with torch.no_grad():
    places, whole = model.places(view), model(view)
best, which = whole[0].softmax(0).topk(3)
lively = [grid[0][grid[0].std((1, 2)).argsort(descending=True)].numpy() for grid in levels]
guesses = [world.concepts[i] for i in which]
plots.show(
    pyramid(
        mine.image(),
        list(zip(parts, lively, strict=True)),
        places[0].softmax(-1)[..., which[0]].numpy(),
        list(zip(map(called, guesses), best.tolist(), strict=True)),
        [tuple(x.shape) for x in (view, *levels, places, whole)],
        era="connect",
    ),
    alt=say(
        ko="그림이 합성곱과 블록 셋을 지나며 격자는 작아지고 채널은 는다. "
        "마지막 격자의 자리마다 점수를 매기고, 부드러운 최댓값으로 이름을 고른다.",
        en="A picture passes a convolution and three blocks; the grid shrinks and channels multiply. "
        "Each place of the last grid is scored, and a soft maximum chooses the name.",
    ),
    caption=say(
        ko="수는 실제로 그림 한 장을 넣었을 때 지나간 모양입니다. 위는 채널×세로×가로, 아래는 세로×가로×이름입니다.",
        en="The shapes that passed when one picture was put in: above channels × height × width, "
        "below height × width × names.",
    ),
)

# %% name="filters"
order = np.argsort(-np.abs(learned.numpy()).sum((1, 2, 3)))
windows = [Panel(as_colours(learned[i].numpy())) for i in order]
plots.show(
    sheet([windows[start : start + 8] for start in (0, 8, 16)], width=5.2),
    alt=say(
        ko="첫 층이 배운 창 스물네 개. 기울어진 밝고 어두운 띠와, 서로 반대되는 두 색의 짝이 보인다.",
        en="The twenty-four windows of the first layer: slanted bands of light and dark, pairs of opposite colours.",
    ),
)

# %% name="maps"
two = world.scene("고양이", "사과", relation="left", artist="noto", background="plain", seed=2)
view = look(two.image())
rows, labels = [], []
for part, grid in zip(parts, grids(view), strict=True):
    channels = grid[0].std((1, 2)).argsort(descending=True)[:5]
    rows.append([Panel(two.image()), *(Panel(values=grid[0, channel].numpy()) for channel in channels)])
    labels.append(f"{part}\n{sized(grid.shape)}")

plots.show(
    sheet(rows, labels=labels, label_width=0.95),
    alt=say(
        ko="고양이와 사과를 본 특징 맵. 앞의 층에서는 두 물건의 윤곽이 보이고, 마지막 층에서는 몇 칸만 켜진다.",
        en="Feature maps of a cat and an apple: outlines in the early layers, a few lit cells in the last.",
    ),
    caption=say(ko="층마다 가장 크게 움직인 채널 다섯 개", en="The five channels of each layer that vary most"),
)

# %% name="excite"
album = world.scenes(600, seed=5, split="train", kind="one")
pictures = world.render(album)
view = look(pictures)
levels = [torch.cat(some) for some in zip(*(grids(part)[1:] for part in view.split(100)), strict=True)]

rows, labels = [], []
for part, grid, side in zip(parts[1:], levels, (16, 40, 64), strict=True):
    stride = config.image_size // grid.shape[2]
    peaks = grid.flatten(2).amax(2)
    # a channel that few pictures wake, and these strongly, is easy to read
    for channel in (peaks.topk(7, dim=0).values.mean(0) / peaks.mean(0)).topk(2).indices:
        row = []
        for picture in peaks[:, channel].topk(7).indices:
            y, x = divmod(int(grid[picture, channel].argmax()), grid.shape[3])
            top, left = (min(max(stride * at - side // 2, 0), config.image_size - side) for at in (y, x))
            row.append(Panel(pictures[picture, top : top + side, left : left + side]))
        rows.append(row)
        labels.append(f"{part}\n{side}×{side}")

plots.show(
    sheet(rows, labels=labels, label_width=0.75),
    alt=say(
        ko="채널마다 가장 크게 반응한 그림 조각 일곱. 블록 1은 색의 경계를, 블록 2와 3은 여러 물건의 부분을 고른다.",
        en="For each channel the seven patches that it answers most: borders of colours in block 1, "
        "parts of various things in blocks 2 and 3.",
    ),
    caption=say(
        ko="한 줄이 한 채널입니다. 조각의 크기는 그 자리가 보는 넓이이고, 블록 3은 그림을 통째로 봅니다.",
        en="Each row is a channel. A patch is as large as what its place can see; block 3 sees the whole picture.",
    ),
)

# %% name="where"
things = [world.concept(name) for name in ("고양이", "우산", "기타", "사과")]
rows = []
for artist in ("twemoji", VALIDATION_ARTIST):
    four = world.scene(*(concept.ko for concept in things), artist=artist, background="plain", seed=2)
    view = look(four.image())
    with torch.no_grad():
        chances = model.places(view)[0].softmax(-1)
    row = [Panel(four.image(), title=artist)]
    for concept in things:
        likely = chances[..., concept.index].numpy()
        row.append(Panel(four.image(), likely, f"{called(concept)} {likely.max():.0%}", limit=1.0))
    rows.append(row)

plots.show(
    sheet(rows, width=5.2),
    alt=say(
        ko="물건 넷이 있는 장면에서, 이름마다 그 이름의 확률이 높은 칸을 밝게 보인 그림.",
        en="A scene of four things; for each name the places of the grid that it is likely at are lit.",
    ),
    caption=say(
        ko="칸이 밝을수록 그 이름의 확률이 높습니다. 테두리를 두른 칸이 가장 높고, 위의 수가 그 확률입니다.",
        en="The brighter a cell, the likelier the name at that place. The likeliest is framed, its probability above.",
    ),
)

# %% name="restyled"
torch.manual_seed(3)
rows = []
for original in (mine, world.scene("자전거", artist="fluent-flat", background="striped", seed=2)):
    view = look(original.image())
    others = restyle(view.repeat(6, 1, 1, 1), share=1.0)
    bytes_ = ((others * config.std[0] + config.mean[0]).clamp(0, 1) * 255).permute(0, 2, 3, 1).numpy().astype(np.uint8)
    rows.append([Panel(original.image()), *(Panel(picture) for picture in bytes_)])

plots.show(
    sheet(rows),
    alt=say(
        ko="고양이와 자전거의 장면과, 색과 결을 제멋대로 바꾼 여섯 장. 모양은 그대로다.",
        en="A cat and a bicycle, each with six versions in other colours and textures; the shapes stay.",
    ),
    caption=say(ko="맨 왼쪽이 원래 그림입니다.", en="The leftmost is the original."),
)

# %% name="restyled-score" tags=["quiet"]
scenes = world.scenes(300, seed=3, split="validation", kind="one")
truth = torch.tensor([scene.things[0].concept.index for scene in scenes])
view = look(world.render(scenes))
with torch.no_grad():
    right = {
        name: float((torch.cat([model(part) for part in given.split(100)]).argmax(1) == truth).float().mean())
        for name, given in (("as_drawn", view), ("restyled", restyle(view, share=1.0)))
    }
plots.values(**right)

# %% name="curve"
history = card["history"]
steps = [entry["step"] for entry in history]
title = say(ko="물건 하나의 이름", en="names of single things")
curves = [
    Line(label, steps, [entry[key] for entry in history], era="connect", dashed=key == "artist")
    for key, label in (
        ("one", say(ko="학습 작가", en="training artists")),
        ("artist", say(ko="검증 작가", en="the validation artist")),
    )
]
plots.show(
    plots.lines({title: curves}, x=say(ko="가중치를 고친 횟수", en="updates of the weights"), shares=[title]),
    alt="; ".join(f"{line.label}: {line.y[0]:.0%} → {line.y[-1]:.0%}" for line in curves),
    numbers={"one": history[-1]["one"], "artist": history[-1]["artist"], "grid": history[-1]["pairs_grid"]},
)

# %% name="exam"
n = 400
result = kept(report.run, ["cnn"], tasks=["naming"], n=n, seed=0)
marks = {name: tasks["naming"] for name, tasks in result["systems"].items()}
ranges = {name: tasks["naming"] for name, tasks in result["intervals"].items()}
assert all(marks["cnn"][f"{p}top1_ko"] == marks["cnn"][f"{p}top1_en"] for p in ("", "seen_"))  # one class, two names
titles = {
    "chance": say(ko="아무 이름", en="chance"),
    "hog": say(ko="HOG와 색", en="HOG and colour"),
    "cnn": "CNN",
}
groups = {}
for prefix, where in (
    ("", say(ko="처음 보는 작가", en="unseen artist")),
    ("seen_", say(ko="학습 작가", en="training artists")),
):
    key = f"{prefix}top1_{reader}"
    groups[f"top1 · {where}"] = [
        Bar(title, marks[name][key], *ranges[name][key], era="connect" if name == "cnn" else None)
        for name, title in titles.items()
    ]
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.1%}" for b in bars) for t, bars in groups.items()),
    caption=say(ko="가는 선은 95 % 구간", en="Thin lines are 95 % intervals"),
    numbers={
        "n": n,
        **{f"{name}_{key}": value for name in ("hog", "cnn") for key, value in marks[name].items()},
    },
)

# %% name="clean" tags=["quiet"]
drawn = world.drawn_by(HELD_OUT_ARTIST)
plain = [world.scene(concept.ko, artist=HELD_OUT_ARTIST, background="plain", seed=1) for concept in drawn]
said = [next(iter(told)) for told in model.classify(world.render(plain), language="en")]
plots.values(
    drawings=len(drawn),
    hog=baselines.on_clean_drawings(),
    cnn=float(np.mean([name == concept.en for name, concept in zip(said, drawn, strict=True)])),
)


# %% name="doubts" tags=["quiet"]
@torch.no_grad()
def doubts(scenes):
    """Mean probabilities of all names (columns) for each concept (rows), and ranks of the true names."""
    given = torch.zeros(len(world.concepts), len(world.concepts))
    seen = torch.zeros(len(world.concepts), 1)
    ranks = []
    for start in range(0, len(scenes), 128):
        some = scenes[start : start + 128]
        view = look(world.render(some))
        chances = model(view).softmax(1)
        rows = torch.tensor([scene.things[0].concept.index for scene in some])
        given.index_add_(0, rows, chances)
        seen.index_add_(0, rows, torch.ones(len(some), 1))
        ranks.append((chances > chances.gather(1, rows[:, None])).sum(1))
    return given / seen.clamp(min=1), torch.cat(ranks)


def everything_by(artists, seeds):
    return [
        world.scene(concept.ko, artist=artist, seed=seed)
        for artist in artists
        for concept in world.drawn_by(artist)
        for seed in seeds
    ]


def nearest(drawing, concept):
    """What a training artist drew of a concept: of the four drawings that most like another one."""
    others = [world.sprite(concept, artist) for artist in TRAIN_ARTISTS]
    return min(others, key=lambda other: np.abs(other.astype(int) - drawing.astype(int)).mean())


# %% name="confused"
chances, ranks = doubts(everything_by(TRAIN_ARTISTS, (1, 2)))
doubted = chances + chances.T
doubted.fill_diagonal_(0)
pairs = [divmod(int(i), len(chances)) for i in doubted.triu().flatten().topk(6).indices]
cards = []
for a, b in pairs:
    one, other = world.concepts[a], world.concepts[b]
    cards.append(
        Card(
            on_ground(np.concatenate([world.sprite(one, "noto"), world.sprite(other, "noto")], axis=1)),
            alt=f"{called(one)}, {called(other)}",
            text=f"{called(one)} · {called(other)}",
            note=f"{float(doubted[a, b]) / 2:.0%}",
        )
    )
top1, top5 = (float((ranks < k).float().mean()) for k in (1, 5))
plots.gallery(cards)

# %% name="confused-artist"
chances, artist_ranks = doubts(everything_by((VALIDATION_ARTIST,), (1, 2)))
wrong = chances.clone()
wrong.fill_diagonal_(0)
cards = []
for i in wrong.flatten().topk(8).indices:
    true, told = (world.concepts[k] for k in divmod(int(i), len(chances)))
    drawing = world.sprite(true, VALIDATION_ARTIST)
    cards.append(
        Card(
            on_ground(np.concatenate([drawing, nearest(drawing, told)], axis=1)),
            alt=f"{called(true)}, {called(told)}",
            text=f"{called(true)} → {called(told)}",
            note=f"{float(chances[true.index, told.index]):.0%}",
            right=False,
        )
    )
plots.gallery(cards)

# %% name="top5" tags=["quiet"]
artist1, artist5 = (float((artist_ranks < k).float().mean()) for k in (1, 5))
plots.values(top1=top1, top5=top5, artist1=artist1, artist5=artist5)


# %% name="lessons"
ten = ["cat", "apple", "bicycle", "guitar", "umbrella", "octopus", "butterfly", "pizza", "car", "banana"]


def lessons(count, side, seed):
    """Things that all stand in one half of the picture, as 32 x 32 pixels, and which of the ten they are."""
    lots, scenes = Random(seed), []
    for i in range(count):
        scene = world.scene(ten[i % 10], artist=lots.choice(TRAIN_ARTISTS), background="plain", seed=seed * 1000 + i)
        x, y = lots.randint(13, 19) + (32 if side == "right" else 0), lots.randint(13, 51)
        scenes.append(replace(scene, things=(replace(scene.things[0], size=24, x=x, y=y),)))
    pixels = torch.from_numpy(world.render(scenes)).permute(0, 3, 1, 2) / 255 - 0.5
    return F.avg_pool2d(pixels, 2) * 4, torch.arange(count) % 10


class Unshared(nn.Module):
    """A convolution of 4 x 4 windows, two apart, in which each place has weights of its own."""

    def __init__(self, inputs, outputs, side):
        super().__init__()
        self.side = side
        self.weight = nn.Parameter(torch.randn(side**2, inputs * 16, outputs) * (2 / (inputs * 16)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs, side**2))

    def forward(self, x):
        below = F.unfold(x, 4, padding=1, stride=2)  # (batch, inputs x 16, places)
        return (torch.einsum("bip,pio->bop", below, self.weight) + self.bias).unflatten(2, (self.side, self.side))


class Strongest(nn.Module):
    def forward(self, x):
        return x.amax((2, 3))


def student_of(kind):
    torch.manual_seed(0)
    if kind == "full":
        return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 64), nn.ReLU(), nn.Linear(64, 10))
    layers = []
    for inputs, outputs, side in ((3, 8, 16), (8, 16, 8), (16, 32, 4)):
        rim = "circular" if kind == "ring" else "zeros"
        shared = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, padding_mode=rim)
        layers += [Unshared(inputs, outputs, side) if kind == "unshared" else shared, nn.ReLU()]
    return nn.Sequential(*layers, Strongest(), nn.Linear(32, 10))


# %% name="sharing"
pictures, labels = lessons(1000, "left", seed=1)
papers = {side: lessons(300, side, seed=2) for side in ("left", "right")}
kinds = {
    "full": say(ko="모두 연결", en="all connected"),
    "unshared": say(ko="창, 자리마다 따로", en="windows, unshared"),
    "shared": say(ko="창, 함께(합성곱)", en="windows, shared"),
    "ring": say(ko="합성곱, 테두리 없음", en="shared, no border"),
}
scores, counts = {}, {}
for kind in kinds:
    student = student_of(kind)
    counts[kind] = sum(p.numel() for p in student.parameters())
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3, weight_decay=0.01)
    lots = torch.Generator().manual_seed(0)
    for _ in range(400):
        batch = torch.randint(len(pictures), (32,), generator=lots)
        optimizer.zero_grad()
        F.cross_entropy(student(pictures[batch]), labels[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        for side, (unseen, truth) in papers.items():
            scores[kind, side] = float((student(unseen).argmax(1) == truth).float().mean())

groups = {
    title: [
        Bar(label, scores[kind, side], era="connect" if kind in ("shared", "ring") else None)
        for kind, label in kinds.items()
    ]
    for side, title in (
        ("left", say(ko="배운 쪽(왼쪽)에 놓인 물건", en="things in the half it learned (left)")),
        ("right", say(ko="배우지 않은 쪽(오른쪽)에 놓인 물건", en="things in the half it never learned (right)")),
    )
}
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.0%}" for b in bars) for t, bars in groups.items()),
    caption=say(ko="이름 열 가지. 아무렇게나 대면 10%입니다.", en="Ten names; guessing gives 10%."),
    numbers={
        **{f"{kind}_{side}": score for (kind, side), score in scores.items()},
        **{f"{kind}_weights": count for kind, count in counts.items()},
    },
)

# %% name="published"
sizes = {}
for name in ("googlenet", "vgg19"):
    with torch.device("meta"):
        network = vlm.published.build(f"torchvision/{name}")
    sizes[name] = sum(p.numel() for p in network.parameters())

plots.values("\n".join(f"{k:10}{n:>12,}" for k, n in sizes.items()), **sizes)

# %% name="parity"
torch.manual_seed(0)
pictures = torch.randn(2, 3, 64, 64)
theirs = {
    "googlenet": googlenet(weights=None, init_weights=False, aux_logits=False),
    "vgg19": vgg19(weights=None),
}
gaps = {}
for name, network in theirs.items():
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # norm by what the next line sees
    with torch.no_grad(), TemporaryDirectory() as folder:
        network(pictures)
        network.eval()
        save_file(network.state_dict(), f"{folder}/{name}.safetensors")
        ours = vlm.published.load(folder, name=f"torchvision/{name}")
        gap = ours.classify(pictures) - network(pictures)
        gaps[name] = float(gap.abs().max())

plots.values("\n".join(f"{k:10} {gap:.1e}" for k, gap in gaps.items()), **gaps)
