"""Beam transforms, one per file; all computation is in gansynth.

Imports gansynth; only pipeline imports this package.
"""
