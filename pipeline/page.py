"""The listening page: index.html in the output folder, with its data in page/, from the rows of a job.

A page works without server and network: style and scripts are inline, links are relative, and the data of a large
corpus are script files, since browsers let a page from the disk read nothing else. It contains no date or time, so the
same job gives the same bytes. Names come from untrusted files: jinja2 and the page's scripts only ever write them as
text, and a content security policy allows only the page's own scripts and what these load. See docs/page.md.
"""

from __future__ import annotations

import json
import posixpath
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple
from urllib.parse import quote

from gansynth.errors import CODES, REMEDIES
from gansynth.figures import axes, piano_roll
from gansynth.figures.spectrogram import SpectrogramStyle
from gansynth.general_midi import DRUMS
from gansynth.io import files, listing, urls
from gansynth.io.script_data import ScriptData, sha256
from gansynth.score.stems import REST
from pipeline import again
from pipeline.config import JobConfig
from pipeline.outcomes import event_outcomes, note_outcomes, repair_outcomes
from pipeline.web import asset, display, environment
from transforms.manifest import ErrorRow, PartRow, Row, SongRow

FOLDER = "page"
"""Folder of the data files."""
EMBEDDED_SONGS = 200
"""Highest number of inputs whose data are in index.html itself."""
INDEX_SONGS = 5000
"""Inputs in an index file: what the list shows, sorts, filters and searches."""
DETAIL_SONGS = 200
"""Inputs in a file of details: what is read when a song comes into sight or is opened."""
LISTED_FAILURES = 1000
_LEGEND = 12
_FILTERED_INSTRUMENTS = 200
_DATA_FILES = re.compile(r"(index|songs)-\d{4,}\.js")
REPAIRED, SHORTENED, FAILED = 1, 2, 4
"""Marks of an entry of the index."""
_SCRIPTS = ("base.js", "wave.js", "player.js", "corpus.js", "list.js", "roll.js", "mixer.js", "stems.js", "page.js")
_KINDS = (
    ("midi", "MIDI"),
    ("notes", "JSON"),
    ("notesequence", "NoteSequence"),
    ("piano_roll", "Roll"),
    ("spectrogram", "Spectrogram"),
    ("cqt", "NPY"),
)


class _Entry(NamedTuple):
    """An input on the page.

    Attributes:
        row: what the index has of it: name, seconds, notes, instruments, programs, marks.
        details: all else, as JSON.
    """

    row: tuple[str, float, int, tuple[str, ...], tuple[int, ...], int]
    details: str


class _Entries:
    """All inputs of a page in natural order. They are kept in a file; memory has only their order and places."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._places: list[tuple[tuple[Any, ...], int, int]] = []

    def __len__(self) -> int:
        return len(self._places)

    def add(self, song_id: str, entry: _Entry) -> None:
        """Adds an input; ids differ."""
        text = json.dumps(entry).encode()
        self._places.append((natural_key(song_id), self._file.tell(), len(text)))
        self._file.write(text)

    def sort(self) -> None:
        """Puts the inputs in order; none is added afterwards."""
        self._places.sort()

    def read(self, first: int, count: int) -> list[_Entry]:
        """Reads `count` inputs from position `first` on; fewer at the end."""
        found = []
        for _, start, length in self._places[first : first + count]:
            self._file.seek(start)
            found.append(_Entry(*json.loads(self._file.read(length))))
        return found


@dataclass
class _Totals:
    """The totals of the whole job that the page shows, added up entry by entry."""

    rendered: int = 0
    failed: int = 0
    notes: int = 0
    seconds: float = 0.0
    instruments: Counter[str] = field(default_factory=Counter)
    programs: Counter[int] = field(default_factory=Counter)
    stems: bool = False
    failures: list[ErrorRow] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row) -> None:
        """Adds a row; of the failures, only the first LISTED_FAILURES are kept."""
        if row["status"] == "rendered":
            self.rendered += 1
            self.notes += row["notes"]["played"]
            self.seconds += row["seconds"]
            self.instruments.update(set(row["instruments"]))
            self.stems |= bool(row["stems"])
            self.programs.update({part["program"] for part in row["parts"]})
        else:
            self.failed += 1
            self.codes[row["code"]] += 1
            if len(self.failures) < LISTED_FAILURES:
                self.failures.append(row)


def write_pages(config: JobConfig, rows: Iterable[Row]) -> None:
    """Writes the page of a job and its data files, and removes those of an earlier run that are not part of it.

    Args:
        config: the job; the page is written into its output folder.
        rows: the row of each input, as in manifest.jsonl and errors.jsonl, with its status, in any order. They are
            read once; the name and the position of each are held in memory, all else in a temporary file.
    """
    written = set()
    for name, text in pages(config, rows):
        files.write_bytes(urls.join(config.output, name), text.encode())
        written.add(name)
    fs, folder = urls.filesystem(urls.join(config.output, FOLDER))
    if listing.kind(urls.join(config.output, FOLDER)) == "folder":
        for path in fs.ls(folder, detail=False):
            name = posixpath.basename(str(path))
            if _DATA_FILES.fullmatch(name) and f"{FOLDER}/{name}" not in written:
                fs.rm_file(path)
    _remove_old_pages(config.output)


def _remove_old_pages(output: str) -> None:
    """Removes page-2.html, page-3.html, ... which earlier releases wrote."""
    number = 2
    while True:
        fs, path = urls.filesystem(urls.join(output, f"page-{number}.html"))
        if not fs.exists(path):
            return
        fs.rm_file(path)
        number += 1


def pages(config: JobConfig, rows: Iterable[Row]) -> Iterator[tuple[str, str]]:
    """Renders a job's page: name and text of each file, index.html last.

    Args:
        config: the job.
        rows: the row of each input, with its status, in any order.
    """
    with tempfile.TemporaryFile() as file:
        totals, entries = _Totals(), _Entries(file)
        for row in rows:
            totals.add(row)
            entries.add(row["song_id"], _entry(config, row))
        entries.sort()
        yield from _files(config, totals, entries)


def _files(config: JobConfig, totals: _Totals, entries: _Entries) -> Iterator[tuple[str, str]]:
    totals.failures.sort(key=lambda row: natural_key(row["song_id"]))
    data: dict[str, list[ScriptData]] = {"index": [], "songs": []}
    for kind, size, text_of in (("index", INDEX_SONGS, _index_text), ("songs", DETAIL_SONGS, _details_text)):
        for first in range(0, len(entries), size):
            name = f"{kind}-{first // size + 1:04d}"
            file = ScriptData.of(name, text_of(entries.read(first, size)))
            if len(entries) > EMBEDDED_SONGS:
                yield f"{FOLDER}/{name}.js", file.script
                file = file.without_text()
            data[kind].append(file)
    plain = [json.loads(entry.details) for entry in entries.read(0, EMBEDDED_SONGS) if not entry.row[-1] & FAILED]
    yield "index.html", _html(config, totals, data, plain)


def natural_key(song_id: str) -> tuple[Any, ...]:
    """Makes a key that sorts names as people do: "2" before "10", case ignored, a folder's files together.

    Args:
        song_id: id of a song, any text.
    """
    parts = re.split(r"(\d+)", song_id.casefold().replace("/", "\0"))
    # Numbers are compared by their length without zeros, then as text: they may be too long for int().
    key = [
        (part, 0, "") if i % 2 == 0 else ("", len(part.lstrip("0")), part.lstrip("0")) for i, part in enumerate(parts)
    ]
    return (*key, song_id)


def _html(
    config: JobConfig, totals: _Totals, data: dict[str, list[ScriptData]], plain: Sequence[dict[str, Any]]
) -> str:
    scripts = [asset(name) for name in _SCRIPTS]
    colours = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in piano_roll.palette().tolist()]
    instruments = sorted(map(display, totals.instruments), key=natural_key)
    facts = {
        "inputs": totals.rendered + totals.failed,
        "folder": FOLDER,
        "index_songs": INDEX_SONGS,
        "detail_songs": DETAIL_SONGS,
        "files": {file.name: [file.integrity, file.digest] for group in data.values() for file in group},
        "codes": {display(code): [CODES.get(code, ""), REMEDIES.get(code, "")] for code in sorted(totals.codes)},
        "programs": {program: _program_name(program) for program in sorted(totals.programs)},
        "instruments": instruments if len(instruments) <= _FILTERED_INSTRUMENTS else [],
        "view": display(again.view_command(config)),
        "kinds": [["audio", config.audio.format.split("-")[0].upper()], *_KINDS],
        "layout": {
            "width": axes.WIDTH,
            "left": axes.LEFT,
            "right": axes.RIGHT,
            "top": axes.TOP,
            "bottom": axes.BOTTOM,
            "roll": piano_roll.HEIGHT,
            "spectrogram": SpectrogramStyle().height,
            "per_second": axes.PIXELS_PER_SECOND,
        },
        "colours": colours,
    }
    return (
        environment()
        .get_template("page.html")
        .render(
            config=config,
            settings=display(config.to_yaml(), keep="\n"),
            title=display(posixpath.basename(config.output.rstrip("/"))) or "GANSynth",
            total_songs=totals.rendered,
            failed=totals.failed,
            inputs=totals.rendered + totals.failed,
            notes=totals.notes,
            length=_length(totals.seconds),
            style=asset("page.css") + asset("player.css"),
            scripts=scripts,
            script_digests=[sha256(script) for script in scripts],
            loads_data=True,
            facts=facts,
            embedded=[file for group in data.values() for file in group if file.text],
            plain=plain,
            failures=_failures(config, totals),
            unlisted=totals.failed - len(totals.failures),
            mixes=totals.stems,
            render_again=again.job_command(config),
            colours=colours,
            axes=axes,
            roll_height=piano_roll.HEIGHT,
            spectrogram_height=SpectrogramStyle().height,
        )
    )


def _entry(config: JobConfig, row: Row) -> _Entry:
    if row["status"] == "rendered":
        details, index = _song(config, row), _song_index(row)
    else:
        details, index = _failure(config, row), (display(row["song_id"]), 0.0, 0, (), (), FAILED)
    return _Entry(index, json.dumps(details, separators=(",", ":")))


def _song_index(row: SongRow) -> tuple[str, float, int, tuple[str, ...], tuple[int, ...], int]:
    marks = REPAIRED * bool(row["repairs"]) + SHORTENED * bool(row["notes"].get("shortened"))
    instruments = dict.fromkeys(map(display, row["instruments"]))
    programs = sorted({part["program"] for part in row["parts"]})
    name, seconds, notes = display(row["song_id"]), round(row["seconds"], 1), row["notes"]["played"]
    return name, seconds, notes, tuple(instruments)[:_LEGEND], tuple(programs), marks


def _index_text(entries: Sequence[_Entry]) -> str:
    """Formats an index file: columns, with the names of instruments once."""
    names, seconds, notes, instruments, programs, marks = zip(*(entry.row for entry in entries), strict=True)
    number: dict[str, int] = {}
    played = [[number.setdefault(name, len(number)) for name in group] for group in instruments]
    columns = {
        "names": names,
        "seconds": seconds,
        "notes": notes,
        "instruments": played,
        "programs": programs,
        "marks": marks,
        "instrument_names": list(number),
    }
    return json.dumps(columns, separators=(",", ":"))


def _details_text(entries: Sequence[_Entry]) -> str:
    return f"[{','.join(entry.details for entry in entries)}]"


def _song(config: JobConfig, row: SongRow) -> dict[str, Any]:
    """Lists what an opened song shows; texts are ready for display, links are URL-quoted."""
    folder, name = posixpath.split(row["song_id"])
    samples = round(row["seconds"] * row["notes_rate"])
    notes = row["notes"]
    legend = _legend(row["instruments"], row["parts"])
    return {
        "title": display(name.removesuffix(".mid")) or "untitled",
        "folder": display(folder),
        "seconds": row["seconds"],
        "clock": axes.clock(row["seconds"]),
        "across": axes.seconds_across(samples, row["notes_rate"]),
        **_spectrogram(config, row, samples),
        "notes": notes["played"],
        "outcomes": [
            *note_outcomes(notes),
            *event_outcomes(row["ignored"]),
            *repair_outcomes(row["repairs"], row["repaired_notes"]),
        ],
        "legend": legend[:_LEGEND],
        "more": len(legend[_LEGEND:]),
        "links": {kind: quote(path) for kind, path in row["outputs"].items() if not kind.startswith("stem_")},
        **_stems(config, row),
        "peaks": row.get("peaks", ""),
    }


def _stems(config: JobConfig, row: SongRow) -> dict[str, Any]:
    """Lists a song's stems, each as name, link and number of its colour in the roll, and what a mixer needs to know.

    Stems of instruments are in the order of the legend, those of tracks in that in which the roll numbers tracks.
    """
    names, paths = row["stems"], [row["outputs"][f"stem_{number + 1:03d}"] for number in range(len(row["stems"]))]
    if not names:
        return {"stems": []}
    colours: list[int | None] = [number % len(piano_roll.palette()) for number in range(len(names))]
    order = list(range(len(names)))
    if config.stems.by == "instrument":
        legend = dict(zip(row["instruments"], piano_roll.colour_numbers(row["instruments"]), strict=True))
        colours = [legend.get(name) for name in names]
        places = {name: place for place, name in enumerate(legend)}
        order.sort(key=lambda number: places.get(names[number], len(places)))
    elif names[-1] == REST:
        colours[-1] = None
    return {
        "stems": [[display(names[n]) or "stem", quote(paths[n]), colours[n]] for n in order],
        "rate": row["sample_rate"],
        "channels": row["channels"],
        "gain": 1.0 if paths[0].endswith(".flac") else row["gain"],
    }


def _spectrogram(config: JobConfig, row: SongRow, samples: int) -> dict[str, Any]:
    """Lists where a spectrogram is in its picture: width and height of the plot, lowest pitch, semitones.

    If it has several pictures, `tiles` lists them: the kind of the output, and first pixel and width in the plot.
    """
    if config.spectrogram.range == "full":
        grid = axes.Grid.of(samples, row["notes_rate"])
        kinds = sorted(filter(re.compile(r"spectrogram(_\d+)?").fullmatch, row["outputs"]), key=natural_key)
        tiles = list(zip(kinds, grid.tiles(), strict=False))
        # Earlier releases drew a long song in one picture.
        width = grid.width if len(tiles) > 1 else min(grid.width, axes.MAX_PLOT_WIDTH)
        found: dict[str, Any] = {
            "spectrogram": [width, grid.rows, axes.LOWEST, grid.rows / axes.ROWS_PER_SEMITONE],
        }
        if len(tiles) > 1:
            found["tiles"] = [[kind, tile.start, len(tile)] for kind, tile in tiles]
        return found
    style = SpectrogramStyle()
    width, height = style.width - axes.LEFT - axes.RIGHT, style.height - axes.TOP - axes.BOTTOM
    return {"spectrogram": [width, height, style.min_pitch, style.bins * 12 / style.bins_per_octave]}


def _failure(config: JobConfig, row: ErrorRow) -> dict[str, Any]:
    """Lists what a failed input shows."""
    folder, name = posixpath.split(row["song_id"])
    return {
        "title": display(name) or "untitled",
        "folder": display(folder),
        "code": display(row["code"]),
        "message": display(row["message"]),
        "source": display(row["source"]),
        "link": again.source_link(config, row["source"]),
        "command": again.command(config, row),
    }


def _legend(names: Sequence[str], parts: Sequence[PartRow]) -> list[tuple[int, str, str]]:
    """Lists every instrument once: number of its colour in the roll, name, and the programs or tracks that it plays."""
    colours = dict(zip(names, piano_roll.colour_numbers(names), strict=True))
    plays: dict[str, list[str]] = {name: [] for name in colours}
    for part in parts:
        label = part["track"] if part["rule"].startswith("tracks: ") else _program_name(int(part["program"]))
        if label not in plays[part["instrument"]]:
            plays[part["instrument"]].append(label)
    return [
        (colour, display(name), display(", ".join(p for p in plays[name] if not _same(p, name))))
        for name, colour in colours.items()
    ]


def _same(program: str, instrument: str) -> bool:
    return program.casefold() == instrument.casefold().replace("_", " ")


def _program_name(program: int) -> str:
    from pretty_midi import program_to_instrument_name

    return "drums" if program == DRUMS else program_to_instrument_name(program)


@dataclass(frozen=True)
class _Failures:
    """The failures of one code: how many, what the code means, what to do, and the files that are listed."""

    code: str
    count: int
    meaning: str
    remedy: str
    files: list[dict[str, Any]]


def _failures(config: JobConfig, totals: _Totals) -> list[_Failures]:
    """Groups failures by code, the most frequent first."""
    listed: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in totals.failures:
        listed[row["code"]].append({"name": display(row["song_id"]), **_failure(config, row)})
    return [
        _Failures(display(code), count, CODES.get(code, ""), REMEDIES.get(code, ""), listed[code])
        for code, count in sorted(totals.codes.items(), key=lambda item: (-item[1], item[0]))
    ]


def _length(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    minutes = round(seconds / 60)
    return f"{minutes} minutes" if minutes < 120 else f"{minutes / 60:,.1f} hours"
