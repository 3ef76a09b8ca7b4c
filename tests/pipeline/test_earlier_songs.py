"""An output folder that several jobs write into: songs of earlier jobs stay listed, and outputs are never inputs."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from gansynth.model import checkpoint
from pipeline.__main__ import main
from tests.support.pages import manifest
from tests.support.processes import run_without_tensorflow

ROOT = Path(__file__).parents[2]
MIDI = ROOT / "tests" / "data" / "midi"
SMALL = ("spectrogram.png=false", "piano_roll.png=false", "compute.workers=1", "played_notes=[midi]")


class Folder:
    """A corpus and its output folder."""

    def __init__(self, root: Path, checkpoint: str) -> None:
        self.root, self.out, self._checkpoint = root, root / "out", checkpoint

    def add(self, **songs: str) -> None:
        """Copies test songs: `A__x="order"` writes A/x.mid."""
        for name, song in songs.items():
            path = self.root / f"{name.replace('__', '/')}.mid"
            path.parent.mkdir(exist_ok=True)
            shutil.copy(MIDI / f"{song}.mid", path)

    def arguments(self, inputs: str, *options: str, command: str = "render") -> list[str]:
        settings = [word for setting in (*SMALL, f"checkpoint={self._checkpoint}") for word in ("--set", setting)]
        return [command, str(self.root / inputs), "--output", str(self.out), *settings, *options]

    def render(self, inputs: str, *options: str) -> int:
        return main(self.arguments(inputs, *options))

    @property
    def listed(self) -> dict[str, str]:
        """Returns the ids in the lists, with their error codes."""
        return {row["song_id"]: row.get("code", "") for name in LISTS for row in manifest(self.out, name)}

    def files(self) -> set[str]:
        return {path.relative_to(self.out).as_posix() for path in self.out.rglob("*") if path.is_file()}


LISTS = ("manifest.jsonl", "errors.jsonl")


@pytest.fixture
def folder(tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Folder(tmp_path, tiny)


def test_songs_of_earlier_jobs_stay_listed(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.add(A__one="one_note", A__bad="not_midi", B__two="order")
    assert folder.render("A") == 3
    first = (folder.out / "manifest.jsonl").read_text()
    capsys.readouterr()
    assert folder.render("B") == 0  # accounting is of this job alone
    said = capsys.readouterr().err
    assert "1 of 1 songs rendered" in said
    assert "2 songs of earlier jobs are listed too" in said
    assert folder.listed == {"one.mid": "", "bad.mid": "midi-not-midi", "two.mid": ""}
    assert (folder.out / "manifest.jsonl").read_text().startswith(first)
    page = (folder.out / "index.html").read_text()
    assert all(name in page for name in ("audio/one.wav", "audio/two.wav", "bad.mid"))
    both = folder.files()

    assert folder.render("B", "--prune") == 0
    assert folder.listed == {"two.mid": ""}
    assert both - folder.files() == {"audio/one.wav", "notes/one.mid", "rolls/one.js", ".done/one.json"}
    assert "audio/one.wav" not in (folder.out / "index.html").read_text()


def test_songs_of_a_job_that_was_killed_are_listed_by_the_next(folder: Folder) -> None:
    folder.add(A__one="one_note", B__two="order")
    assert folder.render("A") == 0
    row = {"status": "rendered", **manifest(folder.out)[0]}
    (folder.out / ".rows" / "killed").mkdir(parents=True)
    (folder.out / ".rows" / "killed" / "part-0.jsonl").write_text(json.dumps(row) + "\n")
    (folder.out / "manifest.jsonl").unlink()
    assert folder.render("B") == 0
    assert folder.listed == {"one.mid": "", "two.mid": ""}
    assert not (folder.out / ".rows").exists()


def test_the_same_id_from_another_source_is_refused(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.add(A__x="one_note", B__x="order")
    assert folder.render("A") == 0
    before = {name: (folder.out / name).read_bytes() for name in folder.files()}
    for command in ("render", "plan"):
        assert main(folder.arguments("B", command=command)) == 2
        said = capsys.readouterr().err
        assert f"x.mid is there already, from {folder.root}/A/x.mid, and {folder.root}/B/x.mid would replace" in said
    assert {name: (folder.out / name).read_bytes() for name in folder.files()} == before
    assert folder.render("B", "--overwrite") == 0
    assert [row["source"] for row in manifest(folder.out)] == [f"{folder.root}/B/x.mid"]


def test_a_corpus_that_was_moved_has_the_same_songs(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.add(A__x="one_note")
    assert folder.render("A") == 0
    (folder.root / "A").rename(folder.root / "B")
    assert folder.render("B") == 0
    assert "1 of 1 songs done before" in capsys.readouterr().err
    assert [row["source"] for row in manifest(folder.out)] == [f"{folder.root}/B/x.mid"]


def test_songs_of_other_settings_are_no_longer_listed_and_that_is_told(
    folder: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.add(A__one="one_note", B__two="order")
    assert folder.render("A") == 0
    louder = ("--set", "mix.peak=0.5", "--overwrite")
    assert folder.render("B", *louder) == 0
    assert "1 songs of earlier jobs with other settings are no longer listed" in capsys.readouterr().err
    assert folder.listed == {"two.mid": ""}
    assert "audio/one.wav" in folder.files()
    assert folder.render("B", *louder, "--prune") == 0
    assert "audio/one.wav" not in folder.files()


def test_prune_removes_nothing_but_outputs(folder: Folder) -> None:
    folder.add(A__one="one_note", B__two="order")
    assert folder.render("A") == 0
    record = folder.out / ".done" / "one.json"
    row = json.loads(record.read_text())
    row["outputs"] |= {"evil": "../B/two.mid", "other": "notes/../../B/two.mid", "mine": "letter.txt"}
    record.write_text(json.dumps(row))
    (folder.out / "letter.txt").touch()
    assert folder.render("B", "--prune") == 0
    assert (folder.root / "B" / "two.mid").exists()
    assert (folder.out / "letter.txt").exists()


def test_a_damaged_list_is_named(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.add(A__one="one_note")
    assert folder.render("A") == 0
    for content in ('{"song_id": "x.mid"}', "[]", "no JSON"):
        (folder.out / "manifest.jsonl").write_text(f"{content}\n")
        assert folder.render("A") == 2
        assert "manifest.jsonl, line 1: is not a row of this program" in capsys.readouterr().err


# Input and output overlap


def test_outputs_are_never_inputs(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder.add(one="one_note", A__two="order")
    monkeypatch.chdir(folder.root)
    for pattern in (".", ".", "**/*.mid", str(folder.root), "*/*.mid"):
        assert folder.render(str(folder.root / pattern)) == 0
        assert folder.listed == {"one.mid": "", "A/two.mid": ""}
    assert "notes/one.mid" in folder.files()
    assert "2 files were left out, since this program has written them" in caplog.text
    other = Folder(folder.root, folder._checkpoint)
    other.out = folder.root / "second"
    assert other.render(".") == 0
    assert other.listed == {"one.mid": "", "A/two.mid": ""}


def test_a_folder_may_be_input_and_output(folder: Folder) -> None:
    folder.add(out__x="one_note", out__a__notes="order")
    for _ in range(3):
        assert folder.render("out") == 0
        assert folder.listed == {"x.mid": "", "a/notes.mid": ""}
    assert (folder.out / "x.mid").read_bytes() == (MIDI / "one_note.mid").read_bytes()


@pytest.mark.parametrize("link", [False, True])
def test_writing_onto_an_input_is_refused(link: bool, folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.add(same__x="one_note", same__notes="order")
    (folder.root / "same" / "notes").mkdir()
    shutil.copy(MIDI / "order.mid", folder.root / "same" / "notes" / "x.mid")
    folder.out = folder.root / "same"
    if link:
        folder.out = folder.root / "linked"
        folder.out.symlink_to("same")
    before = (folder.root / "same" / "notes" / "x.mid").read_bytes()
    for command in ("render", "plan"):
        assert main(folder.arguments("same", command=command)) == 2
        assert "same/notes/x.mid is in a folder that this job would write into" in capsys.readouterr().err
    assert main(folder.arguments("same", "--dry-run")) == 2
    assert (folder.root / "same" / "notes" / "x.mid").read_bytes() == before
    assert not (folder.root / "same" / "audio").exists()


# A finished job


def test_a_finished_job_says_so_without_the_model(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.add(A__one="one_note", A__two="order", A__three="sustain", A__bad="not_midi")
    assert folder.render("A") == 3
    before = {name: (folder.out / name).read_bytes() for name in folder.files()}
    checkpoint.digest(folder._checkpoint)  # as after a job in a process that had not loaded the model before
    done = run_without_tensorflow(folder.arguments("A"))
    assert done.returncode == 3, done.stderr
    text = "3 of 4 songs done before, nothing to render; 1 fail as before"
    assert text in done.stderr
    assert {name: (folder.out / name).read_bytes() for name in folder.files()} == before
    capsys.readouterr()
    assert main(folder.arguments("A", "--dry-run")) == 0
    assert text in capsys.readouterr().out
    assert main(folder.arguments("A", "--no-calibration", command="plan")) == 3
    assert text in " ".join(capsys.readouterr().out.split())


def test_what_has_changed_is_not_done_before(folder: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    folder.add(A__one="one_note", A__two="order")
    assert folder.render("A") == 0
    os.truncate(folder.out / "audio" / "one.wav", 100)
    capsys.readouterr()
    assert main(folder.arguments("A", "--dry-run")) == 0
    assert "1 of 2 songs done before; 1 files" in capsys.readouterr().out
    assert folder.render("A") == 0
    assert "2 of 2 songs rendered" in capsys.readouterr().err
    assert folder.render("A", "--overwrite") == 0
    assert "2 of 2 songs rendered" in capsys.readouterr().err
