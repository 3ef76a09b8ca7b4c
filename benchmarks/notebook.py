"""(b) One song in the notebook's mode, which interpolates instruments: Magenta's script compared with ours.

    python -m benchmarks.notebook

Warm: both have loaded their model and played the song before (ours without a cache of sounds). Cold: from the start of
Python to the WAV on disk; ours is the whole pipeline, with spectrogram and manifest. The two alternate.
"""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks import ours
from benchmarks.common import (
    ROOT,
    Cost,
    Report,
    Worker,
    checkpoint_folder,
    parser,
    run_command,
    scratch,
    signal_to_noise,
)
from training import reference as reference_server

_PRESET = str(ROOT / "configs" / "magenta.yaml")


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__, rounds=2)
    options.add_argument("--song", default=str(ROOT / "pipeline" / "examples" / "bach_prelude_bwv846.mid"))
    options.add_argument("--cold-rounds", type=int, default=1, metavar="N", help="cold rounds (default: 1)")
    args = options.parse_args(argv)
    folder = checkpoint_folder(args.checkpoint)
    report = Report("notebook", args.checkpoint)
    print(f"song        {Path(args.song).name}\n")
    _warm(report, folder, args.song, args.rounds)
    if args.cold_rounds:
        _cold(report, folder, args.song, args.cold_rounds)
    report.close(args.json)


def _warm(report: Report, folder: str, song: str, rounds: int) -> None:
    theirs: list[Cost] = []
    mine: list[Cost] = []
    with Worker() as reference, Worker() as own:
        reference.call(reference_server.load, folder)
        own.call(ours.load_without_cache, folder)
        own.call(ours.clip_of_preset, song, _PRESET)
        for _ in range(rounds):
            wanted, cost = reference.call(reference_server.clip, song)
            theirs.append(cost)
            got, cost = own.call(ours.clip_of_preset, song, _PRESET)
            mine.append(cost)
    report.add("length of the clip", len(got) / 16000, "s")
    agreement = signal_to_noise(wanted, got) if len(wanted) == len(got) else float("nan")
    report.add("sound: ours against the reference", agreement, "dB")
    _compare(report, "warm, in memory", theirs, mine)


def _cold(report: Report, folder: str, song: str, rounds: int) -> None:
    theirs: list[Cost] = []
    mine: list[Cost] = []
    with scratch() as out:
        for _ in range(rounds):
            script = [sys.executable, "-m", "training.reference", folder, song, str(out / "reference.wav")]
            theirs.append(run_command(script)[1])
            job = [sys.executable, "-m", "pipeline", "render", song, "--config", _PRESET, "--quiet"]
            mine.append(run_command([*job, "--set", f"checkpoint={folder}", "--output", str(out / "ours")])[1])
    _compare(report, "cold, script against pipeline", theirs, mine)
    report.memory("reference", theirs)
    report.memory("pipeline", mine)


def _compare(report: Report, what: str, theirs: list[Cost], mine: list[Cost]) -> None:
    for measure in ("cpu", "wall"):
        a, b = ([getattr(cost, measure) for cost in costs] for costs in (theirs, mine))
        report.add(f"{what}: reference, {measure}", a, "s")
        report.add(f"{what}: ours, {measure}", b, "s")
        report.ratio(f"{what}: {measure}, reference / ours", a, b)


if __name__ == "__main__":
    main()
