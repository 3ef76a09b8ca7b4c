"""The listening page: index.html, page-2.html, ... in the output folder, from the rows of a job.

A page works without server and network: style and script are inline, links are relative. It contains no date or time,
so the same job gives the same bytes. Names come from untrusted files: jinja2 escapes all of them, and a content
security policy allows only the page's own script.
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from urllib.parse import quote

from gansynth.figures import axes, piano_roll
from gansynth.figures.spectrogram import SpectrogramStyle
from gansynth.general_midi import DRUMS
from gansynth.io import files, urls
from pipeline.config import JobConfig
from pipeline.outcomes import event_outcomes, note_outcomes, repair_outcomes
from pipeline.web import asset, display, environment, script_digest
from transforms.manifest import ErrorRow, PartRow, Row, SongRow

SONGS_PER_PAGE = 200
INDEXED_SONGS = 5000
"""Maximum number of songs for which the first page holds an index, so that its search covers all pages."""
LISTED_FAILURES = 1000
_LEGEND = 12


@dataclass(frozen=True)
class Instrument:
    """An entry of a song's legend: index of its colour, name, and the MIDI programs or tracks that it plays."""

    colour: int
    name: str
    plays: str


@dataclass(frozen=True)
class SongCard:
    """A rendered song on the page; texts are ready for display, links are URL-quoted.

    Attributes:
        number: number of the song, from 1, counted over all pages.
        title, folder, name: file name without .mid, its folder, and the song id.
        seconds, clock: length of the clip, in seconds and as text.
        across: seconds that the width of its pictures spans.
        notes: number of notes played.
        outcomes: number of other notes, by outcome, ignored MIDI events and repairs of the file, as text.
        instruments, more_instruments: the legend, and the number of instruments left out of it.
        links: relative URL of each output, by kind: audio, spectrogram, piano_roll, midi, notes, ...
        stems: name and relative URL of each stem.
    """

    number: int
    title: str
    folder: str
    name: str
    seconds: float
    clock: str
    across: float
    notes: int
    outcomes: tuple[str, ...]
    instruments: tuple[Instrument, ...]
    more_instruments: int
    links: dict[str, str]
    stems: tuple[tuple[str, str], ...]


def write_pages(config: JobConfig, rows: Iterable[Row]) -> None:
    """Writes the pages of a job, and removes surplus pages of an earlier run.

    Args:
        config: the job; pages are written to its output folder.
        rows: the row of each input, as in manifest.jsonl and errors.jsonl, with its status.
    """
    number = 0
    for number, html in enumerate(pages(config, rows), 1):
        files.write_bytes(urls.join(config.output, page_name(number)), html.encode())
    while True:
        number += 1
        fs, stale = urls.filesystem(urls.join(config.output, page_name(number)))
        if not fs.exists(stale):
            return
        fs.rm_file(stale)


def page_name(number: int) -> str:
    """Returns the file name of a page, counted from 1: index.html, page-2.html, ..."""
    return "index.html" if number == 1 else f"page-{number}.html"


def pages(config: JobConfig, rows: Iterable[Row]) -> Iterator[str]:
    """Renders a job's pages as HTML, at least one.

    Args:
        config: the job.
        rows: the row of each input, with its status.
    """
    rows = sorted(rows, key=lambda row: row["song_id"])
    rendered = [row for row in rows if row["status"] == "rendered"]
    failed = [row for row in rows if row["status"] != "rendered"]
    count = max(1, -(-len(rendered) // SONGS_PER_PAGE))
    script = asset("page.js")
    common = {
        "config": config,
        "settings": display(config.to_yaml(), keep="\n"),
        "title": display(posixpath.basename(config.output.rstrip("/"))) or "GANSynth",
        "total_songs": len(rendered),
        "failed": len(failed),
        "notes": sum(row["notes"]["played"] for row in rendered),
        "length": _length(sum(row["seconds"] for row in rendered)),
        "count": count,
        "per_page": SONGS_PER_PAGE,
        "page_name": page_name,
        "style": asset("page.css"),
        "script": script,
        "script_digest": script_digest(script),
        "colours": ["#{:02x}{:02x}{:02x}".format(*colour) for colour in piano_roll.palette().tolist()],
        "axes": axes,
        "roll_height": piano_roll.HEIGHT,
        "spectrogram_height": SpectrogramStyle().height,
    }
    template = environment().get_template("page.html")
    for number in range(1, count + 1):
        first = (number - 1) * SONGS_PER_PAGE
        songs = [_card(first + i, row) for i, row in enumerate(rendered[first : first + SONGS_PER_PAGE], 1)]
        extra: dict[str, Any] = {"failures": (), "unlisted": 0, "index": None}
        if number == 1:
            extra = {
                "failures": _failures(failed[:LISTED_FAILURES]),
                "unlisted": len(failed[LISTED_FAILURES:]),
                "index": _index(rendered) if count > 1 and len(rendered) <= INDEXED_SONGS else None,
            }
        yield template.render(common, number=number, near=_near(number, count), songs=songs, **extra)


def _card(number: int, row: SongRow) -> SongCard:
    folder, name = posixpath.split(row["song_id"])
    samples = round(row["seconds"] * row["notes_rate"])
    notes = row["notes"]
    outcomes = (
        *note_outcomes(notes),
        *event_outcomes(row["ignored"]),
        *repair_outcomes(row["repairs"], row["repaired_notes"]),
    )
    instruments = _legend(row["instruments"], row["parts"])
    return SongCard(
        number=number,
        title=display(name.removesuffix(".mid")) or "untitled",
        folder=display(folder),
        name=display(row["song_id"]),
        seconds=row["seconds"],
        clock=axes.clock(row["seconds"]),
        across=axes.seconds_across(samples, row["notes_rate"]),
        notes=notes["played"],
        outcomes=outcomes,
        instruments=tuple(instruments[:_LEGEND]),
        more_instruments=len(instruments[_LEGEND:]),
        links={kind: quote(path) for kind, path in row["outputs"].items()},
        stems=tuple(
            (display(name) or "stem", quote(row["outputs"][f"stem_{number:03d}"]))
            for number, name in enumerate(row["stems"], 1)
        ),
    )


def _legend(names: Sequence[str], parts: Sequence[PartRow]) -> list[Instrument]:
    """Lists every instrument once, with its colour in the piano roll and the programs or tracks that it plays."""
    colours = dict(zip(names, piano_roll.colour_numbers(names), strict=True))
    plays: dict[str, list[str]] = {name: [] for name in colours}
    for part in parts:
        label = part["track"] if part["rule"].startswith("tracks: ") else _program_name(int(part["program"]))
        if label not in plays[part["instrument"]]:
            plays[part["instrument"]].append(label)
    return [
        Instrument(colour, display(name), display(", ".join(p for p in plays[name] if not _same(p, name))))
        for name, colour in colours.items()
    ]


def _same(program: str, instrument: str) -> bool:
    return program.casefold() == instrument.casefold().replace("_", " ")


def _program_name(program: int) -> str:
    from pretty_midi import program_to_instrument_name

    return "drums" if program == DRUMS else program_to_instrument_name(program)


def _failures(rows: Sequence[ErrorRow]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Groups failures by code, the most frequent first; each with the names and messages of its files."""
    reasons: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for row in rows:
        reason = row["code"]
        reasons[display(reason)].append((display(row["song_id"]), display(row["message"])))
    return sorted(reasons.items(), key=lambda item: -len(item[1]))


def _index(rendered: Sequence[SongRow]) -> list[tuple[str, int, int]]:
    """Lists name, seconds and notes of all songs, by which the first page searches and sorts songs on other pages."""
    return [(display(row["song_id"]), round(row["seconds"]), row["notes"]["played"]) for row in rendered]


def _near(number: int, count: int) -> list[int]:
    """Lists the numbers of the pages to link to: the first, the last and those around `number`; 0 for a gap."""
    shown = sorted({1, count, *range(max(1, number - 2), min(count, number + 2) + 1)})
    gaps = [after - before for before, after in pairwise([0, *shown])]
    return [n for gap, page in zip(gaps, shown, strict=True) for n in ((0, page) if gap > 1 else (page,))]


def _length(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes / 60:,.1f} hours"
