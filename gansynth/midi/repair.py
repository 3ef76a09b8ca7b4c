"""What comes before the parser: limits, wrappings of MIDI files, and the mending of what is formally wrong."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.midi import smf

MAX_TICKS = 10_000_000
"""pretty_midi builds a table of all ticks, 32 bytes each; the longest song known has 1.8 million."""
LEADING_BYTES = 4096
"""How far into a file its header is looked for: behind mail and HTTP headers, or a tar archive's."""

REPAIRS = {
    "bad_event_ignored": "Bytes that are no MIDI event were left out (`aggressive` only).",
    "bytes_skipped": "Bytes between tracks that are no chunk were skipped.",
    "data_byte_ignored": "Events with a data byte above 127 were left out, or it was read as 127 (`aggressive` only).",
    "end_of_track_missing": "A track has no end-of-track event.",
    "foreign_chunk_skipped": "A chunk that is not a track stood between the tracks.",
    "format_unknown": "The header gives a format other than 0, 1 and 2; it was read as 1.",
    "header_length_wrong": "The header is not as long as it says.",
    "key_signature_ignored": "A key signature that does not exist.",
    "leading_bytes_skipped": "There were other bytes before the header: a mail's, say, or a tar archive's.",
    "macbinary_unwrapped": "The file was in MacBinary form.",
    "meta_event_ignored": "A meta event too short for its kind, or longer than a million bytes.",
    "riff_unwrapped": "The file was a RIFF file (.rmi).",
    "running_status_restored": "Events rely on the status byte of one before a system message, which ends it.",
    "smpte_division": "Time is counted in SMPTE frames, which is legal, but note_seq cannot read it.",
    "smpte_offset_ignored": "An SMPTE offset too short, or that is no time of day.",
    "sysex_ignored": "A system exclusive message that holds bytes above 127, or more than a million.",
    "tempo_moved": "Tempo changes outside the first track, where note_seq does not look.",
    "time_signature_ignored": "A time signature too short, of no beats, or of beats too short.",
    "track_count_wrong": "There are more or fewer tracks than the header says; all were played.",
    "track_length_wrong": "A track is not as long as it says; it was read to its end-of-track event.",
    "track_truncated": "A track breaks off; it was played as far as it goes, and what sounds there ended.",
    "trailing_bytes_ignored": "There were other bytes behind a track.",
    "unknown_meta_event_ignored": "A meta event of a kind that mido does not know, and would forget the gap before it.",
}
"""Everything that may be wrong with a file that is played all the same."""

_HEADER = b"MThd\x00\x00\x00\x06"
_MACBINARY = 128
_ENDLESS = re.compile(rb"[\x80-\xff]{1000}")
_LOOKS = {b"<": "a web page", b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "a gzip archive", b"Rar!": "a rar archive"}


@dataclass(frozen=True)
class Prepared:
    """Bytes that note_seq may be given.

    Attributes:
        data: the file's own where nothing keeps note_seq from reading them right.
        repairs: names of the defects that were overlooked or mended, sorted; docs/errors.md explains them.
        code: of the error, should note_seq refuse them.
        seconds: when the last note ends, as far as the scan could tell.
        notes: their number, as far as the scan could tell.
    """

    data: bytes
    repairs: tuple[str, ...] = ()
    code: str = MidiError.code
    seconds: float = 0.0
    notes: int = 0


def prepare(data: bytes, config: NotesConfig) -> Prepared:
    """Checks a file against the limits and mends it as far as `notes.salvage` allows.

    Raises:
        MidiError: a limit is passed, or it is no MIDI file that can be mended; never that where salvage is off: then
            note_seq alone is to decide.
    """
    if not data:
        raise MidiError("the file is empty", code="midi-empty")
    if config.salvage == "off":
        return _as_it_is(data, config)
    data, wrapping = unwrap(data)
    scan = smf.scan(data, aggressive=config.salvage == "aggressive")
    check_limits(scan, config)
    repairs = tuple(sorted({*wrapping, *scan.repairs}))
    return Prepared(data if scan.clean else scan.midi(), repairs, seconds=scan.seconds, notes=scan.notes)


def _as_it_is(data: bytes, config: NotesConfig) -> Prepared:
    clean, code, seconds, notes = False, MidiError.code, 0.0, 0
    try:
        scan = smf.scan(data)
        check_limits(scan, config)
        clean, seconds, notes = scan.clean, scan.seconds, scan.notes
    except MidiError as error:
        if error.code.startswith("midi-too-"):
            raise
        code = error.code
    if not clean and _ENDLESS.search(data):  # mido would take hours to read them as one number
        raise MidiError("it may hold a number of more than 1000 bytes", code="midi-bad-event")
    return Prepared(data, code=code, seconds=seconds, notes=notes)


def check_limits(scan: smf.Scan, config: NotesConfig) -> None:
    """Refuses what would take too long to read or to play.

    Raises:
        MidiError: its code begins with midi-too-.
    """
    seconds = scan.seconds * config.time_stretch
    if scan.notes > config.max_notes:
        message = f"{scan.notes} notes are more than notes.max_notes {config.max_notes}"
        raise MidiError(message, code="midi-too-many-notes")
    if seconds > config.max_song_seconds:
        message = f"it lasts {seconds:.0f} s, longer than notes.max_song_seconds {config.max_song_seconds:.0f}"
        raise MidiError(message, code="midi-too-long")
    if scan.ticks >= MAX_TICKS:
        raise MidiError(f"it has {scan.ticks} ticks; no more than {MAX_TICKS} can be read", code="midi-too-long")
    if scan.polyphony > config.max_polyphony:
        message = f"{scan.polyphony} notes sound at once, more than notes.max_polyphony {config.max_polyphony}"
        raise MidiError(message, code="midi-too-dense")


def unwrap(data: bytes) -> tuple[bytes, tuple[str, ...]]:
    """The MIDI file inside a RIFF (RMID) or MacBinary file, or behind some leading bytes; and what was taken off.

    Raises:
        MidiError: there is none.

    Sources: RIFF MIDI (RMID), MMA RP-029; MacBinary II (1987): name's length at byte 1, zeros at 0, 74 and 82, length
    of the data fork at 83.
    """
    if data.startswith(b"MThd"):
        return data, ()
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        inside = _riff_data(data)
        if inside.startswith(b"MThd"):
            return inside, ("riff_unwrapped",)
    if data[_MACBINARY:].startswith(b"MThd") and 0 < data[1] < 64 and not (data[0] or data[74] or data[82]):
        fork = int.from_bytes(data[83:87], "big")
        return data[_MACBINARY : _MACBINARY + fork] if fork >= 14 else data[_MACBINARY:], ("macbinary_unwrapped",)
    at = data.find(_HEADER, 0, LEADING_BYTES)
    if at < 0:
        looks = next((name for start, name in _LOOKS.items() if data.lstrip().startswith(start)), "something else")
        raise MidiError(f"MThd not found: it is {looks}, not a MIDI file", code="midi-not-midi")
    return data[at:], ("leading_bytes_skipped",)


def _riff_data(data: bytes) -> bytes:
    pos = 12
    while pos + 8 <= len(data):
        size = int.from_bytes(data[pos + 4 : pos + 8], "little")
        if data[pos : pos + 4] == b"data":
            return data[pos + 8 : pos + 8 + size]
        pos += 8 + size + size % 2
    return b""
