"""The generator in PyTorch: the same function as Magenta's, with weights stored as the layers use them.

Source of the architecture: magenta/models/gansynth/lib/{networks,layers}.py. Magenta stores kernels divided by
sqrt(2 / fan_in) (`to_rgb`: sqrt(1 / fan_in)); here they are kept multiplied out, and `variables` divides.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from training import targets
from training.targets import PITCHES


@dataclass(frozen=True)
class Shape:
    """The network's size, with the names of experiment.json."""

    latent_vector_size: int = 32
    start_height: int = 1
    num_resolutions: int = 8
    fmap_base: int = 2048
    fmap_max: int = 64
    fmap_decay: float = 1.0
    to_rgb_activation: str = "linear"

    def filters(self, block: int) -> int:
        """Returns the number of filters of a block, counted from 1."""
        return int(min(self.fmap_base / 2.0 ** (block * self.fmap_decay), self.fmap_max))

    def experiment(self) -> dict[str, object]:
        """Returns all flags of the reference that differ from its defaults."""
        return {
            **asdict(self),
            "data_type": "mel",
            "mag_normalizer_a": targets.MAG_SCALE,
            "mag_normalizer_b": targets.MAG_OFFSET,
            "p_normalizer_a": targets.PHASE_SCALE,
            "p_normalizer_b": 0.0,
            "start_width": targets.BINS,
            "scale_mode": "H",
            "scale_base": 2,
            "kernel_size": 3,
            "simple_arch": False,
            "audio_length": targets.SAMPLES,
            "sample_rate": targets.SAMPLE_RATE,
        }


class Generator(nn.Module):
    """The generator, from latents and pitches to images [n, rows, BINS] of log power and phase advance, normalised."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.activate = activate
        inputs = shape.latent_vector_size + len(PITCHES)
        first = shape.filters(1)
        self.first = nn.Parameter(torch.zeros(inputs, first, shape.start_height, targets.BINS))
        self.first_bias = nn.Parameter(torch.zeros(first))
        self.conv = nn.ModuleList()
        self.rgb = nn.ModuleList()
        self.onset = nn.ModuleList()  # draws the onset's phase while the rows are longer than it; not exported
        for block in range(1, shape.num_resolutions + 1):
            into, out = shape.filters(max(1, block - 1)), shape.filters(block)
            if block > 1:
                self.conv.append(nn.Conv2d(into, out, 3, padding=1))
            self.conv.append(nn.Conv2d(out, out, 3, padding=1))
            self.rgb.append(nn.Conv2d(out, 2, 1))
            self.onset.append(nn.Conv2d(out, 1, 1))

    def features(self, z: Tensor, labels: Tensor, depth: int) -> Tensor:
        """Computes the input of the `to_rgb` of block `depth`, [n, filters, rows, BINS]."""
        x = torch.cat([z, functional.one_hot(labels, len(PITCHES)).to(z.dtype)], dim=1)
        x = x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)
        x = (x @ self.first.flatten(1)).view(len(z), *self.first.shape[1:])
        x = self.activate(x + self.first_bias[:, None, None]).contiguous(memory_format=torch.channels_last)
        x = self.activate(self.conv[0](x))
        for block in range(2, depth + 1):
            x = _twice_the_rows(x)
            x = self.activate(self.conv[2 * block - 3](x))
            x = self.activate(self.conv[2 * block - 2](x))
        return x

    def forward(self, z: Tensor, labels: Tensor, depth: int) -> tuple[Tensor, Tensor, Tensor]:
        """Computes the images of block `depth`: log power, phase, and the onset's phase, float32 [n, rows, BINS] each.

        Args:
            z: float32 [n, latent size].
            labels: int64 [n], indices into PITCHES.
            depth: the block whose `to_rgb` draws.
        """
        x = self.features(z, labels, depth)
        rgb, onset = self.rgb[depth - 1], self.onset[depth - 1]
        with torch.autocast(x.device.type, enabled=False):
            # Rounded to bfloat16, the frequency image would be out of tune.
            weight, bias = torch.cat([rgb.weight, onset.weight]), torch.cat([rgb.bias, onset.bias])
            image = functional.conv2d(x.float(), weight, bias)
            if self.shape.to_rgb_activation == "tanh":
                image = torch.tanh(image)
        return image[:, 0], image[:, 1], image[:, 2]


def _twice_the_rows(x: Tensor) -> Tensor:
    """Doubles the rows by nearest neighbour; on a GPU several times faster than interpolate in channels_last."""
    rows = x.permute(0, 2, 3, 1)[:, :, None]
    return rows.expand(-1, -1, 2, -1, -1).flatten(1, 2).permute(0, 3, 1, 2)


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU and pixel norm."""
    x = functional.leaky_relu(x, 0.2)
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


@torch.no_grad()
def start_identity(net: Generator, seed: int, noise: float = 0.02) -> None:
    """Starts every convolution between equal numbers of filters as a copy of its input, plus noise."""
    random = torch.Generator().manual_seed(seed)
    for conv in net.conv:
        out, into = conv.weight.shape[:2]
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=random) * noise / np.sqrt(9 * into))
        conv.bias.zero_()
        if out == into:
            conv.weight[:, :, 1, 1] += torch.eye(out, device=conv.weight.device)


SMOOTH = (0.25, 0.5, 0.25)
"""A kernel over time that makes straight lines of the steps which repeating every row leaves."""
PAIR = 0.2
"""Deviation of a feature around the constant of its pair: more bends it in the norm, less is lost in bfloat16."""


@torch.no_grad()
def grow(net: Generator, block: int, z: Tensor, labels: Tensor, onset_block: int, seed: int) -> None:
    """Starts a block so that it draws what the block below draws, without steps in time.

    A block with as many filters as the one below copies them. One with fewer gets pairs around a constant, 1 + a and
    1 - a, which pass leaky ReLUs and norms nearly unchanged: what the block below draws, one image a pair, and the
    principal components of what is left of its features.

    Args:
        net: the generator; the blocks below are trained.
        block: number of the block, 2 or more.
        z, labels: some notes to measure features on.
        onset_block: the block whose rows are as long as the onset. Its second convolution puts the onset's phase
            in its first row and the steady one in all others: above the first row the image is padded with zeros, so
            the kernel's upper third is missing there.
        seed: of a little noise, without which the two of a pair would learn the same.

    Raises:
        ValueError: the block has too few filters for the images.
    """
    first, second = net.conv[2 * block - 3], net.conv[2 * block - 2]
    out, into = first.weight.shape[:2]
    kernel = first.weight.new_tensor(SMOOTH)
    below = net.features(z, labels, block - 1)
    heads = [(net.rgb, 0), (net.rgb, 1), (net.onset, 0)][: 3 if block <= onset_block else 2]
    if out == into and block < onset_block:
        for conv in (first, second):
            conv.weight.zero_()
            conv.bias.zero_()
        first.weight[:, :, 1, 1] = torch.eye(out, device=kernel.device)
        second.weight[:, :, :, 1] = torch.eye(out, device=kernel.device)[:, :, None] * kernel
        for drawn in (net.rgb, net.onset):
            drawn[block - 1].load_state_dict(drawn[block - 2].state_dict())
        return

    if out < 2 * len(heads):
        raise ValueError(f"block {block} has {out} filters; its images alone need {2 * len(heads)}")
    random = torch.Generator().manual_seed(seed + block)
    for conv in (first, second):
        conv.weight.copy_(torch.randn(conv.weight.shape, generator=random) * 1e-3)
    pairs, shift = _pairs(below, torch.stack([drawn[block - 2].weight[row, :, 0, 0] for drawn, row in heads]), out // 2)
    if block == onset_block:
        # One pair takes the other's place in the first row: both need the same scale and shift.
        onset, steady = net.onset[block - 2], net.rgb[block - 2]
        size = pairs[1].norm() / steady.weight[1].norm()
        pairs[2] = size * onset.weight[0, :, 0, 0]
        shift[2] = shift[1] + size * (onset.bias[0] - steady.bias[1])
    signs = first.weight.new_tensor([1.0, -1.0])
    first.weight[:, :, 1, 1] += (pairs[:, None] * signs[:, None]).flatten(0, 1)
    first.bias.copy_(1.0 + (shift[:, None] * signs).flatten())
    phases = range(2, 6) if block == onset_block else range(2, 4)
    for i in range(out):
        if i in phases:
            second.weight[i, i, 1, 1] += 1.0
            continue
        second.weight[i, i, :, 1] += kernel
        # Half of a pair's sum is the constant: what the kernel lacks of it above the first row and below the last.
        for one in (2, 3):
            second.weight[i, one, :, 1] += 0.5 * kernel.new_tensor([-SMOOTH[0], SMOOTH[0] + SMOOTH[2], -SMOOTH[2]])
    second.bias.zero_()
    if block == onset_block:
        for one in (2, 3):
            second.weight[one, one, 1, 1] -= 1.0
            second.weight[one, one, 0, 1] += 1.0
            second.weight[one, one + 2, 0, 1] -= 1.0
            second.weight[one, one + 2, 1, 1] += 1.0
    _draw_again(net, block, below, net.features(z, labels, block), onset_block)


def _pairs(x: Tensor, heads: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Directions of features, [count, filters], scaled to PAIR: the heads', then principal ones of what is left.

    Returns:
        The directions, and what to add to make their means zero, [count].
    """
    flat = x.transpose(0, 1).flatten(1).double()
    mean = flat.mean(dim=1)
    flat = flat - mean[:, None]
    covariance = flat @ flat.T / flat.shape[1]
    heads = heads.double()
    explained = covariance @ heads.T @ torch.linalg.pinv(heads @ covariance @ heads.T) @ heads
    left = torch.eye(len(mean), dtype=torch.float64, device=x.device) - explained
    _, axes = torch.linalg.eigh(left @ covariance @ left.T)
    directions = torch.cat([heads, axes.flip(1).T[: count - len(heads)] @ left])
    size = torch.einsum("pc,cd,pd->p", directions, covariance, directions).clamp(min=1e-12).sqrt()
    directions = PAIR * directions / size[:, None]
    return directions.float(), -(directions @ mean).float()


def _draw_again(net: Generator, block: int, below: Tensor, x: Tensor, onset_block: int) -> None:
    """Fits a block's heads to what the block below draws, by least squares that loud places count more in."""
    power, steady = functional.interpolate(net.rgb[block - 2](below), scale_factor=(2, 1), mode="nearest").unbind(1)
    onset = functional.interpolate(net.onset[block - 2](below), scale_factor=(2, 1), mode="nearest")[:, 0]
    kernel = power.new_tensor(SMOOTH)[None, None, :, None]
    power = functional.conv2d(functional.pad(power[:, None], (0, 0, 1, 1), mode="replicate"), kernel)[:, 0]
    if block == onset_block:
        steady[:, 0] = onset[:, 0]
    magnitude = torch.exp((power - targets.MAG_OFFSET) / targets.MAG_SCALE / 2)
    weight = (magnitude / magnitude.amax(dim=(1, 2), keepdim=True) + 0.02).flatten().double()
    columns = torch.cat([x, torch.ones_like(x[:, :1])], dim=1).transpose(0, 1).flatten(1).double()
    moments = (columns * weight) @ columns.T
    moments += 1e-9 * moments.diagonal().mean() * torch.eye(len(moments), device=x.device)
    for head, row, image in ((net.rgb, 0, power), (net.rgb, 1, steady), (net.onset, 0, onset)):
        solved = torch.linalg.solve(moments, (columns * weight) @ image.flatten().double()).float()
        head[block - 1].weight[row, :, 0, 0] = solved[:-1]
        head[block - 1].bias[row] = solved[-1]


def variables(net: Generator, weights: dict[str, Tensor] | None = None) -> dict[str, NDArray[np.float32]]:
    """Returns the generator's variables as Magenta names and scales them, relative to its scope.

    Args:
        net: the generator.
        weights: weights to use instead, by the same names, such as their moving average.
    """
    weights = dict(net.named_parameters()) if weights is None else weights
    values = {name: value.detach().float().cpu().numpy() for name, value in weights.items()}
    out: dict[str, NDArray[np.float32]] = {}

    def put(scope: str, kernel: NDArray[np.float32], bias: NDArray[np.float32], gain: float, layer: str) -> None:
        # A bias stands behind the gain: it needs no scaling.
        out[f"{scope}/{layer}"] = np.ascontiguousarray(kernel / np.sqrt(gain / np.prod(kernel.shape[:-1])), np.float32)
        out[f"{scope}/bias"] = bias.astype(np.float32)

    # A VALID convolution over a single pixel meets the kernel turned round.
    first = values["first"].transpose(2, 3, 0, 1)[::-1, ::-1]
    put("progressive_gan_block_1/conv0", first, values["first_bias"], 2.0, "conv2d/kernel")
    index = 0
    for block in range(1, net.shape.num_resolutions + 1):
        scope = f"progressive_gan_block_{block}"
        for layer in ("conv0", "conv1") if block > 1 else ("conv1",):
            kernel = values[f"conv.{index}.weight"].transpose(2, 3, 1, 0)
            put(f"{scope}/{layer}", kernel, values[f"conv.{index}.bias"], 2.0, "conv2d/kernel")
            index += 1
        kernel = values[f"rgb.{block - 1}.weight"].transpose(2, 3, 1, 0)
        put(f"{scope}/to_rgb", kernel, values[f"rgb.{block - 1}.bias"], 1.0, "conv2d/kernel")
    return out


def load_variables(net: Generator, found: dict[str, NDArray[np.floating]]) -> None:
    """Loads variables that are named and scaled as by `variables`; a missing `to_rgb` stays unchanged."""
    blocks = range(1, net.shape.num_resolutions + 1)

    def kernel(name: str, gain: float) -> NDArray[np.floating]:
        return found[name] * np.sqrt(gain / np.prod(found[name].shape[:-1]))

    def take(target: Tensor, value: NDArray[np.floating]) -> None:
        target.copy_(torch.from_numpy(np.ascontiguousarray(value, np.float32)))

    with torch.no_grad():
        first = "progressive_gan_block_1/conv0"
        take(net.first, kernel(f"{first}/conv2d/kernel", 2.0)[::-1, ::-1].transpose(2, 3, 0, 1))
        take(net.first_bias, found[f"{first}/bias"])
        layers = [(block, layer) for block in blocks for layer in ("conv0", "conv1")][1:]
        for conv, (block, layer) in zip(net.conv, layers, strict=True):
            name = f"progressive_gan_block_{block}/{layer}"
            take(conv.weight, kernel(f"{name}/conv2d/kernel", 2.0).transpose(3, 2, 0, 1))
            take(conv.bias, found[f"{name}/bias"])
        for block, rgb in zip(blocks, net.rgb, strict=True):
            name = f"progressive_gan_block_{block}/to_rgb"
            if f"{name}/conv2d/kernel" in found:
                take(rgb.weight, kernel(f"{name}/conv2d/kernel", 1.0).transpose(3, 2, 0, 1))
                take(rgb.bias, found[f"{name}/bias"])
