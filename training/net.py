"""The generator in PyTorch: the same function as Magenta's, with weights kept as the layers use them.

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
    """The network's size, in the words of experiment.json."""

    latent_vector_size: int = 16
    start_height: int = 1
    num_resolutions: int = 8
    fmap_base: int = 2048
    fmap_max: int = 48
    fmap_decay: float = 1.0
    to_rgb_activation: str = "linear"

    def filters(self, block: int) -> int:
        """Filters of a block (1-based)."""
        return int(min(self.fmap_base / 2.0 ** (block * self.fmap_decay), self.fmap_max))

    def experiment(self) -> dict[str, object]:
        """All of the reference's flags that differ from its defaults."""
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
    """From latents and pitches to images [n, rows, BINS], log power and phase advance, both normalised."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
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
        """What the `to_rgb` of block `depth` sees, [n, filters, rows, BINS]."""
        x = torch.cat([z, functional.one_hot(labels, len(PITCHES)).to(z.dtype)], dim=1)
        x = x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)
        x = (x @ self.first.flatten(1)).view(len(z), *self.first.shape[1:])
        x = _activate(x + self.first_bias[:, None, None]).contiguous(memory_format=torch.channels_last)
        x = _activate(self.conv[0](x))
        for block in range(2, depth + 1):
            x = functional.interpolate(x, scale_factor=(2, 1), mode="nearest")
            x = _activate(self.conv[2 * block - 3](x))
            x = _activate(self.conv[2 * block - 2](x))
        return x

    def forward(self, z: Tensor, labels: Tensor, depth: int) -> tuple[Tensor, Tensor, Tensor]:
        """Images of block `depth`: log power, phase, and the onset's phase, [n, rows, BINS] each, float32.

        Args:
            z: float32 [n, latent size].
            labels: int64 [n], indices into PITCHES.
            depth: which block's `to_rgb` draws.
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


def _activate(x: Tensor) -> Tensor:
    x = functional.leaky_relu(x, 0.2)
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


@torch.no_grad()
def start_identity(net: Generator, seed: int, noise: float = 0.02) -> None:
    """Starts every convolution between equal numbers of filters as a copy of its input, plus noise."""
    random = torch.Generator().manual_seed(seed)
    for conv in net.conv:
        out, into = conv.weight.shape[:2]
        conv.weight.normal_(0.0, noise / np.sqrt(9 * into), generator=random)
        conv.bias.zero_()
        if out == into:
            conv.weight[:, :, 1, 1] += torch.eye(out)


@torch.no_grad()
def grow(net: Generator, block: int, x: Tensor, onset_block: int, seed: int) -> None:
    """Starts a block from what the block below has learnt to draw.

    The first filters carry the pictures that the block below would draw, each as a pair around a constant (what is
    positive passes the leaky ReLU unchanged); the others mix the features below at random.

    Args:
        net: whose block to start.
        block: which, 2 or more.
        x: features of the block below for some notes, [n, filters, rows, BINS].
        onset_block: the block whose rows are as long as the onset. Its second convolution puts the onset's phase
            in its first row and the steady one in all others: above the first row the image is padded with zeros, so
            the kernel's upper third is missing there.
        seed: of the mixing.
    """
    first, second = net.conv[2 * block - 3], net.conv[2 * block - 2]
    out, into = first.weight.shape[:2]
    phases = [(net.rgb[block - 2].weight[1], net.rgb[block - 2].bias[1])]
    if block <= onset_block:
        phases.append((net.onset[block - 2].weight[0], net.onset[block - 2].bias[0]))
    random = torch.Generator().manual_seed(seed + block)
    mixing = torch.linalg.qr(torch.randn(max(out, into), max(out, into), generator=random))[0][:out, :into].to(x.device)
    mixing[0], mixing[1] = net.rgb[block - 2].weight[0, :, 0, 0], -net.rgb[block - 2].weight[0, :, 0, 0]
    y = torch.einsum("oc,ncrf->onrf", mixing, x).flatten(1)
    mixing *= (0.35 / (y.std(dim=1) + 1e-6))[:, None]
    bias = 1.0 - torch.einsum("oc,ncrf->o", mixing, x) / (x.numel() / into)
    for pair, (weight, offset) in enumerate(phases, start=1):
        for side, sign in enumerate((0.8, -0.8)):
            mixing[2 * pair + side], bias[2 * pair + side] = sign * weight[:, 0, 0], 1.0 + sign * offset
    first.weight.normal_(0.0, 1e-3).add_(0.0)
    first.weight[:, :, 1, 1] += mixing
    first.bias.copy_(bias)
    second.weight.normal_(0.0, 1e-3)
    second.weight[:, :, 1, 1] += torch.eye(out, device=x.device)
    second.bias.zero_()
    if block == onset_block:
        for steady in (2, 3):
            second.weight[steady, steady] = 0.0
            second.weight[steady, steady, 0, 1] = 1.0
            second.weight[steady, steady + 2, 0, 1] = -1.0
            second.weight[steady, steady + 2, 1, 1] = 1.0


def variables(net: Generator, weights: dict[str, Tensor] | None = None) -> dict[str, NDArray[np.float32]]:
    """The generator's variables as Magenta names and scales them, relative to its scope.

    Args:
        net: whose weights.
        weights: others of the same names, such as their moving average.
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
    """Takes over a generator's variables, named and scaled as `variables` gives them; missing `to_rgb` stay."""
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
