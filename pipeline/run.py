"""The outcome of a job: everything is checked first, then songs are rendered and reported."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gansynth.errors import ConfigError
from gansynth.io import files, listing, paths, retry, urls
from gansynth.io.probe import OutputError, check_writable
from gansynth.model import download
from pipeline import inputs, outputs, resume, rows, runners
from pipeline.config import JobConfig
from pipeline.earlier import Earlier
from pipeline.earlier import read as read_earlier
from pipeline.job import ROWS, resolve, rows_folder
from pipeline.local import slices
from pipeline.local.pool import WorkerPool
from pipeline.local.slices import SliceResult
from pipeline.lock import Lock, Owner
from pipeline.options import check_beam_options
from pipeline.progress import Progress
from pipeline.report import Summary, done_text, failed_lines, summarise, summary_text, write
from pipeline.runners import JobError
from pipeline.stopping import Stop
from pipeline.terminal import say
from pipeline.unused_rules import has_rules, rules_used, unused_rules
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
    prune: bool

    @property
    def is_local(self) -> bool:
        return self.runner == runners.LOCAL


@dataclass
class _Outcome:
    """The outcome of a job.

    Attributes:
        rows: the folder of its rows.
        counters: counters of the run, by name.
        done: number of songs in finished slices.
        lost: songs whose process died.
        stopped: why the job stopped before its end; empty if it did not.
        done_before: number of songs that an earlier run finished, if nothing had to be rendered.
        summary: the totals, if the job has written its lists itself.
        error: why the job failed, if it did.
        is_waiting: true if a template was written, from which the job is still to be started.
    """

    rows: str
    counters: Counter[str] = field(default_factory=Counter)
    done: int = 0
    lost: list[Source] = field(default_factory=list)
    stopped: str = ""
    done_before: int | None = None
    summary: Summary | None = None
    error: JobError | None = None
    is_waiting: bool = False


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
        job = _Job(config, goes_on, args, runner, sources, lock, stop or Stop(), quiet, prune)
        outcome, rest = _finished_before(job, earlier)
        if rest:
            outcome = _render(job, earlier, outcome, rest)
        if outcome.is_waiting:
            return Summary(is_waiting=True)
        summary = outcome.summary if outcome.summary and not prune else _report(job, outcome, earlier)
        summary.counters = dict(outcome.counters)
        summary.signal = job.stop.number
        found = (row for _, row in rows.merge(rows.find(outcome.rows)))
        used = rules_used(found) if has_rules(config.instruments) else None
        with contextlib.suppress(OSError):
            _clear_rows(config.output)
    if outcome.error is not None:
        raise outcome.error
    if quiet and not summary.stopped:
        lines = failed_lines(summary)
    else:
        lines = [summary_text(summary, config, time.perf_counter() - began, outcome.done_before)]
        if not summary.stopped:
            lines += unused_rules(config.instruments, used)
        lines += _about_others(earlier, sources, prune)
    if lines:
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
        found = [row for row in resume.done_before(config, sources, earlier) if row is not None]
        ids = {row["song_id"] for row in found}
        waiting = [source for source in waiting if source.song_id not in ids]
        failed = sum(row["status"] == "failed" for row in found)
        done = len(found) - failed
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
        from pipeline import remote  # imports Beam

        lines.append(remote.request_text(config, args, runner, sources))
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
        CheckpointError: this machine has no copy of the checkpoint and cannot fetch it.
    """
    urls.configure(config.storage)
    args: Sequence[str] = (*_flags(config.beam), *beam_args)
    runner = check_beam_options(args) if args else runners.LOCAL
    args = (*args, f"--runner={runner}")  # Beam compares names too
    if config.max_failures is not None and runner != runners.LOCAL:
        raise ConfigError(
            f"max_failures (--fail-fast, --max-failures) is enforced only by local runners; leave it out. With "
            f"{runner}, failed songs are listed in errors.jsonl and the exit code is 3."
        )
    found = inputs.list_sources(config.input)
    if runner == runners.DATAFLOW:
        from pipeline import dataflow  # imports Beam

        args, found = dataflow.complete(config, args), dataflow.check_sources(found)
    sources = inputs.Listing(outputs.check_sources(config.output, found))
    inputs.check_readable(next(iter(sources)))
    if runner == runners.LOCAL:
        download.check_reachable(config.checkpoint)
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


def _finished_before(job: _Job, earlier: Earlier) -> tuple[_Outcome, Collection[Source]]:
    """Collects the rows of songs that are done; of a remote job all, or none.

    Returns:
        What is done of the job, and the inputs that are left to be rendered.
    """
    config, taken_from = job.config, job.lock.taken_from
    nothing = _Outcome(rows_folder(config.output, job.lock.owner.job)), job.sources
    if not job.is_local and _is_template(job.args):
        return nothing  # whoever waits for the template starts a job from it, which finds that all songs are done
    if taken_from is not None and taken_from.remote:
        outcome = _Outcome(rows_folder(config.output, taken_from.job))
        if _are_all(outcome.rows, job.sources):
            from pipeline import write_report  # imports Beam

            outcome.summary = write_report.read(outcome.rows)
            return outcome, ()
    is_known = (source.song_id in earlier.known for source in job.sources)
    if not job.goes_on or not (any(is_known) if job.is_local else all(is_known)):
        return nothing
    outcome, done = nothing[0], set[str]()

    def found() -> Iterator[Row]:
        for row in resume.done_before(config, job.sources, earlier):
            if job.stop.number or not (row or job.is_local):
                return
            if row is not None:
                outcome.counters.update(
                    ["songs_resumed"] if row["status"] == "rendered" else ["failed_read", "songs_failed"]
                )
                done.add(row["song_id"])
                yield row

    rows.write(outcome.rows, "done", found())
    if len(done) == len(job.sources):
        outcome.done_before = outcome.counters["songs_resumed"]
        return outcome, ()
    if not job.is_local:  # its workers find what is done, and write the rows
        files.remove(outcome.rows)
        return _Outcome(outcome.rows), job.sources
    outcome.done = len(done)
    return outcome, inputs.Listing(source for source in job.sources if source.song_id not in done)


def _render(job: _Job, earlier: Earlier, outcome: _Outcome, rest: Collection[Source]) -> _Outcome:
    """Renders what is left of the corpus until its end, or until the job is stopped."""
    config = job.config
    if not job.is_local:
        return _render_remotely(job, earlier, outcome)
    try:
        with Progress(len(job.sources), job.quiet) as progress:
            progress.add(outcome.counters)
            for finished in _slices(job, rest, progress):
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
        elif isinstance(error, Exception) and (why := _unwritable(config.output)):
            outcome.stopped = why
        else:
            raise
        with contextlib.suppress(OSError):
            files.sweep(config.output)  # what processes that were killed have left
    return outcome


def _slices(job: _Job, rest: Collection[Source], progress: Progress) -> Iterator[SliceResult]:
    """Renders what is left of the corpus in slices on all cores of this machine."""
    config = job.config
    cut = slices.cut(rest, config)
    first = list(itertools.islice(cut, slices.workers(config)))
    processes = len(first) if slices.workers(config) > 1 else 0
    with WorkerPool(config, job.args, processes, stop=job.stop) as pool:
        progress.watch(pool.in_flight)
        resolved = pool.resolve(job.goes_on, job.lock.owner.job)
        resume.mark(config)
        yield from pool.render(itertools.chain(first, cut), resolved)
        if pool.lost_processes:
            files.sweep(config.output)


def _render_remotely(job: _Job, earlier: Earlier, outcome: _Outcome) -> _Outcome:
    """Renders the corpus in one pipeline elsewhere, which writes its lists and pages itself."""
    from pipeline import remote, write_report  # import Beam
    from transforms.attempts import Attempts

    config, name = job.config, job.lock.owner.job
    pipeline = remote.draw(config, job.goes_on, job.args, job.runner, job.sources, name, earlier.fits)
    resume.mark(config)
    try:
        outcome.counters = remote.render(pipeline, outcome.rows, job.runner, job.sources, job.lock, job.args, job.quiet)
    except JobError as error:
        if not error.has_ended:
            raise
        outcome.error, outcome.stopped = error, "the job failed"
        return outcome
    if template := remote.template(job.args):
        outcome.is_waiting = True
        say(f"Written: {template}; the job that is started from it writes its lists and pages itself")
        return outcome
    Attempts(urls.join(config.output, remote.ATTEMPTS)).tidy()
    files.sweep(config.output)  # what workers that were killed have left
    outcome.summary = write_report.read(outcome.rows)
    return outcome


def _is_template(args: Sequence[str]) -> bool:
    """Tells whether the job is not started, but written as a template."""
    from pipeline import remote  # imports Beam

    return bool(remote.template(args))


def _has_ended(config: JobConfig, owner: Owner, sources: inputs.Listing, args: Sequence[str]) -> bool | None:
    """Tells whether a remote job has ended: it has left the rows of all songs, or its runner says so."""
    if _are_all(rows_folder(config.output, owner.job), sources):
        return True
    from pipeline import remote  # imports Beam

    return remote.has_ended(owner.remote, args)


def _report(job: _Job, outcome: _Outcome, earlier: Earlier) -> Summary:
    """Accounts for every input, and writes lists, pages and data set; only says why if nothing can be written."""
    config, folder = job.config, outcome.rows
    try:
        rows.write(folder, "rest", _account(config, job.sources, folder, outcome.lost, outcome.stopped))
        own = rows.find(folder)
        summary = summarise(row for _, row in rows.merge(own))
        unwanted = earlier.unwanted(row for _, row in rows.merge(own)) if job.prune and not outcome.stopped else []
        write(config, own, () if job.prune else earlier.files, earlier.fits)
        for url in unwanted:
            files.remove(url)
        summary.stopped = outcome.stopped
    except Exception:
        if not (why := _unwritable(config.output)):
            raise
        summary = summarise(row for _, row in rows.merge(rows.find(folder)))
        summary.failed, summary.stopped = len(job.sources) - summary.rendered, why
    return summary


def _unwritable(output: str) -> str:
    """Returns why nothing can be written into the output folder; empty if something can."""
    try:
        check_writable(output)
    except OutputError as error:
        return f"--output {error}"
    return ""


def _about_others(earlier: Earlier, sources: Iterable[Source], prune: bool) -> Iterator[str]:
    listed, left_out = (0, 0) if prune else earlier.count_others(sources)
    if listed:
        yield f"{listed} songs of earlier jobs are listed too; --prune removes them."
    if left_out:
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


def _are_all(folder: str, sources: inputs.Listing) -> bool:
    """Returns whether there is a row for each input."""
    done = _ids(folder)
    return len(done) == len(sources) and all(source.song_id in done for source in sources)


def _ids(folder: str) -> set[str]:
    """Lists the ids of the songs that have a row below a folder."""
    return {row["song_id"] for url in rows.find(folder) for row in rows.read(url)}


def _account(
    config: JobConfig, sources: Iterable[Source], folder: str, lost: Sequence[Source], stopped: str = ""
) -> Iterator[Row]:
    """Yields a row for every input that has none: of a stopped job its record, else that of an error."""
    found = _ids(folder)
    killed = {source.song_id for source in lost}
    if stopped:
        names = {f"{paths.output_name(source.song_id)}.json" for source in sources if source.song_id not in found}
        for row in resume.recorded(config, names.__contains__):
            found.add(row["song_id"])
            yield row
    for source in sources:
        if source.song_id not in found:
            yield without_row(source, "mix", source.song_id in killed, stopped)


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
