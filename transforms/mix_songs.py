"""The elements of each song, gathered by its id, to a complete mix or a dead letter."""

from __future__ import annotations

import copyreg
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import apache_beam as beam

from gansynth.audio.mix import SparseMix, merged
from gansynth.rendering.player import ChunkMix
from gansynth.score.plan import RenderPlan
from transforms.counters import count
from transforms.dead_letters import DeadLetterDoFn
from transforms.elements import Failure, FinishedSong, Source
from transforms.worker_context import CONTEXT

SongElement = Source | RenderPlan | ChunkMix | Failure | FinishedSong
"""Any element that is gathered by song id."""


@dataclass(frozen=True)
class MixedSong:
    """A song with all its notes, ready to be written.

    Attributes:
        source: the input file.
        plan: the render plan.
        silent, broken: rows of the notes whose samples are all zero, or not finite.
        mix: sum of all notes.
        stems: sum of each stem's notes by the stem's number, if stems are on; silent stems are missing.
    """

    source: Source
    plan: RenderPlan
    silent: tuple[int, ...]
    broken: tuple[int, ...]
    mix: SparseMix = field(repr=False)
    stems: dict[int, SparseMix] = field(default_factory=dict, repr=False)


@dataclass
class MixSongs(beam.PTransform):
    """PCollection[(song_id, SongElement)] to exactly one MixedSong, FinishedSong or Failure for every song_id.

    Every input file enters as a Source. A song without other elements is therefore reported as lost, and a song with
    missing notes fails: no incomplete clip is written.

    Attributes:
        combine_before_shuffle: if true, each worker sums the elements it has of each song before the shuffle. This is
            faster if a bundle is a slice of a few songs. On a cluster, bundles may hold elements of any number of
            songs, and Beam keeps the sums of all of them in memory until the bundle ends.
        attempts: folder of the markers of attempts; None to write none. Sums made before the shuffle have none.
    """

    combine_before_shuffle: bool = True
    attempts: str | None = None

    def expand(self, elements: beam.PCollection[tuple[str, SongElement]]) -> beam.PCollection:
        """Combines the elements of each song."""
        if self.combine_before_shuffle:
            return elements | "Combine" >> beam.CombinePerKey(GatherSong()) | "Outcome" >> beam.Values()
        return elements | "Group" >> beam.GroupByKey() | "Add" >> beam.ParDo(_Add().marked(self.attempts))


class _Add(DeadLetterDoFn):
    stage = "mix"

    def handle(self, song: tuple[str, Iterable[SongElement]]) -> Iterator[MixedSong | FinishedSong | Failure]:
        yield GatherSong().apply(song[1])

    def attempt(self, song: tuple[str, Iterable[SongElement]]) -> list[Any]:
        # The elements come from the shuffle one by one, and only a list can be sent to a child process.
        return super().attempt((song[0], list(song[1])) if self.is_suspect(self.keys(song)) else song)

    def identify(self, song: tuple[str, Iterable[SongElement]]) -> tuple[str, str, str]:
        source = next((element for element in song[1] if isinstance(element, Source)), None)
        return song[0], "", source.url if source else ""

    def keys(self, song: tuple[str, Iterable[SongElement]]) -> tuple[str, ...]:
        return (song[0],)

    def dead_letter(self, song_id: str, digest: str, source: str, error: Exception) -> Failure:
        count(f"failed_{self.stage}")
        return Failure.of(song_id, self.stage, error, digest, source)


def _reduce(mix: SparseMix) -> tuple[Callable[..., SparseMix], tuple[Any, ...]]:
    """Pickles a mix, or only its number if mixes are kept in this process."""
    if CONTEXT.mixes is None:
        return SparseMix, tuple(getattr(mix, field.name) for field in fields(SparseMix))
    return _find_kept_mix, CONTEXT.keep(mix)


def _find_kept_mix(process: int, number: int) -> SparseMix:
    return CONTEXT.kept(process, number)


copyreg.pickle(SparseMix, _reduce)


@dataclass
class _Gathered:
    source: Source | None = None
    plan: RenderPlan | None = None
    finished: FinishedSong | None = None
    failures: list[Failure] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)
    notes: int = 0
    silent: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)
    mixes: dict[int, SparseMix] = field(default_factory=dict)

    def add(self, stem: int, mix: SparseMix) -> None:
        """Adds a mix to a stem; without stems, the mix of all notes has number 0."""
        self.mixes.setdefault(stem, SparseMix()).merge(mix)


class GatherSong(beam.CombineFn):
    """A CombineFn that sums the elements of one song; sums are of integers, so order and grouping do not matter."""

    def create_accumulator(self) -> _Gathered:
        """Creates an empty accumulator."""
        return _Gathered()

    def add_input(self, accumulator: _Gathered, element: SongElement) -> _Gathered:
        """Adds one element."""
        if isinstance(element, Source):
            accumulator.source = element
        elif isinstance(element, RenderPlan):
            accumulator.plan = element
        elif isinstance(element, FinishedSong):
            accumulator.finished = element
        elif isinstance(element, Failure):
            accumulator.failures.append(element)
        else:
            accumulator.chunks.append(element.index)
            accumulator.notes += element.notes
            accumulator.silent += element.silent
            accumulator.broken += element.broken
            accumulator.add(element.stem, element.mix)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Gathered]) -> _Gathered:
        """Merges accumulators."""
        total = _Gathered()
        for other in accumulators:
            total.source = total.source or other.source
            total.plan = total.plan or other.plan
            total.finished = total.finished or other.finished
            total.failures += other.failures
            total.chunks += other.chunks
            total.notes += other.notes
            total.silent += other.silent
            total.broken += other.broken
            for stem, mix in other.mixes.items():
                total.add(stem, mix)
        return total

    def extract_output(self, accumulator: _Gathered) -> MixedSong | FinishedSong | Failure:
        """Returns the complete song, or a dead letter if an element failed or is missing."""
        if accumulator.finished is not None:
            return accumulator.finished
        source, plan = accumulator.source, accumulator.plan
        song_id = source.song_id if source else plan.song_id if plan else ""
        failure: Failure | None = None
        if accumulator.failures:
            failure = min(accumulator.failures, key=lambda f: (f.stage, f.error, f.message))
        elif source is None or plan is None:
            message = "the song was read, but the runner lost its other elements"
            failure = Failure(song_id, "mix", "LostSong", message, code="song-lost")
        elif sorted(accumulator.chunks) != list(range(plan.chunk_count)) or accumulator.notes != len(plan.notes):
            notes = f"{accumulator.notes} of {len(plan.notes)} notes"
            chunks = f"{len(accumulator.chunks)} of {plan.chunk_count} chunks"
            message = f"{notes} in {chunks} arrived: the runner lost or repeated elements"
            failure = Failure(song_id, "mix", "LostNotes", message, code="notes-lost")
        if failure is not None or source is None or plan is None:
            assert failure is not None
            digest = failure.digest or (plan.digest if plan else "")
            return replace(failure, digest=digest, source=source.url if source else "")
        silent, broken = plan.note_rows(accumulator.silent), plan.note_rows(accumulator.broken)
        mixes = accumulator.mixes
        if not plan.stems:
            return MixedSong(source, plan, silent, broken, mixes.get(0, SparseMix()))
        return MixedSong(source, plan, silent, broken, merged(mixes[stem] for stem in sorted(mixes)), mixes)
