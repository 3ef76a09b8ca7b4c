"""An output folder from before stems.most was renamed (commit 4497c21), stored unchanged except for its paths."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("name", ["stems.most", "stems.max_files"])
def test_a_finished_output_is_still_finished(name: str, tmp_path: Path, data: Path, capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(ROOT)
    shutil.copytree(data / "old_output", tmp_path, dirs_exist_ok=True)
    before = outputs(tmp_path / "out")
    assert len(before) == 3
    options = [word for setting in (*SETTINGS, f"{name}=3") for word in ("--set", setting)]
    assert main(["render", str(tmp_path / "midi"), "--output", str(tmp_path / "out"), *options]) == 0
    assert outputs(tmp_path / "out") == before
    (row,) = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    assert row["audio_digest"] in (data / "old_output" / "out" / "manifest.jsonl").read_text()


def test_the_old_name_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        config = load_config(None, ["stems.most=3"])
    assert config.stems.max_files == 3
    assert caplog.messages == ["config: stems.most is now called stems.max_files; the old name still works."]
    caplog.clear()
    assert load_config(None, ["stems.max_files=3"]).digest == config.digest
    assert not caplog.messages
