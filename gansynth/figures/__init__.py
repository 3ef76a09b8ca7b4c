"""Pictures of a song: spectrogram and piano roll, with the same time axis.
Imports gansynth.score (the notes to draw) and gansynth.config.
"""
