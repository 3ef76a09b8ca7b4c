"""Runs a job: checks everything first, renders (locally in slices), reports."""

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
from pipeline import dataflow, inputs, remote, resume
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

LOCAL_RUNNERS = ("DirectRunner", "FnApiRunner")
_SHOWN = 10


def run(config: JobConfig, beam_args: Sequence[str] = (), quiet: bool = False, overwrite: bool = False) -> Summary:
    """Renders everything the config names.

    Args:
        config: the job.
        beam_args: Beam options from the command line, after the config's own.
        quiet: say nothing but errors.
        overwrite: render all songs again, whatever the output folder holds.

    Returns:
        What became of the songs.

    Raises:
        GansynthError: something is wrong that would make the whole job fail; nothing was rendered.
    """
    began = time.perf_counter()
    args, runner, sources = check(config, beam_args)
    _check_output(config.output, sources)
    goes_on = resume.check(config, overwrite)
    counters: Counter[str] = Counter()
    done = 0
    lost: list[Source] = []
    with Progress(len(sources), quiet or runner not in LOCAL_RUNNERS) as progress:
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
    """Checks everything that a job is checked for before it starts, but for the output's rights, and tells of it.

    Raises:
        GansynthError: as for `run`.
    """
    args, runner, sources = check(config, beam_args)
    lines = [f"{len(sources)} files, {sources.size / 1e6:.1f} MB, would be rendered by {runner}:"]
    for source in itertools.islice(sources, _SHOWN):
        lines.append(f"  {source.url} -> {urls.join(config.output, 'audio', paths.output_name(source.song_id))}.*")
    if len(sources) > _SHOWN:
        lines.append(f"  and {len(sources) - _SHOWN} more")
    if runner in LOCAL_RUNNERS:
        resolve(config)
    else:
        lines.append(remote.request_text(config, args, runner, len(sources)))
    return "\n".join([*lines, "settings:", config.to_yaml()])


def check(config: JobConfig, beam_args: Sequence[str]) -> tuple[Sequence[str], str, inputs.Listing]:
    """Options, runner and inputs of a job, all found to be in order.

    Raises:
        ConfigError: one of them is not; the message says which and why.
    """
    urls.configure(config.storage)
    args: Sequence[str] = (*_flags(config.beam), *beam_args)
    runner = check_beam_options(args)
    if config.max_failures is not None and runner not in LOCAL_RUNNERS:
        raise ConfigError(
            f"max_failures (--fail-fast, --max-failures): nobody counts failed songs while {runner} runs; leave it "
            "out, errors.jsonl and exit code 3 tell of them in the end."
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
    """Local runners get the corpus in slices, on all cores; others get it whole."""
    if runner not in LOCAL_RUNNERS and goes_on and _is_done(config, sources):
        yield SliceResult(len(sources))
        return
    _clear_rows(config.output)
    if runner in LOCAL_RUNNERS:
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
    """Whether a job that nobody waited for to its end has left the rows of all songs."""
    done = {row["song_id"] for row in _rows(config.output)}
    return len(done) == len(sources) and all(source.song_id in done for source in sources)


def _rows(output: str) -> Iterator[Row]:
    for url, _ in listing.find(urls.join(output, ROWS)):
        if url.endswith(".jsonl"):
            yield from map(json.loads, files.read_lines(url))


def _account(
    sources: Iterable[Source], rows: Iterable[Row], lost: Sequence[Source], stopped: bool = False
) -> Iterator[Row]:
    """One row for every input, whatever happened: nothing ever vanishes."""
    found = {row["song_id"]: row for row in rows}
    killers = {source.song_id for source in lost}
    for source in sources:
        row = found.get(source.song_id)
        if row is None:
            row = without_row(source, "mix", source.song_id in killers, stopped)
        yield row


def without_row(source: Source, stage: str, killed: bool, stopped: bool = False) -> ErrorRow:
    """The row of an input of which nothing came back.

    Args:
        source: the input.
        stage: what it did not come out of.
        killed: whether it killed its process.
        stopped: whether the job was stopped before all was done.
    """
    if killed:
        error, code, message = "WorkerDied", "worker-died", "its process died, out of memory perhaps"
    elif stopped:
        error, code, message = "JobStopped", "job-stopped", "the job was stopped before: max_failures"
    else:
        error, code, message = "LostSong", "song-lost", "the runner lost this song"
    return Failure(source.song_id, stage, error, message, code=code, source=source.url).row()
