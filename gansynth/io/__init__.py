"""Bytes in and out: URLs, retries, files, listings, archives, names and completion records.
Imports gansynth.config and gansynth.errors.
"""
