"""Sounds: the audio shared by all notes of the same latent, pitch and bucket; each is rendered once and cached."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Sound = tuple[bytes, int]
"""Key of a sound within its bucket: the bytes of its float32 latent, and its MIDI pitch."""
_MAX_COUNTED = 4096
"""Highest number of sounds whose uses are counted."""


@dataclass
class Tally:
    """Counts of rendering work.

    Attributes:
        notes: notes played.
        rendered: sounds used for the first time; divided by `slots`, the fill of the batches.
        cached: sounds found in the cache after an earlier use.
        slots: places in batches, all of which the network computes.
        batches: batches rendered.
        network_microseconds: time in the network, from latents to waveforms.
    """

    notes: int = 0
    rendered: int = 0
    cached: int = 0
    slots: int = 0
    batches: int = 0
    network_microseconds: int = 0

    def add(self, other: Tally) -> None:
        """Adds the counts of `other` to these."""
        for name, number in vars(other).items():
            setattr(self, name, getattr(self, name) + number)


class SoundCache:
    """A least-recently-used cache of sounds, bounded in bytes; safe to share between threads.

    Attributes:
        limit: highest number of bytes held; 0 disables the cache.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._sounds: OrderedDict[Hashable, NDArray[np.float32]] = OrderedDict()
        self._ahead: set[Hashable] = set()
        self._uses: Counter[Sound] = Counter()
        self._bytes = 0
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._sounds

    def get(self, key: Hashable) -> NDArray[np.float32] | None:
        """Returns a sound, float32 [samples], or None if it is not cached."""
        with self._lock:
            sound = self._sounds.get(key)
            if sound is not None:
                self._sounds.move_to_end(key)
            return sound

    def find(
        self, sounds: Iterable[Sound], bucket: int, missing: list[Sound]
    ) -> Iterator[tuple[Sound, NDArray[np.float32]]]:
        """Yields those of some sounds that are cached, each with its audio, and adds all others to `missing`."""
        for sound in sounds:
            audio = self.get((sound, bucket))
            if audio is None:
                missing.append(sound)
            else:
                yield sound, audio

    def first_use(self, key: Hashable) -> bool:
        """Returns whether a sound was cached ahead of need and is now used for the first time."""
        with self._lock:
            ahead = key in self._ahead
            self._ahead.discard(key)
            return ahead

    def put(self, key: Hashable, sound: NDArray[np.float32], ahead: bool = False) -> None:
        """Stores a copy of a sound, evicting the least recently used ones.

        Args:
            key: sound and bucket.
            sound: float32 [samples].
            ahead: True if no note has needed the sound yet.
        """
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
        """Counts the notes of each sound, of any length: the most common sounds will be needed in other buckets too."""
        with self._lock:
            self._uses.update(notes)
            if len(self._uses) > _MAX_COUNTED:
                self._uses = Counter(dict(self._uses.most_common(_MAX_COUNTED // 2)))

    def commonest(self) -> list[Sound]:
        """Returns the sounds that were expected, the most common first."""
        with self._lock:
            return [sound for sound, _ in self._uses.most_common()]


class SoundSource(Protocol):
    """A provider of sounds for `player.play`.

    Attributes:
        sample_rate: in Hz.
        note_samples: samples of a whole note.
    """

    sample_rate: int
    note_samples: int

    def bucket(self, samples: int) -> int:
        """Returns the rows to render a note of `samples` samples with."""

    def expect(self, notes: Mapping[Sound, int]) -> None:
        """Announces the number of notes of each sound that will be played next."""

    def sounds(self, sounds: Sequence[Sound], bucket: int, tally: Tally) -> Iterator[tuple[Sound, NDArray[np.float32]]]:
        """Yields distinct sounds of one bucket, from a cache or rendered, and adds the work to `tally`.

        Yields:
            The sound's key and its audio, float32 [samples of the bucket], in any order.
        """


class Renderer(ABC):
    """A SoundSource that renders batches, caches all sounds and fills empty slots with sounds likely to be needed soon.

    Attributes:
        pitches: MIDI pitches that can be rendered.
        cache: sounds rendered before.
    """

    pitches: range
    cache: SoundCache

    @abstractmethod
    def batch_sizes(self, bucket: int, notes: int) -> Iterator[int]:
        """Yields the batch sizes for `notes` notes of a bucket."""

    @abstractmethod
    def batches(
        self, z: NDArray[np.float32], pitches: NDArray[np.int32], bucket: int
    ) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Renders notes batch by batch.

        Args:
            z: float32 [n, latent size].
            pitches: int32 [n], MIDI pitches.
            bucket: rows to render.

        Yields:
            The range of notes, and their audio, float32 [notes, samples of the bucket].
        """

    def expect(self, notes: Mapping[Sound, int]) -> None:
        """Implements SoundSource.expect."""
        self.cache.expect(notes)

    def sounds(self, sounds: Sequence[Sound], bucket: int, tally: Tally) -> Iterator[tuple[Sound, NDArray[np.float32]]]:
        """Implements SoundSource.sounds."""
        missing: list[Sound] = []
        for sound, audio in self.cache.find(sounds, bucket, missing):
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
        missing += self._likely_next(missing, bucket, sum(sizes) - wanted)
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

    def _likely_next(self, sounds: Sequence[Sound], bucket: int, count: int) -> list[Sound]:
        """Chooses sounds for slots that would stay empty: those likely to be needed in this bucket soon.

        These are the ones expected most often, then the same latents at neighbouring pitches.
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
