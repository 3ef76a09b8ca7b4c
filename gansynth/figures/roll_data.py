"""The notes of a song as data from which the listening page draws its piano roll."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansynth.figures.piano_roll import colour_numbers
from gansynth.io.script_data import ScriptData
from gansynth.midi.notes import Channel, Timeline
from gansynth.score.planned_notes import PlannedNotes
from gansynth.score.rendered_notes import bends_of, gains_of

MAX_STEPS = 50_000
"""Most steps of bends, and of gains, in a song's data; if there are more, steps are left out evenly."""


def roll_script(
    name: str,
    notes: PlannedNotes,
    instruments: Sequence[str],
    samples: int,
    sample_rate: int,
    channels: Mapping[int, Channel] | None = None,
) -> bytes:
    """Formats the notes that are heard as a script file of the page.

    The data are an object with `seconds` (the clip's length), `instruments` (names), `colours` (of each, see
    `piano_roll.colour_numbers`), `notes` (columns: start, length and release in milliseconds, pitch, velocity,
    instrument, track in the order of first notes, program with 128 for drums; where instruments change into each other
    also next and fraction), and `bends` and `gains`: by number of the note, steps of milliseconds and semitones or dB
    (null: silence).

    Args:
        name: name of the data, unique to the song.
        notes: sorted by start.
        instruments: names that the notes' `left` and `right` refer to by number.
        samples: length of the clip in samples.
        sample_rate: in Hz.
        channels: the song's channels on which something moves.
    """
    milliseconds = 1000 / sample_rate
    _, first, which = np.unique(notes.track, return_index=True, return_inverse=True)
    columns: dict[str, NDArray[Any]] = {
        "start": _whole(notes.start * milliseconds),
        "length": np.maximum(_whole(notes.sustain * milliseconds), 1),
        "release": _whole(notes.tails * milliseconds),
        "pitch": notes.pitch,
        "velocity": notes.velocity,
        "instrument": notes.left,
        "track": np.argsort(np.argsort(first))[which] if len(notes) else notes.track,
        "program": notes.program,
    }
    if notes.fraction.any():
        columns |= {"next": notes.right, "fraction": np.round(notes.fraction.astype(np.float64), 3)}
    bends, gains = (of(notes, sample_rate, channels or {}) for of in (bends_of, gains_of))
    song = {
        "seconds": samples / sample_rate,
        "instruments": list(instruments),
        "colours": colour_numbers(instruments),
        "notes": {name: column.tolist() for name, column in columns.items()},
        "bends": _steps(bends, 2),
        "gains": _steps(gains, 1),
    }
    return ScriptData.of(name, json.dumps(song, separators=(",", ":"))).script.encode()


def _whole(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.rint(values).astype(np.int64)


def _steps(curves: Mapping[int, Timeline], digits: int) -> dict[str, list[list[float | None]]]:
    """Lists the steps of each note's curve, at most MAX_STEPS of them in all, but the first of every note."""
    every = -(-sum(map(len, curves.values())) // MAX_STEPS) or 1
    kept = [(curve.times[::every], curve.values[::every]) for curve in curves.values()]
    if not kept:
        return {}
    times, values = map(np.concatenate, zip(*kept, strict=True))
    rounded = [round(value, digits) if math.isfinite(value) else None for value in values.tolist()]
    steps = map(list, zip(_whole(times * 1000).tolist(), rounded, strict=True))
    return {str(n): list(itertools.islice(steps, len(own))) for n, (own, _) in zip(curves, kept, strict=True)}
