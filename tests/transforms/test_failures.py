"""Songs that fail get a row with an error code, at any stage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as BeamPipeline
from apache_beam.testing.util import assert_that, equal_to
from fsspec.implementations.memory import MemoryFileSystem

from gansynth.audio.mix import SparseMix
from gansynth.config import InstrumentsConfig, MixConfig, NotesConfig
from gansynth.errors import CODES, ConfigError, MidiError
from gansynth.io import retry
from gansynth.io.probe import OutputError
from gansynth.score.plan import RenderPlan
from transforms.elements import Failure, Source
from transforms.mix_songs import MixedSong
from transforms.read_midi import ReadMidi
from transforms.write_songs import WriteSettings, WriteSongs


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("stage", "error", "code"),
    [
        ("read", MidiError("x", code="midi-too-long"), "midi-too-long"),
        ("read", PermissionError("x"), "input-unreadable"),
        ("read", TimeoutError("x"), "input-unreadable"),
        ("read", ValueError("x"), "internal"),
        ("expand", ConfigError("x"), "config"),
        ("synthesize", OSError("x"), "internal"),
        ("write", OSError(28, "No space left on device"), "output-unwritable"),
    ],
)
def test_a_failure_has_a_code_and_a_traceback_only_where_it_was_not_foreseen(
    stage: str, error: Exception, code: str
) -> None:
    failure = Failure.of("a.mid", stage, raised(error), "sha256:1")
    assert (failure.code, failure.digest, failure.error) == (code, "sha256:1", type(error).__name__)
    assert failure.code in CODES
    assert ("raised(" in failure.trace or "raise error" in failure.trace) == (code == "internal")
    row = failure.row()
    assert row["status"] == "failed"
    assert {"code", "digest", "message", "stage", "source", "song_id"} <= set(row)


def test_a_song_that_cannot_be_written_says_so_with_the_digest_of_its_source(tmp_path: Path) -> None:
    (tmp_path / "audio" / "a.wav").mkdir(parents=True)  # a folder where its file should be
    settings = WriteSettings(
        *(str(tmp_path), "wav", False, False, False, (), 16000), MixConfig(), InstrumentsConfig(), {}
    )
    plan = RenderPlan("a.mid", "sha256:7", 1, 1, 100, {"played": 1}, ("piano",), (), None, ("riff_unwrapped",))
    song = MixedSong(Source("a.mid", "/in/a.mid"), plan, (), (), SparseMix())

    def fields(row: tuple[str, str]) -> tuple[str, ...]:
        failure = json.loads(row[1])
        return tuple(failure[name] for name in ("song_id", "stage", "code", "digest", "source", "trace"))

    with BeamPipeline() as p:
        rows = p | beam.Create([song]) | WriteSongs(settings) | beam.Map(fields)
        assert_that(rows, equal_to([("a.mid", "write", "output-unwritable", "sha256:7", "/in/a.mid", "")]))


class Outage:
    """Storage that is down: every call times out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retry, "SECONDS", 0.05)
        monkeypatch.setattr(retry, "WORKER_SECONDS", 0.05)
        for call in ("cat_file", "pipe_file", "info", "_open"):
            monkeypatch.setattr(MemoryFileSystem, call, self.fail)

    def fail(self, *args: Any, **kwargs: Any) -> Any:
        raise TimeoutError("the storage does not answer")


@pytest.mark.parametrize("down", [True, False], ids=["outage", "one file"])
def test_an_outage_of_storage_fails_the_bundle_and_an_error_of_one_input_does_not(
    down: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Outage(monkeypatch)
    output = "memory://out" if down else str(tmp_path)
    pipeline = BeamPipeline()
    read = pipeline | beam.Create([Source("a.mid", "memory://in/a.mid")]) | ReadMidi(NotesConfig(), output=output)
    assert_that(read.failures | beam.MapTuple(lambda song_id, failure: (song_id, failure.code)), equal_to(UNREADABLE))
    if down:
        with pytest.raises(OutputError, match="memory://out: cannot be written"):
            pipeline.run()
    else:
        pipeline.run()


UNREADABLE = [("a.mid", "input-unreadable")]


def test_an_output_that_is_down_fails_the_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    Outage(monkeypatch)
    settings = WriteSettings(
        *("memory://out", "wav", False, False, False, (), 16000), MixConfig(), InstrumentsConfig(), {}
    )
    plan = RenderPlan("a.mid", "sha256:7", 1, 1, 100, {"played": 1}, ("piano",), (), None, ())
    pipeline = BeamPipeline()
    pipeline | beam.Create([MixedSong(Source("a.mid", "/in/a.mid"), plan, (), (), SparseMix())]) | WriteSongs(settings)
    with pytest.raises(OutputError, match="memory://out: cannot be written"):
        pipeline.run()
