"""Rules for instruments that match nothing are told, by `render` and by the rows of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gansynth.config import InstrumentsConfig
from gansynth.score.assign import MOST_PARTS
from pipeline.__main__ import main
from pipeline.unused_rules import rules_used, unused_rules
from tests.support.pages import write_song


def row(*rules: str) -> Any:
    return {"status": "rendered", "parts": [{"rule": rule} for rule in rules]}


def test_rules_that_matched_nothing_are_named() -> None:
    config = InstrumentsConfig(tracks={"*solo*": 1, "bass": 2}, programs={0: 1, 40: 2, 41: 3}, families={"strings": 1})
    used = rules_used([row("tracks: bass", "programs: 0"), {"status": "failed"}, row("bank")])
    assert list(unused_rules(config, used)) == [
        'instruments.tracks: no track of these songs matched "*solo*", or other rules came first',
        "instruments.programs: no program of these songs matched 40, 41, or other rules came first",
        'instruments.families: no family of these songs matched "strings", or other rules came first',
    ]
    assert list(unused_rules(config, rules_used([row("tracks: bass", "programs: 0", "families: strings")])))[2:] == []


def test_nothing_is_said_of_what_is_not_known() -> None:
    config = InstrumentsConfig(tracks={"a": 1})
    assert rules_used([{"status": "failed"}]) is None  # type: ignore[list-item, typeddict-item]
    assert rules_used([row(*["bank"] * MOST_PARTS)]) is None
    assert list(unused_rules(config, None)) == []


def test_rules_of_another_mode_have_no_effect() -> None:
    config = InstrumentsConfig(mode="random", tracks={"a": 1})
    assert list(unused_rules(config, None)) == ["instruments.tracks: no effect, since instruments.mode is random"]


def test_render_tells(tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_song(tmp_path / "a.mid", range(60, 62))
    options = [f"checkpoint={tiny}", "instruments.programs={0: 3, 41: 5}"]
    words = [word for option in options for word in ("--set", option)]
    assert main([str(tmp_path / "a.mid"), "-o", str(tmp_path / "out"), *words]) == 0
    shown = capsys.readouterr().err
    assert "instruments.programs: no program of these songs matched 41, or other rules came first" in shown
