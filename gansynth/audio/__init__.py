"""From samples to clips and files: envelope, fixed-point mix, mastering, loudness, resampling, encoding.
Imports gansynth.config and gansynth.errors.
"""
