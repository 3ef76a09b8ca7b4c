"""(h) Each sound once: a cache in every worker, against all of a corpus' sounds rendered before it is played.

    python -m benchmarks.bank                 all of ../shared/corpus
    python -m benchmarks.bank --songs 100     a hundred of them

Both play the same notes, `per_program`, in one process that has parsed them already; nothing is written. A cache is
filled again by each worker; a bank is filled by all together, but nobody plays before it is full, and its sounds
travel to every worker.
"""

from __future__ import annotations

from benchmarks import ours
from benchmarks.common import Cost, Report, Worker, checkpoint_folder, parser, songs_of


def main(argv: list[str] | None = None) -> None:
    args = parser(__doc__, corpus=True, rounds=1).parse_args(argv)
    folder = checkpoint_folder(args.checkpoint)
    songs = songs_of(args.corpus, args.songs)
    report = Report("bank", args.checkpoint)
    kept: dict[str, list[tuple[dict[str, float], Cost]]] = {"cache": [], "bank": []}
    for _ in range(args.rounds):
        for way, results in kept.items():
            with Worker() as worker:
                worker.call(ours.load, folder)
                notes, _ = worker.call(ours.plan, songs)
                results.append(worker.call(ours.play_planned, way == "bank"))
    report.add("songs", len(songs))
    report.add("notes", notes)
    for way, results in kept.items():
        for name in ("rendered", "slots", "batches"):
            report.add(f"{way}: {name}", [found[name] for found, _ in results])
        report.add(f"{way}: batch fill", [100 * found["rendered"] / found["slots"] for found, _ in results], "%")
        report.add(f"{way}: CPU", [cost.cpu for _, cost in results], "s")
        report.memory(way, [cost for _, cost in results])
    report.add("bank: bytes of all sounds", [found["bytes"] / 2**20 for found, _ in kept["bank"]], "MiB")
    report.ratio("CPU, cache / bank", [c.cpu for _, c in kept["cache"]], [c.cpu for _, c in kept["bank"]])
    report.close(args.json)


if __name__ == "__main__":
    main()
