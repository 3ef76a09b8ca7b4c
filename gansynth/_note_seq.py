"""note_seq, imported without its dependencies' warnings: pydub misses ffmpeg, and has escapes that Python dislikes."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import note_seq

__all__ = ["note_seq"]
