"""Songs in memory: chunks played into mixes, one song as a performance, auditions of instruments.
Imports every other package of gansynth; nothing in gansynth imports it.
"""
