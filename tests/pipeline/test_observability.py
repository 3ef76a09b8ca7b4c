"""The page docs/observability.md explains every counter."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.config import load_config
from pipeline.run import run

ROOT = Path(__file__).parents[2]
MIDI = ROOT / "tests" / "data" / "midi"
CODES = (ROOT / "docs" / "errors.md").read_text()


def test_every_counter_is_explained(tmp_path: Path) -> None:
    settings = [f"checkpoint={ROOT / 'tests/data/checkpoints/tiny'}", "compute.workers=1", "spectrogram.png=false"]
    inputs = [str(MIDI / name) for name in ("melody.mid", "not_midi.mid")]
    counters = run(load_config(None, settings, inputs, str(tmp_path)), quiet=True).counters
    page = (ROOT / "docs" / "observability.md").read_text()
    explained = set(re.findall(r"`(\w+)`", page.split("## What good looks like")[0]))
    assert {name for name in counters if not name.startswith("failure_")} <= explained
    assert all(f"`{name.removeprefix('failure_')}`" in CODES for name in counters if name.startswith("failure_"))
    assert counters["songs_written"] == counters["songs_failed"] == 1
    written = [path for path in tmp_path.rglob("*") if path.parent.name in ("audio", "piano_rolls", "rolls")]
    assert counters["bytes_written"] == sum(path.stat().st_size for path in written)
    assert counters["bytes_read"] == sum(Path(path).stat().st_size for path in inputs)
