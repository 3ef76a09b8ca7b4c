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

PROGRAM = os.environ.get("FIREFOX") or next(filter(None, map(shutil.which, ("firefox-esr", "firefox"))), None)
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="needs Firefox: apt-get install firefox-esr, or FIREFOX=/path/to/firefox"
)
AUDIO = "document.querySelector('#player audio')"


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
    tab.wait_until("performance.getEntriesByName('gansynth-complete').length > 0")


def titles(tab: Firefox) -> list[str]:
    found = tab.evaluate("[...document.querySelectorAll('#list h2, #list .name a')].map(one => one.textContent)")
    assert isinstance(found, list)
    return found


def playing(tab: Firefox) -> str:
    return str(tab.evaluate(f"{AUDIO}.paused ? '' : document.querySelector('.bar-title a').textContent"))


def test_plays_scrubs_and_obeys_keys(tab: Firefox, site: Path) -> None:
    open_page(tab, site)
    assert len(titles(tab)) == len(NAMES) + 2
    tab.press(" ")
    tab.wait_until(f"{AUDIO}.currentTime > 0.1")
    assert playing(tab) == titles(tab)[0]
    tab.evaluate("document.querySelectorAll('#list .play')[1].scrollIntoView()")
    tab.click(".bar-play")  # it has the focus now, and space is still for the player, once
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
    tab.evaluate("document.querySelector('.seek').scrollIntoView({block: 'center'})")
    tab.drag(".seek", [(0.2, 0.3), (0.3, 0.3), (0.5, 0.3)])
    tab.wait_until("Math.abs(parseFloat(document.querySelector('.head').style.left) - 50) < 0.5")


def test_large_corpora_are_searched_sorted_and_filtered(tab: Firefox, large: Path) -> None:
    open_page(tab, large)
    assert titles(tab)[:3] == ["song 0", "song 3", "song 6"]
    assert tab.evaluate("document.querySelectorAll('.row').length") < 60
    tab.press("/", *"song 4")
    assert titles(tab)[:3] == ["song 4", "song 42", "song 45"]
    tab.wait_until("location.hash === '#q=song+4'")
    open_page(tab, large, "#show=failed&sort=-seconds")
    assert titles(tab) == [f"bad {i}.mid" for i in range(10)]
    open_page(tab, large, "#song=set+0%2Fsong+333.mid")
    tab.wait_until("document.querySelector('.song h2')?.textContent === 'song 333'")
    tab.wait_until("[...document.images].every(image => image.complete && image.naturalWidth)")
    tab.evaluate("document.querySelector('.song .play').click()")
    tab.wait_until(f"{AUDIO}.currentTime > 0.1")
    assert playing(tab) == "song 333"


def test_data_of_another_run_are_not_taken(browser: Firefox, large: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(large, folder)
    file = folder / "page" / "index-0001.js"
    file.write_text(file.read_text().replace("song 1.mid", "song X.mid"))
    browser.goto((folder / "index.html").as_uri())
    browser.wait_until("!document.querySelector('#trouble').hidden")
    assert titles(browser) == []


@pytest.mark.parametrize("width", [390, 1280, 1920])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_fits_the_screen(site: Path, large: Path, width: int, dark: bool) -> None:
    assert PROGRAM
    with firefox(PROGRAM, dark=dark) as tab:
        tab.resize(width, 900)
        for folder in (site, large):
            open_page(tab, folder)
            tab.evaluate("document.querySelector('#list .play').click()")
            tab.wait_until(f"{AUDIO}.currentTime > 0.05")
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            ground = tab.evaluate("getComputedStyle(document.body).backgroundColor")
            assert ground == ("rgb(18, 17, 22)" if dark else "rgb(251, 251, 249)")
        assert tab.troubles == []
