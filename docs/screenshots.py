"""Takes the pictures of pages in docs/images: the example songs with stems, an audition, a comparison, in Chromium.

    python docs/screenshots.py

Needs the environment of the tests, Chromium (CHROMIUM, or on the PATH) and the font that it falls back to. Also looks
at the page at each width, light and dark, and fails where anything is wider than the screen; --all DIR keeps those.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from gansynth.figures import piano_roll
from pipeline.view import Server

HERE = Path(__file__).parent / "images"
ROOT = HERE.parents[1]
PHONE, LAPTOP, DESKTOP = (390, 844), (1280, 830), (1920, 1080)
MIXER = (1280, 900)
FILM, FILM_WIDTH = (1240, 940), 960
FRAMES_PER_SECOND = 8
COLOURS = 256


def main() -> None:
    """Takes all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", type=Path, metavar="DIR", help="also keep the page at each width, light and dark")
    folder = parser.parse_args().all
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--mute-audio", "--hide-scrollbars"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        _take_audition(browser, Path(temporary) / "audition")
        _take_comparison(browser, Path(temporary))
        with _served(Path(temporary) / "examples") as address:
            _take(browser, address)
            for size in (PHONE, LAPTOP, DESKTOP):
                for scheme in ("light", "dark"):
                    _look(browser, address, size, scheme, folder)
        browser.close()


def _take(browser: Browser, address: str) -> None:
    """Takes the pictures of the documentation."""
    for name, size, scheme in (("light", LAPTOP, "light"), ("dark", LAPTOP, "dark"), ("phone", PHONE, "light")):
        with _opened(browser, address + "#sort=seconds", size, scheme) as tab:
            _play(tab, 6)
            _save(tab, HERE / f"page_{name}.png")
    song = address + "#song=riff.mid&pictures=0"
    with _opened(browser, song, MIXER, "light") as tab:
        _play(tab, 4)
        _mix(tab)
        _save(tab, HERE / "mixer.png")
    with _opened(browser, song, FILM, "dark") as tab:
        _film(tab, HERE / "page.gif")


def _take_audition(browser: Browser, out: Path) -> None:
    """Takes the instruments, and the keyboard and the map."""
    _run("preview", "--count", "10", "--seed", "7", "--output", str(out))
    with _opened(browser, (out / "index.html").as_uri(), LAPTOP, "light") as tab:
        for number in (2, 5):
            tab.get_by_label(f"Keep {number},").check()
        tab.locator("[data-clip=phrase-1]").click()
        tab.mouse.move(2, 2)
        tab.evaluate("document.activeElement.blur()")
        _save(tab, HERE / "audition.png")
    with _opened(browser, (out / "index.html").as_uri(), (1280, 1020), "light") as tab:
        tab.evaluate("scrollBy(0, document.querySelector('#play-title').getBoundingClientRect().top - 48)")
        plane = tab.locator("#plane").bounding_box()
        assert plane
        tab.mouse.click(plane["x"] + plane["width"] * 0.6, plane["y"] + plane["height"] * 0.4)
        tab.mouse.move(2, 2)
        tab.evaluate("document.activeElement.blur()")
        tab.keyboard.down("d")
        _save(tab, HERE / "audition_map.png")


def _take_comparison(browser: Browser, folder: Path) -> None:
    """Takes the comparison of the example songs with drums and without, the last of them judged."""
    for name, drums in (("kit", "kit"), ("no drums", "skip")):
        _run("render", "--output", str(folder / name), "--set", f"notes.drums={drums}")
    _run("compare", str(folder / "kit"), str(folder / "no drums"), "--output", str(folder / "comparison"))
    with _opened(browser, (folder / "comparison" / "index.html").as_uri(), LAPTOP, "light") as tab:
        tab.locator("#list .pick").last.click()
        tab.wait_for_timeout(500)
        tab.get_by_role("button", name="4 stars for 1 kit").click()
        tab.get_by_label("Note on 2 no drums").fill("for practising drums")
        tab.locator("#position").click(position={"x": 300, "y": 20})
        tab.mouse.move(2, 2)
        tab.evaluate("document.activeElement.blur()")
        _save(tab, HERE / "comparison.png")


def _run(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "pipeline", *words, "--quiet"], check=True, cwd=ROOT)


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Renders the example songs with stems, and serves their page."""
    _run("render", "--output", str(folder), "--set", "stems.by=instrument", "--set", "stems.format=flac")
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.1,))
        thread.start()
        try:
            yield server.address
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def _opened(browser: Browser, url: str, size: tuple[int, int], scheme: str) -> Iterator[Page]:
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    tab = context.new_page()
    tab.goto(url)
    tab.wait_for_timeout(1500)
    yield tab
    context.close()


def _play(tab: Page, seconds: float) -> None:
    """Plays the song in sight from a moment before a position, and stops there."""
    tab.locator(".song .play").first.click()
    tab.wait_for_timeout(300)
    tab.evaluate("seconds => { document.querySelector('#player audio').currentTime = seconds; }", seconds)
    tab.wait_for_timeout(800)
    tab.keyboard.press(" ")
    tab.evaluate("document.activeElement.blur()")  # no ring around the button
    tab.wait_for_timeout(300)


def _mix(tab: Page) -> None:
    tab.locator(".stems summary").click()
    tab.get_by_role("button", name="Solo bass").click()
    tab.get_by_role("button", name="Solo drums").click()
    tab.get_by_label("Level of drums").fill("70")
    tab.wait_for_timeout(1500)
    tab.evaluate("document.querySelector('.song').scrollIntoView()")
    tab.mouse.move(2, 2)
    tab.wait_for_timeout(300)


def _save(tab: Page, path: Path) -> None:
    image = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
    image.quantize(palette=_palette(image), dither=Image.Dither.NONE).save(path, optimize=True)


def _palette(image: Image.Image) -> Image.Image:
    """Chooses colours for an image, and adds those of instruments: small areas, which the choice would overlook."""
    added = piano_roll.palette().flatten().tolist()
    palette = image.quantize(COLOURS - len(added) // 3)
    palette.putpalette(palette.getpalette()[: 3 * COLOURS - len(added)] + added)
    return palette


def _film(tab: Page, path: Path) -> None:
    """Films the player, the zoom and the mixer."""
    frames: list[Image.Image] = []

    position = 0.0

    def film(seconds: float) -> None:
        nonlocal position
        for _ in range(round(seconds * FRAMES_PER_SECOND)):
            # Frames are taken slower than the song plays: the position is set, not waited for.
            tab.evaluate("at => { document.querySelector('#player audio').currentTime = at; }", position)
            position += 1 / FRAMES_PER_SECOND
            tab.wait_for_timeout(60)
            frame = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
            size = (FILM_WIDTH, FILM_WIDTH * frame.height // frame.width)
            frames.append(frame.resize(size, Image.Resampling.LANCZOS))

    tab.evaluate("document.querySelector('.song').scrollIntoView()")
    tab.locator(".song .play").click()
    tab.mouse.move(2, 2)
    film(2)
    tab.get_by_role("button", name="Show the whole song").click()
    film(1)
    tab.get_by_role("button", name="Zoom in", exact=True).click()
    film(1)
    _mix(tab)
    film(3)
    palette = _palette(frames[-1])
    quantized = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    quantized[0].save(
        path, save_all=True, append_images=quantized[1:], duration=1000 // FRAMES_PER_SECOND, loop=0, optimize=True
    )


def _look(browser: Browser, address: str, size: tuple[int, int], scheme: str, folder: Path | None) -> None:
    for name, url in (
        ("list", address),
        ("rows", address + "#pictures=0"),
        ("song", address + "#song=riff.mid&pictures=0"),
    ):
        with _opened(browser, url, size, scheme) as tab:
            if name == "song":
                _play(tab, 4)
                _mix(tab)
            assert tab.evaluate("document.documentElement.scrollWidth") <= size[0], (name, size)
            if folder:
                folder.mkdir(parents=True, exist_ok=True)
                tab.screenshot(path=folder / f"{name}_{size[0]}_{scheme}.png")


if __name__ == "__main__":
    main()
