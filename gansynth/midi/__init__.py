"""From MIDI files to notes: structure, repair, parsing, sustain pedal.
Imports gansynth.io, gansynth.config and gansynth.errors.
"""
