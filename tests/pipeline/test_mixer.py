"""The mixer of stems in Chromium: from a server all stems together, to the sample; from the disk one at a time."""

from __future__ import annotations

import base64
import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from pipeline.view import Server
from tests.support.chromium import drawn, eventually, every_screen, no_violations, opened, sought, wait_until
from tests.support.in_page import AUDIO, heard
from tests.support.pages import data, manifest, read_site

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

WATCH = """
window.starts = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, offset) {
  const { currentTime, sampleRate } = this.context, audio = document.querySelector("#player audio");
  const late = audio ? offset - audio.currentTime - (when - currentTime) : 0; // seconds, against the player
  starts.push({ when, offset, late, length: this.buffer.length, rate: sampleRate });
  return start.call(this, when, offset);
};
"""
RENDER = """async ([paths, rate, gain, channels, samples, factors, from]) => {
  const context = new OfflineAudioContext(channels, samples, rate);
  const mixer = new gansynth.Mixer(paths, { rate, gain, context });
  await mixer.load();
  factors.forEach((factor, number) => mixer.set(number, factor));
  mixer.start(from);
  const bytes = new Uint8Array((await context.startRendering()).getChannelData(0).buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  return btoa(text);
}"""


@pytest.fixture
def is_offline() -> bool:
    return False


@pytest.fixture
def tab(tab: Page) -> Page:
    tab.add_init_script(WATCH)
    return tab


def song(tab: Page, title: str) -> Locator:
    found = tab.locator(".song").filter(has=tab.get_by_role("heading", name=title, exact=True))
    found.locator(".stems summary").click()
    return found


def started(tab: Page, count: int) -> list[dict[str, float]]:
    """Returns how the stems were started last, all together and where the player is."""
    last: list[dict[str, float]] = []

    def is_in_time() -> bool:
        last[:] = tab.evaluate("starts")[-count:]
        return all(abs(one["late"]) < 0.1 for one in last)

    eventually(is_in_time, True)
    assert len({tuple(one[name] for name in ("when", "offset", "length", "rate")) for one in last}) == 1
    return last


def rendered(tab: Page, out: Path, factors: list[float], start: float = 0.0) -> NDArray[np.float32]:
    """Renders the mixer's sound of one.mid without a sound card; returns the left channel."""
    _, entries, details = data(read_site(out))
    (one,) = [detail for entry, detail in zip(entries, details, strict=True) if entry["names"] == "one.mid"]
    samples = round(one["seconds"] * one["rate"])
    paths = [path for _, path, _ in one["stems"]]
    values = [paths, one["rate"], one["gain"], one["channels"], samples, factors, start]
    return np.frombuffer(base64.b64decode(tab.evaluate(RENDER, values)), np.float32)


def files(out: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reads a song's clip, and its stems at the clip's level [stems, samples] in the page's order."""
    (row,) = [row for row in manifest(out) if row["song_id"] == "one.mid"]
    paths = dict(
        zip(row["stems"], sorted(path for kind, path in row["outputs"].items() if "stem" in kind), strict=True)
    )
    gain = row["gain"] if next(iter(paths.values())).endswith(".wav") else 1
    clip = soundfile.read(out / row["outputs"]["audio"])[0]
    return clip, np.array([soundfile.read(out / paths[name])[0] for name in row["instruments"]]) * gain


def test_stems_add_up_to_the_clip(stems: Path) -> None:
    clip, parts = files(stems)
    assert np.abs(parts.sum(axis=0) - clip).max() < 2**-14  # the clip has 16 bits
    assert all(np.abs(part).max() > 0.01 for part in parts)


def test_all_stems_start_at_the_same_sample(tab: Page, stems: Path, address: str) -> None:
    """What the mixer plays is the clip, sample by sample; with other levels, the sum of the stems at these."""
    tab.goto(address)
    clip, parts = files(stems)
    lead = round(0.03 * 16000) + 1
    count = len(parts)
    assert np.abs(rendered(tab, stems, [1.0] * count) - clip)[lead:].max() < 2**-14
    levels = [0.0, 1.0, 0.5, 0.25][:count]
    assert np.abs(rendered(tab, stems, levels) - np.tensordot(levels, parts, 1))[lead:].max() < 2**-14
    later = rendered(tab, stems, [1.0] * count, 2.0)  # from two seconds on
    assert np.abs(later[: len(clip) - 32000] - clip[32000:])[lead:].max() < 2**-14


def test_solo_mute_and_level_are_heard(tab: Page, stems: Path, address: str) -> None:
    tab.goto(address)
    tab.evaluate("""() => {
      const { set } = gansynth.Mixer.prototype;
      window.sets = [];
      gansynth.Mixer.prototype.set = function (number, factor) {
        sets[number] = factor;
        set.call(this, number, factor);
      };
    }""")
    one = song(tab, "one")
    names = one.locator(".stems li a").all_inner_texts()
    assert names == one.locator(".legend b").all_inner_texts()
    colours = ".map(one => getComputedStyle(one).backgroundColor)"
    stems_colours = one.locator(".stems li i").evaluate_all(f"all => all{colours}")
    assert stems_colours == one.locator(".legend i").evaluate_all(f"all => all{colours}")
    one.locator(".play").click()
    wait_until(tab, heard(0.2))
    assert not tab.evaluate(f"{AUDIO}.muted")  # untouched, the clip itself plays
    one.get_by_role("button", name=f"Solo {names[1]}", exact=True).click()
    wait_until(tab, f"{AUDIO}.muted && starts.length > 0")
    assert tab.evaluate("sets") == [0, 1, *[0] * (len(names) - 2)]
    assert started(tab, len(names))[0]["rate"] == 16000
    one.get_by_role("button", name=f"Solo {names[1]}", exact=True).click()
    one.get_by_role("button", name=f"Mute {names[0]}", exact=True).click()
    eventually(lambda: tab.evaluate("sets"), [0, *[1] * (len(names) - 1)])
    one.get_by_label(f"Level of {names[1]}", exact=True).fill("50")
    eventually(lambda: tab.evaluate("sets")[:2], [0, 0.25])
    expect(tab.locator(".bar-speed")).to_be_disabled()
    tab.keyboard.press("ArrowRight")  # the slider has the focus
    eventually(lambda: tab.evaluate("sets")[1], pytest.approx(0.51**2))
    tab.evaluate(f"{AUDIO}.pause(), starts.length = 0")
    tab.locator(".bar-wave").click()
    length = float(tab.locator(".bar-wave").get_attribute("aria-valuemax"))
    eventually(lambda: sought(tab), pytest.approx(length / 2, abs=0.1))
    tab.locator(".bar-play").click()  # they are started anew, together
    wait_until(tab, f"starts.length >= {len(names)} && !{AUDIO}.seeking")
    assert started(tab, len(names))[0]["offset"] >= length / 2
    one.get_by_role("button", name="Reset", exact=True).click()
    wait_until(tab, f"!{AUDIO}.muted")
    expect(tab.locator(".bar-speed")).to_be_enabled()


def test_another_song_ends_the_mixer_and_the_mix_is_kept(tab: Page, address: str) -> None:
    tab.goto(address)
    one = song(tab, "one")
    one.get_by_role("button", name="Mute drums", exact=True).click()
    expect(one.locator(".stems-note")).to_be_hidden()
    one.locator(".play").click()
    wait_until(tab, f"{AUDIO}.muted && !{AUDIO}.paused")
    tab.locator(".song").filter(has=tab.get_by_role("heading", name="b#?%<b>", exact=True)).locator(".play").click()
    wait_until(tab, f"!{AUDIO}.muted && !{AUDIO}.paused && {heard(0.1)}")
    one.locator(".play").click()
    wait_until(tab, f"{AUDIO}.muted && !{AUDIO}.paused")
    expect(one.get_by_role("button", name="Mute drums", exact=True)).to_have_attribute("aria-pressed", "true")


def test_of_two_songs_the_one_that_plays_is_mixed(tab: Page, address: str) -> None:
    tab.goto(address)
    other = song(tab, "b#?%<b>")
    one = song(tab, "one")
    one.locator(".play").click()
    wait_until(tab, heard(0))
    mute = {"name": "Mute drums", "exact": True}
    handles = [found.get_by_role("button", **mute).element_handle() for found in (other, one)]
    tab.evaluate("buttons => buttons.forEach(button => button.click())", handles)  # while the first are being read
    wait_until(tab, f"{AUDIO}.muted && starts.length > 0")
    expect(one.locator(".stems-note")).to_be_hidden()
    expect(other.locator(".stems-note")).to_be_hidden()


def test_stems_that_are_gone_are_told(browser: Browser, stems: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(stems, folder)
    shutil.rmtree(folder / "stems" / "one")
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        with opened(browser, offline=False) as tab:
            tab.goto(server.address)
            one = song(tab, "one")
            one.get_by_role("button", name="Mute drums", exact=True).click()
            expect(one.locator(".stems-note")).to_contain_text("cannot be read")
        server.shutdown()
        thread.join()


def test_from_the_disk_one_stem_at_a_time_is_heard(tab: Page, stems: Path) -> None:
    tab.goto((stems / "index.html").as_uri())
    one = song(tab, "one")
    other = one.locator(".stems li a").first.inner_text()
    expect(one.locator(".stems-note")).to_contain_text("Browsers let no page from the disk mix sounds")
    expect(one.locator(".stems code")).to_have_text(f"gansynth-beam view {stems}")
    assert one.get_by_role("button", name="Mute drums").count() == 0
    one.locator(".play").click()
    wait_until(tab, heard(0.5))
    goes_on = f"{heard(0.5)} && !{AUDIO}.paused"
    one.get_by_role("button", name="Solo drums", exact=True).click()
    wait_until(tab, f"decodeURIComponent({AUDIO}.src).includes('-drums.') && {goes_on}")
    one.get_by_role("button", name=f"Solo {other}", exact=True).click()
    wait_until(tab, f"decodeURIComponent({AUDIO}.src).includes('/01-') && {goes_on}")
    expect(one.get_by_role("button", name="Solo drums", exact=True)).to_have_attribute("aria-pressed", "false")
    one.get_by_role("button", name=f"Solo {other}", exact=True).click()
    wait_until(tab, f"{AUDIO}.src.endsWith('/audio/one.wav') && {goes_on}")
    assert tab.evaluate("starts") == []


@every_screen
def test_the_mixer_fits_the_screen_and_axe_finds_nothing(
    tab: Page, stems: Path, address: str, viewport: dict[str, int], scheme: str
) -> None:
    tab.emulate_media(color_scheme=scheme)
    tab.set_viewport_size(viewport)
    for url in (address, (stems / "index.html").as_uri()):
        tab.goto(url)
        one = song(tab, "one")
        one.get_by_role("button", name="Solo drums", exact=True).click()
        expect(one.locator(".stems [aria-pressed=true]")).to_have_count(1)
        drawn(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        outside = """all => all.filter(one => {
          const box = one.getBoundingClientRect(), frame = one.closest('.stems').getBoundingClientRect();
          return box.left < frame.left - 1 || box.right > frame.right + 1;
        }).length"""
        assert one.locator(".stems li > *").evaluate_all(outside) == 0
        assert one.locator(".stems li a").evaluate_all("all => Math.min(...all.map(one => one.clientWidth))") >= 60
        no_violations(tab)
