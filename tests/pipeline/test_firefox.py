"""The pages in Firefox: they read their data, play, scrub, search, switch, fit the screen, and axe finds nothing.

Needs Firefox (on Debian: apt-get install firefox-esr); it is found on the PATH or named by FIREFOX.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pages import NAMES

pytest.importorskip("websockets")
from tests.support.firefox import Firefox, firefox
from tests.support.in_page import AUDIO, CONTRASTS, LAST_NOTE, READ, heard

UP = "\ue013"  # as WebDriver names the key
PROGRAM = os.environ.get("FIREFOX") or next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="needs Firefox: apt-get install firefox-esr, or FIREFOX=/path/to/firefox"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Firefox]:
    assert PROGRAM
    with firefox(PROGRAM) as window:
        yield window


@pytest.fixture
def tab(browser: Firefox) -> Iterator[Firefox]:
    """Returns a window that fails the test at any error of the page."""
    browser.troubles.clear()
    browser.resize(1280, 900)
    yield browser
    browser.goto("about:blank")
    assert browser.troubles == []


def open_page(tab: Firefox, folder: Path, hash_: str = "") -> None:
    tab.goto("about:blank")  # a change of the address after # alone would not load the page again
    tab.goto((folder / "index.html").as_uri() + hash_)
    tab.wait_until(READ)


def titles(tab: Firefox) -> list[str]:
    found = tab.evaluate("[...document.querySelectorAll('#list h2, #list .name a')].map(one => one.textContent)")
    assert isinstance(found, list)
    return found


def click_and_wait(tab: Firefox, selector: str, condition: str) -> None:
    """Scrolls to an element, clicks it, and waits."""
    tab.scroll_to(selector)
    tab.click(selector)
    tab.wait_until(condition)


def playing(tab: Firefox) -> str:
    return str(tab.evaluate(f"{AUDIO}.paused ? '' : document.querySelector('.bar-title a').textContent"))


def test_plays_scrubs_and_obeys_keys(tab: Firefox, site: Path) -> None:
    open_page(tab, site)
    assert len(titles(tab)) == len(NAMES) + 2
    tab.press(" ")
    tab.wait_until(heard(0.1))
    assert playing(tab) == titles(tab)[0]
    tab.evaluate("document.querySelectorAll('#list .play')[1].scrollIntoView()")
    tab.click(".bar-play")  # which has the focus now, and space is still for the player, once
    tab.wait_until(f"{AUDIO}.paused")
    tab.press(" ")
    tab.wait_until(f"!{AUDIO}.paused")
    tab.press(" ")
    tab.wait_until(f"{AUDIO}.paused")
    tab.click(".bar-wave", 0.5)
    length = tab.evaluate("Number(document.querySelector('.bar-wave').getAttribute('aria-valuemax'))")
    tab.wait_until(f"Math.abs({AUDIO}.currentTime - {length / 2}) < 0.2")
    tab.drag(".bar-wave", [(0.1, 0.5), (0.5, 0.5), (0.25, 0.5)])
    tab.wait_until(f"Math.abs({AUDIO}.currentTime - {length / 4}) < 0.2")
    tab.press("n")
    tab.wait_until(f"document.querySelector('.bar-title a').textContent !== {titles(tab)[0]!r}")
    tab.wait_until("document.querySelector('.seek') !== null")  # the notes are read
    tab.scroll_to(".seek")
    tab.drag(".seek", [(0.2, 0.3), (0.3, 0.3), (0.5, 0.3)])
    tab.wait_until("Math.abs(parseFloat(document.querySelector('.head').style.left) - 50) < 0.5")


def test_large_corpora_are_searched_sorted_and_filtered(tab: Firefox, large: Path) -> None:
    open_page(tab, large)
    assert titles(tab)[:3] == ["song 0", "song 3", "song 6"]
    assert tab.evaluate("document.querySelectorAll('.row').length") < 60
    tab.press("/", *"song 4")
    tab.wait_until("document.querySelector('#find').value === 'song 4'")
    assert titles(tab)[:3] == ["song 4", "song 42", "song 45"]
    tab.wait_until("location.hash === '#q=song+4'")
    open_page(tab, large, "#show=failed&sort=-seconds")
    assert titles(tab) == [f"bad {i}.mid" for i in range(10)]
    open_page(tab, large, "#song=set+0%2Fsong+333.mid")
    tab.wait_until("document.querySelector('.song h2')?.textContent === 'song 333'")
    tab.wait_until("[...document.images].every(image => image.complete && image.naturalWidth)")
    tab.evaluate("document.querySelector('.song .play').click()")
    tab.wait_until(heard(0.1))
    assert playing(tab) == "song 333"


def test_data_of_another_run_are_not_taken(browser: Firefox, large: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(large, folder)
    file = folder / "page" / "index-0001.js"
    file.write_text(file.read_text().replace("song 1.mid", "song X.mid"))
    browser.goto((folder / "index.html").as_uri())
    browser.wait_until("!document.querySelector('#trouble').hidden")
    assert titles(browser) == []


def test_stems_are_mixed_from_a_server_and_told_apart_from_the_disk(tab: Firefox, stems: Path, address: str) -> None:
    one = "#pictures=0&song=one.mid"
    tab.goto(address + one)
    tab.wait_until("document.querySelectorAll('.stem-solo').length > 1")
    # Rendered without a sound card, all stems together are the clip, and without the first they are not.
    differences = """(async () => {
      const songs = JSON.parse(document.getElementById("songs-0001").textContent);
      const context = new OfflineAudioContext(1, 9, 16000);
      const song = songs.find(one => one.title === "one"), file = await fetch(song.links.audio);
      const clip = await context.decodeAudioData(await file.arrayBuffer());
      const sources = song.stems.map(([, path]) => path);
      const found = [];
      for (const first of [1, 0]) {
        const offline = new OfflineAudioContext(1, clip.length, 16000);
        const mixer = new gansynth.Mixer(sources, { rate: 16000, gain: song.gain, context: offline });
        await mixer.load();
        mixer.set(0, first);
        mixer.start(0);
        const mixed = (await offline.startRendering()).getChannelData(0), whole = clip.getChannelData(0);
        let most = 0;
        for (let i = 500; i < whole.length; i++) most = Math.max(most, Math.abs(whole[i] - mixed[i]));
        found.push(most);
      }
      return found;
    })()"""
    same, other = tab.evaluate(differences)
    assert same < 2**-13
    assert other > 0.01
    click_and_wait(tab, ".song .play", heard(0.1))
    tab.evaluate("document.querySelector('.stems').open = true")
    click_and_wait(tab, ".stem-mute", f"{AUDIO}.muted && !{AUDIO}.paused")
    tab.goto((stems / "index.html").as_uri() + one)
    tab.wait_until("document.querySelectorAll('.stem-solo').length > 1")
    assert tab.evaluate("document.querySelectorAll('.stem-mute').length") == 0
    tab.evaluate("document.querySelector('.stems').open = true")
    click_and_wait(tab, ".stem-solo", f"{AUDIO}.src.includes('/stems/one/') && {heard(0.1)} && !{AUDIO}.paused")


def test_an_audition_is_heard_with_keys_and_on_its_map(tab: Firefox, audition: Path) -> None:
    tab.goto((audition / "index.html").as_uri())
    playing = "(p => p.paused ? '' : p.src.split('/').at(-1))(document.getElementById('player'))"
    click_and_wait(tab, "[data-clip='strip-0-2']", f"{playing} === 'strip-0-2.wav'")
    tab.wait_until("(watched.heard[document.getElementById('player').currentSrc] ?? 0) > 0.1")
    tab.wait_until("document.querySelector('.hear.on').dataset.clip === 'strip-0-2'")
    tab.press("2")
    tab.wait_until(f"{playing} === 'note-2.wav' && document.getElementById('chosen').value === '2'")
    for key, pitch, clip, rate in (("w", 61, "note-2", 2 ** (1 / 12)), ("k", 72, "key-2-72", 1)):
        tab.hold(key)
        tab.wait_until(f"document.querySelector('#keyboard .down')?.dataset.pitch === '{pitch}'")
        sound = tab.evaluate(LAST_NOTE)
        assert sound[0].endswith(f"/clips/{clip}.wav")
        assert sound[1:] == [pytest.approx(rate), False]
        tab.let_go(key)
        tab.wait_until("!document.querySelector('#keyboard .down')")
    tab.wait_until("watched.plays.every((sound) => sound.paused)")
    tab.scroll_to("#plane")
    tab.drag("#plane", [(0.5, 0.5), (0.95, 0.5)])
    tab.wait_until(f"{playing} === 'map-44.wav'")
    assert "[47]" in str(tab.evaluate("document.getElementById('render-command').textContent"))
    tab.evaluate("document.getElementById('plane').focus()")
    tab.press(UP)
    tab.wait_until(f"{playing} === 'map-35.wav'")


def test_versions_of_a_comparison_are_switched_without_a_gap(tab: Firefox, comparison: Path) -> None:
    tab.goto((comparison / "index.html").as_uri())
    tab.wait_until("!document.getElementById('play').disabled")
    tab.press(" ")
    tab.wait_until("Number(document.getElementById('position').getAttribute('aria-valuenow')) > 0.3")
    one, other = tab.evaluate("started")
    assert one == other  # the same moment and the same position
    tab.press("2")
    tab.wait_until("document.querySelector('.version[aria-pressed=true]').textContent === '2 b'")
    assert tab.evaluate("started.length") == 2  # nothing was stopped or begun
    (first, since, _), (second, at, _) = tab.evaluate("ramps.slice(-2)")
    assert first == 0 < second
    assert since == at
    click_and_wait(tab, "[value=abx]", "document.querySelectorAll('.version').length === 3")
    tab.press("x")
    tab.wait_until("document.querySelector('.version[aria-pressed=true]').textContent === 'X'")
    click_and_wait(
        tab, "[data-answer='0']", "/^[01] of 1 right/.test(document.getElementById('abx-count').textContent)"
    )
    click_and_wait(tab, "[value=blind]", "document.querySelector('.version').textContent === 'Version 1'")
    tab.press("n")
    tab.wait_until("document.getElementById('song-title').textContent === 'two'")


@pytest.fixture(scope="module", params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> Iterator[tuple[Firefox, str]]:
    """Returns a window that prefers light or dark pages, and their background."""
    assert PROGRAM
    with firefox(PROGRAM, dark=request.param == "dark") as window:
        yield window, "rgb(18, 17, 22)" if request.param == "dark" else "rgb(251, 251, 249)"


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_pages_fit_the_screen_and_axe_finds_nothing(
    scheme: tuple[Firefox, str], site: Path, large: Path, audition: Path, comparison: Path, width: int
) -> None:
    tab, ground = scheme
    tab.resize(width, 900)
    for folder in (site, large, audition, comparison):
        if folder in (site, large):
            open_page(tab, folder)
            tab.evaluate("document.querySelector('#list .play').click()")
            tab.wait_until(heard(0.05))
        else:
            tab.goto((folder / "index.html").as_uri())
        assert tab.violations() == []
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert min(tab.evaluate(CONTRASTS)) >= 4.5
        assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == ground
    assert tab.troubles == []
