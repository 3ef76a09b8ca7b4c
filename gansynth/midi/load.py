"""Loading of MIDI files, from a path, URL or bytes to a song."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field

from gansynth.config import NotesConfig
from gansynth.errors import MidiError
from gansynth.io import files
from gansynth.midi.notes import Song
from gansynth.midi.repair import Prepared, prepare


@dataclass(frozen=True)
class MidiFile:
    """Bytes of a MIDI file, with the scanned file if there is one, so that each file is read and scanned once.

    Attributes:
        data: the file's bytes.
        digest: "sha256:..." of the bytes.
        prepared: the checked and repaired file; `parse_midi` prepares it if None.
    """

    data: bytes = field(repr=False)
    digest: str
    prepared: Prepared | None = field(default=None, repr=False)


def read_midi(url: str, config: NotesConfig) -> MidiFile:
    """Reads the bytes of a MIDI file.

    Args:
        url: path or fsspec URL.
        config: `max_file_bytes` bounds the bytes that are read.

    Raises:
        MidiError: the file is larger than `notes.max_file_bytes`.
        OSError: the file cannot be read.
    """
    return midi_file(files.read_bytes(url, config.max_file_bytes + 1), config)


def midi_file(data: bytes, config: NotesConfig) -> MidiFile:
    """Wraps the bytes of a MIDI file.

    Raises:
        MidiError: there are more bytes than `notes.max_file_bytes`.
    """
    if len(data) > config.max_file_bytes:
        message = f"the file is larger than notes.max_file_bytes {config.max_file_bytes}; raise the limit to read it"
        raise MidiError(message, code="midi-too-large")
    return MidiFile(data, "sha256:" + hashlib.sha256(data).hexdigest())


def parse_midi(file: MidiFile, config: NotesConfig) -> Song:
    """Parses a MIDI file.

    Raises:
        MidiError: the file cannot be read as MIDI, even with the repairs that `notes.salvage` allows, or exceeds a
            limit.
    """
    from gansynth.midi.note_seq import read_note_seq  # imports note_seq, which takes seconds

    return read_note_seq(file.prepared or prepare(file.data, config), file.digest, config)


def load_midi(source: str | os.PathLike[str] | bytes, config: NotesConfig | None = None) -> Song:
    """Reads and parses a MIDI file.

    Args:
        source: a path or fsspec URL, or the file's bytes.
        config: limits, salvage and sustain pedal; the defaults if None.

    Raises:
        MidiError: see `parse_midi`.
        OSError: the file cannot be read.
    """
    config = config or NotesConfig()
    file = midi_file(source, config) if isinstance(source, bytes) else read_midi(os.fspath(source), config)
    return parse_midi(file, config)
