"""The first step of a remote job: checks that a worker has the requested GPU, code and checkpoint."""

from __future__ import annotations

import functools
import glob
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import apache_beam as beam

from gansynth.errors import ConfigError, GansynthError
from transforms.model import acquire
from transforms.model_settings import ModelSettings

_PACKAGES = ("gansynth", "transforms", "pipeline")


@functools.cache
def code_digest() -> str:
    """Computes the sha256 of this project's installed Python files."""
    digest = hashlib.sha256()
    for package in _PACKAGES:
        spec = find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        folder = Path(spec.origin).parent
        for path in sorted(folder.rglob("*.py")):
            digest.update(f"{package}/{path.relative_to(folder).as_posix()}\n".encode())
            digest.update(path.read_bytes())
    return "sha256:" + digest.hexdigest()


@dataclass
class CheckWorker(beam.PTransform):
    """PBegin to an empty PCollection; makes a job that cannot succeed fail in its first minute.

    The step has no input, so it runs at once, and it has the resource hints of the synthesis, so it runs on the same
    kind of worker. A runner's retries of the failed bundle take seconds, since nothing has been computed yet.

    Attributes:
        model: settings with which the synthesis loads the model.
        code: `code_digest` of the submitting machine.
        hints: resource hints of the synthesis.
    """

    model: ModelSettings
    code: str
    hints: dict[str, Any]

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Applies the check."""
        check = beam.ParDo(_Check(self.model, self.code))
        return begin | beam.Impulse() | "Check" >> check.with_resource_hints(**self.hints)


class _Check(beam.DoFn):
    def __init__(self, model: ModelSettings, code: str) -> None:
        self._model, self._code = model, code

    def setup(self) -> None:
        if code_digest() != self._code:
            raise ConfigError(
                "sdk_container_image: the code in the image differs from the code that submitted the job; build the "
                "image from this checkout (gcloud builds submit), or submit from the checkout it was built from."
            )
        try:
            if self._model.has_built_bank:
                self._model.known()  # its sounds need no model on this worker
            else:
                acquire(self._model).check()
        except GansynthError as error:
            raise ConfigError(f"{error} This worker: {machine()}.") from None

    def process(self, element: bytes) -> Iterator[str]:
        yield from ()


def machine() -> str:
    """Describes GPU devices, driver and CUDA libraries of this machine, to diagnose why TensorFlow finds no GPU."""
    devices = glob.glob("/dev/nvidia[0-9]*")
    libraries = [path for folder in _library_folders() for path in glob.glob(f"{folder}/libcuda.so*")]
    facts = [
        f"GPU devices: {', '.join(sorted(devices)) or 'none; was an accelerator requested?'}",
        f"driver: {libraries[0] if libraries else 'no libcuda.so; does the accelerator have install-nvidia-driver?'}",
        f"CUDA libraries: {'in the image' if find_spec('nvidia') else 'none; was the image built with extra gpu?'}",
    ]
    return "; ".join(facts)


def _library_folders() -> list[str]:
    given = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    return [*given, "/usr/local/nvidia/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib64"]
