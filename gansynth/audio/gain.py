"""Gain of a note over time, from its velocity and from the volume, expression and master volume of its channel."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

VelocityLaw = Literal["linear", "general_midi"]
MAX_GAIN = (127.0 / 100.0) ** 2
"""The highest gain that controllers reach, +4.15 dB: volume 127 where 100 is the default."""
_RAMP_SECONDS = 0.005
_DEFAULT_VOLUME, _MAX_EXPRESSION, _MAX_MASTER = 100.0, 127.0, 16383.0


def velocity_gain(velocity: int, law: VelocityLaw) -> float:
    """Converts a velocity to an amplitude.

    Args:
        velocity: 0..127.
        law: "linear": velocity / 127, as the reference; "general_midi": 40 log10(velocity / 127) dB.

    Returns:
        0..1.

    Source: MMA, General MIDI Level 2 and the GM developer guidelines, for the second law.
    """
    share = velocity / 127.0
    return share * share if law == "general_midi" else share


def controller_decibels(volume: ArrayLike, expression: ArrayLike, master: ArrayLike = 16383) -> NDArray[np.float64]:
    """Converts volume controllers to a gain relative to their defaults.

    Args:
        volume: controller 7, 0..127; the default is 100.
        expression: controller 11, 0..127; the default is 127.
        master: universal master volume, 0..16383; the default is 16383.

    Returns:
        float64 in the arguments' common shape, in dB: exactly 0 for the defaults, -inf for silence.

    Source: MMA, General MIDI Level 2: 40 log10 of each value over its default.
    """
    with np.errstate(divide="ignore"):
        logarithm = np.log10(np.asarray(volume, np.float64) / _DEFAULT_VOLUME)
        logarithm = logarithm + np.log10(np.asarray(expression, np.float64) / _MAX_EXPRESSION)
        return 40.0 * (logarithm + np.log10(np.asarray(master, np.float64) / _MAX_MASTER))


def gain_curve(
    seconds: NDArray[np.float64], decibels: NDArray[np.float64], samples: int, sample_rate: int
) -> float | NDArray[np.float32]:
    """Converts steps of a gain to a factor for every sample, free of zipper noise.

    Each step becomes a linear ramp of 5 ms in amplitude that begins at the step; the first value applies from the
    beginning of the note, without a ramp.

    Args:
        seconds: float64 [k], times of the steps from the beginning of the note, ascending; the first is at most 0. Of
            several steps up to 0, or at one sample, the last applies.
        decibels: float64 [k], the gain from each step on; -inf for silence.
        samples: length of the note.
        sample_rate: in Hz.

    Returns:
        A number if the gain is constant within the note, so that notes can share samples; otherwise float32
        [samples], 0..MAX_GAIN.

    Raises:
        ValueError: the steps are not in order, or begin after the beginning of the note.
    """
    if not len(seconds) or len(seconds) != len(decibels) or seconds[0] > 0 or (np.diff(seconds) < 0).any():
        raise ValueError("a gain needs as many times as values, ascending, the first at the beginning of the note.")
    begins = np.maximum(np.rint(seconds * sample_rate), 0.0)
    counts = np.append(begins[1:] > begins[:-1], True) & (begins < max(samples, 1))
    begins, amplitudes = begins[counts], 10.0 ** (decibels[counts] / 20.0)
    if (amplitudes == amplitudes[0]).all():
        return float(amplitudes[0])
    # The mean of the steps over the last 5 ms is piecewise linear; it is computed at its corners.
    ramp = round(_RAMP_SECONDS * sample_rate)
    areas = np.concatenate([[0.0], np.cumsum(np.diff(begins) * amplitudes[:-1])])
    corners = np.unique(np.concatenate([begins, begins + ramp]))
    after = np.searchsorted(begins, corners, side="left") - 1
    before = np.searchsorted(begins, corners - ramp, side="right") - 1
    now, then = np.maximum(after, 0), np.maximum(before, 0)
    area_now = areas[now] + (corners - begins[now]) * amplitudes[now]
    area_then = areas[then] + (corners - ramp - begins[then]) * amplitudes[then]
    values = np.where(now == then, amplitudes[now], (area_now - area_then) / ramp)
    return np.interp(np.arange(samples), corners, values).astype(np.float32)
