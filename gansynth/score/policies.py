"""Policies for the notes of a song: selection, pitch and timing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.midi.notes import Notes


def apply_policies(notes: Notes, config: NotesConfig) -> tuple[Notes, dict[str, int]]:
    """Applies the policies for drums, pitch range and time stretch.

    Args:
        notes: all notes of the song.
        config: the policies.

    Returns:
        The notes to play, and the number of notes by outcome: total, played, folded, drums_skipped,
        out_of_range_dropped.

    Raises:
        MidiError: no note is left to play, a limit is exceeded, or a note is outside the pitch range and
            `out_of_range` is "error".
    """
    counts: Counter[str] = Counter(total=len(notes))
    if not len(notes):
        raise MidiError("the file contains no notes", code="midi-no-notes")
    if len(notes) > config.max_notes:
        message = f"{len(notes)} notes are more than notes.max_notes {config.max_notes}; raise the limit to play them"
        raise MidiError(message, code="midi-too-many-notes")
    if config.drums == "skip":
        counts["drums_skipped"] = int(notes.is_drum.sum())
        notes = notes[~notes.is_drum]
        if not len(notes):
            message = "all notes are drums, and notes.drums is skip; set notes.drums=play to play them"
            raise MidiError(message, code="midi-only-drums")
    pitch = notes.pitch.astype(np.int32)
    outside = (pitch < config.min_pitch) | (pitch > config.max_pitch)
    if outside.any():
        limits = f"{config.min_pitch}..{config.max_pitch}"
        if config.out_of_range == "error":
            message = (
                f"{int(outside.sum())} notes are outside pitches {limits}, and notes.out_of_range is error; "
                "set it to fold or drop to play the song"
            )
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
            message = f"all notes are outside pitches {limits}; set notes.out_of_range=fold or a wider range"
            raise MidiError(message, code="midi-out-of-range")
    notes = replace(notes, start=notes.start * config.time_stretch, end=notes.end * config.time_stretch)
    if notes.span > config.max_song_seconds:
        message = f"the song lasts {notes.span:.0f} s, longer than notes.max_song_seconds {config.max_song_seconds:.0f}"
        raise MidiError(message, code="midi-too-long")
    counts["played"] = len(notes)
    return notes, dict(counts)
