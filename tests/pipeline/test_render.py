"""The whole pipeline, through the command line, on real files."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import yaml
from PIL import Image

import gansynth
from gansynth.audio import encode
from gansynth.figures.axes import BOTTOM, HOP, LEFT, PIXELS_PER_SECOND, RIGHT, TOP, Grid, seconds_across
from gansynth.general_midi import DRUMS
from gansynth.midi.load import load_midi
from pipeline.__main__ import EXAMPLES, main
from pipeline.config import load_config

SHARED = Path(__file__).parents[3] / "shared"
RIFF = str(EXAMPLES / "riff.mid")
ALL_FILES = ["--set", "spectrogram.array=true", "--set", "played_notes=[midi, json]"]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("example")
    assert main(["render", "--output", str(out), *ALL_FILES]) == 0
    return out


def test_every_song_has_audio_picture_and_row(example: Path) -> None:
    rows = lines(example / "manifest.jsonl")
    assert [row["song_id"] for row in rows] == sorted(path.name for path in EXAMPLES.glob("*.mid"))
    assert lines(example / "errors.jsonl") == []
    assert not (example / ".rows").exists()
    for row in rows:
        data = (example / row["outputs"]["audio"]).read_bytes()
        assert "sha256:" + hashlib.sha256(data).hexdigest() == row["audio_digest"]
        audio, rate = soundfile.read(example / row["outputs"]["audio"])
        assert rate == 16000
        assert len(audio) / rate == pytest.approx(row["seconds"])
        assert np.abs(audio).max() == pytest.approx(0.9, abs=1e-3)
        assert 20 * np.log10(np.sqrt((audio**2).mean())) > -40  # music, not near-silence with one click
        with Image.open(example / row["outputs"]["spectrogram"]) as picture:
            sizes = {picture.size}
        with Image.open(example / row["outputs"]["piano_roll"]) as picture:
            sizes.add(picture.size)
        grid = Grid.of(len(audio), rate)
        assert sizes == {(LEFT + grid.width + RIGHT, TOP + grid.rows + BOTTOM)}
        assert grid.width >= PIXELS_PER_SECOND * seconds_across(len(audio), rate)
        assert seconds_across(len(audio), rate) == pytest.approx(row["seconds"], abs=HOP / rate)
        levels = np.load(example / row["outputs"]["cqt"], allow_pickle=False)
        assert levels.shape[0] == grid.rows
        assert row["notes"]["played"] == row["notes"]["total"]
        assert row["notes"]["broken"] == 0
    riff = next(row for row in rows if row["song_id"] == "riff.mid")
    assert riff["notes"]["drums_played"] > 0
    assert (riff["programs"]["73"], riff["programs"]["128"]) == ("flute", "drums")


def test_the_notes_written_are_where_the_audio_sounds(example: Path) -> None:
    for row in lines(example / "manifest.jsonl"):
        audio, rate = soundfile.read(example / row["outputs"]["audio"])
        table = json.loads((example / row["outputs"]["notes"]).read_text())
        columns = table["notes"]
        assert len(columns["start"]) == row["notes"]["played"] - row["notes"]["silent"]
        is_drum = np.array(columns["program"]) == DRUMS
        assert table["release_seconds"] == 0.3
        stops = np.array(columns["end"]) + np.array(columns.get("release", np.where(is_drum, 0.0, 0.3)))
        assert round(stops.max() * rate) == len(audio)
        covered = np.zeros(len(audio), bool)
        for start, stop in zip(columns["start"], stops.tolist(), strict=True):
            piece = slice(round(start * rate), round(stop * rate))
            covered[piece] = True
            assert np.abs(audio[piece]).max() > 0
        assert np.abs(audio[~covered]).max(initial=0) == 0
        midi = load_midi(str(example / row["outputs"]["midi"])).notes
        assert len(midi) == len(columns["start"])
        assert sorted(midi.pitch.tolist()) == sorted(columns["pitch"])
        np.testing.assert_allclose(np.sort(midi.start), columns["start"], atol=6e-4)
        ends = np.array(columns["end"])[~is_drum]  # hits of a key overlap, which MIDI cannot say
        np.testing.assert_allclose(np.sort(midi.end[~midi.is_drum]), np.sort(ends), atol=6e-4)


def test_the_guides_way_to_read_the_notes_works(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide.md").read_text()
    snippet = guide[guide.index("song = json.loads(") :].split("```")[0].replace("out/notes/notes", "notes")
    monkeypatch.chdir(example)
    names: dict[str, Any] = {"json": json, "Path": Path}
    exec(snippet, names)
    assert 50 < len(names["melody"]) < 393
    assert names["melody"][0][2] > 60


def test_config_yaml_is_the_effective_config_and_renders_again(example: Path, tmp_path: Path) -> None:
    saved = example / "config.yaml"
    assert yaml.safe_load(saved.read_text())["spectrogram"]["array"] is True
    assert main(["render", "--config", str(saved), "--input", RIFF, "--output", str(tmp_path), "--quiet"]) == 0
    name = "audio/riff.wav"
    assert (tmp_path / name).read_bytes() == (example / name).read_bytes()


def test_in_memory_rendering_is_the_same(example: Path) -> None:
    synth = gansynth.Synthesizer.from_checkpoint("mini")
    clip = gansynth.render(RIFF, synth, load_config(None).sound, song_id="riff.mid")
    written, _ = soundfile.read(example / "audio" / "riff.wav", dtype="int16")
    np.testing.assert_array_equal(encode.to_pcm16(clip), written)


def test_some_failed_ends_with_3_and_none_rendered_with_1(tmp_path: Path) -> None:
    songs = tmp_path / "in" / "sub"
    songs.mkdir(parents=True)
    (songs / "riff.mid").write_bytes(Path(RIFF).read_bytes())
    (songs / "page.mid").write_text("<html>a page that is not there</html>")
    (songs / "empty.mid").touch()
    out = tmp_path / "out"
    assert main(["render", str(tmp_path / "in"), "--output", str(out)]) == 3
    assert [row["song_id"] for row in lines(out / "manifest.jsonl")] == ["sub/riff.mid"]
    failed = {row["song_id"]: row for row in lines(out / "errors.jsonl")}
    assert set(failed) == {"sub/page.mid", "sub/empty.mid"}
    assert failed["sub/page.mid"]["stage"] == "read"
    assert "MThd not found" in failed["sub/page.mid"]["message"]
    assert (out / "audio" / "sub" / "riff.wav").exists()
    (songs / "riff.mid").unlink()
    assert main(["render", str(tmp_path / "in"), "--output", str(tmp_path / "none")]) == 1


def test_neighbours_with_the_same_stem_do_not_overwrite_each_other(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("x.mid", "x.midi", "X.MID"):
        (tmp_path / "in" / name).write_bytes(Path(RIFF).read_bytes())
    options = ["--set", "spectrogram.png=false", "--set", "notes.max_pitch=60", "--set", "notes.out_of_range=drop"]
    assert main(["render", str(tmp_path / "in"), "--output", str(tmp_path / "out"), *options]) == 0
    assert sorted(p.name for p in (tmp_path / "out" / "audio").iterdir()) == ["X.MID.wav", "x.midi.wav", "x.wav"]


@pytest.mark.parametrize("audio_format", ["wav-float", "flac", "ogg"])
def test_formats(tmp_path: Path, audio_format: str) -> None:
    options = ["--set", f"audio.format={audio_format}", "--set", "spectrogram.png=false", "--quiet"]
    assert main(["render", RIFF, "--output", str(tmp_path), *options]) == 0
    (row,) = lines(tmp_path / "manifest.jsonl")
    audio, rate = soundfile.read(tmp_path / row["outputs"]["audio"])
    assert len(audio) / rate == pytest.approx(row["seconds"], abs=0.1)


@pytest.mark.parametrize("mode", ["interpolate", "random", "fixed"])
def test_modes(tmp_path: Path, mode: str) -> None:
    options = ["--set", f"instruments.mode={mode}", "--set", "spectrogram.png=false", "--quiet"]
    assert main(["render", RIFF, "--output", str(tmp_path), *options]) == 0
    (row,) = lines(tmp_path / "manifest.jsonl")
    assert len(row["instruments"]) == {"interpolate": 5, "random": 7, "fixed": 2}[mode]
    assert row["instruments"][-1] == "drums"


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/midi, the 45 real and hostile files")
def test_all_of_shared_midi_is_accounted_for(tmp_path: Path) -> None:
    assert main(["render", str(SHARED / "midi"), "--output", str(tmp_path), "--set", "spectrogram.png=false"]) == 3
    rendered, failed = lines(tmp_path / "manifest.jsonl"), lines(tmp_path / "errors.jsonl")
    names = {str(path.relative_to(SHARED / "midi")) for path in (SHARED / "midi").rglob("*.mid")}
    assert len(names) == 45
    assert {row["song_id"] for row in rendered} | {row["song_id"] for row in failed} == names
    assert len(rendered) + len(failed) == 45
    good = {name for name in names if name.startswith("good/")}
    assert good <= {row["song_id"] for row in rendered}
    assert not [row for row in failed if row["trace"]]
    # tests/gansynth/test_salvage.py says what becomes of each.
    assert len(rendered) == 32
    mended = {row["song_id"]: row["repairs"] for row in rendered}
    assert mended["bad/derived_smpte-25x40_bwv-988-v01.mid"] == []  # SMPTE frames are as they should be
    assert mended["bad/MidiTok__ValueError_Control168.mid"] == ["data_byte_ignored"]
    assert mended["good/js-fakes__0.mid"] == []
    codes = {row["song_id"].removeprefix("bad/"): row["code"] for row in failed}
    assert codes["derived_tempo-0_bwv-988-v01.mid"] == "midi-bad-tempo"
    assert codes["test-midi-files__test-empty.mid"] == "midi-no-notes"
    drums = next(row["notes"] for row in rendered if "all-gm-percussion" in row["song_id"])
    assert drums["drums_played"] == drums["total"] > 0
    for row in failed:
        content = (SHARED / "midi" / row["song_id"]).read_bytes()
        assert row["digest"] == "sha256:" + hashlib.sha256(content).hexdigest()


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in (b"caf\xe9.mid", "café.mid".encode()):
        Path(os.fsdecode(bytes(folder) + b"/" + name)).write_bytes(Path(RIFF).read_bytes())
    Path(os.fsdecode(bytes(folder) + b"/\xff\\.mid")).write_text("no MIDI")
    assert main(["render", str(folder), "--output", str(tmp_path / "out"), "--set", "spectrogram.png=false"]) == 3
    rendered, failed = lines(tmp_path / "out" / "manifest.jsonl"), lines(tmp_path / "out" / "errors.jsonl")
    assert {row["song_id"] for row in rendered} == {"caf\\xe9.mid", "café.mid"}
    assert [row["song_id"] for row in failed] == ["\\xff\\\\.mid"]
    assert len({row["outputs"]["audio"] for row in rendered}) == 2
    assert all((tmp_path / "out" / row["outputs"]["audio"]).is_file() for row in rendered)
