"""Remote runs: the corpus is rendered by one pipeline, whose workers read the list of inputs from a file."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, PortableOptions

from gansynth.errors import ConfigError
from gansynth.io import files, urls
from pipeline import dataflow, graph
from pipeline.config import JobConfig
from pipeline.earlier import Fits
from pipeline.inputs import Listing
from pipeline.job import resolve
from pipeline.lock import Lock
from pipeline.runners import JobError
from pipeline.terminal import say
from pipeline.write_report import WriteReport
from transforms.check_worker import CheckWorker, code_digest
from transforms.counters import counters_of
from transforms.list_files import ListFiles

INPUTS = "inputs.list"
ATTEMPTS = ".attempts"
"""Folder below the output folder with the markers of attempts, see transforms.attempts; outlasts a failed job."""
_SONGS_OF_SHARD, _SHARDS = 2000, 1000
_ANSWER_SECONDS = 30.0


def render(
    pipeline: beam.Pipeline,
    rows: str,
    runner: str,
    sources: Listing,
    lock: Lock,
    args: Sequence[str] = (),
    quiet: bool = False,
) -> Counter[str]:
    """Runs the pipeline of a corpus to its end, or writes its template; prints the console URL of a Dataflow job.

    Args:
        pipeline: the pipeline from `draw`.
        rows: the job's folder of rows.
        runner: name of its runner.
        sources: the corpus.
        lock: the lock of the output folder, which names the remote job until it is known to have ended.
        args: Beam options.
        quiet: if true, nothing is printed.

    Returns:
        The job's counters by name.

    Raises:
        JobError: the job failed, or contact with it was lost.
    """
    files.upload(sources.path, urls.join(rows, INPUTS))
    result: Any = None
    try:
        result = pipeline.run()
        lock.name_remote_job(_name(result, pipeline, runner))
        if template(args):
            return Counter()
        if runner == dataflow.RUNNER and not quiet:
            say(dataflow.link(result.job_id(), pipeline.options))
        result.wait_until_finish()
    except Exception as error:  # each runner has its own exception types
        state = dataflow.outcome(result) if runner == dataflow.RUNNER else "the job failed"
        if result is not None and has_ended(lock.owner.remote, args):
            lock.name_remote_job({})
        failure = JobError(f"{runner}: {state}: {str(error).strip() or type(error).__name__}")
        failure.has_ended = result is not None and not lock.owner.remote
        raise failure from error
    lock.name_remote_job({})
    counted: Counter[str] = Counter()
    with contextlib.suppress(Exception):  # the songs are rendered even if the service no longer returns the counters
        counted = counters_of(result)
    return counted


def template(args: Sequence[str]) -> str | None:
    """Returns where a template of the job is to be written; None if the job is to be started.

    Args:
        args: Beam options, as on a command line.
    """
    location = PipelineOptions(list(args)).view_as(GoogleCloudOptions).template_location
    return None if location is None else str(location)


def _name(result: Any, pipeline: beam.Pipeline, runner: str) -> dict[str, str]:
    """Names a job by what its runner needs to tell its state; empty for a runner that has no service to ask."""
    if runner == dataflow.RUNNER:
        cloud = pipeline.options.view_as(GoogleCloudOptions)
        job = {"runner": runner, "project": cloud.project, "region": cloud.region}
        if cloud.template_location:
            return {**job, "job": cloud.job_name, "name": cloud.job_name, "written": str(time.time())}
        return {**job, "job": result.job_id()}
    service = pipeline.options.view_as(PortableOptions).job_endpoint
    if runner == "PortableRunner" and service and service != "embed":
        return {"runner": runner, "job": result._job_id, "service": service}
    return {}


def has_ended(job: Mapping[str, str], args: Sequence[str] = ()) -> bool | None:
    """Asks a runner whether a job has ended.

    Args:
        job: the job, as in the lock of its output folder.
        args: Beam options of the connection, as on a command line.

    Returns:
        True or False; None if the runner does not tell.
    """
    import grpc
    from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
    from apache_beam.runners.runner import PipelineState

    if not job:
        return True
    try:
        if job["runner"] == dataflow.RUNNER:
            return dataflow.has_ended(job, args)
        with grpc.insecure_channel(job["service"]) as channel:
            request = beam_job_api_pb2.GetJobStateRequest(job_id=job["job"])
            state = beam_job_api_pb2_grpc.JobServiceStub(channel).GetState(request, timeout=_ANSWER_SECONDS).state
            return bool(PipelineState.is_terminal(beam_job_api_pb2.JobState.Enum.Name(state)))
    except Exception:  # each runner has its own exception types
        return None


def draw(
    config: JobConfig,
    resumes: bool,
    args: Sequence[str],
    runner: str,
    sources: Listing,
    name: str = "job",
    fits: Fits | None = None,
) -> beam.Pipeline:
    """Draws the pipeline of a corpus, ready to run.

    Args:
        config: the job.
        resumes: if true, songs that an earlier run finished are not rendered again.
        args: Beam options.
        runner: name of the runner.
        sources: the corpus; only its size and some of its ids become part of the pipeline.
        name: name of the job's folder of rows.
        fits: tells which rows of earlier jobs stay in the lists; None if there are none.

    Raises:
        ConfigError: Beam rejects an option or a resource hint.
    """
    # This machine only plans; the worker checks that it has a GPU.
    here = config.model_copy(update={"compute": config.compute.model_copy(update={"device": "cpu"})})
    job = replace(resolve(here, resumes, name), config=config)
    try:
        pipeline = beam.Pipeline(runner=runner, options=PipelineOptions(list(args)))
        pipeline | "CheckWorker" >> CheckWorker(job.model, code_digest(), config.compute.resource_hints)
        attempts = urls.join(config.output, ATTEMPTS)
        bounds = sources.bounds(1 + min(len(sources) // _SONGS_OF_SHARD, _SHARDS - 1))
        files = ListFiles(urls.join(job.rows, INPUTS), config.storage)
        rows = graph.build(pipeline, job, files, bounds=bounds, combine_before_shuffle=False, attempts=attempts)
        rows | "WriteReport" >> WriteReport(config, job.rows, len(sources), fits)
    except ValueError as error:
        raise ConfigError(f"--runner {runner}: {error}") from None
    return pipeline


def request_text(config: JobConfig, args: Sequence[str], runner: str, sources: Listing) -> str:
    """Formats the job that would be submitted; submits nothing.

    Args:
        config: the job.
        args: Beam options.
        runner: name of the runner.
        sources: the corpus.

    Raises:
        ConfigError: Beam rejects an option or a resource hint.
    """
    if runner == dataflow.RUNNER:
        pipeline = draw(config, config.resume, [*args, "--dry_run=True"], runner, sources)
        try:
            return dataflow.request_text(pipeline)
        except (ValueError, RuntimeError) as error:
            raise ConfigError(f"--runner {runner}: {error}") from None
    steps = dataflow.steps_and_hints(draw(config, config.resume, args, runner, sources).to_runner_api())
    return "\n".join(["steps:", *(f"  {name}{f'  {hints}' if hints else ''}" for name, hints in steps)])
