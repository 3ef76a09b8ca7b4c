"""What travels between the transforms; every song's elements carry its id."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from gansynth.errors import GansynthError
from gansynth.notes import Song


@dataclass(frozen=True)
class Source:
    """An input file.

    Attributes:
        song_id: its path relative to the input root: the song's name everywhere.
        url: where it is read from.
        size: its bytes, where the listing told.
    """

    song_id: str
    url: str
    size: int | None = None


@dataclass(frozen=True)
class ReadSong:
    """A file that was read and parsed."""

    source: Source
    song: Song


@dataclass(frozen=True)
class Finished:
    """A song that an earlier run of the same job has rendered.

    Attributes:
        song_id: which song.
        row: its row in the manifest, as JSON.
    """

    song_id: str
    row: str


@dataclass(frozen=True)
class Failure:
    """Why a song could not be rendered: a dead letter.

    Attributes:
        song_id: which song.
        stage: read, expand, synthesize, mix or write.
        error: class of the error.
        message: what was wrong.
        trace: last lines of the traceback where the error was not foreseen, else empty.
        code: one of gansynth.errors.CODES.
        digest: sha256 of the file's bytes; empty if it could not be read.
        source: where the file was read from; it and the digest are filled in when the song's parts are gathered.
    """

    song_id: str
    stage: str
    error: str
    message: str
    trace: str = ""
    code: str = "internal"
    digest: str = ""
    source: str = ""

    @classmethod
    def of(cls, song_id: str, stage: str, error: Exception, digest: str = "") -> Failure:
        """The dead letter of an exception; without a traceback where it was foreseen: it has a code of its own."""
        code = _code(error, stage)
        trace = "" if code != "internal" else "".join(traceback.format_exception(error)[-4:])[-2000:]
        return cls(song_id, stage, type(error).__name__, str(error)[:1000] or type(error).__name__, trace, code, digest)

    def row(self) -> dict[str, str]:
        """What errors.jsonl says of it."""
        return {"status": "failed", **vars(self)}


def _code(error: Exception, stage: str) -> str:
    if isinstance(error, GansynthError):
        return error.code
    if isinstance(error, OSError):
        return {"read": "input-unreadable", "write": "output-unwritable"}.get(stage, "internal")
    return "internal"
