"""(i) Exports the network as TensorFlow's XLA compiles it, for a machine with a GPU that has JAX but no TensorFlow.

    python -m benchmarks.gpu_export --checkpoint mini --output gpu/mini 8x24 64x112 256x112

Each shape is BATCHxROWS (a whole note has 128 rows). Writes weights.npz, which all shapes share, and for every shape
BATCH_ROWS.hlo, the compiler's input, and BATCH_ROWS.npz: latents, pitches, and the samples that this machine's CPU
renders for the first 16 notes. `benchmarks.gpu_run` runs them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import FULL_SIZE, checkpoint_folder

_COMPARED = 16
"""Notes of a batch whose samples are compared."""


def main(argv: list[str] | None = None) -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("shapes", nargs="+", type=shape, metavar="BATCHxROWS", help="e.g. 64x112")
    options.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the files")
    options.add_argument("--checkpoint", default=FULL_SIZE, help=f"{FULL_SIZE} (default), mini, or a folder")
    args = options.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    for batch, rows, size, weights in export(checkpoint_folder(args.checkpoint), args.shapes, args.output):
        print(f"{batch} notes, {rows} rows: {size} bytes of HLO, {weights} weights", flush=True)


def shape(text: str) -> tuple[int, int]:
    """Parses BATCHxROWS."""
    batch, _, rows = text.partition("x")
    if not (batch.isdecimal() and rows.isdecimal() and int(batch) and int(rows)):
        raise argparse.ArgumentTypeError(f"{text!r}: write BATCHxROWS, as in 64x112")
    return int(batch), int(rows)


def export(checkpoint: str, shapes: list[tuple[int, int]], output: Path) -> Any:
    """Writes the files of each shape; yields batch, rows, bytes of HLO and number of weights."""
    from gansynth.model import checkpoint as checkpoints
    from gansynth.model import network
    from gansynth.model._tensorflow import tf

    network.configure(0, "cpu")
    loaded = checkpoints.load(checkpoint)
    compiled, plain = network.Network(loaded, xla=True), network.Network(loaded)
    size = loaded.config.latent_vector_size
    for batch, rows in shapes:
        z = np.random.default_rng(0).standard_normal((batch, size)).astype(np.float32)
        labels = (np.arange(batch) % len(checkpoints.PITCHES)).astype(np.int32)
        wanted = plain.waves(z[:_COMPARED], labels[:_COMPARED], rows)
        function = _function(compiled, batch, size, rows)
        hlo = function.experimental_get_compiler_ir(tf.constant(z), tf.constant(labels))(stage="hlo_serialized")
        weights = [tensor.numpy() for tensor in function.get_concrete_function().captured_inputs]
        np.savez(output / "weights.npz", *weights)
        (output / f"{batch}_{rows}.hlo").write_bytes(hlo)
        np.savez_compressed(output / f"{batch}_{rows}.npz", z=z, labels=labels, wanted=wanted)
        yield batch, rows, len(hlo), len(weights)


def _function(network: Any, batch: int, size: int, rows: int) -> Any:
    """Makes the network's function of one shape, to be compiled by XLA."""
    from gansynth.model._tensorflow import tf

    return tf.function(
        lambda z, labels: network._waves(network._layers.start(z, labels), rows),
        input_signature=[tf.TensorSpec([batch, size], tf.float32), tf.TensorSpec([batch], tf.int32)],
        autograph=False,
        jit_compile=True,
    )


if __name__ == "__main__":
    main()
