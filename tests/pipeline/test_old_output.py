"""An output folder from before stems.most was renamed (commit 4497c21), stored unchanged except for its paths."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from gansynth.config import SOUND_VERSION
from pipeline.__main__ import main
from pipeline.config import load_config

ROOT = Path(__file__).parents[2]
SETTINGS = (
    "checkpoint=tests/data/checkpoints/tiny8",
    "stems.by=track",
    "spectrogram.png=false",
    "piano_roll.png=false",
    "compute.workers=1",
)


def outputs(folder: Path) -> dict[str, bytes]:
    kept = (folder / "audio", folder / "stems", folder / ".done")
    return {str(path.relative_to(folder)): path.read_bytes() for top in kept for path in top.rglob("*.*")}


@pytest.fixture
def old(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a copy of the old output folder."""
    monkeypatch.chdir(ROOT)
    shutil.copytree(data / "old_output", tmp_path, dirs_exist_ok=True)
    return tmp_path / "out"


def render(out: Path, *more: str) -> int:
    options = [word for setting in SETTINGS for word in ("--set", setting)]
    return main(["render", str(out.parent / "midi"), "--output", str(out), *options, *more])


@pytest.mark.parametrize("name", ["stems.most", "stems.max_files"])
def test_an_output_of_sound_version_1_is_refused(name: str, old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = outputs(old)
    assert len(before) == 3
    assert render(old, "--set", f"{name}=3") == 2
    assert (
        f"rendered with other settings (sound version 1 -> {SOUND_VERSION}); choose another" in capsys.readouterr().err
    )
    assert outputs(old) == before


@pytest.mark.parametrize("name", ["stems.most", "stems.max_files"])
def test_with_overwrite_it_is_rendered_again_and_then_finished(name: str, old: Path) -> None:
    before = outputs(old)
    assert render(old, "--set", f"{name}=3", "--overwrite") == 0
    again = outputs(old)
    assert again.keys() == before.keys()
    assert all(again[path] != before[path] for path in again)
    written = {path: path.stat().st_mtime_ns for path in (old / "audio").iterdir()}
    # The folder's own config still has the old name, as one that was edited by hand might.
    config = old / "config.yaml"
    config.write_text(config.read_text().replace("max_files: 3", "most: 3"))
    assert "most: 3" in config.read_text()
    assert render(old, "--set", f"{name}=3") == 0
    assert outputs(old) == again
    assert {path: path.stat().st_mtime_ns for path in (old / "audio").iterdir()} == written


def test_the_old_name_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = load_config(None, ["stems.most=3"])
    assert config.stems.max_files == 3
    assert caplog.messages == ["config: stems.most is now called stems.max_files; the old name still works."]
    caplog.clear()
    assert load_config(None, ["stems.max_files=3"]).digest == config.digest
    assert not caplog.messages
