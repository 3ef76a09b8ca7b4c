"""Runs that resume an earlier one, or reject its output folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from gansynth.config import SOUND_VERSION
from gansynth.errors import ConfigError
from pipeline.config import JobConfig, load_config
from pipeline.local import slices
from pipeline.resume import check, mark
from pipeline.run import run
from tests.support.pages import write_song
from transforms.elements import Source

ROOT = Path(__file__).parents[2]
MIDI = ROOT / "tests" / "data" / "midi"
QUICK = ("spectrogram.png=false", "notes.time_stretch=0.5")


def hashes(folder: Path) -> dict[str, str]:
    """Returns the digests of an output folder's files, except config.yaml and index.html, which name the folder."""
    shown = ("config.yaml", "index.html")
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in shown
    }


@pytest.fixture
def songs(tmp_path: Path) -> Path:
    folder = tmp_path / "midi"
    folder.mkdir()
    for n, name in enumerate(("order", "sustain", "fourteen_seconds")):
        shutil.copy(MIDI / f"{name}.mid", folder / f"{n}.mid")
    (folder / "page.mid").write_text("<html>not found</html>")
    return folder


def job(songs: Path, output: Path, *settings: str) -> JobConfig:
    return load_config(None, [*QUICK, *settings], [str(songs)], str(output))


def test_an_output_of_an_earlier_release_goes_on_with_its_own_settings(songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    earlier = job(songs, out, "spectrogram.range=reference", "piano_roll.data=false")
    run(earlier, quiet=True)
    config = out / "config.yaml"
    saved = config.read_text()
    config.write_text(saved.replace("  range: reference\n", "").replace("  data: false\n", ""))
    assert len(config.read_text()) < len(saved) - 30
    for path in out.rglob("*.json*"):  # rows of that release have no peaks
        if path.name == "manifest.jsonl" or path.parent.name == ".done":
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            path.write_text("".join(json.dumps({k: v for k, v in row.items() if k != "peaks"}) + "\n" for row in rows))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.wav")}
    assert run(load_config(str(config), QUICK), quiet=True).counters["songs_resumed"] == 3
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.wav")} == before
    with pytest.raises(ConfigError, match=r"piano_roll.data False -> True, spectrogram.range reference -> full"):
        run(job(songs, out), quiet=True)


def test_a_second_run_renders_only_what_is_missing(
    songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    first = run(job(songs, out), quiet=True)
    assert (first.rendered, first.failed, first.counters.get("songs_resumed", 0)) == (3, 1, 0)
    before = hashes(out)
    audio = sorted((out / "audio").iterdir())
    times = [path.stat().st_mtime_ns for path in audio]
    audio[1].unlink()
    (out / "audio" / ".writing-killed").write_bytes(b"half a song")

    cut, left = slices.cut, list[str]()

    def noted(sources: Collection[Source], config: JobConfig) -> Iterator[slices.Slice]:
        left.extend(source.song_id for source in sources)
        return cut(sources, config)

    monkeypatch.setattr(slices, "cut", noted)
    again = run(job(songs, out), quiet=True)
    assert left == ["1.mid"]
    assert (again.rendered, again.failed, again.counters["songs_resumed"]) == (3, 1, 2)
    assert hashes(out) == before
    assert [path.stat().st_mtime_ns == then for path, then in zip(audio, times, strict=True)] == [True, False, True]


def test_a_drum_kit_that_changed_renders_songs_again(tiny: str, tmp_path: Path) -> None:
    write_song(tmp_path / "midi" / "a.mid", range(60, 62))
    kit = tmp_path / "kit"
    kit.mkdir()

    def rendered(level: float) -> tuple[int, str, str]:
        for key in (60, 61):
            soundfile.write(kit / f"{key}.wav", np.full(800, level), 16000)
        settings = (f"checkpoint={tiny}", f"drums.kit={kit}", "compute.workers=1")
        summary = run(job(tmp_path / "midi", tmp_path / "out", *settings), quiet=True)
        (row,) = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
        assert row["notes"]["drums_played"] == 2
        return summary.counters.get("songs_resumed", 0), row["kit_digest"], row["audio_digest"]

    first = rendered(0.1)
    assert first[0] == 0
    assert first[1].startswith("sha256:")
    assert rendered(0.1) == (1, *first[1:])
    again = rendered(0.5)
    assert again[0] == 0
    assert {*again[1:]}.isdisjoint(first[1:])


def test_a_file_that_changed_is_rendered_again(songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(job(songs, out), quiet=True)
    before = hashes(out)
    shutil.copy(MIDI / "sustain.mid", songs / "0.mid")
    again = run(job(songs, out), quiet=True)
    assert again.counters["songs_resumed"] == 2
    after = hashes(out)
    assert {name for name in before if before[name] != after[name]} >= {"audio/0.wav", "manifest.jsonl"}
    assert after["audio/0.wav"] == after["audio/1.wav"]
    assert after["audio/2.wav"] == before["audio/2.wav"]


def test_other_settings_are_refused_unless_told(songs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(job(songs, out), quiet=True)
    before = hashes(out)
    louder = job(songs, out, "mix.peak=0.5")
    with pytest.raises(ConfigError, match=r"mix.peak 0.9 -> 0.5.*--overwrite"):
        run(louder, quiet=True)
    assert hashes(out) == before
    assert "peak: 0.9" in (out / "config.yaml").read_text()
    again = run(louder, quiet=True, overwrite=True)
    assert "songs_resumed" not in again.counters
    assert hashes(out)["audio/0.wav"] != before["audio/0.wav"]
    assert run(louder, quiet=True).counters["songs_resumed"] == 3


def test_what_songs_do_not_depend_on_may_change(songs: Path, tmp_path: Path) -> None:
    assert check(job(songs, tmp_path / "out"), overwrite=False) is False
    mark(job(songs, tmp_path / "out"))
    assert check(job(songs, tmp_path / "out", "compute.batch_rows=64"), overwrite=False) is True
    assert check(job(songs, tmp_path / "out", "resume=false"), overwrite=False) is False
    assert check(job(songs, tmp_path / "out"), overwrite=True) is False
    with pytest.raises(ConfigError, match="checkpoint mini -> elsewhere"):
        check(job(songs, tmp_path / "out", "checkpoint=elsewhere"), overwrite=False)


def test_a_folder_of_something_else_is_refused(songs: Path, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(f"sound_version: {SOUND_VERSION}\ntheme: dark")
    with pytest.raises(ConfigError, match="those of another version"):
        check(job(songs, tmp_path), overwrite=False)
    (tmp_path / "config.yaml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        check(job(songs, tmp_path), overwrite=False)


def test_a_changed_bank_is_another_job(songs: Path, tmp_path: Path) -> None:
    bank = tmp_path / "bank.json"
    settings = (f"instruments.bank={bank}", "instruments.mode=fixed", "instruments.instruments=[one]")
    bank.write_text(json.dumps({"one": [1.0] * 32}))
    run(job(songs, tmp_path / "out", *settings), quiet=True)
    bank.write_text(json.dumps({"one": [-1.0] * 32}))
    assert "songs_resumed" not in run(job(songs, tmp_path / "out", *settings), quiet=True).counters


@pytest.mark.parametrize(("limit", "stops"), [("0", True), ("30%", False), ("10%", True), ("null", False)])
def test_the_job_stops_after_too_many_failures(limit: str, stops: bool, songs: Path, tmp_path: Path) -> None:
    shutil.move(songs / "page.mid", songs / "-.mid")  # the first to be read
    summary = run(
        job(songs, tmp_path / "out", f"max_failures={limit}", "compute.slice_songs=1", "compute.workers=1"), quiet=True
    )
    assert summary.rendered + summary.failed == 4
    assert summary.reasons == ({"midi-not-midi": 1, "job-stopped": 3} if stops else {"midi-not-midi": 1})
    if stops:
        (songs / "-.mid").unlink()
        assert run(job(songs, tmp_path / "out"), quiet=True).rendered == 3


@pytest.mark.parametrize("limit", ["-1", "two", "101%", "2%%", "1.5"])
def test_limits_that_are_none(limit: str) -> None:
    with pytest.raises(ConfigError, match="max_failures"):
        load_config(None, [f"max_failures={limit}"])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_at_fifty_moments(tmp_path: Path) -> None:
    """Runs over 60 songs, killed at 50 random moments, end with the same files as one undisturbed run.

    A signal kills all processes, or only the first, and the others then have to end by themselves, or only a worker or
    the model, and the job goes on without it. The smallest
    checkpoint is used, so that more kills happen during reading and writing than in the network.
    """
    corpus = ROOT.parent / "shared" / "corpus"
    if not corpus.is_dir():
        pytest.skip("needs ../shared/corpus: 60 of its chorales")
    songs = tmp_path / "midi"
    songs.mkdir()
    for path in sorted(corpus.rglob("*.mid"))[:58]:
        shutil.copy(path, songs / path.name)
    (songs / "x.mid").write_text("<html>not found</html>")
    (songs / "y.mid").write_bytes(b"")

    def command(output: Path) -> list[str]:
        tiny = ROOT / "tests" / "data" / "checkpoints" / "tiny"
        small = (f"checkpoint={tiny}", "compute.slice_songs=6", "compute.workers=2")
        settings = [argument for setting in small for argument in ("--set", setting)]
        return [sys.executable, "-m", "pipeline", "render", str(songs), "--output", str(output), "--quiet", *settings]

    began = time.monotonic()
    subprocess.run(command(tmp_path / "quiet"), cwd=ROOT, check=False)
    whole = time.monotonic() - began
    wanted, moments = hashes(tmp_path / "quiet"), random.Random(1)
    assert sum(name.startswith("audio/") for name in wanted) == 58

    def done(output: Path) -> int:
        return sum(1 for _ in (output / ".done").rglob("*.json"))

    killed, round_number, resumed = 0, 0, []
    while killed < 50:
        output = tmp_path / f"round-{round_number}"
        round_number += 1
        process = None
        # A song whose process is killed twice in one run is a dead letter, until the same command is run again.
        while process is None or process.returncode != 3 or b"worker-died" in (output / "errors.jsonl").read_bytes():
            process = subprocess.Popen(command(output), cwd=ROOT, start_new_session=True)
            # Kills at any time or, since most of the time is start-up, after some more songs.
            limit = time.monotonic() + moments.uniform(0.1, 1.0) * whole
            enough = done(output) + moments.randint(1, 12) if moments.random() < 0.7 else 99
            while process.poll() is None:
                if killed < 50 and (done(output) >= enough or (enough == 99 and time.monotonic() > limit)):
                    killed += 1
                    resumed.append(done(output))
                    others = psutil.Process(process.pid).children(recursive=True)
                    if others and moments.random() < 0.3:
                        with contextlib.suppress(psutil.NoSuchProcess):
                            moments.choice(others).kill()  # the model, a worker, or what starts workers
                        enough, limit = 99, time.monotonic() + moments.uniform(0.1, 1.0) * whole
                        continue
                    moments.choice((os.killpg, os.kill))(process.pid, signal.SIGKILL)  # all processes, or the first
                    process.wait()
                time.sleep(0.01)
        assert hashes(output) == wanted
    print(f"songs done at each kill: {resumed}, in {round_number} rounds")
    assert sum(0 < songs_done < 58 for songs_done in resumed) >= 25
