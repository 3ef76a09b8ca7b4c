"""General MIDI programs and their families, numbered from 0; program 128 stands for the drum channel."""

from __future__ import annotations

DRUMS = 128
"""Program number that stands for the drum channel."""
FAMILIES = (
    *("piano", "chromatic_percussion", "organ", "guitar", "bass", "strings", "ensemble", "brass"),
    *("reed", "pipe", "synth_lead", "synth_pad", "synth_effects", "ethnic", "percussive", "sound_effects"),
    "drums",
)
"""Families of eight programs each, then the drum channel. Source: General MIDI System Level 1 (MMA RP-003)."""

SUSTAINED = frozenset({*range(16, 24), *range(40, 45), *range(48, 55), *range(56, 96), 109, 110, 111})
"""Programs whose notes last while they are held."""


def family_of(program: int) -> str:
    """Returns the family of a program, 0..128."""
    return FAMILIES[program // 8]
