"""All that came of a song, gathered under its id: a complete mix, or the reason why there is none."""

from __future__ import annotations

import copyreg
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import apache_beam as beam

from gansynth.mix import SparseMix, merged
from gansynth.player import Bar
from gansynth.score import Score
from transforms.elements import Failure, Finished, Source

Part = Source | Score | Bar | Failure | Finished


@dataclass(frozen=True)
class MixedSong:
    """A song with all its notes, ready to be written.

    Attributes:
        source: the input file.
        score: what was planned.
        silent, broken: numbers of notes that came out silent or not finite.
        mix: the sum of all notes.
        stems: the sums of each stem's notes, by its number, where the song is cut into stems; none for silent ones.
    """

    source: Source
    score: Score
    silent: tuple[int, ...]
    broken: tuple[int, ...]
    mix: SparseMix = field(repr=False)
    stems: dict[int, SparseMix] = field(default_factory=dict, repr=False)


@dataclass
class MixSongs(beam.PTransform):
    """PCollection[(song_id, Part)] to exactly one MixedSong, Finished or Failure for every song_id.

    Every input file enters as a Source, so a song of which nothing else arrives is reported as lost, and one
    with notes missing fails: never a clip with holes.

    Attributes:
        early: whether a worker adds up what it has of each song before the shuffle. That is quicker where a bundle is
            a slice of a few songs. On a cluster it is not for us to say how many songs a bundle has parts of, and
            Beam keeps the sums of all of them in memory until the bundle ends.
    """

    early: bool = True

    def expand(self, parts: beam.PCollection[tuple[str, Part]]) -> beam.PCollection:
        """Combines the parts of each song."""
        if self.early:
            return parts | "Combine" >> beam.CombinePerKey(GatherSong()) | "Outcome" >> beam.Values()
        return parts | "Group" >> beam.GroupByKey() | "Add" >> beam.MapTuple(_gather)


def _gather(song_id: str, parts: Iterable[Part]) -> MixedSong | Finished | Failure:
    outcome: MixedSong | Finished | Failure = GatherSong().apply(parts)
    return outcome


_kept: dict[int, SparseMix] | None = None
_numbers = itertools.count()


@contextmanager
def mixes_stay() -> Iterator[None]:
    """While it lasts, mixes stay where they are and runners pass numbers from stage to stage, not megabytes.

    Only for runners that do all their work in this process.
    """
    global _kept
    _kept = {}
    try:
        yield
    finally:
        _kept = None


def _reduce(mix: SparseMix) -> tuple[Callable[..., SparseMix], tuple[Any, ...]]:
    """How a mix is pickled: whole, or as a number in this process."""
    if _kept is None:
        return SparseMix, tuple(getattr(mix, field.name) for field in fields(SparseMix))
    number = next(_numbers)
    _kept[number] = mix
    return _here, (os.getpid(), number)


def _here(process: int, number: int) -> SparseMix:
    if _kept is None or process != os.getpid():
        raise RuntimeError("a mix that was to stay in its process has left it")
    return _kept[number]


copyreg.pickle(SparseMix, _reduce)


@dataclass
class _Gathered:
    source: Source | None = None
    score: Score | None = None
    finished: Finished | None = None
    failures: list[Failure] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)
    notes: int = 0
    silent: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    mixes: dict[int, SparseMix] = field(default_factory=dict)

    def add(self, stem: int, mix: SparseMix) -> None:
        """Adds to a stem, or to the one mix of all notes: number 0."""
        self.mixes.setdefault(stem, SparseMix()).merge(mix)


class GatherSong(beam.CombineFn):
    """Adds up what belongs to one song; sums are of integers, so order and grouping never matter."""

    def create_accumulator(self) -> _Gathered:
        """An empty gathering."""
        return _Gathered()

    def add_input(self, accumulator: _Gathered, part: Part) -> _Gathered:
        """Adds one part."""
        if isinstance(part, Source):
            accumulator.source = part
        elif isinstance(part, Score):
            accumulator.score = part
        elif isinstance(part, Finished):
            accumulator.finished = part
        elif isinstance(part, Failure):
            accumulator.failures.append(part)
        else:
            accumulator.chunks.append(part.index)
            accumulator.notes += part.notes
            accumulator.silent += part.silent
            accumulator.broken += part.broken
            accumulator.add(part.stem, part.mix)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Gathered]) -> _Gathered:
        """Adds several gatherings."""
        total = _Gathered()
        for other in accumulators:
            total.source = total.source or other.source
            total.score = total.score or other.score
            total.finished = total.finished or other.finished
            total.failures += other.failures
            total.chunks += other.chunks
            total.notes += other.notes
            total.silent += other.silent
            total.broken += other.broken
            for stem, mix in other.mixes.items():
                total.add(stem, mix)
        return total

    def extract_output(self, accumulator: _Gathered) -> MixedSong | Finished | Failure:
        """The song, if all of it is there."""
        if accumulator.finished is not None:
            return accumulator.finished
        source, score = accumulator.source, accumulator.score
        song_id = source.song_id if source else score.song_id if score else ""
        failure: Failure | None = None
        if accumulator.failures:
            failure = min(accumulator.failures, key=lambda f: (f.stage, f.error, f.message))
        elif source is None or score is None:
            message = "the song was read, but the runner lost what came of it"
            failure = Failure(song_id, "mix", "LostSong", message, code="song-lost")
        elif sorted(accumulator.chunks) != list(range(score.chunks)) or accumulator.notes != score.notes:
            arrived = (
                f"{accumulator.notes} of {score.notes} notes in {len(accumulator.chunks)} of {score.chunks} chunks"
            )
            message = f"{arrived} arrived: the runner lost or repeated elements"
            failure = Failure(song_id, "mix", "LostNotes", message, code="notes-lost")
        if failure is not None or source is None or score is None:
            assert failure is not None
            digest = failure.digest or (score.digest if score else "")
            return replace(failure, digest=digest, source=source.url if source else "")
        silent, broken = score.numbers(accumulator.silent), score.numbers(accumulator.broken)
        mixes = accumulator.mixes
        if not score.stems:
            return MixedSong(source, score, silent, broken, mixes.get(0, SparseMix()))
        return MixedSong(source, score, silent, broken, merged(mixes[stem] for stem in sorted(mixes)), mixes)
