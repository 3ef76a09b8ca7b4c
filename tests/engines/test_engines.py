"""The same bytes on every engine that this machine has."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from tests.support.clusters import CLUSTERS, jars
from tests.support.engines import (
    NO_PRISM,
    QUIET,
    clusters,
    command,
    copy_songs,
    hashes,
    job_service,
    pool,
    pool_options,
    prism,
    prism_options,
    render,
)
from tests.support.midi_bytes import midi, note, track
from tests.support.servers import free_port, started

SONGS = {
    "a/order.mid": "order",
    "a/sustain.mid": "sustain",
    "melody.mid": "melody",
    "melody again.mid": "melody",
    "page.mid": "not_midi",
    "tempo.mid": "tempo",
}
needs_prism = pytest.mark.skipif(prism() is None, reason=NO_PRISM)


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_songs(SONGS, tmp_path_factory.mktemp("songs"))


@pytest.fixture(scope="module")
def expected(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every file of a local run."""
    out = tmp_path_factory.mktemp("expected")
    assert render(songs, out, ["--set", "compute.workers=1"]).returncode == 3
    found = hashes(out)
    assert sum(name.startswith("audio/") for name in found) == len(SONGS) - 1
    return found


@pytest.fixture(scope="module")
def workers() -> Iterator[tuple[int, int]]:
    """A pool of workers: its port and its process."""
    port = free_port()
    with started(*pool(port), port=port, **QUIET) as process:
        yield port, process.pid


@needs_prism
def test_prism_in_short(songs: Path, expected: dict[str, str], tmp_path: Path) -> None:
    assert render(songs, tmp_path, prism_options()).returncode == 3
    assert hashes(tmp_path) == expected


# The whole list, and what becomes of a job whose worker is killed


@pytest.mark.engines
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_engines_of_this_machine_give_the_same_bytes(
    songs: Path, expected: dict[str, str], workers: tuple[int, int], tmp_path: Path
) -> None:
    external = pool_options(workers[0])
    jobs = free_port()
    engines = {"Beam's job service": ["--runner=PortableRunner", f"--job_endpoint=localhost:{jobs}", *external]}
    if prism():
        engines |= {"Prism": prism_options(), "Prism and a pool": [*prism_options(), *external]}
    for runner, endpoint in clusters().items():
        engines[runner] = [f"--runner={runner}", f"--job_endpoint={endpoint}", *external]
    with ExitStack() as stack:
        stack.enter_context(started(*job_service(jobs), port=jobs, **QUIET))
        for name, start in CLUSTERS.items():
            if jars(name.split()[0]):
                folder = tmp_path / name
                folder.mkdir()
                engines[name] = stack.enter_context(start(folder)).options
        print("engines:", ", ".join(engines))
        for number, (name, options) in enumerate(engines.items()):
            out = tmp_path / str(number)
            assert render(songs, out, options).returncode == 3, name
            assert hashes(out) == expected, name


@pytest.mark.engines
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", CLUSTERS)
def test_a_cluster_goes_on_when_one_of_its_machines_dies(engine: str, tmp_path: Path) -> None:
    """A TaskManager of Flink, or an executor of Spark, is killed when it has begun to write songs."""
    if not jars(engine.split()[0]) or engine == "spark local":
        pytest.skip("needs tests/engines/setup.sh, Java, and processes to kill")
    songs, alone, out, logs = (tmp_path / name for name in ("songs", "alone", "out", "logs"))
    logs.mkdir()
    copy_songs({f"a/{number}.mid": "order" for number in range(40)} | {"z.mid": "tempo"}, songs)
    assert render(songs, alone, []).returncode == 0
    with CLUSTERS[engine](logs) as cluster:
        job = subprocess.Popen(command(songs, out, *cluster.options), **QUIET)
        while not list(out.glob("audio/**/*.wav")):
            assert job.poll() is None
            time.sleep(0.05)
        for process in cluster.machine(1):
            process.kill()
        assert job.wait(600) == 0
    assert hashes(out) == hashes(alone)


@pytest.mark.engines
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", CLUSTERS)
def test_songs_of_an_hour_go_through_a_cluster(engine: str, tmp_path: Path) -> None:
    """Their parts have up to 18 MB each, which a cluster sorts."""
    if not jars(engine.split()[0]):
        pytest.skip("needs tests/engines/setup.sh, and Java")
    songs, alone, out, logs = (tmp_path / name for name in ("songs", "alone", "out", "logs"))
    logs.mkdir()
    copy_songs({"a/order.mid": "order"}, songs)
    ticks = 960  # of a second
    for name, every, length in (("far apart", 1.1, 0.01), ("long", 3.0, 3.0)):
        beats = range(int((3600 - 8) / every))
        notes = [note(round(n * every * ticks), round((n * every + length) * ticks), 24 + n % 13 * 5) for n in beats]
        (songs / f"{name}.mid").write_bytes(midi(track(*notes)))
    plain = ["--set", "spectrogram.png=false"]
    assert render(songs, alone, plain).returncode == 0
    with CLUSTERS[engine](logs) as cluster:
        assert render(songs, out, [*plain, *cluster.options]).returncode == 0
    assert hashes(out) == hashes(alone)


@pytest.mark.engines
@pytest.mark.slow
@needs_prism
def test_a_job_that_prism_gives_up_is_gone_on_with(
    songs: Path, expected: dict[str, str], workers: tuple[int, int], tmp_path: Path
) -> None:
    """Prism tries nothing again: a worker that is killed fails the job at once, and the next submission ends it."""
    port, pid = workers
    options = [*prism_options(), *pool_options(port)]
    earlier = set(psutil.Process(pid).children())
    job = subprocess.Popen(command(songs, tmp_path, *options), **QUIET)
    while not (connected := [w for w in psutil.Process(pid).children() if w not in earlier and w.net_connections()]):
        assert job.poll() is None
        time.sleep(0.05)
    connected[0].send_signal(signal.SIGKILL)
    assert job.wait(120) == 1
    assert (tmp_path / "manifest.jsonl").read_bytes() == b""
    assert (tmp_path / "errors.jsonl").read_text().count("job-stopped") == len(SONGS)
    assert render(songs, tmp_path, options).returncode == 3
    assert hashes(tmp_path) == expected
