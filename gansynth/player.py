"""Plays chunks of notes: notes of many songs in full batches, each shaped and placed where it was made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gansynth.config import EnvelopeConfig, SoundConfig
from gansynth.envelope import divisor, envelope, release_samples
from gansynth.latents import slerp
from gansynth.mix import SparseMix, finish, merged
from gansynth.notes import load_midi
from gansynth.score import NoteChunk, write_score
from gansynth.synthesizer import Synthesizer


@dataclass(frozen=True)
class Bar:
    """What a chunk of notes became.

    Attributes:
        song_id, index: which chunk of which song.
        notes: how many notes it had.
        silent: notes that the network left silent.
        broken: notes that came out not finite and were left out, as numbers in the song.
        mix: the sum of the rest.
    """

    song_id: str
    index: int
    notes: int
    silent: tuple[int, ...]
    broken: tuple[int, ...]
    mix: SparseMix = field(repr=False)


@dataclass
class Tally:
    """What playing cost: notes, distinct notes, slots of batches and batches."""

    notes: int = 0
    rendered: int = 0
    slots: int = 0
    batches: int = 0


def play(
    chunks: Sequence[NoteChunk], synth: Synthesizer, config: EnvelopeConfig, tally: Tally | None = None
) -> list[Bar]:
    """Renders, shapes and places all notes of some chunks; equal notes are rendered once.

    Args:
        chunks: of any number of songs.
        synth: the checkpoint.
        config: the envelope.
        tally: counts are added to it.

    Returns:
        One bar for each chunk, in order.
    """
    tally = tally if tally is not None else Tally()
    mixes = [SparseMix() for _ in chunks]
    silent: list[list[int]] = [[] for _ in chunks]
    broken: list[list[int]] = [[] for _ in chunks]
    release = release_samples(config, synth.sample_rate)
    for bucket, sounds in sorted(_sounds(chunks, synth, release).items()):
        z = np.stack([np.frombuffer(key[0], np.float32) for key in sounds])
        pitches = np.array([key[1] for key in sounds], np.int32)
        uses = list(sounds.values())
        for where, audio in synth.batches(z, pitches, bucket):
            tally.batches += 1
            tally.slots += synth.batch_size(bucket)
            tally.rendered += len(audio)
            finite = [bool(row.all()) for row in np.isfinite(audio)]
            for sound, good, users in zip(audio, finite, uses[where], strict=True):
                tally.notes += len(users)
                for c, n in users:
                    chunk, number = chunks[c], chunks[c].first_note + n
                    if not good:
                        broken[c].append(number)
                        continue
                    shape = envelope(int(chunk.sustain[n]), config, synth.sample_rate)
                    note = sound[: len(shape)] * shape
                    if not note.any():
                        silent[c].append(number)
                        continue
                    gain = chunk.velocity[n] / 127.0 / divisor(note, config.note_peak)
                    mixes[c].add(int(chunk.start[n]), note * gain)
    return [
        Bar(
            chunk.song_id,
            chunk.index,
            len(chunk),
            tuple(sorted(silent[c])),
            tuple(sorted(broken[c])),
            mixes[c].packed(),
        )
        for c, chunk in enumerate(chunks)
    ]


def _sounds(
    chunks: Sequence[NoteChunk], synth: Synthesizer, release: int
) -> dict[int, dict[tuple[bytes, int], list[tuple[int, int]]]]:
    """Distinct (latent, pitch) by bucket, each with the notes (chunk, note) that it is heard in."""
    sounds: dict[int, dict[tuple[bytes, int], list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    for c, chunk in enumerate(chunks):
        z = slerp(chunk.latents[chunk.left], chunk.latents[chunk.right], chunk.fraction).astype(np.float32)
        same = chunk.left == chunk.right
        z[same] = chunk.latents[chunk.left[same]]
        for n in range(len(chunk)):
            bucket = synth.bucket(int(chunk.sustain[n]) + release)
            sounds[bucket][z[n].tobytes(), int(chunk.pitch[n])].append((c, n))
    return sounds


def render(
    midi: str | bytes, synth: Synthesizer, config: SoundConfig | None = None, song_id: str = ""
) -> NDArray[np.float32]:
    """Renders one song in memory: what the pipeline does, without Beam.

    Args:
        midi: path or URL of a MIDI file, or its bytes.
        synth: the checkpoint to play it with.
        config: how it should sound; the defaults if None.
        song_id: what mode random draws its instruments by; the pipeline takes the path below the input root.

    Returns:
        float32 [samples], the clip.

    Raises:
        MidiError: it cannot be read, or holds nothing to play.
    """
    config = config or SoundConfig()
    song = load_midi(midi, config.notes.sustain_pedal)
    score, chunks = write_score(song_id, song, config, synth.voice(config.instruments))
    bars = (bar for chunk in chunks for bar in play([chunk], synth, config.envelope))
    return finish(merged(bar.mix for bar in bars), score.samples, config.mix)
