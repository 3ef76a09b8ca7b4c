"""Standard MIDI Files, read without trust: their tracks and tempos, their defects, and a repaired copy.

One pass over the bytes keeps every channel and system message, in twelve bytes each. Notes are paired from these, so
that limits are checked before note_seq builds a table of every tick and an object of every event. A defect that leaves
the music intact is recorded with the edits that repair it; bytes among the events that are not MIDI raise an error.

Sources: Standard MIDI Files 1.0 (MMA RP-001); for what note_seq cannot read, mido 1.3 (midifiles, meta).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gansynth.errors import MidiError
from gansynth.midi.notes import polyphony
from gansynth.midi.track import END_EVENT, Track, Walk

MAX_TRACKS = 0x7FFF
"""mido reads the number of tracks as a signed 16-bit number."""
DEFAULT_TEMPO = 500_000
"""Microseconds per quarter note until the first tempo event."""
SMPTE = {24: (24, 1_000_000), 25: (25, 1_000_000), 29: (30, 1_001_000), 30: (30, 1_000_000)}
"""Number of frames and their duration in microseconds, by frame rate; 29 stands for 29.97 frames a second."""

Salvage = Literal["off", "safe", "aggressive"]
_MESSAGES_PER_BAD_ONE = 100
"""Least number of channel and system messages for each one with a bad data byte, in a file that is valid otherwise."""


@dataclass(frozen=True)
class Scan:
    """The contents of a MIDI file.

    Attributes:
        data: bytes of the file.
        format: 0, 1 or 2.
        division: ticks per quarter note.
        tracks: in the order of the file.
        tempos: (tick, microseconds per quarter note) of all effective tempo changes, in order, the first at tick 0.
        conductor: whether `midi` moves the tempo changes to a track of their own, the first one.
        repairs: names of the defects, sorted.
        clean: whether note_seq reads the unchanged bytes correctly.
    """

    data: bytes
    format: int
    division: int
    tracks: tuple[Track, ...]
    tempos: tuple[tuple[int, int], ...]
    conductor: bool
    repairs: tuple[str, ...]
    clean: bool

    @property
    def ticks(self) -> int:
        """Returns the tick of the last event of any kind."""
        return max((track.tick for track in self.tracks), default=0)

    @property
    def notes(self) -> int:
        """Returns the number of notes that note_seq finds."""
        return sum(len(track.notes.starts) for track in self.tracks)

    @property
    def seconds(self) -> float:
        """Returns the end of the last note, in seconds."""
        return self._time(max((max(track.notes.ends, default=0) for track in self.tracks), default=0))

    @property
    def polyphony(self) -> int:
        """Returns the highest number of notes that sound at once."""
        starts = np.concatenate([np.array(track.notes.starts, np.int64) for track in self.tracks])
        ends = np.concatenate([np.array(track.notes.ends, np.int64) for track in self.tracks])
        return polyphony(starts, ends)

    @property
    def copies(self) -> int:
        """Returns the highest number of controller and bend objects that note_seq may create.

        Source: pretty_midi 0.2 (PrettyMIDI._load_instruments): all programs of a channel share the controllers before
        its first note, and note_seq copies them for each program.
        """
        counts = [len(track.messages) for track in self.tracks]
        messages = np.concatenate([np.frombuffer(track.messages, np.uint32) for track in self.tracks])
        channel = np.repeat(np.arange(len(counts)), counts) << 4 | (messages >> 16 & 15)
        status, size = messages >> 20, len(counts) << 4
        moves = np.bincount(channel[(status == 0xB) | (status == 0xE)], minlength=size)
        notes = np.bincount(channel[status == 9], minlength=size)
        programs = np.unique((channel << 7 | (messages >> 8 & 127))[status == 0xC]) >> 7
        return int((moves * np.minimum(np.bincount(programs, minlength=size) + 1, notes)).sum())

    @property
    def smpte(self) -> bool:
        """Tells whether ticks are fractions of SMPTE frames, which tempo events do not affect."""
        return "smpte_division" in self.repairs

    def _time(self, tick: int) -> float:
        """Converts a tick to seconds from the beginning."""
        total = 0
        for (start, tempo), (end, _) in zip(self.tempos, [*self.tempos[1:], (tick, 0)], strict=True):
            total += max(0, min(end, tick) - start) * tempo
        return total / (1e6 * self.division)

    def midi(self) -> bytes:
        """Returns the repaired file: all other events byte for byte, in correct chunks."""
        tracks = [b"".join(track.repaired(self.data)) for track in self.tracks]
        if self.conductor:
            tracks.insert(0, _conductor(self.tempos))
        file_format = self.format if self.format == 2 or len(tracks) == 1 else 1
        header = struct.pack(">4sIHHH", b"MThd", 6, file_format, len(tracks), self.division)
        return header + b"".join(struct.pack(">4sI", b"MTrk", len(track)) + track for track in tracks)


def scan(data: bytes, salvage: Salvage = "safe") -> Scan:
    """Reads the events of a MIDI file.

    Args:
        data: bytes of the file, from its header on.
        salvage: off: a data byte above 127 is an error. safe: a few messages that play nothing may have one if a status
            byte follows each of them and all tracks are complete and have their declared length; such a message is left
            out, and a release velocity is read as 64. aggressive: bytes inside a track that are not MIDI are left out.

    Raises:
        MidiError: the bytes are not a MIDI file, or are damaged; the code names the kind of damage.
    """
    reader = _Reader(data, aggressive=salvage == "aggressive")
    length, file_format, declared, division = reader.header()
    first = 14 if length <= 6 else 8 + length
    try:
        tracks = reader.tracks(first, declared)
    except MidiError as error:
        if salvage != "safe" or error.code != "midi-data-byte" or reader.repairs:
            raise
        tolerant = _Reader(data, tolerant=True)
        tracks = tolerant.valid_tracks(first, declared)
        if not tracks:
            raise
        reader = tolerant
    if not tracks:
        raise MidiError("the file ends after its header and contains no track", code="midi-truncated")
    if len(tracks) >= MAX_TRACKS:
        raise MidiError(
            f"the file has {len(tracks)} tracks; fewer than {MAX_TRACKS} can be read", code="midi-too-many-tracks"
        )
    repairs = reader.repairs.union(*(track.repairs for track in tracks))
    if file_format > 2:
        repairs.add("format_unknown")
    if len(tracks) != declared:
        repairs.add("track_count_wrong")

    tempos, conductor = tempo_map(tracks[0].tempos), False
    if division >> 15:
        frames, microseconds = SMPTE[256 - (division >> 8)]
        division, tempos, conductor = frames * (division & 0xFF), ((0, microseconds),), True
        repairs.add("smpte_division")
    elif file_format != 2:
        of_all_tracks = sorted((tempo for track in tracks for tempo in track.tempos), key=lambda tempo: tempo[0])
        conductor = tempo_map(of_all_tracks) != tempos
        if conductor:
            tempos = tempo_map(of_all_tracks)
            repairs.add("tempo_moved")
    if conductor:
        for track in tracks:
            track.edits = sorted(track.edits + track.tempo_edits)
    clean = not reader.broken and len(tracks) == declared and all(track.clean for track in tracks)
    return Scan(
        data=data,
        format=file_format if file_format <= 2 else 1,
        division=division,
        tracks=tuple(tracks),
        tempos=tempos,
        conductor=conductor,
        repairs=tuple(sorted(repairs)),
        clean=clean and not conductor,
    )


class _Reader:
    """A reader of a file's header and tracks.

    Attributes:
        repairs: names of the defects outside the tracks' events.
        broken: whether note_seq cannot read the file correctly because of one of them.
    """

    def __init__(self, data: bytes, aggressive: bool = False, tolerant: bool = False) -> None:
        self.repairs: set[str] = set()
        self.broken = False
        self._data, self._aggressive, self._tolerant = data, aggressive, tolerant
        self._budget = 10 * len(data) + 100_000  # bytes to walk over, counted again in each attempt

    def header(self) -> tuple[int, int, int, int]:
        """Reads length, format, number of tracks and division."""
        data = self._data
        if data[:4] != b"MThd":
            raise MidiError("MThd not found: the file is not a MIDI file", code="midi-not-midi")
        if len(data) < 14:
            raise MidiError("the file ends inside its header", code="midi-truncated")
        length, file_format, tracks, division = struct.unpack(">IHHH", data[4:14])
        if length < 6 or (length > 6 and not self._is_chunk(8 + length)):
            self._repair("header_length_wrong")
            length = 6
        smpte = division >> 15
        if division == 0 or (smpte and (256 - (division >> 8) not in SMPTE or not division & 0xFF)):
            raise MidiError(f"the header's time division {division:#06x} is invalid", code="midi-bad-division")
        return length, file_format, tracks, division

    def tracks(self, start: int, declared: int) -> list[Track]:
        """Reads all tracks from byte `start` on and skips other bytes between them."""
        data, skipped = self._data, ""
        found: list[Track] = []
        while start < len(data):
            name = data[start : start + 4]
            if name == b"MTrk" and start + 8 <= len(data):
                length = int.from_bytes(data[start + 4 : start + 8], "big")
                try:
                    track, following = self._track(start + 8, length)
                except MidiError:
                    if len(found) < declared or not found:
                        raise
                    self.repairs.add("trailing_bytes_ignored")
                    break  # behind the declared number of tracks: note_seq reads no further either
                if skipped:
                    self._repair(skipped)
                found.append(track)
                start, skipped = following, ""
            elif name == b"MThd" and found:
                break  # another file
            elif self._is_chunk(start):
                start += 8 + int.from_bytes(data[start + 4 : start + 8], "big")
                skipped = skipped or "foreign_chunk_skipped"
            else:
                track_at = data.find(b"MTrk", start + 1)
                if track_at < 0:
                    break
                start, skipped = track_at, "bytes_skipped"
        if found and start < len(data) and not self._is_chunk(start):
            self.repairs.add("trailing_bytes_ignored")
        return found

    def valid_tracks(self, start: int, declared: int) -> list[Track]:
        """Reads all tracks; returns none if they have other defects than a few bad data bytes."""
        try:
            tracks = self.tracks(start, declared)
        except MidiError:
            return []
        valid = not self.repairs and len(tracks) == declared and all(track.complete for track in tracks)
        messages = sum(len(track.messages) for track in tracks)
        bad = sum(track.bad_messages for track in tracks)
        return tracks if valid and bad <= max(1, messages // _MESSAGES_PER_BAD_ONE) else []

    def _track(self, start: int, length: int) -> tuple[Track, int]:
        """Reads one track, even if its declared length is wrong; returns it and the first byte of the next chunk."""
        data, declared = self._data, start + length
        track = self._walk(start, min(declared, len(data)))
        followed = declared == len(data) or self._is_chunk(declared)
        if track.error is None and track.stop == declared:
            if not track.ended and not followed:
                longer = self._walk(start, self._next_track(declared), to_first_end=True)
                if longer.ended:
                    self._repair("track_length_wrong")
                    return longer, longer.stop
            if not track.ended:
                track.repairs.add("end_of_track_missing")
            return track, declared
        if track.ended:
            self._repair("track_length_wrong")
            return track, track.stop
        if track.first_end is not None:
            self._repair("trailing_bytes_ignored")
            track = self._walk(start, track.first_end)
            return track, declared if followed else track.stop
        inside = data.find(b"MTrk", start, declared)
        if inside >= 0:
            shorter = self._walk(start, inside)
            if shorter.error is None:
                return shorter.truncate(), inside
        if track.error is not None and not (self._aggressive and track.error.code == "midi-bad-event"):
            raise track.error
        if declared < len(data):
            longer = self._walk(start, self._next_track(declared), to_first_end=True)
            if longer.ended:
                self._repair("track_length_wrong")
                return longer, longer.stop
        return track.truncate(), declared if followed else len(data) if declared > len(data) else track.stop

    def _repair(self, defect: str) -> None:
        self.repairs.add(defect)
        self.broken = True

    def _is_chunk(self, at: int) -> bool:
        """Recognises the beginning of a chunk: MTrk, or four printable letters and a length within the file."""
        head = self._data[at : at + 8]
        if len(head) < 8:
            return False
        fits = at + 8 + int.from_bytes(head[4:], "big") <= len(self._data)
        return head[:4] == b"MTrk" or (fits and all(0x20 <= letter < 0x7F for letter in head[:4]))

    def _next_track(self, start: int) -> int:
        at = self._data.find(b"MTrk", start)
        return at if at >= 0 else len(self._data)

    def _walk(self, start: int, end: int, to_first_end: bool = False) -> Track:
        """Decodes the events from one byte to another; see `Walk`.

        Raises:
            MidiError: so many tracks overlap that decoding them would take too long.
        """
        walk = Walk(self._data, start, end, self._aggressive, self._tolerant, to_first_end)
        track = walk.run()
        self._budget -= walk.claimed - start
        if self._budget < 0:
            raise MidiError("the declared track lengths overlap", code="midi-bad-event")
        return track


def tempo_map(tempos: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Selects the effective tempo changes: the last at each tick, if it changes the tempo.

    Args:
        tempos: (tick, microseconds per quarter note), in any order of ticks.
    """
    last = dict([(0, DEFAULT_TEMPO), *tempos])
    changes = sorted(last.items())
    before = [None, *(tempo for _, tempo in changes)]
    return tuple(change for change, old in zip(changes, before, strict=False) if change[1] != old)


def _conductor(tempos: Iterable[tuple[int, int]]) -> bytes:
    """Encodes the events of a track that contains only tempo changes."""
    track, before = bytearray(), 0
    for tick, tempo in tempos:
        track += _encode_variable_length(tick - before) + b"\xff\x51\x03" + tempo.to_bytes(3, "big")
        before = tick
    return bytes(track) + END_EVENT


def _encode_variable_length(number: int) -> bytes:
    """Encodes a number of variable length: seven bits a byte, the highest first."""
    digits = [number & 127]
    while number := number >> 7:
        digits.append(number & 127 | 128)
    return bytes(reversed(digits))
