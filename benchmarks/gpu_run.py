"""(j) Runs what `benchmarks.gpu_export` wrote on JAX's first device: agreement with the CPU, and notes per second.

    python -m benchmarks.gpu_run gpu/mini              every shape in the folder, float32
    python -m benchmarks.gpu_run gpu/mini --tf32       with TF32 products
    python -m benchmarks.gpu_run gpu/mini --parts      and the share of mel product and inverse FFT, the matmul peak

Needs JAX and numpy alone, in an environment of its own. The names of jaxlib are private and change; written for JAX
0.11. It is the graph that TensorFlow runs on a GPU with compute.xla, so it measures numerics and speed of that, and
neither TensorFlow's own GPU kernels nor the pipeline.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def main(argv: list[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path, help="folder that gpu_export wrote")
    options.add_argument("--tf32", action="store_true", help="let tensor cores round the factors of products")
    options.add_argument("--parts", action="store_true", help="time parts of the network alone")
    options.add_argument("--repeats", type=int, default=20, metavar="N", help="timed runs of each shape (default: 20)")
    args = options.parse_args(argv)
    programs = sorted(args.folder.glob("*.hlo"), key=lambda path: [int(part) for part in path.stem.split("_")])
    if not programs:
        sys.exit(f"{args.folder}: has no .hlo file; write some with python -m benchmarks.gpu_export.")
    if not args.tf32:
        os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    import jax

    device = jax.devices()[0]
    print(f"{device.device_kind}, JAX {jax.__version__}, {'tf32' if args.tf32 else 'float32'}", flush=True)
    with np.load(args.folder / "weights.npz") as saved:
        weights = [jax.device_put(saved[f"arr_{i}"], device) for i in range(len(saved.files))]
    for path in programs:
        print(measure(path, weights, device, args.repeats, args.parts), flush=True)
    if args.parts:
        for line in _products(device, args.repeats):
            print(line, flush=True)


def measure(path: Path, weights: list[Any], device: Any, repeats: int, parts: bool) -> str:
    """Compiles and runs one shape; describes agreement with the CPU's samples, and speed without the copy back."""
    import jax

    with np.load(path.with_suffix(".npz")) as archive:
        saved = {name: archive[name] for name in archive.files}
    began = time.perf_counter()
    program = compiled(path, device)
    compile_seconds = time.perf_counter() - began
    arguments = [jax.device_put(saved[name], device) for name in ("z", "labels")] + weights
    wanted, got = saved["wanted"], np.asarray(program.execute(arguments)[0])
    noise = np.square(got[: len(wanted)] - wanted).sum(axis=1)
    decibels = 10 * np.log10(np.square(wanted).sum(axis=1) / np.maximum(noise, 1e-30))
    same = np.array_equal(got, np.asarray(program.execute(arguments)[0]))
    seconds = _seconds(lambda: program.execute(arguments)[0].block_until_ready(), repeats)
    batch, rows = (int(part) for part in path.stem.split("_"))
    text = (
        f"{batch} notes of {rows} rows: worst note {decibels.min():.1f} dB, median {np.median(decibels):.1f} dB; "
        f"{1000 * seconds:.2f} ms, {batch / seconds:.0f} notes per second; compiled in {compile_seconds:.1f} s; "
        f"twice the same bytes: {same}"
    )
    return text + (_parts(batch * rows, seconds, repeats) if parts else "")


def compiled(path: Path, device: Any) -> Any:
    """Compiles a program of `gpu_export` for a device."""
    from jax._src.interpreters import mlir
    from jax._src.lib import xla_client
    from jaxlib.mlir import ir

    computation = xla_client.XlaComputation(path.read_bytes())
    text = xla_client._xla.mlir.xla_computation_to_mlir_module(computation)
    with mlir.make_ir_context():
        devices, options = xla_client.DeviceList((device,)), xla_client.CompileOptions()
        return device.client.compile_and_load(ir.Module.parse(text), devices, options)


def _seconds(call: Callable[[], Any], repeats: int) -> float:
    """Returns the median wall time of a call."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def _parts(rows: int, whole: float, repeats: int) -> str:
    """Times what follows the convolutions: two dense mel products of 1,024 bins, and the inverse FFT of all rows."""
    import jax
    import jax.numpy as jnp

    image, matrix = jnp.ones([rows, 1024], jnp.float32), jnp.ones([1024, 1024], jnp.float32)
    spectrum = jnp.ones([rows, 1025], jnp.complex64)
    product = jax.jit(lambda: jnp.matmul(image, matrix, precision="highest"))
    inverse = jax.jit(lambda: jnp.fft.irfft(spectrum, 2048))
    product().block_until_ready()
    inverse().block_until_ready()
    mel = 2 * _seconds(lambda: product().block_until_ready(), repeats)
    fft = _seconds(lambda: inverse().block_until_ready(), repeats)
    return f"; alone: mel products {1000 * mel:.2f} ms ({mel / whole:.0%}), FFT {1000 * fft:.2f} ms ({fft / whole:.0%})"


def _products(device: Any, repeats: int, size: int = 8192) -> list[str]:
    """Measures the peak of matrix products in three precisions."""
    import jax
    import jax.numpy as jnp

    lines = []
    for kind, precision in ((jnp.float32, "highest"), (jnp.float32, "default"), (jnp.bfloat16, "default")):
        factor = jax.random.normal(jax.random.PRNGKey(0), [size, size], jnp.float32).astype(kind)
        product = jax.jit(lambda a, precision=precision: jnp.matmul(a, a, precision=precision))
        product(factor).block_until_ready()
        seconds = _seconds(lambda product=product, factor=factor: product(factor).block_until_ready(), repeats)
        speed = 2 * size**3 / seconds / 1e12
        lines.append(f"product of {size} x {size}, {kind.__name__}, {precision} precision: {speed:.1f} TFLOP/s")
    return lines


if __name__ == "__main__":
    main()
