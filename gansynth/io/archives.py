"""MIDI files inside .zip and .tar archives, addressed by their position, so that each can be read on its own."""

from __future__ import annotations

import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from gansynth.errors import InputError

MAX_MEMBER = 64 << 20
"""Highest size of an unpacked member, in bytes."""
_MAX_DIRECTORY = 64 << 20
"""Most bytes read at once for a zip's directory or a tar header: enough for half a million files."""
_SUFFIXES = {".zip": "zip", ".tar": "tar", ".tar.gz": "tar+gz", ".tgz": "tar+gz"}
_ADDRESS = re.compile(r"(zip|tar|tar\+gz)://([^@:]*)@(\d+)\+(\d+)::(.*)", re.DOTALL)
_LOCAL_HEADER = struct.Struct("<4s2x2H2x2x3L2H")


class ArchiveError(InputError):
    """An archive that cannot be read, or a member that is damaged, encrypted, too large or not a regular file."""


def archive_kind(url: str) -> str | None:
    """Returns the kind of an archive by its suffix: zip, tar or tar+gz; None for other files."""
    return next((kind for suffix, kind in _SUFFIXES.items() if url.lower().endswith(suffix)), None)


def is_compressed(url: str) -> bool:
    """Returns whether an archive has to be unpacked as a whole before its members can be read."""
    return archive_kind(url) == "tar+gz"


@dataclass(frozen=True)
class Member:
    """A file in an archive. Its string form is a URL: KIND://QUOTED_NAME@OFFSET+LENGTH::ARCHIVE.

    A link or another member without content of its own has the offset and length 0+0 in a tar; it cannot be read.

    Attributes:
        kind: zip, tar or tar+gz.
        name: path in the archive, unchanged and not to be trusted.
        offset, length: byte range of its content in a (decompressed) tar, or of its whole record in a zip.
        archive: path or URL of the archive.
    """

    kind: str
    name: str
    offset: int
    length: int
    archive: str

    def __str__(self) -> str:
        name = quote(self.name.encode("utf-8", "surrogateescape"), safe="/ ()[]'!,&=~+")
        return f"{self.kind}://{name}@{self.offset}+{self.length}::{self.archive}"

    @classmethod
    def parse(cls, url: str) -> Member | None:
        """Parses the URL of a member; returns None for other URLs."""
        found = _ADDRESS.fullmatch(url)
        if not found:
            return None
        name = unquote(found[2], errors="surrogateescape")
        return cls(found[1], name, int(found[3]), int(found[4]), found[5])

    @property
    def is_compressed(self) -> bool:
        """Returns whether the archive has to be unpacked as a whole first."""
        return self.kind == "tar+gz"

    def content(self, read: Callable[[int, int], bytes], limit: int | None = None) -> bytes:
        """Reads the member's content, or its first `limit` bytes.

        Args:
            read: reads bytes of the archive, from a start to an end position.
            limit: highest number of bytes to return; None for all.

        Raises:
            ArchiveError: the member is damaged, encrypted or compressed by an unknown method, or is longer than
                MAX_MEMBER and `limit` is None.
        """
        if self.kind != "zip":
            if not self.offset:
                raise ArchiveError(
                    f"{self.name}: is a link or another special file in the archive; unpack it, and render the folder."
                )
            if limit is None and self.length > MAX_MEMBER:
                raise ArchiveError(f"{self.name}: is larger than {MAX_MEMBER >> 20} MiB, the limit for a member.")
            data = read(self.offset, self.offset + min(self.length, MAX_MEMBER if limit is None else limit))
            if limit is None and len(data) < self.length:
                raise ArchiveError(f"{self.name}: the archive is truncated.")
            return data
        # Deflated data is at most slightly longer than its content; headers have at most 128 KiB.
        most = self.length if limit is None else min(self.length, limit + limit // 64 + (1 << 17))
        return self._inflate(read(self.offset, self.offset + min(most, MAX_MEMBER + (1 << 18))), limit)

    def _inflate(self, record: bytes, limit: int | None) -> bytes:
        """Decodes a zip record: local header, data, and possibly a data descriptor."""
        if len(record) < _LOCAL_HEADER.size or record[:4] != b"PK\x03\x04":
            raise ArchiveError(f"{self.name}: not found in {self.archive}; was it changed since it was listed?")
        _, flags, method, checksum, packed, _, name, extra = _LOCAL_HEADER.unpack_from(record)
        data = record[_LOCAL_HEADER.size + name + extra :]
        if flags & 1:
            raise ArchiveError(f"{self.name}: is encrypted.")
        if method == 0 and not flags & 8:
            content, rest = data[:packed], b""
            if limit is None and len(content) < packed:
                raise ArchiveError(f"{self.name}: is truncated.")
        elif method == 8:
            unpack = zlib.decompressobj(-zlib.MAX_WBITS)
            most = MAX_MEMBER if limit is None else limit
            try:
                content = unpack.decompress(data, most + 1) if most else b""
            except zlib.error as error:
                raise ArchiveError(f"{self.name}: is damaged ({error}).") from None
            if limit is None and len(content) <= most and not unpack.eof:
                raise ArchiveError(f"{self.name}: is truncated.")
            rest = unpack.unused_data
            if flags & 8 and unpack.eof and len(rest) >= 8:
                checksum = int.from_bytes(rest[4:8] if rest[:4] == b"PK\x07\x08" else rest[:4], "little")
        else:
            raise ArchiveError(f"{self.name}: is compressed by method {method}, which is not supported; use deflate.")
        if limit is not None and len(content) >= limit:
            return content[:limit]
        if len(content) > MAX_MEMBER:
            raise ArchiveError(f"{self.name}: unpacks to more than {MAX_MEMBER >> 20} MiB.")
        if zlib.crc32(content) != checksum:
            raise ArchiveError(f"{self.name}: is damaged (the checksum does not match).")
        return content


def members(file: Any, url: str) -> Iterator[tuple[Member, int]]:
    """Lists the files of an archive, each name once; links too, though they cannot be read.

    Args:
        file: the archive, a seekable binary file; a compressed tar must be decompressed.
        url: path or URL of the archive; its suffix names the kind.

    Yields:
        The member, and its unpacked size in bytes.

    Raises:
        ArchiveError: the file is not an archive of this kind, is truncated, or has an implausibly large directory.
    """
    kind = archive_kind(url)
    assert kind is not None
    seen: set[bytes] = set()
    try:
        for name, offset, length, size in (_zip_members if kind == "zip" else _tar_members)(_Bounded(file)):
            plain = re.sub(r"^(?:\./+)+", "", name)
            key = plain.encode("utf-8", "surrogateescape")
            if key not in seen:
                seen.add(key)
                yield Member(kind, plain, offset, length, url), size
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError, struct.error, NotImplementedError) as error:
        raise ArchiveError(f"{url}: cannot be read as {kind} ({error}).") from None


class _Bounded:
    """A file that refuses reads larger than an archive's directory may be."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _MAX_DIRECTORY:
            here = self._file.tell()
            length = self._file.seek(0, os.SEEK_END) - here
            self._file.seek(here)
            if length > _MAX_DIRECTORY:
                raise ValueError(f"it needs a read of {max(size, length)} bytes at once; refused as a bomb")
        return self._file.read(size)


def _zip_members(file: Any) -> Iterator[tuple[str, int, int, int]]:
    with zipfile.ZipFile(file) as archive:
        infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
        ends = [info.header_offset for info in infos[1:]] + [archive.start_dir][: len(infos)]
    for info, end in zip(infos, ends, strict=True):
        if not info.is_dir():
            yield info.filename, info.header_offset, max(0, end - info.header_offset), info.file_size


def _tar_members(file: Any) -> Iterator[tuple[str, int, int, int]]:
    with tarfile.TarFile(fileobj=file, errorlevel=2) as archive:
        while (info := archive.next()) is not None:
            vars(archive)["members"] = []  # otherwise tarfile keeps all of them in memory
            if info.isreg() and not info.issparse():
                yield info.name, info.offset_data, info.size, info.size
            elif not info.isdir():
                yield info.name, 0, 0, 0
