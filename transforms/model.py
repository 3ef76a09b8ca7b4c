"""The model of a worker process, or its client of the model server; shared by all steps of the process."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial

from apache_beam.utils.shared import Shared

from gansynth.model import machine
from gansynth.model.open_bank import open_bank
from gansynth.model.server import ModelClient, ask_server
from gansynth.model.sounds import SoundSource
from gansynth.model.synthesizer import Synthesizer
from transforms.model_settings import ModelSettings
from transforms.worker_context import CONTEXT

_MODEL, _SOURCE = Shared(), Shared()


def acquire(settings: ModelSettings) -> Synthesizer:
    """Returns the model of this process, which the first caller loads.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        ConfigError: the device is not available.
    """
    return _MODEL.acquire(settings.load, tag=repr(settings))


def share_machine(settings: ModelSettings) -> ModelSettings:
    """Makes the processes of this machine use one model server, which one of them starts; a GPU then has one model.

    Returns:
        The settings of this process, whose cache is its share of one half; the server has the other half.
    """
    server = replace(settings, cache_bytes=settings.cache_bytes // 2)
    CONTEXT.model_address = machine.join(server.load, repr(server))
    return replace(settings, cache_bytes=server.cache_bytes // len(os.sched_getaffinity(0)))


def check(settings: ModelSettings) -> None:
    """Plays a note to itself, with the model that `source` uses.

    Raises:
        ConfigError: no note can be played.
        EOFError, OSError: the model server has died.
    """
    if CONTEXT.model_address is None:
        acquire(settings).check()
    else:
        ask_server(CONTEXT.model_address, settings.load, Synthesizer.check)


def source(settings: ModelSettings) -> SoundSource:
    """Returns the source of this process's sounds, which the first caller makes.

    A client of the model server if there is one, or of this process, if the model need not be loaded before a sound is
    missing from the bank; else the model.
    """
    return _SOURCE.acquire(partial(_connect, settings), tag=f"{settings!r} at {CONTEXT.model_address}")


def _connect(settings: ModelSettings) -> SoundSource:
    address, known = CONTEXT.model_address, settings.known()
    if address is None and known is None:
        return acquire(settings)
    load = partial(acquire, settings) if address is None else settings.load
    bank = open_bank(settings.sound_bank, known.collection, settings.sound_bank_bytes) if known else None
    return ModelClient(address, load, settings.cache_bytes, known, bank)
