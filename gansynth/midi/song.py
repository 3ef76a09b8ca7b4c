"""What a MIDI file becomes: notes as arrays, and what moves on their channels meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Notes:
    """Notes as parallel arrays; those of the reader note_seq have no channel, no bank and no cut.

    Attributes:
        pitch: int16 [n], MIDI pitch.
        velocity: int16 [n], 1..127.
        start, end: float64 [n], seconds.
        program: int16 [n], MIDI program 0..127 at the note's start (reader note_seq: at its end).
        track: int32 [n], number of the part: channels and programs of one MIDI track are parts of their own.
        is_drum: bool [n].
        pan: uint8 [n], controller 10 at each note's start, 0..127; None where there is none in the file.
        channel: uint16 [n], port * 16 + channel, both from 0; a key of `Song.channels`.
        bank: int16 [n], bank select MSB * 128 + LSB at the note's start.
        cut: float64 [n], seconds, when all sound off silences the note, release and all, within 5 ms; inf where it does
            not. Never before `end`.
    """

    pitch: NDArray[np.int16]
    velocity: NDArray[np.int16]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    program: NDArray[np.int16]
    track: NDArray[np.int32]
    is_drum: NDArray[np.bool_]
    pan: NDArray[np.uint8] | None = None
    channel: NDArray[np.uint16] | None = None
    bank: NDArray[np.int16] | None = None
    cut: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.pitch)

    def __getitem__(self, index: Any) -> Notes:
        columns: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen: dict[str, Any] = {name: None if column is None else column[index] for name, column in columns.items()}
        return Notes(**chosen)

    def stretched(self, factor: float) -> Notes:
        """The notes with all times multiplied by a factor."""
        cut = None if self.cut is None else self.cut * factor
        return replace(self, start=self.start * factor, end=self.end * factor, cut=cut)

    @property
    def span(self) -> float:
        """The latest note end, in seconds."""
        return float(self.end.max()) if len(self) else 0.0


@dataclass(frozen=True)
class Timeline:
    """A quantity that changes in steps; 0 before the first.

    Attributes:
        times: float64 [m], seconds, strictly ascending.
        values: float32 [m], from each time on.
    """

    times: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    values: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))

    def __len__(self) -> int:
        return len(self.times)

    def stretched(self, factor: float) -> Timeline:
        """The same values, at times multiplied by a factor."""
        return Timeline(self.times * factor, self.values)

    def at(self, times: NDArray[np.float64]) -> NDArray[np.float32]:
        """Values at some times, of the same shape; a step counts from its own time on."""
        padded = np.concatenate([np.zeros(1, np.float32), self.values])
        return padded[np.searchsorted(self.times, times, side="right")]

    def between(self, start: float, end: float) -> Timeline:
        """The value at `start` and the steps after it, up to but without `end`."""
        first, last = np.searchsorted(self.times, [start, end], side="right")
        times = np.concatenate([[start], self.times[first:last]])
        values = np.concatenate([self.at(np.array([start])), self.values[first:last]])
        return Timeline(times, values)


@dataclass(frozen=True)
class Channel:
    """What moves on one channel, whatever sounds there.

    Attributes:
        gain: in dB against the defaults, 0 when nothing moves, -inf for silence.
        bend: in semitones: pitch bend, channel and master tuning together.
    """

    gain: Timeline = field(default_factory=Timeline)
    bend: Timeline = field(default_factory=Timeline)


@dataclass(frozen=True)
class Song:
    """One MIDI file, parsed.

    Attributes:
        notes: all its notes, before any policy.
        digest: sha256 of the file's bytes.
        repairs: names of its defects that were overlooked or mended, sorted; docs/errors.md explains them.
        track_names: by the numbers in `notes.track`; those without a name are not there.
        channels: by the numbers in `notes.channel`; those on which nothing moves are not there.
        ignored: how many events of each kind were read and have no effect.
        mended: how many notes each repair of notes changed.
    """

    notes: Notes
    digest: str
    repairs: tuple[str, ...] = ()
    track_names: Mapping[int, str] = field(default_factory=dict)
    channels: Mapping[int, Channel] = field(default_factory=dict)
    ignored: Mapping[str, int] = field(default_factory=dict)
    mended: Mapping[str, int] = field(default_factory=dict)
