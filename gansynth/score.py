"""A song made ready to be played: its notes cut into chunks that travel alone, and what must come back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gansynth import mix, panning, stems
from gansynth.casting import Part
from gansynth.config import SoundConfig
from gansynth.envelope import release_samples, sustain_samples
from gansynth.errors import MidiError
from gansynth.latents import Bank
from gansynth.notes import Song, select
from gansynth.played import PlayedNotes
from gansynth.schedule import DRUMS, Schedule, schedule
from gansynth.stems import Stems

CHUNK_NOTES = 256
CHUNK_SECONDS = 256.0
"""A chunk sounds for at most this long in all, which bounds the mix it becomes."""


@dataclass(frozen=True)
class Voice:
    """What planning needs to know of a synthesizer.

    Attributes:
        pitches: the MIDI pitches it can play.
        sample_rate: in Hz.
        note_samples: samples of a whole note.
        bank: the instruments to choose from.
    """

    pitches: range
    sample_rate: int
    note_samples: int
    bank: Bank


@dataclass(frozen=True)
class NoteChunk:
    """Some notes of one song, as parallel arrays; with the voice, all that is needed to play them.

    Attributes:
        song_id: the song they belong to.
        index: number of this chunk in the song.
        first_note: number of its first note among the song's played notes in the order of the chunks.
        pitch: int16 [n].
        velocity: int16 [n], 1..127.
        start: int64 [n], first sample in the clip.
        sustain: int32 [n], samples before the release.
        latents: float64 [k, latent size], the instruments that these notes use.
        left, right: int16 [n], rows of `latents`.
        fraction: float64 [n], from left to right.
        stem: which stem of the song these notes belong to; 0 without stems.
        pan: uint8 [n], 0..127, see gansynth.panning; None in mono.
    """

    song_id: str
    index: int
    first_note: int
    pitch: NDArray[np.int16]
    velocity: NDArray[np.int16]
    start: NDArray[np.int64]
    sustain: NDArray[np.int32]
    latents: NDArray[np.float64] = field(repr=False)
    left: NDArray[np.int16]
    right: NDArray[np.int16]
    fraction: NDArray[np.float64]
    stem: int = 0
    pan: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.pitch)

    @property
    def weight(self) -> int:
        """The memory that playing it takes, in notes: a chunk of few long notes becomes a large mix."""
        ends = self.start + self.sustain
        covered = min(int(ends.max() - self.start.min()), int(self.sustain.sum()) + len(self) * mix.BLOCK)
        return max(len(self), 2 * covered // mix.BLOCK)


@dataclass(frozen=True)
class Score:
    """What a song becomes, but for its sound.

    Attributes:
        song_id: path of the file relative to the input root.
        digest: sha256 of the file's bytes.
        chunks, notes: how many there are; the mix checks that all came back.
        samples: length of the clip.
        counts: notes by outcome of the policies.
        instruments: names of the instruments that play.
        parts: who plays what, and why, for mode per_program.
        repairs: names of the file's defects that were overlooked or mended.
        played: all notes, for what is drawn and written of them.
        stems: names of the song's stems, any text; empty without stems.
    """

    song_id: str
    digest: str
    chunks: int
    notes: int
    samples: int
    counts: dict[str, int]
    instruments: tuple[str, ...]
    parts: tuple[Part, ...]
    played: PlayedNotes = field(repr=False, compare=False)
    repairs: tuple[str, ...] = ()
    stems: tuple[str, ...] = ()

    def numbers(self, notes: Iterable[int]) -> tuple[int, ...]:
        """Numbers of notes in `played`, sorted, from their numbers in the order in which they were cut into chunks."""
        if self.played is None or self.played.stem is None:
            return tuple(sorted(notes))
        order = stems.by_stem(self.played.stem)
        return tuple(sorted(order[list(notes)].tolist()))

    @property
    def programs(self) -> dict[int, str]:
        """MIDI programs (128: drums) to instrument name: of several, the one with most notes."""
        most = sorted(self.parts, key=lambda part: (part.program, part.notes))
        return {part.program: part.instrument for part in most}


def write_score(song_id: str, song: Song, config: SoundConfig, voice: Voice) -> tuple[Score, list[NoteChunk]]:
    """Applies policies and schedule to a song and cuts it into chunks.

    Raises:
        MidiError: nothing of it can be played, or it is out of bounds.
        ConfigError: the schedule names an instrument that is not in the bank.
    """
    low = max(config.notes.min_pitch, voice.pitches.start)
    high = min(config.notes.max_pitch, voice.pitches.stop - 1)
    if low > high:
        raise MidiError(
            f"notes.min_pitch..max_pitch {config.notes.min_pitch}..{config.notes.max_pitch} holds no pitch that the "
            f"checkpoint knows ({voice.pitches.start}..{voice.pitches.stop - 1})",
            code="midi-out-of-range",
        )
    notes, counts = select(song.notes, config.notes.model_copy(update={"min_pitch": low, "max_pitch": high}))
    notes = notes[np.argsort(notes.start, kind="stable")]  # chunks that are short in time become small mixes
    plan = schedule(notes, config.instruments, voice.bank, song_id, song.track_names)
    start = (notes.start * voice.sample_rate).astype(np.int64)
    sustain = sustain_samples(notes.end - notes.start, config.envelope, voice.sample_rate)
    release = release_samples(config.envelope, voice.sample_rate)
    sustain = np.minimum(sustain, voice.note_samples - release)
    last_sample = int((start + sustain).max()) + release
    pan = panning.positions(notes, plan, config.mix.panning)
    parts = stems.sort_notes(
        config.stems, plan, notes.track, song.track_names, start, sustain + release, config.mix.channels
    )
    chunks = [
        _chunk(song_id, index, first, where, notes.pitch, notes.velocity, start, sustain, plan, pan, stem)
        for index, (first, where, stem) in enumerate(_cut((sustain + release) / voice.sample_rate, parts))
    ]
    program = np.where(notes.is_drum, DRUMS, notes.program).astype(np.uint8)
    row_type = np.min_scalar_type(len(plan.names))
    score = Score(
        song_id=song_id,
        digest=song.digest,
        chunks=len(chunks),
        notes=len(notes),
        samples=mix.clip_samples(notes.span, last_sample, config.mix, voice.sample_rate),
        counts=counts,
        instruments=plan.names,
        parts=plan.parts,
        repairs=song.repairs,
        stems=parts.names if parts else (),
        played=PlayedNotes(
            start=start,
            sustain=sustain.astype(np.int32),
            pitch=notes.pitch.astype(np.uint8),
            velocity=notes.velocity.astype(np.uint8),
            program=program,
            track=notes.track,
            left=plan.left.astype(row_type),
            right=plan.right.astype(row_type),
            fraction=plan.fraction.astype(np.float32),
            release=release,
            pan=pan,
            stem=parts.number if parts else None,
        ),
    )
    return score, chunks


def _cut(seconds: NDArray[np.float64], parts: Stems | None) -> Iterator[tuple[int, slice | NDArray[np.intp], int]]:
    """Cuts a song's notes into runs of one stem: number of the first note played, which notes, which stem."""
    if parts is None:
        yield from ((where.start, where, 0) for where in _ranges(seconds))
        return
    order = stems.by_stem(parts.number)
    begin = 0
    for stem, count in enumerate(np.bincount(parts.number).tolist()):
        mine = order[begin : begin + count]
        yield from ((begin + where.start, mine[where], stem) for where in _ranges(seconds[mine]))
        begin += count


def _ranges(seconds: NDArray[np.float64]) -> Iterator[slice]:
    """Cuts a song's notes into runs bounded in number and in seconds of sound."""
    first, total = 0, 0.0
    for i, length in enumerate(seconds.tolist()):
        if i > first and (i - first >= CHUNK_NOTES or total + length > CHUNK_SECONDS):
            yield slice(first, i)
            first, total = i, 0.0
        total += length
    yield slice(first, len(seconds))


def _chunk(
    song_id: str,
    index: int,
    first_note: int,
    where: slice | NDArray[np.intp],
    pitch: NDArray[np.int16],
    velocity: NDArray[np.int16],
    start: NDArray[np.int64],
    sustain: NDArray[np.int64],
    plan: Schedule,
    pan: NDArray[np.uint8] | None,
    stem: int,
) -> NoteChunk:
    left, right = plan.left[where], plan.right[where]
    used, rows = np.unique(np.concatenate([left, right]), return_inverse=True)
    return NoteChunk(
        song_id=song_id,
        index=index,
        first_note=first_note,
        pitch=pitch[where],
        velocity=velocity[where],
        start=start[where],
        sustain=sustain[where].astype(np.int32),
        latents=plan.latents[used],
        left=rows[: len(left)].astype(np.int16),
        right=rows[len(left) :].astype(np.int16),
        fraction=plan.fraction[where],
        stem=stem,
        pan=None if pan is None else pan[where],
    )
