"""The errors a user may meet: each says what is wrong, where, and what to do, and carries a code that never changes."""

from __future__ import annotations

CODES = {
    "checkpoint": "The checkpoint is missing, truncated, foreign, or cannot be fetched.",
    "config": "An option is unknown, contradictory or out of range.",
    "input-unreadable": "The file could not be read from where it lies: gone, no permission, storage failing.",
    "internal": "Something unforeseen went wrong; the row's `trace` says where.",
    "job-stopped": "The job was stopped before it came to this song, since more than `max_failures` had failed.",
    "midi-bad-division": "The header gives no usable unit of time.",
    "midi-bad-event": "The bytes of a track are no MIDI events: a status byte that does not exist or is missing, or a "
    "gap longer than MIDI can write.",
    "midi-bad-tempo": "A tempo of 0, cut short, or absurd: slower than 4 or faster than 60,000 quarter notes a minute.",
    "midi-data-byte": "A data byte above 127: something else than MIDI stands among the notes.",
    "midi-empty": "The file has no bytes.",
    "midi-no-notes": "It holds no notes.",
    "midi-not-midi": "There is no MIDI header: a web page, an archive, MusicXML, sound; the message names it.",
    "midi-only-drums": "All its notes are drums, and `notes.drums` is `skip`.",
    "midi-out-of-range": "Its notes are outside the pitches to be played.",
    "midi-too-dense": "More notes sound at once than `notes.max_polyphony`, or there are more changes of controllers, "
    "for all channels or programs that each is for, than can be kept.",
    "midi-too-large": "The file is larger than `notes.max_file_bytes`.",
    "midi-too-long": "The song lasts longer than `notes.max_song_seconds`, or has more ticks than can be read.",
    "midi-too-many-notes": "There are more notes than `notes.max_notes`.",
    "midi-too-many-tracks": "There are more tracks than 32,766.",
    "midi-truncated": "The file ends before its first track.",
    "midi-unreadable": "The reader cannot read it, for a reason that has no code of its own, or with `notes.salvage` "
    "off because it would have to be mended.",
    "notes-lost": "The runner lost or repeated some of the song's notes.",
    "output-unwritable": "Audio or spectrogram could not be written.",
    "song-lost": "The runner lost the song.",
    "worker-died": "The process that rendered the song died, out of memory perhaps.",
}
"""Every code, and what it means; docs/errors.md says what to do about them."""


class GansynthError(Exception):
    """Base class of every error this project raises on purpose.

    Attributes:
        code: one of CODES.
    """

    code: str = "internal"

    def __init__(self, message: str = "", *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code


class CheckpointError(GansynthError):
    """A checkpoint is missing, truncated, foreign, or cannot be fetched."""

    code = "checkpoint"


class MidiError(GansynthError):
    """A MIDI file cannot be read, or holds nothing that can be rendered."""

    code = "midi-unreadable"


class ConfigError(GansynthError):
    """An option is unknown, contradictory or out of range."""

    code = "config"
