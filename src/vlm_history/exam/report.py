"""The exam as a whole: its tasks, who sits them, the table, the JSON, and the scores on a card."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vlm_history.errors import InputError
from vlm_history.exam import answering, binding, captioning, drawing, matching, naming, retrieval
from vlm_history.judge import Judge
from vlm_history.systems import available, load
from vlm_history.world import World
from vlm_history.world.splits import HELD_OUT_ARTIST

Report = dict[str, Any]

BASELINES = ("chance", "most-frequent", "hog", "oracle")
"""Those who sit beside the systems, in the order of the table; not every task has all of them."""


@dataclass(frozen=True)
class Task:
    """What the report needs to know of a task.

    Attributes:
        about: what is asked, in a few words.
        papers: (world, n, seed) -> its sheets.
        baselines: name of a baseline -> (world, seed) -> a candidate.
        can_sit: whether a model can sit it.
        candidate: (model, world, width of the beam) -> a candidate, who sees of the sheets what a system may see.
        sit: (candidate, sheets, seed of the bootstrap) -> metric -> (value, low, high).
        sheets: prefix of the metrics of a sheet -> what is special about it.
        columns: metrics without prefix, as the table puts them side by side.
        closed: why it cannot be sat in a world, as an error says it; None if it can.
    """

    about: str
    papers: Callable[[World, int, int], list[Any]]
    baselines: Mapping[str, Callable[[World, int], Any]]
    can_sit: Callable[[Any], bool]
    candidate: Callable[[Any, World, int], Any]
    sit: Callable[[Any, list[Any], int], dict[str, tuple[float, ...]]]
    sheets: Mapping[str, str]
    columns: tuple[tuple[str, ...], ...]
    closed: Callable[[World], str | None] = lambda world: None


PAIRS = {
    "": "pairs never seen together, by training artists",
    "artist_": f"pairs never seen together, by an artist never seen ({HELD_OUT_ARTIST})",
}

TASKS: dict[str, Task] = {
    "naming": Task(
        about="one object, among all names",
        papers=naming.papers,
        baselines={"chance": naming.chance, "hog": naming.hog, "oracle": naming.oracle},
        can_sit=naming.can_sit,
        candidate=naming.namer,
        sit=naming.sit,
        sheets={"": f"by an artist never seen ({HELD_OUT_ARTIST})", "seen_": "by training artists"},
        columns=(("top1_ko", "top1_en"),),
    ),
    "captioning": Task(
        about="two objects and a relation",
        papers=captioning.papers,
        baselines={
            "chance": captioning.chance,
            "most-frequent": captioning.most_frequent,
            "oracle": captioning.oracle,
        },
        can_sit=captioning.can_sit,
        candidate=captioning.captioner,
        sit=captioning.sit,
        sheets=PAIRS,
        columns=(
            ("exact_ko", "exact_en", "object_f1_ko", "object_f1_en"),
            ("bleu4_ko", "bleu4_en", "cider_ko", "cider_en"),
        ),
    ),
    "binding": Task(
        about="two pictures, the same two things exchanged: which caption fits which; half is chance",
        papers=matching.papers,
        baselines={"chance": matching.chance, "oracle": matching.oracle},
        can_sit=matching.can_sit,
        candidate=lambda model, world, beam: matching.matcher(model, world),
        sit=binding.sit,
        sheets=PAIRS,
        columns=(("text_ko", "text_en", "image_ko", "image_en"), ("group_ko", "group_en")),
    ),
    "retrieval": Task(
        about=f"of {retrieval.POOL} captions the picture's, of {retrieval.POOL} pictures the caption's",
        papers=matching.papers,
        baselines={"chance": matching.chance, "oracle": matching.oracle},
        can_sit=matching.can_sit,
        candidate=lambda model, world, beam: matching.matcher(model, world),
        sit=retrieval.sit,
        sheets=PAIRS,
        columns=(("text_ko", "text_en", "image_ko", "image_en"),),
    ),
    "answering": Task(
        about="questions, one a scene; knowledge: of what only text told",
        papers=answering.papers,
        baselines={"chance": answering.chance, "most-frequent": answering.most_frequent, "oracle": answering.oracle},
        can_sit=answering.can_sit,
        candidate=lambda model, world, beam: answering.answerer(model, world),
        sit=answering.sit,
        sheets=PAIRS,
        columns=tuple(
            tuple(f"{kind}_{language}" for kind in kinds)
            for language in ("ko", "en")
            for kinds in (("what", "where", "how_many", "yes_no"), ("category", "all", "knowledge"))
        ),
    ),
    "drawing": Task(
        about="a picture of what a sentence says, marked by a judge of real scenes",
        papers=drawing.papers,
        baselines={"chance": drawing.chance, "oracle": drawing.oracle},
        can_sit=drawing.can_sit,
        candidate=lambda model, world, beam: drawing.drawer(model, world),
        sit=drawing.sit,
        sheets={
            "": "pairs never seen together, and single things",
            "reranked_": f"the same, CLIP's choice of {drawing.CANDIDATES} drawings",
        },
        columns=(("objects_ko", "objects_en", "relation_ko", "relation_en"), ("one_ko", "one_en")),
        closed=drawing.closed,
    ),
}
"""The tasks by name, in the order in which they are sat."""


def check_tasks(names: Sequence[str]) -> list[str]:
    """Return the tasks named, each once and in their order, or raise `InputError` if there is no such task."""
    for name in names:
        if name not in TASKS:
            raise InputError(f"expected tasks among {', '.join(TASKS)}, got {name!r}; choose of these")
    return [name for name in TASKS if name in names]


def run(
    names: Sequence[str] = (),
    *,
    tasks: Sequence[str] | None = None,
    artwork: str | Path | None = None,
    n: int = 1000,
    seed: int = 0,
    beam: int = 3,
    models: dict[str, Any] | None = None,
    judge: Judge | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Report:
    """Let systems sit the exam, beside its baselines.

    Args:
        names: systems; none means all whose weights are shipped.
        tasks: which tasks; None means all that any of the systems can sit, and all there are without systems, but for
            drawing where there is no judge of it.
        artwork: a pack of the reader's own to draw the scenes with.
        n: scenes a sheet.
        seed: of scenes, baselines and bootstrap.
        beam: width of the beam search, where a system has one.
        models: name -> model, for systems that are not to be loaded from the shipped weights.
        judge: who marks drawings; the shipped one if None.
        tell: is told what is going on.

    Returns:
        {"systems": {system: {task: {metric: value}}}, "intervals": {system: {task: {metric: [low, high]}}},
        "artwork", "seed", "n", "beam"}. The baselines stand among the systems: "chance", "most-frequent", "hog" (see
        `baselines`), and "oracle", which tells the truth and shows where each metric ends. Who cannot sit a task has
        no entry for it.

    Raises:
        InputError: an unknown task or one that is closed, an unknown system or one without weights, a malformed pack,
            n below 2.
    """
    if n < 2:
        raise InputError(f"expected at least 2 scenes, got {n}; intervals need several hundred")
    chosen = None if tasks is None else check_tasks(tasks)
    world = World(artwork=artwork) if artwork is not None else World()
    every = dict(TASKS)
    if judge is not None:
        with_judge = {"papers": partial(drawing.papers, judge=judge), "closed": partial(drawing.closed, judge=judge)}
        every["drawing"] = replace(TASKS["drawing"], **with_judge)  # type: ignore[arg-type]  # each is its own
    why_not = {name: why for name, task in every.items() if (why := task.closed(world)) is not None}
    for name in chosen or ():
        if name in why_not:
            raise InputError(why_not[name])
    models = dict(models or {})
    asked = [*models, *names]
    names = list(names) or [*models, *(name for name in available() if name not in models)]
    for name in names:
        if name not in models and name not in BASELINES:
            models[name] = load(name)
    sitting = {name: models[name] for name in names if name in models}
    if chosen is None:
        chosen = [
            name for name, task in every.items()
            if name not in why_not and (not sitting or any(map(task.can_sit, sitting.values())))
        ]  # fmt: skip
        for name, why in why_not.items():
            if any(map(every[name].can_sit, sitting.values())):
                tell(f"{name} is left out: {why}")
    for name, model in list(sitting.items()):
        if not any(every[task].can_sit(model) for task in chosen):
            if name in asked:
                tell(f"{name}: can sit none of {', '.join(chosen or [task for task in every if task not in why_not])}")
            else:
                del sitting[name]
    beside = [name for name in BASELINES if any(name in every[task].baselines for task in chosen)]
    values: dict[str, Any] = {name: {} for name in [*beside, *sitting]}
    intervals: dict[str, Any] = {name: {} for name in values}
    for title in chosen:
        task = every[title]
        sheets = task.papers(world, n, seed)
        candidates = {name: task.baselines[name](world, seed) for name in beside if name in task.baselines}
        candidates |= {
            name: task.candidate(model, world, beam) for name, model in sitting.items() if task.can_sit(model)
        }
        for name, candidate in candidates.items():
            tell(f"{name}: {title}, {n} scenes a sheet, {len(sheets)} sheets")
            marks = task.sit(candidate, sheets, seed)
            values[name][title] = {metric: round(value, 4) for metric, (value, _, _) in marks.items()}
            intervals[name][title] = {
                metric: [round(low, 4), round(high, 4)] for metric, (_, low, high) in marks.items()
            }
    return {
        "systems": values,
        "intervals": intervals,
        "artwork": None if artwork is None else str(artwork),
        "seed": seed,
        "n": n,
        "beam": beam,
    }


def table(report: Report) -> str:
    """The report as aligned text, a block a task: value and 95 % interval."""
    lines = [f"n = {report['n']} scenes a sheet, seed {report['seed']}, beam {report['beam']}; in brackets 95 % "
             "bootstrap intervals"]  # fmt: skip
    if report["artwork"]:
        lines.append(f"scenes drawn with {report['artwork']}")
    systems = report["systems"]
    for title, task in TASKS.items():
        # a baseline that a task does not have is left out; a system that cannot sit it keeps its empty row
        rowed = [name for name, sat in systems.items() if title in sat or name not in BASELINES]
        if not any(title in systems[name] for name in rowed):
            continue
        lines += ["", f"{title}: {task.about}"]
        sheets = task.sheets if report["artwork"] is None else {"": "by the artist of the pack"}
        for prefix, special in sheets.items():
            if not any(metric.startswith(prefix) for sat in systems.values() for metric in sat.get(title, {})):
                continue  # nobody who sat the task could sit this sheet
            for part in task.columns:
                rows = [["", *part]]
                for name in rowed:
                    marks, ranges = systems[name].get(title, {}), report["intervals"][name].get(title, {})
                    rows.append([name, *(_cell(marks.get(prefix + c), ranges.get(prefix + c)) for c in part)])
                lines += ["", special, *aligned(rows)]
    if not any(systems.values()):
        lines += ["", f"{', '.join(systems)}: nothing here that they can sit"]
    return "\n".join(lines)


def _cell(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None or interval is None:
        return "-"
    return f"{value:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns of equal width, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]


def write_json(report: Report, path: str | Path) -> None:
    """Write the report beside, then rename."""
    path = Path(path)
    if not path.parent.is_dir():
        raise InputError(f"expected a file in a folder that exists, got {path}; make {path.parent} first")
    beside = path.with_name(path.name + ".part")
    beside.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def judged(judge: Judge | None = None, tasks: Sequence[str] | None = None, **options: Any) -> Report:
    """The judge of drawings sits no exam: its marks are those that it gives to real scenes, the oracle's drawings.

    Args:
        judge: the judge; the shipped one if None.
        tasks: drawing, or None, which means the same.
        options: see `run`.

    Raises:
        InputError: as `run` does, or another task.
    """
    if tasks is not None and list(tasks) != ["drawing"]:
        raise InputError(f"expected drawing as the only task of the judge, got {', '.join(tasks)}; leave --tasks out")
    return run(["oracle"], tasks=["drawing"], judge=judge, **options)


def write_card(report: Report, system: str, directory: str | Path) -> None:
    """Put a system's scores, and the baselines', on the card beside its weights."""
    card_path = Path(directory) / "card.json"
    card = json.loads(card_path.read_text(encoding="utf-8"))
    names = [name for name in (*BASELINES, system) if name in report["systems"]]
    card["scores"] = {
        **{key: report[key] for key in ("n", "seed", "beam")},
        **{part: {name: report[part][name] for name in names} for part in ("systems", "intervals")},
    }
    write_json(card, card_path)
