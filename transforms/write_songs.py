"""Mixed songs to files (audio, pictures, notes, stems) and to one row each for manifest.jsonl or errors.jsonl."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import apache_beam as beam
import numpy as np

from gansynth.audio.encode import SUFFIX, AudioFormat, encode_audio
from gansynth.audio.mastering import master
from gansynth.audio.mix import SparseMix, pieces
from gansynth.audio.peaks import peaks
from gansynth.audio.resample import resampled
from gansynth.config import InstrumentsConfig, MixConfig
from gansynth.figures import axes, piano_roll
from gansynth.figures.axes import Grid
from gansynth.figures.piano_roll import ColourBy
from gansynth.figures.roll_data import roll_script
from gansynth.figures.spectrogram import SpectrogramStyle, cqt, full_style, write_png
from gansynth.io import files, paths, urls
from gansynth.io.probe import check_writable
from gansynth.io.records import Records
from gansynth.io.urls import StorageConfig
from gansynth.score.assign import Part
from gansynth.score.planned_notes import PlannedNotes
from gansynth.score.rendered_notes import to_json, to_midi, to_note_sequence
from transforms.counters import count
from transforms.dead_letters import DeadLetterDoFn
from transforms.elements import Failure, FinishedSong
from transforms.manifest import NoteRow, PartRow, SongRow
from transforms.mix_songs import MixedSong

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class WriteSettings:
    """Settings of the output files.

    Attributes:
        output: folder or URL under which all files are written.
        audio_format: see gansynth.audio.encode.
        spectrogram: if true, the spectrogram is drawn as a PNG.
        spectrogram_array: if true, the constant-Q transform is saved as .npy.
        piano_roll: if true, the piano roll is drawn as a PNG.
        played_notes: formats in which the notes are saved: "midi", "json", "notesequence".
        sample_rate: sample rate of the notes in Hz.
        mix: settings of level and channels.
        instruments: settings of the instruments; only the seed is used.
        digests: digests for the manifest and the completion records, by name.
        storage: credentials for writing.
        audio_rate: sample rate of the audio files in Hz; None for that of the notes.
        metadata: if true, audio files name title, artist and copyright.
        stem_format: format of the stems' files, see StemsConfig.
        picture_range: range of the pictures, see SpectrogramConfig.
        roll_colour: what the colours of the piano roll stand for.
        roll_data: if true, the notes are saved for the page's piano roll.
    """

    output: str
    audio_format: AudioFormat
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
    metadata: bool = False
    stem_format: Literal["wav-float", "flac"] = "wav-float"
    picture_range: Literal["full", "reference"] = "full"
    roll_colour: ColourBy = "instrument"
    roll_data: bool = False


@dataclass
class WriteSongs(beam.PTransform):
    """PCollection[MixedSong | FinishedSong | Failure] to one (song_id, JSON row) for each.

    Attributes:
        settings: settings of the output files.
        attempts: folder of the markers of attempts; None to write none.
    """

    settings: WriteSettings
    attempts: str | None = None

    def expand(self, outcomes: beam.PCollection) -> beam.PCollection[tuple[str, str]]:
        """Writes every song."""
        write = _Write(self.settings).marked(self.attempts)
        return outcomes | "Write" >> beam.ParDo(write).with_output_types(tuple[str, str])


class _Write(DeadLetterDoFn):
    stage = "write"

    def __init__(self, settings: WriteSettings) -> None:
        self._settings = settings
        self._records = Records(settings.output, settings.digests)

    def setup(self) -> None:
        urls.configure(self._settings.storage)

    def handle(self, outcome: MixedSong | FinishedSong | Failure) -> Iterator[tuple[str, str]]:
        if isinstance(outcome, FinishedSong):
            yield outcome.song_id, outcome.row
        elif isinstance(outcome, Failure):
            yield self._failed(outcome)
        else:
            row = self._write(outcome)
            self._records.write(row)
            count("songs_written")
            yield row["song_id"], json.dumps(row, sort_keys=True)

    def identify(self, outcome: MixedSong) -> tuple[str, str, str]:
        return outcome.source.song_id, outcome.plan.digest, outcome.source.url

    def keys(self, outcome: MixedSong | FinishedSong | Failure) -> tuple[str, ...]:
        return super().keys(outcome) if isinstance(outcome, MixedSong) else ()

    def dead_letter(self, song_id: str, digest: str, source: str, error: Exception) -> tuple[str, str]:
        failure = Failure.of(song_id, self.stage, error, digest, source)
        if failure.code == "output-unwritable":
            check_writable(self._settings.output)  # if nothing can be written, the bundle fails instead of the song
        return self._failed(failure)

    def _failed(self, failure: Failure) -> tuple[str, str]:
        count("songs_failed")
        count(f"failure_{failure.code}")
        _LOG.info("%r failed: %s in %s: %r", failure.song_id, failure.code, failure.stage, failure.message)
        return failure.song_id, json.dumps(failure.row(), sort_keys=True)

    def _write(self, song: MixedSong) -> SongRow:
        settings, plan = self._settings, song.plan
        clip = master(song.mix, plan.samples, settings.mix, settings.sample_rate, settings.audio_rate)
        name = paths.output_name(plan.song_id)
        channels = settings.mix.channels
        tags = plan.texts if settings.metadata else None
        audio = encode_audio(clip.pieces(), clip.sample_rate, settings.audio_format, channels, tags)
        outputs = {"audio": self._put(f"audio/{name}{SUFFIX[settings.audio_format]}", audio)}
        grid = Grid.of(plan.samples, settings.sample_rate) if settings.picture_range == "full" else None
        if settings.spectrogram or settings.spectrogram_array:
            style = SpectrogramStyle() if grid is None else full_style(grid)
            levels = cqt(clip.mono, settings.sample_rate, style)
            if settings.spectrogram:
                pictures = (
                    write_png(levels, settings.sample_rate, title, style, tile)
                    for title, tile in axes.pictures(plan.song_id, grid)
                )
                outputs |= self._write_pictures(plan.song_id, "spectrogram", f"spectrograms/{name}.png", pictures)
            if settings.spectrogram_array:
                buffer = io.BytesIO()
                np.save(buffer, levels)
                outputs["cqt"] = self._put(f"spectrograms/{name}.npy", buffer.getvalue())
        outputs |= self._write_notes(song, name, grid) | self._write_stems(song, clip.gain)
        count("audio_milliseconds", 1000 * clip.samples // clip.sample_rate)
        digests = settings.digests
        return SongRow(
            status="rendered",
            song_id=plan.song_id,
            source=song.source.url,
            source_digest=plan.digest,
            repairs=list(plan.repairs),
            repaired_notes=plan.repaired_notes,
            ignored=plan.ignored,
            outputs={kind: path for kind, (path, _) in outputs.items()},
            bytes={kind: size for kind, (_, size) in outputs.items()},
            audio_digest="sha256:" + hashlib.sha256(audio).hexdigest(),
            seconds=clip.samples / clip.sample_rate,
            sample_rate=clip.sample_rate,
            notes_rate=settings.sample_rate,
            channels=channels,
            gain=clip.gain,
            peak=clip.peak,
            loudness=clip.loudness,
            true_peak=clip.true_peak,
            peaks=peaks(clip.clip, clip.scale),
            notes={**plan.counts, "silent": len(song.silent), "broken": len(song.broken)},
            silent_notes=_note_rows(plan.notes, song.silent, settings.sample_rate),
            broken_notes=_note_rows(plan.notes, song.broken, settings.sample_rate),
            instruments=list(plan.instruments),
            programs={str(program): name for program, name in plan.programs.items()},
            parts=[_part_row(part) for part in plan.parts],
            stems=list(plan.stems),
            seed=settings.instruments.seed,
            checkpoint_digest=digests["checkpoint_digest"],
            config_digest=digests["config_digest"],
            bank_digest=digests["bank_digest"],
            kit_digest=digests["kit_digest"],
            sound_bank_digest=digests["sound_bank_digest"],
        )

    def _write_notes(self, song: MixedSong, name: str, grid: Grid | None) -> dict[str, tuple[str, int]]:
        settings, plan = self._settings, song.plan
        heard = plan.notes.without(sorted({*song.silent, *song.broken}))
        outputs: dict[str, tuple[str, int]] = {}
        if settings.piano_roll:
            pictures = piano_roll.write_pngs(
                heard,
                plan.instruments,
                plan.samples,
                settings.sample_rate,
                axes.pictures(plan.song_id, grid),
                channels=plan.channels,
                grid=grid,
                colour=settings.roll_colour,
            )
            outputs |= self._write_pictures(plan.song_id, "piano_roll", f"piano_rolls/{name}.png", pictures)
        if settings.roll_data:
            script = roll_script(name, heard, plan.instruments, plan.samples, settings.sample_rate, plan.channels)
            outputs["roll_data"] = self._put(f"rolls/{name}.js", script)
        if "midi" in settings.played_notes:
            midi = to_midi(heard, plan.instruments, settings.sample_rate, plan.channels)
            outputs["midi"] = self._put(f"notes/{name}.mid", midi)
        if "json" in settings.played_notes:
            table = to_json(heard, plan.instruments, settings.sample_rate, plan.stems, plan.channels)
            outputs["notes"] = self._put(f"notes/{name}.json", table)
        if "notesequence" in settings.played_notes:
            sequence = to_note_sequence(heard, plan.instruments, settings.sample_rate, plan.channels, plan.song_id)
            outputs["notesequence"] = self._put(f"notes/{name}.pb", sequence)
        return outputs

    def _write_pictures(
        self, song_id: str, kind: str, path: str, pictures: Iterable[bytes]
    ) -> dict[str, tuple[str, int]]:
        """Writes a picture of a song, or several of a long one, each drawn when the one before is written.

        Args:
            song_id: id of the song.
            kind: kind of the output; further pictures are called kind_002 and so on.
            path: of the first picture.
            pictures: PNG files.
        """
        outputs = {}
        for number, picture in enumerate(pictures, 1):
            name = path if number == 1 else paths.tile_name(song_id, kind, number)
            outputs[kind if number == 1 else f"{kind}_{number:03d}"] = self._put(name, picture)
        return outputs

    def _write_stems(self, song: MixedSong, gain: float) -> dict[str, tuple[str, int]]:
        settings, outputs = self._settings, {}
        folder = f"stems/{paths.output_folder(song.plan.song_id)}"
        channels, rate = settings.mix.channels, settings.audio_rate or settings.sample_rate
        for number, label in enumerate(song.plan.stems):
            sound = pieces(song.stems.get(number, SparseMix()), song.plan.samples, settings.mix)
            sound = resampled(sound, channels, settings.sample_rate, rate)
            if settings.stem_format == "flac":
                sound = (piece * np.float32(gain) for piece in sound)  # floats may exceed full scale, and FLAC may not
            data = encode_audio(sound, rate, settings.stem_format, channels, bits=24)
            path = f"{folder}/{paths.stem_name(number, label)}{SUFFIX[settings.stem_format]}"
            outputs[f"stem_{number + 1:03d}"] = self._put(path, data)
        return outputs

    def _put(self, name: str, data: bytes) -> tuple[str, int]:
        files.write_bytes(urls.join(self._settings.output, name), data)
        count("bytes_written", len(data))
        return name, len(data)


def _note_rows(notes: PlannedNotes, rows: Sequence[int], sample_rate: int) -> list[NoteRow]:
    """Describes the notes in some rows of a table, by start, pitch and program."""
    return [
        NoteRow(
            start=round(float(notes.start[n]) / sample_rate, 7),
            pitch=int(notes.pitch[n]),
            program=int(notes.program[n]),
        )
        for n in rows
    ]


def _part_row(part: Part) -> PartRow:
    return PartRow(program=part.program, track=part.track, instrument=part.instrument, rule=part.rule, notes=part.notes)
