"""Mixed songs to files: audio, pictures, notes, and one row for the manifest or the list of errors."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam
import numpy as np

from gansynth import audiofile, paths, pianoroll, played, storage
from gansynth.config import InstrumentsConfig, MixConfig
from gansynth.master import master
from gansynth.mix import SparseMix, pieces
from gansynth.records import Records
from gansynth.resample import resampled
from gansynth.spectrogram import cqt, write_png
from gansynth.storage import StorageConfig
from transforms.counters import count
from transforms.elements import Failure, Finished
from transforms.mix_songs import MixedSong

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class WriteSettings:
    """Where and how songs are written.

    Attributes:
        output: folder or URL under which everything goes.
        audio_format: see gansynth.audiofile.
        spectrogram: whether a PNG is drawn.
        spectrogram_array: whether the CQT is kept as .npy too.
        piano_roll: whether the notes are drawn.
        played_notes: the files that are written of them, "midi" and "json".
        sample_rate: of the notes, in Hz.
        audio_rate: of the sound files, in Hz; None: the same.
        mix: how the clip is brought to its level.
        instruments: the seed stands in the manifest.
        digests: checkpoint and config digests, for the manifest and the records.
        storage: as whom the files are written.
    """

    output: str
    audio_format: audiofile.AudioFormat
    spectrogram: bool
    spectrogram_array: bool
    piano_roll: bool
    played_notes: tuple[str, ...]
    sample_rate: int
    mix: MixConfig
    instruments: InstrumentsConfig
    digests: dict[str, str]
    storage: StorageConfig = field(default_factory=StorageConfig)
    audio_rate: int | None = None


@dataclass
class WriteSongs(beam.PTransform):
    """PCollection[MixedSong | Finished | Failure] to one JSON row (str, keyed by song_id) for each."""

    settings: WriteSettings

    def expand(self, outcomes: beam.PCollection) -> beam.PCollection[tuple[str, str]]:
        """Writes every song."""
        return outcomes | "Write" >> beam.ParDo(_Write(self.settings)).with_output_types(tuple[str, str])


@dataclass
class WriteRows(beam.PTransform):
    """Gathers rows into a few sorted files of JSON lines.

    Attributes:
        folder: where they go; merged into manifest.jsonl and errors.jsonl when the job is over.
        name: start of the files' names, unique among the pipelines that share the folder.
        shards: how many files.
        storage: as whom they are written.
    """

    folder: str
    name: str
    shards: int = 1
    storage: StorageConfig = field(default_factory=StorageConfig)

    def expand(self, rows: beam.PCollection[tuple[str, str]]) -> beam.PCollection[str]:
        """Writes the files; puts out their URLs."""
        shards, folder, name, config = self.shards, self.folder, self.name, self.storage

        def shard_of(row: tuple[str, str]) -> tuple[int, tuple[str, str]]:
            return int(hashlib.sha256(row[0].encode("utf-8", "surrogateescape")).hexdigest()[:8], 16) % shards, row

        def write(shard: int, group: Any) -> str:
            storage.configure(config)
            url = storage.join(folder, f"{name}-{shard:05d}.jsonl")
            storage.write_bytes(url, "".join(text + "\n" for _, text in sorted(group)).encode())
            return url

        return (
            rows
            | "Shard" >> beam.Map(shard_of).with_output_types(tuple[int, tuple[str, str]])
            | "Group" >> beam.GroupByKey()
            | "Write" >> beam.MapTuple(write).with_output_types(str)
        )


class _Write(beam.DoFn):
    def __init__(self, settings: WriteSettings) -> None:
        self._settings = settings
        self._records = Records(settings.output, settings.digests)

    def setup(self) -> None:
        storage.configure(self._settings.storage)

    def process(self, outcome: MixedSong | Finished | Failure) -> Iterator[tuple[str, str]]:
        if isinstance(outcome, Finished):
            yield outcome.song_id, outcome.row
            return
        if isinstance(outcome, MixedSong):
            song_id = outcome.source.song_id
            try:
                row = self._write(outcome)
                self._records.write(row)
                count("songs_written")
                yield song_id, json.dumps(row, sort_keys=True)
                return
            except Exception as error:
                failure = Failure.of(song_id, "write", error, outcome.score.digest)
                outcome = replace(failure, source=outcome.source.url)
        count("songs_failed")
        count(f"failure_{outcome.code}")
        _LOG.info("%r failed: %s in %s: %r", outcome.song_id, outcome.code, outcome.stage, outcome.message)
        yield outcome.song_id, json.dumps(outcome.row(), sort_keys=True)

    def _write(self, song: MixedSong) -> dict[str, Any]:
        settings, score = self._settings, song.score
        made = master(song.mix, score.samples, settings.mix, settings.sample_rate, settings.audio_rate)
        name = paths.output_name(score.song_id)
        channels = settings.mix.channels
        audio = audiofile.encode(made.pieces(), made.sample_rate, settings.audio_format, channels)
        files = {"audio": self._put(f"audio/{name}{audiofile.SUFFIX[settings.audio_format]}", audio)}
        if settings.spectrogram or settings.spectrogram_array:
            levels = cqt(made.clip if channels == 1 else made.clip.sum(axis=1), settings.sample_rate)
            if settings.spectrogram:
                picture = write_png(levels, settings.sample_rate, score.song_id)
                files["spectrogram"] = self._put(f"spectrograms/{name}.png", picture)
            if settings.spectrogram_array:
                buffer = io.BytesIO()
                np.save(buffer, levels)
                files["cqt"] = self._put(f"spectrograms/{name}.npy", buffer.getvalue())
        files |= self._write_notes(song, name) | self._write_stems(song, name)
        count("audio_milliseconds", 1000 * made.samples // made.sample_rate)
        return {
            "status": "rendered",
            "song_id": score.song_id,
            "source": song.source.url,
            "source_digest": score.digest,
            "repairs": score.repairs,
            "outputs": {kind: path for kind, (path, _) in files.items()},
            "bytes": {kind: size for kind, (_, size) in files.items()},
            "audio_digest": "sha256:" + hashlib.sha256(audio).hexdigest(),
            "seconds": made.samples / made.sample_rate,
            "sample_rate": made.sample_rate,
            "notes_rate": settings.sample_rate,
            "channels": channels,
            "gain": made.gain,
            "peak": made.peak,
            "loudness": made.loudness,
            "true_peak": made.true_peak,
            "notes": {**score.counts, "silent": len(song.silent), "broken": len(song.broken)},
            "silent_notes": played.named(score.played, song.silent, settings.sample_rate),
            "broken_notes": played.named(score.played, song.broken, settings.sample_rate),
            "instruments": score.instruments,
            "programs": score.programs,
            "parts": [vars(part) for part in score.parts],
            "stems": list(score.stems),
            "seed": settings.instruments.seed,
            **settings.digests,
        }

    def _write_notes(self, song: MixedSong, name: str) -> dict[str, tuple[str, int]]:
        settings, score = self._settings, song.score
        heard = score.played.without(sorted({*song.silent, *song.broken}))
        files = {}
        if settings.piano_roll:
            picture = pianoroll.write_png(heard, score.instruments, score.samples, settings.sample_rate, score.song_id)
            files["piano_roll"] = self._put(f"piano_rolls/{name}.png", picture)
        if "midi" in settings.played_notes:
            midi = played.to_midi(heard, score.instruments, settings.sample_rate)
            files["midi"] = self._put(f"notes/{name}.mid", midi)
        if "json" in settings.played_notes:
            table = played.to_json(heard, score.instruments, settings.sample_rate, score.stems)
            files["notes"] = self._put(f"notes/{name}.json", table)
        return files

    def _write_stems(self, song: MixedSong, name: str) -> dict[str, tuple[str, int]]:
        settings, files = self._settings, {}
        channels, rate = settings.mix.channels, settings.audio_rate or settings.sample_rate
        for number, label in enumerate(song.score.stems):
            sound = pieces(song.stems.get(number, SparseMix()), song.score.samples, settings.mix)
            sound = resampled(sound, channels, settings.sample_rate, rate)
            data = audiofile.encode(sound, rate, "wav-float", channels)
            files[f"stem_{number + 1:03d}"] = self._put(f"stems/{name}/{paths.stem_name(number, label)}.wav", data)
        return files

    def _put(self, name: str, data: bytes) -> tuple[str, int]:
        storage.write_bytes(storage.join(self._settings.output, name), data)
        count("bytes_written", len(data))
        return name, len(data)
