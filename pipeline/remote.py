"""Remote runs: the corpus is rendered by one pipeline, whose workers read the list of inputs from a file."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from gansynth.errors import ConfigError, GansynthError
from gansynth.io import files, urls
from pipeline import dataflow, graph
from pipeline.config import JobConfig
from pipeline.inputs import Listing
from pipeline.job import ROWS, ResolvedJob, counters, resolve
from pipeline.local.slices import SliceResult
from transforms.attempts import Attempts
from transforms.check_worker import CheckWorker, code_digest
from transforms.list_files import ListFiles

INPUTS = "inputs.list"
ATTEMPTS = ".attempts"
"""Folder below the output folder with the markers of attempts, see transforms.attempts; outlasts a failed job."""
_SONGS_OF_SHARD = 2000


class JobError(GansynthError):
    """A job that was started and failed."""


def render(
    pipeline: beam.Pipeline, config: JobConfig, runner: str, sources: Listing, quiet: bool = False
) -> SliceResult:
    """Runs the pipeline of a corpus to its end; prints the console URL of a Dataflow job.

    Args:
        pipeline: the pipeline from `draw`.
        config: the job.
        runner: name of its runner.
        sources: the corpus.
        quiet: if true, nothing is printed.

    Raises:
        JobError: the job failed, or contact with it was lost.
    """
    files.upload(sources.path, _list_url(config))
    result: Any = None
    try:
        result = pipeline.run()
        if runner == dataflow.RUNNER and not quiet:
            print(dataflow.link(result.job_id(), pipeline.options), file=sys.stderr)
        result.wait_until_finish()
    except Exception as error:  # each runner has its own exception types
        state = dataflow.outcome(result) if runner == dataflow.RUNNER else "the job failed"
        text = str(error).strip() or type(error).__name__
        raise JobError(f"{runner}: {state}: {text}") from error
    Attempts(urls.join(config.output, ATTEMPTS)).tidy()
    counted: Counter[str] = Counter()
    with contextlib.suppress(Exception):  # the songs are rendered even if the service no longer returns the counters
        counted = counters(result)
    return SliceResult(len(sources), counted)


def draw(config: JobConfig, resumes: bool, args: Sequence[str], runner: str, songs: int) -> beam.Pipeline:
    """Draws the pipeline of a corpus, ready to run.

    Args:
        config: the job.
        resumes: if true, songs that an earlier run finished are not rendered again.
        args: Beam options.
        runner: name of the runner.
        songs: number of songs, which decides the number of files of rows.

    Raises:
        ConfigError: Beam rejects an option or a resource hint.
    """
    # This machine only plans; the worker checks that it has a GPU.
    here = config.model_copy(update={"compute": config.compute.model_copy(update={"device": "cpu"})})
    job = ResolvedJob(config, resolve(here).spec, resumes)
    try:
        pipeline = beam.Pipeline(runner=runner, options=PipelineOptions(list(args)))
        shards = 1 + min(songs // _SONGS_OF_SHARD, 999)
        pipeline | "CheckWorker" >> CheckWorker(job.model, code_digest(), config.compute.resource_hints)
        sources = ListFiles(_list_url(config), config.storage)
        attempts = urls.join(config.output, ATTEMPTS)
        graph.build(pipeline, job, sources, shards=shards, combine_before_shuffle=False, attempts=attempts)
    except ValueError as error:
        raise ConfigError(f"--runner {runner}: {error}") from None
    return pipeline


def request_text(config: JobConfig, args: Sequence[str], runner: str, songs: int) -> str:
    """Formats the job that would be submitted; submits nothing.

    Args:
        config: the job.
        args: Beam options.
        runner: name of the runner.
        songs: number of songs.

    Raises:
        ConfigError: Beam rejects an option or a resource hint.
    """
    if runner == dataflow.RUNNER:
        pipeline = draw(config, config.resume, [*args, "--dry_run=True"], runner, songs)
        try:
            return dataflow.request_text(pipeline)
        except (ValueError, RuntimeError) as error:
            raise ConfigError(f"--runner {runner}: {error}") from None
    steps = dataflow.steps_and_hints(draw(config, config.resume, args, runner, songs).to_runner_api())
    return "\n".join(["steps:", *(f"  {name}{f'  {hints}' if hints else ''}" for name, hints in steps)])


def _list_url(config: JobConfig) -> str:
    return urls.join(config.output, ROWS, INPUTS)
