"""Files that list the rendered notes of a song, aligned to its audio: JSON and MIDI."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gansynth.general_midi import DRUMS
from gansynth.midi.notes import Channel, Timeline
from gansynth.score.planned_notes import PlannedNotes

TICKS_PER_SECOND = 1000
"""Resolution of the MIDI files: one beat a second, a thousand ticks a beat."""
_DRUM_CHANNEL = 9


SCHEMA = 2
"""Version of the JSON file. 2: `next_instrument` was called `towards`; schema, bends and gains are new."""


def to_json(
    notes: PlannedNotes,
    instruments: Sequence[str],
    sample_rate: int,
    stems: Sequence[str] = (),
    channels: Mapping[int, Channel] | None = None,
) -> bytes:
    """The notes as JSON, in columns: `pandas.DataFrame(json.load(f)["notes"])` is a table of them.

    Args:
        notes: in the order in which they are written.
        instruments: names that the columns `instrument` and `next_instrument` number.
        sample_rate: of the clip before it is resampled, in Hz.
        stems: names of the song's stems, if it has any.
        channels: the song's channels on which something moves, in seconds of the clip.

    Returns:
        An object of schema, sample_rate, release_seconds, instruments, and notes: start and end (seconds in the clip,
        each a whole number of samples; the release begins at end), pitch, velocity, program (128: drums), track,
        instrument, next_instrument and fraction (0: wholly `instrument`, 1: wholly `next_instrument`); in stereo pan
        (1: left, 64: middle, 127: right); with stems their names as `stems`, and the column stem. Of notes whose
        channel is bent or has another level than the default, bends and gains: the note's number in the columns to
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
    bends, gains = curves(notes, sample_rate, channels or {})
    if bends:
        song["bends"] = {str(n): _steps(steps) for n, steps in bends.items()}
    if gains:
        song["gains"] = {str(n): _steps(steps) for n, steps in gains.items()}
    if notes.pan is not None:
        columns["pan"] = notes.pan.tolist()
    if notes.stem is not None:
        columns["stem"] = notes.stem.tolist()
        song["stems"] = list(stems)
    return json.dumps(song, separators=(",", ":")).encode()


def curves(
    notes: PlannedNotes, sample_rate: int, channels: Mapping[int, Channel]
) -> tuple[dict[int, Timeline], dict[int, Timeline]]:
    """Cuts out of the channels' timelines what is not at its default under each note.

    Returns:
        Bends in semitones and gains in dB, by the row of the note, in seconds of the clip.
    """
    bends: dict[int, Timeline] = {}
    gains: dict[int, Timeline] = {}
    if notes.channel is None:
        return bends, gains
    start = notes.start / sample_rate
    end = (notes.start + notes.sustain + notes.tails) / sample_rate
    for n in np.flatnonzero(np.isin(notes.channel, list(channels))).tolist():
        state = channels[int(notes.channel[n])].between(float(start[n]), float(end[n]))
        if state.bend.values.any() and notes.program[n] != DRUMS:
            bends[n] = state.bend
        if state.gain.values.any():
            gains[n] = state.gain
    return bends, gains


def _steps(steps: Timeline) -> list[list[float | None]]:
    values = [round(value, 4) if np.isfinite(value) else None for value in steps.values.tolist()]
    return [[round(time, 6), value] for time, value in zip(steps.times.tolist(), values, strict=True)]


def to_midi(
    notes: PlannedNotes,
    instruments: Sequence[str],
    sample_rate: int,
    channels: Mapping[int, Channel] | None = None,
) -> bytes:
    """The notes as a MIDI file whose ticks are milliseconds of the clip.

    A track for each track and program of the song, in the order in which they begin, named after its instrument
    where it has one of its own. Note-offs stand where releases begin. MIDI cannot say that two notes of one pitch
    overlap in a channel: there, readers end one of them early. Each part has a channel of its own, past fifteen on
    further ports, with the bends (pitch bend, its range by RPN 0) and levels (volume) of the channel it was read from.

    Args:
        notes: sorted by start.
        instruments: names that the notes' `left` numbers.
        sample_rate: of the clip, in Hz.
        channels: the song's channels on which something moves, in seconds of the clip.
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
        if number >= 15:
            track.append(mido.MetaMessage("midi_port", port=number // 15))
        if program != DRUMS:
            track.append(mido.Message("program_change", program=program, channel=channel))
        state = Channel()
        if notes.channel is not None and channels:
            state = channels.get(int(notes.channel[mine[0]]), state)
        messages = _channel_messages(state, channel)
        pitch, velocity = notes.pitch.tolist(), notes.velocity.tolist()
        for n in mine.tolist():
            messages.append(
                (int(on[n]), 2, n, mido.Message("note_on", note=pitch[n], velocity=velocity[n], channel=channel))
            )
            messages.append((int(off[n]), 0, n, mido.Message("note_on", note=pitch[n], velocity=0, channel=channel)))
        now = 0
        for tick, _, _, message in sorted(messages, key=lambda item: item[:3]):
            track.append(message.copy(time=tick - now))
            now = tick
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def _channel_messages(state: Channel, channel: int) -> list[tuple[int, int, int, Any]]:
    """Writes a channel's bends and levels as messages: tick, rank among those of one tick, number, message."""
    import mido

    messages: list[tuple[int, int, int, Any]] = []

    def control(tick: int, number: int, value: int) -> None:
        messages.append(
            (tick, 1, len(messages), mido.Message("control_change", control=number, value=value, channel=channel))
        )

    if state.bend.values.any():
        width = min(127, max(2, math.ceil(float(np.abs(state.bend.values).max()))))
        for number, value in ((101, 0), (100, 0), (6, width), (38, 0), (101, 127), (100, 127)):
            control(0, number, value)
        for time, semitones in zip(state.bend.times.tolist(), state.bend.values.tolist(), strict=True):
            wheel = min(8191, max(-8192, round(8192 * semitones / width)))
            message = mido.Message("pitchwheel", pitch=wheel, channel=channel)
            messages.append((round(time * TICKS_PER_SECOND), 1, len(messages), message))
    for time, decibels in zip(state.gain.times.tolist(), state.gain.values.tolist(), strict=True):
        volume = 0 if decibels == -math.inf else round(100 * 10 ** (decibels / 40))
        control(round(time * TICKS_PER_SECOND), 7, min(127, volume))
    return messages
