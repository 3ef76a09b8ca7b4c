"""Song ids and names of their files: they are unique, and none leads out of the output folder."""

from __future__ import annotations

import os
import posixpath
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from gansynth.audio.encode import SUFFIX
from gansynth.io import files
from gansynth.io.paths import (
    OUTPUT_SUFFIXES,
    UNFINISHED,
    common_root,
    has_midi_suffix,
    is_pattern,
    output_folder,
    output_name,
    path_of,
    pattern_root,
    song_id,
    song_of,
    stem_name,
)

# Mostly what is dangerous.
DANGEROUS = st.sampled_from('ab.%~/\\ :*?\x00\n"<>|Aé\u0301\u212b\u200b')
WORDS = st.sampled_from(["CON", "nul", "com1", "LPT²", "é", "e\u0301", "\u212b", "%2E", "..", "x" * 250, "é" * 120])
PARTS = st.text(DANGEROUS | st.characters(codec="utf-8"), max_size=12) | WORDS
SUFFIXES = st.sampled_from(["", ".mid", ".midi", ".MID", ".kar", ".mid.mid", ".mid%", ".", " "])
WALKS = st.lists(st.sampled_from(["..", ".", "", "a", "x.mid", "%2E", "con", "y" * 190]), max_size=9).map("/".join)
NAMES = st.builds(str.__add__, PARTS, SUFFIXES) | WALKS


@given(NAMES, NAMES)
@example("x.mid", "x.midi")
@example("x.mid", "x.mid.mid")
@example("x.mid", "x")
@example("x", "x%")
@example("x.mid.mid", "x.mid")
@example("a/x.mid", "a%2Fx.mid")
@example("..", "%2E%2E")
@example("a//b.mid", "a/b.mid")
@example("a/%/b.mid", "a//b.mid")
@example("x.MID", "x.mid")
@example(".mid", "%.mid")
@example("a/.mid", "a/")
@example("é.mid", "e\u0301.mid")
def test_no_two_songs_share_files(one: str, other: str) -> None:
    assume(one != other)
    assert output_name(one) != output_name(other)


@given(NAMES)
@example("x.mid")
@example("a/.mid")
@example("a/")
@example("..")
@example("NUL.mid")
@example("x.mid%")
def test_the_song_is_known_by_its_files(name: str) -> None:
    found = output_name(name)
    assert song_of(found) == (None if "%~" in found else name)
    if len(name.encode()) < 60:
        assert song_of(found) == name


RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])", re.IGNORECASE)


@given(NAMES)
@example("../../etc/passwd.mid")
@example("/etc/passwd.mid")
@example("a/../../b.mid")
@example("..\\..\\b.mid")
@example("\x00.mid")
@example("")
@example("/")
@example(".mid")
@example("CON.mid")
@example("Nul .tar.mid")
@example("com¹/x.mid")
@example("a./b /c.mid")
@example("e\u0301.mid")
@example("/".join(["d" * 200] * 30) + "/x.mid")
def test_files_stay_below_the_output_folder_and_every_file_system_takes_their_names(name: str) -> None:
    found = output_name(name)
    assert found
    assert not found.startswith("/")
    path = posixpath.normpath(posixpath.join("/out/audio", found + ".wav"))
    assert path == "/out/audio/" + found + ".wav"  # neither "..", nor ".", nor an empty part
    assert not set(found) & set('\x00\n\\:*?"<>|')
    assert len(found.encode()) <= 800
    assert unicodedata.is_normalized("NFC", found)
    for part in (found + ".wav").split("/"):
        assert part.strip(".")
        assert part[-1] not in ". "
        assert not RESERVED.fullmatch(part.split(".")[0].rstrip(" "))
        assert len(part.encode()) <= 255


# Trees of names that have collided, or are made of what our own names are made of.
PIECES = st.sampled_from(
    ["a", "A", ".", "..", "...", "01-piano", ".writing-", ".done", "notes", "%", "%2E", " ", "e\u0301", "é", "CON"]
)
ENDINGS = st.sampled_from(["", *OUTPUT_SUFFIXES, ".MID", ".Wav", ".mid.wav", ".wav.mid", ".midi", ".mid.gz", "x" * 230])
TREE_PARTS = st.builds(str.__add__, PIECES, ENDINGS)
TREES = st.lists(st.lists(TREE_PARTS, min_size=1, max_size=3).map("/".join), min_size=2, max_size=8, unique=True)


def outputs_of(song: str) -> list[str]:
    """Returns the paths of all files that are ever written for a song."""
    name = output_name(song)
    stems = [f"stems/{output_folder(song)}/{stem_name(n, label)}.wav" for n, label in enumerate(("piano", "a.wav"))]
    return [
        *(f"audio/{name}{suffix}" for suffix in sorted(set(SUFFIX.values()))),
        *(f"spectrograms/{name}{suffix}" for suffix in (".png", ".npy")),
        *(f"notes/{name}{suffix}" for suffix in (".mid", ".json")),
        *(f"piano_rolls/{name}.png", f"rolls/{name}.js", f".done/{name}.json"),
        *stems,
    ]


@settings(max_examples=300)
@given(TREES)
@example(["..mid", "...mid"])
@example(["..mid", "x/...mid", "x.mid"])
@example(["a.mid", "a.wav/x.mid"])
@example(["a.mid", "A.WAV/x.mid", "a.mid/x.mid", "a.json/x.mid"])
@example(["a.mid", "a/01-piano.wav.mid"])
@example([".writing-x/a.mid", ".writing-a.mid"])
@example(["a" * 250 + ".wav/x.mid", "a" * 250 + ".mid"])
def test_distinct_songs_have_distinct_files_and_none_is_a_folder_of_another(songs: list[str]) -> None:
    """Paths are compared as by a file system that resolves dots and normal forms; case is left to `check_names`."""
    written = [unicodedata.normalize("NFD", posixpath.normpath(path)) for song in songs for path in outputs_of(song)]
    assert len(set(written)) == len(written)
    folders = {part for path in written for part in _above(path)}
    assert not folders & set(written)
    # A folder that differs only in case from a file would be that file where case is ignored.
    if len({path.casefold() for path in written}) == len(written):
        assert not {path.casefold() for path in folders} & {path.casefold() for path in written}
    assert not any(part.lower().startswith(UNFINISHED) for path in written for part in path.split("/"))
    assert all(path.split("/")[0] in FOLDERS and ".." not in path.split("/") for path in written)


FOLDERS = {"audio", "spectrograms", "piano_rolls", "rolls", "notes", "stems", ".done"}


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def test_the_suffixes_of_all_outputs_are_known() -> None:
    beside = {".jsonl", ".md"}  # audio/metadata.jsonl and audio/README.md
    assert {posixpath.splitext(path)[1] for path in outputs_of("a.mid")} | beside == set(OUTPUT_SUFFIXES)
    for name in ("metadata.jsonl", "README.md"):
        written = {part for song in (name, f"{name}/x.mid") for path in outputs_of(song) for part in _above(path)}
        assert f"audio/{name}" not in written | set(outputs_of(f"{name}.mid"))


def test_only_temporary_files_are_swept(tmp_path: Path) -> None:
    for name in (".writing-x/song.wav", "audio/.writing-1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files.sweep(str(tmp_path))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["song.wav"]


def test_plain_names_stay_readable() -> None:
    assert output_name("bach/prelude in C.mid") == "bach/prelude in C"
    assert output_name("bach/prélude.mid") == "bach/prélude"
    assert output_name("x.midi") == "x.midi"
    assert output_name("x.MID") == "x.MID"
    assert output_name("x.kar") == "x.kar"


@given(st.integers(150, 400), st.sampled_from("aé𝄞%"), SUFFIXES)
def test_long_names(length: int, character: str, suffix: str) -> None:
    names = [character * length + end + suffix for end in ("", "1", "2")]
    found = {output_name(name) for name in names}
    assert len(found) == 3
    assert all(len((name + ".wav").encode()) <= 255 for name in found)
    assert found == {output_name(name) for name in names}


def test_a_shortened_name_cannot_be_imitated() -> None:
    short = output_name("a" * 300 + ".mid")
    assert output_name(short) != short
    assert output_name(short + ".mid") != short


# Roots and ids


@pytest.mark.parametrize(
    ("roots", "common"),
    [
        (["/a/b", "/a/c"], "/a"),
        (["/a/b", "/a/b"], "/a/b"),
        (["/a/b", "/a/bc"], "/a"),
        (["/a", "/b"], ""),
        (["gs://x/a", "gs://x/b"], "gs://x"),
        (["gs://x/a", "gs://y/a"], "gs:/"),
        (["gs://x", "/x"], ""),
        (["/a/b"], "/a/b"),
        ([], ""),
    ],
)
def test_common_root(roots: list[str], common: str) -> None:
    assert common_root(roots) == common


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join), min_size=1, max_size=4))
def test_common_root_holds_all(roots: list[str]) -> None:
    root = common_root(roots)
    assert all(r == root or r.startswith(root + "/") or not root for r in roots)
    assert common_root([root, root]) == root


# Bytes that are no UTF-8, which Linux allows in names, and what they are written as.
RAW = st.text(st.sampled_from("ax0e9\\/é\udcff\udc80\udcc3\udca9"), max_size=12)


@given(RAW, RAW)
@example("caf\udce9", "caf\\xe9")
@example("/a", "a")
def test_ids_are_utf8_and_two_paths_never_have_the_same(one: str, other: str) -> None:
    for url, root in ((f"/in/{one}", "/in"), (f"/{one}", "")):
        found = song_id(url, root)
        found.encode()
        assert os.fsencode(path_of(found)) == os.fsencode(one)
        if os.fsencode(one) != os.fsencode(other):
            assert song_id(url[: len(url) - len(one)] + other, root) != found


@pytest.mark.parametrize(
    ("url", "root", "expected"),
    [
        ("/in/a/x.mid", "/in", "a/x.mid"),
        ("/in/x.mid", "/in/", "x.mid"),
        ("gs://bucket/in/a/x.mid", "gs://bucket/in", "a/x.mid"),
        ("gs://bucket/in/a/x.mid", "", "bucket/in/a/x.mid"),
        ("/in/x.mid", "", "in/x.mid"),
    ],
)
def test_song_id(url: str, root: str, expected: str) -> None:
    assert song_id(url, root) == expected


URLS = st.lists(st.sampled_from(["a", "b", "ab", "x.mid"]), min_size=1, max_size=4).map(lambda p: "/" + "/".join(p))


@given(st.lists(URLS, min_size=2, max_size=4, unique=True))
def test_ids_below_a_common_root_differ(urls: list[str]) -> None:
    root = common_root(posixpath.dirname(url) for url in urls)
    assert len({song_id(url, root) for url in urls}) == len(urls)


def test_patterns() -> None:
    patterns = ("/in/**/*.mid", "/in/a*/x.mid", "/in/a/x.mid", "gs://b/in/x?.mid", "*.mid")
    assert [pattern_root(pattern) for pattern in patterns] == ["/in", "/in", "/in/a", "gs://b/in", ""]
    assert [is_pattern(url) for url in ("a*b", "a?", "a[0]", "a/b.mid")] == [True, True, True, False]
    assert all(has_midi_suffix(name) for name in ("x.mid", "x.MIDI", "x.Kar", "x.mid.gz", "x.KAR.GZ"))
    assert not any(has_midi_suffix(name) for name in ("x.mid.txt", "mid"))
