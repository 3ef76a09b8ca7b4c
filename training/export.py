"""`python -m training export`: a trained generator as a checkpoint in Magenta's layout.

Runs in the package's environment, since it writes with TensorFlow; the weights come from the run's generator.npz.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gansynth.general_midi import DRUMS
from training import releases
from training.instruments import LEVEL_PITCHES, PITCH_LEVELS, Instrument, check_programs, latents

STAGE_IMAGES = 1000
"""Images of a stage that experiment.json claims: any number does, since global_step is past all stages."""
_SCOPE = "Generator/progressive_gan_generator"


def export(
    weights: dict[str, NDArray[np.floating]],
    experiment: dict[str, Any],
    instruments: Sequence[Instrument],
    folder: Path,
    full: bool = False,
) -> None:
    """Writes experiment.json, stage_*/ and instruments.yaml.

    Args:
        weights: the generator's variables by name relative to its scope, as Magenta scales them.
        experiment: flags that differ from the reference's defaults.
        instruments: for instruments.yaml; their latents are `training.instruments.latents`.
        folder: where to write; existing files of the same names are replaced.
        full: float32, with every variable that the reference's Saver wants, instead of float16 with what inference
            reads. The numbers are the same: both are rounded to float16.
    """
    blocks = int(experiment["num_resolutions"])
    stages, step = 2 * blocks - 2, 2 * blocks * STAGE_IMAGES
    flags = {
        **experiment,
        "stable_stage_num_images": STAGE_IMAGES,
        "transition_stage_num_images": STAGE_IMAGES,
        "total_num_images": step,
        "train_progressive": True,
        "train_time_limit": None,
        "data_normalizer": "specgrams_prespecified_normalizer",
    }
    weights = {name: half(name, value) for name, value in weights.items()}
    if full:
        values = full_variables(weights, experiment)
    else:
        used = {name: value for name, value in weights.items() if "to_rgb" not in name or f"block_{blocks}/" in name}
        values = {f"{_SCOPE}/{name}/ExponentialMovingAverage": half(name, value) for name, value in used.items()}
    values["global_step"] = np.asarray(step, np.int64)
    stage = folder / f"stage_{stages:05d}"
    stage.mkdir(parents=True, exist_ok=True)
    for old in stage.glob("model.ckpt-*"):
        old.unlink()
    _save(values, stage / f"model.ckpt-{step}")
    (stage / "checkpoint").write_text(f'model_checkpoint_path: "model.ckpt-{step}"\n')
    (folder / "experiment.json").write_text(json.dumps(flags, indent=1, sort_keys=True) + "\n")
    write_bank(instruments, int(experiment["latent_vector_size"]), folder / "instruments.yaml")


def half(name: str, value: NDArray[np.floating]) -> NDArray[np.float16]:
    """Converts a variable to float16.

    Raises:
        ValueError: a value is outside the range of float16.
    """
    if not np.abs(value).max() <= np.finfo(np.float16).max:
        raise ValueError(f"{name} does not fit float16: its largest value is {np.abs(value).max()}")
    return np.asarray(value, np.float16)


def full_variables(weights: dict[str, NDArray[np.floating]], experiment: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Makes every variable that the reference's Saver restores; those that inference does not read are zero.

    Source: magenta/models/gansynth/lib/{networks,model}.py, and tfgan's train ops: generator and discriminator, two
    Adam slots of each, the generator's moving averages, and a few counters.
    """
    blocks = int(experiment["num_resolutions"])

    def filters(block: int) -> int:
        decayed = experiment["fmap_base"] / 2.0 ** (block * experiment["fmap_decay"])
        return int(min(decayed, experiment["fmap_max"]))

    generator = {f"{_SCOPE}/{name}": np.asarray(value, np.float32) for name, value in weights.items()}
    shapes: dict[str, tuple[int, ...]] = {}
    scope = "Discriminator/progressive_gan_discriminator/progressive_gan_block_"
    for block in range(blocks, 0, -1):
        into = filters(block)
        out = filters(block - 1)
        shapes[f"{scope}{block}/from_rgb/conv2d/kernel"] = (1, 1, 2, into)
        shapes[f"{scope}{block}/from_rgb/bias"] = (into,)
        # Block 1 also gets the deviation over the batch as a channel of its own, and ends in a VALID convolution.
        last = (experiment["start_height"], experiment["start_width"], into, out)
        first = into + 1 if block == 1 else into
        shapes[f"{scope}{block}/conv0/conv2d/kernel"] = (3, 3, first, into)
        shapes[f"{scope}{block}/conv0/bias"] = (into,)
        shapes[f"{scope}{block}/conv1/conv2d/kernel"] = last if block == 1 else (3, 3, into, out)
        shapes[f"{scope}{block}/conv1/bias"] = (out,)
    shapes[f"{scope}1/logits/dense/kernel"], shapes[f"{scope}1/logits/bias"] = (filters(0), 1), (1,)
    head = "Discriminator/discriminator_cond/classification_logits"
    shapes[f"{head}/dense/kernel"], shapes[f"{head}/bias"] = (filters(0), 61), (61,)

    values: dict[str, NDArray[Any]] = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    values |= generator
    for name, value in list(values.items()):
        for slot in ("Adam", "Adam_1"):
            values[f"progressive_gan_train_ops/{name}/{slot}"] = np.zeros_like(value)
    values |= {f"{name}/ExponentialMovingAverage": value for name, value in generator.items()}
    for counter in ("discriminator_train/beta1_power", "discriminator_train/beta2_power"):
        values[f"progressive_gan_train_ops/{counter}"] = np.zeros([], np.float32)
        generators = counter.replace("discriminator", "generator")
        values[f"progressive_gan_train_ops/{generators}"] = np.zeros([], np.float32)
    values["Variable"] = np.zeros([], np.float32)
    return values


def _save(values: dict[str, NDArray[Any]], prefix: Path) -> None:
    import tensorflow as tf

    names = sorted(values)
    tensors = [tf.constant(values[name]) for name in names]
    tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)


def write_bank(instruments: Sequence[Instrument], size: int, path: Path) -> None:
    """Writes instruments.yaml: name, family, programs, levels, releases and latent of each."""
    check_programs(instruments)
    text = "# Named instruments, the General MIDI programs (from 0; 128: drums) each stands for, and levels in dB.\n"
    text += "instruments:\n"
    for instrument, latent in zip(instruments, latents(len(instruments), size), strict=True):
        if not instrument.programs:
            continue
        entry: dict[str, Any] = {"name": instrument.name, "family": instrument.family}
        entry["programs"] = list(instrument.programs)
        if instrument.level:
            entry["level"] = instrument.level
        if any(louder := PITCH_LEVELS.get(instrument.name, ())):
            entry["pitch_levels"] = dict(zip(LEVEL_PITCHES, louder, strict=True))
        if instrument.source is not None:
            entry["release"] = release = releases.SECONDS[instrument.source]
            others = [n for n in instrument.programs if n < DRUMS and releases.SECONDS[n] != release]
            if others:
                entry["program_releases"] = {n: releases.SECONDS[n] for n in others}
        entry["latent"] = [round(float(x), 6) for x in latent]
        lines = [f"{key}: {value if isinstance(value, dict) else json.dumps(value)}" for key, value in entry.items()]
        text += "- " + "\n  ".join(lines) + "\n"
    path.write_text(text)
