"""Draw the pictures that the READMEs show: `python docs/assets/make.py`, once the weights are there."""

from __future__ import annotations

import textwrap
from pathlib import Path

from matplotlib import pyplot

import vlm_history as vlm
from vlm_history.plots import LIGHT
from vlm_history.plots.output import compressed
from vlm_history.plots.style import themed

HERE = Path(__file__).parent
SEEDS = (0, 1, 2, 3)


def main() -> None:
    """Four scenes of pairs never seen together, with what Show, Attend and Tell writes below them, in each language."""
    from PIL import Image

    world, model = vlm.World(), vlm.load("show-attend-and-tell")
    scenes = [world.sample(seed, split="test", kind="pair") for seed in SEEDS]
    pictures = world.render(scenes)
    for language in ("ko", "en"):
        said = model.caption(pictures, language=language, beam=3)
        with themed(LIGHT), pyplot.rc_context({"figure.facecolor": "white", "savefig.facecolor": "white"}):
            figure, axes = pyplot.subplots(1, len(scenes), figsize=(9, 3), layout="constrained")
            for axis, picture, sentence in zip(axes, pictures, said, strict=True):
                axis.imshow(picture, interpolation="nearest")
                axis.axis("off")
                written = textwrap.fill(sentence, 30)
                axis.text(0.5, -0.05, written, transform=axis.transAxes, ha="center", va="top", fontsize=9)
            path = HERE / f"captioned.{language}.png"
            figure.savefig(path, dpi=144)
            pyplot.close(figure)
        path.write_bytes(compressed(Image.open(path).convert("RGB")))
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
