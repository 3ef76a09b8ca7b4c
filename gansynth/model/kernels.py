"""Signature of the kernels that render notes on this machine: equal signatures give equal bits.

Computed without importing TensorFlow, which takes seconds. Too fine a signature only costs rendering a sound again, so
everything that may change a bit is part of it.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

_CODE = ("_tensorflow", "checkpoint", "layout", "mel", "network", "shape", "synthesizer")
"""Modules of this package that decide a note's bits."""
_PACKAGES = re.compile(r"(tensorflow(-cpu|-intel|-rocm)?|intel-tensorflow|tf-nightly(-cpu)?|numpy|nvidia-.+?)-[0-9]")
_VARIABLES = re.compile(r"(TF_(?!CLI|CPP)|ONEDNN_|DNNL_|XLA_|CUDA_VISIBLE|NVIDIA_|CUBLAS_|CUDNN_)")
_CPU_FACTS = ("vendor_id", "cpu family", "model", "model name", "stepping", "cache size", "flags", "Features")
_DRIVER = Path("/proc/driver/nvidia")


def collection_of(checkpoint_digest: str, kernels: Mapping[str, Any]) -> str:
    """Returns the name of all sounds that have equal bits for equal latents and pitches, 32 hexadecimal digits.

    Args:
        checkpoint_digest: "sha256:..." of weights and flags.
        kernels: signature of the kernels that render, see `signature`.
    """
    content = [checkpoint_digest, kernels]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def signature(precision: str, xla: bool, on_gpu: bool) -> dict[str, Any]:
    """Lists everything except the checkpoint that a rendered note's bits may depend on.

    Args:
        precision, xla: see network.Network.
        on_gpu: whether a GPU renders.
    """
    return {
        "precision": precision,
        "xla": xla,
        "code": code_digest(*_CODE),
        "packages": _packages(),  # oneDNN is a part of TensorFlow's own
        "processor": _processor(),
        "gpu": list(_gpus()) if on_gpu else [],
        "environment": {name: text for name, text in sorted(os.environ.items()) if _VARIABLES.match(name)},
    }


def differences(other: Mapping[str, Any]) -> list[str]:
    """Names what differs between a signature and that of this machine, with the same settings: "processor", ..."""
    here = signature(other.get("precision", ""), bool(other.get("xla")), expects_gpu("auto"))
    return [name for name in here if here[name] != other.get(name)]


def expects_gpu(device: str) -> bool:
    """Tells whether TensorFlow should find a GPU on this machine.

    Args:
        device: "auto", "cpu" or "gpu".
    """
    return device != "cpu" and bool(_gpus()) and any(name.startswith("nvidia-cudnn") for name in _packages())


@functools.cache
def code_digest(*modules: str) -> str:
    """Computes the sha256 of modules of this package."""
    digest = hashlib.sha256()
    for name in modules:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()


@functools.cache
def _packages() -> dict[str, str]:
    """Returns the versions of the packages whose code computes notes."""
    # Chosen by the names of their folders: reading the metadata of all packages takes half a second.
    chosen = [
        entry
        for entry in metadata.MetadataPathFinder.find_distributions()
        if _PACKAGES.match(Path(str(getattr(entry, "_path", ""))).name.lower().replace("_", "-"))
    ]
    return dict(sorted((entry.metadata["Name"].lower(), entry.version) for entry in chosen))


@functools.cache
def _processor() -> dict[str, str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {"name": platform.processor(), "machine": platform.machine()}
    facts = {name.strip(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    return {"machine": platform.machine(), **{name: facts[name] for name in _CPU_FACTS if name in facts}}


@functools.cache
def _gpus() -> tuple[str, ...]:
    """Returns the driver's version and each GPU's model; empty without a GPU."""
    try:
        models = [path.read_text() for path in sorted(_DRIVER.glob("gpus/*/information"))]
        driver = (_DRIVER / "version").read_text().splitlines()[0]
    except (OSError, IndexError):
        return ()
    return (driver, *(re.sub(r"(?s).*Model:\s*([^\n]+).*", r"\1", text) for text in models)) if models else ()
