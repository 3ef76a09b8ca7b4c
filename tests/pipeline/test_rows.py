"""Files of rows, merged by song id one row at a time, and the lists that are made of them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to

from gansynth.errors import ConfigError
from pipeline import rows
from pipeline.inputs import Listing
from pipeline.report import Summary, summarise
from transforms.elements import Failure, Source
from transforms.write_rows import WriteRows, write_files


def failed(song_id: str, message: str = "broken") -> Any:
    return Failure(song_id, "read", "MidiError", message, code="midi-damaged", source=f"/in/{song_id}").row()


def rendered(song_id: str) -> Any:
    return {
        "status": "rendered",
        "song_id": song_id,
        "source": f"/in/{song_id}",
        "source_digest": "sha256:1",
        "outputs": {},
        "config_digest": "sha256:2",
    }


def test_rows_are_merged_in_order_and_the_first_group_counts(tmp_path: Path) -> None:
    folder = str(tmp_path)
    rows.write(f"{folder}/own", "part", [failed("c"), rendered("a"), rendered("\udcff"), failed("é")])
    rows.write(f"{folder}/left", "part", [failed("b", "left"), failed("a", "left")])
    rows.write(f"{folder}/lists", "part", [failed("b", "listed"), rendered("d")])
    merged = list(rows.merge(*(rows.find(f"{folder}/{name}") for name in ("own", "left", "lists"))))
    assert [(group, row["song_id"]) for group, row in merged] == [
        *((0, "a"), (1, "b"), (0, "c"), (2, "d"), (0, "é"), (0, "\udcff"))
    ]
    assert merged[0][1] == rendered("a")
    assert merged[1][1]["message"] == "left"  # type: ignore[typeddict-item]


def test_files_that_follow_on_each_other_are_open_one_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(50):
        write_files(str(tmp_path), f"part-{number:05d}", [failed(f"{number:05d}-{n}") for n in range(3)])
    open_now, most = set[str](), 0
    read = rows.read

    def counted(url: str) -> Any:
        nonlocal most
        open_now.add(url)
        most = max(most, len(open_now))
        yield from read(url)
        open_now.discard(url)

    merged = rows.merge(rows.find(str(tmp_path)))
    first = next(merged)
    monkeypatch.setattr(rows, "read", counted)
    assert len([first, *merged]) == 150
    assert most <= 2


def test_rows_in_disorder_or_of_another_program_are_named(tmp_path: Path) -> None:
    (tmp_path / "part.failed.jsonl").write_text("".join(json.dumps(failed(name)) + "\n" for name in "ba"))
    with pytest.raises(ConfigError, match=r"part\.failed\.jsonl: its rows are not in the order"):
        list(rows.merge(rows.find(str(tmp_path))))
    (tmp_path / "part.failed.jsonl").write_text('{"song_id": "a"}\n')
    with pytest.raises(ConfigError, match=r"part\.failed\.jsonl, line 1: is not a row of this program"):
        list(rows.merge(rows.find(str(tmp_path))))


def test_rows_of_versions_whose_files_had_both_kinds(tmp_path: Path) -> None:
    lines = [json.dumps(row) + "\n" for row in (rendered("a"), failed("b"))]
    (tmp_path / "part-000000-00000.jsonl").write_text("".join(lines))
    assert [row for _, row in rows.merge(rows.find(str(tmp_path)))] == [rendered("a"), failed("b")]


@pytest.mark.parametrize("parts", [1, 4, 100])
def test_shards_follow_on_each_other_and_join_to_the_lists(parts: int, tmp_path: Path) -> None:
    names = [f"{first}{second}.mid" for first, second in itertools.product("zyxwé~", "0123456789")]
    sources = Listing(Source(name, f"/in/{name}") for name in names)
    bounds = sources.bounds(parts)
    assert len(bounds) == parts - 1
    found = [failed(name) if number % 3 else rendered(name) for number, name in enumerate(names)]
    pairs = [(row["song_id"], json.dumps(row)) for row in found]
    folder = str(tmp_path / "rows")
    with TestPipeline("FnApiRunner") as pipeline:
        written = pipeline | beam.Create(pairs) | WriteRows(folder, "part-0", bounds)
        assert_that(written | beam.Map(lambda url: url.startswith(folder)) | beam.Distinct(), equal_to([True]))
    own = rows.find(str(tmp_path / "rows"))
    assert len(own) >= min(parts, len(names) // 2)
    rows.join_lists(str(tmp_path), own)
    joined = {name: (tmp_path / name).read_bytes() for name in rows.LISTS}
    rows.write_lists(str(tmp_path), sorted(found, key=lambda row: row["song_id"]))
    assert joined == {name: (tmp_path / name).read_bytes() for name in rows.LISTS}


def test_parts_of_a_corpus_are_of_about_the_same_size() -> None:
    sources = Listing(Source(f"{number * 7919 % 10_000:05d}", "/in") for number in range(10_000))
    assert sources.bounds(4) == ("02500", "05000", "07500")
    assert sources.bounds(1) == Listing([]).bounds(1) == ()


def test_a_summary_survives_as_json() -> None:
    row = rendered("a") | {"notes": {"played": 3}, "ignored": {"nrpn": 1}, "repairs": ["hanging_notes"], "seconds": 2.5}
    summary = summarise([row, failed("b")])
    assert Summary.from_json(summary.to_json()) == summary
