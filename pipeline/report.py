"""The report of a job: manifest.jsonl, errors.jsonl, and a summary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from gansynth.io import files, urls
from pipeline.config import JobConfig
from pipeline.outcomes import event_outcomes, note_outcomes
from pipeline.table import write_parquet
from transforms.manifest import Row

_SHOWN = 2
"""Highest number of failures that are printed one by one; of more, the number by code is printed."""


@dataclass
class Summary:
    """The totals of a job.

    Attributes:
        rendered, failed: number of songs.
        notes: number of notes of all rendered songs, by outcome.
        ignored: number of MIDI events without effect, by kind.
        repairs: number of songs by repair.
        seconds: length of all clips.
        reasons: number of failures by code.
        failures: song and message of the first failures.
        counters: counters of the run, by name.
        stopped: why the job stopped before its end; empty if it did not.
        signal: number of the signal that stopped it; 0 if none did.
    """

    rendered: int = 0
    failed: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    stopped: str = ""
    signal: int = 0

    @property
    def exit_code(self) -> int:
        """Exit code of the run: 0 all songs rendered, 3 some failed, 1 none rendered, 130 or 143 after a signal."""
        if self.signal:
            return 128 + self.signal
        return 1 if not self.rendered else 3 if self.failed else 0


def summarise(rows: Iterable[Row]) -> Summary:
    """Adds up the rows of a job.

    Args:
        rows: the row of each input.
    """
    summary = Summary()
    for row in rows:
        if row["status"] == "rendered":
            summary.rendered += 1
            summary.notes.update(row["notes"])
            summary.ignored.update(row["ignored"])
            summary.repairs.update(row["repairs"])
            summary.seconds += row["seconds"]
        else:
            summary.failed += 1
            summary.reasons[row["code"]] += 1
            if len(summary.failures) < _SHOWN:
                summary.failures.append((row["song_id"], row["message"]))
    return summary


def write_lists(config: JobConfig, rows: Iterable[Row]) -> None:
    """Writes manifest.jsonl, manifest.parquet if it is configured, and errors.jsonl.

    Args:
        config: the job.
        rows: the row of each song in the output folder.
    """
    manifest: list[str] = []
    errors: list[str] = []
    for row in sorted(rows, key=lambda row: row["song_id"]):
        line = json.dumps({key: value for key, value in row.items() if key != "status"}, sort_keys=True)
        (manifest if row["status"] == "rendered" else errors).append(line)
    for name, lines in (("manifest.jsonl", manifest), ("errors.jsonl", errors)):
        files.write_bytes(urls.join(config.output, name), "".join(f"{line}\n" for line in lines).encode())
    if config.manifest.parquet:
        write_parquet(urls.join(config.output, "manifest.parquet"), map(json.loads, manifest))


def done_text(done: int, failed: int, songs: int) -> str:
    """Formats what `render`, `--dry-run` and `plan` say of a job that has nothing to render.

    Args:
        done: number of songs that an earlier run finished.
        failed: number of files that fail again.
        songs: number of inputs.
    """
    again = f"; {failed} fail as before, see errors.jsonl" if failed else ""
    return f"{done} of {songs} songs done before, nothing to render{again}"


def summary_text(summary: Summary, config: JobConfig, wall_seconds: float, done_before: int | None = None) -> str:
    """Formats the lines that are printed at the end of a run.

    Args:
        summary: the totals.
        config: the job.
        wall_seconds: duration of the run.
        done_before: number of songs that an earlier run finished, if nothing had to be rendered.
    """
    songs = summary.rendered + summary.failed
    if summary.stopped:
        why = "" if summary.signal else f" ({summary.stopped})"
        return f"Stopped: {summary.rendered} of {songs} songs done{why}; run the same command to go on"
    if done_before is not None:
        lines = [done_text(done_before, summary.failed, songs)]
    else:
        lines = [
            f"{summary.rendered} of {songs} songs rendered: {summary.notes['played']:,} notes, "
            f"{summary.seconds / 60:.1f} minutes of audio in {wall_seconds:.0f} s",
        ]
    if outcomes := list(note_outcomes(summary.notes)):
        lines.append(f"Notes: {'; '.join(outcomes)}")
    lines += event_outcomes(summary.ignored)
    if summary.repairs:
        repairs = ", ".join(f"{name} ({count:,})" for name, count in sorted(summary.repairs.items()))
        lines.append(f"Songs repaired: {repairs}")
    if summary.failed:
        lines.append(f"{summary.failed} failed, see errors.jsonl:")
        if summary.failed == len(summary.failures):
            lines += [f"  {song_id}: {' '.join(message.split()):.300}" for song_id, message in summary.failures]
        else:
            lines += [f"  {count:>6}  {reason}" for reason, count in summary.reasons.most_common(10)]
    lines.append(f"Outputs: {config.output} (open index.html to listen; audio/, manifest.jsonl, ...)")
    return "\n".join(lines)
