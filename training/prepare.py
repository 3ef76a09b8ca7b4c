"""`python -m training prepare`: makes targets from notes and saves them."""

from __future__ import annotations

import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training import render, targets
from training.instruments import BUNDLED, Instrument, listed
from training.targets import PITCHES
from training.tuning import IN_TUNE, cents_off

MOST_INSTRUMENTS = 64
"""Number of instruments that a network of this size can distinguish; each takes 16 MB of memory in training."""


@dataclass(frozen=True)
class Prepared:
    """A prepared data set.

    Attributes:
        folder: its folder.
        instruments: instruments in the order of the arrays' first axis.
        log_power: float16 [instruments, pitches, ROWS, BINS], on disk: natural logarithms of the power to draw.
    """

    folder: Path
    instruments: tuple[Instrument, ...]
    log_power: NDArray[np.float16]

    def envelopes(self, name: str) -> dict[int, NDArray[np.float32]]:
        """Returns an instrument's envelopes at the common level: pitch to float32 [partials, frames]."""
        with np.load(self.folder / f"{name}.npz") as archive:
            return {int(pitch): archive[pitch].astype(np.float32) for pitch in archive.files}


def load(folder: Path) -> Prepared:
    """Opens a data set that `prepare` wrote.

    Raises:
        SystemExit: the folder has no data set, or an incomplete one.
    """
    try:
        instruments = listed((folder / "instruments.json").read_text())
    except FileNotFoundError:
        raise SystemExit(f"{folder}: no prepared data; run `python -m training prepare` first") from None
    log_power = np.load(folder / "log_power.npy", mmap_mode="r")
    if log_power.shape != _shape(len(instruments)):
        raise SystemExit(f"{folder}: log_power.npy is not of {len(instruments)} instruments; prepare once more")
    return Prepared(folder, instruments, log_power)


def _shape(instruments: int) -> tuple[int, ...]:
    return instruments, len(PITCHES), targets.ROWS, targets.BINS


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
    (folder / "instruments.json").unlink(missing_ok=True)  # written last: without it, nothing here is taken for whole
    log_power = np.lib.format.open_memmap(folder / "log_power.npy", "w+", np.float16, _shape(len(instruments)))
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        tasks = [
            pool.submit(_instrument, folder, instrument, found.get(instrument.name), soundfont)
            for instrument in instruments
        ]
        for i, (instrument, task) in enumerate(zip(instruments, tasks, strict=True)):
            try:
                log_power[i] = task.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
            own = f" from {len(set(found[instrument.name]) & set(PITCHES))} files" if found else ""
            print(f"{instrument.name}: {len(PITCHES)} notes{own}", flush=True)
    log_power.flush()
    (folder / "instruments.json").write_text(json.dumps([asdict(entry) for entry in instruments], indent=1))


def _instrument(
    folder: Path, instrument: Instrument, files: dict[int, Path] | None, soundfont: Path
) -> NDArray[np.float16]:
    """Makes one instrument's targets, float16 [pitches, ROWS, BINS]; writes its envelopes to a file."""
    if files is None:
        assert instrument.source is not None
        audio = dict(render.fluidsynth_notes(instrument.source, PITCHES, soundfont))
    else:
        audio = {pitch: render.read_note(path) for pitch, path in files.items() if pitch in PITCHES}
    kept, images = {}, []
    known = {pitch: targets.envelopes(note, pitch) for pitch, note in audio.items()}
    # Some samples sound an octave up (FluidR3's harp at 47..50): those pitches borrow like those that have no file.
    in_tune = {
        pitch: harmonics
        for pitch, harmonics in known.items()
        if cents_off(targets.resynthesize(harmonics, pitch), pitch) <= IN_TUNE
    }
    for pitch in PITCHES:
        amplitudes = harmonics_for(pitch, in_tune or known)
        amplitudes = amplitudes * targets.level(amplitudes, pitch)
        kept[str(pitch)] = amplitudes.astype(np.float16)
        images.append(targets.mel_log_power(targets.magnitudes(targets.resynthesize(amplitudes, pitch))))
    np.savez(folder / f"{instrument.name}.npz", **kept)
    return np.stack(images).astype(np.float16)


def harmonics_for(pitch: int, known: dict[int, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Returns a pitch's envelopes, or those of the nearest known pitch, harmonic for harmonic as a sampler would."""
    nearest = min(known, key=lambda other: (abs(other - pitch), other))
    amplitudes = known[nearest][: targets.partials(pitch)]
    return np.pad(amplitudes, [[0, targets.partials(pitch) - len(amplitudes)], [0, 0]])
