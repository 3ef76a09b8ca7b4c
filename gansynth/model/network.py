"""GANSynth's generator and the inversion of its spectrograms to audio, as TensorFlow graphs of fixed shape.

Source: magenta/models/gansynth/lib/{networks,layers,network_functions,data_helpers,specgrams_helper}.py.
Only the rows (time steps) that are heard are computed: each layer computes the rows that its output needs, one more
per 3-row convolution and half as many below each upscaling.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansynth.errors import ConfigError
from gansynth.model import mel
from gansynth.model._tensorflow import tf
from gansynth.model.checkpoint import PITCHES, Checkpoint
from gansynth.model.shape import NoteShape

ResourceExhaustedError = tf.errors.ResourceExhaustedError


def configure(threads: int = 0, device: str = "auto") -> None:
    """Sets up TensorFlow for this process. Call it before TensorFlow's first use; later calls have no effect.

    Args:
        threads: CPU threads; 0 for one per core.
        device: "auto" uses a GPU if there is one, "cpu" never does, "gpu" requires one.

    Raises:
        ConfigError: device is "gpu" and TensorFlow finds none.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu" and not gpus:
        raise ConfigError(
            "device: gpu was asked for, but TensorFlow finds no GPU; check the driver (nvidia-smi) and that "
            "tensorflow[and-cuda] is installed, or set device to cpu."
        )
    try:
        if device == "cpu":
            tf.config.set_visible_devices([], "GPU")
        for gpu in gpus if device != "cpu" else []:
            tf.config.experimental.set_memory_growth(gpu, True)
        # Threads that compute notes of their own cost up to a fifth less than threads that share each operation.
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(threads or len(os.sched_getaffinity(0)))
    except RuntimeError:
        pass  # TensorFlow is already initialised: the first caller in this process has set it up


def threads() -> int:
    """Returns the number of CPU threads that TensorFlow was configured with."""
    return tf.config.threading.get_inter_op_parallelism_threads() or 1


def on_gpu() -> bool:
    """Returns whether TensorFlow renders on a GPU."""
    return bool(tf.config.get_visible_devices("GPU"))


class Network:
    """A checkpoint's generator as TensorFlow graphs, one for each shape.

    On a GPU the notes of a batch are computed together. On a CPU each thread computes a few of them at a time, so that
    their features fit in its cache. A note has the same bits in every batch of a multiple of 8 notes.

    Args:
        checkpoint: result of `checkpoint.load`.
        precision: "float32"; "tf32" lets NVIDIA's tensor cores round the factors of products (TensorFlow's own
            default on GPUs; set for the whole process, without effect on a CPU); "bfloat16" for the convolutions
            alone, less accurate, on processors that support it (AMX, AVX512-BF16, GPUs).
        xla: compile each shape with XLA.

    Attributes:
        shape: dimensions of a note, whole or truncated.
        audio_samples: samples of a whole note.
        rows: time steps of a whole note.
    """

    def __init__(self, checkpoint: Checkpoint, precision: str = "float32", xla: bool = False) -> None:
        tf.config.experimental.enable_tensor_float_32_execution(precision == "tf32")
        self._checkpoint, self._xla = checkpoint, xla
        self._config = config = checkpoint.config
        self.shape = shape = NoteShape(config, checkpoint.source)
        self.rows, self.audio_samples = shape.rows, shape.audio_samples
        self._hop, self._cropped = shape.hop, shape.cropped
        self._is_wave = config.data_type == "wave"
        if not self._is_wave:
            self._frame_length = 2 * shape.bins
            self._window = mel.inverse_window(self._frame_length, self._hop).astype(np.float32)
        if config.data_type == "mel":
            self._mel = _BandedMatrix(mel.mel_to_linear(shape.bins, config.sample_rate))
        self._layers = _Layers(checkpoint, precision, xla)
        self._checkpoint = replace(checkpoint, weights={})  # the layers hold prepared copies
        self._functions: dict[tuple[int, int, str], Any] = {}
        self._threads = None if on_gpu() else ThreadPoolExecutor(threads(), "network")
        latents = tf.TensorSpec([None, config.latent_vector_size], tf.float32)
        self._start = tf.function(
            self._layers.start, input_signature=[latents, tf.TensorSpec([None], tf.int32)], autograph=False
        )

    def rows_for(self, samples: int) -> int:
        """Forwards to NoteShape.rows_for."""
        return self.shape.rows_for(samples)

    def samples_of(self, rows: int) -> int:
        """Forwards to NoteShape.samples_of."""
        return self.shape.samples_of(rows)

    def waves(self, z: NDArray[np.float32], labels: NDArray[np.int32], rows: int) -> NDArray[np.float32]:
        """Renders the first samples of a batch of notes.

        Args:
            z: float32 [n, latent size].
            labels: int32 [n], index of each pitch in PITCHES.
            rows: number of rows to compute, 1..self.rows.

        Returns:
            float32 [n, samples_of(rows)].
        """
        return self._compute("waves", z, labels, rows)

    def specgrams(self, z: NDArray[np.float32], labels: NDArray[np.int32], rows: int) -> NDArray[np.float32]:
        """Computes the generator's denormalised output; the arguments are those of `waves`.

        Returns:
            float32 [n, rows, bins, 2]: log magnitude, and phase or its change per row in units of pi. With data_type
            wave, channel 0 holds samples.
        """
        return self._compute("specgrams", z, labels, rows)

    def _compute(
        self, output: str, z: NDArray[np.float32], labels: NDArray[np.int32], rows: int
    ) -> NDArray[np.float32]:
        start = self._start(tf.constant(z), tf.constant(labels))
        size = self.notes_at_once(len(z), rows)
        pieces = [start[first : first + size] for first in range(0, len(z), size)]
        # Traced here, since threads that trace at the same time would do so twice.
        functions = [self._function(output, len(piece), rows) for piece in pieces]
        call_each = map if self._threads is None else self._threads.map
        return np.concatenate(list(call_each(lambda function, piece: function(piece), functions, pieces)))

    def notes_at_once(self, notes: int, rows: int) -> int:
        """Returns how many notes of a batch of `notes` are computed together: all on a GPU, 2 or 4 by a CPU thread.

        One alone would have other bits, since other kernels compute it; more do not fit in the processor's cache.
        """
        if self._threads is None:
            return notes
        return 4 if 8 * rows <= 3 * self.rows else 2

    def _function(self, output: str, notes: int, rows: int) -> Any:
        key = (notes, rows, output)
        if key not in self._functions:
            method = self._waves if output == "waves" else self._specgrams
            traced = tf.function(
                lambda start: method(start, rows),
                input_signature=[tf.TensorSpec([notes, *self._layers.start_shape], self._layers.dtype)],
                autograph=False,
                jit_compile=self._xla,
            )
            self._functions[key] = traced.get_concrete_function()
        return self._functions[key]

    def _specgrams(self, start: tf.Tensor, rows: int) -> tf.Tensor:
        return tf.stack(self._channels(start, rows), axis=-1)

    def _channels(self, start: tf.Tensor, rows: int) -> list[tf.Tensor]:
        """Computes the two channels of `specgrams`, each float32 [n, rows, bins]."""
        image = self._layers.image(start, rows)
        scale, offset = (a.astype(np.float32) for a in (self._checkpoint.scale, self._checkpoint.offset))
        return [(image[..., n] - offset[..., n]) / scale[..., n] for n in range(2)]

    def _waves(self, start: tf.Tensor, rows: int) -> tf.Tensor:
        first, second = self._channels(start, rows)
        if self._is_wave:
            return first[:, self._cropped : self._cropped + self.samples_of(rows), 0]
        magnitude, phase = self._polar(first, second * np.float32(np.pi))
        spectrum = tf.complex(magnitude * tf.cos(phase), magnitude * tf.sin(phase))
        spectrum = tf.pad(spectrum, [[0, 0], [0, 0], [1, 0]])
        frames = tf.signal.irfft(spectrum, [self._frame_length]) * self._window
        return self._overlap_add(frames, rows)

    def _polar(self, log_magnitude: tf.Tensor, phase: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes magnitude and phase (in radians) of the STFT, both float32 [n, rows, bins].

        Deviation: the reference unwraps the phase to a frequency and accumulates it again; that only adds multiples
        of 2 pi, which do not change sine and cosine.
        """
        if self._config.data_type == "phase":
            return tf.exp(log_magnitude), phase
        phase = self._running_sum(phase)
        if self._config.data_type == "linear":
            return tf.exp(log_magnitude), phase
        return tf.sqrt(self._mel(tf.exp(log_magnitude)) + 1e-6), self._mel(phase)

    def _running_sum(self, x: tf.Tensor) -> tf.Tensor:
        """Computes the cumulative sum over the rows of float32 [n, rows, bins]."""
        if self._threads is None:
            return tf.cumsum(x, axis=1)
        # The same bits in a third of cumsum's time.
        return tf.linalg.matmul(np.tril(np.ones([x.shape[1]] * 2, np.float32)), x)

    def _overlap_add(self, frames: tf.Tensor, rows: int) -> tf.Tensor:
        """Adds frames that start a hop apart, and drops the samples before the note."""
        batch, overlap = frames.shape[0], self._frame_length // self._hop
        pieces = tf.reshape(frames, [batch, rows, overlap, self._hop])
        total = tf.add_n([tf.pad(pieces[:, :, i], [[0, 0], [i, overlap - 1 - i], [0, 0]]) for i in range(overlap)])
        wave = tf.reshape(total, [batch, (rows + overlap - 1) * self._hop])
        return wave[:, self._cropped : self._cropped + self.samples_of(rows)]


class _BandedMatrix:
    """A matrix with entries near its diagonal, multiplied in a few small blocks instead of one large one."""

    def __init__(self, matrix: NDArray[np.float64], width: int = 64) -> None:
        self._blocks = []
        for first in range(0, matrix.shape[1], width):
            block = matrix[:, first : first + width]
            used = np.flatnonzero(block.any(axis=1))
            start, stop = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
            self._blocks.append((start, stop, tf.constant(block[start:stop], tf.float32)))

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Multiplies float32 [n, rows, bands] by the matrix to [n, rows, bins]."""
        flat = tf.reshape(x, [-1, x.shape[2]])
        product = tf.concat([flat[:, a:b] @ block for a, b, block in self._blocks], axis=1)
        return tf.reshape(product, [*x.shape[:2], product.shape[1]])


class _Layers:
    """The generator's layers, from latent and label to the normalised spectrogram, with weights scaled once.

    Attributes:
        dtype: type of the features.
    """

    def __init__(self, checkpoint: Checkpoint, precision: str, xla: bool) -> None:
        self._checkpoint, self._config, self._xla = checkpoint, checkpoint.config, xla
        self._stride = (
            self._config.scale_base,
            self._config.scale_base if self._config.scale_mode == "ALL" else 1,
        )
        self._epsilon: dict[str, float] = {}
        # float64 for raw waves, which nothing smooths later: pixel norm amplifies rounding of features near zero.
        self.dtype = tf.float64 if self._config.data_type == "wave" else tf.float32
        self._conv_dtype = tf.bfloat16 if precision == "bfloat16" else self.dtype
        self._weights = {name: self._constant(name, value) for name, value in self._prepare().items()}
        self._checkpoint = replace(checkpoint, weights={})

    def _constant(self, name: str, value: NDArray[np.floating]) -> tf.Tensor:
        return tf.constant(value, self._conv_dtype if self._is_wide(name) else self.dtype)

    @staticmethod
    def _is_wide(name: str) -> bool:
        """Returns whether this is the kernel of a convolution over many pixels, where nearly all the work is done."""
        return name.endswith(("conv2d/kernel", "conv2d_transpose/kernel")) and not (
            "to_rgb" in name or name.startswith("progressive_gan_block_1/conv0")
        )

    def _prepare(self) -> dict[str, NDArray[np.floating]]:
        """Prepares the weights for the layers: removes He scaling, and reshapes the first convolution to a matrix.

        The reference computes pixel_norm(leaky_relu(gain * convolution + bias)). A positive factor passes through
        leaky_relu and cancels in pixel_norm, so convolution + bias / gain with epsilon / gain^2 in the norm gives
        the same result, saves a multiplication and leaves the trained kernels unchanged.
        """
        config = self._config
        prepared: dict[str, NDArray[np.floating]] = dict(self._checkpoint.weights)
        if config.simple_arch:
            return prepared
        kernel: NDArray[np.floating]
        for name, kernel in self._checkpoint.weights.items():
            if not name.endswith("kernel"):
                continue
            fan_in = np.prod(kernel.shape[:-1])
            if config.output_resolution[1] == 1:
                kernel = kernel[:, (kernel.shape[1] - 1) // 2, None]  # an image one pixel wide has only zeros beside it
            if "to_rgb" in name:
                prepared[name] = kernel / np.sqrt(fan_in)
                continue
            layer, gain = name.removesuffix("/conv2d/kernel"), np.sqrt(2.0 / fan_in)
            prepared[f"{layer}/bias"] = self._checkpoint.weights[f"{layer}/bias"] / gain
            self._epsilon[layer] = 1e-8 / gain**2
            if layer == "progressive_gan_block_1/conv0":
                # A VALID convolution over one pixel padded with zeros applies the flipped kernel.
                kernel = kernel[::-1, ::-1].transpose(2, 0, 1, 3).reshape(kernel.shape[2], -1)
            elif self._fuses(name):
                kernel = _fuse_upscale(kernel.astype(np.float64), self._stride[1] == 2)
            prepared[name] = kernel
        return prepared

    def _fuses(self, name: str) -> bool:
        """Returns whether this convolution follows an upscaling that can be fused into it."""
        first = name.endswith("conv0/conv2d/kernel") and "block_1/" not in name
        return first and self._config.kernel_size == 3 and self._config.scale_base == 2

    @property
    def start_shape(self) -> tuple[int, ...]:
        """Shape of a note's result of `start`."""
        scope, config = "progressive_gan_block_1", self._config
        name = f"{scope}/dense/kernel" if config.simple_arch else f"{scope}/conv0/conv2d/kernel"
        height, width = config.resolution(1)
        return height, width, self._weights[name].shape[1] // (height * width)

    def start(self, z: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Multiplies latents and labels by the first layer's matrix, to [n, *start_shape].

        The only product whose rows are notes: a kernel computes the rows that remain after its blocks differently.
        """
        scope = "progressive_gan_block_1"
        x = tf.cast(tf.concat([z, tf.one_hot(labels, len(PITCHES))], axis=1), self.dtype)
        if self._config.simple_arch:
            x = x @ self._weights[f"{scope}/dense/kernel"]
        else:
            x = x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=1, keepdims=True) + 1e-8)
            x = x @ self._weights[f"{scope}/conv0/conv2d/kernel"]
        return tf.reshape(x, [-1, *self.start_shape])

    def image(self, start: tf.Tensor, rows: int) -> tf.Tensor:
        """Computes the network's normalised output from the result of `start`, float32 [n, rows, bins, 2]."""
        checkpoint, config = self._checkpoint, self._config
        needed = self._needed_rows(rows)
        x = start
        outputs = []
        for block in sorted(needed):
            x, norm = self._first_block(x, needed[1]) if block == 1 else self._block(x, block, needed[block])
            weight = checkpoint.block_weight(block)
            if weight > 0:
                rgb = self._rgb(x, norm, block)
                factor = config.scale_base ** (config.num_resolutions - block)
                rgb = tf.repeat(rgb, factor, axis=1) if factor > 1 else rgb
                if factor > 1 and config.scale_mode == "ALL":
                    rgb = tf.repeat(rgb, factor, axis=2)
                outputs.append(rgb[:, :rows] * weight)
            x = x * norm
        return tf.cast(tf.add_n(outputs), tf.float32)

    def _needed_rows(self, rows: int) -> dict[int, int]:
        """Computes the number of rows that each block must output for the network's first `rows` rows."""
        config, needed, above = self._config, {}, 0
        for block in range(self._checkpoint.num_blocks, 0, -1):
            if not above and self._checkpoint.block_weight(block) == 0:
                continue
            own = -(-rows // config.scale_base ** (config.num_resolutions - block))
            height = config.resolution(block)[0]
            wanted = max(above, own if self._checkpoint.block_weight(block) > 0 else 0)
            needed[block] = min(height, wanted)
            halo = config.kernel_size // 2 * (1 if config.simple_arch else 2)
            above = (needed[block] + halo - 1) // config.scale_base + 1
        return needed

    def _first_block(self, x: tf.Tensor, rows: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes the first block's features before pixel norm, and the norm's factor for each pixel."""
        config, scope = self._config, "progressive_gan_block_1"
        if config.simple_arch:
            bias = tf.reshape(self._weights[f"{scope}/dense/bias"], self.start_shape)
            return tf.nn.relu(x + bias)[:, :rows], tf.ones([], self.dtype)
        x = _add_bias(x[:, : rows + config.kernel_size // 2], self._weights[f"{scope}/conv0/bias"])
        x, norm = self._activate(x, f"{scope}/conv0")
        x = x * norm
        return self._convolve(x, f"{scope}/conv1", rows, config.resolution(1)[0])

    def _block(self, x: tf.Tensor, block: int, rows: int) -> tuple[tf.Tensor, tf.Tensor]:
        config, scope = self._config, f"progressive_gan_block_{block}"
        height, width = config.resolution(block)
        if config.simple_arch:
            kernel = self._weights[f"{scope}/conv2d_transpose/kernel"]
            x = self._transposed(x, kernel, rows, width)
            return tf.nn.relu(_add_bias(x, self._weights[f"{scope}/conv2d_transpose/bias"])), tf.ones([], self.dtype)
        between = min(height, rows + config.kernel_size // 2)
        name = f"{scope}/conv0"
        if self._fuses(f"{name}/conv2d/kernel"):
            kernel = self._weights[f"{name}/conv2d/kernel"]
            x = _add_bias(self._transposed(x, kernel, between, width), self._weights[f"{name}/bias"])
            x, norm = self._activate(x, name)
        else:
            x = tf.repeat(x, self._stride[0], axis=1)
            x = tf.repeat(x, self._stride[1], axis=2) if self._stride[1] > 1 else x
            x, norm = self._convolve(x, name, between, height)
        return self._convolve(x * norm, f"{scope}/conv1", rows, height)

    def _transposed(self, x: tf.Tensor, kernel: tf.Tensor, rows: int, width: int) -> tf.Tensor:
        """Computes the first `rows` rows of a transposed convolution."""
        most = x.shape[1] * self._stride[0]
        # Padding begins at the same row for both heights if the kernel's height is even, as it is after fusing.
        height = rows if rows == most - 1 and kernel.shape[0] == 4 else most
        shape = [x.shape[0], height, width, kernel.shape[2]]
        x = tf.nn.conv2d_transpose(tf.cast(x, kernel.dtype), kernel, shape, self._stride, "SAME")
        return tf.cast(x[:, :rows], self.dtype)

    def _convolve(self, x: tf.Tensor, name: str, rows: int, height: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes the first `rows` rows of a SAME convolution of an image `height` rows high."""
        k = self._config.kernel_size
        before, after = (k - 1) // 2, k // 2
        sides = [0, 0] if x.shape[2] == 1 else [before, after]
        x = x[:, : rows + after]
        below = rows + after - x.shape[1]  # rows below the given ones are below the image: zeros
        padding = [[0, 0], [before, below], sides, [0, 0]]
        kernel = self._weights[f"{name}/conv2d/kernel"]
        x = tf.cast(tf.nn.conv2d(tf.cast(x, kernel.dtype), kernel, 1, padding), self.dtype)
        return self._activate(tf.nn.bias_add(x, self._weights[f"{name}/bias"]), name)

    def _activate(self, x: tf.Tensor, name: str) -> tuple[tf.Tensor, tf.Tensor]:
        """Applies leaky ReLU; returns the result, and pixel norm's factor for each pixel."""
        x = tf.nn.leaky_relu(x, 0.2)
        if self._xla:  # XLA does not support EuclideanNorm, and fuses these operations anyway
            mean = tf.reduce_mean(tf.square(x), axis=3, keepdims=True)
        else:
            # EuclideanNorm squares and adds in one pass.
            mean = tf.square(tf.raw_ops.EuclideanNorm(input=x, axis=3, keep_dims=True)) / x.shape[3]
        return x, tf.math.rsqrt(mean + self._epsilon[name])

    def _rgb(self, x: tf.Tensor, norm: tf.Tensor, block: int) -> tf.Tensor:
        """Computes the block's image; applies the norm to its two channels, which is cheaper than to all features."""
        scope = f"progressive_gan_block_{block}/to_rgb"
        kernel = self._weights[f"{scope}/kernel" if self._config.simple_arch else f"{scope}/conv2d/kernel"]
        x = _add_bias(tf.nn.conv2d(x, kernel, 1, "VALID") * norm, self._weights[f"{scope}/bias"])
        return tf.tanh(x) if self._config.to_rgb_activation == "tanh" else x


def _add_bias(x: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Adds a bias to the channels of [n, rows, width, channels].

    Adds it to a row at a time: TensorFlow's kernels are slow on few channels. A bias after a convolution is fused into
    it, and needs no such detour.
    """
    rows = tf.reshape(x, [*x.shape[:2], x.shape[2] * x.shape[3]])
    return tf.reshape(tf.nn.bias_add(rows, tf.tile(bias, [x.shape[2]])), x.shape)


def _fuse_upscale(kernel: NDArray[np.float64], both: bool) -> NDArray[np.float64]:
    """Fuses nearest-neighbour doubling and a 3x3 convolution into one stride-2 transposed convolution.

    Args:
        kernel: float64 [3, 3, in, out].
        both: True if height and width are doubled, False for the height alone.

    Returns:
        float64 [4, 4 or 3, out, in], as tf.nn.conv2d_transpose expects it.
    """

    def widen(k: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack([k[2], k[1] + k[2], k[0] + k[1], k[0]])

    fused = widen(kernel)
    fused = widen(fused.swapaxes(0, 1)).swapaxes(0, 1) if both else fused[:, ::-1]
    return np.ascontiguousarray(fused.transpose(0, 1, 3, 2))
