"""Elements of the PCollections between the transforms; each carries the id of its song."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field, replace

from gansynth.errors import GansynthError
from gansynth.io.retry import is_transient
from gansynth.midi.load import MidiFile
from gansynth.midi.notes import Song
from transforms.manifest import ErrorRow


@dataclass(frozen=True)
class Source:
    """An input file.

    Attributes:
        song_id: path relative to the input root; identifies the song everywhere.
        url: path or URL from which the file is read.
        size: size of the file in bytes, if known.
        problem: reason why it cannot be read, if that is known from listing it; empty otherwise.
        file: content of the file, if it has already been read.
    """

    song_id: str
    url: str
    size: int | None = None
    problem: str = ""
    file: MidiFile | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class ReadSong:
    """A file that was read and parsed.

    Attributes:
        source: the file, without its content.
        song: its notes.
    """

    source: Source
    song: Song


@dataclass(frozen=True)
class FinishedSong:
    """A song that an earlier run of the same job rendered.

    Attributes:
        song_id: the song's id.
        row: its row in the manifest, as JSON.
    """

    song_id: str
    row: str


@dataclass(frozen=True)
class Failure:
    """The dead letter of a song that could not be rendered.

    Attributes:
        song_id: the song's id.
        stage: read, expand, synthesize, mix or write.
        error: class of the exception.
        message: description of the error.
        trace: last lines of the traceback of an unforeseen error, else empty.
        code: one of gansynth.errors.CODES.
        digest: sha256 of the file's bytes; empty if it could not be read.
        source: path or URL of the file; filled in, like the digest, when the song's elements are gathered.
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
    def of(cls, song_id: str, stage: str, error: Exception, digest: str = "", source: str = "") -> Failure:
        """Makes the dead letter of an exception; only errors of the code "internal" have a traceback.

        Args:
            song_id: id of the song.
            stage: name of the step that failed.
            error: the exception.
            digest: sha256 of the file's bytes; empty if unknown.
            source: path or URL of the file; empty if unknown.
        """
        code = _code(error, stage)
        trace = "" if code != "internal" else "".join(traceback.format_exception(error)[-4:])[-2000:]
        name = type(error).__name__
        return cls(song_id, stage, name, str(error)[:1000] or name, trace, code, digest, source)

    def row(self) -> ErrorRow:
        """Makes the song's row of errors.jsonl."""
        return ErrorRow(
            status="failed",
            song_id=self.song_id,
            source=self.source,
            digest=self.digest,
            stage=self.stage,
            code=self.code,
            error=self.error,
            message=self.message,
            trace=self.trace,
        )


def _code(error: Exception, stage: str) -> str:
    if isinstance(error, GansynthError):
        return error.code
    if isinstance(error, OSError) or is_transient(error):
        return {"read": "input-unreadable", "write": "output-unwritable"}.get(stage, "internal")
    return "internal"


def key_by_song(source: Source) -> tuple[str, Source]:
    """Keys an input file by its song's id and drops its content."""
    return source.song_id, replace(source, file=None)
