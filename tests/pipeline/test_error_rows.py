"""Every failed input gets a row with an error code, and the summary counts failures by code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gansynth.errors import CODES
from pipeline.config import load_config
from pipeline.report import summarise, summary_text, write_lists
from pipeline.run import _account
from transforms.elements import Failure, Source

SOURCES = [Source(name, f"/in/{name}") for name in ("a.mid", "b.mid", "c.mid", "d.mid")]


def test_songs_that_no_one_reports_get_a_row_all_the_same() -> None:
    rows: list[dict[str, Any]] = [{"song_id": "a.mid", "status": "rendered"}]
    found = {row["song_id"]: row for row in _account(SOURCES, rows, [SOURCES[1]])}
    assert found["a.mid"] == rows[0]
    assert (found["b.mid"]["error"], found["b.mid"]["code"]) == ("WorkerDied", "worker-died")
    assert (found["c.mid"]["error"], found["c.mid"]["code"]) == ("LostSong", "song-lost")
    assert {found[name]["code"] for name in ("b.mid", "c.mid", "d.mid")} <= set(CODES)
    assert found["d.mid"]["source"] == "/in/d.mid"


def test_the_summary_counts_failures_by_code(tmp_path: Path) -> None:
    config = load_config(None, output=str(tmp_path))
    rows: list[dict[str, Any]] = [
        Failure("b.mid", "read", "MidiError", "it is larger", code="midi-too-large", digest="").row(),
        Failure("c.mid", "read", "MidiError", "it is larger", code="midi-too-large", digest="").row(),
        Failure("d.mid", "expand", "MidiError", "no notes", code="midi-no-notes", digest="sha256:0").row(),
        {"status": "rendered", "song_id": "a.mid", "notes": {"played": 3}, "seconds": 60.0, "repairs": []},
    ]
    write_lists(config, rows)
    summary = summarise(rows)
    assert summary.reasons == {"midi-too-large": 2, "midi-no-notes": 1}
    lines = summary_text(summary, config, 1.0).splitlines()
    assert lines[0].startswith("1 of 4 songs rendered")
    assert [line.split() for line in lines[2:4]] == [["2", "midi-too-large"], ["1", "midi-no-notes"]]
    errors = [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines()]
    assert [(row["song_id"], row["code"], row["digest"]) for row in errors] == [
        ("b.mid", "midi-too-large", ""),
        ("c.mid", "midi-too-large", ""),
        ("d.mid", "midi-no-notes", "sha256:0"),
    ]
