"""Equal inputs, settings and checkpoint give equal bytes of every file, for any split of the work and any runner."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gansynth.model.synthesizer import Synthesizer
from pipeline.__main__ import main
from tests.support.engines import copy_songs
from tests.support.servers import free_port, started

ROOT = Path(__file__).parents[2]
SONGS = {
    "a/order.mid": "order",
    "a/sustain.mid": "sustain",
    "fourteen.mid": "fourteen_seconds",
    "melody.mid": "melody",
    "melody again.mid": "melody",
    "page.mid": "not_midi",
    "tempo.mid": "tempo",
}
FILES = ("compute.sound_bank=off", "notes.time_stretch=0.5", "played_notes=[midi, json]", "spectrogram.array=true")
# Beam starts processes as `python`, and they find the project on this process's path.
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_songs(SONGS, tmp_path_factory.mktemp("songs"))


@pytest.fixture(scope="module")
def expected(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Returns the digest of every file of one plain run."""
    out = tmp_path_factory.mktemp("expected")
    assert main(arguments(songs, out, "compute.workers=1")) == 3
    found = hashes(out)
    kinds = {name.split("/")[0] for name in found}
    assert kinds == {
        ".done",
        "audio",
        "spectrograms",
        "piano_rolls",
        "rolls",
        "notes",
        "manifest.jsonl",
        "errors.jsonl",
    }
    assert sum(name.startswith("audio/") for name in found) == len(SONGS) - 1
    return found


def arguments(songs: Path, out: Path, *settings: str, shuffled: int | None = None) -> list[str]:
    """Returns a command line, with the songs in another order if a seed is given."""
    inputs = str(songs)
    if shuffled is not None:
        paths = sorted(str(path) for path in songs.rglob("*.mid"))
        random.Random(shuffled).shuffle(paths)
        (out.parent / f"{out.name}.txt").write_text("\n".join(paths))
        inputs = f"@{out.parent}/{out.name}.txt"
    given = [word for setting in (*FILES, *settings) for word in ("--set", setting)]
    return ["render", inputs, "--output", str(out), "--quiet", *given]


def hashes(out: Path) -> dict[str, str]:
    """Returns the digest of every file: audio, pictures, notes, records, manifest and errors.

    config.yaml and index.html are left out: they show the output folder, the workers and the batch sizes."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name not in ("config.yaml", "index.html")]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


SPLITS = {
    "note by note, nothing remembered": ("compute.workers=1", "compute.batch_notes=1", "compute.batch_rows=1"),
    "odd batches, a small cache": ("compute.workers=1", "compute.batch_rows=600", "compute.cache_bytes=2000000"),
    "two processes, a thread each": ("compute.workers=2", "compute.threads=1", "compute.slice_songs=6"),
    "DirectRunner": ("compute.workers=1", "beam.runner=DirectRunner"),
}


@pytest.mark.parametrize("how", SPLITS)
def test_same_bytes(how: str, songs: Path, expected: dict[str, str], tmp_path: Path) -> None:
    cache = ("compute.cache_bytes=0",) if "nothing" in how else ()
    assert main(arguments(songs, tmp_path / "out", *SPLITS[how], *cache, shuffled=len(how))) == 3
    assert hashes(tmp_path / "out") == expected


@pytest.mark.parametrize("workers", [1, 2])
def test_same_bytes_from_the_sound_bank(
    workers: int, songs: Path, expected: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = (f"compute.sound_bank={tmp_path}/bank", f"compute.workers={workers}", "compute.slice_songs=6")
    for run in ("cold", "warm"):
        assert main(arguments(songs, tmp_path / run, *settings)) == 3
        assert hashes(tmp_path / run) == expected
        monkeypatch.setattr(Synthesizer, "from_checkpoint", None)  # no sound is missing any more
    for sounds in (tmp_path / "bank").rglob("*.sounds"):
        sounds.write_bytes(bytes(sounds.stat().st_size))
    monkeypatch.undo()
    assert main(arguments(songs, tmp_path / "damaged", *settings)) == 3
    assert hashes(tmp_path / "damaged") == expected


def test_a_song_is_the_same_alone_and_in_company(songs: Path, expected: dict[str, str], tmp_path: Path) -> None:
    assert expected["audio/melody.wav"] == expected["audio/melody again.wav"]
    (tmp_path / "in").mkdir()
    shutil.copy(songs / "tempo.mid", tmp_path / "in" / "tempo.mid")
    assert main(arguments(tmp_path / "in", tmp_path / "out", "compute.workers=1")) == 0
    alone = {name: digest for name, digest in hashes(tmp_path / "out").items() if "/tempo." in name}
    alone.pop(".done/tempo.json")  # it has the URL of the song
    assert len(alone) == 7
    assert alone.items() <= expected.items()


# The whole matrix, each run a command of its own

BATCHES = {1: ("threads=1", "cache_bytes=0"), 7: ("threads=3", "cache_bytes=1000000"), 64: ("threads=0",)}
RUNNERS = {
    "one process": ["--set", "compute.workers=1"],
    "two processes": ["--set", "compute.workers=2", "--set", "compute.slice_songs=6"],
    "Beam's processes": ["--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"],
    "portable runner": ["--runner=PortableRunner", "--environment_type=EXTERNAL"],
}


@pytest.fixture(scope="module")
def endpoints() -> Iterator[list[str]]:
    """Starts Beam's job service and a worker pool; returns the options to use them."""
    jobs, workers = free_port(), free_port()
    quiet: dict[str, Any] = {"env": ENVIRONMENT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    beam = (sys.executable, "-m", "apache_beam.runners")
    with contextlib.ExitStack() as stack:
        for module, option, port in (
            ("portability.local_job_service_main", "--port", jobs),
            ("worker.worker_pool_main", "--service_port", workers),
        ):
            command = (*beam[:2], f"{beam[2]}.{module}", f"{option}={port}")
            stack.enter_context(started(*command, port=port, cwd=ROOT, **quiet))
        yield [f"--job_endpoint=localhost:{jobs}", f"--environment_config=localhost:{workers}"]


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("notes", "runner"), [*itertools.product(BATCHES, RUNNERS)])
def test_matrix(
    notes: int, runner: str, songs: Path, expected: dict[str, str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    compute = (f"batch_notes={notes}", f"batch_rows={128 * notes}", *BATCHES[notes])
    command = arguments(songs, tmp_path / "out", *(f"compute.{setting}" for setting in compute), shuffled=notes)
    command += RUNNERS[runner] + (request.getfixturevalue("endpoints") if "portable" in runner else [])
    done = subprocess.run([sys.executable, "-m", "pipeline", *command], cwd=ROOT, env=ENVIRONMENT, check=False)
    assert done.returncode == 3
    assert hashes(tmp_path / "out") == expected


# Other kernels: equal bytes are not guaranteed

KERNELS = {"AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"}, "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"}}
_PLAY = (
    "import sys, numpy, gansynth; synth = gansynth.Synthesizer.from_checkpoint('mini', device='cpu'); "
    "z = gansynth.random_latents(8, synth.latent_size, seed=1); "
    "numpy.save(sys.argv[1], synth.synthesize(z, [36, 48, 55, 60, 67, 72, 79, 84], 32000))"
)


@pytest.mark.slow
def test_other_kernels_of_this_processor_are_as_near_as_the_docs_say(tmp_path: Path) -> None:
    notes = {}
    for name, variables in {"own": {}, **KERNELS}.items():
        path = tmp_path / f"{name}.npy"
        subprocess.run([sys.executable, "-c", _PLAY, str(path)], cwd=ROOT, env=os.environ | variables, check=True)
        notes[name] = np.load(path)
    own = notes.pop("own")
    for name, other in notes.items():
        decibels = 10 * np.log10(((other - own) ** 2).sum(1) / (own**2).sum(1) + 1e-20)
        print(f"{name}: worst note {decibels.max():.1f} dB")
        assert decibels.max() < -80
