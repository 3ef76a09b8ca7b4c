"""The notes of a song that are heard, where they are heard: small arrays, and files aligned to the audio."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from gansynth.general_midi import DRUMS
from gansynth.score.planned_notes import PlannedNotes

TICKS_PER_SECOND = 1000
"""Of the MIDI files: one beat a second, a thousand ticks to the beat."""
_DRUM_CHANNEL = 9


def to_json(notes: PlannedNotes, instruments: Sequence[str], sample_rate: int, stems: Sequence[str] = ()) -> bytes:
    """The notes as JSON, in columns: `pandas.DataFrame(json.load(f)["notes"])` is a table of them.

    Args:
        notes: in the order in which they are written.
        instruments: names that the columns `instrument` and `towards` number.
        sample_rate: of the clip before it is resampled, in Hz.
        stems: names of the song's stems, if it has any.

    Returns:
        An object of sample_rate, release_seconds, instruments, and notes: start and end (seconds in the clip,
        each a whole number of samples; the release begins at end), pitch, velocity, program (128: drums), track,
        instrument, towards and fraction (0: wholly `instrument`, 1: wholly `towards`); in stereo pan (1: left, 64:
        middle, 127: right); with stems their names as `stems`, and the column stem.
    """
    columns: dict[str, list[Any]] = {
        "start": np.round(notes.start / sample_rate, 7).tolist(),
        "end": np.round((notes.start + notes.sustain) / sample_rate, 7).tolist(),
        "pitch": notes.pitch.tolist(),
        "velocity": notes.velocity.tolist(),
        "program": notes.program.tolist(),
        "track": notes.track.tolist(),
        "instrument": notes.left.tolist(),
        "towards": notes.right.tolist(),
        "fraction": np.round(notes.fraction.astype(np.float64), 6).tolist(),
    }
    song: dict[str, Any] = {
        "sample_rate": sample_rate,
        "release_seconds": notes.release / sample_rate,
        "instruments": list(instruments),
        "notes": columns,
    }
    if notes.pan is not None:
        columns["pan"] = notes.pan.tolist()
    if notes.stem is not None:
        columns["stem"] = notes.stem.tolist()
        song["stems"] = list(stems)
    return json.dumps(song, separators=(",", ":")).encode()


def to_midi(notes: PlannedNotes, instruments: Sequence[str], sample_rate: int) -> bytes:
    """The notes as a MIDI file whose ticks are milliseconds of the clip.

    A track for each track and program of the song, in the order in which they begin, named after its instrument
    where it has one of its own. Note-offs stand where releases begin. MIDI cannot say that two notes of one pitch
    overlap in a channel: there, readers end one of them early.

    Args:
        notes: sorted by start.
        instruments: names that the notes' `left` numbers.
        sample_rate: of the clip, in Hz.
    """
    import mido

    on = np.rint(notes.start * (TICKS_PER_SECOND / sample_rate)).astype(np.int64)
    off = np.rint((notes.start + notes.sustain) * (TICKS_PER_SECOND / sample_rate)).astype(np.int64)
    off = np.maximum(off, on + 1)  # readers drop notes without length
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_SECOND, charset="utf-8")
    file.add_track().append(mido.MetaMessage("set_tempo", tempo=1_000_000))
    parts, first, which = np.unique(
        np.stack([notes.track, notes.program.astype(np.int32)]), axis=1, return_index=True, return_inverse=True
    )
    for number, part in enumerate(np.argsort(first).tolist()):
        mine = np.flatnonzero(which == part)
        program = int(parts[1, part])
        channel = _DRUM_CHANNEL if program == DRUMS else (number % 15 + (number % 15 >= _DRUM_CHANNEL))
        track = file.add_track()
        if (notes.left[mine] == notes.right[mine]).all() and len(names := set(notes.left[mine].tolist())) == 1:
            name = instruments[names.pop()].encode("utf-8", "replace").decode()
            track.append(mido.MetaMessage("track_name", name=name))
        if program != DRUMS:
            track.append(mido.Message("program_change", program=program, channel=channel))
        events = sorted(
            [(tick, 1, n) for tick, n in zip(on[mine].tolist(), mine.tolist(), strict=True)]
            + [(tick, 0, n) for tick, n in zip(off[mine].tolist(), mine.tolist(), strict=True)]
        )
        now = 0
        for tick, sounding, n in events:
            velocity = int(notes.velocity[n]) if sounding else 0
            note = int(notes.pitch[n])
            track.append(mido.Message("note_on", note=note, velocity=velocity, channel=channel, time=tick - now))
            now = tick
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()
