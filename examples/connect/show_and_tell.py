# %% [markdown] lang="ko"
# # Show and Tell
#
# 2014년의 모델을 불러 그림을 설명하게 합니다. 이름과 관계를 바꾸어 보세요.

# %% [markdown] lang="en"
# # Show and Tell
#
# The model of 2014 describes pictures. Change the names and relations in them.

# %% name="setup" tags=["quiet"]
import json
from tempfile import TemporaryDirectory

import torch
from safetensors.torch import save_file
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torchvision.models import googlenet

import vlm_history as vlm
from vlm_history import plots
from vlm_history.connect.lstm import LSTM
from vlm_history.connect.show_and_tell import ShowAndTell, ShowAndTellConfig
from vlm_history.exam import captioning, report
from vlm_history.images import read_images
from vlm_history.plots import Bar, Card, say
from vlm_history.plots.architecture import captioner, trace
from vlm_history.systems import find
from vlm_history.training.memo import kept

torch.manual_seed(0)
reader = plots.language()

# %% name="load"
world = vlm.World()
model = vlm.load("show-and-tell")

print(f"{sum(p.numel() for p in model.parameters()):,}")

# %% name="sizes" tags=["quiet"]
card, cnn_card = (
    json.loads((find(name).weights / "card.json").read_text(encoding="utf-8")) for name in ("show-and-tell", "cnn")
)
plots.values(
    world=sum(p.numel() for p in model.parameters()),
    vocabulary=len(model.tokenizer),
    images=card["images"],
    minutes=round(card["seconds"] / 60),
    cnn_minutes=round(cnn_card["seconds"] / 60),
    hardware=card["hardware"],
)

# %% name="caption-one"
scene = world.sample(seed=0, split="test", kind="pair")
print("ko:", model.caption(scene.image(), language="ko"))
print("en:", model.caption(scene.image(), language="en"))

plots.picture(scene.image(), alt=scene.caption(reader))

# %% name="your-scene"
mine = world.scene("고양이", "사과", relation="left", artist="twemoji", background="plain", seed=1)
said = model.caption(mine.image(), language=reader, beam=5)

plots.picture(mine.image(), alt=mine.caption(reader), caption=said)

# %% name="architecture" tags=["quiet"]
tokens = model.tokenizer.encode(model.caption(scene.image(), language=reader, beam=1), reader)[:4]
config = model.cnn.config
pixels = read_images(scene.image(), size=config.image_size, mean=config.mean, std=config.std)
ids = torch.tensor([tokens])
shapes = trace(model, pixels, ids[:, :-1])
names = [model.tokenizer.vocabulary[token].replace("##", "-") for token in tokens]
shown = {
    "pixels": tuple(pixels.shape),
    "grid": shapes[f"cnn.blocks.{len(model.cnn.blocks) - 1}"],
    "vector": shapes["image"],
    "embedding": shapes["embedding"],
    "state": shapes["lstm"],
    "logits": shapes["words"],
}
plots.show(
    captioner(scene.image(), names[:-1], names[1:], shown, era="connect"),
    alt=say(
        ko="그림이 CNN을 지나 벡터 하나가 되어 LSTM의 첫 입력으로 들어가고, LSTM이 낱말을 하나씩 읽고 쓴다.",
        en="The CNN makes one vector of the picture, the first input of an LSTM, which reads and writes word by word.",
    ),
    caption=say(
        ko="화살표의 수는 실제로 그림 한 장을 넣었을 때 지나간 모양입니다.",
        en="The numbers on the arrows are the shapes that passed when one picture was put in.",
    ),
)

# %% name="steps"
vector = model.encode(pixels)
tokens = [model.tokenizer.start(reader)]
steps = []
while tokens[-1] != model.tokenizer.end and len(tokens) < 25:
    with torch.no_grad():
        probabilities = model.decode(vector, torch.tensor([tokens]))[0, -1].softmax(0)
    best, which = probabilities.topk(3)
    words = [model.tokenizer.vocabulary[i] for i in which]
    steps.append((words[0], list(zip(words, best.tolist(), strict=True))))
    tokens.append(int(which[0]))

plots.show(plots.word_table(steps, era="connect"), alt=" / ".join(f"{word} {c[0][1]:.0%}" for word, c in steps))

# %% name="beams"
for beam in (1, 3, 20):
    print(f"{beam:2}", model.caption(scene.image(), language=reader, beam=beam))

# %% name="exam"
n = 200
result = kept(report.run, ["show-and-tell"], tasks=["captioning"], n=n, seed=0)
marks = {name: tasks["captioning"] for name, tasks in result["systems"].items()}
ranges = result["intervals"]["show-and-tell"]["captioning"]
titles = {
    "chance": say(ko="아무 문장", en="chance"),
    "most-frequent": say(ko="가장 흔한 문장", en="most frequent"),
    "show-and-tell": "Show and Tell",
}
groups = {}
for prefix, where in (
    ("", say(ko="학습에 나온 작가", en="training artists")),
    ("artist_", say(ko="처음 보는 작가", en="unseen artist")),
):
    for metric in ("exact", "object_f1"):
        key = f"{prefix}{metric}_{reader}"
        groups[f"{metric} · {where}"] = [
            Bar(title, marks[name][key], *(ranges[key] if name == "show-and-tell" else (None, None)),
                era="connect" if name == "show-and-tell" else None)
            for name, title in titles.items()
        ]  # fmt: skip
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.1%}" for b in bars) for t, bars in groups.items()),
    caption=say(ko="가는 선은 95 % 구간", en="Thin lines are 95 % intervals"),
    numbers={
        "n": n,
        "baseline_exact": max(marks[name][f"exact_{x}"] for name in ("chance", "most-frequent") for x in ("ko", "en")),
        **{key: value for key, value in marks["show-and-tell"].items()},
    },
)

# %% name="claim"
groups = {}
shares = {}
for name, split, title in (
    ("seen", "train", say(ko="학습에 나온 짝", en="pairs of the training set")),
    ("unseen", "test", say(ko="처음 보는 짝", en="pairs never seen")),
    ("artist", "test-artist", say(ko="처음 보는 짝, 처음 보는 작가", en="unseen pairs, unseen artist")),
):
    scenes = world.scenes(n, seed=7, split=split, kind="pair")
    sheet = captioning.Paper("", reader, scenes, world)
    answers = model.caption(world.render(scenes), language=reader)
    share, low, high = captioning.mark(sheet, answers)[f"exact_{reader}"]
    shares[name] = share
    groups[title] = Bar(title, share, low, high, era="connect")

plots.show(
    plots.bars({"exact": list(groups.values())}),
    alt=", ".join(f"{title} {bar.value:.1%}" for title, bar in groups.items()),
    numbers=shares,
)

# %% name="failures"
scenes = world.scenes(n, seed=11, split="test", kind="pair")
answers = model.caption(world.render(scenes), language=reader)
wrong = [(s, a) for s, a in zip(scenes, answers, strict=True) if world.reader.parse(a, reader) != s.fact]
plots.gallery(
    [
        Card(
            scene.image(),
            alt=say(ko="틀리게 설명한 장면", en="a scene described wrongly"),
            text=answer,
            note=say(ko="정답: ", en="truth: ") + scene.caption(reader, style=0),
            right=False,
        )
        for scene, answer in wrong[:8]
    ]
)

# %% name="reasons" tags=["quiet"]
kinds = {
    "one": say(ko="물건 하나를 잘못 앎", en="one object wrong"),
    "both": say(ko="물건 둘 다 잘못 앎", en="both objects wrong"),
    "relation": say(ko="물건은 맞고 관계가 틀림", en="objects right, relation wrong"),
}
counted = dict.fromkeys(kinds, 0)
for scene, answer in wrong:
    named = {c.hexcode for c in world.reader.mentioned(answer, reader)}
    right = len(named & {thing.concept.hexcode for thing in scene.things})
    counted[("both", "one", "relation")[right]] += 1
plots.table(
    [say(ko="까닭", en="reason"), say(ko="장면", en="scenes")],
    [[title, str(counted[kind])] for kind, title in kinds.items()],
    caption=say(ko=f"장면 {n}개 가운데 틀린 {len(wrong)}개", en=f"{len(wrong)} wrong of {n} scenes"),
    numbers=counted,
)

# %% name="bottleneck"
bars = []
for kind, title in (
    ("one", say(ko="물건 하나", en="one object")),
    ("pair", say(ko="물건 둘", en="two objects")),
    ("many", say(ko="물건 셋 또는 넷", en="three or four objects")),
):
    scenes = world.scenes(n, seed=13, split="test", kind=kind)
    sheet = captioning.Paper("", reader, scenes, world)
    answers = model.caption(world.render(scenes), language=reader)
    bars.append(Bar(title, *captioning.mark(sheet, answers)[f"object_f1_{reader}"], era="connect"))

plots.show(plots.bars({"object_f1": bars}), alt=", ".join(f"{bar.label} {bar.value:.1%}" for bar in bars))

# %% name="published"
with torch.device("meta"):
    published = ShowAndTell(ShowAndTellConfig.published(vocabulary=len(model.tokenizer)), model.tokenizer)

counts = {name: sum(p.numel() for p in part.parameters()) for name, part in published.named_children()}
for name, count in counts.items():
    print(f"{name:10} {count:>12,}")
print(f"{'':10} {sum(counts.values()):>12,}")

# %% name="parity"
with TemporaryDirectory() as folder:
    theirs = googlenet(weights=None, init_weights=False, aux_logits=False).eval()
    save_file(theirs.state_dict(), f"{folder}/googlenet.safetensors")
    ours = vlm.published.load(folder, name="torchvision/googlenet")

written_out, kernel = LSTM(16, 32, fused=False), torch.nn.LSTM(16, 32, batch_first=True)
vector_to_parameters(parameters_to_vector(kernel.parameters()), written_out.parameters())

pictures, sequence = torch.randn(2, 3, 224, 224), torch.randn(2, 9, 16)
with torch.no_grad():
    gaps = {
        "googlenet": float((ours.classify(pictures) - theirs(pictures)).abs().max()),
        "lstm": float((written_out(sequence) - kernel(sequence)[0]).abs().max()),
    }

plots.values("\n".join(f"{name:10} {gap:.1e}" for name, gap in gaps.items()), **gaps)
