"""(l) The sound bank, cold and warm, beside FluidSynth on the same files: CPU per minute of audio.

    python -m benchmarks.once --corpus ../shared/midi/good --checkpoint mini
    python -m benchmarks.once --songs 1200 --no-pictures          the chorales, without pictures

In each round FluidSynth (no reverb, no chorus, 16 kHz, as ours) renders the songs, then ours with an empty cache folder
(cold: it also tests the kernels), then again (warm), then warm with one process. Drums are played on both sides.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import soundfile

from benchmarks.common import Cost, Report, checkpoint_folder, parser, run_command, scratch, songs_of
from benchmarks.fluidsynth import SOUNDFONT, render

_RUNS = {"cold": 0, "warm": 0, "warm, one process": 1, "cold, one process": 1}
"""Runs in their order, and the number of processes of each; 0 for one per core."""


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__, corpus=True, rounds=1)
    options.add_argument("--soundfont", type=Path, default=SOUNDFONT, metavar="SF2", help="(default: Debian's)")
    options.add_argument("--no-pictures", action="store_true", help="ours draws no spectrogram and no piano roll")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings of our job")
    args = options.parse_args(argv)
    settings = [f"checkpoint={checkpoint_folder(args.checkpoint)}", *args.set]
    if args.no_pictures:
        settings += ["spectrogram.png=false", "piano_roll.png=false"]
    songs = songs_of(args.corpus, args.songs)
    report = Report("once", args.checkpoint)
    print(f"songs       {len(songs)} of {args.corpus}\n")

    runs: dict[str, list[tuple[float, Cost]]] = {}
    for _ in range(args.rounds):
        with scratch() as out:
            if program := shutil.which("fluidsynth"):
                runs.setdefault("FluidSynth", []).append(
                    render(program, args.soundfont, songs, out, ["-R", "0", "-C", "0"])
                )
            for name, workers in _RUNS.items():
                given = [*settings, f"compute.workers={workers}"]
                cache = out / ("other cache" if name == "cold, one process" else "cache")
                runs.setdefault(name, []).append(_ours(songs, out, given, cache))
    for name, results in runs.items():
        report.add(f"{name}: audio", [seconds / 60 for seconds, _ in results], "minutes")
        report.add(f"{name}: wall", [cost.wall for _, cost in results], "s")
        report.add(f"{name}: songs per minute", [60 * len(songs) / cost.wall for _, cost in results])
        report.add(f"{name}: CPU per minute of audio", [60 * cost.cpu / seconds for seconds, cost in results], "s")
        report.memory(name, [cost for _, cost in results])
    per_minute = {name: [60 * cost.cpu / seconds for seconds, cost in results] for name, results in runs.items()}
    for name in ("cold", "warm") if "FluidSynth" in runs else ():
        report.ratio(f"CPU per minute, FluidSynth / {name}", per_minute["FluidSynth"], per_minute[name])
    for name in ("cold", "warm"):
        report.ratio(f"CPU, {name}: all processes / one", per_minute[name], per_minute[f"{name}, one process"])
    report.close(args.json)


def _ours(songs: list[str], out: Path, settings: list[str], cache: Path) -> tuple[float, Cost]:
    """Renders the songs with the command line; returns seconds of audio and the cost, start-up included."""
    inputs = out / "songs.txt"
    inputs.write_text("\n".join(songs))
    given = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "pipeline", "render", f"@{inputs}", "--output", str(out / "ours"), "--quiet"]
    _, cost = run_command([*command, "--overwrite", *given], {"XDG_CACHE_HOME": str(cache)})
    seconds = sum(soundfile.info(str(path)).duration for path in (out / "ours" / "audio").rglob("*.wav"))
    return seconds, cost


if __name__ == "__main__":
    main()
