"""Pairing of notes compared with a model that plays event by event, as a synthesizer does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gansynth.config import NotesConfig
from gansynth.midi.load import load_midi
from gansynth.midi.pairing import HANGING_SECONDS, MAX_TAIL, SHORTEST_NOTE, pair_events
from tests.support.midi_bytes import Event, cc, midi, off, on, track

NOTES = st.tuples(st.sampled_from(["on", "on", "off", "off"]), st.integers(60, 61), st.integers(0, 1))
CONTROLS = st.tuples(
    st.sampled_from([(64, 127), (64, 0), (66, 127), (66, 0), (123, 0), (120, 0), (121, 0)]),
    st.just(0),
    st.integers(0, 1),
)
EVENTS = st.lists(st.tuples(st.integers(0, 2), st.one_of(NOTES, NOTES, CONTROLS)), max_size=24)


@dataclass
class Struck:
    start: int
    pitch: int
    velocity: int
    hangs: bool
    down: bool = True
    caught: bool = False
    end: int | None = None
    off: int | None = None
    cut: int | None = None


class Model:
    """A model of one channel that plays event by event."""

    def __init__(self, events: list[tuple[int, object, int]]) -> None:
        self.events, self.notes = events, []  # type: ignore[var-annotated]
        self.sustain = self.sostenuto = False
        for index, (tick, kind, pitch) in enumerate(events):
            self.play(index, tick, kind, pitch)

    def hangs(self, index: int) -> bool:
        """Tells whether no note-off is left for a note-on: each later one is needed for a later note-on."""
        depth, pitch = 1, self.events[index][2]
        for _, kind, other in self.events[index + 1 :]:
            if kind in ((123, 0), (120, 0)):
                return False
            if other == pitch and kind in ("on", "off"):
                depth += 1 if kind == "on" else -1
                if not depth:
                    return False
        return True

    def play(self, index: int, tick: int, kind: object, pitch: int) -> None:
        sounding = [note for note in self.notes if note.end is None]
        if kind == "on":
            for note in sounding:
                if note.pitch == pitch and (note.hangs or not note.down):
                    note.end = tick
            self.notes.append(Struck(tick, pitch, index % 127 + 1, self.hangs(index)))
        elif kind == "off":
            down = [note for note in sounding if note.pitch == pitch and note.down and not note.hangs]
            if down:
                self.release(down[0], tick)
        elif kind == (123, 0):
            for note in sounding:
                if note.down:
                    self.release(note, tick)
        elif kind == (120, 0):
            for note in self.notes:
                note.cut = tick if note.cut is None else note.cut
            for note in sounding:
                note.end = tick
        elif kind == (121, 0):
            self.pedals(False, False, tick)
        elif kind in ((64, 127), (64, 0)):
            self.pedals(kind == (64, 127), self.sostenuto, tick)
        else:
            self.pedals(self.sustain, kind == (66, 127), tick)

    def release(self, note: Struck, tick: int) -> None:
        note.down, note.off = False, tick
        again = any(other.pitch == note.pitch for other in self.notes[self.notes.index(note) + 1 :])
        if again or not (self.sustain or note.caught):
            note.end = tick

    def pedals(self, sustain: bool, sostenuto: bool, tick: int) -> None:
        if sostenuto != self.sostenuto:
            for note in self.notes:
                note.caught = sostenuto and note.down and note.end is None
        self.sustain, self.sostenuto = sustain, sostenuto
        for note in self.notes:
            if note.end is None and not note.down and not (sustain or note.caught):
                note.end = tick


@settings(max_examples=300)
@given(EVENTS)
def test_any_events_as_a_synthesizer_plays_them(steps: list[tuple[int, tuple[object, int, int]]]) -> None:
    messages: list[Event] = []
    channels: dict[int, list[tuple[int, object, int]]] = {0: [], 1: []}
    tick = 0
    for gap, (kind, pitch, channel) in steps:
        tick += 96 * gap
        velocity = len(channels[channel]) % 127 + 1
        if kind == "on":
            messages.append(on(tick, pitch, channel, velocity))
        elif kind == "off":
            messages.append(off(tick, pitch, channel))
        else:
            assert isinstance(kind, tuple)
            messages.append(cc(tick, *kind, channel))
        channels[channel].append((tick, kind, pitch))
    late = tick + 9600
    notes = load_midi(midi(track(messages, end=late)), NotesConfig()).notes
    last = max((message[0] for message in messages if message[1][0] < 0xA0), default=0) / 960
    for channel, events in channels.items():
        expected = []
        for note in Model(events).notes:
            start = note.start / 960
            end = last + HANGING_SECONDS if note.end is None else min(note.end / 960, last + MAX_TAIL)
            if note.end is None and note.off is not None:
                end = max(end, note.off / 960)
            end = start + SHORTEST_NOTE if end <= start else end
            cut = np.inf if note.cut is None else max(note.cut / 960, end)
            expected.append((note.pitch, note.velocity, start, end, cut))
        assert notes.channel is not None
        assert notes.cut is not None
        found = notes[notes.channel == channel]
        assert found.cut is not None
        rows = zip(found.pitch.tolist(), found.velocity.tolist(), found.start, found.end, found.cut, strict=True)
        assert [tuple(row) for row in rows] == [pytest.approx(row) for row in expected]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 2)), max_size=30))
def test_pairs_are_first_on_first_off_and_as_many_as_can_be(events: list[tuple[bool, int]]) -> None:
    is_note_on = np.array([is_on for is_on, _ in events], np.bool_)
    key = np.array([key for _, key in events], np.int64)
    partner = pair_events(np.arange(len(events)), is_note_on, np.zeros(len(events), np.bool_), (key,)).tolist()
    for group in range(3):
        waiting: list[int] = []
        pairs = 0
        for at, (is_on, which) in enumerate(events):
            if which != group:
                continue
            if is_on:
                waiting.append(at)
            elif waiting:
                waiting.pop()
                pairs += 1
        # As many pairs as brackets that match, and without partner the note-ons that are the brackets left open.
        mine = [at for at in range(len(events)) if key[at] == group]
        assert sum(partner[at] >= 0 and bool(is_note_on[at]) for at in mine) == pairs
        assert [at for at in mine if is_note_on[at] and partner[at] < 0] == waiting
        paired = [(at, partner[at]) for at in mine if is_note_on[at] and partner[at] >= 0]
        assert all(start < end and partner[end] == start for start, end in paired)
        assert [end for _, end in paired] == sorted(end for _, end in paired)
