"""Render plans: a song's notes cut into independent chunks, and the facts by which the mix checks them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gansynth.audio import mix
from gansynth.audio.envelope import release_samples, sustain_samples
from gansynth.config import NotesConfig, SoundConfig
from gansynth.errors import MidiError
from gansynth.general_midi import DRUMS
from gansynth.midi.notes import Song
from gansynth.score import panning, stems
from gansynth.score.assign import Part
from gansynth.score.planned_notes import PlannedNotes
from gansynth.score.policies import apply_policies
from gansynth.score.schedule import make_schedule
from gansynth.score.spec import SynthSpec

CHUNK_NOTES = 256
"""Highest number of notes in a chunk."""
CHUNK_SECONDS = 256.0
"""Longest sound of a chunk in seconds, all notes added up; bounds the size of its mix."""


@dataclass(frozen=True)
class NoteChunk:
    """Some notes of one song, with the latents that they need: a worker plays a chunk without its song.

    Attributes:
        song_id: song that the chunk is cut from.
        index: number of this chunk in the song.
        first_note: number of its first note among the song's notes in the order of the chunks.
        notes: the notes; `left` and `right` are rows of `latents` here.
        latents: float64 [k, latent size], the instruments that these notes use.
        stem: number of the stem that these notes belong to; 0 without stems.
    """

    song_id: str
    index: int
    first_note: int
    notes: PlannedNotes
    latents: NDArray[np.float64] = field(repr=False)
    stem: int = 0

    def __len__(self) -> int:
        return len(self.notes)

    @property
    def weight(self) -> int:
        """Returns the memory that playing the chunk takes, counted in notes: a few long notes make a large mix."""
        start, sustain = self.notes.start, self.notes.sustain
        covered = min(int((start + sustain).max() - start.min()), int(sustain.sum()) + len(self) * mix.BLOCK)
        return max(len(self), 2 * covered // mix.BLOCK)


@dataclass(frozen=True)
class RenderPlan:
    """A song before it is rendered: its notes and the facts by which the mix checks that all of it came back.

    Attributes:
        song_id: path of the file relative to the input root.
        digest: "sha256:..." of the file's bytes.
        chunk_count: number of chunks that the notes are cut into.
        samples: length of the clip in samples.
        counts: notes by outcome of the policies.
        instruments: names of the instruments that play.
        parts: the song's parts, each with its instrument and the rule that chose it; mode per_program only.
        notes: all notes that are played.
        repairs: names of the file's defects that were ignored or repaired.
        stems: names of the song's stems, any text; empty without stems.
    """

    song_id: str
    digest: str
    chunk_count: int
    samples: int
    counts: dict[str, int]
    instruments: tuple[str, ...]
    parts: tuple[Part, ...]
    notes: PlannedNotes = field(repr=False, compare=False)
    repairs: tuple[str, ...] = ()
    stems: tuple[str, ...] = ()

    def note_rows(self, numbers: Iterable[int]) -> tuple[int, ...]:
        """Converts note numbers in the order of the chunks to sorted row numbers of `notes`."""
        if self.notes.stem is None:
            return tuple(sorted(numbers))
        return tuple(sorted(stems.by_stem(self.notes.stem)[list(numbers)].tolist()))

    @property
    def programs(self) -> dict[int, str]:
        """Returns the instrument of each MIDI program (128: drums); of several, the one with the most notes."""
        most = sorted(self.parts, key=lambda part: (part.program, part.notes))
        return {part.program: part.instrument for part in most}


def plan_song(song_id: str, song: Song, config: SoundConfig, spec: SynthSpec) -> tuple[RenderPlan, list[NoteChunk]]:
    """Applies policies and schedule to a song and cuts it into chunks.

    Args:
        song_id: path of the file relative to the input root; random instruments depend on it.
        song: the parsed file.
        config: policies, instruments, envelope, mix and stems.
        spec: the checkpoint.

    Raises:
        MidiError: no note can be played, or the song exceeds a limit.
        ConfigError: the schedule names an instrument that is not in the bank.
    """
    notes, counts = apply_policies(song.notes, _playable(config.notes, spec))
    notes = notes[np.argsort(notes.start, kind="stable")]  # chunks that are short in time become small mixes
    schedule = make_schedule(notes, config.instruments, spec.bank, song_id, song.track_names)
    start = (notes.start * spec.sample_rate).astype(np.int64)
    release = release_samples(config.envelope, spec.sample_rate)
    sustain = sustain_samples(notes.end - notes.start, config.envelope, spec.sample_rate)
    sustain = np.minimum(sustain, spec.note_samples - release)
    row_type = np.min_scalar_type(len(schedule.names))
    stem_notes = stems.sort_notes(
        config.stems, schedule, notes.track, song.track_names, start, sustain + release, config.mix.channels
    )
    planned = PlannedNotes(
        start=start,
        sustain=sustain.astype(np.int32),
        pitch=notes.pitch.astype(np.uint8),
        velocity=notes.velocity.astype(np.uint8),
        program=np.where(notes.is_drum, DRUMS, notes.program).astype(np.uint8),
        track=notes.track,
        left=schedule.left.astype(row_type),
        right=schedule.right.astype(row_type),
        fraction=schedule.fraction,
        release=release,
        pan=panning.positions(notes, schedule, config.mix.panning),
        stem=stem_notes.number if stem_notes else None,
    )
    chunks = [
        _chunk(song_id, index, first_note, planned[rows], schedule.latents, stem)
        for index, (first_note, rows, stem) in enumerate(_cut(planned, spec.sample_rate))
    ]
    last_sample = int((start + sustain).max()) + release
    plan = RenderPlan(
        song_id=song_id,
        digest=song.digest,
        chunk_count=len(chunks),
        samples=mix.clip_samples(notes.span, last_sample, config.mix, spec.sample_rate),
        counts=counts,
        instruments=schedule.names,
        parts=schedule.parts,
        notes=replace(planned, fraction=schedule.fraction.astype(np.float32)),  # 200,000 notes: 0.8 MB less
        repairs=song.repairs,
        stems=stem_notes.names if stem_notes else (),
    )
    return plan, chunks


def _playable(config: NotesConfig, spec: SynthSpec) -> NotesConfig:
    """Narrows the range of pitches to what the checkpoint knows."""
    low, high = max(config.min_pitch, spec.pitches.start), min(config.max_pitch, spec.pitches.stop - 1)
    if low > high:
        raise MidiError(
            f"notes.min_pitch..max_pitch {config.min_pitch}..{config.max_pitch} contains no pitch of the checkpoint's "
            f"range {spec.pitches.start}..{spec.pitches.stop - 1}",
            code="midi-out-of-range",
        )
    return config.model_copy(update={"min_pitch": low, "max_pitch": high})


def _cut(notes: PlannedNotes, sample_rate: int) -> Iterator[tuple[int, slice | NDArray[np.intp], int]]:
    """Cuts notes into runs of one stem: number of the first note in playing order, rows of the notes, stem."""
    seconds = (notes.sustain + np.int64(notes.release)) / sample_rate
    if notes.stem is None:
        yield from ((rows.start, rows, 0) for rows in _runs(seconds))
        return
    order = stems.by_stem(notes.stem)
    begin = 0
    for stem, count in enumerate(np.bincount(notes.stem).tolist()):
        mine = order[begin : begin + count]
        yield from ((begin + rows.start, mine[rows], stem) for rows in _runs(seconds[mine]))
        begin += count


def _runs(seconds: NDArray[np.float64]) -> Iterator[slice]:
    """Cuts notes into runs bounded in number and in seconds of sound."""
    first, total = 0, 0.0
    for i, length in enumerate(seconds.tolist()):
        if i > first and (i - first >= CHUNK_NOTES or total + length > CHUNK_SECONDS):
            yield slice(first, i)
            first, total = i, 0.0
        total += length
    yield slice(first, len(seconds))


def _chunk(
    song_id: str, index: int, first_note: int, notes: PlannedNotes, latents: NDArray[np.float64], stem: int
) -> NoteChunk:
    """Makes a chunk that carries only the latents that its notes use."""
    used, rows = np.unique(np.concatenate([notes.left, notes.right]), return_inverse=True)
    left, right = rows[: len(notes)].astype(np.int16), rows[len(notes) :].astype(np.int16)
    return NoteChunk(song_id, index, first_note, replace(notes, left=left, right=right, stem=None), latents[used], stem)
