"""The command line: speed of --help, misspelt options, error messages and exit codes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
        (["--input", "/nowhere/*.mid"], "no MIDI file found"),
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


def test_the_examples_are_there() -> None:
    assert len(list(EXAMPLES.glob("*.mid"))) == 3
