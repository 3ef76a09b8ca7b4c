"""Runs on other machines: the corpus as one pipeline, its inputs listed in a file that the workers read."""

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
from transforms.check_worker import CheckWorker, code_digest
from transforms.list_files import ListFiles

INPUTS = "inputs.list"
_SONGS_OF_SHARD = 2000


class JobError(GansynthError):
    """The job was started and did not end well."""


def render(
    pipeline: beam.Pipeline, config: JobConfig, runner: str, sources: Listing, quiet: bool = False
) -> SliceResult:
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
    files.upload(sources.path, _list_url(config))
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
    counted: Counter[str] = Counter()
    with contextlib.suppress(Exception):  # the songs are there, whether or not the service still tells what it counted
        counted = counters(result)
    return SliceResult(len(sources), counted)


def draw(config: JobConfig, resumes: bool, args: Sequence[str], runner: str, songs: int) -> beam.Pipeline:
    """Draws the pipeline of a corpus, ready to run.

    Args:
        config: the job.
        resumes: whether songs that an earlier run has finished are left as they are.
        args: Beam options.
        runner: the name of a runner.
        songs: their number, which decides how many files of rows there are.

    Raises:
        ConfigError: Beam refuses an option or a resource hint.
    """
    # This machine plans; whether a worker has a GPU is for the worker to say.
    here = config.model_copy(update={"compute": config.compute.model_copy(update={"device": "cpu"})})
    job = ResolvedJob(config, resolve(here).spec, resumes)
    try:
        pipeline = beam.Pipeline(runner=runner, options=PipelineOptions(list(args)))
        shards = 1 + min(songs // _SONGS_OF_SHARD, 999)
        pipeline | "CheckWorker" >> CheckWorker(job.model, code_digest(), config.compute.resource_hints)
        sources = ListFiles(_list_url(config), config.storage)
        graph.build(pipeline, job, sources, shards=shards, combine_before_shuffle=False)
    except ValueError as error:
        raise ConfigError(f"--runner {runner}: {error}") from None
    return pipeline


def request_text(config: JobConfig, args: Sequence[str], runner: str, songs: int) -> str:
    """Formats the job that would be submitted, for people to read; submits nothing."""
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
