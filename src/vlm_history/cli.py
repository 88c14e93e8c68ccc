"""The command line: `vlm-history caption | classify | draw | train | exam | bench | world`.

Bad input is answered in one line, with exit code 2; heavy imports wait until a command needs them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vlm_history import __version__
from vlm_history.errors import InputError
from vlm_history.systems import find, load, load_from, systems

LANGUAGES = ("ko", "en")
DRAWING = ("dall-e", "stable-diffusion")


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

    draw = commands.add_parser("draw", help="draw what a sentence says, in Korean, English or both")
    draw.add_argument("prompt", metavar="PROMPT", help="what to draw, in quotation marks")
    told = (
        f"{' or '.join(DRAWING)}; or a published Stable Diffusion: its name, such as CompVis/stable-diffusion-v1-4, or "
        "a directory of diffusers'; default: %(default)s"
    )
    draw.add_argument("--model", "--system", default="dall-e", metavar="MODEL", help=told)
    draw.add_argument("--weights", type=Path, metavar="DIR", help="weights of your own training")
    told = "written there, several as picture-1.png and so on; default: %(default)s"
    draw.add_argument("--out", type=Path, default=Path("picture.png"), metavar="FILE", help=told)
    draw.add_argument("--n", type=_positive, default=1, metavar="N", help="pictures; default: %(default)s")
    told = "of the first picture, each later one having the next; default: %(default)s"
    draw.add_argument("--seed", type=int, default=0, help=told)
    told = "how much the prompt counts: 1 is no guidance; default: the model's own"
    draw.add_argument("--guidance", type=float, metavar="G", help=told)
    diffusion = draw.add_argument_group("stable-diffusion alone")
    diffusion.add_argument("--steps", type=int, metavar="N", help="from noise to picture; default: 20")
    diffusion.add_argument("--sampler", metavar="NAME", help="ddpm, ddim or dpm-solver++; default: dpm-solver++")
    told = "draw another picture of this one"
    diffusion.add_argument("--from", dest="image", type=Path, metavar="IMAGE", help=told)
    told = "how little of IMAGE stays, above 0 and up to 1; default: 0.7"
    diffusion.add_argument("--strength", type=float, metavar="S", help=told)
    told = "black and white, of IMAGE's size: what is white there is drawn anew, all else of IMAGE stays"
    diffusion.add_argument("--mask", type=Path, metavar="MASK", help=told)
    draw.set_defaults(run=_draw)

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


def _draw(options: argparse.Namespace) -> None:
    try:
        options.prompt.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"expected a prompt in UTF-8, got {options.prompt!a:.60}; check the terminal") from error
    if not 0 <= options.seed < 2**63 - options.n:
        raise InputError(f"expected a seed from 0 to 2^63 - 1, got {options.seed}; choose one of these")
    files = _pictures(options.out, options.n)
    asked = {name: getattr(options, name) for name in ("guidance", "steps", "sampler", "strength")}
    asked = {name: value for name, value in asked.items() if value is not None} | {"n": options.n, "seed": options.seed}
    given = [image for image in (options.image, options.mask) if image is not None]
    for image in given:
        if not (_there(image) and image.is_file()):
            raise InputError(f"expected a picture file, got {str(image)!r}, which is no file; check the path")
        for file in files:
            if _there(file) and file.samefile(image):
                raise InputError(f"expected --out apart from what is drawn from, got {file} for both; name another")
    if options.image is None and (options.mask is not None or options.strength is not None):
        raise InputError("expected --mask and --strength with a picture, got none; pass it with --from, or drop them")
    if options.mask is not None and options.strength is not None:
        raise InputError("expected --mask or --strength, got both: what is masked is drawn wholly anew; drop one")
    if options.model == "dall-e":
        told = [name for name in ("steps", "sampler") if name in asked] + ["from"] * bool(given)
        if told:
            raise InputError(
                f"expected --{told[0]} with stable-diffusion, got dall-e, which has no such thing; drop it"
            )
    mask = None if options.mask is None else _mask(options.mask)
    model = _drawer(options.model, options.weights)
    if options.model != "dall-e":
        asked["progress"] = sys.stderr.isatty()
    if mask is not None:
        drawn = model.inpaint(options.image, mask, options.prompt, **asked)
    elif options.image is not None:
        drawn = model.draw_from(options.image, options.prompt, **asked)
    else:
        drawn = model.draw(options.prompt, **asked)
    for picture, file in zip(drawn if options.n > 1 else [drawn], files, strict=True):
        _write_picture(picture, file)
        print(file)


def _drawer(name: str, weights: Path | None) -> Any:
    """What draws under this name: a system, or a published Stable Diffusion."""
    if name in DRAWING:
        if weights is not None:
            return _own(name, weights)
        if not find(name).shipped:
            raise InputError(
                f"expected weights of {name}, which are not shipped yet; make them with vlm-history train {name}, then "
                f"pass --weights runs/{name}"
            )
        return load(name)
    if name in systems():
        raise InputError(f"expected a system that draws, got {name!r}; there are: {', '.join(DRAWING)}")
    if weights is not None:
        raise InputError(f"expected --weights with {' or '.join(DRAWING)}, got it with {name!r}; drop one")
    from vlm_history import published

    if name not in published.names() and not _there(Path(name)):
        raise InputError(
            f"expected {', '.join(DRAWING)}, {', '.join(published.stable_diffusion.NAMES)} or a directory that holds a "
            f"Stable Diffusion, got {name!r}, which is none of these; choose one"
        )
    model = published.load(name)
    if not hasattr(model, "draw"):
        raise InputError(f"expected a published Stable Diffusion, got {name!r}, which is a {type(model).__name__}")
    return model


def _there(path: Path) -> bool:
    """Whether there is anything; of what can be no path, such as a name that is too long, there is nothing."""
    try:
        return path.exists()
    except OSError:
        return False


def _pictures(out: Path, n: int) -> list[Path]:
    """The files that n pictures go to: out itself, or out-1, out-2 and so on; refused if they cannot be written."""
    import io

    from PIL import Image

    wanted = "expected a picture file that can be written"
    endings = Image.registered_extensions()
    if _there(out) and out.is_dir():
        raise InputError(f"{wanted}, got {out}, which is a folder; name a file")
    try:  # some endings are read alone, or have no colours
        Image.new("RGB", (16, 16)).save(io.BytesIO(), endings[out.suffix.lower()])
    except (KeyError, OSError, ValueError) as error:
        raise InputError(f"{wanted}, got {str(out)!r}; let it end with .png, .jpg or .webp") from error
    folder = out.absolute().parent
    if not (_there(folder) and folder.is_dir()):
        raise InputError(f"{wanted}, got {out}, whose folder does not exist; make the folder first")
    files = [out] if n == 1 else [out.with_stem(f"{out.stem}-{k}") for k in range(1, n + 1)]
    for file in files:
        if _there(file) and file.is_dir():
            raise InputError(f"{wanted}, got {file}, which is a folder; choose another --out")
    return files


def _write_picture(picture: Any, file: Path) -> None:
    """Write a picture, (height, width, 3) bytes, beside its place, then rename."""
    from PIL import Image

    beside = file.with_name(file.name + ".part")
    try:
        Image.fromarray(picture).save(beside, Image.registered_extensions()[file.suffix.lower()])
        beside.replace(file)
    except (OSError, ValueError) as error:
        with suppress(OSError):
            beside.unlink()
        raise InputError(f"expected a picture file that can be written, got {file}: {error}") from error


def _mask(file: Path) -> object:
    """A picture of black and white as booleans (height, width), true where it is white."""
    import numpy as np
    from PIL import Image

    try:
        with Image.open(file) as opened:
            white = np.asarray(opened.convert("L")) > 127
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"expected a mask as a picture, got {str(file)!r}, which cannot be read ({error})") from error
    if not white.any():
        raise InputError(f"expected a mask that is white where to draw anew, got {str(file)!r}, which is all dark")
    return white


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
        if options.system == "judge":
            results = report.judged(model, n=options.exam_n, tell=_tell)
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
    models: dict[str, Any] = {}
    if options.weights is not None:
        models[options.systems[0]] = _own(options.systems[0], options.weights)
    how = {
        "tasks": options.tasks, "artwork": options.artwork, "n": options.n, "seed": options.seed, "beam": options.beam,
        "tell": _tell,
    }  # fmt: skip
    if options.systems == ["judge"]:
        results = report.judged(models.get("judge"), **how)
    else:
        results = report.run(options.systems, models=models, **how)
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
        goes_on = "; the same command goes on from the last checkpoint" if options.run is _train else ""
        print(f"vlm-history: stopped{goes_on}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
