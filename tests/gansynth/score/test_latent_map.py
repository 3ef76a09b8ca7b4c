"""Maps of instruments: near ones are near, and a point sounds like what is beside it."""

from __future__ import annotations

import numpy as np
import pytest

from gansynth.errors import ConfigError
from gansynth.score import latent_map
from gansynth.score.instruments import random_latents


def test_what_is_alike_is_near() -> None:
    a, b = random_latents(2, 32, 1)
    latents = np.array([a, a + 0.01, b, b + 0.01, a])
    places = latent_map.places(latents)
    assert places.min() >= 0
    assert places.max() <= 1
    assert np.abs(places[0] - places[1]).max() < 0.01 < 0.5 < np.linalg.norm(places[0] - places[2])
    np.testing.assert_allclose(places[0], places[4])


def test_the_map_is_the_principal_components() -> None:
    latents = random_latents(20, 32, 3)
    places = latent_map.places(latents)
    spread = places.std(axis=0)
    assert spread[0] > spread[1] > 0
    np.testing.assert_allclose(places, latent_map.places(latents))
    assert abs(np.corrcoef(places.T)[0, 1]) < 1e-6


@pytest.mark.parametrize("count", [1, 2])
def test_few_instruments_have_a_map(count: int) -> None:
    places = latent_map.places(random_latents(count, 8, 0))
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()


def test_a_point_is_what_is_beside_it() -> None:
    latents = random_latents(6, 32, 5)
    places = latent_map.places(latents)
    np.testing.assert_allclose(latent_map.at(places, places, latents), latents, rtol=1e-6, atol=1e-6)
    between = latent_map.at(places[:1] * 0.5 + places[1:2] * 0.5, places, latents)[0]
    lengths = np.linalg.norm(latents, axis=1)
    assert lengths.min() <= np.linalg.norm(between) <= lengths.max()
    cosines = latents @ between / lengths / np.linalg.norm(between)
    assert min(cosines[:2]) > np.median(cosines)


def test_an_empty_bank_has_no_map() -> None:
    with pytest.raises(ConfigError, match="at least one instrument"):
        latent_map.at(np.zeros((1, 2)), np.zeros((0, 2)), np.zeros((0, 8)))
