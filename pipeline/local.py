"""Local runs: slices of songs, each a pipeline of its own, on all cores of this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions

from gansynth import storage
from gansynth.model_process import ModelProcess, end_with_parent
from gansynth.notes import estimated_seconds, read_midi
from gansynth.score import Voice
from gansynth.synthesizer import description
from pipeline import board, graph, inputs
from pipeline.config import JobConfig
from transforms import counters
from transforms.elements import Source
from transforms.mix_songs import mixes_stay
from transforms.synthesize import share_model

SLICE_SECONDS = 3600.0
"""Seconds of sound that one process has in memory at once, but for a song that is longer; 0.4 GiB for a thousand."""


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


def slices(sources: Collection[Source], config: JobConfig) -> Iterator[Part]:
    """Runs of songs that fit in memory together: the in-process runner holds all that is between two stages.

    The last ones are smaller, so that all processes end at about the same time.
    """
    part: list[Source] = []
    total = number = 0
    count, left = workers(config), len(sources)
    most, limit = (size // count for size in (config.compute.slice_songs, config.compute.slice_bytes))
    for source in sources:
        size = inputs.size(source)
        enough = min(most, max(most // 4, left // (2 * count)))
        full = len(part) >= enough or total + size > limit
        if part and full:
            yield Part(f"part-{number:06d}", tuple(part))
            left -= len(part)
            part, total, number = [], 0, number + 1
        part.append(source)
        total += size
    if part:
        yield Part(f"part-{number:06d}", tuple(part))


def workers(config: JobConfig) -> int:
    """How many processes the config asks for: as many as cores this process may use, unless it says otherwise."""
    return config.compute.workers or len(os.sched_getaffinity(0))


def render_part(
    config: JobConfig, beam_args: Sequence[str], part: Part, voice: Voice, digest: str, runner: str = "FnApiRunner"
) -> Done:
    """Renders one part as a pipeline of its own, or several if its songs are very long; with Beam's in-process runner
    unless another is named."""
    storage.configure(config.storage)
    options = PipelineOptions(list(beam_args))
    in_memory = options.view_as(DirectOptions).direct_running_mode == "in_memory"
    done = Done(len(part.sources))
    for piece in bounded(part, config):
        pipeline = beam.Pipeline(runner=runner, options=options)
        graph.build(pipeline, config, piece.sources, voice, digest, piece.name)
        with board.showing(), mixes_stay() if in_memory else nullcontext():
            result = pipeline.run()
            result.wait_until_finish()
        done.counters += graph.counters(result)
    return done


def bounded(part: Part, config: JobConfig) -> Iterator[Part]:
    """The part, cut where its songs are too long to be in memory together: ten kilobytes may sound for an hour."""
    piece: list[Source] = []
    total, number = 0.0, 0
    lengths = [0.0]
    if len(part.sources) > 1:
        with ThreadPoolExecutor(8) as pool:  # where files are far away, waiting is most of it
            lengths = list(pool.map(lambda source: _seconds(source, config), part.sources))
    for source, seconds in zip(part.sources, lengths, strict=True):
        if piece and total + seconds > SLICE_SECONDS:
            yield Part(f"{part.name}-{number}", tuple(piece))
            piece, total, number = [], 0.0, number + 1
        piece.append(source)
        total += seconds
    yield Part(f"{part.name}-{number}" if number else part.name, tuple(piece))


def _seconds(source: Source, config: JobConfig) -> float:
    longest = config.envelope.max_sustain + config.envelope.release
    try:
        return estimated_seconds(read_midi(source.url, config.notes), config.notes, longest)
    except Exception:  # for ReadMidi to report
        return 0.0


class Crew:
    """The processes that render parts: this one alone, or several that share one model, in a process of its own.

    A process that dies (out of memory, say) takes the parts in flight with it; their songs are then rendered one
    by one, each alone in a process, until the one that kills is found and reported.

    Args:
        config: the job.
        beam_args: Beam's options.
        count: how many processes.
        do: what is done with a part.
        model: whether that needs one.
    """

    def __init__(
        self,
        config: JobConfig,
        beam_args: Sequence[str],
        count: int,
        do: Callable[..., Done] = render_part,
        model: bool = True,
    ) -> None:
        self._count, self._do = count, do
        self._config = config if count == 1 else _share(config, count)
        self._args = tuple(beam_args)
        self._model: ModelProcess | None = None
        self._address: Any = None
        self._pool: ProcessPoolExecutor | None = None
        self._board: board.Board | None = None
        if count > 1:
            _context()
            if model:
                self._model = _model_process(config)
                self._address = self._model.address
            self._pool, self._board = _pool(count, self._address)
        self._before = counters.seen()

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        if self._model is not None:
            self._model.stop()

    def describe(self) -> tuple[Voice, str]:
        """See graph.describe; where there are several processes, this one need not load the model."""
        if self._model is None:
            return graph.describe(self._config)
        return self._model.ask(description, self._config.instruments, self._config.envelope)

    def in_flight(self) -> Counter[str]:
        """What the parts that are being rendered have counted so far."""
        return counters.seen() - self._before if self._board is None else self._board.counts()

    def render(self, parts: Iterable[Part], voice: Voice, digest: str) -> Iterator[Done]:
        """Renders parts, a few at a time."""
        if self._pool is None:
            for only in parts:
                done = self._do(self._config, self._args, only, voice, digest)
                self._before = counters.seen()
                yield done
            return
        waiting = iter(parts)
        running: dict[Future[Done], Part] = {}
        while True:
            while len(running) <= self._count and (following := next(waiting, None)) is not None:
                future = self._pool.submit(self._do, self._config, self._args, following, voice, digest)
                running[future] = following
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            suspects = []
            for ended in finished:
                part = running.pop(ended)
                try:
                    yield ended.result()
                except BrokenProcessPool:
                    suspects.append(part)
            if suspects:
                suspects += running.values()
                running.clear()
                self._pool.shutdown()
                for suspect in suspects:
                    yield from self._one_by_one(suspect, voice, digest)
                self._pool, self._board = _pool(self._count, self._address)

    def _one_by_one(self, part: Part, voice: Voice, digest: str) -> Iterator[Done]:
        for number, source in enumerate(part.sources):
            alone = Part(f"{part.name}-{number:06d}", (source,))
            with _pool(1)[0] as pool:
                try:
                    yield pool.submit(self._do, self._config, self._args, alone, voice, digest).result()
                except BrokenProcessPool:
                    yield Done(1, lost=(source,))


def _share(config: JobConfig, count: int) -> JobConfig:
    """The config of one of `count` processes: its share of the cores and of the cache (half is the model's)."""
    compute = config.compute
    threads = compute.threads or max(1, len(os.sched_getaffinity(0)) // count)
    share = compute.model_copy(
        update={
            "threads": threads,
            "cache_bytes": compute.cache_bytes // count // 2,
        }
    )
    return config.model_copy(update={"compute": share})


def _model_process(config: JobConfig) -> ModelProcess:
    """The process that all others have their sounds from; half of the cache is its own."""
    whole = config.compute.model_copy(update={"cache_bytes": config.compute.cache_bytes // 2})
    load = graph.model_settings(config.model_copy(update={"compute": whole})).load
    # Not from the server that pools come from: TensorFlow is imported while that imports Beam.
    return ModelProcess(multiprocessing.get_context("spawn"), load)


def _context() -> ForkServerContext:
    """Processes that start with everything imported but TensorFlow, from a parent that runs nothing else."""
    os.environ.setdefault("MALLOC_ARENA_MAX", "2")  # read when a process starts: threads keep less of what they free
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.local", "gansynth._note_seq", "pipeline.preloaded"])
    forkserver.ensure_running()
    return context


def _pool(count: int, model: Any = None) -> tuple[ProcessPoolExecutor, board.Board]:
    """Processes that render, each with a model of its own unless the address of another's is given; their board."""
    context = _context()
    shared = board.Board(context, count)
    return ProcessPoolExecutor(count, mp_context=context, initializer=_begin, initargs=(shared, model)), shared


def _begin(shared: board.Board, model: Any) -> None:
    """What each process of a pool does first."""
    end_with_parent()
    shared.take_row()
    share_model(model)
