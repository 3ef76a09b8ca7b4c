"""The listening page's HTML: links that resolve, and names that stay text. See also test_browser.py."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hypothesis import given, settings
from hypothesis import strategies as st

from gansynth.io import files, urls
from pipeline import page
from pipeline.config import JobConfig, load_config
from tests.support.pages import BROKEN, NAMES, Page, all_rows, links

ROW: dict[str, Any] = {
    "status": "rendered",
    "song_id": "a/x.mid",
    "source": "in/a/x.mid",
    "source_digest": "sha256:0",
    "repairs": [],
    "repaired_notes": {},
    "ignored": {},
    "outputs": {"audio": "audio/a/x.wav", "piano_roll": "piano_rolls/a/x.png"},
    "seconds": 61.5,
    "sample_rate": 16000,
    "notes_rate": 16000,
    "notes": {"total": 12, "played": 10, "drums_skipped": 2, "folded": 0},
    "instruments": ["piano", "flute"],
    "programs": {"0": "piano", "73": "flute", "74": "flute"},
    "parts": [
        {"program": 0, "track": "", "instrument": "piano", "rule": "bank", "notes": 4},
        {"program": 73, "track": "", "instrument": "flute", "rule": "bank", "notes": 4},
        {"program": 74, "track": "", "instrument": "flute", "rule": "bank", "notes": 2},
    ],
    "stems": [],
}
FAILED = {
    "status": "failed",
    "song_id": "b.mid",
    "source": "in/b.mid",
    "digest": "sha256:0",
    "stage": "read",
    "error": "MidiError",
    "code": "midi-empty",
    "message": "the file is empty",
    "trace": "",
}


def read(path: Path) -> Page:
    return Page(path.read_text("utf-8"))


def rows_of(count: int) -> list[dict[str, Any]]:
    return [{**ROW, "song_id": f"{i:05d}.mid", "seconds": 1.0 + i} for i in range(count)]


def only(rows: list[dict[str, Any]], **config: Any) -> Page:
    (html,) = page.pages(JobConfig(**config), rows)
    return Page(html)


# The page of a hostile corpus


def test_every_link_leads_to_a_file_of_the_output_folder(site: Path) -> None:
    found = read(site / "index.html")
    targets = list(links(found))
    for url in targets:
        parts = urlsplit(url)
        assert not parts.scheme
        assert not parts.netloc
        assert not parts.query
        if parts.path:
            target = (site / unquote(parts.path)).resolve()
            assert target.is_relative_to(site.resolve())
            assert target.is_file(), url
        else:
            assert any(attributes.get("id") == parts.fragment for _, attributes in found.elements), url
    for row in all_rows(site):
        for name in row.get("outputs", {}).values():
            assert name in {unquote(url) for url in targets}
    sounds = [unquote(audio["src"]) for audio in found.all("audio")]
    assert sorted(sounds) == sorted(row["outputs"]["audio"] for row in all_rows(site) if row["status"] == "rendered")
    assert len(sounds) == len(NAMES)


def test_names_are_text_and_nothing_else(site: Path) -> None:
    found = read(site / "index.html")
    harmless = only([{**ROW, "song_id": f"{i}.mid"} for i in range(len(NAMES))])
    assert {tag for tag, _ in found.elements} <= {tag for tag, _ in harmless.elements} | {"details", "summary", "dl"}
    names = {name for _, attributes in found.elements for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("style", "srcset", "srcdoc")}
    for text in ('"><script>alert(1)<', "<img src=x onerror=alert(2)>", "{{ 7 * 7 }}{% raw %}", "<b>empty.mid"):
        assert text in found.text
    assert "49" not in found.text
    assert "\u202e" not in found.text
    assert "\x1b" not in found.text
    (script,) = found.all("script")
    assert script == {}
    assert "alert" not in found.script()


def test_only_the_pages_own_script_may_run(site: Path) -> None:
    for found in (read(site / "index.html"), *map(Page, page.pages(JobConfig(), rows_of(450)))):
        (policy,) = found.all("meta", **{"http-equiv": "Content-Security-Policy"})
        digest = base64.b64encode(hashlib.sha256(script_text(found).encode()).digest()).decode()
        assert f"script-src 'sha256-{digest}';" in policy["content"]
        assert "unsafe" not in policy["content"]


def script_text(found: Page) -> str:
    """Returns the page's executable script, the last one; the other holds data."""
    return [text for tag, text in found.texts if tag == "script"][-1]


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    html = (site / "index.html").read_text()
    assert "http:" not in html.replace("http-equiv", "")
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert not read(site / "index.html").all("link")


def test_failures_and_their_reasons_are_told(site: Path) -> None:
    found = read(site / "index.html")
    assert "2 failed" in found.text
    for name in BROKEN:
        assert name in found.text
    assert "the file is empty" in found.text
    assert found.all("a", href="errors.jsonl")


def test_players_pictures_and_labels(site: Path) -> None:
    found = read(site / "index.html")
    assert all(audio["preload"] == "none" and "controls" in audio for audio in found.all("audio"))
    assert all(image["loading"] == "lazy" and image["alt"] and image["width"] for image in found.all("img"))
    assert len(found.all("img")) == 2 * len(NAMES)
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    labels = [attributes["aria-labelledby"] for _, attributes in found.elements if "aria-labelledby" in attributes]
    assert set(labels) <= set(ids)
    for tag in ("button", "audio"):
        assert all(element["aria-label"] for element in found.all(tag))
    for slider in found.all("div", role="slider"):
        assert slider["aria-label"]
        assert slider["tabindex"] == "0"
        assert float(slider["aria-valuemax"]) > 0


# Content


def test_what_a_song_says() -> None:
    found = only([{**ROW, "repairs": ["riff_unwrapped"]}, {**FAILED, "code": "empty-file"}])
    assert "GANSynth 1 song, 62 seconds" in found.text
    assert "001 x a" in found.text  # number, title, folder
    assert "0:00 1:01" in found.text
    # Program 73 is also named Flute, so the legend does not repeat it.
    assert "piano Acoustic Grand Piano flute Recorder 10 notes 2 drum notes skipped" in found.text
    assert "repaired: riff_unwrapped" in found.text
    assert "empty-file 1 file" in found.text
    assert "the file is empty" in found.text
    assert [i["class"] for i in found.all("i")] == ["c0", "c1"]


def test_outcomes_of_notes_and_events_are_told_and_zeros_are_not() -> None:
    notes = {
        "total": 5000,
        "played": 4000,
        "stretched": 12,
        "folded": 1,
        "shortened": 3,
        "muted": 40,
        "bent": 7,
        "drums_played": 300,
        "drums_skipped": 0,
        "drums_unknown": 2,
        "out_of_range_dropped": 0,
        "silent": 0,
    }
    events = {"aftertouch": 1200, "nrpn": 3, "sysex": 0}
    mended = {"hanging_notes": 5}
    row = {**ROW, "notes": notes, "ignored": events, "repairs": ["hanging_notes"], "repaired_notes": mended}
    told = only([row]).text
    told = told[told.index("4,000 notes") :]
    for text in (
        "12 beyond the network's range, resampled",
        "1 folded into range by octaves",
        "3 shortened",
        "40 muted by their channel's volume",
        "7 bent",
        "300 played by the drum kit",
        "2 drum notes without a sound in the kit",
        "1,203 MIDI events ignored: 1,200 aftertouch, 3 nrpn",
        "repaired: hanging_notes (5 notes)",
    ):
        assert text in told
    for text in ("skipped", "left out", "silent", "sysex"):
        assert text not in told.split("Settings")[0]
    plain = only([{**ROW, "notes": {"total": 4, "played": 4, "folded": 0, "drums_played": 0}}]).text
    assert "4 notes WAV" in plain


def test_settings_are_there_and_escaped() -> None:
    found = only([ROW], output="out/<script>x</script>", checkpoint="</pre><b>")
    assert "output: out/<script>x</script>" in found.text
    assert len(found.all("b")) == len(only([ROW]).all("b"))
    assert "max_sustain: null" in found.text


def test_no_songs_and_no_failures() -> None:
    assert "No song was rendered." in only([]).text
    assert "No song was rendered." in only([FAILED]).text
    assert "1 failed" in only([FAILED]).text
    assert "Failednone" in only([ROW]).text
    assert not only([ROW]).all("section", id="failed")


def test_songs_without_pictures_have_a_bar_to_seek_in() -> None:
    found = only([{**ROW, "outputs": {"audio": "audio/x.wav"}}])
    assert not found.all("img")
    assert found.all("div", class_="bare")
    assert found.all("div", role="slider")


def test_legends_are_bounded() -> None:
    names = [f"random-0-{i}" for i in range(600)]
    found = only([{**ROW, "instruments": names, "programs": {}, "parts": []}])
    assert "random-0-11 and 588 more" in found.text
    assert "random-0-12" not in found.text


# Many songs


def test_pages_of_200_songs() -> None:
    html = list(page.pages(JobConfig(), rows_of(450)))
    found = [Page(text) for text in html]
    assert [len(one.all("article")) for one in found] == [200, 200, 50]
    for number, one in enumerate(found, 1):
        current = one.all("a", **{"aria-current": "page"})
        assert [link["href"] for link in current] == [page.page_name(number)]
        assert {"index.html", "page-2.html", "page-3.html"} <= set(links(one))
    assert found[1].all("article")[0]["id"] == "s201"
    index = json.loads(next(text for tag, text in found[0].texts if tag == "script"))
    assert index["songs"][200] == ["00200.mid", 201, 10]
    assert len(index["songs"]) == 450
    assert len(found[1].all("script")) == 1
    assert "Search all 450 names" in found[0].all("input", id="find")[0]["placeholder"]
    assert "Search the 200 songs on this page" in found[1].all("input", id="find")[0]["placeholder"]


def test_a_huge_corpus_stays_bounded() -> None:
    began = time.perf_counter()
    failures = [{**FAILED, "song_id": f"bad/{i}.mid", "message": "x" * 50} for i in range(3000)]
    html = list(page.pages(JobConfig(), [*rows_of(page.INDEXED_SONGS + 1), *failures]))
    assert time.perf_counter() - began < 60
    assert len(html) == 26
    assert max(map(len, html)) < 1_000_000
    assert len(Page(html[0]).all("script")) == 1  # no index of the names
    assert "2,000 more are listed in errors.jsonl" in Page(html[0]).text
    numbers = re.findall(r">(\d+|…)</(?:a|span)>", html[10][html[10].index('<nav class="pages"') :])
    assert numbers == ["1", "…", "9", "10", "11", "12", "13", "…", "26"]


def test_pages_of_a_longer_job_are_removed(tmp_path: Path) -> None:
    config = JobConfig(output=str(tmp_path))
    page.write_pages(config, rows_of(650))
    (tmp_path / "page-9.html").write_text("the user's own")
    page.write_pages(config, rows_of(250))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "page-2.html", "page-9.html"]


def test_other_file_systems() -> None:
    config = JobConfig(output="memory://bucket/out")
    page.write_pages(config, rows_of(450))
    page.write_pages(config, rows_of(3))
    fs, path = urls.filesystem("memory://bucket/out")
    assert [name.rsplit("/", 1)[1] for name in fs.ls(path, detail=False)] == ["index.html"]
    assert len(Page(files.read_bytes("memory://bucket/out/index.html").decode()).all("article")) == 3


def test_same_rows_same_bytes(site: Path) -> None:
    config = load_config(str(site / "config.yaml"))
    (again,) = page.pages(config, all_rows(site)[::-1])
    assert again == (site / "index.html").read_text("utf-8")


@settings(max_examples=30)
@given(st.text(st.characters(codec=None) | st.sampled_from("\udcff\udc80<>&\"'\n\x00\u202e/#?%"), max_size=30))
def test_any_name_makes_a_page_that_can_be_written(name: str) -> None:
    row = {**ROW, "song_id": name, "instruments": [name], "programs": {}, "parts": []}
    for html in page.pages(JobConfig(), [row, {**FAILED, "song_id": name + "!", "message": name}]):
        html.encode()
        harmless = only([{**ROW, "instruments": ["a"], "programs": {}, "parts": []}, FAILED])
        assert abs(len(Page(html).elements) - len(harmless.elements)) <= 1  # the folder's line
