from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from gansynth.errors import ConfigError
from gansynth.io import archives, files
from pipeline.__main__ import main
from pipeline.inputs import Listing, check_names, list_sources
from transforms.elements import Source


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


def test_two_files_are_never_called_the_same(tree: Path, tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    fs.pipe(f"{tree}/a/x.mid", b"MThd")
    with pytest.raises(
        ConfigError, match=r"memory://.*/in/a/x\.mid would have the same song id as another input, .*in/a/x\.mid"
    ):
        ids(f"{tree}/a/x.mid", f"memory://{tree}/a/x.mid")
    archive = make_zip(tmp_path / "odd.zip", ["/x.mid", "x.mid", "\\x.mid", "a/../x.mid"])
    assert ids(archive) == ["/x.mid", "x.mid", "\\\\x.mid", "a/../x.mid"]


def test_names_that_differ_in_case_alone_need_a_folder_that_tells_them_apart() -> None:
    check_names([Source(name, "") for name in ("x.mid", "x.midi", "X.MID", "y/é.mid", "y/e\u0301.mid")])
    with pytest.raises(ConfigError, match=r"files of a/X.mid and A/x.mid would overwrite each other"):
        check_names([Source(name, "") for name in ("a/X.mid", "b.mid", "A/x.mid")])


def test_a_file_whose_name_looks_like_a_pattern_is_found(tree: Path) -> None:
    assert ids(f"{tree}/odd [1].mid") == ["odd [1].mid"]


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("{}/bb", "does not exist; did you mean {}/b?"),
        ("{}/nothing/x.mid", "does not exist."),
        ("{}/empty", "the folder is empty."),
        ("{}/empty/**", "no file matches the pattern; its folder is empty."),
        ("{}/texts", "the folder holds 3 files, none of them MIDI (.txt, without suffix)"),
        ("{}/texts/*.mid", "no file matches the pattern; its folder holds 3 files, none of them MIDI (.txt"),
        ("{}/a/*.kar", "no file matches the pattern; its folder holds 1 file, 1 of them MIDI."),
        ("{}/one", "the folder holds 1 file, not MIDI (.wav)"),
        ("{}/other.zip", "the archive holds 2 files, none of them MIDI (.txt)"),
        ("{}/empty.zip", "the archive is empty."),
    ],
)
def test_why_nothing_was_found(pattern: str, reason: str, tree: Path) -> None:
    for folder, names in {"empty": (), "texts": ("a.txt", "b.TXT", "c"), "one": ("a.wav",)}.items():
        (tree / folder).mkdir()
        for name in names:
            (tree / folder / name).touch()
    make_zip(tree / "other.zip", ["1.txt", "2.txt"])
    make_zip(tree / "empty.zip", [])
    with pytest.raises(ConfigError) as error:
        ids(pattern.format(tree))
    assert str(error.value).startswith(f"--input {pattern.format(tree)}: {reason.format(tree)}")


def test_a_second_pattern_may_have_been_meant_as_the_output(tree: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"/out: does not exist; if it is the output folder, write --output .*/out\.$"
    ):
        ids(f"{tree}/a", f"{tree}/out")


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
    with pytest.raises(ConfigError, match=r"--input .*nothing/\*\.mid: the folder .*nothing does not exist\."):
        ids(str(tree), f"{tree}/nothing/*.mid")


# Lists and archives


def make_zip(path: Path, names: list[str]) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"MThd")
    return str(path)


def test_a_list_names_files_and_archives(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_zip(tree / "b" / "more.zip", ["m/1.mid", "2.mid", "readme"])
    monkeypatch.chdir(tree)
    lines = ["# songs", f"{tree}/a/x.mid", "", "b/x.mid", "a/x.mid", "b/more.zip", "b/gone.mid"]
    (tmp_path / "songs.txt").write_text("\n".join(lines))
    assert ids(f"@{tmp_path}/songs.txt") == [
        "a/x.mid",
        "b/x.mid",
        "b/more.zip/m/1.mid",
        "b/more.zip/2.mid",
        "b/gone.mid",
    ]


def test_an_archive_counts_as_a_folder(tree: Path) -> None:
    one, two = (make_zip(tree / name, ["m/1.mid", "2.mid", "readme"]) for name in ("1.zip", "2.zip"))
    assert ids(one) == ["m/1.mid", "2.mid"]
    assert ids(one, two) == ["1.zip/m/1.mid", "1.zip/2.mid", "2.zip/m/1.mid", "2.zip/2.mid"]
    assert ids(f"{tree}/*.zip") == ids(one, two)
    source = next(iter(list_sources([one])))
    assert (files.read_bytes(source.url), source.size) == (b"MThd", 4)


@pytest.mark.parametrize("content", ["", "\n# nothing\n"])
def test_an_empty_list_is_an_error(content: str, tmp_path: Path) -> None:
    (tmp_path / "songs.txt").write_text(content)
    with pytest.raises(
        ConfigError, match=r"--input @.*songs\.txt: the list names no file; write one path or URL on each line\."
    ):
        ids(f"@{tmp_path}/songs.txt")


def test_what_cannot_be_listed_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--input @/nowhere\.txt: does not exist\."):
        ids("@/nowhere.txt")
    (tmp_path / "x.zip").write_bytes(b"<html>")
    with pytest.raises(ConfigError, match=r"x\.zip: cannot be read as zip \(File is not a zip file"):
        ids(str(tmp_path / "x.zip"))
    with pytest.raises(ConfigError, match="entire path component"):
        ids(f"{tmp_path}/a**b.mid")


def test_a_listing_is_kept_on_disk(tree: Path) -> None:
    listing = Listing(list_sources([str(tree)]))
    again = list(listing)
    assert [source.song_id for source in again] == ids(str(tree))
    assert (len(listing), listing.size) == (5, 20)
    assert again == list(listing)
    path = listing.path
    assert path.exists()
    del listing
    assert not path.exists()


def test_many_files_are_listed_in_little_memory() -> None:
    class Endless:
        """A replacement for the pages of a bucket's listing."""

        def __iter__(self) -> Iterator[Source]:
            return (Source(f"folder/{i:09d}.mid", f"gs://bucket/folder/{i:09d}.mid", 1) for i in range(50_000))

    tracemalloc.start()
    listing = Listing(Endless())
    assert sum(1 for _ in listing) == 50_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20


# One bad input


def make_tar(path: Path) -> str:
    with tarfile.open(path, "w") as archive:
        for name, kind, target in (
            ("song.mid", tarfile.REGTYPE, ""),
            ("folder.mid", tarfile.DIRTYPE, ""),
            ("hard.mid", tarfile.LNKTYPE, "song.mid"),
            ("soft.mid", tarfile.SYMTYPE, "song.mid"),
            ("pipe.mid", tarfile.FIFOTYPE, ""),
            ("foo://x.mid", tarfile.REGTYPE, ""),
            ("readme", tarfile.LNKTYPE, "song.mid"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.size = kind, target, 4 if kind == tarfile.REGTYPE else 0
            archive.addfile(info, io.BytesIO(b"MThd") if info.size else None)
    return str(path)


def test_links_in_archives_are_found_and_cannot_be_read(tmp_path: Path) -> None:
    found = {source.song_id: source for source in list_sources([make_tar(tmp_path / "x.tar")])}
    assert list(found) == ["song.mid", "hard.mid", "soft.mid", "pipe.mid", "foo://x.mid"]
    for name in ("hard.mid", "soft.mid", "pipe.mid"):
        with pytest.raises(archives.ArchiveError, match=rf"{name}: is a link or another special file"):
            files.read_bytes(found[name].url)
    assert files.read_bytes(found["foo://x.mid"].url) == b"MThd"


def bad_inputs(folder: Path) -> list[str]:
    """Makes inputs none of which can be read; returns lines that name them."""
    (folder / "html.zip").write_bytes(b"<html>")
    (folder / "cut.tar").write_bytes(Path(make_tar(folder / "whole.tar")).read_bytes()[:700])
    (folder / "cut.tgz").write_bytes(gzip.compress(b"x" * 1000)[:-9])
    os.mkfifo(folder / "pipe.mid")
    names = ["html.zip", "cut.tgz", "gone.zip", "gone.mid", "pipe.mid", "nul\0.mid", "x" * 5000 + ".mid"]
    return [f"{folder}/{name}" for name in names] + ["foo://x.mid", "foo://x.zip", "http://[x/y.mid", "/dev/zero"]


def test_every_bad_line_of_a_list_is_a_source(tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bad = bad_inputs(tmp_path)
    (tmp_path / "list").write_text("\ufeff" + "\n".join([f"{tree}/a/x.mid", *bad, f"{tree}/b/x.mid"]))
    found = list(list_sources([f"@{tmp_path}/list"]))
    assert [found[0].url, found[-1].url] == [f"{tree}/a/x.mid", f"{tree}/b/x.mid"]
    assert len({source.song_id for source in found}) == len(found) == len(bad) + 2
    problems = {source.url: source.problem for source in found if source.problem}
    assert "File is not a zip file" in problems[f"{tmp_path}/html.zip"]
    assert "cannot be unpacked" in problems[f"{tmp_path}/cut.tgz"]
    assert "FileNotFoundError" in problems[f"{tmp_path}/gone.zip"]
    assert "NUL" in problems[f"{tmp_path}/nul\0.mid"]
    assert "line 9 of" in problems["foo://x.mid"]
    assert list(Listing(found)) == found


def test_a_damaged_archive_among_inputs_is_a_source_and_alone_an_error(tmp_path: Path) -> None:
    good = make_zip(tmp_path / "a.zip", ["1.mid"])
    (tmp_path / "b.zip").write_bytes(b"<html>")
    for patterns in ([f"{tmp_path}/*.zip"], [good, f"{tmp_path}/b.zip"]):
        assert [(source.song_id, bool(source.problem)) for source in list_sources(patterns)] == [
            ("a.zip/1.mid", False),
            ("b.zip", True),
        ]
    with pytest.raises(ConfigError, match=r"b\.zip: cannot be read as zip"):
        ids(f"{tmp_path}/b.zip")


@pytest.mark.parametrize("pattern", ["", "/**/*.mid"])
def test_a_subfolder_that_cannot_be_listed_is_a_source(
    pattern: str, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path) == f"{tree}/b":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    *good, bad = list_sources([f"{tree}{pattern}"])
    assert [source.song_id for source in good] == ["a/x.mid", "odd [1].mid"]
    assert (bad.song_id, bad.problem.split(" (")[0]) == ("b", "the folder cannot be listed")
    with pytest.raises(ConfigError, match="Permission denied"):
        ids(f"{tree}/b")


def test_bad_inputs_become_rows_and_the_job_goes_on(
    tmp_path: Path, data: Path, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bad = bad_inputs(tmp_path)
    lines = [*bad, make_tar(tmp_path / "x.tar"), str(data / "midi" / "one_note.mid")]
    (tmp_path / "list").write_text("\n".join(lines))
    options = ["--set", f"checkpoint={tiny}", "--set", "compute.workers=1", "--set", "spectrogram.png=false", "--quiet"]
    assert main(["render", f"@{tmp_path}/list", "--output", str(tmp_path / "out"), *options]) == 3
    (song,) = (json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines())
    assert song["song_id"].endswith("one_note.mid")
    rows = [json.loads(line) for line in (tmp_path / "out" / "errors.jsonl").read_text().splitlines()]
    assert len(rows) == len(bad) + 5
    codes = {row["code"] for row in rows if row["source"] in bad or "hard.mid" in row["source"]}
    assert codes == {"input-unreadable"}
