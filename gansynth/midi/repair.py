"""Preparation of MIDI files: unwrapping of other formats, repairs of formal defects, and limits."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.midi import smf
from gansynth.midi.song_texts import song_texts

MAX_TICKS = 10_000_000
"""Highest number of ticks for note_seq: pretty_midi builds a table with 32 bytes a tick."""
MAX_COPIES = 750_000
"""Highest number of controller and bend objects for note_seq, which take up to 350 bytes each."""
LEADING_BYTES = 4096
"""Bytes at the beginning of a file in which the MIDI header is searched, behind headers of mail, HTTP or tar."""

REPAIRS = {
    "bad_event_ignored": "Bytes that are not MIDI events were left out (`aggressive` only).",
    "bytes_skipped": "Bytes between tracks that are not a chunk were skipped.",
    "data_byte_ignored": "Controllers, programs, bends or aftertouch with a data byte above 127 were left out, or a "
    "release velocity above 127 was read as 64, in a file whose tracks are whole otherwise. With `aggressive`, in any "
    "file, notes too; a velocity is read as 127.",
    "end_of_track_missing": "A track has no end-of-track event.",
    "foreign_chunk_skipped": "A chunk between the tracks that is not a track was skipped.",
    "format_unknown": "The header gives a format other than 0, 1 and 2; it was read as 1.",
    "gzip_unwrapped": "The file was compressed with gzip (.mid.gz).",
    "hanging_notes": "Notes without a note-off were ended at the next note of their key, or soon after their track's "
    "last note.",
    "header_length_wrong": "The header's length is not the one it states.",
    "key_signature_ignored": "An invalid key signature was left out.",
    "leading_bytes_skipped": "Other bytes before the header were skipped, such as those of a mail or a tar archive.",
    "macbinary_unwrapped": "The file was wrapped in MacBinary.",
    "meta_event_ignored": "A meta event that is too short for its type or longer than a million bytes was left out.",
    "riff_unwrapped": "The file was wrapped in RIFF (.rmi).",
    "running_status_restored": "Events use running status across a system message, which cancels it.",
    "sequences_joined": "The file has format 2, with separate sequences; they were played one after the other.",
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
    "unknown_meta_event_ignored": "A meta event of a type unknown to mido, which would lose the delta time before "
    "it, was left out.",
    "zero_length_notes": "Notes that end in the tick in which they begin were played as short notes.",
}
"""Defects of files that can still be played, by name."""

_HEADER = b"MThd\x00\x00\x00\x06"
_MACBINARY = 128
_LONG_NUMBER = re.compile(rb"[\x80-\xff]{1000}")
_GZIP = b"\x1f\x8b"
_LOOKS = {b"<": "a web page", b"PK\x03\x04": "a zip archive", b"Rar!": "a rar archive"}
_AUDIO = "which holds audio, not MIDI: convert it with a transcription program"
_FOREIGN = (
    (b"SMF2CLIP", "the file is a MIDI 2.0 clip, which cannot be read: save it as a Standard MIDI File (MIDI 1.0)"),
    (b"XMF_", "the file is XMF, not MIDI: extract the Standard MIDI File from it, or export it as MIDI"),
    (b"RIFF....WAVE", f"the file is WAV, {_AUDIO}"),
    (b"ID3|\xff[\xe2-\xe7\xf2-\xf7\xfa-\xfd]", f"the file is MP3, {_AUDIO}"),
    (b"fLaC", f"the file is FLAC, {_AUDIO}"),
    (b"OggS", f"the file is Ogg, {_AUDIO}"),
    (b"FORM....AIF[FC]", f"the file is AIFF, {_AUDIO}"),
    (b"....ftyp", f"the file is MP4, {_AUDIO}"),
    (b"%PDF", "the file is PDF, not MIDI: convert the score with a program for optical music recognition"),
)
"""Regular expressions that match the beginnings of other music files, and the error messages for these."""


@dataclass(frozen=True)
class Prepared:
    """A checked and repaired file for note_seq.

    Attributes:
        data: bytes to be read; those of the file itself if it needs no repair.
        repairs: names of the defects that were ignored or repaired, sorted; docs/errors.md explains them.
        code: error code if note_seq cannot read the bytes.
        seconds: end of the last note; 0 if the file could not be scanned.
        notes: number of notes; 0 if the file could not be scanned.
        texts: see Song.
    """

    data: bytes
    repairs: tuple[str, ...] = ()
    code: str = MidiError.code
    seconds: float = 0.0
    notes: int = 0
    texts: Mapping[str, str] = field(default_factory=dict)


def prepare(data: bytes, config: NotesConfig) -> Prepared:
    """Checks a file against the limits and repairs it as far as `notes.salvage` allows.

    Raises:
        MidiError: a limit is exceeded, or the file is not MIDI or cannot be repaired. With salvage off, only note_seq
            decides whether it can be read.
    """
    if not data:
        raise MidiError("the file is empty", code="midi-empty")
    if config.salvage == "off":
        return _unchanged(data, config)
    data, wrapping = unwrap(data, config.max_file_bytes)
    scan = smf.scan(data, config.salvage)
    _check_scan(scan, config)
    repairs = tuple(sorted({*wrapping, *scan.repairs}))
    texts = song_texts(scan.tracks, config.text_encoding)
    return Prepared(data if scan.clean else scan.midi(), repairs, seconds=scan.seconds, notes=scan.notes, texts=texts)


def _unchanged(data: bytes, config: NotesConfig) -> Prepared:
    """Prepares a file for note_seq without repairs: salvage is off."""
    clean, code, seconds, notes = False, MidiError.code, 0.0, 0
    try:
        scan = smf.scan(data, "off")
        _check_scan(scan, config)
        clean, seconds, notes = scan.clean, scan.seconds, scan.notes
    except MidiError as error:
        if error.code.startswith("midi-too-"):
            raise
        code = error.code
    if not clean and _LONG_NUMBER.search(data):  # mido would take hours to decode it
        raise MidiError("the file may contain a number of more than 1000 bytes", code="midi-bad-event")
    return Prepared(data, code=code, seconds=seconds, notes=notes)


def check_limits(config: NotesConfig, *, notes: int = 0, seconds: float = 0.0, polyphony: int = 0) -> None:
    """Checks a song against the limits of the configuration.

    Args:
        config: the limits, and the time stretch.
        notes: number of notes.
        seconds: end of the last note, before the time stretch.
        polyphony: highest number of notes that sound at once.

    Raises:
        MidiError: a limit is exceeded; its code begins with midi-too-.
    """
    seconds *= config.time_stretch
    if notes > config.max_notes:
        message = f"{notes} notes are more than notes.max_notes {config.max_notes}"
        raise MidiError(message, code="midi-too-many-notes")
    if seconds > config.max_song_seconds:
        message = f"the song lasts {seconds:.0f} s, longer than notes.max_song_seconds {config.max_song_seconds:.0f}"
        raise MidiError(message, code="midi-too-long")
    if polyphony > config.max_polyphony:
        message = f"{polyphony} notes sound at once, more than notes.max_polyphony {config.max_polyphony}"
        raise MidiError(message, code="midi-too-dense")


def _check_scan(scan: smf.Scan, config: NotesConfig) -> None:
    """Checks a scanned file against the limits of the configuration and of note_seq; raises as `check_limits`."""
    check_limits(config, notes=scan.notes, seconds=scan.seconds)
    if scan.ticks >= MAX_TICKS:
        raise MidiError(f"the song has {scan.ticks} ticks; fewer than {MAX_TICKS} can be read", code="midi-too-long")
    check_limits(config, polyphony=scan.polyphony)
    if scan.copies > MAX_COPIES:
        message = f"note_seq would create {scan.copies} controllers; notes.reader=channels reads the file"
        raise MidiError(message, code="midi-too-dense")


def unwrap(data: bytes, limit: int) -> tuple[bytes, tuple[str, ...]]:
    """Finds the MIDI file inside a gzip, RIFF (RMID) or MacBinary file, or behind leading bytes.

    Args:
        data: bytes of the file.
        limit: highest number of uncompressed bytes.

    Returns:
        Bytes from the MIDI header on, and the names of the repairs.

    Raises:
        MidiError: the file contains no MIDI file, or a larger one than `limit`.

    Sources: gzip (RFC 1952); RIFF MIDI (RMID), MMA RP-029; MacBinary II (1987): name's length at byte 1, zeros at 0, 74
    and 82, length of the data fork at 83.
    """
    if data.startswith(b"MThd"):
        return data, ()
    if data.startswith(_GZIP):
        inside = gunzip(data, limit)
        if inside.startswith(_GZIP):
            raise MidiError("the file is compressed twice with gzip: unpack it", code="midi-not-midi")
        inside, wrapping = unwrap(inside, limit)
        return inside, ("gzip_unwrapped", *wrapping)
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        inside = _riff_data(data)
        if inside.startswith(b"MThd"):
            return inside, ("riff_unwrapped",)
    if data[_MACBINARY:].startswith(b"MThd") and 0 < data[1] < 64 and not (data[0] or data[74] or data[82]):
        fork = int.from_bytes(data[83:87], "big")
        return data[_MACBINARY : _MACBINARY + fork] if fork >= 14 else data[_MACBINARY:], ("macbinary_unwrapped",)
    foreign = _foreign(data)
    at = -1 if foreign else data.find(_HEADER, 0, LEADING_BYTES)
    if at < 0:
        raise MidiError(foreign or _unknown(data), code="midi-not-midi")
    return data[at:], ("leading_bytes_skipped",)


def gunzip(data: bytes, limit: int) -> bytes:
    """Uncompresses a gzip file, at most `limit` bytes.

    Raises:
        MidiError: the file is damaged, or contains more than `limit` bytes.
    """
    unpacker = zlib.decompressobj(wbits=31)
    try:
        inside = unpacker.decompress(data, limit + 1)
    except zlib.error as error:
        raise MidiError(f"the gzip file is damaged ({error}): fetch it again", code="midi-not-midi") from None
    if len(inside) > limit:
        raise MidiError(f"the uncompressed file is larger than notes.max_file_bytes {limit}", code="midi-too-large")
    if not unpacker.eof:
        raise MidiError("the gzip file is truncated: fetch it again", code="midi-truncated")
    return inside


def _foreign(data: bytes) -> str:
    """Returns the error message for a music file of another known format; empty for all others."""
    start = data[:LEADING_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n")
    export = "export it as MIDI from a score editor such as MuseScore"
    if start.startswith(b"<") and (b"<score-partwise" in start or b"<score-timewise" in start):
        return f"the file is MusicXML, not MIDI: {export}"
    if start.startswith(b"PK\x03\x04") and (b"META-INF/container.xml" in data or b".musicxml" in data):
        return f"the file is compressed MusicXML (MXL), not MIDI: {export}"
    for mark, message in _FOREIGN:
        if re.match(mark, start, re.DOTALL):
            return message
    return ""


def _unknown(data: bytes) -> str:
    kind = next((name for start, name in _LOOKS.items() if data.lstrip().startswith(start)), "something else")
    return f"MThd not found: the file is {kind}, not a MIDI file"


def _riff_data(data: bytes) -> bytes:
    pos = 12
    while pos + 8 <= len(data):
        size = int.from_bytes(data[pos + 4 : pos + 8], "little")
        if data[pos : pos + 4] == b"data":
            return data[pos + 8 : pos + 8 + size]
        pos += 8 + size + size % 2
    return b""
