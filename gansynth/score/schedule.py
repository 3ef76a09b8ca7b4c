"""Schedule of the instruments of a song: one for each note, or a mixture of two."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gansynth.config import InstrumentsConfig, SoundConfig
from gansynth.general_midi import DRUMS
from gansynth.midi.notes import Notes
from gansynth.score.assign import MOST_PARTS, InstrumentAssigner, Part
from gansynth.score.instruments import Bank, random_latents

KIT = "drums"
"""Name of the drum kit among a song's instruments."""


@dataclass(frozen=True)
class Schedule:
    """The instruments of a song, and the position of each note between two of them.

    Attributes:
        latents: float64 [instruments, latent size].
        names: one for each row of `latents`.
        left, right: int32 [notes], rows of `latents`.
        fraction: float64 [notes], 0 at `left`, 1 at `right`.
        parts: the song's parts, each with its instrument and the rule that chose it; mode per_program only.
    """

    latents: NDArray[np.float64]
    names: tuple[str, ...]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    fraction: NDArray[np.float64]
    parts: tuple[Part, ...] = ()

    @property
    def nearest(self) -> NDArray[np.int32]:
        """Returns the nearer instrument of each note, int32 [notes]: the first row of `latents` that has its name."""
        first = {name: row for row, name in reversed(list(enumerate(self.names)))}
        same = np.array([first[name] for name in self.names], np.int32)
        return same[np.where(self.fraction > 0.5, self.right, self.left)]


def song_seed(seed: int, song_id: str) -> tuple[int, ...]:
    """Derives the numpy seed of a song from the configured seed and the song's id; four integers 0..2**32 - 1."""
    digest = hashlib.sha256(f"{seed}:{song_id}".encode("utf-8", "surrogateescape")).digest()
    return tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))


def schedule_song(
    notes: Notes, config: SoundConfig, bank: Bank, song_id: str, track_names: Mapping[int, str] | None = None
) -> Schedule:
    """Assigns an instrument to every note, and the drum kit to the hits that it plays; see `make_schedule`.

    The kit is the last instrument, KIT; its latent of zeros is not rendered.
    """
    hits = notes.is_drum & (config.notes.drums == "kit")
    if not hits.any():
        return make_schedule(notes, config.instruments, bank, song_id, track_names)
    pitched, names = notes[~hits], track_names or {}
    if len(pitched):
        schedule = make_schedule(pitched, config.instruments, bank, song_id, names)
    else:
        schedule = _constant(bank, [], np.zeros(0, np.int32))
    kit = len(schedule.names)
    left, right = np.full(len(notes), kit, np.int32), np.full(len(notes), kit, np.int32)
    left[~hits], right[~hits] = schedule.left, schedule.right
    fraction = np.zeros(len(notes))
    fraction[~hits] = schedule.fraction
    tracks = Counter(names.get(track, "") for track in notes.track[hits].tolist())
    parts = [Part(DRUMS, track, KIT, f"drums.kit: {config.drums.kit}", n) for track, n in sorted(tracks.items())]
    latents = np.concatenate([schedule.latents, np.zeros([1, bank.latents.shape[1]])])
    return Schedule(latents, (*schedule.names, KIT), left, right, fraction, (*schedule.parts, *parts[:MOST_PARTS]))


def make_schedule(
    notes: Notes, config: InstrumentsConfig, bank: Bank, song_id: str, track_names: Mapping[int, str] | None = None
) -> Schedule:
    """Assigns an instrument to every note.

    Args:
        notes: at least one note, after the policies.
        config: mode, and the settings of that mode.
        bank: the instruments; mode random draws its own instead.
        song_id: seeds the instruments of mode random.
        track_names: track names by the numbers in `notes.track`.

    Raises:
        ConfigError: the config names an instrument that is not in the bank.

    Source: generate_util.get_random_instruments and get_z_notes; the notebook's list of instruments and times.
    Deviations: the song lasts until its latest note end, not until the end of the last note in the list; a song
    shorter than secs_per_instrument still gets two instruments.
    """
    if config.mode == "per_program":
        rows, which, parts = InstrumentAssigner(config, bank).assign(notes, track_names or {})
        return replace(_constant(bank, rows, which), parts=parts)
    if config.mode == "fixed":
        return _constant(bank, [bank.index(config.instruments[0])], np.zeros(len(notes), np.int32))
    if config.mode == "random":
        count = max(2, int(notes.span / config.secs_per_instrument))
        latents = random_latents(count, bank.latents.shape[1], song_seed(config.seed, song_id))
        times = np.linspace(-0.0001, notes.span, count)
        names = tuple(f"random-{config.seed}-{i}" for i in range(count))
    else:
        rows = [bank.index(name) for name in config.instruments]
        latents, names = bank.latents[rows], tuple(bank.names[row] for row in rows)
        times = notes.span * np.array([-0.001, *config.times[1:-1], 1.0])
    sliding = interpolate(notes.start, latents, times, names)
    if config.latent_steps:
        sliding = replace(sliding, fraction=np.rint(sliding.fraction * config.latent_steps) / config.latent_steps)
    return sliding


def interpolate(
    start: NDArray[np.float64],
    latents: NDArray[np.float64],
    times: NDArray[np.float64],
    names: tuple[str, ...],
) -> Schedule:
    """Places each note between the two instruments whose times surround its start.

    Args:
        start: float64 [notes], in seconds.
        latents: float64 [instruments, latent size], at least two.
        times: float64 [instruments], ascending, in seconds.
        names: one for each instrument.
    """
    left = np.clip(np.searchsorted(times, start, side="left") - 1, 0, len(times) - 2)
    gap = times[left + 1] - times[left]
    fraction = np.where(gap > 0, (start - times[left]) / np.where(gap > 0, gap, 1.0), 0.0)
    return Schedule(latents, names, left.astype(np.int32), (left + 1).astype(np.int32), fraction)


def _constant(bank: Bank, rows: list[int], which: NDArray[np.integer]) -> Schedule:
    index = which.astype(np.int32).reshape(-1)
    names = tuple(bank.names[row] for row in rows)
    return Schedule(bank.latents[rows], names, index, index, np.zeros(len(index)))
