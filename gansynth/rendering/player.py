"""Plays chunks of notes: notes of many songs in full batches, each shaped and placed where it was made."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gansynth.audio.envelope import divisor, envelope, release_samples
from gansynth.audio.mix import FixedPointNote, SparseMix, quantize
from gansynth.config import EnvelopeConfig
from gansynth.model.shape import NoteShape
from gansynth.model.sounds import Sound, SoundSource, Tally
from gansynth.score.instruments import slerp
from gansynth.score.panning import panned
from gansynth.score.plan import NoteChunk


@dataclass(frozen=True)
class ChunkMix:
    """What a chunk of notes became.

    Attributes:
        song_id, index: which chunk of which song.
        notes: how many notes it had.
        silent: notes that the network left silent.
        broken: notes that came out not finite and were left out, as numbers in the song.
        mix: the sum of the rest.
        stem: which stem of the song it is a part of; 0 without stems.
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
    """Renders, shapes and places all notes of some chunks; equal notes are rendered once.

    Args:
        chunks: of any number of songs.
        synth: the checkpoint, or whoever has its sounds.
        config: the envelope.
        tally: counts are added to it.

    Returns:
        One bar for each chunk, in order.
    """
    tally = tally if tally is not None else Tally()
    chunk_mixes = [_Draft() for _ in chunks]
    buckets = distinct_sounds(chunks, synth, release_samples(config, synth.sample_rate))
    expected: Counter[Sound] = Counter()
    for sounds in buckets.values():
        expected.update({key: len(notes) for key, notes in sounds.items()})
    synth.expect(expected)
    for bucket, sounds in sorted(buckets.items()):
        for key, audio in synth.sounds(list(sounds), bucket, tally):
            finite = bool(np.isfinite(audio).all())
            for (sustain, velocity), alike in _alike(chunks, sounds[key]):
                note = _shaped(audio, sustain, velocity, config, synth.sample_rate) if finite else None
                for c, n in alike:
                    chunk_mixes[c].place(chunks[c], n, note, finite)
            tally.notes += len(sounds[key])
    return [
        ChunkMix(c.song_id, c.index, len(c), tuple(sorted(b.silent)), tuple(sorted(b.broken)), b.mix.packed(), c.stem)
        for c, b in zip(chunks, chunk_mixes, strict=True)
    ]


@dataclass
class _Draft:
    """A bar that notes are still added to."""

    mix: SparseMix = field(default_factory=SparseMix)
    silent: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)

    def place(self, chunk: NoteChunk, n: int, note: FixedPointNote | None, finite: bool) -> None:
        """Adds note `n` of the chunk; None is silence, or not even that."""
        if note is not None:
            self.mix.add_note(
                int(chunk.notes.start[n]), note if chunk.notes.pan is None else panned(note, int(chunk.notes.pan[n]))
            )
        else:
            (self.silent if finite else self.broken).append(chunk.first_note + n)


def _alike(
    chunks: Sequence[NoteChunk], notes: Iterable[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], list[tuple[int, int]]]]:
    """The notes of one sound by sustain and velocity: what differs in neither is shaped once."""
    groups: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for c, n in notes:
        groups[int(chunks[c].notes.sustain[n]), int(chunks[c].notes.velocity[n])].append((c, n))
    yield from groups.items()


def _shaped(
    audio: NDArray[np.float32], sustain: int, velocity: int, config: EnvelopeConfig, sample_rate: int
) -> FixedPointNote | None:
    """A note, from the sound that the network gave it; None if it is silent."""
    shape = envelope(sustain, config, sample_rate)
    note = audio[: len(shape)] * shape
    return quantize(note * (velocity / 127.0 / divisor(note, config.note_peak))) if note.any() else None


def distinct_sounds(
    chunks: Sequence[NoteChunk], synth: SoundSource | NoteShape, release: int
) -> dict[int, dict[Sound, list[tuple[int, int]]]]:
    """Distinct (latent, pitch) by bucket, each with the notes (chunk, note) that it is heard in."""
    sounds: dict[int, dict[Sound, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for c, chunk in enumerate(chunks):
        notes = chunk.notes
        z = slerp(chunk.latents[notes.left], chunk.latents[notes.right], notes.fraction).astype(np.float32)
        for n in range(len(chunk)):
            bucket = synth.bucket(int(notes.sustain[n]) + release)
            sounds[bucket][z[n].tobytes(), int(notes.pitch[n])].append((c, n))
    return sounds
