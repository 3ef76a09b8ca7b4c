"""Rendering of notes: the Python API of a checkpoint, with batches of fixed shape and only the rows that are heard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gansynth.errors import ConfigError
from gansynth.model import checkpoint, findings, kernels
from gansynth.model.open_bank import open_bank
from gansynth.model.sound_bank import LIMIT
from gansynth.model.sounds import Renderer, SoundCache

BATCH_ROWS, BATCH_ROWS_GPU = 256, 8192
"""Default rows of a batch: two whole notes or 16 of the shortest for each thread of a CPU; 64 whole notes on a GPU."""
CACHE_BYTES = 256 << 20
"""Default memory of the sound cache."""
_BATCH_MULTIPLE = 8
"""Batch sizes are multiples of this: kernels compute what remains after their blocks differently, and a note must have
the same bytes at any place in any batch."""


class Synthesizer(Renderer):
    """A loaded GANSynth checkpoint that renders notes.

    Attributes:
        latent_size: length of a latent vector.
        pitches: MIDI pitches that the checkpoint was trained on.
        sample_rate: in Hz.
        note_samples: samples of a whole note.
        digest: "sha256:..." of the weights and flags.
        cache, bank: sounds rendered before, for `player.play`: in memory, and on disk.
        kernels: signature of what renders, see kernels.signature.
        collection: name of this model's sounds in a bank.
        shape: rows, samples and buckets of a note.
    """

    def __init__(
        self,
        loaded: checkpoint.Checkpoint,
        batch_rows: int = 0,
        cache_bytes: int = CACHE_BYTES,
        precision: str = "float32",
        xla: bool = False,
        sound_bank: str = "off",
        sound_bank_bytes: int = LIMIT,
    ) -> None:
        from gansynth.model import network  # imports TensorFlow, which takes seconds

        self._source = loaded.source
        self._network = network.Network(loaded, precision, xla)
        self._out_of_memory = (MemoryError, network.ResourceExhaustedError)
        self._on_gpu = network.on_gpu()
        self._batch_rows = batch_rows or (BATCH_ROWS_GPU if self._on_gpu else BATCH_ROWS * network.threads())
        self.latent_size = loaded.config.latent_vector_size
        self.pitches = checkpoint.PITCHES
        self.sample_rate = loaded.config.sample_rate
        self.note_samples = self._network.audio_samples
        self.digest = loaded.digest
        self.cache = SoundCache(cache_bytes)
        self.shape = self._network.shape
        self.kernels = kernels.signature(precision, xla, self._on_gpu)
        self.collection = kernels.collection_of(self.digest, self.kernels)
        self.bank = open_bank(sound_bank, self.collection, sound_bank_bytes)

    @classmethod
    def from_checkpoint(
        cls,
        name_or_path: str | Path,
        *,
        batch_rows: int = 0,
        cache_bytes: int = CACHE_BYTES,
        threads: int = 0,
        device: str = "auto",
        precision: str = "float32",
        xla: bool = False,
        sound_bank: str = "off",
        sound_bank_bytes: int = LIMIT,
    ) -> Synthesizer:
        """Loads a checkpoint.

        Args:
            name_or_path: "mini" (bundled), "acoustic_only" or "all_instruments" (Magenta's, fetched once into the
                cache), a folder, or an fsspec URL of one.
            batch_rows: size of a batch, in rows of 1/128 note (at least eight notes); affects speed and memory only.
                0: BATCH_ROWS for each thread, or BATCH_ROWS_GPU on a GPU.
            cache_bytes: memory of the sound cache; 0 disables it.
            threads: CPU threads; 0 for one per core.
            device: "auto", "cpu" or "gpu" (an error if there is none).
            precision: "float32"; "tf32" or "bfloat16" for faster, less exact convolutions, see Network.
            xla: compile with XLA, which takes seconds for each batch shape and pays off on a GPU.
            sound_bank: sound bank for `player.play`, see `open_bank.open_bank`.
            sound_bank_bytes: size of the whole bank.

        Raises:
            CheckpointError: the checkpoint cannot be found, fetched or read; the message names the file and the
                defect.
            ConfigError: device is "gpu" and there is none.
        """
        from gansynth.model import network

        network.configure(threads, device)
        loaded = checkpoint.load(str(name_or_path))
        return cls(loaded, batch_rows, cache_bytes, precision, xla, sound_bank, sound_bank_bytes)

    def synthesize(
        self, z: ArrayLike, pitches: Sequence[int] | ArrayLike, samples: int | None = None
    ) -> NDArray[np.float32]:
        """Renders notes, as the reference's Model.generate_samples_from_z does.

        Args:
            z: float [n, latent_size], one latent for each note.
            pitches: int [n], each one of `self.pitches`.
            samples: length of each note, 0..note_samples; `note_samples` if None.

        Returns:
            float32 [n, samples], not normalised.

        Raises:
            ValueError: the shapes do not match, a pitch is unknown, or `samples` is outside 0..note_samples.
        """
        z32 = np.asarray(z, np.float32)
        labels = np.asarray(pitches).reshape(-1)
        if z32.ndim != 2 or z32.shape != (len(labels), self.latent_size):
            raise ValueError(f"z has shape {z32.shape}; {len(labels)} pitches need ({len(labels)}, {self.latent_size})")
        outside = [p for p in labels.tolist() if p not in self.pitches]
        if outside:
            raise ValueError(f"pitches {outside[:8]} are not in {self.pitches.start}..{self.pitches.stop - 1}")
        samples = self.note_samples if samples is None else samples
        if not 0 <= samples <= self.note_samples:
            raise ValueError(f"samples is {samples}; it must be in 0..{self.note_samples}")
        out = np.empty([len(labels), samples], np.float32)
        for where, audio in self.batches(z32, labels.astype(np.int32), self.bucket(samples)):
            out[where] = audio[:, :samples]
        return out

    def bucket(self, samples: int) -> int:
        """Implements SoundSource.bucket."""
        return self.shape.bucket(samples)

    def samples_of(self, bucket: int) -> int:
        """Implements SoundSource.samples_of."""
        return self.shape.samples_of(bucket)

    @cached_property
    def serves_shorter(self) -> bool:  # type: ignore[override]
        """True if a note has the same bits in every bucket: tested once for each checkpoint and kind of kernels."""
        verdict = findings.kept_verdict(self.collection, self.shape)
        if verdict is None:
            verdict = self._compare_buckets()
            findings.keep_verdict(self.collection, self.shape, verdict)
        return verdict

    def _compare_buckets(self) -> bool:
        """Renders a few notes in every bucket; returns whether the longest begins with the bits of all others."""
        count = max(self._network.notes_at_once(_BATCH_MULTIPLE, rows) for rows in self.shape.ladder)
        z = np.random.RandomState(0).normal(size=[count, self.latent_size]).astype(np.float32)
        labels = np.linspace(0, len(self.pitches) - 1, count).astype(np.int32)
        *shorter, longest = self.shape.ladder
        whole = self._waves(z, labels, longest).view(np.uint32)
        return all(
            np.array_equal(self._waves(z, labels, rows).view(np.uint32), whole[:, : self.samples_of(rows)])
            for rows in shorter
        )

    def full_batch(self, bucket: int) -> int:
        """Returns the number of notes in a full batch of a bucket: `batch_rows` rows, at least eight notes."""
        return max(
            _BATCH_MULTIPLE, self._batch_rows * self._network.rows // 128 // bucket // _BATCH_MULTIPLE * _BATCH_MULTIPLE
        )

    def batch_sizes(self, bucket: int, notes: int) -> Iterator[int]:
        """Yields the batch sizes for `notes` notes of a bucket: full batches, then what the remainder needs."""
        full = self.full_batch(bucket)
        while notes > 0:
            # A GPU computes a batch as a whole, and every further shape is compiled.
            rest = _BATCH_MULTIPLE if self._on_gpu else -(-notes // _BATCH_MULTIPLE) * _BATCH_MULTIPLE
            size = full if notes >= full else rest
            yield size
            notes -= size

    def batches(
        self, z: NDArray[np.float32], pitches: NDArray[np.int32], bucket: int
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Renders notes in batches; the last batch is padded with its last note.

        Args:
            z: float32 [n, latent_size].
            pitches: int32 [n], each one of `self.pitches`.
            bucket: rows to render, one of the buckets of `self.shape`.

        Yields:
            The range of notes, and their audio, float32 [notes, samples of the bucket].
        """
        first = 0
        for size in self.batch_sizes(bucket, len(z)):
            where = slice(first, min(first + size, len(z)))
            index = np.minimum(np.arange(first, first + size), len(z) - 1)
            audio = self._waves(z[index], pitches[index] - np.int32(self.pitches.start), bucket)
            yield where, audio[: where.stop - first]
            first += size

    def _waves(self, z: NDArray[np.float32], labels: NDArray[np.int32], bucket: int) -> NDArray[np.float32]:
        """Renders a batch, in halves if it does not fit in memory."""
        try:
            return self._network.waves(z, labels, bucket)
        except self._out_of_memory:
            half = len(z) // 2 // _BATCH_MULTIPLE * _BATCH_MULTIPLE
            if not half:
                raise
        return np.concatenate([self._waves(z[part], labels[part], bucket) for part in (slice(half), slice(half, None))])

    def check(self) -> None:
        """Renders one sample to verify that this machine can: a GPU may be visible and still fail at its first kernel.

        Raises:
            ConfigError: it cannot; the message has the reason.
        """
        try:
            sound = self.synthesize(np.zeros([1, self.latent_size]), [self.pitches[0]], 1)
            problem = "" if np.isfinite(sound).all() else "the self-test produced non-finite samples"
        except Exception as error:  # whatever TensorFlow, CUDA or the driver may raise
            problem = f"{type(error).__name__}: {str(error)[:500]}"
        if problem:
            raise ConfigError(f"{self._source}: this machine cannot play it: {problem}.")
