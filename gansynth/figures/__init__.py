"""Pictures of a song: spectrogram and piano roll on one time axis.
Imports gansynth.score and gansynth.midi (the notes to draw), gansynth.io (data for the page), and gansynth.config.
"""
