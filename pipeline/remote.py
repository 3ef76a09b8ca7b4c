"""Runs on other machines: the corpus as one pipeline, its inputs listed in a file that the workers read."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from gansynth import storage
from gansynth.errors import ConfigError, GansynthError
from pipeline import dataflow, graph
from pipeline.config import JobConfig
from pipeline.inputs import Listing
from pipeline.local import Done

INPUTS = "inputs.list"
_SONGS_OF_SHARD = 2000


class JobError(GansynthError):
    """The job was started and did not end well."""


def render(pipeline: beam.Pipeline, config: JobConfig, runner: str, sources: Listing, quiet: bool = False) -> Done:
    """Runs the pipeline of a corpus; says where a Dataflow job can be watched, unless `quiet`.

    Args:
        pipeline: what `draw` gave.
        config: the job.
        runner: the name of its runner.
        sources: the corpus.
        quiet: say nothing.

    Raises:
        JobError: the runner reports that it failed.
    """
    storage.upload(sources.path, _list_url(config))
    result: Any = None
    try:
        result = pipeline.run()
        if runner == dataflow.RUNNER and not quiet:
            print(dataflow.link(result.job_id(), pipeline.options), file=sys.stderr)
        result.wait_until_finish()
    except Exception as error:  # every runner has errors of its own
        what = dataflow.outcome(result) if runner == dataflow.RUNNER else "the job failed"
        text = str(error).strip() or type(error).__name__
        raise JobError(f"{runner}: {what}: {text}") from error
    counters: Counter[str] = Counter()
    with contextlib.suppress(Exception):  # the songs are there, whether or not the service still tells what it counted
        counters = graph.counters(result)
    return Done(len(sources), counters)


def draw(config: JobConfig, args: Sequence[str], runner: str, songs: int) -> beam.Pipeline:
    """The pipeline of a corpus of so many songs, ready to run.

    Raises:
        ConfigError: Beam refuses an option or a resource hint.
    """
    # This machine plans; whether a worker has a GPU is for the worker to say.
    here = config.model_copy(update={"compute": config.compute.model_copy(update={"device": "cpu"})})
    voice, digest = graph.describe(here)
    try:
        pipeline = beam.Pipeline(runner=runner, options=PipelineOptions(list(args)))
        shards = 1 + min(songs // _SONGS_OF_SHARD, 999)
        graph.build(pipeline, config, _list_url(config), voice, digest, shards=shards)
    except ValueError as error:
        raise ConfigError(f"--runner {runner}: {error}") from None
    return pipeline


def describe(config: JobConfig, args: Sequence[str], runner: str, songs: int) -> str:
    """The job that would be submitted, for people to read; nothing is."""
    if runner == dataflow.RUNNER:
        pipeline = draw(config, [*args, "--dry_run=True"], runner, songs)
        try:
            return dataflow.describe(pipeline)
        except (ValueError, RuntimeError) as error:
            raise ConfigError(f"--runner {runner}: {error}") from None
    steps = dataflow.steps_and_hints(draw(config, args, runner, songs).to_runner_api())
    return "\n".join(["steps:", *(f"  {name}{f'  {hints}' if hints else ''}" for name, hints in steps)])


def _list_url(config: JobConfig) -> str:
    return storage.join(config.output, graph.ROWS, INPUTS)
