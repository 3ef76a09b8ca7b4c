"""This project's side of the benchmarks: functions that run in a separate process (see common.Worker).

Like the reference's, they store the loaded model in the module, so that a worker loads it once.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gansynth

_synth: Any = None


def load(checkpoint: str, threads: int = 0, **settings: Any) -> None:
    """Loads a checkpoint, which the functions below use."""
    global _synth
    _synth = gansynth.Synthesizer.from_checkpoint(checkpoint, threads=threads, **settings)


def latents(count: int, seed: int) -> NDArray[np.float64]:
    """Draws random latents, all different."""
    return gansynth.random_latents(count, _synth.latent_size, seed)


def notes(z: NDArray[np.float64], pitches: list[int], kept: int = 0, samples: int | None = None) -> NDArray[np.float32]:
    """Renders notes, whole or of a number of samples; returns the first `kept` of them."""
    return _synth.synthesize(z, pitches, samples)[:kept]


def ladder() -> dict[int, int]:
    """Returns the numbers of rows that notes are rendered with, and the samples of each."""
    return dict(_synth.shape.ladder)


def notes_of_lengths(z: NDArray[np.float64], pitches: list[int], samples: list[int]) -> None:
    """Renders notes, each with the number of samples for which it is heard.

    Notes are sorted into the synthesizer's buckets and rendered in its batches, each once.
    """
    buckets: dict[int, list[int]] = defaultdict(list)
    for n, count in enumerate(samples):
        buckets[_synth.bucket(count)].append(n)
    for members in buckets.values():
        _synth.synthesize(z[members], [pitches[n] for n in members], max(samples[n] for n in members))


def rows_of(samples: list[int]) -> list[int]:
    """Returns the rows (a whole note has 128) with which notes of these lengths in samples are rendered."""
    return [_synth.bucket(count) for count in samples]


def corpus_notes(songs: list[str], count: int, seed: int) -> tuple[list[int], list[int]]:
    """Draws `count` notes from songs; returns their pitches and lengths in samples, release included, by default."""
    from gansynth.audio.envelope import release_samples, sustain_samples

    config = gansynth.SoundConfig()
    pitches: list[int] = []
    samples: list[int] = []
    for song in songs:
        found = gansynth.load_midi(song, config.notes).notes
        found = found[~found.is_drum & (found.pitch >= _synth.pitches.start) & (found.pitch < _synth.pitches.stop)]
        sustain = sustain_samples(found.end - found.start, config.envelope, _synth.sample_rate)
        pitches += found.pitch.tolist()
        samples += (sustain + release_samples(config.envelope, _synth.sample_rate)).tolist()
    chosen = np.random.RandomState(seed).choice(len(pitches), count, replace=count > len(pitches))
    return [pitches[n] for n in chosen], [min(samples[n], _synth.note_samples) for n in chosen]


def matmul(size: int, times: int) -> float:
    """Multiplies float32 matrices with TensorFlow; returns the number of floating-point operations."""
    from gansynth.model._tensorflow import tf

    a = tf.random.stateless_normal([size, size], seed=[1, 2])
    for _ in range(times):
        tf.linalg.matmul(a, a).numpy()
    return 2.0 * size**3 * times


def operations(z: NDArray[np.float64], pitches: list[int]) -> dict[str, float]:
    """Measures the wall seconds that TensorFlow spends in each kind of operation while rendering whole notes."""
    import tempfile

    from gansynth.model._tensorflow import tf

    with tempfile.TemporaryDirectory() as folder:
        options = tf.profiler.experimental.ProfilerOptions(
            host_tracer_level=2, python_tracer_level=0, device_tracer_level=0
        )
        tf.profiler.experimental.start(folder, options)
        _synth.synthesize(z, pitches)
        tf.profiler.experimental.stop()
        (trace,) = Path(folder).rglob("*.xplane.pb")
        return _operation_seconds(trace.read_bytes())


def _operation_seconds(trace: bytes) -> dict[str, float]:
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    space.ParseFromString(trace)
    seconds: dict[str, float] = defaultdict(float)
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name, colon, kind = plane.event_metadata[event.metadata_id].name.partition(":")
                if colon and not name.endswith((":", " ")) and kind.isidentifier():
                    seconds[kind] += event.duration_ps * 1e-12
    return dict(seconds)


def clip(midi: str, config: Any = None, song_id: str = "") -> NDArray[np.float32]:
    """Renders one song in memory."""
    return gansynth.render(midi, _synth, config, song_id)


def load_without_cache(checkpoint: str) -> None:
    """Loads a checkpoint without a cache of rendered sounds."""
    load(checkpoint, cache_bytes=0)


def clip_of_preset(midi: str, preset: str) -> NDArray[np.float32]:
    """Renders one song in memory with the settings of a config file."""
    from pipeline.config import load_config

    return clip(midi, load_config(preset).sound)


def run_job(inputs: list[str], output: str, settings: list[str], preset: str | None = None) -> dict[str, Any]:
    """Renders songs with the pipeline, as the command line does, without a sound bank; returns the job's totals."""
    import logging

    from pipeline.config import load_config
    from pipeline.run import run

    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    settings = ["compute.sound_bank=off", *settings]  # else only the first round would run the network
    summary = run(load_config(preset, settings, inputs, output), quiet=True)
    return {
        "rendered": summary.rendered,
        "failed": summary.failed,
        "notes": summary.notes,
        "seconds": summary.seconds,
        "counters": summary.counters,
    }


def run_in_memory(inputs: list[str], output: str, settings: list[str]) -> dict[str, Any]:
    """Renders songs one by one with the Python API; writes the same audio files and pictures as the pipeline."""
    from gansynth.audio.encode import SUFFIX, encode_audio
    from gansynth.figures import axes, spectrogram
    from gansynth.io import files, paths, urls
    from pipeline.config import load_config
    from pipeline.inputs import list_sources

    config = load_config(None, settings, inputs, output)
    compute = config.compute
    load(
        config.checkpoint,
        compute.threads,
        batch_rows=compute.batch_rows,
        cache_bytes=compute.cache_bytes,
        device=compute.device,
        precision=compute.precision,
    )
    count, seconds = 0, 0.0
    for source in list_sources(config.input):
        audio = clip(source.url, config.sound, source.song_id)
        name = paths.output_name(source.song_id)
        sound = encode_audio(audio, _synth.sample_rate, config.audio.format)
        files.write_bytes(urls.join(output, f"audio/{name}{SUFFIX[config.audio.format]}"), sound)
        if config.spectrogram.png:
            grid = axes.Grid.of(len(audio), _synth.sample_rate)
            style = spectrogram.full_style(grid)
            levels = spectrogram.cqt(audio, _synth.sample_rate, style)
            for number, (title, tile) in enumerate(axes.pictures(source.song_id, grid), 1):
                tile_name = paths.tile_name(source.song_id, "spectrogram", number)
                picture = spectrogram.write_png(levels, _synth.sample_rate, title, style, tile)
                path = f"spectrograms/{name}.png" if number == 1 else tile_name
                files.write_bytes(urls.join(output, path), picture)
        count, seconds = count + 1, seconds + len(audio) / _synth.sample_rate
    return {"rendered": count, "seconds": seconds}


_batches: list[list[Any]] = []


def plan(songs: list[str], batch_notes: int = 4096) -> int:
    """Parses and plans songs and batches their chunks as the pipeline does; returns the number of notes."""
    from gansynth.score.plan import plan_song
    from gansynth.score.spec import synth_spec

    config = gansynth.SoundConfig()
    spec = synth_spec(_synth.shape, config.instruments)
    _batches.append([])
    weight = count = 0
    for song in songs:
        for chunk in plan_song(song, gansynth.load_midi(song, config.notes), config, spec)[1]:
            if weight >= batch_notes:
                _batches.append([])
                weight = 0
            _batches[-1].append(chunk)
            weight, count = weight + chunk.weight, count + len(chunk)
    return count


def play_planned(bank: bool) -> dict[str, float]:
    """Plays the planned songs and returns the tally of rendered sounds.

    Args:
        bank: if true, all sounds are rendered before playing; otherwise when they are first needed.
    """
    from gansynth.model.sounds import Tally
    from gansynth.rendering.player import distinct_sounds, longest, play

    config = gansynth.SoundConfig().envelope
    tally = Tally()
    if bank:
        everything = [chunk for batch in _batches for chunk in batch]
        for _ in _synth.sounds(longest(distinct_sounds(everything, _synth), _synth.serves_shorter), tally):
            pass
    for batch in _batches:
        play(batch, _synth, config, tally)
    return {**vars(tally), "bytes": _synth.cache._bytes}
