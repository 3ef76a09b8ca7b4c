"""Encoding of clips as sound files: the same clip always gives the same bytes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

AudioFormat = Literal["wav", "wav-float", "flac", "ogg", "mp3", "opus"]
_PIECE = 1 << 16
_MAX_WAV = (1 << 32) - 100
_FLOAT_HEADER = struct.Struct("<4sI4s4sIHHIIHHH4sII4sI")
SUFFIX: dict[AudioFormat, str] = {
    "wav": ".wav",
    "wav-float": ".wav",
    "flac": ".flac",
    "ogg": ".ogg",
    "mp3": ".mp3",
    "opus": ".opus",
}
RATES: dict[AudioFormat, tuple[int, ...]] = {
    "mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    "opus": (8000, 12000, 16000, 24000, 48000),
}
"""Sample rates of the formats that have only some, in Hz."""
_LIBSNDFILE: dict[AudioFormat, tuple[str, str]] = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "opus": ("OGG", "OPUS"),
}
_NEVER_EMPTY = ("flac", "mp3", "opus")
_INFO: dict[str, bytes] = {"title": b"INAM", "artist": b"IART", "copyright": b"ICOP"}
"""Names of tags in the INFO list of a WAV file."""


def to_pcm16(clip: NDArray[np.float32]) -> NDArray[np.int16]:
    """Converts a clip (float32, any shape) to int16: 1.0 becomes 32767, and louder samples are clipped."""
    return np.rint(np.clip(clip, -1.0, 1.0) * np.float32(32767)).astype(np.int16)


def _to_pcm24(clip: NDArray[np.float32]) -> NDArray[np.int32]:
    """Converts a clip to the upper 24 of 32 bits; louder samples than 1.0 are clipped."""
    return np.rint(np.clip(clip.astype(np.float64), -1.0, 1.0) * 8388607).astype(np.int32) << 8


_INTEGERS: dict[str, Callable[[NDArray[np.float32]], NDArray[np.integer]]] = {"PCM_16": to_pcm16, "PCM_24": _to_pcm24}


def cut(clip: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yields a clip in pieces of at most 65,536 samples, so that a long clip need not be copied as a whole."""
    for first in range(0, len(clip), _PIECE):
        yield clip[first : first + _PIECE]


def check_format(audio_format: AudioFormat, sample_rate: int | None = None) -> None:
    """Checks that a sound file can be written.

    Args:
        audio_format: see `encode_audio`.
        sample_rate: in Hz; None if it is not known yet.

    Raises:
        ValueError: libsndfile here cannot write the format, or the format does not have the sample rate.
    """
    import soundfile

    rates = RATES.get(audio_format)
    if rates and sample_rate is not None and sample_rate not in rates:
        known = ", ".join(map(str, rates))
        raise ValueError(f"{audio_format} has no sample rate of {sample_rate} Hz; set audio.sample_rate to {known}")
    if audio_format != "wav-float":
        kind, subtype = _LIBSNDFILE[audio_format]
        if not soundfile.check_format(kind, subtype):
            version = soundfile.__libsndfile_version__
            raise ValueError(f"libsndfile {version} cannot write {audio_format}; install 1.1 or later")


def encode_audio(
    clip: NDArray[np.float32] | Iterable[NDArray[np.float32]],
    sample_rate: int,
    audio_format: AudioFormat,
    channels: int = 1,
    tags: Mapping[str, str] | None = None,
    bits: Literal[16, 24] = 16,
) -> bytes:
    """Encodes a clip as a sound file.

    Args:
        clip: float32 [samples] or [samples, channels], -1..1, whole or in pieces.
        sample_rate: in Hz.
        audio_format: "wav" has 16 bits, "wav-float" 32-bit floats; "ogg" is Vorbis, "opus" Opus in an Ogg
            file.
        channels: number of channels of a clip in pieces.
        tags: texts about the song, printable and short; empty ones are left out.
        bits: of a sample in "flac".

    Returns:
        The file's bytes. An empty clip becomes one silent sample in FLAC, MP3 and Opus, since libsndfile cannot write
        or read empty files of these.

    Raises:
        ValueError: the clip is too long for a WAV file, which may have 4 GiB, or see `check_format`.
    """
    import soundfile

    if isinstance(clip, np.ndarray):
        channels = 1 if clip.ndim == 1 else clip.shape[1]
        clip = cut(clip)
    tags = {name: text for name, text in (tags or {}).items() if text}
    if audio_format == "wav-float":
        return _float_wav(clip, sample_rate, channels, tags)
    check_format(audio_format, sample_rate)
    buffer = io.BytesIO()
    kind, subtype = _LIBSNDFILE[audio_format]
    if audio_format == "flac" and bits == 24:
        subtype = "PCM_24"
    with soundfile.SoundFile(buffer, "w", sample_rate, channels, subtype, format=kind) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        for piece in clip:
            file.write(_INTEGERS[subtype](piece) if subtype in _INTEGERS else piece)
        if audio_format in _NEVER_EMPTY and not file.frames:
            file.write(np.zeros((1, channels), np.float32))
    if kind == "OGG":
        return _renumbered(buffer.getvalue())
    if audio_format == "wav" and buffer.tell() > _MAX_WAV:
        raise ValueError(f"a clip of {buffer.tell() >> 20} MiB is too long for a WAV file; use audio.format flac")
    return buffer.getvalue()


def _float_wav(
    pieces: Iterable[NDArray[np.float32]], sample_rate: int, channels: int, tags: Mapping[str, str]
) -> bytes:
    """Encodes a WAV file of 32-bit floats as scipy does; libsndfile would write the time of day to a PEAK chunk."""
    buffer = io.BytesIO(bytes(_FLOAT_HEADER.size))
    buffer.seek(_FLOAT_HEADER.size)
    for piece in pieces:
        buffer.write(np.ascontiguousarray(piece, "<f4").data)
    size, frame = buffer.tell() - _FLOAT_HEADER.size, 4 * channels
    if size > _MAX_WAV:
        raise ValueError(f"a clip of {size >> 20} MiB is too long for a WAV file; use audio.format flac")
    info = _info_list(tags)
    buffer.write(info)
    header = (
        *(b"RIFF", size + len(info) + _FLOAT_HEADER.size - 8, b"WAVE"),
        *(b"fmt ", 18, 3, channels, sample_rate, sample_rate * frame, frame, 32, 0),
        *(b"fact", 4, size // frame, b"data", size),
    )
    buffer.seek(0)
    buffer.write(_FLOAT_HEADER.pack(*header))
    return buffer.getvalue()


def _info_list(tags: Mapping[str, str]) -> bytes:
    """Formats tags as the INFO list of a WAV file; empty without tags.

    Source: Multimedia Programming Interface and Data Specifications 1.0 (IBM, Microsoft 1991), INFO list chunk.
    """
    chunks = b""
    for name, text in tags.items():
        data = text.encode() + b"\0"
        chunks += _INFO[name] + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    return b"LIST" + struct.pack("<I", len(chunks) + 4) + b"INFO" + chunks if chunks else b""


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
