"""Audio files: encoding is deterministic, and reading returns the written samples."""

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
from scipy.io import wavfile

from gansynth.audio.encode import SUFFIX, AudioFormat, encode_audio, to_pcm16

FORMATS: list[Any] = ["wav", "wav-float", "flac", "ogg", "mp3", "opus"]
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
    content = encode_audio(clip(), RATE, audio_format)
    info = soundfile.info(io.BytesIO(content))
    assert (info.samplerate, info.channels, info.frames) == (RATE, 1, RATE // 2)
    expected = {"wav": "WAV PCM_16", "wav-float": "WAV FLOAT", "flac": "FLAC PCM_16", "ogg": "OGG VORBIS"}
    expected |= {"mp3": "MP3 MPEG_LAYER_III", "opus": "OGG OPUS"}
    assert f"{info.format} {info.subtype}" == expected[audio_format]
    assert set(SUFFIX) == set(FORMATS)
    assert SUFFIX[audio_format] == "." + audio_format.split("-")[0]


TAGS = {"title": "Für Elise \u65e5\u672c", "artist": "L. v. B.", "copyright": "\u00a9 1810"}


@pytest.mark.parametrize("audio_format", FORMATS)
@pytest.mark.parametrize("tags", [TAGS, {"title": "x" * 128, "artist": ""}, {}])
def test_tags_are_read_back_and_the_sound_is_the_same(audio_format: AudioFormat, tags: dict[str, str]) -> None:
    content = encode_audio(clip(), RATE, audio_format, tags=tags)
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        found = {name: getattr(file, name) for name in TAGS if getattr(file, name)}
    kept = {name: text for name, text in tags.items() if text and (name, audio_format) != ("copyright", "mp3")}
    assert found == kept
    np.testing.assert_array_equal(decode(content), decode(encode_audio(clip(), RATE, audio_format)))


def test_formats_with_few_sample_rates_say_which() -> None:
    with pytest.raises(ValueError, match=r"opus has no sample rate of 44100 Hz; set audio\.sample_rate to 8000, 12000"):
        encode_audio(clip(), 44100, "opus")


def test_a_libsndfile_that_lacks_a_format_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soundfile, "check_format", lambda kind, subtype: False)
    with pytest.raises(ValueError, match=r"libsndfile \d.* cannot write mp3; install 1\.1 or later"):
        encode_audio(clip(), RATE, "mp3")


@pytest.mark.parametrize("audio_format", ["wav", "flac"])
def test_16_bits_are_exact(audio_format: AudioFormat) -> None:
    # 32768 levels below zero, 32767 above: a reader divides by 32768.
    back = decode(encode_audio(clip(), RATE, audio_format))
    assert np.abs(back * 32768 / 32767 - clip()).max() <= 0.5 / 32767 + 1e-7
    assert (np.rint(back * 32768) == to_pcm16(clip())).all()


def test_flac_of_24_bits_is_exact_and_clips() -> None:
    data = encode_audio(clip() * 2, RATE, "flac", bits=24)
    assert soundfile.info(io.BytesIO(data)).subtype == "PCM_24"
    wanted = np.rint(np.clip(clip().astype(np.float64) * 2, -1, 1) * 8388607)
    back = soundfile.read(io.BytesIO(data), dtype="int32")[0] >> 8
    assert (back == wanted).all()
    assert encode_audio(clip(), RATE, "flac") == encode_audio(clip(), RATE, "flac", bits=16)


def test_floats_are_kept_whole() -> None:
    loud = clip() * 3
    assert (decode(encode_audio(loud, RATE, "wav-float")) == loud).all()


def test_vorbis_is_close() -> None:
    back = decode(encode_audio(clip(), RATE, "ogg"))
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
        assert len(decode(encode_audio(audio, RATE, audio_format))) == len(audio)


def test_full_scale() -> None:
    assert to_pcm16(np.array([1, -1, 2, -2, 0], np.float32)).tolist() == [32767, -32767, 32767, -32767, 0]


# A second apart: soundfile would stamp some formats with the time, and Ogg streams with a random number.
ENCODE = """
import hashlib, sys, time
import numpy as np
from gansynth.audio.encode import encode_audio
clip = np.random.RandomState(1).uniform(-1, 1, 8000).astype(np.float32)
def all_formats():
    return [hashlib.sha256(encode_audio(clip, 16000, f)).hexdigest() for f in ("wav", "wav-float", "flac", "ogg")]
first = all_formats()
time.sleep(1.1)
assert all_formats() == first
print(*first)
"""


def test_same_bytes_in_every_process() -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-W", "ignore", "-c", ENCODE]
    processes = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(set(outputs)) == 1
    assert len(outputs[0].split()) == 4


@pytest.mark.parametrize("audio_format", FORMATS)
def test_same_clip_same_bytes(audio_format: AudioFormat) -> None:
    assert encode_audio(clip(), RATE, audio_format) == encode_audio(clip(), RATE, audio_format)


@pytest.mark.parametrize("audio_format", FORMATS)
@pytest.mark.parametrize("rate", [16000, 44100, 48000])
@pytest.mark.parametrize("shape", [(0,), (0, 2), (1,), (5000,), (5000, 2)])
def test_empty_short_and_silent_clips_of_any_rate(audio_format: AudioFormat, rate: int, shape: tuple[int, ...]) -> None:
    rate = 24000 if (audio_format, rate) == ("opus", 44100) else rate
    content = encode_audio(np.zeros(shape, np.float32), rate, audio_format)
    audio, found = soundfile.read(io.BytesIO(content), always_2d=True)
    assert found == rate
    samples = max(shape[0], 1) if audio_format in ("flac", "mp3", "opus") else shape[0]  # libsndfile reads none empty
    assert audio.shape == (samples, 2 if len(shape) == 2 else 1)
    assert np.abs(audio).max(initial=0) < 1e-9


@pytest.mark.parametrize("audio_format", FORMATS)
def test_stereo_keeps_left_and_right(audio_format: AudioFormat) -> None:
    left, right = clip(5, seed=1), 0.5 * clip(5, seed=2)
    content = encode_audio(np.stack([left, right], axis=1), 48000, audio_format)
    audio, rate = soundfile.read(io.BytesIO(content))
    assert rate == 48000
    assert audio.shape == (len(left), 2)
    for channel, wanted in zip(audio.T, (left, right), strict=True):
        assert np.square(channel - wanted).mean() < 0.01 * np.square(wanted).mean()


@pytest.mark.parametrize("audio_format", FORMATS)
def test_a_clip_in_pieces_is_the_same_file(audio_format: AudioFormat) -> None:
    whole = np.stack([clip(5, seed=1), clip(5, seed=2)], axis=1)
    pieces = (whole[first : first + 65536] for first in range(0, len(whole), 65536))
    assert encode_audio(pieces, RATE, audio_format, channels=2) == encode_audio(whole, RATE, audio_format)


@pytest.mark.parametrize("channels", [1, 2])
def test_floats_are_written_as_scipy_does(channels: int) -> None:
    whole = np.stack([clip(seed=n) for n in range(channels)], axis=1)
    buffer = io.BytesIO()
    wavfile.write(buffer, RATE, whole if channels > 1 else whole[:, 0])
    assert encode_audio(whole if channels > 1 else whole[:, 0], RATE, "wav-float") == buffer.getvalue()


def test_what_no_wav_file_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gansynth.audio.encode._MAX_WAV", 1000)
    for audio_format in ("wav", "wav-float"):
        with pytest.raises(ValueError, match="too long for a WAV file"):
            encode_audio(clip(), RATE, audio_format)
