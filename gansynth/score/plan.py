"""Render plans: a song's notes in independent chunks, and the data by which the mix checks that they are complete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from gansynth.audio import mix
from gansynth.config import NotesConfig, SoundConfig
from gansynth.errors import MidiError
from gansynth.midi.notes import Channel, Song
from gansynth.score import panning, stems
from gansynth.score.assign import Part
from gansynth.score.expression import check_steps, cut_channels, steps_of
from gansynth.score.plan_notes import plan_notes
from gansynth.score.planned_notes import PlannedNotes
from gansynth.score.policies import apply_policies
from gansynth.score.schedule import schedule_song
from gansynth.score.spec import SynthSpec

CHUNK_NOTES = 256
"""Highest number of notes in a chunk."""
CHUNK_SECONDS = 256.0
"""Longest sound of a chunk in seconds, all notes added up; bounds the size of its mix."""


_STILL = Channel()


@dataclass(frozen=True)
class NoteChunk:
    """Some notes of one song, with all that a worker needs to render them.

    Attributes:
        song_id: song that the chunk is cut from.
        index: number of this chunk in the song.
        first_note: number of its first note among the song's notes in the order of the chunks.
        notes: the notes; `left` and `right` are rows of `latents` here.
        latents: float64 [k, latent size], the instruments that these notes use.
        stem: number of the stem that these notes belong to; 0 without stems.
        channels: timelines of the channels whose gain or bend changes during these notes, by `notes.channel`.
    """

    song_id: str
    index: int
    first_note: int
    notes: PlannedNotes
    latents: NDArray[np.float64] = field(repr=False)
    stem: int = 0
    channels: dict[int, Channel] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.notes)

    def channel_of(self, n: int) -> Channel:
        """Returns the state of the channel that note `n` is played on, over the time of this chunk."""
        number = 0 if self.notes.channel is None else int(self.notes.channel[n])
        return self.channels.get(number, _STILL)

    @property
    def weight(self) -> int:
        """Returns the memory that rendering the chunk takes, in notes: a few long notes make a large mix."""
        start, sustain = self.notes.start, self.notes.sustain
        covered = min(int((start + sustain).max() - start.min()), int(sustain.sum()) + len(self) * mix.BLOCK)
        return max(len(self), 2 * covered // mix.BLOCK)


@dataclass(frozen=True)
class RenderPlan:
    """A song before it is rendered: its notes, and the data by which the mix checks that they are complete.

    Attributes:
        song_id: path of the file relative to the input root.
        digest: "sha256:..." of the file's bytes.
        chunk_count: number of chunks that the notes are cut into.
        samples: length of the clip in samples.
        counts: notes by outcome of the policies.
        instruments: names of the instruments that play.
        parts: the song's parts, each with its instrument and the rule that chose it; mode per_program only.
        notes: all notes except those of muted parts.
        channels: channels of the song whose gain or bend changes, in seconds of the clip.
        repairs: names of the file's defects that were ignored or repaired.
        ignored: number of events of each kind that were read and have no effect.
        repaired_notes: number of notes that each repair of notes changed.
        stems: names of the song's stems, any text; empty without stems.
        texts: "title", "artist" and "copyright" of the song, as far as its file has them.
    """

    song_id: str
    digest: str
    chunk_count: int
    samples: int
    counts: dict[str, int]
    instruments: tuple[str, ...]
    parts: tuple[Part, ...]
    notes: PlannedNotes = field(repr=False, compare=False)
    channels: dict[int, Channel] = field(default_factory=dict, repr=False, compare=False)
    repairs: tuple[str, ...] = ()
    ignored: dict[str, int] = field(default_factory=dict)
    repaired_notes: dict[str, int] = field(default_factory=dict)
    stems: tuple[str, ...] = ()
    texts: dict[str, str] = field(default_factory=dict)

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
    """Applies policies, expression and schedule to a song and cuts it into chunks.

    Args:
        song_id: path of the file relative to the input root; random instruments depend on it.
        song: the parsed file.
        config: policies, instruments, envelope, mix, drums and stems.
        spec: the checkpoint.

    Raises:
        MidiError: no note of the song can be played, or a limit is exceeded.
        ConfigError: the schedule names an instrument that is not in the bank, or the kit cannot be read.
    """
    notes, counts = apply_policies(song.notes, _playable(config.notes, spec))
    notes = notes[np.argsort(notes.start, kind="stable")]  # chunks of short duration make small mixes
    stretch = config.notes.time_stretch
    channels = {
        number: channel.stretched(stretch).on_samples(spec.sample_rate) for number, channel in song.channels.items()
    }
    schedule = schedule_song(notes, config, spec.bank, song_id, song.track_names)
    planned, counted = plan_notes(notes, schedule, channels, config, spec, song.digest)
    counts |= counted
    last_end = notes.span
    if muted := int((planned.gains == 0).sum()):
        counts["muted"] = muted
    last_sample = int((planned.start + planned.sustain + planned.tails).max())
    stem_notes = stems.sort_notes(
        config.stems,
        schedule,
        notes.track,
        song.track_names,
        planned.start,
        planned.sustain + planned.tails,
        config.mix.channels,
    )
    planned = replace(
        planned,
        pan=panning.positions(notes, schedule, config.mix.panning),
        stem=stem_notes.number if stem_notes else None,
    )[planned.gains != 0]
    chunks = _chunks(song_id, planned, channels, schedule.latents, spec.sample_rate)
    plan = RenderPlan(
        song_id=song_id,
        digest=song.digest,
        chunk_count=len(chunks),
        samples=mix.clip_samples(last_end, last_sample, config.mix, spec.sample_rate),
        counts=counts,
        instruments=schedule.names,
        parts=schedule.parts,
        notes=planned.slim(),
        channels=channels,
        repairs=song.repairs,
        ignored=dict(song.ignored),
        repaired_notes=dict(song.repaired_notes),
        stems=stem_notes.names if stem_notes else (),
        texts=dict(song.texts),
    )
    return plan, chunks


def _chunks(
    song_id: str,
    notes: PlannedNotes,
    channels: Mapping[int, Channel],
    latents: NDArray[np.float64],
    sample_rate: int,
) -> list[NoteChunk]:
    """Cuts a song's notes into chunks, each with the latents and the channels' timelines that it needs."""
    chunks, steps = [], 0
    for index, (first_note, rows, stem) in enumerate(_cut(notes, sample_rate)):
        mine = notes[rows]
        used, numbers = np.unique(np.concatenate([mine.left, mine.right]), return_inverse=True)
        left, right = numbers[: len(mine)].astype(np.int16), numbers[len(mine) :].astype(np.int16)
        mine = replace(mine, left=left, right=right, stem=None)
        needed = {}
        if mine.moving is not None and mine.channel is not None and mine.moving.any():
            moving = mine[mine.moving > 0]
            end = float((moving.start + moving.sustain + moving.tails).max()) / sample_rate
            needed = cut_channels(channels, mine.channel[mine.moving > 0], float(moving.start.min()) / sample_rate, end)
            steps += steps_of(needed)
            check_steps(steps)
        chunks.append(NoteChunk(song_id, index, first_note, mine, latents[used], stem, needed))
    return chunks


def _playable(config: NotesConfig, spec: SynthSpec) -> NotesConfig:
    """Restricts the range of pitches to that of the checkpoint."""
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
    if not len(notes):
        return
    seconds = (notes.sustain + notes.tails.astype(np.int64)) / sample_rate
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
