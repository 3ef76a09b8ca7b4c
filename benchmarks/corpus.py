"""(c) A whole corpus with one instrument per MIDI program: songs per minute, and counters of the work.

    python -m benchmarks.corpus                 all of ../shared/corpus
    python -m benchmarks.corpus --songs 50      fifty songs of it

Our pipeline renders every song to WAV and spectrogram, in a new process that loads everything itself. The reference
would take hours, so its cost is extrapolated from a sample of notes, measured before and after each of our runs, to the
number of notes that we played; its parsing and mixing are not counted.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from benchmarks import ours
from benchmarks.common import Cost, Report, Worker, checkpoint_folder, parser, scratch, songs_of
from training import reference as reference_server


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__, corpus=True, rounds=1)
    options.add_argument("--sample", type=int, default=32, metavar="N", help="notes of the reference in each sample")
    options.add_argument("--batch", type=int, default=8, metavar="N", help="the reference's batch (its default: 8)")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="settings of our job")
    args = options.parse_args(argv)
    folder = checkpoint_folder(args.checkpoint)
    songs = songs_of(args.corpus, args.songs)
    inputs = songs if args.songs else [str(args.corpus)]
    report = Report("corpus", args.checkpoint)

    settings = [f"checkpoint={folder}", "instruments.mode=per_program", *args.set]
    samples: list[Cost] = []
    runs: list[tuple[dict[str, Any], Cost]] = []
    with Worker() as reference:
        if args.sample:
            reference.call(reference_server.load, folder, args.batch)
            _sample(reference, args.batch)  # the first run is slower
            samples.append(_sample(reference, args.sample))
        for _ in range(args.rounds):
            with scratch() as out, Worker() as worker:
                runs.append(worker.call(ours.run_job, inputs, str(out), settings))
            if args.sample:
                samples.append(_sample(reference, args.sample))

    _report_runs(report, len(songs), runs)
    if args.sample:
        _report_reference(report, args.sample, samples, runs)
    report.close(args.json)


def _sample(reference: Worker, count: int) -> Cost:
    z = np.random.RandomState(0).normal(size=[count, reference_server.ACOUSTIC_ONLY["latent_vector_size"]])
    return reference.call(reference_server.notes, z, [36 + n % 49 for n in range(count)])[1]


def _report_runs(report: Report, songs: int, runs: list[tuple[dict[str, Any], Cost]]) -> None:
    done = runs[-1][0]
    counters, costs = done["counters"], [cost for _, cost in runs]
    report.add("songs", songs, note=f"{done['rendered']} rendered, {done['failed']} failed")
    report.add("notes", done["notes"])
    report.add("audio", done["seconds"] / 60, "minutes")
    report.add("wall", [cost.wall for cost in costs], "s", "start-up included")
    report.add("CPU", [cost.cpu for cost in costs], "s")
    report.add("songs per minute", [60 * songs / cost.wall for cost in costs])
    report.add("seconds of audio per second", [done["seconds"] / cost.wall for cost in costs])
    report.add("CPU per song", [cost.cpu / songs for cost in costs], "s")
    rendered, slots = counters.get("synthesis_rendered", 0), counters.get("synthesis_slots", 0)
    report.add("sounds rendered", rendered)
    report.add("notes for which no sound was rendered (reuse)", 100 * (1 - rendered / max(done["notes"], 1)), "%")
    report.add("batch fill", 100 * rendered / slots if slots else float("nan"), "%")
    report.add("cores busy through the whole run", [100 * cost.busy for cost in costs], "%")
    report.memory("all processes", costs)
    for name in sorted(counters):
        report.add(f"  counter {name}", counters[name])


def _report_reference(
    report: Report, sample: int, samples: list[Cost], runs: list[tuple[dict[str, Any], Cost]]
) -> None:
    """Compares each of our runs with the mean of the reference's samples before and after it."""
    for measure in ("cpu", "wall"):
        notes = [getattr(cost, measure) / sample for cost in samples]
        around = [(a + b) / 2 for a, b in itertools.pairwise(notes)]
        whole = [note * done["notes"] for note, (done, _) in zip(around, runs, strict=True)]
        report.add(f"reference: {measure} per note", notes, "s")
        report.add(f"reference: {measure} for this corpus, extrapolated", whole, "s")
        report.ratio(f"corpus, {measure}: reference / ours", whole, [getattr(cost, measure) for _, cost in runs])


if __name__ == "__main__":
    main()
