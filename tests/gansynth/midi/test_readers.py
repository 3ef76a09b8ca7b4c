"""Comparison of both readers on real files: equal notes except for the differences listed here."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest

from gansynth.config import NotesConfig
from gansynth.midi.load import load_midi

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared"
CORPUS = sorted((SHARED / "corpus").rglob("*.mid")) if SHARED.is_dir() else []
GOOD = sorted((SHARED / "midi" / "good").glob("*.mid")) if SHARED.is_dir() else []
OURS = [*sorted((ROOT / "tests" / "data" / "midi").glob("*.mid")), *sorted((ROOT / "examples").rglob("*.mid"))]

PROGRAM = "the program is that of the channel when the note begins, whichever track sets it"
FIRST_OFF = "a note-off ends the oldest note of its key, not all of them"
SEQUENCES = "format 2: the sequences follow one another"
KEPT = "notes of no length and notes that nothing ends are kept, and notes that are layered end one by one"
DIFFERENCES: dict[str, tuple[int, int, str]] = {
    # Notes that note_seq alone has, notes that the channels alone have, and why.
    "midifile__MIDIOkFormat2.mid": (7, 7, SEQUENCES),
    "midifile__Temple.mid": (44, 44, PROGRAM),
    "note-seq__example_complex.mid": (282, 282, PROGRAM),
    "sonivox__ants.mid": (1, 1, FIRST_OFF),
    "test-midi-files__test-2-tracks-type-2.mid": (8, 8, SEQUENCES),
    "awkward.mid": (1, 3, KEPT),
    "range_overlap.mid": (5, 5, FIRST_OFF),
    "truncated.mid": (0, 1, KEPT),
    "type2.mid": (1, 1, SEQUENCES),
}
UNREADABLE = {"not_midi.mid", "zero_bytes.mid"}


def rows(path: Path, reader: str) -> tuple[Counter[Hashable], Any]:
    """Lists all notes with their parts, exactly, and returns the song."""
    song = load_midi(path, NotesConfig.model_validate({"reader": reader}))
    n = song.notes
    columns = (n.pitch, n.velocity, n.start, n.end, n.program, n.is_drum, n.track)
    return Counter(zip(*(column.tolist() for column in columns), strict=True)), song


def compare(path: Path) -> None:
    theirs, their_song = rows(path, "note_seq")
    ours, our_song = rows(path, "channels")
    missing, new = theirs - ours, ours - theirs
    expected = DIFFERENCES.get(path.name, (0, 0, ""))
    assert (missing.total(), new.total()) == expected[:2]
    if expected[2] == PROGRAM:
        assert Counter(row[:4] for row in missing.elements()) == Counter(row[:4] for row in new.elements())  # type: ignore[index]
    if expected[2] in (FIRST_OFF, PROGRAM):
        starts = [Counter((row[:3]) for row in found.elements()) for found in (theirs, ours)]  # type: ignore[index]
        assert starts[0] == starts[1]
    if not expected[2]:
        assert our_song.track_names == their_song.track_names


@pytest.mark.parametrize(
    "path", [*OURS, *GOOD, *random.Random(1).sample(CORPUS, min(60, len(CORPUS)))], ids=lambda p: p.stem
)
def test_notes_are_the_same(path: Path) -> None:
    if path.name not in UNREADABLE:
        compare(path)


@pytest.mark.slow
@pytest.mark.skipif(not CORPUS, reason="needs ../shared/corpus")
def test_notes_of_the_whole_corpus_are_the_same() -> None:
    assert len(CORPUS) == 1200
    for path in CORPUS:
        compare(path)


def test_the_note_seq_reader_refuses_what_it_would_copy_for_every_program() -> None:
    # 40,000 controllers before the first note, and notes of 128 programs: note_seq keeps 5 million of them.
    body = b"\x00\xb0\x01\x00" + b"".join(bytes([0, 1, n & 127]) for n in range(39_999))
    body += b"".join(bytes([0, 0xC0, p, 0, 0x90, 60, 100, 10, 0x80, 60, 0]) for p in range(128)) + b"\x00\xff\x2f\x00"
    content = b"MThd\x00\x00\x00\x06\x00\x00\x00\x01\x01\xe0MTrk" + len(body).to_bytes(4, "big") + body
    song = load_midi(content, NotesConfig())
    assert (len(song.notes), song.ignored, song.channels) == (128, {"modulation": 40_000}, {})
    assert song.notes.program.tolist() == list(range(128))
    for salvage in ("safe", "off"):
        with pytest.raises(Exception, match=r"notes\.reader=channels") as caught:
            load_midi(content, NotesConfig.model_validate({"reader": "note_seq", "salvage": salvage}))
        assert caught.value.code == "midi-too-dense"  # type: ignore[attr-defined]
