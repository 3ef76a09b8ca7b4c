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
from pipeline.job import ResolvedJob, model_settings, resolve
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
        slice: time that a slice takes in addition, however few songs it has.
    """

    startup: float
    sound: dict[int, float]
    minute: float
    slice: float = 0.0


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
    with tempfile.TemporaryDirectory(prefix="gansynth-calibration-") as folder:
        job = resolve(config.model_copy(update={"output": folder}))
        for _ in ("sounds rendered", "sounds in the cache"):
            rest, minutes = _rest(job, sources)
        nothing, _ = _rest(job, ())
    return Calibration(startup, sound, max(rest - nothing, 0.1 * rest) / max(minutes, 1e-3), nothing)


def _rest(job: ResolvedJob, sources: tuple[Source, ...]) -> tuple[float, float]:
    """Renders a slice; returns its time in seconds, less that of the network, and the minutes of its audio."""
    start = time.perf_counter()
    counts = render_slice(job, (), Slice("sample", sources)).counters
    seconds = time.perf_counter() - start - counts["synthesis_network_microseconds"] / 1e6
    return seconds, counts["audio_milliseconds"] / 60e3
