"""Errors that users may see: each names what is wrong, where, and what to do, and has a code that never changes."""

from __future__ import annotations

CODES = {
    "checkpoint": "The checkpoint is missing, truncated, not a GANSynth checkpoint, or cannot be fetched.",
    "config": "An option is unknown, contradictory or out of range.",
    "input-unreadable": "The file could not be read: it is gone, access was denied, or the storage failed.",
    "internal": "An unexpected error occurred; the row's `trace` shows where.",
    "job-stopped": "The job ended before it reached this song: more than `max_failures` songs had failed, a signal "
    "stopped it, its output could not be written any more, or, on other machines, it failed or was cancelled.",
    "midi-bad-division": "The header has no valid time division.",
    "midi-bad-event": "A track contains bytes that are not MIDI events: an undefined or missing status byte, or a "
    "delta time or length above the highest that MIDI files can encode.",
    "midi-bad-tempo": "A tempo is 0, truncated or implausible: below 4 or above 60,000 quarter notes a minute.",
    "midi-data-byte": "A data byte is above 127: the track contains something other than MIDI.",
    "midi-empty": "The file is empty.",
    "midi-no-notes": "The file contains no notes.",
    "midi-not-midi": "The file has no MIDI header: it is a web page, an archive, MusicXML, audio or another kind of "
    "file; the message names it.",
    "midi-only-drums": "All notes are drums, and `notes.drums` is `skip`.",
    "midi-out-of-range": "Notes are outside the range of pitches that can be played.",
    "midi-too-dense": "More notes sound at once than `notes.max_polyphony` allows, or controllers move too often to "
    "be followed.",
    "midi-too-large": "The file is larger than `notes.max_file_bytes`.",
    "midi-too-long": "The song lasts longer than `notes.max_song_seconds`, or has more ticks than can be read.",
    "midi-too-many-notes": "The song has more notes than `notes.max_notes`.",
    "midi-too-many-tracks": "The file has more than 32,766 tracks.",
    "midi-truncated": "The file ends before its first track.",
    "midi-unreadable": "The file cannot be read, for a reason without a code of its own, or would need a repair that "
    "`notes.salvage: off` forbids.",
    "notes-lost": "The runner lost or repeated some of the song's notes.",
    "output-unwritable": "An output file could not be written.",
    "song-lost": "The runner lost the song.",
    "sound-missing": "The built bank that the job names lacks a sound of the song, or it cannot be read, and this "
    "machine would render it with other bits.",
    "worker-died": "The process that rendered the song died, possibly because memory ran out.",
}
"""Meaning of each code."""
REMEDIES = {
    "checkpoint": "See the message.",
    "config": "See the message.",
    "input-unreadable": "Run again.",
    "internal": "Report it.",
    "job-stopped": "See the message, run again.",
    "midi-bad-division": "The file is damaged.",
    "midi-bad-event": "The file is damaged; `notes.salvage=aggressive` plays the rest.",
    "midi-bad-tempo": "Set the tempo in a sequencer.",
    "midi-data-byte": "The file is damaged; `notes.salvage=aggressive` plays the rest.",
    "midi-empty": "Fetch it again.",
    "midi-no-notes": "Nothing to play.",
    "midi-not-midi": "Fetch or unpack it again.",
    "midi-only-drums": "`notes.drums=play`",
    "midi-out-of-range": "`notes.out_of_range=fold`, or other pitches.",
    "midi-too-dense": "Raise the limit.",
    "midi-too-large": "Raise the limit; each MB may take 5 s and 300 MB of memory to read.",
    "midi-too-long": "Raise the limit; ticks have a fixed one.",
    "midi-too-many-notes": "Raise the limit.",
    "midi-too-many-tracks": "The file is damaged.",
    "midi-truncated": "Fetch it again.",
    "midi-unreadable": "See the message; with `notes.salvage=off`, try `safe`.",
    "notes-lost": "Run again.",
    "output-unwritable": "See the message, run again.",
    "song-lost": "Run again.",
    "sound-missing": "Build a bank from the corpus' plan, or render on the kind of machine that built it.",
    "worker-died": "Run again with fewer `compute.workers`, or on workers with more memory.",
}
"""What to do about each code; docs/errors.md has the same."""


class GansynthError(Exception):
    """Base class of the errors that this project raises deliberately.

    Attributes:
        code: one of CODES.
    """

    code: str = "internal"

    def __init__(self, message: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class CheckpointError(GansynthError):
    """A checkpoint that is missing, truncated, not a GANSynth checkpoint, or cannot be fetched."""

    code = "checkpoint"


class InputError(GansynthError):
    """An input that cannot be read."""

    code = "input-unreadable"


class MidiError(GansynthError):
    """A MIDI file that cannot be read, or contains nothing that can be rendered."""

    code = "midi-unreadable"


class ConfigError(GansynthError):
    """An option that is unknown, contradictory or out of range."""

    code = "config"
