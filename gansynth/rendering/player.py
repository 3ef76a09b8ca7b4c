"""Rendering of chunks to mixes: notes of many songs share full batches, and are shaped and mixed in one process."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gansynth.audio.envelope import envelope, peak_divisor, release_samples
from gansynth.audio.mix import FixedPointNote, SparseMix, quantize
from gansynth.config import EnvelopeConfig
from gansynth.model.shape import NoteShape
from gansynth.model.sounds import Sound, SoundSource, Tally
from gansynth.score.instruments import slerp
from gansynth.score.panning import panned
from gansynth.score.plan import NoteChunk


@dataclass(frozen=True)
class ChunkMix:
    """The rendered mix of a chunk of notes.

    Attributes:
        song_id: the song.
        index: number of the chunk in the song.
        notes: number of notes in the chunk.
        silent: numbers (in the song) of the notes that the network rendered silent.
        broken: numbers of the notes that were rendered not finite and left out.
        mix: sum of the other notes.
        stem: number of the stem that the chunk belongs to; 0 without stems.
    """

    song_id: str
    index: int
    notes: int
    silent: tuple[int, ...]
    broken: tuple[int, ...]
    mix: SparseMix = field(repr=False)
    stem: int = 0


def play(
    chunks: Sequence[NoteChunk], synth: SoundSource, config: EnvelopeConfig, tally: Tally | None = None
) -> list[ChunkMix]:
    """Renders, shapes and mixes all notes of some chunks; equal notes are rendered once.

    Args:
        chunks: chunks of any number of songs.
        synth: the checkpoint, or a client of its server.
        config: the envelope.
        tally: counts of the work are added to it.

    Returns:
        One mix for each chunk, in order.
    """
    tally = tally if tally is not None else Tally()
    chunk_mixes = [_ChunkMixBuilder() for _ in chunks]
    buckets = distinct_sounds(chunks, synth, release_samples(config, synth.sample_rate))
    expected: Counter[Sound] = Counter()
    for sounds in buckets.values():
        expected.update({key: len(notes) for key, notes in sounds.items()})
    synth.expect(expected)
    for bucket, sounds in sorted(buckets.items()):
        for key, audio in synth.sounds(list(sounds), bucket, tally):
            finite = bool(np.isfinite(audio).all())
            for (sustain, velocity), equal_notes in _by_sustain_and_velocity(chunks, sounds[key]):
                note = _shaped(audio, sustain, velocity, config, synth.sample_rate) if finite else None
                for c, n in equal_notes:
                    chunk_mixes[c].place(chunks[c], n, note, finite)
            tally.notes += len(sounds[key])
    return [
        ChunkMix(c.song_id, c.index, len(c), tuple(sorted(b.silent)), tuple(sorted(b.broken)), b.mix.packed(), c.stem)
        for c, b in zip(chunks, chunk_mixes, strict=True)
    ]


@dataclass
class _ChunkMixBuilder:
    """A chunk mix under construction."""

    mix: SparseMix = field(default_factory=SparseMix)
    silent: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)

    def place(self, chunk: NoteChunk, n: int, note: FixedPointNote | None, finite: bool) -> None:
        """Adds note `n` of the chunk; None if the note is silent or not finite."""
        if note is not None:
            self.mix.add_note(
                int(chunk.notes.start[n]), note if chunk.notes.pan is None else panned(note, int(chunk.notes.pan[n]))
            )
        else:
            (self.silent if finite else self.broken).append(chunk.first_note + n)


def _by_sustain_and_velocity(
    chunks: Sequence[NoteChunk], notes: Iterable[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], list[tuple[int, int]]]]:
    """Groups the notes of one sound by sustain and velocity, so that equal notes are shaped once."""
    groups: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for c, n in notes:
        groups[int(chunks[c].notes.sustain[n]), int(chunks[c].notes.velocity[n])].append((c, n))
    yield from groups.items()


def _shaped(
    audio: NDArray[np.float32], sustain: int, velocity: int, config: EnvelopeConfig, sample_rate: int
) -> FixedPointNote | None:
    """Applies envelope, peak and velocity to a rendered sound; returns None if the note is silent."""
    shape = envelope(sustain, config, sample_rate)
    note = audio[: len(shape)] * shape
    return quantize(note * (velocity / 127.0 / peak_divisor(note, config.note_peak))) if note.any() else None


def distinct_sounds(
    chunks: Sequence[NoteChunk], synth: SoundSource | NoteShape, release: int
) -> dict[int, dict[Sound, list[tuple[int, int]]]]:
    """Groups notes by bucket and sound.

    Args:
        chunks: chunks of any number of songs.
        synth: source of the buckets.
        release: length of the release in samples.

    Returns:
        For each bucket its distinct sounds, each with the notes that use it as (number of the chunk, row in it).
    """
    sounds: dict[int, dict[Sound, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for c, chunk in enumerate(chunks):
        notes = chunk.notes
        z = slerp(chunk.latents[notes.left], chunk.latents[notes.right], notes.fraction).astype(np.float32)
        for n in range(len(chunk)):
            bucket = synth.bucket(int(notes.sustain[n]) + release)
            sounds[bucket][z[n].tobytes(), int(notes.pitch[n])].append((c, n))
    return sounds
