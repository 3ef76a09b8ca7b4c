"""The events of one track of a Standard MIDI File: decoded in one pass, with repairs for defects.

Sources: Standard MIDI Files 1.0 (MMA RP-001); for the events that note_seq cannot read, mido 1.3 (midifiles, meta); for
the pairing of notes, pretty_midi 0.2 (PrettyMIDI._load_instruments).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gansynth.errors import MidiError

MAX_VARIABLE_LENGTH = 0x0FFFFFFF
"""Largest delta time or event length: the most that a number of variable length holds in four bytes."""
MAX_TEXT_BYTES = 1024
"""Bytes of a name or a text that are kept."""
MAX_TEXTS = 32
"""Number of texts of a track that are kept."""
MAX_EVENT_BYTES = 1_000_000
"""Length of the longest event that mido reads."""
TEMPOS = range(1_000, 15_000_001)
"""Plausible tempos in microseconds per quarter note: 60,000 to 4 quarter notes a minute."""
TEXT, COPYRIGHT, TRACK_NAME, LYRIC, DEVICE_NAME, PORT = 0x01, 0x02, 0x03, 0x05, 0x09, 0x21
"""Types of the meta events that a track keeps."""
END_EVENT = b"\x00\xff\x2f\x00"
"""An end-of-track event without delta time."""

_EMPTY_EVENT = b"\xff\x7f\x00"
"""Meta event without meaning that replaces an event left out, so that its delta time stays."""
_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0, 0xF8: 0, 0xFA: 0, 0xFB: 0, 0xFC: 0, 0xFE: 0}
"""Number of data bytes of the system messages that mido reads, though files should not contain them."""
_RELEASE_VELOCITY = 64
"""Release velocity of a note-off without one, as General MIDI recommends."""
_KNOWN_META_TYPES = {*range(0x08), 0x09, 0x20, 0x21, 0x2F, 0x51, 0x54, 0x58, 0x59, 0x7F}
_KEPT_META_TYPES = (TEXT, COPYRIGHT, TRACK_NAME, LYRIC, DEVICE_NAME, PORT)
_END_OF_TRACK, _TEMPO = 0x2F, 0x51


@dataclass
class Track:
    """The events of one track.

    Attributes:
        start, stop: bytes of the file, from the first event to the end of the last complete event.
        tick: of the last event.
        ended: whether the last event is an end-of-track event.
        first_end: byte behind the first end-of-track event; None without one.
        tempos: (tick, microseconds per quarter note).
        tempo_edits: edits that leave out the tempo events.
        ticks: of each message in `messages`.
        messages: all channel and system messages, in order: status byte << 16 | first data byte << 8 | second.
        sysex: first byte and last byte + 1 of the body of each system exclusive message (status 0xF0 or 0xF7).
        name: first name that is not blank, undecoded.
        texts: (meta type, body) of the first texts, copyright notices and lyrics, undecoded.
        ports: (number of events before it, meta type, body) of each port and device name.
        edits: (first byte, last byte + 1, replacement), in order, that repair the track for note_seq.
        repairs: names of the defects.
        bad_messages: number of channel messages with a data byte above 127, which were left out or corrected.
        truncated: whether the end of the track is missing, so that notes still sounding are ended there.
        error: what stopped the walk before the end of the track.
    """

    start: int
    stop: int
    tick: int = 0
    ended: bool = False
    first_end: int | None = None
    tempos: list[tuple[int, int]] = field(default_factory=list)
    tempo_edits: list[tuple[int, int, bytes]] = field(default_factory=list)
    ticks: array[int] = field(default_factory=lambda: array("q"))
    messages: array[int] = field(default_factory=lambda: array("I"))
    sysex: list[tuple[int, int]] = field(default_factory=list)
    name: bytes = b""
    texts: list[tuple[int, bytes]] = field(default_factory=list)
    ports: list[tuple[int, int, bytes]] = field(default_factory=list)
    edits: list[tuple[int, int, bytes]] = field(default_factory=list)
    repairs: set[str] = field(default_factory=set)
    bad_messages: int = 0
    truncated: bool = False
    error: MidiError | None = None

    def keep_text(self, meta_type: int, body: bytes) -> None:
        """Keeps the name of the track, its port or device name, or a text."""
        if meta_type in (TEXT, COPYRIGHT, LYRIC):
            if len(self.texts) < MAX_TEXTS:
                self.texts.append((meta_type, body[:MAX_TEXT_BYTES]))
        elif meta_type != TRACK_NAME:
            self.ports.append((len(self.messages), meta_type, body[:MAX_TEXT_BYTES]))
        elif not self.name:
            self.name = body[:MAX_TEXT_BYTES] if body.strip() else b""

    def truncate(self) -> Track:
        """Marks the track as truncated and returns it."""
        self.repairs.add("track_truncated")
        self.truncated = True
        return self

    @property
    def complete(self) -> bool:
        """Tells whether the track ends with an end-of-track event and has no other one."""
        return self.ended and self.first_end == self.stop and not self.truncated

    @property
    def note_on_count(self) -> int:
        """Returns the number of note-ons."""
        messages = np.frombuffer(self.messages, np.uint32)
        return int(np.count_nonzero((messages >> 20 == 9) & (messages & 127 > 0)))

    @cached_property
    def notes(self) -> TrackNotes:
        """Returns the notes as pretty_midi pairs them."""
        return TrackNotes.of(self)

    @property
    def clean(self) -> bool:
        """Tells whether note_seq reads the unchanged track correctly."""
        return self.stop > self.start and not self.edits and not self.truncated

    def repaired(self, data: bytes) -> Iterator[bytes]:
        """Yields the bytes of the repaired track, in pieces.

        Args:
            data: the file.
        """
        pos = self.start
        for start, stop, replacement in self.edits:
            yield data[pos:start]
            yield replacement
            pos = stop
        yield data[pos : self.stop]
        for key in self.notes.closed:
            yield bytes([0, 0x80 | key >> 7, key & 127, 0])
        if not self.ended:
            yield END_EVENT


@dataclass
class TrackNotes:
    """The notes of one track as pretty_midi pairs them: a note-off ends all notes of its pitch with an earlier tick.

    Attributes:
        starts, ends: ticks of all notes.
        closed: channels and pitches (channel * 128 + pitch) of the notes that are ended because the track is truncated.
    """

    starts: array[int] = field(default_factory=lambda: array("q"))
    ends: array[int] = field(default_factory=lambda: array("q"))
    closed: list[int] = field(default_factory=list)

    @classmethod
    def of(cls, track: Track) -> TrackNotes:
        """Pairs the note-ons and note-offs of a track."""
        notes = cls()
        sounding: dict[int, list[int]] = {}
        for tick, message in zip(track.ticks, track.messages, strict=True):
            if message < 0xA00000:
                key = message >> 9 & 0x780 | message >> 8 & 0x7F
                if message >= 0x900000 and message & 0x7F:
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


class Walk:
    """A walk over the events of a track.

    It ends with the last complete event before byte `end`, or behind an end-of-track event that is followed by another
    track or by the end of the file; with `to_first_end`, behind the first end-of-track event.

    Attributes:
        track: the events so far.
        pos: first byte behind the last complete event.
        claimed: first byte behind the last event by its declared length, which may reach beyond `end`.
        tick: of the last event.
        status: running status; 0 if there is none.
        cancelled: whether mido has dropped the running status, or would use another one.
        doubtful: whether the last message had a data byte above 127, so that a status byte must follow.
    """

    def __init__(self, data: bytes, start: int, end: int, aggressive: bool, tolerant: bool, to_first_end: bool) -> None:
        self.track = Track(start, start)
        self.pos = self.claimed = start
        self.tick, self.status, self.cancelled, self.doubtful = 0, 0, False, False
        self._data, self._end = data, end
        self._aggressive, self._tolerant, self._to_first_end = aggressive, tolerant, to_first_end

    def run(self) -> Track:
        """Decodes all events; an error is stored in the track."""
        track = self.track
        try:
            while self.pos < self._end and not track.ended:
                if not self.cancelled and not self.doubtful:
                    self._channel_messages()
                if self.pos < self._end and not self._event():
                    break
        except IndexError:
            pass  # the file ends inside an event
        except MidiError as error:
            track.error = error
        track.stop, track.tick = self.pos, self.tick
        self.claimed = max(self.claimed, self.pos)
        return track

    def _channel_messages(self) -> None:
        """Decodes valid channel messages up to the first other event; nearly all of the time is spent here."""
        data, end = self._data, self._end
        keep_tick, keep_message = self.track.ticks.append, self.track.messages.append
        start, tick, status = self.pos, self.tick, self.status
        try:
            while start < end:
                delta, pos = data[start], start + 1
                if delta > 127:
                    if data[pos] < 128:  # two bytes; faster than a call
                        delta, pos = (delta & 127) << 7 | data[pos], pos + 1
                    else:
                        delta, pos = _variable_length(data, start)
                byte = data[pos]
                if byte > 127:
                    if byte >= 0xF0:
                        return
                    status, pos = byte, pos + 1
                    byte = data[pos]
                elif not status:
                    return
                if 0xC0 <= status < 0xE0:
                    second, pos = 0, pos + 1
                else:
                    second, pos = data[pos + 1], pos + 2
                if byte > 127 or second > 127 or pos > end:
                    return
                tick += delta
                keep_tick(tick)
                keep_message(status << 16 | byte << 8 | second)
                start = pos
        finally:
            self.pos, self.tick, self.status = start, tick, status

    def _event(self) -> bool:
        """Decodes one event of any kind; returns False if the track ends before the event does."""
        delta, event = _variable_length(self._data, self.pos)
        status = self._data[event]
        if self.doubtful and status < 128:
            raise _bad_event(event, "a data byte behind a message with one above 127", "midi-data-byte")
        self.doubtful = False
        if status < 0xF0:
            stop = self._channel_message(event, delta)
        elif status == 0xFF:
            stop = self._meta_event(event, delta)
        elif status in (0xF0, 0xF7):
            stop = self._sysex(event, delta)
        else:
            stop = self._system_message(event, delta)
        self.claimed = stop
        if stop > self._end:
            return False
        self.pos = stop
        return True

    # Each of the following methods decodes the event whose status byte is at `event` and returns the first byte
    # behind it; an event that the track does not hold completely is not kept.

    def _channel_message(self, event: int, delta: int) -> int:
        """Decodes a channel message that may need a repair."""
        data, track = self._data, self.track
        explicit = data[event] > 127
        if not explicit and not self.status:
            return self._stray_byte(event, delta)
        status = data[event] if explicit else self.status
        first, second, stop = data[event + explicit], 0, event + explicit + 1
        if not 0xC0 <= status < 0xE0:
            second, stop = data[stop], stop + 1
        if stop > self._end:
            return stop
        bad = first > 127 or second > 127
        if bad:
            plays_nothing = status >= 0xA0 or (status < 0x90 and first < 128 and explicit)
            if not (self._aggressive or (self._tolerant and plays_nothing)):
                raise _bad_event(event, f"a data byte above 127 ({max(first, second)})", "midi-data-byte")
            track.repairs.add("data_byte_ignored")
            track.bad_messages += 1
            self.doubtful = not self._aggressive
        self.tick += delta
        if first > 127 or (bad and status >= 0xA0):
            track.edits.append((event, stop, _EMPTY_EVENT))
            self.status, self.cancelled = status, True
            return stop
        if not explicit and self.cancelled:
            track.edits.append((event, event, bytes([status])))
            track.repairs.add("running_status_restored")
        self.status, self.cancelled = status, False
        if bad:
            second = _RELEASE_VELOCITY if status < 0x90 else 127
            track.edits.append((stop - 1, stop, bytes([second])))
        track.ticks.append(self.tick)
        track.messages.append(status << 16 | first << 8 | second)
        return stop

    def _stray_byte(self, event: int, delta: int) -> int:
        """Leaves out a data byte that follows no status byte."""
        stop = event + 1
        if stop <= self._end:
            if not self._aggressive:
                raise _bad_event(event, f"a data byte ({self._data[event]}) where an event should begin")
            self.tick += delta
            self._leave_out(event, stop, "bad_event_ignored")
        return stop

    def _meta_event(self, event: int, delta: int) -> int:
        data, track, meta_type = self._data, self.track, self._data[event + 1]
        length, body = _variable_length(data, event + 2)
        stop = body + length
        if stop > self._end:
            return stop
        self.tick += delta
        if meta_type == _END_OF_TRACK:
            self._end_of_track(stop)
            return stop
        defect = _meta_defect(meta_type, data[body : body + min(5, length)], length, delta)
        if defect:
            self._leave_out(event, stop, defect)
        elif meta_type == _TEMPO:
            track.tempos.append((self.tick, _tempo(data[body : body + min(3, length)], event)))
            track.tempo_edits.append((event, stop, _EMPTY_EVENT))
        elif meta_type in _KEPT_META_TYPES:
            track.keep_text(meta_type, data[body:stop])
        return stop

    def _end_of_track(self, stop: int) -> None:
        track, data = self.track, self._data
        if track.first_end is None:
            track.first_end = stop
        followed = stop == len(data) or data[stop : stop + 4] == b"MTrk"
        track.ended = stop == self._end or followed or self._to_first_end

    def _sysex(self, event: int, delta: int) -> int:
        length, body = _variable_length(self._data, event + 1)
        stop = body + length
        if stop <= self._end:
            self._keep_system(event, delta)
            self.track.sysex.append((body, stop))
            if defect := _sysex_defect(self._data[body:stop]):
                self._leave_out(event, stop, defect)
        return stop

    def _system_message(self, event: int, delta: int) -> int:
        data, status = self._data, self._data[event]
        stop = event + 1 + _DATA_BYTES.get(status, 0)
        if stop <= self._end:
            self._keep_system(event, delta)
            if status not in _DATA_BYTES or max(data[event + 1 : stop], default=0) > 127:
                if not self._aggressive:
                    raise _bad_event(event, f"a status byte ({status:#04x}) that MIDI files do not have")
                self._leave_out(event, stop, "bad_event_ignored")
        return stop

    def _keep_system(self, event: int, delta: int) -> None:
        """Keeps a system message, which cancels the running status."""
        self.cancelled = True
        self.tick += delta
        self.track.ticks.append(self.tick)
        self.track.messages.append(self._data[event] << 16)

    def _leave_out(self, event: int, stop: int, defect: str) -> None:
        self.track.edits.append((event, stop, _EMPTY_EVENT))
        self.track.repairs.add(defect)


def _bad_event(pos: int, what: str, code: str = "midi-bad-event") -> MidiError:
    return MidiError(
        f"byte {pos} of the file is {what}; the file is damaged: notes.salvage=aggressive plays the rest", code=code
    )


def _variable_length(data: bytes, pos: int) -> tuple[int, int]:
    """Decodes a number of variable length; returns it and the first byte behind it."""
    byte, start = data[pos], pos
    number, pos = byte & 127, pos + 1
    while byte > 127:
        byte = data[pos]
        number, pos = number << 7 | byte & 127, pos + 1
        if number > MAX_VARIABLE_LENGTH:
            raise _bad_event(start, "a delta time or length of more than four bytes")
    return number, pos


def _tempo(body: bytes, pos: int) -> int:
    """Decodes the body of the tempo event at byte `pos`, in microseconds per quarter note."""
    if len(body) < 3:
        raise MidiError(f"byte {pos} of the file is a truncated tempo", code="midi-bad-tempo")
    tempo = int.from_bytes(body, "big")
    if tempo not in TEMPOS:
        speed = f"{6e7 / tempo:,.3g} quarter notes a minute" if tempo else "0"
        raise MidiError(f"byte {pos} of the file is an implausible tempo of {speed}", code="midi-bad-tempo")
    return tempo


def _meta_defect(meta_type: int, body: bytes, length: int, delta: int) -> str | None:
    """Names the defect because of which mido or note_seq cannot read a meta event, or misreads it.

    Args:
        meta_type: type of the event.
        body: its first five bytes.
        length: of the whole body.
        delta: ticks since the event before.
    """
    if length > MAX_EVENT_BYTES:
        return "meta_event_ignored"
    if meta_type == 0x59:
        good = length >= 2 and (body[0] <= 7 or body[0] >= 249) and body[1] <= 1
        return None if good else "key_signature_ignored"
    if meta_type == 0x58:
        good = length >= 4 and body[0] > 0 and body[1] < 31
        return None if good else "time_signature_ignored"
    if meta_type == 0x54:
        good = length >= 5 and body[0] >> 5 < 4 and body[1] < 60 and body[2] < 60 and body[4] < 100
        return None if good else "smpte_offset_ignored"
    if (meta_type == 0x00 and length == 1) or (meta_type == 0x20 and not length):
        return "meta_event_ignored"
    # mido drops the delta time before an unknown type: later events of the track would come too early.
    return "unknown_meta_event_ignored" if delta and meta_type not in _KNOWN_META_TYPES else None


def _sysex_defect(body: bytes) -> str | None:
    inner = body[body[:1] == b"\xf0" :]
    inner = inner[: len(inner) - (inner[-1:] == b"\xf7")]
    return None if inner.isascii() and len(body) <= MAX_EVENT_BYTES else "sysex_ignored"
