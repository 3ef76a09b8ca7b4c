"""Which instrument plays which part of a song: by its track's name, its program, its family, or the bank's table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import translate

import numpy as np
from numpy.typing import NDArray

from gansynth.config import InstrumentsConfig
from gansynth.general_midi import DRUMS, family_of
from gansynth.midi.notes import Notes
from gansynth.score.instruments import Bank

MOST_PARTS = 100
"""Parts of a song that are told of: a file may have thousands of tracks."""


@dataclass(frozen=True)
class Part:
    """Notes of a song with one program and one name of track, and what plays them.

    Attributes:
        program: MIDI program 0..127, 128 for drums.
        track: its name; empty if it has none.
        instrument: name in the bank.
        rule: why: "tracks: PATTERN", "programs: NUMBER" or "families: NAME" are the settings'; "bank" is the bank's own
            table; "number" stands for programs that it does not have: the program's number, modulo the bank's size.
        notes: how many.
    """

    program: int
    track: str
    instrument: str
    rule: str
    notes: int


class InstrumentAssigner:
    """The settings' rules for a bank: a track's name comes before its program, a program before its family.

    Args:
        config: mode per_program's rules.
        bank: where the instruments are.

    Raises:
        ConfigError: a rule names an instrument that the bank has not.
    """

    def __init__(self, config: InstrumentsConfig, bank: Bank) -> None:
        def row(setting: str, key: int | str, name: int | str) -> int:
            return bank.index(name, f"instruments.{setting} {key!r}")

        self._bank = bank
        self._programs = {key: row("programs", key, name) for key, name in config.programs.items()}
        self._families = {key: row("families", key, name) for key, name in config.families.items()}
        self._tracks = [
            (re.compile(translate(_folded(key))), row("tracks", key, config.tracks[key]), f"tracks: {key}")
            for key in sorted(config.tracks, key=_closeness)
        ]

    def choose(self, program: int, track: str = "") -> tuple[int, str]:
        """The bank's row for a part, and the rule by which it was chosen (see Part)."""
        name = _folded(track)
        for pattern, row, rule in self._tracks:
            if pattern.match(name):
                return row, rule
        if program in self._programs:
            return self._programs[program], f"programs: {program}"
        family = family_of(program)
        if family in self._families:
            return self._families[family], f"families: {family}"
        return self._bank.for_program(program), "bank" if program in self._bank.programs else "number"

    def assign(self, notes: Notes, names: Mapping[int, str]) -> tuple[list[int], NDArray[np.intp], tuple[Part, ...]]:
        """Finds an instrument for every note.

        Args:
            notes: at least one.
            names: of tracks, by the numbers in `notes.track`.

        Returns:
            Rows of the bank, one for each program and instrument that there is; for each note, which of them; and the
            song's parts by program and name, those of fewest notes left out where there are too many.
        """
        programs = np.where(notes.is_drum, DRUMS, notes.program).astype(np.int64)
        pairs, which, counts = np.unique(programs << 32 | notes.track, return_inverse=True, return_counts=True)
        program_rows: dict[tuple[int, int], None] = {}
        found: Counter[tuple[int, str, str, str]] = Counter()
        chosen = []
        for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
            program, track = pair >> 32, names.get(pair & 0xFFFFFFFF, "")
            row, rule = self.choose(program, track)
            chosen.append((program, row))
            program_rows[program, row] = None
            found[program, track, self._bank.names[row], rule] += count
        order = sorted(program_rows)
        place = {key: number for number, key in enumerate(order)}
        of_note = np.array([place[key] for key in chosen])[which.reshape(-1)]
        return [row for _, row in order], of_note, _parts(found)


def _parts(found: Counter[tuple[int, str, str, str]]) -> tuple[Part, ...]:
    most = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:MOST_PARTS]
    return tuple(Part(*part, notes) for part, notes in sorted(most))


def _folded(name: str) -> str:
    return " ".join(name.casefold().split())


def _closeness(pattern: str) -> tuple[bool, int, str]:
    """Sorts patterns: names without wildcards, then those that say most of a name, then by the alphabet."""
    wild = any(letter in pattern for letter in "*?[")
    return wild, -len(re.sub(r"[*?]", "", pattern)), _folded(pattern)
