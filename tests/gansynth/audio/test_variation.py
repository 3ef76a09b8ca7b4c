from __future__ import annotations

import numpy as np
import pytest

from gansynth.audio.variation import VARIANTS, Variation, choose_variants, variation
from tests.support.sound_measures import RATE, decibels, tone


def played(pitch: int, samples: int, how: Variation) -> np.ndarray:
    source = tone(440 * 2 ** ((pitch - 69) / 12), samples + 100, (0.5, 0.3, 0.2)).astype(np.float32)
    return how.gain * source[how.skipped :][:samples]


def test_no_variation_is_exactly_none() -> None:
    for variant in range(VARIANTS):
        assert variation(variant, 0.0, RATE) == Variation(0, 1.0)


def test_variations_are_small() -> None:
    ways = [variation(v, 1.0, RATE) for v in range(VARIANTS)]
    assert len(set(ways)) == VARIANTS
    assert max(abs(20 * np.log10(w.gain)) for w in ways) < 0.5
    assert max(w.skipped for w in ways) <= 0.002 * RATE
    assert min(w.skipped for w in ways) == 0
    assert variation(4, 0.5, RATE).skipped == ways[2].skipped


@pytest.mark.parametrize("pitch", [24, 36, 60, 84])
def test_two_repeats_differ_by_at_least_30_db(pitch: int) -> None:
    sounds = [played(pitch, 3200, variation(v, 1.0, RATE)) for v in range(VARIANTS)]
    differences = [decibels(a - b, a) for i, a in enumerate(sounds) for b in sounds[:i]]
    assert min(differences) > -30


def test_repeats_in_a_row_are_never_played_alike() -> None:
    random = np.random.RandomState(0)
    instrument, pitch = random.randint(0, 3, 500), random.randint(60, 70, 500)
    chosen = choose_variants(1, "digest", instrument, pitch)
    for sound in set(zip(instrument.tolist(), pitch.tolist(), strict=True)):
        mine = chosen[(instrument == sound[0]) & (pitch == sound[1])]
        assert all(len(set(mine[n : n + VARIANTS])) == VARIANTS for n in range(len(mine) - VARIANTS + 1))
    first = {(i, p): c for i, p, c in zip(instrument[::-1], pitch[::-1], chosen[::-1], strict=True)}
    assert len(set(first.values())) > 1  # not all sounds begin alike


def test_the_choice_depends_on_seed_and_song_alone() -> None:
    instrument, pitch = np.repeat([0, 1], 20), np.tile([60, 62], 20)
    chosen = choose_variants(7, "a", instrument, pitch)
    np.testing.assert_array_equal(chosen, choose_variants(7, "a", instrument.astype(np.int16), pitch.astype(np.uint8)))
    assert (chosen != choose_variants(8, "a", instrument, pitch)).any()
    assert (chosen != choose_variants(7, "b", instrument, pitch)).any()
    np.testing.assert_array_equal(chosen[:20], choose_variants(7, "a", instrument[:20], pitch[:20]))
