# %% [markdown] lang="ko"
# # Stable Diffusion
#
# 잡음을 조금씩 걷어 내며 글대로 그리는 2022년의 모델입니다. 글과 씨앗을 바꾸어 가며 그려 보세요.

# %% [markdown] lang="en"
# # Stable Diffusion
#
# The model of 2022 that takes noise away, a little at a time, until there is a picture of what a text says. Change
# texts and seeds, and see what it draws.

# %% name="setup" tags=["quiet"]
import json
import math
import time
import warnings
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.utils import logging
from torch.utils.flop_counter import FlopCounterMode
from transformers.utils import logging as transformers_logging

import vlm_history as vlm
from vlm_history import bench, plots
from vlm_history.exam import binding, copying, drawing, metrics
from vlm_history.plots import Bar, Card, Line, say
from vlm_history.plots.architecture import trace
from vlm_history.plots.attention import looks
from vlm_history.plots.diffusion import as_colours, latent_diffusion
from vlm_history.plots.sheets import Panel, sheet
from vlm_history.pretrain.autoencoder import AutoencoderConfig
from vlm_history.pretrain.clip_towers import TextConfig
from vlm_history.pretrain.linear_probe import linear_probe
from vlm_history.pretrain.samplers import NoiseConfig
from vlm_history.pretrain.stable_diffusion import StableDiffusion, StableDiffusionConfig
from vlm_history.pretrain.unet import UNet, UNetConfig
from vlm_history.systems import find
from vlm_history.text import BytePairTokenizer
from vlm_history.training.recipes.stable_diffusion import RECIPE, SIDES, named, sides
from vlm_history.training.scenes import tidy_looks
from vlm_history.world import drawing as everyday
from vlm_history.world.splits import SPLITS

torch.manual_seed(0)
torch.set_grad_enabled(False)  # nothing is learned here
warnings.simplefilter("ignore", FutureWarning)  # diffusers, of its own settings
logging.set_verbosity_error()
logging.disable_progress_bar()
transformers_logging.disable_progress_bar()
reader = plots.language()
languages = {"ko": say(ko="한국어", en="Korean"), "en": say(ko="영어", en="English")}


def count(module):
    return sum(p.numel() for p in module.parameters())


def called(concept, language=reader):
    return concept.ko if language == "ko" else concept.en


# %% name="load"
world = vlm.World()
model = vlm.load("stable-diffusion")

print(f"autoencoder  {count(model.autoencoder):>10,}")
print(f"U-Net        {count(model.unet):>10,}")
print(f"text encoder {count(model.text):>10,}")
print(f"reads on     {count(model.reader):>10,}")

# %% name="sizes" tags=["quiet"]
card = json.loads((find("stable-diffusion").weights / "card.json").read_text(encoding="utf-8"))
coder, channels = model.config.autoencoder, model.config.autoencoder.channels
pixels, side = coder.image_size, coder.image_size // coder.factor
*coders, things_stage, second = RECIPE.stages


def neat(scene):
    """A scene as the U-Net learned it."""
    return everyday.tidy(scene, second.step)


plots.values(
    total=count(model),
    autoencoder=count(model.autoencoder),
    unet=count(model.unet),
    text=count(model.text),
    reader=count(model.reader),
    layers=model.config.reader,
    pixels=pixels,
    side=side,
    channels=channels,
    tokens=model.config.tokens,
    values=3 * pixels**2,
    latents=channels * side**2,
    smaller=3 * pixels**2 / (channels * side**2),
    steps=model.config.noise.steps,
    guidance=model.config.guidance,
    things=len(everyday.drawable()),
    artists=len(SPLITS["train"][1]),
    looked=sum(stage.steps * stage.batch_size for stage in coders),
    single=things_stage.steps * things_stage.batch_size,
    pictures=second.pictures,
    seen=second.steps * second.batch_size,
    dropped=second.dropped,
    minutes=round(card["seconds"] / 60),
    hardware=card["hardware"],
)

# %% name="learning" tags=["quiet"]
looked_back = [look for look in card["history"] if look["stage"] == second.name]
learned_from = [look["step"] * second.batch_size / 1000 for look in looked_back]
kept = {
    say(ko="손실", en="loss"): {
        "loss_untold": say(ko="글 없이", en="no text"),
        "loss_ko": languages["ko"],
        "loss_en": languages["en"],
    },
    **{
        title: {f"{metric}_{language}": spoken for language, spoken in languages.items()}
        for metric, title in (
            ("objects", say(ko="물건 둘(objects)", en="two things (objects)")),
            ("relation", say(ko="물건 둘과 자리(relation)", en="two things and their places (relation)")),
        )
    },
}
curves = {
    title: [
        Line(
            label, learned_from, [look[key] for look in looked_back],
            era=None if key == "loss_untold" else "pretrain", dashed=key.endswith("_en"),
        )
        for key, label in lines.items()
    ]
    for title, lines in kept.items()
}  # fmt: skip
plots.show(
    plots.lines(
        curves, x=say(ko="본 그림, 천 장", en="pictures seen, in thousands"), shares=list(kept)[1:],
        ticks=[round(learned_from[i]) for i in (0, len(learned_from) // 2, -1)],
    ),
    alt="; ".join(
        f"{title}, {line.label}: " + ", ".join(f"{x:.0f} → {y:.2f}" for x, y in zip(line.x, line.y, strict=True))
        for title, lines in curves.items()
        for line in lines
    ),
    caption=say(
        ko=f"검증용 장면 {second.looks}개의 손실, 그리고 검증용 짝 {second.drawn}개의 그림에 심판이 준 점수입니다. "
        "기록은 성적표에 있습니다.",
        en=f"The loss on {second.looks} validation scenes, and the judge's marks for drawings of {second.drawn} "
        "validation pairs, as the card has kept them",
    ),
    numbers={
        "drawn": second.drawn,
        "first_seen": 1000 * learned_from[0],
        **{
            f"{metric}_{when}_{language}": looked_back[row][f"{metric}_{language}"]
            for metric in ("objects", "relation")
            for when, row in (("first", 0), ("last", -1))
            for language in languages
        },
    },
)  # fmt: skip

# %% name="forward"
scene = neat(world.scene("고양이", "사과", relation="left", artist="noto", seed=3))
z = model.encode(scene.image())
epsilon = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
times = [0, 200, 400, 600, 800, 999]
noisy = torch.cat([model.noise.add(z, epsilon, torch.tensor([at])) for at in times])

for at in times:
    alpha, sigma = model.noise.shares(at)
    print(f"t = {at:3}  {alpha:.2f} z + {sigma:.2f} ε")

# %% name="noise" tags=["quiet"]
plots.show(
    sheet(
        [
            [
                Panel(picture, title=f"t = {at}")
                for at, picture in zip(times, map(as_colours, noisy.numpy()), strict=True)
            ],
            [Panel(picture) for picture in model.decode(noisy)],
        ],
        labels=[say(ko="잠재 벡터", en="latents"), say(ko="그림으로", en="decoded")],
        era="pretrain",
    ),
    alt=say(
        ko="여섯 시각의 잠재 벡터와 그것을 그림으로 되돌린 것. 시각이 늦을수록 장면이 잡음에 묻힌다.",
        en="Latents at six times, and decoded to pictures. The later, the more of the scene is lost in noise.",
    ),
    caption=say(
        ko=f"잠재 벡터는 채널 {channels}개 가운데 셋을 빨강, 초록, 파랑으로 나타냈습니다.",
        en=f"Of the {channels} channels of the latents, three are shown as red, green and blue.",
    ),
)

# %% name="guess"
at = 600
words, nothing = model.condition(scene.caption(reader, 0)), model.condition("")
alpha, sigma = model.noise.shares(at)
z_t = model.noise.add(z, epsilon, torch.tensor([at]))
v = model.unet(z_t, torch.tensor([at]), words)
believed, its_noise = alpha * z_t - sigma * v, alpha * v + sigma * z_t

print(f"ε guessed, mean square error: {float((its_noise - epsilon).square().mean()):.3f}")
print(f"v guessed, the loss:          {float((v - (alpha * epsilon - sigma * z)).square().mean()):.3f}")

# %% name="one-look" tags=["quiet"]
rows = {say(ko="잡음", en="noisy"): list(noisy)}
for title, told in ((say(ko="글을 듣고", en="told"), words), (say(ko="듣지 않고", en="not told"), nothing)):
    rows[title] = [
        model.noise.read(model.unet(each[None], torch.tensor([when]), told), each[None], *model.noise.shares(when))[0][
            0
        ]
        for when, each in zip(times, noisy, strict=True)
    ]
plots.show(
    sheet(
        [
            [
                Panel(picture, title=f"t = {when}" if row == 0 else "")
                for when, picture in zip(times, model.decode(torch.stack(latents)), strict=True)
            ]
            for row, latents in enumerate(rows.values())
        ],
        labels=list(rows),
        era="pretrain",
    ),
    alt=say(
        ko="여섯 시각의 잡음 섞인 장면과, 그것을 한 번 보고 짐작한 원래 장면. 가운데 줄은 글을 듣고 짐작한 것이고 "
        "아랫줄은 듣지 않은 것이다. 시각이 늦을수록 흐릿하다.",
        en="A scene in noise at six times, and what the network takes it for at one look. The middle row was told the "
        "sentence, the lowest was not. The later, the more blurred.",
    ),
)

# %% name="loss-by-time"
n_losses = 64
scenes = tidy_looks(n_losses, seed=3, split="test", step=second.step)
encoded = torch.cat([model.encode(some) for some in np.split(world.render(scenes), 4)])
lots = torch.Generator().manual_seed(1)
its_chance = torch.randn(encoded.shape, generator=lots)
own = model.condition([one.caption(reader) for one in scenes])
told_how = {
    say(ko="제 글", en="its own text"): own,
    say(ko="글 없이", en="no text"): nothing.expand_as(own),
    say(ko="남의 글", en="another's text"): own.roll(1, 0),
}
when = [20, 150, 300, 450, 600, 750, 900, 999]
nought = [float(model.noise.target(encoded, its_chance, torch.full((n_losses,), at)).square().mean()) for at in when]
losses = {
    title: [float(model(encoded, told, torch.full((n_losses,), at), its_chance).mean()) for at in when]
    for title, told in told_how.items()
}

# %% name="loss-curve" tags=["quiet"]
title = say(ko="손실", en="loss")
curves = [
    Line(label, when, each, era="pretrain" if row == 0 else None, dashed=row == 2)
    for row, (label, each) in enumerate(losses.items())
]
plots.show(
    plots.lines({title: curves}, x=say(ko="시각 t", en="time t"), ticks=when),
    alt="; ".join(f"{line.label}: " + ", ".join(f"{y:.2f}" for y in line.y) for line in curves),
    caption=say(
        ko=f"시험용 장면 {n_losses}개의 평균. 모두 0이라고 답하면 {nought[0]:.2f}에서 {nought[-1]:.2f}까지입니다.",
        en=f"Means over {n_losses} test scenes. To answer 0 everywhere costs from {nought[0]:.2f} to {nought[-1]:.2f}.",
    ),
    numbers={
        f"{name}_{at}": loss
        for name, each in zip(("own", "none", "other"), losses.values(), strict=True)
        for at, loss in zip(when, each, strict=True)
    },
)

# %% name="draw"
prompts = {"ko": "사과 왼쪽에 고양이가 있다", "en": "a cat left of an apple"}
drawn = {language: model.draw(prompt, n=4, seed=0) for language, prompt in prompts.items()}

plots.gallery(
    [
        Card(picture, alt=prompts[language], text=prompts[language], note=f"seed {seed}")
        for language, pictures in drawn.items()
        for seed, picture in enumerate(pictures)
    ]
)

# %% name="door" tags=["quiet"]
plots.picture(drawn[reader][3], alt=prompts[reader], caption=f"“{prompts[reader]}”", width=192)

# %% name="architecture" tags=["quiet"]
shapes = trace(model, z, words, torch.tensor([at]), epsilon)
_, path = model.draw(scene.caption(reader, 0), steps=10, return_path=True)
plots.show(
    latent_diffusion(
        (scene.image(), path[-1]),
        (z[0].numpy(), z_t[0].numpy(), believed[0].numpy()),
        scene.caption(reader, 0),
        {
            "pixels": (1, 3, pixels, pixels),
            "latents": tuple(z.shape),
            "finest": shapes["unet.inputs"],
            "coarsest": shapes["unet.middle.1"],
            "tokens": tuple(model.read(scene.caption(reader, 0)).shape),
            "words": tuple(words.shape),
        },
        era="pretrain",
    ),
    alt=say(
        ko="위: 그림이 인코더를 지나 잠재 벡터가 되고 잡음이 섞인다. 아래: 잡음 섞인 잠재 벡터가 U-Net을 지나 걸음마다 "
        "맑아지고, 디코더가 그림으로 되돌린다. 텍스트 인코더가 읽은 글은 교차 어텐션으로 U-Net에 들어간다.",
        en="Above: a picture becomes latents through an encoder, and noise is mixed in. Below: noisy latents go "
        "through a U-Net, clearer at each step, and a decoder makes a picture of them. The text, read by a text "
        "encoder, enters the U-Net by cross-attention.",
    ),
    caption=say(
        ko="논문의 그림 3을 이 책의 모델로 다시 그렸습니다. 수는 실제로 지나간 모양입니다.",
        en="Figure 3 of the paper, drawn anew from the model of this book. The numbers are shapes of a real pass.",
    ),
)

# %% name="path"
steps = 10
_, path = model.draw(prompts[reader], steps=steps, return_path=True)

shown = [0, 1, 2, 3, 4, 6, 9]
plots.show(
    sheet([[Panel(path[step], title=str(step + 1)) for step in shown]], era="pretrain"),
    alt=say(
        ko=f"{steps}걸음 가운데 일곱에서 잡음 속에 보인 그림. 걸음마다 또렷해진다.",
        en=f"What was seen in the noise at seven of {steps} steps, clearer at each.",
    ),
    caption=say(
        ko="걸음마다 네트워크가 잡음 속에서 본 그림입니다. 마지막 것이 완성된 그림입니다.",
        en="What the network sees in the noise at each step. The last is the drawing.",
    ),
)

# %% name="novel"
never = everyday.scenes(world, 8, seed=11, split="test", kind="pair")
said = [each.caption(reader) for each in never]
plots.gallery([Card(picture, alt=text, text=text) for text, picture in zip(said, model.draw(said), strict=True)])

# %% name="from"
begun = neat(world.scene("고양이", "사과", relation="left", artist="twemoji", seed=6))
wanted = {"ko": "사과 왼쪽에 펭귄이 있다", "en": "a penguin left of an apple"}[reader]
strengths = (0.05, 0.1, 0.2, 0.5, 1.0)
again = [model.draw_from(begun.image(), wanted, strength=strength) for strength in strengths]

plots.gallery(
    [
        Card(begun.image(), alt=begun.caption(reader), text=begun.caption(reader, 0)),
        *(Card(picture, alt=wanted, text=wanted, note=f"{s:.0%}") for s, picture in zip(strengths, again, strict=True)),
    ]
)

# %% name="inpaint"
left = begun.things[0]
mask = np.zeros((64, 64), dtype=bool)
mask[max(0, left.y - 16) : left.y + 16, max(0, left.x - 16) : left.x + 16] = True
others = {
    "ko": ["사과 왼쪽에 펭귄이 있다", "사과 왼쪽에 자동차가 있다", "사과 왼쪽에 나무가 있다"],
    "en": ["a penguin left of an apple", "a car left of an apple", "a tree left of an apple"],
}[reader]
filled = model.inpaint(begun.image(), mask, others, seed=1)

hole = np.where(mask[..., None], np.uint8(128), begun.image())
plots.gallery(
    [
        Card(
            hole, alt=say(ko="가운데가 비어 있는 그림", en="a picture with a hole"), text=say(ko="빈 곳", en="the hole")
        ),
        *(Card(picture, alt=text, text=text) for text, picture in zip(others, filled, strict=True)),
    ]
)

# %% name="attention"
asked = {"ko": ["사과 왼쪽에 고양이가 있다", "자동차 위에 나비가 있다"],
         "en": ["a cat left of an apple", "a butterfly above a car"]}[reader]  # fmt: skip
looked = model.draw(asked, return_attention=True)

plots.show(
    looks(
        [(picture, [(text, None), *by_word]) for text, (picture, by_word) in zip(("", ""), looked, strict=True)],
        era="pretrain", labels=asked, columns={"ko": 5, "en": 4}[reader],
    ),
    alt="; ".join(
        f"{text}: " + ", ".join(
            f"{word} ({int(grid.argmax()) % grid.shape[1] + 1}, {int(grid.argmax()) // grid.shape[1] + 1})"
            for word, grid in by_word
        )
        for text, (_, by_word) in zip(asked, looked, strict=True)
    ),
    caption=say(
        ko="낱말마다 그림의 어느 곳이 그 낱말을 보았는지 밝게 나타냈습니다. 고리는 가장 많이 본 곳입니다.",
        en="For each word, light falls where the picture looked at it; a ring marks where most.",
    ),
)  # fmt: skip

# %% name="pointing" tags=["quiet"]
judge = vlm.load("judge")
names = {concept.hexcode: called(concept) for concept in everyday.drawable()}


def near(grid, thing):
    """The looks around the cell that holds a thing's centre."""
    rows, columns = (min(grid.shape[0] - 1, int(at * grid.shape[0] / pixels)) for at in (thing.y, thing.x))
    return float(grid[max(0, rows - 1) : rows + 2, max(0, columns - 1) : columns + 2].mean())


def of_name(by_word, name):
    """The looks at the words of a name: in Korean they may carry a particle."""
    grids = [grid for word, grid in by_word if any(word.startswith(part) for part in name.split())]
    return np.mean(grids, axis=0) if grids else None


pairs = everyday.scenes(world, 32, seed=4, split="test", kind="pair")
drawings = model.draw([pair.caption(reader, 0) for pair in pairs], return_attention=True)
right = []
for pair, (_, by_word), found in zip(pairs, drawings, judge.find([d[0] for d in drawings]), strict=True):
    places = {thing.name: thing for thing in found}
    grids = {thing.concept.hexcode: of_name(by_word, called(thing.concept)) for thing in pair.things}
    if all(grid is not None for grid in grids.values()):
        for own, other in (list(grids), list(grids)[::-1]):
            if own in places:
                looks_here = [near(grids[name] / grids[name].mean(), places[own]) for name in (own, other)]
                right.append(looks_here[0] > looks_here[1])
share, low, high = metrics.share(right) if len(right) > 1 else (0.0, 0.0, 1.0)
plots.values(share=share, low=low, high=high, n=len(right), drawn=len(pairs))

# %% name="keeps"
shown = tidy_looks(6, seed=2, split="test")
pictures = world.render(shown)
again = model.decode(model.encode(pictures))

plots.show(
    sheet(
        [[Panel(picture) for picture in pictures], [Panel(picture) for picture in again]],
        labels=[say(ko="그림", en="pictures"), say(ko="되돌린 것", en="given back")],
        era="pretrain",
    ),
    alt=say(
        ko="장면 여섯과, 잠재 벡터로 바꾸었다가 되돌린 것", en="Six scenes, and the same after a way through latents"
    ),
)


# %% name="quality" tags=["quiet"]
def psnr(pictures):
    """Peak signal to noise ratio, in decibels, of what the autoencoder gives back."""
    given = np.concatenate([model.decode(model.encode(some)) for some in np.split(pictures, 4)])
    return 10 * math.log10(255**2 / np.mean((given.astype(float) - pictures) ** 2))


known = everyday.scenes(world, 64, seed=7, split="test")
others = [world.sample(number, "test", "one") for number in range(120)]
chosen = {
    "tidy": tidy_looks(64, seed=7, split="test"),
    "scenes": known,
    "others": [everyday.tidy(one) for one in others if one.things[0].concept not in everyday.drawable()],
}
looked_at = {kind: world.render(some[:64]) for kind, some in chosen.items()}
looked_at["noise"] = np.random.default_rng(0).integers(0, 256, (64, pixels, pixels, 3), np.uint8)
titles = {
    "tidy": say(ko="배운 물건, 배운 대로", en="things it saw, as it saw them"),
    "scenes": say(ko="같은 물건, 작은 세계의 장면에서", en="the same things in scenes of the world"),
    "others": say(ko="배우지 않은 물건", en="things it never saw"),
    "noise": say(ko="화소마다 제비뽑기", en="every pixel by lot"),
}
quality = {kind: psnr(pictures) for kind, pictures in looked_at.items()}
plots.table(
    ["", "PSNR, dB"],
    [[title, f"{quality[kind]:.1f}"] for kind, title in titles.items()],
    caption=say(ko="되돌린 그림의 화질, 64장씩", en="Quality of what is given back, 64 pictures each"),
    numbers=quality,
)

# %% name="channels" tags=["quiet"]
seen = model.encode(scene.image())[0].numpy()
plots.show(
    sheet(
        [[Panel(scene.image()), *(Panel(values=grid, limit=2.5, title=str(k + 1)) for k, grid in enumerate(seen))]],
        era="pretrain",
    ),
    alt=say(
        ko=f"장면 하나와 그 잠재 벡터의 채널 {channels}개", en=f"A scene and the {channels} channels of its latents"
    ),
    caption=say(
        ko=f"채널마다 {side}×{side}칸입니다. 두 색은 양수와 음수입니다.",
        en=f"Each channel is {side} × {side}. The two colours are numbers above and below 0.",
    ),
)


# %% name="guidance"
def marked(pictures, scenes):
    """`objects` of each drawing, as the exam's judge finds them."""
    return [drawing.as_asked(each, found)[0] for each, found in zip(scenes, judge.find(pictures), strict=True)]


def variety(pictures):
    """Root mean square difference of pixels between several pictures of one prompt."""
    flat = np.stack(pictures).reshape(len(pictures), -1).astype(np.float64)
    apart = [np.sqrt(np.mean((one - two) ** 2)) for i, one in enumerate(flat) for two in flat[:i]]
    return float(np.mean(apart))


def interval(each):
    """A mean with its 95 % interval."""
    each = np.array(each, float)
    return (float(each.mean()), *metrics.bootstrap(lambda chosen: float(each[chosen].mean()), len(each)))


scales = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0)
asked_for = everyday.scenes(world, 12, seed=8, split="test", kind="pair")
prompts_of = [each.caption(reader, 0) for each in asked_for]
by_scale = {scale: model.draw(prompts_of, n=4, steps=10, guidance=scale) for scale in scales}
fits, differ = {}, {}
for scale, drawn_at in by_scale.items():
    per_prompt = [np.mean(marked(four, [each] * 4)) for four, each in zip(drawn_at, asked_for, strict=True)]
    fits[scale], differ[scale] = interval(per_prompt), interval([variety(four) for four in drawn_at])

# what real scenes of the same sentence have
artists = SPLITS["train"][1]
same = [
    world.render([
        neat(world.scene(*(t.concept.ko for t in each.things), relation=each.relation, artist=artist, seed=100 + k))
        for k, artist in enumerate(artists)
    ])
    for each in asked_for
]  # fmt: skip
real_variety = float(np.mean([variety(list(four)) for four in same]))
real_objects = float(
    np.mean([np.mean(marked(list(four), [each] * 4)) for four, each in zip(same, asked_for, strict=True)])
)

# %% name="guidance-curve" tags=["quiet"]
by_judge, by_pixels = say(ko="심판이 찾은 물건(objects)", en="things the judge finds (objects)"), say(
    ko="같은 글의 그림끼리 다른 정도", en="how drawings of one text differ"
)  # fmt: skip
its_drawings, real = say(ko="그린 것", en="drawings"), say(ko="진짜 장면", en="real scenes")
panels = {
    title: [
        Line(its_drawings, scales, *([found[s][i] for s in scales] for i in range(3)), era="pretrain"),
        Line(real, scales, [level] * len(scales), dashed=True),
    ]
    for title, found, level in ((by_judge, fits, real_objects), (by_pixels, differ, real_variety))
}
plots.show(
    plots.lines(panels, x=say(ko="유도의 세기", en="guidance scale"), ticks=scales, shares=[by_judge]),
    alt="; ".join(
        f"{title}: " + ", ".join(f"{s:g} → {y:.2f}" for s, y in zip(scales, panel[0].y, strict=True))
        for title, panel in panels.items()
    ),
    caption=say(
        ko=f"글 {len(asked_for)}개를 네 장씩. 아래는 화소의 차이(0~255)입니다. 세로줄은 글을 다시 뽑아 얻은 95 % 구간",
        en=f"{len(asked_for)} texts, four drawings each. Below, differences of pixels, from 0 to 255. Upright strokes "
        "are 95 % intervals over texts",
    ),
    numbers={
        "texts": len(asked_for),
        "each": len(by_scale[1.0][0]),
        "real_objects": real_objects,
        "real_variety": real_variety,
        **{f"objects_{s:g}": fits[s][0] for s in scales},
        **{f"variety_{s:g}": differ[s][0] for s in scales},
    },
)

# %% name="guidance-strip" tags=["quiet"]
plots.show(
    sheet(
        [
            [Panel(by_scale[scale][row][0], title=f"{scale:g}" if row == 0 else "") for scale in scales]
            for row in range(2)
        ],
        era="pretrain",
    ),
    alt=say(
        ko="같은 글과 같은 씨앗을 여섯 가지 세기로 그린 것: ", en="The same texts and seed at six scales: "
    ) + "; ".join(prompts_of[:2]),
    caption=" / ".join(f"“{text}”" for text in prompts_of[:2]),
)  # fmt: skip

# %% name="steps"
budgets = {"ddpm": (5, 10, 20, 50), "ddim": (2, 5, 10, 20), "dpm-solver++": (2, 5, 10, 20)}
n_steps = 32
wanted_pairs = everyday.scenes(world, n_steps, seed=9, split="test", kind="pair")
their_prompts = [each.caption(reader) for each in wanted_pairs]
by_steps, seconds = {}, {}
for sampler, many in budgets.items():
    for steps in many:
        began = time.process_time()
        pictures = model.draw(their_prompts, steps=steps, sampler=sampler)
        seconds[sampler, steps] = (time.process_time() - began) / n_steps
        by_steps[sampler, steps] = pictures

quality_of = {key: interval(marked(pictures, wanted_pairs)) for key, pictures in by_steps.items()}

# %% name="steps-curve" tags=["quiet"]
names_of = {"ddpm": "DDPM", "ddim": "DDIM", "dpm-solver++": "DPM-Solver++"}
curves = [
    Line(
        names_of[sampler], many, *([quality_of[sampler, steps][i] for steps in many] for i in range(3)),
        era=None if sampler == "ddpm" else "pretrain", dashed=sampler == "ddim",
    )
    for sampler, many in budgets.items()
]  # fmt: skip
plots.show(
    plots.lines(
        {by_judge: curves}, x=say(ko="걸음", en="steps"), ticks=(2, 5, 10, 20, 50), shares=[by_judge], height=2.2
    ),
    alt="; ".join(
        f"{line.label}: " + ", ".join(f"{x} → {y:.0%}" for x, y in zip(line.x, line.y, strict=True)) for line in curves
    ),
    caption=say(
        ko=f"처음 보는 짝 {n_steps}개의 글. 세로줄은 95 % 구간",
        en=f"Texts of {n_steps} pairs never seen. Upright strokes are 95 % intervals",
    ),
    numbers={"n": n_steps}
    | {f"{name}_{steps}".replace("dpm-solver++", "dpm"): q[0] for (name, steps), q in quality_of.items()},
)

# %% name="steps-strip" tags=["quiet"]
plots.show(
    sheet(
        [
            [Panel(by_steps[sampler, steps][0], title=str(steps)) for steps in many]
            for sampler, many in budgets.items()
        ],
        labels=[names_of[sampler] for sampler in budgets], era="pretrain", width=5.0, label_width=1.15,
    ),
    alt=say(ko="샘플러 셋이 여러 걸음으로 그린 같은 글: ", en="One text, drawn by three samplers in several steps: ")
    + their_prompts[0],
    caption=f"“{their_prompts[0]}”",
)  # fmt: skip

# %% name="seconds" tags=["quiet"]
best = max(q[0] for q in quality_of.values())
enough = {
    sampler: next((steps for steps in many if quality_of[sampler, steps][0] >= 0.95 * best), None)
    for sampler, many in budgets.items()
}


def told_steps(sampler):
    """The row of a sampler: the fewest steps that are enough, its mark there, and what they take."""
    if (steps := enough[sampler]) is None:
        last = budgets[sampler][-1]
        return [f"> {last}", f"{quality_of[sampler, last][0]:.1%}", f"> {seconds[sampler, last]:.2f}"]
    return [str(steps), f"{quality_of[sampler, steps][0]:.1%}", f"{seconds[sampler, steps]:.2f}"]


plots.table(
    [
        "",
        say(ko="걸음", en="steps"),
        "objects",
        say(ko="그림 한 장의 초", en="seconds a drawing"),
    ],
    [[names_of[sampler], *told_steps(sampler)] for sampler in budgets],
    caption=say(
        ko=f"가장 높은 점수({best:.1%})의 95 %에 이르는 가장 적은 걸음, 코어 하나",
        en=f"The fewest of these steps that reach 95 % of the best mark ({best:.1%}), on one core",
    ),
    numbers={
        "best": best,
        "a_step": seconds["ddpm", 50] / 50,
        **{f"{name}_seconds".replace("dpm-solver++", "dpm"): seconds[name, steps or budgets[name][-1]]
           for name, steps in enough.items()},
        **{f"{name}_steps".replace("dpm-solver++", "dpm"): steps or budgets[name][-1]
           for name, steps in enough.items()},
    },
)  # fmt: skip

# %% name="exam"
papers = drawing.papers(world, 48, seed=0, judge=judge)
paper = next(one for one in papers if one.language == reader and one.candidates == 1)
sat = drawing.drawer(model, world)(paper.scenes, reader, 1)

for metric, (value, low, high) in drawing.mark(paper, sat).items():
    print(f"{metric:12} {value:5.1%}  {low:.1%} – {high:.1%}")

# %% name="exam-bars" tags=["quiet"]
scores = card["scores"]
baselines = ("chance", "oracle")
its_scores = dict.fromkeys(("stable-diffusion", *baselines), scores)
its_scores["dall-e"] = json.loads((find("dall-e").weights / "card.json").read_text(encoding="utf-8"))["scores"]
rows = {  # title: whose, of which sheets, in which languages
    say(ko="다른 장면", en="other scenes"): ("chance", "", (reader,)),
    "DALL-E": ("dall-e", "", (reader,)),
    say(ko="DALL-E, CLIP이 고름", en="DALL-E, CLIP's choice"): ("dall-e", "reranked_", (reader,)),
    "Stable Diffusion": ("stable-diffusion", "", tuple(languages)),
    say(ko="진짜 장면", en="the real scenes"): ("oracle", "", (reader,)),
}
what = {
    "objects": say(ko="물건 둘(objects)", en="two things (objects)"),
    "relation": say(ko="물건 둘과 자리(relation)", en="two things and their places (relation)"),
    "one": say(ko="물건 하나(one)", en="one thing (one)"),
}
groups = {title: [] for title in what.values()}
numbers = {"n": scores["n"], "singles": max(1, scores["n"] // 4)}
for label, (name, prefix, spoken) in rows.items():
    marks, ranges = (its_scores[name][part][name]["drawing"] for part in ("systems", "intervals"))
    for key, title in what.items():
        for language in spoken:
            metric = f"{prefix}{key}_{language}"
            told = label if len(spoken) == 1 else f"{label}, {languages[language]}"
            era = None if name in baselines else "pretrain"
            groups[title].append(Bar(told, marks[metric], *ranges[metric], era=era))
        for language in languages:
            numbers[f"{name}_{prefix}{key}_{language}".replace("-", "_")] = marks[f"{prefix}{key}_{language}"]
plots.show(
    plots.bars(groups),
    alt="; ".join(f"{t}: " + ", ".join(f"{b.label} {b.value:.0%}" for b in bars) for t, bars in groups.items()),
    caption=say(
        ko=f"성적표에서. 처음 보는 짝 {numbers['n']}개와 물건 하나 {numbers['singles']}개, 가는 선은 95 % 구간",
        en=f"From the cards: {numbers['n']} pairs never seen and {numbers['singles']} single things. Thin lines are "
        "95 % intervals",
    ),
    numbers=numbers,
)

# %% name="exchanged"
few = [one for one in paper.scenes if one.kind == "pair"][:24]
texts = list(zip(*(binding.asked(one, reader) for one in few), strict=True))  # as it is, and with the things exchanged
as_said, turned = (model.draw(list(some), seed=5) for some in texts)
elsewhere = model.draw(list(texts[0]), seed=500)
truly = [world.render([neat(each), neat(binding.exchanged(each))]) for each in few]

by_order, by_seed, by_truth = (
    float(np.mean([variety(list(two)) for two in both]))
    for both in (zip(as_said, turned, strict=True), zip(as_said, elsewhere, strict=True), truly)
)
plots.gallery(
    [Card(picture, alt=text, text=text) for row in range(4) for text, picture in
     ((texts[0][row], as_said[row]), (texts[1][row], turned[row]))],
)  # fmt: skip

# %% name="order" tags=["quiet"]
plots.values(order=by_order, seed=by_seed, truth=by_truth, n=len(few))


# %% name="side"
def at_names(scenes):
    """At each name's last token, what the text encoder knows and what is known after reading on; and the side on which
    its thing is."""
    texts = [each.caption(reader) for each in scenes]
    known = model.text.tokens(model.read(texts))
    read_on = model.reader(known)
    found = [
        (row, int(tokens.nonzero()[-1]), side)
        for row, (each, text) in enumerate(zip(scenes, texts, strict=True))
        for tokens, side in zip(named(text, each), sides(each), strict=True)
    ]
    rows, tokens, its_sides = (torch.tensor(some) for some in zip(*found, strict=True))
    return known[rows, tokens], read_on[rows, tokens], its_sides


*probed, its_sides = at_names(everyday.scenes(world, 1000, seed=12, split="train", kind="pair"))
*unseen, truth = at_names(everyday.scenes(world, 250, seed=12, split="test", kind="pair"))
known_sides = [
    metrics.share((linear_probe(told_by, its_sides, len(SIDES))(new).argmax(1) == truth).tolist())
    for told_by, new in zip(probed, unseen, strict=True)
]
for name, (value, low, high) in zip(("text encoder", "read on"), known_sides, strict=True):
    print(f"{name:12} {value:5.1%}  {low:.1%} – {high:.1%}")
plots.values(before=known_sides[0][0], after=known_sides[1][0], n=len(truth))

# %% name="failures"
cards, wrong = [], {"missing": 0, "place": 0, "fine": 0, "more": 0}
for scene_asked, picture, found in zip(paper.scenes, sat, judge.find(sat), strict=True):
    if scene_asked.kind != "pair":
        continue
    objects, related = drawing.as_asked(scene_asked, found)
    there = len({thing.name for thing in found} & {thing.concept.hexcode for thing in scene_asked.things})
    wrong["fine" if related else "place" if there == 2 else "missing"] += 1
    # two things lie on 18 latents at most, and a judge that knows what is where knows not how often
    squares = (picture.min(2) < 200).reshape(side, pixels // side, side, pixels // side).any((1, 3))
    wrong["more"] += bool(squares.sum() > 20)
    if not related and len(cards) < 8:
        note = " · ".join(names[thing.name] for thing in found) or say(ko="찾은 것 없음", en="nothing found")
        text = scene_asked.caption(reader)
        cards.append(Card(picture, alt=f"{text}: {note}", text=text, note=note, right=False))
plots.gallery(cards or [Card(sat[0], alt=paper.prompts[0], text=paper.prompts[0], right=True)])

# %% name="wrong" tags=["quiet"]
plots.values(n=sum(wrong[how] for how in ("missing", "place", "fine")), **wrong)

# %% name="copies"
k = 6
both = [(each, picture) for each, picture in zip(paper.scenes, sat, strict=True) if each.kind == "pair"]
seen_in = judge.find([picture for _, picture in both])
both = [each for each, found in zip(both, seen_in, strict=True) if found][:k] or both[:k]
asked_pairs, copies = zip(*both, strict=True)
things = {thing.concept.hexcode for each in asked_pairs for thing in each.things}
learned = [second.scene(number) for number in range(second.pictures)]
learned = [one for one in learned if any(thing.concept.hexcode in things for thing in one.things)]
looked_through = [*copies, *world.render([neat(each) for each in asked_pairs])]
found = judge.find(looked_through)
nearest = copying.nearest(looked_through, found, learned)
apart = {
    side: {"scene": [near.apart for near, _ in some], "thing": [near.apart for _, of in some for near in of]}
    for side, some in (("drawn", nearest[: len(copies)]), ("real", nearest[len(copies) :]))
}

# %% name="copies-strip" tags=["quiet"]
near_things = [
    (copying.squares(picture, [(found[row][0].x, found[row][0].y)])[0], of[0])
    for row, (picture, (_, of)) in enumerate(zip(copies, nearest[: len(copies)], strict=True))
    if of
]
rows = [
    [Panel(picture) for picture in copies],
    [Panel(near.scene.image(), title=f"{near.apart:.0f}") for near, _ in nearest[: len(copies)]],
]
labels = [say(ko="그린 것", en="drawn"), say(ko="가장 닮은\n학습 장면", en="nearest\nlearned")]
if near_things:
    rows += [
        [Panel(square) for square, _ in near_things],
        [
            Panel(copying.squares(near.scene.image(), [(near.thing.x, near.thing.y)])[0], title=f"{near.apart:.0f}")
            for _, near in near_things
        ],
    ]
    labels += [say(ko="그린 물건", en="a thing in it"), say(ko="가장 닮은\n학습 물건", en="nearest\nlearned")]
means = {
    f"{side}_{what_}": float(np.mean(each)) if each else 0.0
    for side, both in apart.items()
    for what_, each in both.items()
}
plots.show(
    sheet(rows, labels=labels, era="pretrain", label_width=0.95),
    alt=say(
        ko=f"그린 것 {len(copies)}장, 화소로 가장 닮은 학습 장면, 그 안의 물건과 가장 닮은 학습 물건",
        en=f"{len(copies)} drawings, the scenes learned that are nearest by pixels, and things and those nearest them",
    ),
    caption=say(
        ko="위의 수는 화소의 차이입니다(0이면 똑같음, 많아야 255).",
        en="The numbers are differences of pixels: 0 is a copy, 255 the most.",
    ),
    numbers={
        "k": len(copies),
        "searched": len(learned),
        "learned": second.pictures,
        "closest": min(apart["drawn"]["scene"]),
        **means,
    },
)  # fmt: skip


# %% name="cost"
def flops(config, cells, tokens):
    """Floating-point operations of one look of a U-Net at a grid, counted without computing."""
    with torch.device("meta"):
        network = UNet(config)
        z, words = torch.empty(1, config.channels, cells, cells), torch.empty(1, tokens, config.source)
        with FlopCounterMode(display=False) as counted:
            network(z, torch.zeros(1, dtype=torch.long), words)
    return counted.get_total_flops()


def coarse_only(config, halvings):
    """For pixels, with transformers only where the grid is no finer than the latents were."""
    return replace(config, channels=3, attention=tuple(level >= halvings for level in range(len(config.widths))))


sizes = {
    "world": (model.config.unet, side, pixels, model.config.tokens),
    "published": (UNetConfig.published(), 64, 512, 77),
}
costs = {}
for name, (config, cells, cells_pixels, tokens) in sizes.items():
    halvings = int(math.log2(cells_pixels // cells))
    costs[name] = {
        "latents": flops(config, cells, tokens),
        "pixels": flops(replace(config, channels=3), cells_pixels, tokens),
        "coarse": flops(coarse_only(config, halvings), cells_pixels, tokens),
    }

on_pixels = UNet(coarse_only(model.config.unet, 3)).eval()
timed = {}
for name, network, channels_, cells in (("latents", model.unet, channels, side), ("coarse", on_pixels, 3, pixels)):
    z_many, when_many = torch.randn(4, channels_, cells, cells), torch.full((4,), 500)
    told_many = words.expand(4, -1, -1)
    network(z_many, when_many, told_many)
    began = time.process_time()
    network(z_many, when_many, told_many)
    timed[name] = (time.process_time() - began) / 4

# %% name="cost-table" tags=["quiet"]
titles = {
    "latents": say(ko="잠재 벡터", en="latents"),
    "pixels": say(ko="화소, 같은 U-Net", en="pixels, the same U-Net"),
    "coarse": say(ko="화소, 어텐션은 거친 격자에만", en="pixels, attention on coarse grids alone"),
}
plots.table(
    [
        say(ko="무엇 위에서", en="on what"),
        say(ko="이 책의 크기, GFLOP", en="world, GFLOP"),
        say(ko="논문의 크기, TFLOP", en="published, TFLOP"),
    ],
    [
        [title, f"{costs['world'][key] / 1e9:.1f}", f"{costs['published'][key] / 1e12:.1f}"]
        for key, title in titles.items()
    ],
    caption=say(ko="U-Net이 한 번 볼 때의 계산량", en="What one look of the U-Net takes"),
    numbers={
        **{f"{name}_{key}": costs[name][key] / costs[name]["latents"]
           for name in costs for key in ("pixels", "coarse")},
        "timed": timed["coarse"] / timed["latents"],
        "milliseconds": 1000 * timed["latents"],
        "milliseconds_pixels": 1000 * timed["coarse"],
    },
)  # fmt: skip

# %% name="published"
published = StableDiffusionConfig.published()
with torch.device("meta"):
    whole = StableDiffusion(published)
counts = {"U-Net": count(whole.unet), "autoencoder": count(whole.autoencoder), "text encoder": count(whole.text)}

plots.values("\n".join(f"{name:12}{number:>14,}" for name, number in counts.items()), total=sum(counts.values()))

# %% name="parity"
tokenizer = BytePairTokenizer.fit(["고양이 사과 a cat an apple"] * 3, size=290, specials=["<start>", "<end>"])
small = StableDiffusion(
    StableDiffusionConfig(
        AutoencoderConfig(widths=(16, 32), depth=1, channels=4, groups=8, image_size=32, scale=0.5),
        UNetConfig(channels=4, widths=(16, 32), attention=(True, False), depth=1, heads=4, source=24, groups=8),
        TextConfig(len(tokenizer), length=40, width=24, depth=2, heads=4),
        NoiseConfig(), tokens=24,
    ),
    tokenizer,
).eval()  # fmt: skip
noise = torch.stack([torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(seed)) for seed in (5, 6)])
with TemporaryDirectory() as folder:
    vlm.published.export(small, folder, library="diffusers")
    theirs = StableDiffusionPipeline.from_pretrained(folder)
    theirs.scheduler = DDIMScheduler.from_config(theirs.scheduler.config)
    theirs.set_progress_bar_config(disable=True)
    again = vlm.published.load(folder)
z_small, t_small, ids = noise, torch.tensor([900, 30]), small.read(["고양이", "an apple"])
read = theirs.text_encoder(ids).last_hidden_state
gaps = {
    "text encoder": small.condition(ids) - read,
    "U-Net": small.unet(z_small, t_small, read) - theirs.unet(z_small, t_small, read).sample,
    "decoder": small.autoencoder.decode(noise) - theirs.vae.decode(noise).sample,
}
gaps = {name: float(gap.abs().max()) for name, gap in gaps.items()}
drawn_theirs = theirs(
    prompt="an apple", negative_prompt="", num_images_per_prompt=2, num_inference_steps=8, guidance_scale=7.5,
    latents=noise, output_type="np", height=32, width=32,
).images  # fmt: skip
drawn_ours = np.stack(again.draw("an apple", n=2, seed=5, steps=8, sampler="ddim", guidance=7.5))
gaps["8 steps of DDIM"] = float(np.abs(drawn_ours / 255 - drawn_theirs).max())

for name, gap in gaps.items():
    print(f"{name:16} {gap:.1e}")
plots.values(largest=max(list(gaps.values())[:3]), byte=1 / 255, drawn=gaps["8 steps of DDIM"])

# %% name="bench"
timed_with = bench.run(["drawing"], repeats=3)
print(bench.table(timed_with))
plots.values(ratio=timed_with["drawing"]["ratio"])

# %% name="from-the-hub" tags=["network"]
large = vlm.published.load("CompVis/stable-diffusion-v1-4")  # fetched once, about 4 GB
picture = large.draw("an apple on a wooden table, oil painting", steps=20, progress=True)
plots.picture(picture, alt="an apple on a wooden table, oil painting", width=512)
