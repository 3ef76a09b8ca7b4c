"""Rendering of chunks to mixes; notes of many songs share batches, and are shaped and mixed in one process."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gansynth.audio.bend import Curve, bent
from gansynth.audio.envelope import envelope, peak_divisor
from gansynth.audio.gain import gain_curve
from gansynth.audio.hold import held, held_from
from gansynth.audio.kits import shared_kit
from gansynth.audio.mix import FixedPointNote, SparseMix, quantize
from gansynth.config import EnvelopeConfig
from gansynth.midi.notes import Timeline
from gansynth.model.shape import NoteShape
from gansynth.model.sounds import Sound, SoundSource, Tally, Want
from gansynth.score.expression import bend_curve
from gansynth.score.instruments import slerp
from gansynth.score.panning import panned
from gansynth.score.plan import NoteChunk
from gansynth.score.planned_notes import MOVING_BEND, MOVING_GAIN


@dataclass(frozen=True)
class ChunkMix:
    """The sound of a chunk of notes.

    Attributes:
        song_id, index: song, and number of the chunk in the song.
        notes: number of its notes.
        silent: numbers in the song of the notes that the network left silent.
        broken: numbers in the song of the notes with non-finite samples, which are left out.
        mix: sum of all other notes.
        stem: number of the stem; 0 without stems.
    """

    song_id: str
    index: int
    notes: int
    silent: tuple[int, ...]
    broken: tuple[int, ...]
    mix: SparseMix = field(repr=False)
    stem: int = 0


def play(
    chunks: Sequence[NoteChunk],
    synth: SoundSource,
    config: EnvelopeConfig,
    tally: Tally | None = None,
    kit: str = "standard",
) -> list[ChunkMix]:
    """Renders, shapes and places all notes of some chunks; equal notes are rendered and shaped once.

    Args:
        chunks: of any number of songs.
        synth: the checkpoint, or a client of the process that has loaded it.
        config: envelope.
        tally: statistics, which are added to.
        kit: drum kit, see `gansynth.audio.kits.load_kit`; read only if a chunk has hits.

    Returns:
        One mix for each chunk, in order.
    """
    tally = tally if tally is not None else Tally()
    drafts = [_Draft() for _ in chunks]
    sounds = distinct_sounds(chunks, synth)
    for (sound, bucket), audio in synth.sounds(longest(sounds, synth.serves_shorter), tally):
        served = sounds[sound] if synth.serves_shorter else {bucket: sounds[sound][bucket]}
        for rows, notes in served.items():
            # Bent and held notes may reach past their end: they hear what a sound of their own bucket has.
            heard = audio[: synth.samples_of(rows)]
            finite = bool(np.isfinite(heard).all())
            takes = _takes(chunks, notes)
            tuned = _tuned(heard, takes, synth.sample_rate) if finite else {}
            for take, alike in takes.items():
                note = _shaped(heard, tuned, take, chunks, alike[0], config, synth) if finite else None
                for c, n in alike:
                    drafts[c].place(chunks[c], n, note, finite)
            tally.notes += len(notes)
    for c, n in _hits(chunks):
        drafts[c].place(chunks[c], n, _hit(chunks[c], n, kit, synth.sample_rate), True)
        tally.notes += 1
    return [
        ChunkMix(c.song_id, c.index, len(c), tuple(sorted(d.silent)), tuple(sorted(d.broken)), d.mix.packed(), c.stem)
        for c, d in zip(chunks, drafts, strict=True)
    ]


@dataclass
class _Draft:
    """An unfinished chunk mix."""

    mix: SparseMix = field(default_factory=SparseMix)
    silent: list[int] = field(default_factory=list)
    broken: list[int] = field(default_factory=list)

    def place(self, chunk: NoteChunk, n: int, note: FixedPointNote | None, finite: bool) -> None:
        """Adds note `n` of the chunk; None stands for a silent note, or one with non-finite samples."""
        if note is not None:
            pan = chunk.notes.pan
            self.mix.add_note(int(chunk.notes.start[n]), note if pan is None else panned(note, int(pan[n])))
        else:
            (self.silent if finite else self.broken).append(chunk.first_note + n)


class _Take(NamedTuple):
    """The parameters that make a note of a sound; notes of equal sound and take have equal samples.

    Attributes:
        sustain, tail: samples up to the release, and audible samples after it.
        gain: constant factor.
        semitones: constant part of the pitch above the network's key.
        source: samples of the network's sound that the note needs.
        held: whether the sound is extended.
        skip: samples left out at the sound's beginning.
        decay: samples in which the release falls by 60 dB; 0 for the linear release.
        moving: chunk, note and flags of a note whose gain or pitch moves, which makes the take unique; else None.
    """

    sustain: int
    tail: int
    gain: float
    semitones: float = 0.0
    source: int = 0
    held: bool = False
    skip: int = 0
    decay: int = 0
    moving: tuple[int, int, int] | None = None

    @property
    def bends(self) -> bool:
        """Tells whether the pitch moves."""
        return self.moving is not None and bool(self.moving[2] & MOVING_BEND)


def _takes(chunks: Sequence[NoteChunk], notes: Iterable[tuple[int, int]]) -> dict[_Take, list[tuple[int, int]]]:
    """Groups the notes of one sound by take."""
    groups: dict[_Take, list[tuple[int, int]]] = defaultdict(list)
    for c, n in notes:
        table = chunks[c].notes
        tail = table.release if table.tail is None else int(table.tail[n])
        sustain = int(table.sustain[n])
        moving = 0 if table.moving is None else int(table.moving[n])
        take = _Take(
            sustain,
            tail,
            float(table.velocity[n] / 127.0 if table.gain is None else table.gain[n]),
            0.0 if table.semitones is None else float(table.semitones[n]),
            sustain + tail if table.source is None else int(table.source[n]),
            table.held is not None and bool(table.held[n]),
            0 if table.skip is None else int(table.skip[n]),
            0 if table.decay is None else int(table.decay[n]),
            (c, n, moving) if moving else None,
        )
        groups[take].append((c, n))
    return groups


def _tuned(
    audio: NDArray[np.float32], takes: Iterable[_Take], rate: int
) -> dict[tuple[float, int], NDArray[np.float32]]:
    """Resamples a sound to every other pitch that some notes hold, by its semitones and skip: once, for the longest."""
    longest: dict[tuple[float, int], int] = {}
    for take in takes:
        if take.semitones and not take.held and not take.bends:
            key = take.semitones, take.skip
            longest[key] = max(longest.get(key, 0), take.sustain + take.tail)
    return {
        (semitones, skip): bent(audio[skip:], Curve.constant(semitones), samples, rate)
        for (semitones, skip), samples in longest.items()
    }


def _shaped(
    audio: NDArray[np.float32],
    tuned: Mapping[tuple[float, int], NDArray[np.float32]],
    take: _Take,
    chunks: Sequence[NoteChunk],
    note: tuple[int, int],
    config: EnvelopeConfig,
    synth: SoundSource,
) -> FixedPointNote | None:
    """Makes a note of a sound of the network; returns None if it is silent.

    Source: magenta/models/gansynth/lib/generate_util.py, combine_notes, for notes that are neither held nor bent.
    """
    rate, samples = synth.sample_rate, take.sustain + take.tail
    chunk, n = chunks[note[0]], note[1]
    if take.held:
        key = int(chunk.notes.keys[n])
        audio = held(audio[: held_from(synth.note_samples)], take.source + take.skip, key, rate)
    audio = audio[take.skip :]
    start, state = int(chunk.notes.start[n]) / rate, chunk.channel_of(n)
    if take.bends:
        audio = bent(audio, bend_curve(state.bend, start, start + samples / rate, take.semitones), samples, rate)
    elif take.semitones and not take.held:
        audio = tuned[take.semitones, take.skip]
    elif take.semitones:
        audio = bent(audio, Curve.constant(take.semitones), samples, rate)
    shaped = audio[:samples] * envelope(take.sustain, config, rate, take.tail, take.decay)[: len(audio)]
    if not shaped.any():
        return None
    shaped = shaped * (take.gain / peak_divisor(shaped, config.note_peak))
    if take.moving and take.moving[2] & MOVING_GAIN:
        steps = state.gain.between(start, start + samples / rate)
        shaped = shaped * _curve(steps, start, len(shaped), rate)
    return quantize(shaped)


def _hits(chunks: Sequence[NoteChunk]) -> Iterator[tuple[int, int]]:
    """Lists the hits of the drum kit, by chunk and note."""
    for c, chunk in enumerate(chunks):
        yield from ((c, n) for n in np.flatnonzero(chunk.notes.is_hit).tolist())


def _hit(chunk: NoteChunk, n: int, kit: str, rate: int) -> FixedPointNote:
    """Makes a hit of the drum kit."""
    notes = chunk.notes
    assert notes.kit is not None
    samples, gain = int(notes.sustain[n]), float(notes.gains[n])
    flags = 0 if notes.moving is None else int(notes.moving[n])
    loaded = shared_kit(kit, rate)
    if not flags & MOVING_GAIN:
        return _plain_hit(kit, loaded.digest, rate, int(notes.kit[n]), int(notes.pitch[n]), samples, gain)
    sound = loaded.for_program(int(notes.kit[n])).hit(int(notes.pitch[n]), samples)
    start = int(notes.start[n]) / rate
    steps = chunk.channel_of(n).gain.between(start, start + samples / rate)
    return quantize(sound * gain * _curve(steps, start, len(sound), rate))


def _curve(steps: Timeline, start: float, samples: int, rate: int) -> float | NDArray[np.float32]:
    """Computes the gain of a note that begins at `start` from its channel's steps."""
    return gain_curve(steps.times - start, steps.values.astype(np.float64), samples, rate)


@functools.lru_cache(maxsize=256)
def _plain_hit(kit: str, digest: str, rate: int, program: int, key: int, samples: int, gain: float) -> FixedPointNote:
    """Makes a hit at a constant level; `digest` only tells the kit from what its folder held earlier."""
    return quantize(shared_kit(kit, rate).for_program(program).hit(key, samples) * gain)


def distinct_sounds(
    chunks: Sequence[NoteChunk], synth: SoundSource | NoteShape
) -> dict[Sound, dict[int, list[tuple[int, int]]]]:
    """Groups the network's notes, as (chunk, note), by distinct (latent, key) and by bucket."""
    sounds: dict[Sound, dict[int, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    whole = held_from(synth.note_samples)
    for c, chunk in enumerate(chunks):
        notes = chunk.notes
        z = slerp(chunk.latents[notes.left], chunk.latents[notes.right], notes.fraction).astype(np.float32)
        keys, sources, is_hit = notes.keys.tolist(), notes.sources.tolist(), notes.is_hit.tolist()
        held_notes = [False] * len(notes) if notes.held is None else notes.held.tolist()
        for n, (key, source) in enumerate(zip(keys, sources, strict=True)):
            if not is_hit[n]:
                bucket = synth.bucket(whole if held_notes[n] else min(source, synth.note_samples))
                sounds[z[n].tobytes(), key][bucket].append((c, n))
    return sounds


def longest(sounds: Mapping[Sound, Mapping[int, object]], serves_shorter: bool) -> list[Want]:
    """Lists the sounds to be rendered for notes: each once, at its longest, or once for each of its buckets.

    Args:
        sounds: sounds and the buckets of their notes, see `distinct_sounds`.
        serves_shorter: see SoundSource.serves_shorter.
    """
    return [
        (sound, bucket)
        for sound, buckets in sounds.items()
        for bucket in ([max(buckets)] if serves_shorter else buckets)
    ]
