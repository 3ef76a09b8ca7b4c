"""Built banks: sounds that `gansynth-beam bank build` has rendered once, for jobs on any machine; they never change.

A built bank is a folder of segments like those of sound_bank, and of `bank.json`, which describes them: with their
sha256, and with the checkpoint and the kernels that rendered them. The folder's name is the sha256 of `bank.json`,
which is the bank's digest: by it a job names the bank, so that every byte is settled before one is read.

From a URL a segment is copied to this machine when the first of its sounds is needed, and compared with its sha256; the
copies are bounded, and those used longest ago are removed first. Sounds that are not in the bank are rendered if this
machine has the bank's kind of kernels, so that they have the bits that the bank would have; otherwise they are errors.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gansynth.errors import ConfigError, GansynthError
from gansynth.io import cache, files, structured, urls
from gansynth.model import checkpoint, kernels
from gansynth.model.findings import KnownModel
from gansynth.model.layout import ModelConfig
from gansynth.model.shape import NoteShape
from gansynth.model.sound_bank import (
    ENTRY,
    LIMIT,
    DamagedSoundError,
    MissingSoundError,
    Place,
    SoundBank,
    digest_of,
)

DESCRIPTION = "bank.json"
MOST_SOUNDS = 200_000
"""Highest number of sounds of a built bank: up to 51 GB, and 7 MB of entries in the memory of each process."""
_MOST_BYTES = 1 << 28
_MAPPED = 64
"""Segments that a process keeps mapped; one that was removed from the disk stays there as long as it is mapped."""
_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Segment(BaseModel):
    """A segment of a built bank.

    Attributes:
        name: its files are NAME.index and NAME.sounds.
        sounds: number of its sounds.
        size: size of NAME.sounds in bytes.
        index_sha256, sounds_sha256: sha256 of the two files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern="^[0-9]{6}$")]
    sounds: Annotated[int, Field(ge=1, le=MOST_SOUNDS)]
    size: Annotated[int, Field(ge=0, le=_MOST_BYTES)]
    index_sha256: _Sha256
    sounds_sha256: _Sha256


class BankDescription(BaseModel):
    """The content of bank.json.

    Attributes:
        layout: version of the files.
        checkpoint_digest: "sha256:..." of the weights and flags of the checkpoint that was played.
        checkpoint_files: what tells without TensorFlow that a checkpoint is this one, see checkpoint.files_digest.
        flags: the checkpoint's flags, see layout.ModelConfig.
        kernels: what rendered the sounds, see kernels.signature.
        serves_shorter: see sounds.SoundSource.
        segments: the files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    layout: Literal[1] = 1
    checkpoint_digest: Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]
    checkpoint_files: _Sha256
    flags: dict[str, Any]
    kernels: dict[str, Any]
    serves_shorter: bool
    segments: Annotated[tuple[Segment, ...], Field(min_length=1)]

    @property
    def collection(self) -> str:
        """Name of the collection that the sounds belong to, see kernels.collection_of."""
        return kernels.collection_of(self.checkpoint_digest, self.kernels)

    @property
    def sounds(self) -> int:
        """Number of all sounds."""
        return sum(segment.sounds for segment in self.segments)

    @property
    def size(self) -> int:
        """Bytes of all samples."""
        return sum(segment.size for segment in self.segments)

    def to_json(self) -> bytes:
        """Formats the content of bank.json; equal descriptions have equal bytes."""
        return (json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=1) + "\n").encode()


class BuiltBank(SoundBank):
    """A built bank; only read.

    Args:
        place: folder or URL that it was built in.
        digest: "sha256:...", its digest.
        limit: maximum size in bytes of the copies on this machine, of all banks at URLs together.

    Attributes:
        description: the content of bank.json.

    Raises:
        ConfigError: it cannot be read, or is not the bank of this digest.
    """

    def __init__(self, place: str, digest: str, limit: int = LIMIT) -> None:
        self._digest = digest.removeprefix("sha256:")
        self._is_local = urls.is_local(place)
        self._url = urls.join(urls.local_path(place) if self._is_local else place, self._digest)
        self._copies, self._copies_limit = _copies_folder(), limit
        self._problem = ""
        self._broken: dict[str, str] = {}
        parent = Path(urls.local_path(place)) if self._is_local else self._copies
        try:
            self.description = self._describe(parent / self._digest)
            self._segments = {segment.name: segment for segment in self.description.segments}
            super().__init__(parent, self._digest, limit=0)
        except FileNotFoundError as error:
            name = str(error.filename or error).rsplit("/", 1)[-1]
            raise ConfigError(
                f"compute.sound_bank {place}: has no bank {digest}: {self._url}/{name} does not exist. "
                "`gansynth-beam bank build` makes banks."
            ) from None
        except (DamagedSoundError, ValueError) as error:
            raise ConfigError(f"compute.sound_bank {place}: {error}.") from None
        except GansynthError:
            raise
        except Exception as error:  # each file system has its own exception types
            raise ConfigError(f"compute.sound_bank {place}: cannot be read ({urls.reason(error, place)}).") from None

    def known_model(self, precision: str, xla: bool, device: str) -> KnownModel:
        """Returns the facts about the bank's checkpoint; its collection is that of what this machine renders.

        Args:
            precision, xla: see network.Network.
            device: "auto", "cpu" or "gpu".

        Raises:
            ConfigError: the precision is not the bank's.
        """
        found, digest = self.description, self.description.checkpoint_digest
        if (own := found.kernels.get("precision")) != precision:
            raise ConfigError(
                f"compute.precision {precision}: the sounds of the bank {self._url} have {own}; set "
                f"compute.precision={own}, or name another bank."
            )
        here = kernels.signature(precision, xla, kernels.expects_gpu(device))
        shape = NoteShape(ModelConfig.from_json(json.dumps(found.flags), self._url), self._url)
        return KnownModel(shape, digest, kernels.collection_of(digest, here), found.serves_shorter)

    def check_checkpoint(self, name_or_path: str) -> None:
        """Checks that a checkpoint is the bank's; imports TensorFlow only if its files are others.

        Raises:
            CheckpointError: it cannot be read.
            ConfigError: it is another one.
        """
        folder, _, _ = checkpoint.outline(name_or_path)
        if checkpoint.files_digest(folder) == self.description.checkpoint_files:
            return
        if (digest := checkpoint.digest(name_or_path)) != self.description.checkpoint_digest:
            raise ConfigError(
                f"compute.sound_bank {self._url}: its sounds are of the checkpoint "
                f"{self.description.checkpoint_digest}, and {name_or_path} is {digest}; build a bank of that one."
            )

    def check_kernels(self, collection: str, missing: Sequence[tuple[Any, int]]) -> None:
        """Implements SoundBank.check_kernels."""
        if collection == self.description.collection:
            return
        ((_, pitch), rows), count = missing[0], len(missing)
        others = kernels.differences(self.description.kernels)
        raise MissingSoundError(
            f"the sound bank {self._url} lacks {count} {'sounds' if count > 1 else 'sound'} of these notes (the first: "
            f"pitch {pitch}, {rows} rows), and this machine would render {'them' if count > 1 else 'it'} with other "
            f"bits ({', '.join(others) or 'another device'}); build a bank with all sounds of the corpus: "
            "`gansynth-beam plan --save`, then `gansynth-beam bank build --from-plan`"
            f"{self._problem and f'. {self._problem}'}"
        )

    def refresh(self) -> None:
        """Reads the entries, which never change, the first time."""
        with self._lock:
            for segment in () if self._places else self.description.segments:
                data = self._small(f"{segment.name}.index", segment.index_sha256, segment.sounds * ENTRY.size)
                self._add_entries(segment.name, data)

    def get(self, key: object, samples: int) -> NDArray[np.float32] | None:
        """Returns a sound, see SoundBank.get; a damaged copy of its segment is replaced."""
        name = digest_of(key)
        place = self._places.get(name)
        try:
            return super().get(key, samples)
        except DamagedSoundError:
            if self._is_local or place is None or name in self._places:
                raise
        with self._lock:
            self._places[name] = place
            self._maps.pop(place.segment, None)
            self._copy_of(place.segment).unlink(missing_ok=True)
        return super().get(key, samples)

    def _describe(self, folder: Path) -> BankDescription:
        self._folder = folder
        data = self._small(DESCRIPTION, self._digest, structured.MAX_BYTES)
        try:
            return BankDescription.model_validate(structured.parse_json(data))
        except ValidationError as error:
            raise ValueError(f"{self._url}/{DESCRIPTION}: {structured.first_problem(error)}") from None

    def _small(self, name: str, sha256: str, limit: int) -> bytes:
        """Reads an index or the description; from a URL once, and from then on the copy."""
        copy = self._folder / name
        with contextlib.suppress(OSError):
            data = files.read_bytes(str(copy), limit + 1)
            if hashlib.sha256(data).hexdigest() == sha256:
                return data
        data = self._read_checked(name, sha256, limit)
        if not self._is_local:
            with contextlib.suppress(OSError):  # a cache that cannot be written costs each process a request
                files.write_bytes(str(copy), data)
        return data

    def _read_checked(self, name: str, sha256: str, limit: int) -> bytes:
        """Reads a file of the bank.

        Raises:
            DamagedSoundError: it is not the file of that sha256.
        """
        url = urls.join(self._url, name)
        data = files.read_bytes(url, limit + 1)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise DamagedSoundError(f"{url}: is damaged: its sha256 is not the one that the bank's digest promises")
        return data

    def _mapped(self, place: Place) -> NDArray[np.float32] | None:
        if self._is_local or place.segment in self._maps:
            return super()._mapped(place)
        if place.segment in self._broken:
            raise DamagedSoundError(self._broken[place.segment])
        while len(self._maps) >= _MAPPED:
            del self._maps[next(iter(self._maps))]
        try:
            with cache.exclusive(self._copies / ".lock"):  # of several processes one copies, and none removes
                self._copy(self._segments[place.segment])
                return super()._mapped(place)
        except DamagedSoundError as error:
            self._problem = self._broken[place.segment] = str(error)
            raise
        except Exception as error:  # each file system has its own exception types
            url = urls.join(self._url, self._copy_of(place.segment).name)
            self._problem = f"{url}: cannot be copied to {self._folder} ({urls.reason(error, url)})"
            raise DamagedSoundError(self._problem) from None

    def _copy_of(self, segment: str) -> Path:
        return self._folder / f"{segment}.sounds"

    def _copy(self, segment: Segment) -> None:
        """Copies a segment to this machine, unless it is there."""
        copy = self._copy_of(segment.name)
        with contextlib.suppress(FileNotFoundError):
            if copy.stat().st_size == segment.size:
                os.utime(copy)
                return
        data = self._read_checked(copy.name, segment.sounds_sha256, segment.size)
        _make_room(self._copies, self._copies_limit - len(data))
        files.write_bytes(str(copy), data)


def _copies_folder() -> Path:
    """Returns the folder for the copies of all banks at URLs, below the user's cache folder."""
    return cache.user_folder() / "fetched"


def _make_room(folder: Path, limit: int) -> None:
    """Removes the segments below a folder that were used longest ago, until the rest fits a limit in bytes."""
    found = []
    for path in folder.rglob("*.sounds"):
        with contextlib.suppress(FileNotFoundError):
            found.append((path.stat().st_mtime_ns, path.stat().st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= limit:
            return
        path.unlink(missing_ok=True)
        total -= size
