"""Code shared by the benchmarks: options, machine, checkpoint, worker processes with their cost, and report."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import datetime
import importlib.metadata
import json
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(__file__).resolve().parent / ".cache"
CORPUS = ROOT.parent / "shared" / "corpus"
FULL_SIZE = "full-size"
_PACKAGES = ("tensorflow", "apache-beam", "numpy", "note-seq", "magenta", "tensorflow-gan")
_SAMPLING_SECONDS = 0.1
_ORPHAN_SECONDS = 60
T = TypeVar("T")


# --- options -----------------------------------------------------------------------------------------------------


def parser(doc: str | None, *, corpus: bool = False, rounds: int | None = None) -> argparse.ArgumentParser:
    """Creates a parser with the options that benchmarks have in common."""
    options = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--checkpoint",
        default=FULL_SIZE,
        help=f"{FULL_SIZE} (random weights, created once), mini, or a folder (default: {FULL_SIZE})",
    )
    options.add_argument("--json", metavar="FILE", help="also write all results to this file")
    if corpus:
        options.add_argument("--corpus", type=Path, default=CORPUS, metavar="DIR", help="folder of MIDI files")
        options.add_argument("--songs", type=int, metavar="N", help="use only N of them, evenly spaced")
    if rounds is not None:
        options.add_argument("--rounds", type=int, default=rounds, help=f"repetitions, alternating (default: {rounds})")
    return options


def songs_of(folder: Path, count: int | None = None) -> list[str]:
    """Lists the MIDI files below a folder, sorted; only `count` of them, evenly spaced, if given."""
    found = sorted(str(path) for path in folder.rglob("*.mid"))
    if not found:
        sys.exit(f"{folder}: contains no .mid file; choose another folder with --corpus.")
    if count is None or count >= len(found):
        return found
    return [found[i * len(found) // count] for i in range(count)]


def checkpoint_folder(name: str) -> str:
    """Returns the checkpoint's name or folder; the full-size one is created by Magenta's code on first use."""
    if name != FULL_SIZE:
        return name
    folder = CACHE / FULL_SIZE
    if not folder.is_dir():
        from training import reference as reference_server

        print(f"creating a full-size checkpoint with random weights in {folder} (once)", file=sys.stderr)
        unfinished = CACHE / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        with Worker() as worker:
            worker.call(reference_server.make_checkpoint, str(unfinished))
        unfinished.rename(folder)
    return str(folder)


@contextlib.contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """Provides a folder for outputs, which is removed afterwards; below `parent`, or with the system's others."""
    if parent:
        parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gansynth-benchmark-", dir=parent) as name:
        yield Path(name)


# --- the machine -------------------------------------------------------------------------------------------------


def cores() -> int:
    """Returns the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine() -> dict[str, Any]:
    """Describes hardware and software of the measurement."""
    info = Path("/proc/cpuinfo")
    lines = [line.split(":", 1) for line in info.read_text().splitlines() if ":" in line] if info.exists() else []
    facts = {key.strip(): value.strip() for key, value in lines}
    flags = set(facts.get("flags", "").split())
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": facts.get("model name") or platform.processor(),
        "cpu_family_model": f"{facts.get('cpu family', '?')}/{facts.get('model', '?')}",
        "vector_units": sorted(flags & {"avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile", "avx512_fp16"}),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "commit": _commit(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    def git(*args: str) -> str:
        done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "gansynth", "pipeline", "transforms")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


# --- processes and their cost ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """Time and memory of some work, including the processes it started.

    Attributes:
        wall: wall time in seconds.
        cpu: CPU time of all cores in seconds, user and system.
        peak_rss: peak memory of all processes together in bytes; shared pages count in each process.
        peak_pss: the same with shared pages counted once, sampled twice a second.
    """

    wall: float
    cpu: float
    peak_rss: int = 0
    peak_pss: int = 0

    @property
    def busy(self) -> float:
        """Share of the cores' time that was used, 0..1."""
        return self.cpu / self.wall / cores()


def cpu_seconds() -> float:
    """Returns the CPU time so far of this process and its descendants, running or waited for."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    total = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])
    return total


def timed(function: Callable[..., T], *args: Any) -> tuple[T, Cost]:
    """Calls a function; returns its result and its cost in this process and its descendants."""
    began, cpu = time.perf_counter(), cpu_seconds()
    result = function(*args)
    return result, Cost(time.perf_counter() - began, cpu_seconds() - cpu)


class PeakMemory:
    """A sampler of the memory of a process and its descendants: `with PeakMemory(pid) as peak: ...; peak.rss`.

    Attributes:
        rss, pss: peak memory in bytes, see Cost.
    """

    def __init__(self, pid: int) -> None:
        self._root = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.rss = self.pss = 0

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        number, last = 0, False
        while not last:
            last = self._stop.wait(_SAMPLING_SECONDS)
            number += 1
            with contextlib.suppress(psutil.NoSuchProcess):
                root = psutil.Process(self._root)
                self._sample([root, *root.children(recursive=True)], thorough=last or number % 5 == 0)

    def _sample(self, family: list[psutil.Process], thorough: bool) -> None:
        rss = pss = 0
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                rss += process.memory_info().rss
                pss += getattr(process.memory_full_info(), "pss", 0) if thorough else 0
        # A process may have held more between two samples; the kernel records its peak.
        self.rss, self.pss = max(self.rss, rss, _high_water(self._root)), max(self.pss, pss)


def _high_water(pid: int) -> int:
    """Returns the peak memory of one process in bytes; 0 if the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0


class Worker:
    """A separate process in which functions are called one at a time; what they load stays loaded.

    Reference and this project run in separate workers, so that their TensorFlow, threads and memory do not interfere.
    """

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        self.pid = self._pool.submit(os.getpid).result()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def call(self, function: Callable[..., T], *args: Any) -> tuple[T, Cost]:
        """Calls a module's function in the process; returns its result and its cost, without that of the transfer."""
        with PeakMemory(self.pid) as peak:
            result, cost = self._pool.submit(timed, function, *args).result()
        return result, Cost(cost.wall, cost.cpu, peak.rss, peak.pss)


def run_command(argv: Sequence[str], env: dict[str, str] | None = None) -> tuple[str, Cost]:
    """Runs a command in the repository's root; returns its standard output and its cost.

    Raises:
        SystemExit: the command failed; the message has its standard error.
    """
    began, cpu = time.perf_counter(), cpu_seconds()
    with (
        tempfile.TemporaryFile("w+") as stdout,
        tempfile.TemporaryFile("w+") as stderr,
        subprocess.Popen(argv, cwd=ROOT, stdout=stdout, stderr=stderr, env={**os.environ, **(env or {})}) as process,
    ):
        with adopted_orphans(), PeakMemory(process.pid) as peak:
            code = process.wait()
            wall = time.perf_counter() - began
        cost = Cost(wall, cpu_seconds() - cpu, peak.rss, peak.pss)
        stdout.seek(0)
        stderr.seek(0)
        if code:
            sys.exit(f"{' '.join(argv)} failed with exit code {code}:\n{stderr.read()[-4000:]}")
        return stdout.read(), cost


@contextlib.contextmanager
def adopted_orphans() -> Iterator[None]:
    """Makes processes that others leave running children of this one, and waits for them: their CPU time counts."""
    set_child_subreaper = 36
    with contextlib.suppress(OSError, AttributeError):  # Linux alone has it
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)
    before = set(psutil.Process().children())
    yield
    for orphan in set(psutil.Process().children()) - before:
        with contextlib.suppress(psutil.Error):
            orphan.wait(_ORPHAN_SECONDS)


# --- the report --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spread:
    """Repeated measurements of one quantity."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the values."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        text = _number(self.median)
        if len(self.values) > 1:
            text += f" ({_number(min(self.values))} .. {_number(max(self.values))})"
        return text


def _number(value: float) -> str:
    """Formats a number with about three significant digits and without exponent."""
    if isinstance(value, int) or value == 0 or abs(value) >= 100 or not np.isfinite(value):
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - int(np.floor(np.log10(abs(value)))))}f}"


@dataclass
class Report:
    """The results of a benchmark, printed as they are added.

    Attributes:
        name: name of the benchmark.
        checkpoint: checkpoint that it runs with.
        rows: results: name to values and unit.
        machine: hardware and software, see `machine`.
    """

    name: str
    checkpoint: str
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=machine)

    def __post_init__(self) -> None:
        facts = self.machine
        print(f"# benchmarks.{self.name} {' '.join(sys.argv[1:])}".rstrip())
        print(f"checkpoint  {self.checkpoint}")
        print(f"machine     {facts['cpu']} ({facts['cpu_family_model']}; {' '.join(facts['vector_units'])})")
        print(f"            {facts['cores']} cores, {facts['memory_gib']} GiB, {facts['system']}")
        packages = ", ".join(f"{name} {version}" for name, version in facts["packages"].items())
        print(f"software    Python {facts['python']}, {packages}; commit {facts['commit']}")
        print(f"date        {facts['date']}; load average before: {facts['load_average'][0]}")
        if facts["load_average"][0] > 0.3:
            print("            The machine is busy: trust ratios and CPU times more than wall times")
        print(flush=True)

    def add(self, what: str, values: float | Sequence[float], unit: str = "", note: str = "") -> Spread:
        """Prints and stores one result: a value, or the values of all rounds (median, minimum .. maximum)."""
        spread = Spread(tuple(values) if isinstance(values, Sequence) else (values,))
        self.rows[what] = {"values": list(spread.values), "unit": unit, **({"note": note} if note else {})}
        print(f"{what:<62} {f'{spread} {unit}'.rstrip()}{f'   [{note}]' if note else ''}", flush=True)
        return spread

    def memory(self, what: str, costs: Sequence[Cost], note: str = "") -> None:
        """Adds the peak memory of some runs."""
        self.add(f"peak RSS, {what}", [cost.peak_rss / 2**20 for cost in costs], "MiB", note)
        if all(cost.peak_pss for cost in costs):
            self.add(f"  shared pages counted once (PSS), {what}", [cost.peak_pss / 2**20 for cost in costs], "MiB")

    def ratio(self, what: str, numerator: Sequence[float], denominator: Sequence[float], note: str = "") -> Spread:
        """Adds the ratio of two results, round by round."""
        return self.add(what, [a / b for a, b in zip(numerator, denominator, strict=True)], "times", note)

    def close(self, file: str | None) -> None:
        """Ends the report; writes it as JSON if a file is given."""
        after = round(os.getloadavg()[0], 2)
        print(f"\nload average after: {after}")
        if file:
            content = {
                "benchmark": self.name,
                "arguments": sys.argv[1:],
                "checkpoint": self.checkpoint,
                "machine": {**self.machine, "load_average_after": after},
                "results": self.rows,
            }
            Path(file).write_text(json.dumps(content, indent=1) + "\n")


def signal_to_noise(wanted: np.ndarray, got: np.ndarray) -> float:
    """Computes the signal-to-noise ratio of `got` against `wanted`, in dB."""
    noise = float(np.linalg.norm(np.asarray(wanted, np.float64) - got))
    return float(20 * np.log10(np.linalg.norm(wanted) / max(noise, 1e-30)))
