"""The distribution as users get it: built from what belongs to it, and installed where no checkout is."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("gansynth", "transforms", "pipeline")


def run(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done


def copy_project(folder: Path) -> None:
    """Copies what the distribution is built from: what the Dockerfile copies."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, folder)


def build_wheel(project: Path, folder: Path) -> Path:
    """Builds the wheel with the build backend that is installed."""
    command = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet")
    run(*command, "--wheel-dir", str(folder), str(project))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Makes an environment of the dependencies and the wheel; returns its Python."""
    run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    python = folder / "bin" / "python"
    command = (sys.executable, "-m", "uv", "pip", "install", "--offline", "--no-deps", "--quiet")
    run(*command, "--python", str(python), str(wheel))
    (site,) = folder.glob("lib/python*/site-packages")
    # A plain path: the .pth files in it, the editable install's among them, are not read.
    (site / "dependencies.pth").write_text(str(Path(pytest.__file__).parents[1]))
    return python
