"""The listening page in Firefox: it reads its data, plays, scrubs, searches, and keeps its state in the address.

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
from tests.support.in_page import AUDIO, READ, heard

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


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_fits_the_screen(site: Path, large: Path, width: int, dark: bool) -> None:
    assert PROGRAM
    with firefox(PROGRAM, dark=dark) as tab:
        tab.resize(width, 900)
        for folder in (site, large):
            open_page(tab, folder)
            tab.evaluate("document.querySelector('#list .play').click()")
            tab.wait_until(heard(0.05))
            tab.drawn()
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert ground == ("rgb(18, 17, 22)" if dark else "rgb(251, 251, 249)")
        assert tab.troubles == []
