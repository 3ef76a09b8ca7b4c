"""The command line: speed of --help, misspelt options, error messages and exit codes."""

from __future__ import annotations

import subprocess
import sys
import wave
from pathlib import Path

import pytest

from pipeline import invocation
from pipeline.__main__ import EXAMPLES, main

ROOT = Path(__file__).parents[2]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from pipeline.__main__ import main\n"
        "try:\n    main(['render', '--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "heavy = {'tensorflow', 'apache_beam', 'note_seq', 'librosa', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--input" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--outptu", "x"], r"--outptu: unknown option; did you mean --output\?"),
        (["--runer=DirectRunner"], r"--runer: unknown option; did you mean --runner\?"),
        (["--set", "note.drums=play"], "unknown key note; did you mean notes"),
        (["--direct_running_mode=multi_threading"], "loses elements"),
        (["--runner=DaskRunner"], "silently wrong"),
        (
            ["--runner=portable", "--job_endpoint=x:1", "--environment_type=LOOPBACK", "--fail-fast"],
            "enforced only by local runners; leave it out. With PortableRunner, ",
        ),
        (["--input", "/nowhere/*.mid"], "the folder /nowhere does not exist"),
        (["-"], "standard input holds one song; write --output song.wav"),
        (["--set", "time_stretch=1.3"], r"unknown key time_stretch; did you mean notes.time_stretch\?"),
        (["--set", "notes.attack=0.1"], r"unknown key notes.attack; did you mean envelope.attack\?"),
        (["--set", "atack=0.1"], r"unknown key atack; did you mean envelope.attack\?"),
        (["--set", "format=flac"], r"did you mean stems.format or audio.format or dataset.format\?"),
        (["--set", "notes.drums=["], "--set notes.drums=.: not valid YAML: at its end: a value is missing"),
        (["--max-failures", "5%%"], r"max_failures: a number of songs, or a share such as 2% \(given: '5%%'\)"),
        (["--set", "audio={format: mp3, sample_rate: 96000}"], "audio: mp3 has no sample rate of 96000 Hz"),
        (["--config", "/nowhere.yaml"], "cannot be read"),
        (["--set", "checkpoint=/nowhere"], "no such folder, and not a known name"),
        (["--output", "/proc/nowhere"], "--output /proc/nowhere: cannot be written"),
        (["--set", "instruments.programs={0: kazoo}"], "no instrument 'kazoo' in the bank"),
        (["--set", "envelope={long_notes: cut, max_sustain: 30}"], "longer than the checkpoint's notes"),
        (["--set", "drums.kit=/nowhere"], "drums.kit /nowhere: "),
    ],
)
def test_wrong_usage_ends_with_2_and_says_why(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    given = arguments if "--output" in arguments else [*arguments, "--output", str(tmp_path / "out")]
    assert main(["render", *given]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert "Traceback" not in error
    assert not (tmp_path / "out" / "manifest.jsonl").exists()


def test_files_that_would_overwrite_each_other_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    for name in ("x.mid", "X.mid"):
        (tmp_path / "in" / name).write_bytes(b"MThd")
    # A file system on which .WRITABLE exists after .writable is written ignores case.
    (tmp_path / "out" / ".rows").mkdir(parents=True)
    (tmp_path / "out" / ".rows" / ".WRITABLE").touch()
    assert main(["render", str(tmp_path / "in"), "--output", str(tmp_path / "out")]) == 2
    assert "the files of X.mid and x.mid would overwrite each other" in capsys.readouterr().err


def test_the_word_render_may_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    assert main([str(tmp_path / "in"), "-o", str(tmp_path / "out")]) == 2
    assert main(["-o", str(tmp_path / "out"), str(tmp_path / "in")]) == 2
    assert capsys.readouterr().err.count("the folder is empty") == 2
    with pytest.raises(SystemExit) as end:
        main(["rendr"])
    assert end.value.code == 2
    assert "no command or file rendr; did you mean render?" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["render", "plan", "preview"])
def test_help_shows_percent_signs_once(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert "%%" not in shown
    assert command == "preview" or "--max-failures N|N%" in shown


def test_a_config_with_an_error_is_shown_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("notes:\n  drums: play\n\tmin_pitch: 30\n")
    assert main(["render", "--config", str(path)]) == 2
    assert f"--config {path}: not valid YAML: line 3, column 1 (min_pitch: 30): a tab" in capsys.readouterr().err
    path.write_text("notes:\n  drums: play\n  min_pitch: 30\n  drums: skip\n")
    assert main(["render", "--config", str(path)]) == 2
    assert f"--config {path}: line 4: drums is given twice, first in line 2." in capsys.readouterr().err


def test_printed_commands_can_be_pasted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = Path(sys.executable).parent / invocation.PROGRAM
    assert here.exists()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert invocation.command_line(["plan", "a b"]) == f"{here} plan 'a b'"
    (tmp_path / invocation.PROGRAM).touch(mode=0o755)  # of another environment
    assert invocation.command_line(["plan"]) == f"{here} plan"
    monkeypatch.setenv("PATH", str(here.parent))
    assert invocation.command_line(["plan"]) == "gansynth-beam plan"


def test_a_single_failure_prints_its_message(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with wave.open(str(tmp_path / "a.mid"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(100))
    options = ["-o", str(tmp_path / "out"), "--set", f"checkpoint={tiny}"]
    assert main([str(tmp_path / "a.mid"), *options]) == 1
    shown = capsys.readouterr().err
    assert "1 failed, see errors.jsonl:\n  a.mid: the file is WAV, which holds audio" in shown


@pytest.mark.parametrize("songs", [1, 9])
def test_a_quiet_job_prints_its_failures_alone(
    songs: int, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(songs):
        (tmp_path / f"{number}.mid").write_bytes(b"RIFF\0\0\0\0WAVEfmt ")
    settings = ["--set", f"checkpoint={tiny}", "--set", "compute.workers=1"]
    assert main(["render", str(tmp_path), "--output", str(tmp_path / "out"), "--quiet", *settings]) == 1
    first, *others = capsys.readouterr().err.splitlines()
    assert first == f"{songs} failed, see errors.jsonl:"
    assert [line.split()[0] for line in others] == ["0.mid:" if songs == 1 else "9"]


def test_the_examples_are_there() -> None:
    assert len(list(EXAMPLES.glob("*.mid"))) == 3
