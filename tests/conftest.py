"""Set-up shared by all tests: quiet TensorFlow, repeatable hypothesis, and the oracle's data."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import packages

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before anything imports TensorFlow
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    return DATA


@pytest.fixture(scope="session")
def oracle_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the folder of one of the oracle's checkpoints, see data/make_data.py."""
    unpacked: dict[str, Path] = {}

    def find(name: str) -> Path:
        folder = DATA / "checkpoints" / name
        if folder.is_dir():
            return folder
        if name not in unpacked:
            unpacked[name] = tmp_path_factory.mktemp("checkpoints") / name
            with zipfile.ZipFile(DATA / "checkpoints" / f"{name}.zip") as archive:
                archive.extractall(unpacked[name])
        return unpacked[name]

    return find


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the distribution is built from."""
    folder = tmp_path_factory.mktemp("project")
    packages.copy_project(folder)
    return folder


@pytest.fixture(scope="session")
def wheel(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution, built."""
    return packages.build_wheel(project, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the dependencies and the wheel, and no checkout."""
    return packages.install(wheel, tmp_path_factory.mktemp("installed"))
