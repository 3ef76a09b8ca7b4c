"""(g) FluidSynth on the same MIDI files: its real-time factor and ours.

    python -m benchmarks.fluidsynth

FluidSynth plays recorded samples, which is far less work; it shows the usual cost of rendering a batch of MIDI files.
Each program renders the songs to WAV at 16 kHz in new processes; they alternate. Ours also draws spectrograms.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import soundfile

from benchmarks import ours
from benchmarks.common import Cost, Report, Worker, checkpoint_folder, parser, run_command, scratch, songs_of

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__, corpus=True, rounds=3)
    options.set_defaults(songs=100)
    options.add_argument("--soundfont", type=Path, default=SOUNDFONT, metavar="SF2", help="(default: Debian's)")
    options.add_argument("--no-full-size", action="store_true", help="measure ours only with the bundled checkpoint")
    args = options.parse_args(argv)
    program = shutil.which("fluidsynth")
    if not program or not args.soundfont.exists():
        sys.exit(
            "fluidsynth or its soundfont is not installed (Debian: apt-get install fluidsynth fluid-soundfont-gm); for "
            "another soundfont use --soundfont."
        )
    checkpoints = {"mini": "mini"}
    if not args.no_full_size:
        checkpoints[args.checkpoint] = checkpoint_folder(args.checkpoint)
    songs = songs_of(args.corpus, args.songs)
    report = Report("fluidsynth", " and ".join(checkpoints))
    print(f"fluidsynth  {_version(program)}, {args.soundfont.name}\nsongs       {len(songs)}\n")

    runs: dict[str, list[tuple[float, Cost]]] = {"FluidSynth": [], **{f"ours, {name}": [] for name in checkpoints}}
    for _ in range(args.rounds):
        with scratch() as out:
            runs["FluidSynth"].append(render(program, args.soundfont, songs, out))
        for name, checkpoint in checkpoints.items():
            with scratch() as out, Worker() as worker:
                done, cost = worker.call(ours.run_job, songs, str(out), [f"checkpoint={checkpoint}"])
                runs[f"ours, {name}"].append((done["seconds"], cost))
    for name, results in runs.items():
        report.add(f"{name}: audio", [seconds for seconds, _ in results], "s")
        report.add(f"{name}: CPU", [cost.cpu for _, cost in results], "s")
        report.add(f"{name}: times real time, by wall", [seconds / cost.wall for seconds, cost in results], "times")
        report.add(f"{name}: times real time, by CPU", [seconds / cost.cpu for seconds, cost in results], "times")
        report.memory(name, [cost for _, cost in results])
    report.close(args.json)


def render(
    program: str, soundfont: Path, songs: list[str], out: Path, options: Sequence[str] = ()
) -> tuple[float, Cost]:
    """Renders every song at 16 kHz in a FluidSynth process of its own, as its users do.

    Args:
        program: path of FluidSynth.
        soundfont: its sounds.
        songs: MIDI files.
        out: folder for the sound files, which are removed.
        options: further options of FluidSynth.

    Returns:
        Seconds of audio, and the cost of all songs.
    """
    seconds, costs = 0.0, []
    for number, song in enumerate(songs):
        target = out / f"{number}.wav"
        command = [program, "-ni", "-q", *options, "-r", "16000", "-F", str(target), str(soundfont), song]
        _, cost = run_command(command)
        costs.append(cost)
        seconds += soundfile.info(str(target)).duration
        target.unlink()
    return seconds, Cost(sum(c.wall for c in costs), sum(c.cpu for c in costs), max(c.peak_rss for c in costs))


def _version(program: str) -> str:
    printed = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    return next((line for line in printed.splitlines() if "executable" in line), printed.strip()[:60])


if __name__ == "__main__":
    main()
