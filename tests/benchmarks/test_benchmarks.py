"""The benchmarks start, count correctly and measure what they claim; results are in benchmarks/README.md."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import beam, common
from benchmarks.synthesis import convolution_flop
from training.reference import ACOUSTIC_ONLY

NAMES = [
    *("synthesis", "notebook", "corpus", "beam", "memory", "startup"),
    *(
        "fluidsynth",
        "profile_corpus",
        "scaling",
        "loudness",
        "gpu_export",
        "gpu_run",
        "once",
        "listening_page",
        "engines",
    ),
]
EXAMPLES = Path(__file__).parents[2] / "pipeline" / "examples"


@pytest.mark.parametrize("name", NAMES)
def test_help_names_the_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    assert f"python -m benchmarks.{name}" in capsys.readouterr().out


def test_a_whole_notes_flop_are_those_of_the_published_model() -> None:
    assert convolution_flop(ACOUSTIC_ONLY, 128, taps_after_upscaling=9) == pytest.approx(28.1e9, rel=2e-3)


@pytest.mark.parametrize("rows", [1, 2, 16, 23, 24, 64, 127, 128])
def test_flop_are_those_of_the_rows_that_convolutions_read(rows: int) -> None:
    def read(wanted: set[int], height: int) -> set[int]:
        return {row + tap for row in wanted for tap in (-1, 0, 1)} & set(range(height))

    filters, flop, wanted = [256, 256, 256, 256, 128, 64, 32], 0, set(range(rows))
    for block in range(6, -1, -1):
        height, width = 2 << block, 16 << block
        between = read(wanted, height)
        flop += 2 * 9 * filters[block] ** 2 * len(wanted) * width
        if block:
            flop += 2 * 4 * filters[block - 1] * filters[block] * len(between) * width
            wanted = {row // 2 for row in read(between, height)}
    assert convolution_flop(ACOUSTIC_ONLY, rows) == flop


def test_a_worker_passes_back_results_and_costs() -> None:
    with common.Worker() as worker:
        total, cost = worker.call(sum, range(3_000_000))
    assert total == 4_499_998_500_000
    assert 0 < cost.cpu <= os.cpu_count() * cost.wall + 0.1  # the clocks are coarse
    assert 1 << 22 < cost.peak_pss <= cost.peak_rss < 1 << 32


def test_the_cost_of_processes_that_nobody_waits_for_is_counted() -> None:
    work = "import time\nwhile time.process_time() < 0.5: pass"
    script = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {work!r}])"
    _, cost = common.run_command([sys.executable, "-c", script])
    assert cost.cpu >= 0.5


def test_a_command_that_fails_ends_the_benchmark_and_shows_why() -> None:
    printed, cost = common.run_command([sys.executable, "-c", "print(sum(range(3_000_000)))"])
    assert printed == "4499998500000\n"
    assert cost.cpu > 0
    with pytest.raises(SystemExit, match="no such thing"):
        common.run_command([sys.executable, "-c", "raise ValueError('no such thing')"])


def test_the_report_gives_median_and_extremes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = common.Report("test", "none")
    report.ratio("a / b", [2.0, 9.0, 8.0], [1.0, 3.0, 2.0])
    report.close(str(tmp_path / "out.json"))
    assert "3.00 (2.00 .. 4.00) times" in capsys.readouterr().out
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["results"]["a / b"]["values"] == [2.0, 3.0, 4.0]
    assert written["machine"]["cores"] == common.cores()


def test_songs_are_spread_over_the_corpus(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.mid").touch()
    names = [Path(song).stem for song in common.songs_of(tmp_path, 3)]
    assert names == ["0", "3", "6"]
    assert len(common.songs_of(tmp_path)) == 10


@pytest.mark.slow
def test_the_pipeline_and_the_api_write_the_same_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(EXAMPLES / "riff.mid", tmp_path)
    beam.main(["--checkpoint", "mini", "--corpus", str(tmp_path), "--rounds", "1"])
    assert "2 of 2 sounds and pictures" in capsys.readouterr().out


def test_an_exported_network_runs_elsewhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks import gpu_export, gpu_run

    tiny = Path(__file__).parents[1] / "data" / "checkpoints" / "tiny"
    gpu_export.main(["8x16", "--checkpoint", str(tiny), "--output", str(tmp_path)])
    assert "8 notes, 16 rows" in capsys.readouterr().out
    with np.load(tmp_path / "8_16.npz") as saved:
        assert len(saved["z"]) == len(saved["labels"]) == len(saved["wanted"]) == 8
    assert (tmp_path / "8_16.hlo").stat().st_size > 10_000
    with np.load(tmp_path / "weights.npz") as weights:
        assert len(weights.files) > 10
    with pytest.raises(SystemExit, match=r"has no \.hlo file"):
        gpu_run.main([str(tmp_path / "none")])
    pytest.importorskip("jax")
    gpu_run.main([str(tmp_path), "--repeats", "1"])
    assert "twice the same bytes: True" in capsys.readouterr().out
