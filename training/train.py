"""`python -m training train`: trains the generator to draw the prepared targets.

The training is regression, not adversarial, since the target of each instrument and pitch is known. The network grows
in height like Magenta's: the early blocks learn instruments and pitches on short, cheap images, the late ones their
development in time.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pickle
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed

from training import figures, targets
from training.instruments import blend, latents, listed
from training.losses import Loss, pooled
from training.net import Generator, Shape, grow, start_identity, variables
from training.prepare import Prepared, load
from training.targets import BINS, PITCHES, ROWS


@dataclass(frozen=True)
class Stage:
    """A stage of training at one height: last block trained, notes per batch, share of all steps."""

    depth: int
    batch: int
    share: float


@dataclass(frozen=True)
class Recipe:
    """The settings that determine a run's result. Steps count from 0 over all stages."""

    shape: Shape = field(default_factory=Shape)
    stages: tuple[Stage, ...] = (Stage(4, 16, 0.67), Stage(6, 12, 0.15), Stage(8, 6, 0.18))
    steps: int = 8000
    first_rate: float = 1e-3
    conv_rate: float = 1e-4
    last_rate: float = 0.01
    average: float = 0.998
    pure: float = 0.7
    seed: int = 1

    def stage_of(self, step: int) -> int:
        """Returns the number of the stage to which a step belongs."""
        ends = np.cumsum([stage.share for stage in self.stages]) / sum(stage.share for stage in self.stages)
        return min(int(np.searchsorted(ends * self.steps, step, side="right")), len(self.stages) - 1)


class Sampler:
    """A sampler of latents, pitches and target images; the same for the same seed and step."""

    def __init__(self, data: Prepared, recipe: Recipe, rows: int, device: torch.device) -> None:
        self._recipe, self._device = recipe, device
        self._codes = latents(len(data.instruments), recipe.shape.latent_vector_size)
        images = np.stack([pooled(np.asarray(one), rows) for one in data.log_power])
        self._images = torch.from_numpy(images).to(device)

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draws latents [size, latent], labels [size] and log powers [size, rows, BINS] of one step."""
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
        """Averages instruments' log powers, [n, rows, BINS]."""
        out = []
        for row, label in zip(weights, labels.tolist(), strict=True):
            out.append(sum(float(row[i]) * self._images[i, label].float() for i in np.flatnonzero(row)))
        return torch.stack(out)


def start(net: Generator, data: Prepared, seed: int) -> None:
    """Initialises the first layer from the training data and all other layers as identities.

    The pitch rows get the two frequency images, and the principal components over instruments and time of what is
    at each pitch and band; the latent rows get the instruments' mean spectra and the latent itself. Without this, the
    frequency images alone take longer than a whole run.
    """
    start_identity(net, seed)
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
    values = np.maximum(values, 0.0)  # notes that differ in less than eight rows have components of size zero
    kept = min(32, len(values))
    # The square root of their size: small components tell the instruments apart, great ones only loud from quiet.
    scores = samples @ axes[:, -kept:] / (values[-kept:] ** 0.25 + 1e-6) * 0.5 / values[-1] ** 0.25
    scores = scores.reshape(len(PITCHES), BINS, kept)
    images = np.stack([targets.frequency_images(pitch) for pitch in PITCHES])
    channels = net.first.shape[1]
    first = np.zeros([size + len(PITCHES), channels, BINS], np.float32)
    # Every filter is a constant plus a little, so that it passes the leaky ReLUs and the norms nearly unchanged.
    first[size:] = 1.0
    for pair, image in enumerate((images[:, 1], images[:, 0])):
        for side, sign in enumerate((0.6, -0.6)):
            first[size:, 2 * pair + side] += sign * np.clip(image, -1.4, 1.4)
    common = power.mean(axis=(0, 2))
    spectra = np.linalg.pinv(codes) @ (mean - mean.mean(axis=0))
    for side, sign in enumerate((0.2, -0.2)):
        first[size:, 4 + side] += sign * common
        first[:size, 4 + side] += sign * spectra
    mixing = np.linalg.qr(random.normal(size=[channels, channels]))[0][6:, :kept] * np.sqrt(channels / kept)
    first[size:, 6:] += np.einsum("pfk,ck->pcf", scores, mixing)
    first[:size, 6:] += random.normal(size=[size, channels - 6, 1]) * 0.05
    first[:size, 6:] += 0.15 * spectra[:, None] * random.choice([-1, 1], size=[channels - 6, 1])
    # The norm of the input makes a label this large beside a latent of length 4.
    gain = float(np.sqrt((size + len(PITCHES)) / (1 + 16.0)))
    first[size:] /= gain
    first[:size] /= gain
    with torch.no_grad():
        net.first.copy_(torch.from_numpy(np.repeat(first[:, :, None], rows, axis=2)))


@torch.no_grad()
def fit_rgb(net: Generator, depth: int, sampler: Sampler, loss: Loss, seed: int) -> None:
    """Starts the `to_rgb` of a block by least squares on what the block's features are already able to draw."""
    device = net.first.device
    moments, wanted = 0.0, 0.0
    for step in range(4):
        z, labels, power = sampler.batch(10**6 + seed * 100 + step, 12)
        features = net.features(z, labels, depth)
        x = torch.cat([features, torch.ones_like(features[:, :1])], dim=1).permute(0, 2, 3, 1)[:, :, ::3]
        power = power.clamp(min=targets.FLOOR)[:, :, ::3] * targets.MAG_SCALE + targets.MAG_OFFSET
        phase = loss.phase(labels)[:, :, ::3] * targets.PHASE_SCALE
        onset = loss.images[labels][:, :1, ::3].expand_as(phase) * targets.PHASE_SCALE
        at_partials = loss.bands[labels][:, None, ::3].expand_as(phase) ** 2 + 1e-3
        for i, (weight, image) in enumerate(
            ((torch.ones_like(power), power), (at_partials, phase), (at_partials, onset))
        ):
            if step == i == 0:
                moments = torch.zeros([3, x.shape[-1], x.shape[-1]], dtype=torch.float64, device=device)
                wanted = torch.zeros([3, x.shape[-1]], dtype=torch.float64, device=device)
            moments[i] += torch.einsum("nrfc,nrfd->cd", x * weight[..., None], x).double()
            wanted[i] += torch.einsum("nrfc,nrf->c", x * weight[..., None], image).double()
    eye = torch.eye(moments.shape[1], dtype=torch.float64, device=device)
    ridge = 1e-6 * moments.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None] * eye
    solved = torch.linalg.solve(moments + ridge, wanted[..., None])[..., 0].float()
    for head, rows in ((net.rgb[depth - 1], solved[:2]), (net.onset[depth - 1], solved[2:])):
        head.weight.copy_(rows[:, :-1, None, None])
        head.bias.copy_(rows[:, -1])


PICTURES = 6
"""The first layer's filters that hold the frequency images and the mean spectra, as pairs around a constant."""


class CentredAdam:
    """Adam (Kingma and Ba 2014), with the mean over a kernel's inputs taken out of every step.

    The features are constants plus a little. Adam's steps have the same size for all of a kernel's hundreds of inputs,
    so what the steps have in common would move the output a hundred times further than what they differ in, and put
    the frequencies out of tune. A constant is the bias's to move.
    """

    def __init__(self, parameters: dict[str, Tensor], rates: dict[str, float]) -> None:
        self._parameters, self._rates = parameters, rates
        self.state: dict[str, tuple[int, Tensor, Tensor]] = {}

    @torch.no_grad()
    def step(self, share: float) -> None:
        """Moves every parameter that has a gradient, at `share` of its rate, and forgets the gradients."""
        for name, parameter in self._parameters.items():
            gradient, parameter.grad = parameter.grad, None
            if gradient is None:
                continue
            zeros = (0, torch.zeros_like(parameter), torch.zeros_like(parameter))
            count, mean, square = self.state.get(name, zeros)
            count += 1
            mean.lerp_(gradient, 0.1)
            square.mul_(0.99).addcmul_(gradient, gradient, value=0.01)
            step = (mean / (1 - 0.9**count)) / ((square / (1 - 0.99**count)).sqrt_().add_(1e-12))
            if parameter.dim() == 4 and name != "first":
                step -= step.mean(dim=(1, 2, 3), keepdim=True)
            elif name == "first":
                step[:, :PICTURES] *= 0.1
            parameter.add_(step, alpha=-share * self._rates[name])
            self.state[name] = (count, mean, square)


class Trainer:
    """A run: its network, its moving average, its optimizer and where it stands."""

    def __init__(self, data: Prepared, folder: Path, recipe: Recipe) -> None:
        self.data, self.folder, self.recipe = data, folder, recipe
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(recipe.seed)
        self.net = Generator(recipe.shape)
        self.step, self.seconds, self.fitted, self.began = 0, 0.0, 0, 0
        folder.mkdir(parents=True, exist_ok=True)
        state = self._state()
        if state is None:
            start(self.net, data, recipe.seed)
        self.net.to(self.device, memory_format=torch.channels_last)
        rates = {}
        for name, value in self.net.named_parameters():
            # Fewer inputs move the output less, and the late blocks, which have fewer, have less time.
            crowd = value.shape[1] / recipe.shape.fmap_max if value.dim() == 4 else 1.0
            rates[name] = recipe.first_rate if name.startswith("first") else recipe.conv_rate / crowd
        self.optimizer = CentredAdam(dict(self.net.named_parameters()), rates)
        if state is not None:
            if state["shape"] != dataclasses.asdict(recipe.shape):
                raise SystemExit(f"{folder}: holds a run of another shape; choose another folder")
            self.net.load_state_dict(state["net"])
            self.optimizer.state = state["optimizer"]
            self.step, self.seconds, self.fitted = state["step"], state["seconds"], state["fitted"]
            self.began = state.get("began", 0)
        self.average = {name: value.detach().clone() for name, value in self.net.named_parameters()}
        if state is not None:
            for name, value in state["average"].items():
                self.average[name].copy_(value)
        self._stop = False

    def _state(self) -> dict[str, Any] | None:
        """Loads the state that the run saved last; None if it has none.

        Raises:
            SystemExit: the run was trained on other instruments, or its state cannot be read.
        """
        known = self.folder / "instruments.json"
        if not (self.folder / "state.pt").exists():
            return None
        if known.exists() and listed(known.read_text()) != self.data.instruments:
            raise SystemExit(f"{self.folder}: holds a run on other instruments; choose another folder with --run")
        try:
            return dict(torch.load(self.folder / "state.pt", map_location="cpu"))
        except (OSError, EOFError, RuntimeError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0]
            raise SystemExit(f"{self.folder}/state.pt: cannot be read ({reason}); delete it to start again") from None

    def save(self) -> None:
        """Writes state.pt atomically."""
        state = {
            "net": self.net.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state,
            "shape": dataclasses.asdict(self.recipe.shape),
            "step": self.step,
            "seconds": self.seconds,
            "fitted": self.fitted,
            "began": self.began,
        }
        torch.save(state, self.folder / "state.pt.new")
        os.replace(self.folder / "state.pt.new", self.folder / "state.pt")
        self._freeze()

    def _freeze(self) -> None:
        """Writes the averaged generator as generator.npz, with the flags and instruments that export needs."""
        (self.folder / "experiment.json").write_text(json.dumps(self.recipe.shape.experiment(), indent=1))
        instruments = [dataclasses.asdict(entry) for entry in self.data.instruments]
        (self.folder / "instruments.json").write_text(json.dumps(instruments, indent=1))
        with (self.folder / "generator.npz.new").open("wb") as file:
            np.savez(file, **variables(self.net, self.average))
        os.replace(self.folder / "generator.npz.new", self.folder / "generator.npz")

    def run(self) -> None:
        """Trains until the recipe's last step, or until SIGINT or SIGTERM, and saves."""
        for kind in (signal.SIGINT, signal.SIGTERM):
            signal.signal(kind, self._on_signal)
        recipe = self.recipe
        print(f"training from step {self.step} to {recipe.steps}; Ctrl-C stops and saves", flush=True)
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
            self._grow(number, stage.depth, loss, sampler)
            self.fitted, self.began = number + 1, self.step
        update = self._compiled(loss, stage.depth)
        sums: dict[str, float] = {}
        counted, shown, saved = 0, time.time(), time.time()
        due = 0.0  # the first step, which compiles, is shown at once
        while self.step < recipe.steps and not self._stop and recipe.stage_of(self.step) == number:
            rate = self._rate()
            z, labels, wanted = sampler.batch(self.step, stage.batch)
            parts = update(z, labels, wanted)
            if not all(math.isfinite(float(value)) for value in parts.values()):
                raise SystemExit(
                    f"step {self.step}: the loss is not a number; {self.folder} stays as it was saved last"
                )
            self.optimizer.step(rate)
            self._follow()
            self.step += 1
            counted += 1
            for name, value in parts.items():
                sums[name] = sums.get(name, 0.0) + float(value)
            now = time.time()
            self.seconds, began = self.seconds + now - began, now
            if now > due or self.step == recipe.steps or self._stop:
                means = {name: round(value / counted, 4) for name, value in sums.items()}
                line = {
                    "step": self.step,
                    "rows": rows,
                    "minutes": round(self.seconds / 60, 2),
                    "rate": rate,
                    **means,
                }
                line["seconds_per_note"] = round((now - shown) / counted / stage.batch, 4)
                print(json.dumps(line), flush=True)
                with (self.folder / "log.jsonl").open("a") as log:
                    log.write(json.dumps(line) + "\n")
                sums, counted, shown, due = {}, 0, time.time(), now + 20
            if now - saved > 120 or self.step == recipe.steps:
                self.save()
                self._picture(stage.depth, sampler)
                saved = time.time()

    def _grow(self, number: int, depth: int, loss: Loss, sampler: Sampler) -> None:
        """Starts what the stage before did not train, from the average of what it did, and the average anew."""
        shape = self.recipe.shape
        if number:
            self.net.load_state_dict(self.average)
            onset_block = 1 + int(math.log2(ROWS // targets.ONSET_ROWS // shape.start_height))
            z, labels, _ = sampler.batch(10**6, 12)
            for block in range(self.recipe.stages[number - 1].depth + 1, depth + 1):
                grow(self.net, block, z, labels, onset_block, self.recipe.seed)
        else:
            fit_rgb(self.net, depth, sampler, loss, self.recipe.seed)
        for name, value in self.net.named_parameters():
            self.average[name].copy_(value.detach())

    def _compiled(self, loss: Loss, depth: int) -> Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]]:
        def forward(z: Tensor, labels: Tensor, wanted: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            with torch.autocast(self.device.type, torch.bfloat16):
                parts = loss(*self.net(z, labels, depth), labels, wanted)
            return loss.total(parts), parts

        call: Callable[..., tuple[Tensor, dict[str, Tensor]]] = torch.compile(forward, dynamic=False)

        def update(z: Tensor, labels: Tensor, wanted: Tensor) -> dict[str, Tensor]:
            nonlocal call
            try:
                total, parts = call(z, labels, wanted)
                total.backward()
            except BackendCompilerFailed as error:
                # No C++ compiler or no Python headers, or Ctrl-C has reached the compiler as well.
                reason = str(error).strip().splitlines()[0]
                print(f"going on without torch.compile, which is several times slower: {reason}", flush=True)
                call = forward
                return update(z, labels, wanted)
            return {name: value.detach() for name, value in parts.items()}

        return update

    def _rate(self) -> float:
        """The share of the peak learning rates: up over 50 steps, level for a quarter, half a cosine to the last."""
        late = max(0.0, (min(1.0, self.step / self.recipe.steps) - 0.25) / 0.75)
        cosine = 0.5 + 0.5 * math.cos(math.pi * late)
        return min(1.0, (self.step + 1) / 50) * (self.recipe.last_rate + (1 - self.recipe.last_rate) * cosine)

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the average; its memory grows with the stage, so that the stage's start is soon forgotten."""
        counted = self.step - self.began
        keep = min(self.recipe.average, (1 + counted) / (10 + counted))
        for name, value in self.net.named_parameters():
            self.average[name].lerp_(value, 1 - keep)

    @torch.no_grad()
    def _picture(self, depth: int, sampler: Sampler) -> None:
        """Draws target and generated log power of some notes, as comparison.png and by step."""
        count = len(self.data.instruments)
        which = np.arange(0, count, max(1, count // 6))[:6]
        labels = np.array([24, 36, 43, 31, 48, 12])[: len(which)]
        codes = latents(count, self.recipe.shape.latent_vector_size)[which].astype(np.float32)
        net = Generator(self.recipe.shape).to(self.device)
        net.load_state_dict(self.average)
        power, _, _ = net(torch.from_numpy(codes).to(self.device), torch.from_numpy(labels).to(self.device), depth)
        got = (power.cpu().numpy() - targets.MAG_OFFSET) / targets.MAG_SCALE
        wanted = sampler.mix(np.eye(count)[which], labels).cpu().numpy()
        names = [f"{self.data.instruments[i].name} {PITCHES[label]}" for i, label in zip(which, labels, strict=True)]
        figures.comparison(self.folder / f"comparison_{self.step:06d}.png", names, wanted, got)


def train(data: Path, folder: Path, recipe: Recipe) -> None:
    """Starts a run, or continues the one in `folder`.

    Args:
        data: prepared data set.
        folder: folder of the run's state, log and comparison images.
        recipe: settings of the run.
    """
    trainer = Trainer(load(data), folder, recipe)
    (folder / "recipe.json").write_text(json.dumps(dataclasses.asdict(recipe), indent=1))
    trainer.run()
