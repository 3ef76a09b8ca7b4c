"""The listening page in Chromium: it plays, seeks, searches, sorts and filters, and runs only its own scripts."""

from __future__ import annotations

import base64
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import mido
import numpy as np
import pytest
from numpy.typing import NDArray

from gansynth.figures import axes
from pipeline.__main__ import main
from tests.support import in_page
from tests.support.chromium import (
    LAPTOP,
    PHONE,
    contrasts,
    drawn,
    eventually,
    every_screen,
    no_violations,
    now,
    open_page,
    opened,
    place,
    playing,
    readable_contrasts,
    sought,
    titles,
    wait_for_time,
    wait_until,
)
from tests.support.in_page import AUDIO
from tests.support.pages import BROKEN, NAMES, data, manifest, read_site

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page


def song(tab: Page, title: str) -> Locator:
    return tab.locator(".song").filter(has=tab.get_by_role("heading", name=title, exact=True))


def rows(tab: Page) -> int:
    """Returns the number of songs in the list, whether in the document or not."""
    return tab.evaluate("Number(document.querySelector('#list > *')?.getAttribute('aria-setsize') ?? 0)")


# Safety


def test_no_name_runs_as_a_script(tab: Page, site: Path) -> None:
    open_page(tab, site)
    expect(tab.locator(".song:not(.failure)")).to_have_count(len(NAMES))
    assert tab.locator("main script, main img:not([alt])").count() == 0
    for name in ("{{ 7 * 7 }}{% raw %}", "a#b?c%20d&amp;e", "javascript:alert(4)", "さくら さくら"):
        assert song(tab, name).count() == 1
    tab.locator("#pictures").uncheck()
    expect(tab.locator(".row .name a")).to_have_count(len(NAMES) + 2)
    assert tab.locator("main script").count() == 0


def test_the_policy_stops_what_escaping_might_miss(browser: Browser, site: Path) -> None:
    with opened(browser) as tab:
        blocked: list[str] = []
        tab.on("console", lambda message: blocked.append(message.text))
        open_page(tab, site)
        for html in (
            "<img src=x onerror='window.hit = 1'>",
            "<a id=trap href='javascript:window.hit = 1'>x</a>",
            "<iframe srcdoc='<script>parent.hit = 1</script>'></iframe>",
            "<script>window.hit = 1</script>",
        ):
            tab.evaluate("html => document.body.insertAdjacentHTML('beforeend', html)", html)
        tab.evaluate("document.getElementById('trap').click()")
        drawn(tab)
        eventually(lambda: drawn(tab) or sum("Content Security Policy" in text for text in blocked) >= 3, True)
        assert tab.evaluate("window.hit") is None


def test_data_of_another_run_are_not_taken(browser: Browser, large: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(large, folder)
    file = folder / "page" / "index-0001.js"
    file.write_text(file.read_text().replace("song 1.mid", "song X.mid"))
    with opened(browser) as tab:
        tab.goto((folder / "index.html").as_uri())
        expect(tab.locator("#trouble")).to_contain_text("page/index-0001.js is of another run")
        eventually(lambda: titles(tab), [])


# The player


def test_plays_and_only_one_at_a_time(tab: Page, site: Path) -> None:
    open_page(tab, site)
    first, second = song(tab, "same"), song(tab, "same.midi")
    assert not tab.locator("#player").is_visible()
    first.get_by_role("button", name="Play same", exact=True).click()
    wait_for_time(tab, 0.1)
    assert playing(tab) == "same"
    shown = first.locator(".head").bounding_box()["x"]
    eventually(lambda: first.locator(".head").bounding_box()["x"] > shown + 1, True)
    second.get_by_role("button", name="Play same.midi", exact=True).click()
    eventually(lambda: playing(tab), "same.midi")
    wait_for_time(tab, 0.1)
    expect(tab.locator(".playing")).to_have_count(2)  # the song and the bar
    second.get_by_role("button", name="Pause same.midi", exact=True).click()
    eventually(lambda: playing(tab), "")
    assert tab.locator("#player").is_visible()


@pytest.mark.parametrize("name", [name for name in NAMES if "\n" not in name and "\u202e" not in name])
def test_every_song_can_be_heard(tab: Page, site: Path, name: str) -> None:
    open_page(tab, site, "#" + urlencode({"song": name, "pictures": "0"}))
    one = tab.locator(".song")
    expect(one).to_have_count(1)
    one.locator(".play").click()
    wait_for_time(tab, 0.1)
    length = tab.eval_on_selector("#player audio", "audio => audio.duration")
    (row,) = [row for row in manifest(site) if row["song_id"] == name]
    assert length == pytest.approx(row["seconds"], abs=0.01)


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_a_click_in_a_plain_picture_seeks_to_where_it_is(tab: Page, reference: Path, viewport: dict[str, int]) -> None:
    """A click in either picture seeks to its position, before and after the audio is loaded."""
    tab.set_viewport_size(viewport)
    open_page(tab, reference)
    one = song(tab, "one")
    (row,) = manifest(reference)
    across = axes.seconds_across(round(row["seconds"] * 16000), 16000)
    for picture, seconds in ((".spectrogram", 4.0), (".roll", 1.0)):
        one.locator(picture).scroll_into_view_if_needed()
        x = place(one.locator(picture))["width"] * (56 + (1200 - 56 - 72) * seconds / across) / 1200
        one.locator(".plates").evaluate("(frame, x) => frame.scrollLeft = x - 200", x)
        box = place(one.locator(picture))
        tab.mouse.click(box["x"] + x, box["y"] + box["height"] / 2)
        eventually(lambda seconds=seconds: sought(tab), pytest.approx(seconds, abs=0.05))
        eventually(lambda: playing(tab), "one")
        wait_for_time(tab, seconds - 0.1)
        one.locator(".play").click()
        eventually(lambda: playing(tab), "")
        box = place(one.locator(picture))
        expected = box["width"] * (56 + (1200 - 56 - 72) * now(tab) / across) / 1200
        head = place(one.locator(".head"))
        assert head["x"] + head["width"] / 2 - box["x"] == pytest.approx(expected, abs=2)
    assert tab.evaluate("[...document.images].every(image => image.naturalWidth === 1200)")


def test_dragging_in_a_picture_scrubs(tab: Page, site: Path, reference: Path) -> None:
    for folder, title in ((site, "same"), (reference, "one")):
        open_page(tab, folder)
        one = song(tab, title)
        one.scroll_into_view_if_needed()
        one.locator("img").last.scroll_into_view_if_needed()
        box = place(one.locator(".seek"))
        y = box["y"] + box["height"] / 2
        tab.mouse.move(box["x"] + box["width"] * 0.3, y)
        tab.mouse.down()
        wait_until(tab, "!document.querySelector('#player').hidden")
        for part in (0.4, 0.5, 0.6):
            x = box["x"] + box["width"] * part
            tab.mouse.move(x, y, steps=3)
            eventually(lambda one=one: one.locator(".head").bounding_box()["x"], pytest.approx(x, abs=3))
        assert playing(tab) == ""
        tab.mouse.up()
        eventually(lambda: playing(tab), title)


# Pictures


def canvas_pixels(tab: Page, canvas: str) -> NDArray[np.uint8]:
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


def shown_notes(tab: Page, title: str) -> tuple[Locator, dict[str, float]]:
    """Scrolls to a song's roll; returns the song, and the roll's place."""
    one = song(tab, title)
    one.scroll_into_view_if_needed()
    one.locator(".view-roll").scroll_into_view_if_needed()
    return one, place(one.locator(".view-roll"))


def seconds_of(out: Path, name: str) -> float:
    """Returns the seconds that a song's pictures span."""
    (row,) = [row for row in manifest(out) if row["song_id"] == name]
    return axes.seconds_across(round(row["seconds"] * 16000), 16000)


@pytest.mark.parametrize("scale", [1, 2])
def test_the_roll_is_drawn_from_the_notes_on_the_spectrograms_axes(browser: Browser, site: Path, scale: int) -> None:
    with opened(browser, device_scale_factor=scale) as tab:
        open_page(tab, site, "#pictures=0&song=same.mid")
        _compare_axes(tab, site, scale)


def _compare_axes(tab: Page, site: Path, scale: int) -> None:
    """Asserts that the notes of the one song that is shown are where they are in its files."""
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


def test_the_pointer_tells_the_note(tab: Page, site: Path) -> None:
    open_page(tab, site, "#pictures=0&song=same.mid")
    one, box = shown_notes(tab, "same")
    notes = json.loads((site / "notes" / "same.json").read_text())
    n = next(n for n, program in enumerate(notes["notes"]["program"]) if program == 33)
    pitch, velocity = notes["notes"]["pitch"][n], notes["notes"]["velocity"][n]
    wide = place(one.locator(".view-wide"))
    x = wide["x"] + (notes["notes"]["start"][n] + 0.1) / seconds_of(site, "same.mid") * wide["width"]
    tab.mouse.move(x, box["y"] + box["height"] - (pitch - 24 + 0.5) * box["height"] / 95)
    said = one.locator(".view-note")
    name = notes["instruments"][notes["notes"]["instrument"][n]]
    expect(said).to_contain_text(f"C3, {name}, velocity {velocity}, 0:0")
    tab.mouse.move(x, box["y"] + 3)
    expect(said).to_be_hidden()
    expect(one.locator(".hover")).to_be_visible()


def test_zoom_octaves_and_colours(tab: Page, site: Path) -> None:
    open_page(tab, site, "#pictures=0&song=same.mid")
    one, _ = shown_notes(tab, "same")
    wide = one.locator(".view-wide")
    width, visible = place(wide)["width"], place(one.locator(".view-scroll"))["width"]
    one.get_by_role("button", name="Zoom in").click()
    eventually(lambda: wide.bounding_box()["width"], pytest.approx(2 * width, abs=2))
    assert place(one.locator(".view-roll"))["width"] == pytest.approx(visible, abs=1)  # only what is in sight
    before = canvas_pixels(tab, ".view-roll")
    one.locator(".view-scroll").evaluate("frame => frame.scrollLeft = 300")
    eventually(lambda: (canvas_pixels(tab, ".view-roll") != before).any(), True)
    one.get_by_role("button", name="Show the whole song").click()
    eventually(lambda: wide.bounding_box()["width"], pytest.approx(visible, abs=1))
    colours = set()
    for by in ("instrument", "track", "velocity"):
        one.get_by_label("Colours").select_option(by)
        drawn(tab)
        colours.add(canvas_pixels(tab, ".view-roll").tobytes())
    assert len(colours) == 2  # each track has an instrument of its own
    lit = (canvas_pixels(tab, ".view-roll").astype(int).sum(axis=2) > 150).sum()
    one.get_by_role("button", name="Show only the octaves").click()
    eventually(  # notes are higher
        lambda: (canvas_pixels(tab, ".view-roll").astype(int).sum(axis=2) > 150).sum() > 1.5 * lit, True
    )


def test_bends_and_dynamics_are_seen(tab: Page, tiny: str, tmp_path: Path) -> None:
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


def test_the_parts_of_a_long_spectrogram_are_side_by_side(tab: Page, long_song: Path) -> None:
    open_page(tab, long_song)
    one, _ = shown_notes(tab, "long")
    (row,) = manifest(long_song)
    grid, seconds = axes.Grid.of(round(row["seconds"] * 16000), 16000), seconds_of(long_song, "long.mid")
    tiles, scroll = one.locator(".view-tile"), one.locator(".view-scroll")
    expect(tiles).to_have_count(3)
    wide = place(one.locator(".view-wide"))
    per_second = wide["width"] / seconds
    assert per_second >= 40
    edges = [(place(tile)["x"] - wide["x"], place(tile)["width"]) for tile in tiles.all()]
    scale = wide["width"] / grid.width
    expected = [(tile.start * scale, len(tile) * scale) for tile in grid.tiles()]
    assert edges == [pytest.approx(pair, abs=0.1) for pair in expected]
    # Each is read when it comes into sight, and its plot fills its place.
    for second, part in ((450, 1), (898, 2), (2, 0)):
        scroll.evaluate("(frame, x) => { frame.scrollLeft = x; }", per_second * second - 600)
        wait_until(tab, f"(image => image.complete && image.naturalWidth > 0)(document.images[{part}])")
        drawn(tab)
        picture = tiles.nth(part).locator("img").bounding_box()
        assert picture["width"] == pytest.approx((axes.LEFT + len(grid.tiles()[part]) + axes.RIGHT) * scale, abs=1)
        left = scroll.bounding_box()["x"] - scroll.evaluate("frame => frame.scrollLeft")
        assert picture["x"] + axes.LEFT * scale == pytest.approx(left + grid.tiles()[part].start * scale, abs=1)
    # All parts of the picture can be opened.
    names = one.locator(".files a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert {f"tiles/long/{kind}-{n}.png" for kind in ("spectrogram", "piano_roll") for n in (2, 3)} <= set(names)
    no_violations(tab)


def test_notes_that_are_gone_leave_the_spectrogram(browser: Browser, site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(site, folder)
    (folder / "rolls" / "same.js").unlink()
    with opened(browser) as tab:
        open_page(tab, folder, "#pictures=0&song=same.mid")
        expect(tab.locator("#trouble")).to_contain_text("rolls/same.js cannot be read")
        expect(tab.locator(".view-spectrogram img")).to_have_count(1)
        assert tab.locator(".view-roll").count() == 0


# The bar


def test_the_bar_seeks_with_mouse_and_keys(tab: Page, site: Path) -> None:
    open_page(tab, site)
    song(tab, "same").locator(".play").click()
    wait_for_time(tab, 0.1)
    bar = tab.locator(".bar-wave")
    box = place(bar)
    length = float(bar.get_attribute("aria-valuemax"))
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + 10)
    eventually(lambda: sought(tab), pytest.approx(length / 2, abs=0.1))
    wait_for_time(tab, length * 0.45)
    tab.locator(".bar-play").click()
    eventually(lambda: playing(tab), "")
    bar.focus()
    tab.keyboard.press("Home")
    eventually(lambda: float(bar.get_attribute("aria-valuenow")), 0)
    tab.keyboard.press("ArrowRight")
    eventually(lambda: float(bar.get_attribute("aria-valuenow")), pytest.approx(min(5, length), abs=0.1))
    assert bar.get_attribute("aria-valuetext").startswith("0:0")
    assert drawn_colours(tab, ".bar-wave canvas") > 1


def drawn_colours(tab: Page, canvas: str) -> int:
    """Returns the number of different colours in a canvas."""
    return tab.eval_on_selector(
        canvas,
        """canvas => new Set(new Uint32Array(
          canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size""",
    )


def test_keys_work_also_after_a_click_on_a_button(tab: Page, site: Path) -> None:
    open_page(tab, site)
    tab.keyboard.press("Space")  # the first song
    wait_for_time(tab, 0.1)
    assert playing(tab) == titles(tab)[0]
    song(tab, "same").locator(".play").click()  # which now has the focus
    eventually(lambda: playing(tab), "same")
    wait_for_time(tab, 0.1)
    tab.keyboard.press("Space")
    eventually(lambda: playing(tab), "")
    tab.locator(".bar-loop").click()
    tab.locator(".bar-loop").click()
    tab.locator(".bar-loop").click()
    before, length = now(tab), float(tab.locator(".bar-wave").get_attribute("aria-valuemax"))
    tab.keyboard.press("ArrowRight")
    eventually(lambda: now(tab), pytest.approx(min(before + 5, length), abs=0.1))
    tab.keyboard.press("ArrowLeft")
    eventually(lambda: now(tab), pytest.approx(max(min(before + 5, length) - 5, 0), abs=0.1))
    order = titles(tab)
    tab.keyboard.press("n")
    eventually(lambda: playing(tab), "same.midi")
    tab.evaluate(f"{AUDIO}.currentTime = 0")  # from the fourth second on, the key goes to the beginning
    tab.keyboard.press("p")
    eventually(lambda: playing(tab), "same")
    assert order.index("same") == order.index("same.midi") - 1
    tab.keyboard.press("Space")
    eventually(lambda: playing(tab), "")
    # In the search field, keys are typed.
    tab.keyboard.press("/")
    tab.keyboard.type("n p ?l")
    expect(tab.locator("#find")).to_have_value("n p ?l")
    assert playing(tab) == ""
    tab.keyboard.press("Escape")
    tab.keyboard.press("?")
    expect(tab.locator("#help")).to_be_visible()
    tab.keyboard.press("Escape")
    expect(tab.locator("#help")).to_be_hidden()


def test_a_button_reached_with_tab_is_pressed_by_space(tab: Page, site: Path) -> None:
    open_page(tab, site)
    tab.locator("#sort").focus()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Space")
    expect(tab.locator("#filters")).to_be_visible()
    assert playing(tab) == ""


def test_a_focused_picture_is_a_slider(tab: Page, site: Path) -> None:
    open_page(tab, site)
    song(tab, "same").scroll_into_view_if_needed()
    slider = song(tab, "same").get_by_role("slider")
    slider.focus()
    tab.keyboard.press("ArrowRight")
    eventually(lambda: float(slider.get_attribute("aria-valuenow")), 5)
    assert slider.get_attribute("aria-valuetext").startswith("0:05 of 0:")
    tab.keyboard.press("Home")
    eventually(lambda: float(slider.get_attribute("aria-valuenow")), 0)
    tab.keyboard.press("Enter")
    eventually(lambda: playing(tab), "same")


def test_loop_speed_and_volume(tab: Page, site: Path) -> None:
    open_page(tab, site)
    song(tab, "same").locator(".play").click()
    wait_for_time(tab, 0.1)
    tab.locator(".bar-play").click()
    eventually(lambda: playing(tab), "")
    tab.evaluate(f"{AUDIO}.currentTime = 0.5")
    eventually(lambda: now(tab), 0.5)
    loop = tab.locator(".bar-loop")
    loop.click()
    start = now(tab)
    end = min(start + 5, float(tab.locator(".bar-wave").get_attribute("aria-valuemax")))
    tab.keyboard.press("ArrowRight")  # to the end or 5 s on
    eventually(lambda: now(tab), pytest.approx(end, abs=0.1))
    loop.click()
    expect(loop).to_have_attribute("aria-label", "Stop looping")
    eventually(lambda: now(tab), pytest.approx(start, abs=0.05))
    tab.locator(".bar-speed").select_option("2")
    tab.locator(".bar-wave").focus()
    tab.keyboard.press("End")
    tab.eval_on_selector("#player audio", "(audio, end) => { audio.currentTime = end - 0.3 }", end)
    tab.keyboard.press("Enter")
    wait_until(tab, f"{AUDIO}.currentTime < {end - 1}")  # it has turned back
    assert playing(tab) == "same"
    assert tab.eval_on_selector("#player audio", "audio => [audio.playbackRate, audio.preservesPitch]") == [2, True]
    loop.click()
    expect(loop).to_have_attribute("aria-label", "Loop from here (A)")
    tab.locator(".bar-volume input").fill("50")
    assert tab.eval_on_selector("#player audio", "audio => audio.volume") == pytest.approx(0.25)
    tab.reload()
    expect(tab.locator(".bar-volume input")).to_have_value("50")


def test_headphones_and_lock_screens_control_it(browser: Browser, site: Path) -> None:
    with opened(browser) as tab:
        tab.add_init_script(
            "window.actions = {}; MediaSession.prototype.setActionHandler = (name, act) => { actions[name] = act }"
        )
        open_page(tab, site)
        song(tab, "さくら さくら").locator(".play").click()
        wait_for_time(tab, 0.1)
        shown = tab.evaluate("(m => [m.title, m.artist])(navigator.mediaSession.metadata)")
        assert shown == ["さくら さくら", "日本語の歌"]
        eventually(lambda: tab.evaluate("navigator.mediaSession.playbackState"), "playing")
        tab.evaluate("actions.pause()")
        eventually(lambda: playing(tab), "")
        tab.evaluate("actions.seekto({seekTime: 1.5})")
        eventually(lambda: now(tab), pytest.approx(1.5, abs=0.05))
        tab.evaluate("actions.previoustrack()")
        expect(tab.locator(".bar-title a")).not_to_have_text("さくら さくら")


def test_play_on_goes_to_the_next_song(tab: Page, site: Path) -> None:
    open_page(tab, site)
    tab.locator("#autoplay").check()
    order = titles(tab)
    tab.evaluate("watched.endless = false")
    song(tab, "same").locator(".play").click()
    wait_until(tab, f"{AUDIO}.readyState > 1")
    tab.evaluate(f"watched.endless = true, {AUDIO}.currentTime = {AUDIO}.duration - 0.2")  # the next one is played on
    eventually(lambda: playing(tab), order[order.index("same") + 1])


def test_a_song_that_cannot_be_played_says_so(browser: Browser, site: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(site, folder)
    (folder / "audio" / "same.wav").unlink()
    with opened(browser) as tab:
        open_page(tab, folder)
        song(tab, "same").locator(".play").click()
        expect(tab.locator(".bar-title span")).to_have_text("cannot be played")


# The list


def test_search_and_sort(tab: Page, site: Path) -> None:
    open_page(tab, site)
    everything = titles(tab)
    tab.locator("#find").fill("SAME")
    eventually(lambda: titles(tab), ["same", "same.midi"])
    expect(tab.locator("#found")).to_have_text(f"2 of {len(NAMES) + 2}")
    tab.locator("#find").fill("plain träu")
    eventually(lambda: titles(tab), ["Träumerei"])
    tab.locator("#find").fill("<script>")
    eventually(lambda: len(titles(tab)), 2)
    tab.locator("#find").fill("no such song")
    eventually(lambda: titles(tab), [])
    expect(tab.locator("#none")).to_have_text("No song fits.")
    tab.locator("#find").fill("")
    eventually(lambda: titles(tab), everything)
    tab.locator("#sort").select_option("-seconds")
    by_title = {one["title"]: round(one.get("seconds", 0), 1) for one in data(read_site(site))[2]}
    found = [by_title[title] for title in titles(tab)]
    assert found == sorted(found, reverse=True)
    tab.locator("#sort").select_option("name")
    eventually(lambda: titles(tab), everything)
    tab.locator("#pictures").uncheck()
    expect(tab.locator(".plates:visible")).to_have_count(0)
    expect(tab.locator("#list .play:visible")).to_have_count(len(NAMES))
    expect(tab.locator(".row.failure")).to_have_count(len(BROKEN))


def test_names_are_in_natural_order_and_exact_matches_first(tab: Page, large: Path) -> None:
    open_page(tab, large)
    eventually(lambda: titles(tab)[:4], ["song 0", "song 3", "song 6", "song 9"])  # of set 0
    tab.locator("#find").fill("song 4")
    eventually(lambda: titles(tab)[:3], ["song 4", "song 42", "song 45"])
    tab.locator("#find").fill("set 1/song 40.mid")
    eventually(lambda: titles(tab), ["song 40", "song 340"])
    tab.locator("#sort").select_option("-seconds")
    tab.locator("#find").fill("song 44")
    eventually(lambda: titles(tab)[0], "song 44")
    eventually(lambda: len(titles(tab)), 14)  # 44, 144, 244, 344, 440 .. 449


def test_sorting_does_not_stop_the_music(tab: Page, site: Path) -> None:
    open_page(tab, site)
    song(tab, "same").locator(".play").click()
    wait_for_time(tab, 0.1)
    tab.locator("#sort").select_option("-notes")
    tab.locator("#pictures").uncheck()
    expect(tab.locator(".row.playing .name a")).to_have_text("same")
    assert playing(tab) == "same"


def test_large_corpora_are_rows_of_which_few_are_in_the_document(tab: Page, large: Path) -> None:
    open_page(tab, large)
    eventually(lambda: rows(tab), 460)
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
    expect(failed).to_contain_text("midi-empty: the file is empty")


def test_filters(tab: Page, large: Path) -> None:
    open_page(tab, large)
    tab.locator("#filter").click()
    tab.locator("#show").select_option("failed")
    eventually(lambda: rows(tab), 10)
    expect(tab.locator("#found")).to_have_text("10 of 460")
    expect(tab.locator("#filter")).to_have_text("Filter (1)")
    tab.locator("#show").select_option("repaired")
    eventually(lambda: rows(tab), 50)
    tab.locator("#reset").click()
    eventually(lambda: rows(tab), 460)
    tab.locator("#program").select_option("7")
    eventually(lambda: titles(tab), ["song 44"])
    tab.locator("#program").select_option("")
    tab.locator("#from").fill("440")
    tab.locator("#to").fill("442.5")
    eventually(lambda: rows(tab), 3)
    tab.locator("#show").select_option("failed")
    eventually(lambda: rows(tab), 0)


def test_the_address_keeps_what_is_shown(tab: Page, large: Path) -> None:
    open_page(tab, large)
    tab.locator("#find").fill("set 2")
    tab.locator("#sort").select_option("-seconds")
    tab.locator("#filter").click()
    tab.locator("#show").select_option("repaired")
    wait_until(tab, "location.hash.includes('repaired')")
    found, url = titles(tab), tab.url
    tab.goto("about:blank")
    tab.goto(url)
    wait_until(tab, in_page.READ)
    eventually(lambda: titles(tab), found)
    assert tab.locator("#find").input_value() == "set 2"
    assert tab.locator("#filters").is_visible()
    tab.goto((large / "index.html").as_uri() + "#song=nothing")
    tab.reload()
    expect(tab.locator("#trouble")).to_contain_text("no song “nothing”")


def test_a_song_has_an_address(tab: Page, large: Path) -> None:
    open_page(tab, large)
    tab.locator("#find").fill("song 333")
    tab.locator(".row .name a").click()
    one = song(tab, "song 333")
    one.wait_for()
    wait_until(tab, "location.hash.includes('song=set+0%2Fsong+333.mid')")
    one.locator("img").wait_for()
    expect(one.locator(".view-roll")).to_have_count(1)
    url = tab.evaluate("location.href")
    tab.go_back()
    expect(tab.locator(".song")).to_have_count(0)
    tab.goto("about:blank")
    tab.goto(url.split("#")[0] + "#song=set+0%2Fsong+333.mid")
    one.wait_for()
    eventually(lambda: 40 < place(one)["y"] < 200, True)
    eventually(lambda: rows(tab), 460)
    one.get_by_role("button", name="Close").click()
    expect(tab.locator(".song")).to_have_count(0)


def test_pictures_of_a_large_corpus_are_virtual_and_loaded_when_in_sight(tab: Page, large: Path) -> None:
    open_page(tab, large)
    tab.locator("#pictures").check()
    # A few, without gaps and overlaps.
    few = """(boxes => boxes.length > 1 && boxes.length < 12
      && boxes.slice(1).every((box, i) => Math.abs(box.top - boxes[i].bottom) < 1))(
      [...document.querySelectorAll(".song")].map(one => one.getBoundingClientRect()))"""
    wait_until(tab, few)
    for part in (0.5, 1.0, 0.2):
        tab.locator("#songs").evaluate("(list, part) => scrollTo(0, list.offsetTop + part * list.offsetHeight)", part)
        drawn(tab)
        wait_until(tab, few)
    wait_until(tab, "[...document.images].some(image => image.complete && image.naturalWidth)")


def test_waveforms_of_rows_seek(tab: Page, large: Path) -> None:
    open_page(tab, large)
    wave = tab.locator(".row").nth(1).locator(".wave")
    wait_until(tab, "document.querySelector('.row .wave').width > 0")
    box = place(wave)
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + 5)
    eventually(lambda: playing(tab), "song 3")
    wait_for_time(tab, 1)
    assert sought(tab) == pytest.approx(tab.evaluate(f"{AUDIO}.duration") / 2, abs=0.2)


# Failures


def test_failures_say_what_to_do(tab: Page, site: Path) -> None:
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_page(tab, site, "#show=failed")
    one = song(tab, "<b>empty.mid")
    expect(one).to_contain_text("midi-empty")
    expect(one).to_contain_text("Fetch it again.")
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
    tab: Page, site: Path, viewport: dict[str, int], scheme: str
) -> None:
    assert len(readable_contrasts(tab, site, viewport, scheme)) > 50


@every_screen
def test_a_large_corpus_fits_the_screen_and_can_be_read(
    tab: Page, large: Path, viewport: dict[str, int], scheme: str
) -> None:
    assert len(readable_contrasts(tab, large, viewport, scheme)) > 50
    tab.locator(".row .play").first.click()
    wait_for_time(tab, 0.1)
    drawn(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    assert contrasts(tab)
    # No two texts of a row, and no two parts of the bar, are over each other.
    assert tab.evaluate(in_page.OVERLAPS, ".row > *, .bar > *") == []


@every_screen
def test_axe_finds_nothing(tab: Page, site: Path, large: Path, viewport: dict[str, int], scheme: str) -> None:
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


def test_a_phone_scrubs_and_taps(browser: Browser, site: Path) -> None:
    with opened(browser, viewport=PHONE, has_touch=True, is_mobile=True) as tab:
        open_page(tab, site)
        one = song(tab, "same")
        one.locator(".play").tap()
        wait_for_time(tab, 0.1)
        box = place(tab.locator(".bar-wave"))
        tab.touchscreen.tap(box["x"] + box["width"] * 0.75, box["y"] + 10)
        length = float(tab.locator(".bar-wave").get_attribute("aria-valuemax"))
        eventually(lambda: sought(tab), pytest.approx(length * 0.75, abs=0.2))
        tab.locator(".bar-more").tap()
        expect(tab.locator(".bar-speed")).to_be_visible()
        one.locator(".view-roll").scroll_into_view_if_needed()
        box = place(one.locator(".view-roll"))
        tab.touchscreen.tap(box["x"] + 20, box["y"] + 60)
        eventually(lambda: sought(tab) < length * 0.5, True)


def test_without_scripts_there_are_plain_players(browser: Browser, site: Path) -> None:
    with opened(browser, java_script_enabled=False) as tab:
        tab.goto((site / "index.html").as_uri())
        expect(tab.locator("audio:visible")).to_have_count(len(NAMES))
        assert tab.locator(".tools:visible, .play:visible, .bar:visible").count() == 0
