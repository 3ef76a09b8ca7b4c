"""Names that move the cursor, terminals that cannot show them, closed pipes, and Python files among the songs."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.terminal import printable, say, shows_links
from tests.support.pages import write_song

ROOT = Path(__file__).parents[2]
EVIL = "\x1b[2J\x1b]0;owned\x07\r\x9b31m\u202e\udcff"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Returns the installed program, as pip writes it."""
    path = tmp_path / "bin" / "gansynth-beam"
    path.parent.mkdir()
    path.write_text(
        "import sys\nfrom pipeline.entry_point import command\nif __name__ == '__main__':\n    sys.exit(command())\n"
    )
    return path


def call(program: Path, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    variables = {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"} | environment
    command = [sys.executable, str(program), *arguments]
    return subprocess.run(command, cwd=cwd, env=os.environ | variables, capture_output=True, check=False)


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Returns a folder with a song, and Python files with the names of modules, each of which leaves a mark."""
    folder = tmp_path / "corpus"
    write_song(folder / "song.mid", range(60, 62))
    for name in (
        "yaml",
        "argparse",
        "numpy",
        "pickle",
        "multiprocessing",
        "socket",
        "struct",
        "pipeline",
        "tensorflow",
    ):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'MARK')!r}, 'a').write({name!r} + ' ')\n")
    return folder


def test_python_files_among_the_songs_are_not_imported(program: Path, hostile: Path, tiny: str, tmp_path: Path) -> None:
    write_song(hostile / "other.mid", range(60, 62))
    settings = (f"checkpoint={tiny}", "compute.workers=2", "spectrogram.png=false", "compute.slice_songs=1")
    options = [word for setting in settings for word in ("--set", setting)]
    done = call(program, "render", ".", "--output", str(tmp_path / "out"), *options, cwd=hostile)
    assert done.returncode == 0, done.stderr.decode()
    assert not (hostile / "MARK").exists(), (hostile / "MARK").read_text()
    assert len((tmp_path / "out" / "manifest.jsonl").read_text().splitlines()) == 2


def test_everything_that_users_are_told_to_type_is_the_program() -> None:
    told = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("notebooks/*"), *ROOT.glob("*.sh")]
    told += [*ROOT.glob("pipeline/*.py"), *ROOT.glob("configs/*")]
    assert len(told) > 20
    for path in told:
        assert not re.search(r"python -m pipeline (render|plan|preview)", path.read_text(encoding="utf-8")), path


def test_control_characters_are_escaped() -> None:
    assert printable(f"a{EVIL}\nb\té") == ("a\\x1b[2J\\x1b]0;owned\\x07\\r\\x9b31m\\u202e\\udcff\nb\\té")


def test_names_never_reach_the_terminal_raw(tmp_path: Path, tiny: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / f"in{EVIL}"
    write_song(folder / f"{EVIL}.mid", range(60, 62))
    assert main(["render", str(folder), "--set", f"checkpoint={tiny}", "--dry-run"]) == 0
    assert main(["render", str(folder / f"none{EVIL}"), "--set", f"checkpoint={tiny}"]) == 2
    bank = tmp_path / "bank.yaml"
    names = ["--names", f"a{EVIL}", "--as", str(bank)]
    assert main(["preview", "--checkpoint", tiny, "--count", "2", "--keep", "0", *names]) in (0, 2)
    bank.write_text(f'instruments:\n- {{name: "a\\e[2J", latent: {[0.5] * 16}}}\n- {{name: b, latent: [1]}}')
    assert main(["preview", "--checkpoint", tiny, "--bank", str(bank)]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("\\x1b[2J") >= 2
    assert captured.err.count("\\x1b[2J") >= 2
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\udc80-\udcff]", captured.out + captured.err)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "shows"),
    [
        ({"TERM": "xterm-256color", "VTE_VERSION": "7600"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "4800"}, False),
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, True),
        ({"TERM": "screen.xterm-256color", "VTE_VERSION": "7600"}, False),
        ({"TERM": "dumb", "VTE_VERSION": "7600"}, False),
        ({"TERM": "dumb", "FORCE_HYPERLINK": "1"}, True),
        ({"TERM": "xterm-kitty", "FORCE_HYPERLINK": "0"}, False),
    ],
)
def test_links_are_shown_by_terminals_that_can(
    variables: dict[str, str], shows: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM", "VTE_VERSION", "TERM_PROGRAM", "WT_SESSION", "KONSOLE_VERSION", "FORCE_HYPERLINK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    say("Outputs: a\x1b (open index.html)", links={"index.html": "/tmp/a b/\x1b]8;;x/index.html"})
    link = "\x1b]8;;file:///tmp/a%20b/%1B%5D8%3B%3Bx/index.html\x1b\\index.html\x1b]8;;\x1b\\"
    assert stream.getvalue() == f"Outputs: a\\x1b (open {link if shows else 'index.html'})\n"
    assert shows_links(io.StringIO()) == ("FORCE_HYPERLINK" in variables and shows)


def test_terminals_that_lack_characters(program: Path, tmp_path: Path, tiny: str) -> None:
    write_song(tmp_path / "in" / "é\u4e2d.mid", range(60, 62))
    locale = {"PYTHONIOENCODING": "ascii:strict", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    arguments = ["render", "in", "--set", f"checkpoint={tiny}", "--dry-run"]
    done = call(program, *arguments, cwd=tmp_path, **locale)
    assert b"Traceback" not in done.stderr
    assert done.returncode == 0, done.stderr
    assert b"1 files" in done.stdout


@pytest.mark.parametrize(("stream", "closed"), [("stdout", "pipe"), ("stderr", "pipe"), ("stderr", "descriptor")])
def test_closed_streams(stream: str, closed: str, program: Path, tmp_path: Path, tiny: str) -> None:
    write_song(tmp_path / "in" / "a.mid", range(60, 62))
    target = "in" if stream == "stdout" else "nowhere"
    number = {"stdout": 1, "stderr": 2}[stream]
    command = [sys.executable, str(program), "render", target, "--set", f"checkpoint={tiny}", "--dry-run"]
    reader, writer = os.pipe()
    os.close(reader)
    with (tmp_path / "other").open("wb") as other:
        shell = ["sh", "-c", f'exec "$@" {number}>&-', "sh", *command] if closed == "descriptor" else command
        streams = {"stdout": other, "stderr": other} | {stream: writer}
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
        code = subprocess.run(shell, cwd=tmp_path, env=environment, check=False, **streams).returncode
    os.close(writer)
    assert code == (0 if stream == "stdout" else 2)
    assert b"Traceback" not in (tmp_path / "other").read_bytes()
    assert b"Exception ignored" not in (tmp_path / "other").read_bytes()
