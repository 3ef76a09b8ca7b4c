"""The model server of a machine, shared by processes that did not start each other: the workers of one container.

Beam's boot program starts the Python processes of a Dataflow machine in one container, as one user. They find the
server by a file in a folder that only this user may read, with the server's address and its random key. Processes in
containers of their own do not see each other's files, and start a server each.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import multiprocessing
import os
import stat
import tempfile
from multiprocessing.managers import BaseManager
from pathlib import Path

from gansynth.errors import ConfigError
from gansynth.model.server import Load, ModelServer, ServerAddress

_started: list[ModelServer] = []
"""Servers that this process has started; they end with it."""


def join(load: Load, name: str, parent: str | None = None) -> ServerAddress:
    """Finds the machine's server of a model, or starts it; from then on this process has the server's key.

    Args:
        load: function that loads the model.
        name: what distinguishes this model and its settings from others on the machine.
        parent: folder for the folder of the files; the system's for temporary files by default.

    Returns:
        The server's address, for `ModelClient`.

    Raises:
        ConfigError: others could read or replace the files.
    """
    folder = _private_folder(Path(parent or tempfile.gettempdir()))
    path = folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the file is closed: the first process starts the server for all
        if path.exists() and (found := _running(json.loads(path.read_text()))) is not None:
            return found
        server = ModelServer(multiprocessing.get_context("spawn"), load)
        _started.append(server)
        key = bytes(multiprocessing.current_process().authkey).hex()
        path.touch(mode=0o600)
        path.write_text(json.dumps({"socket": server.address.socket, "key": key}))
        return ServerAddress(server.address.socket)


def _private_folder(parent: Path) -> Path:
    folder = parent / f"gansynth-models-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise ConfigError(f"{folder}: is not a folder that only this user may use; remove it.")
    return folder


def _running(server: dict[str, str]) -> ServerAddress | None:
    """Takes over the key of a server and returns its address; None if the server has ended."""
    key = bytes.fromhex(server["key"])
    try:
        BaseManager(server["socket"], key).connect()
    except (OSError, EOFError, multiprocessing.AuthenticationError):
        return None
    multiprocessing.current_process().authkey = key
    return ServerAddress(server["socket"])
