# %% [markdown] lang="ko"
# # 시험
#
# 모든 모델이 치르는 시험입니다. `scenes`를 늘리면 구간이 좁아지고 시간이 더 걸립니다.

# %% [markdown] lang="en"
# # The exam
#
# The exam that all models sit. A larger `scenes` gives narrower intervals and takes longer.

# %% name="setup" tags=["quiet"]
import json

from vlm_history import plots
from vlm_history.exam import answering, baselines, binding, captioning, drawing, matching, naming, report, retrieval
from vlm_history.plots import Bar, Card, say
from vlm_history.systems import ASIDE, TABLE, find, load
from vlm_history.training.memo import kept
from vlm_history.world import World

reader = plots.language()
titles = {system.name: system.title for system in (*TABLE, *ASIDE)} | {
    "chance": say(ko="제비뽑기", en="chance"),
    "most-frequent": say(ko="가장 흔한 답", en="most frequent"),
    "hog": say(ko="닮은 그림(HOG)", en="most alike (HOG)"),
    "oracle": say(ko="정답", en="the truth"),
    "show-attend-and-tell-hard": say(ko="Show, Attend and Tell(단단하게)", en="Show, Attend and Tell (hard)"),
    "question-answering": say(ko="질의응답(CNN+LSTM)", en="question answering (CNN + LSTM)"),
}
era = {system.name: system.era for system in (*TABLE, *ASIDE)}

# %% name="sheet"
world = World()
sheet = captioning.papers(world, n=4, seed=0)[0]
plots.gallery(
    [Card(scene.image(), alt=scene.caption(reader), text=scene.caption(reader, style=0)) for scene in sheet.scenes]
)

# %% name="marking"
scene = world.scene("고양이", "바나나", relation="left")
answers = {
    "ko": ["고양이 오른쪽에 바나나가 있다", "바나나 오른쪽에 고양이가 있다", "고양이와 바나나", "강아지가 보인다"],
    "en": ["a banana right of a cat", "a cat right of a banana", "a cat, a banana", "you can see a dog"],
}[reader]
rows = []
for answer in answers:
    exact = world.reader.parse(answer, reader) == scene.fact
    marks = captioning.mark(captioning.Paper("", reader, [scene], world), [answer], resamples=2)
    rows.append(
        [
            answer,
            say(ko="맞음", en="yes") if exact else say(ko="틀림", en="no"),
            f"{marks[f'object_f1_{reader}'][0]:.2f}",
        ]
    )
plots.table(
    [say(ko="답", en="answer"), "exact", "object_f1"],
    rows,
    caption=say(ko="고양이가 바나나 왼쪽에 있는 그림의 채점", en="Marking a picture of a cat left of a banana"),
)

# %% name="run"
scenes = 200
tasks = ["naming", "captioning", "binding", "retrieval", "answering"]
result = kept(report.run, tasks=tasks, n=scenes, seed=0, beam=3)  # sat once for the pages of both languages

# %% name="results" tags=["quiet"]
metrics = ["exact_ko", "exact_en", "object_f1_ko", "object_f1_en", "bleu4_ko", "bleu4_en", "cider_ko", "cider_en"]


def sat(task):
    """The systems, and those baselines that the task has."""
    return {name: tasks.get(task) for name, tasks in result["systems"].items() if task in tasks or name in era}


def results(prefix, caption):
    rows, numbers = [], {}
    for name, marks in sat("captioning").items():
        rows.append([titles[name], *(f"{marks[prefix + m]:.3f}" if marks else "" for m in metrics)])
        if marks:
            numbers |= {f"{name}_{m}".replace("-", "_"): marks[prefix + m] for m in metrics}
    return plots.table([say(ko="모델", en="system"), *metrics], rows, caption=caption, numbers=numbers)


results(
    "",
    say(
        ko=f"처음 보는 짝, 학습에 나온 작가 (장면 {scenes}개)",
        en=f"Pairs never seen together, by artists of the training set ({scenes} scenes)",
    ),
)

# %% name="results-artist" tags=["quiet"]
results(
    "artist_",
    say(
        ko=f"처음 보는 짝, 처음 보는 작가 (장면 {scenes}개)",
        en=f"Pairs never seen together, by an artist never seen ({scenes} scenes)",
    ),
)

# %% name="naming-sheet"
sheet = naming.papers(world, n=8, seed=0)[0]
cards = []
for scene, found in zip(sheet.scenes, baselines.nearest(baselines.crops(sheet.scenes)), strict=True):
    true, guess = (naming.name_of(concept, reader) for concept in (scene.things[0].concept, found))
    cards.append(Card(scene.image(), alt=true, text=guess, note=true if guess != true else "", right=guess == true))
plots.gallery(cards)

# %% name="naming" tags=["quiet"]
columns = ["top1_ko", "top1_en", "seen_top1_ko", "seen_top1_en"]
rows, numbers = [], {"names": len(world.concepts)}
for name, marks in sat("naming").items():
    rows.append([titles[name], *(f"{marks[c]:.3f}" if marks else "" for c in columns)])
    if marks:
        numbers |= {f"{name}_{c}".replace("-", "_"): marks[c] for c in columns}
plots.table(
    [say(ko="모델", en="system"), *columns],
    rows,
    caption=say(
        ko=f"이름 {len(world.concepts)}개 가운데 하나 (장면 {scenes}개)",
        en=f"One of {len(world.concepts)} names ({scenes} scenes)",
    ),
    numbers=numbers,
)

# %% name="binding-sheet"
cards = []
for scene in matching.papers(world, n=2, seed=0)[0].scenes:
    for each, caption in zip((scene, binding.exchanged(scene)), binding.asked(scene, reader), strict=True):
        cards.append(Card(each.image(), alt=caption, text=caption))
plots.gallery(cards)

# %% name="binding" tags=["quiet"]
spoken = {"ko": say(ko="한국어", en="Korean"), "en": say(ko="영어", en="English")}


def fitting(task, metrics, caption):
    """Those who sat, on drawings by artists of the training set and by one never seen."""
    rows, numbers = [], {}
    for name, marks in sat(task).items():
        if not marks:
            continue
        for language in ("ko", "en"):
            keys = [f"{prefix}{metric}_{language}" for prefix in ("", "artist_") for metric in metrics]
            rows.append([f"{titles[name]}, {spoken[language]}", *(f"{marks[key]:.3f}" for key in keys)])
            numbers |= {f"{name}_{key}".replace("-", "_"): marks[key] for key in keys}
    unseen = say(ko="처음 보는 작가", en="unseen artist")
    head = [say(ko="모델", en="system"), *metrics, *(f"{metric}, {unseen}" for metric in metrics)]
    return plots.table(head, rows, caption=caption, numbers=numbers)


fitting(
    "binding",
    ("text", "image", "group"),
    say(
        ko=f"처음 보는 짝, 자리를 바꾼 그림과 글 (장면 {scenes}개)", en=f"Pairs never seen, exchanged ({scenes} scenes)"
    ),
)

# %% name="retrieval" tags=["quiet"]
fitting(
    "retrieval",
    ("text", "image"),
    say(ko=f"처음 보는 짝, {retrieval.POOL}개 가운데 하나 (장면 {scenes}개)",
        en=f"Pairs never seen, one of {retrieval.POOL} ({scenes} scenes)"),
)  # fmt: skip

# %% name="answering-sheet"
cards = []
for item in answering.papers(world, n=5, seed=0)[0].items:
    question = item.asked[reader]
    cards.append(
        Card(
            item.scene.image(),
            alt=item.scene.caption(reader),
            text=question.text,
            note=f"{question.answer} ({item.kind})",
        )
    )
plots.gallery(cards)

# %% name="answering" tags=["quiet"]
kinds = [*answering.KINDS, "all", "knowledge"]


def answers(prefix, caption):
    rows, numbers = [], {}
    for name, marks in sat("answering").items():
        if not marks:
            rows.append([titles[name], *("" for _ in kinds)])
            continue
        for language in ("ko", "en"):
            keys = [f"{kind}_{language}" for kind in kinds]
            rows.append([f"{titles[name]}, {spoken[language]}", *(f"{marks[prefix + key]:.3f}" for key in keys)])
            numbers |= {f"{name}_{key}".replace("-", "_"): marks[prefix + key] for key in keys}
    return plots.table([say(ko="모델", en="system"), *kinds], rows, caption=caption, numbers=numbers)


answers(
    "",
    say(
        ko=f"처음 보는 짝, 학습에 나온 작가 (질문 {scenes}개, knowledge는 따로 {scenes // len(answering.KINDS)}개)",
        en=f"Pairs never seen together, by artists of the training set ({scenes} questions, and "
        f"{scenes // len(answering.KINDS)} of knowledge)",
    ),
)

# %% name="answering-artist" tags=["quiet"]
answers(
    "artist_",
    say(
        ko=f"처음 보는 짝, 처음 보는 작가 (질문 {scenes}개, knowledge는 따로 {scenes // len(answering.KINDS)}개)",
        en=f"Pairs never seen together, by an artist never seen ({scenes} questions, and "
        f"{scenes // len(answering.KINDS)} of knowledge)",
    ),
)

# %% name="drawing-sheet"
judge, cards = load("judge"), []
asked = drawing.papers(world, n=5, seed=0)[0].scenes[:5]
for scene, found in zip(asked, judge.find(world.render(asked)), strict=True):
    names = [f"{getattr(world.concept(thing.name), reader)} ({thing.x:.0f}, {thing.y:.0f})" for thing in found]
    right = drawing.as_asked(scene, found)
    cards.append(
        Card(
            scene.image(),
            alt=scene.caption(reader),
            text=scene.caption(reader),
            note=", ".join(names),
            right=right == (1.0, True),
        )
    )
plots.gallery(cards)

# %% name="drawing" tags=["quiet"]


def on_card(system):
    """What the card beside a system's weights says of drawing: name -> marks."""
    scores = json.loads((find(system).weights / "card.json").read_text(encoding="utf-8"))["scores"]["systems"]
    return {name: marks["drawing"] for name, marks in scores.items() if "drawing" in marks}


real = on_card("judge")
lines = {titles["chance"]: real["chance"]}
for name in ("dall-e", "stable-diffusion"):
    if find(name).shipped:
        lines[titles[name]] = marks = on_card(name)[name]
        if chosen := {key.removeprefix("reranked_"): mark for key, mark in marks.items() if "reranked_" in key}:
            lines[say(ko=f"{titles[name]}, CLIP이 고름", en=f"{titles[name]}, CLIP's choice")] = chosen
lines[say(ko="바로 그 장면", en="the scene itself")] = real["oracle"]
columns = [f"{metric}_{language}" for metric in ("objects", "relation", "one") for language in ("ko", "en")]
plots.table(
    [say(ko="모델", en="system"), *columns],
    [[name, *(f"{marks[column]:.3f}" for column in columns)] for name, marks in lines.items()],
    caption=say(
        ko="처음 보는 짝과 물건 하나. 점수는 모델 카드에서 가져왔습니다",
        en="Pairs never seen, and single things. Scores are those of the models' cards",
    ),
    numbers={f"truth_{column}": real["oracle"][column] for column in columns},
)

# %% name="intervals" tags=["quiet"]
order = ["chance", "most-frequent", *(system.name for system in TABLE if system.name in result["systems"])]
groups = {}
for prefix, where in (
    ("", say(ko="학습에 나온 작가", en="training artists")),
    ("artist_", say(ko="처음 보는 작가", en="unseen artist")),
):
    for metric, title in (("exact", "exact"), ("object_f1", "object_f1")):
        key = f"{prefix}{metric}_{reader}"
        groups[f"{title} · {where}"] = [
            Bar(
                titles[name],
                result["systems"][name]["captioning"][key],
                *result["intervals"][name]["captioning"][key],
                era=era.get(name),
            )
            for name in order
            if "captioning" in result["systems"][name]
        ]
summary = "; ".join(
    f"{title}: " + ", ".join(f"{bar.label} {bar.value:.1%}" for bar in bars) for title, bars in groups.items()
)
plots.show(plots.bars(groups), alt=summary, caption=say(ko="가는 선은 95 % 구간", en="Thin lines are 95 % intervals"))
