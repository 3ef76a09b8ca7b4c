"""Peaks of clips, against the definition computed part by part."""

from __future__ import annotations

import base64
import itertools

import numpy as np
import pytest

from gansynth.audio.peaks import PARTS, peaks


def decoded(text: str) -> list[int]:
    return list(base64.b64decode(text, validate=True))


@pytest.mark.parametrize("samples", [256, 257, 1000, 48_011])
@pytest.mark.parametrize("channels", [1, 2])
def test_each_part_has_its_highest_absolute_sample(samples: int, channels: int) -> None:
    shape = (samples,) if channels == 1 else (samples, channels)
    clip = np.random.default_rng(samples).uniform(-1, 1, shape).astype(np.float32)
    edges = [part * samples // PARTS for part in range(PARTS + 1)]
    wanted = [round(float(np.abs(clip[a:b]).max()) * 0.5 * 255) for a, b in itertools.pairwise(edges)]
    assert decoded(peaks(clip, 0.5)) == pytest.approx(wanted, abs=1)


def test_short_silent_and_loud_clips() -> None:
    assert decoded(peaks(np.zeros(0, np.float32))) == [0] * PARTS
    assert decoded(peaks(np.zeros((0, 2), np.float32))) == [0] * PARTS
    short = decoded(peaks(np.array([0.2, -1.0], np.float32)))
    assert short == [51] * 128 + [255] * 128
    assert decoded(peaks(np.full(10_000, -1.5, np.float32))) == [255] * PARTS
    assert decoded(peaks(np.zeros(10_000, np.float32))) == [0] * PARTS
