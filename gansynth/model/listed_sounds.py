"""Lists of sounds as JSON, by which a plan tells which sounds its songs need: latent, pitch, and rows of its notes.

A list is an object of objects of lists: by the base64 of a latent's bytes (little-endian float32), by pitch, the rows.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from gansynth.model.checkpoint import PITCHES
from gansynth.model.shape import NoteShape
from gansynth.model.sounds import Want

SoundList = dict[str, dict[str, list[int]]]
_REMEMBERED = 1_000_000


def as_list(wanted: Collection[Want]) -> SoundList:
    """Makes a list of sounds, sorted."""
    found: SoundList = {}
    for (latent, pitch), rows in sorted(wanted):
        pitches = found.setdefault(base64.b64encode(latent).decode(), {})
        pitches.setdefault(str(pitch), []).append(rows)
    return found


def read_list(listed: Any, shape: NoteShape) -> set[Want]:
    """Reads a list of sounds.

    Args:
        listed: what a file has, as parsed from JSON.
        shape: dimensions of the notes of the checkpoint that is to play them.

    Raises:
        ValueError: it is no list of sounds, or not of this checkpoint; the message says why.
    """
    if not isinstance(listed, dict) or not all(isinstance(pitches, dict) for pitches in listed.values()):
        raise ValueError("it is not a list of sounds")
    return {
        ((latent, _number(pitch, PITCHES, "pitch")), _number(rows, shape.ladder, "number of rows"))
        for text, pitches in listed.items()
        for latent in [_latent(text, shape.config.latent_vector_size)]
        for pitch, all_rows in pitches.items()
        for rows in (all_rows if isinstance(all_rows, list) else [all_rows])
    }


def _latent(text: str, size: int) -> bytes:
    try:
        latent = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{text[:20]!r} is not base64") from None
    if len(latent) != 4 * size or not np.isfinite(np.frombuffer(latent, "<f4")).all():
        raise ValueError(f"a latent has {len(latent) / 4:g} numbers; those of the checkpoint have {size}, all finite")
    return latent


def _number(value: Any, known: Collection[int], what: str) -> int:
    """Reads a number that has to be one of those of the checkpoint."""
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    if type(number) is not int or number not in known:
        raise ValueError(f"{str(value)[:20]!r} is no {what} of the checkpoint")
    return number


class NewSounds:
    """The sounds of one list after another that none before has, in bounded memory.

    Beyond a million sounds, all are forgotten, so that some are told again.
    """

    def __init__(self) -> None:
        self._seen: dict[str, set[tuple[str, int]]] = {}
        self._count = 0

    def of(self, listed: Mapping[str, Mapping[str, Collection[int]]]) -> SoundList:
        """Returns the part of a list that is new."""
        if self._count > _REMEMBERED:
            self._seen, self._count = {}, 0
        found: SoundList = {}
        for latent, pitches in listed.items():
            seen = self._seen.setdefault(latent, set())
            before = len(seen)
            for pitch, all_rows in pitches.items():
                new = [rows for rows in all_rows if (pitch, rows) not in seen]
                seen.update((pitch, rows) for rows in new)
                if new:
                    found.setdefault(latent, {})[pitch] = new
            self._count += len(seen) - before
        return found
