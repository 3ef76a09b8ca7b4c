"""Structure of a Standard MIDI File that may be damaged: its contents, its defects, and a repaired copy.

One pass over the bytes counts ticks and pairs notes, before note_seq builds a table of every tick and an object of
every event. Where the file is formally wrong but its music is intact, the scan records the defect and its repair;
where a track contains bytes that are not MIDI, it raises.

Sources: Standard MIDI Files 1.0 (MMA RP-001); for what note_seq cannot read, mido 1.3 (midifiles, meta); for what
counts as a note, pretty_midi 0.2 (PrettyMIDI._load_instruments).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from gansynth.errors import MidiError

LONGEST_GAP = 0x0FFFFFFF
"""Highest delta time and event length that MIDI files can encode, in four bytes."""
LONGEST_EVENT = 1_000_000
"""Longest event that mido reads, in bytes."""
MOST_TRACKS = 0x7FFF
"""Lowest number of tracks that is refused: mido reads it as a signed short."""
TEMPOS = range(1_000, 15_000_001)
"""Valid tempos in microseconds per quarter note: 60,000 to 4 quarter notes a minute."""
DEFAULT_TEMPO = 500_000
SMPTE = {24: (24, 1_000_000), 25: (25, 1_000_000), 29: (30, 1_001_000), 30: (30, 1_000_000)}
"""Frames, and the microseconds that they take, by the header's frame rate; 29 stands for 29.97 a second."""

_END = b"\x00\xff\x2f\x00"
_NOTHING = b"\xff\x7f\x00"
"""An event without effect that replaces one that is left out, so that the delta time before it stays."""
_SYSTEM_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
"""Number of data bytes of the system messages that mido reads, although files must not contain them."""
_KNOWN_METAS = {*range(0x08), 0x09, 0x20, 0x21, 0x2F, 0x51, 0x54, 0x58, 0x59, 0x7F}
_END_OF_TRACK, _TEMPO = 0x2F, 0x51


@dataclass
class Track:
    """Result of scanning the events of one track.

    Attributes:
        start, stop: byte range in the file, from the first event to the end of the last complete one.
        tick: tick of the last event.
        ended: True if the last event is an end-of-track event.
        first_end: position after the first end-of-track event; None without one.
        tempos: (tick, microseconds per quarter note).
        tempo_events: edits that remove the tempo events.
        note_starts, note_ends: ticks of all notes that have ended.
        sounding: start ticks of the notes that have not, by channel and pitch (channel * 128 + pitch).
        edits: (start, stop, replacement), in order; where there are any, the track must be rewritten.
        repairs: names of the defects.
        closed: keys of the notes that were ended because the end of the track is missing; None if it is not missing.
        error: error that stopped the scan, if it met bytes that are not MIDI.
    """

    start: int
    stop: int
    tick: int = 0
    ended: bool = False
    first_end: int | None = None
    tempos: list[tuple[int, int]] = field(default_factory=list)
    tempo_events: list[tuple[int, int, bytes]] = field(default_factory=list)
    note_starts: array[int] = field(default_factory=lambda: array("q"))
    note_ends: array[int] = field(default_factory=lambda: array("q"))
    sounding: dict[int, list[int]] = field(default_factory=dict)
    edits: list[tuple[int, int, bytes]] = field(default_factory=list)
    repairs: set[str] = field(default_factory=set)
    closed: list[int] | None = None
    error: MidiError | None = None

    def end_note(self, key: int, tick: int) -> None:
        """Ends all notes of a channel and pitch, as pretty_midi does, except those that began at the same tick."""
        started = self.sounding.pop(key, ())
        for start in started:
            if start != tick:
                self.note_starts.append(start)
                self.note_ends.append(tick)
        if len(started) > 1:
            same = [start for start in started if start == tick]
            if 0 < len(same) < len(started):
                self.sounding[key] = same

    def cut(self) -> Track:
        """Ends all sounding notes at the last event, because the end of the track is missing; returns the track."""
        self.repairs.add("track_truncated")
        self.closed = sorted(key for key, starts in self.sounding.items() if starts[0] < self.tick)
        for key in self.closed:
            self.end_note(key, self.tick)
        return self

    @property
    def clean(self) -> bool:
        """Returns whether note_seq reads the track correctly as it is."""
        return self.stop > self.start and not self.edits and self.closed is None

    def events(self, data: bytes) -> Iterator[bytes]:
        """Yields the track's bytes with all edits applied, in pieces."""
        pos = self.start
        for start, stop, instead in self.edits:
            yield data[pos:start]
            yield instead
            pos = stop
        yield data[pos : self.stop]
        for key in self.closed or ():
            yield bytes([0, 0x80 | key >> 7, key & 127, 0])
        if not self.ended:
            yield _END


@dataclass(frozen=True)
class Scan:
    """Result of scanning a whole file.

    Attributes:
        data: the file's bytes.
        kind: format 0, 1 or 2.
        division: ticks per quarter note.
        tracks: the tracks, in order.
        tempos: (tick, microseconds per quarter note), all that take effect, in order, the first at tick 0.
        conductor: True if the tempos must be moved to a track of their own in front.
        repairs: names of the defects, sorted.
        clean: True if note_seq reads the bytes correctly as they are.
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
        """Returns the tick of the last event of any kind."""
        return max((track.tick for track in self.tracks), default=0)

    @property
    def notes(self) -> int:
        """Returns the number of notes; note_seq finds the same number."""
        return sum(len(track.note_starts) for track in self.tracks)

    @property
    def seconds(self) -> float:
        """Returns the time in seconds at which the last note ends."""
        return self.time(max((max(track.note_ends, default=0) for track in self.tracks), default=0))

    @property
    def polyphony(self) -> int:
        """Returns the highest number of notes that sound at once."""
        starts = np.sort(np.concatenate([np.array(track.note_starts, np.int64) for track in self.tracks]))
        ends = np.sort(np.concatenate([np.array(track.note_ends, np.int64) for track in self.tracks]))
        ended = np.searchsorted(ends, starts, side="right")
        return int((np.arange(1, len(starts) + 1) - ended).max(initial=0))

    def time(self, tick: int) -> float:
        """Converts a tick to seconds from the beginning."""
        total = 0
        for (start, tempo), (end, _) in zip(self.tempos, [*self.tempos[1:], (tick, 0)], strict=True):
            total += max(0, min(end, tick) - start) * tempo
        return total / (1e6 * self.division)

    def midi(self) -> bytes:
        """Returns the repaired file: every event that is kept, byte for byte, in correct chunks."""
        tracks = [b"".join(track.events(self.data)) for track in self.tracks]
        if self.conductor:
            tracks.insert(0, _conductor(self.tempos))
        kind = self.kind if self.kind == 2 or len(tracks) == 1 else 1
        header = struct.pack(">4sIHHH", b"MThd", 6, kind, len(tracks), self.division)
        return header + b"".join(struct.pack(">4sI", b"MTrk", len(track)) + track for track in tracks)


def scan(data: bytes, aggressive: bool = False) -> Scan:
    """Scans the structure of a MIDI file.

    Args:
        data: the file's bytes, beginning with its header.
        aggressive: leave out bytes inside a track that are not MIDI, instead of raising.

    Raises:
        MidiError: the bytes are not a MIDI file, or are damaged; the code names the kind of damage.
    """
    reader = _Reader(data, aggressive)
    length, kind, declared, division = reader.header()
    tracks = reader.tracks(14 if length <= 6 else 8 + length, declared)
    if not tracks:
        raise MidiError("it holds no track: it ends after its header", code="midi-truncated")
    if len(tracks) >= MOST_TRACKS:
        raise MidiError(f"{len(tracks)} tracks are more than can be read", code="midi-too-many-tracks")
    repairs = reader.repairs.union(*(track.repairs for track in tracks))
    if kind > 2:
        repairs.add("format_unknown")
    if len(tracks) != declared:
        repairs.add("track_count_wrong")

    tempos, conductor = _tempo_map(tracks[0].tempos), False
    if division >> 15:
        frames, microseconds = SMPTE[256 - (division >> 8)]
        division, tempos, conductor = frames * (division & 0xFF), ((0, microseconds),), True
        repairs.add("smpte_division")
    elif kind != 2:
        everywhere = sorted((tempo for track in tracks for tempo in track.tempos), key=lambda tempo: tempo[0])
        conductor = _tempo_map(everywhere) != tempos
        if conductor:
            tempos = _tempo_map(everywhere)
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
    """Scanner that finds the tracks of a file and reads their events.

    Attributes:
        repairs: names of the defects outside the tracks.
        broken: True if any of them keeps note_seq from reading the file correctly.
    """

    def __init__(self, data: bytes, aggressive: bool) -> None:
        self.repairs: set[str] = set()
        self.broken = False
        self._data, self._aggressive = data, aggressive
        self._budget = 10 * len(data) + 100_000  # bytes to walk over, those that are tried in several ways again

    def header(self) -> tuple[int, int, int, int]:
        """Reads the header: its length in bytes, format, number of tracks and division."""
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
        """Scans all tracks from byte `start` on; anything else between them is skipped."""
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
        """Scans one track and finds the position of the next chunk, without relying on the declared length."""
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
        """Returns whether byte `at` seems to start a chunk: a track, or four printable letters and a valid length."""
        head = self._data[at : at + 8]
        if len(head) < 8:
            return False
        fits = at + 8 + int.from_bytes(head[4:], "big") <= len(self._data)
        return head[:4] == b"MTrk" or (fits and all(0x20 <= letter < 0x7F for letter in head[:4]))

    def _next_track(self, start: int) -> int:
        at = self._data.find(b"MTrk", start)
        return at if at >= 0 else len(self._data)

    def _walk(self, start: int, end: int, to_first_end: bool = False) -> Track:
        """Scans events up to byte `end` (at most the file's length), or as far as they are complete.

        Stops early after an end-of-track event that another track or the end of the file follows, or, with
        `to_first_end`, after the first one.
        """
        data, aggressive = self._data, self._aggressive
        track = Track(start, start)
        sounding, edits, end_note = track.sounding, track.edits, track.end_note
        mark = pos = start
        tick = status = 0
        stale = False  # whether mido has forgotten the running status, or would take it for another
        try:
            while pos < end:
                mark = pos
                delta = data[pos]
                pos += 1
                if delta > 127:
                    delta, pos = _number(data, pos - 1)
                now = tick + delta
                byte = data[pos]
                if byte < 0xF0:
                    event = pos
                    if byte > 127:
                        explicit, pos = byte, pos + 1
                    elif status:
                        explicit = 0
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
                    if first > 127 or second > 127:
                        if not aggressive:
                            what = f"a data byte above 127 ({max(first, second)})"
                            raise _garbage(event, what, "midi-data-byte")
                        track.repairs.add("data_byte_ignored")
                    tick = now
                    if first > 127:  # behind a status byte, for it would be one itself
                        edits.append((event, pos, _NOTHING))
                        status, stale = kind, True
                        continue
                    if explicit:
                        status, stale = explicit, False
                    elif stale:
                        edits.append((event, event, bytes([status])))
                        track.repairs.add("running_status_restored")
                        stale = False
                    if second > 127:
                        edits.append((pos - 1, pos, b"\x7f"))
                        second = 127
                    if kind < 0xA0:
                        key = (kind & 15) << 7 | first
                        if kind >= 0x90 and second:
                            if key in sounding:
                                sounding[key].append(now)
                            else:
                                sounding[key] = [now]
                        elif key in sounding:
                            end_note(key, now)
                    continue
                event = pos
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
                elif byte == 0xF0 or byte == 0xF7:
                    length, pos = _number(data, pos + 1)
                    body, pos = pos, pos + length
                    if pos > end:
                        break
                    stale, tick = True, now
                    defect = _sysex_defect(data[body:pos])
                else:
                    pos += 1 + _SYSTEM_BYTES.get(byte, 0)
                    if pos > end:
                        break
                    stale, tick = True, now
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
    """Reads a variable-length number; returns it and the position after it."""
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
    """Names the defect for which mido or note_seq fails to read a meta event or misreads it; None if there is none.

    Args:
        kind: type of the meta event.
        body: first five bytes of its data.
        length: length of the data in bytes.
        delta: ticks since the previous event.
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


def _tempo_map(tempos: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Sorts tempo changes by tick; keeps the last one of each tick and drops those that change nothing."""
    last = dict([(0, DEFAULT_TEMPO), *tempos])
    changes = sorted(last.items())
    before = [None, *(tempo for _, tempo in changes)]
    return tuple(change for change, old in zip(changes, before, strict=False) if change[1] != old)


def _conductor(tempos: Iterable[tuple[int, int]]) -> bytes:
    """Encodes a track that contains only tempo changes."""
    track, before = bytearray(), 0
    for tick, tempo in tempos:
        track += _variable(tick - before) + b"\xff\x51\x03" + tempo.to_bytes(3, "big")
        before = tick
    return bytes(track) + _END


def _variable(number: int) -> bytes:
    """Encodes a variable-length number: seven bits a byte, the highest first."""
    digits = [number & 127]
    while number := number >> 7:
        digits.append(number & 127 | 128)
    return bytes(reversed(digits))
