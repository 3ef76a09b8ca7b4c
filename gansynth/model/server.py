"""One model for all processes of a machine: a process that has it renders sounds for those that only ask.

Each sound is then rendered once however many processes play it, TensorFlow and the weights are in memory once, and the
processes that read, mix and draw start without them.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import connection
from multiprocessing.context import BaseContext
from multiprocessing.managers import BaseManager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gansynth.io import urls
from gansynth.io.urls import StorageConfig
from gansynth.model.shape import NoteShape
from gansynth.model.sounds import Sound, SoundCache, Tally
from gansynth.model.synthesizer import Synthesizer

Load = Callable[[], Synthesizer]
T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_PORTION = 64
"""Sounds that are asked for together, where batches are smaller: what others have asked for leaves few gaps in them."""
_GONE = (EOFError, ConnectionError)
"""What asking a process that has died raises."""


def load_model(settings: StorageConfig, checkpoint: str, **options: Any) -> Synthesizer:
    """Loads a checkpoint from wherever it lies; the options are those of Synthesizer.from_checkpoint."""
    urls.configure(settings)
    return Synthesizer.from_checkpoint(checkpoint, **options)


class _Model:
    """Inside the process: the model, loaded when it is first asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._synth: Synthesizer | None = None

    def ask(self, load: Load, question: Callable[..., T], *arguments: Any) -> T:
        """`question(synthesizer, *arguments)`."""
        with self._lock:
            self._synth = self._synth or load()
        return question(self._synth, *arguments)

    def expect(self, notes: Mapping[Sound, int]) -> None:
        """See sounds.SoundSource."""
        assert self._synth is not None
        self._synth.expect(notes)

    def sounds(self, sounds: Sequence[Sound], bucket: int) -> tuple[NDArray[np.float32], Tally]:
        """The sounds in order, float32 [n, samples], and what they cost."""
        assert self._synth is not None
        tally = Tally()
        with self._lock:  # or two processes that want the same sound would both have it rendered
            found = dict(self._synth.sounds(sounds, bucket, tally))
        return np.stack([found[sound] for sound in sounds]), tally


_model = _Model()


def _the_model() -> _Model:
    return _model


class _Manager(BaseManager):
    """The process, reached through a socket by those alone that share this process's random key."""


_Manager.register("model", callable=_the_model, exposed=["ask", "expect", "sounds"])


def end_with_parent() -> None:
    """Ends this process when the one that started it has ended, be it by SIGKILL."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class ModelServer:
    """The process that has the model, as seen by the one that started it.

    Attributes:
        address: where others reach it, see `Asking`.
    """

    def __init__(self, context: BaseContext, load: Load) -> None:
        self._manager = _Manager(ctx=context)
        self._manager.start(end_with_parent)
        self._load = load
        self.address: Any = self._manager.address

    def ask(self, question: Callable[..., T], *arguments: Any) -> T:
        """`question(synthesizer, *arguments)`, there; waits until the model is loaded.

        Raises:
            CheckpointError, ConfigError: it cannot be loaded, or does not go with the settings.
        """
        answer: T = self._manager.model().ask(self._load, question, *arguments)  # type: ignore[attr-defined]
        return answer

    def stop(self) -> None:
        """Ends the process."""
        self._manager.shutdown()


def _facts(synth: Synthesizer) -> tuple[int, NoteShape, dict[int, int]]:
    """Sample rate, shape, and the notes of a full batch by bucket."""
    return synth.sample_rate, synth.shape, {rows: synth.full_batch(rows) for rows in synth.shape.ladder}


class ModelClient:
    """A SoundSource that asks a ModelProcess, and keeps what it got; see sounds.SoundSource.

    Where that process has died, this one loads the model itself and goes on.

    Attributes:
        sample_rate: in Hz.
        note_samples: samples of a whole note.
        cache: sounds that were asked for before.
    """

    def __init__(self, address: Any, load: Load, cache_bytes: int) -> None:
        """Connects.

        Args:
            address: the ModelProcess' own; this process must be of the same family.
            load: loads the model where it is not loaded yet, and here, when that process has died.
            cache_bytes: memory for sounds that may be heard again.
        """
        self._load = load
        self._own: Synthesizer | None = None
        self._lock = threading.Lock()
        self.cache = SoundCache(cache_bytes)
        try:
            manager = _Manager(address)
            manager.connect()
            self._model = manager.model()  # type: ignore[attr-defined]
            facts = self._model.ask(load, _facts)
        except (*_GONE, FileNotFoundError) as error:  # no socket
            facts = _facts(self._load_here(error))
        self.sample_rate, self._shape, self._full_batch = facts
        self.note_samples = self._shape.audio_samples

    def bucket(self, samples: int) -> int:
        """See SoundSource."""
        return self._shape.bucket(samples)

    def expect(self, notes: Mapping[Sound, int]) -> None:
        """See SoundSource."""
        if self._own is None:
            try:
                self._model.expect(notes)
                return
            except _GONE as error:
                self._load_here(error)
        assert self._own is not None
        self._own.expect(notes)

    def sounds(self, sounds: Sequence[Sound], bucket: int, tally: Tally) -> Iterator[tuple[Sound, NDArray[np.float32]]]:
        """See SoundSource."""
        missing = []
        for sound in sounds:
            audio = self.cache.get((sound, bucket))
            if audio is None:
                missing.append(sound)
            else:
                tally.cached += 1
                yield sound, audio
        size = max(_PORTION, self._full_batch[bucket])
        for first in range(0, len(missing), size):
            part = missing[first : first + size]
            for sound, audio in zip(part, self._ask(part, bucket, tally), strict=True):
                self.cache.put((sound, bucket), audio)
                yield sound, audio

    def _ask(self, sounds: Sequence[Sound], bucket: int, tally: Tally) -> Sequence[NDArray[np.float32]]:
        if self._own is None:
            try:
                audio, cost = self._model.sounds(sounds, bucket)
                tally.add(cost)
                return list(audio)
            except _GONE as error:
                self._load_here(error)
        assert self._own is not None
        found = dict(self._own.sounds(sounds, bucket, tally))
        return [found[sound] for sound in sounds]

    def _load_here(self, error: Exception) -> Synthesizer:
        _LOG.warning("the model's process has died (%s); this one loads the model itself", type(error).__name__)
        with self._lock:
            self._own = self._own or self._load()
        return self._own
