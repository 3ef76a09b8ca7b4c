"""Every failed input gets a row with an error code, and the summary counts failures by code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gansynth.errors import CODES
from pipeline import rows
from pipeline.config import load_config
from pipeline.report import summarise, summary_text
from pipeline.run import _account
from transforms.elements import Failure, Source

SOURCES = [Source(name, f"/in/{name}") for name in ("a.mid", "b.mid", "c.mid", "d.mid")]


def test_songs_that_no_one_reports_get_a_row_all_the_same(tmp_path: Path) -> None:
    config, folder = load_config(None, output=str(tmp_path)), str(tmp_path / "rows")
    row = Failure("a.mid", "read", "MidiError", "it is larger", code="midi-too-large").row()
    rows.write(folder, "part", [row])
    found = {row["song_id"]: row for row in _account(config, SOURCES, folder, [SOURCES[1]])}
    assert found.keys() == {"b.mid", "c.mid", "d.mid"}
    assert (found["b.mid"]["error"], found["b.mid"]["code"]) == ("WorkerDied", "worker-died")
    assert (found["c.mid"]["error"], found["c.mid"]["code"]) == ("LostSong", "song-lost")
    assert {found[name]["code"] for name in ("b.mid", "c.mid", "d.mid")} <= set(CODES)
    assert found["d.mid"]["source"] == "/in/d.mid"


def rendered(song_id: str, notes: dict[str, int], **more: Any) -> dict[str, Any]:
    row = {"status": "rendered", "song_id": song_id, "notes": notes, "seconds": 60.0}
    return {**row, "repairs": [], "repaired_notes": {}, "ignored": {}, **more}


def test_the_summary_tells_what_became_of_the_notes(tmp_path: Path) -> None:
    config = load_config(None, output=str(tmp_path))
    found = [
        rendered("a.mid", {"played": 3, "drums_skipped": 150, "folded": 0, "bent": 2}, ignored={"nrpn": 1}),
        rendered(
            "b.mid", {"played": 3, "drums_skipped": 48}, repairs=["hanging_notes"], repaired_notes={"hanging_notes": 4}
        ),
    ]
    text = summary_text(summarise(found), config, 1.0)
    assert text.splitlines()[1:-1] == [
        "Notes: 2 bent; 198 drum notes skipped",
        "1 MIDI event ignored: 1 nrpn",
        "Songs repaired: hanging_notes (1)",
    ]


def test_the_summary_counts_failures_by_code(tmp_path: Path) -> None:
    config = load_config(None, output=str(tmp_path))
    found: list[Any] = [
        Failure("b.mid", "read", "MidiError", "it is larger", code="midi-too-large", digest="").row(),
        Failure("c.mid", "read", "MidiError", "it is larger", code="midi-too-large", digest="").row(),
        Failure("d.mid", "expand", "MidiError", "no notes", code="midi-no-notes", digest="sha256:0").row(),
        rendered("a.mid", {"played": 3}),
    ]
    rows.write_lists(config.output, sorted(found, key=lambda row: row["song_id"]))
    summary = summarise(found)
    assert summary.reasons == {"midi-too-large": 2, "midi-no-notes": 1}
    lines = summary_text(summary, config, 1.0).splitlines()
    assert lines[0].startswith("1 of 4 songs rendered: 3 notes")
    assert lines[1] == "3 failed, see errors.jsonl:"
    assert [line.split() for line in lines[2:4]] == [["2", "midi-too-large"], ["1", "midi-no-notes"]]
    errors = [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines()]
    assert [(row["song_id"], row["code"], row["digest"]) for row in errors] == [
        ("b.mid", "midi-too-large", ""),
        ("c.mid", "midi-too-large", ""),
        ("d.mid", "midi-no-notes", "sha256:0"),
    ]
