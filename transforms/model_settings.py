"""Settings with which workers load the model; imports neither Beam nor TensorFlow."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

from gansynth.io import urls
from gansynth.io.urls import StorageConfig
from gansynth.model.findings import KnownModel, known_model
from gansynth.model.open_bank import open_built, split_digest
from gansynth.model.server import Load, load_model
from gansynth.model.sound_bank import LIMIT
from gansynth.model.synthesizer import Synthesizer


@dataclass(frozen=True)
class ModelSettings:
    """Settings with which a worker loads its model; equal settings share one model in a process.

    Attributes:
        checkpoint, batch_rows, cache_bytes, threads, device, precision, xla, sound_bank, sound_bank_bytes: see
            Synthesizer.from_checkpoint.
        storage: credentials for reading the checkpoint.
        loader: function that loads the model, called as `loader(storage, checkpoint=..., batch_rows=..., ...)`.
    """

    checkpoint: str
    batch_rows: int
    cache_bytes: int
    threads: int
    device: str
    precision: str
    xla: bool
    sound_bank: str = "off"
    sound_bank_bytes: int = LIMIT
    storage: StorageConfig = field(default_factory=StorageConfig)
    loader: Callable[..., Synthesizer] = load_model

    @property
    def has_built_bank(self) -> bool:
        """Tells whether a built bank is named, so that the model is needed only for sounds that it lacks."""
        return bool(split_digest(self.sound_bank)[1])

    @property
    def load(self) -> Load:
        """Function that loads the model; it does not need Beam."""
        options = vars(self).copy()
        return functools.partial(options.pop("loader"), options.pop("storage"), **options)

    def known(self) -> KnownModel | None:
        """Returns the facts about the model that were kept, or that its built bank has; None if it must be loaded.

        Sets the storage credentials of this process, as `load` does.

        Raises:
            ConfigError: the built bank cannot be used.
        """
        urls.configure(self.storage)
        if self.sound_bank == "off":
            return None
        if self.has_built_bank:
            return open_built(self.sound_bank, self.sound_bank_bytes).known_model(self.precision, self.xla, self.device)
        return known_model(self.checkpoint, self.precision, self.xla, self.device)
