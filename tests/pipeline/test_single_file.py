"""One song to one sound file: the bytes of a job, all formats, standard streams, and what does not fit one file."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from pipeline.__main__ import main
from tests.support.pages import write_song

ROOT = Path(__file__).parents[2]


@pytest.fixture
def song(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a song in the working folder."""
    monkeypatch.chdir(tmp_path)
    write_song(tmp_path / "song.mid", range(60, 64))
    return tmp_path / "song.mid"


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["instruments.mode=random", "mix.panning=spread"],
        ["audio.sample_rate=44100", "mix.normalize=loudness", "audio.metadata=true"],
        ["audio.format=wav-float", "notes.reader=note_seq"],
    ],
)
def test_the_bytes_are_those_of_a_job(settings: list[str], song: Path, tiny: str) -> None:
    options = [word for setting in [f"checkpoint={tiny}", *settings] for word in ("--set", setting)]
    assert main(["song.mid", "-o", "one.wav", "--quiet", *options]) == 0
    assert main(["song.mid", "-o", "out", "--quiet", *options]) == 0
    assert Path("one.wav").read_bytes() == Path("out/audio/song.wav").read_bytes()
    assert sorted(path.name for path in song.parent.iterdir()) == ["one.wav", "out", "song.mid"]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "opus", "FLAC"])
def test_the_suffix_names_the_format(suffix: str, song: Path, tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["song.mid", "-o", f"x.{suffix}", "--set", f"checkpoint={tiny}"]) == 0
    info = soundfile.info(f"x.{suffix}")
    assert info.format == ("OGG" if suffix == "opus" else suffix.upper())
    assert info.samplerate == 16000
    assert f"x.{suffix}: 0:02, 12 notes" in capsys.readouterr().err


def test_standard_input_and_output(song: Path, tiny: str) -> None:
    assert main(["song.mid", "-o", "one.flac", "--quiet", "--set", f"checkpoint={tiny}"]) == 0
    code = "import sys; from pipeline.entry_point import command; sys.exit(command())"
    settings = ["--set", f"checkpoint={tiny}", "--set", "audio.format=flac"]
    command = [sys.executable, "-c", code, "-", "-o", "-", *settings]
    environment = {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "PATH": "", "HOME": str(song.parent)}
    done = subprocess.run(command, input=song.read_bytes(), capture_output=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == Path("one.flac").read_bytes()
    assert done.stderr.decode().strip() == "-: 0:02, 12 notes"
    assert soundfile.info(io.BytesIO(done.stdout)).frames


def test_a_folder_of_that_name_is_a_folder(song: Path, tiny: str) -> None:
    Path("odd.wav").mkdir()
    assert main(["song.mid", "-o", "odd.wav", "--quiet", "--set", f"checkpoint={tiny}"]) == 0
    assert Path("odd.wav/audio/song.wav").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["gone.mid"], 2, "--input gone.mid: does not exist"),
        (["empty.mid"], 1, "error: empty.mid: the file is empty"),
        (["folder"], 2, "--input folder: a folder; a sound file holds one song"),
        (["song.mid", "song.mid"], 2, "a sound file holds one song; name one MIDI file, or an output folder"),
        (["@list.txt"], 2, "a sound file holds one song"),
        ([], 2, "a sound file holds one song"),
        (["song.mid", "--runner=DirectRunner"], 2, "one song is rendered without Beam"),
        (["song.mid", "--dry-run"], 2, "--dry-run: needs an output folder; --output x.wav is one file"),
        (["song.mid", "--set", "audio.format=flac"], 2, "audio.format is flac; name the file *.flac"),
        (["song.mid", "--set", "stems.by=track"], 2, "stems.by needs an output folder"),
        (["song.mid", "-o", "/proc/x.wav"], 2, "--output /proc/x.wav: cannot be written"),
    ],
)
def test_what_does_not_fit_a_single_file(
    arguments: list[str], code: int, message: str, song: Path, tiny: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty.mid").touch()
    Path("folder").mkdir()
    assert main(["render", "-o", "x.wav", "--set", f"checkpoint={tiny}", *arguments]) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not Path("x.wav").exists()
