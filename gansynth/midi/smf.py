"""The structure of a Standard MIDI File, read without trust: what is in it, what is wrong with it, and a clean copy.

One pass over the bytes keeps every event that a synthesizer would be sent, in twelve bytes each; notes are paired from
these, before note_seq builds a table of every tick and an object of every event. Where the file is formally wrong but
its music is whole, the scan notes the defect and how to mend it; where something else than MIDI stands among the
events, it raises.

Sources: Standard MIDI Files 1.0 (MMA RP-001); for what note_seq stumbles over, mido 1.3 (midifiles, meta); for what
counts as a note, pretty_midi 0.2 (PrettyMIDI._load_instruments).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from gansynth.errors import MidiError

LONGEST_GAP = 0x0FFFFFFF
"""The longest delta time and event length that MIDI files can write, in four bytes."""
LONGEST_TEXT = 1024
"""Bytes that are kept of a name."""
LONGEST_EVENT = 1_000_000
"""mido reads no longer one."""
MOST_TRACKS = 0x7FFF
"""mido reads the number of tracks as a signed short."""
TEMPOS = range(1_000, 15_000_001)
"""Microseconds of a quarter note that a tempo may have: 60,000 to 4 of them a minute."""
DEFAULT_TEMPO = 500_000
SMPTE = {24: (24, 1_000_000), 25: (25, 1_000_000), 29: (30, 1_001_000), 30: (30, 1_000_000)}
"""Frames and the microseconds that they take; 29 stands for 29.97 a second."""

Salvage = Literal["off", "safe", "aggressive"]

_END = b"\x00\xff\x2f\x00"
_NOTHING = b"\xff\x7f\x00"
"""An event that means nothing, in the place of one that is left out: the gap before it stays."""
_SYSTEM_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
"""Data bytes of the system messages that mido knows, though they have no place in a file."""
_KNOWN_METAS = {*range(0x08), 0x09, 0x20, 0x21, 0x2F, 0x51, 0x54, 0x58, 0x59, 0x7F}
_END_OF_TRACK, _TEMPO = 0x2F, 0x51
_FEW = 100
"""One event in this number may have a bad data byte in a file that is sound otherwise."""
_RELEASE_VELOCITY = 64
"""Release velocity of a note-off that has none, as General MIDI recommends."""
TRACK_NAME, DEVICE_NAME, PORT = 0x03, 0x09, 0x21
"""Types of the meta events that a track keeps."""


@dataclass
class Track:
    """What a walk over the events of one track found.

    Attributes:
        start, stop: its bytes, from the first event to the end of the last whole one.
        tick: of the last event.
        ended: whether the last event is an end of track.
        first_end: where the first end of track ends, None without one.
        tempos: (tick, microseconds of a quarter note).
        tempo_events: edits that leave them out.
        ticks: of the events in `words`.
        words: every channel message and system message, in order: status byte << 16 | first data byte << 8 | second.
        messages: first and last byte + 1 of the body of each system exclusive message (status 0xF0 or 0xF7 in `words`).
        name: its first name that says anything, as it is written.
        ports: (number of events before it, type, body) of each port and device name.
        edits: (from, to, what to write instead), in order; where there are any, the track cannot stay as it is.
        repairs: names of the defects.
        bad_events: number of channel events with a data byte above 127 that were left out or corrected.
        truncated: whether the track's end is missing, so that what sounds there is to be ended.
        error: why the walk stopped before its end, if it met what is no MIDI.
    """

    start: int
    stop: int
    tick: int = 0
    ended: bool = False
    first_end: int | None = None
    tempos: list[tuple[int, int]] = field(default_factory=list)
    tempo_events: list[tuple[int, int, bytes]] = field(default_factory=list)
    ticks: array[int] = field(default_factory=lambda: array("q"))
    words: array[int] = field(default_factory=lambda: array("I"))
    messages: list[tuple[int, int]] = field(default_factory=list)
    name: bytes = b""
    ports: list[tuple[int, int, bytes]] = field(default_factory=list)
    edits: list[tuple[int, int, bytes]] = field(default_factory=list)
    repairs: set[str] = field(default_factory=set)
    bad_events: int = 0
    truncated: bool = False
    error: MidiError | None = None

    def keep_name(self, kind: int, body: bytes) -> None:
        """Keeps what names the track or its port."""
        if kind != TRACK_NAME:
            self.ports.append((len(self.words), kind, body[:LONGEST_TEXT]))
        elif not self.name:
            self.name = body[:LONGEST_TEXT] if body.strip() else b""

    def cut(self) -> Track:
        """The track with all that sounds ended at its last event, because its end is missing."""
        self.repairs.add("track_truncated")
        self.truncated = True
        return self

    @property
    def whole(self) -> bool:
        """Whether it ends in an end of track, and nowhere before."""
        return self.ended and self.first_end == self.stop and not self.truncated

    @property
    def strikes(self) -> int:
        """How many note-ons there are."""
        words = np.frombuffer(self.words, np.uint32)
        return int(np.count_nonzero((words >> 20 == 9) & (words & 127 > 0)))

    @cached_property
    def notes(self) -> Pairing:
        """Its notes as pretty_midi pairs them."""
        return Pairing.of(self)

    @property
    def clean(self) -> bool:
        """Whether note_seq reads it right as it is."""
        return self.stop > self.start and not self.edits and not self.truncated

    def events(self, data: bytes) -> Iterator[bytes]:
        """Its bytes, in pieces, as they should be."""
        pos = self.start
        for start, stop, instead in self.edits:
            yield data[pos:start]
            yield instead
            pos = stop
        yield data[pos : self.stop]
        for key in self.notes.closed:
            yield bytes([0, 0x80 | key >> 7, key & 127, 0])
        if not self.ended:
            yield _END


@dataclass
class Pairing:
    """The notes of one track as pretty_midi pairs them: a note-off ends all that sounds, but for notes of its own tick.

    Attributes:
        starts, ends: ticks of all notes.
        closed: channels and pitches (channel * 128 + pitch) of the notes that end because the track breaks off.
    """

    starts: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    closed: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, track: Track) -> Pairing:
        """Pairs the events of a track."""
        notes = cls()
        sounding: dict[int, list[int]] = {}
        for tick, word in zip(track.ticks, track.words, strict=True):
            if word < 0xA00000:
                key = word >> 9 & 0x780 | word >> 8 & 0x7F
                if word >= 0x900000 and word & 0x7F:
                    if key in sounding:
                        sounding[key].append(tick)
                    else:
                        sounding[key] = [tick]
                elif key in sounding:
                    notes._end(sounding, key, tick)
        if track.truncated:
            notes.closed = sorted(key for key, starts in sounding.items() if starts[0] < track.tick)
            for key in notes.closed:
                notes._end(sounding, key, track.tick)
        return notes

    def _end(self, sounding: dict[int, list[int]], key: int, tick: int) -> None:
        started = sounding.pop(key)
        for start in started:
            if start != tick:
                self.starts.append(start)
                self.ends.append(tick)
        if len(started) > 1:
            same = [start for start in started if start == tick]
            if 0 < len(same) < len(started):
                sounding[key] = same


@dataclass(frozen=True)
class Scan:
    """A whole file, scanned.

    Attributes:
        data: its bytes.
        kind: format 0, 1 or 2.
        division: ticks of a quarter note.
        tracks: in order.
        tempos: (tick, microseconds of a quarter note), all that count, in order, the first at tick 0.
        conductor: whether they are to be written as a track of their own, in front, and nowhere else.
        repairs: names of the defects, sorted.
        clean: whether note_seq reads the bytes right as they are.
    """

    data: bytes
    kind: int
    division: int
    tracks: tuple[Track, ...]
    tempos: tuple[tuple[int, int], ...]
    conductor: bool
    repairs: tuple[str, ...]
    clean: bool

    @property
    def ticks(self) -> int:
        """Tick of the last event of any kind."""
        return max((track.tick for track in self.tracks), default=0)

    @property
    def notes(self) -> int:
        """How many notes there are; note_seq finds the same number."""
        return sum(len(track.notes.starts) for track in self.tracks)

    @property
    def seconds(self) -> float:
        """When the last note ends."""
        return self.time(max((max(track.notes.ends, default=0) for track in self.tracks), default=0))

    @property
    def polyphony(self) -> int:
        """The most notes that sound at once."""
        starts = np.sort(np.concatenate([np.array(track.notes.starts, np.int64) for track in self.tracks]))
        ends = np.sort(np.concatenate([np.array(track.notes.ends, np.int64) for track in self.tracks]))
        ended = np.searchsorted(ends, starts, side="right")
        return int((np.arange(1, len(starts) + 1) - ended).max(initial=0))

    @property
    def copies(self) -> int:
        """How many controllers and bends note_seq may keep: those of a track's channel, for each program there.

        Source: pretty_midi 0.2 (PrettyMIDI._load_instruments): what comes before a channel's first note is shared by
        all its programs, and note_seq copies it for each.
        """
        counts = [len(track.words) for track in self.tracks]
        words = np.concatenate([np.frombuffer(track.words, np.uint32) for track in self.tracks])
        channel = np.repeat(np.arange(len(counts)), counts) << 4 | (words >> 16 & 15)
        kind, size = words >> 20, len(counts) << 4
        moves = np.bincount(channel[(kind == 0xB) | (kind == 0xE)], minlength=size)
        notes = np.bincount(channel[kind == 9], minlength=size)
        programs = np.unique((channel << 7 | (words >> 8 & 127))[kind == 0xC]) >> 7
        return int((moves * np.minimum(np.bincount(programs, minlength=size) + 1, notes)).sum())

    @property
    def smpte(self) -> bool:
        """Whether time is counted in SMPTE frames, so that tempos mean nothing."""
        return "smpte_division" in self.repairs

    def time(self, tick: int) -> float:
        """Seconds from the beginning to a tick."""
        total = 0
        for (start, tempo), (end, _) in zip(self.tempos, [*self.tempos[1:], (tick, 0)], strict=True):
            total += max(0, min(end, tick) - start) * tempo
        return total / (1e6 * self.division)

    def midi(self) -> bytes:
        """The file without its defects: every event that is kept, byte for byte, in correct chunks."""
        tracks = [b"".join(track.events(self.data)) for track in self.tracks]
        if self.conductor:
            tracks.insert(0, _conductor(self.tempos))
        kind = self.kind if self.kind == 2 or len(tracks) == 1 else 1
        header = struct.pack(">4sIHHH", b"MThd", 6, kind, len(tracks), self.division)
        return header + b"".join(struct.pack(">4sI", b"MTrk", len(track)) + track for track in tracks)


def scan(data: bytes, salvage: Salvage = "safe") -> Scan:
    """Reads the structure of a MIDI file that begins with its header.

    Args:
        data: the file.
        salvage: off: a data byte above 127 is an error. safe: a few events that play nothing may have one, if all
            tracks parse to their stated length and end properly, and a status byte follows each; such an event is left
            out, and a release velocity read as 64. aggressive: what is no MIDI inside a track is left out.

    Raises:
        MidiError: the bytes are no MIDI file, or not wholly; the code says what kind of damage it is.
    """
    reader = _Reader(data, salvage)
    length, kind, declared, division = reader.header()
    first = 14 if length <= 6 else 8 + length
    try:
        tracks = reader.tracks(first, declared)
    except MidiError as error:
        if salvage != "safe" or error.code != "midi-data-byte":
            raise
        reader = _Reader(data, "safe", harmless=True)
        try:
            tracks = reader.tracks(first, declared)
        except MidiError:
            raise error from None
        events, bad = (sum(counts) for counts in zip(*((len(t.words), t.bad_events) for t in tracks), strict=True))
        framed = not reader.repairs and len(tracks) == declared and all(track.whole for track in tracks)
        if not framed or bad > max(1, events // _FEW):
            raise
    if not tracks:
        raise MidiError("it holds no track: it ends after its header", code="midi-truncated")
    if len(tracks) >= MOST_TRACKS:
        raise MidiError(f"{len(tracks)} tracks are more than can be read", code="midi-too-many-tracks")
    repairs = reader.repairs.union(*(track.repairs for track in tracks))
    if kind > 2:
        repairs.add("format_unknown")
    if len(tracks) != declared:
        repairs.add("track_count_wrong")

    tempos, conductor = tempo_map(tracks[0].tempos), False
    if division >> 15:
        frames, microseconds = SMPTE[256 - (division >> 8)]
        division, tempos, conductor = frames * (division & 0xFF), ((0, microseconds),), True
        repairs.add("smpte_division")
    elif kind != 2:
        everywhere = sorted((tempo for track in tracks for tempo in track.tempos), key=lambda tempo: tempo[0])
        conductor = tempo_map(everywhere) != tempos
        if conductor:
            tempos = tempo_map(everywhere)
            repairs.add("tempo_moved")
    if conductor:
        for track in tracks:
            track.edits = sorted(track.edits + track.tempo_events)
    clean = not reader.broken and len(tracks) == declared and all(track.clean for track in tracks)
    return Scan(
        data=data,
        kind=kind if kind <= 2 else 1,
        division=division,
        tracks=tuple(tracks),
        tempos=tempos,
        conductor=conductor,
        repairs=tuple(sorted(repairs)),
        clean=clean and not conductor,
    )


class _Reader:
    """Finds the tracks of a file and walks over their events.

    Attributes:
        repairs: names of the defects between the tracks.
        broken: whether any of them keeps note_seq from reading the file right.
    """

    def __init__(self, data: bytes, salvage: Salvage, harmless: bool = False) -> None:
        self.repairs: set[str] = set()
        self.broken = False
        self._data, self._aggressive = data, salvage == "aggressive"
        self._harmless = harmless or self._aggressive  # whether bad data bytes that affect no note are overlooked
        self._budget = 10 * len(data) + 100_000  # bytes to walk over, those that are tried in several ways again

    def header(self) -> tuple[int, int, int, int]:
        """Length, format, number of tracks and division."""
        data = self._data
        if data[:4] != b"MThd":
            raise MidiError("MThd not found: it is not a MIDI file", code="midi-not-midi")
        if len(data) < 14:
            raise MidiError("it ends inside its header", code="midi-truncated")
        length, kind, tracks, division = struct.unpack(">IHHH", data[4:14])
        if length < 6 or (length > 6 and not self._is_chunk(8 + length)):
            self._mend("header_length_wrong")
            length = 6
        smpte = division >> 15
        if division == 0 or (smpte and (256 - (division >> 8) not in SMPTE or not division & 0xFF)):
            raise MidiError(
                f"its header gives {division:#06x} as unit of time, which means nothing", code="midi-bad-division"
            )
        return length, kind, tracks, division

    def tracks(self, start: int, declared: int) -> list[Track]:
        """All tracks from byte `start` on; whatever else is between them is skipped."""
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
                    break  # behind the tracks that the header counts: note_seq does not look there either
                if skipped:
                    self._mend(skipped)
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

    def _track(self, start: int, length: int) -> tuple[Track, int]:
        """One track, and where the next chunk is; a length that is wrong is not believed."""
        data, declared = self._data, start + length
        track = self._walk(start, min(declared, len(data)))
        followed = declared == len(data) or self._is_chunk(declared)
        if track.error is None and track.stop == declared:
            if not track.ended and not followed:
                longer = self._walk(start, self._next_track(declared), to_first_end=True)
                if longer.ended:
                    self._mend("track_length_wrong")
                    return longer, longer.stop
            if not track.ended:
                track.repairs.add("end_of_track_missing")
            return track, declared
        if track.ended:
            self._mend("track_length_wrong")
            return track, track.stop
        if track.first_end is not None:
            self._mend("trailing_bytes_ignored")
            track = self._walk(start, track.first_end)
            return track, declared if followed else track.stop
        inside = data.find(b"MTrk", start, declared)
        if inside >= 0:
            shorter = self._walk(start, inside)
            if shorter.error is None:
                return shorter.cut(), inside
        if track.error is not None and not (self._aggressive and track.error.code == "midi-bad-event"):
            raise track.error
        if declared < len(data):
            longer = self._walk(start, self._next_track(declared), to_first_end=True)
            if longer.ended:
                self._mend("track_length_wrong")
                return longer, longer.stop
        return track.cut(), declared if followed else len(data) if declared > len(data) else track.stop

    def _mend(self, defect: str) -> None:
        self.repairs.add(defect)
        self.broken = True

    def _is_chunk(self, at: int) -> bool:
        """Whether a chunk seems to begin at a byte: a track, or four printable letters and a length that fits."""
        head = self._data[at : at + 8]
        if len(head) < 8:
            return False
        fits = at + 8 + int.from_bytes(head[4:], "big") <= len(self._data)
        return head[:4] == b"MTrk" or (fits and all(0x20 <= letter < 0x7F for letter in head[:4]))

    def _next_track(self, start: int) -> int:
        at = self._data.find(b"MTrk", start)
        return at if at >= 0 else len(self._data)

    def _walk(self, start: int, end: int, to_first_end: bool = False) -> Track:
        """Walks over events up to byte `end` (no more than the file has), or as far as there are whole ones.

        It stops early behind an end of track that another track or the end of the file follows, or behind the first
        one at all if told so.
        """
        data, aggressive, harmless = self._data, self._aggressive, self._harmless
        track = Track(start, start)
        edits, ticks, words = track.edits, track.ticks, track.words
        mark = pos = start
        tick = status = 0
        doubtful = False  # whether the last event had a data byte above 127: a status byte must follow
        stale = False  # whether mido has forgotten the running status, or would take it for another
        try:
            while pos < end:
                mark = pos
                delta = data[pos]
                pos += 1
                if delta > 127:
                    if data[pos] < 128:
                        delta, pos = (delta & 127) << 7 | data[pos], pos + 1
                    else:
                        delta, pos = _number(data, pos - 1)
                now = tick + delta
                byte = data[pos]
                if byte < 0xF0:
                    event = pos
                    if byte > 127:
                        explicit, pos = byte, pos + 1
                    elif status:
                        explicit = 0
                        if doubtful and not aggressive:
                            raise _garbage(event, "a data byte behind an event with one above 127", "midi-data-byte")
                    elif pos >= end:
                        break
                    elif aggressive:
                        edits.append((pos, pos + 1, _NOTHING))
                        track.repairs.add("bad_event_ignored")
                        pos += 1
                        tick = now
                        continue
                    else:
                        raise _garbage(event, f"a data byte ({byte}) where an event should begin")
                    kind = explicit or status
                    first = data[pos]
                    if 0xC0 <= kind < 0xE0:
                        second = 0
                        pos += 1
                    else:
                        second = data[pos + 1]
                        pos += 2
                    if pos > end:
                        break
                    bad = first > 127 or second > 127
                    if bad:
                        plays_on = kind >= 0xA0 or (kind < 0x90 and first < 128 and explicit)
                        if not (harmless if plays_on else aggressive):
                            what = f"a data byte above 127 ({max(first, second)})"
                            raise _garbage(event, what, "midi-data-byte")
                        track.repairs.add("data_byte_ignored")
                        track.bad_events += 1
                    tick, doubtful = now, bad
                    if first > 127 or (bad and kind >= 0xA0):  # behind a status byte, for it would be one itself
                        edits.append((event, pos, _NOTHING))
                        status, stale = kind, True
                        continue
                    if explicit:
                        status, stale = explicit, False
                    elif stale:
                        edits.append((event, event, bytes([status])))
                        track.repairs.add("running_status_restored")
                        stale = False
                    if bad:
                        second = _RELEASE_VELOCITY if kind < 0x90 else 127
                        edits.append((pos - 1, pos, bytes([second])))
                    ticks.append(now)
                    words.append(kind << 16 | first << 8 | second)
                    continue
                event, doubtful = pos, False
                if byte == 0xFF:
                    kind = data[pos + 1]
                    length, pos = _number(data, pos + 2)
                    body, pos = pos, pos + length
                    if pos > end:
                        break
                    tick = now
                    if kind == _END_OF_TRACK:
                        if track.first_end is None:
                            track.first_end = pos
                        over = pos == len(data) or data[pos : pos + 4] == b"MTrk"
                        if pos == end or over or to_first_end:
                            track.ended = True
                            break
                        continue
                    defect = _meta_defect(kind, data[body : body + min(5, length)], length, delta)
                    if kind == _TEMPO and not defect:
                        track.tempos.append((now, _tempo(data[body : body + min(3, length)], event)))
                        track.tempo_events.append((event, pos, _NOTHING))
                    elif kind in (TRACK_NAME, DEVICE_NAME, PORT) and not defect:
                        track.keep_name(kind, data[body:pos])
                elif byte == 0xF0 or byte == 0xF7:
                    length, pos = _number(data, pos + 1)
                    body, pos = pos, pos + length
                    if pos > end:
                        break
                    stale, tick = True, now
                    ticks.append(now)
                    words.append(byte << 16)
                    track.messages.append((body, pos))
                    defect = _sysex_defect(data[body:pos])
                else:
                    pos += 1 + _SYSTEM_BYTES.get(byte, 0)
                    if pos > end:
                        break
                    stale, tick = True, now
                    ticks.append(now)
                    words.append(byte << 16)
                    defect = None
                    if byte not in _SYSTEM_BYTES or max(data[event + 1 : pos], default=0) > 127:
                        if not aggressive:
                            raise _garbage(event, f"a status byte ({byte:#04x}) that files do not have")
                        defect = "bad_event_ignored"
                if defect:
                    edits.append((event, pos, _NOTHING))
                    track.repairs.add(defect)
            else:
                mark = pos
            if track.ended:
                mark = pos
        except IndexError:
            pass  # the file ends inside an event
        except MidiError as error:
            track.error = error
        track.stop, track.tick = mark, tick
        while edits and edits[-1][0] >= mark:
            edits.pop()
        self._budget -= pos - start
        if self._budget < 0:
            raise MidiError("its tracks claim each other's bytes", code="midi-bad-event")
        return track


def _garbage(at: int, what: str, code: str = "midi-bad-event") -> MidiError:
    return MidiError(
        f"byte {at} of the file is {what}: it is damaged; notes.salvage=aggressive plays the rest", code=code
    )


def _number(data: bytes, pos: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    number, byte, start = 0, 128, pos
    while byte > 127:
        byte = data[pos]
        pos += 1
        number = number << 7 | byte & 127
        if number > LONGEST_GAP:
            raise _garbage(start, "a number longer than MIDI can write")
    return number, pos


def _tempo(body: bytes, at: int) -> int:
    if len(body) < 3:
        raise MidiError(f"byte {at} of the file is a tempo that is cut short", code="midi-bad-tempo")
    tempo = int.from_bytes(body, "big")
    if tempo not in TEMPOS:
        speed = f"{6e7 / tempo:,.3g} quarter notes a minute" if tempo else "0"
        raise MidiError(f"byte {at} of the file is a tempo of {speed}, which cannot be meant", code="midi-bad-tempo")
    return tempo


def _meta_defect(kind: int, body: bytes, length: int, delta: int) -> str | None:
    """What keeps mido or note_seq from reading a meta event, or makes them misread it.

    Args:
        kind: its type.
        body: its first five bytes.
        length: of the whole body.
        delta: ticks since the event before.
    """
    if length > LONGEST_EVENT:
        return "meta_event_ignored"
    if kind == 0x59:
        good = length >= 2 and (body[0] <= 7 or body[0] >= 249) and body[1] <= 1
        return None if good else "key_signature_ignored"
    if kind == 0x58:
        good = length >= 4 and body[0] > 0 and body[1] < 31
        return None if good else "time_signature_ignored"
    if kind == 0x54:
        good = length >= 5 and body[0] >> 5 < 4 and body[1] < 60 and body[2] < 60 and body[4] < 100
        return None if good else "smpte_offset_ignored"
    if (kind == 0x00 and length == 1) or (kind == 0x20 and not length):
        return "meta_event_ignored"
    # mido forgets the gap before a type that it does not know: what follows in the track would come too early.
    return "unknown_meta_event_ignored" if delta and kind not in _KNOWN_METAS else None


def _sysex_defect(body: bytes) -> str | None:
    inner = body[body[:1] == b"\xf0" :]
    inner = inner[: len(inner) - (inner[-1:] == b"\xf7")]
    return None if inner.isascii() and len(body) <= LONGEST_EVENT else "sysex_ignored"


def tempo_map(tempos: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Tempo changes by tick, as they come into force: the last of one tick, and none that changes nothing."""
    last = dict([(0, DEFAULT_TEMPO), *tempos])
    changes = sorted(last.items())
    before = [None, *(tempo for _, tempo in changes)]
    return tuple(change for change, old in zip(changes, before, strict=False) if change[1] != old)


def _conductor(tempos: Iterable[tuple[int, int]]) -> bytes:
    """A track of tempo changes alone."""
    track, before = bytearray(), 0
    for tick, tempo in tempos:
        track += _variable(tick - before) + b"\xff\x51\x03" + tempo.to_bytes(3, "big")
        before = tick
    return bytes(track) + _END


def _variable(number: int) -> bytes:
    """A number as MIDI files write it: seven bits a byte, the highest first."""
    digits = [number & 127]
    while number := number >> 7:
        digits.append(number & 127 | 128)
    return bytes(reversed(digits))
