"""Beam transforms, one in each file; they only wire what gansynth computes."""
