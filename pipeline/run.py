"""The outcome of a job: everything is checked first, then songs are rendered and reported."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gansynth.errors import ConfigError
from gansynth.io import files, listing, paths, retry, urls
from gansynth.io.probe import OutputError, check_writable
from pipeline import dataflow, inputs, outputs, remote, resume, runners
from pipeline.config import JobConfig
from pipeline.dataset import write_dataset
from pipeline.earlier import Earlier
from pipeline.earlier import read as read_earlier
from pipeline.job import ROWS, resolve, rows_folder
from pipeline.local import slices
from pipeline.local.pool import WorkerPool
from pipeline.local.slices import SliceResult
from pipeline.lock import Lock, Owner
from pipeline.options import check_beam_options
from pipeline.page import write_pages
from pipeline.progress import Progress
from pipeline.report import Summary, done_text, summarise, summary_text, write_lists
from pipeline.stopping import Stop
from pipeline.terminal import say
from pipeline.unused_rules import rules_used, unused_rules
from transforms.attempts import Attempts
from transforms.elements import Failure, Source
from transforms.manifest import ErrorRow, Row

_SHOWN = 10
_TOO_MANY = "more songs failed than max_failures allows; it is checked whenever a slice of songs is done"


@dataclass(frozen=True)
class _Job:
    """All that rendering needs."""

    config: JobConfig
    goes_on: bool
    args: Sequence[str]
    runner: str
    sources: inputs.Listing
    lock: Lock
    stop: Stop
    quiet: bool

    @property
    def is_local(self) -> bool:
        return self.runner == runners.LOCAL


@dataclass
class _Outcome:
    """The outcome of a job.

    Attributes:
        counters: counters of the run, by name.
        done: number of songs in finished slices.
        lost: songs whose process died.
        stopped: why the job stopped before its end; empty if it did not.
        rows: the row of each input, if nothing had to be rendered.
        done_before: number of songs that an earlier run finished, if nothing had to be rendered.
    """

    counters: Counter[str] = field(default_factory=Counter)
    done: int = 0
    lost: list[Source] = field(default_factory=list)
    stopped: str = ""
    rows: list[Row] = field(default_factory=list)
    done_before: int | None = None


def run(
    config: JobConfig,
    beam_args: Sequence[str] = (),
    quiet: bool = False,
    overwrite: bool = False,
    prune: bool = False,
    stop: Stop | None = None,
) -> Summary:
    """Renders all inputs of a job and writes its lists and pages.

    Args:
        config: the job.
        beam_args: Beam options from the command line; they override the config's.
        quiet: if true, only errors are printed.
        overwrite: if true, finished songs in the output folder are rendered again.
        prune: if true, songs of earlier jobs that are not in this one are removed from the output folder.
        stop: the request to stop, which a signal may make at any time.

    Returns:
        The totals of the job.

    Raises:
        GansynthError: the settings, the checkpoint, the inputs or the output cannot be used; nothing was rendered.
        JobError: a remote job failed.
    """
    began = time.perf_counter()
    args, runner, sources = check(config, beam_args)
    with Lock(config.output, lambda owner: _has_ended(config, owner, sources, args)) as lock:
        _check_output(config.output, sources)
        goes_on, earlier = find_earlier(config, sources, overwrite)
        job = _Job(config, goes_on, args, runner, sources, lock, stop or Stop(), quiet)
        outcome = _finished_before(job, earlier) or _render(job)
        rows = outcome.rows or list(_account(sources, _found_rows(job, outcome), outcome.lost, outcome.stopped))
        summary = replace(summarise(rows), counters=dict(outcome.counters), stopped=outcome.stopped)
        summary.signal = job.stop.number
        others = [] if prune else earlier.others(rows)
        try:
            _write_lists(config, [*rows, *others])
            if prune and not outcome.stopped:
                earlier.prune(rows)
            _clear_rows(config.output)
        except Exception:
            if not (why := _unwritable(config.output)):
                raise
            summary.stopped = why
    if not quiet or summary.stopped:
        lines = [summary_text(summary, config, time.perf_counter() - began, outcome.done_before)]
        if not summary.stopped:
            lines += unused_rules(config.instruments, rules_used(rows))
        lines += _about_others(earlier, rows, others, prune)
        say("\n".join(lines), links={"index.html": urls.join(config.output, "index.html")})
    return summary


def dry_run(config: JobConfig, beam_args: Sequence[str] = (), overwrite: bool = False) -> str:
    """Makes all checks of `run` except that the output can be written, and describes the job.

    Args:
        config: the job.
        beam_args: Beam options from the command line.
        overwrite: if true, finished songs in the output folder are rendered again.

    Returns:
        The inputs, the steps of a remote job, and the settings, as text.

    Raises:
        GansynthError: as for `run`.
    """
    args, runner, sources = check(config, beam_args)
    goes_on, earlier = find_earlier(config, sources, overwrite, sweep=False)
    waiting, done, failed = list(sources), 0, 0
    if goes_on and len(sources) <= resume.LOOKED_UP:
        found = list(resume.done_before(config, sources, earlier))
        waiting = [source for source, row in zip(sources, found, strict=True) if row is None]
        failed = sum(row is not None and row["status"] == "failed" for row in found)
        done = len(found) - len(waiting) - failed
    lines = [done_text(done, failed, len(sources))] if not waiting else []
    if waiting:
        before = f"{done} of {len(sources)} songs done before; " if done else ""
        size = sum(source.size or 0 for source in waiting)
        lines.append(f"{before}{len(waiting)} files, {size / 1e6:.1f} MB, would be rendered by {runner}:")
    for source in waiting[:_SHOWN]:
        lines.append(f"  {source.url} -> {urls.join(config.output, 'audio', paths.output_name(source.song_id))}.*")
    if len(waiting) > _SHOWN:
        lines.append(f"  and {len(waiting) - _SHOWN} more")
    if runner != runners.LOCAL:
        lines.append(remote.request_text(config, args, runner, len(sources)))
    elif waiting:
        resolve(config)
    return "\n".join([*lines, "settings:", config.to_yaml()])


def check(config: JobConfig, beam_args: Sequence[str]) -> tuple[Sequence[str], str, inputs.Listing]:
    """Checks the Beam options and the inputs of a job.

    Args:
        config: the job.
        beam_args: Beam options from the command line.

    Returns:
        All Beam options, the name of the runner, and the inputs.

    Raises:
        ConfigError: an option or an input cannot be used.
    """
    urls.configure(config.storage)
    args: Sequence[str] = (*_flags(config.beam), *beam_args)
    runner = check_beam_options(args)
    args = (*args, f"--runner={runner}")  # Beam compares names too
    if config.max_failures is not None and runner != runners.LOCAL:
        raise ConfigError(
            f"max_failures (--fail-fast, --max-failures) is enforced only by local runners; leave it out. With "
            f"{runner}, failed songs are listed in errors.jsonl and the exit code is 3."
        )
    found = inputs.list_sources(config.input)
    if runner == dataflow.RUNNER:
        args, found = dataflow.complete(config, args), dataflow.check_sources(found)
    sources = inputs.Listing(outputs.check_sources(config.output, found))
    inputs.check_readable(next(iter(sources)))
    return args, runner, sources


def find_earlier(
    config: JobConfig, sources: inputs.Listing, overwrite: bool, sweep: bool = True
) -> tuple[bool, Earlier]:
    """Checks that a job fits to what earlier jobs have left in its output folder.

    Args:
        config: the job.
        sources: its inputs.
        overwrite: if true, finished songs in the output folder are rendered again.
        sweep: if true, incomplete files are removed.

    Returns:
        Whether finished songs are kept, and the rows of earlier jobs.

    Raises:
        ConfigError: the folder has songs of other settings, or other songs with the same ids.
    """
    goes_on = resume.check(config, overwrite, sweep)
    earlier = read_earlier(config, resume.has_same_settings(config))
    if not overwrite:
        earlier.check_sources(sources)
    return goes_on, earlier


def _finished_before(job: _Job, earlier: Earlier) -> _Outcome | None:
    """Returns the outcome of a job that has nothing to render; None for any other."""
    taken_from = job.lock.taken_from
    if taken_from is not None and taken_from.remote:
        rows = list(_rows(job.config.output, taken_from.job))
        if _are_all(rows, job.sources):
            return _Outcome(rows=rows)
    if not job.goes_on or len(job.sources) > resume.LOOKED_UP:
        return None
    if not all(source.song_id in earlier.rows for source in job.sources):
        return None
    found = list(itertools.takewhile(bool, resume.done_before(job.config, job.sources, earlier)))
    if len(found) < len(job.sources):
        return None
    rows = [row for row in found if row is not None]
    done = sum(row["status"] == "rendered" for row in rows)
    return _Outcome(Counter(songs_resumed=done, songs_failed=len(rows) - done), rows=rows, done_before=done)


def _render(job: _Job) -> _Outcome:
    """Renders the corpus until its end, or until the job is stopped."""
    config, outcome = job.config, _Outcome()
    try:
        with Progress(len(job.sources), job.quiet or not job.is_local) as progress:
            for finished in (_slices if job.is_local else _remote)(job, progress):
                outcome.counters += finished.counters
                outcome.done += finished.songs
                outcome.lost += finished.lost
                progress.add(finished.counters)
                job.lock.check()
                if config.too_many(outcome.counters["songs_failed"] + len(outcome.lost), len(job.sources)):
                    outcome.stopped = _TOO_MANY if outcome.done < len(job.sources) else ""
                    break
                if outcome.counters["failure_output-unwritable"] and (why := _unwritable(config.output)):
                    outcome.stopped = why
                    break
    except BaseException as error:
        if job.stop.number or isinstance(error, KeyboardInterrupt):
            outcome.stopped = "stopped by a signal"
        elif isinstance(error, Exception) and job.is_local and (why := _unwritable(config.output)):
            outcome.stopped = why
        else:
            raise
        if not job.is_local:
            raise
        with contextlib.suppress(OSError):
            files.sweep(config.output)  # what processes that were killed have left
    return outcome


def _slices(job: _Job, progress: Progress) -> Iterator[SliceResult]:
    """Renders the corpus in slices on all cores of this machine."""
    config = job.config
    cut = slices.cut(job.sources, config)
    first = list(itertools.islice(cut, slices.workers(config)))
    with WorkerPool(config, job.args, len(first), stop=job.stop) as pool:
        progress.watch(pool.in_flight)
        resolved = pool.resolve(job.goes_on, job.lock.owner.job)
        resume.mark(config)
        yield from pool.render(itertools.chain(first, cut), resolved)


def _remote(job: _Job, progress: Progress) -> Iterator[SliceResult]:
    """Renders the corpus in one pipeline elsewhere."""
    config, name = job.config, job.lock.owner.job
    pipeline = remote.draw(config, job.goes_on, job.args, job.runner, len(job.sources), name)
    resume.mark(config)
    rows = rows_folder(config.output, name)
    rendered = remote.render(pipeline, rows, job.runner, job.sources, job.lock, job.args, job.quiet)
    Attempts(urls.join(config.output, remote.ATTEMPTS)).tidy()
    yield rendered


def _has_ended(config: JobConfig, owner: Owner, sources: inputs.Listing, args: Sequence[str]) -> bool | None:
    """Tells whether a remote job has ended: it has left the rows of all songs, or its runner says so."""
    return _are_all(_rows(config.output, owner.job), sources) or remote.has_ended(owner.remote, args)


def _unwritable(output: str) -> str:
    """Returns why nothing can be written into the output folder; empty if something can."""
    try:
        check_writable(output)
    except OutputError as error:
        return f"--output {error}"
    return ""


def _write_lists(config: JobConfig, rows: Sequence[Row]) -> None:
    write_lists(config, rows)
    write_pages(config, rows)
    write_dataset(config, rows)


def _about_others(earlier: Earlier, rows: Sequence[Row], others: Sequence[Row], prune: bool) -> Iterator[str]:
    if others:
        yield f"{len(others)} songs of earlier jobs are listed too; --prune removes them."
    if not prune and (left_out := earlier.left_out(rows)):
        yield (
            f"{left_out} songs of earlier jobs with other settings are no longer listed; their files are still there, "
            "--prune removes them."
        )


def _flags(options: dict[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if value is True:
            yield f"--{name}"
        elif isinstance(value, list):
            yield from (f"--{name}={item}" for item in value)
        elif value not in (None, False):
            yield f"--{name}={value}"


def _check_output(output: str, sources: Iterable[Source]) -> None:
    probe, upper = (urls.join(output, ROWS, name) for name in (".writable", ".WRITABLE"))
    try:
        files.write_bytes(probe, b"", retry_seconds=retry.SECONDS)
        ignores_case = listing.kind(upper) is not None
        files.remove(probe)
    except Exception as error:
        raise ConfigError(f"--output {output}: cannot be written ({urls.reason(error, output)}).") from None
    if ignores_case:
        inputs.check_names(sources)


def _clear_rows(output: str) -> None:
    files.remove(urls.join(output, ROWS))


def _are_all(rows: Iterable[Row], sources: inputs.Listing) -> bool:
    """Returns whether there is a row for each input."""
    done = {row["song_id"] for row in rows}
    return len(done) == len(sources) and all(source.song_id in done for source in sources)


def _rows(output: str, name: str) -> Iterator[Row]:
    for url, _ in listing.find(rows_folder(output, name)):
        if url.endswith(".jsonl"):
            yield from map(json.loads, files.read_lines(url))


def _found_rows(job: _Job, outcome: _Outcome) -> Iterator[Row]:
    """Yields the rows of a job; if it was stopped, also those of songs that were finished in slices that were not."""
    rows = list(_rows(job.config.output, job.lock.owner.job))
    yield from rows
    if outcome.stopped:
        found = {row["song_id"] for row in rows}
        yield from resume.recorded(job.config, (source for source in job.sources if source.song_id not in found))


def _account(
    sources: Iterable[Source], rows: Iterable[Row], lost: Sequence[Source], stopped: str = ""
) -> Iterator[Row]:
    """Yields one row for every input, an error row if no other was found."""
    found = {row["song_id"]: row for row in rows}
    killed = {source.song_id for source in lost}
    for source in sources:
        row = found.get(source.song_id)
        if row is None:
            row = without_row(source, "mix", source.song_id in killed, stopped)
        yield row


def without_row(source: Source, stage: str, killed: bool, stopped: str = "") -> ErrorRow:
    """Makes the error row of an input for which the pipeline returned no row.

    Args:
        source: the input.
        stage: the step that did not return it.
        killed: true if its process died.
        stopped: why the job was stopped before the input's turn; empty if it was not.
    """
    if killed:
        error, code, message = "WorkerDied", "worker-died", "the process that rendered it died, perhaps out of memory"
    elif stopped:
        error, code, message = "JobStopped", "job-stopped", f"the job ended before this song: {stopped}"
    else:
        error, code, message = "LostSong", "song-lost", "the runner lost this song"
    return Failure(source.song_id, stage, error, message, code=code, source=source.url).row()
