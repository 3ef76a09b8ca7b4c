"""Magenta's own GANSynth, unmodified, run in a process of its own (see common.Worker).

    python -m training.reference CHECKPOINT SONG.mid OUT.wav     # the notebook's script, from cold

Two things that current packages lack and inference never uses are replaced: `tf.estimator` and
`inspect.getargspec`, which tensorflow-gan 2.1.0 refers to when it is imported, and the NSynth data set, which
Magenta adds to the graph even for generation.
"""

from __future__ import annotations

import collections
import contextlib
import inspect
import json
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

INSTRUMENTS, TIMES = (0, 2, 4, 0), (0.0, 0.3, 0.6, 1.0)
"""The notebook's list of instruments (of ten random ones), and when each is reached."""
ACOUSTIC_ONLY: dict[str, Any] = {
    "data_type": "mel",
    "audio_length": 64000,
    "sample_rate": 16000,
    "data_normalizer": "specgrams_prespecified_normalizer",
    "latent_vector_size": 256,
    "kernel_size": 3,
    "start_height": 2,
    "start_width": 16,
    "scale_mode": "ALL",
    "scale_base": 2,
    "num_resolutions": 7,
    "simple_arch": False,
    "to_rgb_activation": "tanh",
    "fmap_base": 4096,
    "fmap_decay": 1.0,
    "fmap_max": 256,
    "fake_batch_size": 4,
    "train_progressive": True,
    "stable_stage_num_images": 800000,
    "transition_stage_num_images": 800000,
    "total_num_images": 11000000,
}
"""The part of the published checkpoint's experiment.json that its generator depends on."""
_STAGE, _STEP, _SEED = 12, 11_000_000, 4
_model: Any = None


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keeps what Magenta and TensorFlow print, from Python and from C++, off stdout and stderr."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        for number, descriptor in zip((1, 2), kept, strict=True):
            os.dup2(descriptor, number)
        for descriptor in (*kept, nowhere):
            os.close(descriptor)


class _Absent:
    """A placeholder for classes of tf.estimator, which can be subclassed and instantiated and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass


class _Estimator(types.ModuleType):
    """A placeholder for tf.estimator and its submodules, which are created on access."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (_Absent,), {}) if name[0].isupper() else _Estimator(f"{self.__name__}.{name}")
        setattr(self, name, made)
        return made


_Arguments = collections.namedtuple("_Arguments", "args varargs keywords defaults")


def _full_arguments(function: Any) -> Any:
    """Reimplements inspect.getargspec of Python 3.10 and earlier."""
    return _Arguments(*inspect.getfullargspec(function)[:4])


@_silent()
def magenta() -> types.SimpleNamespace:
    """Imports Magenta's modules: flags, model, generate_util, and tf (TensorFlow 1's interface)."""
    os.environ.update({"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""})
    import warnings

    warnings.filterwarnings("ignore")
    import tensorflow
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    tf.logging.set_verbosity(tf.logging.ERROR)
    for home in (tensorflow, tf):
        if not hasattr(home, "estimator"):
            home.estimator = _Estimator("estimator")
            hooks = ("SessionRunHook", "SessionRunArgs", "SessionRunContext", "StopAtStepHook")
            vars(home.estimator).update({name: getattr(tf.train, name) for name in hooks})
    if not hasattr(inspect, "getargspec"):
        inspect.getargspec = _full_arguments  # type: ignore[attr-defined]

    from magenta.models.gansynth.lib import datasets, flags, generate_util, model

    def one_silence(_: Any) -> Any:
        example = {"audio": tf.zeros([64000]), "pitch": tf.constant(60, tf.int64)}
        return tf.data.Dataset.from_tensors(example).repeat()

    datasets.NSynthTfdsDataset._get_dataset_from_tfds = one_silence
    return types.SimpleNamespace(flags=flags, model=model, generate_util=generate_util, tf=tf)


def make_checkpoint(folder: str) -> None:
    """Makes Magenta build and save a model of the size of acoustic_only, with random weights.

    Kernels are initialised by Magenta, N(0, 1); biases, which it sets to zero, are N(0, 0.2).
    """
    lib, rng = magenta(), np.random.RandomState(_SEED)
    stage = Path(folder) / f"stage_{_STAGE:05d}"
    stage.mkdir(parents=True)
    (stage.parent / "experiment.json").write_text(json.dumps(ACOUSTIC_ONLY, indent=1, sort_keys=True) + "\n")
    lib.tf.reset_default_graph()
    lib.tf.set_random_seed(_SEED)
    flags = lib.flags.Flags({"batch_size_schedule": [1], "train_root_dir": folder})
    with _silent():
        flags.load(ACOUSTIC_ONLY)
        lib.model.set_flags(flags)
        model = lib.model.Model(_STAGE, 1, flags)
        model.sess.run(lib.tf.global_variables_initializer())
        for variable in lib.tf.global_variables():
            if variable.op.name.removesuffix("/ExponentialMovingAverage").endswith("/bias"):
                variable.load(rng.normal(0, 0.2, variable.shape.as_list()).astype(np.float32), model.sess)
        model.current_image_id.load(_STEP, model.sess)
        prefix = str(stage / "model.ckpt")
        model.saver.save(model.sess, prefix, model.current_image_id, write_meta_graph=False)
    # Magenta writes the absolute path; the folder is to be movable.
    (stage / "checkpoint").write_text(f'model_checkpoint_path: "model.ckpt-{_STEP}"\n')


def load(checkpoint: str, batch: int = 8) -> None:
    """Loads a checkpoint, which the functions below use."""
    global _model
    lib = magenta()
    lib.tf.reset_default_graph()
    with _silent():
        flags = lib.flags.Flags({"batch_size_schedule": [batch]})
        _model = lib.model.Model.load_from_path(checkpoint, flags)


def notes(z: NDArray[np.float64], pitches: list[int], kept: int = 0) -> NDArray[np.float32]:
    """Renders notes with Model.generate_samples_from_z; returns the first `kept` of them."""
    with _silent():
        return _model.generate_samples_from_z(z, pitches)[:kept]


def clip(midi: str, output: str | None = None) -> NDArray[np.float64]:
    """Renders one song as the notebook does, interpolating random instruments (seed 0); writes it unless None."""
    from magenta.models.gansynth.lib import generate_util

    _, song = generate_util.load_midi(midi)
    np.random.seed(0)
    z_instruments = _model.generate_z(10)[list(INSTRUMENTS)]
    t_instruments = song["end_times"][-1] * np.array([-0.001, *TIMES[1:-1], 1.0])
    z_notes = generate_util.get_z_notes(song["start_times"], z_instruments, t_instruments)
    with _silent():
        audio_notes = _model.generate_samples_from_z(z_notes, song["pitches"])
        audio = generate_util.combine_notes(audio_notes, song["start_times"], song["end_times"], song["velocities"])
        if output is not None:
            generate_util.save_wav(audio, output)
    return audio


if __name__ == "__main__":
    load(sys.argv[1])
    clip(sys.argv[2], sys.argv[3])
