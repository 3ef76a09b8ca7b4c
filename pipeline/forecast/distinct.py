"""Counting of distinct sounds in bounded memory."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gansynth.model.shape import NoteShape
from transforms.plan_songs import rows_of_keys


class DistinctKeys:
    """A set of keys that counts its members in bounded memory: beyond a limit, keys move to files by their last bits.

    Args:
        folder: folder for these files.
        limit: maximum number of keys in memory, of 8 bytes each.
    """

    def __init__(self, folder: Path, limit: int = 4_000_000) -> None:
        self._folder, self._limit = folder, limit
        self._parts: list[NDArray[np.uint64]] = []
        self._size = 0

    def add(self, keys: NDArray[np.uint64]) -> None:
        """Adds keys, in any order and with repetitions: uint64 [n]."""
        self._parts.append(keys)
        self._size += len(keys)
        if self._size <= self._limit:
            return
        self._parts = [np.unique(np.concatenate(self._parts))]
        self._size = len(self._parts[0])
        if self._size > self._limit // 2:
            self._spill()

    def counts(self, shape: NoteShape) -> dict[int, int]:
        """Counts the distinct keys, by the number of rows with which their sounds are rendered."""
        files = sorted(self._folder.glob("*.keys"))
        if files:
            self._spill()
            files = sorted(self._folder.glob("*.keys"))
        total: Counter[int] = Counter()
        groups = (np.fromfile(file, np.uint64) for file in files) if files else iter(self._parts and [self._all()])
        for group in groups:
            total.update(rows_of_keys(np.unique(group), shape))
        return dict(sorted(total.items()))

    def _all(self) -> NDArray[np.uint64]:
        return np.concatenate(self._parts) if self._parts else np.zeros(0, np.uint64)

    def _spill(self) -> None:
        keys = self._all()
        last = keys & np.uint64(0xFF)
        for number in np.unique(last).tolist():
            with (self._folder / f"{number:03d}.keys").open("ab") as f:
                f.write(keys[last == number].tobytes())
        self._parts, self._size = [], 0
