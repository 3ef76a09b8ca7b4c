"""Rules for instruments that matched nothing in a whole corpus, which are probably misspelt."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from gansynth.config import InstrumentsConfig
from gansynth.score.assign import MOST_PARTS
from transforms.manifest import Row

_SECTIONS = {"tracks": "track", "programs": "program", "families": "family"}


def has_rules(config: InstrumentsConfig) -> bool:
    """Tells whether there are any rules."""
    return any(getattr(config, section) for section in _SECTIONS)


@dataclass
class RulesUsed:
    """The rules that chose an instrument in any of the songs, as in Part.

    Attributes:
        rules: the rules of the songs so far.
        songs: number of these songs.
        complete: false if a song has so many parts that not all of them are in its row.
    """

    rules: set[str] = field(default_factory=set)
    songs: int = 0
    complete: bool = True

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds the row of an input, of a job or of a forecast; failed ones do not count."""
        if row["status"] != "failed":
            self.rules |= {part["rule"] for part in row["parts"]}
            self.songs += 1
            self.complete &= len(row["parts"]) < MOST_PARTS

    @property
    def known(self) -> set[str] | None:
        """All rules; None if they are not all known."""
        return self.rules if self.songs and self.complete else None


def rules_used(rows: Iterable[Row]) -> set[str] | None:
    """Collects the rules that chose an instrument in any of the songs, see RulesUsed.known.

    Args:
        rows: the row of each input.
    """
    used = RulesUsed()
    for row in rows:
        used.add(row)
    return used.known


def unused_rules(config: InstrumentsConfig, used: Collection[str] | None) -> Iterator[str]:
    """Describes the rules that had no effect, a line for each section of them.

    Args:
        config: the rules.
        used: rules that chose an instrument, from `rules_used`; None if not known.
    """
    for section, what in _SECTIONS.items():
        rules = getattr(config, section)
        if rules and config.mode != "per_program":
            yield f"instruments.{section}: no effect, since instruments.mode is {config.mode}"
        elif used is not None and (unused := [key for key in rules if f"{section}: {key}" not in used]):
            keys = ", ".join(json.dumps(key, ensure_ascii=False) for key in unused[:10])
            more = f" and {len(unused) - 10} more" if len(unused) > 10 else ""
            yield f"instruments.{section}: no {what} of these songs matched {keys}{more}, or other rules came first"
