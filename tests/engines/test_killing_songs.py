"""A song that kills every worker that it comes to is found and named, and the others are rendered."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import engines
from tests.support.clusters import CLUSTERS, ENGINES, missing
from tests.support.engines import MIDI, hashes, render

pytestmark = [pytest.mark.engines, pytest.mark.slow, pytest.mark.timeout(1200)]

KILLING = Path(engines.__file__).with_name("killing")
ENVIRONMENT = engines.ENVIRONMENT | {"PYTHONPATH": f"{KILLING}:{engines.ROOT}"}
STAGES = ("read", "expand", "synthesize", "mix", "write")


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
    for engine in ENGINES:
        needed = pytest.mark.skipif(bool(missing(engine)), reason=missing(engine))
        if engine != "prism":  # whose worker is the command itself
            for stage in ("synthesize",) if engine in CLUSTERS else STAGES:
                yield pytest.param(engine, stage, marks=needed)


@pytest.mark.parametrize(("engine", "stage"), list(cases()))
def test_it_is_named_after_at_most_two_more_submissions(
    engine: str, stage: str, expected: dict[str, str], tmp_path: Path
) -> None:
    folder, out, logs = tmp_path / "in", tmp_path / "out", tmp_path / "logs"
    folder.mkdir()
    logs.mkdir()
    shutil.copy(MIDI / "melody.mid", songs(folder) / f"kill-{stage}.mid")
    with ENGINES[engine](logs, ENVIRONMENT) as cluster:
        codes = [render(folder, out, cluster.options).returncode]
        while codes[-1] == 1 and len(codes) < 3:
            codes.append(render(folder, out, cluster.options).returncode)
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
