"""The listening page in a real browser: it plays, seeks, searches and sorts, and runs only its own script.

Needs Chromium (on Debian and Ubuntu: apt-get install chromium); it is found on the PATH or named by CHROMIUM.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import page
from pipeline.config import load_config
from tests.support.pages import NAMES, all_rows

sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/chromium"
)
PHONE, LAPTOP = {"width": 390, "height": 844}, {"width": 1440, "height": 900}


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
    assert not [trouble for trouble in troubles if "ERR_ABORTED" not in trouble]


def song(tab: sync_api.Page, title: str) -> sync_api.Locator:
    return tab.locator(".song").filter(has=tab.get_by_role("heading", name=title, exact=True))


def time_of(one: sync_api.Locator) -> float:
    return one.locator("audio").evaluate("audio => audio.currentTime")


def is_playing(one: sync_api.Locator) -> bool:
    return one.locator("audio").evaluate("audio => !audio.paused && audio.readyState > 1")


def playing(tab: sync_api.Page) -> list[str]:
    return tab.eval_on_selector_all(
        "audio", "all => all.filter(a => !a.paused).map(a => a.closest('.song').querySelector('h2').textContent)"
    )


every_screen = pytest.mark.parametrize(
    ("viewport", "scheme"),
    [(LAPTOP, "light"), (LAPTOP, "dark"), (PHONE, "light"), (PHONE, "dark")],
    ids=["laptop-light", "laptop-dark", "phone-light", "phone-dark"],
)


def readable_contrasts(tab: sync_api.Page, folder: Path, viewport: dict[str, int], scheme: str) -> list[float]:
    """Opens a page, asserts that it fits the screen and can be read, and returns the contrasts of its texts."""
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size(viewport)
    tab.goto((folder / "index.html").as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    contrasts: list[float] = tab.evaluate(CONTRASTS)
    assert min(contrasts) >= 4.5
    return contrasts


def titles(tab: sync_api.Page) -> list[str]:
    return tab.locator(".song:visible h2").all_inner_texts()


def wait_until(tab: sync_api.Page, condition: str) -> None:
    """Polls a condition from Python, since the page's security policy blocks Playwright's wait_for_function."""
    end = time.monotonic() + 30
    while not tab.evaluate(condition):
        assert time.monotonic() < end, condition
        tab.wait_for_timeout(20)


@pytest.fixture
def large(site: Path, tmp_path: Path) -> Path:
    """Writes pages of 450 songs that share the files of one."""
    config = load_config(str(site / "config.yaml")).model_copy(update={"output": str(tmp_path)})
    (row,) = [row for row in all_rows(site) if row["song_id"] == "same.mid"]
    rows = []
    for i in range(450):
        outputs = {kind: f"{kind}/{i}{Path(name).suffix}" for kind, name in row["outputs"].items()}
        for kind, name in outputs.items():
            (tmp_path / kind).mkdir(exist_ok=True)
            os.link(site / row["outputs"][kind], tmp_path / name)
        rows.append({**row, "song_id": f"song {i:03d}.mid", "seconds": 5.0 + i * 7 % 450, "outputs": outputs})
    page.write_pages(config, rows)
    return tmp_path


def test_no_name_runs_as_a_script(tab: sync_api.Page, site: Path) -> None:
    tab.goto((site / "index.html").as_uri())
    assert tab.locator(".song").count() == len(NAMES)
    assert tab.locator("script").count() == 1
    assert tab.locator("main script, main img:not([alt])").count() == 0
    for name in ("{{ 7 * 7 }}{% raw %}", "a#b?c%20d&amp;e", "javascript:alert(4)", "さくら さくら"):
        assert song(tab, name).count() == 1


def test_the_policy_stops_what_escaping_might_miss(browser: sync_api.Browser, site: Path) -> None:
    context = browser.new_context(offline=True)
    tab = context.new_page()
    blocked: list[str] = []
    tab.on("console", lambda message: blocked.append(message.text))
    tab.goto((site / "index.html").as_uri())
    tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.hit=1>')")
    tab.evaluate("document.body.append(Object.assign(document.createElement('script'), {text: 'window.hit = 1'}))")
    tab.wait_for_timeout(300)
    assert tab.evaluate("window.hit") is None
    assert sum("Content Security Policy" in text for text in blocked) == 2
    context.close()


def test_plays_and_only_one_at_a_time(tab: sync_api.Page, site: Path) -> None:
    tab.goto((site / "index.html").as_uri())
    first, second = song(tab, "same"), song(tab, "same.midi")
    assert tab.evaluate("[...document.querySelectorAll('audio')].every(a => a.networkState !== 2 && !a.readyState)")
    first.get_by_role("button", name="Play same", exact=True).click()
    wait_until(tab, "[...document.querySelectorAll('audio')].some(a => a.currentTime > 0.3)")
    assert is_playing(first)
    shown = first.locator(".head").bounding_box()
    wait_until(tab, "[...document.querySelectorAll('audio')].some(a => a.currentTime > 0.9)")
    assert first.locator(".head").bounding_box()["x"] > shown["x"]
    second.get_by_role("button", name="Play same.midi", exact=True).click()
    wait_until(tab, "[...document.querySelectorAll('audio')].some(a => !a.paused && a.currentTime < 0.6)")
    assert playing(tab) == ["same.midi"]
    second.get_by_role("button", name="Pause same.midi", exact=True).click()
    assert playing(tab) == []


@pytest.mark.parametrize("name", [name for name in NAMES if "\n" not in name and "\u202e" not in name])
def test_every_song_can_be_heard(tab: sync_api.Page, site: Path, name: str) -> None:
    tab.goto((site / "index.html").as_uri())
    number = sorted(NAMES).index(name)
    one = tab.locator(".song").nth(number)
    one.locator(".play").click()
    wait_until(tab, f"document.querySelectorAll('audio')[{number}].currentTime > 0.1")
    length = one.locator("audio").evaluate("audio => audio.duration")
    assert length == pytest.approx(float(one.get_attribute("data-seconds")), abs=0.01)


@pytest.mark.parametrize("viewport", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_a_click_seeks_to_where_it_is(tab: sync_api.Page, site: Path, viewport: dict[str, int]) -> None:
    """A click in either picture seeks to its position, before and after the audio is loaded."""
    tab.set_viewport_size(viewport)
    tab.goto((site / "index.html").as_uri())
    one = song(tab, "same.midi")
    for picture, seconds in ((".spectrogram", 4.0), (".roll", 1.0)):
        one.locator(picture).scroll_into_view_if_needed()
        box = one.locator(picture).bounding_box()
        across = float(one.get_attribute("data-across"))
        x = box["width"] * (56 + (1200 - 56 - 72) * seconds / across) / 1200
        one.locator(".plates").evaluate("(frame, x) => frame.scrollLeft = x - 200", x)
        box = one.locator(picture).bounding_box()
        tab.mouse.click(box["x"] + x, box["y"] + box["height"] / 2)
        wait_until(
            tab, f"[...document.querySelectorAll('audio')].some(a => !a.paused && a.currentTime >= {seconds - 0.1})"
        )
        assert time_of(one) == pytest.approx(seconds, abs=1.5)
        one.locator(".play").click()
        box, head = one.locator(picture).bounding_box(), one.locator(".head").bounding_box()
        expected = box["width"] * (56 + (1200 - 56 - 72) * time_of(one) / across) / 1200
        assert head["x"] + head["width"] / 2 - box["x"] == pytest.approx(expected, abs=2)


def test_keyboard(tab: sync_api.Page, site: Path) -> None:
    tab.goto((site / "index.html").as_uri())
    first = tab.locator(".song").first
    tab.keyboard.press("Space")
    wait_until(tab, "document.querySelector('audio').currentTime > 0.1")
    tab.keyboard.press("Space")
    assert not is_playing(first)
    before = time_of(first)
    tab.keyboard.press("ArrowRight")
    tab.wait_for_timeout(200)
    length = float(first.get_attribute("data-seconds"))
    assert time_of(first) == pytest.approx(min(before + 5, length), abs=0.05)
    tab.keyboard.press("ArrowLeft")
    tab.wait_for_timeout(200)
    assert time_of(first) == pytest.approx(max(min(before + 5, length) - 5, 0), abs=0.05)
    # In the search field, the space key types a space.
    tab.locator("#find").focus()
    tab.keyboard.press("Space")
    assert tab.locator("#find").input_value() == " "
    assert not is_playing(first)
    # A focused picture is a slider.
    other = song(tab, "same")
    slider = other.get_by_role("slider")
    slider.focus()
    tab.keyboard.press("ArrowRight")
    assert float(slider.get_attribute("aria-valuenow")) == 5
    assert slider.get_attribute("aria-valuetext").startswith("0:05 of 0:")
    tab.keyboard.press("Home")
    assert slider.get_attribute("aria-valuenow") == "0.0"
    tab.keyboard.press("Enter")
    wait_until(tab, "[...document.querySelectorAll('audio')].some(a => !a.paused)")
    assert playing(tab) == ["same"]


def test_play_on_goes_to_the_next_song(tab: sync_api.Page, site: Path) -> None:
    tab.goto((site / "index.html").as_uri())
    tab.locator("#autoplay").check()
    one, two = tab.locator(".song").nth(0), tab.locator(".song").nth(1)
    one.get_by_role("slider").focus()
    tab.keyboard.press("Enter")
    wait_until(tab, "document.querySelectorAll('audio')[0].readyState > 1")
    one.locator("audio").evaluate("audio => { audio.currentTime = audio.duration - 0.2 }")
    wait_until(tab, "!document.querySelectorAll('audio')[1].paused")
    assert playing(tab) == [two.locator("h2").inner_text()]


def test_search_and_sort(tab: sync_api.Page, site: Path) -> None:
    tab.goto((site / "index.html").as_uri())
    everything = titles(tab)
    tab.locator("#find").fill("SAME")
    assert titles(tab) == ["same", "same.midi"]
    assert tab.locator("#found").inner_text() == f"2 of {len(NAMES)}"
    tab.locator("#find").fill("plain träu")
    assert titles(tab) == ["Träumerei"]
    tab.locator("#find").fill("<script>")
    assert len(titles(tab)) == 2
    tab.locator("#find").fill("no such song")
    assert titles(tab) == []
    tab.locator("#find").fill("")
    assert titles(tab) == everything
    tab.locator("#sort").select_option("-seconds")
    lengths = tab.eval_on_selector_all(".song", "all => all.map(one => Number(one.dataset.seconds))")
    assert lengths == sorted(lengths, reverse=True)
    tab.locator("#sort").select_option("notes")
    notes = tab.eval_on_selector_all(".song", "all => all.map(one => Number(one.dataset.notes))")
    assert notes == sorted(notes)
    tab.locator("#sort").select_option("number")
    assert titles(tab) == everything
    tab.locator("#pictures").uncheck()
    assert tab.locator(".plates:visible").count() == 0
    assert tab.locator(".play:visible").count() == len(NAMES)


def test_sorting_does_not_stop_the_music(tab: sync_api.Page, site: Path) -> None:
    tab.goto((site / "index.html").as_uri())
    song(tab, "same").locator(".play").click()
    wait_until(tab, "[...document.querySelectorAll('audio')].some(a => a.currentTime > 0.1)")
    tab.locator("#sort").select_option("-notes")
    tab.wait_for_timeout(300)
    assert playing(tab) == ["same"]


def test_the_first_page_finds_songs_on_the_others(tab: sync_api.Page, large: Path) -> None:
    tab.goto((large / "index.html").as_uri())
    assert tab.locator(".song").count() == 200
    assert not tab.locator("#elsewhere").is_visible()
    tab.locator("#find").fill("song 449")
    assert tab.locator("#found").inner_text() == "0 of 200 here, 1 on other pages"
    tab.locator("#elsewhere a").click()
    assert tab.url.endswith("/page-3.html#s450")
    assert tab.locator("#s450 h2").inner_text() == "song 449"
    assert tab.locator("#s450").is_visible()
    tab.goto((large / "index.html").as_uri())
    tab.locator("#sort").select_option("-seconds")
    assert tab.locator("#elsewhere li").first.inner_text().startswith("song ")
    assert tab.locator("#elsewhere li").count() == 201  # 200 songs and a line with the number of others


@every_screen
def test_nothing_is_wider_than_the_screen_and_text_can_be_read(
    tab: sync_api.Page, site: Path, viewport: dict[str, int], scheme: str
) -> None:
    assert len(readable_contrasts(tab, site, viewport, scheme)) > 50


def test_pictures_are_loaded_when_they_come_into_sight(tab: sync_api.Page, large: Path) -> None:
    tab.goto((large / "index.html").as_uri())
    tab.wait_for_timeout(300)
    loaded = "[...document.images].map(image => image.complete && image.naturalWidth === 1200)"
    assert 0 < sum(tab.evaluate(loaded)) < 40
    tab.locator(".song").last.scroll_into_view_if_needed()
    wait_until(tab, f"{loaded}.at(-1)")


def test_without_scripts_there_are_plain_players(browser: sync_api.Browser, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto((site / "index.html").as_uri())
    assert tab.locator("audio:visible").count() == len(NAMES)
    assert tab.locator(".tools:visible, .play:visible").count() == 0
    context.close()


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
