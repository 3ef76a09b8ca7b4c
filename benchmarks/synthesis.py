"""(a) CPU seconds per note: Magenta's code, ours, and the cores' peak performance.

    python -m benchmarks.synthesis

Measures whole notes, and notes with lengths from the corpus; all latents differ, so no sound is reused. In each round
the reference, ours and a matrix product alternate.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import ours
from benchmarks.common import (
    Cost,
    Report,
    Worker,
    checkpoint_folder,
    parser,
    signal_to_noise,
    songs_of,
)
from training import reference as reference_server

_MATMUL_SIZE = 3072
_CONVOLUTIONS = "Conv"
"""Substring of the names of TensorFlow's convolution kernels, including fused and transposed ones."""


def convolution_flop(config: dict[str, Any], rows: int, taps_after_upscaling: int = 4) -> float:
    """Counts the floating-point operations that the 3x3 convolutions need for a note's first `rows` rows.

    Args:
        config: experiment.json, with scale_mode ALL and base 2.
        rows: time steps of the output.
        taps_after_upscaling: 4 counts an upscaling by 2 and the convolution after it as one, in which each output pixel
            has 2x2 different inputs; 9 counts them as the reference computes them.
    """
    blocks = config["num_resolutions"]
    filters = [
        int(min(config["fmap_base"] / 2 ** (block * config["fmap_decay"]), config["fmap_max"]))
        for block in range(blocks + 1)
    ]
    multiplications, needed = 0, rows
    for block in range(blocks, 0, -1):
        height, width = config["start_height"] << (block - 1), config["start_width"] << (block - 1)
        needed = min(needed, height)
        multiplications += 9 * filters[block] ** 2 * needed * width
        if block > 1:
            between = min(needed + 1, height)
            multiplications += taps_after_upscaling * filters[block - 1] * filters[block] * between * width
            needed = between // 2 + 1
    return 2.0 * multiplications


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__, corpus=True, rounds=3)
    options.add_argument("--whole", type=int, default=16, metavar="N", help="whole notes per round (default: 16)")
    options.add_argument("--notes", type=int, default=1024, metavar="N", help="notes of real lengths per round")
    options.add_argument("--batch", type=int, default=8, metavar="N", help="the reference's batch (its default: 8)")
    args = options.parse_args(argv)
    folder = checkpoint_folder(args.checkpoint)
    songs = songs_of(args.corpus, args.songs or 100)
    report = Report("synthesis", args.checkpoint)

    with Worker() as reference, Worker() as mine:
        reference.call(reference_server.load, folder, args.batch)
        mine.call(ours.load, folder)
        (pitches, samples), _ = mine.call(ours.corpus_notes, songs, args.notes, 1)
        rows, _ = mine.call(ours.rows_of, samples)
        rounds = []
        for number in range(args.rounds + 1):
            z, _ = mine.call(ours.latents, max(args.notes, args.whole), number)
            whole = z[: args.whole], [24 + (7 * n + number) % 61 for n in range(args.whole)]
            wanted, theirs = reference.call(reference_server.notes, *whole, 4)
            got, ours_whole = mine.call(ours.notes, *whole, 4)
            if not number:
                agreement = min(signal_to_noise(a, b) for a, b in zip(wanted, got, strict=True))
                report.add("sound: ours against the reference, worst of 4 notes", agreement, "dB")
            _, ours_real = mine.call(ours.notes_of_lengths, z[: args.notes], pitches, samples)
            operations, _ = mine.call(ours.operations, *whole)
            _, matmul = mine.call(ours.matmul, _MATMUL_SIZE, 2)
            rounds.append(_Round(theirs, ours_whole, ours_real, matmul, operations))

    del rounds[0]  # the first round traces graphs and selects kernels
    config = json.loads((Path(folder) / "experiment.json").read_text())
    _report_notes(report, rounds, args)
    _report_speed(report, rounds, args, config, rows)
    for kind, seconds in sorted(rounds[-1].operations.items(), key=lambda item: -item[1])[:10]:
        report.add(f"  share of operations' time: {kind}", 100 * seconds / sum(rounds[-1].operations.values()), "%")
    report.close(args.json)


@dataclass(frozen=True)
class _Round:
    """The costs of one round; `operations` has the seconds of TensorFlow's operations for the notes of `whole`."""

    reference: Cost
    whole: Cost
    real: Cost
    matmul: Cost
    operations: dict[str, float]


def _report_notes(report: Report, rounds: list[_Round], args: Any) -> None:
    for measure in ("cpu", "wall"):
        theirs = [getattr(r.reference, measure) / args.whole for r in rounds]
        whole = [getattr(r.whole, measure) / args.whole for r in rounds]
        real = [getattr(r.real, measure) / args.notes for r in rounds]
        report.add(f"reference, whole notes (batch {args.batch}): {measure} per note", theirs, "s")
        report.add(f"ours, whole notes: {measure} per note", whole, "s")
        report.add(f"ours, notes as long as the corpus': {measure} per note", real, "s")
        report.ratio(f"whole notes, {measure}: reference / ours", theirs, whole)
        report.ratio(f"notes as long as the corpus', {measure}: reference / ours", theirs, real)
    report.add("cores busy: reference", [100 * r.reference.busy for r in rounds], "%")
    report.add("cores busy: ours, whole notes", [100 * r.whole.busy for r in rounds], "%")


def _report_speed(report: Report, rounds: list[_Round], args: Any, config: dict[str, Any], rows: list[int]) -> None:
    height = config["start_height"] << (config["num_resolutions"] - 1)
    whole = args.whole * convolution_flop(config, height)
    real = sum(convolution_flop(config, count) for count in rows)
    as_reference = convolution_flop(config, height, taps_after_upscaling=9)
    report.add("a whole note's convolutions, as the reference computes them", as_reference / 1e9, "GFLOP")
    report.add("the same, upscaling and convolution as one", whole / args.whole / 1e9, "GFLOP")
    report.add("the mean note of the corpus, so", real / len(rows) / 1e9, "GFLOP")

    product = 2 * 2.0 * _MATMUL_SIZE**3
    report.add("matmul, one thread", [product / r.matmul.wall / 1e9 for r in rounds], "GFLOP/s")
    report.add("matmul, per CPU-second", [product / r.matmul.cpu / 1e9 for r in rounds], "GFLOP")
    convolving = [sum(time for kind, time in r.operations.items() if _CONVOLUTIONS in kind) for r in rounds]
    if all(convolving):
        speed = [whole / time for time in convolving]
        report.add("convolution operations of whole notes, traced", [s / 1e9 for s in speed], "GFLOP/s")
        report.ratio("convolution FLOP/s over matmul FLOP/s, traced", speed, [product / r.matmul.wall for r in rounds])
    note = "mel, irfft, norms count as time, not as FLOP"
    peak = [product / r.matmul.cpu for r in rounds]
    for name, flop in (("whole", whole), ("real", real)):
        speed = [flop / getattr(r, name).cpu for r in rounds]
        report.ratio(f"the same of {name} notes' entire CPU time", speed, peak, note)


if __name__ == "__main__":
    main()
