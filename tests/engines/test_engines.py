"""The same bytes on every engine that this machine has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.clusters import CLUSTERS, ENGINES, missing
from tests.support.engines import (
    LIMIT,
    NO_PRISM,
    QUIET,
    clusters,
    copy_songs,
    hashes,
    pool,
    pool_options,
    prism,
    prism_options,
    render,
    started_job,
    wait_until,
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
    running = {
        runner: [f"--runner={runner}", f"--job_endpoint={endpoint}", *pool_options(workers[0])]
        for runner, endpoint in clusters().items()
    }
    present = [name for name in ENGINES if not missing(name)]
    print("engines:", ", ".join([*running, *present]))
    for name, options in running.items():
        assert render(songs, tmp_path / name, options).returncode == 3, name
        assert hashes(tmp_path / name) == expected, name
    for name in present:
        logs, out = tmp_path / f"logs-{name.replace(' ', '-')}", tmp_path / name  # Java's options have no spaces
        logs.mkdir()
        with ENGINES[name](logs) as cluster:
            assert render(songs, out, cluster.options).returncode == 3, name
        assert hashes(out) == expected, name


@pytest.mark.engines
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", CLUSTERS)
def test_a_cluster_goes_on_when_one_of_its_machines_dies(engine: str, tmp_path: Path) -> None:
    """A TaskManager of Flink, or an executor of Spark, is killed when it has begun to write songs."""
    if why := missing(engine):
        pytest.skip(why)
    if engine == "spark local":
        pytest.skip("is one process, the job server: what kills it kills the job")
    songs, alone, out, logs = (tmp_path / name for name in ("songs", "alone", "out", "logs"))
    logs.mkdir()
    copy_songs({f"a/{number}.mid": "order" for number in range(40)} | {"z.mid": "tempo"}, songs)
    assert render(songs, alone, []).returncode == 0
    with CLUSTERS[engine](logs) as cluster, started_job(songs, out, cluster.options) as job:
        wait_until(lambda: any(out.glob("audio/**/*.wav")), job)
        for process in cluster.machine(1):
            process.kill()
        assert job.wait(LIMIT) == 0
    assert hashes(out) == hashes(alone)


@pytest.mark.engines
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("engine", CLUSTERS)
def test_songs_of_an_hour_go_through_a_cluster(engine: str, tmp_path: Path) -> None:
    """Their parts have up to 18 MB each, which a cluster sorts."""
    if why := missing(engine):
        pytest.skip(why)
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

    def connected() -> list[psutil.Process]:
        return [w for w in psutil.Process(pid).children() if w not in earlier and w.net_connections()]

    with started_job(songs, tmp_path, options) as job:
        wait_until(connected, job)
        connected()[0].kill()
        assert job.wait(120) == 1
    assert (tmp_path / "manifest.jsonl").read_bytes() == b""
    assert (tmp_path / "errors.jsonl").read_text().count("job-stopped") == len(SONGS)
    assert render(songs, tmp_path, options).returncode == 3
    assert hashes(tmp_path) == expected
