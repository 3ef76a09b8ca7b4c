"""Markers name the songs that may have killed a worker; a suspect is tried again alone in a child process."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest

from transforms.attempts import Attempts, WorkerDied, alone, digest
from transforms.counters import count
from transforms.dead_letters import DeadLetterDoFn
from transforms.worker_context import CONTEXT


class Step(DeadLetterDoFn):
    """Returns the process that a song was given to; dies of songs with `kill`, outside of the test's own process."""

    stage = "step"

    def __init__(self, test_process: int) -> None:
        self._test_process = test_process

    def handle(self, song_id: str) -> Iterator[int]:
        count("songs_of_step")
        if "kill" in song_id and os.getpid() != self._test_process:
            os.kill(os.getpid(), signal.SIGKILL)
        if "bad" in song_id:
            raise ValueError(song_id)
        yield os.getpid()

    def identify(self, song_id: str) -> tuple[str, str, str]:
        return song_id, "", f"/in/{song_id}"


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(str(tmp_path / "step"))


@pytest.fixture
def step(tmp_path: Path) -> Step:
    return Step(os.getpid()).marked(str(tmp_path))


def leave_marker(step: Step, song_id: str) -> None:
    """Leaves a marker, as a process that was killed."""
    assert step.attempts is not None
    with pytest.raises(WorkerDied), step.attempts.trying([song_id]):
        raise WorkerDied


def results(step: Step, song_id: str) -> list[Any]:
    step.start_bundle()
    return list(step.process(song_id))


def test_a_marker_is_there_during_an_attempt_alone(attempts: Attempts) -> None:
    assert attempts.suspects() == frozenset()
    with attempts.trying(["a/é\udce9.mid"]):
        assert attempts.suspects() == {digest("a/é\udce9.mid")}
        with attempts.trying(["b", "c"]):
            assert attempts.suspects() == {digest(key) for key in ("a/é\udce9.mid", "b", "c")}
    assert attempts.suspects() == frozenset()


def test_an_error_removes_the_marker_and_a_death_does_not(attempts: Attempts) -> None:
    for error, left in ((ValueError, set()), (WorkerDied, {digest("a")})):
        with pytest.raises(error), attempts.trying(["a"]):
            raise error
        assert attempts.suspects() == left


def test_after_a_job_only_songs_that_died_alone_are_suspects(attempts: Attempts) -> None:
    for keys in (["a"], ["b", "c"]):
        with pytest.raises(WorkerDied), attempts.trying(keys):
            raise WorkerDied
    attempts.tidy()
    assert attempts.suspects() == {digest("a")}
    attempts.forget(["a"])
    attempts.tidy()
    assert not Path(attempts.folder).exists()


def test_a_song_without_a_marker_is_tried_in_this_process(step: Step) -> None:
    assert results(step, "a.mid") == [os.getpid()]


def test_a_suspect_is_tried_in_a_child_process_and_cleared(step: Step) -> None:
    assert step.attempts is not None
    for song_id in ("a.mid", "bad.mid"):
        leave_marker(step, song_id)
    before = CONTEXT.total()
    (process,) = results(step, "a.mid")
    assert process != os.getpid()
    assert (CONTEXT.total() - before)["songs_of_step"] == 1
    (letter,) = results(step, "bad.mid")
    assert (letter.value[1].error, letter.value[1].code) == ("ValueError", "internal")
    assert step.attempts.suspects() == frozenset()
    assert results(step, "a.mid") == [os.getpid()]


def test_a_suspect_that_kills_the_child_is_a_dead_letter_and_a_suspect_still(step: Step) -> None:
    assert step.attempts is not None
    leave_marker(step, "kill.mid")
    for _ in range(2):
        (letter,) = results(step, "kill.mid")
        assert isinstance(letter, beam.pvalue.TaggedOutput)
        song_id, failure = letter.value
        assert (song_id, failure.code, failure.stage) == ("kill.mid", "worker-died", "step")
        assert step.attempts.suspects() == {digest("kill.mid")}


def test_a_child_returns_what_the_function_raises() -> None:
    assert alone(int, "7") == 7
    with pytest.raises(ValueError, match="invalid literal"):
        alone(int, "seven")


def test_without_a_folder_nothing_is_written(tmp_path: Path) -> None:
    step = Step(os.getpid()).marked(None)
    assert results(step, "kill.mid") == [os.getpid()]
    assert not list(tmp_path.iterdir())
