from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import page
from pipeline.__main__ import main
from pipeline.config import load_config
from pipeline.view import Server
from tests.support import chromium
from tests.support.pages import BROKEN, NAMES, all_rows, write_long_song, write_song

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def tiny(data: Path) -> str:
    """Returns a small checkpoint that plays noise fast."""
    return str(data / "checkpoints" / "tiny")


@pytest.fixture(scope="session")
def audition(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the output folder of an audition of three random instruments."""
    out = tmp_path_factory.mktemp("audition")
    assert main(["preview", "--checkpoint", tiny, "--count", "3", "--seed", "7", "--output", str(out), "--quiet"]) == 0
    return out


@pytest.fixture(scope="session")
def comparison(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the page that compares the outputs a and b beside it: two songs at other tempi and levels."""
    folder = tmp_path_factory.mktemp("compared")
    for name, pitches in (("one", range(60, 66)), ("two", range(62, 66)), ("only a", range(60, 62))):
        write_song(folder / "in" / f"{name}.mid", pitches)
    for out, settings in (("a", ()), ("b", ("notes.time_stretch=1.1", "mix.peak=0.4"))):
        options = [word for setting in (f"checkpoint={tiny}", *settings) for word in ("--set", setting)]
        assert main([str(folder / "in"), "-o", str(folder / out), "--quiet", *options]) == 0
        (folder / "in" / "only a.mid").unlink(missing_ok=True)
    assert main(["compare", str(folder / "a"), str(folder / "b"), "-o", str(folder / "page"), "--quiet"]) == 0
    return folder / "page"


@pytest.fixture(scope="session")
def site(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the output folder of a job over NAMES and BROKEN, with every kind of output."""
    folder = tmp_path_factory.mktemp("site")
    for number, name in enumerate(NAMES):
        write_song(folder / "in" / name, range(60, 64 + number))
    for name, content in BROKEN.items():
        (folder / "in" / name).parent.mkdir(exist_ok=True)
        (folder / "in" / name).write_bytes(content)
    settings = (f"checkpoint={tiny}", "played_notes=[midi, json]", "spectrogram.array=true")
    options = [word for setting in settings for word in ("--set", setting)]
    assert main(["render", str(folder / "in"), "--output", str(folder / "out"), "--quiet", *options]) == 3
    return folder / "out"


@pytest.fixture(scope="session")
def large(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes a page of 450 songs that share the files of one, and of ten failures."""
    out = tmp_path_factory.mktemp("large")
    config = load_config(str(site / "config.yaml")).model_copy(update={"output": str(out)})
    (row,) = [row for row in all_rows(site) if row["song_id"] == "same.mid"]
    (failed,) = [row for row in all_rows(site) if row.get("code") == "midi-empty"]
    songs: list[Any] = []
    for kind, name in row["outputs"].items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(site / name, out / name)
        assert kind
    for i in range(450):
        more = {"repairs": ["hanging_notes"]} if i % 9 == 0 else {}
        programs = [{**part, "program": 7} for part in row["parts"]] if i == 44 else row["parts"]
        length = {} if i == 3 else {"seconds": 5.0 + i * 7 % 450}
        songs.append({**row, "song_id": f"set {i % 3}/song {i}.mid", **length, "parts": programs, **more})
    songs += [{**failed, "song_id": f"set 9/bad {i}.mid"} for i in range(10)]
    page.write_pages(config, songs)
    for name in ("manifest.jsonl", "errors.jsonl", "config.yaml"):
        os.link(site / name, out / name)
    return out


@pytest.fixture(scope="session")
def long_song(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the output folder of a song of a quarter of an hour, whose pictures have several parts."""
    folder = tmp_path_factory.mktemp("long")
    write_long_song(folder / "in" / "long.mid", 900)
    options = ["--output", str(folder / "out"), "--quiet", "--set", f"checkpoint={tiny}"]
    assert main(["render", str(folder / "in"), *options]) == 0
    return folder / "out"


@pytest.fixture(scope="session")
def reference(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the output folder of a job with pictures as earlier releases made them: one song, eight seconds."""
    folder = tmp_path_factory.mktemp("reference")
    write_song(folder / "in" / "one.mid", range(60, 75))
    settings = (f"checkpoint={tiny}", "spectrogram.range=reference", "piano_roll.data=false")
    options = [word for setting in settings for word in ("--set", setting)]
    assert main(["render", str(folder / "in"), "--output", str(folder / "out"), "--quiet", *options]) == 0
    return folder / "out"


@pytest.fixture(scope="session", params=["flac", "wav-float"])
def stems(request: pytest.FixtureRequest, tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the output folder of two songs with stems, one with a hostile name."""
    folder = tmp_path_factory.mktemp("stems")
    for name in ("one.mid", "b#?%<b>.mid"):
        write_song(folder / "in" / name, range(60, 75))
    settings = (f"checkpoint={tiny}", "stems.by=instrument", f"stems.format={request.param}")
    options = [word for setting in settings for word in ("--set", setting)]
    assert main(["render", str(folder / "in"), "--output", str(folder / "out"), "--quiet", *options]) == 0
    return folder / "out"


@pytest.fixture(scope="session")
def address(stems: Path) -> Iterator[str]:
    """Serves the folder as `gansynth-beam view` does."""
    with Server(stems) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.address
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Starts Chromium (on Debian and Ubuntu: apt-get install chromium); it is on the PATH or named by CHROMIUM."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if chromium.PROGRAM is None:
        pytest.skip("needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/chromium")
    sync_api.expect.set_options(timeout=1000 * chromium.LONGEST_WAIT)
    with sync_api.sync_playwright() as playwright:
        # Chromium's sandbox does not work as root in a container; it opens only files made by the test.
        yield playwright.chromium.launch(executable_path=chromium.PROGRAM, args=["--no-sandbox", "--mute-audio"])


@pytest.fixture
def is_offline() -> bool:
    """Returns whether pages have no network; tests of pages from a server overrule it."""
    return True


@pytest.fixture
def tab(browser: Browser, is_offline: bool) -> Iterator[Page]:
    """Opens a tab that fails the test at any error, dialog or request that leaves the output folder."""
    troubles: list[str] = []
    homes = ("file://",) if is_offline else ("file://", "http://127.0.0.1:")
    with chromium.opened(browser, offline=is_offline) as tab:
        tab.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        tab.on("console", lambda message: troubles.append(f"console: {message.text} {message.location}"))
        tab.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        tab.on("requestfailed", lambda request: troubles.append(f"failed: {request.url} {request.failure}"))
        tab.on("request", lambda request: request.url.startswith(homes) or troubles.append(f"left: {request.url}"))
        yield tab
    # Players drop what they are loading, and tests read many canvases.
    assert not [text for text in troubles if "ERR_ABORTED" not in text and "willReadFrequently" not in text]
