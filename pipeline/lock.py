"""The lock of an output folder: one job at a time writes into it.

The lock is a file that names its owner. It is created only if there is none: locally by O_EXCL, on Google Cloud Storage
on the condition that the object has no generation. On other object stores the condition is kept as far as their fsspec
package can, so two jobs that begin in the same second may both get it.

A lock whose owner has ended is taken over: at once if it was a process of this machine (its number, its start time and
the boot tell it from later processes), else when the file has not been renewed for STALE_SECONDS by the storage's own
clock. A remote job outlives the process that submitted it: its lock names the job, whose runner is asked for its state.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from gansynth.errors import ConfigError, GansynthError
from gansynth.io import files, paths, retry, urls
from gansynth.io.retry import with_retries

NAME = ".lock"
RENEW_SECONDS = 60.0
"""Seconds between two renewals of a lock by its owner."""
STALE_SECONDS = 600.0
"""Seconds without renewal after which the owner of a lock on another machine has ended."""
_TRIES = 5


class LockError(GansynthError):
    """A lock that another job has taken over, since its owner had not renewed it for too long."""


@dataclass(frozen=True)
class Owner:
    """The job that holds a lock.

    Attributes:
        job: id of the job, chosen at random; its rows are in a folder of this name.
        host, process: machine, and number of the process; 0 when the process has left its remote job alone.
        machine: boot and process namespace in which the number is valid; empty if the system does not tell.
        started: start time of the process in clock ticks since the boot; empty if the system does not tell.
        since: time at which the job began, UTC.
        remote: the remote job, as `pipeline.remote.has_ended` knows it; empty for a local job.
    """

    job: str
    host: str
    process: int
    machine: str
    started: str
    since: str
    remote: dict[str, str] = field(default_factory=dict)

    @classmethod
    def here(cls) -> Owner:
        """Describes a new job of this process."""
        now = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        number = os.getpid()
        return cls(uuid.uuid4().hex[:12], platform.node(), number, _machine(), _started(number) or "", now)

    @property
    def is_here(self) -> bool:
        """Returns whether the number of the owner's process is valid in this process."""
        return self.machine == _machine() != ""

    @property
    def lives(self) -> bool:
        """Returns whether the process of an owner that `is_here` still exists."""
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return _started(self.process) in (self.started, None)

    def __str__(self) -> str:
        if self.remote and not self.process:
            return f"{self.remote['runner']} job {self.remote['job']}, since {self.since}"
        return f"process {self.process} on {self.host}, since {self.since}"


class Lock:
    """The lock of an output folder, held during a `with` block and renewed by a thread.

    Args:
        output: path or URL of the output folder.
        outcome: tells whether a remote job has ended, or None if that cannot be found out.

    Attributes:
        owner: this job.
        taken_from: the job that had ended without releasing the lock, if there was one.
    """

    def __init__(self, output: str, outcome: Callable[[Owner], bool | None]) -> None:
        self._output, self._outcome = output, outcome
        self._url = urls.join(output, NAME)
        self._file = _file(self._url)
        self._version: Any = None
        self._guard, self._over, self._lost = threading.Lock(), threading.Event(), False
        self.owner = Owner.here()
        self.taken_from: Owner | None = None

    def __enter__(self) -> Lock:
        """Takes the lock.

        Raises:
            ConfigError: another job holds it, or the output folder cannot be written.
        """
        try:
            self._take()
        except GansynthError:
            raise
        except Exception as error:  # each file system has its own exception types
            raise ConfigError(
                f"--output {self._output}: cannot be written ({urls.reason(error, self._output)})."
            ) from None
        threading.Thread(target=self._renew, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        with self._guard, suppress(Exception):  # a lock that is left behind is taken over by the next job
            if self._lost:
                return
            if self.owner.remote:
                self._write(replace(self.owner, process=0))
            else:
                self._file.remove(self._version)

    def check(self) -> None:
        """Checks that this job still holds the lock.

        Raises:
            LockError: another job has taken it over.
        """
        if self._lost:
            raise LockError(
                f"--output {self._output}: another job has taken this folder over, since this one had not renewed "
                f"its lock for {STALE_SECONDS / 60:.0f} minutes; run the same command again when that job is done."
            )

    def name_remote_job(self, remote: dict[str, str]) -> None:
        """Names the remote job in the lock; an empty name means that it has ended."""
        with self._guard:
            self.owner = replace(self.owner, remote=remote)
            self._write(self.owner)

    def _take(self) -> None:
        for _ in range(_TRIES):
            found = self._file.read()
            if found is None:
                self._version = self._file.write(_encode(self.owner), None)
            elif found[0] == _encode(self.owner):  # it was created, but the answer was lost
                self._version = found[1]
            else:
                earlier = _decode(found[0])
                self._check_ended(earlier)
                self.taken_from = earlier
                self._version = self._file.write(_encode(self.owner), found[1])
            if self._version is not None:
                return
        raise ConfigError(f"--output {self._output}: another job is beginning in this folder; choose another.")

    def _check_ended(self, owner: Owner | None) -> None:
        """Checks that the owner of the lock has ended."""
        if owner is None or owner.process:
            alive = owner.lives if owner is not None and owner.is_here else self._is_fresh()
            if alive:
                raise ConfigError(
                    f"--output {self._output}: another job is writing into this folder "
                    f"({owner or 'its lock cannot be read'}); wait until it ends, or choose another folder."
                )
        if owner is None or not owner.remote:
            return
        ended = self._outcome(owner)
        if not ended:
            state = "still runs" if ended is False else "may still run: its state cannot be found out"
            raise ConfigError(
                f"--output {self._output}: a job that writes into this folder {state} ({owner}); run the same command "
                f"again when it is done. If you know that it has ended, remove {self._url}."
            )

    def _is_fresh(self) -> bool:
        """Returns whether the lock was renewed lately, by the clock of the storage."""
        probe = urls.join(self._output, f"{paths.UNFINISHED}{uuid.uuid4().hex}")
        files.write_bytes(probe, b"", retry_seconds=retry.SECONDS)
        try:
            fs = self._file.fs
            now, then = (fs.modified(urls.filesystem(url)[1]) for url in (probe, self._url))
        except FileNotFoundError:
            return False
        except NotImplementedError:
            return True
        finally:
            files.remove(probe)
        return bool((now - then).total_seconds() < STALE_SECONDS)

    def _write(self, owner: Owner) -> None:
        version = self._file.write(_encode(owner), self._version)
        self._version, self._lost = version, version is None

    def _renew(self) -> None:
        while not self._over.wait(RENEW_SECONDS):
            with self._guard, suppress(Exception):  # storage may be back at the next renewal
                if not self._lost and not self._over.is_set():
                    self._version = self._file.renew(_encode(self.owner), self._version)
                    self._lost = self._version is None


class _LockFile:
    """The file of a lock in any file system. `version` is what distinguishes its content from later ones."""

    def __init__(self, url: str) -> None:
        self.fs, self.path = urls.filesystem(url)

    def read(self) -> tuple[bytes, Any] | None:
        """Returns content and version; None if there is no lock."""
        try:
            data = with_retries(self.fs.cat_file, self.path)
        except FileNotFoundError:
            return None
        return data, data

    def write(self, data: bytes, version: Any) -> Any:
        """Writes the lock if its version is still this one, None for no lock; returns the new version, else None."""
        try:
            if version is None:
                with_retries(self.fs.pipe_file, self.path, data, mode="create")
            elif self.read() == (version, version):
                with_retries(self.fs.pipe_file, self.path, data)
            else:
                return None
        except FileExistsError:
            return None
        return data

    def renew(self, data: bytes, version: Any) -> Any:
        """Sets the time of the lock, like `write`."""
        return self.write(data, version)

    def remove(self, version: Any) -> None:
        """Removes the lock if its version is still this one."""
        if self.read() == (version, version):
            with_retries(self.fs.rm_file, self.path)


class _LocalFile(_LockFile):
    """The file of a lock on this machine, or on a file system that machines share."""

    def write(self, data: bytes, version: Any) -> Any:
        path = Path(self.path)
        if version is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with path.open("xb") as f:
                    f.write(data)
            except FileExistsError:
                return None
            except OSError:
                path.unlink(missing_ok=True)
                raise
            return data
        with suppress(FileNotFoundError), path.open("rb") as f:
            with suppress(OSError):  # a file system without locks of this kind
                fcntl.flock(f, fcntl.LOCK_EX)  # of two jobs that take a lock over, the second sees the first's
            if f.read() == version and os.path.samestat(os.fstat(f.fileno()), path.stat()):
                files.write_bytes(self.path, data)
                return data
        return None

    def renew(self, data: bytes, version: Any) -> Any:
        if self.read() != (version, version):
            return None
        os.utime(self.path)
        return version


class _GoogleFile(_LockFile):
    """The object of a lock on Google Cloud Storage; its version is its generation, 0 if there is none."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.bucket, _, self.key = self.path.partition("/")

    def read(self) -> tuple[bytes, Any] | None:
        try:
            found = with_retries(self.fs.call, "GET", "b/{}/o/{}", self.bucket, self.key, json_out=True)
            return with_retries(self.fs.cat_file, self.path), str(found["generation"])
        except FileNotFoundError:
            return None

    def write(self, data: bytes, version: Any) -> Any:
        where = f"{self.fs._location}/upload/storage/v1/b/{self.bucket}/o"
        only_if: dict[str, Any] = {"uploadType": "media", "name": self.key, "ifGenerationMatch": version or "0"}
        try:
            return str(with_retries(self.fs.call, "POST", where, data=data, json_out=True, **only_if)["generation"])
        except FileExistsError:
            return None

    def remove(self, version: Any) -> None:
        with suppress(FileExistsError, FileNotFoundError):
            call = self.fs.call
            with_retries(call, "DELETE", "b/{}/o/{}", self.bucket, self.key, ifGenerationMatch=version)


def _file(url: str) -> _LockFile:
    if urls.is_local(url):
        return _LocalFile(url)
    return (_GoogleFile if url.startswith(("gs://", "gcs://")) else _LockFile)(url)


def _encode(owner: Owner) -> bytes:
    return json.dumps(asdict(owner), sort_keys=True).encode()


def _decode(data: bytes) -> Owner | None:
    """Reads the owner of a lock; None if its process was killed while it wrote it."""
    try:
        return Owner(**json.loads(data))
    except (ValueError, TypeError):
        return None


def _machine() -> str:
    """Identifies the boot and the process namespace of this process; empty if the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _started(process: int) -> str | None:
    """Returns the start time of a process; "ended" if only its parent still has to notice its end, None if unknown."""
    try:
        state, *fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return "ended" if state in "ZX" else fields[18]
