"""Steps before parsing: limits, wrappers around MIDI files, and the repair of formal defects."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.midi import smf

MAX_TICKS = 10_000_000
"""pretty_midi builds a table of all ticks, 32 bytes each; the longest song known has 1.8 million."""
LEADING_BYTES = 4096
"""Bytes searched for the MIDI header, which may follow mail or HTTP headers, or that of a tar archive."""

REPAIRS = {
    "bad_event_ignored": "Bytes that are not MIDI events were left out (`aggressive` only).",
    "bytes_skipped": "Bytes between tracks that are not a chunk were skipped.",
    "data_byte_ignored": "Events with a data byte above 127 were left out, or the byte was read as 127 "
    "(`aggressive` only).",
    "end_of_track_missing": "A track has no end-of-track event.",
    "foreign_chunk_skipped": "A chunk between the tracks that is not a track was skipped.",
    "format_unknown": "The header gives a format other than 0, 1 and 2; it was read as 1.",
    "header_length_wrong": "The header's length is not the one it states.",
    "key_signature_ignored": "An invalid key signature was left out.",
    "leading_bytes_skipped": "Other bytes before the header were skipped, such as those of a mail or a tar archive.",
    "macbinary_unwrapped": "The file was wrapped in MacBinary.",
    "meta_event_ignored": "A meta event that is too short for its type or longer than a million bytes was left out.",
    "riff_unwrapped": "The file was wrapped in RIFF (.rmi).",
    "running_status_restored": "Events use running status across a system message, which cancels it.",
    "smpte_division": "SMPTE frames, which are valid but which note_seq cannot read, were converted to ticks.",
    "smpte_offset_ignored": "An SMPTE offset that is too short or not a valid time was left out.",
    "sysex_ignored": "A system exclusive message with bytes above 127 or longer than a million bytes was left out.",
    "tempo_moved": "Tempo changes outside the first track, which note_seq ignores, were moved to a tempo track.",
    "time_signature_ignored": "A time signature that is too short, or has no beats or beats that are too short, was "
    "left out.",
    "track_count_wrong": "There are more or fewer tracks than the header states; all were played.",
    "track_length_wrong": "A track's length is not the one it states; it was read to its end-of-track event.",
    "track_truncated": "A track breaks off; it was played up to there, and notes still sounding were ended.",
    "trailing_bytes_ignored": "Other bytes after a track were ignored.",
    "unknown_meta_event_ignored": "A meta event of a type unknown to mido, which would lose the delta time before it, "
    "was left out.",
}
"""Meaning of each defect that does not keep a file from being played; docs/errors.md lists them too."""

_HEADER = b"MThd\x00\x00\x00\x06"
_MACBINARY = 128
_ENDLESS = re.compile(rb"[\x80-\xff]{1000}")
_LOOKS = {b"<": "a web page", b"PK\x03\x04": "a zip archive", b"\x1f\x8b": "a gzip archive", b"Rar!": "a rar archive"}


@dataclass(frozen=True)
class Prepared:
    """A MIDI file checked and repaired for note_seq.

    Attributes:
        data: bytes for note_seq; the original ones if it reads them correctly.
        repairs: names of the defects that were ignored or repaired, sorted; docs/errors.md explains them.
        code: code of the error to raise if note_seq refuses the bytes.
        seconds: time at which the last note ends; 0 if the scan failed.
        notes: number of notes; 0 if the scan failed.
    """

    data: bytes
    repairs: tuple[str, ...] = ()
    code: str = MidiError.code
    seconds: float = 0.0
    notes: int = 0


def prepare(data: bytes, config: NotesConfig) -> Prepared:
    """Checks a file against the limits and repairs it as far as `notes.salvage` allows.

    Args:
        data: the file's bytes.
        config: limits and salvage.

    Raises:
        MidiError: a limit is exceeded, or the file is not MIDI or cannot be repaired. With salvage off, damage is left
            to note_seq, except an empty file and numbers of a thousand bytes.
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
    """Refuses files that would take too long to read or to play.

    Raises:
        MidiError: a limit is exceeded; the code begins with midi-too-.
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
    """Extracts a MIDI file that is wrapped in RIFF (RMID) or MacBinary, or follows other bytes.

    Returns:
        The MIDI file's bytes, and the names of the repairs made.

    Raises:
        MidiError: there is no MIDI header.

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
