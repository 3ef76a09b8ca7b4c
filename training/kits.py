"""Command `python -m training kits`: renders the bundled drum kit with FluidSynth."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
import scipy.signal
import soundfile
from numpy.typing import NDArray

from gansynth.audio.encode import encode_audio
from gansynth.audio.kits import INDEX, KEYS, PROGRAMS, load_kit
from gansynth.model import download
from training.audition import audition
from training.render import GAIN, RENDER_RATE, SOUNDFONT, fluidsynth

_CARD = Path(__file__).parent / "kit_card.md"
_LICENSE = download.BUNDLED["mini"] / "LICENSE"
_TRAINED_ON = "The sounds that this voice was trained on"
SAMPLE_RATE = 16000
"""Gain of FluidSynth, which leaves headroom; the sounds are scaled to _PEAK afterwards."""
_PEAK = 0.98
_SPACING = 10
_HOLD = 9
_LONGEST = 8.0
ONSET = 0.02
"""Fraction of a sound's peak that marks its beginning: -34 dB."""
LEAD = 8
"""Samples of the fade-in before the onset: 0.5 ms."""
_END = 10.0**-5.5
"""Fraction of the highest short-time power that marks a sound's end: -55 dB, the level of the soundfont's noise."""
_TAIL = 800
"""Samples of the fade-out: 50 ms."""
_WINDOW = 160
_SAME = 1e-5
"""Fraction of its power by which a sound may differ from another, apart from a gain, to be stored as the same."""


@dataclass(frozen=True)
class Shared:
    """A reference to a stored sound of a kit.

    Attributes:
        path: file relative to the kit's folder.
        gain: in dB, relative to the file.
    """

    path: str
    gain: float


def make_kits(folder: Path, soundfont: Path = SOUNDFONT, velocity: int = 127, figures: Path | None = None) -> None:
    """Renders all variants and writes the kit that `gansynth.audio.kits.load_kit` reads; replaces the folder.

    Args:
        folder: output folder.
        soundfont: for FluidSynth; the licence written beside the sounds is that of FluidR3.
        velocity: of all notes.
        figures: folder for kits.html, a page to listen to, if wanted: every sound as FluidSynth plays it, beside what
            the kit plays.

    Raises:
        SystemExit: FluidSynth cannot be used; the message says why.
    """
    rendered = {variant: render_keys(soundfont, program, velocity) for variant, program in PROGRAMS.items()}
    scale = _PEAK / max(float(np.abs(sound).max()) for sounds in rendered.values() for sound in sounds.values())
    stored, kits = share(rendered)
    files = {
        path: encode_audio((trim(sound) * scale).astype(np.float32), SAMPLE_RATE, "flac")
        for path, sound in stored.items()
    }
    shutil.rmtree(folder, ignore_errors=True)
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    (folder / INDEX).write_text(_index(kits))
    (folder / "LICENSE").write_text("These sounds" + _LICENSE.read_text().removeprefix(_TRAINED_ON))
    rows = [
        f"| {variant} | {PROGRAMS[variant]} | {len(kits[variant])} | "
        f"{sum(sound.path == _own(variant, key) for key, sound in kits[variant].items())} | "
        f"{', '.join(str(key) for key in KEYS if key not in rendered[variant]) or '-'} |"
        for variant in PROGRAMS
    ]
    card = _CARD.read_text().format(
        files=len(files),
        megabytes=sum(map(len, files.values())) / 1e6,
        seconds=sum(len(soundfile.read(io.BytesIO(data))[0]) for data in files.values()) / SAMPLE_RATE,
        velocity=velocity,
        decibels=20 * np.log10(scale * GAIN),
        variants="\n".join(rows),
    )
    (folder / "KIT_CARD.md").write_text(card)
    if figures is not None:
        recorded = {(variant, key): sound for variant, sounds in rendered.items() for key, sound in sounds.items()}
        kit = load_kit(str(folder), SAMPLE_RATE)
        played = {(variant, key): kit.for_program(PROGRAMS[variant]).sounds[key] for variant, key in recorded}
        audition(figures, {"recorded": {note: trim(recorded[note]) for note in recorded}, "played": played}, "Kits")


def render_keys(soundfont: Path, program: int, velocity: int) -> dict[int, NDArray[np.float64]]:
    """Renders the keys of a drum kit, each held for 9 s, without reverb and chorus.

    Returns:
        Key to float64 [samples] at SAMPLE_RATE, from the note-on on; silent keys are left out. Of both channels, the
        one with more power is used, with the mean power of both: the sum of channels a few milliseconds apart would be
        a comb filter.
    """
    audio = fluidsynth(_midi(program, velocity), soundfont)
    sounds = {}
    for i, key in enumerate(KEYS):
        first = (1 + i * _SPACING) * RENDER_RATE
        # FluidSynth at 16 kHz would alias the frequencies above 8 kHz.
        both = scipy.signal.resample_poly(audio[first : first + _HOLD * RENDER_RATE].astype(np.float64), 1, 3, axis=0)
        power = (both**2).sum(axis=0)
        if power.any():
            sounds[key] = both[:, power.argmax()] * np.sqrt(power.mean() / power.max())
    return sounds


def _midi(program: int, velocity: int) -> bytes:
    """Makes a MIDI file with a drum note of each of KEYS, the first after a second; 1000 ticks are a second."""
    track = mido.MidiTrack([mido.Message("program_change", channel=9, program=program)])
    wait = 1000
    for key in KEYS:
        track.append(mido.Message("note_on", channel=9, note=key, velocity=velocity, time=wait))
        track.append(mido.Message("note_off", channel=9, note=key, time=_HOLD * 1000))
        wait = (_SPACING - _HOLD) * 1000
    buffer = io.BytesIO()
    mido.MidiFile(ticks_per_beat=500, tracks=[track]).save(file=buffer)
    return buffer.getvalue()


def trim(sound: NDArray[np.float64]) -> NDArray[np.float64]:
    """Trims a sound to LEAD samples before its onset and to its decay, and fades both ends."""
    sound = np.pad(sound, (LEAD, 0))
    size = np.abs(sound)
    first = int(np.argmax(size >= ONSET * size.max())) - LEAD
    power = np.convolve(sound**2, np.ones(_WINDOW), "same")
    last = int(np.flatnonzero(power >= _END * power.max())[-1]) + 1
    cut = sound[first : min(last + _TAIL, first + int(_LONGEST * SAMPLE_RATE))].copy()
    cut[:LEAD] *= np.linspace(0.0, 1.0, LEAD, endpoint=False)
    tail = min(_TAIL, len(cut) - LEAD)
    cut[len(cut) - tail :] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, tail + 1) / tail)
    return cut


def share(
    kits: dict[str, dict[int, NDArray[np.float64]]],
) -> tuple[dict[str, NDArray[np.float64]], dict[str, dict[int, Shared]]]:
    """Finds sounds of a key that are equal in several variants apart from their level, so that each is stored once.

    Args:
        kits: variant to key to sound, the standard variant first; all sounds of one length.

    Returns:
        The stored sounds by file, and references by variant and key; keys that are equal to those of the standard
        variant are left out of the other variants.
    """
    stored: dict[str, NDArray[np.float64]] = {}
    made: dict[str, dict[int, Shared]] = {}
    for variant, sounds in kits.items():
        made[variant] = {}
        for key, sound in sounds.items():
            others = [path for path in (_own(name, key) for name in made) if path in stored]
            found = [Shared(path, gain) for path in others if (gain := _gain(sound, stored[path])) is not None]
            if not found:
                found = [Shared(_own(variant, key), 0.0)]
                stored[found[0].path] = sound
            if variant == "standard" or found[0] != made["standard"].get(key):
                made[variant][key] = found[0]
    return stored, made


def _own(variant: str, key: int) -> str:
    """Returns the file of a sound that is stored for its own key."""
    return f"{key}.flac" if variant == "standard" else f"{variant}/{key}.flac"


def _gain(sound: NDArray[np.float64], other: NDArray[np.float64]) -> float | None:
    """Computes the gain of `sound` relative to `other` in dB, rounded to 0.01; None if they are different sounds."""
    power = sound @ sound
    factor = float(sound @ other / (other @ other))
    if factor <= 0 or ((sound - factor * other) ** 2).sum() > _SAME * power:
        return None
    return round(20 * np.log10(factor), 2) + 0.0


def _index(kits: dict[str, dict[int, Shared]]) -> str:
    lines = ["# Sounds of a variant's keys that other keys have too: [file, gain in dB]."]
    for variant, sounds in kits.items():
        shared = {key: sound for key, sound in sounds.items() if sound.path != _own(variant, key)}
        if shared:
            lines.append(f"{variant}:")
            lines += [f"  {key}: [{sound.path}, {sound.gain}]" for key, sound in shared.items()]
    return "\n".join(lines) + "\n"
