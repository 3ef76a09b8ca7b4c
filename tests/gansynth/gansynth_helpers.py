"""What several test modules share: saves in Magenta's layout, comparisons, and a synthesizer without TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gansynth.config import InstrumentsConfig
from gansynth.latents import random_bank
from gansynth.notes import Notes
from gansynth.score import Voice
from gansynth.sounds import Renderer, SoundCache

SCOPE = "Generator/progressive_gan_generator/"
EMA = "/ExponentialMovingAverage"
SMALL = {
    "latent_vector_size": 5,
    "start_height": 2,
    "start_width": 4,
    "num_resolutions": 3,
    "fmap_base": 8,
    "fmap_max": 4,
    "audio_length": 40,
    "stable_stage_num_images": 100,
    "transition_stage_num_images": 100,
}
"""Flags of a checkpoint that is as small as can be: 8x16 output, stages 0 to 4."""


def write_save(prefix: Path, variables: Mapping[str, Any]) -> None:
    """Writes a TensorFlow save: PREFIX.index and PREFIX.data-00000-of-00001."""
    import tensorflow as tf

    prefix.parent.mkdir(parents=True, exist_ok=True)
    names = sorted(variables)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(variables[name]) for name in names],
    )


def write_state(stage: Path, named: str) -> None:
    text = f'model_checkpoint_path: "{named}"\nall_model_checkpoint_paths: "{named}"\n'
    (stage / "checkpoint").write_text(text)


def filters(flags: Mapping[str, Any], block: int) -> int:
    return int(min(flags["fmap_base"] / 2.0 ** (block * flags.get("fmap_decay", 1.0)), flags["fmap_max"]))


def random_variables(flags: Mapping[str, Any], blocks: int, seed: int = 0) -> dict[str, Any]:
    """Every EMA shadow of a generator with `blocks` blocks, float32, drawn as the oracle's were."""
    random = np.random.RandomState(seed)
    inputs, k = flags["latent_vector_size"] + 61, flags.get("kernel_size", 3)
    height, width = flags.get("start_height", 4), flags.get("start_width", 8)
    shapes: dict[str, tuple[int, ...]] = {}
    for block in range(1, blocks + 1):
        scope, out, into = f"progressive_gan_block_{block}", filters(flags, block), filters(flags, max(block - 1, 1))
        if flags.get("simple_arch"):
            if block == 1:
                shapes[f"{scope}/dense/kernel"], shapes[f"{scope}/dense/bias"] = (inputs, out * height * width), (0,)
                shapes[f"{scope}/dense/bias"] = (out * height * width,)
            else:
                shapes[f"{scope}/conv2d_transpose/kernel"] = (k, k, out, into)
                shapes[f"{scope}/conv2d_transpose/bias"] = (out,)
            rgb = f"{scope}/to_rgb/kernel"
        else:
            shapes[f"{scope}/conv0/conv2d/kernel"] = (height, width, inputs, out) if block == 1 else (k, k, into, out)
            shapes[f"{scope}/conv1/conv2d/kernel"] = (k, k, out, out)
            shapes[f"{scope}/conv0/bias"] = shapes[f"{scope}/conv1/bias"] = (out,)
            rgb = f"{scope}/to_rgb/conv2d/kernel"
        shapes[rgb], shapes[f"{scope}/to_rgb/bias"] = (1, 1, out, 2), (2,)
    spread = {name: 0.2 if name.endswith("bias") else 1.0 for name in shapes}
    return {
        f"{SCOPE}{name}{EMA}": random.normal(0, spread[name], shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def write_checkpoint(
    folder: Path,
    flags: Mapping[str, Any] = SMALL,
    *,
    stage: int | None = None,
    step: int = 10**6,
    variables: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    named: str = "model.ckpt-{step}",
) -> Path:
    """Writes a checkpoint in Magenta's layout.

    Args:
        stage: the last one if None.
        variables: random ones if None.
        extra: more variables, over those.
        named: what the `checkpoint` file says.
    """
    resolutions = flags.get("num_resolutions", 7)
    stage = 2 * resolutions - 2 if stage is None else stage
    if variables is None:
        variables = random_variables(flags, (stage + 1) // 2 + 1)
    place = folder / f"stage_{stage:05d}"
    write_save(place / f"model.ckpt-{step}", {"global_step": np.int64(step), **variables, **(extra or {})})
    write_state(place, named.format(step=step))
    (folder / "experiment.json").write_text(json.dumps(dict(flags)))
    return folder


def snr(expected: np.ndarray, found: np.ndarray) -> float:
    """Signal to noise ratio in dB; infinite for equal arrays."""
    expected = np.asarray(expected, np.float64)
    noise = np.square(np.asarray(found, np.float64) - expected).sum()
    return float(10 * np.log10(np.square(expected).sum() / noise)) if noise else np.inf


def make_notes(*rows: tuple[float, ...]) -> Notes:
    """Notes from rows of pitch, start, end and, optionally, velocity, program, is_drum."""
    full = [(*row, *(100, 0, 0)[len(row) - 3 :]) for row in rows]
    pitch, start, end, velocity, program, drum = zip(*full, strict=True) if full else ((),) * 6
    return Notes(
        pitch=np.array(pitch, np.int16),
        velocity=np.array(velocity, np.int16),
        start=np.array(start, np.float64),
        end=np.array(end, np.float64),
        program=np.array(program, np.int16),
        track=np.zeros(len(full), np.int32),
        is_drum=np.array(drum, np.bool_),
    )


class FakeSynthesizer(Renderer):
    """Plays decaying sines in place of the network: same interface, same promises.

    Attributes:
        nan, silent: pitches that come out broken, or silent.
        calls: size of every batch that was rendered.
    """

    latent_size = 4
    pitches = range(24, 85)
    sample_rate = 16000
    note_samples = 64000
    digest = "sha256:fake"

    def __init__(
        self, nan: tuple[int, ...] = (), silent: tuple[int, ...] = (), batch: int = 8, cache_bytes: int = 0
    ) -> None:
        self.nan, self.silent, self.batch = nan, silent, batch
        self.cache = SoundCache(cache_bytes)
        self.calls: list[int] = []

    def bucket(self, samples: int) -> int:
        return -(-samples // 8000)

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

    def voice(self, config: InstrumentsConfig) -> Voice:
        bank = random_bank(129 if config.mode == "per_program" else config.count, self.latent_size, config.seed)
        return Voice(self.pitches, self.sample_rate, self.note_samples, bank)
