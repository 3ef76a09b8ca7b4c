"""Runs a job: checks everything first, renders (locally in slices), reports."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from gansynth import storage
from gansynth.errors import ConfigError
from pipeline import graph, inputs, local
from pipeline.config import JobConfig
from pipeline.options import check_beam_options
from pipeline.page import write_pages
from pipeline.report import Summary, describe, write_report
from transforms.elements import Failure, Source

LOCAL_RUNNERS = ("DirectRunner", "FnApiRunner")


def run(config: JobConfig, beam_args: Sequence[str] = (), quiet: bool = False) -> Summary:
    """Renders everything the config names.

    Args:
        config: the job.
        beam_args: Beam options from the command line, after the config's own.
        quiet: say nothing but errors.

    Returns:
        What became of the songs.

    Raises:
        GansynthError: something is wrong that would make the whole job fail; nothing was rendered.
    """
    began = time.perf_counter()
    args = (*_flags(config.beam), *beam_args)
    runner = check_beam_options(args)
    sources = list(inputs.list_sources(config.input))
    _check_output(config.output)
    counters: Counter[str] = Counter()
    done = 0
    lost: list[Source] = []
    for finished in _render(config, args, runner, sources):
        counters += finished.counters
        done += finished.songs
        lost += finished.lost
        if not quiet:
            print(f"{done} of {len(sources)} songs, {time.perf_counter() - began:.0f} s", file=sys.stderr)

    rows = list(_account(sources, _rows(config.output), lost))
    summary = write_report(config, rows)
    write_pages(config, rows)
    _clear_rows(config.output)
    summary.counters = dict(counters)
    if not quiet:
        print(describe(summary, config, time.perf_counter() - began), file=sys.stderr)
    return summary


def _render(config: JobConfig, args: Sequence[str], runner: str, sources: Sequence[Source]) -> Iterator[local.Done]:
    """Local runners get the corpus in slices, on all cores; others get it whole."""
    if runner in LOCAL_RUNNERS:
        parts = list(local.slices(sources, config))
        with local.Crew(config, args, min(local.workers(config), len(parts))) as crew:
            yield from crew.render(parts, *crew.describe())
        return
    yield local.render_part(config, args, local.Part("part-0", tuple(sources)), *graph.describe(config), runner)


def _flags(options: dict[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if value is True:
            yield f"--{name}"
        elif isinstance(value, list):
            yield from (f"--{name}={item}" for item in value)
        elif value not in (None, False):
            yield f"--{name}={value}"


def _check_output(output: str) -> None:
    probe = storage.join(output, graph.ROWS, ".writable")
    try:
        storage.write_bytes(probe, b"")
        _clear_rows(output)
    except Exception as error:
        raise ConfigError(f"--output {output}: cannot be written ({error}).") from None


def _clear_rows(output: str) -> None:
    fs, path = storage.filesystem(storage.join(output, graph.ROWS))
    fs.rm(path, recursive=True)


def _rows(output: str) -> Iterator[dict[str, Any]]:
    fs, path = storage.filesystem(storage.join(output, graph.ROWS))
    for name in sorted(fs.find(path)):
        with fs.open(name, "rb") as f:
            yield from (json.loads(line) for line in f)


def _account(
    sources: Sequence[Source], rows: Iterable[dict[str, Any]], lost: Sequence[Source]
) -> Iterator[dict[str, Any]]:
    """One row for every input, whatever happened: nothing ever vanishes."""
    found = {row["song_id"]: row for row in rows}
    killers = {source.song_id for source in lost}
    for source in sources:
        row = found.get(source.song_id)
        if row is None:
            killed = source.song_id in killers
            error = "WorkerDied" if killed else "LostSong"
            message = "its process died, out of memory perhaps" if killed else "the runner lost this song"
            code = "worker-died" if killed else "song-lost"
            row = Failure(source.song_id, "mix", error, message, code=code, source=source.url).row()
        yield row
