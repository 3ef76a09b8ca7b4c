"""Synthesizers without TensorFlow that replace the network in tests of all other code."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansynth.errors import ConfigError
from gansynth.model.checkpoint import PITCHES
from gansynth.model.layout import ModelConfig
from gansynth.model.shape import NoteShape
from gansynth.model.sounds import Renderer, SoundCache


class FakeRenderer(Renderer):
    """A renderer of whole notes, one at a time; subclasses define the sound of a note."""

    sample_rate, note_samples, pitches = 16000, 64000, PITCHES
    cache = SoundCache(0)

    def bucket(self, samples: int) -> int:
        return 128

    def samples_of(self, bucket: int) -> int:
        return self.note_samples

    def batch_sizes(self, bucket: int, notes: int) -> Iterator[int]:
        yield notes

    def batches(self, z: NDArray[np.float32], pitches: Any, bucket: int) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        for n in range(len(z)):
            yield slice(n, n + 1), self.sound(z[n], int(pitches[n]), bucket).astype(np.float32)[None]

    def sound(self, z: NDArray[np.float32], pitch: int, bucket: int) -> np.ndarray:
        """Renders one note."""
        raise NotImplementedError


class Noise(FakeRenderer):
    """A renderer of noise, of full length and level."""

    def sound(self, z: NDArray[np.float32], pitch: int, bucket: int) -> np.ndarray:
        return np.random.default_rng(pitch).uniform(-1, 1, self.note_samples)


class Bells(FakeRenderer):
    """A renderer of two decaying sines that depend on a note's latent and pitch."""

    def sound(self, z: NDArray[np.float32], pitch: int, bucket: int) -> np.ndarray:
        times = np.arange(self.note_samples) / self.sample_rate
        turns = times * 440 * 2 ** ((pitch - 69) / 12)
        wave = np.sin(2 * np.pi * turns) + 0.3 * np.sin(2 * np.pi * turns * (2 + float(z[0])))
        return wave * np.exp(-2 * times)


class FragileRenderer(FakeRenderer):
    """A renderer of constants that fails on pitch 66, or on all pitches, and records when it is loaded.

    Attributes:
        loaded: names of the checkpoints for which any instance was loaded.
        broken: if true, every note fails.
    """

    loaded: list[str] = []  # noqa: RUF012
    broken = False

    @classmethod
    def load(cls, storage: object, checkpoint: str, **_: Any) -> FragileRenderer:
        """Replaces gansynth.model.server.load_model."""
        cls.loaded.append(checkpoint)
        return cls()

    def check(self) -> None:
        if self.broken:
            raise ConfigError("this machine cannot play it")

    def batch_sizes(self, bucket: int, notes: int) -> Iterator[int]:
        return iter([8] * -(-notes // 8))

    def batches(self, z: Any, pitches: Any, bucket: int) -> Iterator[tuple[slice, Any]]:
        if self.broken or (pitches == 66).any():
            raise RuntimeError("boom")
        for first in range(0, len(z), 8):
            where = slice(first, min(first + 8, len(z)))
            yield where, np.ones([where.stop - first, 64000], np.float32)


class DeadlyRenderer(FragileRenderer):
    """A renderer of constants that kills its process on pitch 66."""

    def batches(self, z: Any, pitches: Any, bucket: int) -> Iterator[tuple[slice, Any]]:
        if (pitches == 66).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batches(z, pitches, bucket)


class FakeSynthesizer(FakeRenderer):
    """A synthesizer that plays decaying sines instead of the network, with the same interface.

    Attributes:
        nan, silent: pitches that are rendered as NaN, or silent.
        calls: size of every batch that was rendered.
    """

    latent_size = 4
    digest = "sha256:fake"
    shape = NoteShape(ModelConfig(latent_vector_size=4, start_height=2, start_width=16), "fake")

    def __init__(
        self, nan: tuple[int, ...] = (), silent: tuple[int, ...] = (), batch: int = 8, cache_bytes: int = 0
    ) -> None:
        self.nan, self.silent, self.batch = nan, silent, batch
        self.cache = SoundCache(cache_bytes)
        self.calls: list[int] = []

    def bucket(self, samples: int) -> int:
        return -(-samples // 8000)

    def samples_of(self, bucket: int) -> int:
        return 8000 * bucket

    def batch_sizes(self, bucket: int, notes: int) -> Iterator[int]:
        return iter([self.batch] * -(-notes // self.batch))

    def batches(self, z: np.ndarray, pitches: np.ndarray, bucket: int) -> Iterator[tuple[slice, np.ndarray]]:
        assert z.dtype == np.float32
        for first in range(0, len(z), self.batch):
            where = slice(first, min(first + self.batch, len(z)))
            self.calls.append(where.stop - first)
            yield where, np.stack([self.sound(z[i], int(pitches[i]), bucket) for i in range(where.start, where.stop)])

    def sound(self, z: np.ndarray, pitch: int, bucket: int) -> np.ndarray:
        times = np.arange(bucket * 8000) / 16000
        if pitch in self.nan:
            return np.full(len(times), np.nan, np.float32)
        if pitch in self.silent:
            return np.zeros(len(times), np.float32)
        wave = np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * times + float(z[0])) * np.exp(
            -times * float(abs(z[1]))
        )
        return (3 * wave).astype(np.float32)
