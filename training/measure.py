"""`python -m training measure`: a voice beside the recordings it was made from, by measures unknown to the training.

A classifier that has only heard the recordings names the notes; distances of spectra, attacks, movement and noise are
taken from the same pitches of both. All of it is done to the targets as well: what they lack, no network can give.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import librosa
import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from training import render, targets
from training.audition import audition
from training.prepare import Prepared, load, mono
from training.targets import COMPARED, PITCHES, SAMPLE_RATE

VELOCITIES = (60, 115)
"""Velocities the classifier learns from besides the recordings' own."""
STRUCK = ("keys", "mallets", "plucked", "guitar")
Notes = Mapping[tuple[str, int], NDArray[np.floating]]


def features(audio: NDArray[np.floating]) -> NDArray[np.float64]:
    """Computes a timbre's features: means of MFCCs at the attack, soon after and later, their deviation, and decay."""
    audio = np.asarray(audio[: int(2.5 * SAMPLE_RATE)], np.float32)
    audio = audio / (np.sqrt(np.mean(audio**2)) + 1e-9) * 0.1
    hop = 256
    mfcc = librosa.feature.mfcc(y=audio, sr=SAMPLE_RATE, n_mfcc=20, n_fft=1024, hop_length=hop, n_mels=64)[1:]
    level = librosa.feature.rms(y=audio, frame_length=1024, hop_length=hop)[0]
    decibels = 20 * np.log10(level + 1e-4)
    decibels -= decibels.max()
    decay = [decibels[int(t * SAMPLE_RATE / hop)] for t in (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 2.2)]
    third = mfcc.shape[1] // 3
    parts = [mfcc[:, :8].mean(axis=1), mfcc[:, 8:third].mean(axis=1), mfcc[:, third:].mean(axis=1), mfcc.std(axis=1)]
    return np.concatenate([*parts, decay]).astype(np.float64)


def _levelled(audio: NDArray[np.floating]) -> NDArray[np.float64]:
    audio = np.asarray(audio[: targets.SAMPLES], np.float64)
    return audio / np.sqrt(np.mean(audio[:SAMPLE_RATE] ** 2) + 1e-12) * 0.1


def _spectrum(audio: NDArray[np.floating], size: int) -> NDArray[np.float64]:
    return np.abs(librosa.stft(np.asarray(audio, np.float32), n_fft=size, hop_length=size // 4))


def convergence(got: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """Computes spectral convergence, the mean over five window lengths."""
    found = []
    for size in (2048, 1024, 512, 256, 128):
        there = _spectrum(wanted, size)
        found.append(np.linalg.norm(_spectrum(got, size) - there) / np.linalg.norm(there))
    return float(np.mean(found))


def log_distance(got: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """Computes log-spectral distance in dB: 80 mel bands, the first 2 s, down to 60 dB under the loudest band."""
    bands = librosa.filters.mel(sr=SAMPLE_RATE, n_fft=2048, n_mels=80)
    a, b = (10 * np.log10(bands @ _spectrum(x[: 2 * SAMPLE_RATE], 2048) ** 2 + 1e-12) for x in (got, wanted))
    floor = max(a.max(), b.max()) - 60
    a, b = np.maximum(a, floor), np.maximum(b, floor)
    heard = b.max(axis=0) > floor + 10
    return float(np.sqrt(((a - b)[:, heard] ** 2).mean(axis=0)).mean())


def _envelope(audio: NDArray[np.floating], window: int) -> NDArray[np.float64]:
    power = np.convolve(np.asarray(audio, np.float64) ** 2, np.ones(window) / window, "same")[::40]
    return np.sqrt(np.maximum(power, 0))


def attack(audio: NDArray[np.floating]) -> float:
    """Measures the milliseconds from 10 to 90 % of the loudest 10 ms of the first 0.6 s."""
    level = _envelope(np.concatenate([np.zeros(800), audio[:SAMPLE_RATE]]), 160)[: int(0.65 * 400)]
    return float(np.argmax(level >= 0.9 * level.max()) - np.argmax(level >= 0.1 * level.max())) * 2.5


def movement(audio: NDArray[np.floating]) -> float:
    """Computes the standard deviation in dB of the level from 0.5 to 3 s, about a parabola."""
    level = 20 * np.log10(_envelope(audio, 640)[int(0.5 * 400) : (3 * 400)] + 1e-6)
    time = np.arange(len(level))
    return float((level - np.polyval(np.polyfit(time, level, 2), time)).std())


def noise(audio: NDArray[np.floating], pitch: int) -> float:
    """Measures the power between the harmonics relative to theirs, in dB, from 0.3 s on."""
    f0, size = targets.frequency(pitch), 16384
    part = audio[int(0.3 * SAMPLE_RATE) :]
    frames = np.stack([part[i : i + size] for i in (0, 8192, 16384)]) * np.blackman(size)
    power = (np.abs(np.fft.rfft(frames, axis=1)) ** 2).sum(axis=0)
    hertz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    near = (np.abs(hertz / f0 - np.round(hertz / f0)) * f0 < min(12, 0.25 * f0)) & (hertz > 0.5 * f0)
    between = ~near & (hertz > 30)
    return float(10 * np.log10(power[between].sum() / power[near].sum() + 1e-12))


@dataclass(frozen=True)
class Beside:
    """One note's figures beside its recording.

    Attributes:
        named: what the classifier takes it for.
        distance: log-spectral, in dB.
        convergence: spectral, mean over five windows.
        attack, movement, noise: of the note; the recording's in `wanted_...`.
    """

    instrument: str
    family: str
    pitch: int
    named: str
    distance: float
    convergence: float
    attack: float
    wanted_attack: float
    movement: float
    wanted_movement: float
    noise: float
    wanted_noise: float


def classifier(data: Prepared) -> Any:
    """Trains a support vector machine on the recordings at pitches not in COMPARED, and at two more velocities."""
    cache = data.folder / "heard.npz"
    if not cache.exists():
        heard, names = [], []
        for entry in data.instruments:
            notes = list(enumerate(data.recordings(entry.name), PITCHES.start))
            for velocity in VELOCITIES if entry.source is not None else ():
                assert entry.source is not None
                rendered = render.fluidsynth_notes(entry.source, range(24, 85, 2), velocity=velocity)
                notes += [(pitch, mono(audio)) for pitch, audio in rendered]
            for pitch, audio in notes:
                if pitch >= COMPARED.start and pitch not in COMPARED and audio.any():
                    heard.append(features(audio))
                    names.append(entry.name)
        np.savez(cache, features=np.stack(heard), names=np.array(names))
    with np.load(cache) as archive:
        return make_pipeline(StandardScaler(), SVC(C=10)).fit(archive["features"], archive["names"])


def compare(model: Any, data: Prepared, notes: Notes) -> list[Beside]:
    """Computes the figures of notes beside their recordings."""
    found = []
    for entry in data.instruments:
        if (entry.name, COMPARED.start) not in notes:
            continue  # trained, but not in the bank
        recordings = data.recordings(entry.name)
        for pitch in COMPARED:
            raw = np.asarray(notes[entry.name, pitch])
            got, wanted = _levelled(raw), _levelled(recordings[pitch - PITCHES.start])
            figures = [
                log_distance(got, wanted),
                convergence(got, wanted),
                *(attack(x) for x in (got, wanted)),
                *(movement(x) for x in (got, wanted)),
                *(noise(x, pitch) for x in (got, wanted)),
            ]
            named = str(model.predict(features(raw)[np.newaxis])[0])
            found.append(Beside(entry.name, entry.family, pitch, named, *figures))
    return found


def summary(found: Sequence[Beside]) -> dict[str, float]:
    """Computes the share of correctly classified notes in percent, and medians."""

    def median(values: Iterable[float]) -> float:
        return round(float(np.median(list(values))), 2)

    figures = {"named": round(100 * float(np.mean([one.named == one.instrument for one in found])), 1)}
    for name in list(asdict(found[0]))[4:]:
        figures[name] = median(getattr(one, name) for one in found)
    return figures


def table(voice: Sequence[Beside], target: Sequence[Beside]) -> str:
    """Formats every instrument's figures in Markdown: voice / target / recording."""
    head = "| instrument | named, % | taken for | distance, dB | convergence | attack, ms | movement, dB | noise, dB |"
    lines = [head, "|---" * 8 + "|"]
    names = list(dict.fromkeys(one.instrument for one in voice))
    for name in [*names, "all"]:
        ours, theirs = ([n for n in notes if name in (n.instrument, "all")] for notes in (voice, target))
        a, b = summary(ours), summary(theirs)
        wrong = [n.named for n in ours if n.named != n.instrument] if name != "all" else []
        often = max(set(wrong), key=wrong.count) if wrong else "-"
        cells = [f"{a['named']:.0f} / {b['named']:.0f}", often]
        cells += [f"{a['distance']:.1f} / {b['distance']:.1f}", f"{a['convergence']:.2f} / {b['convergence']:.2f}"]
        for what, form in (("attack", ".0f"), ("movement", ".1f"), ("noise", ".0f")):
            cells.append(" / ".join(format(x, form) for x in (a[what], b[what], a[f"wanted_{what}"])))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def measure(folder: Path, notes: Path, out: Path) -> dict[str, Any]:
    """Compares a voice's notes with the recordings, and the targets too.

    Args:
        folder: prepared data.
        notes: notes.npz that `evaluate` wrote.
        out: folder for measures.json, measures.md and audition.html.
    """
    data = load(folder)
    with np.load(notes) as archive:
        names, pitches, audio = archive["name"], archive["pitch"], archive["audio"]
    ours = {(str(name), int(pitch)): one for name, pitch, one in zip(names, pitches, audio, strict=True)}
    theirs = {(name, p): data.sound(name, p) for name, p in ours}
    model = classifier(data)
    voice, target = compare(model, data, ours), compare(model, data, theirs)
    out.mkdir(parents=True, exist_ok=True)
    (out / "measures.md").write_text(table(voice, target))
    heard = [(name, p) for name, p in ours if p in COMPARED[::3]]
    recordings = {(name, p): data.recordings(name)[p - PITCHES.start] for name, p in heard}
    audition(out, {"recorded": recordings, "targeted": theirs, "played": ours})
    result = {
        "summary": summary(voice),
        "targets": summary(target),
        "lowest": min(
            (summary([n for n in voice if n.instrument == name])["named"], name)
            for name in dict.fromkeys(name for name, _ in ours)
        ),
        "notes": [asdict(one) for one in voice],
    }
    (out / "measures.json").write_text(json.dumps(result, indent=1) + "\n")
    return result
