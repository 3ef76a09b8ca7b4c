"""Reader of MIDI files that follows the state of each channel: limits, repairs, notes and names."""

from __future__ import annotations

from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.midi import repair, smf
from gansynth.midi.events import TICK_LIMIT
from gansynth.midi.notes import Song, polyphony
from gansynth.midi.pairing import pair_notes
from gansynth.midi.song_texts import song_texts
from gansynth.midi.text import decode_names

_LEGAL = {"smpte_division", "tempo_moved", "unknown_meta_event_ignored"}
"""Repairs that only note_seq needs: the file is valid."""
_HARMLESS = {"end_of_track_missing", "format_unknown"}
"""Defects that are ignored even with salvage off, as note_seq ignores them."""


def read_notes(data: bytes, digest: str, config: NotesConfig) -> Song:
    """Reads a MIDI file as a General MIDI synthesizer plays it; see gansynth.midi.pairing.

    Args:
        data: bytes of the file.
        digest: "sha256:..." of `data`.
        config: limits, salvage, encoding of names, and whether pedals hold notes.

    Raises:
        MidiError: the bytes are not a MIDI file, cannot be repaired, or exceed a limit.
    """
    if not data:
        raise MidiError("the file is empty", code="midi-empty")
    content, wrapping = repair.unwrap(data, config.max_file_bytes) if config.salvage != "off" else (data, ())
    scan = smf.scan(content, config.salvage)
    repairs = {*wrapping, *scan.repairs} - _LEGAL
    if config.salvage == "off" and repairs - _HARMLESS:
        defects = ", ".join(sorted(repairs - _HARMLESS))
        raise MidiError(f"the file needs repairs ({defects}), and notes.salvage is off", code="midi-unreadable")
    if scan.ticks >= TICK_LIMIT:
        raise MidiError(f"the song has {scan.ticks} ticks; fewer than {TICK_LIMIT} can be read", code="midi-too-long")
    repair.check_limits(config, notes=sum(track.note_on_count for track in scan.tracks))
    paired = pair_notes(scan, pedals=config.sustain_pedal)
    notes = paired.notes
    repair.check_limits(config, seconds=notes.span, polyphony=polyphony(notes.start, notes.end))
    names = decode_names([track.name for track in scan.tracks], config.text_encoding)
    ignored = dict(paired.ignored)
    if bad := sum(track.bad_messages for track in scan.tracks):
        ignored["bad_data_bytes"] = bad
    return Song(
        notes=notes,
        digest=digest,
        repairs=tuple(sorted({*repairs, *paired.repaired_notes})),
        track_names={number: names[track] for number, track in enumerate(paired.tracks.tolist()) if names[track]},
        channels=paired.channels,
        ignored=dict(sorted(ignored.items())),
        repaired_notes=paired.repaired_notes,
        texts=song_texts(scan.tracks, config.text_encoding),
    )
