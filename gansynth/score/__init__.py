"""From notes to a render plan: policies, instruments, schedule, panning, stems, chunks.
Imports gansynth.midi, gansynth.audio, gansynth.io and the shape of a checkpoint (gansynth.model.shape).
"""
