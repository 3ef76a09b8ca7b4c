"""The errors a user may meet: each says what is wrong, where, and what to do."""


class GansynthError(Exception):
    """Base class of every error this project raises on purpose."""


class CheckpointError(GansynthError):
    """A checkpoint is missing, truncated, foreign, or cannot be fetched."""


class MidiError(GansynthError):
    """A MIDI file cannot be read, or holds nothing that can be rendered."""


class ConfigError(GansynthError):
    """An option is unknown, contradictory or out of range."""
