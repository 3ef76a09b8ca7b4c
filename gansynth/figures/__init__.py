"""Pictures of a song: spectrogram and piano roll on one time axis.
Imports gansynth.score (the notes to draw) and gansynth.config.
"""
