"""Songs that fail get a row with an error code, at any stage."""

from __future__ import annotations

import json
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline as BeamPipeline
from apache_beam.testing.util import assert_that, equal_to

from gansynth.audio.mix import SparseMix
from gansynth.config import InstrumentsConfig, MixConfig
from gansynth.errors import CODES, ConfigError, MidiError
from gansynth.score.plan import RenderPlan
from transforms.elements import Failure, Source
from transforms.mix_songs import MixedSong
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
    (tmp_path / "file").touch()
    settings = WriteSettings(
        *(str(tmp_path / "file"), "wav", False, False, False, (), 16000), MixConfig(), InstrumentsConfig(), {}
    )
    plan = RenderPlan("a.mid", "sha256:7", 1, 1, 100, {"played": 1}, ("piano",), (), None, ("riff_unwrapped",))
    song = MixedSong(Source("a.mid", "/in/a.mid"), plan, (), (), SparseMix())

    def fields(row: tuple[str, str]) -> tuple[str, ...]:
        failure = json.loads(row[1])
        return tuple(failure[name] for name in ("song_id", "stage", "code", "digest", "source", "trace"))

    with BeamPipeline() as p:
        rows = p | beam.Create([song]) | WriteSongs(settings) | beam.Map(fields)
        assert_that(rows, equal_to([("a.mid", "write", "output-unwritable", "sha256:7", "/in/a.mid", "")]))
