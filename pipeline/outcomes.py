"""Outcomes of notes, MIDI events and repairs in words, for the listening page, the forecast and the summary."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

_NOTES = {
    "stretched": "beyond the network's range, resampled",
    "folded": "folded into range by octaves",
    "shortened": "shortened",
    "muted": "muted by their channel's volume",
    "bent": "bent",
    "out_of_range_dropped": "out of range, left out",
    "drums_played": "played by the drum kit",
    "drums_skipped": "drum {notes} skipped",
    "drums_unknown": "drum {notes} without a sound in the kit",
    "silent": "rendered silent",
    "broken": "not finite, left out",
}


def note_outcomes(counts: Mapping[str, int]) -> Iterator[str]:
    """Describes the notes that were not simply played; counts of zero are left out.

    Args:
        counts: number of notes by outcome, as in the column `notes` of manifest.jsonl.
    """
    for name, text in _NOTES.items():
        if count := counts.get(name, 0):
            yield f"{count:,} {text.format(notes=_plural('note', count))}"


def event_outcomes(ignored: Mapping[str, int]) -> Iterator[str]:
    """Describes the MIDI events that have no effect: "15 MIDI events ignored: 12 aftertouch, 3 nrpn".

    Args:
        ignored: number of events by kind, as in the column `ignored` of manifest.jsonl.
    """
    if total := sum(ignored.values()):
        kinds = sorted(ignored.items(), key=lambda item: (-item[1], item[0]))
        names = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in kinds if count)
        yield f"{total:,} MIDI {_plural('event', total)} ignored: {names}"


def repair_outcomes(repairs: Iterable[str], repaired_notes: Mapping[str, int]) -> Iterator[str]:
    """Describes repairs by their names in docs/errors.md: "repaired: hanging_notes (5 notes)".

    Args:
        repairs: names, as in the column `repairs` of manifest.jsonl.
        repaired_notes: number of notes that each changed, as in the column `repaired_notes`.
    """
    for name in repairs:
        count = repaired_notes.get(name, 0)
        yield f"repaired: {name}" + (f" ({count:,} {_plural('note', count)})" if count else "")


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
