"""Reader of MIDI files based on note_seq, which Magenta uses."""

from __future__ import annotations

import contextlib
import gc
import io
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pretty_midi
from numpy.typing import NDArray

from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.midi._note_seq import midi_io
from gansynth.midi.channels import ChannelStates
from gansynth.midi.events import PORT_STEP, Events
from gansynth.midi.notes import CENTRE, Channel, Notes, Song, Timeline
from gansynth.midi.pairing import timelines
from gansynth.midi.pedal import hold
from gansynth.midi.repair import MAX_TICKS, Prepared
from gansynth.midi.text import MAX_NAME_LENGTH, decode_names

SUSTAIN = 64
"""Controller number of the sustain pedal; values from 64 on mean down."""
PAN = 10
"""Controller number of pan."""
_MAX_CHANNELS = 4096 * 14


def read_note_seq(prepared: Prepared, digest: str, config: NotesConfig) -> Song:
    """Reads a song with note_seq, as Magenta does; note_seq uses pretty_midi.

    Args:
        prepared: the checked and repaired file.
        digest: "sha256:..." of the original bytes.
        config: `sustain_pedal` decides if the pedal holds notes.

    Raises:
        MidiError: note_seq cannot read the file.
    """
    with _without_collections(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pretty_midi about playable files, of pydub about its own source
        sequence = _parse(prepared)
    return replace(song_of(sequence, digest, config), repairs=prepared.repairs, texts=prepared.texts)


def song_of(sequence: Any, digest: str, config: NotesConfig) -> Song:
    """Converts a NoteSequence to a song.

    Args:
        sequence: note_seq NoteSequence proto; times in seconds, so an unquantized one.
        digest: by which the song is known.
        config: `sustain_pedal` decides if the pedal holds notes, `text_encoding` how names are decoded, and `reader`
            if volume, expression and pitch bends are heard (channels) or not (note_seq, as Magenta).
    """
    found = sequence.notes
    notes = Notes(
        pitch=np.array([n.pitch for n in found], np.int16),
        velocity=np.array([n.velocity for n in found], np.int16),
        start=np.array([n.start_time for n in found], np.float64),
        end=np.array([n.end_time for n in found], np.float64),
        program=np.array([n.program for n in found], np.int16),
        track=np.array([n.instrument for n in found], np.int32),
        is_drum=np.array([n.is_drum for n in found], np.bool_),
    )
    notes = replace(notes, pan=_pan(notes, [c for c in sequence.control_changes if c.control_number == PAN]))
    if config.sustain_pedal:
        notes = _hold(notes, [change for change in sequence.control_changes if change.control_number == SUSTAIN])
    channels: dict[int, Channel] = {}
    ignored: Counter[str] = Counter()
    if config.reader == "channels":
        notes, channels = _expressed(notes, sequence, ignored)
    infos = sequence.instrument_infos
    # mido decodes all names as Latin-1, which preserves their bytes.
    names = decode_names([info.name.encode("latin-1", "replace") for info in infos], config.text_encoding)
    track_names = {info.instrument: name for info, name in zip(infos, names, strict=True) if name}
    return Song(notes, digest, (), track_names, channels, dict(sorted(ignored.items())))


def _expressed(notes: Notes, sequence: Any, ignored: Counter[str]) -> tuple[Notes, dict[int, Channel]]:
    """Applies a sequence's control changes and pitch bends, with a separate channel for each instrument.

    Returns:
        The notes with their channels, and the channels on which gain or bend changes.
    """
    changes = [(c.time, 0xB0, c.control_number, c.control_value, c.instrument) for c in sequence.control_changes]
    for bend in sequence.pitch_bends:
        wheel = min(max(bend.bend, -8192), 8191) + 8192
        changes.append((bend.time, 0xE0, wheel & 127, wheel >> 7, bend.instrument))
    changes = [change for change in changes if 0 <= change[2] < 128 and 0 <= change[3] < 128 and change[0] >= 0]
    changes.sort(key=lambda change: change[0])
    if not changes:
        return notes, {}
    instruments = sorted({change[4] for change in changes})
    if len(instruments) > _MAX_CHANNELS:
        raise MidiError(f"more than {_MAX_CHANNELS} instruments have control changes or bends", code="midi-too-dense")
    # The first and last channel of a port are not used: only these can set up MPE zones.
    numbers = {instrument: i // 14 * PORT_STEP + 1 + i % 14 for i, instrument in enumerate(instruments)}
    rest = np.zeros(len(changes), np.int64)
    events = Events(
        tick=np.arange(len(changes)),
        status=np.array([change[1] for change in changes], np.uint8),
        channel=np.array([numbers[change[4]] for change in changes], np.int64),
        first=np.array([change[2] for change in changes], np.uint8),
        second=np.array([change[3] for change in changes], np.uint8),
        track=rest.astype(np.int32),
        sysex=rest,
        sysex_bodies=[],
    )
    ignored.update(events.count_ignored())
    states = ChannelStates(list(numbers.values()), ignored)
    states.apply(events, b"")
    times, known = np.array([change[0] for change in changes]), np.array(list(numbers.values()))
    found: list[dict[int, Timeline]] = []
    for log in (states.gains, states.bends):
        index = log.index(len(changes))
        found.append(timelines(known[index.channels], times[index.events], index.values) if len(log) else {})
    gains, bends = found
    constant = Timeline()
    channel = np.array([numbers.get(track, 0) for track in notes.track.tolist()], np.uint16)
    channels = {n: Channel(gains.get(n, constant), bends.get(n, constant)) for n in sorted({*gains, *bends})}
    return replace(notes, channel=channel), channels


def _pan(notes: Notes, changes: list[Any]) -> NDArray[np.uint8] | None:
    """Finds the last pan value before or at each note's start in its track; the centre if there is none."""
    if not changes or not len(notes):
        return None
    # The rank of a time is an integer, so that track and time form one exact key.
    times = np.concatenate([[change.time for change in changes], notes.start])
    distinct, rank = np.unique(times, return_inverse=True)
    track = np.array([change.instrument for change in changes], np.int64)
    order = np.argsort(track * len(distinct) + rank[: len(changes)], kind="stable")
    key = (track * len(distinct) + rank[: len(changes)])[order]
    last = np.searchsorted(key, notes.track * np.int64(len(distinct)) + rank[len(changes) :], side="right") - 1
    value = np.array([change.control_value for change in changes], np.uint8)[order]
    return np.where((last >= 0) & (track[order][last] == notes.track), value[last], np.uint8(CENTRE))


def _hold(notes: Notes, pedal: list[Any]) -> Notes:
    """Applies the sustain pedal to all notes but drums."""
    pitched = np.flatnonzero(~notes.is_drum)
    if not pedal or not len(pitched):
        return notes
    end, kept = notes.end.copy(), np.ones(len(notes), np.bool_)
    end[pitched], kept[pitched] = hold(
        notes.start[pitched],
        notes.end[pitched],
        notes.pitch[pitched],
        notes.track[pitched],
        np.array([change.time for change in pedal], np.float64),
        np.array([change.instrument for change in pedal], np.int64),
        np.array([change.control_value >= 64 for change in pedal], np.bool_),
    )
    return replace(notes, end=end)[kept]


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Disables garbage collection: the parser creates many objects, none in cycles, and is a third faster without."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _parse(prepared: Prepared) -> Any:
    pretty_midi.pretty_midi.MAX_TICK = MAX_TICKS
    try:
        midi = pretty_midi.PrettyMIDI(io.BytesIO(prepared.data))
        for instrument in midi.instruments:
            # note_seq copies a track's name, perhaps a million letters, for each of its programs and channels.
            instrument.name = instrument.name[: 4 * MAX_NAME_LENGTH]
        return midi_io.midi_to_note_sequence(midi)
    except Exception as error:  # the parser may raise anything on arbitrary bytes
        raise MidiError(_explain(error), code=prepared.code) from None


def _explain(error: Exception) -> str:
    """Describes an error of the parser."""
    kind, message = type(error).__name__, str(error)
    if kind == "EOFError":
        return "the file is truncated, or not a MIDI file: the data end too early"
    return message if kind == "OSError" and message else f"{kind}: {message}".strip(": ")
