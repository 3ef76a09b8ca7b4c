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
"""Path to which Debian's package fluid-soundfont-gm installs the soundfont."""
RENDER_RATE = 48000
GAIN = 0.5
"""FluidSynth's master gain."""
_SPACING = 6.0
_RATES = range(8000, 192001)
_LONGEST = 60
"""Seconds of a WAV file that are read."""


def fluidsynth_notes(
    program: int, pitches: range, soundfont: Path = SOUNDFONT, velocity: int = 100
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Renders an instrument's notes with FluidSynth: held for 4 s, dry.

    Yields:
        MIDI pitch and float32 [SAMPLES, 2] at SAMPLE_RATE.

    Rendered at 48 kHz and then decimated: at 16 kHz FluidSynth folds what lies above 8 kHz back into the sound.
    The key is held to the end: the player fades every note out itself, so a release of its own would be heard twice.
    """
    audio = fluidsynth(_midi(program, pitches, velocity), soundfont)
    for i, pitch in enumerate(pitches):
        first = int((i + 1) * _SPACING * RENDER_RATE)
        note = scipy.signal.resample_poly(audio[first : first + SAMPLES * 3], 1, 3, axis=0)
        yield pitch, np.pad(note, [[0, SAMPLES - len(note)], [0, 0]]).astype(np.float32)


def fluidsynth_releases(program: int, pitches: range, soundfont: Path = SOUNDFONT) -> Iterator[NDArray[np.float32]]:
    """Renders what is heard of an instrument's notes from their end on, 1 s after the onset, with FluidSynth, dry.

    Yields:
        float32 [samples, 2] at RENDER_RATE, for each pitch.
    """
    audio = fluidsynth(_midi(program, pitches, 100, held=1.0), soundfont)
    for i in range(len(pitches)):
        yield audio[int(((i + 1) * _SPACING + 1.0) * RENDER_RATE) : int((i + 1.9) * _SPACING * RENDER_RATE)]


def fluidsynth(midi: bytes, soundfont: Path) -> NDArray[np.float32]:
    """Renders a MIDI file without reverb and chorus: float32 [samples, 2] at RENDER_RATE.

    Args:
        midi: the file's bytes.
        soundfont: path of the soundfont.

    Raises:
        SystemExit: FluidSynth is not installed, or fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, wav = Path(folder) / "notes.mid", Path(folder) / "notes.wav"
        source.write_bytes(midi)
        command = ["fluidsynth", "-q", "-n", "-i", "-R", "0", "-C", "0", "-g", str(GAIN), "-r", str(RENDER_RATE)]
        command += ["-O", "float", "-T", "wav", "-F", str(wav), str(soundfont), str(source)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError:
            raise SystemExit("fluidsynth is not installed: apt-get install fluidsynth fluid-soundfont-gm") from None
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"fluidsynth failed: {error.stderr.strip()[-500:]}") from None
        audio, rate = soundfile.read(wav, dtype="float32", always_2d=True)
    assert rate == RENDER_RATE, rate
    return audio


def _midi(program: int, pitches: range, velocity: int, held: float = 4.6) -> bytes:
    """A MIDI file of one note each _SPACING seconds from _SPACING on, held for so many; 500 ticks to the second."""

    def number(value: int) -> bytes:
        digits = [value & 0x7F]
        while value := value >> 7:
            digits.append(0x80 | (value & 0x7F))
        return bytes(reversed(digits))

    track = bytes([0, 0xC0, program])
    wait, length = int(_SPACING * 500), int(held * 500)
    for pitch in pitches:
        track += number(wait) + bytes([0x90, pitch, velocity]) + number(length) + bytes([0x80, pitch, 0])
        wait = int(_SPACING * 500) - length
    track += number(wait) + bytes([0xFF, 0x2F, 0])
    return b"MThd" + struct.pack(">IHHH", 6, 0, 1, 250) + b"MTrk" + struct.pack(">I", len(track)) + track


def folder_notes(folder: Path) -> dict[str, dict[int, Path]]:
    """Finds NSynth-style notes: instrument to pitch to WAV file.

    The pitch comes from a JSON file (NSynth's examples.json: name to object with `pitch`, and optionally
    `instrument_str` and `velocity`) if one lists the file, else from the file's name: INSTRUMENT-PITCH-VELOCITY.wav,
    INSTRUMENT-PITCH.wav or INSTRUMENT_PITCH.wav. If a note has several velocities, the loudest is used. Characters of
    instruments' names that file names cannot have are replaced.

    Raises:
        SystemExit: there is nothing to train on, or a JSON file cannot be used.
    """
    if not folder.is_dir():
        raise SystemExit(f"{folder}: no such folder")
    facts = {name: fact for path in sorted(folder.rglob("*.json")) for name, fact in _facts(path).items()}
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".wav" and path.is_file())
    if not files:
        raise SystemExit(f"{folder}: holds no WAV files")
    notes: dict[str, dict[int, tuple[int, Path]]] = {}
    nameless = []
    for path in files:
        match = re.fullmatch(r"(.+)-(\d{1,3})-(\d{1,3})", path.stem) or re.fullmatch(r"(.+)[-_](\d{1,3})()", path.stem)
        if path.stem in facts:
            pitch, velocity, name = facts[path.stem]
            name = name or (match[1] if match else path.parent.name)
        elif match:
            name, pitch, velocity = match[1], int(match[2]), int(match[3] or 0)
        else:
            nameless.append(path)
            continue
        name = re.sub(r"[^\w .+-]", "_", name).strip(" .") or "_"
        kept = notes.setdefault(name, {}).get(pitch)
        if kept is None or kept[0] < velocity:
            notes[name][pitch] = (velocity, path)
    if not notes:
        raise SystemExit(
            f"{folder}: nothing tells the pitch of its WAV files; name them INSTRUMENT_PITCH.wav, with a MIDI pitch "
            '(harp_60.wav), or put a JSON file beside them: {"NAME": {"pitch": 60, "instrument_str": "harp"}}'
        )
    if nameless:
        print(f"{len(nameless)} of {len(files)} WAV files left out: nothing tells the pitch of {nameless[0].name}")
    return {name: {pitch: path for pitch, (_, path) in found.items()} for name, found in notes.items()}


def _facts(path: Path) -> dict[str, tuple[int, int, str]]:
    """Pitch, velocity and instrument (empty if not told) by note, of a JSON file like NSynth's."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        entries = found.items() if isinstance(found, dict) else ()
        return {
            name: (int(fact["pitch"]), int(fact.get("velocity", 0)), str(fact.get("instrument_str", "")))
            for name, fact in entries
            if isinstance(fact, dict) and "pitch" in fact
        }
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise SystemExit(f"{path}: cannot be used ({error}); a pitch is a number from 0 to 127") from None


def read_note(path: Path) -> NDArray[np.float32]:
    """Reads a WAV file's first 4 s at SAMPLE_RATE, without the silence before the onset: float32 [samples, channels].

    Other sample rates are converted; of a long file only the first minute is read.

    Raises:
        SystemExit: the file cannot be read, is silent, or has an unsupported sample rate.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            if rate not in _RATES:
                raise SystemExit(f"{path}: sampled at {rate} Hz; {_RATES.start} to {_RATES.stop - 1} can be read")
            audio = file.read(_LONGEST * rate, dtype="float32", always_2d=True)
    except (OSError, soundfile.SoundFileError) as error:
        raise SystemExit(f"{path}: not a readable WAV file ({error})") from None
    if not np.isfinite(audio).all() or not audio.any():
        raise SystemExit(f"{path}: is silent, or holds what is not a number; take it out")
    if rate != SAMPLE_RATE:
        audio = scipy.signal.resample_poly(audio, SAMPLE_RATE, rate, axis=0).astype(np.float32)
    loud = np.abs(audio).max(axis=1)
    onset = int(np.argmax(loud > 0.02 * loud.max()))
    return audio[onset : onset + SAMPLES]
