"""(k) Time and memory of the local way at 1,000, 10,000 and 100,000 songs: what grows faster than the corpus?

    python -m benchmarks.scale
    python -m benchmarks.scale --sizes 100000 --folder BIG_DISK    (70 GB; less with --set audio.format=flac)
    python -m benchmarks.scale --sizes --copies 100000             without rendering them

The songs of the corpus under other names, in folders of 1,000, rendered without pictures in a new process; then the
same command again, which finds all of them done. The phases are told by the times of the files that they write: the
first completion record (start, listing, first song), the last one, the manifest, the page.

With --copies the corpus is rendered once, and its outputs are linked under other names, with rows and records: what
is then measured is everything but the rendering. The same command finds all songs done, `report` makes the lists and
the page anew, and the same command with one record missing goes on.
"""

from __future__ import annotations

import json
import os
import shutil
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
    options.add_argument("--copies", type=int, nargs="*", default=[], metavar="N", help="sizes of copied outputs")
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
        if args.copies:
            out = folder / "rendered"
            run_command(_command(Path(args.corpus), out, settings))
            for size in args.copies:
                _copy(out, size, folder / f"{size}-songs", folder / f"{size}-out")
                _measure_copies(report, size, folder / f"{size}-songs", folder / f"{size}-out", settings)
    report.close(args.json)


def _link(songs: list[str], size: int, folder: Path) -> None:
    """Makes a corpus of `size` files: the songs under other names."""
    for number in range(size):
        path = folder / f"{number // _FOLDER_SONGS:04d}" / f"{number:07d}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Path(songs[number % len(songs)]).read_bytes())


def _measure(report: Report, size: int, corpus: Path, out: Path, settings: list[str]) -> None:
    command = _command(corpus, out, settings)
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


def _copy(rendered: Path, size: int, corpus: Path, out: Path) -> None:
    """Makes a finished output of `size` songs: links to those of a few under other names, with rows and records."""
    found = [json.loads(line) for line in (rendered / "manifest.jsonl").read_text().splitlines()]
    lines = []
    for number in range(size):
        row = found[number % len(found)]
        name = f"{number // _FOLDER_SONGS:04d}/{number:07d}"
        audio = f"audio/{name}{Path(row['outputs']['audio']).suffix}"
        for path in (corpus / f"{name}.mid", out / audio, out / RECORDS / f"{name}.json"):
            path.parent.mkdir(parents=True, exist_ok=True)
        (corpus / f"{name}.mid").write_bytes(Path(row["source"]).read_bytes())
        os.link(rendered / row["outputs"]["audio"], out / audio)
        row = row | {"song_id": f"{name}.mid", "source": str(corpus / f"{name}.mid"), "outputs": {"audio": audio}}
        record = json.dumps(row | {"status": "rendered"}, sort_keys=True)
        (out / RECORDS / f"{name}.json").write_text(record)
        lines.append(json.dumps(row, sort_keys=True) + "\n")
    (out / "manifest.jsonl").write_text("".join(lines))
    (out / "errors.jsonl").write_text("")
    shutil.copy(rendered / "config.yaml", out)


def _measure_copies(report: Report, size: int, corpus: Path, out: Path, settings: list[str]) -> None:
    name = f"{size:,} songs: "
    _, listed = timed(lambda: len(Listing(list_sources([str(corpus)]))))
    report.add(name + "listing", listed.wall, "s")
    _run(report, name + "again, all done", _command(corpus, out, settings))
    _run(report, name + "report", [sys.executable, "-m", "pipeline", "report", str(out), "--quiet"])
    (out / RECORDS / "0000" / "0000000.json").unlink()
    _run(report, name + "again, one missing", _command(corpus, out, settings))


def _command(corpus: Path, out: Path, settings: list[str]) -> list[str]:
    command = [sys.executable, "-m", "pipeline", "render", str(corpus), "--output", str(out), "--quiet"]
    return command + [argument for setting in settings for argument in ("--set", setting)]


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
