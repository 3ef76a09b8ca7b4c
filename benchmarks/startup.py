"""(f) Start-up times, cold and warm: imports, loading, the first note, `--help`.

    python -m benchmarks.startup

Each figure is measured in a new process. Warm: the files are in the system's page cache. Cold: the files of Python, the
environment, the project and the checkpoint are dropped from it first (posix_fadvise; pages that another running process
has mapped stay). Reference and ours alternate.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import sysconfig
from pathlib import Path

from benchmarks.common import ROOT, Cost, Report, checkpoint_folder, parser, run_command

_CLOCK = """
import json, sys, time
began, marks = time.perf_counter(), {}
def mark(name):
    global began
    now = time.perf_counter()
    marks[name], began = now - began, now
"""
_OURS = f"""{_CLOCK}
import gansynth
gansynth.Synthesizer
mark("import")
synth = gansynth.Synthesizer.from_checkpoint(sys.argv[1])
mark("load")
z = gansynth.random_latents(8, synth.latent_size, 0)
synth.synthesize(z[:1], [60])
mark("first note")
synth.synthesize(z[:1], [61])
mark("second note")
print(json.dumps(marks))
"""
_REFERENCE = f"""{_CLOCK}
from training import reference as reference_server
import numpy as np
reference_server.magenta()
mark("import")
reference_server.load(sys.argv[1], 1)
mark("load")
z = np.random.RandomState(0).normal(size=[8, 256])
reference_server.notes(z[:1], [60])
mark("first note")
reference_server.notes(z[:1], [61])
mark("second note")
print(json.dumps(marks))
"""


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__, rounds=3)
    options.add_argument("--no-reference", action="store_true", help="measure only ours")
    options.add_argument("--no-cold", action="store_true", help="skip the cold runs")
    args = options.parse_args(argv)
    folder = checkpoint_folder(args.checkpoint)
    report = Report("startup", args.checkpoint)
    commands = {
        "--help": ["-m", "pipeline", "render", "--help"],
        "import gansynth": ["-c", "import gansynth"],
        "ours, first note": ["-c", _OURS, folder],
        "ours, mini, first note": ["-c", _OURS, "mini"],
    }
    if not args.no_reference:
        commands["reference, first note"] = ["-c", _REFERENCE, folder]
    for state in ("warm",) if args.no_cold else ("warm", "cold"):
        if state == "warm":
            for command in commands.values():
                run_command([sys.executable, *command])
        runs: dict[str, list[tuple[str, Cost]]] = {name: [] for name in commands}
        for _ in range(args.rounds):
            for name, command in commands.items():
                if state == "cold":
                    _drop_from_page_cache({ROOT, Path(sys.prefix), Path(sysconfig.get_path("stdlib")), Path(folder)})
                runs[name].append(run_command([sys.executable, *command]))
        for name, results in runs.items():
            _report_command(report, f"{state}: {name}", results)
        if not args.no_reference:
            for measure in ("cpu", "wall"):
                theirs, mine = (
                    [getattr(cost, measure) for _, cost in runs[f"{who}, first note"]] for who in ("reference", "ours")
                )
                report.ratio(f"{state}: first note, {measure}: reference / ours", theirs, mine)
    report.close(args.json)


def _report_command(report: Report, name: str, results: list[tuple[str, Cost]]) -> None:
    report.add(f"{name}: wall", [cost.wall for _, cost in results], "s")
    report.add(f"{name}: CPU", [cost.cpu for _, cost in results], "s")
    if name.endswith("first note"):
        report.memory(name, [cost for _, cost in results])
        marks = [json.loads(printed.splitlines()[-1]) for printed, _ in results]
        for stage in marks[0]:
            report.add(f"  {name}: {stage}, wall", [mark[stage] for mark in marks], "s")


def _drop_from_page_cache(folders: set[Path]) -> None:
    """Drops all files below some folders from the page cache."""
    os.sync()
    for folder in folders:
        if any(other in folder.parents for other in folders):
            continue
        for path in folder.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    handle = os.open(path, os.O_RDONLY)
                    try:
                        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                    finally:
                        os.close(handle)


if __name__ == "__main__":
    main()
