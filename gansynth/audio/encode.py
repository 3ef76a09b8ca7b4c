"""Encoding of clips as sound files: the same clip always gives the same bytes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
from numpy.typing import NDArray

AudioFormat = Literal["wav", "wav-float", "flac", "ogg"]
_PIECE = 1 << 16
_MAX_WAV = (1 << 32) - 100
_FLOAT_HEADER = struct.Struct("<4sI4s4sIHHIIHHH4sII4sI")
SUFFIX: dict[AudioFormat, str] = {"wav": ".wav", "wav-float": ".wav", "flac": ".flac", "ogg": ".ogg"}


def to_pcm16(clip: NDArray[np.float32]) -> NDArray[np.int16]:
    """Converts a clip (float32, any shape) to int16: 1.0 becomes 32767, and louder samples are clipped."""
    return np.rint(np.clip(clip, -1.0, 1.0) * np.float32(32767)).astype(np.int16)


def cut(clip: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yields a clip in pieces of at most 65,536 samples, so that a long clip need not be copied as a whole."""
    for first in range(0, len(clip), _PIECE):
        yield clip[first : first + _PIECE]


def encode_audio(
    clip: NDArray[np.float32] | Iterable[NDArray[np.float32]],
    sample_rate: int,
    audio_format: AudioFormat,
    channels: int = 1,
) -> bytes:
    """Encodes a clip as a sound file.

    Args:
        clip: float32 [samples] or [samples, channels], -1..1, whole or in pieces.
        sample_rate: in Hz.
        audio_format: "wav" and "flac" have 16 bits, "wav-float" 32-bit floats, "ogg" is Vorbis.
        channels: number of channels of a clip in pieces.

    Returns:
        The file's bytes. An empty clip becomes one silent sample in FLAC, since libsndfile cannot write or read empty
        FLAC files.

    Raises:
        ValueError: the clip is too long for a WAV file, which may have 4 GiB.
    """
    import soundfile

    if isinstance(clip, np.ndarray):
        channels = 1 if clip.ndim == 1 else clip.shape[1]
        clip = cut(clip)
    if audio_format == "wav-float":
        return _float_wav(clip, sample_rate, channels)
    buffer = io.BytesIO()
    kind, subtype = ("OGG", "VORBIS") if audio_format == "ogg" else (audio_format.upper(), "PCM_16")
    with soundfile.SoundFile(buffer, "w", sample_rate, channels, subtype, format=kind) as file:
        for piece in clip:
            file.write(piece if audio_format == "ogg" else to_pcm16(piece))
    if audio_format == "ogg":
        return _renumbered(buffer.getvalue())
    if audio_format == "wav" and buffer.tell() > _MAX_WAV:
        raise ValueError(f"a clip of {buffer.tell() >> 20} MiB is too long for a WAV file; use audio.format flac")
    return buffer.getvalue() or encode_audio(np.zeros((1, channels), np.float32), sample_rate, audio_format)


def _float_wav(pieces: Iterable[NDArray[np.float32]], sample_rate: int, channels: int) -> bytes:
    """Encodes a WAV file of 32-bit floats as scipy does; libsndfile would write the time of day to a PEAK chunk."""
    buffer = io.BytesIO(bytes(_FLOAT_HEADER.size))
    buffer.seek(_FLOAT_HEADER.size)
    for piece in pieces:
        buffer.write(np.ascontiguousarray(piece, "<f4").data)
    size, frame = buffer.tell() - _FLOAT_HEADER.size, 4 * channels
    if size > _MAX_WAV:
        raise ValueError(f"a clip of {size >> 20} MiB is too long for a WAV file; use audio.format flac")
    header = (
        *(b"RIFF", size + _FLOAT_HEADER.size - 8, b"WAVE"),
        *(b"fmt ", 18, 3, channels, sample_rate, sample_rate * frame, frame, 32, 0),
        *(b"fact", 4, size // frame, b"data", size),
    )
    buffer.seek(0)
    buffer.write(_FLOAT_HEADER.pack(*header))
    return buffer.getvalue()


_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def _renumbered(ogg: bytes) -> bytes:
    """Sets the serial number of an Ogg stream to 0; libsndfile draws it at random."""
    pages, start = bytearray(ogg), 0
    while start < len(pages):
        segments = pages[start + 26]
        end = start + 27 + segments + sum(pages[start + 27 : start + 27 + segments])
        pages[start + 14 : start + 18] = pages[start + 22 : start + 26] = bytes(4)
        # Ogg's checksum is zlib's with the bits of every byte, and of the result, reversed.
        crc = zlib.crc32(bytes(pages[start:end]).translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        pages[start + 22 : start + 26] = int(f"{crc:032b}"[::-1], 2).to_bytes(4, "little")
        start = end
    return bytes(pages)
