"""Files that list the rendered notes of a song, aligned to its audio: JSON, MIDI and NoteSequence."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansynth.general_midi import DRUMS
from gansynth.midi.notes import Channel, Timeline
from gansynth.score.planned_notes import PlannedNotes

TICKS_PER_SECOND = 1000
"""Resolution of the MIDI files: one beat a second, a thousand ticks a beat."""
_DRUM_CHANNEL = 9
_WHEEL = -1
"""Number for pitch bend among those of controllers."""

SCHEMA = 2
"""Version of the JSON file. 2: `towards` is called `next_instrument`; schema, bends and gains are new."""


def to_json(
    notes: PlannedNotes,
    instruments: Sequence[str],
    sample_rate: int,
    stems: Sequence[str] = (),
    channels: Mapping[int, Channel] | None = None,
) -> bytes:
    """Encodes the notes as JSON, in columns: `pandas.DataFrame(json.load(f)["notes"])` makes a table of them.

    Args:
        notes: in the order in which they are written.
        instruments: names that the columns `instrument` and `next_instrument` number.
        sample_rate: of the clip before it is resampled, in Hz.
        stems: names of the song's stems; empty without stems.
        channels: channels of the song whose gain or bend changes, in seconds of the clip.

    Returns:
        An object of schema, sample_rate, release_seconds, instruments, and notes: start and end (seconds in the clip,
        each a whole number of samples; the release begins at end), pitch, velocity, program (128: drums), track,
        instrument, next_instrument and fraction (0: wholly `instrument`, 1: wholly `next_instrument`); in stereo pan
        (1: left, 64: middle, 127: right); with stems their names as `stems`, and the column stem. Where notes do not
        all fade for release_seconds, the column release has how long each sounds after its end. For notes whose
        channel is bent or has a level other than the default, bends and gains: the note's number in the columns to
        steps of seconds in the clip and semitones, or dB (null: silence).
    """
    columns: dict[str, list[Any]] = {
        "start": np.round(notes.start / sample_rate, 7).tolist(),
        "end": np.round((notes.start + notes.sustain) / sample_rate, 7).tolist(),
        "pitch": notes.pitch.tolist(),
        "velocity": notes.velocity.tolist(),
        "program": notes.program.tolist(),
        "track": notes.track.tolist(),
        "instrument": notes.left.tolist(),
        "next_instrument": notes.right.tolist(),
        "fraction": np.round(notes.fraction.astype(np.float64), 6).tolist(),
    }
    song: dict[str, Any] = {
        "schema": SCHEMA,
        "sample_rate": sample_rate,
        "release_seconds": notes.release / sample_rate,
        "instruments": list(instruments),
        "notes": columns,
    }
    bends, gains = bends_of(notes, sample_rate, channels or {}), gains_of(notes, sample_rate, channels or {})
    if bends:
        song["bends"] = {str(n): _steps(steps) for n, steps in bends.items()}
    if gains:
        song["gains"] = {str(n): _steps(steps) for n, steps in gains.items()}
    if notes.tail is not None:
        columns["release"] = np.round(notes.tail / sample_rate, 7).tolist()
    if notes.pan is not None:
        columns["pan"] = notes.pan.tolist()
    if notes.stem is not None:
        columns["stem"] = notes.stem.tolist()
        song["stems"] = list(stems)
    return json.dumps(song, separators=(",", ":")).encode()


def bends_of(notes: PlannedNotes, sample_rate: int, channels: Mapping[int, Channel]) -> dict[int, Timeline]:
    """Cuts the bend under each bent note out of its channel's timeline.

    Returns:
        Semitones, by row of the note, with times in seconds of the clip.
    """
    bends = {number: state.bend for number, state in channels.items()}
    return _under_notes(notes, notes.program != DRUMS, sample_rate, bends)


def gains_of(notes: PlannedNotes, sample_rate: int, channels: Mapping[int, Channel]) -> dict[int, Timeline]:
    """Cuts the gain under each note whose level is not the default out of its channel's timeline.

    Returns:
        Decibels, by row of the note, with times in seconds of the clip.
    """
    gains = {number: state.gain for number, state in channels.items()}
    return _under_notes(notes, np.ones(len(notes), bool), sample_rate, gains)


def _under_notes(
    notes: PlannedNotes, chosen: NDArray[np.bool_], sample_rate: int, timelines: Mapping[int, Timeline]
) -> dict[int, Timeline]:
    """Cuts out the parts of timelines under notes, without those that are 0."""
    if notes.channel is None:
        return {}
    start = notes.start / sample_rate
    end = (notes.start + notes.sustain + notes.tails) / sample_rate
    found: dict[int, Timeline] = {}
    for number, timeline in timelines.items():
        rows = np.flatnonzero(chosen & (notes.channel == number))
        rows = rows[timeline.moves(start[rows], end[rows])]
        found.update(zip(rows.tolist(), timeline.cuts(start[rows], end[rows]), strict=True))
    return dict(sorted(found.items()))


def _steps(steps: Timeline) -> list[list[float | None]]:
    values = [round(value, 4) if np.isfinite(value) else None for value in steps.values.tolist()]
    return [[round(time, 6), value] for time, value in zip(steps.times.tolist(), values, strict=True)]


def to_midi(
    notes: PlannedNotes,
    instruments: Sequence[str],
    sample_rate: int,
    channels: Mapping[int, Channel] | None = None,
) -> bytes:
    """Formats the notes as a MIDI file whose ticks are milliseconds of the clip.

    Each track and program of the song becomes a track, in the order of their first notes, named after its instrument if
    it has only one. Note-offs are at the beginning of releases. MIDI cannot represent overlapping notes of one pitch on
    one channel; readers end one of them early. Each part has its own channel, after the first fifteen on further ports,
    with the bends (pitch bend, with its range as RPN 0) and levels (volume) of its original channel, and in stereo the
    pan of its notes.

    Args:
        notes: sorted by start.
        instruments: names that the notes' `left` numbers.
        sample_rate: of the clip, in Hz.
        channels: channels of the song whose gain or bend changes, in seconds of the clip.
    """
    import mido

    on = np.rint(notes.start * (TICKS_PER_SECOND / sample_rate)).astype(np.int64)
    off = np.rint((notes.start + notes.sustain) * (TICKS_PER_SECOND / sample_rate)).astype(np.int64)
    off = np.maximum(off, on + 1)  # readers drop notes without length
    file = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_SECOND, charset="utf-8")
    file.add_track().append(mido.MetaMessage("set_tempo", tempo=1_000_000))
    pitch, velocity = notes.pitch.tolist(), notes.velocity.tolist()
    for number, part in enumerate(_parts(notes, instruments)):
        channel = _DRUM_CHANNEL if part.program == DRUMS else (number % 15 + (number % 15 >= _DRUM_CHANNEL))
        track = file.add_track()
        if part.name:
            track.append(mido.MetaMessage("track_name", name=part.name))
        if number >= 15:
            track.append(mido.MetaMessage("midi_port", port=number // 15))
        if part.program != DRUMS:
            track.append(mido.Message("program_change", program=part.program, channel=channel))
        messages: list[tuple[int, int, int, Any]] = []  # tick, rank among those of one tick, number, message
        for count, (seconds, control, value) in enumerate(_changes(notes, part, sample_rate, channels or {})):
            if control == _WHEEL:
                message = mido.Message("pitchwheel", pitch=value, channel=channel)
            else:
                message = mido.Message("control_change", control=control, value=value, channel=channel)
            messages.append((round(seconds * TICKS_PER_SECOND), 1, count, message))
        for n in part.rows.tolist():
            note_on = mido.Message("note_on", note=pitch[n], velocity=velocity[n], channel=channel)
            messages.append((int(on[n]), 2, n, note_on))
            messages.append((int(off[n]), 0, n, note_on.copy(velocity=0)))
        now = 0
        for tick, _, _, message in sorted(messages, key=lambda item: item[:3]):
            track.append(message.copy(time=tick - now))
            now = tick
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def to_note_sequence(
    notes: PlannedNotes,
    instruments: Sequence[str],
    sample_rate: int,
    channels: Mapping[int, Channel] | None = None,
    name: str = "",
) -> bytes:
    """Formats the notes as a serialised note_seq NoteSequence, which Magenta's tools read.

    Times are seconds of the clip. Each part of `to_midi` is an instrument, with the same pitch bends and control
    changes; drums have the program of their kit.

    Args:
        notes: sorted by start.
        instruments: names that the notes' `left` numbers.
        sample_rate: of the clip, in Hz.
        channels: channels of the song whose gain or bend changes, in seconds of the clip.
        name: id of the song, which becomes the id and file name of the sequence.
    """
    from gansynth.midi._note_seq import music_pb2  # takes a second to import

    name = name.encode("utf-8", "replace").decode()
    sequence = music_pb2.NoteSequence(id=name, filename=name, ticks_per_quarter=TICKS_PER_SECOND)
    sequence.tempos.add(qpm=60.0)
    pitch, velocity = notes.pitch.tolist(), notes.velocity.tolist()
    start, end = notes.start / sample_rate, (notes.start + notes.sustain) / sample_rate
    for number, part in enumerate(_parts(notes, instruments)):
        is_drum = part.program == DRUMS
        kits = None if notes.kit is None or not is_drum else notes.kit.tolist()
        program = 0 if is_drum else part.program
        if part.name:
            sequence.instrument_infos.add(instrument=number, name=part.name)
        for n in part.rows.tolist():
            sequence.notes.add(
                pitch=pitch[n],
                velocity=velocity[n],
                start_time=float(start[n]),
                end_time=float(end[n]),
                instrument=number,
                program=kits[n] if kits else program,
                is_drum=is_drum,
            )
        # note_seq sorts the events of one tick by their numbers, which puts data entry before its RPN.
        for seconds, control, value in _changes(notes, part, sample_rate, channels or {}, entry=1 / TICKS_PER_SECOND):
            place = {"time": seconds, "instrument": number, "program": program, "is_drum": is_drum}
            if control == _WHEEL:
                sequence.pitch_bends.add(bend=value, **place)
            else:
                sequence.control_changes.add(control_number=control, control_value=value, **place)
    sequence.total_time = float(end.max(initial=0.0))
    return bytes(sequence.SerializeToString(deterministic=True))


@dataclass(frozen=True)
class _Part:
    """The notes of one track and program: program, rows in the table, and the instrument if there is only one."""

    program: int
    rows: NDArray[np.intp]
    name: str


def _parts(notes: PlannedNotes, instruments: Sequence[str]) -> Iterator[_Part]:
    """Lists the parts in the order of their first notes."""
    parts, first, which = np.unique(
        np.stack([notes.track, notes.program.astype(np.int32)]), axis=1, return_index=True, return_inverse=True
    )
    for part in np.argsort(first).tolist():
        mine = np.flatnonzero(which == part)
        name = ""
        if (notes.left[mine] == notes.right[mine]).all() and len(names := set(notes.left[mine].tolist())) == 1:
            name = instruments[names.pop()].encode("utf-8", "replace").decode()
        yield _Part(int(parts[1, part]), mine, name)


def _changes(
    notes: PlannedNotes, part: _Part, sample_rate: int, channels: Mapping[int, Channel], entry: float = 0.0
) -> Iterator[tuple[float, int, int]]:
    """Lists the changes of a part's channel: seconds, controller or _WHEEL, value.

    Args:
        notes: all notes.
        part: the part.
        sample_rate: in Hz.
        channels: channels of the song whose gain or bend changes.
        entry: time in seconds of the data entry of the bend range, whose RPN is selected at 0.
    """
    state = Channel() if notes.channel is None else channels.get(int(notes.channel[part.rows[0]]), Channel())
    if state.bend.values.any() and part.program != DRUMS:
        width = min(127, max(2, math.ceil(float(np.abs(state.bend.values).max()))))
        yield from ((0.0, control, 0) for control in (101, 100))
        yield from ((entry, control, value) for control, value in ((6, width), (38, 0), (101, 127), (100, 127)))
        for time, semitones in zip(state.bend.times.tolist(), state.bend.values.tolist(), strict=True):
            yield time, _WHEEL, min(8191, max(-8192, round(8192 * semitones / width)))
    for time, decibels in zip(state.gain.times.tolist(), state.gain.values.tolist(), strict=True):
        yield time, 7, 0 if decibels == -math.inf else min(127, round(100 * 10 ** (decibels / 40)))
    if notes.pan is not None:
        pan = notes.pan[part.rows]
        for n in part.rows[np.flatnonzero(np.diff(pan, prepend=-1 - pan[:1].astype(np.int16)))].tolist():
            yield int(notes.start[n]) / sample_rate, 10, int(notes.pan[n])
