"""The GANSynth network: checkpoints, their download, inference, the sound cache and the process that serves sounds.
Imports gansynth.io, gansynth.config and gansynth.errors; only checkpoint and network load TensorFlow.
"""
