"""General MIDI's programs in their families, counted from 0; one number more stands for the drum channel."""

from __future__ import annotations

DRUMS = 128
"""The program number that stands for the drum channel."""
FAMILIES = (
    *("piano", "chromatic_percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass"),
    *("reed", "pipe", "synth_lead", "synth_pad", "synth_effects", "ethnic", "percussive", "sound_effects"),
    "drums",
)
"""Source: General MIDI System Level 1 (MMA RP-003), groups of eight programs each; and the drum channel."""


def family_of(program: int) -> str:
    """The family of a program, 0..128."""
    return FAMILIES[program // 8]
