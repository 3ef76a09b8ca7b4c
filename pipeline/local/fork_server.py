"""The fork server: a process that has everything imported except TensorFlow, from which worker processes are forked.

Imports nothing heavy itself, so that the command line can start the server before its own imports: both then run at
the same time.
"""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

from pipeline import stopping
from pipeline.config import JobConfig

_MODULES = [
    "pipeline.local.import_beam",
    "pipeline.local.pool",
    "pipeline.local.worker",
    "matplotlib.cm",
    "PIL.ImageDraw",
    "PIL.ImageFont",
    "scipy.sparse",
    "soundfile",
    "soxr",
    "tenacity",
]


def start(config: JobConfig) -> ForkServerContext:
    """Starts the fork server, unless it runs, and returns the context of its processes."""
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # read when a process starts: threads hold on to less freed memory
    context = multiprocessing.get_context("forkserver")
    reader = ["gansynth.midi.note_seq"] if config.notes.reader == "note_seq" else []
    context.set_forkserver_preload([*_MODULES, *reader, "pipeline.local.preload"])
    with stopping.blocked():
        forkserver.ensure_running()
    return context
