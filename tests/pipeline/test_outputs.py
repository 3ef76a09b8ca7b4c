"""Optional outputs of a job: stems, stereo, loudness, sample rates, Parquet tables and data sets."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shlex
import tarfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import fsspec
import mido
import numpy as np
import pyarrow.parquet
import pyloudnorm
import pytest
import soundfile
import soxr
from numpy.typing import NDArray
from PIL import Image

from gansynth.figures import axes
from gansynth.io import files, listing
from gansynth.midi.load import load_midi
from gansynth.model.checkpoint import PITCHES
from gansynth.rendering.player import play
from gansynth.score.instruments import random_bank
from gansynth.score.plan import plan_song
from gansynth.score.spec import SynthSpec
from pipeline import graph
from pipeline.__main__ import main
from pipeline.config import JobConfig, load_config
from pipeline.dataset import shards, write_shards
from pipeline.job import ResolvedJob
from pipeline.resume import _changes
from pipeline.table import write_parquet
from tests.support.fakes import Bells
from tests.support.pages import data, read_site
from transforms.elements import FinishedSong, Source
from transforms.mix_songs import GatherSong, MixedSong
from transforms.write_songs import _Write

ROOT = Path(__file__).parents[2]
RIFF = ROOT / "pipeline" / "examples" / "riff.mid"
SHARED = ROOT.parent / "shared" / "midi" / "good"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/midi/good, real MIDI files")
REAL = SHARED / "sonivox__ants.mid"
LONG = SHARED / "note-seq__example_complex.mid"
PLAIN = ("spectrogram.png=false", "piano_roll.png=false", "notes.drums=play")


def rendered(midi: Path, out: Path, *settings: str) -> dict[str, Any]:
    """Writes a song as a job does, without network and Beam; returns its row."""
    config = load_config(None, [*PLAIN, *settings], [str(midi)], str(out))
    spec = SynthSpec(PITCHES, 16000, 64000, random_bank(129, 8, 0))
    plan, chunks = plan_song(midi.name, load_midi(str(midi), config.notes), config.sound, spec)
    gather = GatherSong()
    total = gather.create_accumulator()
    for part in (Source(midi.name, str(midi)), plan, *play(chunks[::-1], Bells(), config.envelope)):
        total = gather.add_input(total, part)
    song = gather.extract_output(total)
    assert isinstance(song, MixedSong)
    return outcome(config, spec, song)


def outcome(config: JobConfig, spec: SynthSpec, song: MixedSong | FinishedSong) -> dict[str, Any]:
    job = ResolvedJob(config, replace(spec, checkpoint_digest="sha256:0"))
    ((_, line),) = _Write(graph.write_settings(job)).process(song)
    row: dict[str, Any] = json.loads(line)
    assert row["status"] == "rendered", row
    for kind, path in row["outputs"].items():
        assert Path(config.output, path).stat().st_size == row["bytes"][kind]
    return row


def sound(out: Path, row: dict[str, Any], kind: str = "audio") -> NDArray[np.float64]:
    audio, rate = soundfile.read(out / row["outputs"][kind], dtype="float64", always_2d=True)
    assert rate == row["sample_rate"]
    assert audio.shape == (round(row["seconds"] * rate), row["channels"])
    return np.asarray(audio)


def stems(out: Path, row: dict[str, Any]) -> list[NDArray[np.float64]]:
    kinds = sorted(kind for kind in row["outputs"] if kind.startswith("stem_"))
    assert len(kinds) == len(row["stems"])
    return [sound(out, row, kind) for kind in kinds]


@needs_shared
@pytest.mark.parametrize(
    ("midi", "by", "count"),
    [(REAL, "instrument", 6), (REAL, "track", 6), pytest.param(LONG, "track", 18, marks=pytest.mark.slow)],
)
def test_stems_add_up_to_the_mix(tmp_path: Path, midi: Path, by: str, count: int) -> None:
    row = rendered(midi, tmp_path / "stems", f"stems.by={by}", "played_notes=[json]")
    parts = stems(tmp_path / "stems", row)
    assert len(parts) == count
    plain = rendered(midi, tmp_path / "plain")
    mix = tmp_path / "plain" / plain["outputs"]["audio"]
    assert (tmp_path / "stems" / row["outputs"]["audio"]).read_bytes() == mix.read_bytes()
    total = sum(parts) * row["gain"]
    assert np.abs(total).max() == pytest.approx(0.9, abs=1e-12)  # stems are exact; the mix has 16 bits
    assert np.abs(total - sound(tmp_path / "stems", row) * 32768 / 32767).max() < 0.5 / 32767 + 1e-7
    # Each stem has sound at its own notes and nowhere else.
    table = json.loads((tmp_path / "stems" / row["outputs"]["notes"]).read_text())
    assert table["stems"] == row["stems"]
    columns = table["notes"]
    for number, part in enumerate(parts):
        covered = np.zeros(len(part), bool)
        for start, end, stem in zip(columns["start"], columns["end"], columns["stem"], strict=True):
            if stem == number:
                piece = slice(round(start * 16000), round((end + table["release_seconds"]) * 16000))
                covered[piece] = True
                assert part[piece].any()
        assert not part[~covered].any()


@needs_shared
@pytest.mark.parametrize("rate", [16000, 44100])
def test_stems_in_stereo_at_any_rate_add_up_too(tmp_path: Path, rate: int) -> None:
    settings = ("stems.by=track", "mix.panning=spread", "audio.format=wav-float", f"audio.sample_rate={rate}")
    row = rendered(REAL, tmp_path, *settings, "mix.normalize=loudness")
    total = sum(stems(tmp_path, row)) * row["gain"]
    mix = sound(tmp_path, row)
    assert mix.shape[1] == 2
    assert np.abs(total - mix).max() < 1e-6
    assert not np.array_equal(mix[:, 0], mix[:, 1])


def write_midi(path: Path, names: list[str], pans: dict[int, int] | None = None) -> Path:
    """Writes a MIDI file with one note per track, 0.1 s apart."""
    file = mido.MidiFile(charset="utf-8")
    for number, name in enumerate(names):
        track = file.add_track()
        track.append(mido.MetaMessage("track_name", name=name))
        channel = number % 9
        track.append(mido.Message("program_change", program=number % 128, channel=channel))
        if number in (pans or {}):
            track.append(mido.Message("control_change", control=10, value=(pans or {})[number], channel=channel))
        track.append(mido.Message("note_on", note=40 + number % 40, velocity=90, channel=channel, time=96 * number))
        track.append(mido.Message("note_off", note=40 + number % 40, channel=channel, time=480))
    file.save(path)
    return path


def test_a_song_of_many_tracks_has_a_bounded_number_of_stems(tmp_path: Path) -> None:
    midi = write_midi(tmp_path / "many.mid", [f"track {i}" for i in range(200)])
    row = rendered(midi, tmp_path, "stems.by=track")
    assert len(row["stems"]) == 32
    assert row["stems"][:2] == ["track 0", "track 1"]
    assert row["stems"][-1] == "rest"
    mix = sound(tmp_path, row) * 32768 / 32767
    assert np.abs(sum(stems(tmp_path, row)) * row["gain"] - mix).max() < 0.5 / 32767 + 1e-7


def test_hostile_track_names_are_names_of_files_below_the_output(tmp_path: Path) -> None:
    names = ["../../../etc/passwd", "/abs", "a/b\\c", "..", "", "CON", "<script>alert(1)</script>", "é" * 500, "same"]
    midi = write_midi(tmp_path / "x.mid", [*names, "same"])
    row = rendered(midi, tmp_path / "out", "stems.by=track")
    paths = [path for kind, path in row["outputs"].items() if kind.startswith("stem_")]
    assert len(set(paths)) == len(names) + 1
    written = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out" / "stems").rglob("*.wav")}
    assert written == set(paths)
    assert {Path(path).parent.as_posix() for path in paths} == {"stems/x"}
    assert all(len(Path(path).name.encode()) < 255 for path in paths)
    assert "stems/x/01-etc_passwd.wav" in paths
    assert "stems/x/07-script_alert_1_script.wav" in paths
    assert row["stems"][0] == "../../../etc/passwd"


def test_panning_follows_the_files_controllers(tmp_path: Path) -> None:
    midi = write_midi(tmp_path / "x.mid", ["left", "right", "middle", "unsaid"], {0: 0, 1: 127, 2: 64})
    row = rendered(midi, tmp_path, "mix.panning=midi", "stems.by=track", "played_notes=[json]", "audio.format=flac")
    assert row["stems"] == ["left", "right", "middle", "unsaid"]
    left, right, middle, unsaid = stems(tmp_path, row)
    assert np.abs(left[:, 1]).max() < 1e-6 < 0.4 < np.abs(left[:, 0]).max()
    assert np.abs(right[:, 0]).max() < 1e-6 < 0.4 < np.abs(right[:, 1]).max()
    for part in (middle, unsaid):
        np.testing.assert_array_equal(part[:, 0], part[:, 1])
    assert json.loads((tmp_path / row["outputs"]["notes"]).read_text())["notes"]["pan"] == [0, 127, 64, 64]
    # Equal power: the same loudness in the middle as on one side.
    mono = rendered(midi, tmp_path / "mono", "stems.by=track")
    for part, alone in zip((left, right, middle, unsaid), stems(tmp_path / "mono", mono), strict=True):
        assert np.square(part).sum() == pytest.approx(np.square(alone).sum(), rel=1e-4)


def test_panning_spreads_the_instruments(tmp_path: Path) -> None:
    row = rendered(RIFF, tmp_path, "mix.panning=spread", "played_notes=[json]", "spectrogram.png=true")
    columns = json.loads((tmp_path / row["outputs"]["notes"]).read_text())["notes"]
    seats: dict[int, set[int]] = {}
    for instrument, pan in zip(columns["instrument"], columns["pan"], strict=True):
        seats.setdefault(instrument, set()).add(pan)
    assert all(len(found) == 1 for found in seats.values())
    used = sorted(min(found) for found in seats.values())
    assert len(set(used)) == len(seats) > 2
    assert [128 - pan for pan in used] == used[::-1]
    pitches = {
        i: np.mean([p for p, j in zip(columns["pitch"], columns["instrument"], strict=True) if i == j]) for i in seats
    }
    lowest = min(pitches, key=lambda i: pitches[i])
    assert abs(min(seats[lowest]) - 64) == min(abs(pan - 64) for pan in used)
    assert (tmp_path / row["outputs"]["spectrogram"]).stat().st_size > 10_000


@pytest.mark.parametrize(("rate", "panning"), [(44100, "off"), (48000, "spread")])
def test_resampled_clips_are_the_same_sound(tmp_path: Path, rate: int, panning: str) -> None:
    same = ("audio.format=wav-float", f"mix.panning={panning}", "spectrogram.png=true", "piano_roll.png=true")
    one = rendered(RIFF, tmp_path / "one", *same)
    two = rendered(RIFF, tmp_path / "two", *same, f"audio.sample_rate={rate}", "played_notes=[json]")
    for kind in ("spectrogram", "piano_roll"):
        pictures = [(tmp_path / name / row["outputs"][kind]).read_bytes() for name, row in (("one", one), ("two", two))]
        assert pictures[0] == pictures[1]
    assert two["sample_rate"] == rate
    assert two["seconds"] == pytest.approx(one["seconds"], abs=0.5 / rate)
    wanted, found = sound(tmp_path / "one", one), sound(tmp_path / "two", two)
    assert np.abs(found).max() == pytest.approx(0.9, abs=1e-6)
    assert two["peak"] == pytest.approx(0.9, abs=1e-6)
    back = soxr.resample(found / two["gain"], rate, 16000, "VHQ")[: len(wanted)]
    error = np.abs(back - wanted[: len(back)] / one["gain"])[100:-100].max()
    assert error < 2e-2 * np.abs(wanted / one["gain"]).max()  # the edge of the band is attenuated
    lag = np.argmax(np.correlate(back[:4000, 0], wanted[:4000, 0], "same")) - 2000
    assert lag == 0
    last = max(json.loads((tmp_path / "two" / two["outputs"]["notes"]).read_text())["notes"]["end"]) + 0.3
    assert last == pytest.approx(two["seconds"], abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "limited"),
    [
        (("mix.loudness=-20",), False),
        (("mix.loudness=-23", "mix.panning=spread", "audio.sample_rate=48000"), False),
        (("mix.loudness=-5",), True),
    ],
)
def test_loudness_is_what_others_measure(tmp_path: Path, settings: tuple[str, ...], limited: bool) -> None:
    row = rendered(RIFF, tmp_path, "mix.normalize=loudness", "audio.format=flac", *settings)
    target = next((float(s.split("=")[1]) for s in settings if "mix.loudness" in s), -16.0)
    audio = sound(tmp_path, row)
    heard = pyloudnorm.Meter(row["sample_rate"]).integrated_loudness(audio)
    assert heard == pytest.approx(row["loudness"], abs=0.3)  # the standard's filters differ a little between rates
    between = soxr.resample(audio, row["sample_rate"], 8 * row["sample_rate"], "HQ")
    peak = 20 * np.log10(np.abs(between).max())
    assert peak < -1.0 + 0.1
    assert (row["loudness"] == pytest.approx(target, abs=0.05)) == (not limited)
    if limited:
        assert row["true_peak"] == pytest.approx(-1.0, abs=0.01)
        assert row["loudness"] < target


def test_loudness_of_what_cannot_be_measured(tmp_path: Path) -> None:
    short = write_midi(tmp_path / "short.mid", ["a"])
    row = rendered(short, tmp_path, "mix.normalize=loudness", "notes.time_stretch=0.05", "envelope.release=0.05")
    assert row["seconds"] < 0.4
    assert row["loudness"] == pytest.approx(-16, abs=0.1) or row["true_peak"] == pytest.approx(-1, abs=0.01)
    assert np.abs(sound(tmp_path, row)).max() > 0.1


def test_pictures_of_a_long_song_have_parts(long_song: Path, tiny: str, tmp_path: Path) -> None:
    (row,) = manifest(long_song)
    grid = axes.Grid.of(round(row["seconds"] * 16000), 16000)
    for kind, first in (("spectrogram", "spectrograms/long.png"), ("piano_roll", "piano_rolls/long.png")):
        kinds = [kind, f"{kind}_002", f"{kind}_003"]
        assert [row["outputs"].get(each) for each in (*kinds, f"{kind}_004")] == [
            *(first, f"tiles/long/{kind}-2.png", f"tiles/long/{kind}-3.png", None)
        ]
        sizes = [Image.open(io.BytesIO((long_song / row["outputs"][each]).read_bytes())).size for each in kinds]
        assert [width - axes.LEFT - axes.RIGHT for width, _ in sizes] == [len(tile) for tile in grid.tiles()]
        assert len({height for _, height in sizes}) == 1
        assert [row["bytes"][each] for each in kinds] == [
            (long_song / row["outputs"][each]).stat().st_size for each in kinds
        ]
    # The same bytes by another runner, and nothing is rendered again of what is there.
    options = ["--quiet", "--set", f"checkpoint={tiny}", "--output"]
    source = str(long_song.parent / "in")
    assert main(["render", source, *options, str(tmp_path), "--set", "beam.runner=FnApiRunner"]) == 0
    files = ("audio", "spectrograms", "piano_rolls", "rolls", "tiles")
    expected = {name: digest for name, digest in hashes(long_song).items() if name.split("/")[0] in files}
    assert {name: digest for name, digest in hashes(tmp_path).items() if name.split("/")[0] in files} == expected
    assert sum(name.startswith("tiles/") for name in expected) == 4
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "tiles").rglob("*.png")}
    assert main(["render", source, *options, str(tmp_path)]) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "tiles").rglob("*.png")} == before
    assert len(before) == 4


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, tiny: str) -> Path:
    """Returns the output folder of a job with every kind of output, of two songs and a file that is not MIDI."""
    folder = tmp_path_factory.mktemp("job")
    (folder / "in").mkdir()
    write_midi(folder / "in" / "a.mid", ["lead", "</script><script>alert(1)</script>", "bass"])
    write_midi(folder / "in" / "b.mid", ["only"])
    (folder / "in" / "c.mid").write_text("no MIDI")
    assert run_job(folder, folder / "out", tiny) == 3
    return folder


def run_job(folder: Path, out: Path, tiny: str, *more: str) -> int:
    settings = (
        *(f"checkpoint={tiny}", "spectrogram.png=false", "compute.threads=1", "stems.by=track", "mix.panning=spread"),
        *("mix.normalize=loudness", "audio.sample_rate=44100", "audio.format=flac", "manifest.parquet=true"),
        *("dataset.format=webdataset", "dataset.shard_bytes=800000", *more),
    )
    options = [word for setting in settings for word in ("--set", setting)]
    return main(["render", str(folder / "in"), "--output", str(out), "--quiet", *options])


def manifest(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def hashes(out: Path) -> dict[str, str]:
    shown = ("config.yaml", "index.html")  # they name the folder
    files = [path for path in out.rglob("*") if path.is_file() and path.name not in shown]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_job_with_everything(job: Path) -> None:
    rows = manifest(job / "out")
    assert [row["song_id"] for row in rows] == ["a.mid", "b.mid"]
    for row in rows:
        assert (row["channels"], row["sample_rate"], row["notes_rate"]) == (2, 44100, 16000)
        mix = sound(job / "out", row) * 32768 / 32767
        assert np.abs(sum(stems(job / "out", row)) * row["gain"] - mix).max() < 0.5 / 32767 + 1e-6
    page = (job / "out" / "index.html").read_text()
    assert "<script>alert" not in page
    songs = data(read_site(job / "out"))[2]
    stems_ = [path for kind, path in rows[0]["outputs"].items() if kind.startswith("stem_")]
    assert [unquote(link) for _, link, _ in songs[0]["stems"]] == sorted(stems_)


def test_the_table_has_the_rows_of_the_manifest(job: Path) -> None:
    table = pyarrow.parquet.read_table(job / "out" / "manifest.parquet").to_pylist(maps_as_pydicts="strict")
    assert table == manifest(job / "out")


def test_tables_are_written_in_groups_and_whole(tmp_path: Path, job: Path) -> None:
    (row, *_) = manifest(job / "out")
    rows = [{**row, "song_id": f"{i}.mid", "source": "x\udce9.mid"} for i in range(10_000)]
    url = str(tmp_path / "m.parquet")
    write_parquet(url, iter(rows))
    file = pyarrow.parquet.ParquetFile(url)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [4096, 4096, 1808]
    back = file.read_row_group(2).to_pylist(maps_as_pydicts="strict")
    assert back[-1] == {**rows[-1], "source": "x\\udce9.mid"}
    before = (tmp_path / "m.parquet").read_bytes()
    with pytest.raises((TypeError, ValueError, OSError)):
        write_parquet(url, iter([rows[0], {**rows[1], "seconds": "long"}]))
    assert [path.name for path in tmp_path.iterdir()] == ["m.parquet"]
    assert (tmp_path / "m.parquet").read_bytes() == before
    write_parquet(url, iter(rows))
    assert (tmp_path / "m.parquet").read_bytes() == before


def members(shard: Path) -> dict[str, bytes]:
    with tarfile.open(shard) as tar:
        found = {}
        for member in tar:
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
            content = tar.extractfile(member)
            assert content is not None
            found[member.name] = content.read()
    assert list(found) == sorted(found)
    return found


def test_shards_hold_every_song(job: Path) -> None:
    rows = manifest(job / "out")
    index = [json.loads(line) for line in (job / "out" / "dataset" / "shards.jsonl").read_text().splitlines()]
    assert sum(line["samples"] for line in index) == len(rows)
    assert len(index) == 2
    found: dict[str, bytes] = {}
    for line in index:
        path = job / "out" / "dataset" / line["shard"]
        assert path.stat().st_size == line["bytes"]
        assert line["bytes"] <= 800_000 or line["samples"] == 1
        found |= members(path)
    for number, row in enumerate(rows):
        key = f"{number:09d}"
        assert json.loads(found.pop(f"{key}.json")) == row
        audio = found.pop(f"{key}.flac")
        assert audio == (job / "out" / row["outputs"]["audio"]).read_bytes()
        assert f"sha256:{hashlib.sha256(audio).hexdigest()}" == row["audio_digest"]
        notes = json.loads(found.pop(f"{key}.notes.json"))
        assert len(notes["notes"]["pitch"]) == row["notes"]["played"]
        for stem in range(len(row["stems"])):
            content = found.pop(f"{key}.stem_{stem + 1:03d}.wav")
            assert soundfile.info(io.BytesIO(content)).samplerate == 44100
    assert not found


def test_a_run_that_goes_on_leaves_the_same_files(job: Path, tiny: str, tmp_path: Path) -> None:
    wanted = hashes(job / "out")
    lost = next(path for path in (job / "out" / "stems" / "a").iterdir())
    content = lost.read_bytes()
    lost.unlink()
    (job / "out" / "dataset" / "000001.tar").write_bytes(b"half")
    (job / "out" / "dataset" / "000002.tar").write_bytes(b"of a longer job")
    untouched = (job / "out" / "dataset" / "000000.tar").stat().st_ino
    assert run_job(job, job / "out", tiny) == 3
    assert lost.read_bytes() == content
    assert hashes(job / "out") == wanted
    assert (job / "out" / "dataset" / "000000.tar").stat().st_ino == untouched
    # And a run with another split.
    assert run_job(job, tmp_path, tiny, "compute.slice_songs=1", "compute.batch_notes=1", "compute.workers=1") == 3
    assert hashes(tmp_path) == wanted


def test_note_sequences_are_in_the_data_set_and_in_tfrecords(job: Path, tiny: str, tmp_path: Path) -> None:
    """TensorFlow reads the records that are written without it."""
    import tensorflow as tf

    from gansynth.midi._note_seq import note_seq

    out, more = tmp_path / "out", ("played_notes=[notesequence]", "stems.by=off", "dataset.shard_bytes=65536")
    assert run_job(job, out, tiny, *more) == 3
    rows = manifest(out)
    found = {name: data for shard in sorted((out / "dataset").glob("*.tar")) for name, data in members(shard).items()}
    records = sorted(str(path) for path in (out / "dataset").glob("*.tfrecord"))
    assert [Path(name).name for name in records] == ["000000.tfrecord", "000001.tfrecord"]
    read = [record.numpy() for record in tf.data.TFRecordDataset(records)]
    for number, (row, record) in enumerate(zip(rows, read, strict=True)):
        assert found[f"{number:09d}.notes.pb"] == record == (out / row["outputs"]["notesequence"]).read_bytes()
        assert row["outputs"]["notesequence"] == f"notes/{row['song_id'].removesuffix('.mid')}.pb"
        sequence = note_seq.NoteSequence.FromString(record)
        table = json.loads((out / row["outputs"]["notes"]).read_text())["notes"]
        notes = sorted((round(n.start_time, 6), n.pitch) for n in sequence.notes)
        assert notes == sorted((round(s, 6), p) for s, p in zip(table["start"], table["pitch"], strict=True))
        assert {c.control_number for c in sequence.control_changes} == {10}  # the job is in stereo
    before = {path: path.stat().st_mtime_ns for path in (out / "dataset").iterdir() if path.suffix != ".jsonl"}
    Path(records[1]).write_bytes(b"half")
    assert run_job(job, out, tiny, *more) == 3
    assert [record.numpy() for record in tf.data.TFRecordDataset(records)] == read
    assert before[Path(records[0])] == Path(records[0]).stat().st_mtime_ns
    index = (out / "dataset" / "shards.jsonl").read_text().splitlines()
    assert [json.loads(line)["notes"] for line in index] == ["000000.tfrecord", "000001.tfrecord"]


def test_a_data_set_of_a_finished_job_needs_its_notes() -> None:
    def digest(*values: str) -> str:
        return load_config(None, list(values)).digest

    assert digest("dataset.format=webdataset") == digest("played_notes=[json]") != digest()
    assert digest("dataset.format=webdataset", "played_notes=[json]") == digest("played_notes=[json]")
    assert digest("dataset.shard_bytes=65536", "manifest.parquet=true") == digest()
    with_data_set, without = load_config(None, ["dataset.format=webdataset"]), JobConfig()
    assert _changes(without.model_dump(mode="json"), with_data_set) == ["dataset.format off -> webdataset"]


def test_shards_and_tables_in_object_stores_are_the_same(job: Path) -> None:
    fs, out = fsspec.filesystem("memory"), "memory://outputs-test"
    try:
        fs.put(str(job / "out"), "/outputs-test", recursive=True)
        fs.rm("/outputs-test/dataset", recursive=True)
        rows = [{**row, "status": "rendered"} for row in manifest(job / "out")]
        config = load_config(None, ["dataset.format=webdataset", "dataset.shard_bytes=800000"], output=out)
        for _ in range(2):
            write_shards(config, rows)
            for path in (job / "out" / "dataset").iterdir():
                assert files.read_bytes(f"{out}/dataset/{path.name}") == path.read_bytes()
        assert len(listing.names(f"{out}/dataset")) == 3
        write_parquet(f"{out}/m.parquet", manifest(job / "out"))
        assert files.read_bytes(f"{out}/m.parquet") == (job / "out" / "manifest.parquet").read_bytes()
        write_shards(config, rows[:1])
        assert listing.names(f"{out}/dataset") == ["000000.tar", "shards.jsonl"]
    finally:
        fs.rm("/outputs-test", recursive=True)


def test_shards_are_bounded_whatever_the_songs(job: Path) -> None:
    (row, *_) = manifest(job / "out")
    sizes = [1, 600, 70_000, 300_000, 5_000, 512, 40_000] * 20
    rows = [
        {**row, "status": "rendered", "song_id": f"{i:04d}", "outputs": {"audio": "x.wav"}, "bytes": {"audio": size}}
        for i, size in enumerate(sizes)
    ]
    limit = 256 << 10
    packed = list(shards(reversed(rows), limit))
    assert [sample.key for samples in packed for sample in samples] == [f"{i:09d}" for i in range(len(rows))]
    for samples in packed:
        assert sum(sample.size for sample in samples) <= limit or len(samples) == 1
    for one, two in pairwise(packed):
        assert sum(sample.size for sample in one) + two[0].size > limit - 10_240


STUDIO = (ROOT / "docs" / "studio.md").read_text()


def test_the_commands_and_snippets_of_the_page_work(tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    midi = write_midi(tmp_path / "a.mid", ["lead", "bass"], {0: 30})
    monkeypatch.chdir(tmp_path)
    commands = re.findall(r"^\./run_pipeline\.sh (.*)$", STUDIO, re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        quick = ["--set", f"checkpoint={tiny}", "--set", "compute.threads=1", "--quiet"]
        assert main(["render", str(midi), *shlex.split(command), *quick]) == 0
    names: dict[str, Any] = {"io": io, "json": json, "pyarrow": pyarrow, "soundfile": soundfile, "tarfile": tarfile}
    names["Path"] = Path
    snippets = re.findall(r"```python\n(.*?)```", STUDIO, re.DOTALL)
    assert [snippet.count("\n") for snippet in snippets] == [3, 3, 3]
    for snippet in snippets:
        exec(snippet, names)
    (row,) = manifest(tmp_path / "out" / "studio")
    assert names["mix"].shape == (round(row["seconds"] * 48000), 2)
    written = soundfile.read(tmp_path / "out" / "studio" / row["outputs"]["audio"])[0]
    assert np.abs(names["mix"] - written).max() < 1e-4
    assert names["rows"] == manifest(tmp_path / "out" / "set")
    assert names["minutes"] * 60 == pytest.approx(names["rows"][0]["seconds"])
    assert (names["rate"], len(names["audio"])) == (16000, round(names["minutes"] * 60 * 16000))


def test_the_page_names_every_setting_of_the_outputs() -> None:
    for name in ("stems.by", "stems.max_files", "mix.panning", "mix.normalize", "mix.loudness", "mix.true_peak"):
        assert f"`{name}`" in STUDIO
    assert JobConfig().stems.max_files == 32
    assert (JobConfig().mix.loudness, JobConfig().mix.true_peak) == (-16, -1)
    assert JobConfig().dataset.shard_bytes == 256 << 20
