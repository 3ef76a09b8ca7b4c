"""Construction of checkpoints in Magenta's layout."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SCOPE = "Generator/progressive_gan_generator/"
EMA = "/ExponentialMovingAverage"
SMALL = {
    "latent_vector_size": 5,
    "start_height": 2,
    "start_width": 4,
    "num_resolutions": 3,
    "fmap_base": 8,
    "fmap_max": 4,
    "audio_length": 40,
    "stable_stage_num_images": 100,
    "transition_stage_num_images": 100,
}
"""Flags of a very small checkpoint: 8x16 output, stages 0 to 4."""


def write_save(prefix: Path, variables: Mapping[str, Any]) -> None:
    """Writes a TensorFlow save: PREFIX.index and PREFIX.data-00000-of-00001."""
    import tensorflow as tf

    prefix.parent.mkdir(parents=True, exist_ok=True)
    names = sorted(variables)
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(variables[name]) for name in names],
    )


def write_state(stage: Path, named: str) -> None:
    text = f'model_checkpoint_path: "{named}"\nall_model_checkpoint_paths: "{named}"\n'
    (stage / "checkpoint").write_text(text)


def filters(flags: Mapping[str, Any], block: int) -> int:
    return int(min(flags["fmap_base"] / 2.0 ** (block * flags.get("fmap_decay", 1.0)), flags["fmap_max"]))


def random_variables(flags: Mapping[str, Any], blocks: int, seed: int = 0) -> dict[str, Any]:
    """Draws every EMA shadow of a generator with `blocks` blocks, float32, in the same order as for the oracle."""
    random = np.random.RandomState(seed)
    inputs, k = flags["latent_vector_size"] + 61, flags.get("kernel_size", 3)
    height, width = flags.get("start_height", 4), flags.get("start_width", 8)
    shapes: dict[str, tuple[int, ...]] = {}
    for block in range(1, blocks + 1):
        scope, out, into = f"progressive_gan_block_{block}", filters(flags, block), filters(flags, max(block - 1, 1))
        if flags.get("simple_arch"):
            if block == 1:
                shapes[f"{scope}/dense/kernel"], shapes[f"{scope}/dense/bias"] = (inputs, out * height * width), (0,)
                shapes[f"{scope}/dense/bias"] = (out * height * width,)
            else:
                shapes[f"{scope}/conv2d_transpose/kernel"] = (k, k, out, into)
                shapes[f"{scope}/conv2d_transpose/bias"] = (out,)
            rgb = f"{scope}/to_rgb/kernel"
        else:
            shapes[f"{scope}/conv0/conv2d/kernel"] = (height, width, inputs, out) if block == 1 else (k, k, into, out)
            shapes[f"{scope}/conv1/conv2d/kernel"] = (k, k, out, out)
            shapes[f"{scope}/conv0/bias"] = shapes[f"{scope}/conv1/bias"] = (out,)
            rgb = f"{scope}/to_rgb/conv2d/kernel"
        shapes[rgb], shapes[f"{scope}/to_rgb/bias"] = (1, 1, out, 2), (2,)
    spread = {name: 0.2 if name.endswith("bias") else 1.0 for name in shapes}
    return {
        f"{SCOPE}{name}{EMA}": random.normal(0, spread[name], shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def write_checkpoint(
    folder: Path,
    flags: Mapping[str, Any] = SMALL,
    *,
    stage: int | None = None,
    step: int = 10**6,
    variables: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    named: str = "model.ckpt-{step}",
) -> Path:
    """Writes a checkpoint in Magenta's layout.

    Args:
        stage: the last one if None.
        variables: random ones if None.
        extra: further variables, which replace equal names.
        named: contents of the `checkpoint` file.
    """
    resolutions = flags.get("num_resolutions", 7)
    stage = 2 * resolutions - 2 if stage is None else stage
    if variables is None:
        variables = random_variables(flags, (stage + 1) // 2 + 1)
    place = folder / f"stage_{stage:05d}"
    write_save(place / f"model.ckpt-{step}", {"global_step": np.int64(step), **variables, **(extra or {})})
    write_state(place, named.format(step=step))
    (folder / "experiment.json").write_text(json.dumps(dict(flags)))
    return folder
