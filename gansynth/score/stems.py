"""Stems of a song: the parts that get sound files of their own, and their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gansynth.audio import mix
from gansynth.config import StemsConfig
from gansynth.score.schedule import Schedule

MAX_BYTES = 768 << 20
"""Memory in bytes of all stems of a song, by the blocks of time in which each has notes; a worker holds it until the
song is written. Stems that do not fit go to the rest."""
REST = "rest"
_BLOCK_BYTES = 4 * mix.BLOCK


@dataclass(frozen=True)
class Stems:
    """The stems of a song.

    Attributes:
        names: name of each stem, any text, in the order in which they begin, REST last.
        number: uint8 [notes], number of each note's stem.
    """

    names: tuple[str, ...]
    number: NDArray[np.uint8]


def sort_notes(
    config: StemsConfig,
    schedule: Schedule,
    tracks: NDArray[np.int32],
    track_names: Mapping[int, str],
    start: NDArray[np.int64],
    samples: NDArray[np.int64],
    channels: int,
) -> Stems | None:
    """Finds the stem of each note.

    Args:
        config: grouping, and highest number of stems.
        schedule: instruments of the notes.
        tracks: int32 [notes], track numbers.
        track_names: track names by number; unnamed tracks are named after the instrument of their first note.
        start, samples: int64 [notes], first sample in the clip and length, including the release.
        channels: channels of the clip, 1 or 2.

    Returns:
        The stems; None if `config.by` is "off".
    """
    if config.by == "off":
        return None
    nearest = schedule.nearest
    groups, first, which = np.unique(
        tracks if config.by == "track" else nearest, return_index=True, return_inverse=True
    )
    instruments = [schedule.names[row] for row in nearest[first].tolist()]
    names: Sequence[str] = instruments
    if config.by == "track":
        given = [track_names.get(track, "").strip() for track in groups.tolist()]
        names = [name or instrument for name, instrument in zip(given, instruments, strict=True)]
    kept = _own_stems(which, start, samples, config.max_files, MAX_BYTES // (channels * _BLOCK_BYTES))
    kept = kept[np.argsort(first[kept], kind="stable")]
    number = np.full(len(groups), len(kept), np.uint8)
    number[kept] = np.arange(len(kept))
    own = tuple(names[group] for group in kept.tolist())
    return Stems(own if len(kept) == len(groups) else (*own, REST), number[which])


def _own_stems(
    which: NDArray[np.integer], start: NDArray[np.int64], samples: NDArray[np.int64], max_files: int, room: int
) -> NDArray[np.integer]:
    """Chooses the groups that get a stem of their own: those that sound longest, as many as the limits allow."""
    group, block = _blocks(which, start, samples)
    blocks = np.bincount(group)
    if len(blocks) <= max_files and blocks.sum() <= room:
        return np.arange(len(blocks))
    longest_first = np.argsort(-np.bincount(which, samples), kind="stable")
    fits = np.cumsum(blocks[longest_first]) + len(np.unique(block)) <= room
    return longest_first[: min(max_files - 1, int(fits.sum()))]


def _blocks(
    which: NDArray[np.integer], start: NDArray[np.int64], samples: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Finds every block of time in which a group has notes, as pairs of group and block."""
    first, last = start // mix.BLOCK, (start + np.maximum(samples, 1) - 1) // mix.BLOCK
    width = int(last.max()) + 1
    spans = (np.minimum(first + i, last) for i in range(int((last - first).max()) + 1))
    pairs = np.unique(np.concatenate([np.unique(which * np.int64(width) + span) for span in spans]))
    return pairs // width, pairs % width


def by_stem(number: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Orders the notes by stem, as they are cut into chunks.

    Args:
        number: uint8 [notes], the stem of each note.

    Returns:
        int [notes], row numbers of the notes.
    """
    return np.argsort(number, kind="stable")
