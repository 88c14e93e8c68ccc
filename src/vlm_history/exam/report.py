"""The exam as a whole: who sits it, the table, the JSON, and the scores on a card."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vlm_history.errors import InputError
from vlm_history.exam import captioning
from vlm_history.systems import available, load
from vlm_history.world import World
from vlm_history.world.splits import HELD_OUT_ARTIST

Report = dict[str, Any]


def run(
    names: Sequence[str] = (),
    *,
    artwork: str | Path | None = None,
    n: int = 1000,
    seed: int = 0,
    beam: int = 3,
    models: dict[str, Any] | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Report:
    """Let systems sit the exam, beside its baselines.

    Args:
        names: systems; none means all whose weights are shipped.
        artwork: a pack of the reader's own to draw the scenes with.
        n: scenes a sheet.
        seed: of scenes, baselines and bootstrap.
        beam: width of the beam search.
        models: name -> model, for systems that are not to be loaded from the shipped weights.
        tell: is told what is going on.

    Returns:
        {"systems": {system: {task: {metric: value}}}, "intervals": {system: {task: {metric: [low, high]}}},
        "artwork", "seed", "n", "beam"}. The baselines are the systems "chance" and "most-frequent"; "oracle" tells
        the truth and shows where each metric ends. A system that cannot sit a task has no entry for it.

    Raises:
        InputError: an unknown system or one without weights, a malformed pack, n below 2.
    """
    if n < 2:
        raise InputError(f"expected at least 2 scenes, got {n}; intervals need several hundred")
    models = dict(models or {})
    names = list(names) or [*models, *(name for name in available() if name not in models)]
    for name in names:
        if name not in models and name not in captioning.BASELINES:
            models[name] = load(name)
    world = World(artwork=artwork) if artwork is not None else World()
    sheets = captioning.papers(world, n, seed)
    candidates: dict[str, captioning.Captioner] = {
        "chance": captioning.chance(world, seed),
        "most-frequent": captioning.most_frequent(world, seed),
        "oracle": captioning.oracle(world, seed),
    }
    for name in names:
        if name in models and hasattr(models[name], "caption"):
            candidates[name] = captioning.captioner(models[name], world, beam)
    values: dict[str, Any] = {name: {} for name in [*captioning.BASELINES, *models]}
    intervals: dict[str, Any] = {name: {} for name in values}
    for name, candidate in candidates.items():
        tell(f"{name}: captioning {n} scenes a sheet, {len(sheets)} sheets")
        marks = captioning.sit(candidate, sheets, seed)
        values[name]["captioning"] = {metric: round(value, 4) for metric, (value, _, _) in marks.items()}
        intervals[name]["captioning"] = {
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


COLUMNS = ("exact_ko", "exact_en", "object_f1_ko", "object_f1_en", "bleu4_ko", "bleu4_en", "cider_ko", "cider_en")


def table(report: Report) -> str:
    """The report as aligned text: value and 95 % interval."""
    lines = [f"captioning: two objects and a relation, n = {report['n']} scenes a sheet, seed {report['seed']}, beam "
             f"{report['beam']}; in brackets 95 % bootstrap intervals"]  # fmt: skip
    if report["artwork"]:
        lines.append(f"scenes drawn with {report['artwork']}")
    sheets = [("", "pairs never seen together, by training artists")]
    if report["artwork"] is None:
        sheets.append(("artist_", f"pairs never seen together, by an artist never seen ({HELD_OUT_ARTIST})"))
    else:
        sheets = [("", "by the artist of the pack")]
    for prefix, title in sheets:
        for part in (COLUMNS[:4], COLUMNS[4:]):
            rows = [["", *part]]
            for system, tasks in report["systems"].items():
                marks = tasks.get("captioning", {})
                ranges = report["intervals"][system].get("captioning", {})
                cells = [_cell(marks.get(prefix + c), ranges.get(prefix + c)) for c in part]
                rows.append([system, *cells])
            lines += ["", title, *aligned(rows)]
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


def write_card(report: Report, system: str, directory: str | Path) -> None:
    """Put a system's scores, and the baselines', on the card beside its weights."""
    card_path = Path(directory) / "card.json"
    card = json.loads(card_path.read_text(encoding="utf-8"))
    card["scores"] = {
        **{key: report[key] for key in ("n", "seed", "beam")},
        "systems": {name: report["systems"][name] for name in (*captioning.BASELINES, system)},
        "intervals": {name: report["intervals"][name] for name in (*captioning.BASELINES, system)},
    }
    write_json(card, card_path)
