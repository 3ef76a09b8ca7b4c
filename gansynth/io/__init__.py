"""Input and output of bytes: URLs, retries, files, listings, archives, names, completion records.
Imports gansynth.config and gansynth.errors.
"""
