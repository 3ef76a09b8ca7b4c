"""The report of a job: its lists, pages and data set, and a summary in words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from gansynth.io import urls
from pipeline import rows
from pipeline.config import JobConfig
from pipeline.dataset import write_dataset
from pipeline.outcomes import event_outcomes, note_outcomes
from pipeline.page import write_pages
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
        is_waiting: true if a template was written, from which the job is still to be started.
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
    is_waiting: bool = False

    @property
    def exit_code(self) -> int:
        """Exit code of the run: 0 all songs rendered, 3 some failed, 1 none rendered, 130 or 143 after a signal."""
        if self.signal:
            return 128 + self.signal
        if self.is_waiting:
            return 0
        return 1 if not self.rendered else 3 if self.failed else 0

    def to_json(self) -> bytes:
        """Formats the totals as JSON, for `from_json`."""
        return json.dumps(vars(self), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Summary:
        """Reads the totals that `to_json` wrote."""
        values: dict[str, Any] = json.loads(data)
        for item in fields(cls):
            if item.type == "Counter[str]":
                values[item.name] = Counter(values[item.name])
        values["failures"] = [(song_id, message) for song_id, message in values["failures"]]
        return cls(**values)


def summarise(own: Iterable[Row]) -> Summary:
    """Adds up the rows of a job.

    Args:
        own: the row of each input.
    """
    summary = Summary()
    for row in own:
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


def write(
    config: JobConfig,
    own: Sequence[str],
    others: Sequence[Sequence[str]] = (),
    fits: Callable[[Row], bool] = bool,
    follow: bool = False,
) -> None:
    """Writes manifest.jsonl and errors.jsonl, and what is made of them: manifest.parquet, pages, data set.

    Rows are read one by one from files, so memory does not grow with the corpus.

    Args:
        config: the job.
        own: URLs of the files of the job's rows.
        others: URLs of files of rows of earlier jobs, in groups of which the first counts more than the next.
        fits: tells whether a row of an earlier job stays in the lists.
        follow: if true, the job's files follow on each other, so that the storage can join them.
    """
    if any(others) or not follow:
        merged = rows.merge(own, *others)
        rows.write_lists(config.output, (row for group, row in merged if group == 0 or fits(row)))
    else:
        rows.join_lists(config.output, own)
    manifest, errors = (urls.join(config.output, name) for name in rows.LISTS)
    if config.manifest.parquet:
        write_parquet(urls.join(config.output, "manifest.parquet"), rows.read(manifest))
    write_pages(config, (row for _, row in rows.merge([manifest, errors])))
    write_dataset(config, rows.read(manifest))


def done_text(done: int, failed: int, songs: int) -> str:
    """Formats what `render`, `--dry-run` and `plan` say of a job that has nothing to render.

    Args:
        done: number of songs that an earlier run finished.
        failed: number of files that fail again.
        songs: number of inputs.
    """
    again = f"; {failed} fail as before, see errors.jsonl" if failed else ""
    return f"{done} of {songs} songs done before, nothing to render{again}"


def summary_text(
    summary: Summary, config: JobConfig, wall_seconds: float | None, done_before: int | None = None
) -> str:
    """Formats the lines that are printed at the end of a run.

    Args:
        summary: the totals.
        config: the job.
        wall_seconds: duration of the run; None if the songs were rendered by others before.
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
            f"{summary.seconds / 60:.1f} minutes of audio{'' if wall_seconds is None else f' in {wall_seconds:.0f} s'}",
        ]
    if outcomes := list(note_outcomes(summary.notes)):
        lines.append(f"Notes: {'; '.join(outcomes)}")
    lines += event_outcomes(summary.ignored)
    if summary.repairs:
        repairs = ", ".join(f"{name} ({count:,})" for name, count in sorted(summary.repairs.items()))
        lines.append(f"Songs repaired: {repairs}")
    lines += failed_lines(summary)
    lines.append(f"Outputs: {config.output} (open index.html to listen; audio/, manifest.jsonl, ...)")
    return "\n".join(lines)


def failed_lines(summary: Summary) -> list[str]:
    """Formats the failures: each with its message if there are few, else their number by reason."""
    if not summary.failed:
        return []
    lines = [f"{summary.failed} failed, see errors.jsonl:"]
    if summary.failed == len(summary.failures):
        return lines + [f"  {song_id}: {' '.join(message.split()):.300}" for song_id, message in summary.failures]
    return lines + [f"  {count:>6}  {reason}" for reason, count in summary.reasons.most_common(10)]
