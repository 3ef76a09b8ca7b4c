"""Files that list the rendered notes of a song, aligned to its audio: JSON and MIDI."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from gansynth.general_midi import DRUMS
from gansynth.score.planned_notes import PlannedNotes

TICKS_PER_SECOND = 1000
"""Resolution of the MIDI files: one beat a second, a thousand ticks a beat."""
_DRUM_CHANNEL = 9


def to_json(notes: PlannedNotes, instruments: Sequence[str], sample_rate: int, stems: Sequence[str] = ()) -> bytes:
    """Encodes notes as JSON, in columns: `pandas.DataFrame(json.load(f)["notes"])` is a table of them.

    Args:
        notes: the notes, in the order in which they are written.
        instruments: names that the columns `instrument` and `towards` refer to by number.
        sample_rate: rate of the clip before resampling, in Hz.
        stems: names of the song's stems, if it has any.

    Returns:
        A JSON object (UTF-8) with sample_rate, release_seconds, instruments and notes. The columns of notes are start
        and end (seconds in the clip, each a whole number of samples; the release begins at end), pitch, velocity,
        program (128: drums), track, instrument, towards and fraction (0: only `instrument`, 1: only `towards`); in
        stereo pan (1: left, 64: centre, 127: right); with stems the column stem, and the names as `stems`.
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
    """Encodes notes as a MIDI file whose ticks are milliseconds of the clip.

    The file has one track for each track and program of the song, in the order in which they begin, named after its
    instrument if it has only one. Note-offs are at the start of releases. MIDI cannot represent overlapping notes of
    one pitch in a channel; readers end one of them early.

    Args:
        notes: the notes, sorted by start.
        instruments: names that the notes' `left` refers to by number.
        sample_rate: rate of the clip, in Hz.

    Returns:
        The bytes of a Standard MIDI File, format 1.
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
