"""What tests wait for, and look at, in Chromium, which Playwright drives.

What an action has changed may be seen later: tests wait for it, half a minute at most, and never for a fixed time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import in_page
from tests.support.in_page import AUDIO

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

PROGRAM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PHONE, LAPTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
DESKTOP = {"width": 1920, "height": 1080}
LONGEST_WAIT = 30.0
"""Seconds; far more than a slow machine takes."""

every_screen = pytest.mark.parametrize(
    ("viewport", "scheme"),
    [(screen, scheme) for screen in (PHONE, LAPTOP, DESKTOP) for scheme in ("light", "dark")],
    ids=[f"{screen}-{scheme}" for screen in ("phone", "laptop", "desktop") for scheme in ("light", "dark")],
)


@contextlib.contextmanager
def opened(browser: Browser, **options: Any) -> Iterator[Page]:
    """Opens a tab without network, whose sounds are watched (see `in_page.WATCH`), and closes it.

    Args:
        browser: Chromium.
        options: what Playwright's `new_context` takes.
    """
    context = browser.new_context(**{"viewport": LAPTOP, "offline": True, **options})
    context.add_init_script(in_page.WATCH)
    yield context.new_page()
    context.close()


def eventually(read: Callable[[], Any], wanted: object) -> None:
    """Waits until `read` returns what is wanted, which may be a `pytest.approx`."""
    end = time.monotonic() + LONGEST_WAIT
    while (found := read()) != wanted and time.monotonic() < end:
        time.sleep(0.02)
    assert found == wanted


def wait_until(tab: Page, condition: str) -> None:
    """Polls a condition from Python, since the page's security policy blocks Playwright's wait_for_function."""
    end = time.monotonic() + LONGEST_WAIT
    while not tab.evaluate(condition):
        assert time.monotonic() < end, condition
        tab.wait_for_timeout(20)


def drawn(tab: Page) -> None:
    """Waits until the page has been laid out and drawn after what has happened so far."""
    tab.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def place(element: Locator) -> dict[str, float]:
    """Returns the bounding box of an element once it moves no more."""
    boxes = [element.bounding_box()]

    def is_still() -> bool:
        drawn(element.page)
        boxes.append(element.bounding_box())
        return boxes[-1] is not None and boxes[-1] == boxes[-2]

    eventually(is_still, True)
    return boxes[-1]  # type: ignore[return-value]


def open_page(tab: Page, folder: Path, hash_: str = "") -> None:
    """Opens a listening page and waits until all of its index is read."""
    tab.goto((folder / "index.html").as_uri() + hash_)
    wait_until(tab, in_page.READ)


def now(tab: Page) -> float:
    """Returns the player's position in seconds."""
    return tab.evaluate(f"{AUDIO}.currentTime")


def sought(tab: Page) -> float:
    """Returns the position that the player was last sent to."""
    return tab.evaluate("watched.seeks.at(-1) ?? -1")


def playing(tab: Page) -> str:
    """Returns the title of the song that plays; empty if none does."""
    return tab.evaluate(f"{AUDIO}.paused ? '' : document.querySelector('.bar-title a').textContent")


def wait_for_time(tab: Page, seconds: float) -> None:
    """Waits until what the player has now was heard up to a time."""
    wait_until(tab, in_page.heard(seconds))


def titles(tab: Page) -> list[str]:
    """Lists the titles of the songs in the document, in order."""
    return tab.eval_on_selector_all("#list h2, #list .name a", "all => all.map(one => one.textContent)")


def readable_contrasts(tab: Page, folder: Path, viewport: dict[str, int], scheme: str) -> list[float]:
    """Opens a page, asserts that it fits the screen and can be read, and returns the contrasts of its texts."""
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size(viewport)
    tab.goto((folder / "index.html").as_uri())
    if tab.locator("#facts").count():  # of a listening page
        wait_until(tab, in_page.READ)
    drawn(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    return contrasts(tab)


def contrasts(tab: Page) -> list[float]:
    """Asserts that the page's texts can be read, and returns the contrasts."""
    wait_until(tab, in_page.STILL)
    found: list[float] = tab.evaluate(in_page.CONTRASTS)
    assert min(found) >= 4.5
    return found


def no_violations(tab: Page) -> None:
    """Asserts that axe-core finds nothing wrong with the page as it stands."""
    drawn(tab)
    wait_until(tab, in_page.STILL)
    # The page's own policy forbids other scripts; Playwright's evaluation is not subject to it.
    tab.evaluate(in_page.axe_core())
    assert tab.evaluate(in_page.VIOLATIONS) == []
