"""Sounds: what notes of the same latent, pitch and length in rows share. Each is rendered once and kept."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Sound = tuple[bytes, int]
"""What makes a note's sound, but for its bucket: the float32 latent's bytes and the pitch."""
_REMEMBERED = 4096
"""Sounds of which is known how often they were heard."""


@dataclass
class Tally:
    """What playing cost.

    Attributes:
        notes: notes played.
        rendered: sounds heard for the first time; over `slots`, how full the batches were.
        cached: sounds found in the cache, heard before.
        slots: places in batches, all that the network computed.
        batches: their number.
        network_microseconds: time in the network, from latents to waves.
    """

    notes: int = 0
    rendered: int = 0
    cached: int = 0
    slots: int = 0
    batches: int = 0
    network_microseconds: int = 0

    def add(self, other: Tally) -> None:
        """Adds another's counts to these."""
        for name, number in vars(other).items():
            setattr(self, name, getattr(self, name) + number)


class SoundCache:
    """The sounds that were rendered last, up to a number of bytes; safe to share between threads.

    Attributes:
        limit: bytes that it may hold; 0 keeps nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._sounds: OrderedDict[Hashable, NDArray[np.float32]] = OrderedDict()
        self._ahead: set[Hashable] = set()
        self._heard: Counter[Sound] = Counter()
        self._bytes = 0
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._sounds

    def get(self, key: Hashable) -> NDArray[np.float32] | None:
        """The sound, if it is still here."""
        with self._lock:
            sound = self._sounds.get(key)
            if sound is not None:
                self._sounds.move_to_end(key)
            return sound

    def first_use(self, key: Hashable) -> bool:
        """Whether a sound was put here ahead of need, and is now needed for the first time."""
        with self._lock:
            ahead = key in self._ahead
            self._ahead.discard(key)
            return ahead

    def put(self, key: Hashable, sound: NDArray[np.float32], ahead: bool = False) -> None:
        """Keeps a copy of a sound, `ahead` of need or not; the ones not used for longest make room for it."""
        with self._lock:
            if key in self._sounds or sound.nbytes > self.limit:
                return
            self._sounds[key] = sound.copy()
            self._bytes += sound.nbytes
            if ahead:
                self._ahead.add(key)
            while self._bytes > self.limit:
                old, dropped = self._sounds.popitem(last=False)
                self._bytes -= dropped.nbytes
                self._ahead.discard(old)

    def expect(self, notes: Mapping[Sound, int]) -> None:
        """Remembers how many notes, of any length, have a sound: the commonest will be wanted in other lengths too."""
        with self._lock:
            self._heard.update(notes)
            if len(self._heard) > _REMEMBERED:
                self._heard = Counter(dict(self._heard.most_common(_REMEMBERED // 2)))

    def commonest(self) -> list[Sound]:
        """The sounds that were expected most often, the commonest first."""
        with self._lock:
            return [sound for sound, _ in self._heard.most_common()]


class SoundSource(Protocol):
    """Where `player.play` gets sounds from.

    Attributes:
        sample_rate: in Hz.
        note_samples: samples of a whole note.
    """

    sample_rate: int
    note_samples: int

    def bucket(self, samples: int) -> int:
        """Rows to render a note of `samples` samples with."""

    def expect(self, notes: Mapping[Sound, int]) -> None:
        """Tells how many notes of each sound will be played next."""

    def sounds(self, sounds: Sequence[Sound], bucket: int, tally: Tally) -> Iterator[tuple[Sound, NDArray[np.float32]]]:
        """Distinct sounds of one bucket, in any order: from a cache, or rendered; counted in `tally`."""


class Renderer(ABC):
    """A SoundSource of whatever renders batches: keeps what it rendered, and leaves no place in a batch empty.

    Attributes:
        pitches: the MIDI pitches it knows.
        cache: sounds rendered before.
    """

    pitches: range
    cache: SoundCache

    @abstractmethod
    def batch_sizes(self, bucket: int, notes: int) -> Iterator[int]:
        """The batches that so many notes of a bucket are rendered in."""

    @abstractmethod
    def batches(
        self, z: NDArray[np.float32], pitches: NDArray[np.int32], bucket: int
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Renders notes batch by batch; which notes, and their audio, float32 [notes, samples]."""

    def expect(self, notes: Mapping[Sound, int]) -> None:
        """See SoundSource."""
        self.cache.expect(notes)

    def sounds(self, sounds: Sequence[Sound], bucket: int, tally: Tally) -> Iterator[tuple[Sound, NDArray[np.float32]]]:
        """See SoundSource."""
        missing = []
        for sound in sounds:
            audio = self.cache.get((sound, bucket))
            if audio is None:
                missing.append(sound)
                continue
            first = self.cache.first_use((sound, bucket))
            tally.rendered += first
            tally.cached += not first
            yield sound, audio
        if not missing:
            return
        sizes = list(self.batch_sizes(bucket, len(missing)))
        tally.batches += len(sizes)
        tally.slots += sum(sizes)
        tally.rendered += len(missing)
        wanted = len(missing)
        missing += self._ahead(missing, bucket, sum(sizes) - wanted)
        z = np.stack([np.frombuffer(latent, np.float32) for latent, _ in missing])
        pitches = np.array([pitch for _, pitch in missing], np.int32)
        began = time.perf_counter()
        for where, batch in self.batches(z, pitches, bucket):
            tally.network_microseconds += int(1e6 * (time.perf_counter() - began))
            for n, audio in enumerate(batch, where.start):
                self.cache.put((missing[n], bucket), audio, ahead=n >= wanted)
                if n < wanted:
                    yield missing[n], audio
            began = time.perf_counter()

    def _ahead(self, sounds: Sequence[Sound], bucket: int, count: int) -> list[Sound]:
        """Sounds for slots that would stay empty: those likely to be heard in this bucket soon.

        They are the ones heard most often in other buckets, and then the same instruments at the pitches around.
        """
        found: list[Sound] = []
        if not self.cache.limit or not count:
            return found
        known = set(sounds)
        for likely in (*self.cache.commonest(), *self._neighbours(sounds)):
            if len(found) == count:
                break
            if likely not in known and (likely, bucket) not in self.cache:
                known.add(likely)
                found.append(likely)
        return found

    def _neighbours(self, sounds: Sequence[Sound]) -> Iterator[Sound]:
        for distance in range(1, len(self.pitches)):
            for latent, pitch in sounds:
                for near in pitch + distance, pitch - distance:
                    if near in self.pitches:
                        yield latent, near
