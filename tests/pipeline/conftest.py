from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.__main__ import main
from tests.support.pages import BROKEN, NAMES, write_song


@pytest.fixture(scope="session")
def tiny(data: Path) -> str:
    """Returns a small checkpoint that plays noise fast."""
    return str(data / "checkpoints" / "tiny")


@pytest.fixture(scope="session")
def audition(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the output folder of an audition of three random instruments."""
    out = tmp_path_factory.mktemp("audition")
    assert main(["preview", "--checkpoint", tiny, "--count", "3", "--seed", "7", "--output", str(out), "--quiet"]) == 0
    return out


@pytest.fixture(scope="session")
def site(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns the output folder of a job over NAMES and BROKEN, with every kind of output."""
    folder = tmp_path_factory.mktemp("site")
    for number, name in enumerate(NAMES):
        write_song(folder / "in" / name, range(60, 64 + number))
    for name, content in BROKEN.items():
        (folder / "in" / name).parent.mkdir(exist_ok=True)
        (folder / "in" / name).write_bytes(content)
    settings = (f"checkpoint={tiny}", "played_notes=[midi, json]", "spectrogram.array=true")
    options = [word for setting in settings for word in ("--set", setting)]
    assert main(["render", str(folder / "in"), "--output", str(folder / "out"), "--quiet", *options]) == 3
    return folder / "out"
