"""`python -m training evaluate`: compares every instrument and pitch, as the package plays it, with its target."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gansynth.score import instruments as gansynth_latents
from training import figures, reference, targets
from training.prepare import load
from training.tuning import IN_TUNE, cents_off

if TYPE_CHECKING:
    from gansynth import Synthesizer

STRUCK = ("keys", "mallets", "plucked", "guitar")
"""Families whose notes decay; the others are sustained."""
_RATE = targets.SAMPLE_RATE
_PICTURED = (36, 55, 72)


def convergence(got: NDArray[np.floating], wanted: NDArray[np.floating]) -> float:
    """Computes the spectral convergence of magnitude STFTs: the norm of their difference over the target's."""
    wanted_magnitude = targets.magnitudes(wanted)
    difference = targets.magnitudes(got) - wanted_magnitude
    return float(np.linalg.norm(difference) / np.linalg.norm(wanted_magnitude))


def decibels(audio: NDArray[np.floating]) -> float:
    """Computes the root mean square in dB, at least -120."""
    return float(20 * np.log10(max(1e-6, np.sqrt(np.mean(np.square(audio, dtype=np.float64))))))


def haze(audio: NDArray[np.floating], pitch: int) -> float:
    """Computes the ratio in dB of the first second's energy within 50 cents of a harmonic to the remaining energy."""
    first = np.asarray(audio[:_RATE], np.float64)
    power = np.abs(np.fft.rfft(first * np.hanning(len(first)))) ** 2
    hertz = np.arange(len(power)) * _RATE / len(first)
    f0 = targets.frequency(pitch)
    nearest = np.maximum(1, np.round(hertz / f0)) * f0
    near = np.abs(np.log2(np.maximum(hertz, 1e-6) / nearest)) <= 50 / 1200
    return float(10 * np.log10(power[near].sum() / max(power[~near].sum(), 1e-12)))


@dataclass(frozen=True)
class Note:
    """The figures of one note.

    Attributes:
        cents: distance from its pitch.
        convergence: spectral convergence to the target.
        level: level of the first second relative to the target's, in dB, not yet relative to other notes.
        haze, target_haze: ratio of the harmonics' energy to the energy between them, in dB.
        decay: level at 2 s relative to the target's, in dB; both at least 60 dB below the target's loudest 0.1 s.
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

    @property
    def in_tune(self) -> bool:
        """True if the note is close enough to its pitch."""
        return self.cents <= IN_TUNE


def measure(instrument: str, family: str, pitch: int, got: NDArray[np.floating], wanted: NDArray[np.floating]) -> Note:
    """Measures one note; `got` and `wanted` are audio, float [samples]."""
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


@dataclass(frozen=True)
class Goal:
    """A goal that a voice should reach.

    Attributes:
        what: description.
        figure: key of the summary.
        limit: minimum of the figure, or its maximum if `most` is set.
        unit: written after the number.
    """

    what: str
    figure: str
    limit: float
    unit: str = ""
    most: bool = False

    def reached(self, value: float | None) -> bool:
        """Tells whether a figure reaches the goal; a missing one does not."""
        return value is not None and (value <= self.limit if self.most else value >= self.limit)


GOALS = (
    Goal("notes 36..84 within 25 cents", "in tune 36..84", 99.0, " %"),
    Goal("the instrument with the fewest", "lowest instrument in tune", 97.0, " %"),
    Goal("the octave with the fewest", "lowest octave in tune", 97.0, " %"),
    Goal("notes 24..35 within 25 cents", "in tune 24..35", 90.0, " %"),
    Goal("midpoints between instruments within 25 cents", "midpoints in tune", 98.0, " %"),
    Goal("random latents within 25 cents", "random latents in tune", 98.0, " %"),
    Goal("spectral convergence to the target, median", "spectral convergence, median", 0.3, most=True),
    Goal("levels of notes against each other within 3 dB of the targets'", "level within 3 dB", 100.0, " %"),
    Goal(
        "sustained notes whose noise between harmonics is within 6 dB of the target's", "haze within 6 dB", 90.0, " %"
    ),
    Goal("struck and plucked notes within 6 dB of the target at 2 s", "decay within 6 dB", 100.0, " %"),
    Goal("agreement with Magenta's own code, worst note", "agreement with Magenta", 60.0, " dB"),
    Goal("whole notes of one instrument, times real time", "times real time", 60.0),
)
"""Goals of the bundled voice; a share of 100 % means every note."""


def evaluate(
    checkpoint: str, data: Path, out: Path, pitch_step: int = 1, pictures: bool = True, full: Path | None = None
) -> dict[str, Any]:
    """Plays a checkpoint's bank and compares it with the prepared targets of the same instruments.

    Args:
        checkpoint: name or folder.
        data: prepared data set.
        out: folder for figures.json, figures.md and one PNG for each instrument.
        pitch_step: step between measured pitches; 1 measures all.
        pictures: if true, the PNGs are drawn.
        full: the same voice with every variable that Magenta's Saver needs (`export --full`), to be played by
            Magenta's own code; None to skip this comparison.

    Returns:
        The content of figures.json.

    Raises:
        SystemExit: the data are of other instruments, or `full` is another voice.
    """
    from gansynth import Bank, Synthesizer, load_bank
    from gansynth.model.checkpoint import load as load_checkpoint
    from gansynth.model.download import localize

    prepared = load(data)
    synth = Synthesizer.from_checkpoint(checkpoint)
    folder = localize(checkpoint)
    bank: Bank = load_bank(str(folder / "instruments.yaml"), synth.latent_size)
    missing = set(bank.names) - {entry.name for entry in prepared.instruments}
    if missing:
        raise SystemExit(f"{data}: has no targets of {', '.join(sorted(missing))}; prepare the voice's own")
    if full is not None and load_checkpoint(str(full)).digest != synth.digest:
        raise SystemExit(f"{full}: is not the voice in {folder}; export both from the same run")
    out.mkdir(parents=True, exist_ok=True)
    pitches = [p for p in targets.PITCHES if (p - 24) % pitch_step == 0]
    notes: list[Note] = []
    kept: list[tuple[str, int, NDArray[np.floating]]] = []
    for name, latent in zip(bank.names, bank.latents, strict=True):
        got = dict(zip(pitches, synth.synthesize(np.tile(latent, [len(pitches), 1]), pitches), strict=True))
        wanted = {p: prepared.sound(name, p) for p in pitches}
        kept += [(name, p, got[p]) for p in pitches if p in targets.COMPARED]
        family = bank.families.get(name, "own")
        notes += [measure(name, family, p, got[p], wanted[p]) for p in pitches]
        if pictures:
            _picture(out / f"{name}.png", wanted, got)
        print(f"{name}: {summarise([n for n in notes if n.instrument == name])}", flush=True)
    names, at, audio = zip(*kept, strict=True) if kept else ((), (), ())
    np.savez(out / "notes.npz", name=np.array(names), pitch=np.array(at), audio=np.array(audio, np.float32))
    more: dict[str, float | None] = dict(_blends(synth, bank))
    more["agreement with Magenta"] = None if full is None else _agreement(synth, bank, full)
    more["times real time"] = round(_speed(synth, bank.latents[0]), 1)
    result = {
        "voice": _describe(folder, load_checkpoint(checkpoint).weights, bank) | {"digest": synth.digest},
        "pitches": [pitches[0], pitches[-1], pitch_step],
        "cores": os.cpu_count(),
        **report(notes, more),
    }
    (out / "figures.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n")
    (out / "figures.md").write_text(f"{goal_table(result)}\n{instrument_table(result)}")
    return result


def report(notes: Sequence[Note], more: Mapping[str, float | None]) -> dict[str, Any]:
    """Makes the content of figures.json: the summary with the figures of GOALS, the goals missed, and every note.

    Args:
        notes: notes of all instruments.
        more: figures of the summary that do not come from single notes.
    """
    fewest = {
        "lowest instrument in tune": _lowest(notes, lambda note: note.instrument),
        "lowest octave in tune": _lowest(notes, lambda note: f"from {note.pitch // 12 * 12}"),
    }
    summary = {**summarise(notes), **{what: share for what, (_, share) in fewest.items()}, **more}
    return {
        "summary": summary,
        "lowest": {what: name for what, (name, _) in fewest.items()},
        "missed": [goal.what for goal in GOALS if not goal.reached(summary[goal.figure])],
        "out of tune": {f"{note.instrument} {note.pitch}": _finite(note.cents) for note in notes if not note.in_tune},
        "instruments": by_instrument(notes),
        "notes": [{key: _finite(value) for key, value in asdict(note).items()} for note in notes],
    }


def summarise(notes: Sequence[Note], level: float | None = None) -> dict[str, float | None]:
    """Summarises the figures of some notes: shares in percent, None if there is no note to measure.

    Args:
        notes: the notes.
        level: level in dB with which levels are compared; the median of these notes if None.
    """

    def share(values: list[bool]) -> float | None:
        return round(100.0 * float(np.mean(values)), 2) if values else None

    def median(values: list[float]) -> float | None:
        return _finite(round(float(np.median(values)), 3)) if values else None

    usual = [n for n in notes if n.pitch >= 36]
    low = [n for n in notes if n.pitch < 36]
    struck = [n for n in usual if n.family in STRUCK]
    sustained = [n for n in usual if n.family not in STRUCK]
    middle = median([n.level for n in usual])
    against = middle if level is None else level
    return {
        "in tune 36..84": share([n.in_tune for n in usual]),
        "in tune 24..35": share([n.in_tune for n in low]),
        "cents, median": median([n.cents for n in usual]),
        "spectral convergence, median": median([n.convergence for n in usual]),
        "level within 3 dB": share([abs(n.level - against) <= 3 for n in usual]) if against is not None else None,
        "level, median dB": middle,
        "haze, median dB": median([n.haze for n in sustained]),
        "haze within 6 dB": share([abs(n.haze - n.target_haze) <= 6 for n in sustained]),
        "targets' haze, median dB": median([n.target_haze for n in sustained]),
        "decay within 6 dB": share([abs(n.decay) <= 6 for n in struck]),
    }


def _finite(value: Any) -> Any:
    """None for a float that JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lowest(notes: Sequence[Note], group: Callable[[Note], str]) -> tuple[str, float]:
    """The group of the notes 36..84 with the smallest share in tune, and that share in percent."""
    groups: dict[str, list[bool]] = {}
    for note in notes:
        if note.pitch >= 36:
            groups.setdefault(group(note), []).append(note.in_tune)
    name = min(groups, key=lambda key: float(np.mean(groups[key])))
    return name, round(100.0 * float(np.mean(groups[name])), 2)


def by_instrument(notes: Sequence[Note]) -> dict[str, dict[str, float | None]]:
    """Summarises each instrument; levels are relative to the median of all instruments."""
    names = dict.fromkeys(note.instrument for note in notes)
    middle = summarise(notes)["level, median dB"]
    return {name: summarise([note for note in notes if note.instrument == name], middle) for name in names}


def _describe(folder: Path, weights: Mapping[str, NDArray[np.floating]], bank: gansynth_latents.Bank) -> dict[str, Any]:
    """Describes a checkpoint's size and its bank, for the model card."""
    files = [folder / "experiment.json", folder / "instruments.yaml", *sorted(folder.glob("stage_*/*"))]
    unit = bank.latents / np.linalg.norm(bank.latents, axis=1, keepdims=True)
    cosine = np.clip(unit @ unit.T, -1.0, 1.0)[np.triu_indices(len(bank), 1)]
    return {
        "parameters": sum(value.size for value in weights.values()),
        "first layer": sum(v.size for name, v in weights.items() if name.startswith("progressive_gan_block_1/conv0")),
        "megabytes": round(sum(path.stat().st_size for path in files) / 1e6, 2),
        "compressed megabytes": round(sum(len(zlib.compress(path.read_bytes())) for path in files) / 1e6, 2),
        "latent size": bank.latents.shape[1],
        "latent norm": round(float(np.linalg.norm(bank.latents, axis=1).mean()), 2),
        "nearest degrees": round(float(np.degrees(np.arccos(cosine.max()))), 1) if len(cosine) else None,
        "instruments": {name: bank.families.get(name, "own") for name in bank.names},
    }


def _blends(synth: Synthesizer, bank: gansynth_latents.Bank, count: int = 128) -> dict[str, float]:
    """Shares in tune half way between pairs of instruments, and of random latents."""
    random = np.random.RandomState(5)
    pitches = random.randint(36, 85, size=count)
    left = random.randint(len(bank), size=count)
    right = (left + random.randint(1, max(2, len(bank)), size=count)) % len(bank)
    between = gansynth_latents.slerp(bank.latents[left], bank.latents[right], 0.5)
    drawn = gansynth_latents.random_latents(count, synth.latent_size, 6)
    out = {}
    for name, z in (("midpoints in tune", between), ("random latents in tune", drawn)):
        audio = synth.synthesize(z, pitches, 24576)
        near = [cents_off(one, int(pitch)) <= IN_TUNE for one, pitch in zip(audio, pitches, strict=True)]
        out[name] = round(100.0 * float(np.mean(near)), 2)
    return out


def _agreement(synth: Synthesizer, bank: gansynth_latents.Bank, full: Path) -> float:
    """The lowest SNR in dB of our notes against Magenta's, one of each instrument, from low to high."""
    from importlib.util import find_spec

    if find_spec("magenta") is None:
        raise SystemExit("--full: Magenta's own code is not installed; ./run_tests.sh installs it")
    pitches = np.linspace(targets.PITCHES[0], targets.PITCHES[-1], len(bank)).astype(int).tolist()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pool.submit(reference.load, str(full)).result()
        wanted = pool.submit(reference.notes, bank.latents, pitches, len(bank)).result()
    wanted = wanted.astype(np.float64)
    noise = np.square(synth.synthesize(bank.latents, pitches) - wanted).sum(axis=1)
    return round(float((10 * np.log10(np.square(wanted).sum(axis=1) / noise)).min()), 1)


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
    rows = [[(f"{what} {p}", image(notes[p])) for p in pitches] for what, notes in (("target", wanted), ("voice", got))]
    figures.sheet(path, rows, -80.0, 0.0)


def goal_table(result: Mapping[str, Any]) -> str:
    """Formats the goals and the figures reached as a Markdown table."""
    lines = ["| what | measured | goal | reached |", "|---|---|---|---|"]
    for goal in GOALS:
        value, name = result["summary"][goal.figure], result["lowest"].get(goal.figure)
        where = f" ({name})" if name and value < 100 else ""
        shown = "not measured" if value is None else f"{value}{goal.unit}{where}"
        limit = f"{'at most' if goal.most else 'at least'} {goal.limit:g}{goal.unit}"
        reached = "-" if value is None else "yes" if goal.reached(value) else "**no**"
        lines.append(f"| {goal.what} | {shown} | {limit} | {reached} |")
    return "\n".join(lines) + "\n"


def instrument_table(result: Mapping[str, Any]) -> str:
    """Formats the figures of each instrument as a Markdown table; "-" if there is nothing to measure."""
    columns = (
        "in tune 36..84",
        "in tune 24..35",
        "spectral convergence, median",
        "level, median dB",
        "level within 3 dB",
        "haze, median dB",
        "decay within 6 dB",
    )
    lines = ["| instrument | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for name, found in result["instruments"].items():
        lines.append(f"| {name} | " + " | ".join("-" if found[c] is None else str(found[c]) for c in columns) + " |")
    return "\n".join(lines) + "\n"
