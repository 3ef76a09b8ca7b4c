"""A map of instruments: latents in two dimensions, and the latents of points between them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gansynth.errors import ConfigError

_SHARPNESS = 4
"""Power of the distance by which an instrument's share of a point falls."""


def places(latents: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places instruments on a map by their two principal components.

    The signs of the components are chosen so that the same latents always have the same map.

    Args:
        latents: [n, latent size], n at least one.

    Returns:
        float64 [n, 2] in 0..1, with the aspect ratio of the components; equal latents have equal places.
    """
    centred = latents - latents.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    directions = np.concatenate([directions, np.zeros((2, latents.shape[1]))])[:2]
    largest = np.abs(directions).argmax(axis=1)
    signs = np.where(directions[[0, 1], largest] < 0, -1.0, 1.0)
    flat = centred @ (directions * signs[:, None]).T
    low, high = flat.min(axis=0), flat.max(axis=0)
    extent = max(float((high - low).max()), 1e-9)
    return np.asarray(0.5 + (flat - (low + high) / 2) / extent)


def at(points: NDArray[np.float64], of: NDArray[np.float64], latents: NDArray[np.float64]) -> NDArray[np.float64]:
    """Computes the latents of points on a map: means of the instruments, weighted by their nearness.

    The means have the length of what they are made of, since a generator knows latents of that length only. At the
    place of an instrument it is that instrument.

    Source: inverse distance weighting, Shepard (1968), "A two-dimensional interpolation function for irregularly-spaced
    data".

    Args:
        points: [m, 2].
        of: [n, 2], the places of the instruments.
        latents: [n, latent size], the instruments.

    Returns:
        float64 [m, latent size].

    Raises:
        ConfigError: there are no instruments.
    """
    if not len(latents):
        raise ConfigError("a map needs at least one instrument")
    distances = np.linalg.norm(points[:, None] - of[None], axis=2)
    weights = 1 / np.maximum(distances, 1e-6) ** _SHARPNESS
    weights /= weights.sum(axis=1, keepdims=True)
    mean = weights @ latents
    length = weights @ np.linalg.norm(latents, axis=1)
    return np.asarray(mean * (length / np.maximum(np.linalg.norm(mean, axis=1), 1e-9))[:, None])
