"""Local runs: slices of songs, each a pipeline of its own, on all cores of this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from gansynth.score import Voice
from pipeline import graph, inputs
from pipeline.config import JobConfig
from transforms.elements import Source


@dataclass(frozen=True)
class Part:
    """A slice of the corpus: a name for its rows, and its songs."""

    name: str
    sources: tuple[Source, ...]


@dataclass
class Done:
    """What came of a part: its songs' number, Beam's counters, and songs that killed their process."""

    songs: int
    counters: Counter[str] = field(default_factory=Counter)
    lost: tuple[Source, ...] = ()


def slices(sources: Iterable[Source], config: JobConfig) -> Iterator[Part]:
    """Runs of songs that fit in memory together: the in-process runner holds all that is between two stages."""
    part: list[Source] = []
    total = number = 0
    for source in sources:
        size = inputs.size(source)
        full = len(part) >= config.compute.slice_songs or total + size > config.compute.slice_bytes
        if part and full:
            yield Part(f"part-{number:06d}", tuple(part))
            part, total, number = [], 0, number + 1
        part.append(source)
        total += size
    if part:
        yield Part(f"part-{number:06d}", tuple(part))


def workers(config: JobConfig) -> int:
    """How many processes the config asks for: as many as cores this process may use, unless it says otherwise."""
    return config.compute.workers or len(os.sched_getaffinity(0))


def render_part(config: JobConfig, beam_args: Sequence[str], part: Part, voice: Voice, digest: str) -> Done:
    """Renders one part with Beam's in-process runner."""
    pipeline = beam.Pipeline(runner="FnApiRunner", options=PipelineOptions(list(beam_args)))
    graph.build(pipeline, config, part.sources, voice, digest, part.name)
    result = pipeline.run()
    result.wait_until_finish()
    return Done(len(part.sources), graph.counters(result))


def render_parts(
    config: JobConfig, beam_args: Sequence[str], parts: Iterable[Part], voice: Voice, digest: str
) -> Iterator[Done]:
    """Renders parts in several processes, a few at a time.

    A process that dies (out of memory, say) takes the parts in flight with it; their songs are then rendered one
    by one, each alone in a process, until the one that kills is found and reported.
    """
    count = workers(config)
    config = shared_out(config, count)
    waiting = iter(parts)
    suspects: deque[Part] = deque()
    arguments = (config, tuple(beam_args))
    running: dict[Future[Done], Part] = {}
    pool = _pool(count)
    try:
        while True:
            while len(running) < count + 1 and (part := next(waiting, None)) is not None:
                running[pool.submit(render_part, *arguments, part, voice, digest)] = part
            if not running:
                break
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            broken = False
            for future in finished:
                part = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    broken = True
                    suspects.append(part)
            if broken:
                suspects.extend(running.values())
                running.clear()
                pool.shutdown()
                for part in suspects:
                    yield from _one_by_one(arguments, part, voice, digest)
                suspects.clear()
                pool = _pool(count)
    finally:
        pool.shutdown(cancel_futures=True)


def shared_out(config: JobConfig, count: int) -> JobConfig:
    """The config of one of `count` processes: its share of the cores and of the cache."""
    compute = config.compute
    threads = compute.threads or max(1, len(os.sched_getaffinity(0)) // count)
    shared = compute.model_copy(update={"threads": threads, "cache_bytes": compute.cache_bytes // count})
    return config.model_copy(update={"compute": shared})


def _one_by_one(arguments: tuple[JobConfig, tuple[str, ...]], part: Part, voice: Voice, digest: str) -> Iterator[Done]:
    for number, source in enumerate(part.sources):
        alone = Part(f"{part.name}-{number:06d}", (source,))
        with _pool(1) as pool:
            try:
                yield pool.submit(render_part, *arguments, alone, voice, digest).result()
            except BrokenProcessPool:
                yield Done(1, lost=(source,))


def _pool(count: int) -> ProcessPoolExecutor:
    """Processes that start with everything imported, from a parent that runs nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.local", "gansynth._tensorflow", "gansynth.notes"])
    return ProcessPoolExecutor(count, mp_context=context)
