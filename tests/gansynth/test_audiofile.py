"""Sound files: the same clip is the same bytes for ever, and what is read back is what was written."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gansynth.audiofile import SUFFIX, AudioFormat, encode, to_pcm16

FORMATS: list[Any] = ["wav", "wav-float", "flac", "ogg"]
RATE = 16000


def clip(seconds: float = 0.5, seed: int = 0) -> np.ndarray:
    random = np.random.RandomState(seed)
    times = np.arange(int(RATE * seconds)) / RATE
    return (0.5 * np.sin(2 * np.pi * 440 * times) + 0.01 * random.normal(size=len(times))).astype(np.float32)


def decode(content: bytes) -> np.ndarray:
    audio, rate = soundfile.read(io.BytesIO(content), dtype="float32")
    assert rate == RATE
    return audio


@pytest.mark.parametrize("audio_format", FORMATS)
def test_what_is_in_the_file(audio_format: AudioFormat) -> None:
    content = encode(clip(), RATE, audio_format)
    info = soundfile.info(io.BytesIO(content))
    assert (info.samplerate, info.channels, info.frames) == (RATE, 1, RATE // 2)
    expected = {"wav": "WAV PCM_16", "wav-float": "WAV FLOAT", "flac": "FLAC PCM_16", "ogg": "OGG VORBIS"}
    assert f"{info.format} {info.subtype}" == expected[audio_format]
    assert set(SUFFIX) == set(FORMATS)
    assert SUFFIX[audio_format] == "." + audio_format.split("-")[0]


@pytest.mark.parametrize("audio_format", ["wav", "flac"])
def test_16_bits_are_exact(audio_format: AudioFormat) -> None:
    # 32768 levels below zero, 32767 above: a reader divides by 32768.
    back = decode(encode(clip(), RATE, audio_format))
    assert np.abs(back * 32768 / 32767 - clip()).max() <= 0.5 / 32767 + 1e-7
    assert (np.rint(back * 32768) == to_pcm16(clip())).all()


def test_floats_are_kept_whole() -> None:
    loud = clip() * 3
    assert (decode(encode(loud, RATE, "wav-float")) == loud).all()


def test_vorbis_is_close() -> None:
    back = decode(encode(clip(), RATE, "ogg"))
    assert back.shape == clip().shape
    assert np.square(back - clip()).mean() < 0.01 * np.square(clip()).mean()


@settings(max_examples=30)
@given(arrays(np.float32, st.integers(1, 50), elements=st.floats(-2, 2, width=32)))
def test_any_clip(audio: np.ndarray) -> None:
    pcm = to_pcm16(audio)
    assert pcm.dtype == np.int16
    assert (np.abs(pcm / 32767 - np.clip(audio, -1, 1)) <= 0.5 / 32767 + 1e-6).all()
    assert (to_pcm16(-audio) == -pcm).all()  # no sample is lost on one side
    for audio_format in ("wav", "wav-float", "flac"):
        assert len(decode(encode(audio, RATE, audio_format))) == len(audio)


def test_full_scale() -> None:
    assert to_pcm16(np.array([1, -1, 2, -2, 0], np.float32)).tolist() == [32767, -32767, 32767, -32767, 0]


# A second apart: soundfile would stamp some formats with the time, and Ogg streams with a random number.
ENCODE = """
import hashlib, sys, time
import numpy as np
from gansynth.audiofile import encode
clip = np.random.RandomState(1).uniform(-1, 1, 8000).astype(np.float32)
def all_formats():
    return [hashlib.sha256(encode(clip, 16000, f)).hexdigest() for f in ("wav", "wav-float", "flac", "ogg")]
first = all_formats()
time.sleep(1.1)
assert all_formats() == first
print(*first)
"""


def test_same_bytes_in_every_process() -> None:
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "ignore", "-c", ENCODE]
    processes = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(set(outputs)) == 1
    assert len(outputs[0].split()) == 4


@pytest.mark.parametrize("audio_format", FORMATS)
def test_same_clip_same_bytes(audio_format: AudioFormat) -> None:
    assert encode(clip(), RATE, audio_format) == encode(clip(), RATE, audio_format)


@pytest.mark.parametrize("audio_format", ["wav", "wav-float"])
def test_an_empty_clip(audio_format: AudioFormat) -> None:
    assert len(decode(encode(np.zeros(0, np.float32), RATE, audio_format))) == 0
