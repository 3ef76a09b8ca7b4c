from __future__ import annotations

import hashlib
from pathlib import Path

import apache_beam as beam
from apache_beam.testing.test_pipeline import TestPipeline as BeamPipeline
from apache_beam.testing.util import assert_that, equal_to

from gansynth.config import NotesConfig, SoundConfig
from gansynth.model.checkpoint import PITCHES
from gansynth.score.instruments import random_bank
from gansynth.score.spec import SynthSpec
from transforms.elements import Source
from transforms.expand_notes import ExpandNotes
from transforms.read_midi import ReadMidi

RIFF = Path(__file__).parents[2] / "pipeline" / "examples" / "riff.mid"


def test_songs_and_dead_letters_part_ways(tmp_path: Path) -> None:
    (tmp_path / "bad.mid").write_bytes(b"not midi")
    sources = [
        Source("riff.mid", str(RIFF)),
        Source("bad.mid", str(tmp_path / "bad.mid")),
        Source("gone.mid", str(tmp_path / "gone.mid")),
    ]
    with BeamPipeline() as p:
        read = p | beam.Create(sources) | ReadMidi(NotesConfig())
        assert_that(read.songs | beam.Map(lambda s: s.source.song_id), equal_to(["riff.mid"]), label="songs")
        failed = read.failures | beam.MapTuple(lambda key, f: (key, f.stage, f.error, f.code, f.digest, f.trace))
        digest = "sha256:" + hashlib.sha256(b"not midi").hexdigest()
        wanted = [
            ("bad.mid", "read", "MidiError", "midi-not-midi", digest, ""),
            ("gone.mid", "read", "FileNotFoundError", "input-unreadable", "", ""),
        ]
        assert_that(failed, equal_to(wanted), label="failures")


def test_a_song_leaves_expand_as_chunks_and_one_score_or_as_a_failure(tmp_path: Path) -> None:
    digest = "sha256:" + hashlib.sha256(RIFF.read_bytes()).hexdigest()
    spec = SynthSpec(PITCHES, 16000, 64000, random_bank(129, 16, 0))
    for config, chunks, plans, failures in (
        (SoundConfig(), [1], ["riff.mid"], []),
        (SoundConfig(notes=NotesConfig(max_notes=10)), [], [], [("riff.mid", "expand", "midi-too-many-notes", digest)]),
    ):
        with BeamPipeline() as p:
            songs = (p | beam.Create([Source("riff.mid", str(RIFF))]) | ReadMidi(NotesConfig())).songs
            expanded = songs | ExpandNotes(config, spec)
            total = expanded.chunks | beam.MapTuple(lambda _, c: len(c)) | beam.CombineGlobally(sum).without_defaults()
            if chunks:
                total |= "Some" >> beam.Map(lambda n: 300 < n < 600)
            assert_that(total, equal_to([True] if chunks else []), label="chunks")
            assert_that(expanded.plans | beam.Keys(), equal_to(plans), label="scores")
            failed = expanded.failures | "F" >> beam.MapTuple(lambda key, f: (key, f.stage, f.code, f.digest))
            assert_that(failed, equal_to(failures), label="failed")
