"""The course of a job: everything is checked first, then songs are rendered and reported."""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gansynth.errors import ConfigError
from gansynth.io import files, listing, paths, retry, urls
from pipeline import dataflow, inputs, remote, resume, runners
from pipeline.config import JobConfig
from pipeline.dataset import write_shards
from pipeline.job import ROWS, resolve
from pipeline.local import slices
from pipeline.local.pool import WorkerPool
from pipeline.local.slices import SliceResult
from pipeline.options import check_beam_options
from pipeline.page import write_pages
from pipeline.progress import Progress
from pipeline.report import Summary, summary_text, write_report
from transforms.elements import Failure, Source
from transforms.manifest import ErrorRow, Row

_SHOWN = 10


def run(config: JobConfig, beam_args: Sequence[str] = (), quiet: bool = False, overwrite: bool = False) -> Summary:
    """Renders all inputs of a job and writes its reports and pages.

    Args:
        config: the job.
        beam_args: Beam options from the command line; they override the config's.
        quiet: if true, only errors are printed.
        overwrite: if true, finished songs in the output folder are rendered again.

    Returns:
        The totals of the job.

    Raises:
        GansynthError: the settings, the checkpoint, the inputs or the output cannot be used; nothing was rendered.
        JobError: a remote job failed.
    """
    began = time.perf_counter()
    args, runner, sources = check(config, beam_args)
    _check_output(config.output, sources)
    goes_on = resume.check(config, overwrite)
    counters: Counter[str] = Counter()
    done = 0
    lost: list[Source] = []
    with Progress(len(sources), quiet or runner != runners.LOCAL) as progress:
        for finished in _render(config, goes_on, args, runner, sources, progress, quiet):
            counters += finished.counters
            done += finished.songs
            lost += finished.lost
            progress.add(finished.counters)
            if config.too_many(counters["songs_failed"] + len(lost), len(sources)):
                break

    rows = list(_account(sources, _rows(config.output), lost, stopped=done < len(sources)))
    summary = write_report(config, rows)
    write_pages(config, rows)
    if config.dataset.format != "off":
        write_shards(config, rows)
    _clear_rows(config.output)
    summary.counters = dict(counters)
    if not quiet:
        print(summary_text(summary, config, time.perf_counter() - began), file=sys.stderr)
    return summary


def dry_run(config: JobConfig, beam_args: Sequence[str] = ()) -> str:
    """Makes all checks of `run` except that the output can be written, and describes the job.

    Args:
        config: the job.
        beam_args: Beam options from the command line.

    Returns:
        The inputs, the steps of a remote job, and the settings, as text.

    Raises:
        GansynthError: as for `run`.
    """
    args, runner, sources = check(config, beam_args)
    lines = [f"{len(sources)} files, {sources.size / 1e6:.1f} MB, would be rendered by {runner}:"]
    for source in itertools.islice(sources, _SHOWN):
        lines.append(f"  {source.url} -> {urls.join(config.output, 'audio', paths.output_name(source.song_id))}.*")
    if len(sources) > _SHOWN:
        lines.append(f"  and {len(sources) - _SHOWN} more")
    if runner == runners.LOCAL:
        resolve(config)
    else:
        lines.append(remote.request_text(config, args, runner, len(sources)))
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
    sources = inputs.Listing(found)
    inputs.check_readable(next(iter(sources)))
    return args, runner, sources


def _render(
    config: JobConfig,
    goes_on: bool,
    args: Sequence[str],
    runner: str,
    sources: inputs.Listing,
    progress: Progress,
    quiet: bool,
) -> Iterator[SliceResult]:
    """Renders the corpus in slices on all cores with a local runner, in one pipeline with any other runner."""
    if runner != runners.LOCAL and goes_on and _is_done(config, sources):
        yield SliceResult(len(sources))
        return
    _clear_rows(config.output)
    if runner == runners.LOCAL:
        cut = slices.cut(sources, config)
        first = list(itertools.islice(cut, slices.workers(config)))
        with WorkerPool(config, args, len(first)) as pool:
            progress.watch(pool.in_flight)
            job = pool.resolve(resume=goes_on)
            resume.mark(config)
            yield from pool.render(itertools.chain(first, cut), job)
        return
    pipeline = remote.draw(config, goes_on, args, runner, len(sources))
    resume.mark(config)
    yield remote.render(pipeline, config, runner, sources, quiet)


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


def _is_done(config: JobConfig, sources: inputs.Listing) -> bool:
    """Tells whether an earlier remote job, whose end was not waited for, has left the rows of all songs."""
    done = {row["song_id"] for row in _rows(config.output)}
    return len(done) == len(sources) and all(source.song_id in done for source in sources)


def _rows(output: str) -> Iterator[Row]:
    for url, _ in listing.find(urls.join(output, ROWS)):
        if url.endswith(".jsonl"):
            yield from map(json.loads, files.read_lines(url))


def _account(
    sources: Iterable[Source], rows: Iterable[Row], lost: Sequence[Source], stopped: bool = False
) -> Iterator[Row]:
    """Yields one row for every input, an error row if no other was found."""
    found = {row["song_id"]: row for row in rows}
    killed = {source.song_id for source in lost}
    for source in sources:
        row = found.get(source.song_id)
        if row is None:
            row = without_row(source, "mix", source.song_id in killed, stopped)
        yield row


def without_row(source: Source, stage: str, killed: bool, stopped: bool = False) -> ErrorRow:
    """Makes the error row of an input for which the pipeline returned no row.

    Args:
        source: the input.
        stage: the step that did not return it.
        killed: true if its process died.
        stopped: true if the job was stopped before the input's turn.
    """
    if killed:
        error, code, message = "WorkerDied", "worker-died", "the process that rendered it died, perhaps out of memory"
    elif stopped:
        error, code, message = (
            "JobStopped",
            "job-stopped",
            "the job stopped before this song: max_failures exceeded",
        )
    else:
        error, code, message = "LostSong", "song-lost", "the runner lost this song"
    return Failure(source.song_id, stage, error, message, code=code, source=source.url).row()
