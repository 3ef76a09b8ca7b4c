"""Notes to train on: rendered with FluidSynth, or read from a folder of NSynth-style WAV files."""

from __future__ import annotations

import json
import re
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.signal
import soundfile
from numpy.typing import NDArray

from training.targets import SAMPLE_RATE, SAMPLES

SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
"""Where Debian's package fluid-soundfont-gm puts it."""
_RENDER_RATE = 48000
_SPACING = 6.0


def fluidsynth_notes(
    program: int, pitches: range, soundfont: Path = SOUNDFONT
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Renders an instrument's notes with FluidSynth: held for 4 s, dry, velocity 100.

    Yields:
        MIDI pitch and float32 [SAMPLES, 2] at SAMPLE_RATE.

    Rendered at 48 kHz and then decimated: at 16 kHz FluidSynth folds what lies above 8 kHz back into the sound.
    The key is held to the end: the player fades every note out itself, so a release of its own would be heard twice.
    """
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "notes.mid", Path(folder) / "notes.wav"
        midi.write_bytes(_midi(program, pitches))
        command = ["fluidsynth", "-q", "-n", "-i", "-R", "0", "-C", "0", "-g", "0.5", "-r", str(_RENDER_RATE)]
        command += ["-O", "float", "-T", "wav", "-F", str(wav), str(soundfont), str(midi)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            raise SystemExit("fluidsynth is not installed: apt-get install fluidsynth fluid-soundfont-gm") from None
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"fluidsynth failed: {error.stderr.strip()[-500:]}") from None
        audio, rate = soundfile.read(wav, dtype="float32", always_2d=True)
    assert rate == _RENDER_RATE, rate
    for i, pitch in enumerate(pitches):
        first = int((i + 1) * _SPACING * rate)
        note = scipy.signal.resample_poly(audio[first : first + SAMPLES * 3], 1, 3, axis=0)
        yield pitch, np.pad(note, [[0, SAMPLES - len(note)], [0, 0]]).astype(np.float32)


def _midi(program: int, pitches: range) -> bytes:
    """A MIDI file of one note each _SPACING seconds from _SPACING on, 500 ticks to the second."""

    def number(value: int) -> bytes:
        digits = [value & 0x7F]
        while value := value >> 7:
            digits.append(0x80 | (value & 0x7F))
        return bytes(reversed(digits))

    track = bytes([0, 0xC0, program])
    wait = int(_SPACING * 500)
    for pitch in pitches:
        track += number(wait) + bytes([0x90, pitch, 100]) + number(2300) + bytes([0x80, pitch, 0])
        wait = int(_SPACING * 500) - 2300
    track += number(wait) + bytes([0xFF, 0x2F, 0])
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 250) + b"MTrk" + struct.pack(">I", len(track)) + track


def folder_notes(folder: Path) -> dict[str, dict[int, Path]]:
    """Finds NSynth-style notes: instrument to pitch to WAV file.

    The pitch comes from examples.json (NSynth's: name to object with `pitch`, and maybe `instrument_str`) where
    there is one, else from the file name: INSTRUMENT-PITCH-VELOCITY.wav, or INSTRUMENT-PITCH.wav (or `_`). Of several
    velocities the loudest is taken.
    """
    facts: dict[str, dict[str, object]] = {}
    for path in sorted(folder.rglob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        facts.update({k: v for k, v in found.items() if isinstance(v, dict) and "pitch" in v})
    notes: dict[str, dict[int, tuple[int, Path]]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() == ".wav"):
        match = re.fullmatch(r"(.+?)[-_](\d{1,3})(?:[-_](\d{1,3}))?", path.stem)
        fact = facts.get(path.stem)
        if fact is not None:
            pitch, velocity = int(str(fact["pitch"])), int(str(fact.get("velocity", 0)))
            name = str(fact.get("instrument_str", match[1] if match else path.parent.name))
        elif match:
            name, pitch, velocity = match[1], int(match[2]), int(match[3] or 0)
        else:
            continue
        kept = notes.setdefault(name, {}).get(pitch)
        if kept is None or kept[0] < velocity:
            notes[name][pitch] = (velocity, path)
    return {name: {pitch: path for pitch, (_, path) in found.items()} for name, found in notes.items()}


def read_note(path: Path) -> NDArray[np.float32]:
    """A WAV file's first 4 s at SAMPLE_RATE, float32 [samples, channels], silence before the onset cut off."""
    audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != SAMPLE_RATE:
        audio = scipy.signal.resample_poly(audio, SAMPLE_RATE, rate, axis=0).astype(np.float32)
    loud = np.abs(audio).max(axis=1)
    onset = int(np.argmax(loud > 0.02 * loud.max())) if len(loud) and loud.max() > 0 else 0
    return audio[onset : onset + SAMPLES]
