"""`python -m training evaluate`: every instrument and pitch, played by the package and compared with its target."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gansynth import latents as gansynth_latents
from training import figures, targets
from training.prepare import Prepared, load

if TYPE_CHECKING:
    from gansynth import Synthesizer

STRUCK = ("keys", "mallets", "plucked")
"""Families whose notes decay; the others are sustained."""
_RATE = targets.SAMPLE_RATE
_PICTURED = (36, 55, 72)


def yin(audio: NDArray[np.floating], expected: float, threshold: float = 0.3) -> float:
    """A note's fundamental: median over voiced frames, searched over more than an octave each way.

    Args:
        audio: float [samples] at SAMPLE_RATE.
        expected: Hertz; the search runs from 0.4 to 2.5 times this.
        threshold: of the normalised difference, below which a frame is voiced.

    Returns:
        Hertz; NaN where no frame is voiced.

    Source: de Cheveigne and Kawahara, "YIN", JASA 2002; with a parabola through the minimum.
    """
    longest, shortest = int(_RATE / (0.4 * expected)) + 2, max(2, int(_RATE / (2.5 * expected)))
    window = max(1024, 2 * longest)
    audio = np.asarray(audio, np.float64)
    loudest = np.abs(audio).max()
    found = []
    for start in range(0, len(audio) - window - longest, 1024):
        frame = audio[start : start + window + longest]
        if np.sqrt(np.mean(frame**2)) <= 0.003 * loudest:
            continue
        size = 1 << int(np.ceil(np.log2(len(frame) + window)))
        product = np.fft.irfft(np.fft.rfft(frame, size) * np.conj(np.fft.rfft(frame[:window], size)), size)
        energy = np.concatenate([[0.0], np.cumsum(frame**2)])
        lags = np.arange(longest)
        difference = energy[window] + energy[lags + window] - energy[lags] - 2.0 * product[:longest]
        difference[0] = 0.0
        normalised = np.ones(longest)
        normalised[1:] = difference[1:] * lags[1:] / np.maximum(np.cumsum(difference[1:]), 1e-12)
        candidates = [
            lag
            for lag in range(shortest, longest - 1)
            if normalised[lag] < threshold and normalised[lag - 1] >= normalised[lag] <= normalised[lag + 1]
        ]
        if not candidates:
            continue
        # The first dip within a little of the deepest: a multiple of the period fits as well as the period.
        deepest = min(normalised[lag] for lag in candidates)
        lag = next(lag for lag in candidates if normalised[lag] <= deepest + 0.1)
        before, at, after = difference[lag - 1 : lag + 2]
        bend = before - 2 * at + after
        found.append(_RATE / (lag + (0.5 * (before - after) / bend if bend > 0 else 0.0)))
    return float(np.median(found)) if found else float("nan")


def cents_off(audio: NDArray[np.floating], pitch: int) -> float:
    """How far a note's fundamental is from its pitch between 0.1 and 1.5 s, in cents; infinite if none is found."""
    expected = targets.frequency(pitch)
    found = yin(audio[_RATE // 10 : _RATE * 3 // 2], expected)
    return abs(1200.0 * float(np.log2(found / expected))) if found > 0 else float("inf")


def convergence(got: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """Spectral convergence of magnitude STFTs: the norm of their difference over the target's."""
    wanted_magnitude = targets.magnitudes(wanted)
    difference = targets.magnitudes(got) - wanted_magnitude
    return float(np.linalg.norm(difference) / np.linalg.norm(wanted_magnitude))


def decibels(audio: NDArray[np.floating]) -> float:
    """Root mean square in dB, not below -120."""
    return float(20 * np.log10(max(1e-6, np.sqrt(np.mean(np.square(audio, dtype=np.float64))))))


def haze(audio: NDArray[np.floating], pitch: int) -> float:
    """Energy of the first second near harmonics over that further than 50 cents from any, in dB.

    Not nearer than 5 Hz: a window of one second cannot tell 50 cents from 0 at the lowest fundamentals.
    """
    first = np.asarray(audio[:_RATE], np.float64)
    power = np.abs(np.fft.rfft(first * np.hanning(len(first)))) ** 2
    hertz = np.arange(len(power)) * _RATE / len(first)
    f0 = targets.frequency(pitch)
    nearest = np.maximum(1, np.round(hertz / f0)) * f0
    near = np.abs(hertz - nearest) <= np.maximum(5.0, nearest * (2 ** (50 / 1200) - 1))
    return float(10 * np.log10(power[near].sum() / max(power[~near].sum(), 1e-12)))


@dataclass(frozen=True)
class Note:
    """One note's figures.

    Attributes:
        cents: distance from its pitch.
        convergence: spectral convergence to the target.
        level: dB of the first second over the target's, not yet against other notes.
        haze, target_haze: dB between harmonics and what lies between them.
        decay: dB at 2 s over the target's, both not below 60 dB under the target's loudest tenth of a second.
    """

    instrument: str
    family: str
    pitch: int
    cents: float
    convergence: float
    level: float
    haze: float
    target_haze: float
    decay: float


def measure(instrument: str, family: str, pitch: int, got: NDArray[np.floating], wanted: NDArray[np.floating]) -> Note:
    """One note's figures; audio float [samples] each."""
    at = slice(int(1.9 * _RATE), int(2.1 * _RATE))
    floor = max(decibels(wanted[i : i + _RATE // 10]) for i in range(0, _RATE, _RATE // 10)) - 60.0
    decay = max(decibels(got[at]), floor) - max(decibels(wanted[at]), floor)
    level = decibels(got[:_RATE]) - decibels(wanted[:_RATE])
    return Note(
        instrument,
        family,
        pitch,
        cents_off(got, pitch),
        convergence(got, wanted),
        level,
        haze(got, pitch),
        haze(wanted, pitch),
        decay,
    )


def evaluate(checkpoint: str, data: Path, out: Path, pitch_step: int = 1, pictures: bool = True) -> dict[str, object]:
    """Plays a checkpoint's bank and compares it with the prepared targets of the same instruments.

    Args:
        checkpoint: name or folder.
        data: prepared data set.
        out: where figures.json, figures.md and one PNG for each instrument go.
        pitch_step: every which pitch; 1 is all.
        pictures: whether to draw.

    Returns:
        What figures.json holds under "summary".
    """
    from gansynth import Bank, Synthesizer, load_bank
    from gansynth.checkpoint import localize

    prepared = load(data)
    out.mkdir(parents=True, exist_ok=True)
    synth = Synthesizer.from_checkpoint(checkpoint)
    bank: Bank = load_bank(str(localize(checkpoint) / "instruments.yaml"), synth.latent_size)
    names = {entry.name for entry in prepared.instruments}
    pitches = [p for p in targets.PITCHES if (p - 24) % pitch_step == 0]
    notes: list[Note] = []
    for name, latent in zip(bank.names, bank.latents, strict=True):
        if name not in names:
            continue
        got = dict(zip(pitches, synth.synthesize(np.tile(latent, [len(pitches), 1]), pitches), strict=True))
        envelopes = prepared.envelopes(name)
        wanted = {p: targets.resynthesize(envelopes[p], p, lead=0) for p in pitches}
        family = bank.families.get(name, "own")
        notes += [measure(name, family, p, got[p], wanted[p]) for p in pitches]
        if pictures:
            _picture(out / f"{name}.png", wanted, got)
        print(f"{name}: {summarise([n for n in notes if n.instrument == name])}", flush=True)
    summary: dict[str, object] = dict(summarise(notes))
    summary["lowest instrument in tune"] = _lowest(notes, lambda note: note.instrument)
    summary["lowest octave in tune"] = _lowest(notes, lambda note: f"{note.pitch // 12 * 12}")
    summary |= _blends(synth, bank)
    summary["times real time, whole notes of one instrument"] = round(_speed(synth, bank.latents[0]), 1)
    rows = [vars(note) for note in notes]
    result = {"summary": summary, "instruments": by_instrument(notes), "notes": rows}
    (out / "figures.json").write_text(json.dumps(result, indent=1) + "\n")
    (out / "figures.md").write_text(table(summary, by_instrument(notes)))
    return summary


def summarise(notes: list[Note]) -> dict[str, float]:
    """The issue's table, of these notes. Shares are in percent."""

    def share(values: list[bool]) -> float:
        return round(100.0 * float(np.mean(values)), 2) if values else float("nan")

    def median(values: list[float]) -> float:
        return round(float(np.median(values)), 3) if values else float("nan")

    usual = [n for n in notes if n.pitch >= 36]
    low = [n for n in notes if n.pitch < 36]
    middle = float(np.median([n.level for n in notes]))
    struck = [n for n in usual if n.family in STRUCK]
    sustained = [n for n in usual if n.family not in STRUCK]
    return {
        "in tune 36..84": share([n.cents <= 25 for n in usual]),
        "in tune 24..35": share([n.cents <= 25 for n in low]),
        "cents, median": median([n.cents for n in usual]),
        "spectral convergence, median": median([n.convergence for n in usual]),
        "level within 3 dB": share([abs(n.level - middle) <= 3 for n in usual]),
        "level, median dB": round(middle, 2),
        "haze, median dB": median([n.haze for n in sustained]),
        "haze at least 20 dB below": share([n.haze >= 20 for n in sustained]),
        "the same of the targets": share([n.target_haze >= 20 for n in sustained]),
        "decay within 6 dB": share([abs(n.decay) <= 6 for n in struck]),
    }


def _lowest(notes: list[Note], group: Callable[[Note], str]) -> dict[str, object]:
    groups: dict[str, list[bool]] = {}
    for note in notes:
        if note.pitch >= 36:
            groups.setdefault(group(note), []).append(note.cents <= 25)
    name = min(groups, key=lambda key: float(np.mean(groups[key])))
    return {"name": name, "share": round(100.0 * float(np.mean(groups[name])), 2)}


def by_instrument(notes: list[Note]) -> dict[str, dict[str, float]]:
    """`summarise` of each instrument."""
    names = dict.fromkeys(note.instrument for note in notes)
    return {name: summarise([note for note in notes if note.instrument == name]) for name in names}


def _blends(synth: Synthesizer, bank: gansynth_latents.Bank, count: int = 128) -> dict[str, object]:
    """Shares in tune half way between pairs of instruments, and of random latents."""
    random = np.random.RandomState(5)
    pitches = random.randint(36, 85, size=count)
    left = random.randint(len(bank), size=count)
    right = (left + random.randint(1, max(2, len(bank)), size=count)) % len(bank)
    between = gansynth_latents.slerp(bank.latents[left], bank.latents[right], 0.5)
    drawn = gansynth_latents.random_latents(count, synth.latent_size, 6)
    out: dict[str, object] = {}
    for name, z in (("midpoints in tune", between), ("random latents in tune", drawn)):
        audio = synth.synthesize(z, pitches, 24576)
        near = [cents_off(one, int(pitch)) <= 25 for one, pitch in zip(audio, pitches, strict=True)]
        out[name] = round(100.0 * float(np.mean(near)), 2)
    return out


def _speed(synth: Synthesizer, latent: NDArray[np.float64]) -> float:
    pitches = list(targets.PITCHES)[:32]
    z = np.tile(latent, [len(pitches), 1])
    synth.synthesize(z, pitches)
    began = time.perf_counter()
    synth.synthesize(z, pitches)
    return len(pitches) * synth.note_samples / synth.sample_rate / (time.perf_counter() - began)


def _picture(path: Path, wanted: Mapping[int, NDArray[np.floating]], got: Mapping[int, NDArray[np.floating]]) -> None:
    """Targets above generated notes, 0 to 5 kHz, 80 dB."""

    def image(audio: NDArray[np.floating]) -> NDArray[np.floating]:
        loud = targets.magnitudes(audio)[:, :640].reshape(-1, 320, 2).max(axis=2)
        return 20 * np.log10(np.maximum(loud, 1e-6) / loud.max())

    pitches = [min(wanted, key=lambda p, at=at: abs(p - at)) for at in _PICTURED]
    rows = [[(f"{what} {p}", image(notes[p])) for p in pitches] for what, notes in (("target", wanted), ("mini", got))]
    figures.sheet(path, rows, -80.0, 0.0)


def table(summary: Mapping[str, object], instruments: Mapping[str, Mapping[str, float]]) -> str:
    """Both tables in markdown."""
    lines = ["| figure | value |", "|---|---|"]
    for name, value in summary.items():
        shown = f"{value['share']} ({value['name']})" if isinstance(value, dict) else value
        lines.append(f"| {name} | {shown} |")
    columns = (
        "in tune 36..84",
        "in tune 24..35",
        "spectral convergence, median",
        "level, median dB",
        "haze, median dB",
        "decay within 6 dB",
    )
    lines += ["", "| instrument | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, figures_of in instruments.items():
        values = ["-" if figures_of[c] != figures_of[c] else str(figures_of[c]) for c in columns]
        lines.append(f"| {name} | " + " | ".join(values) + " |")
    return "\n".join(lines) + "\n"


__all__ = ["Note", "Prepared", "cents_off", "convergence", "evaluate", "haze", "measure", "summarise", "yin"]
