"""MIDI files as a General MIDI synthesizer hears them: one stream of events to channels, and channels have state.

Three steps, none of which makes an object of a note. The events of all tracks are merged by tick into arrays
(`events`). Those that change a channel's state, and no others, run one by one through a synthesizer, which logs what
comes of them (`channels`): programs, pedals, volume in dB, bend in semitones. The notes are then paired and looked up
in the logs, all at once.

Sources: those of `channels`. FluidSynth for what they leave open: a note struck again ends the one that a pedal holds;
sostenuto catches the keys that are down; the shortest note lasts 10 ms.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gansynth.midi import smf
from gansynth.midi.channels import CENTRE, DRUM_CHANNEL, Log, Synthesizer
from gansynth.midi.events import PORT, SEQUENCE, Clock, Events
from gansynth.midi.notes import Channel, Notes, Timeline

SHORTEST_NOTE = 0.01
"""Seconds that a note lasts whose end is in the tick of its start."""
LONGEST_HANG = 2.0
"""Seconds that a note which nothing ends may last after the last note event of its track."""
LONGEST_TAIL = 30.0
"""Seconds that a pedal, or the lack of an all notes off, may prolong a song after its last note event."""


@dataclass(frozen=True)
class Reading:
    """What was heard of a file.

    Attributes:
        notes: in the order in which they begin.
        tracks: int32, for every number in `notes.track` the MIDI track that it belongs to.
        channels: by number; those on which nothing moves are not there.
        ignored: how many events of each kind have no effect.
        repaired_notes: how many notes each repair changed.
    """

    notes: Notes
    tracks: NDArray[np.int32]
    channels: Mapping[int, Channel] = field(default_factory=dict)
    ignored: Mapping[str, int] = field(default_factory=dict)
    repaired_notes: Mapping[str, int] = field(default_factory=dict)


def pair_notes(scan: smf.Scan, pedals: bool = True) -> Reading:
    """Plays the events of a file to the channels.

    Notes are paired first on, first off, per channel and pitch, within a track where the track has both. A note that no
    note-off is left for ends at the next note-on of its key, else LONGEST_HANG after its track's last note event or at
    the track's end, whichever is earlier. One that ends in the tick of its start lasts SHORTEST_NOTE. Of events in one
    tick, those of tracks that strike no note there come first.

    Args:
        scan: of the file; format 2 is one sequence after another, each with channels and a clock of its own.
        pedals: whether sustain and sostenuto pedals hold notes.
    """
    events = Events.of(scan)
    ignored = events.ignored()
    struck = np.flatnonzero(events.struck)
    if not len(struck):
        return Reading(_no_notes(), np.empty(0, np.int32), ignored=ignored)
    synthesizer = Synthesizer(np.unique(events.channel[struck]).tolist(), ignored)
    synthesizer.play(events, scan.data)
    return _Pairer(events, synthesizer, scan, struck).reading(ignored, pedals)


class _Pairer:
    """Makes notes of events and logs; all arrays are parallel to the note-ons, in their order."""

    def __init__(self, events: Events, synthesizer: Synthesizer, scan: smf.Scan, struck: NDArray[np.intp]) -> None:
        self._events, self._synthesizer, self._scan = events, synthesizer, scan
        self._clock = Clock(scan)
        self._never = len(events.tick)
        self._on = struck.astype(np.int64)
        self._numbers, channel = np.unique(events.channel[struck], return_inverse=True)
        self._channel = channel.astype(np.int64)
        self._key = self._channel * 128 + events.first[struck]
        self._offs = synthesizer.offs.index(self._never)
        self._cuts = synthesizer.cuts.index(self._never)

    def reading(self, ignored: Counter[str], pedals: bool) -> Reading:
        """Everything about the notes."""
        events, on, channel = self._events, self._on, self._channel
        voiced, changed, _ = self._synthesizer.voices.index(self._never).before(channel, on)
        voice = np.where(self._numbers[channel] % PORT == DRUM_CHANNEL, 128, 0)
        voice[voiced] = changed[voiced]
        is_drum = (voice >> 7 & 1).astype(np.bool_)

        release, hanging, unused = self._release()
        if unused:
            ignored["note_offs"] += unused
        ended = np.where(is_drum | hanging, release, self._held(release)) if pedals else release
        silenced = self._cuts.after(channel, on)
        start, end, cut, offsets = self._times(release, np.minimum(ended, silenced), silenced)
        short = end <= start
        end = np.where(short, start + SHORTEST_NOTE, end)

        part, tracks = self._parts(voice & 255, release)
        panned, pan, _ = self._synthesizer.pans.index(self._never).before(channel, on)
        notes = Notes(
            pitch=events.first[on].astype(np.int16),
            velocity=events.second[on].astype(np.int16),
            start=start,
            end=end,
            program=(voice & 127).astype(np.int16),
            track=part,
            is_drum=is_drum,
            pan=np.where(panned, pan, CENTRE).astype(np.uint8) if len(self._synthesizer.pans) else None,
            channel=(self._numbers % SEQUENCE)[channel].astype(np.uint16),
            bank=(voice >> 8).astype(np.int16),
            cut=np.maximum(cut, end),
        )
        repaired_notes = {"hanging_notes": int(hanging.sum()), "zero_length_notes": int(short.sum())}
        if len(offsets) > 1:
            repaired_notes["sequences_joined"] = len(notes)
        return Reading(
            notes=notes,
            tracks=tracks,
            channels=self._channels(offsets),
            ignored=dict(ignored),
            repaired_notes={name: count for name, count in repaired_notes.items() if count},
        )

    def _release(self) -> tuple[NDArray[np.int64], NDArray[np.bool_], int]:
        """The event that ends each note's key, `never` for none; which notes hang; how many note-offs end none."""
        events, on, key = self._events, self._on, self._key
        off = np.flatnonzero(events.released)
        off_channel = np.minimum(np.searchsorted(self._numbers, events.channel[off]), len(self._numbers) - 1)
        known = self._numbers[off_channel] == events.channel[off]
        total, off, off_channel = len(off), off[known], off_channel[known]

        event = np.concatenate([on, off])
        opens = np.arange(len(event)) < len(on)
        key = np.concatenate([key, off_channel * 128 + events.first[off]])
        span = self._offs.count(key >> 7, event)  # from one all notes off to the next
        closed = self._offs.after(key >> 7, event) < self._never
        partner = match(event, opens, closed, (events.track[event], span, key))
        left = np.flatnonzero(partner < 0)
        if 0 < np.count_nonzero(opens[left]) < len(left):  # across tracks
            again = match(event[left], opens[left], closed[left], (span[left], key[left]))
            found = again >= 0
            partner[left[found]] = again[found]
        release = np.where(partner < 0, self._offs.after(key >> 7, event), partner)[: len(on)]
        hanging = release == self._never
        release[hanging] = self._struck_again()[hanging]
        return release, hanging, total - int((partner[len(on) :] >= 0).sum())

    def _struck_again(self) -> NDArray[np.int64]:
        """The next note-on of each note's key."""
        order = np.argsort(self._key, kind="stable")
        again = np.full(len(order), self._never)
        same = self._key[order[1:]] == self._key[order[:-1]]
        again[order[:-1][same]] = self._on[order[1:][same]]
        return again

    def _held(self, release: NDArray[np.int64]) -> NDArray[np.int64]:
        """The event that ends each note, which pedals may hold when its key is released, until it is struck again."""
        synthesizer = self._synthesizer
        if not len(synthesizer.sustains) and not len(synthesizer.sostenutos):
            return release
        again = self._struck_again()
        held = np.flatnonzero((release < self._never) & (again > release))
        channel, on, off = self._channel[held], self._on[held], release[held]
        sustains, sostenutos = synthesizer.sustains.index(self._never), synthesizer.sostenutos.index(self._never)

        def sustained(since: NDArray[np.int64]) -> NDArray[np.int64]:
            moved, down, _ = sustains.before(channel, since + 1)
            return np.where(moved & (down > 0), sustains.after(channel, since), since)

        end = sustained(off)
        moved, down, pressed = sostenutos.before(channel, off)
        caught = moved & (down > 0) & (pressed > on)
        lifted = np.where(caught, sostenutos.after(channel, off), off)
        end = np.where(lifted > end, sustained(lifted), end)
        ended = release.copy()
        ended[held] = np.minimum(end, again[held])
        return ended

    def _times(
        self, release: NDArray[np.int64], ended: NDArray[np.int64], cut: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Seconds at which notes start, end and are cut off, and at which each sequence begins."""
        events, never = self._events, self._never
        sequence = self._numbers[self._channel] // SEQUENCE
        track = events.track[self._on]

        def seconds(event: NDArray[np.int64], missing: float) -> NDArray[np.float64]:
            tick = events.tick[np.minimum(event, never - 1)]
            return np.where(event < never, self._clock.seconds(tick, sequence), missing)

        start, end, off = seconds(self._on, 0.0), seconds(ended, 0.0), seconds(release, 0.0)
        last, hang, finish = self._limits()
        end = np.where(ended < never, end, np.maximum(hang[track], off))
        end = np.maximum(start, np.minimum(end, last[sequence] + LONGEST_TAIL))
        span = np.zeros(len(last))
        np.maximum.at(span, sequence, end)
        lengths = np.where(span > 0, np.clip(finish, span, span + LONGEST_HANG), 0.0)
        offsets = np.concatenate([[0.0], np.cumsum(lengths)[:-1]])
        shift = offsets[sequence]
        return start + shift, end + shift, seconds(cut, math.inf) + shift, offsets

    def _limits(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Of each sequence when its last note event is, of each track the latest end of a note that nothing ends, and
        of each sequence when its tracks end."""
        events, scan = self._events, self._scan
        number = np.arange(len(scan.tracks))
        of = number if scan.kind == 2 else np.zeros_like(number)
        event = np.flatnonzero(events.struck | events.released)
        last = np.zeros(len(number), np.int64)
        np.maximum.at(last, events.track[event], events.tick[event])
        last_second = self._clock.seconds(last, of)
        final = self._clock.seconds(np.array([track.tick for track in scan.tracks]), of)
        whole = np.array([track.ended for track in scan.tracks])
        hang = np.where(whole, np.minimum(last_second + LONGEST_HANG, final), last_second + LONGEST_HANG)
        latest, finish = np.zeros(of[-1] + 1), np.zeros(of[-1] + 1)
        np.maximum.at(latest, of, last_second)
        np.maximum.at(finish, of, final)
        return latest, hang, finish

    def _parts(
        self, voice: NDArray[np.int64], release: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Numbers of the parts of notes, and the track of each part; they are numbered by track, and there by end."""
        track = self._events.track[self._on].astype(np.int64)
        keys, first, part = np.unique(
            (track * len(self._numbers) + self._channel) * 256 + voice, return_index=True, return_inverse=True
        )
        ended = np.full(len(keys), self._never)
        np.minimum.at(ended, part, release)
        order = np.lexsort((ended, track[first]))
        number = np.empty(len(keys), np.int32)
        number[order] = np.arange(len(keys), dtype=np.int32)
        return number[part], track[first][order].astype(np.int32)

    def _channels(self, offsets: NDArray[np.float64]) -> dict[int, Channel]:
        """The timelines of all channels on which something moves."""
        gains, bends = (self._timelines(log, offsets) for log in (self._synthesizer.gains, self._synthesizer.bends))
        empty = Timeline()
        return {
            number: Channel(gains.get(number, empty), bends.get(number, empty)) for number in sorted({*gains, *bends})
        }

    def _timelines(self, log: Log, offsets: NDArray[np.float64]) -> dict[int, Timeline]:
        if not len(log):
            return {}
        index = log.index(self._never)
        number = self._numbers[index.channels]
        sequence = number // SEQUENCE
        times = self._clock.seconds(self._events.tick[index.events], sequence) + offsets[sequence]
        number, values = number % SEQUENCE, index.values
        if len(offsets) > 1:
            # What moved in one sequence is as it was when the next begins.
            until = np.append(offsets[1:], math.inf)
            inside = times < until[sequence]
            moved = self._numbers[np.unique(index.channels)]
            number = np.concatenate([moved % SEQUENCE, number[inside]])
            times = np.concatenate([until[moved // SEQUENCE], times[inside]])
            values = np.concatenate([np.zeros(len(moved)), values[inside]])
            order = np.lexsort((times, number))
            number, times, values = number[order], times[order], values[order]
        found = {}
        for at in np.split(np.arange(len(number)), np.flatnonzero(np.diff(number)) + 1):
            line = _steps(times[at], values[at])
            if len(line):
                found[int(number[at[0]])] = line
        return found


def match(
    event: NDArray[np.int64],
    opens: NDArray[np.bool_],
    closed: NDArray[np.bool_],
    columns: Sequence[NDArray[np.integer]],
) -> NDArray[np.int64]:
    """Pairs note-ons and note-offs that are alike in all columns, first on, first off.

    A note-on that no note-off is left for is paired with none: one that no later note-off can end, where each later
    note-on takes one note-off of those behind it. Where an all notes off ends what is left, it is the last note-ons.

    Args:
        event: [n], distinct.
        opens: [n], true for a note-on, false for a note-off.
        closed: [n], whether an all notes off follows; the same for all that are alike.
        columns: each [n].

    Returns:
        int64 [n], for each the event that it is paired with, -1 for none.
    """
    partner = np.full(len(event), -1)
    if not len(event):
        return partner
    order = np.lexsort((event, *columns))
    new = np.zeros(len(order), np.bool_)
    for column in columns:
        new[1:] |= column[order[1:]] != column[order[:-1]]
    group = np.cumsum(new)
    sign = np.where(opens[order], 1, -1)
    depth = np.cumsum(sign)
    first = np.flatnonzero(np.concatenate([[True], new[1:]]))
    depth = depth - np.repeat((depth - sign)[first], np.diff(first, append=len(order)))  # from 0 in each group
    apart = group * np.int64(2 * len(order) + 2)
    # A note-off is one too many where the depth falls below 0 and all that it was before.
    lowest = np.minimum.accumulate(depth - apart) + apart
    before = np.minimum(0, np.where(new, 0, np.concatenate([[0], lowest[:-1]])))
    used = (sign < 0) & (depth >= before)
    # A note-on has a note-off left where the depth falls below its own later.
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


def _steps(times: NDArray[np.float64], values: NDArray[np.float64]) -> Timeline:
    """A timeline: the last value of each time, and none that changes nothing."""
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
