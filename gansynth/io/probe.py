"""A test whether an output folder can be written at all, which tells an outage of storage from an error of one file."""

from __future__ import annotations

import uuid

from gansynth.errors import GansynthError
from gansynth.io import files, paths, retry, urls

PROBE_BYTES = 1 << 18
"""Size of the file that is written as a test: as large as the audio of 8 seconds."""


class OutputError(GansynthError):
    """An output folder into which nothing can be written: the disk is full or read-only, or the storage is down."""

    code = "output-unwritable"


def check_writable(folder: str) -> None:
    """Writes a file into a folder and removes it.

    Args:
        folder: path or URL.

    Raises:
        OutputError: it cannot be written.
    """
    probe = urls.join(folder, f"{paths.UNFINISHED}{uuid.uuid4().hex}")
    try:
        files.write_bytes(probe, bytes(PROBE_BYTES), retry_seconds=retry.SECONDS)
        files.remove(probe)
    except Exception as error:  # each file system has its own exception types
        raise OutputError(f"{folder}: cannot be written ({urls.reason(error, folder)})") from None
