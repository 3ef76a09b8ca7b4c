"""Clips as the bytes of sound files: the same clip always gives the same bytes."""

from __future__ import annotations

import io
import zlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

AudioFormat = Literal["wav", "wav-float", "flac", "ogg"]
SUFFIX: dict[AudioFormat, str] = {"wav": ".wav", "wav-float": ".wav", "flac": ".flac", "ogg": ".ogg"}


def to_pcm16(clip: NDArray[np.float32]) -> NDArray[np.int16]:
    """A clip in 16 bits: 1.0 becomes 32767, louder is cut."""
    pcm = np.empty(len(clip), np.int16)
    for first in range(0, len(clip), 1 << 20):  # a long clip is large enough without whole copies of it
        piece = clip[first : first + (1 << 20)]
        pcm[first : first + len(piece)] = np.rint(np.clip(piece, -1.0, 1.0) * np.float32(32767))
    return pcm


def encode(clip: NDArray[np.float32], sample_rate: int, audio_format: AudioFormat) -> bytes:
    """A sound file.

    Args:
        clip: float32 [samples], -1..1.
        sample_rate: in Hz.
        audio_format: "wav" and "flac" have 16 bits, "wav-float" 32-bit floats, "ogg" is Vorbis.
    """
    import soundfile
    from scipy.io import wavfile

    buffer = io.BytesIO()
    if audio_format == "wav-float":
        wavfile.write(buffer, sample_rate, clip)  # soundfile would stamp the time of day into a PEAK chunk
    elif audio_format == "ogg":
        soundfile.write(buffer, clip, sample_rate, format="OGG", subtype="VORBIS")
        return _renumbered(buffer.getvalue())
    else:
        soundfile.write(buffer, to_pcm16(clip), sample_rate, format=audio_format.upper(), subtype="PCM_16")
    return buffer.getvalue()


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _renumbered(ogg: bytes) -> bytes:
    """An Ogg stream under the serial number 0, where libsndfile draws one at random."""
    pages, start = bytearray(ogg), 0
    while start < len(pages):
        segments = pages[start + 26]
        end = start + 27 + segments + sum(pages[start + 27 : start + 27 + segments])
        pages[start + 14 : start + 18] = pages[start + 22 : start + 26] = bytes(4)
        # Ogg's checksum is zlib's with the bits of every byte, and of the result, the other way round.
        crc = zlib.crc32(bytes(pages[start:end]).translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        pages[start + 22 : start + 26] = int(f"{crc:032b}"[::-1], 2).to_bytes(4, "little")
        start = end
    return bytes(pages)
