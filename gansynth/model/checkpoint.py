"""GANSynth checkpoints in Magenta's layout: experiment.json, stage_*/checkpoint, stage_*/model.ckpt-N.*"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansynth.errors import CheckpointError
from gansynth.io import cache, files, structured
from gansynth.model import kernels
from gansynth.model.download import localize
from gansynth.model.layout import NORMALIZER_ASSETS, ModelConfig, named_save, reason_of, stage_number

PITCHES = range(24, 85)
"""MIDI pitches of NSynth's acoustic subset, in the order of the network's one-hot labels."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a generator and everything that inference needs to use them.

    Attributes:
        config: flags that it was trained with.
        source: folder that it was read from.
        num_blocks: number of blocks of the generator at this stage.
        progress: training progress, 0 .. num_blocks - 1; its fraction blends two blocks' outputs.
        weights: float32 arrays by variable name relative to the generator's scope, EMA shadows only.
        scale, offset: the normalizer's a and b, float64, broadcast against [height, width, 2].
        digest: "sha256:..." of all attributes except `source`.
    """

    config: ModelConfig
    source: str
    num_blocks: int
    progress: float
    weights: dict[str, NDArray[np.float32]] = field(repr=False)
    scale: NDArray[np.float64] = field(repr=False)
    offset: NDArray[np.float64] = field(repr=False)
    digest: str

    def block_weight(self, block: int) -> float:
        """Returns the weight of the RGB output of `block` (from 1) at this progress; all weights add up to 1."""
        return _block_weight(block, self.progress)


def load(name_or_path: str) -> Checkpoint:
    """Reads the generator from a checkpoint.

    Args:
        name_or_path: "mini" (bundled), "acoustic_only" or "all_instruments" (Magenta's, fetched once), a local
            folder, or any fsspec URL of a folder that holds experiment.json and stage_* folders.

    Raises:
        CheckpointError: a file is missing, damaged or unsupported; the message names the file and the defect.
    """
    folder = localize(name_or_path)
    config = _read_config(folder)
    stage = _latest_stage(folder)
    prefix = _checkpoint_prefix(stage)
    read = _read_generator(folder, config, stage, prefix)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs the next job some seconds
        files.write_bytes(str(_digest_file(folder)), read.digest.encode())
    return read


def digest(name_or_path: str) -> str:
    """Returns the digest of a checkpoint; imports TensorFlow only if this machine has not read the same files before.

    Args:
        name_or_path: see `load`.

    Raises:
        CheckpointError: see `load`.
    """
    return known_digest(localize(name_or_path)) or load(name_or_path).digest


def known_digest(folder: Path) -> str:
    """Returns the digest of a checkpoint in a local folder; empty if this machine has not loaded the same files before.

    Raises:
        CheckpointError: see `load`.
    """
    try:
        known = _digest_file(folder).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return ""
    return known if re.fullmatch("sha256:[0-9a-f]{64}", known) else ""


def _digest_file(folder: Path) -> Path:
    """Returns the file in the user's cache that has the digest of a checkpoint with the same files as a folder."""
    return cache.user_folder() / "digests" / files_digest(folder)


def files_digest(folder: Path) -> str:
    """Computes the sha256 of all that the digest of a checkpoint depends on: its files, and the code that reads them.

    Raises:
        CheckpointError: see `load`.
    """
    content = hashlib.sha256(f"{kernels.code_digest('checkpoint', 'layout')} {_latest_stage(folder).name}\n".encode())
    for path in files_of(folder):
        content.update(f"{path.name} {path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                content.update(piece)
    return content.hexdigest()


def outline(name_or_path: str) -> tuple[Path, ModelConfig, int]:
    """Reads everything about a checkpoint but its weights.

    Args:
        name_or_path: see `load`.

    Returns:
        Its folder, its flags, and the number of its generator's blocks.

    Raises:
        CheckpointError: see `load`.
    """
    folder = localize(name_or_path)
    return folder, _read_config(folder), _blocks(stage_number(_latest_stage(folder)) or 0)


def files_of(folder: Path) -> list[Path]:
    """Lists the files of a checkpoint's local folder that `load` reads.

    Raises:
        CheckpointError: see `load`.
    """
    config, stage = _read_config(folder), _latest_stage(folder)
    prefix = _checkpoint_prefix(stage)
    asset = NORMALIZER_ASSETS[config.data_normalizer]
    found = [folder / "experiment.json", stage / "checkpoint", prefix.with_name(prefix.name + ".index")]
    found += sorted(prefix.parent.glob(f"{glob.escape(prefix.name)}.data-*"))
    return [*found, folder / asset] if asset else found


def _blocks(stage_id: int) -> int:
    return (stage_id + 1) // 2 + 1


def _read_config(folder: Path) -> ModelConfig:
    path = folder / "experiment.json"
    try:
        text = structured.read_bytes(str(path)).decode("utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: cannot be read ({reason_of(error)}); a GANSynth checkpoint folder holds experiment.json "
            "and stage_* folders."
        ) from None
    return ModelConfig.from_json(text, str(path))


def _latest_stage(folder: Path) -> Path:
    stages = sorted(p for p in folder.glob("stage_*") if p.is_dir() and stage_number(p) is not None)
    if not stages:
        raise CheckpointError(f"{folder}: no stage_* folder; is this the folder of a trained GANSynth?")
    return stages[-1]


def _checkpoint_prefix(stage: Path) -> Path:
    """Finds the save to restore, as tf.train.latest_checkpoint does.

    Deviation: if the named path does not exist (the folder was moved), a save of that name next to the `checkpoint`
    file is used; the reference fails.
    """
    state = stage / "checkpoint"
    try:
        named = named_save(structured.read_bytes(str(state)).decode("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{state}: cannot be read ({reason_of(error)}).") from None
    name = os.path.basename(named)
    if not name:
        raise CheckpointError(f"{state}: has no entry model_checkpoint_path that names a save.")
    for prefix in (stage / named, stage / name):
        if os.path.isfile(f"{prefix}.index"):
            return prefix
    raise CheckpointError(f"{state}: refers to {named:.200}, but {stage / name!s:.300}.index is missing.")


def _read_generator(folder: Path, config: ModelConfig, stage: Path, prefix: Path) -> Checkpoint:
    from gansynth.model._tensorflow import tf

    stage_id = stage_number(stage)
    assert stage_id is not None
    if stage_id > 2 * config.num_resolutions - 2:
        raise CheckpointError(
            f"{stage}: experiment.json has {config.num_resolutions} resolutions, which means stages 0 to "
            f"{2 * config.num_resolutions - 2}."
        )
    num_blocks = _blocks(stage_id)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes = reader.get_variable_to_shape_map()
    except Exception as error:  # the reader converts its own errors to various Python ones
        raise CheckpointError(f"{prefix}: not a readable TensorFlow checkpoint ({reason_of(error)}).") from None

    def read(name: str) -> NDArray[Any]:
        if name not in shapes:
            raise CheckpointError(f"{prefix}: has no variable {name}; is this a GANSynth generator?")
        try:
            return np.asarray(reader.get_tensor(name))
        except Exception as error:
            raise CheckpointError(
                f"{prefix}: variable {name} cannot be read ({reason_of(error)}); the file may be truncated."
            ) from None

    def read_number(name: str) -> float:
        value = read(name)
        if value.shape or value.dtype.kind not in "iuf" or not 0 <= value < np.inf:
            raise CheckpointError(f"{prefix}: {name} is not a finite number of at least 0.")
        return float(value)

    progress = _progress(config, stage_id, num_blocks, read_number)
    scope = "Generator/progressive_gan_generator/"
    weights: dict[str, NDArray[np.float32]] = {}
    for name, shape in _variable_shapes(config, num_blocks, progress).items():
        variable = f"{scope}{name}/ExponentialMovingAverage"
        stated = list(shapes.get(variable, shape))
        if stated != list(shape):
            raise CheckpointError(f"{prefix}: {name} has shape {stated}, experiment.json requires {list(shape)}.")
        value = read(variable)
        if value.dtype.kind != "f":
            raise CheckpointError(f"{prefix}: {name} has dtype {value.dtype}; expected floating-point numbers.")
        weights[name] = value.astype(np.float32, copy=False)
        if not np.isfinite(weights[name]).all():
            raise CheckpointError(f"{prefix}: {name} contains values that are not finite.")
    scale, offset = _normalizer(folder, config)

    digest = hashlib.sha256(json.dumps([config.model_dump(), num_blocks, progress]).encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(weights[name]).data)
    digest.update(scale.tobytes() + offset.tobytes())
    return Checkpoint(config, str(folder), num_blocks, progress, weights, scale, offset, "sha256:" + digest.hexdigest())


def _progress(config: ModelConfig, stage_id: int, num_blocks: int, read: Any) -> float:
    """Computes the training progress, 0 .. num_blocks - 1.

    Source: magenta/models/gansynth/lib/networks.py, compute_progress and compute_progress_from_time.
    """
    if not config.train_progressive:
        return num_blocks - 1.0
    if config.train_time_limit is not None:
        stages = 2 * config.num_resolutions - 1
        times = float(config.train_time_stage_multiplier) ** np.arange(stages)
        times = np.cumsum(times * (config.train_time_limit / times.sum()))
        if not (np.diff(times) > 0).all():
            raise CheckpointError(
                f"experiment.json: train_time_stage_multiplier {config.train_time_stage_multiplier} leaves no time for "
                "some of the stages."
            )
        elapsed = read("Variable")
        done = [np.clip((elapsed - times[i - 1]) / (times[i] - times[i - 1]), 0, 1) for i in range(1, stages, 2)]
        return float(min(sum(done), num_blocks - 1))
    stable, transition = config.stable_stage_num_images, config.transition_stage_num_images
    last = num_blocks * stable + (num_blocks - 1) * transition - 1
    whole, rest = divmod(min(int(read("global_step")), last), stable + transition)
    return whole + max(0.0, (rest - stable) / transition)


def _block_weight(block: int, progress: float) -> float:
    return max(0.0, min(progress - (block - 2), block - progress))


def _variable_shapes(config: ModelConfig, num_blocks: int, progress: float) -> dict[str, tuple[int, ...]]:
    """Lists names and shapes of the variables that the output depends on at this progress."""

    def filters(block: int) -> int:
        count = int(min(config.fmap_base / 2.0 ** (block * config.fmap_decay), config.fmap_max))
        if count < 1:
            raise CheckpointError(f"experiment.json: fmap_base and fmap_decay leave block {block} without channels.")
        return count

    inputs = config.latent_vector_size + len(PITCHES)
    height, width, k = config.start_height, config.start_width, config.kernel_size
    shapes: dict[str, tuple[int, ...]] = {}
    for block in range(1, num_blocks + 1):
        scope, out = f"progressive_gan_block_{block}", filters(block)
        into = filters(max(block - 1, 1))
        if config.simple_arch:
            if block == 1:
                shapes[f"{scope}/dense/kernel"] = (inputs, height * width * out)
                shapes[f"{scope}/dense/bias"] = (height * width * out,)
            else:
                shapes[f"{scope}/conv2d_transpose/kernel"] = (k, k, out, into)
                shapes[f"{scope}/conv2d_transpose/bias"] = (out,)
            rgb = f"{scope}/to_rgb/kernel"
        else:
            first = (height, width, inputs, out) if block == 1 else (k, k, into, out)
            shapes[f"{scope}/conv0/conv2d/kernel"], shapes[f"{scope}/conv0/bias"] = first, (out,)
            shapes[f"{scope}/conv1/conv2d/kernel"], shapes[f"{scope}/conv1/bias"] = (k, k, out, out), (out,)
            rgb = f"{scope}/to_rgb/conv2d/kernel"
        if _block_weight(block, progress) > 0:
            shapes[rgb], shapes[f"{scope}/to_rgb/bias"] = (1, 1, out, 2), (2,)
    return shapes


def _normalizer(folder: Path, config: ModelConfig) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Reads a and b of the reference's data_normalizer, which maps x to x * a + b."""
    asset = NORMALIZER_ASSETS[config.data_normalizer]
    if config.data_normalizer == "none":
        return np.ones(2), np.zeros(2)
    if asset is None:
        a = np.array([config.mag_normalizer_a, config.p_normalizer_a])
        b = np.array([config.mag_normalizer_b, config.p_normalizer_b])
    else:
        path = folder / asset
        width = config.output_resolution[1]
        shape = (4,) if "simple" in config.data_normalizer else (width, 4)
        try:
            (found,) = structured.parse_npz(structured.read_bytes(str(path)), ["normalizer"])
            values = np.asarray(found, np.float64)
        except (OSError, ValueError, TypeError) as error:
            raise CheckpointError(f"{path}: cannot be read ({reason_of(error)}).") from None
        if values.shape != shape:
            raise CheckpointError(f"{path}: has shape {list(values.shape)} instead of {list(shape)}.")
        a, b = values[..., 0::2], values[..., 1::2]
    if not (np.isfinite(a).all() and np.isfinite(b).all() and (a != 0).all()):
        raise CheckpointError(f"{folder / (asset or 'experiment.json')}: the normalizer is zero or not finite.")
    return a, b
