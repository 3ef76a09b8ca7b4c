"""Model server: one process holds the model and renders sounds for all other processes of the machine.

Each sound is then rendered once, however many processes use it; TensorFlow and the weights are in memory once, and the
processes that read, mix and draw start without them.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.context import BaseContext
from multiprocessing.managers import BaseManager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gansynth import memory
from gansynth.io import urls
from gansynth.io.urls import StorageConfig
from gansynth.model.findings import KnownModel
from gansynth.model.sound_bank import SoundBank
from gansynth.model.sounds import SoundCache, StoredSource, Tally, Want
from gansynth.model.synthesizer import Synthesizer

Load = Callable[[], Synthesizer]
T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_START_SECONDS = 60.0
_REQUEST_ROWS = 4096
"""Rows of the sounds of one request, 16 MB of audio: enough for full batches, and bounded in memory."""
_SERVER_DIED = (EOFError, ConnectionError, FileNotFoundError)
"""Exceptions raised by a request to a server that has died."""


def load_model(settings: StorageConfig, checkpoint: str, **options: Any) -> Synthesizer:
    """Sets the storage credentials of this process and loads a checkpoint.

    Args:
        settings: the credentials.
        checkpoint: name, path or URL.
        **options: see Synthesizer.from_checkpoint.
    """
    urls.configure(settings)
    synth = Synthesizer.from_checkpoint(checkpoint, **options)
    memory.release()  # reading and preparing the weights takes a multiple of them
    return synth


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

    def sounds(self, load: Load, wanted: Sequence[Want]) -> tuple[list[NDArray[np.float32]], Tally]:
        """Returns the sounds in order, each float32 [samples], and the work they took."""
        tally = Tally()
        with self._lock:  # otherwise a sound requested by two processes would be rendered twice
            self._synth = self._synth or load()
            found = dict(self._synth.sounds(wanted, tally))
            return [found[want][: self._synth.samples_of(want[1])] for want in wanted], tally


_model = _Model()


def _get_model() -> _Model:
    return _model


class _Manager(BaseManager):
    """The server process, reached through a socket only by processes that share this one's random key."""


_Manager.register("model", callable=_get_model, exposed=["ask", "sounds"])


def end_with_parent() -> None:
    """Ends this process when its parent ends, even by SIGKILL."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass(frozen=True)
class ServerAddress:
    """Address of a server, for processes that have its key.

    Attributes:
        socket: path of the server's socket.
        wanted: event that starts a server which is started lazily; None for one that runs.
    """

    socket: str
    wanted: Any = field(default=None, repr=False, compare=False)

    def connect(self) -> Any:
        """Returns the model in the server, which is started if it was not.

        Raises:
            OSError: there is no server.
        """
        if self.wanted is not None:
            self.wanted.set()
            end = time.monotonic() + _START_SECONDS
            while not os.path.exists(self.socket) and time.monotonic() < end:
                time.sleep(0.01)
        manager = _Manager(self.socket)
        manager.connect()
        return manager.model()  # type: ignore[attr-defined]


class ModelServer:
    """The server process, as seen by the process that starts it.

    Args:
        context: the multiprocessing context of the server.
        load: loads the model.
        lazily: if true, the process starts when a client needs a sound that it has not stored.

    Attributes:
        address: address for `ModelClient`.
    """

    def __init__(self, context: BaseContext, load: Load, lazily: bool = False) -> None:
        self._folder = tempfile.mkdtemp(prefix="gansynth-")
        self._manager = _Manager(os.path.join(self._folder, "model"), ctx=context)
        self._load = load
        self.address = ServerAddress(os.path.join(self._folder, "model"), context.Event())
        self._stopping = False
        self._starter = threading.Thread(target=self._start_when_wanted, daemon=True)
        if lazily:
            self._starter.start()
        else:
            self._manager.start(end_with_parent)

    def _start_when_wanted(self) -> None:
        self.address.wanted.wait()
        if not self._stopping:
            self._manager.start(end_with_parent)

    def ask(self, question: Callable[..., T], *arguments: Any) -> T:
        """Runs `question(synthesizer, *arguments)` in the server, once the model is loaded, and returns the result.

        Raises:
            CheckpointError: the model cannot be loaded.
            ConfigError: the settings do not fit the model or the machine.
        """
        answer: T = self._manager.model().ask(self._load, question, *arguments)  # type: ignore[attr-defined]
        return answer

    def stop(self) -> None:
        """Ends the server process, if it was started."""
        self._stopping = True
        self.address.wanted.set()
        if self._starter.ident is not None:
            self._starter.join()
        if hasattr(self._manager, "shutdown"):  # an attribute of managers that were started
            self._manager.shutdown()
        shutil.rmtree(self._folder, ignore_errors=True)


def ask_server(address: ServerAddress, load: Load, question: Callable[..., T], *arguments: Any) -> T:
    """Runs `question(synthesizer, *arguments)` in a server whose key this process has, see ModelServer.ask.

    Raises:
        EOFError, OSError: the server has died.
    """
    answer: T = address.connect().ask(load, question, *arguments)
    return answer


def _model_facts(synth: Synthesizer) -> KnownModel:
    return KnownModel(synth.shape, synth.digest, synth.collection, synth.serves_shorter)


class ModelClient(StoredSource):
    """A SoundSource that requests the sounds that it has not stored from a ModelServer.

    If the server has died, the client loads the model in its own process and continues.

    Attributes:
        sample_rate: in Hz.
        note_samples: samples of a whole note.
    """

    def __init__(
        self,
        address: ServerAddress | None,
        load: Load,
        cache_bytes: int,
        known: KnownModel | None = None,
        bank: SoundBank | None = None,
    ) -> None:
        """Connects to the server, unless everything about the model is known: then with the first missing sound.

        Args:
            address: ModelServer.address; this process must share the key of the one that started the server, as its
                child processes do. None to load the model in this process when a sound is missing.
            load: loads the model: in the server if it has none yet, in this process if the server has died.
            cache_bytes: memory of the sound cache; 0 disables it.
            known: facts about the model; None to ask the server for them.
            bank: sounds of the model on disk.
        """
        self._address, self._load = address, load
        self._own: Synthesizer | None = None
        self._model: Any = None
        self._lock = threading.Lock()
        self.cache, self.bank = SoundCache(cache_bytes), bank
        known = known or self._ask_for_facts()
        self._shape, self.serves_shorter, self.collection = known.shape, known.serves_shorter, known.collection
        self.sample_rate, self.note_samples = self._shape.config.sample_rate, self._shape.audio_samples

    def bucket(self, samples: int) -> int:
        """Implements SoundSource.bucket."""
        return self._shape.bucket(samples)

    def samples_of(self, bucket: int) -> int:
        """Implements SoundSource.samples_of."""
        return self._shape.samples_of(bucket)

    def make(self, wanted: list[Want], tally: Tally) -> Iterator[tuple[Want, NDArray[np.float32]]]:
        """Implements StoredSource.make: requests sounds of similar length together."""
        part: list[Want] = []
        rows = 0
        for want in sorted(wanted, key=lambda want: -want[1]):
            if rows + want[1] > _REQUEST_ROWS and part:
                yield from self._request(part, tally)
                part, rows = [], 0
            part.append(want)
            rows += want[1]
        yield from self._request(part, tally)

    def _request(self, wanted: list[Want], tally: Tally) -> Iterator[tuple[Want, NDArray[np.float32]]]:
        if self._own is None and self._address is None:
            self._load_in_process()
        if self._own is None:
            try:
                audio, cost = self._server().sounds(self._load, wanted)
                tally.add(cost)
                for want, sound in zip(wanted, audio, strict=True):
                    if self.bank is None or not self.bank.is_writable:  # otherwise the server has written it there
                        self.cache.put(self.key(want), sound)
                    yield want, sound
                return
            except _SERVER_DIED as error:
                self._load_in_process(error)
        assert self._own is not None
        yield from self._own.sounds(wanted, tally)

    def _ask_for_facts(self) -> KnownModel:
        try:
            known: KnownModel = self._server().ask(self._load, _model_facts)
            return known
        except _SERVER_DIED as error:
            return _model_facts(self._load_in_process(error))

    def _server(self) -> Any:
        """Returns the model in the server."""
        assert self._address is not None
        with self._lock:
            self._model = self._model or self._address.connect()
            return self._model

    def _load_in_process(self, error: Exception | None = None) -> Synthesizer:
        if error is not None:
            _LOG.warning("the model server has died (%s); this process loads the model itself", type(error).__name__)
        with self._lock:
            self._own = self._own or self._load()
        return self._own
