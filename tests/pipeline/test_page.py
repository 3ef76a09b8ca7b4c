"""The listening page's files: links that resolve, names that stay text, data that match. See also test_browser.py."""

from __future__ import annotations

import json
import random
import re
import shlex
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gansynth.errors import CODES, REMEDIES
from gansynth.figures import axes
from gansynth.io import files, urls
from pipeline import again, page
from pipeline.__main__ import main
from pipeline.config import JobConfig, load_config
from tests.support.pages import BROKEN, NAMES, Page, all_rows, data, links, manifest, read_site, sha256

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
    "peaks": "AAECAw==",
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
FAILED: dict[str, Any] = {
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


def rows_of(count: int) -> list[dict[str, Any]]:
    return [{**ROW, "song_id": f"{i:05d}.mid", "seconds": 1.0 + i} for i in range(count)]


def written(rows: list[dict[str, Any]], **config: Any) -> dict[str, str]:
    return dict(page.pages(JobConfig(**config), rows))


def only(rows: list[dict[str, Any]], **config: Any) -> Page:
    (html,) = written(rows, **config).values()
    return Page(html)


def details(row: dict[str, Any], **config: Any) -> dict[str, Any]:
    return data(written([row], **config))[2][0]


# The page of a hostile corpus


def test_every_link_leads_to_a_file(site: Path) -> None:
    found = Page((site / "index.html").read_text("utf-8"))
    sources = {row["source"] for row in manifest(site, "errors.jsonl")}
    for url in links(found):
        parts = urlsplit(url)
        assert not parts.scheme
        assert not parts.netloc
        assert not parts.query
        if parts.path:
            target = (site / unquote(parts.path)).resolve()
            assert target.is_relative_to(site.resolve()) or str(target) in sources
            assert target.is_file(), url
        elif parts.fragment:
            assert any(attributes.get("id") == parts.fragment for _, attributes in found.elements), url
    sounds = [unquote(audio["src"]) for audio in found.all("audio")]
    assert sorted(sounds) == sorted(row["outputs"]["audio"] for row in manifest(site))
    assert len(sounds) == len(NAMES)
    linked = {unquote(url) for one in data(read_site(site))[2] for url in one.get("links", {}).values()}
    assert linked == {path for row in manifest(site) for path in row["outputs"].values()}
    for path in linked:
        assert (site / path).resolve().is_relative_to(site.resolve())
        assert (site / path).is_file()


def test_names_are_text_and_nothing_else(site: Path) -> None:
    html = (site / "index.html").read_text("utf-8")
    found = Page(html)
    harmless = only([{**ROW, "song_id": f"{i}.mid"} for i in range(len(NAMES))] + [FAILED])
    assert {tag for tag, _ in found.elements} <= {tag for tag, _ in harmless.elements}
    names = {name for _, attributes in found.elements for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("style", "srcset", "srcdoc")}
    for text in ('"><script>alert(1)<', "<img src=x onerror=alert(2)>", "{{ 7 * 7 }}{% raw %}", "<b>empty.mid"):
        assert text in found.text
    assert "49" not in found.text.replace(str(site.parent), "")  # a folder of any number
    assert "\u202e" not in html
    assert "\x1b" not in html
    kinds = [attributes.get("type", "") for attributes, _ in found.scripts]
    assert kinds == [attributes.get("type", "") for attributes, _ in harmless.scripts]
    assert not any("alert" in text for attributes, text in found.scripts if not attributes)
    assert not re.search(r"<(?!/?[a-z!])", "".join(text for attributes, text in found.scripts if attributes))


def test_only_the_pages_own_scripts_may_run(site: Path) -> None:
    for html in ((site / "index.html").read_text("utf-8"), written(rows_of(450))["index.html"]):
        found = Page(html)
        (policy,) = found.all("meta", **{"http-equiv": "Content-Security-Policy"})
        rule = policy["content"].split(";")[0]
        own = [f"'sha256-{sha256(text)}'" for attributes, text in found.scripts if not attributes]
        assert rule.split() == ["script-src", *own, "'strict-dynamic'"]
        assert len(own) == len(page._SCRIPTS)
        assert "unsafe" not in policy["content"]


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    html = (site / "index.html").read_text()
    assert "http:" not in html.replace("http-equiv", "")
    assert "https:" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert not Page(html).all("link")


def test_players_and_labels(site: Path) -> None:
    found = Page((site / "index.html").read_text("utf-8"))
    assert all(audio["preload"] == "none" and "controls" in audio for audio in found.all("audio"))
    ids = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    labels = [attributes["aria-labelledby"] for _, attributes in found.elements if "aria-labelledby" in attributes]
    assert set(labels) <= set(ids)
    assert all(element["aria-label"] for element in found.all("audio"))


# Content


def test_what_a_song_says() -> None:
    found = only([{**ROW, "repairs": ["riff_unwrapped"]}])
    assert "GANSynth 1 song, 62 seconds" in found.text
    song = details({**ROW, "repairs": ["riff_unwrapped"]})
    assert (song["title"], song["folder"], song["clock"], song["notes"]) == ("x", "a", "1:01", 10)
    # Program 73 is also named Flute, so the legend does not repeat it.
    assert song["legend"] == [[0, "piano", "Acoustic Grand Piano"], [1, "flute", "Recorder"]]
    assert song["outcomes"] == ["2 drum notes skipped", "repaired: riff_unwrapped"]
    assert song["links"] == {"audio": "audio/a/x.wav", "piano_roll": "piano_rolls/a/x.png"}
    assert song["peaks"] == "AAECAw=="


def test_songs_of_earlier_releases_have_no_peaks() -> None:
    assert details({key: value for key, value in ROW.items() if key != "peaks"})["peaks"] == ""


def test_long_songs_have_several_pictures_and_those_of_earlier_releases_one() -> None:
    one = {"audio": "audio/a/x.wav", "spectrogram": "spectrograms/a/x.png"}
    kinds = ["spectrogram", "spectrogram_002", "spectrogram_003"]
    long = {**ROW, "seconds": 900.0}
    found = details({**long, "outputs": {**one, **{kind: f"tiles/a/x/{kind}.png" for kind in kinds[1:]}}})
    assert found["tiles"] == [
        [kind, tile.start, len(tile)]
        for kind, tile in zip(kinds, axes.Grid.of(900 * 16000, 16000).tiles(), strict=True)
    ]
    assert found["spectrogram"][0] == sum(width for *_, width in found["tiles"]) > 36000
    earlier = details({**long, "outputs": one})
    assert earlier["spectrogram"][0] == axes.MAX_PLOT_WIDTH
    assert "tiles" not in earlier


STEMS: dict[str, Any] = {
    "stems": ["flute", "rest", "piano"],
    "outputs": {"audio": "audio/a/x.wav", **{f"stem_{n:03d}": f"stems/a/x/{n}#.wav" for n in (1, 2, 3)}},
    "sample_rate": 48000,
    "channels": 2,
    "gain": 0.25,
}


def test_stems_are_in_the_order_and_colours_of_the_legend() -> None:
    song = details({**ROW, **STEMS}, stems={"by": "instrument"})
    expected = [
        ["piano", "stems/a/x/3%23.wav", 0],
        ["flute", "stems/a/x/1%23.wav", 1],
        ["rest", "stems/a/x/2%23.wav", None],
    ]
    assert song["stems"] == expected
    assert [colour for colour, *_ in song["legend"]] == [0, 1]
    assert (song["rate"], song["channels"], song["gain"]) == (48000, 2, 0.25)
    assert details(ROW)["stems"] == []


def test_stems_of_tracks_have_the_colours_of_the_tracks() -> None:
    outputs = {kind: path.replace(".wav", ".flac") for kind, path in STEMS["outputs"].items()}
    song = details({**ROW, **STEMS, "stems": ["b", "a", "rest"], "outputs": outputs}, stems={"by": "track"})
    assert [(name, colour) for name, _, colour in song["stems"]] == [("b", 0), ("a", 1), ("rest", None)]
    assert song["gain"] == 1.0


def test_only_pages_with_stems_may_read_files() -> None:
    for row, rule in ((ROW, "connect-src 'none'"), ({**ROW, **STEMS}, "connect-src 'self'")):
        (policy,) = only([row]).all("meta", **{"http-equiv": "Content-Security-Policy"})
        assert rule in policy["content"]


def test_the_page_has_the_command_that_serves_it() -> None:
    assert data(written([ROW], output="my out"))[0]["view"] == "gansynth-beam view 'my out'"
    assert data(written([ROW], output="gs://bucket/out"))[0]["view"] == ""


def test_what_the_index_says() -> None:
    rows = [
        {**ROW, "repairs": ["hanging_notes"], "notes": {**ROW["notes"], "shortened": 3}, "song_id": "c/10.mid"},
        {**ROW, "song_id": "c/2.mid", "seconds": 3.04},
        FAILED,
    ]
    facts, entries, _ = data(written(rows))
    assert [entry["names"] for entry in entries] == ["b.mid", "c/2.mid", "c/10.mid"]
    assert [entry["marks"] for entry in entries] == [page.FAILED, 0, page.REPAIRED | page.SHORTENED]
    assert (entries[1]["seconds"], entries[1]["notes"]) == (3.0, 10)
    assert entries[1]["instruments"] == ["piano", "flute"]
    assert entries[1]["programs"] == [0, 73, 74]
    assert facts["programs"] == {"0": "Acoustic Grand Piano", "73": "Flute", "74": "Recorder"}
    assert facts["instruments"] == ["flute", "piano"]
    assert facts["codes"] == {"midi-empty": [CODES["midi-empty"], REMEDIES["midi-empty"]]}


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
    assert details(row)["outcomes"] == [
        "12 beyond the network's range, resampled",
        "1 folded into range by octaves",
        "3 shortened",
        "40 muted by their channel's volume",
        "7 bent",
        "300 played by the drum kit",
        "2 drum notes without a sound in the kit",
        "1,203 MIDI events ignored: 1,200 aftertouch, 3 nrpn",
        "repaired: hanging_notes (5 notes)",
    ]
    assert details({**ROW, "notes": {"total": 4, "played": 4, "folded": 0, "drums_played": 0}})["outcomes"] == []


def test_settings_are_there_and_escaped() -> None:
    found = only([ROW], output="out/<script>x</script>", checkpoint="</pre><b>")
    assert "output: out/<script>x</script>" in found.text
    assert len(found.all("b")) == len(only([ROW]).all("b"))
    assert "max_sustain: null" in found.text


def test_no_songs_and_no_failures() -> None:
    assert "No song was rendered." in only([]).text
    assert "1 failed" in only([FAILED]).text
    assert "Failednone" in only([ROW]).text
    assert not only([ROW]).all("section", id="failed")


def test_legends_are_bounded() -> None:
    names = [f"random-0-{i}" for i in range(600)]
    row = {**ROW, "instruments": names, "programs": {}, "parts": []}
    facts, (entry,), (song,) = data(written([row]))
    assert [name for _, name, _ in song["legend"]] == names[:12]
    assert song["more"] == 588
    assert entry["instruments"] == names[:12]
    assert facts["instruments"] == []  # a menu of 600 helps nobody


# Failures


def test_failures_tell_what_to_do(site: Path) -> None:
    found = Page((site / "index.html").read_text("utf-8"))
    assert "2 failed" in found.text
    for name in BROKEN:
        assert name in found.text
    for code in ("midi-empty", "midi-not-midi"):
        for text in (CODES[code], REMEDIES[code]):
            assert " ".join(text.replace("`", "").split()) in found.text
    assert found.all("a", href="errors.jsonl")
    folder = site.parent / "in"
    for name, link in zip(sorted(BROKEN), found.all("a", class_="source", download=""), strict=False):
        assert (site / unquote(link["href"])).resolve() == (folder / name).resolve()


def test_the_command_of_the_job_renders_what_failed_again(tmp_path: Path, tiny: str, data: Path) -> None:
    (tmp_path / "in").mkdir()
    for name, source in (("good", "one_note"), ("bad", "")):
        content = (data / "midi" / f"{source}.mid").read_bytes() if source else b""
        (tmp_path / "in" / f"{name}.mid").write_bytes(content)
    out = tmp_path / "out put"
    settings = ["--set", f"checkpoint={tiny}", "--set", "spectrogram.png=false", "--quiet"]
    assert main(["render", str(tmp_path / "in"), "--output", str(out), *settings]) == 3
    line = Page((out / "index.html").read_text()).commands[0]
    program, *words = shlex.split(line)
    assert program == "gansynth-beam"
    (tmp_path / "in" / "bad.mid").write_bytes((data / "midi" / "one_note.mid").read_bytes())
    before = (out / "audio" / "good.wav").stat().st_mtime_ns
    assert main([*words, "--quiet"]) == 0
    assert [row["song_id"] for row in manifest(out)] == ["bad.mid", "good.mid"]
    assert (out / "audio" / "good.wav").stat().st_mtime_ns == before


def test_the_command_of_a_failure_with_a_remedy_renders_it(tmp_path: Path, tiny: str, data: Path) -> None:
    (tmp_path / "in").mkdir()
    source = tmp_path / "in" / "it's too long.mid"
    source.write_bytes((data / "midi" / "one_note.mid").read_bytes())
    out = tmp_path / "out"
    settings = ["--set", f"checkpoint={tiny}", "--set", "notes.max_song_seconds=0.5", "--set", "spectrogram.png=false"]
    assert main(["render", str(tmp_path / "in"), "--output", str(out), "--quiet", *settings]) == 1
    (row,) = manifest(out, "errors.jsonl")
    assert row["code"] == "midi-too-long"
    _, line = Page((out / "index.html").read_text()).commands
    words = shlex.split(line)
    assert float(words[-1].removeprefix("notes.max_song_seconds=")) > 0.5
    assert main([*words[1:], "--quiet"]) == 0
    assert [row["song_id"] for row in manifest(tmp_path / "out-again")] == [source.name]


@pytest.mark.parametrize(
    ("code", "setting"),
    [
        ("midi-data-byte", "notes.salvage=aggressive"),
        ("midi-only-drums", "notes.drums=play"),
        ("midi-too-large", "notes.max_file_bytes=6000000"),
        ("midi-out-of-range", "notes.out_of_range=fold"),
    ],
)
def test_settings_that_help(code: str, setting: str) -> None:
    line = again.command(JobConfig(output="gs://b/out"), {**FAILED, "code": code, "source": "gs://b/a b.mid"})
    begin, end = "gansynth-beam render 'gs://b/a b.mid' --config gs://b/out/config.yaml", "--output gs://b/out-again"
    assert line == f"{begin} {end} --set {setting}"
    load_config(None, [setting])


def test_limits_are_raised_as_far_as_the_message_says() -> None:
    row = {**FAILED, "code": "midi-too-long", "message": "the song lasts 86,400.2 s, longer than 3600 s"}
    assert again.command(JobConfig(), row).endswith("--set notes.max_song_seconds=86401.0")
    assert again.command(JobConfig(), {**row, "message": "no number"}).endswith("=14400.0")


def test_what_cannot_be_linked_or_pasted_is_not() -> None:
    assert again.source_link(JobConfig(output="out"), "gs://bucket/a.mid") == ""
    assert again.source_link(JobConfig(output="gs://bucket/out"), "/a.mid") == ""
    assert again.source_link(JobConfig(output="out"), "zip://a.mid@0+9::/x.zip") == ""
    assert again.source_link(JobConfig(output="/x/out"), "/x/in/a b\udcff#?.mid") == "../in/a%20b%FF%23%3F.mid"
    bad = {**FAILED, "code": "midi-data-byte", "source": "/x/a\x1b.mid"}
    assert again.command(JobConfig(), bad) == ""
    member = {**FAILED, "code": "midi-data-byte", "source": "zip://a.mid@0+9::/x.zip"}
    assert again.command(JobConfig(), member).startswith("gansynth-beam render /x.zip ")


# Many songs


def test_large_corpora_have_data_files() -> None:
    rows = rows_of(450)
    random.Random(0).shuffle(rows)
    texts = written(rows)
    assert list(texts) == ["page/index-0001.js", *(f"page/songs-000{i}.js" for i in (1, 2, 3)), "index.html"]
    facts, entries, songs = data(texts)
    assert [entry["names"] for entry in entries] == [f"{i:05d}.mid" for i in range(450)]
    assert [song["title"] for song in songs] == [f"{i:05d}" for i in range(450)]
    assert facts["inputs"] == 450
    assert len(Page(texts["index.html"]).all("audio")) == page.EMBEDDED_SONGS
    assert "audio/ has all of them" in Page(texts["index.html"]).text
    assert list(written(rows_of(page.EMBEDDED_SONGS))) == ["index.html"]


def test_a_huge_corpus_stays_bounded() -> None:
    began = time.perf_counter()
    failures = [{**FAILED, "song_id": f"bad/{i}.mid", "message": "x" * 50} for i in range(3000)]
    texts = written([*rows_of(page.INDEX_SONGS + 1), *failures])
    assert time.perf_counter() - began < 60
    assert len(texts["index.html"]) < 1_000_000
    assert max(map(len, texts.values())) < 1_500_000
    assert "2,000 more are in the list above" in Page(texts["index.html"]).text
    facts, entries, _ = data(texts)
    assert facts["inputs"] == len(entries) == page.INDEX_SONGS + 3001
    assert sum(entry["marks"] == page.FAILED for entry in entries) == 3000


def test_names_are_in_natural_order() -> None:
    names = ["a/2.mid", "a/10.mid", "a/10b.mid", "A b/1.mid", "b/1/x.mid", "b/02.mid", "b/2.mid", f"z{'9' * 5000}.mid"]
    shuffled = random.Random(0).sample(names, len(names))
    assert sorted(shuffled, key=page.natural_key) == names[:4] + ["b/1/x.mid", "b/02.mid", "b/2.mid", names[-1]]


def test_files_of_a_longer_job_and_of_earlier_releases_are_removed(tmp_path: Path) -> None:
    config = JobConfig(output=str(tmp_path))
    page.write_pages(config, rows_of(650))
    for name in ("page-2.html", "page-3.html"):
        (tmp_path / name).write_text("an earlier release's")
    (tmp_path / "page-9.html").write_text("the user's own")
    (tmp_path / "page" / "mine.js").write_text("the user's own")
    page.write_pages(config, rows_of(250))
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    kept = {"page-9.html", "page/mine.js"}
    assert found == {"index.html", "page/index-0001.js", "page/songs-0001.js", "page/songs-0002.js"} | kept
    page.write_pages(config, rows_of(3))
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")} == {"index.html"} | kept


def test_other_file_systems() -> None:
    config = JobConfig(output="memory://bucket/out")
    page.write_pages(config, rows_of(450))
    page.write_pages(config, rows_of(3))
    fs, path = urls.filesystem("memory://bucket/out")
    assert [name for name in fs.find(path) if not name.endswith("index.html")] == []
    assert len(Page(files.read_bytes("memory://bucket/out/index.html").decode()).all("audio")) == 3


def test_same_rows_same_bytes(site: Path) -> None:
    config = load_config(str(site / "config.yaml"))
    assert dict(page.pages(config, iter(all_rows(site)[::-1]))) == read_site(site)


@settings(max_examples=30)
@given(st.text(st.characters(codec=None) | st.sampled_from("\udcff\udc80<>&\"'\n\x00\u202e/#?%`"), max_size=30))
def test_any_name_makes_a_page_that_can_be_written(name: str) -> None:
    row = {**ROW, "song_id": name, "instruments": [name], "programs": {}, "parts": []}
    failure = {**FAILED, "song_id": name + "!", "message": name, "source": f"/in/{name}", "code": "midi-data-byte"}
    for text in written([row, failure]).values():
        text.encode()
        harmless = only(
            [{**ROW, "instruments": ["a"], "programs": {}, "parts": []}, {**FAILED, "code": "midi-data-byte"}]
        )
        # A source that cannot be linked or pasted has no link and no command, which is four elements.
        assert abs(len(Page(text).elements) - len(harmless.elements)) <= 4
    many = [{**row, "song_id": f"{name}{i}"} for i in range(page.EMBEDDED_SONGS + 1)]
    for text in written(many).values():
        text.encode()
    assert json.dumps(data(written(many))[1][0]["names"])
