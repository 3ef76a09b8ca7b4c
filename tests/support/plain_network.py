"""An independent implementation of GANSynth in float64 numpy, as plain as the reference, for comparison only.

Nothing is fused, truncated or shared with the package; the code follows the steps of magenta's networks.py, layers.py,
spectral_ops.py and specgrams_helper.py. It is slow: use it with small models.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tests.support.checkpoints import EMA, SCOPE

DEFAULTS: dict[str, Any] = {
    "data_type": "mel",
    "audio_length": 64000,
    "sample_rate": 16000,
    "data_normalizer": "specgrams_prespecified_normalizer",
    "mag_normalizer_a": 0.0661371661726,
    "mag_normalizer_b": 0.113718730221,
    "p_normalizer_a": 0.8,
    "p_normalizer_b": 0.0,
    "kernel_size": 3,
    "start_height": 4,
    "start_width": 8,
    "scale_mode": "ALL",
    "scale_base": 2,
    "num_resolutions": 7,
    "simple_arch": False,
    "to_rgb_activation": "tanh",
}


def specgrams(
    flags: Mapping[str, Any],
    variables: Mapping[str, np.ndarray],
    progress: float,
    z: np.ndarray,
    pitches: np.ndarray,
    normalizer: np.ndarray | None = None,
) -> np.ndarray:
    """Computes the denormalised output: float64 [n, height, width, 2].

    Args:
        flags: content of experiment.json.
        variables: variables by their names in the save.
        progress: progress of the training.
        normalizer: content of the asset, if data_normalizer needs one.
    """
    flags = {**DEFAULTS, **flags}

    def variable(name: str) -> np.ndarray:
        return np.asarray(variables[f"{SCOPE}progressive_gan_{name}{EMA}"], np.float64)

    def custom_conv(x: np.ndarray, name: str) -> np.ndarray:
        kernel = variable(f"{name}/conv2d/kernel")
        x = np.sqrt(2 / np.prod(kernel.shape[:-1])) * conv(x, kernel) + variable(f"{name}/bias")
        return pixel_norm(np.where(x > 0, x, 0.2 * x))

    def to_rgb(x: np.ndarray, block: int) -> np.ndarray:
        name, gain = f"block_{block}/to_rgb/kernel", 1.0
        if not flags["simple_arch"]:
            name = f"block_{block}/to_rgb/conv2d/kernel"
            gain = np.sqrt(1 / x.shape[3])
        x = gain * (x @ variable(name)[0, 0]) + variable(f"block_{block}/to_rgb/bias")
        return np.tanh(x) if flags["to_rgb_activation"] == "tanh" else x

    base = flags["scale_base"]
    across = base if flags["scale_mode"] == "ALL" else 1
    height, width = flags["start_height"], flags["start_width"]
    x = np.concatenate([z, np.eye(61)[np.asarray(pitches) - 24]], axis=1)
    if flags["simple_arch"]:
        x = np.maximum(0, x @ variable("block_1/dense/kernel") + variable("block_1/dense/bias"))
        x = x.reshape(len(x), height, width, -1)
    else:
        x = pixel_norm(x[:, None, None])
        kernel = variable("block_1/conv0/conv2d/kernel")
        # VALID over the pixel in a field of zeros: output (i, j) meets the kernel at (height - 1 - i, width - 1 - j).
        x = np.einsum("nc,ijco->nijo", x[:, 0, 0], kernel[::-1, ::-1])
        x = np.sqrt(2 / np.prod(kernel.shape[:-1])) * x + variable("block_1/conv0/bias")
        x = pixel_norm(np.where(x > 0, x, 0.2 * x))
        x = custom_conv(x, "block_1/conv1")
    output: Any = 0.0
    block = 1
    while True:
        alpha = max(0.0, min(progress - (block - 2), block - progress))
        if alpha > 0:  # the others' variables may be missing
            scale = base ** (flags["num_resolutions"] - block)
            output = output + alpha * upscale(to_rgb(x, block), scale, scale if across > 1 else 1)
        block += 1
        kind = "conv2d_transpose" if flags["simple_arch"] else "conv0"
        if f"{SCOPE}progressive_gan_block_{block}/{kind}/bias{EMA}" not in variables:
            break
        if flags["simple_arch"]:
            x = transposed_conv(x, variable(f"block_{block}/conv2d_transpose/kernel"), base, across)
            x = np.maximum(0, x + variable(f"block_{block}/conv2d_transpose/bias"))
        else:
            x = custom_conv(upscale(x, base, across), f"block_{block}/conv0")
            x = custom_conv(x, f"block_{block}/conv1")
    return denormalize(output, flags, normalizer)


def denormalize(x: np.ndarray, flags: Mapping[str, Any], normalizer: np.ndarray | None) -> np.ndarray:
    if flags["data_normalizer"] == "none":
        return x
    if normalizer is None:
        a = [flags["mag_normalizer_a"], flags["p_normalizer_a"]]
        b = [flags["mag_normalizer_b"], flags["p_normalizer_b"]]
    else:
        mag_a, mag_b, phase_a, phase_b = np.moveaxis(normalizer, -1, 0)
        a, b = np.stack([mag_a, phase_a], -1), np.stack([mag_b, phase_b], -1)
    return (x - np.asarray(b)) / np.asarray(a)


def pixel_norm(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.square(x).mean(axis=3, keepdims=True) + 1e-8)


def upscale(x: np.ndarray, down: int, across: int) -> np.ndarray:
    return x.repeat(down, axis=1).repeat(across, axis=2)


def conv(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Reimplements tf.nn.conv2d, SAME, stride 1."""
    k, (height, width) = kernel.shape[0], x.shape[1:3]
    x = np.pad(x, [[0, 0], [(k - 1) // 2, k // 2], [(k - 1) // 2, k // 2], [0, 0]])
    out: Any = 0.0
    for i in range(k):
        for j in range(k):
            out = out + x[:, i : i + height, j : j + width] @ kernel[i, j]
    return out


def transposed_conv(x: np.ndarray, kernel: np.ndarray, down: int, across: int) -> np.ndarray:
    """Reimplements tf.nn.conv2d_transpose, SAME: the gradient of a convolution with this stride."""
    k, (n, height, width) = kernel.shape[0], x.shape[:3]
    out = np.zeros([n, (height - 1) * down + max(k, down), (width - 1) * across + max(k, across), kernel.shape[2]])
    for i in range(k):
        for j in range(k):
            out[:, i : i + height * down : down, j : j + width * across : across] += x @ kernel[i, j].T
    top, left = max(k - down, 0) // 2, max(k - across, 0) // 2
    return out[:, top : top + height * down, left : left + width * across]


def waves(specgrams: np.ndarray, flags: Mapping[str, Any]) -> np.ndarray:
    """Converts the denormalised output to audio, float64 [n, samples]."""
    flags = {**DEFAULTS, **flags}
    if flags["data_type"] == "wave":
        return specgrams[:, 768:-768, 0, 0]
    log_magnitude, phase = specgrams[..., 0], specgrams[..., 1] * np.pi
    if flags["data_type"] != "phase":
        phase = phase.cumsum(axis=1)
    if flags["data_type"] == "mel":
        matrix = mel_to_linear(specgrams.shape[2], flags["sample_rate"])
        log_magnitude = 0.5 * np.log(np.exp(log_magnitude) @ matrix + 1e-6)
        # The reference unwraps this and sums it up again, which adds multiples of 2 pi.
        phase = phase @ matrix
    stft = np.exp(log_magnitude + 1j * phase)
    length = 2 * stft.shape[2]
    hop = length // 4
    frames = np.fft.irfft(np.pad(stft, [[0, 0], [0, 0], [1, 0]]), length)
    hann = np.sin(np.pi * np.arange(length) / length) ** 2
    total = sum(np.roll(hann**2, hop * i) for i in range(4))
    out = np.zeros([len(stft), (stft.shape[1] - 1) * hop + length])
    for row in range(stft.shape[1]):
        out[:, row * hop : row * hop + length] += frames[:, row] * (hann / total)
    return out[:, -flags["audio_length"] :]


def linear_to_mel(bins: int, sample_rate: int) -> np.ndarray:
    def mel(hertz: np.ndarray) -> np.ndarray:
        return 1127.0 * np.log(1.0 + hertz / 700.0)

    def hertz(mel: np.ndarray) -> np.ndarray:
        return 700.0 * (np.exp(mel / 1127.0) - 1.0)

    nyquist = sample_rate / 2
    frequencies = np.linspace(0, nyquist, bins)[1:, None]
    edges = np.linspace(mel(np.float64(0)), mel(np.float64(nyquist)), bins + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]  # views: widening a band moves its neighbours
    for i in range(bins):
        if hertz(upper[i]) - hertz(lower[i]) < 1.5 * nyquist / bins:
            rhs = 0.75 * nyquist / bins / (hertz(centre[i]) + 700.0)
            half = 1127.0 * np.log(rhs + np.sqrt(1 + rhs**2))
            lower[i] = centre[i] - half
            upper[i] = centre[i] + half
    low, mid, high = hertz(lower)[None], hertz(centre)[None], hertz(upper)[None]
    matrix = np.maximum(0, np.minimum((frequencies - low) / (mid - low), (high - frequencies) / (high - mid)))
    return np.pad(matrix, [[1, 0], [0, 0]])


def mel_to_linear(bins: int, sample_rate: int) -> np.ndarray:
    matrix = linear_to_mel(bins, sample_rate)
    diagonal = [1 / x if abs(x) > 1e-8 else x for x in (matrix @ matrix.T).sum(axis=0)]
    return matrix.T @ np.diag(diagonal)
