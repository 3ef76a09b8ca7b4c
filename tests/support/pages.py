"""A corpus with hostile file names, and a parser of the pages."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import mido

NAMES = (
    '"><script>alert(1)</script>.mid',
    "<img src=x onerror=alert(2)>.mid",
    "' onmouseover='alert(3).mid",
    "javascript:alert(4).mid",
    "{{ 7 * 7 }}{% raw %}.mid",
    "</script><script>alert(5)</script>/<!--.mid",
    "a#b?c%20d&amp;e.mid",
    "new\nline\tand\x1b[31mred.mid",
    "\u202egnorw.mid",
    "日本語の歌/さくら さくら.mid",
    "x" * 220 + ".mid",
    "same.mid",
    "same.midi",
    "plain/Träumerei.mid",
)
BROKEN = {"broken/<b>empty.mid": b"", "broken/page.mid": b"<html><script>alert(6)</script></html>"}


def write_song(path: Path, pitches: range) -> None:
    """Writes a few seconds of piano, bass and drums."""
    file = mido.MidiFile(ticks_per_beat=480)
    for channel, program in ((0, 0), (1, 33), (9, 0)):
        track = file.add_track()
        track.append(mido.Message("program_change", channel=channel, program=program))
        for pitch in pitches:
            track.append(mido.Message("note_on", channel=channel, note=pitch - 12 * (channel == 1), velocity=90))
            track.append(mido.Message("note_off", channel=channel, note=pitch - 12 * (channel == 1), time=480))
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)


def write_long_song(path: Path, seconds: int) -> None:
    """Writes a song that is silent but for a swell at its beginning, a note in its middle and one at its end."""
    file = mido.MidiFile(ticks_per_beat=480)  # at 120 beats a minute, 960 ticks are a second
    track = file.add_track()
    track.append(mido.Message("note_on", note=60, velocity=100))
    for value in range(20, 128, 12):
        track.append(mido.Message("control_change", control=11, value=value, time=192))
    track.append(mido.Message("note_off", note=60, time=192))
    for _ in range(2):
        track.append(mido.Message("note_on", note=72, velocity=100, time=960 * (seconds // 2 - 2)))
        track.append(mido.Message("note_off", note=72, time=960))
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)


def manifest(out: Path, name: str = "manifest.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def all_rows(out: Path) -> list[dict[str, Any]]:
    """Reads the rows of a finished job, with their status, as the page gets them."""
    return [
        *({"status": "rendered", **row} for row in manifest(out)),
        *({"status": "failed", **row} for row in manifest(out, "errors.jsonl")),
    ]


def data(files: Mapping[str, str]) -> tuple[dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]:
    """Reads a page's data, from index.html or its data files, and checks their digests.

    Args:
        files: texts by name, as `pipeline.page.pages` yields them.

    Returns:
        The facts, the entries of the index as objects, and the details of each.
    """
    scripts = {
        attributes["id"]: text
        for attributes, text in Page(files["index.html"]).scripts
        if attributes.get("type") == "application/json"
    }
    facts = json.loads(scripts["facts"])
    entries: list[dict[str, Any]] = []
    details: list[dict[str, Any]] = []
    for name, (integrity, digest) in facts["files"].items():
        text = scripts.get(name)
        if text is None:
            script = files[f"{facts['folder']}/{name}.js"]
            assert sha256(script) == integrity
            called = re.fullmatch(r"gansynth\.take\((.+?),(.+)\);\n", script)
            assert called
            assert json.loads(called[1]) == name
            text = json.loads(called[2])
            assert sha256(text) == digest
        read = json.loads(text)
        if name.startswith("songs-"):
            details += read
            continue
        words = read.pop("instrument_names")
        read["instruments"] = [[words[number] for number in one] for one in read["instruments"]]
        entries += [dict(zip(read, values, strict=True)) for values in zip(*read.values(), strict=True)]
    assert len(entries) == len(details) == facts["inputs"]
    return facts, entries, details


def read_site(out: Path) -> dict[str, str]:
    """Reads index.html and the data files of an output folder."""
    return {
        str(path.relative_to(out)): path.read_text("utf-8") for path in (out / "index.html", *out.glob("page/*.js"))
    }


def sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


VOID = {"meta", "input", "img", "link", "br", "hr", "path"}


class Page(HTMLParser):
    """A parsed page: its elements in order, as (tag, attributes), and its text; fails on elements not well nested."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))
        if self._open and self._open[-1] == "script":
            attributes = self.elements[-1][1]
            if self.scripts and self.scripts[-1][0] is attributes:
                self.scripts[-1] = (attributes, self.scripts[-1][1] + data)
            else:
                self.scripts.append((attributes, data))

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]

    @property
    def text(self) -> str:
        return " ".join("".join(text for tag, text in self.texts if tag not in ("script", "style")).split())

    @property
    def commands(self) -> list[str]:
        """The commands that the page shows to be pasted."""
        return [text for tag, text in self.texts if tag == "code" and text.startswith("gansynth-beam render ")]


def links(found: Page) -> Iterator[str]:
    for _, attributes in found.elements:
        yield from (attributes[name] for name in ("href", "src") if name in attributes)
