"""The GANSynth library: checkpoints, instruments, MIDI files and rendered songs, without Beam.

import gansynth
synth = gansynth.Synthesizer.from_checkpoint("mini")
audio = synth.synthesize(gansynth.random_latents(2, synth.latent_size, seed=7), [60, 64])
clip = gansynth.render("song.mid", synth)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gansynth.config import InstrumentsConfig as InstrumentsConfig
    from gansynth.config import SoundConfig as SoundConfig
    from gansynth.midi.load import load_midi as load_midi
    from gansynth.model.synthesizer import Synthesizer as Synthesizer
    from gansynth.rendering.performance import perform as perform
    from gansynth.rendering.performance import render as render
    from gansynth.score.instruments import Bank as Bank
    from gansynth.score.instruments import load_bank as load_bank
    from gansynth.score.instruments import random_bank as random_bank
    from gansynth.score.instruments import random_latents as random_latents
    from gansynth.score.instruments import slerp as slerp

_MODULE_OF = {
    "Bank": "score.instruments",
    "InstrumentsConfig": "config",
    "SoundConfig": "config",
    "Synthesizer": "model.synthesizer",
    "load_bank": "score.instruments",
    "load_midi": "midi.load",
    "random_latents": "score.instruments",
    "perform": "rendering.performance",
    "random_bank": "score.instruments",
    "render": "rendering.performance",
    "slerp": "score.instruments",
}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    """Imports a public name on first use, so that TensorFlow is loaded only when it is needed."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'gansynth' has no attribute {name!r}")
    return getattr(importlib.import_module(f"gansynth.{_MODULE_OF[name]}"), name)
