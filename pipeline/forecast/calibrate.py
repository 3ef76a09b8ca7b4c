"""Calibration: a few songs rendered in a process of their own, to tell how long all would take."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from gansynth.score.instruments import random_latents
from pipeline.config import JobConfig
from pipeline.job import model_settings, resolve
from pipeline.local.slices import Slice
from pipeline.local.worker import render_slice
from transforms.elements import Source


@dataclass(frozen=True)
class Calibration:
    """What a little rendering took on this machine, in seconds.

    Attributes:
        startup: until a process has loaded the checkpoint.
        sound: the network, for a sound of so many rows.
        minute: everything else, for a minute of audio: reading, placing, mixing, drawing, writing.
    """

    startup: float
    sound: dict[int, float]
    minute: float


def calibrate(config: JobConfig, sources: tuple[Source, ...], ladder: tuple[int, ...]) -> Calibration:
    """Renders a few songs in a process of its own, which takes the network with it when it ends."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_calibrate, config, sources, ladder, time.time()).result()


def _calibrate(config: JobConfig, sources: tuple[Source, ...], ladder: tuple[int, ...], began: float) -> Calibration:
    synth = model_settings(config).acquire()
    startup = time.time() - began
    sound = {}
    for rows in ladder:
        size = next(synth.batch_sizes(rows, 1 << 20))
        z = random_latents(size, synth.latent_size, 0).astype(np.float32)
        pitches = np.resize(np.array(synth.pitches, np.int32), size)
        for _ in ("traced", "timed"):
            start = time.perf_counter()
            list(synth.batches(z, pitches, rows))
            sound[rows] = (time.perf_counter() - start) / size
    whole = Slice("sample", sources)
    with tempfile.TemporaryDirectory(prefix="gansynth-calibration-") as folder:
        job = resolve(config.model_copy(update={"output": folder}))
        for _ in ("sounds rendered", "sounds in the cache"):
            start = time.perf_counter()
            done = render_slice(job, (), whole)
            rest = time.perf_counter() - start - done.counters["synthesis_network_microseconds"] / 1e6
    return Calibration(startup, sound, rest / max(done.counters["audio_milliseconds"] / 60e3, 1e-3))
