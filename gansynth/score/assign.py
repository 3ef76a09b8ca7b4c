"""Assignment of instruments to the parts of a song, by track name, program, family, or the bank's own table."""

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
"""Highest number of parts that are reported: a file may have thousands of tracks."""


@dataclass(frozen=True)
class Part:
    """The notes of a song with one program and one track name, and their instrument.

    Attributes:
        program: MIDI program 0..127, 128 for drums.
        track: name of the track; empty if it has none.
        instrument: name in the bank.
        rule: rule that chose the instrument: "tracks: PATTERN", "programs: NUMBER" or "families: NAME" from the
            settings; "bank" for the bank's own table; "number" for programs missing there: the program's number
            modulo the bank's size.
        notes: number of notes.
    """

    program: int
    track: str
    instrument: str
    rule: str
    notes: int


class InstrumentAssigner:
    """Rules of the settings applied to a bank: track names come before programs, programs before families.

    Args:
        config: rules of mode per_program.
        bank: the instruments.

    Raises:
        ConfigError: a rule names an instrument that is not in the bank.
    """

    def __init__(self, config: InstrumentsConfig, bank: Bank) -> None:
        def row(setting: str, key: int | str, name: int | str) -> int:
            return bank.index(name, f"instruments.{setting} {key!r}")

        self._bank = bank
        self._programs = {key: row("programs", key, name) for key, name in config.programs.items()}
        self._families = {key: row("families", key, name) for key, name in config.families.items()}
        self._tracks = [
            (re.compile(translate(_normalised(key))), row("tracks", key, config.tracks[key]), f"tracks: {key}")
            for key in sorted(config.tracks, key=_specificity)
        ]

    def choose(self, program: int, track: str = "") -> tuple[int, str]:
        """Chooses the bank's row for a part.

        Args:
            program: MIDI program 0..127, 128 for drums.
            track: name of the track; empty if it has none.

        Returns:
            The row, and the rule that chose it (see Part).
        """
        name = _normalised(track)
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
            names: track names by the numbers in `notes.track`.

        Returns:
            Rows of the bank, one for each pair of program and instrument; for each note, int [notes], its position in
            these rows; and the song's parts by program and name, at most MOST_PARTS, those with the most notes.
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


def _normalised(name: str) -> str:
    return " ".join(name.casefold().split())


def _specificity(pattern: str) -> tuple[bool, int, str]:
    """Returns a sort key: names without wildcards first, then patterns with more characters, then alphabetically."""
    wild = any(letter in pattern for letter in "*?[")
    return wild, -len(re.sub(r"[*?]", "", pattern)), _normalised(pattern)
