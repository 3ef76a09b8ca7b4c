"""Completion records: their validity depends on input, settings, checkpoint and the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gansynth.io import files, urls
from gansynth.io.records import Records

DIGESTS = {"checkpoint_digest": "sha256:c", "config_digest": "sha256:s", "bank_digest": "sha256:b"}


def finished(folder: str, song_id: str = "a/b.mid") -> dict[str, Any]:
    files.write_bytes(urls.join(folder, "audio/x.wav"), b"1234")
    row = {
        "song_id": song_id, "source_digest": "sha256:i", "outputs": {"audio": "audio/x.wav"}, "bytes": {"audio": 4},
    }  # fmt: skip
    row |= DIGESTS
    Records(folder, DIGESTS).write(row)
    return row


@pytest.mark.parametrize("folder", ["local", "memory://records"])
def test_a_record_is_found_again(folder: str, tmp_path: Path) -> None:
    folder = str(tmp_path) if folder == "local" else folder
    row = finished(folder)
    records = Records(folder, DIGESTS)
    assert records.find("a/b.mid", "sha256:i") == row
    assert records.find("a/b.mid", "sha256:other") is None
    assert records.find("a/c.mid", "sha256:i") is None
    for name in DIGESTS:
        assert Records(folder, DIGESTS | {name: "sha256:other"}).find("a/b.mid", "sha256:i") is None


def test_the_files_must_be_there_as_they_were_written(tmp_path: Path) -> None:
    finished(str(tmp_path))
    records, audio = Records(str(tmp_path), DIGESTS), tmp_path / "audio" / "x.wav"
    audio.write_bytes(b"123")
    assert records.find("a/b.mid", "sha256:i") is None
    audio.write_bytes(b"1234")
    assert records.find("a/b.mid", "sha256:i") is not None
    audio.unlink()
    assert records.find("a/b.mid", "sha256:i") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"song_id": "a/b.mid"}', b"\xff\xfe"])
def test_a_broken_record_is_none(content: bytes, tmp_path: Path) -> None:
    finished(str(tmp_path))
    (record,) = (tmp_path / ".done").rglob("*.json")
    record.write_bytes(content)
    assert Records(str(tmp_path), DIGESTS).find("a/b.mid", "sha256:i") is None


def test_records_stay_below_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    finished(str(folder), "../../evil\0/x.mid")
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    assert Records(str(folder), DIGESTS).find("../../evil\0/x.mid", "sha256:i") is not None
