"""The page of a comparison in Chromium: versions are switched without a gap, judged blind, and judgements are kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import in_page
from tests.support.chromium import eventually, every_screen, no_violations, opened, readable_contrasts, wait_until

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


def position(tab: Page) -> float:
    return float(tab.locator("#position").get_attribute("aria-valuenow") or "nan")


def open_comparison(tab: Page, comparison: Path) -> None:
    tab.add_init_script(in_page.WATCH_SAMPLES)
    tab.goto((comparison / "index.html").as_uri())
    expect(tab.locator("#play")).to_be_enabled()


def test_versions_are_switched_at_the_same_position_without_a_gap(tab: Page, comparison: Path) -> None:
    open_comparison(tab, comparison)
    tab.keyboard.press("Space")
    eventually(lambda: position(tab) > 0.3, True)
    (one, other) = tab.evaluate("started")
    assert one == other  # the same moment and the same position
    before = position(tab)
    tab.keyboard.press("2")
    expect(tab.locator(".version[aria-pressed=true]")).to_have_text("2 b")
    assert tab.evaluate("started.length") == 2  # nothing was stopped or begun
    gains = tab.evaluate("ramps")
    assert [gain > 0 for gain, _, _ in gains[-2:]] == [False, True]
    assert gains[-2][1] == gains[-1][1]
    assert position(tab) >= before
    tab.keyboard.press("Space")
    expect(tab.locator("#play")).to_have_attribute("aria-label", "Play")
    at = position(tab)
    tab.keyboard.press("ArrowLeft")
    eventually(lambda: position(tab), max(at - 5, 0))
    tab.locator("#position").click(position={"x": 200, "y": 20})
    eventually(lambda: position(tab) > 0, True)
    tab.keyboard.press("n")
    expect(tab.locator("#song-title")).to_have_text("two")
    expect(tab.locator("#play")).to_be_enabled()
    tab.keyboard.press("Space")
    eventually(lambda: tab.evaluate("started.length"), 4)


def test_levels_are_matched_unless_that_is_turned_off(tab: Page, comparison: Path) -> None:
    open_comparison(tab, comparison)
    tab.locator("#play").click()
    wait_until(tab, "started.length === 2")
    tab.keyboard.press("2")
    tab.keyboard.press("1")
    matched = tab.evaluate("ramps.at(-2)[0]")
    tab.locator("#level").uncheck()
    assert 0 < matched < tab.evaluate("ramps.at(-2)[0]") == 1


def test_blind_hides_names_until_asked(tab: Page, comparison: Path) -> None:
    open_comparison(tab, comparison)
    first = set()
    for _ in range(30):
        tab.locator("[value=blind]").check()
        expect(tab.locator(".version")).to_have_text(["Version 1", "Version 2"])
        expect(tab.locator(".lufs")).to_have_text(["", ""])
        tab.locator("#reveal").click()
        first.add(tab.locator(".version").first.inner_text())
        tab.locator("[value=open]").check()
    assert first == {"1 a", "1 b"}


def test_abx_counts(tab: Page, comparison: Path) -> None:
    open_comparison(tab, comparison)
    tab.locator("[value=abx]").check()
    expect(tab.locator(".version")).to_have_text(["A", "B", "X"])
    tab.keyboard.press("Space")  # also while the mode has the focus
    wait_until(tab, "started.length === 2")
    right = 0
    for trial in range(1, 9):
        tab.keyboard.press("x")
        expect(tab.locator(".version[aria-pressed=true]")).to_have_text("X")
        of_x = tab.evaluate("ramps.slice(-2).findIndex(([gain]) => gain > 0)")
        guess = of_x if trial > 2 else 1 - of_x  # two wrong answers
        right += guess == of_x
        tab.locator(f"[data-answer='{guess}']").click()
        expect(tab.locator("#abx-count")).to_contain_text(f"{right} of {trial} right")
    expect(tab.locator("#abx-count")).to_contain_text("probability of 0.14")  # (28 + 8 + 1) / 256
    tab.reload()
    tab.locator("[value=abx]").check()
    expect(tab.locator("#abx-count")).to_contain_text("6 of 8 right")
    tab.locator("#abx-again").click()
    expect(tab.locator("#abx-count")).to_have_text("No answer yet.")


def test_stars_and_notes_are_saved_as_json(browser: Browser, comparison: Path, tmp_path: Path) -> None:
    with opened(browser) as tab:
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


@every_screen
def test_a_comparison_fits_the_screen_and_axe_finds_nothing(
    tab: Page, comparison: Path, viewport: dict[str, int], scheme: str
) -> None:
    assert readable_contrasts(tab, comparison, viewport, scheme)
    tab.locator("#play").click()
    expect(tab.locator("#play")).to_have_attribute("aria-label", "Pause")
    for mode in ("open", "blind", "abx"):
        tab.locator(f"[value={mode}]").check()
        no_violations(tab)
