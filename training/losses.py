"""The training loss: levels of peaks, levels of all bins, and phase coherence of partials."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from gansynth.model import mel
from training import targets
from training.targets import BINS, PITCHES, ROWS

_SEGMENTS = 16


def pooled(log_power: NDArray[np.floating], rows: int, device: torch.device | str = "cpu") -> Tensor:
    """Reduces target images to `rows` rows: logarithms of the mean magnitude, float16 [..., rows, BINS]."""
    image = torch.from_numpy(np.array(log_power)).to(device).float()
    magnitude = image.unflatten(-2, (rows, ROWS // rows)).div(2).exp().mean(dim=-2)
    return magnitude.log().mul(2).half()


class Loss(nn.Module):
    """The training loss at one height.

    The parts, for the log: `peaks` is the spectral convergence of magnitudes, which the loudest bins decide; `body`
    the same of square roots of magnitudes; `log` the distance of log powers, where either is above the floor;
    `tune` the error of phase advances at the partials; `lock` how far adjacent bins of a partial drift apart, since
    they add up to one sinusoid only while their phases agree, up to a note's end; `bands` the distance of the log
    powers of bands, which is what timbre is judged by.
    """

    WEIGHTS: ClassVar[dict[str, float]] = {
        "peaks": 1.0,
        "body": 0.7,
        "log": 0.5,
        "bands": 0.5,
        "tune": 5.0,
        "lock": 0.5,
    }

    def __init__(self, rows: int, images: NDArray[np.floating], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        self.rows = rows
        self.weights = {**self.WEIGHTS, **(weights or {})}
        self.early = ROWS // rows > targets.ONSET_ROWS
        lobes = np.stack([targets.lobe(pitch) for pitch in PITCHES])
        inverse = mel.mel_to_linear(BINS, targets.SAMPLE_RATE)
        self.register_buffer("images", torch.tensor(images, dtype=torch.float32))
        first = torch.arange(rows)[:, None] * (ROWS // rows) < targets.ONSET_ROWS
        self.register_buffer("first", first if not self.early else torch.zeros_like(first))
        self.register_buffer("inverse", torch.tensor(inverse, dtype=torch.float32))
        self.register_buffer("bands", torch.tensor(np.minimum(lobes @ inverse.T, 1.0), dtype=torch.float32))
        self.register_buffer("pairs", torch.tensor(lobes[:, 1:] * lobes[:, :-1], dtype=torch.float32))
        heard = np.ones([rows, 1])
        if rows == ROWS:
            first = targets.LEAD // targets.HOP - 3
            heard[:first] = 0.1
            heard[first : first + 5] = 2.0  # the attack is in five of 128 rows
        self.register_buffer("heard", torch.tensor(heard, dtype=torch.float32))
        # Neighbouring bands overlap: what bands of this many bins hold is what a timbre is heard by.
        self.band = 12

    def phase(self, labels: Tensor) -> Tensor:
        """Returns the target phase channel of pitches at this height, [n, rows, BINS], in units of pi."""
        images = self.images[labels]
        return torch.where(self.first, images[:, :1], images[:, 1:])

    def forward(self, power: Tensor, phase: Tensor, onset: Tensor, labels: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """Computes the unweighted parts of the loss.

        Args:
            power, phase, onset: the generator's images, [n, rows, BINS]. Where a row is longer than the onset, the
                phase is to be the steady one everywhere, and the onset's phase is drawn apart.
            labels: int64 [n].
            wanted: [n, rows, BINS], natural log power.
        """
        got = (power - targets.MAG_OFFSET) / targets.MAG_SCALE
        wanted = wanted.float()
        root, got_root = torch.exp(wanted / 4), torch.exp(got.clamp(max=12.0) / 4)
        parts = {
            "peaks": self._convergence(got_root.square(), root.square()),
            "body": self._convergence(got_root, root),
        }
        weight = root / root.amax(dim=(1, 2), keepdim=True)
        silent = wanted <= targets.FLOOR
        distance = torch.where(silent, (got - targets.FLOOR).clamp(min=0.0), (got - wanted).abs())
        parts["log"] = ((0.3 + weight) * self.heard * distance).mean()
        parts["bands"] = (self.heard * (self._bands(got.clamp(max=12.0)) - self._bands(wanted)).abs()).mean()

        error = phase / targets.PHASE_SCALE - self.phase(labels)
        at_partials = weight * self.bands[labels][:, None] + 0.02
        parts["tune"] = (at_partials * error.abs()).sum() / at_partials.sum()
        drift, spread = (
            self._per_segment(error) @ self.inverse,
            self._per_segment(weight.square()) @ self.inverse,
        )
        drift = drift.cumsum(dim=1) * (ROWS // drift.shape[1])
        loudness = (spread + 1e-6).sqrt()[..., 1:] * self.pairs[labels][:, None]
        apart = (drift[..., 1:] - drift[..., :-1]).abs()
        if self.early:
            late = onset / targets.PHASE_SCALE - self.images[labels][:, :1]
            parts["tune"] = parts["tune"] + (at_partials * late.abs()).sum() / at_partials.sum()
            late = self._per_segment(late) @ self.inverse * targets.ONSET_ROWS
            apart = apart + (late[..., 1:] - late[..., :-1]).abs()
        parts["lock"] = (loudness * apart / (1 + 0.3 * apart)).sum() / loudness.sum()
        return parts

    def _bands(self, log_power: Tensor) -> Tensor:
        """Computes the log of the mean power of bands that overlap by half, [n, rows, bands]."""
        floor = math.exp(targets.FLOOR)
        return (functional.avg_pool1d(log_power.exp(), self.band, self.band // 2) + floor).log()

    def _per_segment(self, image: Tensor) -> Tensor:
        return image.unflatten(1, (min(_SEGMENTS, self.rows), -1)).mean(dim=2)

    def _convergence(self, got: Tensor, wanted: Tensor) -> Tensor:
        difference = ((got - wanted).square() * self.heard).sum(dim=(1, 2))
        return (difference / (wanted.square() * self.heard).sum(dim=(1, 2)) + 1e-8).sqrt().mean()

    def total(self, parts: dict[str, Tensor]) -> Tensor:
        """Computes the weighted sum of the parts."""
        return torch.stack([weight * parts[name] for name, weight in self.weights.items()]).sum()
