"""The work of one process: it renders slices one after the other, each in a pipeline of its own."""

from __future__ import annotations

import logging
import signal
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from gansynth.io import urls
from gansynth.model.server import end_with_parent
from pipeline import graph
from pipeline.job import ResolvedJob, counters
from pipeline.local.shared_counters import SharedCounters, publish_counters
from pipeline.local.slices import Slice, SliceResult, bounded
from transforms.worker_context import CONTEXT


def start_worker(shared: SharedCounters, model_address: Any, scratch: str) -> None:
    """Initialises a worker process: it ends with its parent, publishes its counters and uses a model server.

    Ctrl-C reaches all processes of a terminal; this one leaves it to its parent.

    Args:
        shared: the counters' table in shared memory.
        model_address: address of the model server; None to load a model in this process.
        scratch: folder for temporary files, which the parent removes.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tempfile.tempdir = scratch
    end_with_parent()
    CONTEXT.publish = shared.claim_row()
    CONTEXT.model_address = model_address


def render_slice(job: ResolvedJob, beam_args: Sequence[str], songs: Slice, runner: str = "FnApiRunner") -> SliceResult:
    """Renders a slice in a pipeline of its own, or in several if its songs are very long.

    Args:
        job: the job.
        beam_args: Beam options.
        songs: the slice.
        runner: name of the runner; Beam's in-process runner by default.
    """
    urls.configure(job.config.storage)
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)  # it logs every exception that it passes on, too
    options = PipelineOptions(list(beam_args))
    in_memory = options.view_as(DirectOptions).direct_running_mode == "in_memory"
    outcome = SliceResult(len(songs.sources))
    for smaller in bounded(songs, job.config):
        pipeline = beam.Pipeline(runner=runner, options=options)
        graph.build(pipeline, job, beam.Create(smaller.sources), name=smaller.name)
        with publish_counters(), CONTEXT.keep_mixes_in_process() if in_memory else nullcontext():
            result = pipeline.run()
            result.wait_until_finish()
        outcome.counters += counters(result)
    return outcome
