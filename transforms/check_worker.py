"""The job's first step on a remote worker: has it the GPU, the code and the checkpoint that were asked for?"""

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
from transforms.synthesize import ModelSettings

_PACKAGES = ("gansynth", "transforms", "pipeline")


@functools.cache
def code_digest() -> str:
    """sha256 of this project's Python files as they are installed here."""
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
    """PBegin to an empty PCollection; fails the job in its first minute where it could only fail later.

    It has no input to wait for, so it runs at once, and with the resource hints of the synthesis it runs on such a
    worker. A runner that tries a failed bundle again does so within seconds: nothing was computed yet.

    Attributes:
        model: what the workers of the synthesis load.
        code: `code_digest` of the submitting machine.
        hints: resource hints of the synthesis.
    """

    model: ModelSettings
    code: str
    hints: dict[str, Any]

    def expand(self, begin: beam.pvalue.PBegin) -> beam.PCollection[str]:
        """Draws the check."""
        check = beam.ParDo(_Check(self.model, self.code))
        return begin | beam.Impulse() | "Check" >> check.with_resource_hints(**self.hints)


class _Check(beam.DoFn):
    def __init__(self, model: ModelSettings, code: str) -> None:
        self._model, self._code = model, code

    def setup(self) -> None:
        if code_digest() != self._code:
            raise ConfigError(
                "sdk_container_image: the image holds other code than the machine that submitted the job; build it "
                "again from the same checkout (gcloud builds submit), or submit from the checkout it was built from."
            )
        try:
            self._model.acquire().check()
        except GansynthError as error:
            raise ConfigError(f"{error} This worker: {machine()}.") from None

    def process(self, element: bytes) -> Iterator[str]:
        yield from ()


def machine() -> str:
    """What of a GPU can be seen on this machine, to find out why TensorFlow sees none."""
    devices = glob.glob("/dev/nvidia[0-9]*")
    libraries = [path for folder in _library_folders() for path in glob.glob(f"{folder}/libcuda.so*")]
    facts = [
        f"GPU devices: {', '.join(sorted(devices)) or 'none; was an accelerator asked for?'}",
        f"driver: {libraries[0] if libraries else 'no libcuda.so; does the accelerator say install-nvidia-driver?'}",
        f"CUDA libraries: {'in the image' if find_spec('nvidia') else 'none; was the image built with extra gpu?'}",
    ]
    return "; ".join(facts)


def _library_folders() -> list[str]:
    given = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if folder]
    return [*given, "/usr/local/nvidia/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib64"]
