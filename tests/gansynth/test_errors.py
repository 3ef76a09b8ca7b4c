"""Error codes: equal in the code and in docs/errors.md, and never changed."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path

import pytest

from gansynth.errors import CODES, REMEDIES, CheckpointError, ConfigError, GansynthError, MidiError
from gansynth.midi.repair import REPAIRS

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `([a-z-]+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)


def test_the_page_has_every_code_with_its_meaning_and_no_other() -> None:
    page = (ROOT / "docs" / "errors.md").read_text().split("\n# ")[0]
    assert {code: meaning for code, meaning, _ in ROW.findall(page)} == CODES
    assert {code: remedy for code, _, remedy in ROW.findall(page)} == REMEDIES


def test_codes_by_cause_name_every_code_once() -> None:
    section = (ROOT / "docs" / "reliability.md").read_text().split("## Error codes by cause\n")[1].split("\n## ")[0]
    cells = "".join(line for line in section.splitlines() if line.startswith("| "))
    assert sorted(re.findall(r"`([a-z-]+)`", cells)) == sorted(CODES)
    assert "(errors.md)" in section


def test_every_code_is_used_and_every_used_code_is_known() -> None:
    sources = [path for folder in ("gansynth", "transforms", "pipeline") for path in (ROOT / folder).rglob("*.py")]
    text = "\n".join(path.read_text() for path in sources if path.name != "errors.py")
    assert set(re.findall(r'code="([\w-]+)"', text)) <= set(CODES)
    defaults = {kind.code for kind in (GansynthError, CheckpointError, ConfigError, MidiError)}
    assert {code for code in CODES if f'"{code}"' not in text} <= defaults


def test_the_page_has_every_repair_with_its_meaning_and_no_other() -> None:
    page = (ROOT / "docs" / "errors.md").read_text().split("\n# ")[1]
    assert dict(re.findall(r"^\| `([a-z_]+)` \| (.+?) \|$", page, re.MULTILINE)) == REPAIRS


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GansynthError("x"), "internal"),
        (CheckpointError("x"), "checkpoint"),
        (ConfigError("x"), "config"),
        (MidiError("x"), "midi-unreadable"),
        (MidiError("x", code="midi-too-long"), "midi-too-long"),
    ],
)
def test_code_and_message_survive_the_way_between_processes(error: GansynthError, code: str) -> None:
    for same in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(same), same.code, str(same), same.args) == (type(error), code, "x", ("x",))
    assert type(error).code != code or "code" not in vars(error)
