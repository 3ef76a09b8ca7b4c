"""(d) Overhead of the pipeline over the in-memory API for the same work on the same songs.

    python -m benchmarks.beam

Both write every song's WAV and spectrogram. Each run starts a new process, which imports the code and loads the
checkpoint; the two alternate. Their files are checked to have the same bytes. The API plays song after song in one
process, with TensorFlow's threads on all cores; the pipeline distributes the songs to processes as configured.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmarks import ours
from benchmarks.common import Cost, Report, Worker, checkpoint_folder, parser, scratch, songs_of


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__, corpus=True, rounds=3)
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of both")
    args = options.parse_args(argv)
    folder = checkpoint_folder(args.checkpoint)
    songs = songs_of(args.corpus, args.songs)
    inputs = songs if args.songs else [str(args.corpus)]
    settings = [f"checkpoint={folder}", "piano_roll.png=false", *args.set]  # the in-memory API draws no piano roll
    report = Report("beam", args.checkpoint)

    pipeline: list[Cost] = []
    memory: list[Cost] = []
    same = total = 0
    for number in range(args.rounds):
        with scratch() as out:
            sides = [(ours.run_job, pipeline, out / "pipeline"), (ours.run_in_memory, memory, out / "memory")]
            for function, costs, target in sides if number % 2 == 0 else sides[::-1]:
                with Worker() as worker:
                    costs.append(worker.call(function, inputs, str(target), settings)[1])
            expected = _digests(out / "memory")
            found = _digests(out / "pipeline")
            total += len(expected)
            same += sum(found.get(name) == digest for name, digest in expected.items())
    report.add("songs", len(songs))
    report.add("files of equal bytes", 100 * same / total, "%", f"{same:,} of {total:,} sounds and pictures")
    for measure in ("cpu", "wall"):
        a, b = ([getattr(cost, measure) for cost in costs] for costs in (pipeline, memory))
        report.add(f"pipeline, {measure}", a, "s")
        report.add(f"in memory, {measure}", b, "s")
        report.ratio(f"pipeline / in memory, {measure}", a, b)
    report.add("cores busy, pipeline", [100 * cost.busy for cost in pipeline], "%")
    report.add("cores busy, in memory", [100 * cost.busy for cost in memory], "%")
    report.memory("pipeline", pipeline)
    report.memory("in memory", memory)
    report.close(args.json)


def _digests(folder: Path) -> dict[str, str]:
    """Computes the sha256 of every audio file and picture, by its path below the folder."""
    files = [path for part in ("audio", "spectrograms") for path in (folder / part).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


if __name__ == "__main__":
    main()
