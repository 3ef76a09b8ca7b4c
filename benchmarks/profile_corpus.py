"""Profile of a corpus run: CPU time by stage.

    python -m benchmarks.profile_corpus
    python -m benchmarks.profile_corpus --in-memory        the same work without Beam

The functions of gansynth that do the work of each stage are wrapped in clocks of their thread's CPU time, which exclude
calls of other clocked functions. The time of TensorFlow's threads comes from the operating system. The remainder is
Beam and other Python code. The pipeline runs in a single process (compute.workers=1), so that the clocks see it.
"""

from __future__ import annotations

import functools
import importlib
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import psutil

from benchmarks import ours
from benchmarks.common import Report, Worker, checkpoint_folder, cpu_seconds, parser, scratch, songs_of

_STAGES = {
    "read and parse": ["gansynth.midi.load:read_midi", "gansynth.midi.load:scan_midi", "gansynth.midi.load:parse_midi"],
    "expand (policies, schedule, chunks)": ["gansynth.score.plan:plan_song"],
    "play (sorting, latents, envelopes, placing)": ["gansynth.rendering.player:play"],
    "network (calling thread)": ["gansynth.model.network:Network.waves"],
    "load the checkpoint": ["gansynth.model.checkpoint:load", "gansynth.model.network:Network.__init__"],
    "mix (adding chunk mixes)": ["gansynth.audio.mix:SparseMix.merge"],
    "finish (dense, normalised)": ["gansynth.audio.mastering:master"],
    "CQT": ["gansynth.figures.spectrogram:cqt"],
    "PNG": ["gansynth.figures.spectrogram:write_png"],
    "roll (its picture)": ["gansynth.figures.piano_roll:write_png"],
    "WAV": ["gansynth.audio.encode:encode_audio"],
    "write files": ["gansynth.io.files:write_bytes"],
}
_POOL, _IMPORTS, _REST = "network (TensorFlow's threads)", "imports", "Beam and the rest"


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__, corpus=True)
    options.add_argument("--in-memory", action="store_true", help="use the Python API, without Beam")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the job")
    args = options.parse_args(argv)
    folder = checkpoint_folder(args.checkpoint)
    songs = songs_of(args.corpus, args.songs)
    report = Report("profile_corpus", args.checkpoint)
    with scratch() as out, Worker() as worker:
        settings = [f"checkpoint={folder}", "compute.workers=1", *args.set]
        (stages, missing), cost = worker.call(_profiled, args.in_memory, songs, str(out), settings)
    for name in missing:
        print(f"not found, counted with the rest: {name}")
    report.add("songs", len(songs))
    report.add("wall", cost.wall, "s")
    report.add("CPU", cost.cpu, "s")
    report.add("cores busy", 100 * cost.busy, "%")
    for name, seconds in sorted(stages.items(), key=lambda item: -item[1]):
        report.add(name, 100 * seconds / cost.cpu, "%", f"{seconds:.2f} s, {1000 * seconds / len(songs):.1f} ms a song")
    report.close(args.json)


def _profiled(
    in_memory: bool, songs: list[str], output: str, settings: list[str]
) -> tuple[dict[str, float], list[str]]:
    """Runs the job; returns CPU seconds by stage, and the functions that were not found."""
    began = cpu_seconds()
    clocks = _Clocks("gansynth.rendering.performance" if in_memory else "pipeline.run")
    missing = [name for stage, names in _STAGES.items() for name in names if not clocks.wrap(stage, name)]
    imports = cpu_seconds() - began
    run = ours.run_in_memory if in_memory else ours.run_job
    run(songs, output, settings)
    stages = dict(clocks.seconds)
    stages[_POOL] = _foreign_threads()
    stages[_IMPORTS] = imports
    stages[_REST] = cpu_seconds() - began - sum(stages.values())
    return {name: seconds for name, seconds in stages.items() if seconds > 0}, missing


def _foreign_threads() -> float:
    """Returns the CPU seconds of threads that Python did not start: those of TensorFlow and BLAS."""
    own = {thread.native_id for thread in threading.enumerate()}
    return sum(t.user_time + t.system_time for t in psutil.Process().threads() if t.id not in own)


class _Clocks:
    """Clocks that sum the CPU time of functions in their thread, excluding other clocked functions they call."""

    def __init__(self, entry: str) -> None:
        """Imports the module that starts the work, and with it all modules that import clocked functions by name."""
        self.seconds: dict[str, float] = defaultdict(float)
        importlib.import_module(entry)
        ours = ("gansynth", "transforms", "pipeline")
        self._users = [module for name, module in sys.modules.items() if name.split(".")[0] in ours]
        self._inner = threading.local()
        self._lock = threading.Lock()

    def wrap(self, stage: str, name: str) -> bool:
        """Wraps `module:function` or `module:Class.method` wherever it is used; returns False if it does not exist."""
        module, _, path = name.partition(":")
        holder: Any = importlib.import_module(module)
        *classes, attribute = path.split(".")
        for part in classes:
            holder = getattr(holder, part, None)
        function = getattr(holder, attribute, None)
        if function is None:
            return False
        clocked = self._clocked(stage, function)
        setattr(holder, attribute, clocked)
        for user in self._users:
            for key, value in list(vars(user).items()):
                if value is function:
                    setattr(user, key, clocked)
        return True

    def _clocked(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def clocked(*args: Any, **kwargs: Any) -> Any:
            outer = getattr(self._inner, "seconds", 0.0)
            self._inner.seconds = 0.0
            began = time.thread_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.thread_time() - began
                with self._lock:
                    self.seconds[stage] += spent - self._inner.seconds
                self._inner.seconds = outer + spent

        return clocked


if __name__ == "__main__":
    main()
