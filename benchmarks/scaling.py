"""Estimate of a job on a cluster from measured constants: time by stage, bytes shuffled and stored.

    python -m benchmarks.scaling                          the table of docs/scaling.md
    python -m benchmarks.scaling --gpu-notes-per-second 900 --reuse 0.9
    python -m benchmarks.scaling --banks                  from what size of corpus a built bank wins

Constants that have not been measured yet are unknown, and so are the results that depend on them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields

HOUR = 3600.0


@dataclass(frozen=True)
class Corpus:
    """The average song of a corpus; the defaults are assumptions, to be replaced by the figures of the corpus."""

    notes: float = 4000
    minutes: float = 4
    kilobytes: float = 40


@dataclass(frozen=True)
class Constants:
    """The measured constants, see docs/scaling.md; None if not measured yet. Seconds are of one core or one GPU."""

    parse_seconds_per_mb: float | None = 2.2
    place_seconds_per_note: float | None = 23e-6
    bar_bytes_per_note: float | None = 2900
    mix_seconds_per_minute: float | None = 0.0032
    write_seconds_per_minute: float | None = 0.056
    cpu_seconds_per_note: float | None = 0.0584
    gpu_notes_per_second: float | None = None
    row_bytes: float | None = 1030


@dataclass(frozen=True)
class Banks:
    """The measured constants of a built bank of all instruments, with `mini`; seconds of CPU.

    Attributes:
        load_seconds: TensorFlow, the model and its graphs, in each process that renders.
        sound_seconds: a sound of the lengths in the corpus.
        build_seconds: `bank build` of all instruments, whole notes.
        distinct: distinct sounds by number of songs, of 40 with many instruments.
    """

    load_seconds: float = 5.1
    sound_seconds: float = 0.030
    build_seconds: float = 83.0
    distinct: tuple[tuple[int, int], ...] = ((1, 60), (5, 295), (10, 429), (20, 632), (40, 932))


def break_even(sounds: int, constants: Banks) -> tuple[float, int]:
    """Finds from how many processes on a bank is cheaper than that each renders what it needs.

    Args:
        sounds: distinct sounds of the songs of one process.
        constants: the measured constants.

    Returns:
        CPU seconds of a process without the bank, and the number of processes.
    """
    alone = constants.load_seconds + sounds * constants.sound_seconds
    return alone, int(constants.build_seconds // alone) + 1


@dataclass(frozen=True)
class Estimate:
    """The estimate of one job: hours by stage, GB shuffled and stored; None if a constant is missing.

    `place` is the part of `synthesis` outside the network.
    """

    parse: float | None
    place: float | None
    synthesis: float | None
    finish: float | None
    shuffled_gb: float | None
    stored_gb: float
    manifest_mb: float | None


def estimate(songs: int, gpus: int, workers: int, reuse: float, corpus: Corpus, constants: Constants) -> Estimate:
    """Estimates a job.

    Args:
        songs: number of songs.
        gpus: number of GPU workers; if 0, the network runs on `workers`.
        workers: number of other workers, each of which uses one core, since it runs one Python process.
        reuse: share of the notes whose sound is found in a cache, 0..1.
        corpus: the average song.
        constants: the measured constants.
    """
    c, notes, minutes = constants, songs * corpus.notes, songs * corpus.minutes
    fresh = notes * (1 - reuse)
    network = (
        1 / c.gpu_notes_per_second if gpus and c.gpu_notes_per_second else None if gpus else c.cpu_seconds_per_note
    )
    synthesis = place = None
    if c.place_seconds_per_note is not None:
        place = notes * c.place_seconds_per_note / (gpus or workers) / HOUR
        synthesis = None if network is None else fresh * network / (gpus or workers) / HOUR + place
    finish = None
    if c.mix_seconds_per_minute is not None and c.write_seconds_per_minute is not None:
        finish = minutes * (c.mix_seconds_per_minute + c.write_seconds_per_minute) / workers / HOUR
    parse = None if c.parse_seconds_per_mb is None else songs * corpus.kilobytes / 1e3 * c.parse_seconds_per_mb
    return Estimate(
        parse=None if parse is None else parse / workers / HOUR,
        place=place,
        synthesis=synthesis,
        finish=finish,
        shuffled_gb=None if c.bar_bytes_per_note is None else notes * c.bar_bytes_per_note / 1e9,
        stored_gb=minutes * 60 * 16000 * 2 / 1e9,
        manifest_mb=None if c.row_bytes is None else songs * c.row_bytes / 1e6,
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--reuse", type=float, default=0.9, help="share of notes whose sound is found in a cache (default: %(default)s)"
    )
    for group in (Corpus, Constants):
        for field in fields(group):
            name = "--" + field.name.replace("_", "-")
            known = "not yet measured" if field.default is None else field.default
            parser.add_argument(name, type=float, default=field.default, help=f"(default: {known})")
    parser.add_argument("--banks", action="store_true", help="print the table of built banks instead")
    args = parser.parse_args(argv)
    if args.banks:
        print("| songs a process | distinct sounds | without a bank, CPU s | bank wins from | that is a corpus of |")
        print("|---|---|---|---|---|")
        for songs, sounds in Banks().distinct:
            alone, processes = break_even(sounds, Banks())
            print(f"| {songs} | {sounds} | {alone:.1f} | {processes} processes | {songs * processes} songs |")
        return
    corpus, constants = (
        group(**{field.name: getattr(args, field.name) for field in fields(group)}) for group in (Corpus, Constants)
    )
    print("| songs | GPUs | workers | parse h | synthesis h | mix, write h | shuffled GB | audio GB | manifest MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for songs, sizes in ((1_000, (0, 1)), (170_000, (0, 1, 8, 64)), (10_000_000, (8, 64))):
        for gpus in sizes:
            workers = max(4, 2 * gpus)
            e = estimate(songs, gpus, workers, args.reuse, corpus, constants)
            cells = [e.parse, e.synthesis, e.finish, e.shuffled_gb, e.stored_gb, e.manifest_mb]
            shown = [shortly(cell) for cell in cells]
            if e.synthesis is None:
                shown[1] = f"{shortly(e.place)} + ?"
            print(f"| {songs:,} | {gpus} | {workers} | {' | '.join(shown)} |")


def shortly(value: float | None) -> str:
    return "?" if value is None else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


if __name__ == "__main__":
    main()
