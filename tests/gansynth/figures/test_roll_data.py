"""The notes that the page draws: the same as those of notes/NAME.json, in milliseconds, within bounds."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np

from gansynth.figures import roll_data
from gansynth.midi.notes import Channel, Timeline
from gansynth.score.planned_notes import PlannedNotes

RATE = 16000


def notes() -> PlannedNotes:
    return PlannedNotes(
        start=np.array([0, 8000, 16000], np.int64),
        sustain=np.array([4000, 2, 16000], np.int32),
        pitch=np.array([60, 61, 62], np.uint8),
        velocity=np.array([1, 64, 127], np.uint8),
        program=np.array([0, 128, 40], np.uint8),
        track=np.array([9, 3, 9], np.int32),
        left=np.array([0, 1, 0], np.uint8),
        right=np.array([0, 1, 1], np.uint8),
        fraction=np.array([0, 0, 0.25], np.float32),
        release=4800,
        channel=np.array([0, 9, 2], np.uint16),
    )


def read(script: bytes, name: str) -> dict[str, Any]:
    called = re.fullmatch(r"gansynth\.take\((.+?),(.+)\);\n", script.decode("ascii"))
    assert called
    assert json.loads(called[1]) == name
    song = json.loads(json.loads(called[2]))
    assert isinstance(song, dict)
    return song


def test_columns_bends_and_gains() -> None:
    bend = Timeline(np.array([1.0, 1.5]), np.array([0.5, -2.0], np.float32))
    gain = Timeline(np.array([0.0, 1.25]), np.array([-6.02, -np.inf], np.float32))
    channels = {2: Channel(bend=bend, gain=gain)}
    song = read(roll_data.roll_script('a/"x"', notes(), ("p</script>", "ドラム"), 40000, RATE, channels), 'a/"x"')
    assert song["seconds"] == 2.5
    assert song["instruments"] == ["p</script>", "ドラム"]
    assert song["colours"] == [0, 1]
    assert song["notes"] == {
        "start": [0, 500, 1000],
        "length": [250, 1, 1000],
        "release": [300, 300, 300],
        "pitch": [60, 61, 62],
        "velocity": [1, 64, 127],
        "instrument": [0, 1, 0],
        "track": [0, 1, 0],
        "program": [0, 128, 40],
        "next": [0, 1, 1],
        "fraction": [0, 0, 0.25],
    }
    assert song["bends"] == {"2": [[1000, 0.5], [1500, -2.0]]}
    assert song["gains"] == {"2": [[1000, -6.0], [1250, None]]}


def test_songs_without_slides_and_without_notes() -> None:
    song = read(
        roll_data.roll_script("x", replace(notes(), fraction=np.zeros(3, np.float32)), ("a", "b"), 1, RATE), "x"
    )
    assert "next" not in song["notes"]
    assert "fraction" not in song["notes"]
    assert (song["bends"], song["gains"]) == ({}, {})
    empty = read(roll_data.roll_script("x", notes()[:0], (), 0, RATE), "x")
    assert set(map(len, empty["notes"].values())) == {0}


def test_steps_are_bounded() -> None:
    times = np.arange(200_000) / 100_000 + 1
    bend = Timeline(times, np.sin(times * 50).astype(np.float32))
    song = read(roll_data.roll_script("x", notes(), ("a", "b"), 40000, RATE, {2: Channel(bend=bend)}), "x")
    assert 10_000 < len(song["bends"]["2"]) <= roll_data.MAX_STEPS
    assert song["bends"]["2"][0][0] == 1000
