# %% [markdown] lang="ko"
# # 시험
#
# 모든 모델이 치르는 시험입니다. `scenes`를 늘리면 구간이 좁아지고 시간이 더 걸립니다.

# %% [markdown] lang="en"
# # The exam
#
# The exam that all models sit. A larger `scenes` gives narrower intervals and takes longer.

# %% name="setup" tags=["quiet"]
from vlm_history import plots
from vlm_history.exam import captioning, report
from vlm_history.plots import Bar, Card, say
from vlm_history.systems import TABLE
from vlm_history.world import World

reader = plots.language()
titles = {system.name: system.title for system in TABLE} | {
    "chance": say(ko="아무 문장", en="chance"),
    "most-frequent": say(ko="가장 흔한 문장", en="most frequent"),
    "oracle": say(ko="정답", en="the truth"),
}
era = {system.name: system.era for system in TABLE}

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
result = report.run(n=scenes, seed=0, beam=3)

# %% name="results" tags=["quiet"]
metrics = ["exact_ko", "exact_en", "object_f1_ko", "object_f1_en", "bleu4_ko", "bleu4_en", "cider_ko", "cider_en"]


def results(prefix, caption):
    rows = []
    for name, tasks in result["systems"].items():
        marks = tasks.get("captioning", {})
        rows.append([titles[name], *(f"{marks[prefix + m]:.3f}" if prefix + m in marks else "" for m in metrics)])
    numbers = {
        f"{name}_{m}".replace("-", "_"): tasks["captioning"][prefix + m]
        for name, tasks in result["systems"].items()
        if "captioning" in tasks
        for m in metrics
    }
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
