"""Data sets as the libraries that they are for read them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import webdataset

from pipeline.__main__ import main
from tests.support.packages import run
from tests.support.pages import manifest, write_song

SONGS = ("a.mid", "test/b.mid", "train/odd [1] 100%.mid", "validation/é.mid", "data/.hidden.mid")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with songs in folders that data sets give a meaning to."""
    folder = tmp_path_factory.mktemp("corpus")
    for number, name in enumerate(SONGS):
        write_song(folder / name, range(60, 62 + number))
    (folder / "broken.mid").write_bytes(b"no MIDI")
    return folder


def render(corpus: Path, out: Path, tiny: str, *settings: str) -> list[dict[str, Any]]:
    options = [f"checkpoint={tiny}", "spectrogram.png=false", "piano_roll.png=false", *settings]
    words = [word for option in options for word in ("--set", option)]
    assert main([str(corpus), "-o", str(out), "--quiet", *words]) == 3
    return manifest(out)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_shards(corpus: Path, tmp_path: Path, tiny: str) -> None:
    rows = render(corpus, tmp_path, tiny, "dataset.format=webdataset", "dataset.shard_bytes=300000", "stems.by=track")
    shards = sorted(map(str, (tmp_path / "dataset").glob("*.tar")))
    assert len(shards) > 1
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode())
    assert [sample["json"] for sample in samples] == rows
    for sample, row in zip(samples, rows, strict=True):
        assert "sha256:" + hashlib.sha256(sample["wav"]).hexdigest() == row["audio_digest"]
        assert len(sample["notes.json"]["notes"]["pitch"]) == row["notes"]["played"]
        assert sum(key.startswith("stem_") for key in sample) == len(row["stems"])


def test_the_audio_list_names_every_rendered_song(corpus: Path, tmp_path: Path, tiny: str) -> None:
    rows = render(corpus, tmp_path, tiny, "dataset.format=audiofolder", "audio.format=flac")
    lines = manifest(tmp_path / "audio", "metadata.jsonl")
    assert [line["song_id"] for line in lines] == [row["song_id"] for row in rows] == sorted(SONGS)
    for line, row in zip(lines, rows, strict=True):
        audio = tmp_path / "audio" / line["file_name"]
        assert "sha256:" + hashlib.sha256(audio.read_bytes()).hexdigest() == line["audio_digest"]
        notes = json.loads((tmp_path / "audio" / line["notes_path"]).read_text())
        assert len(notes["notes"]["pitch"]) == line["notes_played"] == row["notes"]["played"]


@pytest.mark.slow  # installs the library
def test_hugging_face_loads_the_audio_folder(corpus: Path, tmp_path: Path, tiny: str) -> None:
    render(corpus, tmp_path / "out", tiny, "dataset.format=audiofolder", "audio.format=flac")
    python = tmp_path / "env" / "bin" / "python"
    uv = (sys.executable, "-m", "uv")
    run(*uv, "venv", "--quiet", "--python", sys.executable, str(tmp_path / "env"))
    # From 4 on, its audio needs PyTorch.
    run(*uv, "pip", "install", "--quiet", "--python", str(python), "datasets<4", "soundfile", "librosa")
    code = (
        "import datasets, json, sys\n"
        "(split, songs), = datasets.load_dataset(sys.argv[1]).items()\n"
        "found = [{**song, 'audio': [song['audio']['sampling_rate'], len(song['audio']['array'])]} for song in songs]\n"
        "print(json.dumps([split, found]))\n"
    )
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [str(python), "-c", code, str(tmp_path / "out" / "audio")],
        env=offline,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    split, songs = json.loads(done.stdout)
    assert split == "train"
    lines = {line["song_id"]: line for line in manifest(tmp_path / "out" / "audio", "metadata.jsonl")}
    assert sorted(song["song_id"] for song in songs) == sorted(SONGS)
    for song in songs:
        line = lines[song["song_id"]]
        assert song["audio"] == [16000, round(line["seconds"] * 16000)]
        assert {name: song[name] for name in line if name != "file_name"} == {
            name: value for name, value in line.items() if name != "file_name"
        }
