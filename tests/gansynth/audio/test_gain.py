from __future__ import annotations

import numpy as np
import pytest

from gansynth.audio.gain import MAX_GAIN, controller_decibels, gain_curve, velocity_gain
from tests.support.sound_measures import RATE


def brute_force(seconds: list[float], decibels: list[float], samples: int) -> np.ndarray:
    """Averages the steps over the last 80 samples, sample by sample."""
    begins = np.maximum(np.rint(np.array(seconds) * RATE), 0)
    number = np.arange(-80, samples)
    step = np.maximum(np.searchsorted(begins, number, side="right") - 1, 0)
    steps = 10 ** (np.array(decibels) / 20)[np.where(number < 0, np.searchsorted(begins, 0, side="right") - 1, step)]
    return np.array([steps[n : n + 80].mean() for n in range(samples)])


def test_velocities_by_either_law() -> None:
    assert [velocity_gain(v, "linear") for v in (0, 64, 127)] == [0, 64 / 127, 1]
    assert velocity_gain(127, "general_midi") == 1
    assert 20 * np.log10(velocity_gain(50, "general_midi")) == pytest.approx(40 * np.log10(50 / 127))


def test_controllers_are_relative_to_their_defaults() -> None:
    assert controller_decibels(100, 127) == 0
    levels = controller_decibels([120, 50, 25], 127)
    np.testing.assert_allclose(levels[0] - levels, [0, 15.2, 27.3], atol=0.06)  # ../shared/channels/EXPECTED.md
    assert float(controller_decibels(100, 127, 8192)) == pytest.approx(-12.04, abs=0.01)
    assert controller_decibels(0, 127) == -np.inf
    assert 10 ** (controller_decibels(127, 127) / 20) == pytest.approx(MAX_GAIN)
    assert 20 * np.log10(MAX_GAIN) == pytest.approx(4.15, abs=0.005)


def test_a_gain_that_does_not_move_within_the_note_is_a_number() -> None:
    default = float(controller_decibels(100, 127))
    assert gain_curve(np.array([-3.0]), np.array([default]), 1000, RATE) == 1.0
    unmoved = gain_curve(np.array([-1.0, 0.0, 0.01]), np.array([-6.0, -3.0, -3.0]), 1000, RATE)
    assert isinstance(unmoved, float)
    assert unmoved == pytest.approx(10 ** (-3 / 20))
    assert gain_curve(np.array([0.0, 1.0]), np.array([-3.0, 0.0]), RATE, RATE) == unmoved  # moves when it is over
    assert gain_curve(np.array([0.0]), np.array([-np.inf]), 1000, RATE) == 0.0


def test_a_step_is_a_line_of_5_ms_after_it_and_exact_elsewhere() -> None:
    curve = gain_curve(np.array([0.0, 0.1, 0.2]), np.array([0.0, -np.inf, 0.0]), 8000, RATE)
    assert isinstance(curve, np.ndarray)
    assert curve.dtype == np.float32
    assert (curve[:1601] == 1).all()
    assert (curve[1680:3201] == 0).all()
    assert (curve[3280:] == 1).all()
    np.testing.assert_allclose(curve[1600:1681], np.linspace(1, 0, 81), atol=1e-6)
    assert np.abs(np.diff(curve)).max() <= 1 / 80 + 1e-6


@pytest.mark.parametrize(
    ("seconds", "decibels"),
    [
        ([0.0, 0.001, 0.002, 0.0021, 0.05], [0.0, 4.0, -20.0, 3.0, -np.inf]),
        ([-0.2, -0.1, 0.0, 0.0, 0.0301, 0.0301], [-9.0, 1.0, -2.0, -40.0, 0.0, 4.15]),
        (np.arange(0, 0.1, 0.0004).tolist(), np.linspace(-60, 0, 250).tolist()),
    ],
)
def test_lines_that_overlap_add_up(seconds: list[float], decibels: list[float]) -> None:
    curve = gain_curve(np.array(seconds), np.array(decibels), 1600, RATE)
    assert isinstance(curve, np.ndarray)
    np.testing.assert_allclose(curve, brute_force(seconds, decibels, 1600), atol=1e-6)
    assert curve.max() <= MAX_GAIN


def test_the_first_value_holds_from_the_first_sample() -> None:
    curve = gain_curve(np.array([0.0, 0.5]), np.array([-20.0, 0.0]), RATE, RATE)
    assert isinstance(curve, np.ndarray)
    assert curve[0] == np.float32(0.1)


def test_steps_out_of_order_are_refused() -> None:
    for seconds, decibels in ([], []), ([0.1], [0.0]), ([0.0, 2.0, 1.0], [0.0, 0.0, 0.0]), ([0.0], [0.0, 1.0]):
        with pytest.raises(ValueError, match="as many times as values"):
            gain_curve(np.array(seconds), np.array(decibels), 100, RATE)
