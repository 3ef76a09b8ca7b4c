"""The whole pipeline on one page."""

from __future__ import annotations

import apache_beam as beam

from pipeline.job import ResolvedJob
from transforms.elements import Source, key_by_song
from transforms.expand_notes import ExpandNotes
from transforms.mix_songs import MixSongs, SongElement
from transforms.read_midi import ReadMidi
from transforms.synthesize import Synthesize
from transforms.write_rows import WriteRows
from transforms.write_songs import WriteSettings, WriteSongs


def build(
    pipeline: beam.Pipeline,
    job: ResolvedJob,
    sources: beam.PTransform,
    *,
    bounds: tuple[str, ...] = (),
    combine_before_shuffle: bool = True,
    attempts: str | None = None,
) -> beam.PCollection[str]:
    """Draws the pipeline.

    Args:
        pipeline: an empty pipeline.
        job: settings and checkpoint.
        sources: transform from PBegin to PCollection[Source], the files to render.
        bounds: song ids at which a new file of rows begins, see WriteRows.
        combine_before_shuffle: see MixSongs; False on clusters.
        attempts: folder of the markers of attempts, see transforms.attempts; None on local runners.

    Returns:
        URLs of the files of rows: one JSON object per line, one line per source in all.
    """
    config = job.config
    files = pipeline | "Files" >> sources
    read = (
        files
        | "Spread files" >> beam.Reshuffle()
        | "ReadMidi" >> ReadMidi(config.notes, config.storage, job.records, config.output, attempts)
    )
    notes = read.songs | "ExpandNotes" >> ExpandNotes(config.sound, job.spec, attempts)
    played = notes.chunks | "Synthesize" >> Synthesize(
        job.model,
        config.envelope,
        config.compute.batch_notes,
        config.drums.kit,
        config.compute.resource_hints,
        attempts,
    )
    songs = (
        (
            files | "By song" >> beam.Map(key_by_song).with_output_types(tuple[str, Source]),
            read.finished,
            read.failures,
            notes.plans,
            notes.failures,
            played.mixes,
            played.failures,
        )
        | "All elements" >> beam.Flatten().with_output_types(tuple[str, SongElement])
        | "MixSongs" >> MixSongs(combine_before_shuffle, attempts)
    )
    rows = songs | "WriteSongs" >> WriteSongs(write_settings(job), attempts)
    return rows | "WriteRows" >> WriteRows(job.rows, "part", bounds, config.storage)


def write_settings(job: ResolvedJob) -> WriteSettings:
    """Selects the settings that writing songs needs."""
    config = job.config
    return WriteSettings(
        output=config.output,
        audio_format=config.audio.format,
        audio_rate=config.audio.sample_rate,
        metadata=config.audio.metadata,
        stem_format=config.stems.format,
        spectrogram=config.spectrogram.png,
        spectrogram_array=config.spectrogram.array,
        picture_range=config.spectrogram.range,
        piano_roll=config.piano_roll.png,
        roll_colour=config.piano_roll.colour,
        roll_data=config.piano_roll.data,
        played_notes=tuple(config.note_files),
        sample_rate=job.spec.sample_rate,
        mix=config.mix,
        instruments=config.instruments,
        digests=job.digests,
        storage=config.storage,
    )
