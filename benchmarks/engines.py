"""(o) The engines of this machine beside the local way: songs per minute, memory, and whether all files are the same.

    python -m benchmarks.engines --songs 100 --checkpoint mini
    python -m benchmarks.engines --songs 1200 --engines flink --kill 0.5    a machine dies when half is written

Engines come from tests/engines/setup.sh; those that are missing are left out. Time and memory are those of the command
that renders, its start included, and of the engine's processes, which are started before. Each command writes to the
same folder, so that every file can be compared, but for config.yaml, which names the runner. Sounds are rendered in
each run: there is no sound bank.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from benchmarks.common import (
    ROOT,
    Cost,
    PeakMemory,
    Report,
    adopted_orphans,
    checkpoint_folder,
    cpu_seconds,
    parser,
    scratch,
    songs_of,
)
from tests.support.clusters import ENGINES, Cluster, missing
from tests.support.engines import ENVIRONMENT, hashes

LOCAL = "local"
_LIMIT_SECONDS = 3600


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__, corpus=True)
    options.add_argument("--engines", nargs="*", default=list(ENGINES), choices=ENGINES, metavar="NAME", help="(all)")
    options.add_argument("--kill", type=float, metavar="SHARE", help="kill a machine after this share of the songs")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings of the jobs")
    args = options.parse_args(argv)
    songs = songs_of(args.corpus, args.songs)
    report = Report("engines", args.checkpoint)
    print(f"songs       {len(songs)} of {args.corpus}\n")
    with scratch() as folder:
        inputs = folder / "songs.txt"
        inputs.write_text("\n".join(songs))
        settings = [f"checkpoint={checkpoint_folder(args.checkpoint)}", "compute.sound_bank=off", *args.set]
        render = [sys.executable, "-m", "pipeline", "render", f"@{inputs}", "--output", str(folder / "out"), "--quiet"]
        render += [word for setting in settings for word in ("--set", setting)]
        expected: dict[str, str] = {}
        rates: dict[str, float] = {}
        for engine in [LOCAL, *args.engines]:
            if engine != LOCAL and (why := missing(engine)):
                print(f"{engine}: {why}")
                continue
            logs = folder / engine.replace(" ", "-")  # Java's options have no spaces
            logs.mkdir()
            start = contextlib.nullcontext(Cluster([])) if engine == LOCAL else ENGINES[engine](logs)
            with start as cluster:
                kill_after = None if args.kill is None or engine == LOCAL else args.kill * len(songs)
                cost = _render([*render, *cluster.options], folder / "out", cluster, kill_after)
            found = hashes(folder / "out", ["config.yaml"])
            shutil.rmtree(folder / "out")
            rates[engine] = 60 * len(songs) / cost.wall
            report.add(f"{engine}: wall", cost.wall, "s")
            report.add(f"{engine}: songs per minute", rates[engine])
            report.add(f"{engine}: CPU", cost.cpu, "s")
            report.memory(engine, [cost])
            if engine == LOCAL:
                expected = found
                report.add("local: files", len(found))
                continue
            report.ratio(f"songs per minute, {engine} / local", [rates[engine]], [rates[LOCAL]])
            differ = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
            report.add(f"{engine}: files that differ from local", len(differ), note=", ".join(differ[:5]))
    report.close(args.json)


def _render(command: Sequence[str], out: Path, cluster: Cluster, kill_after: float | None) -> Cost:
    """Runs a job to its end, and returns its cost; kills a machine of the cluster when some songs are written."""
    began, cpu = time.perf_counter(), cpu_seconds()
    with PeakMemory(os.getpid()) as peak, adopted_orphans():
        job = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT)
        try:
            if kill_after is not None:
                _kill_a_machine(cluster, job, out, kill_after)
            if code := job.wait(_LIMIT_SECONDS):
                sys.exit(f"the job ended with {code}")
        finally:
            job.kill()
            job.wait()
        wall = time.perf_counter() - began
    return Cost(wall, cpu_seconds() - cpu, peak.rss, peak.pss)


def _kill_a_machine(cluster: Cluster, job: subprocess.Popen[bytes], out: Path, after: float) -> None:
    """Kills a machine of a cluster when a number of songs are written."""
    end = time.monotonic() + _LIMIT_SECONDS
    while (written := sum(1 for _ in out.glob("audio/**/*.wav"))) < after:
        if job.poll() is not None or time.monotonic() > end:
            sys.exit(f"{written} songs are written; the job's exit code: {job.returncode}")
        time.sleep(0.5)
    victims = cluster.machine(1)
    print(f"{written} songs are written: killing {', '.join(process.name() for process in victims)}", flush=True)
    for process in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


if __name__ == "__main__":
    main()
