"""The worker pool: renders slices in this process, or in several processes that share one model server."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from gansynth.model.open_bank import open_bank
from gansynth.model.server import ModelServer, end_with_parent
from gansynth.model.synthesizer import Synthesizer
from gansynth.score.spec import checked_spec
from pipeline import stopping
from pipeline.config import JobConfig
from pipeline.job import ResolvedJob, model_settings, resolve, with_kit
from pipeline.local import fork_server
from pipeline.local.shared_counters import SharedCounters
from pipeline.local.slices import Slice, SliceResult
from pipeline.stopping import Stop
from transforms.worker_context import CONTEXT

_STARTER_DIED = (EOFError, ConnectionError)
"""Exceptions of a start when the process that starts the others has died; the next start replaces it."""
_STARTS = 3


def render_slice(job: ResolvedJob, beam_args: Sequence[str], songs: Slice) -> SliceResult:
    """Renders a slice, see pipeline.local.worker."""
    from pipeline.local import worker  # imports Beam, which the process that only starts others does without

    return worker.render_slice(job, beam_args, songs)


class WorkerPool:
    """The worker processes of a local run.

    If a process dies, out of memory for instance, all slices in flight are lost. Their songs are then rendered one by
    one, each alone in a process, and those that kill their process are reported.

    Args:
        config: the job's settings.
        beam_args: Beam options.
        count: number of processes beside this one; with 0, slices are rendered in this one.
        work: function that processes one slice: `work(job, beam_args, slice)`.
        model: if true, several processes get a model server.
        stop: the request to stop; once it is made, processes are ended instead of waited for.

    Attributes:
        lost_processes: true once a process has died; it may have left incomplete files.
    """

    def __init__(
        self,
        config: JobConfig,
        beam_args: Sequence[str],
        count: int,
        work: Callable[[ResolvedJob, Sequence[str], Slice], SliceResult] = render_slice,
        model: bool = True,
        stop: Stop | None = None,
    ) -> None:
        self._count, self._work = count, work
        self._config = _share(config, count) if count else config
        self._args = tuple(beam_args)
        self._server: ModelServer | None = None
        self._address: Any = None
        self._pool: ProcessPoolExecutor | None = None
        self._shared: SharedCounters | None = None
        self._stop = stop or Stop()
        self.lost_processes = False
        if count:
            with stopping.blocked():
                fork_server.start(config)
        self._is_warm = model and _is_warm(config)
        self._looks_ahead = model and not config.instruments.glides
        self._renders_sounds = not self._is_warm
        self._scratch = tempfile.TemporaryDirectory(prefix="gansynth-workers-")
        if count:
            with stopping.blocked():
                if model:
                    self._server = _model_server(config, lazily=self._is_warm)
                    self._address = self._server.address
            self._pool, self._shared = self._start_processes(count, self._address)
        self._before = CONTEXT.total()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            if self._stop.number:
                for process in list((self._pool._processes or {}).values()):
                    process.kill()
            self._pool.shutdown(cancel_futures=True)
        if self._server is not None:
            self._server.stop()
        self._scratch.cleanup()

    def resolve(self, resume: bool, name: str = "job") -> ResolvedJob:
        """Resolves the job; with several processes, the model server loads the model instead of this process.

        Where the sound bank has sounds of the model, nothing loads it before a sound is missing.

        Args:
            resume: if true, songs that an earlier run finished are not rendered again.
            name: name of the job's folder of rows.

        Raises:
            CheckpointError: the checkpoint cannot be used.
            ConfigError: the bank, the envelope or the drum kit cannot be used.
        """
        if self._server is None or self._is_warm:
            return resolve(self._config, resume, name)
        spec = self._server.ask(checked_spec, self._config.instruments, self._config.envelope)
        return with_kit(ResolvedJob(self._config, spec, resume, name=name))

    def in_flight(self) -> Counter[str]:
        """Returns the counters of the slices that are being rendered."""
        return CONTEXT.total() - self._before if self._shared is None else self._shared.total()

    def render(self, slices: Iterable[Slice], job: ResolvedJob) -> Iterator[SliceResult]:
        """Renders slices, a few at a time.

        Args:
            slices: slices from `pipeline.local.slices.cut`, taken as processes become free.
            job: the job from `resolve`.

        Returns:
            The result of each slice, in the order in which they end.
        """
        for result in self._render(self._looked_through(iter(slices), job), job):
            self._renders_sounds = result.counters["synthesis_slots"] > 0
            yield result

    def _looked_through(self, slices: Iterator[Slice], job: ResolvedJob) -> Iterator[Slice]:
        """Yields slices; as long as sounds are missing, looks through many of them before they are rendered."""
        for one in slices:
            if not (self._looks_ahead and self._renders_sounds):
                yield one
                continue
            from pipeline.local import look_ahead  # a job that has all its sounds does without

            group = list(look_ahead.take(itertools.chain([one], slices)))
            if len(group) > 1:
                self._look_through(group, job)
            yield from group

    def _look_through(self, slices: Sequence[Slice], job: ResolvedJob) -> None:
        """Tells the model how long the sounds of some slices will be needed."""
        from pipeline.local import look_ahead

        if self._pool is None:
            from transforms.model import acquire  # imports Beam

            found = [look_ahead.needed_sounds(job, one) for one in slices]
            acquire(job.model).expect(look_ahead.merged(itertools.chain.from_iterable(found)))
            return
        assert self._server is not None
        with contextlib.suppress(BrokenProcessPool, EOFError, OSError):  # rendering deals with what killed a process
            with self._start_processes(min(self._count, len(slices)))[0] as pool:
                found = list(pool.map(look_ahead.needed_sounds, itertools.repeat(job), slices))
            self._server.ask(Synthesizer.expect, look_ahead.merged(itertools.chain.from_iterable(found)))

    def _render(self, waiting: Iterator[Slice], job: ResolvedJob) -> Iterator[SliceResult]:
        if self._pool is None:
            for only in waiting:
                outcome = self._work(job, self._args, only)
                self._before = CONTEXT.total()
                yield outcome
            return
        running: dict[Future[SliceResult], Slice] = {}
        while True:
            while len(running) <= self._count and (following := next(waiting, None)) is not None:
                running[self._submit(following, job)] = following
            if not running:
                return
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            suspects = []
            for future in ended:
                ended_slice = running.pop(future)
                try:
                    yield future.result()
                except BrokenProcessPool:
                    suspects.append(ended_slice)
            if suspects and self._stop.number:
                raise KeyboardInterrupt  # the same signal has ended the processes
            if suspects:
                self.lost_processes = True
                suspects += running.values()
                running.clear()
                self._pool.shutdown(cancel_futures=True)
                for suspect in suspects:
                    yield from self._one_by_one(suspect, job)
                self._pool, self._shared = self._start_processes(self._count, self._address)

    def _submit(self, songs: Slice, job: ResolvedJob) -> Future[SliceResult]:
        """Hands a slice to a process; the future fails if processes have died, or cannot be started."""
        assert self._pool is not None
        try:
            return self._pool.submit(self._work, job, self._args, songs)
        except (BrokenProcessPool, *_STARTER_DIED) as error:
            failed: Future[SliceResult] = Future()
            failed.set_exception(BrokenProcessPool(str(error)))
            return failed

    def _one_by_one(self, songs: Slice, job: ResolvedJob) -> Iterator[SliceResult]:
        for number, source in enumerate(songs.sources):
            yield self._alone(Slice(f"{songs.name}-{number:06d}", (source,)), job)

    def _alone(self, song: Slice, job: ResolvedJob) -> SliceResult:
        """Renders one song in a process of its own, which it may kill."""
        for _ in range(_STARTS):
            with self._start_processes(1)[0] as pool:
                try:
                    future = pool.submit(self._work, job, self._args, song)
                except _STARTER_DIED:
                    continue
                try:
                    return future.result()
                except BrokenProcessPool:
                    break
        return SliceResult(1, lost=song.sources)

    def _start_processes(self, count: int, model_address: Any = None) -> tuple[ProcessPoolExecutor, SharedCounters]:
        """Starts processes; each loads a model of its own unless a model server's address is given."""
        context = fork_server.start(self._config)
        shared = SharedCounters(context, count)
        initargs = (shared, model_address, self._scratch.name, dict(os.environ))
        return ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker, initargs=initargs), shared


def _start_worker(shared: SharedCounters, model_address: Any, scratch: str, environment: Mapping[str, str]) -> None:
    """Initialises a worker process: it ends with its parent, publishes its counters and uses a model server.

    Ctrl-C reaches all processes of a terminal; this one leaves it to its parent.

    Args:
        shared: the counters' table in shared memory.
        model_address: address of the model server; None to load a model in this process.
        scratch: folder for temporary files, which the parent removes.
        environment: variables of the parent, which may differ from those with which the fork server was started.
    """
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tempfile.tempdir = scratch
    end_with_parent()
    CONTEXT.publish = shared.claim_row()
    CONTEXT.model_address = model_address


def _share(config: JobConfig, count: int) -> JobConfig:
    """Divides cores and cache among `count` processes; half of the cache is left to the model server."""
    compute = config.compute
    threads = compute.threads or max(1, len(os.sched_getaffinity(0)) // count)
    share = {"threads": threads, "cache_bytes": compute.cache_bytes // count // 2}
    return config.model_copy(update={"compute": compute.model_copy(update=share)})


def _is_warm(config: JobConfig) -> bool:
    """Tells whether the sound bank has sounds of the job's model, so that the model may not be needed."""
    settings = model_settings(config)
    known = settings.known()
    return known is not None and bool(open_bank(settings.sound_bank, known.collection))


def _model_server(config: JobConfig, lazily: bool) -> ModelServer:
    """Makes the model server, with half of the cache."""
    server = config.compute.model_copy(update={"cache_bytes": config.compute.cache_bytes // 2})
    load = model_settings(config.model_copy(update={"compute": server})).load
    # Spawned, not forked from the pool's fork server: TensorFlow is imported while that server imports Beam.
    return ModelServer(multiprocessing.get_context("spawn"), load, lazily)
