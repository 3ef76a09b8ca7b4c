"""A worker that lacks GPU, code or checkpoint fails the job at its start."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gansynth.errors import ConfigError
from pipeline.config import load_config
from pipeline.job import model_settings
from transforms.check_worker import _Check, code_digest, machine


def test_the_right_worker_passes() -> None:
    check = _Check(model_settings(load_config(None)), code_digest())
    check.setup()
    assert list(check.process(b"")) == []


def test_other_code() -> None:
    check = _Check(model_settings(load_config(None)), "sha256:other")
    with pytest.raises(ConfigError, match="the code in the image differs from the code that submitted the job"):
        check.setup()


def test_no_checkpoint() -> None:
    settings = replace(model_settings(load_config(None)), checkpoint="/nowhere")
    with pytest.raises(ConfigError, match=r"/nowhere: no such folder.* This worker: "):
        _Check(settings, code_digest()).setup()


def test_no_gpu() -> None:
    from gansynth.model._tensorflow import tf

    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has a GPU")
    settings = replace(model_settings(load_config(None)), device="gpu")
    with pytest.raises(ConfigError, match=r"TensorFlow finds no GPU.* This worker: GPU devices: "):
        _Check(settings, code_digest()).setup()


def test_a_gpu_that_is_seen_but_plays_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from gansynth.model.network import Network

    def broken(*_: object) -> None:
        raise RuntimeError("CUDNN_STATUS_NOT_INITIALIZED")

    monkeypatch.setattr(Network, "waves", broken)
    check = _Check(model_settings(load_config(None)), code_digest())
    with pytest.raises(ConfigError, match=r"this machine cannot play it: RuntimeError: CUDNN_STATUS.* This worker: "):
        check.setup()


def test_what_is_said_of_a_machine() -> None:
    assert all(word in machine() for word in ("GPU devices: ", "driver: ", "CUDA libraries: "))
