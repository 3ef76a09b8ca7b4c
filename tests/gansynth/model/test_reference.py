"""Comparison with the real magenta package, on kinds of checkpoints that the recordings do not cover."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gansynth
from tests.support.notes import snr

pytestmark = [
    pytest.mark.reference,
    pytest.mark.slow,
    pytest.mark.skipif(not importlib.util.find_spec("magenta"), reason="magenta is not installed (extra: reference)"),
]

# 32x256 and a quarter of a second, in four blocks: the reference takes a minute to build seven.
FLAGS = {
    "latent_vector_size": 16,
    "fmap_base": 1024,
    "fmap_max": 8,
    "start_height": 4,
    "start_width": 32,
    "num_resolutions": 4,
    "audio_length": 4000,
    "stable_stage_num_images": 800000,
    "transition_stage_num_images": 800000,
    "total_num_images": 11000000,
}
SIMPLE = {"data_normalizer": "specgrams_simple_normalizer"}
TIMED = {"train_time_limit": 50.0, "train_time_stage_multiplier": 1.5, "mag_normalizer_a": 0.1}
LINEAR = {"start_height": 8, "start_width": 16, "to_rgb_activation": "linear", "data_normalizer": "none"}


@pytest.mark.parametrize(
    ("more", "stage", "step", "elapsed", "normalizer"),
    [
        pytest.param(SIMPLE, 5, 4_300_000, 0, [0.07, 0.1, 0.7, -0.03], id="transition, simple normalizer"),
        pytest.param(TIMED, 3, 4_000_000, 4.0, None, id="time limit, other constants"),
        pytest.param(LINEAR, 6, 11_000_000, 0, None, id="wide start, linear, no normalizer"),
        pytest.param({"kernel_size": 5}, 4, 9_000_000, 0, None, id="stable early stage, kernel 5"),
        pytest.param({}, 3, 2_400_000, 0, None, id="transition begins"),
    ],
)
def test_plays_like_magenta(
    more: dict[str, Any], stage: int, step: int, elapsed: float, normalizer: list[float] | None, tmp_path: Path
) -> None:
    folder, job = tmp_path / "voice", tmp_path / "job.json"
    flags = {**FLAGS, **more}
    job.write_text(
        json.dumps(
            {
                "folder": str(folder),
                "flags": flags,
                "stage": stage,
                "step": step,
                "elapsed": elapsed,
                "normalizer": normalizer,
                "seed": stage,
                "pitches": [24, 60, 84],
            }
        )
    )
    script = Path(__file__).with_name("magenta_reference.py")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(script), str(job)],
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    played = np.load(folder / "played.npz")
    synth = gansynth.Synthesizer.from_checkpoint(folder)
    audio = synth.synthesize(played["z"], played["pitches"])
    assert audio.shape == played["audio"].shape
    for expected, found in zip(played["audio"], audio, strict=True):
        assert snr(expected, found) >= 60
        assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()
