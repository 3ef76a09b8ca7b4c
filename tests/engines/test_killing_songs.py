"""A song that kills every worker that it comes to is found and named, and the others are rendered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support import engines
from tests.support.clusters import CLUSTERS, jars
from tests.support.engines import MIDI, NO_PRISM, hashes, job_service, pool, pool_options, prism, prism_options, render
from tests.support.servers import free_port, started

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.timeout(1200)]

KILLING = Path(engines.__file__).with_name("killing")
ENVIRONMENT = engines.ENVIRONMENT | {"PYTHONPATH": f"{KILLING}:{engines.ROOT}"}
POOL: dict[str, Any] = engines.QUIET | {"env": ENVIRONMENT}
STAGES = ("read", "expand", "synthesize", "mix", "write")
PRISM = pytest.mark.skipif(prism() is None, reason=NO_PRISM)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of a local run without a killing song."""
    out = tmp_path_factory.mktemp("expected")
    assert render(songs(tmp_path_factory.mktemp("songs")), out, ["--set", "compute.workers=1"]).returncode == 0
    assert not (out / ".attempts").exists()
    return hashes(out)


def songs(folder: Path) -> Path:
    for name in ("melody", "order", "sustain", "tempo"):
        shutil.copy(MIDI / f"{name}.mid", folder)
    return folder


def cases() -> Iterator[Any]:
    """Every stage on the engines of one machine; one stage in the middle on clusters, which take a minute to start."""
    for stage in STAGES:
        yield "portable", stage
        yield pytest.param("prism", stage, marks=PRISM)
    for engine in CLUSTERS:
        needed = pytest.mark.skipif(jars(engine.split()[0]) is None, reason="needs tests/engines/setup.sh, and Java")
        yield pytest.param(engine, "synthesize", marks=needed)


@contextmanager
def started_engine(engine: str, folder: Path) -> Iterator[list[str]]:
    """Starts an engine whose workers die of the songs; returns Beam options for it."""
    if engine in CLUSTERS:
        folder.mkdir()
        with CLUSTERS[engine](folder, ENVIRONMENT) as cluster:
            yield cluster.options
        return
    jobs, workers = free_port(), free_port()
    options = [*(["--runner=PortableRunner", f"--job_endpoint=localhost:{jobs}"] if engine == "portable" else [])]
    options += [*(prism_options() if engine == "prism" else []), *pool_options(workers)]
    with started(*job_service(jobs), port=jobs, **engines.QUIET), started(*pool(workers), port=workers, **POOL):
        yield options


@pytest.mark.parametrize(("engine", "stage"), list(cases()))
def test_it_is_named_after_at_most_two_more_submissions(
    engine: str, stage: str, expected: dict[str, str], tmp_path: Path
) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    shutil.copy(MIDI / "melody.mid", songs(folder) / f"kill-{stage}.mid")
    with started_engine(engine, tmp_path / "logs") as options:
        codes = [render(folder, out, options).returncode]
        while codes[-1] == 1 and len(codes) < 3:
            codes.append(render(folder, out, options).returncode)
    print(f"{engine}, {stage}: exit codes {codes}")
    if engine not in CLUSTERS:  # which try again by themselves
        assert codes[0] == 1, "the song killed no worker"
    assert codes[-1] == 3
    (error,) = map(json.loads, (out / "errors.jsonl").read_text().splitlines())
    assert (error["song_id"], error["code"], error["stage"]) == (f"kill-{stage}.mid", "worker-died", stage)
    found = hashes(out)
    lists = ("manifest.jsonl", "errors.jsonl")
    ours = {name: found.get(name) for name in expected if name not in lists and not name.startswith(".done/")}
    assert ours == {name: expected[name] for name in ours}
    assert sum(name.startswith("audio/") for name in found) == 4
