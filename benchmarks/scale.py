"""(k) Time and memory of the local way at 1,000, 10,000 and 100,000 songs: what grows faster than the corpus?

    python -m benchmarks.scale
    python -m benchmarks.scale --sizes 100000 --folder BIG_DISK    (70 GB; less with --set audio.format=flac)

The songs of the corpus under other names, in folders of 1,000, rendered without pictures in a new process; then the
same command again, which finds all of them done. The phases are told by the times of the files that they write: the
first completion record (start, listing, first song), the last one, the manifest, the page.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common import Cost, Report, checkpoint_folder, parser, run_command, scratch, songs_of, timed
from gansynth.io import listing
from gansynth.io.records import FOLDER as RECORDS
from pipeline.inputs import Listing, list_sources

_FOLDER_SONGS = 1000
_PLAIN = ("spectrogram.png=false", "piano_roll.png=false")


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__, corpus=True)
    options.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000], metavar="N", help="corpus sizes")
    options.add_argument("--folder", type=Path, metavar="DIR", help="where songs and outputs go (default: a new one)")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the job")
    options.set_defaults(checkpoint="mini")
    args = options.parse_args(argv)
    report = Report("scale", args.checkpoint)
    settings = [*_PLAIN, f"checkpoint={checkpoint_folder(args.checkpoint)}", *args.set]
    with scratch(args.folder) as folder:
        for size in args.sizes:
            corpus, out = folder / f"{size}-songs", folder / f"{size}-out"
            _link(songs_of(args.corpus), size, corpus)
            _measure(report, size, corpus, out, settings)
    report.close(args.json)


def _link(songs: list[str], size: int, folder: Path) -> None:
    """Makes a corpus of `size` files: the songs under other names."""
    for number in range(size):
        path = folder / f"{number // _FOLDER_SONGS:04d}" / f"{number:07d}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Path(songs[number % len(songs)]).read_bytes())


def _measure(report: Report, size: int, corpus: Path, out: Path, settings: list[str]) -> None:
    command = [sys.executable, "-m", "pipeline", "render", str(corpus), "--output", str(out), "--quiet"]
    command += [argument for setting in settings for argument in ("--set", setting)]
    name = f"{size:,} songs: "
    _, listed = timed(lambda: len(Listing(list_sources([str(corpus)]))))
    report.add(name + "listing", listed.wall, "s")
    cost = _run(report, name + "all", command)
    records = [os.stat(path).st_mtime for path in _paths(out / RECORDS)]
    moments = [min(records), max(records), *(os.stat(out / file).st_mtime for file in ("manifest.jsonl", "index.html"))]
    report.add(name + "first song to last", moments[1] - moments[0], "s")
    report.add(name + "per 1,000 songs", 1000 * cost.wall / size, "s")
    report.add(name + "last song to the lists", moments[2] - moments[1], "s")
    report.add(name + "lists to the page", moments[3] - moments[2], "s")
    _run(report, name + "again, all done", command)


def _run(report: Report, what: str, command: list[str]) -> Cost:
    _, cost = run_command(command)
    report.add(what, cost.wall, "s", f"{cost.cpu:.0f} s of CPU")
    report.memory(what, [cost])
    return cost


def _paths(folder: Path) -> Iterator[str]:
    for path, _ in listing.find(str(folder)):
        yield path


if __name__ == "__main__":
    main()
