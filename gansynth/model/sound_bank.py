"""Sound bank: rendered sounds on disk, shared by all processes of a machine and by later runs.

A collection is a folder of segments, each of two files that are only appended to: `NAME.sounds` holds samples, and
`NAME.index` an entry for each sound. A process that writes locks a segment of its own (flock, which the system releases
when a process dies) and appends the samples first and the entry then; readers map the samples into memory. So a
process may be killed at any moment: what it leaves are samples without entry, or a part of an entry, which the next
writer cuts off. Nothing is trusted: entries and samples have checksums, and what fails is rendered again.

Plain files, since no library has all of this: SQLite has one writer at a time and copies what is read, LMDB reserves
its greatest size in advance and grows stale readers, diskcache pickles, zarr has no concurrent writers.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import mmap
import os
import secrets
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansynth.errors import ConfigError, GansynthError
from gansynth.io import cache, files, listing, urls

LIMIT = 2 << 30
"""Default size of a bank in bytes."""
ENTRY = struct.Struct("<16sQIII")
"""Key, offset, number of samples, their CRC-32, and the CRC-32 of all this."""
_ALIGNMENT = 8
_SEGMENTS = 32
"""A bank at its limit has about this many segments; the oldest is removed for a new one."""
_LOG = logging.getLogger(__name__)


class DamagedSoundError(GansynthError):
    """A sound whose checksum fails, or that cannot be read."""


class MissingSoundError(GansynthError):
    """A sound that a built bank lacks, and that this machine cannot render with the bits that the bank would have."""

    code = "sound-missing"


@dataclass(frozen=True)
class Place:
    """Place of a sound: its segment, offset in bytes, number of samples, and their CRC-32."""

    segment: str
    offset: int
    samples: int
    checksum: int


class SoundBank:
    """One collection of a bank; safe to share between threads, and to open in many processes.

    Args:
        folder: folder of the bank.
        collection: name of the collection, see kernels.collection_of.
        limit: size in bytes of the whole bank, all collections together.
    """

    def __init__(self, folder: Path, collection: str, limit: int = LIMIT) -> None:
        self._bank, self._folder, self._limit = folder, folder / collection, limit
        self._places: dict[bytes, Place] = {}
        self._read: dict[str, int] = {}
        self._maps: dict[str, mmap.mmap] = {}
        self._writer: _Writer | None = None
        self._lock = threading.Lock()
        self.refresh()

    def __len__(self) -> int:
        return len(self._places)

    @property
    def is_writable(self) -> bool:
        """Tells whether sounds can be added."""
        return self._limit > 0

    def refresh(self) -> None:
        """Reads the entries that all processes have added since the last time."""
        with self._lock:
            for index in sorted(self._folder.glob("*.index")):
                self._read_index(index)

    def has(self, key: object, samples: int) -> bool:
        """Returns whether the bank has at least `samples` samples of a sound, as far as read."""
        place = self._places.get(digest_of(key))
        return place is not None and place.samples >= samples

    def get(self, key: object, samples: int) -> NDArray[np.float32] | None:
        """Returns a sound, float32 [at least `samples`], read-only; None if the bank has not as much of it.

        Args:
            key: latent and pitch, and the bucket where longer sounds do not serve shorter notes.
            samples: number of samples that are needed.

        Raises:
            DamagedSoundError: the sound is damaged; the bank has forgotten it.
        """
        name = digest_of(key)
        with self._lock:
            place = self._places.get(name)
            if place is None or place.samples < samples:
                return None
            audio = self._mapped(place)
            if audio is not None and zlib.crc32(audio.data) == place.checksum:
                return audio
            del self._places[name]
        if audio is None:  # the oldest segment was removed to make room
            return None
        raise DamagedSoundError(f"{self._folder / place.segment}.sounds: a sound at byte {place.offset} is damaged")

    def check_kernels(self, collection: str, missing: Sequence[tuple[Any, int]]) -> None:
        """Checks that this machine may render what the bank lacks; any may, for a bank of its own sounds.

        Args:
            collection: name of the collection of what the machine renders.
            missing: the sounds, each with its bucket.

        Raises:
            MissingSoundError: sounds of the machine would not have the bits that the bank promises.
        """

    def put(self, key: object, audio: NDArray[np.float32]) -> None:
        """Adds a sound, unless the bank has as much of it; after an error of the disk, nothing is added any more.

        Args:
            key: see `get`.
            audio: float32 [samples].
        """
        name = digest_of(key)
        with self._lock:
            place = self._places.get(name)
            if not self.is_writable or (place is not None and place.samples >= len(audio)):
                return
            try:
                self._places[name] = self._append(name, np.ascontiguousarray(audio, np.float32))
            except OSError as error:
                _LOG.warning("sound bank %s: cannot be written (%s); nothing is added to it", self._folder, error)
                self._limit = 0

    def _append(self, name: bytes, audio: NDArray[np.float32]) -> Place:
        if self._writer is None or self._writer.size + audio.nbytes > self._limit // _SEGMENTS:
            if self._writer is not None:
                self._writer.close()
            self._make_room()
            self._writer = _Writer.claim(self._folder, self._limit // _SEGMENTS - audio.nbytes)
        return self._writer.append(name, audio)

    def _make_room(self) -> None:
        """Removes the oldest segments until another one fits below the limit."""
        sizes = {index: _size(index) for index in self._bank.glob("*/*.index")}
        for index in sorted(sizes, key=lambda path: sizes[path][0]):
            # A segment that is still written may grow by as much as a new one.
            if sum(size for _, size in sizes.values()) + 2 * self._limit // _SEGMENTS <= self._limit:
                return
            with _locked(index) as mine:
                if mine:
                    index.with_suffix(".sounds").unlink(missing_ok=True)
                    index.unlink(missing_ok=True)
                    del sizes[index]

    def _read_index(self, index: Path) -> None:
        begin = self._read.get(index.stem, 0)
        try:
            if index.stat().st_size < begin + ENTRY.size:
                return
            with index.open("rb") as f:
                f.seek(begin)
                data = f.read()
        except OSError:
            return  # removed at this moment
        self._read[index.stem] = begin + self._add_entries(index.stem, data)

    def _add_entries(self, segment: str, data: bytes) -> int:
        """Adds the places of a segment's sounds; returns the number of bytes that are whole entries."""
        whole = len(data) // ENTRY.size * ENTRY.size
        for entry, (key, offset, samples, checksum, own) in zip(
            range(0, whole, ENTRY.size), ENTRY.iter_unpack(data[:whole]), strict=True
        ):
            known = self._places.get(key)
            sound = zlib.crc32(data[entry : entry + ENTRY.size - 4]) == own
            if sound and (known is None or known.samples <= samples):
                self._places[key] = Place(segment, offset, samples, checksum)
        return whole

    def _mapped(self, place: Place) -> NDArray[np.float32] | None:
        end = place.offset + 4 * place.samples
        mapped = self._maps.get(place.segment)
        if mapped is None or len(mapped) < end:
            try:
                with (self._folder / f"{place.segment}.sounds").open("rb") as f:
                    mapped = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
            except FileNotFoundError:
                return None
            except (OSError, ValueError):  # an empty file cannot be mapped
                return np.zeros(0, np.float32)
            self._maps[place.segment] = mapped
        if len(mapped) < end:
            return np.zeros(0, np.float32)
        return np.frombuffer(mapped, np.float32, place.samples, place.offset)


class FetchedBank(SoundBank):
    """A collection at a URL, copied to this machine segment by segment as sounds are needed; only read.

    Args:
        url: URL of the bank, laid out as a local one.
        collection: name of the collection.

    Raises:
        ConfigError: the URL cannot be read.
    """

    def __init__(self, url: str, collection: str) -> None:
        self._url = urls.join(url, collection)
        copies = cache.user_folder() / "fetched" / hashlib.sha256(url.encode()).hexdigest()[:16]
        try:
            for index, _ in listing.find(self._url):
                if index.endswith(".index"):
                    files.write_bytes(str(copies / collection / index.rsplit("/", 1)[-1]), files.read_bytes(index))
        except FileNotFoundError:
            pass  # it has no sounds of this collection
        except Exception as error:  # each file system has its own exception types
            raise ConfigError(f"compute.sound_bank {url}: cannot be read ({urls.reason(error, url)}).") from None
        super().__init__(copies, collection, limit=0)

    def _mapped(self, place: Place) -> NDArray[np.float32] | None:
        samples = self._folder / f"{place.segment}.sounds"
        if place.segment in self._maps:
            return super()._mapped(place)
        if not samples.exists() or samples.stat().st_size < place.offset + 4 * place.samples:
            try:
                files.write_bytes(str(samples), files.read_bytes(urls.join(self._url, samples.name)))
            except Exception as error:  # each file system has its own exception types
                _LOG.warning("sound bank %s: %s cannot be read (%s)", self._url, samples.name, error)
                return None
        return super()._mapped(place)


def write_segment(index: Path, sounds: Iterable[tuple[object, NDArray[np.float32]]]) -> None:
    """Writes a segment that nobody appends to: the index, and the samples beside it.

    Args:
        index: path of the index, NAME.index, in a folder that exists.
        sounds: keys and samples, see SoundBank.put.

    Raises:
        OSError: it cannot be written.
    """
    writer = _Writer(index, os.open(index, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666))
    try:
        for key, audio in sounds:
            writer.append(digest_of(key), np.ascontiguousarray(audio, np.float32))
    finally:
        writer.close()


class _Writer:
    """A segment that this process alone appends to.

    Attributes:
        size: bytes of its samples.
    """

    def __init__(self, index: Path, entries: int) -> None:
        self._name, self._entries = index.stem, entries
        self._samples = os.open(index.with_suffix(".sounds"), os.O_WRONLY | os.O_CREAT, 0o666)
        self.size = os.fstat(self._samples).st_size
        whole = os.fstat(entries).st_size // ENTRY.size * ENTRY.size
        os.ftruncate(entries, whole)  # a killed writer may have left a part of an entry

    @classmethod
    def claim(cls, folder: Path, room: int) -> _Writer:
        """Locks a segment of at most `room` bytes that nobody writes, or else a new one.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        candidates = [index for index in sorted(folder.glob("*.index")) if _size(index)[1] <= room]
        while True:
            index = candidates.pop() if candidates else folder / f"{secrets.token_hex(8)}.index"
            entries = os.open(index, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(entries, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if index.exists():  # otherwise it was removed before it was locked
                    return cls(index, entries)
            os.close(entries)

    def append(self, name: bytes, audio: NDArray[np.float32]) -> Place:
        """Writes a sound, first its samples and then its entry."""
        data = audio.data.cast("B")
        offset = -(-self.size // _ALIGNMENT) * _ALIGNMENT
        self.size = offset + len(data)
        written = 0
        while written < len(data):
            written += os.pwrite(self._samples, data[written:], offset + written)
        place = Place(self._name, offset, len(audio), zlib.crc32(data))
        entry = ENTRY.pack(name, offset, place.samples, place.checksum, 0)
        os.write(self._entries, entry[:-4] + zlib.crc32(entry[:-4]).to_bytes(4, "little"))
        return place

    def close(self) -> None:
        """Releases the segment."""
        os.close(self._samples)
        os.close(self._entries)


@contextlib.contextmanager
def _locked(index: Path) -> Iterator[bool]:
    """Tries to lock a segment; yields whether nobody else writes it."""
    try:
        handle = os.open(index, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def _size(index: Path) -> tuple[int, int]:
    """Returns when a segment was last written, in nanoseconds, and its bytes; 0 where it was removed."""
    try:
        entries, samples = index.stat(), index.with_suffix(".sounds").stat()
    except OSError:
        return 0, 0
    return entries.st_mtime_ns, entries.st_size + samples.st_size


def digest_of(key: Any) -> bytes:
    """Digests latent and pitch, or latent, pitch and bucket."""
    (latent, pitch), bucket = key if isinstance(key[0], tuple) else (key, 0)
    return hashlib.blake2b(latent + struct.pack("<II", pitch, bucket), digest_size=16).digest()
