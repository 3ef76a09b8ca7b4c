"""The listening page in a real browser: it plays, seeks, searches, sorts and filters, and runs only its own scripts.

Needs Chromium (on Debian and Ubuntu: apt-get install chromium); it is found on the PATH or named by CHROMIUM.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import mido
import numpy as np
import pytest
from numpy.typing import NDArray

from gansynth.figures import axes
from pipeline.__main__ import main
from tests.support.pages import BROKEN, NAMES, data, manifest, read_site

sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/chromium"
)
PHONE, LAPTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
DESKTOP = {"width": 1920, "height": 1080}
AXE = (Path(pytest.importorskip("axe_playwright_python").__file__).parent / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        # Chromium's sandbox does not work as root in a container; it opens only files made by the test.
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--mute-audio"])


@pytest.fixture
def tab(browser: sync_api.Browser) -> Iterator[sync_api.Page]:
    """Opens a tab without network that fails the test at any error, dialog or external request."""
    context = browser.new_context(viewport=LAPTOP, offline=True)
    tab = context.new_page()
    troubles: list[str] = []
    tab.on("pageerror", lambda error: troubles.append(f"error: {error}"))
    tab.on("console", lambda message: troubles.append(f"console: {message.text}"))
    tab.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    tab.on("requestfailed", lambda request: troubles.append(f"failed: {request.url} {request.failure}"))
    tab.on("request", lambda request: request.url.startswith("file://") or troubles.append(f"left: {request.url}"))
    yield tab
    context.close()
    # Players drop what they are loading, and tests read many canvases.
    assert not [text for text in troubles if "ERR_ABORTED" not in text and "willReadFrequently" not in text]


def song(tab: sync_api.Page, title: str) -> sync_api.Locator:
    return tab.locator(".song").filter(has=tab.get_by_role("heading", name=title, exact=True))


def open_page(tab: sync_api.Page, folder: Path, hash_: str = "") -> None:
    """Opens a page and waits until all of its index is read."""
    tab.goto((folder / "index.html").as_uri() + hash_)
    wait_until(tab, "performance.getEntriesByName('gansynth-complete').length > 0")


def now(tab: sync_api.Page) -> float:
    return tab.eval_on_selector("#player audio", "audio => audio.currentTime")


def playing(tab: sync_api.Page) -> str:
    """Returns the title of the song that plays; empty if none does."""
    is_playing = tab.eval_on_selector("#player audio", "audio => !audio.paused")
    return tab.locator(".bar-title a").inner_text() if is_playing else ""


def wait_for_time(tab: sync_api.Page, seconds: float) -> None:
    wait_until(tab, f"document.querySelector('#player audio').currentTime > {seconds}")


every_screen = pytest.mark.parametrize(
    ("viewport", "scheme"),
    [(screen, scheme) for screen in (PHONE, LAPTOP, DESKTOP) for scheme in ("light", "dark")],
    ids=[f"{screen}-{scheme}" for screen in ("phone", "laptop", "desktop") for scheme in ("light", "dark")],
)


def readable_contrasts(tab: sync_api.Page, folder: Path, viewport: dict[str, int], scheme: str) -> list[float]:
    """Opens a page, asserts that it fits the screen and can be read, and returns the contrasts of its texts."""
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size(viewport)
    tab.goto((folder / "index.html").as_uri())
    tab.wait_for_timeout(300)
    assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    contrasts: list[float] = tab.evaluate(CONTRASTS)
    assert min(contrasts) >= 4.5
    return contrasts


def no_violations(tab: sync_api.Page) -> None:
    """Asserts that axe-core finds nothing wrong with the page as it stands."""
    # The page's own policy forbids other scripts; Playwright's evaluation is not subject to it.
    tab.evaluate(AXE)
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations)")
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


def titles(tab: sync_api.Page) -> list[str]:
    """Lists the titles of the songs in the document, in order."""
    return tab.eval_on_selector_all("#list h2, #list .name a", "all => all.map(one => one.textContent)")


def rows(tab: sync_api.Page) -> int:
    """Returns the number of songs in the list, whether in the document or not."""
    return tab.evaluate("Number(document.querySelector('#list > *')?.getAttribute('aria-setsize') ?? 0)")


def wait_until(tab: sync_api.Page, condition: str) -> None:
    """Polls a condition from Python, since the page's security policy blocks Playwright's wait_for_function."""
    end = time.monotonic() + 30
    while not tab.evaluate(condition):
        assert time.monotonic() < end, condition
        tab.wait_for_timeout(20)


# Safety


def test_no_name_runs_as_a_script(tab: sync_api.Page, site: Path) -> None:
    open_page(tab, site)
    assert tab.locator(".song:not(.failure)").count() == len(NAMES)
    assert tab.locator("main script, main img:not([alt])").count() == 0
    for name in ("{{ 7 * 7 }}{% raw %}", "a#b?c%20d&amp;e", "javascript:alert(4)", "さくら さくら"):
        assert song(tab, name).count() == 1
    tab.locator("#pictures").uncheck()
    assert tab.locator(".row .name a").count() == len(NAMES) + 2
    assert tab.locator("main script").count() == 0


def test_the_policy_stops_what_escaping_might_miss(browser: sync_api.Browser, site: Path) -> None:
    context = browser.new_context(offline=True)
    tab = context.new_page()
    blocked: list[str] = []
    tab.on("console", lambda message: blocked.append(message.text))
    tab.goto((site / "index.html").as_uri())
    for html in (
        "<img src=x onerror='window.hit = 1'>",
        "<a id=trap href='javascript:window.hit = 1'>x</a>",
        "<iframe srcdoc='<script>parent.hit = 1</script>'></iframe>",
        "<script>window.hit = 1</script>",
    ):
        tab.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", html)
    tab.evaluate("document.getElementById('trap').click()")
    tab.wait_for_timeout(300)
    assert tab.evaluate("window.hit") is None
    assert sum("Content Security Policy" in text for text in blocked) >= 3
    context.close()


def test_data_of_another_run_are_not_taken(browser: sync_api.Browser, large: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(large, folder)
    file = folder / "page" / "index-0001.js"
    file.write_text(file.read_text().replace("song 1.mid", "song X.mid"))
    context = browser.new_context(offline=True)
    tab = context.new_page()
    tab.goto((folder / "index.html").as_uri())
    tab.locator("#trouble").wait_for()
    assert "page/index-0001.js is of another run" in tab.locator("#trouble").inner_text()
    assert titles(tab) == []
    context.close()


# The player


def test_plays_and_only_one_at_a_time(tab: sync_api.Page, site: Path) -> None:
    open_page(tab, site)
    first, second = song(tab, "same"), song(tab, "same.midi")
    assert not tab.locator("#player").is_visible()
    first.get_by_role("button", name="Play same", exact=True).click()
    wait_for_time(tab, 0.3)
    assert playing(tab) == "same"
    shown = first.locator(".head").bounding_box()
    wait_for_time(tab, 0.9)
    assert first.locator(".head").bounding_box()["x"] > shown["x"]
    second.get_by_role("button", name="Play same.midi", exact=True).click()
    wait_until(tab, "document.querySelector('.bar-title a').textContent === 'same.midi'")
    wait_for_time(tab, 0.1)
    assert playing(tab) == "same.midi"
    assert tab.locator(".playing").evaluate_all("all => all.length") == 2  # the song and the bar
    second.get_by_role("button", name="Pause same.midi", exact=True).click()
    assert playing(tab) == ""
    assert tab.locator("#player").is_visible()


@pytest.mark.parametrize("name", [name for name in NAMES if "\n" not in name and "\u202e" not in name])
def test_every_song_can_be_heard(tab: sync_api.Page, site: Path, name: str) -> None:
    open_page(tab, site, "#" + urlencode({"song": name, "pictures": "0"}))
    one = tab.locator(".song")
    assert one.count() == 1
    one.locator(".play").click()
    wait_for_time(tab, 0.1)
    length = tab.eval_on_selector("#player audio", "audio => audio.duration")
    (row,) = [row for row in manifest(site) if row["song_id"] == name]
    assert length == pytest.approx(row["seconds"], abs=0.01)


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_a_click_in_a_plain_picture_seeks_to_where_it_is(
    tab: sync_api.Page, reference: Path, viewport: dict[str, int]
) -> None:
    """A click in either picture seeks to its position, before and after the audio is loaded."""
    tab.set_viewport_size(viewport)
    open_page(tab, reference)
    one = song(tab, "one")
    (row,) = manifest(reference)
    across = axes.seconds_across(round(row["seconds"] * 16000), 16000)
    for picture, seconds in ((".spectrogram", 4.0), (".roll", 1.0)):
        one.locator(picture).scroll_into_view_if_needed()
        box = one.locator(picture).bounding_box()
        x = box["width"] * (56 + (1200 - 56 - 72) * seconds / across) / 1200
        one.locator(".plates").evaluate("(frame, x) => frame.scrollLeft = x - 200", x)
        box = one.locator(picture).bounding_box()
        tab.mouse.click(box["x"] + x, box["y"] + box["height"] / 2)
        wait_until(
            tab, f"(a => !a.paused && a.currentTime >= {seconds - 0.1})(document.querySelector('#player audio'))"
        )
        assert now(tab) == pytest.approx(seconds, abs=1.5)
        one.locator(".play").click()
        box, head = one.locator(picture).bounding_box(), one.locator(".head").bounding_box()
        expected = box["width"] * (56 + (1200 - 56 - 72) * now(tab) / across) / 1200
        assert head["x"] + head["width"] / 2 - box["x"] == pytest.approx(expected, abs=2)
    assert tab.evaluate("[...document.images].every(image => image.naturalWidth === 1200)")


def test_dragging_in_a_picture_scrubs(tab: sync_api.Page, site: Path, reference: Path) -> None:
    for folder, title in ((site, "same"), (reference, "one")):
        open_page(tab, folder)
        one = song(tab, title)
        one.scroll_into_view_if_needed()
        one.locator("img").last.scroll_into_view_if_needed()
        box = one.locator(".seek").bounding_box()
        y = box["y"] + box["height"] / 2
        tab.mouse.move(box["x"] + box["width"] * 0.3, y)
        tab.mouse.down()
        wait_until(tab, "!document.querySelector('#player').hidden")
        places = []
        for part in (0.4, 0.5, 0.6):
            tab.mouse.move(box["x"] + box["width"] * part, y, steps=3)
            tab.wait_for_timeout(60)
            places.append(one.locator(".head").bounding_box()["x"] - box["x"])
        assert places == pytest.approx([box["width"] * part for part in (0.4, 0.5, 0.6)], abs=3)
        assert playing(tab) == ""
        tab.mouse.up()
        wait_until(tab, "!document.querySelector('#player audio').paused")


# Pictures


def canvas_pixels(tab: sync_api.Page, canvas: str) -> NDArray[np.uint8]:
    """Returns the pixels of a canvas, uint8 [height, width, 3]."""
    width, height, pixels = tab.eval_on_selector(
        canvas,
        """canvas => {
          const {width, height} = canvas, {data} = canvas.getContext("2d").getImageData(0, 0, width, height);
          let text = "";
          for (let i = 0; i < data.length; i += 32768) text += String.fromCharCode(...data.subarray(i, i + 32768));
          return [width, height, btoa(text)];
        }""",
    )
    return np.frombuffer(base64.b64decode(pixels), np.uint8).reshape(height, width, 4)[..., :3]


def shown_notes(tab: sync_api.Page, title: str) -> tuple[sync_api.Locator, dict[str, float]]:
    """Scrolls to a song's roll; returns the song, and the roll's place."""
    one = song(tab, title)
    one.scroll_into_view_if_needed()
    wait_until(tab, "document.querySelectorAll('.view-roll').length > 0")
    one.locator(".view-roll").scroll_into_view_if_needed()
    tab.wait_for_timeout(200)
    return one, one.locator(".view-roll").bounding_box()


def seconds_of(out: Path, name: str) -> float:
    """Returns the seconds that a song's pictures span."""
    (row,) = [row for row in manifest(out) if row["song_id"] == name]
    return axes.seconds_across(round(row["seconds"] * 16000), 16000)


@pytest.mark.parametrize("scale", [1, 2])
def test_the_roll_is_drawn_from_the_notes_on_the_spectrograms_axes(
    browser: sync_api.Browser, site: Path, scale: int
) -> None:
    context = browser.new_context(viewport=LAPTOP, offline=True, device_scale_factor=scale)
    tab = context.new_page()
    open_page(tab, site, "#pictures=0&song=same.mid")
    one, box = shown_notes(tab, "same")
    image = one.locator("img")
    wait_until(tab, "document.images[0].complete && document.images[0].naturalWidth > 0")
    notes = json.loads((site / "notes" / "same.json").read_text())["notes"]
    pixels = canvas_pixels(tab, ".view-roll")
    assert pixels.shape[1] == pytest.approx(box["width"] * scale, abs=1)  # sharp on any screen
    # The picture's plot lies over the box, so that a time and a pitch are at the same place in both.
    picture, frame = image.bounding_box(), one.locator(".view-spectrogram").bounding_box()
    natural = tab.evaluate("[document.images[0].naturalWidth, document.images[0].naturalHeight]")
    across, seconds = picture["width"] / natural[0], seconds_of(site, "same.mid")
    assert picture["x"] + axes.LEFT * across == pytest.approx(frame["x"], abs=0.6)
    assert frame["x"] == pytest.approx(box["x"], abs=0.6)
    plot = natural[0] - axes.LEFT - axes.RIGHT
    assert plot * across / seconds >= 40
    down, rows = picture["height"] / natural[1], natural[1] - axes.TOP - axes.BOTTOM
    for n in range(0, len(notes["pitch"]), 3):
        x = (notes["start"][n] + notes["end"][n]) / 2 / seconds * plot * across
        y = box["height"] - (notes["pitch"][n] - 24 + 0.5) * down * 3
        assert pixels[int(y * scale), int(x * scale)].astype(int).sum() > 150, n
        in_picture = picture["y"] + (axes.TOP + rows - 0.5 - 3 * (notes["pitch"][n] - 24)) * down - frame["y"]
        assert in_picture == pytest.approx(y, abs=down)
    context.close()


def test_the_pointer_tells_the_note(tab: sync_api.Page, site: Path) -> None:
    open_page(tab, site, "#pictures=0&song=same.mid")
    one, box = shown_notes(tab, "same")
    notes = json.loads((site / "notes" / "same.json").read_text())
    n = next(n for n, program in enumerate(notes["notes"]["program"]) if program == 33)
    pitch, velocity = notes["notes"]["pitch"][n], notes["notes"]["velocity"][n]
    wide = one.locator(".view-wide").bounding_box()
    x = wide["x"] + (notes["notes"]["start"][n] + 0.1) / seconds_of(site, "same.mid") * wide["width"]
    tab.mouse.move(x, box["y"] + box["height"] - (pitch - 24 + 0.5) * box["height"] / 95)
    said = one.locator(".view-note")
    said.wait_for()
    name = notes["instruments"][notes["notes"]["instrument"][n]]
    assert said.inner_text().startswith(f"C3, {name}, velocity {velocity}, 0:0")
    tab.mouse.move(x, box["y"] + 3)
    assert not said.is_visible()
    assert one.locator(".hover").is_visible()


def test_zoom_octaves_and_colours(tab: sync_api.Page, site: Path) -> None:
    open_page(tab, site, "#pictures=0&song=same.mid")
    one, _ = shown_notes(tab, "same")
    wide = one.locator(".view-wide")
    width, visible = wide.bounding_box()["width"], one.locator(".view-scroll").bounding_box()["width"]
    one.get_by_role("button", name="Zoom in").click()
    assert wide.bounding_box()["width"] == pytest.approx(2 * width, abs=2)
    assert one.locator(".view-roll").bounding_box()["width"] == pytest.approx(visible, abs=1)  # only what is in sight
    before = canvas_pixels(tab, ".view-roll")
    one.locator(".view-scroll").evaluate("frame => frame.scrollLeft = 300")
    tab.wait_for_timeout(100)
    assert (canvas_pixels(tab, ".view-roll") != before).any()
    one.get_by_role("button", name="Show the whole song").click()
    assert wide.bounding_box()["width"] == pytest.approx(visible, abs=1)
    colours = set()
    for by in ("instrument", "track", "velocity"):
        one.get_by_label("Colours").select_option(by)
        tab.wait_for_timeout(50)
        colours.add(canvas_pixels(tab, ".view-roll").tobytes())
    assert len(colours) == 2  # each track has an instrument of its own
    lit = (canvas_pixels(tab, ".view-roll").astype(int).sum(axis=2) > 150).sum()
    one.get_by_role("button", name="Show only the octaves").click()
    tab.wait_for_timeout(100)
    assert (canvas_pixels(tab, ".view-roll").astype(int).sum(axis=2) > 150).sum() > 1.5 * lit  # notes are higher


def test_bends_and_dynamics_are_seen(tab: sync_api.Page, tiny: str, tmp_path: Path) -> None:
    file = mido.MidiFile(ticks_per_beat=480)
    track = file.add_track()
    track.append(mido.Message("note_on", note=60, velocity=127))
    for step in range(1, 17):
        track.append(mido.Message("pitchwheel", pitch=step * 511, time=60))
    track.append(mido.Message("control_change", control=7, value=10, time=480))
    track.append(mido.Message("note_off", note=60, time=960))
    file.save(tmp_path / "bend.mid")
    settings = ["--set", f"checkpoint={tiny}", "--quiet"]
    assert main(["render", str(tmp_path / "bend.mid"), "--output", str(tmp_path / "out"), *settings]) == 0
    open_page(tab, tmp_path / "out")
    _, box = shown_notes(tab, "bend")
    pixels = canvas_pixels(tab, ".view-roll").astype(int).sum(axis=2)
    per_second = box["width"] / seconds_of(tmp_path / "out", "bend.mid")

    def brightest(seconds: float) -> tuple[int, int]:
        column = pixels[:, int(seconds * per_second)]
        return int(column.argmax()), int(column.max())

    (start, loud), (end, _), (_, soft) = brightest(0.03), brightest(1.2), brightest(2)
    assert start - end == pytest.approx(2 * box["height"] / 95, abs=1.5)  # two semitones up
    assert soft < 0.6 * loud


def test_notes_that_are_gone_leave_the_spectrogram(browser: sync_api.Browser, site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(site, folder)
    (folder / "rolls" / "same.js").unlink()
    context = browser.new_context(offline=True)
    tab = context.new_page()
    open_page(tab, folder, "#pictures=0&song=same.mid")
    tab.locator("#trouble").wait_for()
    assert "rolls/same.js cannot be read" in tab.locator("#trouble").inner_text()
    assert tab.locator(".view-spectrogram img").count() == 1
    assert tab.locator(".view-roll").count() == 0
    context.close()


# The bar


def test_the_bar_seeks_with_mouse_and_keys(tab: sync_api.Page, site: Path) -> None:
    open_page(tab, site)
    song(tab, "same").locator(".play").click()
    wait_for_time(tab, 0.1)
    bar = tab.locator(".bar-wave")
    box = bar.bounding_box()
    length = float(bar.get_attribute("aria-valuemax"))
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + 10)
    wait_for_time(tab, length * 0.45)
    assert now(tab) == pytest.approx(length / 2, abs=1)
    tab.locator(".bar-play").click()
    bar.focus()
    tab.keyboard.press("Home")
    assert float(bar.get_attribute("aria-valuenow")) == 0
    tab.keyboard.press("ArrowRight")
    assert float(bar.get_attribute("aria-valuenow")) == pytest.approx(min(5, length), abs=0.1)
    assert bar.get_attribute("aria-valuetext").startswith("0:0")
    assert drawn_colours(tab, ".bar-wave canvas") > 1


def drawn_colours(tab: sync_api.Page, canvas: str) -> int:
    """Returns the number of different colours in a canvas."""
    return tab.eval_on_selector(
        canvas,
        """canvas => new Set(new Uint32Array(
          canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size""",
    )


def test_keys_work_also_after_a_click_on_a_button(tab: sync_api.Page, site: Path) -> None:
    open_page(tab, site)
    tab.keyboard.press("Space")  # the first song
    wait_for_time(tab, 0.1)
    assert playing(tab) == titles(tab)[0]
    song(tab, "same").locator(".play").click()  # which now has the focus
    wait_until(tab, "document.querySelector('.bar-title a').textContent === 'same'")
    wait_for_time(tab, 0.1)
    tab.keyboard.press("Space")
    assert playing(tab) == ""
    tab.locator(".bar-loop").click()
    tab.locator(".bar-loop").click()
    tab.locator(".bar-loop").click()
    before, length = now(tab), float(tab.locator(".bar-wave").get_attribute("aria-valuemax"))
    tab.keyboard.press("ArrowRight")
    tab.wait_for_timeout(200)
    assert now(tab) == pytest.approx(min(before + 5, length), abs=0.1)
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_timeout(200)
    assert now(tab) == pytest.approx(max(min(before + 5, length) - 5, 0), abs=0.1)
    order = titles(tab)
    tab.keyboard.press("n")
    wait_until(tab, "document.querySelector('.bar-title a').textContent === 'same.midi'")
    wait_for_time(tab, 0.05)
    tab.keyboard.press("p")
    wait_until(tab, "document.querySelector('.bar-title a').textContent === 'same'")
    assert order.index("same") == order.index("same.midi") - 1
    tab.keyboard.press("Space")
    # In the search field, keys are typed.
    tab.keyboard.press("/")
    tab.keyboard.type("n p ?l")
    assert tab.locator("#find").input_value() == "n p ?l"
    assert playing(tab) == ""
    tab.keyboard.press("Escape")
    tab.keyboard.press("?")
    assert tab.locator("#help").is_visible()
    tab.keyboard.press("Escape")
    assert not tab.locator("#help").is_visible()


def test_a_button_reached_with_tab_is_pressed_by_space(tab: sync_api.Page, site: Path) -> None:
    open_page(tab, site)
    tab.locator("#sort").focus()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Space")
    assert tab.locator("#filters").is_visible()
    assert playing(tab) == ""


def test_a_focused_picture_is_a_slider(tab: sync_api.Page, site: Path) -> None:
    open_page(tab, site)
    song(tab, "same").scroll_into_view_if_needed()
    slider = song(tab, "same").get_by_role("slider")
    slider.focus()
    tab.keyboard.press("ArrowRight")
    wait_until(tab, "!document.querySelector('#player').hidden")
    assert float(slider.get_attribute("aria-valuenow")) == 5
    assert slider.get_attribute("aria-valuetext").startswith("0:05 of 0:")
    tab.keyboard.press("Home")
    assert float(slider.get_attribute("aria-valuenow")) == 0
    tab.keyboard.press("Enter")
    wait_until(tab, "!document.querySelector('#player audio').paused")
    assert playing(tab) == "same"


def test_loop_speed_and_volume(tab: sync_api.Page, site: Path) -> None:
    open_page(tab, site)
    song(tab, "same").locator(".play").click()
    wait_for_time(tab, 0.2)
    tab.locator(".bar-play").click()
    loop = tab.locator(".bar-loop")
    loop.click()
    start = now(tab)
    tab.keyboard.press("ArrowRight")  # to the end or 5 s on
    tab.wait_for_timeout(200)
    loop.click()
    assert loop.get_attribute("aria-label") == "Stop looping"
    tab.wait_for_timeout(200)
    assert now(tab) == pytest.approx(start, abs=0.05)
    end = min(start + 5, float(tab.locator(".bar-wave").get_attribute("aria-valuemax")))
    tab.locator(".bar-speed").select_option("2")
    tab.locator(".bar-wave").focus()
    tab.keyboard.press("End")
    tab.eval_on_selector("#player audio", "(audio, end) => { audio.currentTime = end - 0.3 }", end)
    tab.keyboard.press("Enter")
    wait_until(tab, f"document.querySelector('#player audio').currentTime < {end - 1}")  # it has turned back
    assert playing(tab) == "same"
    assert tab.eval_on_selector("#player audio", "audio => [audio.playbackRate, audio.preservesPitch]") == [2, True]
    loop.click()
    assert loop.get_attribute("aria-label") == "Loop from here (A)"
    tab.locator(".bar-volume input").fill("50")
    assert tab.eval_on_selector("#player audio", "audio => audio.volume") == pytest.approx(0.25)
    tab.reload()
    assert tab.locator(".bar-volume input").input_value() == "50"


def test_headphones_and_lock_screens_control_it(browser: sync_api.Browser, site: Path) -> None:
    context = browser.new_context(viewport=LAPTOP, offline=True)
    context.add_init_script(
        "window.actions = {}; MediaSession.prototype.setActionHandler = (name, action) => { actions[name] = action }"
    )
    tab = context.new_page()
    open_page(tab, site)
    song(tab, "さくら さくら").locator(".play").click()
    wait_for_time(tab, 0.1)
    shown = tab.evaluate("(m => [m.title, m.artist])(navigator.mediaSession.metadata)")
    assert shown == ["さくら さくら", "日本語の歌"]
    assert tab.evaluate("navigator.mediaSession.playbackState") == "playing"
    tab.evaluate("actions.pause()")
    assert playing(tab) == ""
    tab.evaluate("actions.seekto({seekTime: 1.5})")
    tab.wait_for_timeout(200)
    assert now(tab) == pytest.approx(1.5, abs=0.05)
    tab.evaluate("actions.previoustrack()")
    wait_until(tab, "document.querySelector('.bar-title a').textContent !== 'さくら さくら'")
    context.close()


def test_play_on_goes_to_the_next_song(tab: sync_api.Page, site: Path) -> None:
    open_page(tab, site)
    tab.locator("#autoplay").check()
    order = titles(tab)
    song(tab, "same").locator(".play").click()
    wait_until(tab, "document.querySelector('#player audio').readyState > 1")
    tab.eval_on_selector("#player audio", "audio => { audio.currentTime = audio.duration - 0.2 }")
    wait_until(tab, "document.querySelector('.bar-title a').textContent !== 'same'")
    wait_for_time(tab, 0.05)
    assert playing(tab) == order[order.index("same") + 1]


def test_a_song_that_cannot_be_played_says_so(browser: sync_api.Browser, site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(site, folder)
    (folder / "audio" / "same.wav").unlink()
    context = browser.new_context(offline=True)
    tab = context.new_page()
    open_page(tab, folder)
    song(tab, "same").locator(".play").click()
    wait_until(tab, "document.querySelector('.bar-title span').textContent === 'cannot be played'")
    context.close()


# The list


def test_search_and_sort(tab: sync_api.Page, site: Path) -> None:
    open_page(tab, site)
    everything = titles(tab)
    tab.locator("#find").fill("SAME")
    assert titles(tab) == ["same", "same.midi"]
    assert tab.locator("#found").inner_text() == f"2 of {len(NAMES) + 2}"
    tab.locator("#find").fill("plain träu")
    assert titles(tab) == ["Träumerei"]
    tab.locator("#find").fill("<script>")
    assert len(titles(tab)) == 2
    tab.locator("#find").fill("no such song")
    assert titles(tab) == []
    assert tab.locator("#none").inner_text() == "No song fits."
    tab.locator("#find").fill("")
    assert titles(tab) == everything
    tab.locator("#sort").select_option("-seconds")
    by_title = {one["title"]: round(one.get("seconds", 0), 1) for one in data(read_site(site))[2]}
    found = [by_title[title] for title in titles(tab)]
    assert found == sorted(found, reverse=True)
    tab.locator("#sort").select_option("name")
    assert titles(tab) == everything
    tab.locator("#pictures").uncheck()
    assert tab.locator(".plates:visible").count() == 0
    assert tab.locator(".play:visible").count() == len(NAMES)
    assert tab.locator(".row.failure").count() == len(BROKEN)


def test_names_are_in_natural_order_and_exact_matches_first(tab: sync_api.Page, large: Path) -> None:
    open_page(tab, large)
    assert titles(tab)[:4] == ["song 0", "song 3", "song 6", "song 9"]  # of set 0
    tab.locator("#find").fill("song 4")
    assert titles(tab)[:3] == ["song 4", "song 42", "song 45"]
    tab.locator("#find").fill("set 1/song 40.mid")
    assert titles(tab) == ["song 40", "song 340"]
    tab.locator("#sort").select_option("-seconds")
    tab.locator("#find").fill("song 44")
    assert titles(tab)[0] == "song 44"
    assert len(titles(tab)) == 14  # 44, 144, 244, 344, 440 .. 449


def test_sorting_does_not_stop_the_music(tab: sync_api.Page, site: Path) -> None:
    open_page(tab, site)
    song(tab, "same").locator(".play").click()
    wait_for_time(tab, 0.1)
    tab.locator("#sort").select_option("-notes")
    tab.locator("#pictures").uncheck()
    tab.wait_for_timeout(300)
    assert playing(tab) == "same"
    assert tab.locator(".row.playing .name a").inner_text() == "same"


def test_large_corpora_are_rows_of_which_few_are_in_the_document(tab: sync_api.Page, large: Path) -> None:
    open_page(tab, large)
    assert rows(tab) == 460
    assert tab.locator(".song").count() == 0
    assert 10 < tab.locator(".row").count() < 60
    wait_until(tab, "document.querySelectorAll('.row .wave').length > 5")
    row = tab.locator(".row").first
    assert row.locator(".name").inner_text().split("\n") == ["song 0", "set 0"]
    assert row.locator(".marks").inner_text() == "repaired"
    assert re.fullmatch(r"\d+ notes", row.locator(".count").inner_text())
    wait_until(tab, "document.querySelector('.row .wave').width > 0")
    assert drawn_colours(tab, ".row .wave") > 1
    tab.locator("#songs").evaluate("section => scrollTo(0, section.offsetTop + section.offsetHeight - innerHeight)")
    wait_until(tab, "[...document.querySelectorAll('.row .name a')].some(a => a.textContent === 'bad 9.mid')")
    assert tab.locator(".row").count() < 60
    failed = tab.locator(".row").filter(has_text="bad 9")
    assert failed.locator(".play").count() == 0
    assert "midi-empty: the file is empty" in failed.inner_text()


def test_filters(tab: sync_api.Page, large: Path) -> None:
    open_page(tab, large)
    tab.locator("#filter").click()
    tab.locator("#show").select_option("failed")
    assert rows(tab) == 10
    assert tab.locator("#found").inner_text() == "10 of 460"
    assert tab.locator("#filter").inner_text() == "Filter (1)"
    tab.locator("#show").select_option("repaired")
    assert rows(tab) == 50
    tab.locator("#reset").click()
    assert rows(tab) == 460
    tab.locator("#program").select_option("7")
    assert titles(tab) == ["song 44"]
    tab.locator("#program").select_option("")
    tab.locator("#from").fill("440")
    tab.locator("#to").fill("442.5")
    assert rows(tab) == 3
    tab.locator("#show").select_option("failed")
    assert rows(tab) == 0


def test_the_address_keeps_what_is_shown(tab: sync_api.Page, large: Path) -> None:
    open_page(tab, large)
    tab.locator("#find").fill("set 2")
    tab.locator("#sort").select_option("-seconds")
    tab.locator("#filter").click()
    tab.locator("#show").select_option("repaired")
    wait_until(tab, "location.hash.includes('repaired')")
    found, url = titles(tab), tab.url
    tab.goto("about:blank")
    tab.goto(url)
    wait_until(tab, "performance.getEntriesByName('gansynth-complete').length > 0")
    assert titles(tab) == found
    assert tab.locator("#find").input_value() == "set 2"
    assert tab.locator("#filters").is_visible()
    tab.goto((large / "index.html").as_uri() + "#song=nothing")
    tab.reload()
    tab.locator("#trouble").wait_for()
    assert "no song “nothing”" in tab.locator("#trouble").inner_text()


def test_a_song_has_an_address(tab: sync_api.Page, large: Path) -> None:
    open_page(tab, large)
    tab.locator("#find").fill("song 333")
    tab.locator(".row .name a").click()
    one = song(tab, "song 333")
    one.wait_for()
    assert "song=set+0%2Fsong+333.mid" in tab.url
    one.locator("img").wait_for()
    assert one.locator(".view-roll").count() == 1
    url = tab.url
    tab.go_back()
    wait_until(tab, "!document.querySelector('.song')")
    tab.goto("about:blank")
    tab.goto(url.split("#")[0] + "#song=set+0%2Fsong+333.mid")
    one.wait_for()
    wait_until(tab, "document.querySelector('.song').getBoundingClientRect().top > 40")
    box = one.bounding_box()
    assert 40 < box["y"] < 200
    assert rows(tab) == 460
    one.get_by_role("button", name="Close").click()
    wait_until(tab, "!document.querySelector('.song')")


def test_pictures_of_a_large_corpus_are_virtual_and_loaded_when_in_sight(tab: sync_api.Page, large: Path) -> None:
    open_page(tab, large)
    tab.locator("#pictures").check()
    tab.wait_for_timeout(300)
    assert 1 < tab.locator(".song").count() < 12
    for part in (0.5, 1.0, 0.2):
        tab.locator("#songs").evaluate("(list, part) => scrollTo(0, list.offsetTop + part * list.offsetHeight)", part)
        tab.wait_for_timeout(200)
        assert 1 < tab.locator(".song").count() < 12
        boxes = tab.eval_on_selector_all(
            ".song", "all => all.map(one => [one.getBoundingClientRect().top, one.getBoundingClientRect().bottom])"
        )
        assert all(abs(after[0] - before[1]) < 1 for before, after in itertools.pairwise(boxes))  # no gap, no overlap
    wait_until(tab, "[...document.images].some(image => image.complete && image.naturalWidth)")


def test_waveforms_of_rows_seek(tab: sync_api.Page, large: Path) -> None:
    open_page(tab, large)
    wave = tab.locator(".row").nth(1).locator(".wave")
    wait_until(tab, "document.querySelector('.row .wave').width > 0")
    box = wave.bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
    wait_for_time(tab, 1)
    assert playing(tab) == "song 3"
    length = tab.eval_on_selector("#player audio", "audio => audio.duration")
    assert now(tab) == pytest.approx(length / 2, abs=1)


# Failures


def test_failures_say_what_to_do(tab: sync_api.Page, site: Path) -> None:
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_page(tab, site, "#show=failed")
    one = song(tab, "<b>empty.mid")
    assert "midi-empty" in one.inner_text()
    assert "Fetch it again." in one.inner_text()
    source = one.locator("a.source")
    with tab.expect_download() as download:
        source.click()
    assert download.value.path().read_bytes() == b""
    one.get_by_role("button", name="Copy").click()
    one.get_by_role("button", name="Copied").wait_for()
    assert tab.evaluate("navigator.clipboard.readText()") == one.locator(".command code").inner_text()
    section = tab.locator("#failed")
    assert section.locator("details[open]").count() == 2
    assert "gansynth-beam render --config" in section.inner_text()


# Screens


@every_screen
def test_nothing_is_wider_than_the_screen_and_text_can_be_read(
    tab: sync_api.Page, site: Path, viewport: dict[str, int], scheme: str
) -> None:
    assert len(readable_contrasts(tab, site, viewport, scheme)) > 50


@every_screen
def test_a_large_corpus_fits_the_screen_and_can_be_read(
    tab: sync_api.Page, large: Path, viewport: dict[str, int], scheme: str
) -> None:
    assert len(readable_contrasts(tab, large, viewport, scheme)) > 50
    tab.locator(".row .play").first.click()
    wait_for_time(tab, 0.1)
    assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert min(tab.evaluate(CONTRASTS)) >= 4.5
    # No two texts of a row, and no two parts of the bar, are over each other.
    assert tab.evaluate(OVERLAPS, ".row > *, .bar > *") == []


@every_screen
def test_axe_finds_nothing(tab: sync_api.Page, site: Path, large: Path, viewport: dict[str, int], scheme: str) -> None:
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size(viewport)
    open_page(tab, site)
    song(tab, "same").locator(".play").click()
    wait_for_time(tab, 0.1)
    tab.locator("#filter").click()
    no_violations(tab)
    open_page(tab, large, "#song=set+0%2Fsong+333.mid")
    tab.locator(".song .play").click()
    wait_for_time(tab, 0.1)
    no_violations(tab)
    tab.keyboard.press("?")
    no_violations(tab)


def test_a_phone_scrubs_and_taps(browser: sync_api.Browser, site: Path) -> None:
    context = browser.new_context(viewport=PHONE, offline=True, has_touch=True, is_mobile=True)
    tab = context.new_page()
    open_page(tab, site)
    one = song(tab, "same")
    one.locator(".play").tap()
    wait_for_time(tab, 0.1)
    box = tab.locator(".bar-wave").bounding_box()
    tab.touchscreen.tap(box["x"] + box["width"] * 0.75, box["y"] + 10)
    length = float(tab.locator(".bar-wave").get_attribute("aria-valuemax"))
    wait_for_time(tab, length * 0.7)
    tab.locator(".bar-more").tap()
    assert tab.locator(".bar-speed").is_visible()
    one.locator(".view-roll").scroll_into_view_if_needed()
    box = one.locator(".view-roll").bounding_box()
    tab.touchscreen.tap(box["x"] + 20, box["y"] + 60)
    wait_until(tab, f"document.querySelector('#player audio').currentTime < {length * 0.5}")
    context.close()


def test_without_scripts_there_are_plain_players(browser: sync_api.Browser, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((site / "index.html").as_uri())
    assert tab.locator("audio:visible").count() == len(NAMES)
    assert tab.locator(".tools:visible, .play:visible, .bar:visible").count() == 0
    context.close()


# Auditions


def test_an_audition_plays_one_clip_at_a_time(tab: sync_api.Page, audition: Path) -> None:
    tab.goto((audition / "index.html").as_uri())
    heard = "() => { const p = document.getElementById('player'); return !p.paused && p.currentTime > 0.1 && p.src }"
    for name, clip in (("Play a note of 1, random-7-1", "note-1"), ("From 0 to 2", "strip-0-2")):
        tab.get_by_role("button", name=name).click()
        wait_until(tab, heard)
        assert tab.evaluate(heard).endswith(f"/clips/{clip}.wav")
        assert set(tab.locator(".hear.on").evaluate_all("all => all.map(b => b.dataset.clip)")) == {clip}
    tab.locator("h1").click()
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("Space")
    assert tab.evaluate("document.getElementById('player').paused")
    wait_until(tab, "!document.querySelector('.hear.on')")  # the event follows the change of state
    tab.get_by_label("Keep 2,").check()
    tab.get_by_label("Keep 0,").check()
    assert tab.locator("#command").inner_text().endswith("--count 3 --seed 7 --keep 0,2 --as my_bank.yaml")


@every_screen
def test_an_audition_fits_the_screen_and_can_be_read(
    tab: sync_api.Page, audition: Path, viewport: dict[str, int], scheme: str
) -> None:
    assert readable_contrasts(tab, audition, viewport, scheme)


def test_an_audition_is_played_with_keys(tab: sync_api.Page, audition: Path) -> None:
    tab.add_init_script(
        "window.heard = []; const Real = Audio;"
        "window.Audio = class extends Real { constructor(src) { super(src); heard.push(this); } };"
    )
    tab.goto((audition / "index.html").as_uri())
    tab.keyboard.press("2")
    assert tab.locator("#chosen").input_value() == "2"
    wait_until(tab, "document.getElementById('player').src.endsWith('/clips/note-2.wav')")
    for key, pitch, clip, steps in (("a", 60, "note-2", 0), ("w", 61, "note-2", 1), ("k", 72, "key-2-72", 0)):
        tab.keyboard.down(key)
        assert tab.locator("#keyboard .down").get_attribute("data-pitch") == str(pitch)
        sound = tab.evaluate(
            "(({src, playbackRate, preservesPitch}) => [src, playbackRate, preservesPitch])(heard.at(-1))"
        )
        assert sound[0].endswith(f"/clips/{clip}.wav")
        assert sound[1:] == [pytest.approx(2 ** (steps / 12)), False]
        tab.keyboard.up(key)
        assert tab.locator("#keyboard .down").count() == 0
    wait_until(tab, "heard.every((sound) => sound.paused)")
    tab.keyboard.press("z")
    tab.keyboard.down("a")
    assert tab.locator("#keyboard .down").get_attribute("data-pitch") == "48"
    tab.keyboard.up("a")
    tab.locator("#keyboard [data-pitch='67']").hover()
    tab.mouse.down()
    assert tab.locator("#keyboard .down").get_attribute("data-pitch") == "67"
    tab.mouse.up()
    assert tab.locator("#keyboard .down").count() == 0


def test_the_map_of_an_audition_is_heard(tab: sync_api.Page, audition: Path) -> None:
    tab.goto((audition / "index.html").as_uri())
    plane = tab.locator("#plane")
    plane.scroll_into_view_if_needed()
    box = plane.bounding_box()
    assert box
    at = [(box["x"] + box["width"] * x, box["y"] + box["height"] * 0.5) for x in (0.5, 0.95)]
    player = tab.locator("#player")
    playing = "document.getElementById('player').src.split('/').at(-1)"
    tab.mouse.move(*at[0])
    tab.mouse.down()
    sync_api.expect(player).to_have_attribute("src", re.compile(r"map-40\.wav$"))
    assert "[43]" in tab.locator("#render-command").inner_text()
    assert "Made of" in tab.locator("#where").inner_text()
    tab.mouse.move(*at[1])
    sync_api.expect(player).to_have_attribute("src", re.compile(r"map-44\.wav$"))
    tab.mouse.up()
    tab.mouse.move(*at[0])
    assert tab.evaluate(playing) == "map-44.wav"
    plane.focus()
    tab.keyboard.press("ArrowUp")
    sync_api.expect(player).to_have_attribute("src", re.compile(r"map-35\.wav$"))
    assert len(tab.locator("#nearest").inner_text().split(", ")) == 3
    tab.locator(".copy[data-of=render-command]").click()
    sync_api.expect(tab.locator("#copied")).to_have_text(re.compile(r"^(Copied\.|Not copied: select)"))
    spots = tab.locator("#plane .spot")
    assert spots.all_inner_texts() == ["0", "1", "2"]


@every_screen
def test_axe_finds_nothing_in_an_audition(
    tab: sync_api.Page, audition: Path, viewport: dict[str, int], scheme: str
) -> None:
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size(viewport)
    tab.goto((audition / "index.html").as_uri())
    no_violations(tab)


# Comparisons

_RECORD = """
  window.started = []; window.ramps = [];
  const start = AudioBufferSourceNode.prototype.start;
  AudioBufferSourceNode.prototype.start = function (...all) { started.push(all); start.apply(this, all); };
  const target = AudioParam.prototype.setTargetAtTime;
  AudioParam.prototype.setTargetAtTime = function (...all) { ramps.push(all); return target.apply(this, all); };
"""


def position(tab: sync_api.Page) -> float:
    return float(tab.locator("#position").get_attribute("aria-valuenow") or "nan")


def open_comparison(tab: sync_api.Page, comparison: Path) -> None:
    tab.add_init_script(_RECORD)
    tab.goto((comparison / "index.html").as_uri())
    wait_until(tab, "!document.getElementById('play').disabled")


def test_versions_are_switched_at_the_same_position_without_a_gap(tab: sync_api.Page, comparison: Path) -> None:
    open_comparison(tab, comparison)
    tab.keyboard.press("Space")
    wait_until(tab, "Number(document.getElementById('position').getAttribute('aria-valuenow')) > 0.3")
    (one, other) = tab.evaluate("started")
    assert one == other  # the same moment and the same position
    before = position(tab)
    tab.keyboard.press("2")
    assert tab.locator(".version[aria-pressed=true]").inner_text() == "2 b"
    assert tab.evaluate("started.length") == 2  # nothing was stopped or begun
    gains = tab.evaluate("ramps")
    assert [gain > 0 for gain, _, _ in gains[-2:]] == [False, True]
    assert gains[-2][1] == gains[-1][1]
    assert position(tab) >= before
    tab.keyboard.press("Space")
    at = position(tab)
    tab.keyboard.press("ArrowLeft")
    assert position(tab) == 0 < at
    tab.locator("#position").click(position={"x": 200, "y": 20})
    assert position(tab) > 0
    tab.keyboard.press("n")
    assert tab.locator("#song-title").inner_text() == "two"
    wait_until(tab, "!document.getElementById('play').disabled")
    tab.keyboard.press("Space")
    wait_until(tab, "started.length === 4")


def test_levels_are_matched_unless_that_is_turned_off(tab: sync_api.Page, comparison: Path) -> None:
    open_comparison(tab, comparison)
    tab.locator("#play").click()
    wait_until(tab, "started.length === 2")
    tab.keyboard.press("2")
    tab.keyboard.press("1")
    matched = tab.evaluate("ramps.at(-2)[0]")
    tab.locator("#level").uncheck()
    assert 0 < matched < tab.evaluate("ramps.at(-2)[0]") == 1


def test_blind_hides_names_until_asked(tab: sync_api.Page, comparison: Path) -> None:
    open_comparison(tab, comparison)
    first = set()
    for _ in range(30):
        tab.locator("[value=blind]").check()
        assert tab.locator(".version").all_inner_texts() == ["Version 1", "Version 2"]
        assert tab.locator(".lufs").all_inner_texts() == ["", ""]
        tab.locator("#reveal").click()
        first.add(tab.locator(".version").first.inner_text())
        tab.locator("[value=open]").check()
    assert first == {"1 a", "1 b"}


def test_abx_counts(tab: sync_api.Page, comparison: Path) -> None:
    open_comparison(tab, comparison)
    tab.locator("[value=abx]").check()
    assert tab.locator(".version").all_inner_texts() == ["A", "B", "X"]
    tab.keyboard.press("Space")  # also while the mode has the focus
    wait_until(tab, "started.length === 2")
    right = 0
    for trial in range(1, 9):
        tab.keyboard.press("x")
        assert tab.locator(".version[aria-pressed=true]").inner_text() == "X"
        of_x = tab.evaluate("ramps.slice(-2).findIndex(([gain]) => gain > 0)")
        guess = of_x if trial > 2 else 1 - of_x  # two wrong answers
        right += guess == of_x
        tab.locator(f"[data-answer='{guess}']").click()
        assert tab.locator("#abx-count").inner_text().startswith(f"{right} of {trial} right")
    assert "probability of 0.14" in tab.locator("#abx-count").inner_text()  # (28 + 8 + 1) / 256
    tab.reload()
    wait_until(tab, "!document.getElementById('play').disabled")
    tab.locator("[value=abx]").check()
    assert tab.locator("#abx-count").inner_text().startswith("6 of 8 right")
    tab.locator("#abx-again").click()
    assert tab.locator("#abx-count").inner_text() == "No answer yet."


def test_stars_and_notes_are_saved_as_json(browser: sync_api.Browser, comparison: Path, tmp_path: Path) -> None:
    context = browser.new_context(viewport=LAPTOP, offline=True)
    tab = context.new_page()
    open_comparison(tab, comparison)
    tab.get_by_role("button", name="4 stars for 2 b").click()
    tab.get_by_label("Note on 1 a").fill("too <loud>")
    tab.reload()
    with tab.expect_download() as saved:
        tab.get_by_role("link", name="Save as JSON").click()
    saved.value.save_as(tmp_path / "saved.json")
    found = json.loads((tmp_path / "saved.json").read_text("utf-8"))
    assert found["songs"] == {"one.mid": {"a": {"stars": 0, "note": "too <loud>"}, "b": {"stars": 4, "note": ""}}}
    assert found["versions"] == ["a", "b"]
    context.close()


@every_screen
def test_a_comparison_fits_the_screen_and_axe_finds_nothing(
    tab: sync_api.Page, comparison: Path, viewport: dict[str, int], scheme: str
) -> None:
    assert readable_contrasts(tab, comparison, viewport, scheme)
    for mode in ("open", "blind", "abx"):
        tab.locator(f"[value={mode}]").check()
        no_violations(tab)


CONTRASTS = """() => {
  const luminance = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (!colour.endsWith(", 0)")) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  return [...document.querySelectorAll("body *")]
    .filter((e) => e.checkVisibility() && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((e) => [luminance(getComputedStyle(e).color), luminance(ground(e))].sort((a, b) => b - a))
    .map(([light, dark]) => (light + 0.05) / (dark + 0.05));
}"""

OVERLAPS = """(selector) => {
  const boxes = [...document.querySelectorAll(selector)]
    .filter((e) => e.checkVisibility() && !e.matches(".sr, canvas, audio"))
    .map((e) => [e, e.getBoundingClientRect()]).filter(([, box]) => box.width && box.height);
  return boxes.flatMap(([one, a], i) => boxes.slice(i + 1)
    .filter(([other, b]) => one.parentElement === other.parentElement &&
      Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
      Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1)
    .map(([other]) => `${one.className} over ${other.className}`));
}"""
