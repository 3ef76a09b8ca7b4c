"""Loading of MIDI files and NoteSequences: from a path, a URL, bytes or a proto to a song."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from typing import Any

from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.io import files
from gansynth.midi.notes import Song
from gansynth.midi.reader import read_notes
from gansynth.midi.repair import Prepared, prepare


@dataclass(frozen=True)
class MidiFile:
    """The bytes of a MIDI file, and the result of parsing them, so that they are parsed only once.

    Attributes:
        data: the bytes.
        digest: "sha256:..." of `data`.
        parsed: the song (reader channels), the checked and repaired bytes (reader note_seq), or the error; None before
            `scan_midi`.
    """

    data: bytes = field(repr=False)
    digest: str
    parsed: Song | Prepared | MidiError | None = field(default=None, repr=False)

    @property
    def extent(self) -> tuple[float, int]:
        """Returns the end of the last note in seconds, and the number of notes; zeros if they are not known."""
        if isinstance(self.parsed, Song):
            return self.parsed.notes.span, len(self.parsed.notes)
        return (self.parsed.seconds, self.parsed.notes) if isinstance(self.parsed, Prepared) else (0.0, 0)


def read_midi(url: str, config: NotesConfig) -> MidiFile:
    """Reads the bytes of a MIDI file, at most `notes.max_file_bytes`.

    Raises:
        MidiError: the file is larger than that.
        OSError: the file cannot be read.
    """
    return midi_file(files.read_bytes(url, config.max_file_bytes + 1), config)


def midi_file(data: bytes, config: NotesConfig) -> MidiFile:
    """Wraps the bytes of a MIDI file.

    Raises:
        MidiError: there are more than `notes.max_file_bytes`.
    """
    if len(data) > config.max_file_bytes:
        message = f"the file is larger than notes.max_file_bytes {config.max_file_bytes}"
        raise MidiError(message, code="midi-too-large")
    return MidiFile(data, "sha256:" + hashlib.sha256(data).hexdigest())


def scan_midi(file: MidiFile, config: NotesConfig) -> MidiFile:
    """Parses a file completely (reader channels), or checks and repairs it for note_seq (reader note_seq)."""
    parsed: Song | Prepared | MidiError
    try:
        if config.reader == "channels":
            parsed = read_notes(file.data, file.digest, config)
        else:
            parsed = prepare(file.data, config)
    except MidiError as error:
        parsed = error
    return replace(file, parsed=parsed)


def parse_midi(file: MidiFile, config: NotesConfig) -> Song:
    """Parses a MIDI file.

    Raises:
        MidiError: the bytes cannot be read as MIDI, even with the repairs of `notes.salvage`, or exceed a limit.
    """
    parsed = file.parsed or scan_midi(file, config).parsed
    if isinstance(parsed, MidiError):
        raise parsed
    if isinstance(parsed, Song):
        return parsed
    assert parsed is not None
    from gansynth.midi.note_seq import read_note_seq  # imports note_seq, which takes seconds

    return read_note_seq(parsed, file.digest, config)


def load_midi(source: Any, config: NotesConfig | None = None) -> Song:
    """Reads and parses a MIDI file, or takes a NoteSequence.

    Args:
        source: a path or fsspec URL, the file's bytes, or a note_seq NoteSequence proto.
        config: reader, limits, salvage, and whether pedals hold notes; the defaults if None.

    Raises:
        MidiError: see `parse_midi`.
        OSError: the file cannot be read.
    """
    config = config or NotesConfig()
    if isinstance(source, bytes):
        return parse_midi(midi_file(source, config), config)
    if isinstance(source, (str, os.PathLike)):
        return parse_midi(read_midi(os.fspath(source), config), config)
    from gansynth.midi.note_seq import song_of

    return song_of(source, "sha256:" + hashlib.sha256(source.SerializeToString(deterministic=True)).hexdigest(), config)
