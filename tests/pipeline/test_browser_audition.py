"""The page of an audition in Chromium: clips, the keyboard and the map are heard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import in_page
from tests.support.chromium import drawn, eventually, every_screen, no_violations, place, readable_contrasts, wait_until

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_an_audition_plays_one_clip_at_a_time(tab: Page, audition: Path) -> None:
    tab.goto((audition / "index.html").as_uri())
    playing = "(p => p.paused ? '' : p.src.split('/').at(-1))(document.getElementById('player'))"
    for name, clip in (("Play a note of 1, random-7-1", "note-1"), ("From 0 to 2", "strip-0-2")):
        tab.get_by_role("button", name=name).click()
        eventually(lambda: tab.evaluate(playing), f"{clip}.wav")
        wait_until(tab, "(watched.heard[document.getElementById('player').currentSrc] ?? 0) > 0.1")
        marked = tab.locator(".hear.on")
        eventually(lambda: set(marked.evaluate_all("all => all.map(b => b.dataset.clip)")), {clip})  # noqa: B023
    tab.locator("h1").click()
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("Space")
    eventually(lambda: tab.evaluate(playing), "")
    expect(tab.locator(".hear.on")).to_have_count(0)
    tab.get_by_label("Keep 2,").check()
    tab.get_by_label("Keep 0,").check()
    expect(tab.locator("#command")).to_have_text(re.compile("--count 3 --seed 7 --keep 0,2 --as my_bank.yaml$"))


@every_screen
def test_an_audition_fits_the_screen_and_can_be_read(
    tab: Page, audition: Path, viewport: dict[str, int], scheme: str
) -> None:
    assert readable_contrasts(tab, audition, viewport, scheme)


def test_an_audition_is_played_with_keys(tab: Page, audition: Path) -> None:
    tab.goto((audition / "index.html").as_uri())
    down = tab.locator("#keyboard .down")
    tab.keyboard.press("2")
    expect(tab.locator("#chosen")).to_have_value("2")
    wait_until(tab, "document.getElementById('player').src.endsWith('/clips/note-2.wav')")
    for key, pitch, clip, steps in (("a", 60, "note-2", 0), ("w", 61, "note-2", 1), ("k", 72, "key-2-72", 0)):
        tab.keyboard.down(key)
        expect(down).to_have_attribute("data-pitch", str(pitch))
        sound = tab.evaluate(in_page.LAST_NOTE)
        assert sound[0].endswith(f"/clips/{clip}.wav")
        assert sound[1:] == [pytest.approx(2 ** (steps / 12)), False]
        tab.keyboard.up(key)
        expect(down).to_have_count(0)
    wait_until(tab, "watched.plays.every((sound) => sound.paused)")
    tab.keyboard.press("z")
    tab.keyboard.down("a")
    expect(down).to_have_attribute("data-pitch", "48")
    tab.keyboard.up("a")
    tab.locator("#keyboard [data-pitch='67']").hover()
    tab.mouse.down()
    expect(down).to_have_attribute("data-pitch", "67")
    tab.mouse.up()
    expect(down).to_have_count(0)


def test_the_map_of_an_audition_is_heard(tab: Page, audition: Path) -> None:
    tab.goto((audition / "index.html").as_uri())
    plane = tab.locator("#plane")
    plane.scroll_into_view_if_needed()
    box = place(plane)
    at = [(box["x"] + box["width"] * x, box["y"] + box["height"] * 0.5) for x in (0.5, 0.95)]
    player = tab.locator("#player")
    tab.mouse.move(*at[0])
    tab.mouse.down()
    expect(player).to_have_attribute("src", re.compile(r"map-40\.wav$"))
    expect(tab.locator("#render-command")).to_contain_text("[43]")
    expect(tab.locator("#where")).to_contain_text("Made of")
    tab.mouse.move(*at[1])
    expect(player).to_have_attribute("src", re.compile(r"map-44\.wav$"))
    tab.mouse.up()
    tab.mouse.move(*at[0])
    drawn(tab)  # events of the mouse come before
    expect(player).to_have_attribute("src", re.compile(r"map-44\.wav$"))
    plane.focus()
    tab.keyboard.press("ArrowUp")
    expect(player).to_have_attribute("src", re.compile(r"map-35\.wav$"))
    assert len(tab.locator("#nearest").inner_text().split(", ")) == 3
    tab.locator(".copy[data-of=render-command]").click()
    expect(tab.locator("#copied")).to_have_text(re.compile(r"^(Copied\.|Not copied: select)"))
    spots = tab.locator("#plane .spot")
    assert spots.all_inner_texts() == ["0", "1", "2"]


@every_screen
def test_axe_finds_nothing_in_an_audition(tab: Page, audition: Path, viewport: dict[str, int], scheme: str) -> None:
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size(viewport)
    tab.goto((audition / "index.html").as_uri())
    no_violations(tab)
    tab.get_by_label("Keep 2,").check()
    tab.locator("#plane").press("ArrowUp")
    expect(tab.locator("#where")).to_contain_text("Made of")
    no_violations(tab)
