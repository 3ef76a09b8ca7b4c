"""Rendering of one song in memory, as the pipeline does it, without Beam; with its pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gansynth.audio.mastering import master
from gansynth.audio.mix import merged
from gansynth.config import SoundConfig
from gansynth.figures import piano_roll, spectrogram
from gansynth.midi.load import load_midi
from gansynth.midi.notes import Song
from gansynth.model.synthesizer import Synthesizer
from gansynth.rendering.player import play
from gansynth.score.plan import RenderPlan, plan_song
from gansynth.score.spec import synth_spec


@dataclass(frozen=True)
class Performance:
    """A rendered song.

    Attributes:
        audio: the clip, float32 [samples], or [samples, 2] with panning.
        sample_rate: in Hz.
        plan: notes, instruments and counts of the song.
        title: title of the pictures.
    """

    audio: NDArray[np.float32] = field(repr=False)
    sample_rate: int
    plan: RenderPlan = field(repr=False)
    title: str = ""

    @property
    def seconds(self) -> float:
        """Returns the length of the clip in seconds."""
        return len(self.audio) / self.sample_rate

    @cached_property
    def cqt(self) -> NDArray[np.float32]:
        """Returns the constant-Q transform of the mono clip, float32 [bins, frames] in dB; see spectrogram.cqt."""
        heard = self.audio if self.audio.ndim == 1 else self.audio.sum(axis=1)
        return spectrogram.cqt(heard, self.sample_rate)

    @cached_property
    def spectrogram(self) -> bytes:
        """Returns the spectrogram as a PNG file."""
        return spectrogram.write_png(self.cqt, self.sample_rate, self.title)

    @cached_property
    def piano_roll(self) -> bytes:
        """Returns the piano roll as a PNG file, coloured by instrument, with the spectrogram's time axis."""
        plan = self.plan
        return piano_roll.write_png(
            plan.notes, plan.instruments, plan.samples, self.sample_rate, self.title, channels=plan.channels
        )


def perform(
    midi: str | bytes | Song,
    synth: Synthesizer,
    config: SoundConfig | None = None,
    song_id: str = "",
) -> Performance:
    """Renders one song.

    Args:
        midi: path or URL of a MIDI file, its bytes, or the song that `load_midi` returned.
        synth: the checkpoint.
        config: sound settings; the defaults if None.
        song_id: seeds the instruments of mode random; the pipeline uses the path below the input root.

    Raises:
        MidiError: the file cannot be read, or contains nothing to play.
        ConfigError: the config names an instrument that is not in the bank.
        OSError: the file cannot be read from its path or URL.
    """
    config = config or SoundConfig()
    song = midi if isinstance(midi, Song) else load_midi(midi, config.notes)
    plan, chunks = plan_song(song_id, song, config, synth_spec(synth.shape, config.instruments))
    chunk_mixes = (
        chunk_mix for chunk in chunks for chunk_mix in play([chunk], synth, config.envelope, kit=config.drums.kit)
    )
    audio = master(merged(chunk_mix.mix for chunk_mix in chunk_mixes), plan.samples, config.mix, synth.sample_rate).clip
    return Performance(audio, synth.sample_rate, plan, song_id)


def render(
    midi: str | bytes, synth: Synthesizer, config: SoundConfig | None = None, song_id: str = ""
) -> NDArray[np.float32]:
    """Renders one song; see `perform` for arguments and errors.

    Returns:
        The clip, float32 [samples], or [samples, 2] with panning.
    """
    return perform(midi, synth, config, song_id).audio
