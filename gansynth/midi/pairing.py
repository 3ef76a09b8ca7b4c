"""Notes of a MIDI file as a General MIDI synthesizer plays them, paired in arrays.

Three steps, none of which creates an object per note: the events of all tracks are merged by tick (`events`); those
that change a channel's state are applied one by one, and the changes of programs, pedals, volume in dB and bend in
semitones are logged (`channels`); then all notes are paired and looked up in the logs.

Sources: those of `channels`. FluidSynth for what they leave open: a note-on ends a note of its pitch that a pedal
holds; sostenuto holds the keys that are down; the shortest note lasts 10 ms.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gansynth.midi import smf
from gansynth.midi.channels import DRUM_CHANNEL, ChangeLog, ChannelStates
from gansynth.midi.events import PORT_STEP, SEQUENCE_STEP, Clock, Events
from gansynth.midi.notes import CENTRE, Channel, Notes, Timeline

SHORTEST_NOTE = 0.01
"""Length in seconds of a note that ends in the tick of its start."""
HANGING_SECONDS = 2.0
"""Time in seconds after the last note event of its track at which a note without an end is ended."""
MAX_TAIL = 30.0
"""Longest time in seconds by which pedals or late events prolong a song after its last note event."""


@dataclass(frozen=True)
class PairedNotes:
    """The notes of a file, and the states of the channels that shape them.

    Attributes:
        notes: sorted by start.
        tracks: int32, number of the MIDI track of each part in `notes.track`.
        channels: by number; channels on which nothing changes are left out.
        ignored: number of events without effect, by kind.
        repaired_notes: number of notes that each repair changed.
    """

    notes: Notes
    tracks: NDArray[np.int32]
    channels: Mapping[int, Channel] = field(default_factory=dict)
    ignored: Mapping[str, int] = field(default_factory=dict)
    repaired_notes: Mapping[str, int] = field(default_factory=dict)


def pair_notes(scan: smf.Scan, pedals: bool = True) -> PairedNotes:
    """Pairs the note-ons and note-offs of a file, and applies its channel states to the notes.

    The first note-off ends the first note of its channel and pitch, of the same track if there is one. A note for which
    no note-off is left ends at the next note-on of its channel and pitch, otherwise HANGING_SECONDS after the last note
    event of its track or at the end of the track, whichever is earlier. A note that ends in the tick of its start lasts
    SHORTEST_NOTE.

    Args:
        scan: of the file; the tracks of format 2 follow one another, each with its own channels and tempos.
        pedals: whether sustain and sostenuto pedals hold notes.
    """
    events = Events.of(scan)
    ignored = events.count_ignored()
    note_ons = np.flatnonzero(events.is_note_on)
    if not len(note_ons):
        return PairedNotes(_no_notes(), np.empty(0, np.int32), ignored=ignored)
    states = ChannelStates(np.unique(events.channel[note_ons]).tolist(), ignored)
    states.apply(events, scan.data)
    return _Pairing(events, states, scan, note_ons).result(ignored, pedals)


class _Pairing:
    """The computation of notes from events and logs; all arrays are parallel to the note-ons, in their order."""

    def __init__(self, events: Events, states: ChannelStates, scan: smf.Scan, note_ons: NDArray[np.intp]) -> None:
        self._events, self._states, self._scan = events, states, scan
        self._clock = Clock(scan)
        self._no_event = len(events.tick)
        self._on = note_ons.astype(np.int64)
        self._numbers, channel = np.unique(events.channel[note_ons], return_inverse=True)
        self._channel = channel.astype(np.int64)
        self._key = self._channel * 128 + events.first[note_ons]
        self._notes_off = states.notes_off.index(self._no_event)
        self._sound_off = states.sound_off.index(self._no_event)

    def result(self, ignored: Counter[str], pedals: bool) -> PairedNotes:
        """Computes the notes and the channels."""
        events, on, channel = self._events, self._on, self._channel
        changed, value, _ = self._states.programs.index(self._no_event).before(channel, on)
        program = np.where(self._numbers[channel] % PORT_STEP == DRUM_CHANNEL, 128, 0)
        program[changed] = value[changed]
        is_drum = (program >> 7 & 1).astype(np.bool_)

        release, hanging, unused = self._release()
        if unused:
            ignored["note_offs"] += unused
        ended = np.where(is_drum | hanging, release, self._apply_pedals(release)) if pedals else release
        silenced = self._sound_off.after(channel, on)
        start, end, cut, offsets = self._times(release, np.minimum(ended, silenced), silenced)
        short = end <= start
        end = np.where(short, start + SHORTEST_NOTE, end)

        part, tracks = self._parts(program & 255, release)
        panned, pan, _ = self._states.pans.index(self._no_event).before(channel, on)
        notes = Notes(
            pitch=events.first[on].astype(np.int16),
            velocity=events.second[on].astype(np.int16),
            start=start,
            end=end,
            program=(program & 127).astype(np.int16),
            track=part,
            is_drum=is_drum,
            pan=np.where(panned, pan, CENTRE).astype(np.uint8) if len(self._states.pans) else None,
            channel=(self._numbers % SEQUENCE_STEP)[channel].astype(np.uint16),
            bank=(program >> 8).astype(np.int16),
            cut=np.maximum(cut, end),
        )
        repaired_notes = {"hanging_notes": int(hanging.sum()), "zero_length_notes": int(short.sum())}
        if len(offsets) > 1:
            repaired_notes["sequences_joined"] = len(notes)
        return PairedNotes(
            notes=notes,
            tracks=tracks,
            channels=self._channels(offsets),
            ignored=dict(ignored),
            repaired_notes={name: count for name, count in repaired_notes.items() if count},
        )

    def _release(self) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
        """Finds the event that releases each note, the notes without one, and the number of unused note-offs."""
        events, on, key = self._events, self._on, self._key
        off = np.flatnonzero(events.is_note_off)
        off_channel = np.minimum(np.searchsorted(self._numbers, events.channel[off]), len(self._numbers) - 1)
        known = self._numbers[off_channel] == events.channel[off]
        total, off, off_channel = len(off), off[known], off_channel[known]

        event = np.concatenate([on, off])
        is_on = np.arange(len(event)) < len(on)
        key = np.concatenate([key, off_channel * 128 + events.first[off]])
        span = self._notes_off.count(key >> 7, event)  # from one all notes off to the next
        all_off = self._notes_off.after(key >> 7, event)
        closed = all_off < self._no_event
        partner = pair_events(event, is_on, closed, (events.track[event], span, key))
        left = np.flatnonzero(partner < 0)
        if 0 < np.count_nonzero(is_on[left]) < len(left):  # across tracks
            again = pair_events(event[left], is_on[left], closed[left], (span[left], key[left]))
            found = again >= 0
            partner[left[found]] = again[found]
        release = np.where(partner < 0, all_off, partner)[: len(on)]
        hanging = release == self._no_event
        release[hanging] = self._next_note_on()[hanging]
        return release, hanging, total - int((partner[len(on) :] >= 0).sum())

    def _next_note_on(self) -> NDArray[np.int64]:
        """Finds the next note-on of each note's channel and pitch; `no_event` if there is none."""
        order = np.argsort(self._key, kind="stable")
        again = np.full(len(order), self._no_event)
        same = self._key[order[1:]] == self._key[order[:-1]]
        again[order[:-1][same]] = self._on[order[1:][same]]
        return again

    def _apply_pedals(self, release: NDArray[np.int64]) -> NDArray[np.int64]:
        """Finds the event that ends each note: pedals hold it after its release, at most until the next note-on."""
        states, no_event = self._states, self._no_event
        if not len(states.sustains) and not len(states.sostenutos):
            return release
        again = self._next_note_on()
        held = np.flatnonzero((release < no_event) & (again > release))
        channel, on, off = self._channel[held], self._on[held], release[held]
        sustains, sostenutos = states.sustains.index(no_event), states.sostenutos.index(no_event)

        def sustained(since: NDArray[np.int64]) -> NDArray[np.int64]:
            moved, down, _ = sustains.before(channel, since + 1)
            return np.where(moved & (down > 0), sustains.after(channel, since), since)

        end = sustained(off)
        moved, down, pressed = sostenutos.before(channel, off)
        is_held = moved & (down > 0) & (pressed > on)
        lifted = np.where(is_held, sostenutos.after(channel, off), off)
        end = np.where(lifted > end, sustained(lifted), end)
        ended = release.copy()
        ended[held] = np.minimum(end, again[held])
        return ended

    def _times(
        self, release: NDArray[np.int64], ended: NDArray[np.int64], cut: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Computes the seconds at which notes start, end and are cut off, and at which each sequence begins."""
        events, no_event = self._events, self._no_event
        sequence = self._numbers[self._channel] // SEQUENCE_STEP
        track = events.track[self._on]

        def seconds(event: NDArray[np.int64], missing: float) -> NDArray[np.float64]:
            tick = events.tick[np.minimum(event, no_event - 1)]
            return np.where(event < no_event, self._clock.seconds(tick, sequence), missing)

        start, end, off = seconds(self._on, 0.0), seconds(ended, 0.0), seconds(release, 0.0)
        last, latest, finish = self._limits()
        end = np.where(ended < no_event, end, np.maximum(latest[track], off))
        end = np.maximum(start, np.minimum(end, last[sequence] + MAX_TAIL))
        span = np.zeros(len(last))
        np.maximum.at(span, sequence, end)
        lengths = np.where(span > 0, np.clip(finish, span, span + HANGING_SECONDS), 0.0)
        offsets = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
        shift = offsets[sequence]
        return start + shift, end + shift, seconds(cut, math.inf) + shift, offsets

    def _limits(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Computes limits of the ends of notes, in seconds.

        Returns:
            The last note event of each sequence, the end of hanging notes by track, and the end of each sequence.
        """
        events, scan = self._events, self._scan
        number = np.arange(len(scan.tracks))
        sequence = number if scan.format == 2 else np.zeros_like(number)
        event = np.flatnonzero(events.is_note_on | events.is_note_off)
        last = np.zeros(len(number), np.int64)
        np.maximum.at(last, events.track[event], events.tick[event])
        last_second = self._clock.seconds(last, sequence)
        track_end = self._clock.seconds(np.array([track.tick for track in scan.tracks]), sequence)
        ended = np.array([track.ended for track in scan.tracks])
        hanging_end = last_second + HANGING_SECONDS
        hanging_end = np.where(ended, np.minimum(hanging_end, track_end), hanging_end)
        last_event, finish = np.zeros(sequence[-1] + 1), np.zeros(sequence[-1] + 1)
        np.maximum.at(last_event, sequence, last_second)
        np.maximum.at(finish, sequence, track_end)
        return last_event, hanging_end, finish

    def _parts(
        self, program: NDArray[np.int64], release: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Numbers the parts by track and then by the first release of a note.

        Args:
            program: int64 [n], program + 128 * is_drum.
            release: int64 [n], event that releases each note.

        Returns:
            The part of each note, and the track of each part.
        """
        track = self._events.track[self._on].astype(np.int64)
        keys, first, part = np.unique(
            (track * len(self._numbers) + self._channel) * 256 + program, return_index=True, return_inverse=True
        )
        ended = np.full(len(keys), self._no_event)
        np.minimum.at(ended, part, release)
        order = np.lexsort((ended, track[first]))
        number = np.empty(len(keys), np.int32)
        number[order] = np.arange(len(keys), dtype=np.int32)
        return number[part], track[first][order].astype(np.int32)

    def _channels(self, offsets: NDArray[np.float64]) -> dict[int, Channel]:
        """Computes the timelines of all channels on which gain or bend changes."""
        gains, bends = (self._timelines(log, offsets) for log in (self._states.gains, self._states.bends))
        empty = Timeline()
        return {
            number: Channel(gains.get(number, empty), bends.get(number, empty)) for number in sorted({*gains, *bends})
        }

    def _timelines(self, log: ChangeLog, offsets: NDArray[np.float64]) -> dict[int, Timeline]:
        if not len(log):
            return {}
        index = log.index(self._no_event)
        number = self._numbers[index.channels]
        sequence = number // SEQUENCE_STEP
        times = self._clock.seconds(self._events.tick[index.events], sequence) + offsets[sequence]
        number, values = number % SEQUENCE_STEP, index.values
        if len(offsets) > 1:
            # The default state is restored where the next sequence begins.
            until = np.append(offsets[1:], math.inf)
            inside = times < until[sequence]
            moved = self._numbers[np.unique(index.channels)]
            number = np.concatenate([moved % SEQUENCE_STEP, number[inside]])
            times = np.concatenate([until[moved // SEQUENCE_STEP], times[inside]])
            values = np.concatenate([np.zeros(len(moved)), values[inside]])
            order = np.lexsort((times, number))
            number, times, values = number[order], times[order], values[order]
        return timelines(number, times, values)


def timelines(
    channel: NDArray[np.int64], times: NDArray[np.float64], values: NDArray[np.float64]
) -> dict[int, Timeline]:
    """Makes timelines of the steps of all channels; channels without a change are left out.

    Args:
        channel: int64 [n], sorted.
        times: float64 [n], seconds, sorted within a channel.
        values: float64 [n].

    Returns:
        Timelines by channel.
    """
    found = {}
    for at in np.split(np.arange(len(channel)), np.flatnonzero(np.diff(channel)) + 1):
        line = _timeline(times[at], values[at])
        if len(line):
            found[int(channel[at[0]])] = line
    return found


def pair_events(
    event: NDArray[np.int64],
    is_on: NDArray[np.bool_],
    closed: NDArray[np.bool_],
    columns: Sequence[NDArray[np.integer]],
) -> NDArray[np.int64]:
    """Pairs note-ons and note-offs that are equal in all columns, in their order.

    As many pairs are formed as possible. If note-offs are missing, the note-ons without a partner are those that remain
    when every note-off is counted for the last open note-on before it; with a following all notes off, they are the
    last note-ons.

    Args:
        event: int64 [n], distinct numbers of events.
        is_on: bool [n], True for a note-on, False for a note-off.
        closed: bool [n], whether an all notes off follows; the same for all events equal in the columns.
        columns: each int [n].

    Returns:
        int64 [n], the event that each is paired with; -1 for none.
    """
    partner = np.full(len(event), -1)
    if not len(event):
        return partner
    order = np.lexsort((event, *columns))
    new = np.zeros(len(order), np.bool_)
    for column in columns:
        new[1:] |= column[order[1:]] != column[order[:-1]]
    group = np.cumsum(new)
    sign = np.where(is_on[order], 1, -1)
    depth = np.cumsum(sign)
    first = np.flatnonzero(np.concatenate([[True], new[1:]]))
    depth = depth - np.repeat((depth - sign)[first], np.diff(first, append=len(order)))  # from 0 in each group
    apart = group * np.int64(2 * len(order) + 2)
    # A note-off has no note-on left where the depth falls below 0 and below all depths before.
    lowest = np.minimum.accumulate(depth - apart) + apart
    before = np.minimum(0, np.where(new, 0, np.concatenate([[0], lowest[:-1]])))
    used = (sign < 0) & (depth >= before)
    # A note-on has a note-off left where a later depth is below its own.
    lowest = (np.minimum.accumulate((depth + apart)[::-1]) - apart[::-1])[::-1]
    last = np.concatenate([new[1:], [True]])
    after = np.where(last, len(order) + 1, np.concatenate([lowest[1:], [0]]))
    ended = (sign > 0) & (after < depth)
    if closed.any():
        rank = np.cumsum(sign > 0)
        rank = rank - np.repeat((rank - (sign > 0))[first], np.diff(first, append=len(order)))
        ended = np.where(
            closed[order], (sign > 0) & (rank <= np.bincount(group[used], minlength=len(first))[group]), ended
        )
    on, off = order[ended], order[used]
    partner[on], partner[off] = event[off], event[on]
    return partner


def _timeline(times: NDArray[np.float64], values: NDArray[np.float64]) -> Timeline:
    """Makes a timeline of the last value at each time, without values that change nothing."""
    last = np.append(times[1:] != times[:-1], True) & np.isfinite(times)
    times, steps = times[last], values[last].astype(np.float32)
    new = steps != np.concatenate([np.zeros(1, np.float32), steps[:-1]])
    return Timeline(times[new], steps[new])


def _no_notes() -> Notes:
    return Notes(
        pitch=np.empty(0, np.int16),
        velocity=np.empty(0, np.int16),
        start=np.empty(0),
        end=np.empty(0),
        program=np.empty(0, np.int16),
        track=np.empty(0, np.int32),
        is_drum=np.empty(0, np.bool_),
        channel=np.empty(0, np.uint16),
        bank=np.empty(0, np.int16),
        cut=np.empty(0),
    )
