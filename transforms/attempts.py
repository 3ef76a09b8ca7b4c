"""Markers of attempts on remote runners: they name the songs that may have killed a worker, across retries and jobs."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from gansynth.errors import GansynthError
from gansynth.io import files, listing, urls
from gansynth.model.server import end_with_parent
from transforms.counters import count
from transforms.worker_context import CONTEXT

T = TypeVar("T")


class WorkerDied(GansynthError):  # noqa: N818 -- its name is in errors.jsonl, also of local runs
    """The death of a process that did nothing but one attempt."""

    code = "worker-died"


@dataclass(frozen=True)
class Attempts:
    """The markers of the attempts of one step.

    A marker is written before an attempt and removed after it, so those that are left were of processes that died, or
    are of processes that still run. Neither proves anything: other threads die with a process too, and machines are
    taken away. What has a marker is therefore only a suspect, to be tried again alone, by `alone`.

    A marker of one key is empty and has the key's digest as its name; one of several keys, a batch, lists their
    digests.

    Attributes:
        folder: path or URL of the step's folder of markers.
    """

    folder: str

    @contextmanager
    def trying(self, keys: Collection[str]) -> Iterator[None]:
        """Keeps a marker during the block; it stays if the process dies, or if the block raises WorkerDied.

        Args:
            keys: the keys of what is tried together; no marker is written if there are none.
        """
        if not keys:
            yield
            return
        digests = sorted(map(digest, keys))
        url = self._url(digests)
        files.write_bytes(url, b"" if len(digests) == 1 else "\n".join(digests).encode())
        try:
            yield
        except WorkerDied:
            raise
        except Exception:
            files.remove_file(url)
            raise
        files.remove_file(url)

    def suspects(self) -> frozenset[str]:
        """Returns the digests of all keys that have a marker."""
        found: set[str] = set()
        for url, size in listing.find(self.folder):
            if size == 0:
                found.add(url.rpartition("/")[2])
                continue
            with suppress(FileNotFoundError):  # its attempt has ended since
                found.update(files.read_bytes(url).decode().split())
        return frozenset(found)

    def forget(self, keys: Collection[str]) -> None:
        """Removes the marker of an attempt that others have taken the place of, if there is one."""
        files.remove_file(self._url(sorted(map(digest, keys))))

    def tidy(self) -> None:
        """Removes the markers of batches after a job; those of single keys stay, and name killing songs to the next."""
        found = list(listing.find(self.folder))
        batches = [url for url, size in found if size]
        if len(batches) == len(found):
            files.remove(self.folder)
        else:
            for url in batches:
                files.remove_file(url)

    def _url(self, digests: Sequence[str]) -> str:
        return urls.join(self.folder, digests[0] if len(digests) == 1 else digest("\n".join(digests)))


def digest(key: str) -> str:
    """Computes the digest by which markers name a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def alone(work: Callable[..., T], *arguments: object) -> T:
    """Runs a function in a child process that does nothing else; its counters are counted here.

    Args:
        work: a function that can be pickled.
        *arguments: its arguments, pickled too.

    Raises:
        WorkerDied: the child died.
        Exception: what the function raised.
    """
    # Spawned: a fork of a process with threads, gRPC and TensorFlow may hang.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _prefer_to_kill) as pool:
        try:
            outcome, counters = pool.submit(_counting, work, arguments).result()
        except BrokenProcessPool:
            message = "the process that rendered it died, and again alone in a process; perhaps it was out of memory"
            raise WorkerDied(message) from None
    for name, number in counters.items():
        count(name, number)
    return outcome


def _counting(work: Callable[..., T], arguments: Sequence[object]) -> tuple[T, dict[str, int]]:
    return work(*arguments), dict(CONTEXT.total())


def _prefer_to_kill() -> None:
    """Lets the child end with its parent, and be the one that the kernel kills when memory runs out."""
    end_with_parent()
    with suppress(OSError):  # Linux alone has it
        Path("/proc/self/oom_score_adj").write_text("1000")
