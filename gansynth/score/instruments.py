"""Latent vectors: random draws, spherical interpolation, and banks of named instruments."""

from __future__ import annotations

import difflib
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml
from numpy.typing import ArrayLike, NDArray

from gansynth.audio.envelope import LONGEST_RELEASE
from gansynth.errors import ConfigError, GansynthError
from gansynth.io import files, structured


def random_latents(n: int, size: int, seed: int | Sequence[int]) -> NDArray[np.float64]:
    """Draws `n` instruments from N(0, I).

    Args:
        n: number of instruments.
        size: latent size of the checkpoint.
        seed: an integer in 0..2**32 - 1, or several.

    Returns:
        float64 [n, size]; the same on every machine and numpy version (RandomState's stream is frozen), and
        what the reference's Model.generate_z draws after np.random.seed(seed).
    """
    return np.random.RandomState(seed).normal(size=[n, size])


def slerp(p0: ArrayLike, p1: ArrayLike, t: ArrayLike) -> NDArray[np.float64]:
    """Interpolates spherically (slerp, Shoemake 1985) from p0 (t = 0) to p1 (t = 1).

    Args:
        p0, p1: float [..., size].
        t: float [...], usually 0..1; other values continue along the same circle.

    Returns:
        float64 [..., size].

    Source: magenta/models/gansynth/lib/generate_util.py, slerp. Deviations: if p0 and p1 are (nearly)
    parallel or one is zero, the interpolation is linear; if they are opposite, it follows a half circle through a
    fixed perpendicular. The reference gives NaN or zero there.
    """
    p0, p1 = np.broadcast_arrays(np.asarray(p0, np.float64), np.asarray(p1, np.float64))
    t = np.asarray(t, np.float64)[..., np.newaxis]
    norm0, norm1 = (np.linalg.norm(p, axis=-1, keepdims=True) for p in (p0, p1))
    unit0 = p0 / np.where(norm0 == 0, 1.0, norm0)
    unit1 = p1 / np.where(norm1 == 0, 1.0, norm1)
    cosine = np.clip((unit0 * unit1).sum(axis=-1, keepdims=True), -1.0, 1.0)
    omega = np.arccos(cosine)
    sine = np.sin(omega)
    flat = (sine < 1e-6) | (norm0 == 0) | (norm1 == 0)
    safe = np.where(flat, 1.0, sine)
    curved = np.sin((1.0 - t) * omega) / safe * p0 + np.sin(t * omega) / safe * p1
    straight = (1.0 - t) * p0 + t * p1
    opposite = flat & (cosine < 0) & (p0.shape[-1] > 1)
    if opposite.any():
        # The axis along which p0 has its smallest component is never parallel to p0.
        axis = np.eye(p0.shape[-1])[np.abs(unit0).argmin(axis=-1)]
        across = axis - (axis * unit0).sum(axis=-1, keepdims=True) * unit0
        across /= np.maximum(np.linalg.norm(across, axis=-1, keepdims=True), 1e-12)
        arc = np.cos(t * np.pi) * unit0 + np.sin(t * np.pi) * across
        straight = np.where(opposite, arc * ((1.0 - t) * norm0 + t * norm1), straight)
    return np.where(flat, straight, curved)


_LEVELS = -40.0, 40.0
_RELEASES = 0.01, LONGEST_RELEASE


@dataclass(frozen=True)
class Bank:
    """A bank of named instruments.

    Attributes:
        names: one for each row of `latents`.
        latents: float64 [instruments, latent size].
        programs: MIDI program to row, for programs that the bank lists.
        families: instrument name to its family, where known.
        levels: instrument name to its level in dB against the others, 0 where there is none.
        pitch_levels: instrument name to the dB that pitches add to its level, linear between them, where known.
        releases: instrument name to the seconds in which it falls by 60 dB when a note ends, where known.
        program_releases: the same of MIDI programs that end otherwise than the instruments that stand for them.
    """

    names: tuple[str, ...]
    latents: NDArray[np.float64]
    programs: Mapping[int, int] = field(default_factory=dict)
    families: Mapping[str, str] = field(default_factory=dict)
    levels: Mapping[str, float] = field(default_factory=dict)
    pitch_levels: Mapping[str, Mapping[int, float]] = field(default_factory=dict)
    releases: Mapping[str, float] = field(default_factory=dict)
    program_releases: Mapping[int, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def digest(self) -> str:
        """Returns "sha256:..." of names, programs, latents and, if there are any, levels and releases."""
        content: list[Any] = [*self.names, *sorted(self.programs.items()), self.latents.tolist()]
        if self.levels:
            content.append(sorted(self.levels.items()))
        if self.pitch_levels:
            content.append(
                ["pitch levels", *sorted((name, sorted(of.items())) for name, of in self.pitch_levels.items())]
            )
        if self.releases:
            content.append(["releases", *sorted(self.releases.items())])
        if self.program_releases:
            content.append(["program releases", *sorted(self.program_releases.items())])
        return "sha256:" + hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def index(self, name: int | str, setting: str = "instruments") -> int:
        """Returns the row of an instrument.

        Args:
            name: name of the instrument, or its row number.
            setting: setting that names it, for the message.

        Raises:
            ConfigError: the bank has no such instrument.
        """
        if isinstance(name, str) and name in self.names:
            return self.names.index(name)
        if isinstance(name, int) and 0 <= name < len(self):
            return name
        near = difflib.get_close_matches(str(name), self.names, 1, 0.5)
        hint = f"did you mean {near[0]}? It has" if near else "it has"
        known = ", ".join(self.names[:40])
        raise ConfigError(f"{setting}: no instrument {name!r} in the bank; {hint} 0..{len(self) - 1}: {known}.")

    def level_table(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Returns the level in dB of instruments at every MIDI pitch, float64 [len(names), 128]."""
        table = np.zeros([len(names), 128])
        for row, name in enumerate(names):
            table[row] = self.levels.get(name, 0.0)
            if more := self.pitch_levels.get(name):
                pitches = sorted(more)
                table[row] += np.interp(np.arange(128), pitches, [more[pitch] for pitch in pitches])
        return table

    def for_program(self, program: int) -> int:
        """Returns the row for MIDI `program`, 0..128: the bank's own choice, or the number modulo the bank's size."""
        return self.programs.get(program, program % len(self))


def random_bank(count: int, size: int, seed: int) -> Bank:
    """Builds a bank of `count` random instruments with latents of `size` numbers, named by seed and number."""
    return Bank(tuple(f"random-{seed}-{i}" for i in range(count)), random_latents(count, size, seed))


def load_bank(url: str, size: int) -> Bank:
    """Reads a bank of instruments.

    Args:
        url: a local path or fsspec URL. .yaml: a list under `instruments` of name, latent and, optionally, family,
            programs, level (dB), pitch_levels (pitch to dB), release (s) and program_releases (program to s).
            .json: the same, or an object of name to latent. .npz: arrays `names` and `latents`.
        size: latent size of the checkpoint.

    Raises:
        ConfigError: the file cannot be read, does not fit the checkpoint, or contains pickled arrays; the message
            names the file and the defect.
    """
    try:
        data = structured.read_bytes(url)
        entries = _entries_of_npz(data) if url.endswith(".npz") else _entries_of_text(data)
        return _bank(entries, size, url)
    except (OSError, GansynthError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"instruments.bank {url}: cannot be read ({error}).") from None


def save_bank(bank: Bank, url: str) -> None:
    """Writes a bank that `load_bank` reads back exactly; an .npz file keeps only names and latents.

    Args:
        bank: the instruments.
        url: a local path or fsspec URL that ends in .yaml, .yml or .npz.

    Raises:
        ConfigError: `url` has another suffix.
        OSError: the file cannot be written.
    """
    if url.endswith(".npz"):
        buffer = io.BytesIO()
        np.savez(buffer, names=np.array(bank.names), latents=bank.latents)
        files.write_bytes(url, buffer.getvalue())
        return
    if not url.endswith((".yaml", ".yml")):
        raise ConfigError(f"{url}: a bank is written as .yaml or .npz; choose one of these suffixes.")
    programs: dict[int, list[int]] = {}
    for program, row in sorted(bank.programs.items()):
        programs.setdefault(row, []).append(program)
    entries = []
    for row, name in enumerate(bank.names):
        entry: dict[str, Any] = {"name": name, "latent": bank.latents[row].tolist()}
        if name in bank.families:
            entry["family"] = bank.families[name]
        if row in programs:
            entry["programs"] = programs[row]
        if name in bank.levels:
            entry["level"] = bank.levels[name]
        if name in bank.pitch_levels:
            entry["pitch_levels"] = dict(bank.pitch_levels[name])
        if name in bank.releases:
            entry["release"] = bank.releases[name]
        own = [program for program in programs.get(row, ()) if program in bank.program_releases]
        if own:
            entry["program_releases"] = {program: bank.program_releases[program] for program in own}
        entries.append(entry)
    text = yaml.safe_dump({"instruments": entries}, sort_keys=False, allow_unicode=True, width=120)
    files.write_bytes(url, text.encode())


def _bank(entries: list[dict[str, Any]], size: int, url: str) -> Bank:
    names, latents, programs, families = [], [], {}, {}
    levels: dict[str, float] = {}
    pitch_levels: dict[str, dict[int, float]] = {}
    releases: dict[str, float] = {}
    program_releases: dict[int, float] = {}
    for row, entry in enumerate(entries):
        name = str(entry.get("name", row))
        where = f"instruments.bank {url}: instrument {name!r}"
        latent = np.asarray(entry.get("latent"), np.float64) if "latent" in entry else np.zeros(0)
        if latent.shape != (size,) or not np.isfinite(latent).all():
            raise ConfigError(
                f"{where} needs a latent of {size} finite numbers for this checkpoint; it has {latent.size}."
            )
        names.append(name)
        latents.append(latent)
        programs.update({int(program): row for program in entry.get("programs", ())})
        if entry.get("family"):
            families[name] = str(entry["family"])
        if entry.get("level"):
            levels[name] = _number(entry["level"], "level", _LEVELS, "dB", where)
        for pitch, decibels in entry.get("pitch_levels", {}).items():
            if not 0 <= int(pitch) <= 127:
                raise ConfigError(f"{where} has a level for pitch {pitch}; give MIDI pitches, 0 to 127.")
            level = _number(decibels, f"level of pitch {pitch}", _LEVELS, "dB", where)
            pitch_levels.setdefault(name, {})[int(pitch)] = level
        if entry.get("release") is not None:
            releases[name] = _number(entry["release"], "release", _RELEASES, "s", where)
        for program, seconds in entry.get("program_releases", {}).items():
            program_releases[int(program)] = _number(seconds, f"release of program {program}", _RELEASES, "s", where)
    if not names:
        raise ConfigError(f"instruments.bank {url}: contains no instruments.")
    return Bank(tuple(names), np.stack(latents), programs, families, levels, pitch_levels, releases, program_releases)


def _number(given: Any, key: str, bounds: tuple[float, float], unit: str, where: str) -> float:
    """Reads a number of an instrument that has to be within bounds."""
    value = float(given)
    if not bounds[0] <= value <= bounds[1]:
        raise ConfigError(f"{where} has {key} {value}; give {bounds[0]:g} to {bounds[1]:g} {unit}.")
    return value


def _entries_of_text(data: bytes) -> list[dict[str, Any]]:
    text = data.decode("utf-8")
    found = structured.parse_json(text) if text.lstrip().startswith("{") else structured.parse_yaml(text)
    if isinstance(found, dict) and "instruments" not in found:
        return [{"name": name, "latent": latent} for name, latent in found.items()]
    return list(found["instruments"])


def _entries_of_npz(data: bytes) -> list[dict[str, Any]]:
    names, latents = structured.parse_npz(data, ("names", "latents"))
    return [{"name": str(name), "latent": latent} for name, latent in zip(names, latents, strict=True)]
