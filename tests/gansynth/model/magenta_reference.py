"""A script that runs Magenta's GANSynth, unmodified except for its data set, in a separate process.

    python magenta_reference.py JOB.json

JOB: folder, flags, stage, step, elapsed, normalizer, seed, pitches. The reference builds its model, every variable is
set to a random number and saved by the reference's own Saver; then Model.load_from_path reads the folder and
plays. FOLDER/played.npz receives z, pitches and audio.

magenta 2.1.4 and tensorflow-gan 2.1.0 are from 2022. What today's Python and TensorFlow lack is put in their way
first; none of it takes part in sampling.
"""

from __future__ import annotations

import collections
import inspect
import json
import os
import sys
import types
import warnings
from pathlib import Path
from typing import Any


def make_importable() -> None:
    """Replaces tf.estimator (removed in 2.16), inspect.getargspec (3.11) and Keras 2."""
    warnings.filterwarnings("ignore")
    os.environ.update(TF_USE_LEGACY_KERAS="1", TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="")
    import tensorflow as tf
    import tensorflow.compat.v1 as tf1

    class Estimator(types.ModuleType):
        SessionRunHook = tf1.train.SessionRunHook
        SessionRunArgs = tf1.train.SessionRunArgs
        SessionRunContext = tf1.train.SessionRunContext
        StopAtStepHook = tf1.train.StopAtStepHook

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            found = Estimator(name) if name[:1].islower() else type(name, (), {})
            setattr(self, name, found)
            return found

    for module in (tf, tf1, tf.compat.v1):
        if not hasattr(module, "estimator"):
            module.estimator = Estimator("estimator")
    if not hasattr(inspect, "getargspec"):
        spec = collections.namedtuple("spec", "args varargs keywords defaults")

        def getargspec(function: Any) -> Any:
            full = inspect.getfullargspec(function)
            return spec(full.args, full.varargs, full.varkw, full.defaults)

        inspect.getargspec = getargspec


def main(job: dict[str, Any]) -> None:
    make_importable()
    import numpy as np
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()  # as gansynth_generate does
    tf.logging.set_verbosity(tf.logging.ERROR)
    from magenta.models.gansynth.lib import datasets, model
    from magenta.models.gansynth.lib.flags import Flags

    def never_read(self: Any) -> Any:
        one = tf.zeros([job["flags"]["audio_length"], 1]), tf.zeros([61])
        return tf.data.Dataset.from_tensors(one).repeat()

    datasets.NSynthTfdsDataset.provide_dataset = never_read

    folder, random = Path(job["folder"]), np.random.RandomState(job["seed"])
    stage = folder / f"stage_{job['stage']:05d}"
    stage.mkdir(parents=True)
    (folder / "experiment.json").write_text(json.dumps(job["flags"]))
    if job["normalizer"]:
        (folder / "assets").mkdir()
        np.savez(folder / "assets" / f"{job['flags']['data_normalizer']}.npz", normalizer=np.array(job["normalizer"]))

    flags = Flags({**job["flags"], "train_root_dir": str(folder), "batch_size_schedule": [2]})
    model.set_flags(flags)
    trained = model.Model(job["stage"], 2, flags)
    for variable in tf.global_variables():
        name, shape = variable.op.name, variable.shape.as_list()
        if name == "global_step":
            value: Any = job["step"]
        elif name == "Variable":
            value = job["elapsed"]
        else:
            value = random.normal(0, 0.2 if "bias" in name else 1.0, shape)
        variable.load(value, trained.sess)
    trained.saver.save(trained.sess, str(stage / f"model.ckpt-{job['step']}"))

    tf.reset_default_graph()
    loaded = model.Model.load_from_path(str(folder), Flags({"batch_size_schedule": [2]}))
    z = random.normal(size=[len(job["pitches"]), loaded.config["latent_vector_size"]])
    audio = loaded.generate_samples_from_z(z, job["pitches"])
    np.savez(folder / "played.npz", z=z, pitches=job["pitches"], audio=audio)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
