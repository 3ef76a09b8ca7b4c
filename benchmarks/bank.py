"""(h) Rendering each sound once: a cache in every worker, compared with rendering all sounds before playing.

    python -m benchmarks.bank                 all of ../shared/corpus
    python -m benchmarks.bank --songs 100     a hundred songs of it

Both play the same notes with `per_program`, in one process that has already parsed them; nothing is written. Each
worker fills its own cache. A bank of sounds is filled by all workers together, but none can play before it is full, and
its sounds must be sent to every worker.
"""

from __future__ import annotations

from benchmarks import ours
from benchmarks.common import Cost, Report, Worker, checkpoint_folder, parser, songs_of


def main(argv: list[str] | None = None) -> None:
    args = parser(__doc__, corpus=True, rounds=1).parse_args(argv)
    folder = checkpoint_folder(args.checkpoint)
    songs = songs_of(args.corpus, args.songs)
    report = Report("bank", args.checkpoint)
    runs: dict[str, list[tuple[dict[str, float], Cost]]] = {"cache": [], "bank": []}
    for _ in range(args.rounds):
        for method, results in runs.items():
            with Worker() as worker:
                worker.call(ours.load, folder)
                notes, _ = worker.call(ours.plan, songs)
                results.append(worker.call(ours.play_planned, method == "bank"))
    report.add("songs", len(songs))
    report.add("notes", notes)
    for method, results in runs.items():
        for name in ("rendered", "slots", "batches"):
            report.add(f"{method}: {name}", [found[name] for found, _ in results])
        report.add(f"{method}: batch fill", [100 * found["rendered"] / found["slots"] for found, _ in results], "%")
        report.add(f"{method}: CPU", [cost.cpu for _, cost in results], "s")
        report.memory(method, [cost for _, cost in results])
    report.add("bank: bytes of all sounds", [found["bytes"] / 2**20 for found, _ in runs["bank"]], "MiB")
    report.ratio("CPU, cache / bank", [c.cpu for _, c in runs["cache"]], [c.cpu for _, c in runs["bank"]])
    report.close(args.json)


if __name__ == "__main__":
    main()
