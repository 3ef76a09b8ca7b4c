"""Expression: gain and pitch of each note of a song, from the gain and bend of its channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gansynth.audio.bend import Curve, nearest_semitone, source_samples
from gansynth.audio.gain import gain_curve
from gansynth.errors import MidiError
from gansynth.midi.notes import Channel, Notes, Timeline
from gansynth.score.planned_notes import MOVING_BEND, MOVING_GAIN

MAX_BEND = 36.0
"""Largest bend of a note in semitones, up or down; wider curves are clipped."""
MAX_STEPS = 4_000_000
"""Highest number of steps of the channels' timelines under all notes of a song, and in all its chunks."""


@dataclass(frozen=True)
class Expression:
    """Constant parts of the gain and pitch of a song's notes, and flags of the moving ones.

    Attributes:
        gain: float64 [n], constant factor of each note's channel; 1 if it moves.
        key: int64 [n], pitch that the network renders.
        semitones: float64 [n], constant part of the distance from `key` to the sounding pitch.
        highest: float64 [n], highest pitch of the note, in semitones above `key`.
        moving: uint8 [n], flags MOVING_GAIN and MOVING_BEND.
    """

    gain: NDArray[np.float64]
    key: NDArray[np.int64]
    semitones: NDArray[np.float64]
    highest: NDArray[np.float64]
    moving: NDArray[np.uint8]


def express(
    notes: Notes, lengths: NDArray[np.int64], channels: Mapping[int, Channel], pitches: range, sample_rate: int
) -> Expression:
    """Computes gain and pitch of every note.

    Args:
        notes: of a song, after the policies; times in seconds of the clip.
        lengths: int64 [n], audible samples of each note.
        channels: channels of the song whose gain or bend changes; times in seconds of the clip.
        pitches: MIDI pitches that the network may render.
        sample_rate: in Hz.
    """
    count = len(notes)
    low, high = pitches.start, pitches.stop - 1
    pitch = notes.pitch.astype(np.int64)
    gain, moving = np.ones(count), np.zeros(count, np.uint8)
    semitones = np.zeros(count)
    key, highest = pitch.copy(), np.zeros(count)
    end = notes.start + lengths / sample_rate
    for number, channel in channels.items():
        if notes.channel is None:
            break
        mine = np.flatnonzero(notes.channel == number)
        for timeline, flag in ((channel.gain, MOVING_GAIN), (channel.bend, MOVING_BEND)):
            if not len(timeline) or not len(mine):
                continue
            first = np.searchsorted(timeline.times, notes.start[mine], side="right")
            last = np.searchsorted(timeline.times, end[mine], side="left")
            check_steps(int(np.maximum(last - first, 0).sum()))
            moves = last > first
            moving[mine[moves]] |= flag
            value = timeline.at(notes.start[mine]).astype(np.float64)
            if flag == MOVING_GAIN:
                gain[mine] = np.where(moves, 1.0, 10.0 ** (value / 20.0))
            else:
                semitones[mine] = np.where(moves, 0.0, np.clip(value, -MAX_BEND, MAX_BEND))
    nearest = np.rint(semitones).astype(np.int64)
    key, semitones = key + nearest, semitones - nearest
    for n in np.flatnonzero(moving & MOVING_BEND).tolist():
        assert notes.channel is not None
        bend = channels[int(notes.channel[n])].bend
        curve = bend_curve(bend, float(notes.start[n]), float(end[n]))
        nearest_key, rest = nearest_semitone(int(pitch[n]), curve, int(lengths[n]), sample_rate)
        key[n], semitones[n] = nearest_key, float(pitch[n] - nearest_key)
        highest[n] = float(rest.semitones.max()) - semitones[n]
    known = np.clip(key, low, high)
    semitones += key - known
    highest += semitones
    expression = Expression(gain, known, semitones, highest, moving)
    _settle_gains(notes, lengths, channels, expression, sample_rate)
    return expression


def bend_curve(bend: Timeline, start: float, end: float, semitones: float = 0.0) -> Curve:
    """Cuts a note's pitch curve out of its channel's timeline, shifted by `semitones`."""
    steps = bend.between(start, end)
    values = np.clip(steps.values.astype(np.float64), -MAX_BEND, MAX_BEND)
    return Curve(steps.times - start, values + semitones)


def needed(
    lengths: NDArray[np.int64],
    notes: Notes,
    found: Expression,
    channels: Mapping[int, Channel],
    sample_rate: int,
) -> NDArray[np.int64]:
    """Counts the samples of the network's sound that each note needs, int64 [n]."""
    ratio = 2.0 ** (found.semitones / 12.0)
    source = np.where(found.semitones == 0, lengths, np.ceil((lengths - 1) * ratio).astype(np.int64) + 1)
    for n in np.flatnonzero(found.moving & MOVING_BEND).tolist():
        assert notes.channel is not None
        start = float(notes.start[n])
        bend = channels[int(notes.channel[n])].bend
        curve = bend_curve(bend, start, start + lengths[n] / sample_rate, float(found.semitones[n]))
        source[n] = source_samples(int(lengths[n]), curve, sample_rate)
    return source


def cut_channels(
    channels: Mapping[int, Channel], used: NDArray[np.uint16], start: float, end: float
) -> dict[int, Channel]:
    """Cuts the parts that the notes of a chunk need out of a song's channels."""
    return {number: channels[number].between(start, end) for number in np.unique(used).tolist() if number in channels}


def steps_of(channels: Mapping[int, Channel]) -> int:
    """Counts the steps of the channels' timelines."""
    return sum(len(channel.gain) + len(channel.bend) for channel in channels.values())


def check_steps(steps: int) -> None:
    """Checks the number of steps of timelines under the notes of a song.

    Raises:
        MidiError: there are more than MAX_STEPS.
    """
    if steps > MAX_STEPS:
        message = f"the song's controllers change {steps} times under its notes, more than {MAX_STEPS}"
        raise MidiError(message, code="midi-too-dense")


def _settle_gains(
    notes: Notes, lengths: NDArray[np.int64], channels: Mapping[int, Channel], found: Expression, sample_rate: int
) -> None:
    """Makes gains constant whose steps within a note all have the same value, as in a part that stays muted."""
    for n in np.flatnonzero(found.moving & MOVING_GAIN).tolist():
        assert notes.channel is not None
        start = float(notes.start[n])
        steps = channels[int(notes.channel[n])].gain.between(start, start + lengths[n] / sample_rate)
        if (steps.values == steps.values[0]).all():
            values = steps.values.astype(np.float64)
            found.gain[n] = gain_curve(steps.times - start, values, int(lengths[n]), sample_rate)
            found.moving[n] &= ~np.uint8(MOVING_GAIN)
