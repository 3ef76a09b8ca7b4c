"""The rendering of slices: the pipeline of a job is drawn once in a process, and run on each of its slices."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import EmbeddedPythonEnvironment

from gansynth import memory
from gansynth.io import urls
from pipeline import graph
from pipeline.job import ResolvedJob
from pipeline.local.shared_counters import publish_counters
from pipeline.local.slices import Slice, SliceResult, bounded
from transforms.counters import counters_of
from transforms.elements import Source
from transforms.list_files import ListHeld
from transforms.worker_context import CONTEXT


def render_slice(job: ResolvedJob, beam_args: Sequence[str], songs: Slice) -> SliceResult:
    """Renders a slice by Beam's in-process runner, in several parts if its songs are very long.

    Args:
        job: the job.
        beam_args: Beam options.
        songs: the slice.
    """
    urls.configure(job.config.storage)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # it logs every exception that it passes on, too
    options = PipelineOptions(list(beam_args))
    in_memory = options.view_as(DirectOptions).direct_running_mode == "in_memory"
    outcome = SliceResult(len(songs.sources))
    for smaller in bounded(songs, job.config):
        with publish_counters():
            run = _run_here if in_memory else _run_elsewhere
            outcome.counters += run(job, options, smaller.sources)
        memory.release()  # the next part needs its largest pieces at another moment than other processes do
    return outcome


_drawn: tuple[object, Any] | None = None
"""What the latest pipeline was drawn for, and its portable form."""


def _run_here(job: ResolvedJob, options: PipelineOptions, sources: Sequence[Source]) -> Counter[str]:
    """Runs the job's pipeline on some songs in this process."""
    global _drawn
    runner = FnApiRunner()
    drawn_for = (job.config, job.digests, job.resume, job.name, options.get_all_options())
    if _drawn is None or _drawn[0] != drawn_for:
        pipeline = beam.Pipeline(runner=runner, options=options)
        shutil.rmtree(pipeline.local_tempdir, ignore_errors=True)  # only Pipeline.run would remove it
        graph.build(pipeline, job, ListHeld())
        _drawn = drawn_for, pipeline.to_runner_api(default_environment=EmbeddedPythonEnvironment.default())
    CONTEXT.sources = sources
    try:
        with CONTEXT.keep_mixes_in_process():
            return counters_of(runner.run_via_runner_api(_drawn[1], options))
    finally:
        CONTEXT.sources = ()


def _run_elsewhere(job: ResolvedJob, options: PipelineOptions, sources: Sequence[Source]) -> Counter[str]:
    """Runs a pipeline on some songs in processes of Beam's."""
    pipeline = beam.Pipeline(runner=FnApiRunner(), options=options)
    graph.build(pipeline, job, beam.Create(sources))
    result = pipeline.run()
    result.wait_until_finish()
    return counters_of(result)
