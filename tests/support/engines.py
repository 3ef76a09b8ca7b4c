"""The engines that this machine has, and what their runs leave."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MIDI = ROOT / "tests" / "data" / "midi"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gansynth-beam" / "engines"
TINY = ROOT / "tests" / "data" / "checkpoints" / "tiny"
# A pool starts its workers as `python`, in the folder it was started in.
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
QUIET: dict[str, Any] = {"cwd": ROOT, "env": ENVIRONMENT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
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
    given = ("--output", str(out), "--quiet", "--set", f"checkpoint={TINY}", *options)
    return (sys.executable, "-m", "pipeline", "render", str(songs), *given)


def render(songs: Path, out: Path, options: Sequence[str]) -> subprocess.CompletedProcess[str]:
    run = subprocess.run(
        command(songs, out, *options), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    print(run.stderr[-3000:])
    return run


def hashes(out: Path) -> dict[str, str]:
    """The digest of every file but the two that show the settings: sound, pictures, records and both lists."""
    files = [path for path in out.rglob("*") if path.is_file() and path.name not in ("config.yaml", "index.html")]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
