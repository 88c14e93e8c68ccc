"""The command line: `vlm-history caption | classify | train | exam | bench | world`.

Bad input is answered in one line, with exit code 2; heavy imports wait until a command needs them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vlm_history import __version__
from vlm_history.errors import InputError
from vlm_history.systems import find, load, load_from, systems

LANGUAGES = ("ko", "en")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


_positive.__name__ = "positive whole number"  # argparse names the type in its message


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vlm-history", description="The history of vision-language models, every model of it running."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    caption = commands.add_parser("caption", help="say what is in a picture")
    caption.add_argument("images", nargs="+", metavar="IMAGE", help="picture files")
    caption.add_argument("--system", default="show-and-tell", metavar="SYSTEM", help="default: %(default)s")
    caption.add_argument("--weights", type=Path, metavar="DIR", help="weights of your own training")
    caption.add_argument("--language", choices=LANGUAGES, default="ko", help="default: %(default)s")
    caption.add_argument("--beam", type=_positive, default=3, help="width of the beam search; default: %(default)s")
    caption.set_defaults(run=_caption)

    classify = commands.add_parser("classify", help="say which name fits a picture best")
    classify.add_argument("image", metavar="IMAGE", help="picture file")
    classify.add_argument("names", nargs="*", metavar="NAME", help="what it may be; clip takes any names")
    classify.add_argument("--system", default="clip", metavar="SYSTEM", help="default: %(default)s")
    classify.add_argument("--weights", type=Path, metavar="DIR", help="weights of your own training")
    told = "a published CLIP instead: its name, such as openai/clip-vit-base-patch32, or a directory that holds one"
    classify.add_argument("--model", metavar="MODEL", help=told)
    told = "of the names; default: ko, or en with --model"
    classify.add_argument("--language", choices=LANGUAGES, help=told)
    told = "sentences with {} for the name, for clip; several are an ensemble"
    classify.add_argument("--prompts", nargs="+", metavar="PROMPT", help=told)
    classify.add_argument("--top", type=_positive, default=5, help="names to tell; default: %(default)s")
    classify.set_defaults(run=_classify)

    train = commands.add_parser("train", help="train a system: the recipe that made the shipped weights")
    train.add_argument("system", metavar="SYSTEM", help=f"one of: {', '.join(systems())}")
    train.add_argument("--quick", action="store_true", help="a short run that shows learning")
    train.add_argument("--out", type=Path, metavar="DIR", help="default: runs/SYSTEM, or runs/SYSTEM-quick")
    train.add_argument("--anew", action="store_true", help="start anew instead of going on where training stopped")
    told = "scenes a sheet in the exam after the full recipe; 0 for none; default: %(default)s"
    train.add_argument("--exam-n", type=int, default=1000, metavar="N", help=told)
    data = train.add_argument_group("clip on pictures and texts of your own")
    told = "WebDataset shards, such as 'shards/{0000..0009}.tar': under each name a picture and a .txt"
    data.add_argument("--data", metavar="SHARDS", help=told)
    told = "of the model: world, or a published one such as ViT-B/32; default: %(default)s"
    data.add_argument("--size", default="world", metavar="SIZE", help=told)
    data.add_argument("--steps", type=_positive, default=10_000, help="weight updates; default: %(default)s")
    data.add_argument("--batch", type=_positive, default=256, help="pairs a step; default: %(default)s")
    data.add_argument("--workers", type=_positive, default=2, help="that read beside training; default: %(default)s")
    train.set_defaults(run=_train)

    exam = commands.add_parser("exam", help="let systems sit the exam")
    exam.add_argument("systems", nargs="*", metavar="SYSTEM", help="default: all with shipped weights")
    told = (
        "among naming, captioning, binding, retrieval, answering, drawing, named after the systems; default: all that "
        "these can sit"
    )
    exam.add_argument("--tasks", nargs="+", metavar="TASK", help=told)
    exam.add_argument("--artwork", type=Path, metavar="PACK.npz", help="draw the scenes with a pack of your own")
    exam.add_argument("--json", type=Path, metavar="FILE", help="write the report there as well")
    exam.add_argument("--weights", type=Path, metavar="DIR", help="weights of your own training, for one SYSTEM")
    exam.add_argument("--card", action="store_true", help="write the scores on the card beside those weights, too")
    exam.add_argument("--n", type=_positive, default=1000, help="scenes a sheet; default: %(default)s")
    exam.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    exam.add_argument("--beam", type=_positive, default=3, help="default: %(default)s")
    exam.set_defaults(run=_exam)

    bench = commands.add_parser("bench", help="time it side by side with the reference, in one run")
    bench.add_argument("names", nargs="*", metavar="NAME", help="default: all there are")
    bench.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    bench.add_argument("--repeats", type=_positive, default=5, help="of each side; default: %(default)s")
    bench.add_argument("--threads", type=_positive, default=1, help="default: %(default)s")
    told = "instead of times, the peak memory of CLIP's loss by the size of its batch"
    bench.add_argument("--memory", action="store_true", help=told)
    bench.set_defaults(run=_bench)

    world = commands.add_parser("world", help="look at the world").add_subparsers(
        dest="what", required=True, metavar="WHAT"
    )
    sample = world.add_parser("sample", help="draw a scene and say what is in it")
    sample.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    sample.add_argument("--kind", help="one, size, pair, count or many; default: the seed chooses")
    sample.add_argument("--split", default="train", help="default: %(default)s")
    sample.add_argument("--artwork", type=Path, metavar="PACK.npz", help="draw with a pack of your own")
    sample.add_argument("--out", type=Path, metavar="FILE.png", help="write the picture there")
    sample.add_argument("--scale", type=_positive, default=1, help="enlarge it so many times; default: %(default)s")
    sample.set_defaults(run=_sample)
    return parser


def _caption(options: argparse.Namespace) -> None:
    for image in options.images:
        if not Path(image).is_file():
            raise InputError(f"expected a picture file, got {image!r}, which is no file; check the path")
    system = find(options.system)
    model = load(system.name) if options.weights is None else _own(system.name, options.weights)
    if not hasattr(model, "caption"):
        raise InputError(f"expected a system that captions, got {system.name!r}; try show-and-tell")
    for image in options.images:
        said = model.caption(image, language=options.language, beam=options.beam)
        print(said if len(options.images) == 1 else f"{image}: {said}")


def _classify(options: argparse.Namespace) -> None:
    if not Path(options.image).is_file():
        raise InputError(f"expected a picture file, got {options.image!r}, which is no file; check the path")
    asked = {} if options.prompts is None else {"prompts": options.prompts}
    if options.model is not None:
        from vlm_history import published

        model: Any = published.load(options.model)
        if not hasattr(model, "encode_text"):
            raise InputError(f"expected a published CLIP, got {options.model!r}, which is a {type(model).__name__}")
    else:
        system = find(options.system)
        model = load(system.name) if options.weights is None else _own(system.name, options.weights)
        if not hasattr(model, "classify"):
            raise InputError(f"expected a system that classifies, got {system.name!r}; try clip")
        if asked and system.name != "clip":
            raise InputError(f"expected --prompts with clip, got {system.name!r}, which knows names alone; drop them")
    language = options.language or ("ko" if options.model is None else "en")
    names = options.names or None
    if names is None and (options.model is not None or options.system == "clip"):
        raise InputError("expected names to choose among, got none; write them after the picture")
    told = model.classify(options.image, names, language=language, **asked)
    for name, chance in list(told.items())[: options.top]:
        print(f"{chance:6.1%}  {name}")


def _own(name: str, directory: Path) -> object:
    if not (directory / "model.safetensors").is_file():
        raise InputError(f"expected a folder with model.safetensors, got {directory}; train writes one")
    return load_from(find(name), directory)


def _train(options: argparse.Namespace) -> None:
    find(options.system)
    from vlm_history.training import recipes

    if options.data is not None:
        _train_on_shards(options)
        return
    recipe = recipes.get(options.system, options.quick)
    from vlm_history.training.loop import train

    out = options.out or Path("runs") / (options.system + ("-quick" if options.quick else ""))
    first = int(os.environ.get("RANK", "0")) == 0
    if first:
        print(f"{recipe.system}: {recipe.description} (recipe {recipe.hash[:8]}, seed {recipe.seed})")
    train(recipe, out, resume=not options.anew)
    if not first:
        return
    print(f"weights and card in {out}")
    if not options.quick and options.exam_n:
        from vlm_history.exam import report

        model: Any = _own(options.system, out)
        if options.system == "judge":  # it sits no exam: its marks are those that it gives to real scenes
            results = report.run(["oracle"], tasks=["drawing"], n=options.exam_n, judge=model, tell=_tell)
        else:
            results = report.run([options.system], n=options.exam_n, models={options.system: model}, tell=_tell)
        report.write_card(results, options.system, out)
        print(report.table(results))


def _train_on_shards(options: argparse.Namespace) -> None:
    if options.system != "clip" or options.quick:
        raise InputError("expected --data with clip and without --quick: no other system reads shards; drop one")
    from vlm_history.training import shards
    from vlm_history.training.loop import train

    recipe = shards.recipe(options.data, size=options.size, steps=options.steps, batch_size=options.batch)
    out = options.out or Path("runs") / "clip-shards"
    first = int(os.environ.get("RANK", "0")) == 0
    if first:
        print(f"{recipe.description} (recipe {recipe.hash[:8]}, seed {recipe.seed})")
    train(recipe, out, resume=not options.anew, workers=options.workers)
    if first:
        print(f"weights and card in {out}; {shards.skipped(out)}")


def _exam(options: argparse.Namespace) -> None:
    for name in options.systems:
        find(name)
    if options.artwork is not None and not options.artwork.is_file():
        raise InputError(f"expected an artwork pack, got {options.artwork}, which is no file; check the path")
    if (options.weights is not None or options.card) and len(options.systems) != 1:
        raise InputError(f"expected one SYSTEM with --weights or --card, got {len(options.systems)}; name one")
    if options.card and options.artwork is not None:
        raise InputError("expected --card without --artwork: a card holds scores on the shipped artwork; drop one")
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise InputError(f"expected a file in a folder that exists, got {options.json}; make the folder first")
    from vlm_history.exam import report

    if options.tasks is not None:
        report.check_tasks(options.tasks)
    models = {}
    if options.weights is not None:
        models[options.systems[0]] = _own(options.systems[0], options.weights)
    results = report.run(
        options.systems, tasks=options.tasks, artwork=options.artwork, n=options.n, seed=options.seed,
        beam=options.beam, models=models, tell=_tell,
    )  # fmt: skip
    print(report.table(results))
    if options.json is not None:
        report.write_json(results, options.json)
    if options.card:
        name = options.systems[0]
        report.write_card(results, name, options.weights or find(name).weights)


def _bench(options: argparse.Namespace) -> None:
    if options.json is not None and not options.json.absolute().parent.is_dir():
        raise InputError(f"expected a file in a folder that exists, got {options.json}; make the folder first")
    from vlm_history import bench

    if options.memory:
        if options.names:
            raise InputError(f"expected --memory without names, got {', '.join(options.names)}; drop one")
        peaks = bench.memory(tell=_tell)
        print(bench.memory_table(peaks))
        if options.json is not None:
            bench.write_json(peaks, options.json)
        return
    try:
        results = bench.run(options.names, repeats=options.repeats, threads=options.threads, tell=_tell)
    except bench.NotEqual as error:
        raise SystemExit(f"vlm-history: {error}") from error
    print(bench.table(results))
    if options.json is not None:
        bench.write_json(results, options.json)


def _tell(text: str) -> None:
    print(text, file=sys.stderr)


def _sample(options: argparse.Namespace) -> None:
    from vlm_history.world import World

    scene = World(artwork=options.artwork).sample(options.seed, split=options.split, kind=options.kind)
    for language in LANGUAGES:
        print(scene.caption(language))
    if options.out is None:
        return
    from PIL import Image

    picture = Image.fromarray(scene.image())
    picture = picture.resize((picture.width * options.scale, picture.height * options.scale), Image.Resampling.NEAREST)
    try:
        picture.save(options.out)
    except (OSError, ValueError) as error:
        raise InputError(f"expected a picture file that can be written, got {options.out}: {error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: those of the process if None.

    Returns:
        Exit code: 0, or 2 for bad input (argparse itself exits with 2 too).
    """
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except InputError as error:
        print(f"vlm-history: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("vlm-history: stopped; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
