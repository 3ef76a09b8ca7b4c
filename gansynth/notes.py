"""MIDI files as arrays of notes, and the policies that decide which of them are played."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import io
import os
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansynth import smf, storage
from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.midi.reading import read_notes
from gansynth.midi.song import Notes, Song
from gansynth.midi.text import LONGEST_NAME, decode_names
from gansynth.pedal import hold
from gansynth.salvage import MAX_TICKS, Prepared, check_limits, prepare, unwrap

SUSTAIN = 64
"""The sustain pedal's controller number; values from 64 on mean down."""
PAN, CENTRE = 10, 64
"""The controller that says where between the loudspeakers a channel is, and the value in the middle."""


def digest_of(data: bytes) -> str:
    """What a file's bytes are known by: "sha256:..."."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def read_midi(url: str, config: NotesConfig) -> bytes:
    """The bytes of a MIDI file.

    Raises:
        MidiError: it is larger than `max_file_bytes`; no more than that is read.
        OSError: it cannot be read.
    """
    data = storage.read_bytes(url, config.max_file_bytes + 1)
    if len(data) > config.max_file_bytes:
        raise _too_large(config)
    return data


def _too_large(config: NotesConfig) -> MidiError:
    return MidiError(f"it is larger than notes.max_file_bytes {config.max_file_bytes}", code="midi-too-large")


def load_midi(source: str | os.PathLike[str] | bytes, config: NotesConfig | None = None) -> Song:
    """Reads a MIDI file.

    Args:
        source: a path or fsspec URL, or the file's bytes.
        config: reader, limits, salvage, and whether pedals hold notes; the defaults if None.

    Raises:
        MidiError: the bytes are no MIDI that can be read or mended, or pass a limit.
        OSError: the file cannot be read.
    """
    config = config or NotesConfig()
    data = source if isinstance(source, bytes) else read_midi(os.fspath(source), config)
    if len(data) > config.max_file_bytes:
        raise _too_large(config)
    if config.reader == "channels":
        return read_notes(data, config)
    prepared = prepare(data, config)
    with _without_collections(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pretty_midi warns of odd but playable files, pydub of its own source
        sequence = _parse(prepared)
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
    infos = sequence.instrument_infos
    # mido takes all names for Latin-1, which keeps their bytes.
    names = decode_names([info.name.encode("latin-1", "replace") for info in infos], config.text_encoding)
    named = {info.instrument: name for info, name in zip(infos, names, strict=True) if name}
    return Song(notes, digest_of(data), prepared.repairs, named)


def estimated_seconds(data: bytes, config: NotesConfig, note_seconds: float) -> float:
    """How many seconds of a song there will be sound in, at most; 0 where it will not be read.

    Args:
        data: the file's bytes.
        config: reader, limits and salvage.
        note_seconds: the longest that a note sounds.
    """
    try:
        if config.reader == "channels":
            notes = read_notes(data, config).notes
            return min(notes.span * config.time_stretch + note_seconds, len(notes) * note_seconds)
        scan = smf.scan(unwrap(data, config.max_file_bytes)[0], aggressive=config.salvage == "aggressive")
        check_limits(scan, config)
    except MidiError:
        return 0.0
    return min(scan.seconds * config.time_stretch + note_seconds, scan.notes * note_seconds)


def _pan(notes: Notes, changes: list[Any]) -> NDArray[np.uint8] | None:
    """The last value before or at each note's start in its track; the middle where there is none yet."""
    if not changes or not len(notes):
        return None
    # Times as whole numbers, so that track and time make one exact key.
    times = np.concatenate([[change.time for change in changes], notes.start])
    distinct, rank = np.unique(times, return_inverse=True)
    track = np.array([change.instrument for change in changes], np.int64)
    order = np.argsort(track * len(distinct) + rank[: len(changes)], kind="stable")
    key = (track * len(distinct) + rank[: len(changes)])[order]
    last = np.searchsorted(key, notes.track * np.int64(len(distinct)) + rank[len(changes) :], side="right") - 1
    value = np.array([change.control_value for change in changes], np.uint8)[order]
    return np.where((last >= 0) & (track[order][last] == notes.track), value[last], np.uint8(CENTRE))


def _hold(notes: Notes, pedal: list[Any]) -> Notes:
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
    """No search for cycles of objects meanwhile: the parser makes very many objects, none in cycles; a third faster."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _parse(prepared: Prepared) -> Any:
    import pretty_midi

    from gansynth._note_seq import note_seq

    pretty_midi.pretty_midi.MAX_TICK = MAX_TICKS
    try:
        midi = pretty_midi.PrettyMIDI(io.BytesIO(prepared.data))
        for instrument in midi.instruments:
            # note_seq copies a track's name for each of its programs and channels: a million letters, 2000 times.
            instrument.name = instrument.name[: 4 * LONGEST_NAME]
        return note_seq.midi_to_note_sequence(midi)
    except Exception as error:  # a parser fed with arbitrary bytes may raise anything
        raise MidiError(_explain(error), code=prepared.code) from None


def _explain(error: Exception) -> str:
    """What the parser found."""
    kind, message = type(error).__name__, str(error)
    if kind == "EOFError":
        return "it is cut off, or not a MIDI file: the data end too early"
    return message if kind == "OSError" and message else f"{kind}: {message}".strip(": ")


def select(notes: Notes, config: NotesConfig) -> tuple[Notes, dict[str, int]]:
    """Applies the policies: drums, range, stretch.

    Returns:
        The notes to play, and how many there were of each outcome: total, played, folded, drums_skipped,
        out_of_range_dropped.

    Raises:
        MidiError: nothing is left to play, a limit is passed, or a note is out of range where that is an error.
    """
    counts: Counter[str] = Counter(total=len(notes))
    if not len(notes):
        raise MidiError("it holds no notes", code="midi-no-notes")
    if len(notes) > config.max_notes:
        message = f"{len(notes)} notes are more than notes.max_notes {config.max_notes}"
        raise MidiError(message, code="midi-too-many-notes")
    if config.drums == "skip":
        counts["drums_skipped"] = int(notes.is_drum.sum())
        notes = notes[~notes.is_drum]
        if not len(notes):
            raise MidiError("all its notes are drums, and notes.drums is skip", code="midi-only-drums")
    pitch = notes.pitch.astype(np.int32)
    outside = (pitch < config.min_pitch) | (pitch > config.max_pitch)
    if outside.any():
        limits = f"{config.min_pitch}..{config.max_pitch}"
        if config.out_of_range == "error":
            message = f"{int(outside.sum())} notes are outside pitches {limits}, and out_of_range is error"
            raise MidiError(message, code="midi-out-of-range")
        if config.out_of_range == "fold":
            up = np.maximum(0, -((pitch - config.min_pitch) // 12))
            down = np.maximum(0, -((config.max_pitch - pitch) // 12))
            pitch = pitch + 12 * up - 12 * down
            still = (pitch < config.min_pitch) | (pitch > config.max_pitch)
            counts["folded"] = int((outside & ~still).sum())
            outside = still
        counts["out_of_range_dropped"] = int(outside.sum())
        notes = replace(notes, pitch=pitch.astype(np.int16))[~outside]
        if not len(notes):
            raise MidiError(f"all its notes are outside pitches {limits}", code="midi-out-of-range")
    notes = notes.stretched(config.time_stretch)
    if notes.span > config.max_song_seconds:
        message = f"it lasts {notes.span:.0f} s, longer than notes.max_song_seconds {config.max_song_seconds:.0f}"
        raise MidiError(message, code="midi-too-long")
    counts["played"] = len(notes)
    return notes, dict(counts)
