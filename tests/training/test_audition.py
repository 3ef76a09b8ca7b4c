"""The page on which a voice or a kit is compared with what it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.chromium import PROGRAM
from training.audition import audition
from training.targets import SAMPLE_RATE


def notes(seed: int, *lengths: int) -> dict[tuple[str, int], np.ndarray]:
    random = np.random.RandomState(seed)
    names = [("standard", 36), ("standard", 38), ("standard", 42), ("jazz", 36)]
    return {name: random.normal(0, 1, length) for name, length in zip(names, lengths, strict=True)}


def test_kinds_are_equally_long_and_loud(tmp_path: Path) -> None:
    audition(tmp_path, {"recorded": notes(0, 900, 400, 500, 300), "played": notes(1, 800, 450, 500, 300)}, "Kits")
    recorded, played = (
        soundfile.read(tmp_path / "kits" / f"standard_{kind}.flac")[0] for kind in ("recorded", "played")
    )
    assert len(recorded) == len(played) == 900 + 450 + 500
    for first, last in ((0, 900), (900, 1350), (1350, 1850)):
        levels = [np.sqrt(np.mean(one[first:last] ** 2)) for one in (recorded, played)]
        np.testing.assert_allclose(levels, 0.05, rtol=0.01)


@pytest.mark.skipif(PROGRAM is None, reason="needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/chromium")
def test_keys_change_kind_note_and_row(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    length = SAMPLE_RATE
    audition(tmp_path, {kind: notes(0, *[length] * 4) for kind in ("recorded", "targeted", "played")})
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox", "--mute-audio"])
        tab = browser.new_page()
        troubles: list[str] = []
        tab.on("pageerror", lambda error: troubles.append(str(error)))
        tab.goto((tmp_path / "audition.html").as_uri())
        tab.get_by_role("button", name="38").click()
        what = tab.locator("#what")
        assert what.inner_text() == "standard 38, recorded"
        for key, wanted in (
            ("d", "standard 38, played"),
            (" ", "standard 38, recorded"),
            ("s", "standard 38, targeted"),
            ("ArrowRight", "standard 42, targeted"),
            ("ArrowDown", "jazz 36, targeted"),
            ("ArrowUp", "standard 36, targeted"),
            ("ArrowUp", "standard 36, targeted"),
        ):
            tab.keyboard.press(key)
            assert what.inner_text() == wanted
        tab.wait_for_function("player.currentTime > 0 && player.src.endsWith('audition/standard_targeted.flac')")
        browser.close()
        assert troubles == []
