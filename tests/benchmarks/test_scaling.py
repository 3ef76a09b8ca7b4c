"""docs/scaling.md agrees with the cost model, and the cost model with the measured figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import scaling

ROOT = Path(__file__).parents[2]


def test_the_table_is_what_the_model_computes(capsys: pytest.CaptureFixture[str]) -> None:
    scaling.main([])
    assert capsys.readouterr().out in (ROOT / "docs" / "scaling.md").read_text()


def test_the_table_of_banks_is_what_the_model_computes(capsys: pytest.CaptureFixture[str]) -> None:
    scaling.main(["--banks"])
    assert capsys.readouterr().out in (ROOT / "docs" / "scaling.md").read_text()
    alone, processes = scaling.break_even(100, scaling.Banks(load_seconds=2, sound_seconds=0.01, build_seconds=9))
    assert (alone, processes) == (3.0, 4)
    assert (processes - 1) * alone <= 9 < processes * alone


def test_constants_are_those_of_the_profile() -> None:
    """The constants are the stages' times in benchmarks/README.md, divided by the amounts of work."""
    text = (ROOT / "benchmarks" / "README.md").read_text()
    profile = re.search(r"^`profile_corpus`, one process, 1,200 chorales, (\d+) s", text, re.MULTILINE)
    assert profile is not None
    rows = dict(re.findall(r"^\| (\w+)[^|]* \| ([\d.]+) % \|$", text[profile.start() :], re.MULTILINE))
    seconds = {name: float(share) / 100 * float(profile[1]) for name, share in rows.items()}
    measured, notes, minutes, megabytes = scaling.Constants(), 255_437, 480, 2.5
    assert measured.parse_seconds_per_mb == pytest.approx(seconds["parse"] / megabytes, rel=0.05)
    assert measured.place_seconds_per_note == pytest.approx(seconds["play"] / notes, rel=0.05)
    assert measured.mix_seconds_per_minute == pytest.approx(seconds["finish"] / minutes, rel=0.05)
    write = sum(seconds[name] for name in ("PNG", "CQT", "write", "WAV"))
    assert measured.write_seconds_per_minute == pytest.approx(write / minutes, rel=0.05)
    found = re.search(r"notes of the lengths in the corpus.*: ([\d.]+) s \|", text)
    assert found is not None
    assert measured.cpu_seconds_per_note == float(found[1])


def test_the_model_by_hand() -> None:
    e = scaling.estimate(170_000, 8, 16, 0.9, scaling.Corpus(), scaling.Constants(gpu_notes_per_second=1000))
    assert e.parse == pytest.approx(170_000 * 0.04 * 2.2 / 16 / 3600)
    assert e.synthesis == pytest.approx((68e6 / 1000 + 680e6 * 23e-6) / 8 / 3600)
    assert e.finish == pytest.approx(680_000 * 0.0592 / 16 / 3600)
    assert e.shuffled_gb == pytest.approx(680e6 * 2900 / 1e9)
    assert e.stored_gb == pytest.approx(680_000 * 1.92e-3)
