"""The whole pipeline on one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from gansynth import storage
from gansynth.records import Records
from gansynth.score import Voice
from gansynth.synthesizer import description
from pipeline.config import JobConfig
from pipeline.inputs import list_sources
from transforms.check_worker import CheckWorker, code_digest
from transforms.counters import NAMESPACE
from transforms.elements import Source
from transforms.expand_notes import ExpandNotes
from transforms.list_files import ListFiles
from transforms.mix_songs import MixSongs
from transforms.read_midi import ReadMidi
from transforms.synthesize import ModelSettings, Synthesize
from transforms.write_songs import WriteRows, WriteSettings, WriteSongs

ROWS = ".rows"


def model_settings(config: JobConfig) -> ModelSettings:
    """The checkpoint that workers load, and how they run it."""
    compute = config.compute
    return ModelSettings(
        checkpoint=config.checkpoint,
        batch_rows=compute.batch_rows,
        cache_bytes=compute.cache_bytes,
        threads=compute.threads,
        device=compute.device,
        precision=compute.precision,
        xla=compute.xla,
        storage=config.storage,
    )


def describe(config: JobConfig) -> tuple[Voice, str]:
    """What planning needs to know of the checkpoint, and its digest; loads the model.

    Raises:
        CheckpointError, ConfigError: the checkpoint, the bank or the envelope cannot be used.
    """
    return description(model_settings(config).acquire(), config.instruments, config.envelope)


def digests(config: JobConfig, voice: Voice, checkpoint_digest: str) -> dict[str, str]:
    """What a song depends on besides its file, as its row has it."""
    return {
        "checkpoint_digest": checkpoint_digest,
        "config_digest": config.digest,
        "bank_digest": voice.bank.digest,
    }


def write_settings(config: JobConfig, voice: Voice, checkpoint_digest: str) -> WriteSettings:
    """Where and how songs are written."""
    return WriteSettings(
        output=config.output,
        audio_format=config.audio.format,
        spectrogram=config.spectrogram.png,
        spectrogram_array=config.spectrogram.array,
        piano_roll=config.piano_roll.png,
        played_notes=tuple(config.note_files),
        sample_rate=voice.sample_rate,
        audio_rate=config.audio.sample_rate,
        mix=config.mix,
        instruments=config.instruments,
        digests=digests(config, voice, checkpoint_digest),
        storage=config.storage,
    )


def counters(result: Any) -> Counter[str]:
    """This project's counters of a finished run, by name."""
    total: Counter[str] = Counter()
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.namespace == NAMESPACE:
            total[counter.key.metric.name] += counter.result or 0
    return total


def build(
    p: beam.Pipeline,
    config: JobConfig,
    sources: Sequence[Source] | str | None = None,
    voice: Voice | None = None,
    checkpoint_digest: str | None = None,
    name: str = "part-0",
    shards: int = 1,
) -> beam.PCollection[str]:
    """Draws the pipeline.

    Args:
        p: where it is drawn.
        config: the job.
        sources: the files to render, or the URL of a list of them (see ListFiles); those that the config's input
            names if None.
        voice, checkpoint_digest: what is known of the checkpoint; it is loaded to find out if None.
        name: start of the names of the files of rows, unique among pipelines with the same output.
        shards: how many files of rows.

    Returns:
        URLs of the files of rows, one JSON object a line, one line for each source.
    """
    if voice is None or checkpoint_digest is None:
        voice, checkpoint_digest = describe(config)
    settings = write_settings(config, voice, checkpoint_digest)
    model, hints = model_settings(config), config.compute.resource_hints

    remote = isinstance(sources, str)
    if isinstance(sources, str):
        p | "CheckWorker" >> CheckWorker(model, code_digest(), hints)
        files = p | "Files" >> ListFiles(sources, config.storage)
    else:
        files = p | "Files" >> beam.Create(list(list_sources(config.input)) if sources is None else sources)
    spread = files | "Spread files" >> beam.Reshuffle()
    records = Records(config.output, settings.digests) if config.resume else None
    read = spread | "ReadMidi" >> ReadMidi(config.notes, config.storage, records)
    notes = read.songs | "ExpandNotes" >> ExpandNotes(config.sound, voice)
    played = notes.chunks | "Synthesize" >> Synthesize(model, config.envelope, config.compute.batch_notes, hints)
    songs = (
        (
            files | "By song" >> beam.WithKeys(lambda source: source.song_id).with_output_types(tuple[str, Source]),
            read.finished,
            read.failures,
            notes.scores,
            notes.failures,
            played.bars,
            played.failures,
        )
        | "All parts" >> beam.Flatten()
        | "MixSongs" >> MixSongs(early=not remote)
    )
    rows = songs | "WriteSongs" >> WriteSongs(settings)
    return rows | "WriteRows" >> WriteRows(storage.join(config.output, ROWS), name, shards, config.storage)
