"""The engines that this machine has, and what their runs leave."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MIDI = ROOT / "tests" / "data" / "midi"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gansynth-beam" / "engines"
TINY = ROOT / "tests" / "data" / "checkpoints" / "tiny"
# A pool starts its workers as `python`, in the folder it was started in.
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
QUIET: dict[str, Any] = {"cwd": ROOT, "env": ENVIRONMENT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
LIMIT = 900
"""Seconds after which a job is taken to hang."""
NO_PRISM = "no Prism on this machine: tests/engines/setup.sh builds it (needs Go)"


def copy_songs(songs: Mapping[str, str], folder: Path) -> Path:
    """Copies test songs: path in the folder to the name of the song; returns the folder."""
    for path, name in songs.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(MIDI / f"{name}.mid", folder / path)
    return folder


def prism() -> str | None:
    """Where Prism is: where setup.sh puts it, or on the PATH."""
    return shutil.which("prism", path=f"{CACHE}:{os.environ['PATH']}")


def clusters() -> dict[str, str]:
    """Job services that run already, by runner: GANSYNTH_ENGINES="FlinkRunner=localhost:8099 SparkRunner=..."."""
    return dict(entry.split("=", 1) for entry in os.environ.get("GANSYNTH_ENGINES", "").split())


def prism_options() -> list[str]:
    return ["--runner=PrismRunner", f"--prism_location={prism()}", "--prism_log_level=error"]


def pool_options(port: int, host: str = "localhost") -> list[str]:
    return ["--environment_type=EXTERNAL", f"--environment_config={host}:{port}"]


def pool(port: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}")


def job_service(port: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", f"--port={port}")


def command(songs: Path, out: Path, *options: str) -> tuple[str, ...]:
    # Without the bank, from which an engine would play what another has rendered.
    settings = ("--set", f"checkpoint={TINY}", "--set", "compute.sound_bank=off")
    given = ("--output", str(out), "--quiet", *settings, *options)
    return (sys.executable, "-m", "pipeline", "render", str(songs), *given)


def render(songs: Path, out: Path, options: Sequence[str]) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(
        command(songs, out, *options),
        **(QUIET | {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}),
        text=True,
        check=False,
        timeout=LIMIT,
    )
    print(run.stderr[-3000:])
    return run


@contextlib.contextmanager
def started_job(songs: Path, out: Path, options: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Starts a render beside the test; kills it if it still runs at the end."""
    job = subprocess.Popen(command(songs, out, *options), **QUIET)
    try:
        yield job
    finally:
        job.kill()
        job.wait()


def wait_until(condition: Callable[[], object], job: subprocess.Popen[bytes]) -> None:
    """Waits for something that a running job does."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert job.poll() is None, f"the job ended with {job.returncode}"
        assert time.monotonic() < end, "the job did not come to it"
        time.sleep(0.05)


def hashes(out: Path, but: Collection[str] = ("config.yaml", "index.html")) -> dict[str, str]:
    """The digest of every file: sound, pictures, records, lists, pages.

    Args:
        out: an output folder.
        but: names of files that are left out: config.yaml shows the runner, and index.html the output folder. So do
            the page's data files of more than 200 songs, and the column `source` of other inputs.
    """
    files = [path for path in out.rglob("*") if path.is_file() and path.name not in but]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
