"""Notes that the network cannot play are left out, counted and listed; the song and its other notes are unaffected."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import soundfile

from pipeline.__main__ import main
from tests.support.checkpoints import EMA, SCOPE, write_save

BROKEN = 61
"""The pitch that comes out as NaN."""
TICKS = 32767
"""A quarter note's: a tick is a quarter of a sample."""


@pytest.fixture(scope="module")
def poisoned(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes a checkpoint whose first layer overflows at one pitch to infinity, and to NaN when normalised."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("poisoned") / "checkpoint"
    shutil.copytree(tiny, folder)
    save = next(folder.rglob("*.index")).with_suffix("")
    reader = tf.train.load_checkpoint(str(save))
    variables = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    kernel = variables[f"{SCOPE}progressive_gan_block_1/conv0/conv2d/kernel{EMA}"]
    kernel[:, :, BROKEN - 24 - 61, 0] = np.finfo(np.float32).max
    write_save(save, variables)
    return folder


def write_song(path: Path, notes: list[tuple[int, int]]) -> None:
    """Writes a song of notes given by pitch and length in ticks; each begins half a second after the previous one."""
    file, track = mido.MidiFile(ticks_per_beat=TICKS), mido.MidiTrack()
    file.tracks.append(track)
    for pitch, ticks in notes:
        track.append(mido.Message("note_on", note=pitch, velocity=90))
        track.append(mido.Message("note_off", note=pitch, time=ticks))
        track.append(mido.MetaMessage("text", text="", time=TICKS - ticks))
    path.parent.mkdir(exist_ok=True)
    file.save(path)


def rows(out: Path) -> dict[str, dict[str, Any]]:
    return {row["song_id"]: row for row in map(json.loads, (out / "manifest.jsonl").read_text().splitlines())}


def test_bad_notes_are_left_out_counted_and_named(poisoned: Path, tmp_path: Path) -> None:
    whole, out = TICKS // 2, tmp_path / "out"
    write_song(
        tmp_path / "in" / "bad.mid", [(60, whole), (BROKEN, whole), (62, whole), (64, 1), (BROKEN, 9), (65, whole)]
    )
    write_song(tmp_path / "in" / "good.mid", [(60, whole), (72, whole)])
    write_song(tmp_path / "in" / "lost.mid", [(BROKEN, whole), (BROKEN, 99)])
    settings = (f"checkpoint={poisoned}", "envelope.release=0", "compute.workers=1", "played_notes=[json]")
    options = [word for setting in settings for word in ("--set", setting)]
    assert main(["render", str(tmp_path / "in"), "--output", str(out), "--quiet", *options]) == 0

    found = rows(out)
    bad = found["bad.mid"]
    assert bad["broken_notes"] == [
        {"start": 0.5, "pitch": BROKEN, "program": 0},
        {"start": 2.0, "pitch": BROKEN, "program": 0},
    ]
    assert bad["silent_notes"] == [{"start": 1.5, "pitch": 64, "program": 0}]
    assert {name: bad["notes"][name] for name in ("played", "silent", "broken")} == {
        "played": 6,
        "silent": 1,
        "broken": 2,
    }
    assert json.loads((out / "notes" / "bad.json").read_text())["notes"]["pitch"] == [60, 62, 65]
    sound, rate = soundfile.read(out / "audio" / "bad.wav")
    heard = [bool(np.abs(sound[int(n * rate / 2) : int((n + 1) * rate / 2)]).max()) for n in range(6)]
    assert heard == [True, False, True, False, False, True]
    assert (found["good.mid"]["broken_notes"], found["good.mid"]["silent_notes"]) == ([], [])
    assert found["lost.mid"]["notes"]["broken"] == found["lost.mid"]["notes"]["played"] == 2
    assert not soundfile.read(out / "audio" / "lost.wav")[0].any()
