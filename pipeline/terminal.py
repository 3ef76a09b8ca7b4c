"""Output to a terminal that is not to be trusted with control characters, and that may have gone."""

from __future__ import annotations

import io
import os
import re
import sys

_CONTROLS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: object) -> str:
    """Escapes control characters, surrogates and bidirectional controls, except line feeds, as in Python's strings."""
    return _CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), str(text))


def say(text: object, to_stdout: bool = False) -> None:
    """Prints a text that may contain names of files, instruments or tracks; on standard error by default."""
    print(printable(text), file=sys.stdout if to_stdout else sys.stderr)


def make_tolerant(name: str) -> None:
    """Makes a standard stream that may be closed, and escapes characters that its encoding lacks."""
    stream = getattr(sys, name)
    if stream is None:
        stream = io.TextIOWrapper(io.FileIO(os.devnull, "wb"), "utf-8")
        setattr(sys, name, stream)
        return
    stream.flush()
    raw = _Tolerant(stream.fileno(), "wb", closefd=False)
    setattr(
        sys, name, io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, "backslashreplace", line_buffering=True)
    )


class _Tolerant(io.FileIO):
    """A file descriptor; what is written after its reader has gone is dropped."""

    def write(self, data: object) -> int:
        try:
            return super().write(data) or 0  # type: ignore[arg-type]
        except BrokenPipeError:
            return memoryview(data).nbytes  # type: ignore[arg-type]
