"""Policies for the notes of a song: selection, pitch and timing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.midi.notes import Notes


def apply_policies(notes: Notes, config: NotesConfig) -> tuple[Notes, dict[str, int]]:
    """Applies the policies: drums, range, time stretch.

    Args:
        notes: of a song, before any policy.
        config: the policies; min_pitch..max_pitch within the checkpoint's range.

    Returns:
        The notes to play, and their number by outcome: total, played, stretched, folded, drums_played, drums_skipped,
        out_of_range_dropped. Pitches of stretched notes stay outside the range.

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
            raise MidiError("all notes are drums, and notes.drums is skip", code="midi-only-drums")
    notes = _into_range(notes, config, counts)
    notes = notes.stretched(config.time_stretch)
    if notes.span > config.max_song_seconds:
        message = f"the song lasts {notes.span:.0f} s, longer than notes.max_song_seconds {config.max_song_seconds:.0f}"
        raise MidiError(message, code="midi-too-long")
    counts["played"] = len(notes)
    if config.drums == "kit":
        counts["drums_played"] = int(notes.is_drum.sum())
    return notes, dict(counts)


def _into_range(notes: Notes, config: NotesConfig, counts: Counter[str]) -> Notes:
    """Applies out_of_range to the notes that the network plays; hits of a drum kit have keys, not pitches."""
    pitch = notes.pitch.astype(np.int32)
    pitched = ~notes.is_drum if config.drums == "kit" else np.ones(len(notes), np.bool_)
    outside = pitched & ((pitch < config.min_pitch) | (pitch > config.max_pitch))
    if not outside.any():
        return notes
    limits = f"{config.min_pitch}..{config.max_pitch}"
    if config.out_of_range == "error":
        message = f"{int(outside.sum())} notes are outside pitches {limits}, and out_of_range is error"
        raise MidiError(message, code="midi-out-of-range")
    if config.out_of_range == "drop":
        counts["out_of_range_dropped"] = int(outside.sum())
        if outside.all():
            raise MidiError(f"all notes are outside pitches {limits}", code="midi-out-of-range")
        return notes[~outside]
    margin = 12 if config.out_of_range == "stretch" else 0
    low, high = config.min_pitch - margin, config.max_pitch + margin
    up, down = np.maximum(0, -((pitch - low) // 12)), np.maximum(0, -((high - pitch) // 12))
    moved = np.where(outside, pitch + 12 * up - 12 * down, pitch)
    lost = outside & ((moved < low) | (moved > high) | (moved < 0) | (moved > 127))
    counts["folded"] = int((outside & ~lost & (moved != pitch)).sum())
    if margin:
        counts["stretched"] = int((outside & ~lost & ((moved < config.min_pitch) | (moved > config.max_pitch))).sum())
    counts["out_of_range_dropped"] = int(lost.sum())
    notes = replace(notes, pitch=moved.astype(np.int16))[~lost]
    if not len(notes):
        raise MidiError(f"all notes are outside pitches {limits}", code="midi-out-of-range")
    return notes
