"""Runs a job: checks everything first, renders (locally in slices), reports."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions

from gansynth import storage
from gansynth.errors import ConfigError, GansynthError
from gansynth.synthesizer import check_envelope
from pipeline import graph, inputs
from pipeline.config import JobConfig
from pipeline.report import Summary, describe, write_report
from transforms.elements import Source

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
    options = pipeline_options(config, beam_args)
    sources = list(inputs.list_sources(config.input))
    _check_output(config.output)
    synth = graph.model_settings(config).acquire()
    voice = synth.voice(config.instruments)
    check_envelope(config.envelope.release, config.envelope.max_sustain, synth)

    runner = options.view_as(StandardOptions).runner
    local = runner in LOCAL_RUNNERS
    counters: Counter[str] = Counter()
    done = 0
    slices = _slices(sources, config) if local else iter([sources])
    for number, part in enumerate(slices):
        pipeline = beam.Pipeline(runner="FnApiRunner" if local else runner, options=options)
        graph.build(pipeline, config, part, voice, synth.digest, name=f"part-{number:05d}")
        result = pipeline.run()
        result.wait_until_finish()
        for counter in result.metrics().query()["counters"]:
            if counter.key.metric.namespace == "gansynth":
                counters[counter.key.metric.name] += counter.result or 0
        done += len(part)
        if not quiet:
            print(f"{done} of {len(sources)} songs, {time.perf_counter() - began:.0f} s", file=sys.stderr)

    summary = write_report(config, _account(sources, _rows(config.output)))
    fs, path = storage.filesystem(storage.join(config.output, graph.ROWS))
    fs.rm(path, recursive=True)
    summary.counters = dict(counters)
    if not quiet:
        print(describe(summary, config, time.perf_counter() - began), file=sys.stderr)
    return summary


def pipeline_options(config: JobConfig, beam_args: Sequence[str]) -> PipelineOptions:
    """Beam's options, from the config's `beam` section and the command line.

    Raises:
        ConfigError: an option that Beam does not know, or a way of running that loses elements.
    """
    from pipeline.options import check_beam_options

    args = [*_flags(config.beam), *beam_args]
    check_beam_options(args)
    options = PipelineOptions(args)
    standard = options.view_as(StandardOptions)
    standard.runner = standard.runner or "FnApiRunner"
    if options.view_as(DirectOptions).direct_running_mode == "multi_threading":
        raise ConfigError(
            "--direct_running_mode multi_threading: refused, Beam loses elements in this mode; use in_memory or "
            "multi_processing."
        )
    if standard.runner.lower().startswith("dask"):
        raise ConfigError(f"--runner {standard.runner}: refused, it gives silently wrong results; use another.")
    return options


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
        fs, path = storage.filesystem(storage.join(output, graph.ROWS))
        fs.rm(path, recursive=True)
    except Exception as error:
        raise ConfigError(f"--output {output}: cannot be written ({error}).") from None


def _slices(sources: Sequence[Source], config: JobConfig) -> Iterator[list[Source]]:
    """Runs of songs that fit in memory together: the in-process runner holds all that is between two stages."""
    part: list[Source] = []
    total = 0
    for source in sources:
        size = inputs.size(source)
        full = len(part) >= config.compute.slice_songs or total + size > config.compute.slice_bytes
        if part and full:
            yield part
            part, total = [], 0
        part.append(source)
        total += size
    if part:
        yield part


def _rows(output: str) -> Iterator[dict[str, Any]]:
    fs, path = storage.filesystem(storage.join(output, graph.ROWS))
    for name in sorted(fs.find(path)):
        with fs.open(name, "rb") as f:
            yield from (json.loads(line) for line in f)


def _account(sources: Sequence[Source], rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The rows, and one more for every input that has none: nothing ever vanishes."""
    missing = {source.song_id: source for source in sources}
    for row in rows:
        if missing.pop(row["song_id"], None) is None:
            raise GansynthError(f"{row['song_id']}: was reported twice; please report this as a bug.")
        yield row
    for song_id, source in missing.items():
        yield {
            "status": "failed",
            "song_id": song_id,
            "stage": "mix",
            "error": "LostSong",
            "message": "the runner lost this song",
            "trace": "",
            "source": source.url,
        }
