"""MIDI files from which a reader could make far more than they hold, for any size.

Each has two parts that a careless reader multiplies: controllers and programs, tracks and names, tempos and tracks,
changes of all channels and channels.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

END = b"\x00\xff\x2f\x00"
NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x40"
SIZES = (30_000, 200_000, 1_490_000)
"""Sizes in bytes at which each kind is read; the last is about notes.max_file_bytes."""
BYTES_PER_MB = 300_000_000
"""Memory that reading may take for each MB of a file, and for a smaller one, as docs/errors.md states."""


def allowed(size: int) -> int:
    """Returns the most memory that reading a file of `size` bytes may take, in bytes."""
    return int(BYTES_PER_MB * max(1.0, size / 1e6))


def _midi(tracks: Iterable[bytes]) -> bytes:
    chunks = [b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks]
    return struct.pack(">4sIHHH", b"MThd", 6, 1, len(chunks), 480) + b"".join(chunks)


def _one(events: bytes) -> bytes:
    return _midi([events + END])


def _fill(piece: bytes, size: int) -> bytes:
    return piece * max(1, size // len(piece))


def _programs(channels: int = 1) -> bytes:
    """A note of each program on some channels."""
    return b"".join(
        bytes([0, 0xC0 | channel, program, 0, 0x90 | channel, 60, 100, 10, 0x80 | channel, 60, 0])
        for program in range(128)
        for channel in range(channels)
    )


def _before_programs(status: int, first: bytes) -> Callable[[int], bytes]:
    """Makes a file of moves of one channel before its first note, and then a note of each program."""

    def make(size: int) -> bytes:
        notes = _programs()
        piece = b"\x00" + first
        return _one(bytes([0, status, *first]) + _fill(piece, size - len(notes)) + notes)

    return make


def _at_limit(size: int) -> bytes:
    """As many controllers before 128 programs as the note_seq reader admits."""
    return _one(b"\x00\xb0\x40\x7f" + b"\x00\x40\x00" * min(5_700, size // 3) + _programs())


def _names(size: int) -> bytes:
    """A name as long as the file, and notes of 128 programs on 16 channels."""
    notes = _programs(16)
    length = max(1, size - len(notes))
    text = bytes([length >> 14 & 127 | 128, length >> 7 & 127 | 128, length & 127])
    return _one(b"\x00\xff\x03" + text + b"n" * (length & 0x1FFFFF) + notes)


def _named_tracks(size: int) -> bytes:
    track = b"\x00\xff\x03\x40" + b"n" * 64 + NOTE + END
    return _midi([track] * min(0x7FF0, size // (len(track) + 8)))


def _tempo_maps(size: int) -> bytes:
    """Tempo changes in every one of many tracks, each with notes between them."""
    piece = b"\x01\xff\x51\x03\x07\xa1\x20\x01\xff\x51\x03\x07\xa1\x21"
    count = min(1000, size // 1000)
    return _midi([_fill(piece, size // count - len(NOTE) - 12) + NOTE + END] * count)


def _tempos_and_notes(size: int) -> bytes:
    return _one(_fill(b"\x01\xff\x51\x03\x07\xa1\x20" + NOTE + b"\x01\xff\x51\x03\x07\xa1\x21", size))


def _for_all_channels(message: bytes) -> Callable[[int], bytes]:
    """Makes a file of messages that concern all channels, of which 16 on each of 128 ports have notes."""

    def make(size: int) -> bytes:
        notes = b"".join(
            bytes([0, 0xFF, 0x21, 1, port]) + b"".join(bytes([0, 0x90 | c, 60, 64]) for c in range(16))
            for port in range(128)
        )
        piece = b"".join(b"\x01\xf0" + bytes([len(message) + 3]) + message + bytes([v, v, 0xF7]) for v in (3, 99))
        return _one(notes + _fill(piece, size - len(notes)))

    return make


def _moves(status: int, first: bytes) -> Callable[[int], bytes]:
    """Makes a file of moves of all 16 channels, each of which has a note that goes on."""

    def make(size: int) -> bytes:
        notes = b"".join(bytes([0, 0x90 | c, 60, 64]) for c in range(16))
        piece = b"".join(bytes([1, status | c, *first, v]) for c in range(16) for v in (1, 100))
        return _one(notes + _fill(piece, size - len(notes)))

    return make


KINDS: dict[str, Callable[[int], bytes]] = {
    "modulation x programs": _before_programs(0xB0, b"\x01\x40"),
    "pedal x programs": _before_programs(0xB0, b"\x40\x7f"),
    "pan x programs": _before_programs(0xB0, b"\x0a\x10"),
    "bends x programs": _before_programs(0xE0, b"\x01\x40"),
    "pedal x programs, the most": _at_limit,
    "name x programs and channels": _names,
    "names x tracks": _named_tracks,
    "tempos x tracks": _tempo_maps,
    "tempos x notes": _tempos_and_notes,
    "master volume x channels": _for_all_channels(b"\x7f\x7f\x04\x01"),
    "master tuning x channels": _for_all_channels(b"\x7f\x7f\x04\x03"),
    "sysex, empty": lambda size: _one(NOTE + _fill(b"\x00\xf0\x00", size)),
    "sysex in pieces": lambda size: _one(NOTE + b"\x00\xf0\x02\x41\x10" + _fill(b"\x00\xf7\x01\x42", size)),
    "volume of 16 channels": _moves(0xB0, b"\x07"),
    "expression of 16 channels": _moves(0xB0, b"\x0b"),
    "bends of 16 channels": _moves(0xE0, b"\x01"),
    "pedal of 16 channels": _moves(0xB0, b"\x40"),
    "all notes off": _moves(0xB0, b"\x7b"),
    "programs": _moves(0xB0, b"\x20"),
}
