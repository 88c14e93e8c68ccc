# %% [markdown] lang="ko"
# # 세계
#
# 이 책의 모든 모델이 배우고 시험을 치르는 작은 세계입니다. 셀을 고쳐 가며 돌려 보세요.

# %% [markdown] lang="en"
# # The world
#
# The small world in which every model of this book learns and is examined. Change the cells and run them again.

# %% name="setup" tags=["quiet"]
from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np

import vlm_history as vlm
from vlm_history import plots
from vlm_history.plots import Card, language, say
from vlm_history.world import splits

reader = language()  # "ko" or "en"

# %% name="first"
world = vlm.World()
scene = world.sample(seed=7, split="train", kind="pair")

plots.picture(scene.image(), alt=scene.caption(reader, style=0), caption=scene.caption(reader, style=0))

# %% name="numbers" tags=["quiet"]
categories = Counter(concept.category for concept in world.concepts)
plots.values(
    concepts=len(world.concepts),
    artists=len(set(world.artists)),
    fxemoji=len(world.drawn_by("fxemoji")),
    streamline=len(world.drawn_by("streamline")),
    contrast=len(world.drawn_by("fluent-contrast")),
    categories=len(categories),
    templates_ko=len(world.scene("cat", "banana", relation="left").captions("ko")),
    templates_en=len(world.scene("cat", "banana", relation="left").captions("en")),
)

# %% name="kinds"
kinds = {
    "one": say(ko="하나", en="one"),
    "size": say(ko="크기", en="size"),
    "pair": say(ko="둘의 관계", en="a pair"),
    "count": say(ko="개수", en="counting"),
    "many": say(ko="여럿", en="many"),
}
scenes = [world.sample(seed, kind=kind) for kind in kinds for seed in (1, 2)]
plots.gallery(
    [
        Card(scene.image(), alt=scene.caption(reader), text=scene.caption(reader), note=kinds[scene.kind])
        for scene in scenes
    ]
)

# %% name="by-hand"
scene = world.scene("고양이", "바나나", relation="left", artist="noto", background="photo", seed=3)

plots.picture(scene.image(), alt=scene.caption(reader), caption=scene.caption(reader))

# %% name="build-up"
stages = [replace(scene, things=scene.things[:count]) for count in range(len(scene.things) + 1)]
names = [thing.concept.ko if reader == "ko" else thing.concept.en for thing in scene.things]
texts = [say(ko="배경", en="background"), *(f"+ {name}" for name in names)]
plots.gallery(
    [
        Card(image, alt=" ".join(texts[: i + 1]), text=text)
        for i, (image, text) in enumerate(zip(world.render(stages), texts, strict=True))
    ]
)

# %% name="truth"
for thing in scene.things:
    print(thing.concept.ko, "/", thing.concept.en, (thing.x, thing.y), thing.size, f"{thing.angle}°")
print(scene.relation, scene.background.kind, scene.artist)

# %% name="artists"
role = {
    splits.VALIDATION_ARTIST: say(ko="검증", en="validation"),
    splits.HELD_OUT_ARTIST: say(ko="시험", en="test"),
    **dict.fromkeys(set(splits.WIDE_ARTISTS) - set(splits.TRAIN_ARTISTS), say(ko="넓은 학습", en="wide training")),
}
concept = world.concept("고양이")
plots.gallery(
    [
        Card(
            world.scene(concept.ko, artist=artist, background="plain", seed=5).image(),
            alt=f"{concept.ko if reader == 'ko' else concept.en} · {artist}",
            text=artist,
            note=role.get(artist, say(ko="학습", en="training")),
        )
        for artist in world.artists
    ],
    width=128,
)


# %% name="contact-sheet"
def sheet(theme):
    from matplotlib import pyplot

    shown = ["고양이", "바나나", "자전거", "기타", "우산", "문어", "나비", "피자"]
    figure, axes = pyplot.subplots(
        len(world.artists), len(shown), figsize=(6.4, 0.8 * len(world.artists)), layout="constrained"
    )
    for row, artist in enumerate(world.artists):
        for column, name in enumerate(shown):
            axis = axes[row, column]
            axis.axis("off")
            one = world.concept(name)
            if one in world.drawn_by(artist):
                axis.imshow(world.sprite(one, artist))
        axes[row, 0].text(-0.25, 0.5, artist, transform=axes[row, 0].transAxes, ha="right", va="center", fontsize=9)
    return figure


plots.show(
    sheet,
    alt=say(
        ko="아홉 화풍으로 그린 여덟 가지 개념. 같은 개념이라도 모양과 색이 화풍마다 다르다. 그리지 않은 칸은 비었다.",
        en="Eight concepts as nine finishes draw them, no two alike in shape and colour; what was not drawn is blank.",
    ),
)

# %% name="paraphrases"
for caption in scene.captions(reader):
    print(caption)

# %% name="negatives"
for truth, lie in list(zip(scene.captions(reader), scene.negatives(reader), strict=True))[:3]:
    print("○", truth)
    print("×", lie)

# %% name="questions"
for question in scene.questions(reader):
    print(f"{question.text}  →  {question.answer}")

# %% name="dialogue"
for question, answer in scene.dialogue(reader):
    print("·", question)
    print("  ", answer)

# %% name="both-languages"
for seed in range(4):
    scene = world.sample(seed, kind="count" if seed % 2 else "pair")
    print(scene.caption("ko"), "=", scene.caption("en"))

# %% name="splits" tags=["quiet"]
pairs = Counter(splits.pair_split(a.hexcode, b.hexcode) for a, b in combinations(world.concepts, 2))
total = sum(pairs.values())
kept = sum(splits.kept_for_knowledge(concept.hexcode) for concept in world.concepts)
plots.table(
    [say(ko="물건 짝", en="pairs of objects"), say(ko="짝의 수", en="pairs"), say(ko="비율", en="share")],
    [
        [name, f"{pairs[key]:,}", f"{pairs[key] / total:.1%}"]
        for key, name in (
            ("train", say(ko="학습", en="training")),
            ("validation", say(ko="검증", en="validation")),
            ("test", say(ko="시험", en="test")),
        )
    ],
    caption=say(ko="두 물건의 짝을 나눈 결과", en="How pairs of objects are divided"),
    numbers={"pairs": total, "test": pairs["test"] / total, "knowledge": kept},
)

# %% name="held-out"
scenes = [world.sample(seed, split=split, kind="pair") for split in ("train", "test", "test-artist") for seed in (4, 5)]
where = {
    "train": say(ko="학습", en="training"),
    "test": say(ko="시험: 처음 보는 짝", en="test: a pair never seen"),
    "test-artist": say(ko="시험: 처음 보는 작가", en="test: an artist never seen"),
}
plots.gallery(
    [
        Card(scene.image(), alt=scene.caption(reader), text=scene.caption(reader), note=where[scene.split])
        for scene in scenes
    ]
)

# %% name="same-seed"
again = vlm.World().sample(seed=7, split="train", kind="pair")
print(np.array_equal(again.image(), world.sample(seed=7, split="train", kind="pair").image()))
