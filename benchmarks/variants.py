"""(n) Ways of computing the network on this machine's CPU: CPU seconds per note by length, and how far the sound moves.

    python -m benchmarks.variants --checkpoint mini

Compares float32, bfloat16 convolutions and XLA, one after another, with one thread. The bound is what the convolutions
alone would take at the speed of a matrix product, which is measured in each of their processes.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import ours
from benchmarks.common import Report, Worker, checkpoint_folder, parser, signal_to_noise
from gansynth.model.shape import shape_of

_VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"precision": "bfloat16"},
    "XLA": {"xla": True},
}
_NOTES = 16
_MATMUL_SIZE = 1536
_WINDOW = 1024


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__, rounds=3)
    options.set_defaults(checkpoint="mini")
    args = options.parse_args(argv)
    folder = checkpoint_folder(args.checkpoint)
    report = Report("variants", args.checkpoint)
    shape, _ = shape_of(folder)
    pitches = [24 + 4 * n % 61 for n in range(_NOTES)]
    costs: dict[str, dict[int, list[float]]] = {name: {} for name in _VARIANTS}
    whole: dict[str, NDArray[np.float32]] = {}
    speeds = []
    for name, settings in _VARIANTS.items():
        with Worker() as worker:
            worker.call(functools.partial(ours.load, folder, 1, **settings))
            ladder, _ = worker.call(ours.ladder)
            z, _ = worker.call(ours.latents, _NOTES, 1)
            for rows, samples in ladder.items():
                for number in range(args.rounds + 1):
                    got, cost = worker.call(ours.notes, z, pitches, _NOTES, samples)
                    if number:  # the first traces the graph
                        costs[name].setdefault(rows, []).append(cost.cpu / _NOTES)
            whole[name] = got
            for number in range(args.rounds + 1):
                _, cost = worker.call(ours.matmul, _MATMUL_SIZE, 2)
                if number:
                    speeds.append(4.0 * _MATMUL_SIZE**3 / cost.cpu)
    report.add("matmul, per CPU-second", [speed / 1e9 for speed in speeds], "GFLOP")
    for rows in ladder:
        bound = shape.flop(rows) / float(np.median(speeds))
        report.add(f"{rows} rows: the convolutions at the speed of matmul, CPU per note", 1e3 * bound, "ms")
        for name, by_rows in costs.items():
            report.add(f"{rows} rows: {name}, CPU per note", [1e3 * cost for cost in by_rows[rows]], "ms")
    for name in list(_VARIANTS)[1:]:
        pairs = list(zip(whole["float32"], whole[name], strict=True))
        report.add(f"{name}: SNR against float32", [signal_to_noise(a, b) for a, b in pairs], "dB")
        report.add(f"{name}: log-spectral distance to float32", [_distance(a, b) for a, b in pairs], "dB")
    report.close(args.json)


def _distance(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Computes the mean over time of the RMS difference of two sounds' spectra in dB, down to 60 dB below the peak."""

    def levels(audio: NDArray[np.float32]) -> NDArray[np.float64]:
        frames = np.lib.stride_tricks.sliding_window_view(audio.astype(np.float64), _WINDOW)[:: _WINDOW // 2]
        return 20.0 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(_WINDOW), axis=1)) + 1e-12)

    first, second = levels(a), levels(b)
    floor = first.max() - 60.0
    difference = np.maximum(first, floor) - np.maximum(second, floor)
    return float(np.sqrt(np.square(difference).mean(axis=1)).mean())


if __name__ == "__main__":
    main()
