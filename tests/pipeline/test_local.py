"""Local runs: slices of the corpus in several processes, and processes that die."""

from __future__ import annotations

import functools
import itertools
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import apache_beam as beam
import mido
import pytest

from gansynth.io.paths import UNFINISHED
from gansynth.model.checkpoint import PITCHES
from gansynth.score.instruments import random_bank
from gansynth.score.spec import SynthSpec
from pipeline import graph
from pipeline import run as run_module
from pipeline.config import load_config
from pipeline.job import ResolvedJob
from pipeline.local import look_ahead
from pipeline.local.pool import WorkerPool
from pipeline.local.slices import Slice, SliceResult, bounded, cut
from pipeline.local.worker import render_slice
from tests.support.midi_bytes import midi, note, program, track
from transforms.elements import Source

QUICK = ("compute.slice_songs=2", "compute.workers=2", "spectrogram.png=false", "piano_roll.png=false")
SPEC = SynthSpec(PITCHES, 16000, 64000, random_bank(1, 4, 0))


def killer(job: ResolvedJob, *arguments: object) -> SliceResult:
    """Replaces render_slice: a song named `kill` kills its process with SIGKILL, as the kernel would."""
    *_, songs = arguments
    assert isinstance(songs, Slice)
    if any(source.song_id == "kill" for source in songs.sources):
        os.kill(os.getpid(), signal.SIGKILL)
    return SliceResult(len(songs.sources))


def sources(tmp_path: Path, sizes: dict[str, int]) -> list[Source]:
    found = []
    for name, size in sizes.items():
        (tmp_path / name).write_bytes(bytes(size))
        found.append(Source(name, str(tmp_path / name)))
    return found


def test_slices_hold_every_song_once_and_are_bounded(tmp_path: Path) -> None:
    songs = sources(tmp_path, {f"{i}": 100 * (i % 5) for i in range(50)} | {"large": 5000})
    config = load_config(None, ["compute.slice_songs=8", "compute.slice_bytes=1000"])
    parts = list(cut(songs, config))
    assert [source for part in parts for source in part.sources] == songs
    assert len({part.name for part in parts}) == len(parts)
    for part in parts:
        total = sum(os.path.getsize(source.url) for source in part.sources)
        assert len(part.sources) == 1 or (len(part.sources) <= 8 and total <= 1000)
    shared = list(cut(songs, load_config(None, ["compute.slice_songs=8", "compute.workers=2"])))
    assert max(len(part.sources) for part in shared) == 4
    assert [len(part.sources) for part in shared][-4:] == [1] * 4


def test_songs_that_are_small_files_and_very_long_are_not_in_memory_together(tmp_path: Path) -> None:
    long, sparse = mido.MidiFile(ticks_per_beat=480), mido.MidiFile(ticks_per_beat=480)
    for file, notes, gap in ((long, 600, 2880), (sparse, 2, 1_000_000)):
        track = file.add_track()
        for _ in range(notes):
            track.append(mido.Message("note_on", note=60, velocity=90))
            track.append(mido.Message("note_off", note=60, time=gap))
    names = []
    for number, file in enumerate((long, sparse, long, sparse, sparse, long, None)):
        names.append(str(tmp_path / f"{number}.mid"))
        if file is not None:  # the last one does not exist
            file.save(names[-1])
    part = Slice("part", tuple(Source(name, name) for name in names))
    config = load_config(None, ["envelope.max_sustain=3"])
    pieces = list(bounded(part, config))
    assert [len(piece.sources) for piece in pieces] == [2, 3, 2]
    assert tuple(source for piece in pieces for source in piece.sources) == part.sources
    assert len({piece.name for piece in pieces}) == 3
    short = Slice("part", part.sources[3:5])
    assert list(bounded(short, config)) == [short]
    held = Slice("part", (part.sources[1], *part.sources[3:5]))
    assert len(list(bounded(held, load_config(None)))) == 2  # two notes of up to 10 minutes in each of three songs


def test_a_song_that_kills_its_process_costs_itself_alone() -> None:
    parts = [Slice(f"p{i}", tuple(Source(f"{i}-{j}", "") for j in range(3))) for i in range(6)]
    parts[2] = Slice("p2", (*parts[2].sources[:2], Source("kill", ""), *parts[2].sources[2:]))
    with WorkerPool(load_config(None), (), 2, killer, model=False) as pool:
        done = list(pool.render(parts, ResolvedJob(load_config(None), SPEC)))
    assert sum(part.songs for part in done) == 19
    assert [source.song_id for part in done for source in part.lost] == ["kill"]


def test_a_process_draws_the_pipeline_of_a_job_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    build = graph.build

    def counted(pipeline: beam.Pipeline, job: ResolvedJob, listed: beam.PTransform) -> beam.PCollection[str]:
        drawn.append(job.name)
        return build(pipeline, job, listed)

    monkeypatch.setattr(graph, "build", counted)
    config = load_config(None, [], [str(tmp_path)], str(tmp_path / "out"))
    for job, name in (("one", "a.mid"), ("one", "b.mid"), ("other", "c.mid")):
        (tmp_path / name).write_bytes(b"no MIDI")
        part = Slice("part", (Source(name, str(tmp_path / name)),))
        done = render_slice(ResolvedJob(config, SPEC, name=job), ("--runner=FnApiRunner",), part)
        assert done.counters["failed_read"] == 1
    assert drawn == ["one", "other"]
    files = sorted((tmp_path / "out" / ".rows" / "one").iterdir())
    assert sorted(json.loads(file.read_text())["song_id"] for file in files) == ["a.mid", "b.mid"]


def imported(module: str) -> bool:
    return module in sys.modules


_IMPORTS = """
import sys
from pipeline.local import import_beam
import pipeline.local.worker
print(*sorted({"pandas", "pyarrow", "google.cloud.bigquery", "google.cloud.storage"} & sys.modules.keys()))
import google.cloud.storage, pandas
"""


def test_local_processes_import_no_packages_of_connectors() -> None:
    done = subprocess.run([sys.executable, "-c", _IMPORTS], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_a_warm_bank_needs_no_model_server(tmp_path: Path) -> None:
    riff = (Path(__file__).parents[2] / "pipeline" / "examples" / "riff.mid").read_bytes()
    songs = [Source(name, str(tmp_path / name)) for name in ("a.mid", "b.mid")]
    for source in songs:
        Path(source.url).write_bytes(riff)
    counts: list[Counter[str]] = []
    for run in ("cold", "warm"):
        settings = [*QUICK, f"compute.sound_bank={tmp_path}/bank"]
        config = load_config(None, settings, [str(tmp_path)], str(tmp_path / run))
        with WorkerPool(config, (), 2) as pool:
            done = list(pool.render(cut(songs, config), pool.resolve(resume=False)))
            assert pool._server is not None
            assert pool._server.address.wanted.is_set() == (run == "cold")
        counts.append(sum((one.counters for one in done), Counter()))
    cold, warm = counts
    assert cold["synthesis_rendered"] > 0
    assert warm["synthesis_rendered"] == 0
    assert warm["synthesis_banked"] >= cold["synthesis_rendered"]
    assert warm["synthesis_notes"] == cold["synthesis_notes"]


def test_processes_share_one_model(tmp_path: Path) -> None:
    """Each sound is rendered once for both processes, and neither imports TensorFlow."""
    riff = (Path(__file__).parents[2] / "pipeline" / "examples" / "riff.mid").read_bytes()
    songs = [Source(name, str(tmp_path / name)) for name in ("a.mid", "b.mid")]
    for source in songs:
        Path(source.url).write_bytes(riff)
    settings = [*QUICK, "compute.sound_bank=off"]
    counts: list[Counter[str]] = []
    for part in (songs, songs[:1]):
        config = load_config(None, settings, [str(tmp_path)], str(tmp_path / f"out{len(part)}"))
        with WorkerPool(config, (), 2) as pool:
            done = list(pool.render(cut(part, config), pool.resolve(resume=False)))
            assert pool._pool is not None
            assert not pool._pool.submit(imported, "tensorflow").result()
        counts.append(sum((one.counters for one in done), Counter()))
    both, one = counts
    assert both["songs_written"] == 2
    assert both["synthesis_notes"] == 2 * one["synthesis_notes"]
    assert both["synthesis_rendered"] == one["synthesis_rendered"] > 0
    assert both["synthesis_slots"] == one["synthesis_slots"]


@pytest.mark.parametrize("processes", [0, 2])
def test_a_sound_that_later_songs_play_longer_is_rendered_once(processes: int, tmp_path: Path) -> None:
    songs = [Source(f"{number}.mid", str(tmp_path / f"{number}.mid")) for number in range(4)]
    for beats, source in zip((1, 2, 6, 3), songs, strict=True):
        Path(source.url).write_bytes(midi(track(program(0, 0), *note(0, 480 * beats))))
    (tmp_path / "3.mid").write_bytes(b"no MIDI")
    counts = {}
    for looks_ahead in (True, False):
        own_model = f"compute.batch_rows={64 + looks_ahead}"  # no cache is left from the other run
        settings = [*QUICK, "compute.sound_bank=off", own_model, "compute.slice_songs=1"]
        config = load_config(None, settings, [str(tmp_path)], str(tmp_path / f"out-{looks_ahead}"))
        with WorkerPool(config, (), processes) as pool:
            pool._looks_ahead = looks_ahead
            job = pool.resolve(resume=False)
            done = list(pool.render((Slice(s.song_id, (s,)) for s in songs), job))
        counts[looks_ahead] = sum((one.counters for one in done), Counter())
    assert counts[True]["synthesis_batches"] == 1
    assert counts[False]["synthesis_batches"] == 3 or processes  # two processes may begin with the longest
    assert [count["songs_written"] for count in counts.values()] == [3, 3]
    for name in ("0.wav", "1.wav", "2.wav"):
        one, other = ((tmp_path / f"out-{looks_ahead}" / "audio" / name).read_bytes() for looks_ahead in (True, False))
        assert one == other


def test_looking_ahead_is_bounded(tmp_path: Path) -> None:
    parts = iter([Slice(f"p{i}", (Source(f"{i}", "", size=size),)) for i, size in enumerate([100, 900_000] * 300)])
    taken = [list(look_ahead.take(parts)) for _ in range(2)]
    assert [len(group) for group in taken] == [6, 6]
    parts = iter([Slice(f"p{i}", tuple(Source(f"{i}-{j}", "", size=1) for j in range(100))) for i in range(4)])
    assert [len(list(look_ahead.take(parts))) for _ in range(3)] == [3, 1, 0]


def test_a_song_that_kills_the_process_that_looks_ahead_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look_ahead, "needed_sounds", killer)
    riff = (Path(__file__).parents[2] / "pipeline" / "examples" / "riff.mid").read_bytes()
    songs = [Source(name, str(tmp_path / name)) for name in ("kill", "b.mid")]
    for source in songs:
        Path(source.url).write_bytes(riff)
    config = load_config(None, QUICK, [str(tmp_path)], str(tmp_path / "out"))
    with WorkerPool(config, (), 2) as pool:
        done = list(pool.render(cut(songs, config), pool.resolve(resume=False)))
    assert sum(one.counters["songs_written"] for one in done) == 2


def leaver(job: ResolvedJob, beam_args: Sequence[str], songs: Slice) -> SliceResult:
    """Replaces render_slice: a song named `kill.mid` kills its process while it writes a file."""
    if any(source.song_id == "kill.mid" for source in songs.sources):
        (Path(job.config.output) / f"{UNFINISHED}kill").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return render_slice(job, beam_args, songs)


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.mid", "kill.mid"):
        (tmp_path / "in" / name).write_bytes(midi(track(*note(0, 480))))
    monkeypatch.setattr(run_module, "WorkerPool", functools.partial(WorkerPool, work=leaver))
    config = load_config(None, [*QUICK, "compute.slice_songs=1"], [str(tmp_path / "in")], str(tmp_path / "out"))
    summary = run_module.run(config, quiet=True)
    assert (summary.rendered, summary.failed) == (1, 1)
    assert [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(UNFINISHED)] == []


def test_the_process_that_starts_others_may_die(monkeypatch: pytest.MonkeyPatch) -> None:
    submit, asked = ProcessPoolExecutor.submit, itertools.count()

    def fails_at_first(pool: ProcessPoolExecutor, *arguments: Any) -> Any:
        if next(asked) in (1, 2):
            raise EOFError("unexpected EOF")
        return submit(pool, *arguments)

    monkeypatch.setattr(ProcessPoolExecutor, "submit", fails_at_first)
    parts = [Slice(f"p{i}", tuple(Source(f"{i}-{j}", "") for j in range(3))) for i in range(4)]
    with WorkerPool(load_config(None), (), 2, killer, model=False) as pool:
        done = list(pool.render(parts, ResolvedJob(load_config(None), SPEC)))
        assert pool.lost_processes
    assert sum(part.songs for part in done) == 12
    assert [part.lost for part in done if part.lost] == []
