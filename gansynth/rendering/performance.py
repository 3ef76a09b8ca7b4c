"""One song played in memory: what the pipeline does, without Beam, to be heard and looked at."""

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
    """A song as it was played.

    Attributes:
        audio: float32 [samples], the clip; [samples, 2] with panning.
        sample_rate: in Hz.
        score: what was played, by whom.
        title: stands above its pictures.
    """

    audio: NDArray[np.float32] = field(repr=False)
    sample_rate: int
    plan: RenderPlan = field(repr=False)
    title: str = ""

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.audio) / self.sample_rate

    @cached_property
    def cqt(self) -> NDArray[np.float32]:
        """Its constant-Q transform, float32 [bins, frames], dB below its maximum; see spectrogram.cqt."""
        heard = self.audio if self.audio.ndim == 1 else self.audio.sum(axis=1)
        return spectrogram.cqt(heard, self.sample_rate)

    @cached_property
    def spectrogram(self) -> bytes:
        """A picture of it, PNG: what sounds, over time."""
        return spectrogram.write_png(self.cqt, self.sample_rate, self.title)

    @cached_property
    def piano_roll(self) -> bytes:
        """A picture of its notes, PNG, in colours by instrument, on the spectrogram's time axis."""
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
    """Plays one song.

    Args:
        midi: path or URL of a MIDI file, its bytes, or what `load_midi` made of it.
        synth: the checkpoint to play it with.
        config: how it should sound; the defaults if None.
        song_id: what mode random draws its instruments by; the pipeline takes the path below the input root.

    Raises:
        MidiError: it cannot be read, or holds nothing to play.
        ConfigError: the config names an instrument that is not there.
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
    """The clip of one song, float32 [samples], or [samples, 2] with panning; see `perform`."""
    return perform(midi, synth, config, song_id).audio
