"""Songs as arrays of notes, the result of every MIDI reader."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

CENTRE = 64
"""Value of the pan controller that stands for the centre."""


def polyphony(starts: NDArray[np.number], ends: NDArray[np.number]) -> int:
    """Computes the highest number of notes that sound at once.

    Args:
        starts, ends: [n], in the same unit; a note does not sound at its end.
    """
    starts = np.sort(starts)
    ended = np.searchsorted(np.sort(ends), starts, side="right")
    return int((np.arange(1, len(starts) + 1) - ended).max(initial=0))


@dataclass(frozen=True)
class NoteTable:
    """Notes as parallel arrays: fields that hold arrays are the columns, and the first field gives the length."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self, rows: Any) -> Self:
        """Selects rows of every column: a slice, a mask or an array of row numbers."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: value[rows] for name, value in values.items() if isinstance(value, np.ndarray)})


@dataclass(frozen=True)
class Notes(NoteTable):
    """Notes as a reader finds them; those of the reader note_seq have no channel, no bank and no cut.

    Attributes:
        pitch: int16 [n], MIDI pitch.
        velocity: int16 [n], 1..127.
        start, end: float64 [n], seconds.
        program: int16 [n], MIDI program 0..127 at the note's start (reader note_seq: at its end).
        track: int32 [n], number of the part: channels and programs of one MIDI track are parts of their own.
        is_drum: bool [n].
        pan: uint8 [n], controller 10 at each note's start, 0..127; None without any in the file.
        channel: uint16 [n], port * 16 + channel, both from 0; a key of `Song.channels`.
        bank: int16 [n], bank select MSB * 128 + LSB at the note's start.
        cut: float64 [n], seconds: when "all sound off" silences the note, release and all; inf where it does not.
            Never before `end`.
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

    @property
    def span(self) -> float:
        """Returns the latest note end, in seconds; 0 without notes."""
        return float(self.end.max()) if len(self) else 0.0

    def stretched(self, factor: float) -> Notes:
        """Multiplies all times by a factor."""
        cut = None if self.cut is None else self.cut * factor
        return replace(self, start=self.start * factor, end=self.end * factor, cut=cut)


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
        """Multiplies all times by a factor."""
        return Timeline(self.times * factor, self.values)

    def on_samples(self, sample_rate: int) -> Timeline:
        """Moves every step to the sample that it falls into, as notes begin; of several there, the last one counts."""
        samples = np.floor(self.times * sample_rate)
        last = np.append(samples[1:] != samples[:-1], True)[: len(samples)]
        return Timeline(samples[last] / sample_rate, self.values[last])

    def at(self, times: NDArray[np.float64]) -> NDArray[np.float32]:
        """Reads the values at some times, in the same shape; a step counts from its own time on."""
        padded = np.concatenate([np.zeros(1, np.float32), self.values])
        return padded[np.searchsorted(self.times, times, side="right")]

    def moves(self, starts: NDArray[np.float64], ends: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tells for each span whether any value in it, from its start up to but without its end, is not 0; bool [n]."""
        others = np.cumsum(np.append([0, 0], self.values != 0))
        first = np.searchsorted(self.times, starts, side="right")
        last = np.maximum(np.searchsorted(self.times, ends, side="left"), first)
        return others[last + 1] > others[first]

    def between(self, start: float, end: float) -> Timeline:
        """Cuts out the value at `start` and the steps after it, up to but without `end`."""
        (cut,) = self.cuts(np.array([start]), np.array([end]))
        return cut

    def cuts(self, starts: NDArray[np.float64], ends: NDArray[np.float64]) -> list[Timeline]:
        """Cuts out several spans, see `between`; float64 [n] each."""
        first = np.searchsorted(self.times, starts, side="right")
        last = np.maximum(np.searchsorted(self.times, ends, side="left"), first)
        padded = np.concatenate([np.zeros(1, np.float32), self.values])
        found = []
        for n, (a, b) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
            times = starts[n : n + 1]
            if b > a:
                times = np.concatenate([times, self.times[a:b]])
            found.append(Timeline(times, padded[a : b + 1]))
        return found


@dataclass(frozen=True)
class Channel:
    """The state of one channel that shapes sounding notes.

    Attributes:
        gain: in dB relative to the defaults, 0 when nothing moves, -inf for silence.
        bend: in semitones: pitch bend, channel tuning and master tuning together.
    """

    gain: Timeline = field(default_factory=Timeline)
    bend: Timeline = field(default_factory=Timeline)

    def stretched(self, factor: float) -> Channel:
        """Multiplies all times by a factor."""
        return Channel(self.gain.stretched(factor), self.bend.stretched(factor))

    def on_samples(self, sample_rate: int) -> Channel:
        """Moves every step to the sample that it falls into."""
        return Channel(self.gain.on_samples(sample_rate), self.bend.on_samples(sample_rate))

    def between(self, start: float, end: float) -> Channel:
        """Cuts out the state from one time to another."""
        return Channel(self.gain.between(start, end), self.bend.between(start, end))


@dataclass(frozen=True)
class Song:
    """A parsed MIDI file.

    Attributes:
        notes: all notes, before any policy.
        digest: sha256 of the file's bytes.
        repairs: names of its defects that were ignored or repaired, sorted; docs/errors.md explains them.
        track_names: by the numbers in `notes.track`; tracks without a name are left out.
        channels: by the numbers in `notes.channel`; channels on which nothing moves are left out.
        ignored: number of events of each kind that were read and have no effect.
        repaired_notes: number of notes that each repair of notes changed.
        texts: "title", "artist" and "copyright", as far as the file has them.
    """

    notes: Notes
    digest: str
    repairs: tuple[str, ...] = ()
    track_names: Mapping[int, str] = field(default_factory=dict)
    channels: Mapping[int, Channel] = field(default_factory=dict)
    ignored: Mapping[str, int] = field(default_factory=dict)
    repaired_notes: Mapping[str, int] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
