"""`python -m training prepare`: makes targets from notes and saves them."""

from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from training import analysis, render, targets
from training.analysis import Parts
from training.instruments import BUNDLED, Instrument, listed
from training.targets import BINS, PITCHES, ROWS, SAMPLE_RATE, SAMPLES
from training.tuning import IN_TUNE, cents_off

MOST_INSTRUMENTS = 64
"""Number of instruments that a network of this size can distinguish; each takes 16 MB of memory in training."""
_RANGE = 9.2
"""Natural logarithm of the range below the loudest in which harmonics are kept: 80 dB."""
FAINT = 0.03
"""Share of an instrument's usual amplitude below which a note is taken for a gap in the recordings."""
_NOISE_SHAPES = 4
"""Number of spectra, each with its course over time, that represent a note's noise."""


@dataclass(frozen=True)
class Prepared:
    """A prepared data set.

    Attributes:
        folder: its folder.
        instruments: instruments in the order of the arrays' first axis.
        log_power: float16 [instruments, pitches, ROWS, BINS], on disk: natural logarithms of the power to draw.
        phases: float32 [pitches, 2, BINS]: the phase images of every pitch, as targets.frequency_images gives them.
    """

    folder: Path
    instruments: tuple[Instrument, ...]
    log_power: NDArray[np.float16]
    phases: NDArray[np.float32]

    def sound(self, name: str, pitch: int) -> NDArray[np.float32]:
        """Plays the target through the reference's inverse, float32 [SAMPLES]."""
        which = [entry.name for entry in self.instruments].index(name)
        label = pitch - PITCHES.start
        return targets.invert(self.log_power[which, label], targets.phase_image(self.phases[label]))

    def recordings(self, name: str) -> NDArray[np.float32]:
        """Reads the instrument's recordings, float32 [pitches, SAMPLES]; zeros where there was no note."""
        audio, _ = soundfile.read(self.folder / f"{name}.flac", dtype="float32")
        return np.asarray(audio, np.float32).reshape(len(PITCHES), SAMPLES)


def load(folder: Path, jobs: int = 2) -> Prepared:
    """Opens a data set that `prepare` wrote; computes the images if the folder lacks them."""
    try:
        instruments = listed((folder / "instruments.json").read_text())
    except FileNotFoundError:
        raise SystemExit(f"{folder}: no prepared data; run `python -m training prepare` first") from None
    if not (folder / "log_power.npy").exists():
        draw(folder, instruments, jobs)
    log_power = np.load(folder / "log_power.npy", mmap_mode="r")
    if log_power.shape != _shape(len(instruments)):
        raise SystemExit(f"{folder}: log_power.npy is not of {len(instruments)} instruments; prepare once more")
    return Prepared(folder, instruments, log_power, np.load(folder / "phases.npy"))


def _shape(instruments: int) -> tuple[int, ...]:
    return instruments, len(PITCHES), ROWS, BINS


def prepare(folder: Path, notes: Path | None = None, soundfont: Path = render.SOUNDFONT, jobs: int = 2) -> None:
    """Makes targets from FluidSynth's notes, or from a folder of NSynth-style WAV files.

    Args:
        folder: folder to write.
        notes: folder of WAV files; None to render the bundled instruments.
        soundfont: soundfont for FluidSynth.
        jobs: number of processes.

    Raises:
        SystemExit: FluidSynth or the notes cannot be used.
    """
    if notes is None:
        instruments, found = BUNDLED, {}
    else:
        found = render.folder_notes(notes)
        if len(found) > MOST_INSTRUMENTS:
            raise SystemExit(f"{notes}: {len(found)} instruments; leave {MOST_INSTRUMENTS} or fewer in the folder")
        for name, files in found.items():
            if not set(files) & set(PITCHES):
                raise SystemExit(f"{notes}: {name} has no note within {PITCHES.start}..{PITCHES.stop - 1}")
        # Programs go round robin: whoever knows better edits instruments.yaml.
        instruments = tuple(
            Instrument(name, "own", programs=tuple(range(i, 129, len(found)))) for i, name in enumerate(sorted(found))
        )
    folder.mkdir(parents=True, exist_ok=True)
    # Written last: without it, nothing here is taken for whole.
    (folder / "instruments.json").unlink(missing_ok=True)
    (folder / "log_power.npy").unlink(missing_ok=True)
    between: dict[int, list[tuple[float, float]]] = {pitch: [] for pitch in PITCHES}
    with _pool(jobs) as pool:
        tasks = [
            pool.submit(_instrument, folder, instrument, found.get(instrument.name), soundfont)
            for instrument in instruments
        ]
        for instrument, task in zip(instruments, tasks, strict=True):
            try:
                for pitch, strays in task.result().items():
                    between[pitch] += strays
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            own = f" from {len(set(found[instrument.name]) & set(PITCHES))} files" if found else ""
            print(f"{instrument.name}: {len(PITCHES)} notes{own}", flush=True)
    phases = [targets.frequency_images(pitch, analysis.strongest(between[pitch])) for pitch in PITCHES]
    np.save(folder / "phases.npy", np.stack(phases))
    harmonic, noise = zip(*map(targets.gains, PITCHES), strict=True)
    np.savez(folder / "gains.npz", harmonic=np.concatenate(harmonic), noise=np.stack(noise))
    draw(folder, instruments, jobs)
    (folder / "instruments.json").write_text(json.dumps([asdict(entry) for entry in instruments], indent=1))


def _pool(jobs: int) -> ProcessPoolExecutor:
    """Starts processes of one thread each: more would only wait for one another."""
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = "1"
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"))


def _instrument(
    folder: Path, instrument: Instrument, files: dict[int, Path] | None, soundfont: Path
) -> dict[int, list[tuple[float, float]]]:
    """Writes one instrument's notes as they are kept, and its recordings; gives the partials that are not harmonics."""
    if files is None:
        assert instrument.source is not None
        audio = dict(render.fluidsynth_notes(instrument.source, PITCHES, soundfont))
    else:
        audio = {pitch: render.read_note(path) for pitch, path in files.items() if pitch in PITCHES}
    known = {pitch: analysis.take_apart(note, pitch) for pitch, note in audio.items()}
    # Some samples sound an octave up (FluidR3's harp at 47..50), and some hardly at all (its three highest): those
    # pitches borrow like those that have no file.
    usual = np.median([parts.harmonics.max() for parts in known.values()])
    in_tune = {
        pitch: parts
        for pitch, parts in known.items()
        if parts.harmonics.max() > FAINT * usual
        and cents_off(targets.resynthesize(parts.harmonics, pitch), pitch) <= IN_TUNE
    }
    for pitch, one in in_tune.items():
        if cents_off(mono(audio[pitch]), pitch) > IN_TUNE:
            in_tune[pitch] = analysis.without_half_harmonics(one, pitch)
    parts = {pitch: borrowed(pitch, in_tune or known) for pitch in PITCHES}
    falls = float(np.mean([analysis.decays(one.harmonics) for one in parts.values()])) > 0.5
    ratios = beat_ratios({pitch: one.harmonics for pitch, one in parts.items()})
    moves = np.array([(0.0, 0.0) if falls else analysis.movement(one.harmonics) for one in parts.values()])
    kept: dict[str, list[NDArray[np.generic]]] = {
        "harmonics": [],
        "ratios": [],
        "loudest": [],
        "course": [],
        "spectra": [],
    }
    strays = {}
    for label, (pitch, one) in enumerate(parts.items()):
        harmonics = analysis.hold_attack(one.harmonics, 0.05 if falls else 0.025)
        harmonics = analysis.steady(harmonics, 0.25, 0.1 if falls else 0.3)
        common = np.median(moves[max(0, label - 3) : label + 4, 0])
        power = np.square(harmonics.astype(np.float64)).sum(axis=1)
        beat = analysis.DEPTH * ratios[pitch]
        left = np.sqrt(max(0.0, common**2 - np.square(beat * power / power.sum()).sum()))
        if left > 0.2:
            harmonics = analysis.swell(harmonics, min(float(left), 2.0))
        level = targets.level(harmonics)
        amplitudes = analysis.rows(harmonics) * level
        noise = one.noise * level**2
        loudest = amplitudes.max()
        strays[pitch] = analysis.strays(noise, float(loudest))
        steps = np.log(np.maximum(amplitudes / loudest, 1e-9)) / _RANGE + 1.0
        kept["harmonics"].append(np.round(np.clip(steps, 0.0, 1.0) * 255).astype(np.uint8))
        kept["ratios"].append(np.round(ratios[pitch] * 255).astype(np.uint8))
        kept["loudest"].append(np.float32(loudest))
        log = np.log(np.maximum(noise, np.exp(targets.FLOOR)))
        left, size, right = np.linalg.svd(log, full_matrices=False)
        kept["course"].append((left * size)[:, :_NOISE_SHAPES].astype(np.float16))
        kept["spectra"].append(right[:_NOISE_SHAPES].astype(np.float16))
    np.savez_compressed(
        folder / f"{instrument.name}.npz",
        harmonics=np.concatenate(kept["harmonics"]),
        ratios=np.concatenate(kept["ratios"]),
        **{name: np.stack(kept[name]) for name in ("loudest", "course", "spectra")},
    )
    silence = np.zeros(SAMPLES, np.float32)
    recordings = [mono(audio[pitch]) if pitch in audio else silence for pitch in PITCHES]
    loud = max(1.0, max(float(np.abs(one).max()) for one in recordings))
    soundfile.write(folder / f"{instrument.name}.flac", np.concatenate(recordings) / loud, SAMPLE_RATE)
    return strays


def beat_ratios(notes: dict[int, NDArray[np.float32]]) -> dict[int, NDArray[np.float64]]:
    """Chooses the second sinusoids' amplitudes to those of their harmonics, so that levels move as the notes' do.

    Medians over seven pitches and three harmonics: what is the same in neighbouring notes can be learnt.
    """
    depths = {pitch: analysis.beating(harmonics) for pitch, harmonics in notes.items()}
    found = {}
    for pitch, own in depths.items():
        near = [depths[other] for other in range(pitch - 3, pitch + 4) if other in depths]
        count = len(own)
        table = np.full([len(near), 3, count], np.nan)
        for row, depth in zip(table, near, strict=True):
            for i, shift in enumerate((-1, 0, 1)):
                index = np.arange(count) + shift
                fits = (index >= 0) & (index < len(depth))
                row[i, fits] = depth[index[fits]]
        depth = np.nanmedian(table.reshape(-1, count), axis=0)
        found[pitch] = np.clip(depth / analysis.DEPTH, 0.02, 0.95)
    return found


def mono(audio: NDArray[np.floating]) -> NDArray[np.float32]:
    """Mixes a recording's channels to SAMPLES samples."""
    mixed = np.asarray(audio, np.float32).reshape(len(audio), -1).mean(axis=1)[:SAMPLES]
    return np.pad(mixed, [0, SAMPLES - len(mixed)])


def borrowed(pitch: int, known: dict[int, Parts]) -> Parts:
    """Returns a pitch's parts, or those of the nearest pitch that has any, harmonic for harmonic as a sampler would."""
    nearest = min(known, key=lambda other: (abs(other - pitch), other))
    if nearest == pitch:
        return known[pitch]
    count = targets.partials(pitch)
    harmonics = known[nearest].harmonics[:count]
    return Parts(np.pad(harmonics, [[0, count - len(harmonics)], [0, 0]]), known[nearest].noise)


def draw(folder: Path, instruments: tuple[Instrument, ...], jobs: int) -> None:
    """Writes log_power.npy, the images of all notes as they are kept."""
    log_power = np.lib.format.open_memmap(folder / "log_power.npy.new", "w+", np.float16, _shape(len(instruments)))
    with _pool(jobs) as pool:
        tasks = [pool.submit(_images, folder / f"{entry.name}.npz") for entry in instruments]
        for i, task in enumerate(tasks):
            log_power[i] = task.result()
    log_power.flush()
    (folder / "log_power.npy.new").replace(folder / "log_power.npy")


def _images(path: Path) -> NDArray[np.float16]:
    """Computes the images of an instrument's notes, float16 [pitches, ROWS, BINS]."""
    with np.load(path) as archive:
        kept = {name: archive[name] for name in archive.files}
    with np.load(path.parent / "gains.npz") as archive:
        gains = {name: archive[name] for name in archive.files}
    images, first = [], 0
    for label, pitch in enumerate(PITCHES):
        own = slice(first, first + targets.partials(pitch))
        steps, gain = kept["harmonics"][own], (gains["harmonic"][own], gains["noise"][label])
        first = own.stop
        amplitudes = kept["loudest"][label] * np.exp((steps / 255.0 - 1.0) * _RANGE) * (steps > 0)
        course, spectra = kept["course"][label].astype(np.float64), kept["spectra"][label].astype(np.float64)
        noise = np.exp(course @ spectra)
        images.append(targets.image(amplitudes, kept["ratios"][own] / 255.0, noise, pitch, gain).astype(np.float16))
    return np.stack(images)
