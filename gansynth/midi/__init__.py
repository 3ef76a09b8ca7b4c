"""MIDI files to notes: structure, repair, parsing, the sustain pedal.
Imports gansynth.io, gansynth.config and gansynth.errors.
"""
