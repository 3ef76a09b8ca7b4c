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
    """Notes as parallel arrays, in note_seq's order.

    Attributes:
        pitch: int16 [n], MIDI pitch.
        velocity: int16 [n], 1..127.
        start, end: float64 [n], seconds.
        program: int16 [n], MIDI program 0..127.
        track: int32 [n], note_seq's instrument number.
        is_drum: bool [n].
        pan: uint8 [n], the track's controller 10 at each note's start, 0..127; None if no track has any.
    """

    pitch: NDArray[np.int16]
    velocity: NDArray[np.int16]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    program: NDArray[np.int16]
    track: NDArray[np.int32]
    is_drum: NDArray[np.bool_]
    pan: NDArray[np.uint8] | None = None

    @property
    def span(self) -> float:
        """Returns the latest note end, in seconds; 0 without notes."""
        return float(self.end.max()) if len(self) else 0.0


@dataclass(frozen=True)
class Song:
    """A parsed MIDI file.

    Attributes:
        notes: all notes, before any policy.
        digest: "sha256:..." of the file's bytes.
        repairs: names of the defects that were ignored or repaired, sorted; docs/errors.md explains them.
        track_names: track names by the numbers in `notes.track`; unnamed tracks are absent.
    """

    notes: Notes
    digest: str
    repairs: tuple[str, ...] = ()
    track_names: Mapping[int, str] = field(default_factory=dict)
