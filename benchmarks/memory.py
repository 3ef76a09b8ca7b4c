"""(e) Peak memory at 10, 100 and 1,000 songs, and on one song of 20 minutes.

    python -m benchmarks.memory

Each size is one run of the pipeline in a new process, with the default settings. The long song is a concatenation of
songs of the corpus.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from benchmarks import ours
from benchmarks.common import Report, Worker, checkpoint_folder, parser, scratch, songs_of


def main(argv: list[str] | None = None) -> None:
    options = parser(__doc__, corpus=True, rounds=1)
    options.add_argument("--sizes", type=int, nargs="*", default=[10, 100, 1000], metavar="N", help="corpus sizes")
    options.add_argument("--minutes", type=float, default=20, help="length of the long song; 0: none (default: 20)")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the job")
    args = options.parse_args(argv)
    folder = checkpoint_folder(args.checkpoint)
    report = Report("memory", args.checkpoint)
    with scratch() as out:
        cases = {f"{n:,} songs": songs_of(args.corpus, n) for n in args.sizes}
        if args.minutes:
            song = out / "long.mid"
            _join(songs_of(args.corpus), song, 60 * args.minutes)
            cases[f"one song of {args.minutes:g} minutes"] = [str(song)]
        for name, songs in cases.items():
            runs = []
            for number in range(args.rounds):
                with Worker() as worker:
                    where, settings = str(out / f"{number}"), [f"checkpoint={folder}", *args.set]
                    runs.append(worker.call(ours.run_job, songs, where, settings))
            done = runs[-1][0]
            note = f"{done['rendered']} rendered, {done['notes']:,} notes, {done['seconds'] / 60:.0f} min of audio"
            report.memory(name, [cost for _, cost in runs], note)
    report.close(args.json)


def _join(songs: list[str], target: Path, seconds: float) -> None:
    """Writes a concatenation of songs as one MIDI file of `seconds`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pretty_midi

    whole = pretty_midi.PrettyMIDI()
    tracks: dict[int, pretty_midi.Instrument] = {}
    offset = 0.0
    for song in songs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            part = pretty_midi.PrettyMIDI(song)
        for instrument in part.instruments:
            track = tracks.setdefault(instrument.program, pretty_midi.Instrument(instrument.program))
            for note in instrument.notes:
                start, end = note.start + offset, min(note.end + offset, seconds)
                if start < end:
                    track.notes.append(pretty_midi.Note(note.velocity, note.pitch, start, end))
        offset += part.get_end_time()
        if offset >= seconds:
            break
    whole.instruments.extend(tracks.values())
    whole.write(str(target))


if __name__ == "__main__":
    main()
