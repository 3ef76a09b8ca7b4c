"""The model server: equal sounds, each rendered once for all clients, and recovery when the server dies."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import gansynth
from gansynth.errors import CheckpointError
from gansynth.model.server import ModelClient, ModelServer
from gansynth.model.sounds import Sound, Tally
from gansynth.model.synthesizer import Synthesizer

LOAD = functools.partial(Synthesizer.from_checkpoint, "mini", threads=1)
CONTEXT = multiprocessing.get_context("spawn")


@pytest.fixture(scope="module")
def synth() -> Synthesizer:
    return LOAD()


@pytest.fixture
def model() -> Iterator[ModelServer]:
    started = ModelServer(CONTEXT, LOAD)
    yield started
    started.stop()


def process_of(synth: Synthesizer) -> int:
    return os.getpid()


@pytest.fixture
def sounds(synth: Synthesizer) -> list[Sound]:
    z = gansynth.random_latents(3, synth.latent_size, seed=5).astype(np.float32)
    return [(latent.tobytes(), pitch) for latent in z for pitch in (40, 55, 60, 72)]


def test_sounds_are_the_same_and_rendered_once_for_all(
    synth: Synthesizer, model: ModelServer, sounds: list[Sound]
) -> None:
    assert model.ask(process_of) != os.getpid()
    first, second = (ModelClient(model.address, LOAD, cache_bytes=1 << 24) for _ in range(2))
    assert first.sample_rate == synth.sample_rate
    bucket = first.bucket(9000)
    assert [first.bucket(n) for n in range(0, 64001, 500)] == [synth.bucket(n) for n in range(0, 64001, 500)]
    tallies = []
    wanted = [(sound, bucket) for sound in sounds]
    for source in (synth, first, second, second):
        tally = Tally()
        heard = dict(source.sounds(wanted, tally))
        assert all(np.array_equal(audio, synth.cache.get(sound)) for (sound, _), audio in heard.items())
        assert list(heard) == wanted
        tallies.append((tally.rendered, tally.slots, tally.cached))
    assert tallies == [(12, 16, 0), (12, 16, 0), (0, 0, 12), (0, 0, 12)]


def test_many_sounds_come_in_full_batches(synth: Synthesizer, model: ModelServer) -> None:
    z = gansynth.random_latents(60, synth.latent_size, seed=6).astype(np.float32)
    source, tally = ModelClient(model.address, LOAD, cache_bytes=0), Tally()
    bucket = source.bucket(30000)
    assert len(list(source.sounds([((latent.tobytes(), 60), bucket) for latent in z], tally))) == 60
    assert (tally.rendered, tally.slots) == (60, 64)


def test_whoever_asks_a_dead_process_goes_on_alone(
    synth: Synthesizer, model: ModelServer, sounds: list[Sound], caplog: pytest.LogCaptureFixture
) -> None:
    source, bucket = ModelClient(model.address, LOAD, cache_bytes=0), synth.bucket(9000)
    wanted = [(sound, bucket) for sound in sounds[:2]]
    before = dict(source.sounds(wanted, Tally()))
    os.kill(model.ask(process_of), signal.SIGKILL)
    after = dict(source.sounds(wanted, Tally()))
    assert all(np.array_equal(before[want], after[want]) for want in wanted)
    assert "the model server has died" in caplog.text
    late = ModelClient(model.address, LOAD, cache_bytes=0)
    assert (late.bucket(9000), late.sample_rate) == (bucket, synth.sample_rate)
    assert all(np.array_equal(before[want], audio) for want, audio in late.sounds(wanted, Tally()))


def test_a_checkpoint_that_cannot_be_loaded_is_told(tmp_path: object) -> None:
    model = ModelServer(CONTEXT, functools.partial(Synthesizer.from_checkpoint, f"{tmp_path}/none"))
    with pytest.raises(CheckpointError, match="none"):
        model.ask(process_of)
    model.stop()


def test_it_ends_when_the_one_that_started_it_is_killed() -> None:
    script = (
        "import functools, multiprocessing, time\n"
        "from gansynth.model.server import ModelServer\n"
        "from gansynth.model.synthesizer import Synthesizer\n"
        "if __name__ == '__main__':\n"
        "    model = ModelServer(multiprocessing.get_context('fork'), None)\n"
        "    print(model._manager._process.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter, starter.stdout:
        number = int(starter.stdout.readline())
        assert _runs(number)
        starter.kill()
    end = time.monotonic() + 20
    while _runs(number):
        assert time.monotonic() < end
        time.sleep(0.1)


def _runs(number: int) -> bool:
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
