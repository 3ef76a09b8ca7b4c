"""Samples to clips and files: envelope, gain, bend, hold, kits, fixed-point mix, mastering, loudness, encoding.
Imports gansynth.io, gansynth.config and gansynth.errors.
"""
