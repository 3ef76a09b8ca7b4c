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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed

from training import figures, targets
from training.instruments import blend, latents, listed, norm
from training.losses import Loss, pooled
from training.net import Generator, Shape, activate, grow, start_identity, variables
from training.prepare import Prepared, load
from training.targets import BINS, PITCHES, ROWS


@dataclass(frozen=True)
class Stage:
    """A stage of training at one height: last block trained, notes per batch, share of all steps, learning rate."""

    depth: int
    batch: int
    share: float
    rate: float


@dataclass(frozen=True)
class Recipe:
    """The settings that determine a run's result. Steps count from 0 over all stages."""

    shape: Shape = field(default_factory=Shape)
    stages: tuple[Stage, ...] = (Stage(4, 256, 0.44, 1.0), Stage(6, 128, 0.25, 0.6), Stage(8, 64, 0.31, 0.35))
    steps: int = 38500
    first_rate: float = 1e-3
    conv_rate: float = 1e-4
    last_rate: float = 0.03
    average: float = 0.998
    pure: float = 0.88
    seed: int = 1
    weights: Mapping[str, float] = field(default_factory=dict)

    def changed(self, changes: Mapping[str, Any]) -> Recipe:
        """Returns this recipe with some fields changed; `shape` by its own fields, `stages` as lists of numbers."""
        found = dict(changes)
        if "shape" in found:
            found["shape"] = dataclasses.replace(self.shape, **found["shape"])
        if "stages" in found:
            found["stages"] = tuple(Stage(*stage) for stage in found["stages"])
        return dataclasses.replace(self, **found)

    def stage_of(self, step: int) -> int:
        """Returns the number of the stage to which a step belongs."""
        ends = np.cumsum([stage.share for stage in self.stages]) / sum(stage.share for stage in self.stages)
        return min(int(np.searchsorted(ends * self.steps, step, side="right")), len(self.stages) - 1)


class Sampler:
    """A sampler of latents, pitches and target images; the same for the same seed and step."""

    def __init__(self, data: Prepared, recipe: Recipe, rows: int, device: torch.device) -> None:
        self._recipe, self._device = recipe, device
        self._codes = latents(len(data.instruments), recipe.shape.latent_vector_size)
        self._images = torch.stack([pooled(one, rows, device) for one in data.log_power])

    def batch(self, step: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Draws latents [size, latent], labels [size] and log powers [size, rows, BINS] of one step."""
        random = np.random.RandomState([self._recipe.seed, step])
        count, dimensions = self._codes.shape
        kind = random.uniform(size=size)
        all_notes = count * len(PITCHES)
        # Every note once, in an order of its own for every round.
        places = step * size + np.arange(size)
        orders = {
            r: np.random.RandomState([self._recipe.seed, r]).permutation(all_notes) for r in set(places // all_notes)
        }
        notes = np.array([orders[place // all_notes][place % all_notes] for place in places])
        which, labels = notes // len(PITCHES), notes % len(PITCHES)
        z = self._codes[which] * random.uniform(0.95, 1.05, [size, 1])
        z = z + random.normal(size=z.shape) * 0.05
        other, place = self._codes[random.randint(count, size=size)], random.uniform(size=[size, 1])
        half = (self._recipe.pure + 1) / 2
        mixed = (1 - place) * z + place * other
        mixed *= norm(dimensions) / np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-6)
        z = np.where((kind > self._recipe.pure)[:, None], mixed, z)
        z = np.where((kind > half)[:, None], random.normal(size=[size, dimensions]), z)
        weights = blend(self._codes, z)
        weights[kind <= self._recipe.pure] = np.eye(count)[which[kind <= self._recipe.pure]]
        return (
            torch.from_numpy(z.astype(np.float32)).to(self._device, non_blocking=True),
            torch.from_numpy(labels.astype(np.int64)).to(self._device, non_blocking=True),
            self.mix(weights, labels),
        )

    def mix(self, weights: NDArray[np.float64], labels: NDArray[np.integer]) -> Tensor:
        """Averages instruments' log powers, [n, rows, BINS]."""
        strongest = np.argsort(-weights, axis=1)[:, :4]
        shares = torch.from_numpy(np.take_along_axis(weights, strongest, axis=1).astype(np.float32)).to(self._device)
        which = torch.from_numpy(strongest).to(self._device)
        pitch = torch.from_numpy(np.asarray(labels)).to(self._device)
        out = self._images[which[:, 0], pitch].float() * shares[:, 0, None, None]
        mixed = np.flatnonzero(weights.max(axis=1) < 1.0)
        if len(mixed):
            rest = torch.from_numpy(mixed).to(self._device)
            for i in range(1, strongest.shape[1]):
                out[rest] += self._images[which[rest, i], pitch[rest]].float() * shares[rest, i, None, None]
        return out


PICTURES = 6
"""The first layer's filters that hold the frequency images and the mean spectra, as pairs around a constant."""
GATE = 0.6
"""Half of what an instrument's latent moves its gates by."""
GATED = 0.2
"""Deviation of a gated feature: small against GATE, so that gates stay open or closed."""


def start(net: Generator, data: Prepared, seed: int) -> None:
    """Initialises the first layer from the training data and all other layers as identities.

    The pitch rows get the two frequency images and the mean over instruments of what is at each pitch and band, as
    pairs around a constant. Every other filter belongs to an instrument: it holds what that instrument has at each
    pitch and band (its mean over time, and as far as there are filters the first principal component of its course), a
    constant below zero, where the leaky ReLU lets a fifth through, and the instrument's latent lifts it above. So a
    linear map of the filters is one instrument's spectrum, plus a fifth of the sum over all, which the mean takes out.
    """
    start_identity(net, seed)
    size, rows = net.shape.latent_vector_size, net.shape.start_height
    count = len(data.instruments)
    codes = latents(count, size)
    power = np.stack([pooled(one, 8, net.first.device).cpu().float().numpy() for one in data.log_power])
    power = np.maximum(power, targets.FLOOR) + 4.0
    power /= power.std()
    mean = power.mean(axis=2)
    moving = power - mean[:, :, np.newaxis]
    images = data.phases
    channels = net.first.shape[1]
    first = np.zeros([size + len(PITCHES), channels, BINS], np.float32)
    # Every filter is a constant plus a little, so that it passes the leaky ReLUs and the norms nearly unchanged.
    first[size:] = 1.0
    for pair, image in enumerate((images[:, 1], images[:, 0])):
        for side, sign in enumerate((0.6, -0.6)):
            first[size:, 2 * pair + side] += sign * np.clip(image, -1.4, 1.4)
    common = mean.mean(axis=0)
    for side, sign in enumerate((0.2, -0.2)):
        first[size:, 4 + side] += sign * common
    # The latent rows' part that is 2 for an instrument's own latent and 0 for the others'.
    keys = 2.0 * np.linalg.pinv(codes)
    courses = []
    for one in moving:
        flat = one.transpose(0, 2, 1).reshape(-1, one.shape[1])
        values, axes = np.linalg.eigh(flat.T @ flat / len(flat))
        courses.append((float(values[-1]), (flat @ axes[:, -1]).reshape(len(PITCHES), BINS)))
    # What moves most comes first; with fewer filters than instruments, those that move least share the last ones.
    order = np.argsort([-size for size, _ in courses], kind="stable")
    features = [(i, mean[i]) for i in range(count)] + [(int(i), courses[i][1]) for i in order]
    for i, (instrument, feature) in enumerate(features[: channels - PICTURES]):
        scaled = np.clip(feature * (GATED / max(float(feature.std()), 1e-6)), -0.9 * GATE, 0.9 * GATE)
        first[size:, PICTURES + i] = scaled - GATE
        first[:size, PICTURES + i] = GATE * keys[:, instrument, np.newaxis]
    # The norm of the input makes a label this large beside a latent of its usual length.
    gain = float(np.sqrt((size + len(PITCHES)) / (1 + norm(size) ** 2)))
    first /= gain
    with torch.no_grad():
        net.first.copy_(torch.from_numpy(np.repeat(first[:, :, None], rows, axis=2)))


@torch.no_grad()
def fit_rgb(net: Generator, depth: int, sampler: Sampler, loss: Loss, seed: int) -> None:
    """Initialises the `to_rgb` of a block by least squares on the block's features."""
    device = net.first.device
    moments, wanted = torch.zeros(0), torch.zeros(0)
    for step in range(16):
        z, labels, power = sampler.batch(10**6 + seed * 100 + step, 16)
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
    ridge = 1e-3 * moments.diagonal(dim1=1, dim2=2).mean(dim=1)[:, None, None] * eye
    solved = torch.linalg.solve(moments + ridge, wanted[..., None])[..., 0].float()
    for head, rows in ((net.rgb[depth - 1], solved[:2]), (net.onset[depth - 1], solved[2:])):
        head.weight.copy_(rows[:, :-1, None, None])
        head.bias.copy_(rows[:, -1])


LATENT_RATE = 0.05
"""Share of the first layer's rate that its latent rows get: a latent's numbers all act at once, pitches one by one."""


class CentredAdam:
    """Adam (Kingma and Ba 2014), with what would move a convolution's mean output taken out of every step.

    The features are constants plus a little. Adam's steps have the same size for all of a kernel's hundreds of inputs,
    so what the steps have in common would move the output a hundred times further than what they differ in, and put
    the frequencies out of tune. A constant is the bias's to move.

    Attributes:
        means: of the inputs of convolutions by the names of their weights, float32 [filters].
    """

    def __init__(self, parameters: dict[str, Tensor], rates: dict[str, float], latent_size: int) -> None:
        self._parameters, self._rates, self._latent_size = parameters, rates, latent_size
        self.state: dict[str, tuple[int, Tensor, Tensor]] = {}
        self.means: dict[str, Tensor] = {}

    @torch.no_grad()
    def step(self, share: float) -> None:
        """Moves every parameter that has a gradient, at `share` of its rate, and forgets the gradients."""
        names = [name for name, parameter in self._parameters.items() if parameter.grad is not None]
        parameters = [self._parameters[name] for name in names]
        gradients = [parameter.grad for parameter in parameters]
        for name, parameter in zip(names, parameters, strict=True):
            if name not in self.state:
                self.state[name] = (0, torch.zeros_like(parameter), torch.zeros_like(parameter))
            count, mean, square = self.state[name]
            self.state[name] = (count + 1, mean, square)
        counts = [self.state[name][0] for name in names]
        means, squares = [self.state[name][1] for name in names], [self.state[name][2] for name in names]
        torch._foreach_lerp_(means, gradients, 0.1)
        torch._foreach_mul_(squares, 0.99)
        torch._foreach_addcmul_(squares, gradients, gradients, 0.01)
        sizes = torch._foreach_div(squares, [1 - 0.99**count for count in counts])
        torch._foreach_sqrt_(sizes)
        torch._foreach_add_(sizes, 1e-12)
        steps = torch._foreach_div(means, [1 - 0.9**count for count in counts])
        torch._foreach_div_(steps, sizes)
        for name, step in zip(names, steps, strict=True):
            if name == "first":
                step[:, :PICTURES] *= 0.1
                step[: self._latent_size] *= LATENT_RATE
            elif name in self.means:
                mean = self.means[name][None, :, None, None]
                along = (step * mean).sum(dim=(1, 2, 3), keepdim=True)
                step -= mean * along / (mean.square().sum() * step.shape[2] * step.shape[3])
        torch._foreach_mul_(steps, [-share * self._rates[name] for name in names])
        torch._foreach_add_(parameters, steps)
        for parameter in parameters:
            parameter.grad = None


class Trainer:
    """A run: its network, moving average, optimizer and step."""

    def __init__(self, data: Prepared, folder: Path, recipe: Recipe) -> None:
        self.data, self.folder, self.recipe = data, folder, recipe
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.backends.cudnn.benchmark = True
        torch.manual_seed(recipe.seed)
        self.net = Generator(recipe.shape)
        self.step, self.seconds, self.fitted, self.began = 0, 0.0, 0, 0
        folder.mkdir(parents=True, exist_ok=True)
        state = self._state()
        self.net.to(self.device, memory_format=torch.channels_last)
        if state is None:
            start(self.net, data, recipe.seed)
        rates = {}
        for name, value in self.net.named_parameters():
            # Fewer inputs move the output less, and the late blocks, which have fewer, have less time.
            crowd = math.sqrt(value.shape[1] / recipe.shape.fmap_max) if value.dim() == 4 else 1.0
            rates[name] = recipe.first_rate if name.startswith("first") else recipe.conv_rate / crowd
        self.optimizer = CentredAdam(dict(self.net.named_parameters()), rates, recipe.shape.latent_vector_size)
        if state is not None:
            if state["shape"] != dataclasses.asdict(recipe.shape):
                raise SystemExit(f"{folder}: holds a run of another shape; choose another folder")
            self.net.load_state_dict(state["net"])
            self.optimizer.state = {
                name: (count, mean.to(self.device), square.to(self.device))
                for name, (count, mean, square) in state["optimizer"].items()
            }
            self.step, self.seconds, self.fitted = state["step"], state["seconds"], state["fitted"]
            self.began = state.get("began", 0)
        self.average = {name: value.detach().clone() for name, value in self.net.named_parameters()}
        if state is not None:
            for name, value in state["average"].items():
                self.average[name].copy_(value)
        self._stop, self._until = False, math.inf

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

    def run(self, seconds: float = math.inf) -> None:
        """Trains until the recipe's last step, for so many seconds, or until SIGINT or SIGTERM, and saves."""
        self._until = time.time() + seconds
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
        loss = Loss(rows, self.data.phases, recipe.weights).to(self.device)
        sampler = Sampler(self.data, recipe, rows, self.device)
        if self.fitted <= number:
            self._grow(number, stage.depth, loss, sampler)
            self.fitted, self.began = number + 1, self.step
        update = self._compiled(loss, stage.depth)
        sums: dict[str, Tensor] = {}
        counted, shown, saved = 0, time.time(), time.time()
        due = 0.0  # the first step, which compiles, is shown at once
        while self.step < recipe.steps and not self._stop and recipe.stage_of(self.step) == number:
            rate = self._rate()
            if self.step % 200 == 0 or not self.optimizer.means:
                self.optimizer.means = self._means(stage.depth, sampler)
            z, labels, wanted = sampler.batch(self.step, stage.batch)
            parts = update(z, labels, wanted)
            self.optimizer.step(rate)
            self._follow()
            self.step += 1
            counted += 1
            for name, value in parts.items():
                sums[name] = sums[name] + value if name in sums else value
            now = time.time()
            self.seconds, began = self.seconds + now - began, now
            self._stop = self._stop or now > self._until
            if now > due or self.step == recipe.steps or self._stop:
                means = {name: round(float(value) / counted, 4) for name, value in sums.items()}
                if not all(math.isfinite(value) for value in means.values()):
                    raise SystemExit(
                        f"step {self.step}: the loss is not a number; {self.folder} stays as it was saved last"
                    )
                now = time.time()
                line = {
                    "step": self.step,
                    "rows": rows,
                    "minutes": round(self.seconds / 60, 2),
                    "rate": rate,
                    **means,
                }
                line["seconds_per_note"] = round((now - shown) / counted / stage.batch, 5)
                print(json.dumps(line), flush=True)
                with (self.folder / "log.jsonl").open("a") as log:
                    log.write(json.dumps(line) + "\n")
                sums, counted, shown, due = {}, 0, time.time(), now + 20
            if now - saved > 120 or self.step == recipe.steps:
                self.save()
                self._picture(stage.depth, sampler)
                saved = time.time()

    def _grow(self, number: int, depth: int, loss: Loss, sampler: Sampler) -> None:
        """Initialises the layers that this stage adds from the previous stage's average, and restarts the average."""
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

    @torch.no_grad()
    def _means(self, depth: int, sampler: Sampler) -> dict[str, Tensor]:
        """Averages the inputs of every convolution up to a block, by its weight's name."""
        z, labels, _ = sampler.batch(2 * 10**6 + self.step, 8)
        net, found = self.net, {}
        layers = {f"conv.{i}.weight": net.conv[i] for i in range(2 * depth - 1)}

        def keep(name: str) -> Callable[[torch.nn.Module, tuple[Tensor, ...]], None]:
            def hook(_: torch.nn.Module, inputs: tuple[Tensor, ...]) -> None:
                found[name] = inputs[0].mean(dim=(0, 2, 3))

            return hook

        handles = [layer.register_forward_pre_hook(keep(name)) for name, layer in layers.items()]
        last = net.features(z, labels, depth).mean(dim=(0, 2, 3))
        for handle in handles:
            handle.remove()
        return {**found, f"rgb.{depth - 1}.weight": last, f"onset.{depth - 1}.weight": last}

    def _compiled(self, loss: Loss, depth: int) -> Callable[[Tensor, Tensor, Tensor], dict[str, Tensor]]:
        def forward(z: Tensor, labels: Tensor, wanted: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            with torch.autocast(self.device.type, torch.bfloat16):
                parts = loss(*self.net(z, labels, depth), labels, wanted)
            return loss.total(parts), parts

        call: Callable[..., tuple[Tensor, dict[str, Tensor]]] = forward
        if self.device.type == "cuda":
            # Compiling all of it takes longer than it saves in a run of minutes.
            self.net.activate = torch.compile(activate, dynamic=True)
        else:
            call = torch.compile(forward, dynamic=False)

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
        """Returns the share of the peak learning rates: in every stage up over 50 steps, then half a cosine down."""
        recipe = self.recipe
        shares = [stage.share for stage in recipe.stages]
        number = recipe.stage_of(self.step)
        first, share = sum(shares[:number]) / sum(shares), shares[number] / sum(shares)
        done = min(1.0, max(0.0, (self.step / recipe.steps - first) / share))
        cosine = 0.5 + 0.5 * math.cos(math.pi * done)
        warm = min(1.0, (self.step - self.began + 1) / 50)
        return recipe.stages[number].rate * warm * (recipe.last_rate + (1 - recipe.last_rate) * cosine)

    @torch.no_grad()
    def _follow(self) -> None:
        """Moves the average; its memory grows with the stage, so that the stage's start is soon forgotten."""
        counted = self.step - self.began
        keep = min(self.recipe.average, (1 + counted) / (10 + counted))
        values = [value.detach() for value in self.net.parameters()]
        torch._foreach_lerp_([self.average[name] for name, _ in self.net.named_parameters()], values, 1 - keep)

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


def train(data: Path, folder: Path, recipe: Recipe, seconds: float = math.inf) -> None:
    """Trains a network, or resumes the run in `folder`.

    Args:
        data: prepared data set.
        folder: where the run's state, log and comparison images are.
        recipe: what to do.
        seconds: after which it stops and saves, wherever it is.
    """
    trainer = Trainer(load(data), folder, recipe)
    (folder / "recipe.json").write_text(json.dumps(dataclasses.asdict(recipe), indent=1))
    trainer.run(seconds)
