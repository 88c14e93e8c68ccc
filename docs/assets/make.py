"""Draw the pictures that the READMEs show: `python docs/assets/make.py`, once weights and `site/` are there."""

from __future__ import annotations

import functools
import http.server
import io
import shutil
import sys
import textwrap
import threading
from pathlib import Path

from matplotlib import pyplot
from PIL import Image

import vlm_history as vlm
from vlm_history.plots import LIGHT
from vlm_history.plots.output import compressed
from vlm_history.plots.style import themed

HERE = Path(__file__).parent
SITE = HERE.parents[1] / "site"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SEEDS = (0, 1, 2, 3)


def save(name: str, picture: Image.Image) -> None:
    """Write a PNG, as small as it gets."""
    data = compressed(picture.convert("RGB"))
    (HERE / name).write_bytes(data)
    print(name, len(data))


def captioned() -> None:
    """Four scenes of pairs never seen together, with what Show, Attend and Tell writes below them, in each language."""
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
            buffer = io.BytesIO()
            figure.savefig(buffer, dpi=144)
            pyplot.close(figure)
        save(f"captioned.{language}.png", Image.open(buffer))


def home() -> None:
    """The built home page in each language, as a browser shows it."""
    from playwright.sync_api import sync_playwright

    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(SITE))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for language, path in (("ko", "/"), ("en", "/en/")):
            page = browser.new_page(viewport={"width": 1280, "height": 1400})
            page.goto(f"http://127.0.0.1:{server.server_address[1]}{path}", wait_until="networkidle")
            save(f"site.{language}.png", Image.open(io.BytesIO(page.screenshot())))
        browser.close()
    server.shutdown()


def main() -> None:
    """All of them."""
    if not (SITE / "en" / "index.html").is_file():
        sys.exit(f"error: expected the built site in {SITE}, got none; run: make site")
    captioned()
    home()


if __name__ == "__main__":
    main()
