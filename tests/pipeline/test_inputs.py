from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from gansynth.errors import ConfigError
from pipeline.inputs import list_sources


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a/x.mid", "b/x.mid", "b/deep/Y.MIDI", "b/notes.txt", "b/z.kar", "odd [1].mid"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"MThd")
    return tmp_path / "in"


def ids(*patterns: str) -> list[str]:
    return [source.song_id for source in list_sources(patterns)]


def test_a_folder_gives_all_midi_files_below_it(tree: Path) -> None:
    assert ids(str(tree)) == ["a/x.mid", "b/deep/Y.MIDI", "b/x.mid", "b/z.kar", "odd [1].mid"]


def test_patterns_keep_the_folders_below_their_root(tree: Path) -> None:
    assert ids(f"{tree}/**/*.mid") == ["a/x.mid", "b/x.mid", "odd [1].mid"]
    assert ids(f"{tree}/b/*") == ["notes.txt", "x.mid", "z.kar"]


def test_two_inputs_never_collide(tree: Path) -> None:
    assert ids(f"{tree}/a/*.mid", f"{tree}/b/*.mid") == ["a/x.mid", "b/x.mid"]
    assert ids(f"{tree}/a/x.mid", f"{tree}/b/x.mid") == ["a/x.mid", "b/x.mid"]


def test_a_file_named_twice_is_rendered_once(tree: Path) -> None:
    assert ids(f"{tree}/a", f"{tree}/a/x.mid") == ["x.mid"]


def test_a_file_whose_name_looks_like_a_pattern_is_found(tree: Path) -> None:
    assert ids(f"{tree}/odd [1].mid") == ["odd [1].mid"]


def test_relative_paths_work(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    assert ids("a") == ["x.mid"]
    assert ids("b/**/*.MIDI") == ["deep/Y.MIDI"]


def test_other_file_systems_work() -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe("/songs/a/x.mid", b"MThd")
    fs.pipe("/songs/y.mid", b"MThd")
    assert ids("memory://songs") == ["a/x.mid", "y.mid"]
    assert [source.url for source in list_sources(["memory://songs/*.mid"])] == ["memory:///songs/y.mid"]


def test_a_pattern_without_files_is_named(tree: Path) -> None:
    with pytest.raises(ConfigError, match=r"--input .*nothing/\*\.mid: no MIDI file found"):
        ids(str(tree), f"{tree}/nothing/*.mid")
