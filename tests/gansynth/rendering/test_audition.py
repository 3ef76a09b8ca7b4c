"""Clips of an audition: the expected notes, instruments and pitches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gansynth.config import EnvelopeConfig
from gansynth.rendering import audition
from gansynth.score.instruments import random_latents, slerp
from tests.support.fakes import FakeSynthesizer

CONFIG = EnvelopeConfig()
SYNTH: Any = FakeSynthesizer()
A, B = random_latents(2, 4, 1)


def test_a_note_is_as_long_as_the_envelope_lets_it_sound() -> None:
    clip = audition.note("note-0", A, 60, SYNTH, CONFIG)
    ((name, sound),) = audition.render([clip], SYNTH, CONFIG)
    assert name == "note-0"
    assert sound.dtype == np.float32
    assert len(sound) == round(3.3 * 16000)
    assert np.abs(sound).max() == pytest.approx(0.9, abs=1e-5)
    short = audition.note("x", A, 60, SYNTH, EnvelopeConfig(max_sustain=1.0))
    assert short.samples == round(1.3 * 16000)


def test_a_strip_goes_from_one_to_the_other() -> None:
    clip = audition.strip("strip-0-1", np.stack([A, B]), 57, 5, SYNTH, CONFIG)
    chunk = clip.chunk
    assert chunk.notes.pitch.tolist() == [57] * 5
    latents = slerp(chunk.latents[chunk.notes.left], chunk.latents[chunk.notes.right], chunk.notes.fraction)
    np.testing.assert_allclose(latents, slerp(A, B, np.linspace(0, 1, 5)))
    np.testing.assert_allclose(latents[[0, -1]], [A, B], atol=1e-12)
    assert (np.diff(chunk.notes.start) > chunk.notes.sustain[:-1]).all()
    ((_, sound),) = audition.render([clip], SYNTH, CONFIG)
    assert len(sound) == int(chunk.notes.start[-1] + chunk.notes.sustain[-1]) + 4800


@pytest.mark.parametrize("pitch", [24, 30, 60, 84])
def test_a_phrase_stays_within_the_range(pitch: int) -> None:
    clip = audition.phrase("phrase", A, pitch, SYNTH, CONFIG)
    chunk = clip.chunk
    assert chunk.notes.pitch.min() >= 24
    assert chunk.notes.pitch.max() <= 84
    assert chunk.notes.pitch[0] == pitch
    up = [step for step, *_ in audition._PHRASE]
    assert ((chunk.notes.pitch.astype(int) - pitch - up) % 12 == 0).all()
    assert (np.diff(chunk.notes.start) >= 0).all()
    ((_, sound),) = audition.render([clip], SYNTH, CONFIG)
    assert 4 < len(sound) / 16000 < 7
    assert np.isfinite(sound).all()


def test_each_clip_sounds_as_it_does_alone() -> None:
    clips = [
        audition.note("a", A, 60, SYNTH, CONFIG),
        audition.phrase("b", B, 60, SYNTH, CONFIG),
        audition.strip("c", np.stack([A, B]), 60, 7, SYNTH, CONFIG),
    ]
    together = dict(audition.render(clips, SYNTH, CONFIG))
    assert list(together) == ["a", "b", "c"]
    for clip in clips:
        ((_, alone),) = audition.render([clip], SYNTH, CONFIG)
        np.testing.assert_array_equal(alone, together[clip.name])
