"""Findings that took TensorFlow and are kept in the user's cache folder: how a machine's kernels behave.

With them, a checkpoint's known digest and the sound bank, a job needs no TensorFlow. A finding is kept under the sha256
of everything that it was found for, so it is never out of date; one that cannot be read is found again.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from gansynth.errors import CheckpointError
from gansynth.io import cache, files
from gansynth.model import checkpoint, kernels
from gansynth.model.shape import NoteShape

_YES, _NO = "equal", "different"


@dataclass(frozen=True)
class KnownModel:
    """Facts about a checkpoint on this machine, for playing sounds that were rendered before.

    Attributes:
        shape: dimensions of its notes.
        digest: "sha256:..." of its weights and flags.
        collection: name of its sounds in the bank.
        serves_shorter: see sounds.SoundSource.
    """

    shape: NoteShape
    digest: str
    collection: str
    serves_shorter: bool


def known_model(name_or_path: str, precision: str, xla: bool, device: str) -> KnownModel | None:
    """Returns the facts about a checkpoint without importing TensorFlow; None if some are not known yet.

    Args:
        name_or_path: see checkpoint.load.
        precision, xla: see network.Network.
        device: "auto", "cpu" or "gpu".
    """
    on_gpu = kernels.expects_gpu(device)
    if device == "gpu" and not on_gpu:
        return None
    try:
        folder, config, _ = checkpoint.outline(name_or_path)
        digest = checkpoint.known_digest(folder)
    except (CheckpointError, OSError):
        return None  # loading the checkpoint reports it
    if not digest:
        return None
    collection = kernels.collection_of(digest, kernels.signature(precision, xla, on_gpu))
    shape = NoteShape(config, str(folder))
    verdict = kept_verdict(collection, shape)
    return None if verdict is None else KnownModel(shape, digest, collection, verdict)


def kept_verdict(collection: str, shape: NoteShape) -> bool | None:
    """Returns what `keep_verdict` has kept; None for nothing."""
    return {_YES: True, _NO: False}.get(_read("kernels", _kernels_key(collection, shape)))


def keep_verdict(collection: str, shape: NoteShape, serves_shorter: bool) -> None:
    """Keeps whether a collection's sounds have the same bits in every bucket of a shape."""
    with contextlib.suppress(OSError):
        _write("kernels", _kernels_key(collection, shape), _YES if serves_shorter else _NO)


def _kernels_key(collection: str, shape: NoteShape) -> str:
    return hashlib.sha256(f"{collection} {list(shape.ladder)}".encode()).hexdigest()


def _path(kind: str, key: str) -> Path:
    return cache.user_folder() / kind / key[:32]


def _read(kind: str, key: str) -> str:
    try:
        return _path(kind, key).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _write(kind: str, key: str, text: str) -> None:
    files.write_bytes(str(_path(kind, key)), f"{text}\n".encode())
