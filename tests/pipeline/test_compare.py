"""Comparisons, through the command line: their page, sounds, gains and differences, and what cannot be compared."""

from __future__ import annotations

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from gansynth.audio import loudness
from pipeline import compare
from pipeline.__main__ import main
from tests.support.pages import NAMES, Page, manifest, write_song


def told(folder: Path) -> dict[str, Any]:
    """Returns what the page is told."""
    scripts = Page((folder / "index.html").read_text("utf-8")).scripts
    (text,) = [text for attributes, text in scripts if attributes.get("id") == "comparison"]
    found: dict[str, Any] = json.loads(text)
    return found


def sound(folder: Path, src: str) -> tuple[np.ndarray, int]:
    script = (folder / f"{src}.js").read_text("utf-8")
    _, text = json.loads(f"[{script.removeprefix('gansynth.take(').removesuffix(');' + chr(10))}]")
    clip, rate = soundfile.read(io.BytesIO(base64.b64decode(json.loads(text))), dtype="float32")
    return clip, rate


def test_songs_are_there_at_the_same_loudness(comparison: Path) -> None:
    data = told(comparison)
    assert data["versions"] == ["a", "b"]
    assert [song["id"] for song in data["songs"]] == ["one.mid", "two.mid"]
    for song in data["songs"]:
        heard = []
        for name, src, gain in zip("ab", song["sounds"], song["gains"], strict=True):
            clip, rate = sound(comparison, src)
            original, _ = soundfile.read(comparison.parent / name / "audio" / f"{song['title']}.wav", dtype="float32")
            np.testing.assert_array_equal(clip, original)
            assert 0 < gain <= 1
            heard.append(loudness.integrated(np.float32(gain) * clip, rate))
        assert abs(song["loudness"][0] - song["loudness"][1]) > 3
        assert heard[0] == pytest.approx(heard[1], abs=0.05)


def test_differences_of_settings_are_named(comparison: Path) -> None:
    text = Page((comparison / "index.html").read_text("utf-8")).text
    assert "notes.time_stretch" in text
    assert "mix.peak" in text
    assert "envelope.attack" not in text
    assert "input" not in text.split()
    versions = [compare.Version("", name, {"x.y": value}, {}) for name, value in (("a", "1"), ("b", "2"))]
    versions.append(compare.Version("", "c", {}, {}))
    assert compare.differences(versions) == [("x.y", ["1", "2", "default"])]


def test_names_tell_folders_apart() -> None:
    assert compare._names(["x/out", "y/out/"]) == ["x/out", "y/out"]
    assert compare._names(["a", "gs://b/c"]) == ["a", "c"]
    assert compare._names(["a", "a"]) == ["1 a", "2 a"]


def test_no_name_becomes_html(site: Path, tmp_path: Path) -> None:
    other = tmp_path / "<b>copy"
    shutil.copytree(site, other)
    assert main(["compare", str(site), str(other), "-o", str(tmp_path / "page"), "--quiet"]) == 0
    data = told(tmp_path / "page")  # the parser fails on elements that are not well nested
    assert len(data["songs"]) == len(NAMES)
    assert data["versions"][1] == "<b>copy"
    assert all(gain == 1 for song in data["songs"] for gain in song["gains"])


def test_what_is_left_out_is_told(
    comparison: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [str(comparison.parent / name) for name in "ab"]
    assert main(["compare", *both, "-o", str(tmp_path), "--songs", "1"]) == 0
    assert (
        "1 songs, 2 versions (left out: 1 not in all folders, 1 after the first 1 (--songs))" in capsys.readouterr().err
    )
    monkeypatch.setattr(compare, "MOST_BYTES", 10)
    assert main(["compare", *both, "-o", str(tmp_path)]) == 2
    assert "no song's sound file is smaller" in capsys.readouterr().err


def test_what_cannot_be_compared(
    comparison: Path, tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (str(comparison.parent / name) for name in "ab")
    write_song(tmp_path / "in" / "other.mid", range(60, 62))
    other = str(tmp_path / "other")
    assert main([str(tmp_path / "in"), "-o", other, "--quiet", "--set", f"checkpoint={tiny}"]) == 0
    evil = tmp_path / "evil"
    shutil.copytree(a, evil)
    rows = manifest(evil)
    rows[0]["outputs"]["audio"] = "../../etc/passwd"
    (evil / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for arguments, message in (
        ([a], "name 2 to 9 output folders, not 1"),
        ([a, str(tmp_path / "nowhere")], "nowhere: has no manifest.jsonl"),
        ([a, other], "no song is in all of"),
        ([a, str(evil)], "names no sound file inside the folder"),
        ([a, b, "-o", b], "is one of the folders that are compared"),
    ):
        assert main(["compare", "-o", str(tmp_path / "page"), *arguments]) == 2
        assert message in capsys.readouterr().err
