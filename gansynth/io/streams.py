"""Files each read and write of which has the deadline: local ones, which may be on a network, and remote ones."""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import IO, Any

from gansynth.io import urls
from gansynth.io.retry import within_deadline

_READ_AHEAD = 1 << 20
_LOCAL_READ_AHEAD = 1 << 16
_WRITE_BEHIND = 1 << 20


def opened(url: str, seekable: bool = False, **options: Any) -> IO[bytes]:
    """Opens a file for reading.

    Args:
        url: a path or an fsspec URL.
        seekable: whether the file is to be read in another order than its own. Otherwise the body that a web server
            sends is read as it comes, so that no more of it is in memory than was asked for.
        **options: settings of the file system.

    Raises:
        OSError: the file cannot be opened, as the file system reports it, or is a pipe, a socket or a device.
    """
    fs, path = urls.filesystem(url, **options)
    if not urls.is_local(url):
        streamed = {"block_size": 0} if urls.is_http(url) and not seekable else {}
        return io.BufferedReader(_Timed(within_deadline(fs.open, path, "rb", **streamed)), _READ_AHEAD)
    return io.BufferedReader(_Timed(within_deadline(open_regular, path)), _LOCAL_READ_AHEAD)


def created(descriptor: int) -> IO[bytes]:
    """Opens a descriptor of a local file for writing."""
    return io.BufferedWriter(_Timed(os.fdopen(descriptor, "wb", buffering=0)), _WRITE_BEHIND)


def open_regular(path: str) -> IO[bytes]:
    """Opens a local file without a deadline and without a buffer; see `opened`."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "is a pipe, a socket or a device, not a regular file", path)
    return open(path, "rb", buffering=0)


class _Timed(io.RawIOBase):
    """A file each read and write of which has the deadline."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def readable(self) -> bool:
        return bool(self._file.readable())

    def writable(self) -> bool:
        return bool(self._file.writable())

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def tell(self) -> int:
        return int(self._file.tell())

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._file.seek(offset, whence)
        return self.tell()

    def readinto(self, buffer: Any) -> int:
        data = within_deadline(self._file.read, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def write(self, buffer: Any) -> int:
        return int(within_deadline(self._file.write, bytes(buffer)))  # a copy: the caller's buffer is used again

    def close(self) -> None:
        if not self.closed:
            within_deadline(self._file.close)
        super().close()
