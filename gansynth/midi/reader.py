"""MIDI files read by channel state: limits, repairs, names."""

from __future__ import annotations

import numpy as np

from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.midi import repair, smf
from gansynth.midi.events import TICKS
from gansynth.midi.notes import Notes, Song
from gansynth.midi.pairing import pair_notes
from gansynth.midi.text import decode_names

_LEGAL = {"smpte_division", "tempo_moved", "unknown_meta_event_ignored"}
"""Repairs for note_seq's sake: the file is as it should be."""
_HARMLESS = {"end_of_track_missing", "format_unknown"}
"""Defects that are overlooked even with salvage off, as note_seq does."""


def read_notes(data: bytes, digest: str, config: NotesConfig) -> Song:
    """Reads a MIDI file as a General MIDI synthesizer hears it; see gansynth.midi.pairing.

    Args:
        data: the file's bytes.
        digest: "sha256:..." of them.
        config: limits, salvage, encoding of names, and whether pedals hold notes.

    Raises:
        MidiError: the bytes are no MIDI that can be read or mended, or pass a limit.
    """
    if not data:
        raise MidiError("the file is empty", code="midi-empty")
    content, wrapping = repair.unwrap(data, config.max_file_bytes) if config.salvage != "off" else (data, ())
    scan = smf.scan(content, config.salvage)
    repairs = {*wrapping, *scan.repairs} - _LEGAL
    if config.salvage == "off" and repairs - _HARMLESS:
        defects = ", ".join(sorted(repairs - _HARMLESS))
        raise MidiError(f"it would have to be mended ({defects}), and notes.salvage is off", code="midi-unreadable")
    if scan.ticks >= TICKS:
        raise MidiError(f"it has {scan.ticks} ticks; fewer than {TICKS} can be read", code="midi-too-long")
    repair.check_count(sum(track.strikes for track in scan.tracks), config)
    reading = pair_notes(scan, pedals=config.sustain_pedal)
    notes = reading.notes
    repair.check_seconds(notes.span, config)
    repair.check_polyphony(most_at_once(notes), config)
    names = decode_names([track.name for track in scan.tracks], config.text_encoding)
    bad_events = {"bad_data_bytes": count} if (count := sum(track.bad_events for track in scan.tracks)) else {}
    return Song(
        notes=notes,
        digest=digest,
        repairs=tuple(sorted({*repairs, *reading.mended})),
        track_names={number: names[track] for number, track in enumerate(reading.tracks.tolist()) if names[track]},
        channels=reading.channels,
        ignored=dict(sorted({**reading.ignored, **bad_events}.items())),
        mended=reading.mended,
    )


def most_at_once(notes: Notes) -> int:
    """The most notes that sound at once."""
    starts, ends = np.sort(notes.start), np.sort(notes.end)
    ended = np.searchsorted(ends, starts, side="right")
    return int((np.arange(1, len(starts) + 1) - ended).max(initial=0))
