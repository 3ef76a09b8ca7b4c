"""Loading of MIDI files: from a path, a URL or bytes to a song."""

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
    """A MIDI file's bytes, read and, where that was possible, scanned: once, whoever needs them.

    Attributes:
        data: the bytes.
        digest: "sha256:..." of them.
        prepared: the checked and repaired file; None: `parse_midi` prepares it.
    """

    data: bytes = field(repr=False)
    digest: str
    prepared: Prepared | None = field(default=None, repr=False)


def read_midi(url: str, config: NotesConfig) -> MidiFile:
    """Reads the bytes of a MIDI file, and no more of them than `notes.max_file_bytes`.

    Raises:
        MidiError: it is larger than that.
        OSError: it cannot be read.
    """
    return midi_file(files.read_bytes(url, config.max_file_bytes + 1), config)


def midi_file(data: bytes, config: NotesConfig) -> MidiFile:
    """Wraps the bytes of a MIDI file.

    Raises:
        MidiError: there are more than `notes.max_file_bytes`.
    """
    if len(data) > config.max_file_bytes:
        message = f"it is larger than notes.max_file_bytes {config.max_file_bytes}"
        raise MidiError(message, code="midi-too-large")
    return MidiFile(data, "sha256:" + hashlib.sha256(data).hexdigest())


def parse_midi(file: MidiFile, config: NotesConfig) -> Song:
    """Parses a MIDI file.

    Raises:
        MidiError: the bytes cannot be read as MIDI, even with the repairs that `notes.salvage` allows, or pass a limit.
    """
    from gansynth.midi.note_seq import read_note_seq  # imports note_seq, which takes seconds

    return read_note_seq(file.prepared or prepare(file.data, config), file.digest, config)


def load_midi(source: str | os.PathLike[str] | bytes, config: NotesConfig | None = None) -> Song:
    """Reads and parses a MIDI file.

    Args:
        source: a path or fsspec URL, or the file's bytes.
        config: limits, salvage, and whether the sustain pedal holds notes; the defaults if None.

    Raises:
        MidiError: see `parse_midi`.
        OSError: the file cannot be read.
    """
    config = config or NotesConfig()
    file = midi_file(source, config) if isinstance(source, bytes) else read_midi(os.fspath(source), config)
    return parse_midi(file, config)
