"""GANSynth as a library: checkpoints, notes, songs. Nothing here knows Beam.

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
    from gansynth.latents import Bank as Bank
    from gansynth.latents import load_bank as load_bank
    from gansynth.latents import random_bank as random_bank
    from gansynth.latents import random_latents as random_latents
    from gansynth.latents import slerp as slerp
    from gansynth.notes import load_midi as load_midi
    from gansynth.performance import perform as perform
    from gansynth.performance import render as render
    from gansynth.synthesizer import Synthesizer as Synthesizer

_HOME = {
    "Bank": "latents",
    "InstrumentsConfig": "config",
    "SoundConfig": "config",
    "Synthesizer": "synthesizer",
    "load_bank": "latents",
    "load_midi": "notes",
    "random_latents": "latents",
    "perform": "performance",
    "random_bank": "latents",
    "render": "performance",
    "slerp": "latents",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that TensorFlow starts only where it is needed."""
    if name not in _HOME:
        raise AttributeError(f"module 'gansynth' has no attribute {name!r}")
    return getattr(importlib.import_module(f"gansynth.{_HOME[name]}"), name)
