"""Calibration: a few songs are rendered in a separate process to estimate the time of the whole job."""

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
from transforms.model import acquire


@dataclass(frozen=True)
class Calibration:
    """Times measured on this machine, in seconds.

    Attributes:
        startup: time until a process has loaded the checkpoint.
        sound: time of the network for one sound, by its number of rows.
        minute: time of everything else for a minute of audio: reading, placing, mixing, drawing, writing.
    """

    startup: float
    sound: dict[int, float]
    minute: float


def calibrate(config: JobConfig, sources: tuple[Source, ...], ladder: tuple[int, ...]) -> Calibration:
    """Renders a few songs in a separate process, whose memory is free again when it ends.

    Args:
        config: the settings of the job.
        sources: the songs.
        ladder: numbers of rows with which sounds are rendered.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_calibrate, config, sources, ladder, time.time()).result()


def _calibrate(config: JobConfig, sources: tuple[Source, ...], ladder: tuple[int, ...], began: float) -> Calibration:
    compute = config.compute.model_copy(update={"sound_bank": "off"})  # the network is to be timed
    config = config.model_copy(update={"compute": compute})
    synth = acquire(model_settings(config))
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
    sample = Slice("sample", sources)
    with tempfile.TemporaryDirectory(prefix="gansynth-calibration-") as folder:
        job = resolve(config.model_copy(update={"output": folder}))
        for _ in ("sounds rendered", "sounds in the cache"):
            start = time.perf_counter()
            done = render_slice(job, (), sample)
            rest = time.perf_counter() - start - done.counters["synthesis_network_microseconds"] / 1e6
    return Calibration(startup, sound, rest / max(done.counters["audio_milliseconds"] / 60e3, 1e-3))
