"""Auditions of instruments: single notes, a phrase, and the transition from one instrument to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gansynth.audio.envelope import release_samples
from gansynth.audio.mix import finish
from gansynth.config import EnvelopeConfig, MixConfig
from gansynth.model.synthesizer import Synthesizer
from gansynth.rendering.player import play
from gansynth.score.plan import NoteChunk
from gansynth.score.planned_notes import PlannedNotes

_NOTE_SECONDS = 3.0
_VELOCITY = 110
_PHRASE = ((0, 0.0, 0.4), (4, 0.4, 0.4), (7, 0.8, 0.4), (12, 1.2, 0.8), (9, 2.0, 0.4), (5, 2.4, 0.4), (2, 2.8, 0.4),
           (7, 3.2, 0.4), (-12, 3.6, 1.6), (0, 3.6, 1.6), (4, 3.6, 1.6), (7, 3.6, 1.6))  # fmt: skip
"""Semitones above the pitch, start and length in seconds: a rising chord, a falling line, a closing chord."""
_STEP_SECONDS = 0.55


@dataclass(frozen=True)
class Clip:
    """Notes to be rendered as one clip.

    Attributes:
        name: name of the clip.
        chunk: the notes.
        samples: length of the clip in samples.
    """

    name: str
    chunk: NoteChunk
    samples: int


def note(
    name: str,
    latent: NDArray[np.float64],
    pitch: int,
    synth: Synthesizer,
    config: EnvelopeConfig,
    seconds: float = _NOTE_SECONDS,
) -> Clip:
    """Makes a clip of one note.

    Args:
        name: name of the clip.
        latent: float64 [latent size].
        pitch: MIDI pitch; outside the checkpoint's range it is moved by octaves.
        synth: the checkpoint.
        config: the envelope.
        seconds: length of the note before its release.
    """
    return _clip(name, latent[None], [(pitch, 0.0, min(seconds, config.max_sustain or seconds), 0.0)], synth, config)


def phrase(name: str, latent: NDArray[np.float64], pitch: int, synth: Synthesizer, config: EnvelopeConfig) -> Clip:
    """Makes a clip of a short phrase around a pitch, with a chord at the end.

    Args:
        name: name of the clip.
        latent: float64 [latent size].
        pitch: MIDI pitch; notes outside the checkpoint's range are moved by octaves.
        synth: the checkpoint.
        config: the envelope.
    """
    return _clip(name, latent[None], [(pitch + up, start, length, 0.0) for up, start, length in _PHRASE], synth, config)


def strip(
    name: str, pair: NDArray[np.float64], pitch: int, steps: int, synth: Synthesizer, config: EnvelopeConfig
) -> Clip:
    """Makes a clip of the transition from one instrument to another, in notes of one pitch.

    Args:
        name: name of the clip.
        pair: float64 [2, latent size].
        pitch: MIDI pitch.
        steps: number of notes, at least two; the first note has only the first instrument, the last only the second.
        synth: the checkpoint.
        config: the envelope.
    """
    rows = [(pitch, i * _STEP_SECONDS, _STEP_SECONDS * 0.8, i / (steps - 1)) for i in range(steps)]
    return _clip(name, pair, rows, synth, config)


def render(
    clips: Sequence[Clip], synth: Synthesizer, config: EnvelopeConfig
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Renders clips; equal notes of all clips are rendered once.

    Args:
        clips: the clips.
        synth: the checkpoint.
        config: the envelope.

    Yields:
        Name and audio of each clip, float32 [samples] with a peak of 0.9.
    """
    chunk_mixes = play([clip.chunk for clip in clips], synth, config)
    for clip, chunk_mix in zip(clips, chunk_mixes, strict=True):
        yield clip.name, finish(chunk_mix.mix, clip.samples, MixConfig())


def _clip(
    name: str,
    latents: NDArray[np.float64],
    rows: Sequence[tuple[int, float, float, float]],
    synth: Synthesizer,
    config: EnvelopeConfig,
) -> Clip:
    low, high = synth.pitches.start, synth.pitches.stop - 1
    pitches = [pitch + 12 * max(0, -((pitch - low) // 12)) - 12 * max(0, -((high - pitch) // 12)) for pitch, *_ in rows]
    start = np.array([round(start * synth.sample_rate) for _, start, _, _ in rows], np.int64)
    sustain = np.array([round(length * synth.sample_rate) for _, _, length, _ in rows], np.int32)
    release = release_samples(config, synth.sample_rate)
    sustain = np.minimum(sustain, synth.note_samples - release)
    zeros = np.zeros(len(rows), np.int16)
    notes = PlannedNotes(
        start=start,
        sustain=sustain,
        pitch=np.array(pitches, np.uint8),
        velocity=np.full(len(rows), _VELOCITY, np.uint8),
        program=np.zeros(len(rows), np.uint8),
        track=np.zeros(len(rows), np.int32),
        left=zeros,
        right=zeros + len(latents) - 1,
        fraction=np.array([fraction for *_, fraction in rows], np.float64),
        release=release,
    )
    return Clip(name, NoteChunk(name, 0, 0, notes, latents), int((start + sustain).max()) + release)
