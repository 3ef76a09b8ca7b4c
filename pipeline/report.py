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
        counters: counters of the run, by name.
    """

    rendered: int = 0
    failed: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    counters: dict[str, int] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """Exit code of the run: 0 all songs rendered, 3 some failed, 1 none rendered."""
        return 1 if not self.rendered else 3 if self.failed else 0


def write_report(config: JobConfig, rows: Iterable[Row]) -> Summary:
    """Writes manifest.jsonl, manifest.parquet if it is configured, and errors.jsonl.

    Args:
        config: the job.
        rows: the row of each input.

    Returns:
        The totals of the rows.
    """
    summary = Summary()
    manifest, errors = [], []
    for row in sorted(rows, key=lambda row: row["song_id"]):
        line = json.dumps({key: value for key, value in row.items() if key != "status"}, sort_keys=True)
        if row["status"] == "rendered":
            manifest.append(line)
            summary.rendered += 1
            summary.notes.update(row["notes"])
            summary.ignored.update(row["ignored"])
            summary.repairs.update(row["repairs"])
            summary.seconds += row["seconds"]
        else:
            errors.append(line)
            summary.failed += 1
            summary.reasons[row["code"]] += 1
    for name, lines in (("manifest.jsonl", manifest), ("errors.jsonl", errors)):
        files.write_bytes(urls.join(config.output, name), "".join(f"{line}\n" for line in lines).encode())
    if config.manifest.parquet:
        write_parquet(urls.join(config.output, "manifest.parquet"), map(json.loads, manifest))
    return summary


def summary_text(summary: Summary, config: JobConfig, wall_seconds: float) -> str:
    """Formats the lines that are printed at the end of a run.

    Args:
        summary: the totals.
        config: the job.
        wall_seconds: duration of the run.
    """
    songs = summary.rendered + summary.failed
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
        lines += [f"  {count:>6}  {reason}" for reason, count in summary.reasons.most_common(10)]
    lines.append(f"Outputs: {config.output} (open index.html to listen; audio/, manifest.jsonl, ...)")
    return "\n".join(lines)
