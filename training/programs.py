"""`python -m training programs`: which instrument stands for each GM program, and how loud instruments are.

Both are measured on the soundfont that the voice was made from: timbres by the features that `measure` classifies by,
levels as the loudest eighth of a second of a note.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gansynth.general_midi import DRUMS, SUSTAINED
from training import render
from training.instruments import LEVEL_PITCHES, Instrument
from training.measure import features
from training.prepare import Prepared, load, mono
from training.targets import FRAME, PITCHES

HEARD = range(48, 73, 12)
"""The pitches at which timbres are compared."""
NEAR = 0.75
"""An instrument of another family stands for a program if it is nearer than this share of the own family's nearest."""


@dataclass(frozen=True)
class Standing:
    """The instrument that stands for a program.

    Attributes:
        program: GM program, from 0.
        instrument: its name.
        distance: of the timbres, in standard deviations of a feature over all programs.
    """

    program: int
    instrument: str
    distance: float


def nearest(timbres: NDArray[np.floating], instruments: Sequence[Instrument]) -> list[Standing]:
    """Chooses the instrument for every program.

    Args:
        timbres: float [programs, features].
        instruments: rendered from programs of their own; those that play no program are passed over.

    Returns:
        One for each program, in order: the instrument of its family (General MIDI's groups of eight) whose timbre is
        nearest, or one of another family that is much nearer, and decays or sustains as the program does.
    """
    scaled = timbres / np.maximum(timbres.std(axis=0), 1e-9)
    instruments = [entry for entry in instruments if entry.programs]
    sources = [entry.source for entry in instruments if entry.source is not None]
    assert len(sources) == len(instruments)
    found = []
    for program, timbre in enumerate(scaled):
        away = np.sqrt(np.square(scaled[sources] - timbre).mean(axis=1))
        own = [i for i, source in enumerate(sources) if source // 8 == program // 8]
        alike = [i for i, source in enumerate(sources) if (source in SUSTAINED) == (program in SUSTAINED)]
        best = min(alike, key=lambda i: away[i])
        if own:
            related = min(own, key=lambda i: away[i])
            best = best if away[best] < NEAR * away[related] else related
        found.append(Standing(program, instruments[best].name, float(away[best])))
    return found


def timbres(soundfont: Path) -> NDArray[np.float64]:
    """Measures every program's timbre, float64 [128, features]."""
    found = []
    for program in range(DRUMS):
        notes = render.fluidsynth_notes(program, range(HEARD.start, HEARD.stop, HEARD.step), soundfont)
        found.append(np.mean([features(mono(audio)) for _, audio in notes], axis=0))
    return np.stack(found)


def loudest(audio: NDArray[np.floating]) -> float:
    """Measures the level in dB of a note's loudest eighth of a second."""
    energy = np.concatenate([[0.0], np.square(np.asarray(audio, np.float64)).cumsum()])
    return float(10 * np.log10((energy[FRAME:] - energy[:-FRAME]).max() / FRAME + 1e-12))


def peak_one(audio: NDArray[np.floating]) -> NDArray[np.floating]:
    """Scales a note to the peak 1, as the player does before it applies levels (`envelope.note_peak`)."""
    return audio / max(float(np.abs(audio).max()), 1e-9)


def _louder(
    data: Prepared, notes: Mapping[tuple[str, int], NDArray[np.floating]]
) -> dict[str, tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """Measures by how many dB recordings are louder than the voice plays them, by instrument: pitches, and dB."""
    found: dict[str, tuple[NDArray[np.intp], NDArray[np.float64]]] = {}
    for entry in data.instruments:
        recordings = data.recordings(entry.name)
        own = sorted((pitch, audio) for (name, pitch), audio in notes.items() if name == entry.name and pitch >= 36)
        own = [(pitch, audio) for pitch, audio in own if recordings[pitch - PITCHES.start].any()]
        if own:
            louder = [loudest(recordings[pitch - PITCHES.start]) - loudest(peak_one(audio)) for pitch, audio in own]
            found[entry.name] = np.array([pitch for pitch, _ in own]), np.array(louder)
    return found


def levels(data: Prepared, notes: Mapping[tuple[str, int], NDArray[np.floating]]) -> dict[str, float]:
    """Measures how much louder than the voice plays it each instrument is in the recordings, in dB.

    Args:
        data: for the recordings.
        notes: the voice's, by instrument and pitch.

    Returns:
        By instrument, the median over pitches, from the median of all instruments, to half a dB.
    """
    middle = {name: float(np.median(louder)) for name, (_, louder) in _louder(data, notes).items()}
    return {name: _half(one - float(np.median(list(middle.values())))) for name, one in middle.items()}


def pitch_levels(data: Prepared, notes: Mapping[tuple[str, int], NDArray[np.floating]]) -> dict[str, tuple[float, ...]]:
    """Measures how much each instrument's level in the recordings differs from its median along the keyboard.

    Args:
        data, notes: as of `levels`.

    Returns:
        By instrument, the mean around each of LEVEL_PITCHES, notes weighted by their nearness, in dB, to half a dB.
        What differs from one recording to the next is not followed.
    """
    found = {}
    for name, (pitches, louder) in _louder(data, notes).items():
        near = np.maximum(0.0, 1.0 - np.abs(pitches[:, None] - np.array(LEVEL_PITCHES)) / 12.0)
        around = (near * (louder - np.median(louder))[:, None]).sum(axis=0) / np.maximum(near.sum(axis=0), 1e-9)
        found[name] = tuple(map(_half, around.tolist()))
    return found


def _half(decibels: float) -> float:
    return round(2 * decibels) / 2 + 0.0  # without a negative zero


def table(found: Sequence[Standing]) -> str:
    """Formats who stands for what in Markdown, four programs a line."""
    head = "| " + " | ".join(["program, instrument, distance"] * 4) + " |\n" + "|---" * 4 + "|\n"
    cells = [f"{one.program} {one.instrument} {one.distance:.2f}" for one in found]
    return head + "".join("| " + " | ".join(cells[i : i + 4]) + " |\n" for i in range(0, len(cells), 4))


def measure_programs(folder: Path, notes: Path, out: Path, soundfont: Path = render.SOUNDFONT) -> None:
    """Writes programs.md and programs.json, which `instruments.BUNDLED` was filled in from.

    Args:
        folder: prepared data.
        notes: notes.npz that `evaluate` wrote.
        out: folder to write to.
        soundfont: what the notes were rendered from.
    """
    data = load(folder)
    found = nearest(timbres(soundfont), data.instruments)
    with np.load(notes) as archive:
        played = zip(archive["name"], archive["pitch"], archive["audio"], strict=True)
        ours = {(str(name), int(pitch)): audio for name, pitch, audio in played}
    out.mkdir(parents=True, exist_ok=True)
    (out / "programs.md").write_text(table(found))
    stands = {entry.name: [one.program for one in found if one.instrument == entry.name] for entry in data.instruments}
    found_levels = {"levels": levels(data, ours), "pitch_levels": pitch_levels(data, ours)}
    (out / "programs.json").write_text(json.dumps({"programs": stands, **found_levels}, indent=1) + "\n")
