"""A bank in a bucket: built once, and then heard by workers that have neither TensorFlow nor the checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gansynth.io import files, listing, urls
from pipeline.__main__ import main
from tests.support.cloud import outputs
from tests.support.engines import ENVIRONMENT, ROOT, job_service, pool, pool_options
from tests.support.servers import free_port, started
from transforms.model_settings import ModelSettings

SETTINGS = [
    word
    for setting in (
        "checkpoint=gs://in/tiny",
        "storage.credentials=anonymous",
        "spectrogram.png=false",
        "piano_roll.png=false",
    )
    for word in ("--set", setting)
]
RENDER = ["render", "gs://in/songs", "--quiet", *SETTINGS]


@pytest.fixture
def bank(cloud: Callable[[str], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Builds the bank of the songs in the bucket; returns the setting that names it."""
    plan = ["plan", "gs://in/songs", "--output", "gs://out/none", "--no-calibration", "--quiet", *SETTINGS]
    assert main([*plan, "--save", "gs://out/plan"]) == 3
    capsys.readouterr()
    build = ["bank", "build", "--bank", "gs://out/banks", "--from-plan", "gs://out/plan/plan.jsonl", *SETTINGS]
    assert main(build) == 0
    return capsys.readouterr().out.strip()


@pytest.fixture
def bare(cloud: Callable[[str], None], tmp_path: Path) -> dict[str, str]:
    """The environment of machines with other kernels, an empty cache, and no TensorFlow."""
    package = tmp_path / "bare" / "tensorflow"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('this machine has no TensorFlow')")
    paths = {"PYTHONPATH": f"{tmp_path}/bare:{ROOT}", "XDG_CACHE_HOME": str(tmp_path / "worker")}
    return (
        ENVIRONMENT
        | {"STORAGE_EMULATOR_HOST": os.environ["STORAGE_EMULATOR_HOST"]}
        | paths
        | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    )


@pytest.fixture
def cluster(bare: dict[str, str]) -> Iterator[list[str]]:
    """Starts Beam's job service and a pool of such machines; returns the options of jobs for them."""
    jobs, workers = free_port(), free_port()
    quiet = {"cwd": ROOT, "env": bare, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with started(*job_service(jobs), port=jobs, **quiet), started(*pool(workers), port=workers, **quiet):
        yield ["--runner=PortableRunner", f"--job_endpoint=localhost:{jobs}", *pool_options(workers)]


def render(environment: dict[str, str], output: str, *options: str) -> int:
    command = [sys.executable, "-m", "pipeline", *RENDER, "--output", output, *options]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    print(done.stderr[-3000:])
    return done.returncode


def audio(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in found.items() if name.startswith("audio/")}


def test_workers_copy_the_segments_that_they_need(
    bank: str, bare: dict[str, str], cluster: list[str], rendered: Path, tmp_path: Path
) -> None:
    expected = audio(outputs(str(rendered)))
    assert len(expected) == 5
    submitter = bare | {"XDG_CACHE_HOME": str(tmp_path / "submitter")}
    assert render(submitter, "gs://out/cluster", "--set", f"compute.sound_bank={bank}", *cluster) == 3
    found = outputs("gs://out/cluster")
    assert audio(found) == expected
    digest = bank.partition("@")[2]
    songs = [json.loads(line) for line in found["manifest.jsonl"].splitlines()]
    assert {song["sound_bank_digest"] for song in songs} == {digest}
    assert [path.name for path in (tmp_path / "worker" / "gansynth-beam").iterdir()] == ["fetched"]  # no checkpoint
    copies = [path.name for path in (tmp_path / "worker").rglob("fetched/*/*.sounds")]
    assert copies == [name.rsplit("/", 1)[-1] for name, _ in listing.find("gs://out/banks") if name.endswith(".sounds")]


def test_one_machine_reads_a_bank_in_a_bucket(bank: str, bare: dict[str, str], rendered: Path, tmp_path: Path) -> None:
    chosen = ["--set", f"compute.sound_bank={bank}", "--set", "compute.workers=2"]
    assert render(bare, "gs://out/banked", *chosen) == 3
    assert audio(outputs("gs://out/banked")) == audio(outputs(str(rendered)))
    # A segment that somebody has replaced is not heard, and is the error of the songs that need it.
    for name, size in listing.find("gs://out/banks"):
        if name.endswith(".sounds"):
            files.write_bytes(name, bytes(size))
    bare["XDG_CACHE_HOME"] = str(tmp_path / "new")
    assert render(bare, "gs://out/replaced", *chosen) == 1
    errors = [json.loads(line) for line in files.read_lines("gs://out/replaced/errors.jsonl")]
    missing = [row["message"] for row in errors if row["code"] == "sound-missing"]
    assert len(missing) == len(errors) - 1 == 5
    assert all("its sha256 is not the one that the bank's digest promises" in message for message in missing)


def test_a_process_reads_the_bank_with_the_job_s_credentials(bank: str) -> None:
    urls.configure(urls.StorageConfig())  # as in a worker where no other step has set them
    anonymous = urls.StorageConfig(credentials="anonymous")
    settings = ModelSettings("gs://in/tiny", 0, 0, 1, "cpu", "float32", False, bank, storage=anonymous)
    assert settings.known() is not None
