"""`python -m training train`: teaches the generator to draw the prepared targets.

Regression, not a game of two networks: what each instrument sounds like at each pitch is known. The network grows
in height as Magenta's does: the early blocks learn what there is to know about instruments and pitches on short,
cheap images, the late ones how it unfolds in time.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training import figures, targets
from training.instruments import blend, latents
from training.losses import Loss, pooled
from training.net import Generator, Shape, grow_identity
from training.prepare import Prepared, load
from training.targets import BINS, PITCHES, ROWS


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one height: last block trained, notes in a batch, share of all steps."""

    depth: int
    batch: int
    share: float


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run's result. Steps count from 0 over all stages."""

    shape: Shape = Shape(latent_vector_size=16, start_height=1, num_resolutions=8, fmap_base=2048, fmap_max=48)
    stages: tuple[Stage, ...] = (Stage(3, 61, 0.2), Stage(5, 24, 0.25), Stage(6, 16, 0.25), Stage(8, 6, 0.3))
    steps: int = 6000
    first_rate: float = 3e-3
    conv_rate: float = 4e-4
    last_rate: float = 0.01
    average: float = 0.998
    pure: float = 0.7
    seed: int = 1

    def stage_of(self, step: int) -> int:
        """Which stage a step belongs to."""
        ends = np.cumsum([stage.share for stage in self.stages]) / sum(stage.share for stage in self.stages)
        return min(int(np.searchsorted(ends * self.steps, step, side="right")), len(self.stages) - 1)


class Sampler:
    """Draws latents, pitches and the images they should give; the same for the same seed and step."""

    def __init__(self, data: Prepared, recipe: Recipe, rows: int, device: torch.device) -> None:
        self._recipe, self._device = recipe, device
        self._codes = latents(len(data.instruments), recipe.shape.latent_vector_size)
        images = np.stack([pooled(np.asarray(one), rows) for one in data.log_power])
        self._images = torch.from_numpy(images).to(device)

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Latents [size, latent], labels [size] and log powers [size, rows, BINS] of one step."""
        random = np.random.RandomState([self._recipe.seed, step])
        count, dimensions = self._codes.shape
        kind = random.uniform(size=size)
        order = np.random.RandomState([self._recipe.seed, step * size // (count * len(PITCHES))])
        notes = order.permutation(count * len(PITCHES))[(step * size + np.arange(size)) % (count * len(PITCHES))]
        which, labels = notes // len(PITCHES), notes % len(PITCHES)
        z = self._codes[which] * random.uniform(0.9, 1.1, [size, 1])
        z = z + random.normal(size=z.shape) * 0.1
        other, place = self._codes[random.randint(count, size=size)], random.uniform(size=[size, 1])
        half = (self._recipe.pure + 1) / 2
        mixed = (1 - place) * z + place * other
        mixed *= 4.0 / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-6)
        z = np.where((kind > self._recipe.pure)[:, None], mixed, z)
        z = np.where((kind > half)[:, None], random.normal(size=[size, dimensions]), z)
        weights = blend(self._codes, z)
        weights[kind <= self._recipe.pure] = np.eye(count)[which[kind <= self._recipe.pure]]
        return (
            torch.from_numpy(z.astype(np.float32)).to(self._device),
            torch.from_numpy(labels.astype(np.int64)).to(self._device),
            self.mix(weights, labels),
        )

    def mix(self, weights: NDArray[np.float64], labels: NDArray[np.integer]) -> Tensor:
        """Averages of instruments' log powers, [n, rows, BINS]."""
        out = []
        for row, label in zip(weights, labels.tolist(), strict=True):
            out.append(sum(float(row[i]) * self._images[i, label].float() for i in np.flatnonzero(row)))
        return torch.stack(out)


def start(net: Generator, data: Prepared, seed: int) -> None:
    """Starts the first layer from what it will have to know, all else as identities.

    The pitch rows get the two frequency images, and the principal components over instruments and time of what is
    at each pitch and band; the latent rows get the instruments' mean spectra and the latent itself. Without this, the
    frequency images alone take longer than a whole run.
    """
    grow_identity(net, seed)
    random = np.random.RandomState(seed)
    size, rows = net.shape.latent_vector_size, net.shape.start_height
    codes = latents(len(data.instruments), size)
    power = np.stack([pooled(np.asarray(one), 8) for one in data.log_power]).astype(np.float32)
    power = np.maximum(power, targets.FLOOR) + 4.0
    power /= power.std()
    mean = power.mean(axis=(1, 2))
    samples = power.transpose(1, 3, 0, 2).reshape(len(PITCHES) * BINS, -1)
    samples = samples - samples.mean(axis=0)
    values, axes = np.linalg.eigh(samples.T @ samples / len(samples))
    kept = min(32, len(values))
    # The square root of their size: small components tell the instruments apart, great ones only loud from quiet.
    scores = samples @ axes[:, -kept:] / (values[-kept:] ** 0.25 + 1e-6) * 0.5 / values[-1] ** 0.25
    scores = scores.reshape(len(PITCHES), BINS, kept)
    images = np.stack([targets.frequency_images(pitch) for pitch in PITCHES])
    first = np.zeros(net.first.shape, np.float32)
    channels = first.shape[1]
    # Gains: the reference norm of the input is that of a latent of length 4 beside one label.
    pitch_gain = float(np.sqrt((size + len(PITCHES)) / (1 + 16.0)))
    for row in range(rows):
        for pair, image in enumerate((images[:, 1], images[:, 0])):
            for side, sign in enumerate((1.0, -1.0)):
                first[size:, 2 * pair + side, row] = 1.5 + sign * image
        mixing = np.linalg.qr(random.normal(size=[channels, channels]))[0][4:, :kept] * np.sqrt(channels / kept)
        first[size:, 4:, row] = 2 * np.einsum("pfk,ck->pcf", scores, mixing)
        first[:size, 4:, row] = random.normal(size=[size, channels - 4, 1]) * 0.15
        spectra = np.linalg.pinv(codes) @ (mean - mean.mean(axis=0))
        first[:size, 4:, row] += 0.5 * spectra[:, None] * random.choice([-1, 1], size=[channels - 4, 1])
    with torch.no_grad():
        net.first.copy_(torch.from_numpy(first / pitch_gain))


@torch.no_grad()
def fit_rgb(net: Generator, depth: int, sampler: Sampler, loss: Loss, seed: int) -> None:
    """Starts the `to_rgb` of a block by least squares on what the block's features are already able to draw."""
    device = net.first.device
    moments, wanted = 0.0, 0.0
    for step in range(4):
        z, labels, power = sampler.batch(10**6 + seed * 100 + step, 8)
        with torch.autocast(device.type, torch.bfloat16):
            x = net.features(z, labels, depth).float()
        x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1).permute(0, 2, 3, 1)[:, :, ::3]
        power = power.clamp(min=targets.FLOOR)[:, :, ::3] * targets.MAG_SCALE + targets.MAG_OFFSET
        phase = loss.phase[labels][:, :, ::3] * targets.PHASE_SCALE
        weights = (torch.ones_like(power), loss.bands[labels][:, None, ::3].expand_as(phase) + 0.01)
        both = torch.stack(weights)[..., None] * x
        moments = moments + torch.einsum("wnrfc,nrfd->wcd", both, x).double()
        wanted = wanted + torch.einsum("wnrfc,wnrf->wc", both, torch.stack([power, phase])).double()
    eye = torch.eye(moments.shape[1], dtype=torch.float64, device=device)
    ridge = 1e-4 * moments.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None] * eye
    solved = torch.linalg.solve(moments + ridge, wanted[..., None])[..., 0]
    net.rgb[depth - 1].weight.copy_(solved[:, :-1, None, None])
    net.rgb[depth - 1].bias.copy_(solved[:, -1])


class Trainer:
    """A run: its network, its moving average, its optimizer and where it stands."""

    def __init__(self, data: Prepared, folder: Path, recipe: Recipe) -> None:
        self.data, self.folder, self.recipe = data, folder, recipe
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(recipe.seed)
        self.net = Generator(recipe.shape)
        self.step, self.seconds, self.fitted = 0, 0.0, 0
        folder.mkdir(parents=True, exist_ok=True)
        state = torch.load(folder / "state.pt") if (folder / "state.pt").exists() else None
        if state is None:
            start(self.net, data, recipe.seed)
        self.net.to(self.device, memory_format=torch.channels_last)
        # A convolution's hundreds of inputs move together: its steps must be small for the output to move as much.
        groups = [
            {"params": [self.net.first, self.net.first_bias], "peak": recipe.first_rate},
            {"params": [*self.net.conv.parameters(), *self.net.rgb.parameters()], "peak": recipe.conv_rate},
        ]
        self.optimizer = torch.optim.Adam(groups, lr=1e-3, betas=(0.9, 0.98), fused=True)
        if state is not None:
            if state["shape"] != dataclasses.asdict(recipe.shape):
                raise SystemExit(f"{folder}: holds a run of another shape; choose another folder")
            self.net.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.seconds, self.fitted = state["step"], state["seconds"], state["fitted"]
        self.average = {name: value.detach().clone() for name, value in self.net.named_parameters()}
        if state is not None:
            for name, value in state["average"].items():
                self.average[name].copy_(value)
        self._stop = False

    def save(self) -> None:
        """Writes state.pt, whole or not at all."""
        state = {
            "net": self.net.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "shape": dataclasses.asdict(self.recipe.shape),
            "step": self.step,
            "seconds": self.seconds,
            "fitted": self.fitted,
        }
        torch.save(state, self.folder / "state.pt.new")
        os.replace(self.folder / "state.pt.new", self.folder / "state.pt")

    def run(self) -> None:
        """Trains until the recipe's last step, or until SIGINT or SIGTERM, and saves."""
        for kind in (signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, self._on_signal)
        recipe = self.recipe
        while self.step < recipe.steps and not self._stop:
            number = recipe.stage_of(self.step)
            self._stage(number, recipe.stages[number])
        self.save()
        print(f"stopped at step {self.step} of {recipe.steps}, {self.seconds / 60:.1f} minutes of training")

    def _on_signal(self, *_: Any) -> None:
        self._stop = True

    def _stage(self, number: int, stage: Stage) -> None:
        recipe, began = self.recipe, time.time()
        rows = recipe.shape.start_height * 2 ** (stage.depth - 1)
        loss = Loss(rows).to(self.device)
        sampler = Sampler(self.data, recipe, rows, self.device)
        if self.fitted <= number:
            fit_rgb(self.net, stage.depth, sampler, loss, recipe.seed)
            for name, value in self.net.named_parameters():
                if name.startswith(f"rgb.{stage.depth - 1}."):
                    self.average[name].copy_(value)
            self.fitted = number + 1
        update = self._compiled(loss, stage.depth)
        sums: dict[str, float] = {}
        counted, shown, saved = 0, time.time(), time.time()
        while self.step < recipe.steps and not self._stop and recipe.stage_of(self.step) == number:
            rate = self._rate()
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["peak"]
            z, labels, wanted = sampler.batch(self.step, stage.batch)
            parts = update(z, labels, wanted)
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self._follow()
            self.step += 1
            counted += 1
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            now = time.time()
            self.seconds, began = self.seconds + now - began, now
            if now - shown > 20 or self.step == recipe.steps:
                means = {name: round(value / counted, 4) for name, value in sums.items()}
                line = {"step": self.step, "rows": rows, "minutes": round(self.seconds / 60, 2), "rate": rate, **means}
                line["seconds_per_note"] = round((now - shown) / counted / stage.batch, 4)
                print(json.dumps(line), flush=True)
                with (self.folder / "log.jsonl").open("a") as log:
                    log.write(json.dumps(line) + "\n")
                sums, counted, shown = {}, 0, time.time()
            if now - saved > 120 or self.step == recipe.steps:
                self.save()
                self._picture(stage.depth, sampler)
                saved = time.time()

    def _compiled(self, loss: Loss, depth: int) -> Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]]:
        def forward(z: Tensor, labels: Tensor, wanted: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            with torch.autocast(self.device.type, torch.bfloat16):
                power, phase = self.net(z, labels, depth)
                parts = loss(power, phase, labels, wanted)
            return loss.total(parts), parts

        compiled = torch.compile(forward, dynamic=False)

        def update(z: Tensor, labels: Tensor, wanted: Tensor) -> dict[str, Tensor]:
            total, parts = compiled(z, labels, wanted)
            total.backward()
            return {name: value.detach() for name, value in parts.items()}

        return update

    def _rate(self) -> float:
        """The share of the peak learning rates: up over 50 steps, then half a cosine down to the last share."""
        cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, self.step / self.recipe.steps))
        return min(1.0, (self.step + 1) / 50) * (self.recipe.last_rate + (1 - self.recipe.last_rate) * cosine)

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the average; its memory grows with the run, so that the start is soon forgotten."""
        keep = min(self.recipe.average, (1 + self.step) / (10 + self.step))
        for name, value in self.net.named_parameters():
            self.average[name].lerp_(value, 1 - keep)

    @torch.no_grad()
    def _picture(self, depth: int, sampler: Sampler) -> None:
        """Writes target beside generated log power of some notes, as comparison.png and by step."""
        count = len(self.data.instruments)
        which = np.arange(0, count, max(1, count // 6))[:6]
        labels = np.array([24, 36, 43, 31, 48, 12])[: len(which)]
        codes = latents(count, self.recipe.shape.latent_vector_size)[which].astype(np.float32)
        net = Generator(self.recipe.shape).to(self.device)
        net.load_state_dict(self.average)
        power, _ = net(torch.from_numpy(codes).to(self.device), torch.from_numpy(labels).to(self.device), depth)
        got = (power.cpu().numpy() - targets.MAG_OFFSET) / targets.MAG_SCALE
        wanted = sampler.mix(np.eye(count)[which], labels).cpu().numpy()
        names = [f"{self.data.instruments[i].name} {PITCHES[label]}" for i, label in zip(which, labels, strict=True)]
        figures.comparison(self.folder / f"comparison_{self.step:06d}.png", names, wanted, got)


def train(data: Path, folder: Path, recipe: Recipe) -> None:
    """Trains, or goes on with the run in `folder`.

    Args:
        data: prepared data set.
        folder: where the run's state, log and comparison images are.
        recipe: what to do.
    """
    trainer = Trainer(load(data), folder, recipe)
    (folder / "recipe.json").write_text(json.dumps(dataclasses.asdict(recipe), indent=1))
    trainer.run()


assert ROWS == 128
