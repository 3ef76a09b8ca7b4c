"""Songs in memory: rendering of chunks to mixes, of one song, and of auditions of instruments.
Imports every other package of gansynth; nothing in gansynth imports it.
"""
