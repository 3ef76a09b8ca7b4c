"""Model server: one process holds the model and renders sounds for all other processes of the machine.

Each sound is then rendered once, however many processes use it; TensorFlow and the weights are in memory once, and the
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
_MIN_REQUEST = 64
"""Fewest sounds of a full request: some are already cached for other processes, and the rest should fill batches."""
_SERVER_DIED = (EOFError, ConnectionError)
"""Exceptions raised by a request to a server that has died."""


def load_model(settings: StorageConfig, checkpoint: str, **options: Any) -> Synthesizer:
    """Sets the storage credentials of this process and loads a checkpoint.

    Args:
        settings: the credentials.
        checkpoint: name, path or URL.
        **options: see Synthesizer.from_checkpoint.
    """
    urls.configure(settings)
    return Synthesizer.from_checkpoint(checkpoint, **options)


class _Model:
    """The model inside the server process, loaded on the first request."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._synth: Synthesizer | None = None

    def ask(self, load: Load, question: Callable[..., T], *arguments: Any) -> T:
        """Returns the result of `question(synthesizer, *arguments)`."""
        with self._lock:
            self._synth = self._synth or load()
        return question(self._synth, *arguments)

    def expect(self, notes: Mapping[Sound, int]) -> None:
        """Implements SoundSource.expect."""
        assert self._synth is not None
        self._synth.expect(notes)

    def sounds(self, sounds: Sequence[Sound], bucket: int) -> tuple[NDArray[np.float32], Tally]:
        """Returns the sounds in order, float32 [n, samples], and the work they took."""
        assert self._synth is not None
        tally = Tally()
        with self._lock:  # otherwise a sound requested by two processes would be rendered twice
            found = dict(self._synth.sounds(sounds, bucket, tally))
        return np.stack([found[sound] for sound in sounds]), tally


_model = _Model()


def _get_model() -> _Model:
    return _model


class _Manager(BaseManager):
    """The server process, reached through a socket only by processes that share this one's random key."""


_Manager.register("model", callable=_get_model, exposed=["ask", "expect", "sounds"])


def end_with_parent() -> None:
    """Ends this process when its parent ends, even by SIGKILL."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class ModelServer:
    """The server process, as seen by the process that starts it.

    Attributes:
        address: socket address for `ModelClient`.
    """

    def __init__(self, context: BaseContext, load: Load) -> None:
        self._manager = _Manager(ctx=context)
        self._manager.start(end_with_parent)
        self._load = load
        self.address: Any = self._manager.address

    def ask(self, question: Callable[..., T], *arguments: Any) -> T:
        """Runs `question(synthesizer, *arguments)` in the server, once the model is loaded, and returns the result.

        Raises:
            CheckpointError: the model cannot be loaded.
            ConfigError: the settings do not fit the model or the machine.
        """
        answer: T = self._manager.model().ask(self._load, question, *arguments)  # type: ignore[attr-defined]
        return answer

    def stop(self) -> None:
        """Ends the server process."""
        self._manager.shutdown()


def ask_server(address: Any, load: Load, question: Callable[..., T], *arguments: Any) -> T:
    """Runs `question(synthesizer, *arguments)` in a server whose key this process has, see ModelServer.ask.

    Raises:
        EOFError, OSError: the server has died.
    """
    manager = _Manager(address)
    manager.connect()
    answer: T = manager.model().ask(load, question, *arguments)  # type: ignore[attr-defined]
    return answer


def _model_facts(synth: Synthesizer) -> tuple[int, NoteShape, dict[int, int]]:
    """Returns sample rate in Hz, shape, and the number of notes in a full batch by bucket."""
    return synth.sample_rate, synth.shape, {rows: synth.full_batch(rows) for rows in synth.shape.ladder}


class ModelClient:
    """A SoundSource that requests sounds from a ModelServer and caches them.

    If the server has died, the client loads the model in its own process and continues.

    Attributes:
        sample_rate: in Hz.
        note_samples: samples of a whole note.
        cache: sounds that were asked for before.
    """

    def __init__(self, address: Any, load: Load, cache_bytes: int) -> None:
        """Connects to the server.

        Args:
            address: ModelServer.address; this process must share the key of the one that started the server, as its
                child processes do.
            load: loads the model: in the server if it has none yet, in this process if the server has died.
            cache_bytes: memory of the sound cache; 0 disables it.
        """
        self._load = load
        self._own: Synthesizer | None = None
        self._lock = threading.Lock()
        self.cache = SoundCache(cache_bytes)
        try:
            manager = _Manager(address)
            manager.connect()
            self._model = manager.model()  # type: ignore[attr-defined]
            facts = self._model.ask(load, _model_facts)
        except (*_SERVER_DIED, FileNotFoundError) as error:  # the socket is gone
            facts = _model_facts(self._load_in_process(error))
        self.sample_rate, self._shape, self._full_batch = facts
        self.note_samples = self._shape.audio_samples

    def bucket(self, samples: int) -> int:
        """Implements SoundSource.bucket."""
        return self._shape.bucket(samples)

    def expect(self, notes: Mapping[Sound, int]) -> None:
        """Implements SoundSource.expect."""
        if self._own is None:
            try:
                self._model.expect(notes)
                return
            except _SERVER_DIED as error:
                self._load_in_process(error)
        assert self._own is not None
        self._own.expect(notes)

    def sounds(self, sounds: Sequence[Sound], bucket: int, tally: Tally) -> Iterator[tuple[Sound, NDArray[np.float32]]]:
        """Implements SoundSource.sounds."""
        missing: list[Sound] = []
        for sound, audio in self.cache.find(sounds, bucket, missing):
            tally.cached += 1
            yield sound, audio
        size = max(_MIN_REQUEST, self._full_batch[bucket])
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
            except _SERVER_DIED as error:
                self._load_in_process(error)
        assert self._own is not None
        found = dict(self._own.sounds(sounds, bucket, tally))
        return [found[sound] for sound in sounds]

    def _load_in_process(self, error: Exception) -> Synthesizer:
        _LOG.warning("the model server has died (%s); this process loads the model itself", type(error).__name__)
        with self._lock:
            self._own = self._own or self._load()
        return self._own
