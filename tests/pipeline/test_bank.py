"""`bank build`, and jobs that name what it has built: the same songs on machines that could not render them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gansynth.errors import ConfigError
from pipeline.__main__ import main
from pipeline.config import load_config
from tests.support.engines import ROOT, TINY, copy_songs, hashes

SONGS = {"a/order.mid": "order", "melody.mid": "melody", "page.mid": "not_midi", "tempo.mid": "tempo"}
QUICK = ("spectrogram.png=false", "piano_roll.png=false")


def options(*settings: str) -> list[str]:
    return [word for setting in (f"checkpoint={TINY}", *QUICK, *settings) for word in ("--set", setting)]


def rows(out: Path, name: str = "manifest.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / name).read_text().splitlines()]


def audio(out: Path) -> dict[str, str]:
    return {name: digest for name, digest in hashes(out).items() if name.startswith("audio/")}


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_songs(SONGS, tmp_path_factory.mktemp("songs"))


@pytest.fixture(scope="module")
def rendered(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Renders the songs without a bank."""
    out = tmp_path_factory.mktemp("rendered")
    assert main(["render", str(songs), "--output", str(out), "--quiet", *options("compute.sound_bank=off")]) == 3
    return out


@pytest.fixture(scope="module")
def plan(songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Plans the songs."""
    folder = tmp_path_factory.mktemp("plan")
    command = ["plan", str(songs), "--output", str(folder / "out"), "--quiet", "--no-calibration"]
    assert main([*command, "--save", str(folder), *options()]) == 3
    return folder


def built(place: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["bank", "build", "--bank", str(place), *arguments, *options()]) == 0
    setting = capsys.readouterr().out.strip()
    assert setting.startswith(f"{place}@sha256:")
    return setting


def elsewhere(tmp_path: Path, *arguments: str) -> int:
    """Runs the command line as on a machine with other kernels, an empty cache and no TensorFlow."""
    (tmp_path / "bare" / "tensorflow").mkdir(parents=True, exist_ok=True)
    (tmp_path / "bare" / "tensorflow" / "__init__.py").write_text("raise ImportError('this machine has no TensorFlow')")
    environment = os.environ | {
        "PYTHONPATH": f"{tmp_path}/bare:{ROOT}",
        "XDG_CACHE_HOME": str(tmp_path / "other"),
        "ONEDNN_MAX_CPU_ISA": "AVX2",
    }
    command = [sys.executable, "-m", "pipeline", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    print(done.stderr[-3000:])
    return done.returncode


@pytest.mark.parametrize("workers", [1, 2])
def test_a_machine_that_cannot_render_has_the_same_songs(
    workers: int, songs: Path, rendered: Path, plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = built(tmp_path / "banks", capsys, "--from-plan", str(plan / "plan.jsonl"))
    out = tmp_path / "out"
    settings = options(f"compute.sound_bank={setting}", f"compute.workers={workers}", "compute.slice_songs=2")
    command = ["render", str(songs), "--output", str(out), "--quiet", *settings]
    assert elsewhere(tmp_path, *command) == 3
    assert audio(out) == audio(rendered)
    assert len(audio(out)) == 3
    for song, plain in zip(rows(out), rows(rendered), strict=True):
        assert song["sound_bank_digest"] == setting.partition("@")[2]
        assert plain["sound_bank_digest"] == ""
        assert song["config_digest"] != plain["config_digest"]
    before = hashes(out)
    assert elsewhere(tmp_path, *command) == 3  # all done before
    assert hashes(out) == before


def test_what_a_bank_lacks_is_rendered_by_its_kind_of_machine_and_else_a_dead_letter(
    songs: Path, rendered: Path, plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = (plan / "plan.jsonl").read_text().splitlines()
    (tmp_path / "part.jsonl").write_text("\n".join(line for line in lines if "melody.mid" not in line))
    setting = built(tmp_path / "banks", capsys, "--from-plan", str(tmp_path / "part.jsonl"))
    settings = options(f"compute.sound_bank={setting}", "compute.workers=1")
    same, other = tmp_path / "same", tmp_path / "other out"
    assert main(["render", str(songs), "--output", str(same), "--quiet", *settings]) == 3
    assert audio(same) == audio(rendered)
    assert elsewhere(tmp_path, "render", str(songs), "--output", str(other), "--quiet", *settings) == 3
    assert len(rows(other)) + len(rows(other, "errors.jsonl")) == len(SONGS)
    missing = [row for row in rows(other, "errors.jsonl") if row["code"] != "midi-not-midi"]
    assert [(row["song_id"], row["stage"], row["code"], row["trace"]) for row in missing] == [
        ("melody.mid", "synthesize", "sound-missing", "")
    ]
    assert "lacks" in missing[0]["message"]
    assert "would render them with other bits (environment)" in missing[0]["message"]
    assert audio(other).items() <= audio(rendered).items()
    assert len(audio(other)) == 2


def test_a_plan_lists_each_sound_once(plan: Path) -> None:
    told = [
        (latent, pitch, rows)
        for row in rows(plan, "plan.jsonl")
        for latent, pitches in row.get("sounds", {}).items()
        for pitch, all_rows in pitches.items()
        for rows in all_rows
    ]
    assert len(told) == len(set(told)) > 5
    assert len({sound[:2] for sound in told}) == sum(
        json.loads((plan / "plan.json").read_text())["sounds_by_rows"].values()
    )


def test_equal_builds_are_equal_and_instruments_are_built_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = (built(tmp_path / name, capsys, "--instruments", "0,2") for name in "ab")
    assert first.partition("@")[2] == second.partition("@")[2]
    found = json.loads(next((tmp_path / "a").glob("*/bank.json")).read_bytes())
    assert sum(segment["sounds"] for segment in found["segments"]) == 2 * 61
    assert sum(segment["size"] for segment in found["segments"]) == 2 * 61 * 64000 * 4
    assert not list((tmp_path / "a").glob(".*"))


def test_a_folder_of_songs_has_one_bank(
    songs: Path, rendered: Path, plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = built(tmp_path / "banks", capsys, "--from-plan", str(plan))
    shutil.copytree(rendered, tmp_path / "out")
    command = ["render", str(songs), "--output", str(tmp_path / "out"), "--quiet"]
    assert main([*command, *options(f"compute.sound_bank={setting}")]) == 2
    assert f"compute.sound_bank off -> {setting}" in capsys.readouterr().err
    # The place of a bank is no matter of the songs, and rows of releases without the column are still finished songs.
    shutil.copytree(tmp_path / "banks", tmp_path / "moved")
    moved = setting.replace(str(tmp_path / "banks"), str(tmp_path / "moved"))
    config = [load_config(None, [f"compute.sound_bank={each}"]) for each in (setting, moved, "off", "auto")]
    assert config[0].digest == config[1].digest != config[2].digest == config[3].digest
    for record in (tmp_path / "out" / ".done").rglob("*.json"):
        row = json.loads(record.read_text())
        del row["sound_bank_digest"]
        record.write_text(json.dumps(row))
    assert main([*command, *options("compute.sound_bank=off")]) == 3
    assert hashes(tmp_path / "out")["manifest.jsonl"]
    assert audio(tmp_path / "out") == audio(rendered)


NOWHERE = f"/nowhere@sha256:{0:064}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            [f"compute.sound_bank={NOWHERE}"],
            r"compute.sound_bank /nowhere: has no bank sha256:0+: /nowhere/0+/bank.json",
        ),
        (["compute.sound_bank=/x@sha256:12"], r"compute.sound_bank: a built bank is named by .* 64 hexadecimal digits"),
        (
            [f"compute.sound_bank={NOWHERE}", "instruments.mode=random"],
            "has no sounds for instruments.mode random; set",
        ),
    ],
)
def test_a_bank_that_cannot_be_used_is_told_before_the_job_starts(
    settings: list[str], message: str, songs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    given = options(*settings, "compute.workers=1")
    assert main(["render", str(songs), "--output", str(tmp_path / "out"), *given]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert "Traceback" not in error
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--instruments", "kazoo"], "--instruments: no instrument 'kazoo' in the bank"),
        (["--from-plan", "/nowhere.jsonl"], "--from-plan /nowhere.jsonl: cannot be read"),
        (["--bank", "/proc/nowhere"], "--bank /proc/nowhere: cannot be written"),
        (["--set", f"compute.sound_bank={NOWHERE}"], "bank build makes one; leave it out"),
    ],
)
def test_a_wrong_build_is_explained(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments if "--bank" in arguments else ["--bank", str(tmp_path / "banks"), *arguments]
    assert main(["bank", "build", *options(), *given]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("banks/*"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{}", "lists no sounds"),
        ("[1]", "lists no sounds"),
        ("{", "line 1: Expecting"),
        ('{"sounds": 1}', "line 1: it is not a list of sounds"),
        ('{"sounds": {"AAAA": {"60": [16]}}}', "line 1: a latent has 0.75 numbers; those of the checkpoint have 16"),
    ],
)
def test_a_plan_of_something_else_is_explained(
    line: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.jsonl").write_text(line)
    given = ["--bank", str(tmp_path / "banks"), "--from-plan", str(tmp_path / "plan.jsonl"), *options()]
    assert main(["bank", "build", *given]) == 2
    assert f"--from-plan {tmp_path}/plan.jsonl: {message}" in capsys.readouterr().err


def test_unknown_options_of_bank_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["bank"], ["bank", "make"], ["bank", "build"], ["bank", "build", "--bank", "x", "--input", "y"]):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        assert end.value.code == 2
    assert "unrecognized arguments: --input y" in capsys.readouterr().err


def test_gliding_instruments_have_no_built_bank() -> None:
    setting = f"compute.sound_bank=banks@sha256:{5:064x}"
    with pytest.raises(ConfigError, match=r"no sounds for instruments\.mode interpolate"):
        load_config(None, [setting, "instruments.mode=interpolate"])
    stepped = load_config(None, [setting, "instruments.mode=interpolate", "instruments.latent_steps=4"])
    assert stepped.compute.sound_bank_digest == f"sha256:{5:064x}"
